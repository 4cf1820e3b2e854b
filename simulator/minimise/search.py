"""The search for the smallest run that fails in the same way: the same requirement is broken by the same party.

Everything that can be left out is tried: first faults, then engines and clients, then requests, and then simpler
values: the schedule, and how long things take. What one stage left out may let another leave out more, so that all
begin again until nothing changes. Chance comes from the seed in separate streams; what is left out therefore leaves the
rest what it was, and a smaller run that does not fail says something. The same case leads to the same result.
"""

import re
from collections.abc import Callable, Iterable, Iterator
from typing import Final

import msgspec

from protocol.world import MILLISECOND
from simulator.minimise.changes import Slot, schedule, simpler, values, without, without_engine
from simulator.minimise.listening import Listener
from simulator.minimise.steps import Case, Step, scenario_of
from simulator.run import NOBODY, Blame, Hooks, Outcome, Setup, run
from simulator.trace import Entry, first_difference

#: Seeds with which the result is run to see whether it depends on the seed.
SEEDS: Final = range(10)
#: Neighbours of the result that are compared with it; and where the search was ended, for the result is large then.
_NEIGHBOURS: Final = 80
_FEW: Final = 5


class NotMinimised(Exception):
    """Why a run cannot be made smaller, as a sentence."""


class Found(msgspec.Struct, frozen=True, kw_only=True):
    """What was found: the whole run as it was heard, the smallest, and with how many of `SEEDS` that fails."""

    setup: Setup
    blame: Blame
    whole: Case
    case: Case
    tries: int
    is_finished: bool
    seeds: int
    text: str


class Nearest(msgspec.Struct, frozen=True, kw_only=True):
    """The run that is most like the smallest one and does not fail: what is other there, and where it parts."""

    change: str
    place: int
    fails: list[Entry]
    passes: list[Entry]


def party_of(guilty: str) -> str:
    """Which kind of party that is: engines and clients are alike, and so are their restarts."""
    return re.sub(r"(-\d+)+", "", guilty)


def blame_of(outcome: Outcome, requirement: str = "") -> Blame:
    """What a run is to be minimised for: the first thing that it breaks, or this requirement. Raises NotMinimised."""
    if not outcome.blames:
        raise NotMinimised("nothing is violated in this run, so there is nothing to keep")
    # What only a scenario's own code can demand is no use: without the code nobody demands it.
    is_opaque = outcome.unmet is not None and outcome.unmet.demand is None
    # What rules find is sure to mean the same in a smaller run; of a demand that is not.
    by_rules = [blame for blame in outcome.blames if blame.guilty]
    told = by_rules + [blame for blame in outcome.blames if not blame.guilty and not is_opaque]
    chosen = [blame for blame in told if requirement in ("", blame.requirement)]
    if chosen:
        return chosen[0]
    if requirement and requirement not in {blame.requirement for blame in outcome.blames}:
        broken = ", ".join(dict.fromkeys(blame.requirement for blame in outcome.blames))
        raise NotMinimised(f"{requirement} is not violated in this run; what is: {broken}")
    what = f"the code of {outcome.setup.name} itself, of which nothing can be left out"
    raise NotMinimised(f"{outcome.violations[0]}: this is demanded by {what}")


class Search:
    """One search. `goes_on` is asked before each try, `on_try` is told the smallest case after it."""

    def __init__(
        self,
        setup: Setup,
        hooks: Hooks = NOBODY,
        *,
        requirement: str = "",
        goes_on: Callable[[int], bool] = lambda _: True,
        on_try: Callable[[int, Case], object] = lambda *_: None,
    ) -> None:
        self.setup = msgspec.structs.replace(setup, is_judged=True, keeps_items=False, has_trace=False)
        self.hooks = hooks
        self.goes_on = goes_on
        self.on_try = on_try
        self.tries = 0
        self.is_over = False
        self._tried: set[bytes] = set()
        listener = Listener()
        outcome = run(self.setup, hooks=hooks._replace(on_cluster=listener.listen))
        self.blame = blame_of(outcome, requirement)
        # What rules find they find whatever the scenario demands.
        self.whole = self.case = listener.case(outcome, has_demand=not self.blame.guilty)
        if not self.fails(self.whole):
            raise NotMinimised(
                f"{self.blame.requirement} is not violated when everything is asked for step by step: the run depends "
                "on something that is done behind the cluster's back"
            )

    # -- running -----------------------------------------------------------------------------------------------------

    def attempt(self, case: Case, *, has_trace: bool = False, is_mutant: bool = True) -> Outcome | None:
        """What comes of a case; None of one that cannot be carried out, which neither fails nor passes."""
        try:
            return self.outcome(case, has_trace=has_trace, is_mutant=is_mutant)
        except Exception:
            return None

    def outcome(self, case: Case, *, has_trace: bool = False, is_mutant: bool = True) -> Outcome:
        """What comes of a case, without its mutant unless `is_mutant`."""
        setup = msgspec.structs.replace(self.setup, seed=case.seed, engines=case.engines, has_trace=has_trace)
        return run(setup, scenario_of(case, self.setup.name), self.hooks if is_mutant else NOBODY)

    def is_same(self, outcome: Outcome) -> bool:
        """Whether a run fails in the same way."""
        wanted = (self.blame.requirement, party_of(self.blame.guilty))
        return any((each.requirement, party_of(each.guilty)) == wanted for each in outcome.blames)

    def fails(self, case: Case) -> bool:
        """Whether a case fails in the same way; where there is a mutant, because of it."""
        outcome = self.attempt(case)
        if outcome is None or not self.is_same(outcome):
            return False
        if not self.setup.mutant:
            return True
        innocent = self.attempt(case, is_mutant=False)
        return innocent is not None and innocent.is_clean

    def _take(self, case: Case) -> bool:
        """Go on with a case if it fails in the same way; whether it does."""
        key = repr(case).encode()
        if self.is_over or key in self._tried:
            return False
        if not self.goes_on(self.tries):
            self.is_over = True
            return False
        self._tried.add(key)
        self.tries += 1
        is_found = self.fails(case)
        if is_found:
            self.case = case
        self.on_try(self.tries, self.case)
        return is_found

    # -- stages ------------------------------------------------------------------------------------------------------

    def minimise(self) -> Found:
        """The smallest run that was found before enough was tried."""
        before = None
        while before != self.case and not self.is_over:
            before = self.case
            self._leave_out(lambda step: step.is_trouble)
            self._fewer_nodes()
            self._leave_out(lambda step: step.is_request)
            self._simplify(schedule)
            self._simplify(values)
        usual = msgspec.structs.replace(self.case, jitter=None)
        if not self.is_over and self._seeds(usual) == len(SEEDS):
            # It does not depend on the schedule at all: nothing needs to be said about it.
            self.case = usual
        last = self.outcome(self.case)
        wanted = (self.blame.requirement, party_of(self.blame.guilty))
        place = next(n for n, each in enumerate(last.blames) if (each.requirement, party_of(each.guilty)) == wanted)
        return Found(
            setup=self.setup, blame=self.blame, whole=self.whole, case=self.case, tries=self.tries,
            is_finished=not self.is_over, seeds=self._seeds(self.case), text=last.violations[place],
        )  # fmt: skip

    def _seeds(self, case: Case) -> int:
        """With how many seeds a case fails."""
        outcomes = [self.attempt(msgspec.structs.replace(case, seed=seed)) for seed in SEEDS]
        return sum(outcome is not None and self.is_same(outcome) for outcome in outcomes)

    def _leave_out(self, is_meant: Callable[[Step], bool]) -> None:
        """Leave out steps, at first many at a time."""

        def numbers() -> list[int]:
            return [number for number, step in enumerate(self.case.steps) if is_meant(step)]

        size = len(numbers())
        while size and not self.is_over:
            start = 0
            while start < len(numbers()):
                if not self._take(without(self.case, frozenset(numbers()[start : start + size]))):
                    start += size
            size //= 2

    def _fewer_nodes(self) -> None:
        while self.case.engines > 1 and self._take(without_engine(self.case, self.case.engines)):
            pass
        for number in range(self.case.engines, 0, -1):
            self._take(without_engine(self.case, number))
        self._leave_out(lambda step: step.is_node)

    def _simplify(self, slots: Callable[[Case], Iterable[Slot]]) -> None:
        """Make values simpler, each as simple as it can be."""
        number = 0
        while number < len(found := list(slots(self.case))):
            slot = found[number]
            if not any(self._take(slot.put(value)) for value in simpler(slot)):
                number += 1


def nearest(search: Search) -> Nearest | None:
    """The run that one change makes of the smallest, does not fail, and goes like it for longest; None if all fail."""
    failing = search.outcome(search.case, has_trace=True)
    assert failing.trace is not None
    entries = failing.trace.entries
    best: Nearest | None = None
    neighbours = [(change, case, True) for change, case in _neighbours(search.case)]
    if search.setup.mutant:
        neighbours.insert(0, ("without the mutant", search.case, False))
    for change, case, is_mutant in neighbours[: _FEW if search.is_over else _NEIGHBOURS]:
        outcome = search.attempt(case, has_trace=True, is_mutant=is_mutant)
        if outcome is None or outcome.trace is None or search.is_same(outcome):
            continue
        place = first_difference(entries, outcome.trace.entries)
        if place is not None and (best is None or place > best.place):
            best = Nearest(
                change=change, place=place, fails=entries[place:][:3], passes=outcome.trace.entries[place:][:3]
            )
    return best


def _neighbours(case: Case) -> Iterator[tuple[str, Case]]:
    for number, step in enumerate(case.steps):
        if not step.is_demand:
            yield f"without `{step.does}`, step {number + 1}", without(case, frozenset([number]))
    for number in range(1, case.engines + 1):
        yield f"without engine-{number}", without_engine(case, number)
    for slot in (*schedule(case), *values(case)):
        for value in simpler(slot):
            yield f"with {slot.name} {_shown(value)} instead of {_shown(slot.value)}", slot.put(value)


def _shown(value: object) -> str:
    if value is None:
        return "as usual"
    is_time = isinstance(value, int) and abs(value) >= MILLISECOND
    return f"{value / 1e9:g} s" if is_time else str(value)  # type: ignore[operator]


__all__ = ["SEEDS", "Found", "Nearest", "NotMinimised", "Search", "blame_of", "nearest", "party_of"]
