"""How good conversations that nobody wrote down are: the share of mistakes found, and steps per second.

The first table hunts controllers in virtual time that make one mistake each (`conformance/mutants`), without being told
which, each for at most `--seconds` of processor time: what counts is what is accused at all, under whatever name. A
sample is drawn from all mutants of the controller; `--all` takes every one.

The second table plays the same conversations with a controller in virtual time and, with `--targets`, with real ones:
steps per second, and what a conversation takes. The machine is to have little else to do.

    python benchmarks/model.py [--all] [--seconds N] [--jobs N] [--targets NAME ...] [--json FILE]

The exit status says nothing about speed; it is 1 if a controller without a mistake was accused.
"""

import argparse
import json
import multiprocessing
import os
import platform
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from random import Random
from typing import Any

from rich.console import Console
from rich.table import Table

# Beside this file there is one with the name of the package, and Python looks into this folder first.
sys.path[:] = [folder for folder in sys.path if Path(folder).resolve() != Path(__file__).resolve().parent]

from conformance.cli.hunt import AT_ONCE  # noqa: E402
from conformance.model.hunt import Hunt  # noqa: E402
from conformance.model.stage import KitFailed, Stage  # noqa: E402
from conformance.mutants import Variant  # noqa: E402
from conformance.mutants import load as mutants  # noqa: E402
from conformance.targets import load  # noqa: E402

#: Mutants of a sample, and the seed by which it is drawn.
SAMPLE, SEED = 40, 1
#: What the model shall reach: the share of mutants found, and steps per second by target.
SHARE = 0.9
STEPS = {"simulated": 600, "reference": 150, "ipyparallel": 50}
#: Seconds that steps are counted for, per target.
COUNTED = 20.0


def hunted(job: tuple[str, float]) -> dict[str, Any]:
    """Hunt one mutant until something is accused or the time is over."""
    name, seconds = job
    search = Hunt(Stage(load(f"simulated+{name}")))
    start = time.process_time()
    found: list[str] = []
    unplayed = 0
    while not found and time.process_time() - start < seconds:
        before = set(search.observed)
        try:
            search.step()
        except KitFailed:  # that accuses nobody
            unplayed += 1
        else:
            found = sorted({failure.violation.requirement for failure in search.failures.values()})
            found += sorted(search.observed - before)
    return {
        "mutant": name, "found": found, "seconds": round(time.process_time() - start, 2),
        "conversations": search.progress.conversations, "unplayed": unplayed,
    }  # fmt: skip


def counted(name: str) -> dict[str, Any]:
    """How many steps are played in a second with a target, and what is accused."""
    target = load(name)
    search = Hunt(Stage(target), beside=[Stage(target) for _ in range(0 if target.is_simulated else AT_ONCE - 1)])
    try:
        search.step()  # what is started once
        steps, start = search.progress.steps, time.perf_counter()
        while time.perf_counter() - start < COUNTED:
            search.step()
        seconds = time.perf_counter() - start
    finally:
        search.close()
    rate = (search.progress.steps - steps) / seconds
    accused = sorted({failure.violation.requirement for failure in search.failures.values()})
    return {
        "target": name, "steps per second": round(rate), "conversations": search.progress.conversations,
        "accused": accused,
    }  # fmt: skip


def main(words: Sequence[str] | None = None) -> int:
    """Measure and print. The exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--all", action="store_true", help="hunt every mutant of the controller")
    parser.add_argument("--seconds", type=float, default=60.0, help="of processor time for each mutant, at most")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="processes")
    parser.add_argument("--targets", nargs="*", default=["simulated"], help="whose steps are counted")
    parser.add_argument("--json", type=Path, help="write the figures there, too")
    options = parser.parse_args(words)
    names = [
        kind.name() for kind in mutants().values() if kind.judged_as == "controller" and not issubclass(kind, Variant)
    ]
    if not options.all:
        names = sorted(Random(SEED).sample(names, SAMPLE))
    console = Console()
    with multiprocessing.get_context("spawn").Pool(options.jobs) as pool:
        fates = sorted(pool.imap_unordered(hunted, [(name, options.seconds) for name in names]), key=_name)
    rates = [counted(name) for name in options.targets]
    _show(console, fates, rates, options.seconds)
    if options.json is not None:
        machine = {"python": platform.python_version(), "machine": platform.platform()}
        options.json.write_text(json.dumps({**machine, "mutants": fates, "rates": rates}, indent=1) + "\n", "utf-8")
    return 1 if any(rate["accused"] for rate in rates if rate["target"] in ("simulated", "reference")) else 0


def _name(fate: dict[str, Any]) -> str:
    return str(fate["mutant"])


def _show(console: Console, fates: list[dict[str, Any]], rates: list[dict[str, Any]], seconds: float) -> None:
    found = [fate for fate in fates if fate["found"]]
    table = Table(title="Mistakes found without being told", box=None, title_justify="left")
    for column in ("mutants", "found", "share", "budget", "median s", "slowest s"):
        table.add_column(column, justify="right")
    times = sorted(fate["seconds"] for fate in found) or [0.0]
    table.add_row(
        f"{len(fates)}", f"{len(found)}", f"{len(found) / len(fates):.0%}", f"{SHARE:.0%}",
        f"{times[len(times) // 2]:.1f}", f"{times[-1]:.1f}",
    )  # fmt: skip
    console.print(table)
    missed = [fate["mutant"] for fate in fates if not fate["found"]]
    if missed:
        console.print(f"Not found in {seconds:g} s each: {', '.join(missed)}", markup=False)
    if unplayed := [fate["mutant"] for fate in fates if fate["unplayed"]]:
        console.print(f"With conversations that the kit could not play: {', '.join(unplayed)}", markup=False)
    table = Table(title="Steps per second", box=None, title_justify="left")
    for column in ("target", "steps/s", "budget", "conversations", "accused"):
        table.add_column(column, justify="left" if column in ("target", "accused") else "right")
    for rate in rates:
        budget = STEPS.get(rate["target"])
        table.add_row(
            rate["target"], f"{rate['steps per second']:,}", f"{budget:,}" if budget else "",
            f"{rate['conversations']:,}", ", ".join(rate["accused"]) or "nothing",
        )  # fmt: skip
    console.print(table)


if __name__ == "__main__":
    sys.exit(main())
