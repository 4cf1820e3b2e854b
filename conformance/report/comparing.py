"""Reports beside each other: what got better, what got worse, and where several targets differ."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import msgspec

from conformance.report.data import NOT_JUDGED, Judged, Report

#: How good a verdict is; what is not here says nothing of the target.
_RANK: Final = {"failed": 0, "warned": 1, "known": 2, "new": 2, "observed": 3, "passed": 3}
_KEPT: Final = 3


class Column(msgspec.Struct, frozen=True, kw_only=True):
    """One target of one report."""

    label: str
    target: Judged
    report: Report

    def verdict(self, slug: str) -> str:
        """The verdict about a requirement; of one that the report does not know, that it was not judged."""
        return self.target.requirements.get(slug, NOT_JUDGED)


class Change(msgspec.Struct, frozen=True, kw_only=True):
    """A requirement about which two reports say different things."""

    requirement: str
    before: str
    after: str


class Changes(msgspec.Struct, frozen=True, kw_only=True):
    """What is other in the second of two columns.

    `unjudged` was kept and is judged no more, so that nobody knows; `neither` was broken or open and is told otherwise.
    """

    better: tuple[Change, ...]
    worse: tuple[Change, ...]
    unjudged: tuple[Change, ...]
    neither: tuple[Change, ...]


def columns(reports: Sequence[tuple[Path, Report]]) -> list[Column]:
    """The targets of all reports; what has the same name and version is told apart by its file."""
    found = [(path, report, target) for path, report in reports for target in report.targets]
    names = Counter(_name(target) for _, _, target in found)
    return [
        Column(
            label=_name(target) if names[_name(target)] == 1 else f"{_name(target)} ({path})",
            target=target,
            report=report,
        )
        for path, report, target in found
    ]


def pairs(found: Sequence[Column]) -> list[tuple[Column, Column]]:
    """What is before and what is after: two columns, or each target of one report and its namesake in the other."""
    if len(found) == 2:
        return [(found[0], found[1])]
    half = len(found) // 2
    before, after = found[:half], found[half:]
    if {id(each.report) for each in before} & {id(each.report) for each in after}:
        return []
    if len({id(each.report) for each in found}) != 2:
        return []
    by_name = {each.target.name: each for each in after}
    if by_name.keys() != {each.target.name for each in before}:
        return []
    return [(each, by_name[each.target.name]) for each in before]


def changes(before: Column, after: Column) -> Changes:
    """What is other afterwards, in the order of the requirements."""
    better: list[Change] = []
    worse: list[Change] = []
    unjudged: list[Change] = []
    neither: list[Change] = []
    for slug in dict.fromkeys((*before.target.requirements, *after.target.requirements)):
        old, new = before.verdict(slug), after.verdict(slug)
        if old == new:
            continue
        change = Change(requirement=slug, before=old, after=new)
        was, now = _RANK.get(old), _RANK.get(new)
        # What was kept and is judged no more may be broken; what was broken and is judged no more may be as well.
        if now is None:
            (unjudged if was == _KEPT else neither).append(change)
        elif was is None:
            (better if now == _KEPT else worse).append(change)
        elif was == now:
            neither.append(change)
        else:
            (better if now > was else worse).append(change)
    return Changes(
        better=tuple(better), worse=tuple(worse), unjudged=tuple(unjudged), neither=tuple(neither)
    )  # fmt: skip


def differing(found: Sequence[Column]) -> list[tuple[str, list[str]]]:
    """The requirements about which not all columns say the same, each with what they say."""
    slugs = dict.fromkeys(slug for column in found for slug in column.target.requirements)
    rows = [(slug, [column.verdict(slug) for column in found]) for slug in slugs]
    return [(slug, verdicts) for slug, verdicts in rows if len(set(verdicts)) > 1]


def _name(target: Judged) -> str:
    return " ".join(filter(None, (target.name, target.version)))


__all__ = ["Change", "Changes", "Column", "changes", "columns", "differing", "pairs"]
