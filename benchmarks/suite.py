"""What judging costs: seconds per case, beside the test suite that kernels had so far.

    python benchmarks/suite.py [--rounds N] [--json FILE]

The kernel role against ipykernel is measured beside jupyter_kernel_test, which asks the same kernel some of the same
questions. Each round runs both, one after the other, as whole commands: the start of Python, of the kernels and all
collecting included. Shown is the median of the rounds, divided by the number of cases or tests that were run.

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
from pathlib import Path

from rich.console import Console
from rich.table import Table

SUITE = Path(__file__).parent.parent / "conformance"
#: At most this share of the time that a test of jupyter_kernel_test takes.
BUDGET = 1 / 3
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


def main() -> None:
    """Measure, and show."""
    parser = argparse.ArgumentParser(description="Seconds per case of the kernel role, beside jupyter_kernel_test.")
    parser.add_argument("--rounds", type=int, default=3, help="rounds of each suite  [default: 3]")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write the figures here")
    options = parser.parse_args()
    if options.rounds < 1:
        parser.error("--rounds: at least one round is needed")
    found: dict[str, list[tuple[float, int]]] = {"ippkit": [], "jupyter_kernel_test": []}
    with tempfile.TemporaryDirectory(prefix="ippkit-") as folder:
        for _ in range(options.rounds):
            found["ippkit"].append(ours(Path(folder)))
            found["jupyter_kernel_test"].append(theirs(Path(folder)))
    each = {name: statistics.median(took / count for took, count in runs) for name, runs in found.items()}
    table = Table("kernel role against ipykernel", "cases", "seconds", "ms per case", "share", "budget")
    for name, runs in found.items():
        share = each[name] / each["jupyter_kernel_test"]
        budget = f"{BUDGET:.2f}" if name == "ippkit" else ""
        seconds = statistics.median(took for took, _ in runs)
        table.add_row(name, str(runs[0][1]), f"{seconds:.1f}", f"{each[name] * 1e3:.0f}", f"{share:.2f}", budget)
    Console().print(table)
    if options.json:
        options.json.write_text(json.dumps({"seconds per case": each, "runs": found}, indent=2) + "\n")


if __name__ == "__main__":
    main()
