"""`ippkit compare`: reports of the suite beside each other."""

from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

import click
from rich.console import Console

from conformance.cli.group import ExitStatus
from conformance.cli.tables import print_table
from conformance.console import plain_or_rich
from conformance.report.comparing import Change, Column, changes, columns, differing, pairs
from conformance.report.data import NOT_JUDGED, UnreadableReport, read
from conformance.report.data import WORST as ORDER


@click.command("compare")
@click.argument("files", nargs=-1, required=True, metavar="REPORT...", type=click.Path(exists=True, path_type=Path))
def compare(files: tuple[Path, ...]) -> int:
    """Compare reports: what got better, what got worse, and where several targets differ.

    A REPORT is a folder that `ippkit test --report` wrote, or its report.json. Two targets, or two reports of the same
    targets, are before and after; more are put side by side. Exit status: 1 if something got worse, else 0.
    """
    try:
        found = columns([(path, read(path)) for path in files])
    except UnreadableReport as error:
        raise click.UsageError(str(error)) from None
    if len(found) < 2:
        raise click.UsageError("there is one target in there; give two reports, or more, or one of several targets")
    console = plain_or_rich()
    _totals(found)
    kits = dict.fromkeys(column.report.kit for column in found)
    if len(kits) > 1:
        console.print(f"These were judged by different kits, {', '.join(kits)}: what is demanded may be other, too.")
    found_pairs = pairs(found)
    is_worse = [_before_and_after(console, *pair) for pair in found_pairs]
    if not found_pairs:
        _side_by_side(console, found)
    return ExitStatus.VIOLATIONS if any(is_worse) else ExitStatus.CONFORMS


def _totals(found: Sequence[Column]) -> None:
    counts = [Counter(column.target.requirements.values()) for column in found]
    rows = [
        (verdict, *(str(count[verdict] or "·") for count in counts))
        for verdict in (*ORDER, NOT_JUDGED)
        if any(count[verdict] for count in counts)
    ]
    print_table("Requirements by verdict", ("verdict", *(column.label for column in found)), rows)


def _before_and_after(console: Console, before: Column, after: Column) -> bool:
    """Tell what is other afterwards; whether something got worse."""
    told = changes(before, after)
    console.print(f"\n{before.label} -> {after.label}", markup=False, soft_wrap=True)
    _list(console, "better", told.better)
    _list(console, "worse", sorted(told.worse, key=lambda change: (*ORDER, NOT_JUDGED).index(change.after)))
    _list(console, "no longer judged", told.unjudged)
    _list(console, "otherwise", told.neither)
    if not (told.better or told.worse or told.unjudged or told.neither):
        console.print("  no verdict is other")
    return bool(told.worse)


def _list(console: Console, name: str, found: Iterable[Change]) -> None:
    listed = list(found)
    if not listed:
        return
    width = max(len(each.requirement) for each in listed)
    console.print(f"  {name}, {len(listed)}:")
    for each in listed:
        line = f"    {each.requirement:{width}}  {each.before} -> {each.after}"
        console.print(line, markup=False, highlight=False, soft_wrap=True)


def _side_by_side(console: Console, found: Sequence[Column]) -> None:
    rows = [(slug, *verdicts) for slug, verdicts in differing(found)]
    if rows:
        print_table("Where they differ", ("requirement", *(column.label for column in found)), rows)
    else:
        console.print("They differ in no requirement.")


__all__ = ["compare"]
