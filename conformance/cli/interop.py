"""`ippkit interop`: real clients, controllers and engines together, and what works between them."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

from conformance.cli.group import ExitStatus
from conformance.interop.rows import ROWS

if TYPE_CHECKING:
    from rich.text import Text

    from conformance.interop.matrix import Cell
    from conformance.interop.rows import Row

ROW_NAMES = tuple(row.name for row in ROWS)


@click.command()
@click.option(
    "--only", "only", multiple=True, type=click.Choice(ROW_NAMES), metavar="ROW",
    help=f"Only this row (client-controller-engines): {', '.join(ROW_NAMES)}. May be repeated.",
)  # fmt: skip
@click.option(
    "--ability", "patterns", multiple=True, metavar="GLOB",
    help="Only abilities whose name matches, such as 'balanced.*' or apply. May be repeated.",
)  # fmt: skip
@click.option("--list", "is_list", is_flag=True, help="Say what each ability demands, and run nothing.")
@click.option("--json", "is_json", is_flag=True, help="Print the cells as JSON.")
def interop(only: tuple[str, ...], patterns: tuple[str, ...], *, is_list: bool, is_json: bool) -> int:
    """Run every combination of client, controller and engines that must work, and show what does.

    ipyparallel is the one that is installed beside the kit. A cell that fails names the party that broke which
    requirement first, as far as the traffic shows it. The last row is the control group: nothing in it is ours, and
    its failures do not count.

    Exit status: 0 everything works, 1 something does not, 3 a row cannot be run, 4 wrong usage, 5 nothing selected.
    """
    from conformance.interop import matrix

    rows = [row for row in ROWS if not only or row.name in only]
    names = [name for name in matrix.chosen(*patterns) if any(name in row.abilities for row in rows)]
    if not names:
        click.echo(
            f"ippkit: no ability of these rows matches {' or '.join(map(repr, patterns))}; see ippkit interop --list",
            err=True,
        )
        return ExitStatus.NOTHING_SELECTED
    if is_list:
        _list(rows, names)
        return ExitStatus.CONFORMS
    version = matrix.version_of_ipyparallel()
    if version is None and (needy := [row.name for row in rows if row.needs_ipyparallel]):
        click.echo(
            f"ippkit: ipyparallel is not installed, and {', '.join(needy)} cannot do without: install the extra with "
            "pip install 'ippkit[ipyparallel]', or use --only ours-ours-ours",
            err=True,
        )
        return ExitStatus.UNUSABLE
    began = time.monotonic()
    cells = matrix.run(rows, names, tell=_progress)
    if is_json:
        import msgspec

        from conformance.cli.tables import print_json

        print_json(msgspec.to_builtins(cells))
    else:
        _show(rows, cells, version, time.monotonic() - began)
    ours = {row.name for row in rows if not row.is_control_group}
    if any(cell.verdict == "fails" and cell.row in ours for cell in cells):
        return ExitStatus.VIOLATIONS
    return ExitStatus.UNUSABLE if any(cell.verdict == "unusable" for cell in cells) else ExitStatus.CONFORMS


def _progress(cell: Cell) -> None:
    if sys.stderr.isatty():
        # One line that is written over; the table comes when all is done.
        click.echo(f"\r\x1b[K{cell.row} {cell.ability}: {cell.verdict}\r", err=True, nl=False)


def _list(rows: Sequence[Row], names: Sequence[str]) -> None:
    from conformance.cli.tables import print_table

    clients = {row.client: row.abilities for row in rows}
    found = [
        (name, client, abilities[name].requirement, abilities[name].sentence)
        for name in names
        for client, abilities in clients.items()
        if name in abilities
    ]
    print_table("abilities", ("ability", "client", "requirement", "what must be true"), found)


def _show(rows: Sequence[Row], cells: Sequence[Cell], version: str | None, seconds: float) -> None:
    from conformance.cli.tables import print_table
    from conformance.interop.ability import COLUMNS

    found = {(cell.row, cell.ability): cell for cell in cells}
    about = f"ipyparallel {version}" if version else "without ipyparallel"
    print_table(f"rows ({about})", ("row", "parties"), [(row.name, row.sentence) for row in rows])
    for group, (title, names) in COLUMNS.items():
        shown = [name for name in names if any(cell.ability == f"{group}.{name}" for cell in cells)]
        if shown:
            lines = [
                (row.name, *(_mark(found.get((row.name, f"{group}.{name}")), row) for name in shown)) for row in rows
            ]
            print_table(f"{group}.* ({title})", ("row", *shown), lines)
    _explain(rows, found)
    works = sum(cell.verdict == "works" for cell in cells)
    click.echo(f"{works} of {len(cells)} cells work, in {len(rows)} rows and {seconds:.0f} s.")


def _mark(cell: Cell | None, row: Row) -> Text | None:
    from rich.text import Text

    if cell is None:
        return None
    if cell.verdict == "works":
        return Text("works", style="green")
    if cell.verdict != "fails" or cell.blame is None:
        return Text(cell.verdict, style="yellow")
    # In the control group nobody is accused on our behalf.
    style, word = ("yellow", "fails (not ours)") if row.is_control_group else ("bold red", "FAILS")
    return Text(f"{word}: {cell.blame.party}, {cell.blame.requirement}", style=style)


def _explain(rows: Sequence[Row], found: dict[tuple[str, str], Cell]) -> None:
    """Every cell that does not work, in words; then what was broken without harm."""
    control = {row.name for row in rows if row.is_control_group}
    for (name, ability), cell in found.items():
        if cell.verdict == "fails" and cell.blame is not None:
            demand = next(row for row in rows if row.name == name).abilities[ability].sentence
            click.echo(f"{name} {ability}: {demand}")
            click.echo(f"  failed:      {cell.text}")
            click.echo(f"  to blame:    {cell.blame.party}")
            click.echo(f"  requirement: {cell.blame.requirement}")
            click.echo(f"  evidence:    {cell.blame.how}")
            if name not in control and any(
                (other, ability) in found and found[other, ability].verdict == "fails" for other in control
            ):
                click.echo("  It fails in the control group, too, where nothing is ours.")
    for text in dict.fromkeys(cell.text for cell in found.values() if cell.verdict in ("unusable", "absent")):
        click.echo(f"not tried: {text}")
    noticed = dict.fromkeys(
        (name, *charge.kind) for (name, _), cell in found.items() for charge in cell.noticed if cell.verdict == "works"
    )
    if noticed:
        click.echo("Broken on the way, and yet everything worked:")
    for name, party, requirement, msg_type in noticed:
        click.echo(f"  {name}: {party} broke {requirement} with {msg_type}")
