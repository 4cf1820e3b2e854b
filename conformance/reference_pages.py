"""Writes the reference pages of the site from the protocol.

`docs/conf.py` calls `write` at every build. The pages are MyST Markdown; every label in them is a place to which other
pages link, and a link to a label that does not exist fails the build.
"""

import json
from collections.abc import Iterator
from pathlib import Path

from conformance.drivers import lines
from conformance.report.data import report_schema
from conformance.site import channels, dialects, fixtures, messages, requirements, roles, snippets, traceability
from conformance.site import markdown as md
from conformance.targets.schema import descriptor_schema


def pages() -> Iterator[tuple[str, str]]:
    """The name (a path without ending, below `reference/`) and the text of every page."""
    parts = [list(each.pages()) for each in (messages, channels, roles, requirements)]
    single = [
        ("traceability", traceability.page()),
        ("dialects", dialects.page()),
        ("fixtures", fixtures.page()),
    ]
    names = [part[0][0] for part in parts] + [name for name, _ in single]
    yield (
        "index",
        md.page(
            md.heading(1, "Reference", "reference"),
            "These pages are generated from the tables that the kit itself runs on.",
            md.toctree(names, ":maxdepth: 2"),
        ),
    )
    for part in parts:
        yield from part
    yield from single


def write(folder: Path) -> None:
    """Write every page below `folder`, and remove what an earlier build left there.

    Files whose text is the same stay untouched, so that Sphinx does not read them again.
    """
    wanted = {folder / f"{name}.md": text for name, text in pages()}
    # Parts that pages written by hand include; the ending keeps Sphinx from taking them for pages.
    wanted |= {folder / f"{name}.inc": text for name, text in snippets.parts()}
    schemas = {"descriptor": descriptor_schema(), "client-driver": lines.schema(), "report": report_schema()}
    for name, schema in schemas.items():
        wanted[folder / f"{name}.schema.json"] = json.dumps(schema, indent=2, ensure_ascii=False) + "\n"
    for path, text in wanted.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        if not path.is_file() or path.read_text("utf-8") != text:
            path.write_text(text, "utf-8")
    for path in folder.rglob("*"):
        if path.is_file() and path not in wanted:
            path.unlink()
