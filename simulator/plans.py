"""Plans: which fault begins when, and how long it lasts; written by hand, or drawn from a seed.

    plan = (Event(at=SECOND, lasts=3 * SECOND, fault=Paused(who="engine-1")),)

Drawing is swarm testing: which kinds of fault there are in a run, how often each comes, how long it lasts and how bad
it is, all of it is drawn, so that runs differ in character and not only in moments. About two kinds in five are active.
"""

from collections.abc import Callable, Mapping, Sequence
from random import Random
from typing import Final, Literal, TypeVar

import msgspec

from protocol.damage import ON_THE_WAY
from protocol.world import MILLISECOND, SECOND, Part
from simulator.faults import (
    ClockDrifting,
    ClockJumped,
    Cut,
    Damaged,
    Delayed,
    DiskFailing,
    DiskLost,
    DiskSlow,
    Doubled,
    Dropped,
    EngineInterrupted,
    EngineKilled,
    EngineStalled,
    EngineTerminated,
    Fault,
    Flood,
    Garbage,
    HeartHalted,
    HeartKilled,
    HeartLate,
    HeartLying,
    LinkSlow,
    Nonsense,
    OddEngine,
    OddHeart,
    OutputUnread,
    Partitioned,
    PartKilled,
    PartStalled,
    Paused,
    Replays,
    vocabulary,
)
from simulator.strangers import Lack

T = TypeVar("T")

#: Which faults may be drawn: none, those within ZeroMQ's contract, or all.
Hardness = Literal["none", "lite", "hard"]
#: The share of kinds that are active in one plan.
ACTIVE: Final = 0.4
#: The most that one kind begins in a plan.
MOST: Final = 3

_PARTS: Final[tuple[Part, ...]] = ("hub", "tasks", "mux", "control", "iopub", "broadcast", "hearts")
_LACKS: Final[tuple[Lack, ...]] = ("heart", "subscription", "shell", "control", "reading", "sense", "sense")
_SOURCES: Final = ("client-", "engine-", "hub/", "tasks/", "mux/", "hearts/", "")


class Event(msgspec.Struct, frozen=True, kw_only=True):
    """A fault that begins at a time, and is healed after `lasts`; both in nanoseconds after the beginning of the work.

    Without `lasts` it is healed with all others, at the end.
    """

    at: int
    fault: Fault
    lasts: int | None = None

    def __repr__(self) -> str:
        lasts = "" if self.lasts is None else f", lasts={self.lasts:_}"
        return f"Event(at={self.at:_}{lasts}, fault={self.fault!r})"


Plan = tuple[Event, ...]


class Draw:
    """Draws plans for a cluster with so many engines and clients, from one stream of chance."""

    def __init__(self, chance: Random, *, engines: int, clients: int) -> None:
        self._chance = chance.random
        self._engines = [f"engine-{number + 1}" for number in range(engines)]
        self._clients = [f"client-{number + 1}" for number in range(clients)]

    def plan(self, lasts: int, hardness: Hardness) -> Plan:
        """Faults that begin within so many nanoseconds, in order."""
        events: list[Event] = []
        for kind in vocabulary():
            if hardness == "none" or not (kind.IS_INSIDE or hardness == "hard"):
                continue
            if self._chance() >= ACTIVE:
                continue
            for _ in range(1 + self._below(MOST)):
                length = self._time(self._one((300 * MILLISECOND, SECOND, 4 * SECOND)))
                events.append(Event(at=self._below(lasts), lasts=length, fault=self._draws[kind](self)))
        return tuple(sorted(events, key=lambda event: event.at))

    def _below(self, stop: int) -> int:
        return int(self._chance() * stop)

    def _time(self, longest: int) -> int:
        return 1 + self._below(longest)

    def _one(self, choice: Sequence[T]) -> T:
        return choice[self._below(len(choice))]

    def _engine(self) -> str:
        return self._one(self._engines) if self._engines else ""

    def _client(self) -> str:
        return self._one(self._clients) if self._clients else ""

    def _anybody(self) -> str:
        return self._one((*self._engines, *self._clients, *_PARTS))

    def _peer(self) -> str:
        return self._one((*self._engines, *self._clients))

    def _some(self) -> tuple[str, ...]:
        return tuple(name for name in self._engines if self._chance() < 0.5) or (self._peer(),)

    def _share(self) -> float:
        return self._one((0.01, 0.05, 0.3))

    #: How each kind of fault is drawn.
    _draws: Final[Mapping[type[Fault], Callable[["Draw"], Fault]]] = {
        HeartKilled: lambda d: HeartKilled(engine=d._engine()),
        HeartHalted: lambda d: HeartHalted(engine=d._engine()),
        HeartLate: lambda d: HeartLate(engine=d._engine(), delay=d._time(300 * MILLISECOND)),
        HeartLying: lambda d: HeartLying(engine=d._engine()),
        EngineKilled: lambda d: EngineKilled(engine=d._engine(), comes_back=d._chance() < 0.7),
        EngineTerminated: lambda d: EngineTerminated(engine=d._engine()),
        EngineInterrupted: lambda d: EngineInterrupted(engine=d._engine()),
        EngineStalled: lambda d: EngineStalled(engine=d._engine(), nanoseconds=d._time(3 * SECOND)),
        Paused: lambda d: Paused(who=d._anybody()),
        OutputUnread: lambda d: OutputUnread(client=d._client(), room=d._time(20)),
        PartKilled: lambda d: PartKilled(part=d._one((*_PARTS, "controller"))),
        PartStalled: lambda d: PartStalled(part=d._one(_PARTS), nanoseconds=d._time(2 * SECOND)),
        DiskLost: lambda _: DiskLost(),
        DiskFailing: lambda _: DiskFailing(),
        DiskSlow: lambda d: DiskSlow(nanoseconds=d._time(200 * MILLISECOND)),
        Partitioned: lambda d: Partitioned(places=d._some(), one_way=d._chance() < 0.3),
        LinkSlow: lambda d: LinkSlow(
            place=d._peer(), latency=d._time(50 * MILLISECOND), jitter=d._time(50 * MILLISECOND),
            loss=d._one((0.0, 0.01, 0.1)), bandwidth=d._one((0, 100_000, 10_000_000)),
        ),
        Cut: lambda d: Cut(who=d._anybody(), where=d._one(("between", "within", "greeting"))),
        Dropped: lambda d: Dropped(source=d._one(_SOURCES), share=d._share()),
        Delayed: lambda d: Delayed(source=d._one(_SOURCES), share=d._share(), delay=d._time(200 * MILLISECOND)),
        Doubled: lambda d: Doubled(source=d._one(_SOURCES), share=d._share(), delay=d._time(200 * MILLISECOND)),
        Damaged: lambda d: Damaged(source=d._one(_SOURCES), share=d._share(), kind=d._one(tuple(ON_THE_WAY))),
        OddEngine: lambda d: OddEngine(lacks=d._one(_LACKS)),
        Flood: lambda d: Flood(count=d._time(30)),
        OddHeart: lambda _: OddHeart(),
        Nonsense: lambda d: Nonsense(count=d._time(30)),
        Garbage: lambda d: Garbage(count=d._time(30)),
        Replays: lambda d: Replays(share=d._share(), delay=d._time(100 * MILLISECOND)),
        ClockJumped: lambda d: ClockJumped(who=d._anybody(), nanoseconds=d._below(7200 * SECOND) - 3600 * SECOND),
        ClockDrifting: lambda d: ClockDrifting(who=d._anybody(), per_mille=d._time(50)),
    }  # fmt: skip


__all__ = ["ACTIVE", "Draw", "Event", "Hardness", "Plan"]
