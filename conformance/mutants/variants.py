"""Legal controllers unlike the kit's own: each must be accused of nothing by any case or rule."""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from conformance.mutants.changes import edited, wrap
from conformance.mutants.engines import Working
from conformance.mutants.mutant import Variant
from conformance.mutants.scheduling import HearsLate
from protocol.roles.base import Effect, Send, SetTimer
from protocol.world import MILLISECOND

ALL = ("test_*.py::*",)
CORE = ("test_connection.py::*", "test_registration.py::*", "test_notifications.py::*", "test_queue_queries.py::*")

OTHER_WORDS = {"ename": "Ошибка", "evalue": "", "traceback": []}


class CountsInAnotherOrder(Variant):
    """Numbers of engines have gaps."""

    breaks = ()
    shows_in = CORE

    def prepare(self) -> None:
        """Each number that nobody asked for is seven more than the one before."""
        engines = self.role.engines
        wrap(engines, "_number", lambda old, requested: old(engines.next_id + 7 if requested is None else requested))


class SaysMore(Variant):
    """Contents, headers and metadata have keys that nobody knows."""

    breaks = ()
    shows_in = (*CORE, "test_result_queries.py::*", "test_purge.py::*", "test_db_queries.py::*", "test_hub*.py::*")
    says = (
        edited(lambda m: m.replace(
            header=m.header | {"node": "n7"}, content=m.content | {"x_note": {"hub": [1]}},
            metadata=m.metadata | {"x_load": 0.5})),
    )  # fmt: skip


class TellsErrorsInOtherWords(Variant):
    """Names and texts of errors are free."""

    breaks = ()
    shows_in = ("test_hub_errors.py::*", "test_registration.py::*", "test_purge.py::*", "test_result_queries.py::*")
    says = (edited(lambda m: m.replace(content=m.content | OTHER_WORDS), status="error"),)


class AnswersSlowly(Variant):
    """A Hub that takes twenty milliseconds for each answer."""

    breaks = ()
    shows_in = (*CORE, "test_result_queries.py::*", "test_hub_errors.py::*", "test_envelope.py::*")

    def prepare(self) -> None:
        """Have each answer leave later, in order."""
        carry, shell = self.shell.carry_send, self.shell

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
    """An engine that takes ten milliseconds to send what it has to say, in order."""

    breaks = ()
    shows_in = ("test_engine_execute.py::*", "test_engine_output.py::*")

    def prepare(self) -> None:
        """Have all of it leave later."""
        carry, shell = self.shell.carry_send, self.shell
        shell._carry[Send] = lambda effect: shell.process.at(
            shell.clock() + 10 * MILLISECOND, lambda *_: carry(effect), None, None
        )


class PublishesOtherwise(Variant):
    """A controller whose output goes out by an XPUB, and whose pings do."""

    breaks = ()
    kinds: ClassVar[Mapping[tuple[str, str], str]] = {("iopub-relay", "out"): "XPUB", ("heart-monitor", "ping"): "XPUB"}
    shows_in = ("test_iopub.py::*", "test_heartbeat.py::*ping*")
