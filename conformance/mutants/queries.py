"""Mistakes of a Hub in what it tells of queues, results, its history and its database, and in what it purges."""

from collections.abc import Callable, Sequence
from typing import Any, ClassVar

from conformance.mutants.changes import (
    GONE,
    asked,
    edited,
    other,
    told,
    when,
    without,
    wrap,
)  # fmt: skip
from conformance.mutants.engines_known import REFUSAL, Refusing
from conformance.mutants.mutant import Change, Mutant
from protocol.roles.base import Arrived, Effect, Event, Query, Send, Store
from protocol.wire import Json, Message

FIXED = ("status", "unassigned")


def entries(edit: Callable[[Json], Json]) -> Change:
    """Each entry of a queue reply is what is made of it."""
    return told(
        "queue_reply", lambda c: {key: value if key in FIXED else edit(dict(value)) for key, value in c.items()}
    )


def results(edit: Callable[[Json], Json]) -> Change:
    """Each entry of a result reply is what is made of it."""
    return told(
        "result_reply",
        lambda c: {key: edit(dict(value)) if isinstance(value, dict) else value for key, value in c.items()},
    )


class AnswersErrors(Mutant):
    """A mutant that says `ok` where it should refuse; `reply` is what it says instead."""

    replies: ClassVar[tuple[str, ...]] = ()
    reply: ClassVar[Json] = {"status": "ok"}

    def do(self, now: int, effect: Effect) -> Sequence[Effect]:
        """The other answer."""
        if isinstance(effect, Send) and effect.socket == "query" and effect.message.content.get("status") == "error":
            wanted = effect.message.parent_header.get("msg_type", "").removesuffix("_request")
            if wanted in self.replies:
                named = effect.message.header | {"msg_type": f"{wanted}_reply"}
                return (Send("query", effect.message.replace(header=named, content=dict(self.reply))),)
        return (effect,)


# -- askers ------------------------------------------------------------------------------------------------------------


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
            held = self.memory.pop("held", None)
            if effect.message.msg_type in ("queue_reply", "history_reply") and held is None:
                self.memory["held"] = effect
                return ()
            return (effect,) if held is None else (effect, held)
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


# -- queues ------------------------------------------------------------------------------------------------------------


class TellsOfAllEngines(Mutant):
    """More is better."""

    breaks = ("query.queue-targets-list",)
    hears = (asked("queue_request", lambda c: c | ({"targets": None} if isinstance(c.get("targets"), list) else {})),)


class WantsAList(Mutant):
    """One engine is a list of one."""

    breaks = ("query.queue-target-int",)
    hears = (asked("queue_request", lambda c: c | ({"targets": {}} if isinstance(c.get("targets"), int) else {})),)


def _names_a_uuid(targets: object) -> bool:
    return any(isinstance(each, str) for each in (targets if isinstance(targets, list) else [targets]))


class WantsNumbers(Mutant):
    """Engines have numbers."""

    breaks = ("query.queue-target-uuid",)
    hears = (asked("queue_request", lambda c: c | ({"targets": {}} if _names_a_uuid(c.get("targets")) else {})),)


class TellsOfTheFirstEngine(Mutant):
    """Who asks about all wants an example."""

    breaks = ("query.queue-request-all-engines",)
    says = (told("queue_reply", lambda c: other(c, dict.fromkeys(list(c)[2:-1], GONE))),)


class RefusesWhenNobodyIsThere(Refusing):
    """There is nothing to tell."""

    breaks = ("query.queue-no-engines",)

    def refuses(self, message: Message) -> bool:
        """Questions about queues without engines."""
        return message.msg_type == "queue_request" and not self.role.engines.by_id


class StumblesOverTheDead(Refusing):
    """Somebody has left; nobody knows what that means for the rest."""

    breaks = ("query.queue-dead-engines-listed",)

    def refuses(self, message: Message) -> bool:
        """Questions about all engines when one has left."""
        return message.msg_type == "queue_request" and bool(self.role.engines.gone)


class TellsNotOfTasks(Mutant):
    """Tasks are the scheduler's."""

    breaks = ("query.queue-three-keys",)
    says = (entries(lambda e: other(e, {"tasks": GONE})),)


class AlwaysLists(Mutant):
    """Who has the list can count."""

    breaks = ("query.queue-counts", "query.queue-verbose-default")
    hears = (asked("queue_request", lambda c: c | {"verbose": True}),)


class AlwaysCounts(Mutant):
    """Lists are long."""

    breaks = ("query.queue-verbose-lists",)
    hears = (asked("queue_request", lambda c: c | {"verbose": False}),)


class ListsUnlessToldNotTo(Mutant):
    """The default is more."""

    breaks = ("query.queue-verbose-default",)
    hears = (asked("queue_request", lambda c: {"verbose": True} | c),)


class CountsOneMore(Mutant):
    """Counting begins with one."""

    breaks = ("query.queue-counts-match-lists",)
    says = (entries(lambda e: {key: value + 1 if isinstance(value, int) else value for key, value in e.items()}),)


class KnowsNoQueue(Mutant):
    """What is under way is under way."""

    breaks = ("query.queue-mux-outstanding", "query.load-answered")
    says = (
        entries(lambda e: e | {"queue": type(e["queue"])()}),
        told("load_reply", lambda c: {key: value if key == "status" else 0 for key, value in c.items()}),
    )


class KnowsNoTasks(Mutant):
    """Tasks are the scheduler's."""

    breaks = ("query.queue-tasks-outstanding",)
    says = (entries(lambda e: e | {"tasks": type(e["tasks"])()}),)


class CompletesOneQueueOnly(Mutant):
    """Tasks are nobody's work."""

    breaks = ("query.queue-completed-any-queue",)
    says = (entries(lambda e: e | {"completed": type(e["completed"])()}),)


class GivesEveryTaskToAll(Mutant):
    """A task that is somewhere is a task of everybody."""

    breaks = ("query.queue-pure-tasks-empty",)
    says = (told("queue_reply", lambda c: {
        key: value if key in FIXED else value | {"tasks": c["unassigned"]} for key, value in c.items()}),)  # fmt: skip


class TellsNotOfWaitingTasks(Mutant):
    """What nobody has is nowhere."""

    breaks = ("query.queue-unassigned",)
    says = (told("queue_reply", lambda c: other(c, {"unassigned": GONE})),)


class KnowsEveryEngine(AnswersErrors):
    """An engine that nobody knows has nothing to do."""

    breaks = ("query.queue-unknown-engine", "query.queue-empty-targets", "query.load-targets-checked")
    replies = ("queue", "load")


class LoadsHalf(Mutant):
    """Tasks are no load of an engine."""

    breaks = ("query.load-is-sum",)
    says = (told("load_reply", lambda c: {k: v if k == "status" else min(v, 1) for k, v in c.items()}),)


class KnowsNoLoad(Mutant):
    """A load is a sum that anybody can make."""

    breaks = ("query.load-answered",)
    says = (without("load_reply"),)


# -- results -----------------------------------------------------------------------------------------------------------


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


class KeepsResultsForWhoAsked(Mutant):
    """A result is its owner's."""

    breaks = ("query.result-any-client",)

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


# -- history and database ----------------------------------------------------------------------------------------------


class TellsNoHistory(Mutant):
    """What is past is past."""

    breaks = ("query.history-answered",)
    says = (told("history_reply", lambda c: c | {"history": []}),)


class TellsTheLatestFirst(Mutant):
    """The latest is what matters."""

    breaks = ("query.history-order",)
    says = (told("history_reply", lambda c: c | {"history": c["history"][::-1]}),)


class TellsItTwice(Mutant):
    """Submitted and completed are two events."""

    breaks = ("query.history-once",)
    says = (told("history_reply", lambda c: c | {"history": c["history"] * 2}),)


class FindsNothing(Mutant):
    """Records are for the Hub."""

    breaks = ("query.db-answered", "query.db-all")
    says = (told("db_reply", lambda c: c | {"records": []}),)


class FindsTheFirst(Mutant):
    """One record is an example of all."""

    breaks = ("query.db-all",)
    says = (told("db_reply", lambda c: c | {"records": c["records"][:1]}),)


class Loose(Mutant):
    """A Hub whose database reads a query in its own way."""

    def loosened(self, query: Json) -> Json:
        """The query that is asked instead."""
        raise AssertionError(f"{self.name()} asks what was asked")

    def do(self, now: int, effect: Effect) -> Sequence[Effect]:
        """The other query, where a database request asks."""
        if isinstance(effect, Query) and self.memory.get("db"):
            return (effect._replace(arguments=(self.loosened(dict(effect.arguments[0])), *effect.arguments[1:])),)
        return (effect,)

    def hear(self, event: Event) -> Sequence[Event]:
        """Take note of database requests."""
        self.memory["db"] = isinstance(event, Arrived) and event.message.msg_type == "db_request"
        return (event,)


class MindsOneCondition(Loose):
    """The first condition is the one that matters."""

    breaks = ("query.db-equality",)

    def loosened(self, query: Json) -> Json:
        """The first condition."""
        return dict(list(query.items())[:1])


class KnowsNoOperators(Loose):
    """Equal or not equal, there is nothing else."""

    breaks = ("query.db-operators", "query.db-glob")

    def loosened(self, query: Json) -> Json:
        """Conditions without operators."""
        return {key: value for key, value in query.items() if not isinstance(value, dict) or key == "msg_id"}


class KnowsNoPatterns(Loose):
    """A pattern is a text like any other."""

    breaks = ("query.db-glob",)

    def loosened(self, query: Json) -> Json:
        """Patterns are compared as they are."""
        return {k: {"$eq": v["$glob"]} if isinstance(v, dict) and "$glob" in v else v for k, v in query.items()}


class GivesEveryField(Mutant):
    """More is better."""

    breaks = ("query.db-keys",)
    hears = (asked("db_request", lambda c: c | {"keys": None}),)


class AlwaysGivesRecordsTheirBuffers(Mutant):
    """More is better."""

    breaks = ("query.db-buffers",)
    hears = (asked("db_request", lambda c: c | (
        {"keys": [*c["keys"], "buffers", "result_buffers"]} if isinstance(c.get("keys"), list) else {})),)  # fmt: skip


class ForgetsBuffersOfRecords(Mutant):
    """Buffers are large."""

    breaks = ("query.db-buffers",)
    says = (edited(lambda m: m.replace(buffers=()), "db_reply"),)


class CountsNoBuffers(Mutant):
    """Who has them can count."""

    breaks = ("query.db-buffer-lens",)
    says = (told("db_reply", lambda c: c | {"buffer_lens": None, "result_buffer_lens": None}),)


class UnderstandsEverything(AnswersErrors):
    """What makes no sense finds nothing."""

    breaks = ("query.db-bad-query",)
    replies = ("db",)
    reply: ClassVar[Json] = {"status": "ok", "records": [], "buffer_lens": None, "result_buffer_lens": None}


class TellsAnotherStory(Mutant):
    """A record is a summary."""

    breaks = ("query.db-agrees-with-result",)
    says = (told("db_reply", lambda c: c | {"records": [r | {"result_content": {"status": "ok", "summary": True}}
                                                        for r in c["records"]]}),)  # fmt: skip


# -- purges ------------------------------------------------------------------------------------------------------------


class Purging(Mutant):
    """A Hub that purges otherwise: `dropped` is the query by which it drops records, or None to keep all."""

    def dropped(self, query: Json) -> Json | None:
        """What is dropped instead."""
        raise AssertionError(f"{self.name()} drops what it should")

    def do(self, now: int, effect: Effect) -> Sequence[Effect]:
        """Drop something else."""
        if isinstance(effect, Store) and effect.operation == "drop_matching":
            query = self.dropped(dict(effect.arguments[0]))
            return () if query is None else (Store("drop_matching", (query,)),)
        return (effect,)


class PurgesInSilence(Mutant):
    """What is gone is gone."""

    breaks = ("query.purge-answered",)
    says = (without("purge_reply"),)


class PurgesNothing(Purging):
    """Disks are large."""

    breaks = ("query.purge-by-id", "query.purge-by-engine", "query.purge-all", "query.purge-forgets")

    def dropped(self, query: Json) -> Json | None:
        """Nothing."""
        return None


class PurgesEverything(Purging):
    """Who tidies up tidies up."""

    breaks = ("query.purge-keeps-others",)

    def dropped(self, query: Json) -> Json | None:
        """All that is completed."""
        return {"completed": {"$ne": None}}


class PurgesWhatIsPendingToo(Purging):
    """Gone is gone."""

    breaks = ("query.purge-keeps-pending",)

    def dropped(self, query: Json) -> Json | None:
        """The same without a look at what is completed."""
        return {key: value for key, value in query.items() if key != "completed"}


class PurgesWhatDoesNotExist(AnswersErrors):
    """What is not there is gone."""

    breaks = ("query.purge-nonexistent-refused", "query.purge-unknown-engine", "query.purge-pending-refused")
    replies = ("purge",)


class PurgesAllWhenToldNothing(Mutant):
    """Who names nothing means everything."""

    breaks = ("query.purge-nothing",)
    hears = (asked("purge_request", lambda c: c if c.get("msg_ids") or c.get("engine_ids") else {"msg_ids": "all"}),)


class PurgesAllForNull(Mutant):
    """Null means all, as elsewhere."""

    breaks = ("query.purge-null-answered",)
    hears = (asked("purge_request", lambda c: c | ({"msg_ids": "all"} if c.get("msg_ids", 1) is None else {})),)


# -- resubmissions -----------------------------------------------------------------------------------------------------


class ResubmitsInSilence(Mutant):
    """Its result is answer enough."""

    breaks = ("query.resubmit-answered",)
    says = (without("resubmit_reply"),)


class ResubmitsUnderTheOldId(Mutant):
    """The same request has the same id."""

    breaks = ("query.resubmit-fresh-id",)
    says = (told("resubmit_reply", lambda c: c | {"resubmitted": {key: key for key in c["resubmitted"]}}),)


class ResubmitsNothing(Mutant):
    """It ran once."""

    breaks = ("task.resubmission-is-a-task",)

    def do(self, now: int, effect: Effect) -> Sequence[Effect]:
        """No task."""
        return () if isinstance(effect, Send) and effect.socket == "resubmit" else (effect,)


class ResubmitsSomethingLikeIt(Mutant):
    """Buffers were seen already."""

    breaks = ("query.resubmit-same-request",)

    def do(self, now: int, effect: Effect) -> Sequence[Effect]:
        """A task without buffers."""
        if isinstance(effect, Send) and effect.socket == "resubmit":
            return (Send("resubmit", effect.message.replace(buffers=(), content={})),)
        return (effect,)


class ResubmitsWithoutDemands(Mutant):
    """A second run should not wait."""

    breaks = ("query.resubmit-keeps-metadata",)

    def do(self, now: int, effect: Effect) -> Sequence[Effect]:
        """A task without metadata."""
        if isinstance(effect, Send) and effect.socket == "resubmit":
            return (Send("resubmit", effect.message.replace(metadata={})),)
        return (effect,)


class ResubmitsWhatItNeverHad(AnswersErrors):
    """What is not known needs no second run."""

    breaks = ("query.resubmit-unknown-refused",)
    replies = ("resubmit",)
    reply: ClassVar[Json] = {"status": "ok", "resubmitted": {}}


class ResubmitsWhatItCan(Mutant):
    """Half is better than nothing."""

    breaks = ("query.resubmit-all-or-nothing",)

    def prepare(self) -> None:
        """Submit what is known, and refuse all the same."""
        inquiries = self.role.inquiries

        def conclude(old: Any, now: int, message: Message, kept: Any, found: Any) -> Any:
            if message.msg_type != "resubmit_request":
                return old(now, message, kept, found)
            known = {record["msg_id"] for record in found[0]}
            answer = old(now, message, (tuple(msg_id for msg_id in kept[0] if msg_id in known),), found)
            return answer if known >= set(kept[0]) else answer._replace(content=REFUSAL)

        wrap(inquiries, "conclude", conclude)


class RefusesToResubmitNothing(Refusing):
    """Who wants nothing should not ask."""

    breaks = ("query.resubmit-empty",)

    def refuses(self, message: Message) -> bool:
        """Resubmissions of nothing."""
        return message.msg_type == "resubmit_request" and message.content.get("msg_ids") == []


class ForgetsWhatCameOfIt(Mutant):
    """Old and new have nothing to do with each other."""

    breaks = ("query.resubmit-recorded",)

    def do(self, now: int, effect: Effect) -> Sequence[Effect]:
        """Old records name no new one."""
        return () if isinstance(effect, Store) and effect.arguments[-1].keys() == {"resubmitted"} else (effect,)


class SilentAboutDask(Mutant):
    """Nobody uses that."""

    breaks = ("query.become-dask-answered", "query.stop-distributed-answered")
    says = (without("become_dask_reply", "stop_distributed_reply"),)
