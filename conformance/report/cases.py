"""A page for each violation that the suite finds: the traffic of the case, to be stepped through."""

import re
from collections.abc import Collection, Sequence
from pathlib import Path

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
) -> Path:
    """Write the page of one violation into a folder that exists; its name says target, requirement and case."""
    story = of_items(
        observations, title=f"{case} against {target}", violations=[(f"{requirement}: {found}", tuple(evidence))]
    )
    name = re.sub(r"[^\w.-]+", "-", f"{target}.{requirement}.{case.rpartition('::')[2]}")
    path = folder / f"{name}.html"
    path.write_text(as_html(story), encoding="utf-8")
    return path


__all__ = ["write_page"]
