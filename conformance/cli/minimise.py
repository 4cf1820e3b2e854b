"""`ippkit minimise`: from a run that fails to the smallest one that fails in the same way, as a scenario in code."""

import time
from pathlib import Path
from typing import Final

import click
from rich.console import Console

from conformance.cli.group import ExitStatus
from conformance.cli.options import SOME_SECONDS
from conformance.cli.progress import progress_bar
from conformance.console import plain_or_rich
from conformance.report.reading import UnreadableStory, setup_from
from conformance.simulating import command, hooks_of
from simulator.minimise import Case, Found, NotMinimised, Search, nearest, scenario_text
from simulator.minimise.search import SEEDS
from simulator.trace import Entry

#: Runs that are tried at most.
TRIES: Final = 1000


@click.command("minimise")
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--requirement", default="", metavar="SLUG", help="What must still be violated [default: the first].")
@click.option("--tries", type=click.IntRange(min=1), default=TRIES, show_default=True, help="Runs at most.")
@click.option("--minutes", type=SOME_SECONDS, metavar="N", help="Stop after so long with what was found by then.")
@click.option(
    "--out", type=click.Path(dir_okay=False, path_type=Path), help="Write the scenario there: a file of code."
)
def minimise(file: Path, requirement: str, tries: int, minutes: float | None, out: Path | None) -> int:
    """Find the smallest run that fails as the one in FILE, a trace of `ippkit simulate --trace`.

    Faults, engines and clients, requests, the schedule and durations are left out or made simpler as long as the same
    party breaks the same requirement. What is left is printed as a scenario that can be pasted into
    simulator/scenarios/, with the place where it parts from the nearest run that does not fail. The same trace gives
    the same result unless --minutes ends the search.

    Exit status: 0 with a scenario, 4 if FILE is no trace, or nothing is violated in it.
    """
    if out is not None and not out.parent.is_dir():
        raise click.ClickException(f"{out.parent}: No such file or directory")
    console = plain_or_rich()
    started = time.monotonic()

    def goes_on(tried: int) -> bool:
        return tried < tries and (minutes is None or time.monotonic() - started < 60 * minutes)

    with progress_bar() as progress:
        task = progress.add_task("listening", total=tries)

        def on_try(tried: int, case: Case) -> None:
            progress.update(task, completed=tried, description=case.size)

        try:
            setup = setup_from(file)
            search = Search(setup, hooks_of(setup), requirement=requirement, goes_on=goes_on, on_try=on_try)
            found = search.minimise()
            near = nearest(search)
        except UnreadableStory as error:
            raise click.UsageError(str(error)) from None
        except NotMinimised as error:
            raise click.UsageError(str(error)) from None
    code = scenario_text(found)
    _show(console, found, time.monotonic() - started)
    if out is None:
        console.print(f"\n{code}", markup=False, highlight=False, soft_wrap=True)
    else:
        out.write_text(code, encoding="utf-8")
        console.print(f"Scenario: {out}", markup=False, soft_wrap=True)
    if near is None:
        console.print("Whatever is changed in it, it fails in the same way.")
        return ExitStatus.CONFORMS
    console.print(f"The nearest run that does not fail is the same {near.change}.", markup=False, soft_wrap=True)
    console.print(f"From entry {near.place:,} of their traces on they differ:")
    for name, entries in (("fails", near.fails), ("passes", near.passes)):
        _entries(console, name, entries)
    return ExitStatus.CONFORMS


def _show(console: Console, found: Found, seconds: float) -> None:
    blame = f", broken by {found.blame.guilty}" if found.blame.guilty else ""
    console.print(f"{command(found.setup)}: {found.blame.requirement}{blame}", markup=False, soft_wrap=True)
    console.print(f"  whole:    {found.whole.size}", markup=False)
    console.print(f"  smallest: {found.case.size}", markup=False)
    so_far = "" if found.is_finished else "; the search was ended, and smaller ones may exist"
    console.print(f"{found.tries:,} runs in {seconds:.0f} s{so_far}. ", end="")
    console.print(f"With {found.seeds} of {len(SEEDS)} seeds it fails in the same way.")
    if not found.blame.guilty:
        console.print("What is violated is a demand of the scenario itself: see whether it still means what it did.")


def _entries(console: Console, name: str, entries: list[Entry]) -> None:
    for place, (at, *rest) in enumerate(entries):
        words = " ".join(str(each) for each in rest if each != "")
        console.print(f"  {name if place == 0 else '':6}  {at / 1e9:10.6f} s  {words}", markup=False, soft_wrap=True)
    if not entries:
        console.print(f"  {name:6}  nothing more happens", markup=False)


__all__ = ["minimise"]
