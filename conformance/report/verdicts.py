"""The last verdicts about the targets in this repository, kept in `docs/verdicts.json` for the site.

    python -m conformance.report.verdicts out-1 out-2      # folders of --report, of whole runs

replaces what is kept of the targets in these reports, and leaves the others. The site says of when each is: what was
judged since may be other.
"""

import sys
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import Final

import msgspec

from conformance.files import data
from conformance.report.data import NOT_JUDGED, Report, read

FILE: Final = "docs/verdicts.json"


class Last(msgspec.Struct, frozen=True, kw_only=True):
    """The verdict about each requirement that a target was last judged by; `date` is the day of that."""

    name: str
    version: str | None
    date: str
    verdicts: dict[str, str]


@cache
def kept() -> list[Last]:
    """What is kept, in the order of the names."""
    return msgspec.json.decode(data(FILE).read_bytes(), type=list[Last])


def updated(before: Iterable[Last], reports: Iterable[Report]) -> list[Last]:
    """What is to be kept after these reports."""
    by_name = {each.name: each for each in before}
    for report in reports:
        for target in report.targets:
            verdicts = {slug: verdict for slug, verdict in target.requirements.items() if verdict != NOT_JUDGED}
            by_name[target.name] = Last(
                name=target.name, version=target.version, date=report.started[:10], verdicts=verdicts
            )
    return sorted(by_name.values(), key=lambda each: each.name)


def main(folders: Iterable[str]) -> None:
    """Keep the verdicts of these reports."""
    before = kept() if data(FILE).is_file() else []
    text = msgspec.json.format(msgspec.json.encode(updated(before, map(read, map(Path, folders)))), indent=1)
    data(FILE).write_bytes(text + b"\n")


if __name__ == "__main__":
    main(sys.argv[1:])
