"""Who kills whom: every mutant is judged by the cases that name what it breaks, and by the rules that watch them.

All of it happens in one run of the suite, in virtual time. A mutant is killed when something that it breaks is accused;
a variant is innocent when nothing is. What is judged and kills no mutant is not proved: nobody has seen it fail.
"""

import contextlib
import os
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import pytest

import conformance
from conformance.catalogue import cases, concerned
from conformance.harness.verdict import Result
from conformance.judges import ruled
from conformance.mutants import Mutant, Variant, load
from conformance.mutants.unproved import REASONS, reason
from conformance.results import ACCUSING, from_dict
from conformance.simulating import carry_out
from conformance.targets.vocabulary import Role
from protocol.requirements import Requirement
from simulator.run import Setup


@dataclass
class Fate:
    """What became of one mutant: which requirements accused it, in which cases, and what else went wrong."""

    mutant: type[Mutant]
    accused: dict[str, list[str]] = field(default_factory=dict)
    #: What a variant was accused of, in words.
    said: list[str] = field(default_factory=list)
    #: Mistakes of the kit itself.
    errors: list[str] = field(default_factory=list)
    judged: int = 0
    #: Seconds that all of it took.
    seconds: float = 0.0

    @property
    def is_variant(self) -> bool:
        """Whether it must be accused of nothing."""
        return issubclass(self.mutant, Variant)

    @property
    def again(self) -> str:
        """The command that shows it once more."""
        runs = self.mutant.runs
        if not runs:
            return f"ippkit test -t {self.mutant.target()}"
        name, _, seed = runs[0].partition(" ")
        return f"ippkit simulate {name} --seed {seed} --mutant {self.mutant.name()}"

    @property
    def survived(self) -> tuple[str, ...]:
        """What it breaks and was not accused of."""
        return tuple(slug for slug in self.mutant.breaks if slug not in self.accused)

    @property
    def is_as_it_should_be(self) -> bool:
        """Whether it was killed under every name, or, if it is a variant, accused of nothing; and nothing crashed."""
        if self.is_variant:
            return bool(self.judged) and not self.accused and not self.errors
        return not self.survived and not self.errors


def chosen(globs: Sequence[str] = ()) -> list[type[Mutant]]:
    """The mutants whose name, or one of whose requirements, matches one of these patterns; without patterns all."""
    return [
        mutant
        for mutant in load().values()
        if not globs or any(fnmatchcase(name, glob) for name in (mutant.name(), *mutant.breaks) for glob in globs)
    ]


def judge(mutants: Iterable[type[Mutant]], *, jobs: int = 1) -> list[Fate]:
    """Let the suite and whole runs judge mutants; `jobs` is the number of processes."""
    fates = {mutant.target(): Fate(mutant) for mutant in mutants}
    book = _Book(fates)
    words = [
        "-q",
        "-p",
        "no:cacheprovider",
        "-p",
        "no:faulthandler",
        "--tb=no",
        "--no-summary",
        "--no-header",
        "--assert=plain",
    ]
    if jobs > 1:
        words += ["-n", str(jobs)]
    targets = [word for name in fates for word in ("--target", name)]
    with Path(os.devnull).open("w", encoding="utf-8") as nowhere, contextlib.redirect_stdout(nowhere):
        pytest.main([str(Path(conformance.__file__).parent), *words, *targets], plugins=[book])
    for fate in fates.values():
        for run in fate.mutant.runs:
            # What a seed brings up changes with the swarm; enough of them bring up everything.
            if fate.is_variant or fate.survived:
                _judge_run(fate, run)
    return list(fates.values())


def _judge_run(fate: Fate, run: str) -> None:
    """Let a whole run judge a mutant."""
    name, _, seed = run.partition(" ")
    began = time.monotonic()
    command = f"ippkit simulate {name} --seed {seed}"
    try:
        outcome = carry_out(Setup(name=name, seed=int(seed), mutant=fate.mutant.name()))
    except Exception as error:  # a role with a mistake in it may do anything
        fate.errors.append(f"{command}: {type(error).__name__}: {error}")
    else:
        for blame, text in zip(outcome.blames, outcome.violations, strict=True):
            fate.accused.setdefault(blame.requirement, []).append(command)
            fate.said.append(f"{text} in {command}")
    fate.judged += 1
    fate.seconds += time.monotonic() - began


class _Book:
    """Takes down the results of a run."""

    def __init__(self, fates: Mapping[str, Fate]) -> None:
        self.fates = fates

    def pytest_runtest_logreport(self, report: Any) -> None:
        """Take down the verdicts of one phase of one case."""
        name = report.nodeid.rpartition("[")[2].removesuffix("]")
        for fate in self.fates:
            if name.startswith(fate):
                self.fates[fate].seconds += report.duration
        for entry in getattr(report, "ippkit", ()):
            self.note(from_dict(entry))

    def note(self, result: Result) -> None:
        fate = self.fates[result.target]
        fate.judged += 1
        # What is only observed nobody demands: it proves a mutant, and accuses no variant.
        if result.verdict in ACCUSING and not (fate.is_variant and result.verdict == "observed"):
            fate.accused.setdefault(result.requirement, []).append(result.case)
            fate.said.append(f"{result.requirement} in {result.case}: {result.summary}")
        elif result.verdict == "kit error":
            fate.errors.append(f"{result.case}: {result.summary}")


def judged(role: Role) -> list[Requirement]:
    """What cases and rules judge of a target of this role."""
    named, ruling = cases(role), ruled()
    return [each for each in concerned([role]) if each.slug in named or each.slug in ruling]


def killers(fates: Iterable[Fate]) -> dict[tuple[str, Role], list[str]]:
    """Requirement, and role of which it is demanded -> the mutants that were made to break it and that it killed."""
    found: dict[tuple[str, Role], list[str]] = {}
    for fate in fates:
        for slug in fate.mutant.breaks:
            if slug in fate.accused:
                found.setdefault((slug, fate.mutant.judged_as), []).append(fate.mutant.name())
    return found


def unproved(fates: Iterable[Fate]) -> dict[Role, dict[str, str]]:
    """What is judged of each role of which there are mutants and kills none of them, each with the reason."""
    proved = killers(fates)
    return {
        role: {each.slug: reason(role, each.slug) for each in judged(role) if (each.slug, role) not in proved}
        for role in REASONS
    }


__all__ = ["Fate", "chosen", "judge", "judged", "killers", "unproved"]
