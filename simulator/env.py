"""What a role may ask of the virtual world: chance, fresh ids, the date. All of it follows from the seed.

Dates are the virtual clock plus a fixed day, so that they never show when a run was made. A process whose wall clock
was set to another time has an offset; its other clock, by which timers run, does not jump with it.
"""

import random
from collections.abc import Callable, MutableMapping
from datetime import UTC, datetime
from typing import Final

from protocol.world import SECOND
from simulator.rarity import never

#: When virtual time begins: 5 January 2026, 12:00 UTC, in nanoseconds since 1970.
BEGINNING: Final = round(datetime(2026, 1, 5, 12, tzinfo=UTC).timestamp()) * SECOND


class Calendar:
    """The wall clock of one process: its dates, and how far it is off."""

    __slots__ = ("_date", "_moment", "_second", "_text", "offset")

    def __init__(self) -> None:
        #: Nanoseconds by which this wall clock is ahead of the others.
        self.offset = 0
        self._moment = self._second = -1
        self._date = self._text = ""

    def date(self, now: int) -> str:
        """The moment in ISO 8601, UTC, with microseconds and a final Z."""
        moment = now + BEGINNING + self.offset
        if moment == self._moment:
            # What is done in one event has one date.
            return self._date
        second, rest = divmod(moment, SECOND)
        if second != self._second:
            self._second = second
            self._text = datetime.fromtimestamp(second, UTC).strftime("%Y-%m-%dT%H:%M:%S.")
        self._moment = moment
        self._date = "%s%06dZ" % (self._text, rest // 1000)  # noqa: UP031 - this is asked for once per message
        return self._date


class VirtualEnv:
    """Chance, ids and dates of one process. `session` must be nobody else's, and no earlier process's of this name."""

    __slots__ = ("_chance", "_count", "_marks", "_seed", "date", "rarely", "session")

    def __init__(
        self,
        session: str,
        seed: str,
        calendar: Calendar,
        marks: MutableMapping[str, int],
        rarely: Callable[[str], bool] = never,
    ) -> None:
        self.session = session
        #: Whether to take a less usual way at a place: see `simulator.rarity`.
        self.rarely: Final = rarely
        self.date = calendar.date
        self._seed = seed
        #: Made when it is needed: most roles never ask, and to seed it takes as long as some messages do.
        self._chance: Callable[[], float] | None = None
        self._marks = marks
        self._count = 0

    def random(self, n: int) -> int:
        """A number from 0 to n - 1."""
        if self._chance is None:
            self._chance = random.Random(self._seed).random
        return int(self._chance() * n)

    def fresh_id(self) -> str:
        """`<session>_<count>`."""
        count = self._count
        self._count = count + 1
        return f"{self.session}_{count}"

    def mark(self, slug: str) -> None:
        """Count a rare branch: a campaign that never reaches one is not finished."""
        self._marks[slug] = self._marks.get(slug, 0) + 1


__all__ = ["BEGINNING", "Calendar", "VirtualEnv"]
