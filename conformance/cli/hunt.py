"""`ippkit hunt`: invent conversations with a controller until one of them fails, and make that one short."""

import json
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Final

import click
import msgspec
from rich.console import Console

from conformance.cli.group import ExitStatus
from conformance.cli.options import SOME_SECONDS
from conformance.cli.progress import progress_bar
from conformance.cli.tables import print_table
from conformance.console import plain_or_rich
from conformance.model.hunt import ALONE, Failure, Hunt
from conformance.model.stage import NEEDED, KitFailed, Stage, told
from conformance.model.vectors import VectorError, vector_of, write
from conformance.targets import Target, load
from protocol.roles.marks import MARKS

#: Failures that are explained; of further ones a line is shown.
SHOWN: Final = 3
#: Seconds that making one failure short may take, in virtual time and on real processes.
SHORT, SHORT_REAL = 20.0, 60.0
#: Conversations at once with a real target, unless somebody says otherwise.
AT_ONCE: Final = 4
#: Where nobody looks at a bar, a line tells how far it is every so many seconds.
EVERY: Final = 15.0


def controller_target(word: str, mutant: str = "") -> Target:
    """The controller of this name or file. Raises click.UsageError or TargetError, with a sentence."""
    target = load(f"{word}+{mutant}" if mutant else word)
    if (target.controller is None and not target.is_simulated) or "controller" not in target.roles:
        raise click.UsageError(f"{target.name} is no controller: conversations are had with controllers")
    if target.attached:
        raise click.UsageError(f"{target.name} is somebody else's: what is tried here would disturb it")
    if missing := [name for name in NEEDED if name not in target.features]:
        raise click.UsageError(
            f"{target.name} does not declare {', '.join(missing)}: conversations are about all of it"
        )
    return target


@click.command("hunt")
@click.option("-t", "--target", "word", default="simulated", show_default=True, metavar="NAME|FILE", help="Whom.")
@click.option("--mutant", default="", metavar="NAME", help="Let a simulated controller make a mistake.")
@click.option("--minutes", type=SOME_SECONDS, default=1.0, show_default=True, metavar="N", help="How long.")
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Which conversations.")
@click.option(
    "--jobs", type=click.IntRange(min=1), metavar="N",
    help=f"Conversations at once, each with a controller of its own [default: {AT_ONCE}; in virtual time 1].",
)  # fmt: skip
@click.option(
    "--corpus", type=click.Path(file_okay=False, path_type=Path), metavar="DIR",
    help="Keep there what reached something new, and go on from it the next time.",
)  # fmt: skip
@click.option(
    "--out", type=click.Path(file_okay=False, path_type=Path), default=Path("found"), show_default=True,
    metavar="DIR", help="Write the conversations that failed there.",
)  # fmt: skip
@click.option("--first", is_flag=True, help="Stop at the first failure.")
@click.option("--strict", is_flag=True, help="Count known deviations as violations, and avoid nothing.")
def hunt(
    word: str,
    mutant: str,
    minutes: float,
    seed: int,
    jobs: int | None,
    corpus: Path | None,
    out: Path,
    first: bool,
    strict: bool,
) -> int:
    """Have conversations with a controller that nobody wrote down, and hold every answer against the specification.

    Clients and engines register, submit, answer, ask, purge, leave, vanish and send what makes no sense. Rules watch,
    and a ledger knows what everybody is owed. Each way to fail is made short and told once; `ippkit replay` plays it
    again. The same seed gives the same conversations. Exit status: 0 if nothing was violated, 1 if something was, 3 if
    the kit or the target could not be used.
    """
    console = plain_or_rich()
    target = controller_target(word, mutant)
    if target.is_simulated and jobs is not None and jobs > 1:
        raise click.UsageError("in virtual time nothing is waited for: start one hunt for each seed instead of --jobs")
    stages = [Stage(target, is_strict=strict) for _ in range(jobs or (1 if target.is_simulated else AT_ONCE))]
    try:
        search = Hunt(stages[0], seed=seed, folder=corpus, beside=stages[1:])
    except (VectorError, json.JSONDecodeError) as error:
        raise click.UsageError(f"the corpus cannot be read: {error}") from None
    until = time.monotonic() + 60 * minutes
    failed: list[KitFailed] = []
    try:
        _search(console, search, failed, until=until, minutes=minutes, stops_early=first)
        search.save()
    finally:
        search.close()
    status = _show(console, search, target, out)
    for each in failed[:SHOWN]:
        steps = msgspec.json.encode(each.conversation).decode()
        console.print(f"\n{each}\nafter: {steps}", markup=False, highlight=False, soft_wrap=True)
    if failed:
        console.print(f"The kit failed in {len(failed)} conversations, which is a mistake of its own.")
    return ExitStatus.UNUSABLE if failed and status == ExitStatus.CONFORMS else status


def _search(
    console: Console, search: Hunt, failed: list[KitFailed], *, until: float, minutes: float, stops_early: bool
) -> None:
    start = told_at = time.monotonic()
    patience = SHORT if search.target.is_simulated else SHORT_REAL
    with progress_bar() as progress:
        task = progress.add_task("conversations", total=round(60 * minutes))
        while time.monotonic() < until or search.is_busy:
            try:
                new = search.step() if time.monotonic() < until else search.rest()
            except KitFailed as error:
                failed.append(error)
                continue
            progress.update(task, completed=round(time.monotonic() - start), description=_state(search))
            if progress.disable and time.monotonic() - told_at > EVERY:
                told_at = time.monotonic()
                console.print(f"{told_at - start:5.0f} s  {_state(search)}", markup=False, highlight=False)
            for failure in sorted(new, key=lambda each: len(each.outcome.conversation)):
                search.shorten(failure, may_go_on=_within(patience))
                size, slug = len(failure.outcome.conversation), failure.violation.requirement
                seen = _seen_again(failure)
                console.print(f"{time.monotonic() - start:5.0f} s  {slug}, in {size} steps{seen}", markup=False)
            if new and stops_early:
                return


def _seen_again(failure: Failure) -> str:
    """What a reader must know of a failure that did not come again by itself."""
    if failure.before:
        return f", after other conversations with the same controller ({len(failure.before)})"
    if failure.is_again is False:
        return f"; it did not come again in {ALONE} plays: read it before you hold it against anybody"
    return ""


def _within(seconds: float) -> Callable[[], bool]:
    end = time.monotonic() + seconds
    return lambda: time.monotonic() < end


def _state(search: Hunt) -> str:
    counts = Counter(each.partition(" ")[0] for each in search.coverage)
    done = search.progress
    return (
        f"{done.conversations:,} conversations, {done.steps:,} steps; {counts['type']} kinds of message, "
        f"{counts['error']} errors, {counts['pair']:,} pairs, {counts['mark']} branches"
    )


def _show(console: Console, search: Hunt, target: Target, out: Path) -> int:
    failures = sorted(search.failures.values(), key=lambda each: (len(each.outcome.conversation), each.key))
    for number, failure in enumerate(failures):
        vector = vector_of(
            failure.outcome, failure.violation, target=target.name, seed=search.seed, before=failure.before
        )
        path = write(out, vector)
        if number < SHOWN:
            _explain(console, failure, f"ippkit replay {path} -t {target.name}")
        else:
            console.print(f"\n{failure.violation}\n  {path}", markup=False, highlight=False, soft_wrap=True)
    _show_coverage(console, search)
    known = search.progress.known
    if known:
        told_of = ", ".join(f"{slug} ({count})" for slug, count in sorted(known.items()))
        console.print(f"Known deviations that showed: {told_of}.", markup=False, soft_wrap=True)
    if search.progress.undecided:
        console.print(f"{search.progress.undecided} conversations say little: the machine was too busy to look.")
    found = f"{len(failures)} ways to fail" if len(failures) != 1 else "one way to fail"
    verdict = found if failures else "nothing was violated"
    done = search.progress
    console.print(
        f"{target.name}: {done.conversations:,} conversations of {done.steps:,} steps, {verdict}.", markup=False
    )
    return ExitStatus.VIOLATIONS if failures else ExitStatus.CONFORMS


def _explain(console: Console, failure: Failure, replay: str) -> None:
    steps = [msgspec.json.encode(step).decode() for step in failure.outcome.conversation]
    lines = ["", told(failure.outcome, failure.violation, replay), f"met {failure.count} times; the steps:"]
    lines += [f"  {number}. {step}" for number, step in enumerate(steps, 1)]
    lines += [f"it was met in these steps{_seen_again(failure)}"] if _seen_again(failure) else []
    console.print("\n".join(lines), markup=False, highlight=False, soft_wrap=True)


def _show_coverage(console: Console, search: Hunt) -> None:
    counts = Counter(each.partition(" ")[0] for each in search.coverage)
    rows = [
        ("kinds of message, by direction and outcome", f"{counts['type']:,}"),
        ("kinds of error", f"{counts['error']:,}"),
        ("pairs of what followed each other", f"{counts['pair']:,}"),
    ]
    if search.target.is_simulated:
        rows.append(("rare branches of the roles", f"{counts['mark']:,} of {len(MARKS)}"))
    rows.append(("conversations that reached something new", f"{len(search.corpus):,}"))
    console.print()
    print_table("Reached", ("what", "number"), rows)


__all__ = ["controller_target", "hunt"]
