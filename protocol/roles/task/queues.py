"""Where tasks wait for engines, so that nobody is looked at in vain.

    general   tasks that any engine may have, in order of submission
    named     tasks for certain engines, in a line per engine named, known to the scheduler or not
    barred    tasks for all but certain engines

An engine with room takes the oldest of three: the first of the general queue, of its own line, and of the barred tasks
that do not bar it. Lines are heaps; a task that has left stands in them until it comes to the top, or until they are
more than half of it. The barred tasks are the leaves of a binary tree, in order of arrival; each node knows which
engines *all* tasks below it bar, so a walk from the root to the first task for an engine never turns round.

Costs, for k engines named or barred and n tasks: O((k + 1) log n) to enter and leave, O(log n) to find the first.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterable
from heapq import heapify, heappop, heappush
from typing import Final, TypeVar

from protocol.roles.task.demands import Demands
from protocol.roles.task.tasks import Task

Entry = tuple[int, Task]
_Key = TypeVar("_Key")


class Queue(ABC):
    """One of the three."""

    #: Its name in a frozen state.
    kind: str

    @abstractmethod
    def remove(self, task: Task) -> None:
        """Take a task out that is in."""


def demands_of(task: Task) -> Demands:
    """The demands of a task that stands in a restricted queue, and therefore has some."""
    assert task.demands is not None
    return task.demands


class Line:
    """Tasks in order of submission; those whose entry is no longer this one have left."""

    __slots__ = ("_heap", "count")

    def __init__(self) -> None:
        self._heap: list[Entry] = []
        self.count = 0

    def add(self, entry: Entry) -> None:
        """Enter a task."""
        heappush(self._heap, entry)
        self.count += 1

    def drop(self) -> None:
        """One of the tasks, whose entry was taken from it, has left."""
        self.count -= 1
        if len(self._heap) > 2 * self.count + 32:
            self._heap = self.entries()
            heapify(self._heap)

    def entries(self) -> list[Entry]:
        """The valid entries, in no order."""
        return [entry for entry in self._heap if entry[1].entry is entry]

    def first(self) -> Entry | None:
        """The entry of the oldest task."""
        heap = self._heap
        while heap:
            entry = heap[0]
            if entry[1].entry is entry:
                return entry
            heappop(heap)
        return None


class General(Queue):
    """Tasks for anyone."""

    kind = "general"

    def __init__(self) -> None:
        self.line: Final = Line()
        self.first: Final = self.line.first

    def add(self, task: Task) -> None:
        """Enter a task."""
        task.queue = self
        task.entry = (task.seq, task)
        self.line.add(task.entry)

    def remove(self, task: Task) -> None:
        """Take a task out."""
        task.queue = task.entry = None
        self.line.drop()


class Named(Queue):
    """Tasks for certain engines."""

    kind = "named"

    def __init__(self) -> None:
        self.lines: Final[dict[bytes, Line]] = {}

    def add(self, task: Task, names: tuple[bytes, ...], alive: int) -> None:
        """Enter a task for these engines, of which so many are alive."""
        demands = demands_of(task)
        demands.names, demands.alive = names, alive
        task.queue = self
        task.entry = (task.seq, task)
        for name in names:
            line = self.lines.get(name)
            if line is None:
                line = self.lines[name] = Line()
            line.add(task.entry)

    def remove(self, task: Task) -> None:
        """Take a task out."""
        task.queue = task.entry = None
        for name in demands_of(task).names:
            line = self.lines[name]
            line.drop()
            if not line.count:
                del self.lines[name]

    def first(self, name: bytes) -> Entry | None:
        """The oldest task for this engine."""
        line = self.lines.get(name)
        return None if line is None else line.first()

    def came(self, name: bytes) -> None:
        """The engine is alive now."""
        for task in self._tasks(name):
            demands_of(task).alive += 1

    def went(self, name: bytes) -> list[Task]:
        """The engine is gone. The result are the tasks for none that is alive, in order of submission."""
        stranded = []
        for task in self._tasks(name):
            demands = demands_of(task)
            demands.alive -= 1
            if not demands.alive:
                stranded.append(task)
        return sorted(stranded, key=_seq)

    def _tasks(self, name: bytes) -> Iterable[Task]:
        line = self.lines.get(name)
        return () if line is None else [entry[1] for entry in line.entries()]


class Barred(Queue):
    """Tasks for all but certain engines."""

    kind = "barred"

    def __init__(self) -> None:
        self.count = 0
        self._size = 8
        self._end = 0
        #: The leaf of slot s is node size + s; the parent of node i is i // 2. None where no task is below.
        self._nodes: list[frozenset[bytes] | None] = [None] * 16
        self._slots: list[Task | None] = [None] * 8
        self._by_engine: dict[bytes, dict[str, Task]] = {}
        #: The tasks by how many of the engines they bar are alive.
        self._by_alive: dict[int, dict[str, Task]] = {}

    def add(self, task: Task, names: tuple[bytes, ...], alive: int) -> None:
        """Enter a task that bars these engines, of which so many are alive."""
        if self._end == self._size:
            self._rebuild()
        demands = demands_of(task)
        demands.names, demands.alive, demands.slot = names, alive, self._end
        task.queue = self
        task.entry = (task.seq, task)
        self._slots[self._end] = task
        self._set(self._end, frozenset(names))
        self._end += 1
        self.count += 1
        for name in names:
            self._by_engine.setdefault(name, {})[task.id] = task
        self._by_alive.setdefault(alive, {})[task.id] = task

    def remove(self, task: Task) -> None:
        """Take a task out."""
        demands = demands_of(task)
        task.queue = task.entry = None
        self._slots[demands.slot] = None
        self._set(demands.slot, None)
        self.count -= 1
        for name in demands.names:
            _discard(self._by_engine, name, task)
        _discard(self._by_alive, demands.alive, task)

    def first(self, name: bytes) -> Entry | None:
        """The first task that does not bar this engine."""
        nodes = self._nodes
        node = nodes[1]
        if node is None or name in node:
            return None
        at = 1
        while at < self._size:
            at *= 2
            node = nodes[at]
            if node is None or name in node:
                at += 1
        task = self._slots[at - self._size]
        assert task is not None
        return task.entry

    def came(self, name: bytes) -> None:
        """The engine is alive now."""
        self._count(name, 1)

    def went(self, name: bytes) -> None:
        """The engine is gone."""
        self._count(name, -1)

    def exhausted(self, alive: int) -> list[Task]:
        """The tasks that bar so many engines that are alive, in order of submission."""
        return sorted(self._by_alive.get(alive, {}).values(), key=_seq)

    def tasks(self) -> list[Task]:
        """All tasks, in the order of the tree."""
        return [task for task in self._slots if task is not None]

    def _count(self, name: bytes, change: int) -> None:
        for task in self._by_engine.get(name, {}).values():
            demands = demands_of(task)
            _discard(self._by_alive, demands.alive, task)
            demands.alive += change
            self._by_alive.setdefault(demands.alive, {})[task.id] = task

    def _set(self, slot: int, names: frozenset[bytes] | None) -> None:
        nodes = self._nodes
        at = self._size + slot
        nodes[at] = names
        while at > 1:
            at //= 2
            left, right = nodes[2 * at], nodes[2 * at + 1]
            nodes[at] = right if left is None else left if right is None else left & right

    def _rebuild(self) -> None:
        tasks = self.tasks()
        self._size = 8
        while self._size < 2 * len(tasks):
            self._size *= 2
        self._slots = [*tasks, *[None] * (self._size - len(tasks))]
        self._end = len(tasks)
        self._nodes = [None] * (2 * self._size)
        for slot, task in enumerate(tasks):
            demands = demands_of(task)
            demands.slot = slot
            self._nodes[self._size + slot] = frozenset(demands.names)
        for at in range(self._size - 1, 0, -1):
            left, right = self._nodes[2 * at], self._nodes[2 * at + 1]
            self._nodes[at] = right if left is None else left if right is None else left & right


def _seq(task: Task) -> int:
    return task.seq


def _discard(index: dict[_Key, dict[str, Task]], key: _Key, task: Task) -> None:
    tasks = index[key]
    del tasks[task.id]
    if not tasks:
        del index[key]
