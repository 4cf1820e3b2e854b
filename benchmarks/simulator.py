"""What the simulator costs, beside what it cannot be faster than and what else one could use.

Kernel: events that make the next event, through `Kernel.run` and through a bare heap loop, with 64 pending at any time.
Hop: a message of one frame from a DEALER to a DEALER over a link with latency, handed to a listener that sends the
next, as the shells of the simulation receive; and the same between two SimPy processes over a store with a delay, as
SimPy's own example of a cable does it. 32 messages are under way. Without a budget: the same hop by way of the mailbox,
as a thread receives that is told to come by. What whole clusters cost is asked of `benchmarks/cluster.py`, which is run
as well with `--all`.

All contenders take turns in short rounds, so that a busy machine slows them alike, and the medians of the rounds are
shown: CPU time, with the cyclic garbage collector off.

    python benchmarks/simulator.py [--all] [--rounds N] [--json FILE]

The exit status says nothing about speed.
"""

import argparse
import gc
import json
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Generator
from heapq import heappop, heappush
from pathlib import Path
from typing import Any

import simpy
from rich.console import Console
from rich.table import Table

# This file has the name of the package, and Python looks into its folder first.
sys.path[:] = [folder for folder in sys.path if Path(folder).resolve() != Path(__file__).resolve().parent]

from simulator.kernel import Kernel  # noqa: E402
from simulator.network import Network  # noqa: E402
from simulator.sockets import Context  # noqa: E402

EVENTS = 100_000
PENDING = 64
HOPS = 20_000
UNDER_WAY = 32
LATENCY = 50_000
#: Figure -> the least ratio.
BUDGETS = {"kernel events": 0.7, "message hop": 3.0, "hop by the mailbox": 0.0}
#: Figure -> ours, the other.
PAIRS = {
    "kernel events": ("kernel", "bare heap loop"),
    "message hop": ("virtual sockets", "SimPy"),
    "hop by the mailbox": ("mailbox", "SimPy"),
}

Entry = tuple[int, int, Callable[[Any], None], Any]


def bare_loop() -> Callable[[], int]:
    """A heap of events, each of which makes the next; the number of events of a round."""

    def run() -> int:
        heap: list[Entry] = []
        seq = now = 0

        def event(step: int) -> None:
            nonlocal seq
            seq += 1
            heappush(heap, (now + step, seq, event, step))

        for step in range(PENDING):
            heappush(heap, (step, -step, event, 1 + step % 7))
        for _ in range(EVENTS):
            now, _, fn, argument = heappop(heap)
            fn(argument)
        return EVENTS

    return run


def kernel_loop() -> Callable[[], int]:
    """The same through the kernel."""

    def run() -> int:
        kernel = Kernel()
        heap, seq = kernel.heap, kernel.seq

        def event(step: int, _: Any) -> None:
            heappush(heap, (kernel.now + step, seq(), event, step, None))

        for step in range(PENDING):
            kernel.at(step, event, 1 + step % 7)
        before = seq()
        # Each event makes one, so the numbers tell how many there were; the time is about that of so many.
        kernel.run(int(EVENTS / sum(1 / (1 + step % 7) for step in range(PENDING))))
        return seq() - before

    return run


def virtual_hops(*, is_listening: bool) -> Callable[[], int]:
    """Messages through virtual sockets, to a listener or by way of the mailbox."""
    kernel = Kernel()
    network = Network(kernel, latency=LATENCY)
    receiver = Context(kernel, network, host="a").socket("DEALER")
    sender = Context(kernel, network, host="b").socket("DEALER")
    for socket in (receiver, sender):
        socket.set("SNDHWM", 0)
        socket.set("RCVHWM", 0)
    receiver.bind("tcp://a:1")
    sender.connect("tcp://a:1")
    kernel.run(1_000_000_000)
    message = (b"x",)
    count = left = 0

    def heard(_: tuple[Any, ...]) -> None:
        nonlocal count, left
        count += 1
        if left:
            left -= 1
            sender.send(message)

    def arrived() -> None:
        while isinstance(received := receiver.recv(), tuple):
            heard(received)

    receiver.watch(arrived)
    if is_listening:
        receiver.recv()
        receiver.listen(heard)

    def run() -> int:
        nonlocal count, left
        count, left = 0, HOPS - UNDER_WAY
        for _ in range(UNDER_WAY):
            sender.send(message)
            # Not all at one moment: that would be one event for many messages.
            kernel.run(kernel.now + 100)
        kernel.run(kernel.now + HOPS * LATENCY)
        assert count == HOPS
        return count

    return run


def simpy_hops() -> Callable[[], int]:
    """Messages through a SimPy store, as its documents show a cable with latency."""

    def run() -> int:
        env = simpy.Environment()
        store = simpy.Store(env)
        count = 0

        def deliver(message: object) -> Generator[Any, Any, None]:
            yield env.timeout(LATENCY)
            store.put(message)

        def receive() -> Generator[Any, Any, None]:
            nonlocal count
            while count < HOPS:
                message = yield store.get()
                count += 1
                if count <= HOPS - UNDER_WAY:
                    env.process(deliver(message))

        for _ in range(UNDER_WAY):
            env.process(deliver((b"x",)))
        env.run(env.process(receive()))
        assert count == HOPS
        return count

    return run


def measure(rounds: int) -> dict[str, float]:
    """The median number per second of every contender."""
    contenders = {
        "bare heap loop": bare_loop(),
        "kernel": kernel_loop(),
        "SimPy": simpy_hops(),
        "virtual sockets": virtual_hops(is_listening=True),
        "mailbox": virtual_hops(is_listening=False),
    }
    rates: dict[str, list[float]] = {name: [] for name in contenders}
    gc.disable()
    for number in range(rounds + 1):
        for name, run in contenders.items():
            gc.collect()
            started = time.process_time_ns()
            count = run()
            spent = time.process_time_ns() - started
            if number:  # the first round warms caches
                rates[name].append(count * 1e9 / spent)
    gc.enable()
    return {name: statistics.median(values) for name, values in rates.items()}


def report(rates: dict[str, float]) -> dict[str, Any]:
    """The figures as they are written to a file: `{"work", "python", "per_second", "ratios", "budgets", "kept"}`."""
    ratios = {figure: round(rates[ours] / rates[other], 2) for figure, (ours, other) in PAIRS.items()}
    return {
        "work": f"{EVENTS:,} events, {PENDING} pending; {HOPS:,} hops, {UNDER_WAY} under way",
        "python": platform.python_version(),
        "per_second": {name: round(rate) for name, rate in rates.items()},
        "ratios": ratios,
        "budgets": BUDGETS,
        "kept": {figure: ratios[figure] >= least for figure, least in BUDGETS.items()},
    }


def show(result: dict[str, Any]) -> None:
    """Print the report as a table."""
    table = Table(title=result["work"])
    for column in ("figure", "ours per second", "the other per second", "ratio", "budget"):
        table.add_column(column, justify="left" if column == "figure" else "right")
    for figure, (ours, other) in PAIRS.items():
        rates = result["per_second"]
        table.add_row(
            f"{figure}, against {other}", f"{rates[ours]:,}", f"{rates[other]:,}",
            f"{result['ratios'][figure]:.2f}", f">= {BUDGETS[figure]}" if BUDGETS[figure] else "",
        )  # fmt: skip
    Console().print(table)


def clusters() -> Any:
    """Run the other file, which prints a table of its own; its figures. Memory is that of a process of its own."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "figures.json"
        subprocess.run([sys.executable, Path(__file__).with_name("cluster.py"), "--json", file], check=True)
        return json.loads(file.read_text())


def main() -> None:
    """The command line."""
    arguments = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    arguments.add_argument("--rounds", type=int, default=9, help="rounds per contender")
    arguments.add_argument("--json", type=Path, metavar="FILE", help="also write the figures here")
    arguments.add_argument("--all", action="store_true", help="run benchmarks/cluster.py as well: some minutes")
    chosen = arguments.parse_args()
    if chosen.rounds < 1:
        arguments.error("--rounds: at least one round is needed")
    result = report(measure(chosen.rounds))
    show(result)
    if chosen.all:
        result["clusters"] = clusters()
    if chosen.json:
        chosen.json.write_text(json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    main()
