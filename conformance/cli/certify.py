"""`ippkit certify-sockets`: compare the virtual sockets with libzmq."""

import os
import time
from pathlib import Path
from typing import Final

import click
import zmq
from rich.console import Console

from conformance.certify.campaign import Campaign, Found, Summary, examine, sequence
from conformance.cli.group import ExitStatus
from conformance.cli.progress import progress_bar
from conformance.console import plain_or_rich

#: Sequences of the full certificate, by transport.
_FULL: Final = {"inproc": 90_000, "tcp": 10_000}


@click.command("certify-sockets")
@click.option(
    "-n", "--sequences", type=click.IntRange(min=1), metavar="N",
    help=f"How many sequences of 40 operations over each transport [default: {_FULL['inproc']:,} inproc, "
    f"{_FULL['tcp']:,} tcp].",
)  # fmt: skip
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Which sequences.")
@click.option(
    "--transport", type=click.Choice(["inproc", "tcp", "both"]), default="both", show_default=True, help="Over what."
)
@click.option(
    "-j", "--jobs", type=click.IntRange(min=1), default=os.cpu_count() or 1, show_default="one per core",
    help="How many processes.",
)  # fmt: skip
@click.option("--only", type=click.IntRange(min=0), metavar="NUMBER", help="Only this sequence of the seed, shown.")
@click.option(
    "--scripts", type=click.Path(file_okay=False, path_type=Path), metavar="DIR",
    help="Write the scripts that show what differs into files here, instead of printing the first.",
)  # fmt: skip
def certify_sockets(
    sequences: int | None, seed: int, transport: str, jobs: int, only: int | None, scripts: Path | None
) -> int:
    """Carry out random operations with virtual sockets and with libzmq, and compare all that can be seen.

    Over inproc everything must be the same. Over tcp, libzmq must do what a virtual socket could do as well. What
    differs is shortened and shown as a script that needs only pyzmq. Exit status: 0 if nothing differs, 1 if something.
    """
    console = plain_or_rich()
    transports = ["inproc", "tcp"] if transport == "both" else [transport]
    if only is not None:
        return _show_one(console, seed, only, transports)
    console.print(f"libzmq {zmq.zmq_version()}, pyzmq {zmq.pyzmq_version()}, seed {seed}")
    is_certified = True
    for each in transports:
        count = sequences or _FULL[each]
        started = time.perf_counter()
        campaign = Campaign(count=count, seed=seed, transport=each, jobs=jobs)
        with progress_bar() as progress:
            task = progress.add_task(each, total=count)
            for summary in campaign.run():
                progress.update(task, completed=summary.done)
        _show(console, each, campaign.summary, time.perf_counter() - started)
        _show_scripts(console, each, campaign.summary.divergences, scripts)
        is_certified = is_certified and campaign.summary.is_certified
    return ExitStatus.CONFORMS if is_certified else ExitStatus.VIOLATIONS


def _show(console: Console, transport: str, summary: Summary, seconds: float) -> None:
    differ = len(summary.divergences)
    verdict = "none differs" if not differ else f"{differ:,} differ{'s' if differ == 1 else ''}"
    rate = summary.done / seconds
    console.print(f"{transport}: {summary.done:,} sequences, {verdict}; {seconds:.0f} s, {rate:,.0f} per second.")
    for found in sorted(summary.divergences, key=lambda one: one.number)[:10]:
        console.print(f"  sequence {found.number}: {found.text}", markup=False)
    for found in summary.crashes:
        console.print(
            f"  sequence {found.number} {found.text}; the virtual sockets did not say that libzmq aborts there"
        )
    if summary.accidents:
        numbers = ", ".join(map(str, summary.accidents))
        console.print(f"  libzmq ended its process once, and not again, in {numbers}")


def _show_scripts(console: Console, transport: str, divergences: list[Found], directory: Path | None) -> None:
    if not divergences:
        return
    if directory is None:
        shortest = min(divergences, key=lambda found: len(found.program))
        console.print(f"\nSequence {shortest.number} as a script:\n\n{shortest.program}", markup=False)
        return
    directory.mkdir(parents=True, exist_ok=True)
    for found in divergences:
        file = directory / f"{transport}-{found.number}.py"
        file.write_text(found.program)
        console.print(f"  {file}")


def _show_one(console: Console, seed: int, number: int, transports: list[str]) -> int:
    differ = 0
    for transport in transports:
        console.print(f"{transport}, sequence {number} of seed {seed}:")
        for index, operation in enumerate(sequence(seed, number, transport)):
            value = " ".join(map(repr, operation.value))
            console.print(f"{index:3} {operation.name} {operation.socket} {value}", markup=False)
        found = examine(seed, number, transport)
        if found is None:
            console.print("agrees")
        else:
            differ += 1
            console.print(f"{found.text}\n\n{found.program}", markup=False)
    return ExitStatus.VIOLATIONS if differ else ExitStatus.CONFORMS
