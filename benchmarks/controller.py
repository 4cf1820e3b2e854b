"""What a controller costs: ours beside ipyparallel's, with the same raw engines and the same raw client.

Both controllers run with the settings that they have without options, and both are measured in one run, in turns, so
that a busy machine slows them alike; the medians of the rounds are compared. A ratio is ours over theirs.

    python benchmarks/controller.py [--only PART]... [--rounds N] [--quick] [--json FILE]

The parts:

    start     from the start of the command to the first `registration_reply`; then the memory, when all is quiet
    tasks     `apply_request` through the task scheduler (leastload): 4 engines, a window of 200
    mux       the same through the MUX queue, to each engine in turn
    engines   1,000 engines: how many are announced, and what their hearts cost
    growth    100,000 tasks, results purged, 100,000 more: what the memory of our processes grows by

CPU is the time of all processes of a controller, user and system, its Hub included: a round ends when the Hub has
recorded the last result. Memory is the sum of their proportional set sizes (PSS). Engines and client are in processes
of their own and not counted; see `echo.py`. Linux only. The exit status says nothing about speed.
"""

import argparse
import contextlib
import json
import os
import platform
import statistics
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final, NamedTuple

import msgspec
import zmq
from rich.console import Console
from rich.table import Table

from conformance.reference.supervisor import raise_file_limit
from conformance.targets import Timing, load
from conformance.targets.errors import TargetUnusable
from conformance.targets.process import Running, start
from protocol.connection import ClientFile
from protocol.messages import build
from protocol.wire import DELIMITER, Codec, Frame, Message

OURS: Final = "ippkit"
THEIRS: Final = "ipyparallel"
DESCRIPTORS: Final = {OURS: "reference", THEIRS: "ipyparallel"}

ENGINES: Final = 4
WINDOW: Final = 200
#: What ipyparallel sends for the call of a small function.
BUFFERS: Final = [bytes(310), bytes(52), bytes(5)]
METADATA: Final[dict[str, Any]] = {
    "after": [], "follow": [], "timeout": None, "targets": [], "retries": 0, "label": None,
}  # fmt: skip
#: Seconds after which an answer is not awaited any longer.
PATIENCE: Final = 60.0
#: Engines that one process of raw engines serves: each has 5 sockets, and a socket takes two descriptors.
PER_PROCESS: Final = 250


class Sizes(NamedTuple):
    """How much is done: rounds, requests in each, how many engines are watched for how many seconds."""

    rounds: int
    tasks: int
    mux: int
    engines: int
    watch: float


FULL: Final = Sizes(rounds=9, tasks=2000, mux=4000, engines=1000, watch=6.0)
QUICK: Final = Sizes(rounds=3, tasks=500, mux=1000, engines=100, watch=3.0)
#: Tasks after which the memory is looked at.
GROWTH: Final = 100_000
#: Tasks of one exchange among them: what the Hub has not read yet shall not be taken for what it keeps.
GROWTH_STEP: Final = WINDOW


class Figure(NamedTuple):
    """One line of the report. `budget` bounds the ratio of ours over what stands beside it, as `relation` says."""

    part: str
    name: str
    unit: str
    relation: str
    budget: float
    beside: str = THEIRS

    def is_kept(self, ratio: float) -> bool:
        """Whether a ratio is within the budget."""
        return {">=": ratio >= self.budget, "<=": ratio <= self.budget, "<": ratio < self.budget}[self.relation]


FIGURES: Final = {
    "registration": Figure("start", "time to register", " s", "<", 1.0),
    "memory": Figure("start", "idle memory", " MiB", "<", 1.0),
    "task rate": Figure("tasks", "tasks", "/s", ">=", 2.5),
    "task cpu": Figure("tasks", "CPU per task", " us", "<=", 0.4),
    "mux rate": Figure("mux", "MUX requests", "/s", ">=", 0.45),
    "mux cpu": Figure("mux", "CPU per request", " us", "<=", 0.7),
    "announced": Figure("engines", "engines announced", "", ">=", 1.0),
    "hearts cpu": Figure("engines", "CPU of hearts", " ms/s", "<", 1.0),
    "growth": Figure("growth", f"after {2 * GROWTH:,} tasks", " MiB", "<", 1.05, f"after {GROWTH:,}"),
}
PARTS: Final = tuple(dict.fromkeys(figure.part for figure in FIGURES.values()))


# -- looking at processes ----------------------------------------------------------------------------------------------


def cpu(running: Running) -> float:
    """Seconds that all threads of a controller have computed so far."""
    total = 0
    for pid in running.processes():
        with contextlib.suppress(OSError):
            for thread in Path(f"/proc/{pid}/task").iterdir():
                total += int((thread / "schedstat").read_text().split()[0])
    return total / 1e9


def memory(running: Running) -> float:
    """MiB of memory of a controller: what its processes share counts once."""
    total = 0
    for pid in running.processes():
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                total += int(line.split()[1])
    return total / 1024


def await_quiet(running: Running) -> None:
    """Wait until a controller does next to nothing for half a second."""
    deadline = time.monotonic() + PATIENCE
    before = cpu(running)
    while time.monotonic() < deadline:
        time.sleep(0.5)
        now = cpu(running)
        if now - before < 0.01:
            return
        before = now


# -- the two controllers, engines and client ---------------------------------------------------------------------------


def launch(name: str) -> Running:
    """A controller with the timers that both have without options; ready when its files are there."""
    target = load(DESCRIPTORS[name])
    controller = msgspec.structs.replace(target.controller, ready="files")
    return start(msgspec.structs.replace(target, timing=Timing(), controller=controller))


class SilenceError(Exception):
    """A controller did not do what everything else waits for; the text is a sentence."""


def receive(socket: "zmq.Socket[bytes]") -> list[bytes]:
    """The next message. Raises SilenceError."""
    try:
        return socket.recv_multipart()
    except zmq.Again:
        raise SilenceError(f"nothing came for {PATIENCE:g} s on a socket that awaits an answer") from None


class Client:
    """A raw client: the sockets that it needs, and nothing that a controller does not see."""

    def __init__(self, file: ClientFile) -> None:
        self.session = str(uuid.uuid4())
        self.codec: Codec = file.codec()
        self.count = 0
        self.context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self.sockets: dict[str, zmq.Socket[bytes]] = {}
        for key in ("registration", "mux", "task"):
            socket = self.sockets[key] = self.context.socket(zmq.DEALER)
            socket.linger = 0
            socket.set_hwm(0)
            socket.rcvtimeo = int(PATIENCE * 1000)
            socket.connect(file.address(key))

    def make(self, msg_type: str, content: Any = None, **fields: Any) -> Message:
        """A message with a fresh id."""
        self.count += 1
        return build(
            msg_type, content,
            msg_id=f"{self.session}_{os.getpid()}_{self.count}",
            session=self.session,
            date="2026-01-05T12:00:00.000000Z",
            **fields,
        )  # fmt: skip

    def ask(self, msg_type: str, content: Any = None) -> dict[str, Any]:
        """What the Hub answers to a request."""
        socket = self.sockets["registration"]
        socket.send_multipart(self.codec.encode(self.make(msg_type, content)))
        return self.codec.open(receive(socket)).content

    def engines(self) -> list[str]:
        """The uuids of the engines that the Hub has announced."""
        return list(self.ask("connection_request")["engines"].values())

    def await_engines(self, count: int) -> None:
        """Wait until so many engines are announced, or it is clear that they never will be."""
        deadline = time.monotonic() + PATIENCE
        while len(self.engines()) < count and time.monotonic() < deadline:
            time.sleep(0.2)

    def exchange(self, queue: str, count: int, targets: Sequence[bytes] = ()) -> tuple[float, str]:
        """Send so many requests, never more than the window at a time; the seconds, and the id answered last.

        With targets, each request begins with the next of them.
        """
        waiting: dict[Frame, str] = {}
        requests: list[list[Frame]] = []
        for number in range(count):
            message = self.make("apply_request", metadata=METADATA, buffers=BUFFERS)
            frames = self.codec.encode(message)
            waiting[frames[2]] = message.msg_id
            requests.append([targets[number % len(targets)], *frames] if targets else frames)
        socket = self.sockets[queue]
        msg_id = ""
        started = time.perf_counter()
        for frames in requests[:WINDOW]:
            socket.send_multipart(frames)
        following = iter(requests[WINDOW:])
        for _ in range(count):
            reply = receive(socket)
            # The header of a request comes back, byte for byte, as the parent header.
            msg_id = waiting.pop(reply[reply.index(DELIMITER) + 3])
            if (frames := next(following, None)) is not None:
                socket.send_multipart(frames)
        return time.perf_counter() - started, msg_id

    def await_record(self, msg_id: str) -> None:
        """Wait until the Hub has the result of a request."""
        asked = {"msg_ids": [msg_id], "status_only": True}
        deadline = time.monotonic() + PATIENCE
        while msg_id not in self.ask("result_request", asked).get("completed", ()):
            if time.monotonic() > deadline:
                raise SilenceError(f"the Hub has no result of a request that was answered {PATIENCE:g} s ago")
            time.sleep(0.02)

    def close(self) -> None:
        """Close everything."""
        self.context.destroy(linger=0)


class Engines:
    """Raw engines of one controller, in processes of their own."""

    def __init__(self, running: Running, count: int) -> None:
        script = Path(__file__).with_name("echo.py")
        self.processes = [
            subprocess.Popen(
                [sys.executable, str(script), str(running.engine_path), str(min(PER_PROCESS, count - first))],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
            )
            for first in range(0, count, PER_PROCESS)
        ]

    def close(self) -> None:
        """End them."""
        for process in self.processes:
            process.communicate()


class Cluster:
    """One controller with engines and a client, all announced."""

    def __init__(self, name: str, engines: int) -> None:
        with contextlib.ExitStack() as stack:
            self.name = name
            self.running = stack.enter_context(launch(name))
            self.client = Client(self.running.client)
            stack.callback(self.client.close)
            stack.callback(Engines(self.running, engines).close)
            self.client.await_engines(engines)
            self.uuids = [uuid.encode() for uuid in self.client.engines()]
            self._stack = stack.pop_all()

    def round(self, queue: str, count: int) -> tuple[float, float]:
        """Exchange so many requests: how many per second, and the seconds of CPU for each."""
        before = cpu(self.running)
        seconds, last = self.client.exchange(queue, count, self.uuids if queue == "mux" else ())
        self.client.await_record(last)
        return count / seconds, (cpu(self.running) - before) / count

    def close(self) -> None:
        """End everything."""
        self._stack.close()


@contextlib.contextmanager
def clusters(engines: int) -> Iterator[list[Cluster]]:
    """Both controllers, ready."""
    with contextlib.ExitStack() as stack:
        made = []
        for name in DESCRIPTORS:
            made.append(Cluster(name, engines))
            stack.callback(made[-1].close)
        yield made


# -- the parts ---------------------------------------------------------------------------------------------------------

#: The values of one figure round by round, by the name of the controller, or of what stands beside ours.
Values = dict[str, list[float]]


def no_values() -> Values:
    """Values to be filled, for both controllers."""
    return {name: [] for name in DESCRIPTORS}


def measure_start(sizes: Sizes) -> dict[str, Values]:
    """Start each controller, register one engine that has no heart, and look at the memory when all is quiet."""
    seconds, sums = no_values(), no_values()
    for number in range(sizes.rounds + 1):
        for name in DESCRIPTORS:
            began = time.perf_counter()
            with launch(name) as running, contextlib.closing(Client(running.client)) as client:
                reply = client.ask("registration_request", {"uuid": client.session})
                answered = time.perf_counter() - began
                assert reply["status"] == "ok", reply
                await_quiet(running)
                if number:  # the first round warms the caches of the file system
                    seconds[name].append(answered)
                    sums[name].append(memory(running))
    return {"registration": seconds, "memory": sums}


def measure_queue(queue: str, count: int, sizes: Sizes) -> dict[str, Values]:
    """Rounds of requests through one queue, in turns."""
    rates, costs = no_values(), no_values()
    with clusters(ENGINES) as both:
        for number in range(sizes.rounds + 1):
            for cluster in both:
                rate, cost = cluster.round(queue, count)
                if number:  # the first round warms caches, and engines may still be new to the scheduler
                    rates[cluster.name].append(rate)
                    costs[cluster.name].append(cost * 1e6)
    return {f"{queue} rate": rates, f"{queue} cpu": costs}


def measure_engines(sizes: Sizes) -> dict[str, Values]:
    """Many engines at both controllers; then both are watched for the same seconds, in which hearts beat."""
    costs = no_values()
    with clusters(sizes.engines) as both:
        for number in range(sizes.rounds + 1):
            before = [cpu(cluster.running) for cluster in both]
            time.sleep(sizes.watch)
            for cluster, earlier in zip(both, before, strict=True):
                if number:  # the first seconds see the last of the registrations
                    costs[cluster.name].append((cpu(cluster.running) - earlier) / sizes.watch * 1e3)
        announced = {cluster.name: [float(len(cluster.client.engines()))] for cluster in both}
    return {"announced": announced, "hearts cpu": costs}


def measure_growth(_sizes: Sizes) -> dict[str, Values]:
    """Twice the same number of tasks at our controller, each time with the results purged."""
    seen = []
    with contextlib.closing(Cluster(OURS, ENGINES)) as cluster:
        for _ in range(2):
            for _ in range(GROWTH // GROWTH_STEP):
                cluster.round("task", GROWTH_STEP)
            reply = cluster.client.ask("purge_request", {"msg_ids": "all"})
            assert reply["status"] == "ok", reply
            await_quiet(cluster.running)
            seen.append(memory(cluster.running))
    return {"growth": {OURS: [seen[1]], FIGURES["growth"].beside: [seen[0]]}}


MEASURES: Final[dict[str, Callable[[Sizes], dict[str, Values]]]] = {
    "start": measure_start,
    "tasks": lambda sizes: measure_queue("task", sizes.tasks, sizes),
    "mux": lambda sizes: measure_queue("mux", sizes.mux, sizes),
    "engines": measure_engines,
    "growth": measure_growth,
}


# -- the report --------------------------------------------------------------------------------------------------------


def report(found: dict[str, Values], sizes: Sizes) -> dict[str, Any]:
    """The figures as they are written to a file: `{"work", "rounds", "machine", "versions", "figures"}`.

    A figure has the medians (`ippkit` and `beside`), their ratio with its budget, and the lowest and the highest ratio
    of one round.
    """
    figures = []
    for key, values in found.items():
        figure = FIGURES[key]
        ours, beside = values[OURS], values[figure.beside]
        ratio = statistics.median(ours) / statistics.median(beside)
        single = [one / other for one, other in zip(ours, beside, strict=True)]
        figures.append(
            {
                "part": figure.part,
                "figure": figure.name,
                "unit": figure.unit,
                "against": figure.beside,
                "ippkit": round(statistics.median(ours), 3),
                "beside": round(statistics.median(beside), 3),
                "ratio": round(ratio, 3),
                "lowest": round(min(single), 3),
                "highest": round(max(single), 3),
                "budget": f"{figure.relation} {figure.budget:g}",
                "kept": figure.is_kept(ratio),
            }
        )
    return {
        "work": f"{ENGINES} raw engines, a window of {WINDOW}, buffers of {sum(map(len, BUFFERS))} bytes",
        "rounds": sizes.rounds,
        "machine": {"system": platform.platform(), "processors": os.cpu_count()},
        "versions": {
            "python": platform.python_version(),
            "libzmq": zmq.zmq_version(),
            **{name: version(name) for name in ("ipyparallel", "ippkit", "msgspec", "pyzmq")},
        },
        "figures": figures,
    }


def show(result: dict[str, Any]) -> None:
    """Print the report as a table."""
    table = Table(title=f"{result['work']}; medians of {result['rounds']} rounds")
    for column in ("figure", "ippkit", "beside", "", "ratio", "budget", ""):
        table.add_column(column, justify="left" if column in ("figure", "beside") else "right")
    for row in result["figures"]:
        table.add_row(
            row["figure"], shown(row["ippkit"], row["unit"]), row["against"], shown(row["beside"], row["unit"]),
            f"{row['ratio']:.2f}", row["budget"], "kept" if row["kept"] else "MISSED",
        )  # fmt: skip
    Console().print(table)


def shown(value: float, unit: str) -> str:
    """A figure with three digits that mean something, and its unit."""
    return f"{value:,.0f}{unit}" if value >= 100 else f"{value:.3g}{unit}"


def main() -> None:
    """The command line."""
    arguments = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    arguments.add_argument("--only", action="append", choices=PARTS, metavar="PART", help=f"one of {', '.join(PARTS)}")
    arguments.add_argument("--rounds", type=int, help=f"rounds of each part  [default: {FULL.rounds}]")
    arguments.add_argument("--quick", action="store_true", help="few and short rounds, and no growth: a first look")
    arguments.add_argument("--json", type=Path, metavar="FILE", help="also write the figures here")
    chosen = arguments.parse_args()
    if chosen.rounds is not None and chosen.rounds < 1:
        arguments.error("--rounds: at least one round is needed")
    if chosen.json and not chosen.json.parent.is_dir():
        arguments.error(f"--json: there is no folder {chosen.json.parent}")
    if sys.platform != "linux":
        arguments.exit(1, f"{arguments.prog}: CPU and memory of processes are read from /proc, which only Linux has\n")
    sizes = QUICK if chosen.quick else FULL
    sizes = sizes._replace(rounds=chosen.rounds or sizes.rounds)
    parts = chosen.only or [part for part in PARTS if not (chosen.quick and part == "growth")]
    raise_file_limit()
    found: dict[str, Values] = {}
    with Console(stderr=True).status("") as status:
        for part in dict.fromkeys(parts):
            status.update(f"measuring: {part}")
            try:
                found |= MEASURES[part](sizes)
            except (SilenceError, TargetUnusable) as error:
                arguments.exit(1, f"{arguments.prog}: {part}: {error}\n")
    result = report(found, sizes)
    show(result)
    if chosen.json:
        chosen.json.write_text(json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    main()
