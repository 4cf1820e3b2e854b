"""`ippkit minimise`: from the trace of a run that fails to a scenario; and what happens with other files."""

from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from conformance.cli import main

BROKEN = ["swarm", "--seed", "5", "--engines", "2", "--tasks", "4", "--faults", "none", "--mutant", "gives-out-twice"]


def ippkit(*arguments: str) -> Result:
    return CliRunner().invoke(main, arguments)


@pytest.fixture(scope="module")
def trace(tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("minimise") / "failing.jsonl"
    assert ippkit("simulate", *BROKEN, "--trace", str(path)).exit_code == 1
    return str(path)


def test_a_trace_becomes_a_scenario_with_what_it_was_and_is(trace: str) -> None:
    result = ippkit("minimise", trace)
    assert result.exit_code == 0, result.output
    lines = result.stdout.splitlines()
    assert lines[0].startswith(f"ippkit simulate {' '.join(BROKEN)}: task.one-live-assignment, broken by tasks")
    assert lines[1].startswith("  whole:    2 engines, 2 clients, 8 requests, 0 faults, ")
    assert lines[2] == "  smallest: 2 engines, 1 client, 1 request, 0 faults, 0 s"
    assert "With 10 of 10 seeds it fails in the same way." in lines[3]
    assert "def minimised_swarm_5(cluster: Cluster) -> None:" in lines
    assert "The nearest run that does not fail is the same without the mutant." in lines
    assert {line[:8] for line in lines} >= {"  fails ", "  passes"}


def test_the_code_goes_into_a_file_and_the_search_can_be_short(trace: str, tmp_path: Path) -> None:
    out = tmp_path / "scenario.py"
    arguments = ["--requirement", "task.dispatches-bounded", "--tries", "1", "--out", str(out)]
    result = ippkit("minimise", trace, *arguments)
    assert result.exit_code == 0, result.output
    assert "1 runs in " in result.output
    assert "the search was ended, and smaller ones may exist" in result.output
    assert f"Scenario: {out}" in result.output
    assert out.read_text().startswith('"""What was left of swarm, seed 5."""\n')


def test_the_clock_ends_a_search_too(trace: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from conformance.cli import minimise as module

    class Late:
        """A clock on which a minute passes between two looks."""

        now = 0.0

        def monotonic(self) -> float:
            self.now += 60
            return self.now

    monkeypatch.setattr(module, "time", Late())
    result = ippkit("minimise", trace, "--minutes", "2")
    assert result.exit_code == 0, result.output
    assert "1 runs in " in result.output


@pytest.mark.parametrize(
    ("arguments", "status", "sentence"),
    [
        (
            ["--requirement", "a.b"],
            4,
            "a.b is not violated in this run; what is: task.one-live-assignment, task.dispatches-bounded",
        ),
        (["--tries", "0"], 4, "0 is not in the range"),
        (["--minutes", "nan"], 4, "nan is no time"),
        (["--out", "no/such/folder.py", "--tries", "1"], 3, "No such file or directory"),
    ],
)
def test_wrong_usage_is_one_sentence(trace: str, arguments: list[str], status: int, sentence: str) -> None:
    result = CliRunner().invoke(main, ["minimise", trace, *arguments])
    assert result.exit_code == status
    assert sentence in result.stderr
    assert len(result.stderr.strip().splitlines()) == 1


@pytest.mark.parametrize(
    ("content", "status", "sentence"),
    [
        ("{}", 4, "no trace of ippkit simulate"),
        ('{"format": "ippkit-recording"}', 4, "no trace of ippkit simulate"),
        ('{"setup": {"name": "tasks-time-out", "plan": null}}', 4, "nothing is violated in this run"),
    ],
)
def test_a_file_from_which_nothing_fails_is_one_sentence(
    tmp_path: Path, content: str, status: int, sentence: str
) -> None:
    path = tmp_path / "file.jsonl"
    path.write_text(content)
    result = CliRunner().invoke(main, ["minimise", str(path)])
    assert result.exit_code == status
    assert sentence in result.stderr
    assert len(result.stderr.strip().splitlines()) == 1
