"""What a ping tells: how long its monitor has lived, and so how late the ping reached whoever recorded it."""

import re
from collections import deque
from functools import lru_cache
from typing import Final

from protocol.world import SECOND, Observation

_LIFETIME: Final = re.compile(rb"\d+(\.\d+)?([eE][-+]?\d+)?")
#: So many pings back the quickest one is looked for; the clocks of both sides do not drift apart in that time.
RECENT: Final = 64


def lifetime(seen: Observation) -> float | None:
    """The seconds that a ping says, or None if it says none."""
    frames = seen.frames
    return _seconds(bytes(frames[0])) if len(frames) == 1 else None


@lru_cache(maxsize=256)
def _seconds(ping: bytes) -> float | None:
    # Each ping goes to every heart, and each is looked at by several rules.
    return float(ping) if _LIFETIME.fullmatch(ping) else None


class Arrivals:
    """How long the pings of one recorder were on their way, in nanoseconds, but for what all of them have in common."""

    __slots__ = ("_times", "latest")

    def __init__(self) -> None:
        self._times: deque[int] = deque(maxlen=RECENT)
        #: That of the latest ping; None if none came, or it told no lifetime.
        self.latest: int | None = None

    def add(self, ping: Observation) -> None:
        """Take in the next ping that was received."""
        told = lifetime(ping)
        self.latest = None if told is None else ping.now - int(told * SECOND)
        if self.latest is not None:
            self._times.append(self.latest)

    def late(self, time: int | None) -> int:
        """How much longer that was than the shortest of late, in nanoseconds."""
        return 0 if time is None else max(0, time - min(self._times, default=time))
