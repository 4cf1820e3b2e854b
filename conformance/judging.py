"""From the end of one case to its results."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from conformance.harness.explain import broken, charge, diagram, explain
from conformance.harness.verdict import (
    Blocked,
    CaseEnd,
    Finding,
    NotApplicable,
    OnlyReal,
    Result,
    Undecided,
    Verdict,
    Violated,
    finding_of,
)  # fmt: skip
from conformance.report.cases import write_page
from conformance.results import accuse
from conformance.targets import TargetUnusable
from protocol.requirements import get
from protocol.rules import Violation
from protocol.world import Observation

if TYPE_CHECKING:
    from conformance.harness.subject import Subject


def results_of(
    item: pytest.Item,
    call: pytest.CallInfo[None],
    slugs: tuple[str, ...],
    subject: Subject | None,
    *,
    target: str,
    command: str,
    pages: Path | None = None,
) -> list[Result]:
    """One result per requirement that the case names; a requirement accused besides gets one of its own.

    `target` is the name of the target, `command` what judges it again, `pages` the folder for pages of violations.
    """
    error = call.excinfo.value if call.excinfo else None
    case = case_name(item.nodeid)
    if error is None:
        return [Result(slug, case, target, "passed") for slug in slugs]
    if isinstance(error, Violated) and subject is not None and (why := subject.robbed()):
        # What talks at an address of somebody else says nothing about the target.
        error = Undecided(f"{error.finding.found}; but {why}")
    if isinstance(error, Violated):
        accused = error.requirement or slugs[0]
        text = explain(get(accused), error.finding, subject.observations if subject else (), replay(command, case))
        page = ""
        if subject is not None:
            page = _page(pages, subject, case, accused, error.finding, subject.observations)
            text += _seen_in(pages, page)
        if subject is not None and not subject.is_running:
            text += "\n\n" + last_words(subject)
        main = Result(accused, case, target, accuse(accused), error.finding.found, text, page=page)
        # What the case had not shown yet when it ended is not judged.
        rest = [slug for slug in slugs if slug != accused]
        return [
            main,
            *(Result(slug, case, target, "blocked", f"blocked by {accused}", blocked_by=accused) for slug in rest),
        ]
    stumbled = _stumbled_over(error, subject)
    error = stumbled or error
    verdict, summary = _without_accusation(error)
    details = ""
    if isinstance(error, TargetUnusable):
        details = f"kit error: {error.details()}"
    elif verdict == "kit error":
        traffic = "\n".join(diagram(subject.observations)) if subject and subject.observations else "(none)"
        assert call.excinfo is not None
        trace = call.excinfo.getrepr(style="short")
        details = f"kit error in {case}: {summary}\n{trace}\ntraffic so far:\n{traffic}"
    is_unusable = isinstance(error, TargetUnusable)
    blocked_by = error.prerequisite if isinstance(error, Blocked) else ""
    only_real = isinstance(error, OnlyReal)
    return [
        Result(slug, case, target, verdict, summary, details, blocked_by=blocked_by, only_real=only_real,
               is_unusable=is_unusable)
        for slug in slugs
    ]  # fmt: skip


def _stumbled_over(error: BaseException, subject: Subject | None) -> Blocked | None:
    """What kept a case from going on, if it stumbled over something that a rule accuses: the kit is not at fault then.

    The accusation itself is reported with those of all rules.
    """
    if subject is None or isinstance(error, CaseEnd | TargetUnusable) or not isinstance(error, Exception):
        return None
    known = subject.look_ahead()
    return Blocked(known[0].requirement, known[0].found) if known else None


def last_words(subject: Subject) -> str:
    """What a target that ended had printed."""
    stdout, stderr = subject.instance.output()
    printed = (stdout + stderr).strip() or "(nothing)"
    return f"the target has ended (status {subject.instance.status}); it printed:\n{printed}"


def _without_accusation(error: BaseException) -> tuple[Verdict, str]:
    if isinstance(error, Undecided):
        return "undecided", str(error)
    if isinstance(error, NotApplicable):
        return "not applicable", str(error)
    if isinstance(error, Blocked):
        return "blocked", f"blocked by {error}"
    if isinstance(error, TargetUnusable):
        return "kit error", str(error)
    if isinstance(error, pytest.skip.Exception):
        return "not applicable", str(error)
    return "kit error", f"{type(error).__name__}: {error}"


def by_rules(
    case: str, subject: Subject, violations: Sequence[Violation], *, command: str, pages: Path | None = None
) -> list[Result]:
    """One result for each requirement that rules saw broken: the first time is explained, the others are counted.

    `case` is where they saw it, `command` what judges the target again, `pages` the folder for pages of violations.
    """
    counts = Counter(violation.requirement for violation in violations)
    firsts = {violation.requirement: violation for violation in reversed(violations)}
    if violations and (why := subject.robbed()):
        return [
            Result(slug, case, subject.name, "undecided", f"{first.found}; but {why}", by_rule=True)
            for slug, first in firsts.items()
        ]
    results = []
    for requirement, violation in reversed(firsts.items()):
        result = _by_rule(case, subject, violation, command, pages)
        if counts[requirement] > 1:
            result.details += f"\n({counts[requirement]} times in this case)"
        results.append(result)
    return results


def _by_rule(case: str, subject: Subject, violation: Violation, command: str, pages: Path | None) -> Result:
    """The result of a rule that fired while a case about something else ran."""
    slug = violation.requirement
    finding = finding_of(violation)
    shown = subject.observations
    if not {each.seq for each in shown}.issuperset(violation.evidence):
        shown = around(subject, violation.evidence) or shown
    page = _page(pages, subject, case, slug, finding, shown)
    text = explain(get(slug), finding, shown, replay(command, case)) + _seen_in(pages, page)
    return Result(slug, case, subject.name, accuse(slug), violation.found, text, by_rule=True, page=page)


def _page(
    pages: Path | None, subject: Subject, case: str, slug: str, finding: Finding, shown: Sequence[Observation]
) -> str:
    """Write the page of a violation; where it is within the folder of the report, or empty if none is wanted."""
    if pages is None:
        return ""
    path = write_page(
        pages, target=subject.name, case=case, requirement=slug, found=finding.found, observations=shown,
        evidence=finding.evidence, notes=[*broken(get(slug)), *charge(finding)],
    )  # fmt: skip
    return f"{pages.name}/{path.name}"


def _seen_in(pages: Path | None, page: str) -> str:
    return "" if pages is None or not page else f"\npage: {pages.parent / page}"


def around(subject: Subject, evidence: tuple[int, ...], before: int = 6) -> Sequence[Observation]:
    """What was seen on the sockets of the evidence, from a little before it to its end.

    A rule may accuse long after the fact, while another case runs; the traffic of that case would explain nothing.
    """
    seen = [each for each in subject.world.observations if isinstance(each, Observation)]
    shown = [each for each in seen if each.seq in evidence]
    if not shown:
        return []
    sockets = {each.socket for each in shown}
    near = [each for each in seen if each.socket in sockets and each.seq <= max(evidence)]
    first = next(index for index, each in enumerate(near) if each.seq in evidence)
    chosen = near[max(0, first - before) :]
    # Of a long stretch only the evidence and the end are worth reading.
    return (
        chosen
        if len(chosen) <= 4 * before
        else [each for each in chosen[:-before] if each.seq in evidence] + chosen[-before:]
    )


def passed_by_rule(subject: Subject) -> list[Result]:
    """The results of rules that saw something to judge for the first time; see `results.merge`."""
    new = subject.judge.exercised - subject.reported
    subject.reported |= new
    return [Result(slug, "rules", subject.name, "passed", by_rule=True) for slug in sorted(new)]


def setbacks(subject: Subject, case: str) -> list[Result]:
    """What came to nothing when the target was started for a case, and did not when it was started once more."""
    reason = "another one that was started in its place did as it should"
    told, subject.setbacks = subject.setbacks, {}
    return [Result(slug, case, subject.name, "undecided", found, reason=reason) for slug, found in told.items()]


def case_name(nodeid: str) -> str:
    """`test_module.py::test_function`, however the case was collected and for whatever target."""
    path, _, function = nodeid.partition("::")
    return f"{path.rpartition('/')[2]}::{function.partition('[')[0]}"


def replay(command: str, case: str) -> str:
    """The command that runs this one case again; what was seen after the last case takes a whole run."""
    _, is_case, function = case.partition("::")
    return f"{command} -k {function}" if is_case else command


__all__: list[str] = ["by_rules", "case_name", "passed_by_rule", "replay", "results_of", "setbacks"]
