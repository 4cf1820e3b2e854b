"""Mistakes of a Hub about single answers: whom it serves, what an answer belongs to, and what asking does."""

from collections.abc import Sequence
from typing import Any

from conformance.mutants.changes import edited, heard, told, unheard
from conformance.mutants.mutant import Mutant
from protocol.roles.base import Arrived, Effect, Event, Malformed, Send, Store
from protocol.wire import Json

REPLIES = ("connection_reply", "queue_reply", "history_reply", "result_reply")


def only_the_id(header: Json) -> Json:
    """As much of a header as is needed to find a request."""
    return {key: header[key] for key in ("msg_id", "msg_type") if key in header}


class NamesTheRequestBriefly(Mutant):
    """An id is enough to find a request."""

    breaks = ("wire.reply-parent",)
    says = (edited(lambda m: m.replace(parent_header=only_the_id(m.parent_header)), *REPLIES),)


class DropsWhatItDoesNotKnow(Mutant):
    """What nobody knows nobody needs."""

    breaks = ("wire.header-extra-keys",)
    says = (edited(lambda m: m.replace(parent_header={k: v for k, v in m.parent_header.items() if k in m.header}),
                   *REPLIES),)  # fmt: skip


class SaysNoStatus(Mutant):
    """No news is good news."""

    breaks = ("wire.reply-status",)
    says = (*(told(each, lambda c: {k: v for k, v in c.items() if k != "status"}) for each in REPLIES),)


class GoesByContent(Mutant):
    """Who asks for nothing in particular wants to connect."""

    breaks = ("wire.dispatch-by-type",)
    hears = (heard(lambda m: m.replace(header=m.header | {"msg_type": "connection_request"}) if not m.content else m,
                   "history_request", socket="query"),)  # fmt: skip


class BansWhoErred(Mutant):
    """Who sent nonsense once will do it again."""

    breaks = ("wire.sender-recovers",)

    def hear(self, event: Event) -> Sequence[Event]:
        """Nothing more from who sent what is no message."""
        if isinstance(event, Malformed) and event.socket == "query":
            self.memory[bytes(event.frames[0]).hex()] = True
        if isinstance(event, Arrived) and event.socket == "query":
            return () if event.message.identities[0].hex() in self.memory else (event,)
        return (event,)


class ExpectsAnEmptyFrame(Mutant):
    """Who asks does so by a REQ, which puts an empty frame in front."""

    breaks = ("connection.socket-names-are-aliases",)
    hears = (unheard(lambda m: m.msg_type == "connection_request" and len(m.identities) == 1, "query"),)


class ServesWhoIsNoEngine(Mutant):
    """An engine registers and works; it has no questions."""

    breaks = ("query.same-socket-as-registration",)

    def hear(self, event: Event) -> Sequence[Event]:
        """No questions about queues from who has registered."""
        if isinstance(event, Arrived) and event.socket == "query":
            asker = event.message.identities[0].hex()
            if event.message.msg_type == "registration_request":
                self.memory[asker] = True
            if event.message.msg_type == "queue_request" and asker in self.memory:
                return ()
        return (event,)


class NamesAnotherFailure(Mutant):
    """That something failed is what matters."""

    breaks = ("query.hub-error-names-request",)
    says = (edited(lambda m: m.replace(parent_header=only_the_id(m.parent_header)), "hub_error"),)


class ForgetsWhatItWasAskedAbout(Mutant):
    """Who asks about loads wants less of them."""

    breaks = ("query.reading-changes-nothing",)

    def handle(self, now: int, event: Event) -> Sequence[Effect]:
        """A purge of what is done with each question about loads."""
        done = super().handle(now, event)
        if isinstance(event, Arrived) and event.message.msg_type == "load_request":
            return (*done, Store("drop_matching", ({"completed": {"$ne": None}},)))
        return done


class HandsResultsOut(Mutant):
    """What was fetched is delivered."""

    breaks = ("query.result-repeatable",)

    def do(self, now: int, effect: Effect) -> Sequence[Effect]:
        """No record of what was told in full."""
        if isinstance(effect, Send) and effect.message.msg_type == "result_reply":
            told_of = [key for key, value in effect.message.content.items() if isinstance(value, dict)]
            return (effect, Store("drop_matching", ({"msg_id": {"$in": told_of}},))) if told_of else (effect,)
        return (effect,)


class OverwritesTheOldResult(Mutant):
    """Who wants it again does not want what was."""

    breaks = ("query.resubmit-old-result-kept",)

    def do(self, now: int, effect: Effect) -> Sequence[Effect]:
        """No old result beside a new id."""
        if isinstance(effect, Store) and "resubmitted" in str(effect.arguments[1:]):
            msg_id, changes = effect.arguments
            return (Store("update_record", (msg_id, {**changes, "result_buffers": ()})),)
        return (effect,)


def _listed_again(content: Json) -> Json:
    entries: dict[str, Any] = {key: value for key, value in content.items() if isinstance(value, dict)}
    return content | {
        key: entry | {"completed": [*entry["completed"], *entry["queue"]]}
        for key, entry in entries.items()
        if isinstance(entry["completed"], list)
    }


class KnowsEnginesByName(Mutant):
    """A name says more than a number."""

    breaks = ("query.queue-keys-are-strings",)

    def do(self, now: int, effect: Effect) -> Sequence[Effect]:
        """Uuids as keys."""
        if isinstance(effect, Send) and effect.message.msg_type == "queue_reply":
            names = {str(engine.id): engine.uuid for engine in self.role.engines.by_id.values()}
            content = {names.get(key, key): value for key, value in effect.message.content.items()}
            return (Send(effect.socket, effect.message.replace(content=content)),)
        return (effect,)


class CountsOnTheEnd(Mutant):
    """What an engine has it will do."""

    breaks = ("query.queue-agrees-with-results",)
    says = (told("queue_reply", _listed_again),)
