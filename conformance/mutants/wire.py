"""Mistakes about frames, signatures, headers and replies."""

from collections.abc import Sequence
from typing import Any, ClassVar

from conformance.mutants.changes import (
    GONE,
    deaf_after,
    edited,
    header,
    metadata,
    renamed,
    told,
    twice,
    unheard,
    wrap,
)  # fmt: skip
from conformance.mutants.mutant import Mutant
from protocol.errors import RemoteProtocolError
from protocol.roles.base import Arrived, Effect, Event, Exit, Malformed, Send
from protocol.roles.speech import error
from protocol.wire import DELIMITER, Frame, Message

#: Where a mistake in everything that is said shows at once.
ANYWHERE = ("test_connection.py::test_a_connection_request_is_answered",)

#: Keys of the content of some request.
KNOWN = frozenset(
    ["uuid", "id", "targets", "verbose", "msg_ids", "engine_ids", "status_only", "statusonly", "query", "keys"]
)


class Frames(Mutant):
    """A mutant that changes what is sent as bytes."""

    shows_in: ClassVar[tuple[str, ...]] = ANYWHERE

    def prepare(self) -> None:
        """Have everything encoded, and pass it on changed."""
        self.shell.is_encoded = True
        wrap(self.shell.codec, "encode", lambda encode, message: self.frames(encode(message)))

    def frames(self, frames: list[Frame]) -> list[Frame]:
        """The frames that are sent instead."""
        raise AssertionError(f"{self.name()} changes nothing")


class SendsNoDelimiter(Frames):
    """Whoever reads it knows where the identities end."""

    breaks = ("wire.delimiter-present",)

    def frames(self, frames: list[Frame]) -> list[Frame]:
        """Everything but the delimiter."""
        return [frame for frame in frames if frame != DELIMITER]


class SendsNoContent(Frames):
    """An empty dictionary needs no frame."""

    breaks = ("wire.all-parts-present",)

    def frames(self, frames: list[Frame]) -> list[Frame]:
        """One frame less."""
        return frames[:-1]


class SignsNothing(Frames):
    """Within one machine nobody forges."""

    breaks = ("wire.signature-sent",)

    def frames(self, frames: list[Frame]) -> list[Frame]:
        """An empty signature."""
        at = frames.index(DELIMITER)
        return [*frames[: at + 1], b"", *frames[at + 2 :]]


class Resigned(Frames):
    """A mutant that writes its dictionaries in another way, and signs that."""

    def frames(self, frames: list[Frame]) -> list[Frame]:
        """The frames with dictionaries written otherwise."""
        at = frames.index(DELIMITER)
        parts = self.written([bytes(part) for part in frames[at + 2 : at + 6]])
        return [*frames[: at + 1], self.shell.codec.sign(b"".join(parts)), *parts, *frames[at + 6 :]]

    def written(self, parts: list[bytes]) -> list[bytes]:
        """The four dictionaries in the other way."""
        raise AssertionError(f"{self.name()} changes nothing")


class WritesAList(Resigned):
    """A dictionary is a list of pairs."""

    breaks = ("wire.parts-are-objects",)

    def written(self, parts: list[bytes]) -> list[bytes]:
        """Metadata as a list."""
        return [parts[0], parts[1], b"[]", parts[3]]


class LeavesOutIds(Resigned):
    """Who reads in order needs no numbers."""

    breaks = ("wire.header-msg-id",)

    def written(self, parts: list[bytes]) -> list[bytes]:
        """A header without msg_id."""
        return [parts[0].replace(b'"msg_id"', b'"id"'), *parts[1:]]


class LeavesOutTypes(Resigned):
    """A reply is what comes next."""

    breaks = ("wire.header-msg-type",)

    def written(self, parts: list[bytes]) -> list[bytes]:
        """A header without msg_type."""
        return [parts[0].replace(b'"msg_type"', b'"type"'), *parts[1:]]


# -- signatures --------------------------------------------------------------------------------------------------------


class TrustsEverybody(Mutant):
    """A signature is for those who want to look at it."""

    breaks = (
        "wire.signature-verified", "wire.signature-covers-dictionaries", "wire.signature-uppercase-refused",
        "wire.unauthenticated-unanswered",
    )  # fmt: skip

    def prepare(self) -> None:
        """Verify nothing."""
        self.shell.codec.key = b""


class LooksAtNoSignature(Mutant):
    """A signature is for those who want to look at it."""

    breaks = ("wire.refused-changes-nothing",)

    def prepare(self) -> None:
        """Open everything as if it were signed well; what is said is signed as it should be."""
        codec = self.shell.codec

        def look(opens: Any, frames: Sequence[Frame]) -> Message:
            at = frames.index(DELIMITER) + 1 if DELIMITER in frames else 0
            right = codec.sign(b"".join(frames[at + 1 : at + 5]))
            message: Message = opens([*frames[:at], right, *frames[at + 1 :]])
            return message

        wrap(codec, "open_header", look)


class AnswersReplays(Mutant):
    """Who asks twice wants two answers."""

    breaks = ("wire.replay-refused",)

    def prepare(self) -> None:
        """Remember no signature."""
        self.shell.codec.replay = None


class RemembersBeforeItLooks(Mutant):
    """What was seen was seen."""

    breaks = ("wire.forged-copy-does-not-block",)

    def prepare(self) -> None:
        """Take note of every signature before it is verified."""
        codec, seen = self.shell.codec, set[bytes]()

        def look(opens: Any, frames: Sequence[Frame]) -> Message:
            at = frames.index(DELIMITER) + 1 if DELIMITER in frames[:-1] else 0
            signature = bytes(frames[at])
            if signature in seen:
                codec.refuse(frames)
                raise RemoteProtocolError
            seen.add(signature)
            message: Message = opens(frames)
            return message

        wrap(codec, "open_header", look)


class ComplainsAboutEverything(Mutant):
    """Nobody should wait in vain, whatever was sent."""

    breaks = ("wire.delimiter-present", "wire.all-parts-present")

    def handle(self, now: int, event: Event) -> Sequence[Effect]:
        """An error for what is no message."""
        if isinstance(event, Malformed) and event.socket == "query":
            text = error("ValueError", "that was no message")
            return (Send("query", self.role.voice.say(now, "hub_error", text, identities=event.frames[:1])),)
        return super().handle(now, event)


class DiesOfGarbage(Mutant):
    """An exception that nobody catches ends a program, and that is good."""

    breaks = ("wire.malformed-harms-nobody",)

    def handle(self, now: int, event: Event) -> Sequence[Effect]:
        """End at what is no message."""
        return (Exit(1),) if isinstance(event, Malformed) else super().handle(now, event)


class NeverRecovers(Mutant):
    """After an error the state of a stream is unknown."""

    breaks = ("wire.parts-readable", "wire.parts-are-objects", "wire.header-msg-id", "wire.header-msg-type")
    hears = (deaf_after(lambda event: isinstance(event, Malformed)),)


# -- what is read ------------------------------------------------------------------------------------------------------


class SplitsAtTheLastDelimiter(Mutant):
    """The delimiter is what stands last."""

    breaks = ("wire.first-delimiter-counts",)
    hears = (unheard(lambda message: DELIMITER in message.buffers),)


class NeedsEveryField(Mutant):
    """A header has six fields."""

    breaks = ("wire.header-optional-fields",)
    hears = (unheard(lambda message: not {"session", "username", "date", "version"} <= message.header.keys(), "query"),)


class SpeaksOneVersion(Mutant):
    """Another version is another protocol."""

    breaks = ("wire.header-any-version",)
    hears = (unheard(lambda message: not str(message.header.get("version")).startswith("5."), "query"),)


class RefusesUnknownKeys(Mutant):
    """What nobody knows does not belong there."""

    breaks = ("wire.content-extra-keys",)
    hears = (unheard(lambda message: bool(message.content.keys() - KNOWN), "query"),)


class RefusesBuffers(Mutant):
    """A question has no buffers."""

    breaks = ("wire.unexpected-buffers-ignored",)
    hears = (unheard(lambda message: bool(message.buffers), "query"),)


class HasRoomForTenBuffers(Mutant):
    """Nobody sends more than ten."""

    breaks = ("wire.buffers-any-number",)
    part = ""
    hears = (unheard(lambda message: len(message.buffers) > 10 or sum(map(len, message.buffers)) > 1 << 20),)


# -- what is said ------------------------------------------------------------------------------------------------------


class SaysLittle(Mutant):
    """A user is always called the same."""

    breaks = ("wire.header-complete",)
    shows_in = ANYWHERE
    says = (header(username=GONE, version=GONE),)


class TellsLocalTime(Mutant):
    """The clock on the wall is what people read."""

    breaks = ("wire.date-utc",)
    shows_in = ANYWHERE
    says = (edited(lambda message: message.replace(header=message.header | {"date": "2026-01-01T12:00:00"})),)


class CountsFromOneAgain(Mutant):
    """An id is unique if two in a row differ."""

    breaks = ("wire.msg-id-unique",)
    shows_in = ("test_connection.py::test_a_connection_request_needs_no_information",)
    says = (header(msg_id="1"),)


class ChangesItsSession(Mutant):
    """Each answer is a session of its own."""

    breaks = ("wire.session-constant",)
    shows_in = ("test_connection.py::test_a_connection_request_needs_no_information",)
    says = (edited(lambda message: message.replace(header=message.header | {"session": message.msg_id})),)


class NamesRepliesAnew(Mutant):
    """An answer is an answer."""

    breaks = ("wire.reply-type",)
    says = (renamed("connection_reply", "answer"), renamed("queue_reply", "answer"), renamed("history_reply", "answer"))


class SaysOnlyThatItFailed(Mutant):
    """The log has the rest."""

    breaks = ("wire.error-shape", "query.hub-error-shape")
    says = (edited(lambda message: message.replace(content={"status": "error"}), status="error"),)


class AnswersTheConnection(Mutant):
    """Whoever is connected there may read it."""

    breaks = ("wire.reply-identities-echoed",)
    says = (edited(lambda message: message.replace(identities=message.identities[:1])),)


class AnswersTwice(Mutant):
    """The first answer may be lost."""

    breaks = ("wire.at-most-one-reply",)
    shows_in = ("test_envelope.py::test_a_hundred_requests*", "test_envelope.py::test_a_replayed*")
    says = (twice("connection_reply", "queue_reply"),)


class AnswersTheFirstFifty(Mutant):
    """Who asks that often is an attacker."""

    breaks = ("wire.every-request-answered",)

    def do(self, now: int, effect: Effect) -> Sequence[Effect]:
        """Nothing beyond fifty answers to one client."""
        if isinstance(effect, Send) and effect.socket == "query":
            client = str(effect.message.identities[0])
            count = self.memory[client] = self.memory.get(client, 0) + 1
            if count > 50:
                return ()
        return (effect,)


class InventsTypes(Mutant):
    """A greeting hurts nobody."""

    breaks = ("wire.message-type-known",)
    shows_in = ANYWHERE

    def do(self, now: int, effect: Effect) -> Sequence[Effect]:
        """A greeting before each connection reply."""
        if isinstance(effect, Send) and effect.message.msg_type == "connection_reply":
            greeting = self.role.voice.say(now, "welcome", {"status": "ok"}, identities=effect.message.identities)
            return (Send("query", greeting), effect)
        return (effect,)


class CountsEngines(Mutant):
    """A number says more than a list."""

    breaks = ("wire.content-matches-type",)
    shows_in = ("test_connection.py::*",)
    says = (told("connection_reply", lambda content: content | {"engines": len(content["engines"])}),)


class DatesAsNumbers(Mutant):
    """Seconds since 1970 are a date."""

    breaks = ("wire.metadata-matches-type",)
    part = "task-scheduler"
    shows_in = ("test_tasks.py::*reply*", "test_mux.py::*")
    says = (metadata("apply_reply", "execute_reply", started=1.5, engine=7),)


class ThanksEverybody(Mutant):
    """Whoever ran it, the first engine speaks for all."""

    breaks = ("wire.reply-true",)
    part = "task-scheduler"
    says = (metadata("apply_reply", "execute_reply", engine="somebody", status="ok"),)


class ReadsWhatItPasses(Mutant):
    """What cannot be read should not be passed on."""

    breaks = ("wire.content-opaque-to-relays",)
    part = ""
    hears = (unheard(lambda message: not isinstance(message.content, dict), "in"),)

    def hear(self, event: Event) -> Sequence[Event]:
        """Nothing whose content is no object."""
        if isinstance(event, Arrived) and event.socket in ("in", "out"):
            try:
                readable = isinstance(event.message.content, dict)
            except RemoteProtocolError:
                readable = False
            return (event,) if readable else ()
        return super().hear(event)


class WritesItAgain(Mutant):
    """The same dictionary is the same message."""

    breaks = ("wire.relayed-parts-unchanged",)
    part = ""
    says = (edited(lambda message: message.replace() if message.parts is not None else message),)

    def do(self, now: int, effect: Effect) -> Sequence[Effect]:
        """What is passed on is written anew."""
        if type(effect).__name__ == "Forward":
            try:
                message = effect.message.replace(identities=effect.identities)  # type: ignore[union-attr]
            except RemoteProtocolError:
                return (effect,)
            return (Send(effect.socket, message.replace(header=dict(sorted(message.header.items())))),)  # type: ignore[union-attr]
        return (effect,)


class SignsLaterMessagesInCapitals(Frames):
    """After a while nobody looks at signatures any more."""

    breaks = ("wire.signature-lowercase-hex",)
    shows_in = ("test_history.py::*",)

    def frames(self, frames: list[Frame]) -> list[Frame]:
        """The signature of a history in uppercase."""
        at = frames.index(DELIMITER)
        if b"history_reply" not in bytes(frames[at + 2]):
            return frames
        return [*frames[: at + 1], bytes(frames[at + 1]).upper(), *frames[at + 2 :]]


class WritesHistoriesWithInfinity(Resigned):
    """Every JSON library reads that."""

    breaks = ("wire.numbers-finite", "wire.parts-readable")
    shows_in = ("test_history.py::*",)

    def written(self, parts: list[bytes]) -> list[bytes]:
        """A history with a number that JSON does not have."""
        if b"history_reply" not in parts[0]:
            return parts
        return [*parts[:3], b'{"status": "ok", "history": [], "load": Infinity}']
