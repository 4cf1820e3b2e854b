"""Mistakes of a Hub in how it answers whoever asks, whatever the question is, and in how it ends when told to."""

from collections.abc import Sequence

from conformance.mutants.changes import asked, edited, when, without
from conformance.mutants.mutant import Mutant
from conformance.mutants.refusals import Refusing
from protocol.roles.base import Arrived, Effect, Event, Exit, Send, Store
from protocol.wire import Message


class AnswersTheLastAsker(Mutant):
    """Who asked last waits longest."""

    breaks = ("query.two-askers-kept-apart",)

    def do(self, now: int, effect: Effect) -> Sequence[Effect]:
        """Each third answer goes to who was answered before."""
        if isinstance(effect, Send) and effect.message.msg_type == "queue_reply":
            before = self.memory.get("before")
            self.memory["before"] = effect.message.identities
            if before and before != effect.message.identities:
                return (Send("query", effect.message.replace(identities=before)),)
        return (effect,)


class AnswersInPairs(Mutant):
    """The last answer first."""

    breaks = ("query.answered-in-order",)

    def do(self, now: int, effect: Effect) -> Sequence[Effect]:
        """Answers about queues wait for the next answer."""
        if isinstance(effect, Send) and effect.socket == "query":
            return self.overtaken(effect, waits=effect.message.msg_type in ("queue_reply", "history_reply"))
        return (effect,)


class AnswersNamelessOnly(Refusing):
    """A name of one's own is for engines, and engines do not ask."""

    breaks = ("query.anyone-may-ask",)

    def refuses(self, message: Message) -> bool:
        """Who chose its identity."""
        return message.identities[0][:1] != b"\0" and message.msg_type.startswith(("queue", "history", "load"))


class KnowsItsOwnTypes(Mutant):
    """What nobody knows nobody answers."""

    breaks = ("query.unknown-type-hub-error", "query.content-not-object", "query.missing-key-answered")
    says = (without("hub_error"),)


class NamesErrorsAfterRequests(Mutant):
    """Every request has its reply."""

    breaks = ("query.unknown-type-hub-error",)
    says = (edited(lambda m: m.replace(header=m.header | {
        "msg_type": m.parent_header["msg_type"].replace("_request", "") + "_reply"}), "hub_error"),)  # fmt: skip


class SilentAboutWrongValues(Mutant):
    """A number is a number."""

    breaks = ("query.wrong-type-answered",)
    says = (when(lambda m: "Expected" in str(m.content.get("evalue")), without()),)


class TakesNothingForEverything(Mutant):
    """What is missing is null."""

    breaks = ("query.missing-key-answered", "query.queue-targets-missing", "query.load-targets-checked",
              "query.result-msg-ids-missing", "query.resubmit-msg-ids-missing")  # fmt: skip
    hears = (
        asked("queue_request", lambda c: {"targets": None} | c),
        asked("load_request", lambda c: {"targets": None} | c),
        asked("result_request", lambda c: {"msg_ids": []} | c),
        asked("resubmit_request", lambda c: {"msg_ids": []} | c),
    )


class PurgesAsItReads(Mutant):
    """What was read is read."""

    breaks = ("query.result-any-client",)

    def do(self, now: int, effect: Effect) -> Sequence[Effect]:
        """Forget each result that was given."""
        if isinstance(effect, Send) and effect.message.msg_type == "result_reply":
            done = effect.message.content.get("completed") or []
            return (effect, Store("drop_matching", ({"msg_id": {"$in": list(done)}},)))
        return (effect,)


class PurgesBeforeItRefuses(Mutant):
    """What can be done is done."""

    breaks = ("query.error-changes-nothing",)

    def hear(self, event: Event) -> Sequence[Event]:
        """Take note of what shall be purged."""
        if isinstance(event, Arrived) and event.message.msg_type == "purge_request":
            named = event.message.content.get("msg_ids") if isinstance(event.message.content, dict) else None
            self.memory["named"] = list(named) if isinstance(named, list) else []
        return (event,)

    def do(self, now: int, effect: Effect) -> Sequence[Effect]:
        """Purge it, whatever the answer is."""
        if isinstance(effect, Send) and effect.message.msg_type == "purge_reply":
            done = {"msg_id": {"$in": self.memory.get("named", [])}, "completed": {"$ne": None}}
            return (Store("drop_matching", (done,)), effect)
        return (effect,)


class EndsWithoutAWord(Mutant):
    """The end is answer enough."""

    breaks = ("query.shutdown-answered",)
    says = (without("shutdown_reply"),)


class OnlySaysThatItEnds(Mutant):
    """Tomorrow will do."""

    breaks = ("query.shutdown-ends",)

    def do(self, now: int, effect: Effect) -> Sequence[Effect]:
        """No end."""
        return () if isinstance(effect, Exit) else (effect,)


class SilentAboutDask(Mutant):
    """Nobody uses that."""

    breaks = ("query.become-dask-answered", "query.stop-distributed-answered")
    says = (without("become_dask_reply", "stop_distributed_reply"),)
