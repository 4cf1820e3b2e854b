"""A page for each violation that the suite finds: the traffic of the case, to be stepped through."""

import re
from collections.abc import Collection, Sequence
from pathlib import Path

import msgspec

from conformance.report.page import as_html
from conformance.report.story import of_items
from protocol.world import Observation


def write_page(
    folder: Path,
    *,
    target: str,
    case: str,
    requirement: str,
    found: str,
    observations: Sequence[Observation],
    evidence: Collection[int],
    notes: Sequence[str] = (),
) -> Path:
    """Write the page of one violation into a folder that exists; its name says target, requirement and case.

    `notes` stand above the traffic: what the requirement says, and what would have been right.
    """
    story = of_items(
        observations, title=f"{case} against {target}", violations=[(f"{requirement}: {found}", tuple(evidence))]
    )
    story = msgspec.structs.replace(story, notes=tuple(notes))
    path = folder / f"{plain('.'.join((target, requirement, case.rpartition('::')[2])))}.html"
    path.write_text(as_html(story), encoding="utf-8")
    return path


def plain(name: str) -> str:
    """A name as part of the name of a file."""
    return re.sub(r"[^\w.-]+", "-", name)


__all__ = ["plain", "write_page"]
