"""What judging costs: whole runs of the suite, and seconds per case beside the test suite that kernels had so far.

    python benchmarks/suite.py [--rounds N] [--only runs|kernels] [--json FILE]

The runs are commands as users type them, on two cores (`-n 2`): the start of Python, of the targets and all collecting
included. The kernel role against ipykernel is measured beside jupyter_kernel_test, which asks the same kernel some of
the same questions; each round runs both, one after the other. Shown are medians of the rounds.

The exit status says nothing about speed.
"""

import argparse
import json
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from rich.console import Console
from rich.table import Table

SUITE = Path(__file__).parent.parent / "conformance"
#: At most this share of the time that a test of jupyter_kernel_test takes.
BUDGET = 1 / 3
#: Runs of the suite: what they are called, their arguments, and how many seconds they may take.
RUNS = (
    ("controller role, the reference", ("-n", "2", "--target", "reference"), 60),
    ("controller role, ipyparallel", ("-n", "2", "--target", "ipyparallel"), 180),
    ("engine role, ipyparallel's engine", ("-n", "2", "--target", "ipyparallel-engine"), 90),
    ("start of pytest until the first case", ("--collect-only", "--target", "reference"), 3),
)
#: What jupyter_kernel_test has to know of a kernel of Python.
THEIRS = """
import unittest
import jupyter_kernel_test

class Tests(jupyter_kernel_test.KernelTests):
    kernel_name = "python3"
    language_name = "python"
    file_extension = ".py"
    code_hello_world = "print('hello, world')"
    code_stderr = "import sys; print('test', file=sys.stderr)"
    completion_samples = [{"text": "zi", "matches": {"zip"}}]
    complete_code_samples = ["1", "print('hello')"]
    incomplete_code_samples = ["print('''hello"]
    invalid_code_samples = ["import = 7q"]
    code_page_something = "zip?"
    code_generate_error = "raise ValueError"
    code_execute_result = [{"code": "6*7", "result": "42"}]
    code_display_data = [{"code": "display(1)", "mime": "text/plain"}]
    code_inspect_sample = "zip"
    code_clear_output = "from IPython.display import clear_output; clear_output()"
    supported_history_operations = ("tail",)

unittest.main()
"""


def seconds_of(command: list[str], directory: Path) -> tuple[float, str]:
    """How long a command takes, and what it printed; it must succeed."""
    started = time.perf_counter()
    done = subprocess.run(command, cwd=directory, capture_output=True, text=True, timeout=600, check=False)
    took = time.perf_counter() - started
    printed = done.stdout + done.stderr
    if done.returncode:
        sys.exit(f"{' '.join(command)} ended with status {done.returncode}:\n{printed[-3000:]}")
    return took, printed


def ours(directory: Path) -> tuple[float, int]:
    """Seconds and number of cases of the kernel role against ipykernel, in one process."""
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(SUITE), "--target", "ipykernel"]
    took, printed = seconds_of(command, directory)
    last = printed.strip().splitlines()[-1]
    return took, sum(int(count) for count in re.findall(r"(\d+) (?:passed|known|warned|blocked)", last))


def theirs(directory: Path) -> tuple[float, int]:
    """Seconds and number of tests of jupyter_kernel_test."""
    took, printed = seconds_of([sys.executable, "-c", THEIRS], directory)
    ran, skipped = re.search(r"Ran (\d+) test", printed), re.search(r"skipped=(\d+)", printed)
    assert ran is not None, printed
    return took, int(ran[1]) - (int(skipped[1]) if skipped else 0)


def runs(rounds: int, directory: Path) -> dict[str, list[float]]:
    """Seconds of each round of each run."""
    found: dict[str, list[float]] = {name: [] for name, _, _ in RUNS}
    for _ in range(rounds):
        for name, arguments, _ in RUNS:
            command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(SUITE), *arguments]
            found[name].append(seconds_of(command, directory)[0])
    table = Table("run of the suite", "seconds", "at most", "kept")
    for name, _, budget in RUNS:
        took = statistics.median(found[name])
        table.add_row(name, f"{took:.1f}", str(budget), "yes" if took <= budget else "no")
    Console().print(table)
    return found


def kernels(rounds: int, directory: Path) -> dict[str, list[tuple[float, int]]]:
    """Seconds and number of cases of each round, of ours and of theirs."""
    found: dict[str, list[tuple[float, int]]] = {"ippkit": [], "jupyter_kernel_test": []}
    for _ in range(rounds):
        found["ippkit"].append(ours(directory))
        found["jupyter_kernel_test"].append(theirs(directory))
    each = {name: statistics.median(took / count for took, count in rows) for name, rows in found.items()}
    table = Table("kernel role against ipykernel", "cases", "seconds", "ms per case", "share", "budget")
    for name, rows in found.items():
        share = each[name] / each["jupyter_kernel_test"]
        budget = f"{BUDGET:.2f}" if name == "ippkit" else ""
        seconds = statistics.median(took for took, _ in rows)
        table.add_row(name, str(rows[0][1]), f"{seconds:.1f}", f"{each[name] * 1e3:.0f}", f"{share:.2f}", budget)
    Console().print(table)
    return found


PARTS: dict[str, Callable[[int, Path], object]] = {"runs": runs, "kernels": kernels}


def main() -> None:
    """Measure, and show."""
    parser = argparse.ArgumentParser(description="What judging costs: runs of the suite, and seconds per case.")
    parser.add_argument("--rounds", type=int, default=3, help="rounds of each run and suite  [default: 3]")
    parser.add_argument("--only", choices=PARTS, help="only this part")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write the figures here")
    options = parser.parse_args()
    if options.rounds < 1:
        parser.error("--rounds: at least one round is needed")
    with tempfile.TemporaryDirectory(prefix="ippkit-") as folder:
        found = {
            name: measure(options.rounds, Path(folder))
            for name, measure in PARTS.items()
            if options.only in (None, name)
        }
    if options.json:
        options.json.write_text(json.dumps(found, indent=2) + "\n")


if __name__ == "__main__":
    main()
