"""From what happened in a run to verdicts, known deviations, counts and the exit status."""

from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from dataclasses import asdict, replace
from typing import Any, Final

from conformance.catalogue import untested
from conformance.harness.verdict import NOT_YET_TESTED, VERDICTS, Result, Verdict
from conformance.targets.descriptor import Target
from conformance.targets.tables import Deviation
from conformance.targets.vocabulary import Role
from protocol.requirements import FAMILIES, get

#: The verdicts that say that something was not as the requirement has it.
ACCUSING: Final = frozenset({"failed", "warned", "observed", "known"})

CONFORMS, VIOLATIONS, UNUSABLE, USAGE, NOTHING_SELECTED, UNDECIDED = 0, 1, 3, 4, 5, 6


def to_dict(result: Result) -> dict[str, Any]:
    """A result as plain data, to travel between processes."""
    return asdict(result)


def from_dict(data: dict[str, Any]) -> Result:
    """The reverse of `to_dict`."""
    return Result(**data)


def merge(results: Iterable[Result]) -> list[Result]:
    """The results without what several workers said twice, and without praise where a rule accused.

    A rule's own praise is of a whole run; a case's is of this case, and so is what it did not come to judge.
    """
    found = list(results)
    accusing = [each for each in found if each.by_rule and each.verdict != "passed"]
    accused = {(each.target, each.requirement) for each in accusing}
    here = {(each.target, each.requirement, each.case) for each in accusing}
    kept: dict[tuple[str, str, str, Verdict, str], Result] = {}
    for each in found:
        if each.by_rule and each.verdict == "passed" and (each.target, each.requirement) in accused:
            continue
        is_settled = not each.by_rule and each.verdict in ("passed", "blocked")
        if is_settled and (each.target, each.requirement, each.case) in here:
            continue
        kept.setdefault((each.target, each.requirement, each.case, each.verdict, each.summary), each)
    return list(kept.values())


def accuse(slug: str) -> Verdict:
    """The verdict for a broken requirement: a SHOULD warns, a MAY is only observed."""
    verdicts: dict[str, Verdict] = {"MUST": "failed", "SHOULD": "warned", "MAY": "observed"}
    return verdicts[get(slug).level]


def withdraw(results: Iterable[Result]) -> list[Result]:
    """The results without verdicts on targets that were not usable: nothing that was seen of them can be trusted."""
    found = list(results)
    unusable = {each.target for each in found if each.is_unusable}
    return [each for each in found if each.is_unusable or each.target not in unusable]


def is_new(slug: str, target: Target) -> bool:
    """Whether a requirement is newer than the rule set to which the descriptor has pinned itself."""
    return target.requirements is not None and get(slug).revision > target.requirements


def excuse(result: Result, target: Target, version: str | None) -> Result:
    """The result, turned into `known` if the target's descriptor lists it with a reason given by a person.

    What a known deviation blocks is given that reason: it was not judged, and everybody knows why. What is demanded
    only by a newer rule set than the descriptor's is `new`.
    """
    if is_new(result.requirement, target) and result.verdict in ("failed", "warned", "blocked", "undecided"):
        revision = get(result.requirement).revision
        reason = f"demanded since revision {revision}; the descriptor is about {target.requirements}"
        verdict: Verdict = "new" if result.verdict in ("failed", "warned") else result.verdict
        return replace(result, verdict=verdict, reason=reason)
    if result.verdict == "blocked" and result.blocked_by and is_new(result.blocked_by, target):
        return replace(result, reason=f"{result.blocked_by} is newer than the descriptor's revision")
    if result.verdict == "blocked" and any(
        known.slug == result.blocked_by and known.is_about(version) and not known.unreviewed
        for known in target.deviations
    ):
        return replace(result, reason=f"{result.blocked_by} is a known deviation")
    if result.verdict not in ("failed", "warned"):
        return result
    known = target.deviation(result.requirement, result.case, version)
    if known is None or known.unreviewed:
        return result
    return replace(result, verdict="known", reason=known.reason)


def stale(results: Sequence[Result], target: Target, version: str | None) -> list[Deviation]:
    """The listed deviations whose cases ran and passed: either the target was mended or the list is wrong."""
    found = []
    for deviation in target.deviations:
        judged = [
            result
            for result in results
            if result.target == target.name and deviation.covers(result.requirement, result.case, version)
        ]
        wrong = any(result.verdict in ("known", "failed", "warned") for result in judged)
        passed = any(result.verdict == "passed" and not result.by_rule for result in judged)
        if passed and not wrong and not deviation.intermittent:
            found.append(deviation)
    return found


def exit_status(results: Sequence[Result], failed: int, *, stale_fails: bool = False, is_at_odds: bool = False) -> int:
    """The exit status of a run in which pytest counted `failed` failures.

    `is_at_odds`: a simulation and what it simulates disagreed, though nothing else was wrong.
    """
    verdicts = {result.verdict for result in results}
    if "kit error" in verdicts:
        return UNUSABLE
    if failed or "failed" in verdicts or stale_fails:
        return VIOLATIONS
    if is_at_odds:
        return UNUSABLE
    for result in results:
        if result.verdict in ("blocked", "undecided") and not result.reason and get(result.requirement).level == "MUST":
            return UNDECIDED
    return CONFORMS


def by_family(results: Iterable[Result], roles: Collection[Role] = ()) -> dict[str, Counter[str]]:
    """Family -> how many results of each verdict, and how many requirements of these roles nothing tests yet."""
    counts: dict[str, Counter[str]] = {family: Counter() for family in FAMILIES}
    for result in results:
        counts[get(result.requirement).family][result.verdict] += 1
    for requirement in untested(roles):
        counts[requirement.family][NOT_YET_TESTED] += 1
    return counts


COLUMNS = (*(verdict for verdict in VERDICTS if verdict != "observed"), NOT_YET_TESTED)
