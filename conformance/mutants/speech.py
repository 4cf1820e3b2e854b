"""Mistakes of an engine in everything that it says or hears: signatures, headers, parents, replies."""

from collections.abc import Sequence
from typing import Any, ClassVar

from conformance.mutants.answers import only_the_id
from conformance.mutants.changes import GONE, edited, header, metadata, on, told, twice, unheard, wrap
from conformance.mutants.engines import Working
from conformance.mutants.manners import Believing
from protocol.roles.base import Arrived, Effect, Event, Malformed, Send
from protocol.roles.speech import error
from protocol.wire import DELIMITER, Frame, Message

#: Where mistakes in all that an engine says show at once.
ANYWHERE = ("test_engine_execute.py::test_the_counter_rises_with_each_request",)
REPLIES = ("execute_reply", "apply_reply", "kernel_info_reply")


class Saying(Working):
    """An engine whose mistake shows wherever it speaks."""

    shows_in: ClassVar[tuple[str, ...]] = ANYWHERE


class Writing(Saying):
    """An engine that changes what is sent as bytes."""

    def prepare(self) -> None:
        """Have everything encoded, and pass it on changed."""
        self.shell.is_encoded = True
        wrap(self.shell.codec, "encode", lambda encode, message: self.frames(encode(message)))

    def frames(self, frames: list[Frame]) -> list[Frame]:
        """The frames that are sent instead."""
        raise AssertionError(f"{self.name()} changes nothing")


class SignsNoReply(Writing):
    """Whoever asked knows who answers."""

    breaks = ("wire.signature-sent",)

    def frames(self, frames: list[Frame]) -> list[Frame]:
        """An empty signature under replies to code."""
        at = frames.index(DELIMITER)
        return [*frames[: at + 1], b"", *frames[at + 2 :]] if b"execute_reply" in bytes(frames[at + 2]) else frames


class SignsInCapitals(Writing):
    """A digit is a digit."""

    breaks = ("wire.signature-lowercase-hex",)

    def frames(self, frames: list[Frame]) -> list[Frame]:
        """The signature under replies to code in uppercase."""
        at = frames.index(DELIMITER)
        signature = bytes(frames[at + 1])
        return [*frames[: at + 1], signature.upper() if b"execute_reply" in bytes(frames[at + 2]) else signature,
                *frames[at + 2 :]]  # fmt: skip


class CountsToInfinity(Writing):
    """Every JSON library reads that."""

    breaks = ("wire.numbers-finite",)

    def frames(self, frames: list[Frame]) -> list[Frame]:
        """A number that JSON does not have in the metadata of replies to code."""
        at = frames.index(DELIMITER)
        if b"execute_reply" not in bytes(frames[at + 2]):
            return frames
        parts = [bytes(each) for each in frames[at + 2 : at + 6]]
        parts[2] = parts[2][:-1] + b', "load": Infinity}'
        return [*frames[: at + 1], self.shell.codec.sign(b"".join(parts)), *parts, *frames[at + 6 :]]


class SaysLittleOfItself(Saying):
    """A user is always called the same."""

    breaks = ("wire.header-complete",)
    says = (header(*REPLIES, username=GONE),)


class TellsTheTimeOfTheWall(Saying):
    """The clock on the wall is what people read."""

    breaks = ("wire.date-utc",)
    says = (header(*REPLIES, date="2026-01-01T12:00:00"),)


class NumbersEverythingOne(Saying):
    """An id is unique if two in a row differ."""

    breaks = ("wire.msg-id-unique",)
    says = (header(*REPLIES, msg_id="1"),)


class RepeatsTheId(Saying):
    """An id is enough to find a request."""

    breaks = ("wire.reply-parent",)
    says = (edited(lambda m: m.replace(parent_header=only_the_id(m.parent_header)), *REPLIES),)


class RepliesInAnotherKind(Saying):
    """A reply is a reply."""

    breaks = ("wire.reply-type",)
    says = (header("execute_reply", msg_type="apply_reply"),)


class SaysNothingOfItsStatus(Saying):
    """No news is good news."""

    breaks = ("wire.reply-status",)
    says = (told("execute_reply", lambda c: {key: value for key, value in c.items() if key != "status"}),)


class SaysThatSomethingFailed(Saying):
    """The log has the rest."""

    breaks = ("wire.error-shape",)
    shows_in = ("test_engine_execute.py::test_after_an_error_the_next_request_runs",)
    says = (edited(lambda m: m.replace(content={"status": "error", "execution_count": 1}), "execute_reply",
                   status="error"),)  # fmt: skip


class RepliesTwice(Saying):
    """The first reply may be lost."""

    breaks = ("wire.at-most-one-reply",)
    says = (twice("execute_reply"),)


class RepliesToTheFirst(Saying):
    """Who asks that often knows the answer."""

    breaks = ("wire.every-request-answered",)
    shows_in = ("test_engine_execute.py::test_what_is_queued_behind_an_error_runs_if_that_was_asked_for",)

    def do(self, now: int, effect: Effect) -> Sequence[Effect]:
        """No second reply."""
        if isinstance(effect, Send) and effect.message.msg_type == "execute_reply":
            self.memory["count"] = count = self.memory.get("count", 0) + 1
            return (effect,) if count < 3 else ()
        return (effect,)


class InventsReplies(Saying):
    """A greeting hurts nobody."""

    breaks = ("wire.message-type-known",)
    says = (header("execute_input", msg_type="welcome"),)


class CountsInWords(Saying):
    """Words are what people read."""

    breaks = ("wire.content-matches-type",)
    says = (told("execute_reply", lambda c: c | {"execution_count": "one"}),)


class DatesInSeconds(Saying):
    """Seconds since 1970 are a date."""

    breaks = ("wire.metadata-matches-type",)
    says = (metadata("execute_reply", started=1.5, engine=7),)


class RegistersAsAnother(Saying):
    """Who goes is not who came."""

    breaks = ("wire.session-constant",)
    shows_in = ("test_engine_registration.py::test_an_engine_that_nobody_answers*",)
    says = (header("unregistration_request", session="another"),)


class KnowsNoShellTypesHere(Saying):
    """Control is for control."""

    breaks = ("control.shell-types-on-control",)
    shows_in = ()
    says = (on("control", told("kernel_info_reply", lambda _: error("ValueError", "not here"))),)


# -- what is heard -----------------------------------------------------------------------------------------------------


class EngineSplitsAtTheLastDelimiter(Working):
    """The delimiter is what stands last."""

    breaks = ("wire.first-delimiter-counts",)
    hears = (unheard(lambda message: DELIMITER in message.buffers),)


class BelievesWhatWasAltered(Believing):
    """Within one machine nobody forges."""

    breaks = ("wire.signature-covers-dictionaries", "wire.unauthenticated-unanswered")

    def opened(self, opens: Any, frames: list[Frame]) -> Message:
        """Whatever it is, it is signed well."""
        at = frames.index(DELIMITER) + 1 if DELIMITER in frames else 0
        frames[at : at + 1] = [self.shell.codec.sign(b"".join(frames[at + 1 : at + 5]))]
        message: Message = opens(frames)
        return message


class EngineBansWhoErred(Working):
    """Who sent nonsense once will do it again."""

    breaks = ("wire.sender-recovers",)

    def hear(self, event: Event) -> Sequence[Event]:
        """Nothing more after what is no message."""
        if isinstance(event, Malformed):
            self.memory["deaf"] = True
        return () if self.memory.get("deaf") and isinstance(event, Arrived) else (event,)


class CountsDamage(Working):
    """Whatever comes is work."""

    breaks = ("wire.refused-changes-nothing",)

    def hear(self, event: Event) -> Sequence[Event]:
        """One more with each that is no message."""
        if isinstance(event, Malformed):
            self.role.work.count += 1
        return (event,)


# -- sockets -----------------------------------------------------------------------------------------------------------


class Misplaced(Working):
    """An engine one of whose sockets is disconnected as soon as it is connected: that of `name_of`."""

    name_of: ClassVar[str] = ""

    def prepare(self) -> None:
        """Have it disconnected."""

        def attach(old: Any, name: str, socket: Any) -> None:
            old(name, socket)
            if name == self.name_of:
                socket.disconnect(self.shell.runner.file.address(name))  # type: ignore[union-attr]

        wrap(self.shell, "attach", attach)


class PublishesNowhere(Misplaced):
    """Who wants output will ask for it."""

    breaks = ("connection.engine-connects",)
    name_of = "iopub"
