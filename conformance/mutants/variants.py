"""Legal controllers unlike the kit's own: each must be accused of nothing by any case or rule."""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from conformance.mutants.changes import edited, wrap
from conformance.mutants.engines import Working
from conformance.mutants.mutant import Variant
from conformance.mutants.scheduling import HearsLate
from protocol.roles.base import Effect, Send, SetTimer
from protocol.world import MILLISECOND

CORE = ("test_connection.py::*", "test_registration.py::*", "test_notifications.py::*", "test_queue_queries.py::*")

#: Whole runs that the rules watch: faults of all kinds, and parts of the controller that come back.
WATCHED = ("swarm 3", "swarm 11", "hub-restarts-under-load 1", "engine-dies-with-queued-tasks 1")

OTHER_WORDS = {"ename": "Ошибка", "evalue": "", "traceback": []}


class CountsInAnotherOrder(Variant):
    """Numbers of engines have gaps."""

    breaks = ()
    shows_in = CORE
    runs = WATCHED

    def prepare(self) -> None:
        """Each number that nobody asked for is seven more than the one before."""
        engines = self.role.engines
        wrap(engines, "_number", lambda old, requested: old(engines.next_id + 7 if requested is None else requested))


class SaysMore(Variant):
    """Contents, headers and metadata have keys that nobody knows."""

    breaks = ()
    shows_in = (*CORE, "test_result_queries.py::*", "test_purge.py::*", "test_db_queries.py::*", "test_hub*.py::*")
    says = (
        # What is submitted again is the word of somebody else.
        edited(lambda m: m if m.msg_type.endswith("_request") else m.replace(
            header=m.header | {"node": "n7"}, content=m.content | {"x_note": {"hub": [1]}},
            metadata=m.metadata | {"x_load": 0.5})),
    )  # fmt: skip
    runs = WATCHED


class TellsErrorsInOtherWords(Variant):
    """Names and texts of errors are free."""

    breaks = ()
    shows_in = ("test_hub_errors.py::*", "test_registration.py::*", "test_purge.py::*", "test_result_queries.py::*")
    runs = WATCHED
    says = (edited(lambda m: m.replace(content=m.content | OTHER_WORDS), status="error"),)


class AnswersSlowly(Variant):
    """A Hub that takes twenty milliseconds for each answer."""

    breaks = ()
    shows_in = (*CORE, "test_result_queries.py::*", "test_hub_errors.py::*", "test_envelope.py::*")
    runs = WATCHED

    def prepare(self) -> None:
        """Have each answer leave later, in order."""
        shell, carry = self.shell, self.shell._carry[Send]

        def later(effect: Send) -> None:
            if effect.socket == "query":
                shell.process.at(shell.clock() + 20 * MILLISECOND, lambda *_: carry(effect), None, None)
            else:
                carry(effect)

        shell._carry[Send] = later


class LeavesOutWhatMayBeMissing(Variant):
    """Files without what may be left out."""

    breaks = ()
    shows_in = ("test_connection.py::*",)

    @classmethod
    def file(cls, which: str, content: Any) -> Any:
        """A client file without location and ssh server key."""
        kept = {"location", "curve_serverkey"} if which == "client" else {"ssh", "curve_serverkey"}
        return {key: value for key, value in content.items() if key not in kept}


class PingsMoreOften(Variant):
    """A monitor that is a little early."""

    breaks = ()
    part = "heart-monitor"
    shows_in = ("test_heartbeat.py::*ping*",)
    runs = WATCHED

    def do(self, now: int, effect: Effect) -> Sequence[Effect]:
        """One percent less between pings."""
        if isinstance(effect, SetTimer) and effect.timer == "beat":
            return (effect._replace(at=now + self.role.config.period * 99 // 100),)
        return (effect,)


class HearsOfEnginesLate(Variant, HearsLate):
    """A scheduler that hears of engines a fifth of a second later, and has time for introductions."""

    breaks = ()
    shows_in = ("test_tasks.py::*target*", "test_tasks.py::*engine*", "test_dependencies.py::*chain*")


class HasNoWarden(Variant, Working):
    """An engine without a nanny in front of it: nobody delivers signals, or says that it has died."""

    breaks = ()
    has_warden = False
    shows_in = (
        "test_engine_[eo]*.py::*", "test_engine_heart.py::*", "test_engine_registration.py::*",
        "test_engine_control.py::*abort*", "test_engine_control.py::*clear*",
    )  # fmt: skip


class BreathesInBetween(Variant, Working):
    """An engine that takes ten milliseconds to send what it has to say, in order; before it ends it hurries."""

    breaks = ()
    shows_in = ("test_engine_execute.py::*", "test_engine_output.py::*")
    runs = WATCHED

    def prepare(self) -> None:
        """Have all of it leave later."""
        shell, carry = self.shell, self.shell._carry[Send]

        def later(effect: Send) -> None:
            if effect.message.msg_type == "unregistration_request":
                carry(effect)
            else:
                shell.process.at(shell.clock() + 10 * MILLISECOND, lambda *_: carry(effect), None, None)

        shell._carry[Send] = later


class ConnectsOneDealerPerQueue(Variant, Working):
    """An engine as the documents of 2012 have it: a DEALER for each queue in the place of a ROUTER, and no warden."""

    breaks = ()
    has_warden = False
    kinds: ClassVar[Mapping[tuple[str, str], str]] = {("engine", "shell"): "DEALER", ("engine", "control"): "DEALER"}
    shows_in = (*HasNoWarden.shows_in, "test_engine_apply.py::*", "test_engine_connection.py::*",
                "test_engine_sockets.py::*")  # fmt: skip
    runs = WATCHED


class PublishesOtherwise(Variant):
    """A controller that tells of engines by a PUB, and whose output and pings go out by an XPUB."""

    breaks = ()
    kinds: ClassVar[Mapping[tuple[str, str], str]] = {
        ("hub", "notification"): "PUB", ("iopub-relay", "out"): "XPUB", ("heart-monitor", "ping"): "XPUB",
    }  # fmt: skip
    shows_in = ("test_iopub.py::*", "test_heartbeat.py::*ping*", *CORE)
    runs = WATCHED


class SignsOtherwise(Variant):
    """A controller whose connection files name another signature scheme."""

    breaks = ()
    scheme = "hmac-sha512"
    shows_in = (
        *CORE, "test_envelope.py::*", "test_keys.py::*", "test_mux.py::*", "test_tasks.py::*", "test_control.py::*",
        "test_iopub.py::*", "test_broadcast.py::*", "test_resubmit.py::*",
    )  # fmt: skip
    runs = WATCHED
