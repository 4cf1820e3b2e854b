"""Mistakes of a Hub about its records."""

from collections.abc import Sequence
from typing import Any

from conformance.mutants.changes import GONE, other, told, unheard
from conformance.mutants.mutant import Mutant
from protocol.roles.base import Effect, Event, Fired, Send, Store
from protocol.wire import Json


class Recording(Mutant):
    """A Hub that stores something else."""

    def stored(self, operation: str, fields: Json) -> Json | None:
        """The fields that are stored instead of these; None to store nothing."""
        raise AssertionError(f"{self.name()} stores what it should")

    def do(self, now: int, effect: Effect) -> Sequence[Effect]:
        """Store other fields."""
        if isinstance(effect, Store) and isinstance(effect.arguments[-1], dict) and effect.operation != "drop_matching":
            fields = self.stored(effect.operation, dict(effect.arguments[-1]))
            return () if fields is None else (Store(effect.operation, (*effect.arguments[:-1], fields)),)
        return (effect,)


class RecordsNoMux(Mutant):
    """Only tasks need a record."""

    breaks = ("storage.requests-recorded",)
    hears = (unheard(lambda m: m.identities[:1] in ((b"in",), (b"out",)), "monitor"),)


class KeepsResultsOfTheLiving(Mutant):
    """Nobody asks about the dead."""

    breaks = ("storage.results-of-dead-engines",)

    def do(self, now: int, effect: Effect) -> Sequence[Effect]:
        """Records of an engine end with it."""
        if isinstance(effect, Send) and effect.message.msg_type == "unregistration_notification":
            uuid = effect.message.content["uuid"]
            return (effect, Store("drop_matching", ({"engine_uuid": uuid, "completed": {"$ne": None}},)))
        return (effect,)


class CompletesWhatReachesNobody(Mutant):
    """Who sends to nobody has its wish."""

    breaks = ("storage.unroutable-unrecorded",)

    def prepare(self) -> None:
        """A request to nobody is recorded with a result."""
        traffic = self.role.traffic

        def take(now: int, prefix: bytes, message: Any) -> Any:
            effects = old(now, prefix, message)
            if prefix != b"in" or effects:
                return effects
            opened = traffic._opened(now, message, queue="mux", engine_uuid=None)
            done = {"completed": traffic.voice.env.date(now), "result_content": {"status": "ok"}, "result_header": {},
                    "result_metadata": {}}  # fmt: skip
            return (*opened, *traffic._closed(message.msg_id, done))

        old, traffic.take = traffic.take, take


class CompletedIsStillPending(Mutant):
    """Pending is what nobody has fetched."""

    breaks = ("storage.pending-completed-disjoint",)
    says = (told("result_reply", lambda c: c | {"pending": c["pending"] + c["completed"]}),)


class DoneIsStillQueued(Mutant):
    """It was in that queue."""

    breaks = ("storage.sets-within-pending",)
    says = (told("queue_reply", lambda c: {k: v | {"queue": v["queue"] + v["completed"]} if isinstance(v, dict) else v
                                           for k, v in c.items()}),)  # fmt: skip


class NoLabel(Mutant):
    """Labels are for clients."""

    breaks = ("storage.record-fields",)
    says = (told("db_reply", lambda c: c | {"records": [other(r, {"label": GONE}) for r in c["records"]]}),)


class CompletedLongAgo(Recording):
    """A time is a time."""

    breaks = ("storage.times-ordered",)

    def stored(self, operation: str, fields: Json) -> Json | None:
        """Another time."""
        return fields | ({"completed": "1999-01-01T00:00:00.000000Z"} if fields.get("completed") else {})


class NoClient(Recording):
    """Who asked knows that it asked."""

    breaks = ("storage.client-and-engine-named",)

    def stored(self, operation: str, fields: Json) -> Json | None:
        """No client."""
        return fields | ({"client_uuid": None} if "client_uuid" in fields else {})


class OneQueue(Recording):
    """All messages come by some queue."""

    breaks = ("storage.queue-named",)

    def stored(self, operation: str, fields: Json) -> Json | None:
        """Always the same queue."""
        return fields | ({"queue": "mux"} if fields.get("queue") else {})


class RecordsTheLastLine(Mutant):
    """The last line is what matters."""

    breaks = ("storage.output-recorded",)

    def do(self, now: int, effect: Effect) -> Sequence[Effect]:
        """Each output in the place of the one before."""
        if isinstance(effect, Store) and effect.operation == "append_output":
            msg_id, field, value = effect.arguments
            return (Store("update_record", (msg_id, {field: value})),)
        return (effect,)


class AbortedIsCompleted(Recording):
    """What has a result was run."""

    breaks = ("storage.aborted-not-completed-by-engine",)

    def stored(self, operation: str, fields: Json) -> Json | None:
        """No mark of an abort."""
        about = fields.get("result_metadata")
        is_aborted = isinstance(about, dict) and about.get("status") == "aborted"
        return fields | ({"result_metadata": about | {"status": "ok"}} if about and is_aborted else {})


class LeavesTheDeadPending(Mutant):
    """It may still come."""

    breaks = ("storage.stranded-mux-gets-error",)

    def hear(self, event: Event) -> Sequence[Event]:
        """No grace ever ends."""
        return () if isinstance(event, Fired) and event.timer.startswith("stranded") else (event,)


class DecidesAboutTasks(Mutant):
    """A task on an engine that is gone is lost."""

    breaks = ("storage.stranded-tasks-left-to-scheduler",)

    def do(self, now: int, effect: Effect) -> Sequence[Effect]:
        """What an engine had has failed as soon as it is gone."""
        if isinstance(effect, Send) and effect.message.msg_type == "unregistration_notification":
            uuid = effect.message.content["uuid"]
            lost = [msg_id for msg_id, engine in self.memory.items() if engine == uuid]
            date = self.role.env.date(now)
            failed = {"completed": date, "received": date, "result_content": {"status": "error"},
                      "result_header": {}, "result_metadata": {"status": "error"}}  # fmt: skip
            return (effect, *(Store("update_open", (msg_id, failed)) for msg_id in lost))
        if isinstance(effect, Store) and effect.operation == "update_open" and "engine_uuid" in effect.arguments[1]:
            self.memory[effect.arguments[0]] = effect.arguments[1]["engine_uuid"]
        return (effect,)


class LastWordCounts(Mutant):
    """The latest result is the best."""

    breaks = ("storage.late-result-once",)

    def do(self, now: int, effect: Effect) -> Sequence[Effect]:
        """Every result is stored."""
        if isinstance(effect, Store) and effect.operation == "update_open":
            return (Store("update_record", effect.arguments),)
        return (effect,)


class RecordsTasksWhenGivenOut(Mutant):
    """A task that nobody has is no task yet."""

    breaks = ("storage.intask-recorded-on-submission", "task.monitored")
    hears = (unheard(lambda m: m.identities[:1] == (b"intask",), "monitor"),)
