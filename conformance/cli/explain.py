"""`ippkit explain`: one requirement with everything the kit knows about it."""

from collections.abc import Iterable

import click
from rich.console import Console, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from conformance.catalogue import cases
from conformance.console import plain_or_rich, style_of
from conformance.exchanges import Exchange, envelope_text, exchanges
from conformance.judges import logs_of, rules_of, sentence, vectors_of
from protocol.channels import End, channel
from protocol.requirements import Requirement, get, revision

_MARGIN = (0, 0, 0, 2)


@click.command()
@click.argument("slug")
def explain(slug: str) -> None:
    """Show one requirement: its text and source, an example exchange, and what judges it.

    `ippkit requirements` lists the slugs. Exit status: 0, or 4 for an unknown slug.
    """
    try:
        requirement = get(slug)
    except KeyError as error:
        raise click.UsageError(str(error.args[0])) from None
    console = plain_or_rich()
    _head(console, requirement)
    for name in requirement.channels:
        _channel(console, name, requirement)
    shown = exchanges(requirement)
    if shown:
        _title(console, "example exchange" if len(shown) == 1 else "example exchanges")
    for number, each in enumerate(shown):
        _exchange(console, each, is_first=not number)
    _judges(console, requirement)


def _head(console: Console, requirement: Requirement) -> None:
    console.print(
        Text.assemble(
            (requirement.slug, "bold"), "  ", (requirement.level, style_of(requirement.level)), f"  {requirement.basis}"
        )
    )
    _say(console, Text(requirement.text))
    console.print()
    rows = [
        ("kept by", ", ".join(requirement.roles)),
        ("dialects", ", ".join(requirement.dialects)),
        ("since", f"revision {requirement.revision} of the rule set; the present one is {revision()}"),
        *_labelled("source", requirement.source),
        ("observed", f"{requirement.observed} (vantage: {requirement.vantage})")
        if requirement.observed is not None
        else ("not observable", str(requirement.unobservable)),
        ("messages", ", ".join(requirement.messages) or "all"),
        ("channels", ", ".join(requirement.channels) or "all on which such messages travel"),
    ]
    _grid(console, rows)


def _labelled(name: str, values: Iterable[str]) -> list[tuple[str, str]]:
    return [(name if not number else "", value) for number, value in enumerate(values)]


def _title(console: Console, text: str) -> None:
    console.print()
    console.print(Text(text, "bold"))


def _say(console: Console, what: RenderableType) -> None:
    """Print something indented, without the blanks with which rich fills up lines: nobody wants them in a file."""
    with console.capture() as captured:
        console.print(Padding(what, _MARGIN))
    click.echo("\n".join(line.rstrip() for line in captured.get().splitlines()), color=console.is_terminal)


def _grid(console: Console, rows: Iterable[tuple[str, str]]) -> None:
    table = Table.grid(padding=(0, 2))
    table.add_column(no_wrap=True, style="cyan")
    table.add_column(overflow="fold")
    for name, value in rows:
        table.add_row(name, Text(value))
    _say(console, table)


def _channel(console: Console, name: str, requirement: Requirement) -> None:
    row = channel(name)
    _title(console, f"channel {name}")
    _say(console, Text(row.doc))
    dialect = next((each for each in reversed(row.dialects) if each in requirement.dialects), row.dialects[-1])
    ends = [end for end in row.ends if dialect in end.dialects]
    _grid(console, [(_who(end), _how(end)) for end in ends])


def _who(end: End) -> str:
    detail = ", ".join(filter(None, (f"{end.side} side" if end.side else "", end.variant)))
    return f"{end.role} ({detail})" if detail else end.role


def _how(end: End) -> str:
    parts = [f"{end.socket} {end.attach}s", f"identity: {end.identity}"]
    parts += [
        f"{verb} " + " or ".join(envelope_text(each) if each else "no identities" for each in envelopes)
        for verb, envelopes in (("sends", end.sends), ("receives", end.receives))
        if envelopes
    ]
    return "; ".join(parts)


def _exchange(console: Console, each: Exchange, *, is_first: bool) -> None:
    for number, picture in enumerate(each.pictures):
        if number or not is_first:
            console.print()
        _say(console, Text.assemble("or " if number > 1 else "", (picture.title, "underline")))
        _grid(console, [(part.name, part.text) for part in picture.parts])


def _judges(console: Console, requirement: Requirement) -> None:
    _title(console, "judged by")
    rows: list[tuple[str, str]] = []
    for rule in rules_of(requirement.slug):
        rows.append(("rule", f"{rule.name()}: {sentence(rule)}"))
        rows += [("log", log) for log in logs_of(rule)]
    rows += [("case", f"conformance/{case}") for case in cases().get(requirement.slug, ())]
    rows += [("vectors", f"{count} in {file}") for file, count in vectors_of(requirement.slug).items()]
    _grid(console, rows or [("nothing yet", "no case, no rule and no vector")])
    if cases().get(requirement.slug):
        _say(console, Text(f"ippkit test -t TARGET --requirement {requirement.slug}", "dim"))
