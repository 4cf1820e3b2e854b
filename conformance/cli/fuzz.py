"""`ippkit fuzz`: search for frames that the decoder does not handle, or that a running target does not stand."""

import time

import click
from rich.console import Console
from rich.table import Table

from conformance.cli.fuzztarget import target
from conformance.cli.group import ExitStatus
from conformance.cli.progress import progress_bar
from conformance.console import plain_or_rich
from conformance.fuzz import Failure, Fuzzer, Report

#: Bytes of a frame that are shown; a failure is read by a person.
_SHOWN = 96
#: Failures that are printed in full.
_PRINTED = 5


@click.group(no_args_is_help=False)
def fuzz() -> None:
    """Search for input that is judged wrongly."""


fuzz.add_command(target)


@fuzz.command()
@click.option(
    "-n", "--examples", type=click.IntRange(min=1), default=100_000, show_default=True, help="How many messages."
)
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Which messages.")
@click.option("--only", type=click.IntRange(min=0), metavar="NUMBER", help="Only this example of the seed, shown.")
def wire(examples: int, seed: int, only: int | None) -> int:
    """Encode messages of every type, damage most of them, and judge what the decoder makes of each.

    The same seed gives the same examples. Exit status: 0 if every message was judged rightly, 1 if not.
    """
    console = plain_or_rich()
    fuzzer = Fuzzer(seed)
    if only is not None:
        return _show_one(console, fuzzer, only)
    started = time.perf_counter()
    report = Report()
    with progress_bar() as progress:
        task = progress.add_task("messages", total=examples)
        for report in fuzzer.run(examples):
            progress.update(task, completed=report.examples.total())
    _show(console, report, seed, time.perf_counter() - started)
    return ExitStatus.VIOLATIONS if report.failures else ExitStatus.CONFORMS


def _show(console: Console, report: Report, seed: int, seconds: float) -> None:
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("damage", no_wrap=True)
    for column in ("messages", "bad envelope"):
        table.add_column(column, justify="right")
    single = [kind for kind in report.examples if "+" not in kind]
    for kind in sorted(single, key=lambda kind: (kind != "good", kind)):
        table.add_row("none" if kind == "good" else kind, f"{report.examples[kind]:,}", f"{report.refused[kind]:,}")
    twice = [kind for kind in report.examples if "+" in kind]
    table.add_row(
        "two of these",
        f"{sum(report.examples[kind] for kind in twice):,}",
        f"{sum(report.refused[kind] for kind in twice):,}",
    )
    console.print(table)
    total = report.examples.total()
    places = f"{len(report.types)} message types on their channels in their dialects"
    console.print(f"\n{total:,} messages of seed {seed}, {places}; {seconds:.1f} s, {total / seconds:,.0f} per second.")
    worst = report.smallest()
    for failure in worst[:_PRINTED]:
        console.print()
        _show_failure(console, failure)
    if report.failures:
        console.print(f"\n{len(report.failures)} judged wrongly, in {len(worst)} ways.", style="bold red")
    else:
        console.print("All judged rightly.", style="bold green")


def _show_one(console: Console, fuzzer: Fuzzer, number: int) -> int:
    failure = fuzzer.judge(number)
    if failure is None:
        sample = fuzzer.sample(number)
        console.print(
            f"Example {number} of seed {fuzzer.seed} ({sample.row.name}, {sample.kind}) is judged rightly.",
            markup=False,
        )
        return ExitStatus.CONFORMS
    _show_failure(console, failure)
    return ExitStatus.VIOLATIONS


def _show_failure(console: Console, failure: Failure) -> None:
    sample = failure.sample
    lines = [
        f"{sample.row.name} on {sample.channel} in {sample.dialect}, {sample.codec!r}, damage: {sample.kind}",
        f"  {failure.complaint}",
        *(f"  [{index}] {_frame(bytes(frame))}" for index, frame in enumerate(failure.frames)),
        f"  again: {failure.command}",
    ]
    console.print("\n".join(lines), markup=False, highlight=False, soft_wrap=True)


def _frame(frame: bytes) -> str:
    shown = repr(frame[:_SHOWN])
    return shown if len(frame) <= _SHOWN else f"{shown} ... ({len(frame)} bytes)"
