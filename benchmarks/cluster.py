"""What whole clusters cost in virtual time: messages per second, seeds per second, and a large one.

    python benchmarks/cluster.py [--only PART]... [--rounds N] [--json FILE]

The parts:

    messages  delivered messages per second of 8 engines and 4 clients that give them short tasks; rules and trace off
    seeds     seeds per second: 4 engines, 40 tasks of one client, an engine that dies, and a healed phase
    large     1,000 engines, 100,000 tasks, and heartbeats every 3 seconds for 10 virtual minutes

A message is delivered when it is handed to a role or a device; what is published counts as often as it arrives. The
medians of the rounds are shown: CPU time, with the cyclic garbage collector off. The exit status says nothing about
speed.
"""

import argparse
import gc
import json
import platform
import resource
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

import msgspec
from rich.console import Console
from rich.table import Table

# Beside this file there is one with the name of the package, and Python looks into this folder first.
sys.path[:] = [folder for folder in sys.path if Path(folder).resolve() != Path(__file__).resolve().parent]

from protocol.world import MILLISECOND, SECOND, Work  # noqa: E402
from simulator.cluster import CONFIG, VirtualCluster  # noqa: E402

TASKS: Final = 4_000
SEEDS: Final = 30
QUIET: Final = msgspec.structs.replace(CONFIG, notes=False)
#: Figure -> the least that it should be, from the plan of the simulator.
BUDGETS: Final = {"messages/s": 150_000.0, "seeds/s": 300.0}


def timed(act: Callable[[], int]) -> float:
    """How many per second of CPU time."""
    gc.collect()
    gc.disable()
    started = time.process_time()
    count = act()
    spent = time.process_time() - started
    gc.enable()
    return count / spent


def delivered(cluster: VirtualCluster) -> int:
    """How many messages were handed to the roles and devices of a cluster."""
    sockets = [socket for process in cluster.world.processes for socket in process.context.sockets]
    return sum(pipe.taken for socket in sockets for pipe in socket.pipes)


class Busy:
    """A cluster that is up; each call gives its engines more to do, and counts the messages."""

    def __init__(self) -> None:
        self.cluster = VirtualCluster(1, engines=8, config=QUIET, has_disk=False)
        self.clients = [self.cluster.client() for _ in range(4)]

    def run(self) -> int:
        """One round."""
        before = delivered(self.cluster)
        for _ in range(TASKS // 4):
            for client in self.clients:
                client.submit(Work(takes=MILLISECOND))
        while any(client.role.open for client in self.clients):
            self.cluster.run_for(100 * MILLISECOND)
        return delivered(self.cluster) - before


def seeds() -> int:
    """Whole short runs, from nothing to rest."""
    for seed in range(SEEDS):
        cluster = VirtualCluster(seed, engines=4, config=QUIET, has_disk=False)
        client = cluster.client()
        tasks = [client.submit(Work(takes=MILLISECOND), retries=1) for _ in range(40)]
        cluster.run_for(2 * MILLISECOND)
        cluster.engines[seed % 4].kill()
        assert cluster.settle()
        assert {task.status for task in tasks} == {"ok"}
    return SEEDS


def large(tasks: int = 100_000) -> tuple[float, float]:
    """CPU seconds and MiB of the large run."""
    config = msgspec.structs.replace(QUIET, period_ms=3000, misses=10, registration_timeout_s=30.0)
    started = time.process_time()
    cluster = VirtualCluster(1, engines=1000, config=config, has_disk=False)
    client = cluster.client()
    for _ in range(600):
        for _ in range(tasks // 600):
            client.submit(Work(takes=50 * MILLISECOND))
        cluster.run_for(SECOND)
        for task in client.tasks:
            client.role.forget(task.msg_id)
        client.tasks.clear()
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1024 if platform.system() == "Linux" else 1 << 20)
    return time.process_time() - started, memory


def measure(parts: Sequence[str], rounds: int) -> dict[str, float]:
    """The figures of the parts that were asked for."""
    figures: dict[str, float] = {}
    for name, act in {"messages": Busy().run, "seeds": seeds}.items():
        if name in parts:
            figures[f"{name}/s"] = statistics.median(timed(act) for _ in range(rounds))
    if "large" in parts:
        figures["large, seconds"], figures["large, MiB"] = large()
    return figures


def main() -> None:
    """Measure, and show."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parts = ("messages", "seeds", "large")
    parser.add_argument("--only", action="append", choices=parts, help="measure this part (repeatable; default: all)")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--json", type=Path, help="write the figures to this file")
    arguments = parser.parse_args()
    figures = measure(arguments.only or parts, arguments.rounds)
    table = Table(title=f"CPython {platform.python_version()}, {platform.machine()}")
    table.add_column("figure")
    table.add_column("measured", justify="right")
    table.add_column("at least", justify="right")
    for name, value in figures.items():
        wanted = BUDGETS.get(name)
        table.add_row(name, f"{value:,.2f}" if value < 100 else f"{value:,.0f}", f"{wanted:,g}" if wanted else "")
    Console().print(table)
    if arguments.json:
        arguments.json.write_text(json.dumps(figures, indent=1) + "\n")


if __name__ == "__main__":
    main()
