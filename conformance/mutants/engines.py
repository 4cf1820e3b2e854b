"""Mistakes of an engine in its registration, and in what it runs: code and calls."""

from collections.abc import Sequence
from typing import Any, ClassVar

from conformance.mutants.changes import (
    GONE,
    content,
    edited,
    header,
    heard,
    is_so,
    metadata,
    other,
    renamed,
    told,
    unheard,
    without,
)  # fmt: skip
from conformance.mutants.mutant import Mutant
from protocol.roles.base import Arrived, Effect, Event, Exit, Fired, Send
from protocol.wire import Message

ENGINE, WARDEN = "engine", "warden"
FAILURE = ("ename", "evalue", "traceback", "engine_info")
#: The fields of a request for code.
USUAL = frozenset({"code", "silent", "store_history", "user_expressions", "allow_stdin", "stop_on_error"})
#: The requests and replies that an engine knows.
KNOWN = frozenset({
    "execute_request", "apply_request", "kernel_info_request", "is_complete_request", "abort_request", "clear_request",
    "shutdown_request", "signal_request", "registration_reply",
})  # fmt: skip


class Working(Mutant):
    """A mutant of an engine: of its main role, of its nanny or of its heart; `part` empty: of all of them."""

    judged_as = "engine"
    part = ENGINE


def lost(*keys: str) -> dict[str, Any]:
    """These keys are left out."""
    return dict.fromkeys(keys, GONE)


# -- registration ------------------------------------------------------------------------------------------------------


class SpeaksForAnotherSession(Working):
    """A session is whatever one likes."""

    breaks = ("registration.engine-session-is-uuid",)
    says = (header(session="another"),)


class Timeless(Working):
    """An engine for which a timer never fires."""

    timer: ClassVar[str] = ""

    def hear(self, event: Event) -> Sequence[Event]:
        """All but that."""
        return () if isinstance(event, Fired) and event.timer == self.timer else (event,)


class WaitsForItsReplyForEver(Timeless):
    """It will come in the end."""

    breaks = ("registration.engine-gives-up",)
    timer = "registration"


class WatchesNoPings(Timeless):
    """A monitor is not for engines to monitor."""

    breaks = ("heartbeat.engine-watches-pings",)
    timer = "watch"


class LeavesWithoutAWord(Working):
    """Its heart will tell."""

    breaks = ("registration.engine-gives-up", "heartbeat.engine-watches-pings")
    part = ""
    says = (without("unregistration_request"),)


class FailsWithoutSayingSo(Working):
    """An end is an end."""

    breaks = ("registration.engine-gives-up",)

    def do(self, now: int, effect: Effect) -> Sequence[Effect]:
        """Always the same status."""
        return (Exit(0),) if isinstance(effect, Exit) else (effect,)


def _is_refusal(message: Message) -> bool:
    return message.msg_type == "registration_reply" and message.content.get("status") == "error"


class ServesWhenRefused(Working):
    """Who asks is in."""

    breaks = ("registration.refused-engine-serves-nobody",)
    hears = (heard(lambda m: m.replace(content={"status": "ok", "id": 3, "hb_period": 100}) if _is_refusal(m) else m),)


# -- code --------------------------------------------------------------------------------------------------------------


def _from(*queues: bytes) -> Any:
    """Nothing that came through these queues is heard; a queue is known by the identity of its scheduler."""
    return unheard(lambda message: bool(set(queues) & set(message.identities)), "shell")


class DeafToTasks(Working):
    """Tasks are for others."""

    breaks = ("apply.execute-too", "apply.answered")
    hears = (_from(b"task_out"),)


class ErrorsAreFine(Working):
    """It ran, and that is what counts."""

    breaks = ("apply.execute-error-reported",)
    says = (told("execute_reply", lambda c: other(c, lost(*FAILURE)) | {"status": "ok"}, status="error"),)


class SilentAboutBadContent(Working):
    """Who sends nonsense wants no answer."""

    breaks = ("kernel.execute-missing-code", "kernel.bad-content-answered")

    def hear(self, event: Event) -> Sequence[Event]:
        """Nothing that is no request for code."""
        if isinstance(event, Arrived) and event.message.msg_type == "execute_request":
            return (event,) if is_so(lambda m: isinstance(m.content.get("code"), str), event.message) else ()
        return (event,)


class GivesUpAfterAnError(Working):
    """After an error nothing is as it was."""

    breaks = ("apply.usable-after-error", "stdin.not-allowed-error")

    def do(self, now: int, effect: Effect) -> Sequence[Effect]:
        """Everything is aborted after the first failure."""
        if isinstance(effect, Send) and effect.message.msg_type == "execute_reply":
            if self.memory.get("failed"):
                return (Send(effect.socket, effect.message.replace(content={"status": "aborted"})),)
            self.memory["failed"] = effect.message.content.get("status") == "error"
        return (effect,)


class CountsNothing(Working):
    """Seven is a good number."""

    breaks = ("kernel.execution-count",)
    says = (content("execute_reply", execution_count=7),)


class CountsFromZero(Working):
    """The first number is nought."""

    breaks = ("kernel.execution-count",)
    says = (edited(lambda m: m.replace(content=m.content | {"execution_count": m.content["execution_count"] - 1})
                   if "execution_count" in m.content else m, "execute_reply"),)  # fmt: skip


class CountsNoErrors(Working):
    """What failed does not count."""

    breaks = ("kernel.count-in-ok-and-error",)
    says = (content("execute_reply", status="error", execution_count=GONE),)


class CountsWhateverComes(Working):
    """A request is a request."""

    breaks = ("kernel.silent-quiet", "kernel.store-history-false", "kernel.empty-code-ok")
    hears = (heard(lambda m: m if "pilot" in str(m.content.get("code"))
                   else m.replace(content={"code": m.content.get("code") or "{}"}), "execute_request"),)  # fmt: skip


class ForgetsExpressions(Working):
    """Who wants a value should ask for it."""

    breaks = ("kernel.user-expressions",)
    says = (content("execute_reply", status="ok", user_expressions={}),)


class StrictAboutFields(Working):
    """What nobody knows does not belong there."""

    breaks = ("kernel.extra-fields-ignored",)
    hears = (unheard(lambda m: m.msg_type == "execute_request" and not m.content.keys() <= USUAL),)


class AnswersTheFirstClient(Working):
    """Who came first is the one who waits."""

    breaks = ("wire.reply-identities-echoed",)

    def do(self, now: int, effect: Effect) -> Sequence[Effect]:
        """All replies to the first who asked."""
        if isinstance(effect, Send) and effect.message.msg_type.endswith("_reply"):
            first = self.memory.setdefault("first", effect.message.identities)
            return (Send(effect.socket, effect.message.replace(identities=first)),)
        return (effect,)


class GoesOnAfterErrors(Working):
    """What is queued is queued."""

    breaks = ("kernel.stop-on-error-aborts",)
    hears = (heard(lambda m: m.replace(content=m.content | {"stop_on_error": False}), "execute_request"),)


class StopsAtErrors(Working):
    """After an error nothing is as it was."""

    breaks = ("kernel.stop-on-error-false",)
    hears = (heard(lambda m: m.replace(content=m.content | {"stop_on_error": True}), "execute_request"),)


class AbortsWithoutAWord(Working):
    """What did not run has no result."""

    breaks = ("kernel.aborted-answered", "control.aborted-request-answered")

    def do(self, now: int, effect: Effect) -> Sequence[Effect]:
        """No reply for what was aborted."""
        is_end = isinstance(effect, Send) and effect.message.msg_type.endswith("_reply")
        return () if is_end and effect.message.content.get("status") == "aborted" else (effect,)  # type: ignore[union-attr]


class AbortsForEver(Working):
    """An abort is an abort."""

    breaks = ("kernel.later-requests-run", "control.abort-now-only")

    def do(self, now: int, effect: Effect) -> Sequence[Effect]:
        """After one abortion everything is aborted."""
        if isinstance(effect, Send) and effect.message.msg_type == "execute_reply":
            self.memory["ever"] = self.memory.get("ever") or effect.message.content.get("status") == "aborted"
            if self.memory["ever"]:
                return (Send(effect.socket, effect.message.replace(content={"status": "aborted"})),)
        return (effect,)


class HasNoBanner(Working):
    """A banner is for people."""

    breaks = ("kernel.kernel-info",)
    says = (content("kernel_info_reply", banner=GONE),)


class FindsCodeInvalid(Working):
    """Who asks has doubts."""

    breaks = ("kernel.is-complete",)
    says = (told("is_complete_reply", lambda _: {"status": "invalid"}, status=""),)


class CallsAllRepliesTheSame(Working):
    """A reply is a reply."""

    breaks = ("wire.dispatch-by-type",)
    says = (renamed("kernel_info_reply", "execute_reply"),)


class DiesOfTheUnknown(Working):
    """What nobody knows ends everything."""

    breaks = ("kernel.unknown-type-bracketed", "control.unknown-type-harmless")

    def hear(self, event: Event) -> Sequence[Event]:
        """Nothing more after a type that it does not know."""
        if isinstance(event, Arrived):
            if self.memory.get("deaf"):
                return ()
            self.memory["deaf"] = event.message.msg_type not in KNOWN
        return (event,)


class RunsTheLatestFirst(Working):
    """The latest is the most urgent."""

    breaks = ("kernel.shell-fifo",)

    def prepare(self) -> None:
        """The queue is a stack."""
        work = self.role.work

        def take_next(now: int, effects: list[Effect]) -> None:
            while not work.running and work.queue:
                socket, message = work.queue.pop()
                work.running = work._begin(now, socket, message, effects)

        work.go_on = take_next


class LetsControlWait(Working):
    """One thing after the other."""

    breaks = ("control.own-channel",)

    def handle(self, now: int, event: Event) -> Sequence[Effect]:
        """Control requests when nothing runs."""
        if isinstance(event, Arrived) and event.socket == "control" and self.role.work.running:
            self.memory.setdefault("late", []).append(event)
            return ()
        done = list(super().handle(now, event))
        while not self.role.work.running and self.memory.get("late"):
            done += super().handle(now, self.memory["late"].pop(0))
        return done


class AnswersBeforeItRuns(Working):
    """It will go well."""

    breaks = ("apply.one-at-a-time", "control.before-queued-requests")

    def handle(self, now: int, event: Event) -> Sequence[Effect]:
        """An answer at once to what comes while something runs."""
        if isinstance(event, Arrived) and event.socket == "shell" and self.role.work.running:
            well = {"status": "ok", "execution_count": 1}
            return (Send("shell", self.role.voice.answer(now, event.message, well, metadata={"status": "ok"})),)
        return super().handle(now, event)


# -- calls -------------------------------------------------------------------------------------------------------------


class SaysThatItIsFine(Working):
    """A status is for people."""

    breaks = ("apply.metadata-status",)
    says = (metadata("apply_reply", status="fine"),)


class SaysThatItWasAnother(Working):
    """Who ran it does not matter."""

    breaks = ("apply.metadata-engine",)
    says = (metadata("apply_reply", engine="another"),)


class SaysThatItWasYesterday(Working):
    """A date is for people."""

    breaks = ("apply.metadata-started",)
    says = (metadata("apply_reply", started="yesterday"),)


class ForgetsTheBroadcast(Working):
    """The id of the copy is enough."""

    breaks = ("broadcast.engine-reply-metadata",)
    says = (metadata("apply_reply", original_msg_id=""),)
