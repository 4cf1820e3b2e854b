"""Campaigns of simulated runs: many seeds, scenarios or both, on whatever an Executor offers.

    with ProcessPoolExecutor(initializer=prepare) as executor:
        for report in campaign(executor, setups): ...

A run is independent of every other, so a campaign is a map over setups: the same works on a process pool, and on any
other `concurrent.futures.Executor`. What comes back of a run is a `Report`, which is small; a run that failed is done
again with everything written down by whoever wants to see it.
"""

import gc
import traceback
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Executor, Future, as_completed
from dataclasses import dataclass, field
from typing import Final

import msgspec

from conformance.mutants import find
from protocol.roles.marks import MARKS
from simulator.rarity import PLACES
from simulator.run import SWARM, Hooks, Outcome, Setup, run
from simulator.scenarios import SCENARIOS
from simulator.stage import SEEN

#: What a campaign should have taken once: the rare branches of the roles, and what is right and seldom done or seen.
RARE: Final = {**MARKS, **PLACES, **SEEN}
#: Runs that are handed to a worker at once: little enough for a smooth progress, enough to hide the handing over.
CHUNK: Final = 4


@dataclass(frozen=True, slots=True)
class Report:
    """What is kept of one run: `error` is a traceback, where the kit itself failed."""

    setup: Setup
    violations: tuple[str, ...] = ()
    excused: int = 0
    marks: dict[str, int] = field(default_factory=dict)
    digest: str = ""
    error: str = ""

    @property
    def is_clean(self) -> bool:
        """Whether nothing was violated and nothing failed."""
        return not self.violations and not self.error


@dataclass(slots=True)
class Summary:
    """What came of a campaign so far."""

    done: int = 0
    excused: int = 0
    failed: list[Report] = field(default_factory=list)
    marks: dict[str, int] = field(default_factory=dict)

    def add(self, report: Report) -> None:
        """One more run has ended."""
        self.done += 1
        self.excused += report.excused
        for slug, count in report.marks.items():
            self.marks[slug] = self.marks.get(slug, 0) + count
        if not report.is_clean:
            self.failed.append(report)

    @property
    def unreached(self) -> list[str]:
        """The rare branches of roles, and the less usual ways, that no run has taken."""
        return [slug for slug in RARE if slug not in self.marks]


def prepare() -> None:
    """Make a worker ready: what is loaded now is never garbage."""
    gc.freeze()


def carry_out(setup: Setup) -> Outcome:
    """Carry out one run, with the mistake that its controller is to make. Raises KeyError for one that is not known."""
    return run(setup, hooks=hooks_of(setup))


def hooks_of(setup: Setup) -> Hooks:
    """What puts the mutant of a setup, if it names one, into its controller or its engines."""
    if not setup.mutant:
        return Hooks()
    mutant = find(setup.mutant)
    hooks = Hooks(kinds=mutant.kinds, scheme=mutant.scheme)
    if mutant.judged_as == "controller":
        return hooks._replace(on_shell=mutant.infect)
    return hooks._replace(on_engine=mutant.infect)


def report(setup: Setup) -> Report:
    """Carry out one run."""
    gc.disable()
    try:
        outcome = carry_out(setup)
    except Exception:
        return Report(setup, error=traceback.format_exc())
    finally:
        gc.enable()
        gc.collect()
    return Report(setup, tuple(outcome.violations), len(outcome.excused), dict(outcome.marks), outcome.digest)


def reports(setups: Sequence[Setup]) -> list[Report]:
    """Carry out some runs, one after the other."""
    return list(map(report, setups))


def campaign(executor: Executor, setups: Iterable[Setup]) -> Iterator[Report]:
    """Carry out runs on an executor; the reports as they come."""
    waiting = list(setups)
    futures: list[Future[list[Report]]] = [
        executor.submit(reports, waiting[start : start + CHUNK]) for start in range(0, len(waiting), CHUNK)
    ]
    for future in as_completed(futures):
        yield from future.result()


def setups(name: str, seeds: Iterable[int], like: Setup) -> list[Setup]:
    """The runs of a scenario, of the swarm, or with `all` of every scenario, for each of these seeds."""
    names = list(SCENARIOS) if name == "all" else [name]
    return [msgspec.structs.replace(like, name=each, seed=seed) for each in names for seed in seeds]


def command(setup: Setup) -> str:
    """The command that replays a run."""
    default = Setup()
    words = ["ippkit simulate", setup.name, f"--seed {setup.seed}"]
    words += [f"--engines {setup.engines}"] if setup.engines is not None else []
    if setup.name == SWARM:
        for option in ("clients", "tasks", "faults"):
            if getattr(setup, option) != getattr(default, option):
                words.append(f"--{option} {getattr(setup, option)}")
    words += [f"--mutant {setup.mutant}"] if setup.mutant else []
    return " ".join(words)


__all__ = [
    "Report",
    "Summary",
    "campaign",
    "carry_out",
    "command",
    "hooks_of",
    "prepare",
    "report",
    "reports",
    "setups",
]
