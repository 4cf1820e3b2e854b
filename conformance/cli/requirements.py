"""`ippkit requirements`: the registry as a table, and what judges each row."""

import click
from rich.table import Table

from conformance import catalogue
from conformance.catalogue import cases, vectored
from conformance.cli.group import ExitStatus
from conformance.console import plain_or_rich, style_of
from conformance.judges import ruled
from protocol.requirements import FAMILIES, Requirement, load

LEVELS = ("MUST", "SHOULD", "MAY")


@click.command()
@click.option("--family", "-f", type=click.Choice(FAMILIES), help="Only this family.")
@click.option("--level", "-l", type=click.Choice(LEVELS, case_sensitive=False), help="Only this level.")
@click.option("--untested", is_flag=True, help="Only what neither a case nor a rule nor a test vector judges yet.")
def requirements(family: str | None, level: str | None, untested: bool) -> int:
    """List the requirements of the protocol, with what judges them.

    Exit status: 0, or 5 if none is selected.
    """
    tested, ruling = cases(), ruled()
    waiting = {each.slug for each in catalogue.untested()}
    chosen = [
        requirement
        for requirement in load().values()
        if (family is None or requirement.family == family)
        and (level is None or requirement.level == level)
        and (not untested or requirement.slug in waiting)
    ]
    if not chosen:
        click.echo("ippkit: no requirement is selected", err=True)
        return ExitStatus.NOTHING_SELECTED
    console = plain_or_rich()
    judged = {each.slug: _judged(each, len(tested.get(each.slug, ())), each.slug in ruling) for each in chosen}
    # Every requirement has one line; `explain` shows a text that does not fit.
    room = console.width - max(map(len, judged)) - max(map(len, judged.values())) - len("SHOULD  documented") - 8
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("requirement", no_wrap=True)
    table.add_column("level", no_wrap=True)
    table.add_column("basis", no_wrap=True)
    table.add_column("judged by", no_wrap=True)
    table.add_column("text", no_wrap=True, overflow="ellipsis", max_width=max(room, 20))
    for requirement in chosen:
        table.add_row(
            requirement.slug,
            f"[{style_of(requirement.level)}]{requirement.level}[/]",
            requirement.basis,
            judged[requirement.slug],
            requirement.text.replace("[", "\\["),
        )
    with console.capture() as captured:
        console.print(table, width=console.width)
    click.echo("\n".join(line.rstrip() for line in captured.get().splitlines()), color=console.is_terminal)
    counts = ", ".join(f"{sum(each.level == name for each in chosen)} {name}" for name in LEVELS)
    click.echo(f"\n{len(chosen)} of {len(load())} requirements ({counts})", err=not console.is_terminal)
    return ExitStatus.CONFORMS


def _judged(requirement: Requirement, count: int, is_ruled: bool) -> str:
    if requirement.unobservable is not None:
        return "not observable"
    found = [f"{count} case{'s' * (count > 1)}"] if count else []
    found += ["rule"] * is_ruled + ["vectors"] * (requirement.slug in vectored())
    return ", ".join(found) or "not yet tested"
