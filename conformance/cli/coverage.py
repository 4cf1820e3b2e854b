"""`ippkit coverage`: what became of each sentence, table line and code hunk of the source documents.

The rows stand in `docs/coverage.toml`, whose head says how they are written. A row is open as long as something that it
points at has no test: a requirement that neither a case nor a rule judges, or a scenario, which are only planned.
"""

import re
import tomllib
from collections import Counter
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Final, Literal

import click
import msgspec
from rich.markup import escape
from rich.table import Table

from conformance.catalogue import untested
from conformance.cli.group import ExitStatus
from conformance.console import plain_or_rich
from conformance.files import data

Kind = Literal["requirements", "messages", "channels", "roles", "scenarios", "dialect", "discarded"]

#: What a row may point at, in the order of the totals.
KINDS: Final[tuple[Kind, ...]] = (
    "requirements",
    "messages",
    "channels",
    "roles",
    "scenarios",
    "dialect",
    "discarded",
)

Span = tuple[int, int]

_SPAN: Final = re.compile(r"(\d+)(?:-(\d+))?", re.ASCII)


class CoverageError(ValueError):
    """The coverage file itself is wrong: a mistake of the kit."""


class Document(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A source document: its citation, how `source` entries of requirements begin that cite it, and its extent."""

    citation: str
    cited_as: str
    lines: int
    blank: tuple[str, ...]


class Row(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One sentence, table line or code hunk, in our own words, and its target."""

    document: str
    line: int | str
    paraphrase: str
    requirements: tuple[str, ...] = ()
    messages: tuple[str, ...] = ()
    channels: tuple[str, ...] = ()
    roles: tuple[str, ...] = ()
    scenarios: tuple[str, ...] = ()
    dialect: str = ""
    discarded: str = ""

    def __post_init__(self) -> None:
        """Raise ValueError unless there is exactly one target."""
        given = [kind for kind in KINDS if getattr(self, kind)]
        if len(given) != 1:
            raise ValueError(f"line {self.line} has {len(given)} targets instead of one")

    @property
    def kind(self) -> Kind:
        """What the row points at."""
        return next(kind for kind in KINDS if getattr(self, kind))

    @property
    def targets(self) -> tuple[str, ...]:
        """The names that the row points at; empty if it was discarded."""
        value: str | tuple[str, ...] = getattr(self, self.kind)
        if self.kind == "discarded":
            return ()
        return (value,) if isinstance(value, str) else value


class Coverage(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The whole file: documents by short name, planned scenarios by name, and rows in the order of the documents."""

    documents: dict[str, Document]
    scenarios: dict[str, str]
    row: tuple[Row, ...]


def spans(line: int | str) -> list[Span]:
    """The ranges of a `line` or `blank` entry, first and last line included. Raises CoverageError."""
    if isinstance(line, int):
        return [(line, line)]
    found = []
    for part in line.split(","):
        matched = _SPAN.fullmatch(part.strip())
        first, last = (int(matched[1]), int(matched[2] or matched[1])) if matched else (1, 0)
        if first > last:
            raise CoverageError(f"{line!r} is neither a line nor a range of lines")
        found.append((first, last))
    return found


def read(path: Path) -> Coverage:
    """The coverage file at a path. Raises CoverageError, naming the file, when it is not as it should be."""
    try:
        return msgspec.convert(tomllib.loads(path.read_text("utf-8")), Coverage)
    except (tomllib.TOMLDecodeError, msgspec.ValidationError) as error:
        raise CoverageError(f"{path.name}: {error}") from None


@cache
def load() -> Coverage:
    """The coverage of the kit's own documents."""
    return read(data("docs/coverage.toml"))


def open_targets(row: Row, unjudged: Mapping[str, object]) -> tuple[str, ...]:
    """The targets of a row that no test judges yet; `unjudged` has the slugs of such requirements as keys."""
    if row.kind == "requirements":
        return tuple(slug for slug in row.requirements if slug in unjudged)
    return row.scenarios


@click.command()
@click.option("--document", "-d", metavar="NAME", help="Only this document, by its short name.")
@click.option("--open", "only_open", is_flag=True, help="Only rows that point at something without a test yet.")
def coverage(document: str | None, only_open: bool) -> int:
    """Show what became of each sentence of the source documents.

    Per document a table of lines, what they say in our words, and what they became. Exit status: 0, or 4 if there is
    no document of that name, or 3 if the kit's own file cannot be used.
    """
    try:
        everything = load()
    except CoverageError as error:
        raise click.ClickException(str(error)) from error
    if document is not None and document not in everything.documents:
        names = ", ".join(repr(name) for name in everything.documents)
        raise click.UsageError(f"no document {document!r}; the documents are {names}")
    unjudged = {requirement.slug: requirement for requirement in untested()}
    console = plain_or_rich()
    for name, about in everything.documents.items():
        if document not in (None, name):
            continue
        rows = [row for row in everything.row if row.document == name]
        pending = [row for row in rows if open_targets(row, unjudged)]
        with console.capture() as captured:
            console.print(f"[bold]{escape(name)}[/]\n{escape(about.citation)}\n")
            console.print(_table(pending if only_open else rows, unjudged))
        click.echo("\n".join(line.rstrip() for line in captured.get().splitlines()))
        click.echo(f"\n{_totals(rows)}; {len(pending)} open\n")
    return ExitStatus.CONFORMS


def _table(rows: list[Row], unjudged: Mapping[str, object]) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("line", no_wrap=True)
    table.add_column("says")
    table.add_column("became")
    for row in rows:
        table.add_row(str(row.line), escape(row.paraphrase), _became(row, unjudged))
    return table


def _became(row: Row, unjudged: Mapping[str, object]) -> str:
    if row.kind == "discarded":
        return f"[dim]{escape(row.discarded)}[/]"
    waiting = open_targets(row, unjudged)
    names = (escape(name) + (" [yellow](open)[/]" if name in waiting else "") for name in row.targets)
    # A slug says by itself that it is a requirement.
    label = "" if row.kind == "requirements" else f"{row.kind.removesuffix('s')} "
    return label + ", ".join(names)


def _totals(rows: list[Row]) -> str:
    counts = Counter(row.kind for row in rows)
    return f"{len(rows)} rows: " + ", ".join(f"{counts[kind]} {kind}" for kind in KINDS if counts[kind])


__all__ = ["KINDS", "Coverage", "CoverageError", "Document", "Row", "coverage", "load", "open_targets", "read", "spans"]
