"""Other orders: a kernel in which events that are due at about the same time may happen in any order.

In the plain kernel the earlier event comes first. Nobody promises that: what is due within a moment (`WINDOW`) of the
earliest event might as well happen before it, as a machine that is a little slower would have it. A *schedule* chooses:

    uniform   any of them, each as likely as the others
    pct       by priority: everybody who acts has one, drawn when it is first seen; the highest goes first. At some
              moments, drawn beforehand, whoever would go next falls below all others. `pct:DEPTH` has DEPTH - 1 such
              moments in each stretch of a run: what needs DEPTH events in one order is then found with a probability
              that can be given.

What one actor has due (a wire its messages, a socket its wake-ups) keeps its order, so connections never overtake
themselves. An event that was passed over happens later than it was due, never earlier than one already past. The choice
is drawn from a stream of its own: the same seed and schedule give the same run.

Source: Burckhardt, Kothari, Musuvathi, Nagarakatte, "A Randomized Scheduler with Probabilistic Guarantees of Finding
Bugs" (ASPLOS 2010), section 2.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from heapq import heappop, heappush
from random import Random
from typing import Final

from simulator.kernel import Callback, Entry, Kernel

#: Nanoseconds: what is due within these is due at about the same time. A message between two hosts takes as long.
WINDOW: Final = 100_000
#: Of a `pct` that says no more.
DEPTH: Final = 3
#: Choices between the moments of one stretch and the next.
STRETCH: Final = 2_000
KINDS: Final = ("uniform", "pct")


class Schedule(ABC):
    """Chooses who is next."""

    def __init__(self, random: Random) -> None:
        self._random: Final = random.random

    @abstractmethod
    def choose(self, actors: Sequence[object]) -> int:
        """The place of the one who is next, of two or more in the order in which they are due."""


class Uniform(Schedule):
    """Anybody."""

    def choose(self, actors: Sequence[object]) -> int:
        """Any place."""
        return int(self._random() * len(actors))


class Priorities(Schedule):
    """The one with the highest priority, which at some moments is taken from it."""

    def __init__(self, random: Random, depth: int) -> None:
        super().__init__(random)
        self._depth = depth
        #: By identity: priorities, the greatest first. The actor is kept so that nobody else gets its identity.
        self._priorities: dict[int, tuple[float, object]] = {}
        self._count = 0
        self._lowest = 0.0
        self._moments: set[int] = set()

    def choose(self, actors: Sequence[object]) -> int:
        """The place of the highest."""
        if self._count % STRETCH == 0:
            self._moments = {self._count + int(self._random() * STRETCH) for _ in range(self._depth - 1)}
        place = self._highest(actors)
        if self._count in self._moments:
            self._lowest -= 1.0
            self._priorities[id(actors[place])] = (self._lowest, actors[place])
            place = self._highest(actors)
        self._count += 1
        return place

    def _highest(self, actors: Sequence[object]) -> int:
        priorities = self._priorities
        best, highest = 0, -float("inf")
        for place, actor in enumerate(actors):
            known = priorities.get(id(actor))
            if known is None:
                known = priorities[id(actor)] = (self._random(), actor)
            if known[0] > highest:
                best, highest = place, known[0]
        return best


def parse(text: str) -> tuple[str, int]:
    """The kind and the depth that `uniform`, `pct` or `pct:DEPTH` names. Raises ValueError with a sentence."""
    kind, colon, depth = text.partition(":")
    if kind not in KINDS or (colon and (kind != "pct" or not depth.isdecimal() or not 0 < int(depth) < 100)):
        raise ValueError(f"{text!r} is no schedule: there are uniform, pct and pct:DEPTH, such as pct:{DEPTH}")
    return kind, int(depth) if colon else DEPTH


def scheduled(seed: int, schedule: str) -> Kernel:
    """A kernel with this schedule, the plain one if it is empty. Raises ValueError for one that there is not."""
    if not schedule:
        return Kernel(seed)
    kind, depth = parse(schedule)
    random = Random(f"{seed}/order")
    return ScheduledKernel(seed, Uniform(random) if kind == "uniform" else Priorities(random, depth))


class ScheduledKernel(Kernel):
    """A kernel that asks a schedule who is next."""

    __slots__ = ("_schedule",)

    def __init__(self, seed: int, schedule: Schedule) -> None:
        super().__init__(seed)
        self._schedule = schedule

    def step(self) -> bool:
        """Let one event happen, whenever it is due; whether there was one."""
        return self._happens(1 << 62)

    def run(self, deadline: int) -> None:
        """Let everything happen that is due up to the deadline, which is the time afterwards."""
        while self._happens(deadline):
            pass
        if deadline > self.now:
            self.now = deadline

    def run_until(self, predicate: Callable[[], bool], deadline: int) -> bool:
        """As in the plain kernel."""
        while not predicate():
            if not self._happens(deadline):
                if deadline > self.now:
                    self.now = deadline
                return predicate()
        return True

    def _happens(self, deadline: int) -> bool:
        heap = self.heap
        if not heap or heap[0][0] > deadline:
            return False
        first = heappop(heap)
        end = min(first[0] + WINDOW, deadline)
        chosen = first
        if heap and heap[0][0] <= end:
            chosen = self._chosen(first, end)
        t, seq, fn, a, b = chosen
        if t > self.now:
            self.now = t
        if self.tracer is not None:
            self.tracer(self.now, seq, fn, a, b)
        fn(a, b)
        return True

    def _chosen(self, first: Entry, end: int) -> Entry:
        """One of the events up to a moment, each the next of its actor; the others stay."""
        heap = self.heap
        entries, actors, kept = [first], [_actor(first[2])], []
        seen = {id(actors[0])}
        while heap and heap[0][0] <= end:
            entry = heappop(heap)
            actor = _actor(entry[2])
            if id(actor) in seen:
                kept.append(entry)
            else:
                seen.add(id(actor))
                entries.append(entry)
                actors.append(actor)
        place = self._schedule.choose(actors) if len(actors) > 1 else 0
        for number, entry in enumerate(entries):
            if number != place:
                heappush(heap, entry)
        for entry in kept:
            heappush(heap, entry)
        return entries[place]


#: Who acts where a plain function is called: they keep their order among each other.
_NOBODY: Final = object()


def _actor(fn: Callback) -> object:
    return getattr(fn, "__self__", _NOBODY)


__all__ = ["DEPTH", "KINDS", "STRETCH", "WINDOW", "ScheduledKernel", "parse", "scheduled"]
