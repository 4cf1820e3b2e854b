"""Many blows at a running target: in batches, each followed by honest traffic, until harm is done or all are struck.

When the honest miss something, the target is started again and parts of the last batches are struck alone, until the
fewest blows are left that still do it. What did harm once is left out from then on: that kind of damage at that spot.
The same seed strikes the same blows. What depends on the target's own timing need not show again; then the whole batch
is told, as what was going on.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from conformance.harness.verdict import Blocked, Undecided, Violated
from conformance.livefuzz.arena import HARM, PATIENCE, Arena, Blow, Trouble
from conformance.livefuzz.blows import IN_A_ROW, Spot, kind_of, kinds_at
from conformance.livefuzz.rings import LIFE, Ring
from conformance.targets.descriptor import Target
from conformance.targets.tables import Deviation
from conformance.targets.vocabulary import Role
from protocol.wire import Frame

#: How many spots a batch, and how many blows a spot, may have in the numbers of blows.
_SPOTS: Final = 64
_ROW: Final = 32
#: How often a target is started at most until it serves the honest.
STARTS: Final = 3
#: How often a target is started at most to find the fewest blows that do harm.
TRIES: Final = 40
#: Bytes by which a target may grow between its warm-up and its end: what allocators and caches need, and more.
GROWTH: Final = 64 << 20
#: Bytes by which it may grow for each message that it has accepted: of what was done there is a history.
HISTORY: Final = 1 << 10
#: How many batches in a row that tell nothing, as the kit was held up, are too many.
HELD_UP: Final = 5
#: The share of all messages that warm a target up.
WARM: Final = 0.2


#: What the honest missed, and the frames that did it.
Shown = tuple[list[Trouble], list[list[Frame]]]


class Unfit(Exception):
    """The target does not serve the honest even where nobody disturbs them; `troubles` says what they missed."""

    def __init__(self, troubles: Sequence[Trouble]) -> None:
        self.troubles = troubles
        super().__init__("; ".join(f"{each.where}: {each.found}" for each in troubles))


@dataclass
class Harm:
    """Harm that was found: what the honest missed, and the fewest blows that do it.

    `frames` are those of the blows, as they were sent at last. `is_again`: it was seen a second time, with these blows
    alone. `known` is the descriptor's entry for it, and `also` counts blows of other kinds that did the same.
    """

    role: Role
    troubles: list[Trouble]
    blows: list[Blow]
    frames: list[list[Frame]]
    is_again: bool
    known: Deviation | None = None
    also: dict[str, None] = field(default_factory=dict)

    @property
    def key(self) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """What tells one harm from another: where it was done, and who missed something."""
        return tuple(sorted({blow.spot for blow in self.blows})), tuple(sorted({each.where for each in self.troubles}))


@dataclass
class Outcome:
    """What a campaign has seen so far.

    `tally` counts by spot, kind, and `sent`, `answered`, `error` or `harm`; `memory` is that after the warm-up and at
    the end, in bytes, where it could be seen. `undecided` are batches that told nothing, as the kit was held up: they
    are counted nowhere else.
    """

    sent: int = 0
    batches: int = 0
    undecided: int = 0
    tally: Counter[tuple[str, str, str]] = field(default_factory=Counter)
    harms: list[Harm] = field(default_factory=list)
    memory: list[int] = field(default_factory=list)

    @property
    def new(self) -> list[Harm]:
        """The harms that no entry of the descriptor excuses."""
        return [harm for harm in self.harms if harm.known is None]


def case_of(target: str, role: Role, spot: str, kind: str) -> str:
    """The name under which a descriptor lists harm: like that of the case that strikes the same spot."""
    file = "framing" if role == "controller" else f"{role}_framing"
    return f"conformance/test_{file}.py::test_damage_harms_nobody_else[{target}-{spot}-{kind}]"


class Campaign:
    """A target in one of its roles, struck with the blows of a seed at some spots, or all (`sockets` empty)."""

    def __init__(
        self,
        target: Target,
        role: Role,
        seed: int,
        sockets: Sequence[str] = (),
        version: str | None = None,
        *,
        is_strict: bool = False,
    ) -> None:
        self.target = target
        self.role: Role = role
        self.seed = seed
        self._sockets = tuple(sockets)
        self._version = version
        self._is_strict = is_strict
        self._ring = Ring(target, role, seed)
        self._left_out: set[tuple[str, str]] = set()
        self._kept: Counter[tuple[str, str, str]] = Counter()
        #: How many messages had been accepted when the target was warm.
        self._accepted = 0
        self.outcome = Outcome()

    def close(self) -> None:
        """End the target."""
        self._ring.close()

    # -- the course --------------------------------------------------------------------------------------------------

    def run(self, messages: int) -> Iterator[Outcome]:
        """Strike so many blows; the outcome after each batch, which is always the same object.

        Raises Unfit, TargetUnusable, and Undecided if the kit was held up again and again.
        """
        outcome, before, life, batch, held_up = self.outcome, list[Blow](), 0, 0, 0
        while outcome.sent < messages:
            try:
                arena = self.arena()
                if not self._is_left(arena):
                    break
                blows = self.batch(arena, batch)[: messages - outcome.sent]
                if not blows:
                    batch += 1
                    continue
                troubles = arena.fight(blows)
            except Undecided:
                # What they have done may show later: whoever stood there goes, and other blows come in their place.
                batch, held_up = batch + 1, held_up + 1
                if held_up == HELD_UP:
                    raise
                outcome.undecided += 1
                self._kept = outcome.tally.copy()
                self._ring.restart()
                before, life = [], 0
                outcome.memory.clear()
                yield outcome
                continue
            batch, held_up = batch + 1, 0
            life += len(blows)
            outcome.sent += len(blows)
            outcome.batches = batch
            self._count(arena)
            if not troubles:
                before = blows
                if life >= LIFE or outcome.sent >= messages:
                    troubles = self._weigh(messages)
                    self._kept = outcome.tally.copy()
                    self._ring.renew()
                    life = 0
            if troubles:
                self._kept = outcome.tally.copy()
                self._ring.restart()
                self._found(troubles, before, blows)
                before, life = [], 0
                outcome.memory.clear()
            yield outcome

    def only(self, numbers: Sequence[int]) -> tuple[list[Trouble], list[Blow], list[list[Frame]]]:
        """Strike these blows of the seed alone: what came of it, the blows and their frames."""
        arena = self.arena()
        blows = [self.blow(arena, number) for number in numbers]
        frames = [arena.frames(blow) for blow in blows]
        troubles = arena.fight(blows) or arena.fight([])
        self.outcome.sent += len(blows)
        self._count(arena)
        return troubles, blows, frames

    def _is_left(self, arena: Arena[Any]) -> bool:
        """Whether any kind of damage at any spot has not been left out."""
        return any(
            (spot.name, kind) not in self._left_out
            for spot in arena.spots.values()
            for kind in kinds_at(spot)
            if self._is_meant(spot)
        )

    def _is_meant(self, spot: Spot) -> bool:
        return not self._sockets or spot.name in self._sockets or spot.channel in self._sockets

    def batch(self, arena: Arena[Any], number: int) -> list[Blow]:
        """The blows of a batch: at every spot some of one kind, the spots in turn."""
        chosen = []
        for place, spot in enumerate(arena.spots.values()):
            if self._is_meant(spot):
                kind = kind_of(self.seed, number, spot.name, kinds_at(spot))
                if (spot.name, kind) not in self._left_out:
                    chosen.append((place, spot.name, kind))
        return [
            Blow((number * _SPOTS + place) * _ROW + count, spot, kind)
            for count in range(IN_A_ROW)
            for place, spot, kind in chosen
        ]

    def spots(self) -> list[tuple[str, str]]:
        """Every spot of the target, with its channel. Raises as `run` does."""
        return [(spot.name, spot.channel) for spot in self.arena().spots.values()]

    def blow(self, arena: Arena[Any], number: int) -> Blow:
        """The blow of a number. Raises ValueError if there is none at this target."""
        batch, place = divmod(number // _ROW, _SPOTS)
        spots = list(arena.spots.values())
        if place >= len(spots) or number % _ROW >= IN_A_ROW:
            raise ValueError(f"{number} is the number of no blow at this target")
        spot = spots[place]
        return Blow(number, spot.name, kind_of(self.seed, batch, spot.name, kinds_at(spot)))

    def arena(self) -> Arena[Any]:
        """The arena; a new one has been shown to serve the honest."""
        for left in reversed(range(STARTS)):
            try:
                arena = self._ring.open()
            except (Blocked, Violated) as end:
                # It is there, and does not even serve whoever comes first.
                troubles = [Trouble(HARM, "the target", str(end))]
            else:
                troubles = [] if arena.is_warm else arena.warm_up()
                if not troubles:
                    return arena
            if left:
                self._ring.restart()
        raise Unfit(troubles)

    def _count(self, arena: Arena[Any]) -> None:
        self.outcome.tally = self._kept + arena.tally

    def _weigh(self, messages: int) -> list[Trouble]:
        """Look at the memory of the target: that of its warm-up counts, and then the last."""
        found, memory = self._ring.memory(), self.outcome.memory
        if found is None or self.outcome.sent < messages * WARM:
            return []
        accepted = sum(count for (_, _, what), count in self.outcome.tally.items() if what == "answered")
        memory[1:] = [found] if memory else []
        if not memory:
            memory.append(found)
            self._accepted = accepted
        allowed = GROWTH + HISTORY * (accepted - self._accepted)
        if memory[-1] - memory[0] <= allowed:
            return []
        what = f"it grew from {memory[0] >> 20} to {memory[-1] >> 20} MiB"
        return [Trouble(HARM, "the memory of the target", what, (f"at most {allowed >> 20} MiB more",))]

    # -- harm --------------------------------------------------------------------------------------------------------

    def _found(self, troubles: list[Trouble], before: Sequence[Blow], blows: Sequence[Blow]) -> None:
        """Find the fewest blows that do it, and keep the harm, or count it with one that is the same."""
        harm = self._again(troubles, blows) or self._reduced(troubles, before, blows)
        for blow in harm.blows:
            self._left_out.add((blow.spot, blow.kind))
        first = harm.blows[-1]
        self._kept[first.spot, first.kind, "harm"] += 1
        for one in self.outcome.harms:
            if one.key == harm.key:
                one.also[first.kind] = None
                return
        cases = [case_of(self.target.name, self.role, blow.spot, blow.kind) for blow in harm.blows]
        entries = [
            next(
                (
                    known
                    for known in self.target.deviations
                    if known.tells(f"{each.where}: {each.found}")
                    and any(known.covers(each.requirement, case, self._version) for case in cases)
                ),
                None,
            )
            for each in harm.troubles
        ]
        if not self._is_strict and all(entry is not None and not entry.unreviewed for entry in entries):
            harm.known = entries[0]
        self.outcome.harms.append(harm)

    def _again(self, troubles: list[Trouble], blows: Sequence[Blow]) -> Harm | None:
        """The harm, if blows at a spot at which such harm is known do it.

        Of harm that takes blows at several spots nobody can say which of these ones did it.
        """
        wheres = {each.where for each in troubles}
        for known in self.outcome.harms:
            such = {each.where for each in known.troubles}
            some = [blow for blow in blows if [blow.spot] == [each.spot for each in known.blows]]
            if some and wheres & such and known.is_again:
                shown = self._shows(some)
                if shown is not None and such & {each.where for each in shown[0]}:
                    return Harm(self.role, known.troubles, some[:1], shown[1][:1], is_again=True)
        return None

    def _reduced(self, troubles: list[Trouble], before: Sequence[Blow], blows: Sequence[Blow]) -> Harm:
        tries, wheres = [TRIES], {each.where for each in troubles}

        def shows(some: Sequence[Blow]) -> Shown | None:
            tries[0] -= 1
            shown = self._shows(some) if tries[0] >= 0 else None
            # Whatever else comes to light is found when its turn comes.
            return shown if shown is not None and wheres & {each.where for each in shown[0]} else None

        for whole in (blows, [*before, *blows]):
            # By spot, so that halves tell spots apart.
            ordered = sorted(whole, key=lambda blow: (blow.number // _ROW % _SPOTS, blow.number))
            shown = shows(ordered)
            if shown is not None:
                fewest, shown = _fewest(ordered, shown, shows)
                # The search is in a hurry; what it found is told as somebody sees it who is not.
                shown = self._shows(fewest, patience=PATIENCE)
                if shown is not None:
                    return Harm(self.role, shown[0], list(fewest), shown[1], is_again=True)
        return Harm(self.role, troubles, list(blows), [], is_again=False)

    def _shows(self, blows: Sequence[Blow], patience: int = 1) -> Shown | None:
        """Whether these blows alone do harm to a new target: the harm, and their frames."""
        self._ring.restart()
        frames: list[list[Frame]] = []
        try:
            arena = self.arena()
            arena.patience = patience
            frames = [arena.frames(blow) for blow in blows] if len(blows) <= IN_A_ROW else []
            troubles = arena.fight(blows) or arena.fight([])
        except Undecided:
            troubles = []
        self._ring.restart()
        return (troubles, frames) if troubles else None


def _fewest(
    blows: Sequence[Blow], shown: Shown, shows: Callable[[Sequence[Blow]], Shown | None]
) -> tuple[Sequence[Blow], Shown]:
    """The fewest blows that still do it, found by leaving out halves, then quarters and so on; and what they do."""
    parts = 2
    while len(blows) > 1:
        size = -(-len(blows) // parts)
        pieces = [blows[at : at + size] for at in range(0, len(blows), size)]
        candidates = [*pieces, *([*blows[: at * size], *blows[(at + 1) * size :]] for at in range(len(pieces)))]
        found = next(((some, done) for some in candidates if some and (done := shows(some)) is not None), None)
        if found is not None:
            smaller = len(found[0]) <= size
            blows, shown = found
            parts = 2 if smaller else max(parts - 1, 2)
        elif size == 1:
            break
        else:
            parts = min(len(blows), parts * 2)
    return blows, shown


__all__ = ["Campaign", "Harm", "Outcome", "Unfit", "case_of"]
