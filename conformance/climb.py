"""Climbs the ladder of a target: the cases of each rung, the lowest first, until one is not met."""

import contextlib
import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final

import pytest

from conformance.catalogue import SUITE, role_of
from conformance.harness.verdict import Result
from conformance.ladder import LADDERS, Rung
from conformance.plugin import DETAIL, slugs_of
from conformance.results import from_dict
from conformance.targets.vocabulary import Role

#: What keeps a rung from being met.
_UNMET: Final = ("failed", "kit error", "blocked", "undecided")


@dataclass
class Step:
    """A rung of a role, how many cases it has, and what was found."""

    role: Role
    number: int
    rung: Rung
    cases: int = 0
    results: list[Result] = field(default_factory=list)

    @property
    def unmet(self) -> Result | None:
        """What keeps it from being met: an accusation rather than what only follows from one."""
        found = [each for each in self.results if each.verdict in _UNMET]
        return min(found, key=lambda each: _UNMET.index(each.verdict), default=None)

    @property
    def is_met(self) -> bool:
        """Whether all of its cases ran, and the target has nothing left to do here."""
        return bool(self.results) and self.unmet is None

    @property
    def left_out(self) -> str:
        """Why nothing of it was judged, if that is so."""
        if not self.cases:
            return "no case of it can be tried on this target"
        verdicts = {each.verdict for each in self.results if not each.by_rule}
        return self.results[0].summary if verdicts == {"not applicable"} else ""


class _Climber:
    """A plugin of pytest: it chooses and orders the cases, and stops where a rung is not met."""

    def __init__(self, steps: Sequence[Step], on_done: Callable[[Step], None]) -> None:
        self.steps = steps
        self._on_done = on_done
        self._current: Step | None = None
        self._told = 0
        self._step_of: dict[str, Step] = {}
        self._session: pytest.Session | None = None

    def pytest_sessionstart(self, session: pytest.Session) -> None:
        self._session = session

    @pytest.hookimpl(trylast=True)
    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        ranked = [(self.steps.index(step), item) for item in items if (step := self._step(item)) is not None]
        ranked.sort(key=lambda pair: pair[0])
        items[:] = [item for _, item in ranked]

    def _step(self, item: pytest.Item) -> Step | None:
        slugs, role = slugs_of(item), role_of(item.path.name)
        for step in self.steps:
            if step.role == role and slugs[0] in step.rung.slugs:
                step.cases += 1
                self._step_of[item.nodeid] = step
                return step
        return None

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        step = self._step_of[report.nodeid]
        if self._current is not step:
            place = self.steps.index(step)
            for below in self.steps[self._told : place]:
                self._on_done(below)
            self._current, self._told = step, place
        step.results += [from_dict(each) for each in getattr(report, DETAIL, ())]
        if report.when == "teardown" and self._session is not None and self._ends_at(step):
            self._session.shouldstop = "a rung is not met"

    def _ends_at(self, step: Step) -> bool:
        """Whether a step is not met; one that only waits for what a later one is about leaves it to that to accuse."""
        unmet = step.unmet
        if unmet is None:
            return False
        later = [slug for each in self.steps[self.steps.index(step) :] for slug in each.rung.slugs]
        return unmet.blocked_by not in later or unmet.blocked_by == unmet.requirement


def first_unmet(steps: Sequence[Step]) -> Step | None:
    """The step that is missing: one that is accused rather than one that waits for it, and the lowest of these."""
    unmet = [(_UNMET.index(step.unmet.verdict), place) for place, step in enumerate(steps) if step.unmet is not None]
    return steps[min(unmet)[1]] if unmet else None


def climb(word: str, roles: Sequence[Role], on_done: Callable[[Step], None]) -> tuple[list[Step], str]:
    """The steps of a target of these roles with what was found, and what pytest printed.

    `word` is what the command line calls the target. `on_done` is called with each step below the last one that is
    tried, in their order. Steps above one that is not met have no results.
    """
    steps = [Step(role, number, rung) for role in roles for number, rung in enumerate(LADDERS[role], 1)]
    arguments = [*SUITE, "-p", "no:xdist", "--target", word]
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed), contextlib.redirect_stderr(printed):
        pytest.main(arguments, plugins=[_Climber(steps, on_done)])
    return steps, printed.getvalue()
