"""Which schedule finds the kit's mutants sooner: the plain order, uniform choice, or priorities (PCT).

Each of some mutants of the task scheduler (--mutants names others) is simulated in swarms of faults, with one seed
after the other, until something is violated: without a mutant nothing is. Shown is, per schedule, how many were found,
how many seeds that took, and the CPU time of a seed: a schedule that chooses costs something.

    python benchmarks/schedules.py [--seeds N] [--mutants NAME ...] [--json FILE]

The exit status says nothing about speed.
"""

import argparse
import json
import platform
import statistics
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import msgspec
from rich.console import Console
from rich.table import Table

# Beside this file there is one with the name of the package, and Python looks into this folder first.
sys.path[:] = [folder for folder in sys.path if Path(folder).resolve() != Path(__file__).resolve().parent]

from conformance.simulating import report  # noqa: E402
from simulator.run import Setup  # noqa: E402

SCHEDULES: Final = ("", "uniform", "pct:2", "pct:4")
#: Mistakes that are seen sooner or later, by what happens in which order.
ORDERLY: Final = (
    "passes-every-reply", "sends-to-the-dead", "uses-the-dead", "tries-where-it-was", "trusts-nobody-who-failed",
    "knows-only-old-engines", "waits-for-the-first", "counts-every-life", "forgets-who-waited-for-the-dead",
    "has-no-patience", "believes-in-the-dead", "last-come-first-served",
)  # fmt: skip
LIKE: Final = Setup(tasks=20, faults="lite")


def first_found(mutant: str, schedule: str, seeds: Sequence[int]) -> tuple[int | None, float]:
    """The number of seeds until something is violated, or None; and CPU seconds per seed."""
    started = time.process_time()
    for count, seed in enumerate(seeds, 1):
        found = report(msgspec.structs.replace(LIKE, seed=seed, mutant=mutant, schedule=schedule))
        if found.violations:
            return count, (time.process_time() - started) / count
    return None, (time.process_time() - started) / len(seeds)


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--seeds", type=int, default=12)
    parser.add_argument("--mutants", nargs="*", default=ORDERLY)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    found: dict[str, dict[str, int | None]] = {}
    spent: dict[str, list[float]] = {schedule: [] for schedule in SCHEDULES}
    for mutant in options.mutants:
        found[mutant] = {}
        for schedule in SCHEDULES:
            found[mutant][schedule], seconds = first_found(mutant, schedule, range(options.seeds))
            spent[schedule].append(seconds)
    table = Table(
        "mutant", *(schedule or "plain" for schedule in SCHEDULES), title=f"Python {platform.python_version()}"
    )
    for mutant, counts in found.items():
        table.add_row(mutant, *(str(counts[schedule] or "·") for schedule in SCHEDULES))
    table.add_section()
    numbers = {schedule: [counts[schedule] for counts in found.values()] for schedule in SCHEDULES}
    table.add_row("found", *(str(sum(each is not None for each in numbers[schedule])) for schedule in SCHEDULES))
    # One that was not found took one more than there were.
    sums = {schedule: sum(each or options.seeds + 1 for each in numbers[schedule]) for schedule in SCHEDULES}
    table.add_row("seeds", *(str(sums[schedule]) for schedule in SCHEDULES))
    table.add_row("CPU s per seed", *(f"{statistics.median(spent[schedule]):.2f}" for schedule in SCHEDULES))
    Console().print(table)
    if options.json:
        options.json.write_text(json.dumps({"found": found, "seeds": sums}, indent=2) + "\n")


if __name__ == "__main__":
    main()
