"""Mistakes of an engine around what it runs: control, output, and the envelope of messages."""

from collections.abc import Sequence
from typing import Any, ClassVar

from conformance.mutants.changes import GONE, content, edited, metadata, on, renamed, told, unheard, without, wrap
from conformance.mutants.engines import KNOWN, WARDEN, Working
from protocol.errors import RemoteProtocolError
from protocol.roles.base import Arrived, Effect, Event, Forward, Malformed, Send
from protocol.wire import DELIMITER, Frame, Message

#: The keys of every header.
KEYS = frozenset({"msg_id", "msg_type", "username", "session", "date", "version"})
NOBODY = ("nobody",)


# -- control -----------------------------------------------------------------------------------------------------------


class Aborting(Working):
    """An engine that takes aborts of one `form`, by how they name their requests, for aborts of `others`."""

    form: ClassVar[str] = ""
    others: ClassVar[Sequence[str]] = ()

    def hear(self, event: Event) -> Sequence[Event]:
        """The other abort."""
        if isinstance(event, Arrived) and event.message.msg_type == "abort_request":
            said = event.message.content["msg_ids"]
            form = "single" if isinstance(said, str) else "null" if said is None else "named" if said else "empty"
            if form == self.form:
                return (Arrived(event.socket, event.message.replace(content={"msg_ids": list(self.others)})),)
        return (event,)


class AbortsNothing(Aborting):
    """What was asked for will be done."""

    breaks = ("control.abort-by-id",)
    form, others = "named", NOBODY


class AbortsEverything(Aborting):
    """Who aborts one thing has lost patience with all."""

    breaks = ("control.abort-keeps-others", "control.abort-unknown-harmless")
    form, others = "named", ()


class TakesNullForNothing(Aborting):
    """Nothing is nothing."""

    breaks = ("control.abort-null-means-all",)
    form, others = "null", NOBODY


class TakesAnEmptyListForNothing(Aborting):
    """An empty list names nobody."""

    breaks = ("control.abort-empty-means-all",)
    form, others = "empty", NOBODY


class WantsAListOfAborts(Aborting):
    """One is a list of one."""

    breaks = ("control.abort-single-id",)
    form, others = "single", NOBODY


class AnswersNoAbort(Working):
    """The aborted requests will be answered."""

    breaks = ("control.abort-answered",)
    says = (without("abort_reply"),)


class AbortsWhatRuns(Working):
    """It was named, so it is aborted."""

    breaks = ("control.abort-running-harmless",)

    def hear(self, event: Event) -> Sequence[Event]:
        """Take note of an abort of what runs."""
        work = self.role.work
        if isinstance(event, Arrived) and event.message.msg_type == "abort_request" and work.running:
            running = work.jobs[work.running].message.msg_id
            if running in (event.message.content["msg_ids"] or ()):
                self.memory[running] = True
        return (event,)

    def do(self, now: int, effect: Effect) -> Sequence[Effect]:
        """Its reply says that it did not run."""
        if isinstance(effect, Send) and effect.message.msg_type == "execute_reply":
            is_named = effect.message.parent_header.get("msg_id") in [*self.memory]
            return (Send("shell", effect.message.replace(content={"status": "aborted"})),) if is_named else (effect,)
        return (effect,)


class StrictAboutControl(Working):
    """A request to clear has nothing to say."""

    breaks = ("wire.content-extra-keys",)
    hears = (unheard(lambda m: m.msg_type == "clear_request" and bool(m.content)),)


class CountsControl(Working):
    """A request is a request."""

    breaks = ("control.executes-nothing",)

    def hear(self, event: Event) -> Sequence[Event]:
        """One more with each abort."""
        if isinstance(event, Arrived) and event.message.msg_type == "abort_request":
            self.role.work.count += 1
        return (event,)


class AnswersAbortsInPairs(Working):
    """The later one first."""

    breaks = ("kernel.control-fifo",)

    def do(self, now: int, effect: Effect) -> Sequence[Effect]:
        """Every second reply before the one before it."""
        if not isinstance(effect, Send) or effect.message.msg_type != "abort_reply":
            return (effect,)
        return self.overtaken(effect)


class NamelessControl(Working):
    """There is only one engine here."""

    breaks = ("control.reply-metadata-engine",)
    says = (metadata("abort_reply", "clear_reply", engine=GONE),)


class AnswersNoClear(Working):
    """What is gone is gone."""

    breaks = ("control.clear-answered",)
    says = (without("clear_reply"),)


class DiesOfAClear(Working):
    """An empty engine has nothing to run with."""

    breaks = ("control.clear-leaves-engine-usable",)

    def do(self, now: int, effect: Effect) -> Sequence[Effect]:
        """Nothing goes well after a clear."""
        if isinstance(effect, Send):
            self.memory["cleared"] = self.memory.get("cleared") or effect.message.msg_type == "clear_reply"
            is_end = effect.message.msg_type == "execute_reply" and effect.message.content.get("status") == "ok"
            if self.memory["cleared"] and is_end:
                return (Send(effect.socket, effect.message.replace(content={"status": "aborted"})),)
        return (effect,)


class MisnamesSignals(Working):
    """A signal was sent, so it is signalled."""

    breaks = ("control.signal-answered",)
    part = WARDEN
    says = (renamed("signal_reply", "signalled"),)


class AnswersNoShutdown(Working):
    """Who is gone cannot answer."""

    breaks = ("control.shutdown-answered",)
    says = (on("control", without("shutdown_reply")),)


class ForgetsTheRestart(Working):
    """An end is an end."""

    breaks = ("control.shutdown-restart-echoed",)
    says = (content("shutdown_reply", restart=GONE),)


class WantsToKnowOfARestart(Working):
    """An engine must know whether it comes back."""

    breaks = ("control.shutdown-empty-content",)
    hears = (unheard(lambda m: m.msg_type == "shutdown_request" and not m.content),)


class LeavesUnpublished(Working):
    """Who asked knows."""

    breaks = ("control.shutdown-published",)
    says = (on("iopub", without("shutdown_reply")),)


class RunsItsQueueAtTheEnd(Working):
    """What was asked for is done."""

    breaks = ("control.shutdown-aborts-queue",)
    says = (told("execute_reply", lambda _: {"status": "ok", "execution_count": 9}, status="aborted"),)


class CleansWhatItPasses(Working):
    """What nobody knows does not belong there."""

    breaks = ("control.warden-passes-through",)
    part = WARDEN

    def do(self, now: int, effect: Effect) -> Sequence[Effect]:
        """Headers without unknown keys."""
        if isinstance(effect, Forward):
            clean = {key: value for key, value in effect.message.header.items() if key in KEYS}
            return (Send(effect.socket, effect.message.replace(header=clean, identities=effect.identities)),)
        return (effect,)


class DiesUnnoticed(Working):
    """Its heart will tell."""

    breaks = ("registration.warden-reports-death",)
    part = WARDEN
    says = (without("unregistration_request"),)


# -- output ------------------------------------------------------------------------------------------------------------


class SwallowsStreams(Working):
    """Text is for those who look over one's shoulder."""

    breaks = ("iopub.stream-text",)
    says = (without("stream"),)


class BreaksLinesOff(Working):
    """The beginning of a line says it all."""

    breaks = ("iopub.stream-order",)
    says = (told("stream", lambda c: c | {"text": c["text"].replace("500\n", "")}, status=""),)


class IdlesTwice(Working):
    """What is important is said twice."""

    breaks = ("iopub.status-brackets",)

    def do(self, now: int, effect: Effect) -> Sequence[Effect]:
        """Idle once more."""
        if isinstance(effect, Send) and effect.message.content.get("execution_state") == "idle":
            said = effect.message
            again = self.role.voice.say(now, "status", said.content, parent=said.parent_header, metadata=said.metadata,
                                        identities=said.identities)  # fmt: skip
            return (effect, Send(effect.socket, again))
        return (effect,)


class Late(Working):
    """An engine that publishes `first` after `then`."""

    first: ClassVar[str] = ""
    then: ClassVar[str] = ""

    def do(self, now: int, effect: Effect) -> Sequence[Effect]:
        """Hold the one back until the other has gone out."""
        if not isinstance(effect, Send) or effect.socket != "iopub":
            return (effect,)
        held = self.memory.setdefault("held", [])
        if effect.message.msg_type == self.first:
            held.append(effect)
            return ()
        if effect.message.msg_type == self.then and effect.message.content.get("execution_state") != "busy":
            released, held[:] = list(held), []
            return (effect, *released)
        return (effect,)


class PrintsAfterIdle(Late):
    """First the work, then the report."""

    breaks = ("iopub.output-inside-brackets",)
    first, then = "stream", "status"


class ShowsInputInTheEnd(Late):
    """What it was can be said when it is done."""

    breaks = ("kernel.execute-input-first",)
    first, then = "execute_input", "stream"


class AltersParents(Working):
    """An id is enough to find a request."""

    breaks = ("iopub.parent-names-request",)
    says = (edited(lambda m: m.replace(parent_header=m.parent_header | {"date": "another"}), "stream"),)


class TopicsOfAKernel(Working):
    """An engine is a kernel."""

    breaks = ("iopub.topic-names-engine",)
    says = (on("iopub", edited(lambda m: m.replace(identities=(b"kernel." + m.msg_type.encode(),)))),)


class HidesInput(Working):
    """Who asked knows what."""

    breaks = ("iopub.execute-input-published",)
    says = (without("execute_input"),)


class HidesValues(Working):
    """Values are for who asked."""

    breaks = ("iopub.execute-result-published",)
    says = (without("execute_result"),)


class HidesErrors(Working):
    """Errors are for who made them."""

    breaks = ("iopub.error-published",)
    says = (without("error"),)


class KeepsData(Working):
    """Data is no output."""

    breaks = ("iopub.data-published",)
    says = (without("data_message"),)


class NamesNoData(Working):
    """The values are in the buffers."""

    breaks = ("iopub.data-published",)
    says = (content("data_message", keys=[]),)


class NamelessOutput(Working):
    """The topic names it."""

    breaks = ("iopub.engine-metadata",)
    says = (metadata("status", "execute_input", "error", engine=GONE),)


class ShowsWhatIsSilent(Working):
    """Everything has an input."""

    breaks = ("kernel.silent-quiet",)

    def do(self, now: int, effect: Effect) -> Sequence[Effect]:
        """An input before each idle."""
        if isinstance(effect, Send) and effect.message.content.get("execution_state") == "idle":
            extra: list[Effect] = []
            shown = {"code": "0", "execution_count": 1}
            self.role.work.publish(now, "execute_input", shown, effect.message.parent_header, extra)
            return (*extra, effect)
        return (effect,)


class BracketsWhatItKnows(Working):
    """What nobody knows is no work."""

    breaks = ("kernel.unknown-type-bracketed",)

    def do(self, now: int, effect: Effect) -> Sequence[Effect]:
        """No state for requests of unknown types."""
        if isinstance(effect, Send) and effect.message.msg_type == "status":
            of = effect.message.parent_header.get("msg_type")
            return (effect,) if of is None or of in KNOWN else ()
        return (effect,)


# -- the envelope ------------------------------------------------------------------------------------------------------


class EngineDiesOfGarbage(Working):
    """After an error the state of a stream is unknown."""

    breaks = (
        "wire.delimiter-present", "wire.all-parts-present", "wire.parts-readable", "wire.parts-are-objects",
        "wire.header-msg-id", "wire.header-msg-type", "wire.malformed-harms-nobody",
    )  # fmt: skip

    def hear(self, event: Event) -> Sequence[Event]:
        """Nothing more after what is no message."""
        if isinstance(event, Malformed):
            self.memory["deaf"] = True
        return () if self.memory.get("deaf") and isinstance(event, Arrived) else (event,)


class WantsEveryKey(Working):
    """A header has six fields, and there is one version."""

    breaks = ("wire.header-optional-fields", "wire.header-any-version", "wire.header-extra-keys")
    hears = (unheard(lambda m: m.msg_type in KNOWN and (m.header.keys() != KEYS or m.header["version"] == "99.0")),)


class WantsNoBuffers(Working):
    """Code is text."""

    breaks = ("wire.unexpected-buffers-ignored", "wire.buffers-any-number")
    hears = (unheard(lambda m: m.msg_type != "apply_request" and bool(m.buffers)),)


class Believing(Working):
    """An engine, with its nanny, that opens messages in another way."""

    part = ""

    def opened(self, opens: Any, frames: list[Frame]) -> Message:
        """The message."""
        raise AssertionError(f"{self.name()} opens messages as it should")

    def prepare(self) -> None:
        """Put it in the place of the codec's way."""
        wrap(self.shell.codec, "open_header", lambda opens, frames: self.opened(opens, list(frames)))


class BelievesAnything(Believing):
    """Within one machine nobody forges."""

    breaks = ("wire.signature-verified", "wire.replay-refused")

    def opened(self, opens: Any, frames: list[Frame]) -> Message:
        """Whatever it is, it is signed well, and new."""
        self.shell.codec.replay = None
        at = frames.index(DELIMITER) + 1 if DELIMITER in frames else 0
        frames[at : at + 1] = [self.shell.codec.sign(b"".join(frames[at + 1 : at + 5]))]
        message: Message = opens(frames)
        return message


class BelievesCapitals(Believing):
    """A digit is a digit."""

    breaks = ("wire.signature-uppercase-refused",)

    def opened(self, opens: Any, frames: list[Frame]) -> Message:
        """Signatures in lowercase."""
        message: Message = opens([bytes(each).lower() if len(bytes(each)) == 64 else each for each in frames])
        return message


class RemembersTooEarly(Believing):
    """What was seen was seen."""

    breaks = ("wire.forged-copy-does-not-block",)

    def opened(self, opens: Any, frames: list[Frame]) -> Message:
        """Nothing under a signature that came before, right or wrong."""
        signature = bytes(frames[frames.index(DELIMITER) + 1]).hex() if DELIMITER in frames[:-1] else ""
        if signature in self.memory:
            raise RemoteProtocolError
        self.memory[signature] = True
        message: Message = opens(frames)
        return message
