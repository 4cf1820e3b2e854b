"""How many damaged messages a second the fuzzers send and judge, and how much of that is waiting for the target.

`wire` damages messages and asks the decoder; each target is struck at all its sockets among honest traffic, and watched
by the rules. CPU is that of the kit alone, so where a target is another process, the rest of the time is its work. All
take turns in rounds, and the medians are shown; their ratios hold on a busy machine, their rates do not.

    python benchmarks/fuzz.py [--rounds N] [--messages N] [--json FILE]

The exit status says nothing about speed; it is 1 if anybody noticed any damage.
"""

import argparse
import json
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

from rich.console import Console
from rich.table import Table

# Beside this file there is one with the name of a package, and Python looks into this folder first.
sys.path[:] = [folder for folder in sys.path if Path(folder).resolve() != Path(__file__).resolve().parent]

from conformance.fuzz import Fuzzer  # noqa: E402
from conformance.livefuzz.campaign import Campaign  # noqa: E402
from conformance.targets import load  # noqa: E402

TARGETS = (
    "simulated", "simulated-engine", "simulated-client", "reference", "reference-engine", "reference-client",
)  # fmt: skip
Figures = tuple[float, float, int]


def wire(messages: int, seed: int) -> Figures:
    """Seconds, seconds of CPU, and failures of the decoder's fuzzer."""
    fuzzer = Fuzzer(seed)
    started, cpu = time.perf_counter(), time.process_time()
    failures = list(fuzzer.run(messages))[-1].failures
    return time.perf_counter() - started, time.process_time() - cpu, len(failures)


def struck(target: str) -> Callable[[int, int], Figures]:
    """The same for a target; starting it does not count."""

    def run(messages: int, seed: int) -> Figures:
        descriptor = load(target)
        campaign = Campaign(descriptor, descriptor.roles[0], seed)
        try:
            campaign.arena()
            started, cpu = time.perf_counter(), time.process_time()
            for _ in campaign.run(messages):
                pass
            return time.perf_counter() - started, time.process_time() - cpu, len(campaign.outcome.harms)
        finally:
            campaign.close()

    return run


def main() -> int:
    """Measure, and print a row for each."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--messages", type=int, default=10_000)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    contenders = {"wire": wire} | {target: struck(target) for target in TARGETS}
    seen: dict[str, list[Figures]] = {name: [] for name in contenders}
    for number in range(options.rounds):
        for name, run in contenders.items():
            seen[name].append(run(options.messages, number))
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in ("what is fuzzed", "messages/s", "µs of CPU each", "harm"):
        table.add_column(column, justify="left" if column == "what is fuzzed" else "right")
    figures = {}
    for name, rounds in seen.items():
        rate = options.messages / statistics.median(each[0] for each in rounds)
        cpu = statistics.median(each[1] for each in rounds) / options.messages * 1e6
        harm = sum(each[2] for each in rounds)
        figures[name] = {"messages_per_second": rate, "cpu_us": cpu, "harm": harm}
        table.add_row(name, f"{rate:,.0f}", f"{cpu:,.0f}", f"{harm}")
    Console().print(table)
    if options.json is not None:
        options.json.write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")
    return 1 if any(each["harm"] for each in figures.values()) else 0


if __name__ == "__main__":
    raise SystemExit(main())
