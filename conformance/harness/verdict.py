"""What can become of a case, and the exceptions that say so.

A verdict is given per requirement and case. Only `failed` accuses the target; everything that the kit could not judge
has a name of its own, because a silent pass is worth nothing.
"""

from dataclasses import dataclass, field
from typing import Literal, NoReturn

from protocol.errors import Problem
from protocol.rules import Violation

Verdict = Literal[
    "passed", "failed", "warned", "observed", "known", "new", "not applicable", "blocked", "undecided", "kit error"
]

#: In the order in which reports count them.
VERDICTS: tuple[Verdict, ...] = (
    "passed", "failed", "warned", "observed", "known", "new", "not applicable", "blocked", "undecided", "kit error",
)  # fmt: skip

#: Reports need one more column for requirements that no case reaches.
NOT_YET_TESTED = "not yet tested"


@dataclass(frozen=True, slots=True)
class Finding:
    """What is wrong, in the words of the report: who did what instead of what was allowed."""

    found: str
    allowed: tuple[str, ...] = ()
    guilty: str = "the target"
    evidence: tuple[int, ...] = ()
    problems: tuple[Problem, ...] = ()
    nearest: tuple[str, ...] = ()


def finding_of(violation: Violation) -> Finding:
    """What a rule found, in the words of the report."""
    return Finding(violation.found, violation.allowed, violation.guilty, violation.evidence)


class CaseEnd(Exception):
    """Base of the exceptions that end a case with a verdict."""


class Violated(CaseEnd, AssertionError):
    """The target broke a requirement; `requirement` is None for the one that the case names first."""

    def __init__(self, finding: Finding, requirement: str | None = None) -> None:
        self.finding = finding
        self.requirement = requirement
        super().__init__(finding.found)


class Undecided(CaseEnd):
    """Nothing can be said: silence that is no violation, or the harness itself was too slow."""


class NotApplicable(CaseEnd):
    """The target does not declare, or the world does not offer, what the case needs."""


class OnlyReal(NotApplicable):
    """The case is about what only a system of processes and files has."""

    def __init__(self, what: str) -> None:
        super().__init__(f"only a real system has {what}")


class Blocked(CaseEnd):
    """A prerequisite of the case failed; `prerequisite` is the slug of the requirement that it belongs to."""

    def __init__(self, prerequisite: str, why: str) -> None:
        self.prerequisite = prerequisite
        self.why = why
        super().__init__(f"{prerequisite}: {why}")


def violate(found: str, *allowed: str, requirement: str | None = None, evidence: tuple[int, ...] = ()) -> NoReturn:
    """End the case: the target did `found` where only `allowed` was legal."""
    raise Violated(Finding(found, allowed, evidence=evidence), requirement)


@dataclass(slots=True)
class Result:
    """One verdict: a requirement, the case that judged it, and the text a reader needs."""

    requirement: str
    case: str
    target: str
    verdict: Verdict
    summary: str = ""
    details: str = ""
    reason: str = ""
    by_rule: bool = False
    blocked_by: str = ""
    notes: list[str] = field(default_factory=list)
    only_real: bool = False
    #: The target could not be used, so that nothing can be said about it at all.
    is_unusable: bool = False
    #: A page with the traffic, as a path within the folder of the report; and how long the case took.
    page: str = ""
    seconds: float = 0.0
