"""A run of the suite as data: what `report.json` holds, and what pages, tables and comparisons are made of.

The JSON Schema is derived from these types (`ippkit schema --report`).
"""

import datetime
from collections import Counter
from collections.abc import Iterable, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final, Literal

import msgspec

from conformance.catalogue import concerned
from conformance.harness.verdict import VERDICTS, Result, Verdict
from conformance.results import CONFORMS
from conformance.targets.descriptor import Target
from protocol.requirements import Basis, Level, load
from protocol.schema import DRAFT

FORMAT: Final = "ippkit-report"
VERSION: Final = 1
#: Verdicts by which something is known of the target, for better or worse.
JUDGED: Final = frozenset({"passed", "failed", "warned", "known", "new", "observed"})
#: Of several verdicts about one requirement the first in this order is its verdict as a whole.
WORST: Final[tuple[Verdict, ...]] = (
    "failed", "warned", "known", "new", "observed", "passed", "kit error", "undecided", "blocked", "not applicable",
)  # fmt: skip
NOT_JUDGED: Final = "not judged"


class UnreadableReport(ValueError):
    """A file that holds no report; the text says which, and why."""


class Judgement(msgspec.Struct, frozen=True, kw_only=True):
    """One verdict about one requirement, from one case or, in the `case` "rules", from a rule that watched all.

    `summary` is what was found, `details` the whole text of a violation, `reason` why it is known or to be expected.
    `page` is a page with the traffic, as a path beside the report. `seconds` is how long the case took.
    """

    requirement: str
    case: str
    target: str
    verdict: Verdict
    summary: str = ""
    details: str = ""
    reason: str = ""
    by_rule: bool = False
    blocked_by: str = ""
    page: str = ""
    seconds: float = 0.0


class Demand(msgspec.Struct, frozen=True, kw_only=True):
    """A requirement, so that a report can be read without the kit."""

    level: Level
    family: str
    basis: Basis
    text: str
    source: tuple[str, ...]


class Judged(msgspec.Struct, frozen=True, kw_only=True):
    """A target, and what came of it as a whole.

    `verdicts` counts judgements by verdict; `requirements` gives each requirement that concerns the target its verdict
    as a whole, or "not judged".
    """

    name: str
    version: str | None
    dialect: str
    roles: tuple[str, ...]
    verdicts: dict[str, int]
    requirements: dict[str, str]

    @property
    def judged(self) -> list[str]:
        """The requirements of which something is known."""
        return [slug for slug, verdict in self.requirements.items() if verdict in JUDGED]

    @property
    def violated(self) -> list[str]:
        """The requirements that are violated, and not known to be."""
        return [slug for slug, verdict in self.requirements.items() if verdict == "failed"]


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """A whole run. `started` is a date in UTC (ISO 8601); `exit_status` is that of the README's table."""

    format: Literal["ippkit-report"] = "ippkit-report"
    version: Literal[1] = 1
    kit: str
    started: str
    seconds: float
    command: str
    exit_status: int
    is_complete: bool
    targets: tuple[Judged, ...]
    requirements: dict[str, Demand]
    judgements: tuple[Judgement, ...]

    @property
    def is_conforming(self) -> bool:
        """Whether nothing was violated, and nothing that is demanded stayed open."""
        return self.exit_status == CONFORMS


def whole(verdicts: Iterable[str]) -> str:
    """The verdict about a requirement as a whole, from those of its cases and rules."""
    found = set(verdicts)
    return next((verdict for verdict in WORST if verdict in found), NOT_JUDGED)


def judged(target: Target, version: str | None, results: Iterable[Result]) -> Judged:
    """What came of one target."""
    own = [result for result in results if result.target == target.name]
    by_slug: dict[str, set[str]] = {each.slug: set() for each in concerned(target.roles)}
    for result in own:
        by_slug.setdefault(result.requirement, set()).add(result.verdict)
    counts = Counter(result.verdict for result in own)
    return Judged(
        name=target.name, version=version, dialect=target.dialect, roles=target.roles,
        verdicts={verdict: counts[verdict] for verdict in VERDICTS if counts[verdict]},
        requirements={slug: whole(by_slug[slug]) for slug in sorted(by_slug, key=list(load()).index)},
    )  # fmt: skip


def report_of(
    results: Sequence[Result],
    targets: Iterable[tuple[Target, str | None]],
    *,
    started: float,
    seconds: float,
    command: str,
    exit_status: int,
    is_complete: bool = True,
) -> Report:
    """The report of a run; `targets` are given with their versions, `started` is in seconds since the epoch."""
    summed = tuple(judged(target, its_version, results) for target, its_version in targets)
    slugs = {slug for target in summed for slug in target.requirements}
    demands = {
        slug: Demand(level=each.level, family=each.family, basis=each.basis, text=each.text, source=tuple(each.source))
        for slug, each in load().items()
        if slug in slugs
    }
    fields = Judgement.__struct_fields__
    return Report(
        kit=version("ippkit"), seconds=round(seconds, 1),
        started=datetime.datetime.fromtimestamp(started, datetime.UTC).isoformat(timespec="seconds"),
        command=command, exit_status=exit_status, is_complete=is_complete, targets=summed, requirements=demands,
        judgements=tuple(Judgement(**{name: getattr(result, name) for name in fields}) for result in results),
    )  # fmt: skip


def read(path: Path) -> Report:
    """The report in a file, or in the folder that `--report` wrote. Raises UnreadableReport, and OSError."""
    if path.is_dir():
        path /= "report.json"
        if not path.is_file():
            raise UnreadableReport(f"{path.parent}: no report of ippkit: there is no {path.name} in this folder")
    text = path.read_bytes()
    try:
        return msgspec.json.decode(text, type=Report)
    except msgspec.DecodeError as error:
        raise UnreadableReport(f"{path}: no report of ippkit: {error}") from None


def report_schema() -> dict[str, Any]:
    """The JSON Schema (2020-12) of a report; a fresh dictionary."""
    (top,), definitions = msgspec.json.schema_components([Report], ref_template="#/$defs/{name}")
    body = definitions.pop(top["$ref"].rpartition("/")[2])
    return {"$schema": DRAFT, **body, "$defs": definitions}


__all__ = [
    "JUDGED",
    "NOT_JUDGED",
    "WORST",
    "Demand",
    "Judged",
    "Judgement",
    "Report",
    "UnreadableReport",
    "read",
    "report_of",
    "report_schema",
    "whole",
]
