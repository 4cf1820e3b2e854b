"""What kept a target from answering although it could have gone on: the time for which no deadline may run.

On a busy machine a process waits for a processor for as long as it runs, or longer. How long each of the target's
threads has waited is looked up every so often while the world is pumped. The target was kept for as long as the thread
that waited longest: somebody whose answer takes a second of work has one thread that does it.
"""

from bisect import bisect_right
from collections import deque
from collections.abc import Callable, Mapping
from typing import Final

from protocol.world import MILLISECOND

#: Nanoseconds of each thread, by its id.
Delays = Mapping[int, int]

#: The most that a deadline is put off on a machine that is busy: to so many times its distance.
PUT_OFF: Final = 10
#: How often a sample is taken, and how many are remembered: those of more than two minutes.
EVERY: Final = 200 * MILLISECOND
KEPT: Final = 640


class Hindrance:
    """The samples of one target."""

    def __init__(self, delays: Callable[[], Delays]) -> None:
        self._delays = delays
        self._times: deque[int] = deque(maxlen=KEPT)
        self._samples: deque[Delays] = deque(maxlen=KEPT)

    def look(self, now: int) -> int:
        """Take a sample if it is time for one; for how long the target was kept since the last one."""
        if self._times and now - self._times[-1] < EVERY:
            return 0
        self._times.append(now)
        self._samples.append(self._delays())
        return self.since(self._times[-2]) if len(self._times) > 1 else 0

    def since(self, moment: int) -> int:
        """For how many nanoseconds the target was kept since a moment, as far as samples tell; rather too many."""
        if not self._times:
            return 0
        before = self._samples[max(bisect_right(self._times, moment) - 1, 0)]
        return max((waited - before.get(thread, 0) for thread, waited in self._samples[-1].items()), default=0)
