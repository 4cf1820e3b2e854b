"""ipyparallel's controller, loaded once more: the same files, in modules of their own, in which the world is virtual.

    edition = load()                    # raises TargetUnusable if ipyparallel is not there
    with edition.acting(part):
        edition.hub.Hub(...)

Whatever else uses ipyparallel in this process has its usual modules and notices nothing. In the ones made here the
names `time`, `open` or `randint` lead to what the process of a simulation has that acts at the moment; `set` keeps the
order in which members were put in, and what they log goes to what that process would have printed. The classes are
those of the files, to the letter. What theirs has sqlite3 convert for it is the one thing that the whole Python process
shares: dictionaries, lists and dates.
"""

import asyncio
import logging
import sqlite3
import sys
from collections.abc import Callable, Iterator, MutableMapping
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from functools import cache
from importlib import import_module
from importlib.machinery import PathFinder
from importlib.util import find_spec, module_from_spec
from io import StringIO
from types import ModuleType, SimpleNamespace
from typing import Any, Final, Protocol

from conformance.targets.adapters.databases import Database
from conformance.targets.errors import TargetUnusable
from protocol.world import SECOND
from simulator.env import BEGINNING
from simulator.hosts import Process

#: What is loaded, in this order: each finds those before it.
MODULES: Final = (
    "zmq.eventloop.zmqstream",
    "jupyter_client.session",
    "ipyparallel.util",
    "ipyparallel.controller.heartmonitor",
    "ipyparallel.controller.hub",
    "ipyparallel.controller.dictdb",
    "ipyparallel.controller.sqlitedb",
    "ipyparallel.controller.scheduler",
    "ipyparallel.controller.task_scheduler",
    "ipyparallel.controller.broadcast_scheduler",
)
#: Seconds since 1970 of 1970 itself, with a timezone.
EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
#: The number of every process.
PID: Final = 1


class Actor(Protocol):
    """Whoever acts: one part of a controller."""

    @property
    def process(self) -> Process:
        """Its process."""

    @property
    def loops(self) -> tuple[Any, Any]:
        """Its loops, of asyncio and of tornado."""

    @property
    def chance(self) -> Any:
        """Where it has its chance from: a `random.Random`."""

    @property
    def files(self) -> Any:
        """Its files: a mapping from names to bytes."""

    def complains(self, line: str) -> None:
        """It writes an error into its log."""


class Edition:
    """See the module. Its attributes are the modules by the last part of their names."""

    heartmonitor: Any
    hub: Any
    dictdb: Any
    sqlitedb: Any
    session: Any
    task_scheduler: Any
    broadcast_scheduler: Any
    zmqstream: Any
    util: Any
    scheduler: Any

    def __init__(self) -> None:
        self._actors: list[Actor] = []
        self.log: Final = _log(self._say)
        for name, module in _loaded(MODULES).items():
            setattr(self, name.rpartition(".")[2], module)
        self._make_virtual()

    # -- whose turn it is --------------------------------------------------------------------------------------------

    @contextmanager
    def acting(self, actor: Actor) -> Iterator[None]:
        """Let this be the one whose time it is and whose loop runs."""
        from tornado.ioloop import IOLoop

        before = asyncio._get_running_loop()
        loop, tornado = actor.loops
        self._actors.append(actor)
        asyncio._set_running_loop(loop)
        IOLoop._ioloop_for_asyncio[loop] = tornado
        try:
            yield
        finally:
            del IOLoop._ioloop_for_asyncio[loop]
            asyncio._set_running_loop(before)
            self._actors.pop()

    @property
    def actor(self) -> Actor:
        """Whoever acts."""
        return self._actors[-1]

    def date(self, process: Process) -> float:
        """Seconds since 1970 by the wall clock of a process."""
        return (process.now() + BEGINNING + process.calendar.offset) / SECOND

    def _say(self, line: str) -> None:
        if self._actors:
            self.actor.complains(line)

    # -- what is virtual ---------------------------------------------------------------------------------------------

    def _make_virtual(self) -> None:
        import os

        def clock() -> float:
            return self.actor.process.clock() / SECOND

        def today() -> datetime:
            process = self.actor.process
            return EPOCH + timedelta(microseconds=(process.now() + BEGINNING + process.calendar.offset) // 1000)

        def between(low: int, high: int) -> int:
            return low + int(self.actor.chance.random() * (high - low + 1))

        times = SimpleNamespace(
            time=lambda: self.date(self.actor.process), monotonic=clock, perf_counter=clock, sleep=lambda _: None
        )
        system = SimpleNamespace(getpid=lambda: PID, environ={"USER": "ipyparallel"}, name=os.name)
        paths = SimpleNamespace(exists=lambda name: name in self.actor.files)
        database = SimpleNamespace(**{**vars(sqlite3), "connect": self._connect})
        here: dict[Any, dict[str, Any]] = {
            self.zmqstream: {"gen_log": self.log},
            self.session: {"utcnow": today, "os": system, "warnings": SimpleNamespace(warn=lambda *_, **__: None)},
            self.util: {"utcnow": today},
            self.heartmonitor: {"time": times, "set": _ordered()},
            self.hub: {
                "time": times, "set": _ordered(), "open": self._open, "os": SimpleNamespace(path=paths)
            },
            self.sqlitedb: {"sqlite3": database, "set": _ordered()},
            self.task_scheduler: {
                "time": times, "set": _ordered(), "random": lambda: self.actor.chance.random(), "randint": between
            },
        }  # fmt: skip
        for module, names in here.items():
            vars(module).update(names)

    def _open(self, name: str, mode: str = "r") -> "_File | StringIO":
        files = self.actor.files
        return _File(files, name) if mode == "w" else StringIO(files[name].decode())

    def _connect(self, name: str, **options: Any) -> Database:
        return Database(self.actor.files, name, **options)


class _File:
    """A text file that a process writes: it is on its disk when it is closed."""

    def __init__(self, files: MutableMapping[str, bytes], name: str) -> None:
        self._files, self._name = files, name
        self._parts: list[str] = []

    def write(self, text: str) -> None:
        self._parts.append(text)

    def __enter__(self) -> "_File":
        return self

    def __exit__(self, *_: object) -> None:
        self._files[self._name] = "".join(self._parts).encode()


def _ordered() -> Any:
    from conformance.targets.adapters.ordered import OrderedSet

    return OrderedSet


def _log(say: Callable[[str], object]) -> logging.Logger:
    """A logger of nobody else, which hands on what is an error."""

    class Handler(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            say(self.format(record))

    log = logging.Logger("ipyparallel", logging.ERROR)
    log.propagate = False
    log.addHandler(Handler())
    return log


def _loaded(names: tuple[str, ...]) -> dict[str, ModuleType]:
    """Modules that were executed anew, in which the later ones have found the earlier ones."""
    # One is found by its full name, or as an attribute of its package.
    before: list[tuple[str, ModuleType, Any, Any]] = []
    made: dict[str, ModuleType] = {}
    try:
        for name in names:
            package, _, last = name.rpartition(".")
            parent = import_module(package)
            before.append((name, parent, sys.modules.get(name), vars(parent).get(last)))
            spec = PathFinder.find_spec(name, parent.__path__)
            assert spec is not None, name
            assert spec.loader is not None, name
            module = made[name] = sys.modules[name] = module_from_spec(spec)
            setattr(parent, last, module)
            spec.loader.exec_module(module)
    finally:
        for name, parent, module_before, attribute in before:
            _put(sys.modules, name, module_before)
            _put(vars(parent), name.rpartition(".")[2], attribute)
    return made


def _put(names: MutableMapping[str, Any], name: str, value: Any) -> None:
    if value is None:
        names.pop(name, None)
    else:
        names[name] = value


@cache
def load() -> Edition:
    """The edition of this process. Raises TargetUnusable if ipyparallel is not installed."""
    if find_spec("ipyparallel") is None:
        raise TargetUnusable("ipyparallel is not installed: pip install 'ippkit[ipyparallel]'")
    return Edition()


__all__ = ["Actor", "Edition", "load"]
