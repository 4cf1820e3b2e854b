"""Many simulated runs: who carries them out, how far they are, and what came of them."""

import os
import time
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Any, Final

import click
from rich.console import Console

from conformance.campaigns import (
    Journal,
    UnsuitableJournalError,
    UnusableWorkersError,
    blocks,
    drive,
    processes,
    workers,
)
from conformance.campaigns.workers import KINDS
from conformance.cli.group import ExitStatus
from conformance.cli.paramtype import ParamType
from conformance.cli.progress import progress_bar
from conformance.simulating import RARE, Report, Summary, command
from simulator.run import Setup
from simulator.scenarios import SCENARIOS

#: Failed runs of a campaign that are shown; of further ones only the number is.
SHOWN: Final = 5


class Jobs(ParamType[int]):
    """A number of processes, or `auto`: one for each core that this process may use."""

    name = "N|auto"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """The number."""
        if isinstance(value, int):
            return value
        if value == "auto":
            return cores()
        if not str(value).isdecimal() or int(value) < 1:
            self.fail(f"{value!r} is neither auto nor a number of processes, one or more", param, ctx)
        return int(value)


class ExecutorName(ParamType[tuple[str, str]]):
    """`dask:ADDRESS` or `ipyparallel:PROFILE`."""

    name = "WHO"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[str, str]:
        """The kind, and where it is."""
        if isinstance(value, tuple):
            return value
        kind, _, where = str(value).partition(":")
        if kind not in KINDS or not where:
            known = " or ".join(f"{name}:{what}" for name, what in KINDS.items())
            self.fail(f"{value!r} is not {known}", param, ctx)
        return kind, where


def cores() -> int:
    """The cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def many(
    console: Console, title: str, names: Sequence[str], seeds: range, like: Setup, *, jobs: int | None,
    executor: tuple[str, str] | None, resume: Path | None, keeps: Path | None,
) -> int:  # fmt: skip
    """Carry out a campaign, and show what came of it."""
    total = len(names) * len(seeds)
    try:
        journal = None if resume is None else Journal(resume, like)
        team = processes(min(jobs or cores(), total)) if executor is None else workers(*executor)
    except UnsuitableJournalError as error:
        raise click.UsageError(str(error)) from None
    except UnusableWorkersError as error:
        raise click.ClickException(str(error)) from None
    before = Summary() if journal is None else journal.summary
    already = before.done
    if already:
        console.print(f"{resume}: {already:,} runs are done already.", markup=False)
    summary = Summary()
    summary.merge(before)
    started = time.perf_counter()
    waiting = blocks(names, seeds, team.count, None if journal is None else journal.done)
    try:
        with progress_bar() as progress, closing(drive(team, like, waiting, progress.console.print)) as driven:
            task = progress.add_task(title, total=max(total, already), completed=already)
            for block, part in driven:
                if journal is not None:
                    journal.add(block, part)
                summary.merge(part)
                progress.update(task, completed=summary.done)
    except UnusableWorkersError as error:
        kept = "" if resume is None else f"; {summary.done:,} runs are in {resume}, give the same command to go on"
        raise click.ClickException(f"{error}{kept}") from None
    finally:
        team.close()
    _show(console, title, summary, already, time.perf_counter() - started, like.controller)
    if keeps is not None:
        _keep(keeps, names, summary)
        console.print(f"Kept: {keeps}", markup=False)
    return ExitStatus.VIOLATIONS if summary.failed else ExitStatus.CONFORMS


def _keep(path: Path, names: Sequence[str], summary: Summary) -> None:
    """Put the verdicts in virtual time beside those of real worlds."""
    from conformance.onreal.run import Found, Verdict
    from conformance.onreal.tour import SIMULATION, keep

    verdicts = {name: Verdict(name=name) for name in names}
    for report in summary.failed:
        verdict = verdicts[report.setup.name]
        verdict.error = report.error
        verdict.found = [
            Found(requirement=text.partition(":")[0], role="controller", guilty="", text=text)
            for text in report.violations
        ]
    keep(path, SIMULATION, verdicts.values())


def _show(console: Console, name: str, summary: Summary, already: int, seconds: float, controller: str) -> None:
    failed = sorted(summary.failed, key=lambda report: (report.setup.name, report.setup.seed))
    for report in failed[:SHOWN]:
        _show_failed(console, report)
    if len(failed) > SHOWN:
        rest = ", ".join(f"{report.setup.name} {report.setup.seed}" for report in failed[SHOWN:][:40])
        console.print(f"{len(failed) - SHOWN} more failed: {rest}", markup=False)
    if controller:
        # The rare branches of roles are those of the kit's own.
        console.print(f"The controller is that of {controller}.", markup=False)
    elif summary.unreached and name in SCENARIOS:
        # A single scenario is about one thing, and reaches little of the others by its nature.
        console.print(f"{len(RARE) - len(summary.unreached)} of {len(RARE)} rare branches were reached.")
    elif summary.unreached:
        console.print(f"Never reached, {len(summary.unreached)} of {len(RARE)} rare branches:")
        for slug in summary.unreached:
            console.print(f"  {slug}: {RARE[slug]}", markup=False)
    else:
        console.print(f"Every one of {len(RARE)} rare branches was reached.")
    if summary.known:
        console.print("Known deviations, and how many runs showed them:")
        for slug, count in sorted(summary.known.items()):
            console.print(f"  {slug}: {count:,}", markup=False)
    for need, count in sorted(summary.lacking.items()):
        console.print(f"Not applicable, {count:,}: needs {need}.", markup=False)
    verdict = "nothing was violated" if not failed else f"{len(failed)} failed"
    console.print(
        f"{name}: {summary.done:,} runs, {verdict}, {summary.excused:,} requests excused; "
        f"{seconds:.0f} s, {(summary.done - already) / seconds:,.1f} per second.",
        markup=False,
    )


def _show_failed(console: Console, report: Report) -> None:
    console.print(command(report.setup), markup=False)
    for violation in report.violations[:3]:
        console.print(f"  {violation}", markup=False)
    if len(report.violations) > 3:
        console.print(f"  and {len(report.violations) - 3} more")
    if report.error:
        console.print(f"  the kit itself failed:\n{report.error}", markup=False)
