"""Virtual time: one queue of events, one clock that jumps from event to event, and chance from a seed.

An event is a flat tuple `(t, seq, fn, a, b)`: at time `t`, in nanoseconds, `fn(a, b)` is called. `seq` grows with every
event, so that events of one moment happen in the order in which they were made, and no comparison ever goes past it.
Nothing can be taken out of the queue: who may change their mind gives the callback an epoch, and returns when it is
stale.

Chance comes in separate streams, so that one fault more or less does not reshuffle the rest. Only `random()` and
`getrandbits()` are drawn from them: they are fast, and the same in every version of Python.
"""

import itertools
from collections.abc import Callable
from heapq import heappop, heappush
from random import Random
from typing import Any, Final

#: What is called at a time, with the two values that were given with it.
Callback = Callable[[Any, Any], object]
Entry = tuple[int, int, Callback, Any, Any]

#: Later than every event that is not the end of a run.
_LAST: Final = 1 << 62


class _Stop(Exception):
    """The end of a run has come."""


class Kernel:
    """The clock, the queue of events and the streams of chance of one simulation.

    `tracer(t, seq, fn, a, b)` is called before each event; it is None unless somebody wants to know, and costs nothing
    then. It is looked up when a run begins.
    """

    __slots__ = ("_faults", "_workload", "heap", "network", "now", "schedule", "seed", "seq", "tracer")

    def __init__(self, seed: int = 0) -> None:
        self.seed = seed
        self.now = 0
        #: The queue. Hot senders push onto it themselves: `heappush(kernel.heap, (t, kernel.seq(), fn, a, b))`.
        self.heap: list[Entry] = []
        self.seq: Callable[[], int] = itertools.count().__next__
        # A text is hashed by SHA-512 here, and not by hash().
        self.schedule = Random(f"{seed}/schedule")
        self.network = Random(f"{seed}/network")
        #: Made when they are needed: to seed one takes as long as some messages do.
        self._faults: Random | None = None
        self._workload: Random | None = None
        self.tracer: Callable[[int, int, Callback, Any, Any], object] | None = None

    @property
    def faults(self) -> Random:
        """The stream from which faults are drawn."""
        if self._faults is None:
            self._faults = Random(f"{self.seed}/faults")
        return self._faults

    @property
    def workload(self) -> Random:
        """The stream from which work is drawn."""
        if self._workload is None:
            self._workload = Random(f"{self.seed}/workload")
        return self._workload

    def at(self, t: int, fn: Callback, a: Any = None, b: Any = None) -> None:
        """Call `fn(a, b)` at `t`, or now if that has passed."""
        heappush(self.heap, (t if t > self.now else self.now, self.seq(), fn, a, b))

    def after(self, delay: int, fn: Callback, a: Any = None, b: Any = None) -> None:
        """Call `fn(a, b)` in `delay` nanoseconds."""
        heappush(self.heap, (self.now + delay, self.seq(), fn, a, b))

    def step(self) -> bool:
        """Let the next event happen; whether there was one."""
        if not self.heap:
            return False
        t, seq, fn, a, b = heappop(self.heap)
        self.now = t
        if self.tracer is not None:
            self.tracer(t, seq, fn, a, b)
        fn(a, b)
        return True

    def run(self, deadline: int) -> None:
        """Let everything happen that happens up to the deadline, which is the time afterwards."""
        heap = self.heap
        # An end that is an event itself saves a look at the queue before each of them.
        end: Entry = (deadline, _LAST + self.seq(), self._stop, None, None)
        heappush(heap, end)
        try:
            if self.tracer is None:
                while True:
                    self.now, _, fn, a, b = heappop(heap)
                    fn(a, b)
            while True:
                self.now, seq, fn, a, b = heappop(heap)
                if seq < _LAST and self.tracer is not None:
                    self.tracer(self.now, seq, fn, a, b)
                fn(a, b)
        except _Stop:
            pass
        except BaseException:
            # An end that was not reached would end another run.
            heap[:] = sorted(entry for entry in heap if entry[1] != end[1])
            raise

    @staticmethod
    def _stop(_a: object, _b: object) -> None:
        raise _Stop

    def run_until(self, predicate: Callable[[], bool], deadline: int) -> bool:
        """Let events happen until the predicate holds (True), or the deadline has passed (its last value).

        The predicate is looked at before the first event and after each. At the deadline, it is the time.
        """
        heap = self.heap
        while not predicate():
            if not heap or heap[0][0] > deadline:
                if deadline > self.now:
                    self.now = deadline
                return predicate()
            self.now, seq, fn, a, b = heappop(heap)
            if self.tracer is not None:
                self.tracer(self.now, seq, fn, a, b)
            fn(a, b)
        return True
