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

from conformance.reference.controller import ENGINE_FILE, Directory
from conformance.reference.storage import sqlite
from protocol.roles.base import Exit, Stopping
from protocol.roles.hub import inquiries
from protocol.roles.hub.engines import Engines
from protocol.roles.records import MemoryRecords
from protocol.roles.relay import MuxRelay
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


def silent_end() -> None:
    """Who is told to end ends."""
    wrap(TaskScheduler, "handle", lambda old, self, now, event: (
        (Exit(),) if type(event) is Stopping else old(self, now, event)
    ))  # fmt: skip


# -- the Hub -----------------------------------------------------------------------------------------------------------


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


def keeps_its_files() -> None:
    """Engines have read their file."""

    def write(old: Any, self: Directory, name: str, content: bytes) -> None:
        if name != ENGINE_FILE or self.read(name) is None:
            old(self, name, content)

    wrap(Directory, "write", write)
    wrap(Directory, "remove", lambda old, self, *names: old(self, *(name for name in names if name != ENGINE_FILE)))


def never_asks() -> None:
    """Whoever is there will say so."""
    wrap(TaskScheduler, "_ask", lambda *_: None)


def for_everybody() -> None:
    """Whoever is on this machine may use it."""

    def write(old: Any, self: Directory, name: str, content: bytes) -> None:
        old(self, name, content)
        (self.path / name).chmod(0o644)

    wrap(Directory, "write", write)


def refuses(msg_type: str, *, tells_status: bool = False) -> None:
    """Let the Hub refuse requests of this type, as if it had no records."""
    first, last = inquiries.INQUIRIES[msg_type]

    def prepare(self: Any, content: Any) -> Any:
        if tells_status and content.get("status_only"):
            return first(self, content)
        raise inquiries.Refused("RuntimeError", "no records are kept")

    inquiries.INQUIRIES[msg_type] = prepare, last  # type: ignore[index]


def no_status() -> None:
    """What is not on record has no status."""
    refuses("result_request")


def no_purges() -> None:
    """What is not on record cannot be purged."""
    for msg_type in ("history_request", "db_request", "resubmit_request", "purge_request"):
        refuses(msg_type)
    refuses("result_request", tells_status=True)


def as_always() -> None:
    """Whatever I am asked for, I do what I always do."""


#: What this controller is asked for, and does not notice.
UNHEARD = ("no-database", "other-hash", "no-key", "encrypt")

FAULTS: Mapping[str, Callable[[], None]] = {
    function.__name__.replace("_", "-"): function
    for function in (
        silent_end, waits_for_the_hub, copies_for_who_listens, drops_the_newest, drops_what_waits, one_condition,
        writes_at_the_end, forgets_engines, fresh_key, keeps_its_files, never_asks, for_everybody, no_status, no_purges,
    )
} | dict.fromkeys(UNHEARD, as_always)  # fmt: skip

if __name__ == "__main__":
    from conformance.cli.controller import controller

    FAULTS[sys.argv[1]]()
    controller(sys.argv[2:])
