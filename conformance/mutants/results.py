"""Mistakes of a Hub in what it tells of results."""

from collections.abc import Callable, Sequence
from typing import Any, ClassVar

from conformance.mutants.changes import GONE, asked, edited, other, told, unheard, wrap
from conformance.mutants.mutant import Change, Mutant
from conformance.mutants.refusals import AnswersErrors, Refusing
from protocol.roles.base import Arrived, Effect, Event, Query
from protocol.wire import Json, Message


def results(edit: Callable[[Json], Json]) -> Change:
    """Each entry of a result reply is what is made of it."""
    return told(
        "result_reply",
        lambda c: {key: edit(dict(value)) if isinstance(value, dict) else value for key, value in c.items()},
    )


class TellsOfOthers(Mutant):
    """The first is an example."""

    breaks = ("query.result-by-msg-id",)
    says = (told("result_reply", lambda c: c | {"completed": c["completed"][:1], "pending": c["pending"][:1]}),)


class GivesNoEntries(Mutant):
    """The lists tell enough."""

    breaks = ("query.result-completed",)
    says = (told("result_reply", lambda c: {key: c[key] for key in ("status", "pending", "completed")}),)


class GivesEntriesOfThePending(Mutant):
    """An entry may be empty."""

    breaks = ("query.result-pending",)
    says = (told("result_reply", lambda c: c | {msg_id: {} for msg_id in c["pending"]}),)


class PutsThemInBothPlaces(Mutant):
    """What is completed was pending."""

    breaks = ("query.result-one-place",)
    says = (told("result_reply", lambda c: c | {"pending": c["pending"] + c["completed"]}),)


class TellsOnlyTheStatus(Mutant):
    """Who wants more can fetch it from the engine."""

    breaks = ("query.result-content",)
    says = (results(lambda e: e | {"result_content": {"status": "ok"}}),)


class TellsOfSuccess(Mutant):
    """What failed need not be told again."""

    breaks = ("query.result-failed-is-completed",)
    says = (results(lambda e: e | {"result_content": {"status": "ok"}}),)


class ForgetsTheOutput(Mutant):
    """What was printed was seen."""

    breaks = ("query.result-record-keys",)
    says = (results(lambda e: other(e, {"io": GONE})),)


class GivesTheReplysHeaderTwice(Mutant):
    """One header is like another."""

    breaks = ("query.result-header",)
    says = (results(lambda e: e | {"header": e.get("result_header")}),)


class KeepsNoBuffers(Mutant):
    """Buffers are large."""

    breaks = ("query.result-buffers",)
    says = (edited(lambda m: m.replace(buffers=()), "result_reply"),)


class GivesBuffersTheOtherWayRound(Mutant):
    """The last one first."""

    breaks = ("query.result-buffers-order",)
    says = (edited(lambda m: m.replace(buffers=tuple(reversed(m.buffers))), "result_reply"),)


class AlwaysGivesABuffer(Mutant):
    """An empty one does no harm."""

    breaks = ("query.result-no-buffers",)
    says = (edited(lambda m: m.replace(buffers=(*m.buffers, b"")), "result_reply", status="ok"),)


class GivesResultsWithTheStatus(Mutant):
    """More is better."""

    breaks = ("query.result-status-only", "query.status-only-accepted")
    hears = (asked("result_request", lambda c: other(c, {"status_only": GONE, "statusonly": GONE})),)


class TellsTheStatusUnlessToldMore(Mutant):
    """A result is large."""

    breaks = ("query.result-status-only-default",)
    hears = (asked("result_request", lambda c: {"status_only": True} | c),)


class KnowsOneNameOfTheFlag(Mutant):
    """The documents say what it is called."""

    breaks = ("query.status-only-accepted",)
    hears = (asked("result_request", lambda c: other(c, {"status_only": GONE})),)


class CompletesNothing(Mutant):
    """A result is who asked's, and nobody else's business."""

    breaks = ("query.result-completed",)
    hears = (unheard(lambda m: m.identities[:1] in ((b"out",), (b"outtask",)), "monitor"),)


class KeepsResultsForWhoAsked(Mutant):
    """A result is its owner's."""

    breaks = ("query.result-any-client", "storage.results-kept")

    def do(self, now: int, effect: Effect) -> Sequence[Effect]:
        """Only the session that sent the request finds it."""
        if isinstance(effect, Query) and isinstance(effect.arguments[0].get("msg_id"), dict):
            session = self.memory.get("session")
            return (
                effect._replace(arguments=({**effect.arguments[0], "client_uuid": session}, *effect.arguments[1:])),
            )
        return (effect,)

    def hear(self, event: Event) -> Sequence[Event]:
        """Take note of who asks."""
        if isinstance(event, Arrived) and event.message.msg_type == "result_request":
            self.memory["session"] = event.message.header.get("session")
        return (event,)


class KnowsEveryMessage(AnswersErrors):
    """What nobody knows is pending."""

    breaks = ("query.result-unknown-id",)
    replies = ("result",)
    reply: ClassVar[Json] = {"status": "ok", "pending": [], "completed": []}


class AnswersWhatItKnows(Mutant):
    """Half an answer is better than none."""

    breaks = ("query.result-partly-unknown",)

    def prepare(self) -> None:
        """Leave out what is unknown, if anything is known."""
        inquiries = self.role.inquiries

        def conclude(old: Any, now: int, message: Message, kept: Any, found: Any) -> Any:
            if message.msg_type == "result_request" and found[0]:
                known = {record["msg_id"] for record in found[0]}
                kept = (tuple(msg_id for msg_id in kept[0] if msg_id in known), kept[1])
            return old(now, message, kept, found)

        wrap(inquiries, "conclude", conclude)


class MindsTargets(Refusing):
    """A result request names messages and nothing else."""

    breaks = ("query.result-targets-tolerated",)

    def refuses(self, message: Message) -> bool:
        """Result requests with targets."""
        return message.msg_type == "result_request" and "targets" in message.content
