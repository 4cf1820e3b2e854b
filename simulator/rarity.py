"""What is right and seldom done: places at which a run may take a less usual way than another one.

    if env.rarely("task.fills-late"):
        ...                                   # as right as the usual way, and hardly ever tried

Two coins decide, as in FoundationDB: whether a place is active in this run, a quarter of them are, and then each time
whether it fires, again one in four. So runs differ in character, and each has some that do nothing unusual. Both coins
follow from the seed, the process and the place alone, so that one more of them leaves the others what they were. On
real sockets nobody ever says yes.
"""

from collections.abc import Mapping, MutableMapping
from typing import Final
from zlib import crc32

from protocol.roles.marks import RARELY

#: One in so many, of either coin.
ODDS: Final = 4
#: The places that are not a role's but the world's.
WORLD: Final[Mapping[str, str]] = {
    "disk.writes-at-once": "What is written is durable before its time: a crash may leave the first half of something.",
    "shell.reads-late": "A part of the controller looks at one of its sockets a moment later than it could.",
    "store.answers-late": "The store takes a moment to answer; what is asked meanwhile waits behind it.",
}
#: Every place: what happens there.
PLACES: Final[Mapping[str, str]] = {**RARELY, **WORLD}


class Rarity:
    """The coins of one process; `marks` counts what fires."""

    __slots__ = ("_counts", "_marks", "_whose")

    def __init__(self, whose: str, marks: MutableMapping[str, int]) -> None:
        self._whose = whose
        self._marks = marks
        #: How often a place that is active was passed; -1 for one that is not.
        self._counts: dict[str, int] = {}

    def is_active(self, place: str) -> bool:
        """Whether anything unusual ever happens here in this run."""
        count = self._counts.get(place)
        if count is None:
            count = self._counts[place] = -bool(crc32(f"{self._whose}/{place}".encode()) % ODDS)
        return count >= 0

    def __call__(self, place: str) -> bool:
        """Whether to take the less usual way this time."""
        if not self.is_active(place):
            return False
        count = self._counts[place]
        self._counts[place] = count + 1
        if crc32(f"{self._whose}/{place}/{count}".encode()) % ODDS:
            return False
        place = place.partition("/")[0]
        self._marks[place] = self._marks.get(place, 0) + 1
        return True


def never(_: str) -> bool:
    """Nothing unusual."""
    return False


__all__ = ["ODDS", "PLACES", "WORLD", "Rarity", "never"]
