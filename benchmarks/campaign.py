"""What a second process brings a campaign: seeds per second of a pool of two, beside a pool of one.

Both pools are started and have carried out some runs before anything is measured. They take turns in short rounds, with
the same seeds, so that a busy machine slows them alike; wall time is counted, and the medians are shown. Where two
cores are not idle that says little; so the CPU time of a seed is shown, too, of the workers and of the process that
drives them. What two processes could bring at most, if nobody disturbed them, follows from it.

    python benchmarks/campaign.py [--rounds N] [--seeds N] [--json FILE]

The exit status says nothing about speed.
"""

import argparse
import json
import os
import platform
import statistics
import sys
import time
from collections.abc import Iterator
from concurrent.futures import Executor, ProcessPoolExecutor
from pathlib import Path
from typing import Final, NamedTuple

from rich.console import Console
from rich.table import Table

# Beside this file there is one with the name of the package, and Python looks into this folder first.
sys.path[:] = [folder for folder in sys.path if Path(folder).resolve() != Path(__file__).resolve().parent]

from conformance.campaigns import Block, Workers, blocks, drive, processes  # noqa: E402
from simulator.run import Setup  # noqa: E402

#: How many times faster two processes are than one.
BUDGET: Final = 1.6
LIKE: Final = Setup(tasks=20, faults="lite")


class Round(NamedTuple):
    """Seeds per second; CPU seconds per seed of the workers, and of this process."""

    rate: float
    worker: float
    driver: float


class Kept(Executor):
    """A pool that outlives the campaigns that use it."""

    def __init__(self, count: int) -> None:
        pool = processes(count).open()
        assert isinstance(pool, ProcessPoolExecutor)
        self.pool = pool
        self.submit = self.pool.submit  # type: ignore[method-assign]
        self.workers = Workers(count, lambda: self)

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Not yet."""

    def measure(self, seeds: range) -> Round:
        """One round."""
        chosen: Iterator[Block] = blocks(["swarm"], seeds, 2)
        started, own, theirs = time.perf_counter(), time.process_time(), self.spent()
        done = sum(summary.done for _, summary in drive(self.workers, LIKE, chosen))
        wall, driving = time.perf_counter() - started, time.process_time() - own
        return Round(done / wall, (self.spent() - theirs) / done, driving / done)

    def spent(self) -> float:
        """CPU seconds of the workers so far."""
        fields = [Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split() for pid in self.pool._processes]
        return sum(int(each[11]) + int(each[12]) for each in fields) / os.sysconf("SC_CLK_TCK")


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seeds", type=int, default=48)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    pools = {count: Kept(count) for count in (1, 2)}
    rounds: dict[int, list[Round]] = {count: [] for count in pools}
    for pool in pools.values():
        pool.measure(range(8))
    for number in range(options.rounds):
        seeds = range(number * options.seeds, (number + 1) * options.seeds)
        for count, pool in pools.items():
            rounds[count].append(pool.measure(seeds))
    for pool in pools.values():
        pool.pool.shutdown()
    ratio = statistics.median(two.rate / one.rate for one, two in zip(rounds[1], rounds[2], strict=True))
    table = Table(
        "processes", "seeds/s", "CPU ms per seed", "of the driver", title=f"Python {platform.python_version()}"
    )
    medians = {
        count: Round(*(statistics.median(column) for column in zip(*each, strict=True)))
        for count, each in rounds.items()
    }
    for count, median in medians.items():
        table.add_row(str(count), f"{median.rate:,.1f}", f"{median.worker * 1000:.0f}", f"{median.driver * 1000:.1f}")
    Console().print(table)
    bound = medians[1].worker / max(medians[2].worker / 2, medians[2].driver)
    print(f"two beside one: {ratio:.2f}, budget {BUDGET}: {'kept' if ratio >= BUDGET else 'NOT kept'}")
    print(f"undisturbed at most: {bound:.2f}")
    if options.json:
        figures = {"ratio": ratio, "bound": bound, "budget": BUDGET}
        options.json.write_text(json.dumps(figures, indent=2) + "\n")


if __name__ == "__main__":
    main()
