"""How fast every order of events is visited: transitions per second, beside a bare search through tuples.

The explorer runs the real machines of the roles, sorts engines by what they have, and keeps a ledger of what must hold;
the bare search has the same tasks and engines as a hand-made model in tuples of integers, and checks nothing: it bounds
what Python can do. Both take turns in short rounds, so that a busy machine slows them alike; CPU time is counted, and
the medians are shown.

    python benchmarks/explore.py [--rounds N] [--json FILE]

The exit status says nothing about speed.
"""

import argparse
import gc
import json
import platform
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from rich.console import Console
from rich.table import Table

# Beside this file there is one with the name of the package, and Python looks into this folder first.
sys.path[:] = [folder for folder in sys.path if Path(folder).resolve() != Path(__file__).resolve().parent]

from simulator.explore import Scope, explore  # noqa: E402

#: Transitions per second of the explorer.
BUDGET = 25_000
TASKS = ENGINES = 2
SCOPES = {
    "2 tasks, 2 engines: crash": Scope(faults={"crash": 1}),
    "2 tasks, 2 engines: crash, false heart": Scope(faults={"crash": 1, "heart": 1}),
    "3 tasks, 2 engines: dependency, retry, error, crash": Scope(
        tasks=3, dependencies=1, retries=1, faults={"error": 1, "crash": 1}
    ),
}
#: A task of the bare search: not asked for, on its way, queued, sent, running, answered, done; then its engine.
NEW, ASKED, QUEUED, SENT, RUNNING, ANSWERED, DONE = range(7)
Bare = tuple[tuple[int, ...], tuple[int, ...], int]


def successors(state: Bare) -> Iterator[Bare]:
    """What may happen in the bare model, with one crash and one false report of a death."""
    tasks, engines, faults = state
    for task in range(TASKS):
        place = tasks[2 * task]
        for after, engine in moves(place, tasks[2 * task + 1], tasks, engines):
            changed = list(tasks)
            changed[2 * task : 2 * task + 2] = after, engine
            yield tuple(changed), engines, faults
    for engine, is_there in enumerate(engines):
        if is_there == 0:
            yield tasks, (*engines[:engine], 1, *engines[engine + 1 :]), faults
        elif is_there == 1 and faults:
            lost = list(tasks)
            for at in range(0, len(lost), 2):
                if lost[at] in (SENT, RUNNING) and lost[at + 1] == engine:
                    lost[at : at + 2] = QUEUED, -1
            yield tuple(lost), (*engines[:engine], 2 if faults % 2 else 0, *engines[engine + 1 :]), faults - 1


def moves(place: int, engine: int, tasks: tuple[int, ...], engines: tuple[int, ...]) -> Iterator[tuple[int, int]]:
    """Where a task may go next, and at which engine it then is."""
    if place == QUEUED:
        for each in range(ENGINES):
            if engines[each] == 1 and not any(
                tasks[at] in (SENT, RUNNING, ANSWERED) and tasks[at + 1] == each for at in range(0, len(tasks), 2)
            ):
                yield SENT, each
    elif place < DONE:
        yield place + 1, engine


def bare() -> int:
    """Visit the bare model, with its engines sorted; the number of transitions."""
    first: Bare = ((NEW, -1) * TASKS, (0,) * ENGINES, 3)
    seen, level, transitions = {first}, [first], 0
    while level:
        following = []
        for state in level:
            for after in successors(state):
                transitions += 1
                if after not in seen:
                    seen.add(after)
                    following.append(after)
        level = following
    return transitions


def rate(work: Callable[[], int]) -> float:
    """Transitions per second of CPU time."""
    gc.collect()
    started = time.process_time()
    number = work()
    return number / max(time.process_time() - started, 1e-9)


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    contenders: dict[str, Callable[[], int]] = {
        "bare search through tuples": lambda: sum(bare() for _ in range(40)),
        **{name: lambda scope=scope: explore(scope).transitions for name, scope in SCOPES.items()},  # type: ignore[misc]
    }
    rates: dict[str, list[float]] = {name: [] for name in contenders}
    gc.disable()
    for _ in range(options.rounds):
        for name, work in contenders.items():
            rates[name].append(rate(work))
    gc.enable()
    medians = {name: statistics.median(each) for name, each in rates.items()}
    peer = medians["bare search through tuples"]
    table = Table("search", "transitions/s", "of the bare search", title=f"Python {platform.python_version()}")
    for name, median in medians.items():
        table.add_row(name, f"{median:,.0f}", f"{median / peer:.2f}")
    Console().print(table)
    worst = min(median for name, median in medians.items() if name in SCOPES)
    print(f"budget {BUDGET:,} transitions per second: {'kept' if worst >= BUDGET else 'NOT kept'}, {worst:,.0f}")
    if options.json:
        options.json.write_text(json.dumps({"transitions_per_second": medians, "budget": BUDGET}, indent=2) + "\n")


if __name__ == "__main__":
    main()
