"""The reference controller with one fault: `broken_controller.py FAULT OPTIONS...`, options as for `ippkit controller`.

It exists to prove that cases accuse who deserves it. Each fault is a few lines put in the place of a method of a role
or a store, before the controller forks its processes; without one it is the reference. The sentence of a fault says
what somebody who made this mistake would have thought.
"""

import sys
import time
from collections import deque
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from conformance.reference.controller import Directory
from conformance.reference.storage import sqlite
from protocol.roles.base import Arrived, Exit, Send, Stopping, Store
from protocol.roles.broadcast import BroadcastScheduler
from protocol.roles.hub import inquiries
from protocol.roles.hub.engines import Engines
from protocol.roles.hub.hub import Hub
from protocol.roles.hub.traffic import _BY_PREFIX, Traffic
from protocol.roles.records import MemoryRecords
from protocol.roles.relay import MuxRelay, TaskRelay
from protocol.roles.task.engines import Ordered
from protocol.roles.task.placing import Placing
from protocol.roles.task.scheduler import TaskScheduler


def wrap(owner: type, name: str, around: Callable[..., Any]) -> None:
    """Put `around(old, self, ...)` in the place of a method."""
    old = getattr(owner, name)
    setattr(owner, name, lambda self, *arguments, **named: around(old, self, *arguments, **named))


def is_hub_stopped() -> bool:
    for path in Path("/proc").glob("[0-9]*/stat"):
        name, _, rest = path.read_text().partition("(")[2].rpartition(")")
        if name == "ippkit-hub" and rest.split()[0] == "T":
            return True
    return False


# -- schedulers --------------------------------------------------------------------------------------------------------


def newest_first() -> None:
    """The engine that was used last is still warm."""

    def offer(old: Any, self: Ordered, engine: Any) -> None:
        stamp, engine.stamp = engine.stamp, -engine.stamp
        old(self, engine)
        engine.stamp = stamp

    wrap(Ordered, "offer", offer)


def one_more_than_the_mark() -> None:
    """Until the load is above the mark there is room."""

    def init(old: Any, self: Placing, *arguments: Any) -> None:
        old(self, *arguments)
        self.limit += 1  # type: ignore[misc]

    wrap(Placing, "__init__", init)


def zero_is_one() -> None:
    """Every engine can have one task, at least and at most."""

    def init(old: Any, self: Placing, *arguments: Any) -> None:
        old(self, *arguments)
        self.limit = self.config.hwm or 1  # type: ignore[misc]

    wrap(Placing, "__init__", init)


def pure_and_picky() -> None:
    """What names an engine that is not there need not be passed on."""

    def handle(old: Any, self: TaskRelay, now: int, event: Any) -> Any:
        message = getattr(event, "message", None)
        return () if message is not None and message.metadata.get("targets") == ["nobody"] else old(self, now, event)

    wrap(TaskRelay, "handle", handle)


def tasks_of_all() -> None:
    """A task that is somewhere is a task of everybody."""
    first, last = inquiries.INQUIRIES["queue_request"]

    def reply(*arguments: Any) -> Any:
        answer = last(*arguments)
        for entry in answer.content.values():
            if isinstance(entry, dict):
                entry["tasks"] = answer.content["unassigned"]
        return answer

    inquiries.INQUIRIES["queue_request"] = first, reply  # type: ignore[index]


def one_name_for_all() -> None:
    """An error is an error; its text says the rest."""
    wrap(Placing, "_fail", lambda old, self, now, task, _ename, *rest: old(self, now, task, "TaskError", *rest))


def silent_end() -> None:
    """Who is told to end ends."""
    wrap(TaskScheduler, "handle", lambda old, self, now, event: (
        (Exit(),) if type(event) is Stopping else old(self, now, event)
    ))  # fmt: skip


def somebody_did_it() -> None:
    """Who ran a task is nobody's business."""

    def handle(old: Any, self: TaskScheduler, now: int, event: Any) -> Any:
        message = getattr(event, "message", None)
        if message is not None and message.msg_type == "apply_reply":
            event = Arrived("out", message.replace(metadata={**message.metadata, "engine": "somebody"}))
        return old(self, now, event)

    wrap(TaskScheduler, "handle", handle)


def silence_is_refusal() -> None:
    """A reply that does not say that its dependencies were met was made by one who did not look."""

    def handle(old: Any, self: TaskScheduler, now: int, event: Any) -> Any:
        message = getattr(event, "message", None)
        if message is not None and message.msg_type == "apply_reply" and "dependencies_met" not in message.metadata:
            event = Arrived("out", message.replace(metadata={**message.metadata, "dependencies_met": False}))
        return old(self, now, event)

    wrap(TaskScheduler, "handle", handle)


def two_branches_at_most() -> None:
    """Nobody has more than two leaves."""

    def handle(old: Any, self: BroadcastScheduler, now: int, event: Any) -> Any:
        return () if len(self.config.path) > 2 else old(self, now, event)

    wrap(BroadcastScheduler, "handle", handle)


# -- the Hub -----------------------------------------------------------------------------------------------------------


def numbers_go_back() -> None:
    """A number that was not given can be given."""

    def handle(old: Any, self: Hub, now: int, event: Any) -> Any:
        effects = old(self, now, event)
        replies = [each.message for each in effects if isinstance(each, Send)]
        if any(each.msg_type == "registration_reply" and each.content["status"] == "error" for each in replies):
            self.engines.given = []
        return effects

    wrap(Hub, "handle", handle)


def waits_for_the_hub() -> None:
    """Nothing may pass that is not on record."""

    def handle(old: Any, self: MuxRelay, now: int, event: Any) -> Any:
        deadline = time.monotonic() + 3
        while is_hub_stopped() and time.monotonic() < deadline:
            pass
        return old(self, now, event)

    wrap(MuxRelay, "handle", handle)


def copies_for_who_listens() -> None:
    """A Hub that does not listen needs no copy."""

    def handle(old: Any, self: MuxRelay, now: int, event: Any) -> Any:
        effects = old(self, now, event)
        return effects[1:] if len(effects) == 2 and is_hub_stopped() else effects

    wrap(MuxRelay, "handle", handle)


def pending_until_fetched() -> None:
    """A result that nobody has fetched is pending still."""
    first, last = inquiries.INQUIRIES["result_request"]

    def reply(*arguments: Any) -> Any:
        answer = last(*arguments)
        answer.content["pending"] = [*answer.content["pending"], *answer.content["completed"]]
        return answer

    inquiries.INQUIRIES["result_request"] = first, reply  # type: ignore[index]


def records_no_mux() -> None:
    """Only tasks need a record."""
    _BY_PREFIX[b"in"] = lambda *_: ()  # type: ignore[index]


def opened(**changes: Any) -> None:
    def opens(old: Any, self: Traffic, record: Mapping[str, Any], *rest: Any) -> Any:
        return old(self, {**record, **changes}, *rest)

    wrap(Traffic, "opens", opens)


def one_queue() -> None:
    """A queue is a queue."""
    opened(queue="mux")


def no_client() -> None:
    """Who asked is in the header."""
    opened(client_uuid=None)


def no_label() -> None:
    """Nobody reads labels."""
    inquiries.PLAIN = tuple(key for key in inquiries.PLAIN if key != "label")  # type: ignore[misc]


def closed(change: Callable[[dict[str, Any]], None]) -> None:
    def close(old: Any, self: Traffic, msg_id: str, changes: dict[str, Any]) -> Any:
        change(changes)
        return old(self, msg_id, changes)

    wrap(Traffic, "_closed", close)


def completed_long_ago() -> None:
    """A date is a date."""
    closed(lambda changes: changes.update(completed="2000-01-01T00:00:00.000000Z"))


def last_word_counts() -> None:
    """The latest result is the best one."""

    def close(old: Any, self: Traffic, msg_id: str, changes: dict[str, Any]) -> Any:
        return [Store("update_record", effect.arguments) for effect in old(self, msg_id, changes)]

    wrap(Traffic, "_closed", close)


def on_record_when_given_out() -> None:
    """A task that no engine has is none yet."""
    kept: dict[str, Any] = {}
    request, destination = _BY_PREFIX[b"intask"], _BY_PREFIX[b"tracktask"]

    def track(self: Traffic, now: int, message: Any) -> Any:
        task = kept.pop(message.content["msg_id"], None)
        return (*(request(self, now, task) if task else ()), *destination(self, now, message))

    _BY_PREFIX[b"intask"] = lambda _self, _now, message: kept.update({message.msg_id: message}) or ()  # type: ignore[index]
    _BY_PREFIX[b"tracktask"] = track  # type: ignore[index]


def aborted_is_completed() -> None:
    """Over is over."""
    closed(lambda changes: changes["result_metadata"].update(status="ok"))


def forgets_the_dead() -> None:
    """What an engine did is gone with it."""

    def handle(old: Any, self: Hub, now: int, event: Any) -> Any:
        before = dict(self.engines.by_uuid)
        effects = old(self, now, event)
        gone = [uuid for uuid in before if uuid not in self.engines.by_uuid]
        return [*effects, *(Store("drop_matching", ({"engine_uuid": uuid},)) for uuid in gone)]

    wrap(Hub, "handle", handle)


def decides_about_tasks() -> None:
    """A task on a dead engine is dead."""

    def handle(old: Any, self: Hub, now: int, event: Any) -> Any:
        before = dict(self.engines.by_uuid)
        effects = list(old(self, now, event))
        for uuid in before.keys() - self.engines.by_uuid.keys():
            changes = {"completed": self.env.date(now), "result_content": {"status": "error"}, "result_header": {}}
            for msg_id, engine in list(self.traffic.open.items()):
                if engine is None:
                    effects.append(Store("update_open", (msg_id, changes)))
            assert uuid
        return effects

    wrap(Hub, "handle", handle)


def done_is_still_queued() -> None:
    """Who has finished is still in the list of today."""
    first, last = inquiries.INQUIRIES["queue_request"]

    def reply(self: Any, now: int, kept: Any, found: Any) -> Any:
        done = [{**record, "queue": "mux"} for record in found[1]]
        return last(self, now, kept, ([*found[0], *done], found[1], found[2]))

    inquiries.INQUIRIES["queue_request"] = first, reply  # type: ignore[index]


# -- stores, and what a restart finds ----------------------------------------------------------------------------------


def drops_the_newest() -> None:
    """What came last can go first."""

    class Stack(deque[Any]):
        def popleft(self) -> Any:
            return self.pop()

    def init(old: Any, self: MemoryRecords, *arguments: Any) -> None:
        old(self, *arguments)
        self._done = Stack()

    wrap(MemoryRecords, "__init__", init)


def drops_what_waits() -> None:
    """A limit is a limit."""

    def add(old: Any, self: MemoryRecords, record: Any) -> None:
        old(self, record)
        while len(self) > self.max_records:
            self._drop(next(iter(self._records.values())))

    wrap(MemoryRecords, "add_record", add)


def one_condition() -> None:
    """The first condition of a query says it all."""
    wrap(sqlite.SqliteRecords, "find", lambda old, self, query, keys: old(self, dict([*query.items()][:1]), keys))


def writes_at_the_end() -> None:
    """A disk is slow, and controllers end in order."""
    sqlite.SqliteRecords = lambda _: MemoryRecords()  # type: ignore[assignment,misc]


def forgets_engines() -> None:
    """Engines will register again."""
    wrap(Engines, "restore", lambda old, self, _state: old(self, None))


def fresh_key() -> None:
    """A new start is a new key."""
    wrap(Directory, "read", lambda old, self, name: None if name == "controller.json" else old(self, name))


def as_always() -> None:
    """Whatever I am asked for, I do what I always do."""


#: What this controller is asked for, and does not notice.
UNHEARD = ("no-database", "other-hash", "no-key", "encrypt")

FAULTS: Mapping[str, Callable[[], None]] = {
    function.__name__.replace("_", "-"): function
    for function in (
        newest_first, one_more_than_the_mark, zero_is_one, pure_and_picky, tasks_of_all, one_name_for_all, silent_end,
        somebody_did_it, silence_is_refusal, two_branches_at_most, numbers_go_back, waits_for_the_hub,
        copies_for_who_listens, pending_until_fetched,
        records_no_mux, one_queue, no_client, no_label, completed_long_ago, last_word_counts, on_record_when_given_out,
        aborted_is_completed, forgets_the_dead, decides_about_tasks, done_is_still_queued, drops_the_newest,
        drops_what_waits, one_condition, writes_at_the_end, forgets_engines, fresh_key,
    )
} | dict.fromkeys(UNHEARD, as_always)  # fmt: skip

if __name__ == "__main__":
    from conformance.cli.controller import controller

    FAULTS[sys.argv[1]]()
    controller(sys.argv[2:])
