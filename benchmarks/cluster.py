"""What whole clusters cost in virtual time: messages per second, seeds per second, a large one, and the suite.

    python benchmarks/cluster.py [--only PART]... [--rounds N] [--json FILE]

The parts:

    messages  delivered messages per second of 8 engines and 4 clients that give them short tasks
    seeds     seeds per second: 4 engines, 40 tasks of one client, an engine that dies, and a healed phase
    swarm     seeds per second as `ippkit simulate swarm` runs them: 4 engines, 40 requests of every kind of two clients
              who come and go, 3 seconds of every kind of fault, and a healed phase that lasts until all is at rest
    large     1,000 engines, 100,000 tasks, and heartbeats every 3 seconds for 10 virtual minutes; half of it before
    suite     all conformance cases in virtual time, as `pytest conformance --target simulated` runs them: wall time,
              which is somebody else's as well on a busy machine, and CPU time

The first three are measured with the rules off and with all rules on; the trace is off. A message is delivered when it
is handed to a role or a device; what is published counts as often as it arrives. The medians of the rounds are shown:
CPU time, with the cyclic garbage collector off. The exit status says nothing about speed.
"""

import argparse
import gc
import json
import multiprocessing
import platform
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Final, NamedTuple

import msgspec
from rich.console import Console
from rich.table import Table

ROOT: Final = Path(__file__).resolve().parent.parent
# Beside this file there is one with the name of the package, and Python looks into this folder first.
sys.path[:] = [folder for folder in sys.path if Path(folder).resolve() != Path(__file__).resolve().parent]

from protocol.world import MILLISECOND, SECOND, Work  # noqa: E402
from simulator.cluster import CONFIG, VirtualCluster  # noqa: E402
from simulator.run import Setup, run  # noqa: E402

PARTS: Final = ("messages", "seeds", "swarm", "large", "suite")
TASKS: Final = 4_000
SEEDS: Final = 30
SWARM: Final = 20
LARGE: Final = 100_000


class Budget(NamedTuple):
    """What a figure should be: at least, or at most, this."""

    bound: str
    value: float

    def is_kept(self, figure: float) -> bool:
        """Whether a figure is as it should be."""
        return figure >= self.value if self.bound == ">=" else figure <= self.value

    def __str__(self) -> str:
        return f"{self.bound} {self.value:,g}"


#: Figure -> its budget, from the plan of the simulator; a figure that is not here has none.
BUDGETS: Final = {
    "messages/s, rules off": Budget(">=", 150_000),
    "messages/s, all rules on": Budget(">=", 60_000),
    "seeds/s, rules off": Budget(">=", 300),
    "seeds/s, all rules on": Budget(">=", 120),
    "large, seconds": Budget("<=", 90),
    "large, GiB": Budget("<=", 1.5),
    "suite, seconds": Budget("<=", 20),
}


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

    def __init__(self, *, is_judged: bool) -> None:
        configured = msgspec.structs.replace(CONFIG, notes=is_judged)
        self.cluster = VirtualCluster(1, engines=8, config=configured, has_disk=False, is_judged=is_judged)
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


def seeds(*, is_judged: bool) -> int:
    """Whole short runs, from nothing to rest."""
    configured = msgspec.structs.replace(CONFIG, notes=is_judged)
    for seed in range(SEEDS):
        cluster = VirtualCluster(seed, engines=4, config=configured, has_disk=False, is_judged=is_judged)
        client = cluster.client()
        tasks = [client.submit(Work(takes=MILLISECOND), retries=1) for _ in range(40)]
        cluster.run_for(2 * MILLISECOND)
        cluster.engines[seed % 4].kill()
        assert cluster.settle()
        assert {task.status for task in tasks} == {"ok"}
    return SEEDS


def swarm(*, is_judged: bool) -> int:
    """Runs of a campaign, with the collection of garbage between them that a campaign does."""
    for seed in range(SWARM):
        run(Setup(seed=seed, is_judged=is_judged))
        gc.collect()
    return SWARM


def large(tasks: int = LARGE) -> tuple[float, float]:
    """CPU seconds and GiB of the large run."""
    config = msgspec.structs.replace(CONFIG, notes=False, period_ms=3000, misses=10, registration_timeout_s=30.0)
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
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1 << 20 if platform.system() == "Linux" else 1 << 30)
    return time.process_time() - started, memory


def alone(tasks: int) -> tuple[float, float]:
    """The large run in a process of its own, so that its memory is nobody else's."""
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as executor:
        return executor.submit(large, tasks).result()


def suite() -> tuple[float, float]:
    """Seconds in which one process that is started for it runs all conformance cases in virtual time, and their CPU."""
    command = [sys.executable, "-m", "pytest", "conformance", "--target", "simulated", "-q", "-p", "no:cacheprovider"]
    before, started = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
    subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.DEVNULL)
    lasted, after = time.monotonic() - started, resource.getrusage(resource.RUSAGE_CHILDREN)
    return lasted, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def measure(parts: Sequence[str], rounds: int) -> dict[str, float]:
    """The figures of the parts that were asked for."""
    figures: dict[str, float] = {}
    acts: dict[str, Callable[[bool], Callable[[], int]]] = {
        "messages": lambda is_judged: Busy(is_judged=is_judged).run,
        "seeds": lambda is_judged: lambda: seeds(is_judged=is_judged),
        "swarm": lambda is_judged: lambda: swarm(is_judged=is_judged),
    }
    for name, act in acts.items():
        for is_judged in (False, True) if name in parts else ():
            one = act(is_judged)
            one()  # the first round warms caches
            unit = "messages/s" if name == "messages" else "seeds/s" if name == "seeds" else "seeds/s of a swarm"
            rules = "all rules on" if is_judged else "rules off"
            figures[f"{unit}, {rules}"] = statistics.median(timed(one) for _ in range(rounds))
    if "large" in parts:
        half, _ = alone(LARGE // 2)
        figures["large, seconds"], figures["large, GiB"] = alone(LARGE)
        figures["large, seconds against those of half as many tasks"] = figures["large, seconds"] / half
    if "suite" in parts:
        figures["suite, seconds"], figures["suite, CPU seconds"] = suite()
    return figures


def kept(figures: dict[str, float]) -> dict[str, bool]:
    """Which budgets are kept."""
    return {name: BUDGETS[name].is_kept(figure) for name, figure in figures.items() if name in BUDGETS}


def show(figures: dict[str, float]) -> None:
    """Print the figures as a table."""
    table = Table(title=f"whole clusters, CPython {platform.python_version()}, {platform.machine()}")
    for column in ("figure", "measured", "budget", "kept"):
        table.add_column(column, justify="left" if column == "figure" else "right")
    for name, value in figures.items():
        budget = BUDGETS.get(name)
        verdict = "" if budget is None else "yes" if budget.is_kept(value) else "no"
        table.add_row(name, f"{value:,.2f}" if value < 100 else f"{value:,.0f}", str(budget or ""), verdict)
    Console().print(table)


def main() -> None:
    """Measure, and show."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", action="append", choices=PARTS, help="measure this part (repeatable; default: all)")
    parser.add_argument("--rounds", type=int, default=5, help="rounds of each of the first three parts")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write the figures here")
    arguments = parser.parse_args()
    if arguments.rounds < 1:
        parser.error("--rounds: at least one round is needed")
    # What is loaded now is never garbage; campaigns do the same.
    gc.freeze()
    figures = measure(arguments.only or PARTS, arguments.rounds)
    show(figures)
    if arguments.json:
        budgets = {name: str(budget) for name, budget in BUDGETS.items() if name in figures}
        written = {"figures": figures, "budgets": budgets, "kept": kept(figures)}
        arguments.json.write_text(json.dumps(written, indent=1) + "\n")


if __name__ == "__main__":
    main()
