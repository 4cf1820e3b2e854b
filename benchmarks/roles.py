"""What the task scheduler costs by itself: tasks per second through `TaskScheduler.handle`, without sockets.

A task is one message in and one reply in: two calls of `handle`, whose effects are made but not carried out. Messages
are decoded beforehand, down to the header as a shell does it; parent header and metadata are read by the scheduler, as
in life. Every contender has 200 tasks outstanding at any time. All take turns in short rounds, so that a busy machine
slows them alike, and the medians of the rounds are shown: CPU time, with the cyclic garbage collector off, as its
runs would mostly go over the benchmark's own messages; the scheduler makes no cyclic garbage.

    python benchmarks/roles.py [--rounds N] [--json FILE]

The exit status says nothing about speed.
"""

import argparse
import gc
import json
import platform
import statistics
import time
from collections import deque
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from protocol.messages import build
from protocol.roles.base import Arrived, Forward
from protocol.roles.task import SCHEMES, TaskConfig, TaskScheduler
from protocol.wire import Codec, Message

KEY = b"5f0c2b1e-9d3a7c6b5e4f3a2b1c0d9e8f"
SESSION = "c11e0001-0a1b2c3d4e5f60718293a4b5"
CLIENT = b"\x00\x80\x00\x00\x2a"
WINDOW = 200
TASKS = 4_000
PLAIN: dict[str, Any] = {"after": [], "follow": [], "timeout": None, "targets": [], "retries": 0, "label": None}
#: Tasks per second of the scheme `leastload` with 4 engines.
BUDGET = 60_000


class Env:
    """Numbers for ids, one date, and chance from a small generator."""

    def __init__(self) -> None:
        self.count = 0
        self.state = 1

    def random(self, n: int) -> int:
        """A number below n, of a linear congruence."""
        self.state = self.state * 6364136223846793005 + 1442695040888963407 & 0xFFFFFFFFFFFFFFFF
        return (self.state >> 33) % n

    def fresh_id(self) -> str:
        """The next one."""
        self.count += 1
        return f"5ced0001-0a1b2c3d4e5f60718293a4b5_4242_{self.count}"

    def date(self, now: int) -> str:
        """A moment of one day."""
        return f"2026-01-05T12:00:00.{now % 1_000_000:06d}Z"

    def rarely(self, place: str) -> bool:  # noqa: ARG002 - nothing unusual happens here
        """Never."""
        return False

    def mark(self, slug: str) -> None:
        """Nobody counts."""


def uuid(number: int) -> str:
    """The identity of an engine."""
    return f"e7a3b1c0-5d2f4a6b8c0d1e2f{number:08x}"


class Bench:
    """A scheduler with engines, and a client that keeps a window of tasks outstanding.

    `demands` gives the metadata of the task with a number, from the ids of the tasks before it.
    """

    def __init__(
        self, scheme: str, engines: int, *, hwm: int = 1, demands: Callable[[int, Sequence[str]], dict[str, Any]]
    ) -> None:
        self.codec = Codec(KEY)
        self.role = TaskScheduler(TaskConfig(scheme=scheme, hwm=hwm), Env())
        self.demands = demands
        self.count = 0
        for number in range(engines):
            notice = build(
                "registration_notification", {"id": number, "uuid": uuid(number)}, msg_id=f"n{number}", session="hub"
            )
            self.role.handle(0, Arrived("notification", notice))

    def received(self, made: Message) -> Message:
        """What a socket yields of a message."""
        return self.codec.open_header(self.codec.encode(made))

    def round(self) -> int:
        """Nanoseconds that the scheduler took for TASKS tasks, each of them answered in the order of deliveries."""
        ids = [f"{SESSION}_4711_{self.count + number}" for number in range(TASKS)]
        self.count += TASKS
        tasks = deque(
            self.received(
                build(
                    "apply_request",
                    msg_id=msg_id,
                    session=SESSION,
                    date="2026-01-05T12:00:00.000000Z",
                    metadata=self.demands(number, ids),
                    identities=[CLIENT],
                )
            )
            for number, msg_id in enumerate(ids)
        )
        replies = {
            task.msg_id: self.received(
                build(
                    "apply_reply",
                    {"status": "ok"},
                    msg_id=f"r{task.msg_id}",
                    session="engine",
                    parent=task,
                    metadata={"status": "ok", "dependencies_met": True, "engine": "e", "started": "now"},
                )
            )
            for task in tasks
        }
        handle = self.role.handle
        running: deque[Message] = deque()
        outstanding = spent = 0
        now = 0
        clock = time.process_time_ns
        while tasks or outstanding:
            # Batches, as a shell drains its sockets: the clock is read once for many.
            batch = []
            while tasks and outstanding < WINDOW:
                batch.append(Arrived("in", tasks.popleft()))
                outstanding += 1
            for _ in range(len(running)):
                batch.append(Arrived("out", running.popleft()))
                outstanding -= 1
            results = []
            started = clock()
            for event in batch:
                now += 1
                results.append(handle(now, event))
            spent += clock() - started
            for effects in results:
                for effect in effects:
                    if type(effect) is Forward and effect.socket == "out":
                        reply = replies[effect.message.msg_id]
                        reply.identities = (effect.identities[0], CLIENT)
                        running.append(reply)
        assert not self.role.tasks
        return spent


def plain(_number: int, _ids: Sequence[str]) -> dict[str, Any]:
    """What a client sends that asks for nothing."""
    return PLAIN


def targeted(number: int, _ids: Sequence[str]) -> dict[str, Any]:
    """One of the first four engines."""
    return PLAIN | {"targets": [uuid(number % 4)]}


def chained(number: int, ids: Sequence[str]) -> dict[str, Any]:
    """After a task submitted a while ago, which may still run."""
    return PLAIN if number < WINDOW else PLAIN | {"after": [ids[number - WINDOW // 2]]}


def contenders() -> dict[str, Bench]:
    """Every scheduler that is measured, by what is special about it."""
    found = {
        f"{scheme}, {engines} engines": Bench(scheme, engines, demands=plain)
        for scheme in SCHEMES
        for engines in (4, 1000)
    }
    for engines in (4, 1000):
        found[f"leastload, {engines} engines, no mark"] = Bench("leastload", engines, hwm=0, demands=plain)
        found[f"leastload, {engines} engines, targets"] = Bench("leastload", engines, demands=targeted)
        found[f"leastload, {engines} engines, after"] = Bench("leastload", engines, demands=chained)
    return found


def measure(rounds: int) -> dict[str, float]:
    """The median nanoseconds per task of every contender."""
    benches = contenders()
    times: dict[str, list[int]] = {name: [] for name in benches}
    gc.disable()
    for number in range(rounds + 1):
        for name, bench in benches.items():
            spent = bench.round()
            if number:  # the first round warms caches
                times[name].append(spent)
    gc.enable()
    return {name: statistics.median(values) / TASKS for name, values in times.items()}


def report(medians: dict[str, float]) -> dict[str, Any]:
    """The figures as they are written to a file: `{"work", "python", "tasks_per_second", "budget", "kept"}`."""
    rates = {name: round(1e9 / value) for name, value in medians.items()}
    return {
        "work": f"one task = two events; {WINDOW} outstanding; effects made, not carried out",
        "python": platform.python_version(),
        "tasks_per_second": rates,
        "budget": {"leastload, 4 engines": BUDGET},
        "kept": rates["leastload, 4 engines"] >= BUDGET,
        "time_with_1000_engines_over_4": {
            scheme: round(medians[f"{scheme}, 1000 engines"] / medians[f"{scheme}, 4 engines"], 2) for scheme in SCHEMES
        },
    }


def show(result: dict[str, Any]) -> None:
    """Print the report as a table."""
    table = Table(title=result["work"])
    for column in ("scheduler", "tasks per second", "us per task", "budget"):
        table.add_column(column, justify="left" if column == "scheduler" else "right")
    for name, rate in result["tasks_per_second"].items():
        budget = result["budget"].get(name)
        table.add_row(name, f"{rate:,}", f"{1e6 / rate:.2f}", "" if budget is None else f">= {budget:,}")
    Console().print(table)


def main() -> None:
    """The command line."""
    arguments = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    arguments.add_argument("--rounds", type=int, default=9, help=f"rounds of {TASKS} tasks per contender")
    arguments.add_argument("--json", type=Path, metavar="FILE", help="also write the figures here")
    chosen = arguments.parse_args()
    if chosen.rounds < 1:
        arguments.error("--rounds: at least one round is needed")
    result = report(measure(chosen.rounds))
    show(result)
    if chosen.json:
        chosen.json.write_text(json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    main()
