"""The suite accuses an engine of exactly what it does wrong, and an engine without that fault of nothing."""

import json
import subprocess
import sys
from functools import cache
from pathlib import Path

import broken_engine
import pytest
from engine_mischief import FAULTS, every

import conformance
from protocol.requirements import get

HERE = Path(__file__).parent
SUITE = Path(conformance.__file__).parent
assert broken_engine.FAULTS is FAULTS

#: Runs the suite and writes down every verdict: the target, the case with its parameters, the requirement, the verdict.
RUN = """
import json, sys
import pytest

class Notes:
    def __init__(self):
        self.seen = []
    def pytest_runtest_logreport(self, report):
        for result in getattr(report, "ippkit", ()):
            case = report.nodeid.rpartition("/")[2]
            self.seen.append([result["target"], case, result["requirement"], result["verdict"], result["summary"]])

notes = Notes()
pytest.main(sys.argv[2:], plugins=[notes])
json.dump(notes.seen, open(sys.argv[1], "w"))
"""

#: How often a case is run until it has shown what it must.
ASKED = 3
DESCRIPTOR = """
name = "{name}"
dialect = "ipyparallel-9"
roles = ["engine"]
features = [
    "apply", "dependencies", "output", "clear", "abort", "signal", "kernel-info", "tasks", "broadcast", "watch",
]
[engine]
command = ["{{python}}", "{engine}", "{{engine_file}}", "{name}"]
[samples]
print = "print('{{text}}')"
stderr = "import sys; print('{{text}}', file=sys.stderr)"
raise = "raise ValueError('{{text}}')"
sleep = "import time; time.sleep({{seconds}})"
value = "'{{text}}'"
many_lines = "for number in range({{count}}): print(number, flush=True)"
hold_interpreter = "import ctypes; ctypes.PyDLL(None).usleep(int({{seconds}} * 1_000_000))"
input = "input('{{text}}')"
define = "{{name}} = 1"
recall = "{{name}}"
[timing]
heartbeat_period_ms = 50
engine_timeout_s = 1.0
engine_misses = 4
reply_deadline_s = 1.5
start_deadline_s = 8.0
stop_grace_s = 1.0
"""


def node(case: str, target: str) -> str:
    """How pytest calls a case of this target."""
    name = case.replace("TARGET", target)
    return name if "[" in name else f"{name}[{target}]"


def judge(directory: Path, out: Path, options: list[str], nodes: list[tuple[str, str]]) -> list[list[str]]:
    """Target, case, requirement, verdict and summary of each result of these cases of these targets."""
    command = [sys.executable, "-c", RUN, str(out), "-p", "no:cacheprovider", "-q", "-n", "4", *options]
    command += [f"{SUITE}/{case}" for _, case in nodes]
    done = subprocess.run(command, cwd=directory, capture_output=True, text=True, timeout=600, check=False)
    assert out.exists(), done.stdout[-3000:] + done.stderr[-3000:]
    found: list[list[str]] = json.loads(out.read_text())
    return found


def weight(verdict: str) -> int:
    """Which of several verdicts on one requirement counts: the heaviest."""
    return 2 if verdict in ("failed", "warned", "observed", "kit error") else int(verdict == "undecided")


def open_questions(found: dict[tuple[str, str], dict[str, tuple[str, str]]]) -> list[tuple[str, str]]:
    """The targets and cases that have not shown what they must, or that the machine was too busy to judge."""
    accused = {(key, slug) for key, results in found.items() for slug, seen in results.items() if weight(seen[0]) == 2}
    undecided = {key for key, results in found.items() if any(weight(verdict) == 1 for verdict, _ in results.values())}
    wanted = {((name, node(case, name)), slug) for name, case, slug in every()}
    sound = {("none", node(case, "none")) for _, case, _ in every()}
    return sorted({key for key, _ in wanted - accused} | (sound - found.keys()) | (sound & undecided))


@cache
def verdicts(directory: Path) -> dict[tuple[str, str], dict[str, tuple[str, str]]]:
    """Target and case -> requirement -> verdict and summary, of one run over the sound engine and every broken one."""
    options: list[str] = []
    for name in ("none", *FAULTS):
        file = directory / f"{name}.toml"
        file.write_text(DESCRIPTOR.format(name=name, engine=HERE / "broken_engine.py"), encoding="utf-8")
        options += ["--target", str(file)]
    found: dict[tuple[str, str], dict[str, tuple[str, str]]] = {}
    # A busy machine may leave a case undecided, or let an abort overtake what it would have aborted wrongly; that says
    # nothing about the case.
    for turn in range(ASKED):
        nodes = open_questions(found)
        if not nodes:
            break
        for key in nodes:
            # Once accused is accused, whatever else is found.
            found[key] = {slug: seen for slug, seen in found.get(key, {}).items() if weight(seen[0]) == 2}
        out = directory / f"verdicts-{turn}.json"
        for target, case, slug, verdict, summary in judge(directory, out, options, nodes):
            results = found.setdefault((target, case), {})
            if weight(verdict) >= weight(results.get(slug, ("passed",))[0]):
                results[slug] = (verdict, summary)
    return found


@pytest.fixture(scope="session")
def run(tmp_path_factory: pytest.TempPathFactory) -> dict[tuple[str, str], dict[str, tuple[str, str]]]:
    return verdicts(tmp_path_factory.mktemp("engines"))


pytestmark = [
    pytest.mark.timeout(600),
    # One run serves all, so it must not be made once per worker.
    pytest.mark.xdist_group("broken engines"),
    pytest.mark.skipif(not Path("/proc/self/comm").exists(), reason="the processes are looked up in /proc"),
]


@pytest.mark.parametrize("case", sorted({case for _, case, _ in every()}))
def test_an_engine_without_fault_is_accused_of_nothing(run, case: str) -> None:
    found = run["none", node(case, "none")]
    assert found
    # On a machine that is too busy to tell, nothing is told: that is no accusation.
    assert {slug: result for slug, result in found.items() if result[0] not in ("passed", "undecided")} == {}


@pytest.mark.parametrize(("name", "case", "slug"), sorted(every()))
def test_a_fault_is_found_under_its_name(run, name: str, case: str, slug: str) -> None:
    found = run[name, node(case, name)]
    accused = {"MUST": "failed", "SHOULD": "warned", "MAY": "observed"}[get(slug).level]
    assert found.get(slug, ("silence",))[0] == accused, found
