"""What a second process brings a campaign: seeds per second of a pool of two, beside a pool of one.

Both pools are started and have carried out some runs before anything is measured. They take turns in short rounds, with
the same seeds, so that a busy machine slows them alike; wall time is counted, and the medians are shown. On a machine
without two idle cores the figure says little.

    python benchmarks/campaign.py [--rounds N] [--seeds N] [--json FILE]

The exit status says nothing about speed.
"""

import argparse
import json
import platform
import statistics
import sys
import time
from collections.abc import Iterator
from concurrent.futures import Executor
from pathlib import Path
from typing import Final

from rich.console import Console
from rich.table import Table

# Beside this file there is one with the name of the package, and Python looks into this folder first.
sys.path[:] = [folder for folder in sys.path if Path(folder).resolve() != Path(__file__).resolve().parent]

from conformance.campaigns import Block, Workers, blocks, drive, processes  # noqa: E402
from simulator.run import Setup  # noqa: E402

#: How many times faster two processes are than one.
BUDGET: Final = 1.6
LIKE: Final = Setup(tasks=20, faults="lite")


class Kept(Executor):
    """A pool that outlives the campaigns that use it."""

    def __init__(self, count: int) -> None:
        self.pool = processes(count).open()
        self.submit = self.pool.submit  # type: ignore[method-assign]
        self.workers = Workers(count, lambda: self)

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Not yet."""

    def rate(self, seeds: range) -> float:
        """Seeds per second."""
        chosen: Iterator[Block] = blocks(["swarm"], seeds, 2)
        started = time.perf_counter()
        done = sum(summary.done for _, summary in drive(self.workers, LIKE, chosen))
        return done / (time.perf_counter() - started)


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seeds", type=int, default=48)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    pools = {count: Kept(count) for count in (1, 2)}
    rates: dict[int, list[float]] = {count: [] for count in pools}
    for pool in pools.values():
        pool.rate(range(8))
    for number in range(options.rounds):
        seeds = range(number * options.seeds, (number + 1) * options.seeds)
        for count, pool in pools.items():
            rates[count].append(pool.rate(seeds))
    for pool in pools.values():
        pool.pool.shutdown()
    ratio = statistics.median(two / one for one, two in zip(rates[1], rates[2], strict=True))
    table = Table("processes", "seeds/s", title=f"Python {platform.python_version()}")
    for count, each in rates.items():
        table.add_row(str(count), f"{statistics.median(each):,.1f}")
    Console().print(table)
    print(f"two beside one: {ratio:.2f}, budget {BUDGET}: {'kept' if ratio >= BUDGET else 'NOT kept'}")
    if options.json:
        options.json.write_text(json.dumps({"ratio": ratio, "budget": BUDGET}, indent=2) + "\n")


if __name__ == "__main__":
    main()
