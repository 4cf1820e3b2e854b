"""The engines that a scheduler knows, and the schemes by which it chooses among those with room.

The engines stand in an order: a new one at the head, one that was given a task at the tail. A `stamp` is a place in
that order. A *pool* holds the engines that have room for another task and picks by its scheme:

    leastload     the first in order of those with the fewest tasks
    lru           the first in order
    plainrandom   anyone
    twobin        the first in order of two drawn at random
    weighted      the less loaded of two drawn with a probability of 1 / (load + 0.000001), the first drawn if equal

`leastload` and `lru` keep a heap; entries that no longer hold stay until they come to the top. The others keep an array
from which an engine is taken out in one step. Picking costs O(log n), of `weighted` O(n); what must be avoided is given
as a list and costs its length.

Source: ipyparallel docs, task.md, section "Schedulers"; measured on ipyparallel 9.2.0.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from heapq import heapify, heappop, heappush
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from protocol.roles.task.tasks import Task

Random = Callable[[int], int]
#: The weight of an idle engine in `weighted`, in whole numbers: chance comes in these.
_WEIGHT: Final = 10**12


class Engine:
    """One engine between its registration and its end. One that comes back under its uuid is another one."""

    __slots__ = ("entry", "is_live", "name", "number", "pending", "slot", "stamp", "uuid")

    def __init__(self, uuid: bytes, number: int) -> None:
        self.uuid = uuid
        self.name = uuid.decode()
        self.number = number
        self.is_live = True
        #: Its place in the order: the least is the head.
        self.stamp = 0
        #: The tasks it has; their number is its load.
        self.pending: dict[str, Task] = {}
        #: Its valid entry in the heap of a pool, or its place in the array of one.
        self.entry: tuple[int, int, Engine] | None = None
        self.slot = -1


class Pool(ABC):
    """The engines that have room."""

    @abstractmethod
    def offer(self, engine: Engine) -> None:
        """The engine has room; its load or its place in the order may have changed."""

    @abstractmethod
    def withdraw(self, engine: Engine) -> None:
        """The engine is full, or gone."""

    @abstractmethod
    def pick(self) -> Engine | None:
        """The scheme's choice, which stays in the pool; None if nobody has room."""

    @abstractmethod
    def pick_without(self, barred: Sequence[Engine]) -> Engine | None:
        """The scheme's choice among the others, each of which is live and named once."""

    @abstractmethod
    def best_of(self, engines: Sequence[Engine]) -> Engine:
        """The scheme's choice among these, which all have room; there is at least one."""

    def freeze(self) -> tuple[bytes, ...]:
        """What loads and the order of the engines do not tell."""
        return ()

    def thaw(self, frozen: Sequence[Engine]) -> None:  # noqa: B027 - nothing to do where nothing was told
        """Take up again what `freeze` told; every engine with room was offered before."""


class Ordered(Pool):
    """`leastload` and `lru`: a heap of (load or 0, stamp, engine), of which an engine's latest entry is valid."""

    def __init__(self, *, by_load: bool) -> None:
        self._by_load = by_load
        self._heap: list[tuple[int, int, Engine]] = []
        self._valid = 0

    def offer(self, engine: Engine) -> None:
        """Enter the engine afresh."""
        if engine.entry is None:
            self._valid += 1
        entry = engine.entry = (len(engine.pending) if self._by_load else 0, engine.stamp, engine)
        heap = self._heap
        heappush(heap, entry)
        if len(heap) > 4 * self._valid + 64:
            self._heap = [entry for entry in heap if entry[2].entry is entry]
            heapify(self._heap)

    def withdraw(self, engine: Engine) -> None:
        """Invalidate the engine's entry."""
        if engine.entry is not None:
            engine.entry = None
            self._valid -= 1

    def pick(self) -> Engine | None:
        """The engine of the first valid entry."""
        heap = self._heap
        while heap:
            entry = heap[0]
            engine = entry[2]
            if engine.entry is entry:
                return engine
            heappop(heap)
        return None

    def pick_without(self, barred: Sequence[Engine]) -> Engine | None:
        """The first one that is not barred; those before it are taken out and put back."""
        passed = []
        never = set(barred)
        found = self.pick()
        while found is not None and found in never:
            passed.append(heappop(self._heap))
            found = self.pick()
        for entry in passed:
            heappush(self._heap, entry)
        return found

    def best_of(self, engines: Sequence[Engine]) -> Engine:
        """The least of them."""
        if self._by_load:
            return min(engines, key=lambda engine: (len(engine.pending), engine.stamp))
        return min(engines, key=lambda engine: engine.stamp)


class Drawn(Pool):
    """`plainrandom`, `twobin` and `weighted`: an array to draw from."""

    def __init__(self, scheme: str, random: Random) -> None:
        self._draws = 1 if scheme == "plainrandom" else 2
        self._is_weighted = scheme == "weighted"
        self._random = random
        self._free: list[Engine] = []

    def offer(self, engine: Engine) -> None:
        """Add the engine if it is not there."""
        if engine.slot < 0:
            engine.slot = len(self._free)
            self._free.append(engine)

    def withdraw(self, engine: Engine) -> None:
        """Put the last one in its place."""
        slot = engine.slot
        if slot >= 0:
            last = self._free.pop()
            if last is not engine:
                self._free[slot] = last
                last.slot = slot
            engine.slot = -1

    def pick(self) -> Engine | None:
        """The scheme's choice among all."""
        return self.best_of(self._free) if self._free else None

    def pick_without(self, barred: Sequence[Engine]) -> Engine | None:
        """The scheme's choice among the others."""
        if self._is_weighted:
            never = set(barred)
            others = [engine for engine in self._free if engine not in never]
            return self.best_of(others) if others else None
        holes = sorted(engine.slot for engine in barred if engine.slot >= 0)
        if len(holes) == len(self._free):
            return None
        return min((self._draw_without(holes) for _ in range(self._draws)), key=lambda engine: engine.stamp)

    def best_of(self, engines: Sequence[Engine]) -> Engine:
        """The scheme's choice among these."""
        if self._is_weighted:
            first, second = self._weigh(engines), self._weigh(engines)
            return second if len(second.pending) < len(first.pending) else first
        found = engines[self._random(len(engines))]
        for _ in range(self._draws - 1):
            other = engines[self._random(len(engines))]
            if other.stamp < found.stamp:
                found = other
        return found

    def freeze(self) -> tuple[bytes, ...]:
        """The array."""
        return tuple(engine.uuid for engine in self._free)

    def thaw(self, frozen: Sequence[Engine]) -> None:
        """The array in its old order."""
        self._free = list(frozen)
        for slot, engine in enumerate(self._free):
            engine.slot = slot

    def _draw_without(self, holes: Sequence[int]) -> Engine:
        slot = self._random(len(self._free) - len(holes))
        for hole in holes:
            if hole <= slot:
                slot += 1
        return self._free[slot]

    def _weigh(self, engines: Sequence[Engine]) -> Engine:
        weights = [_WEIGHT // (len(engine.pending) * 1_000_000 + 1) for engine in engines]
        rest = self._random(sum(weights))
        for engine, weight in zip(engines, weights, strict=True):
            rest -= weight
            if rest < 0:
                return engine
        return engines[-1]


#: The schemes that look at engines; `pure` does not, and is a device: `protocol.roles.relay.TaskRelay`.
SCHEMES: Final = ("leastload", "lru", "plainrandom", "twobin", "weighted")


def pool(scheme: str, random: Random) -> Pool:
    """An empty pool. Raises ValueError for a scheme that there is not."""
    if scheme not in SCHEMES:
        raise ValueError(f"unknown scheme {scheme!r}; there are: {', '.join(SCHEMES)}")
    if scheme in ("leastload", "lru"):
        return Ordered(by_load=scheme == "leastload")
    return Drawn(scheme, random)
