"""`ippkit simulate`: one run, a campaign, a comparison; and what happens to those who ask for something else."""

import json
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import pytest
from simulating import simulate

from conformance import simulating
from conformance.report.reading import of_file
from conformance.simulating import carry_out, command, report
from simulator.run import Setup
from simulator.scenarios import SCENARIOS


def test_a_scenario_is_told_and_judged() -> None:
    result = simulate("mass-death", "--seed", "3")
    assert result.exit_code == 0, result.output
    assert result.output.startswith("mass-death: All engines but one die")
    assert result.output.endswith("nothing was violated.\n")


def test_a_swarm_names_its_faults() -> None:
    result = simulate("--seed", "4", "--tasks", "5", "--engines", "2", "--faults", "lite")
    assert result.exit_code == 0, result.output
    assert result.output.startswith("swarm, seed 4: ")
    assert " s for " in result.output


def test_the_list_has_every_scenario() -> None:
    result = simulate("--list")
    assert result.exit_code == 0
    assert all(name in result.output for name in SCENARIOS)


def test_what_is_violated_is_shown_with_the_requirement(broken: str) -> None:
    result = simulate(broken)
    assert result.exit_code == 1
    assert "wire.reply-true: everything should have ended with 'ok'" in result.output
    assert ": 1 violation.\n" in result.output


def test_a_mutant_is_broken_on_purpose_and_replayed_from_its_trace(tmp_path: Path) -> None:
    file = tmp_path / "out.jsonl"
    arguments = ["engine-dies-with-queued-tasks", "--mutant", "ignores-targets"]
    result = simulate(*arguments, "--trace", str(file))
    assert result.exit_code == 1, result.output
    assert "task.targets-respected: tasks: " in result.output
    assert result.output.endswith(f"The smallest run that fails like this: ippkit minimise {file}\n")
    story = of_file(file)
    assert any(violation.startswith("task.targets-respected: ") for violation in story.violations)
    assert f"Replay: ippkit simulate {arguments[0]} --seed 0 --mutant ignores-targets" in story.notes


def test_each_violation_says_whom_it_blames() -> None:
    outcome = carry_out(Setup(name="engine-dies-with-queued-tasks", mutant="answers-nobody"))
    assert len(outcome.blames) == len(outcome.violations)
    assert {blame.requirement for blame in outcome.blames} == {"wire.every-request-answered"}
    assert outcome.blames[0].guilty == ""
    assert outcome.blames[1].guilty == "tasks"
    assert outcome.unmet is not None
    assert outcome.unmet.demand is not None
    assert outcome.unmet.demand.name == "ends"


def test_a_trace_begins_with_what_it_is_a_trace_of(tmp_path: Path) -> None:
    file = tmp_path / "out.jsonl"
    assert simulate("--seed", "4", "--tasks", "5", "--trace", str(file)).exit_code == 0
    head, *lines = [json.loads(line) for line in file.read_text().splitlines()]
    assert head["setup"]["seed"] == 4
    assert head["setup"]["plan"][0]["fault"]["type"]
    assert len(head["digest"]) == 32
    assert {line[2] for line in lines} >= {"began", "sent", "took", "fired"}
    assert any(line[1] == "fault" for line in lines)


def test_the_same_seed_gives_the_same_run_in_another_python() -> None:
    result = simulate("--seed", "4", "--tasks", "10", "--check-determinism")
    assert result.exit_code == 0, result.output
    assert result.output.startswith("The same run twice: ")


def test_a_difference_is_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    from conformance.cli import simulate as module

    class Other:
        def __init__(self, *_: Any, **__: Any) -> None:
            pass

        def __enter__(self) -> "Other":
            return self

        def __exit__(self, *_: object) -> None:
            pass

        def submit(self, _: Any, setup: Setup) -> Future[Any]:
            digest, entries = module._entries(setup)
            future: Future[Any] = Future()
            future.set_result((digest + "?", [*entries[:7], (0, "changed"), *entries[8:]]))
            return future

    monkeypatch.setattr(module, "ProcessPoolExecutor", Other)
    result = simulate("engine-dies-twice", "--check-determinism")
    assert result.exit_code == 1
    assert "Two runs differ from entry 7 on:" in result.output
    assert "(0, 'changed')" in result.output


def test_a_campaign_counts_and_says_what_it_never_reached() -> None:
    result = simulate("swarm", "--seeds", "0..1", "--jobs", "1")
    assert result.exit_code == 0, result.output
    assert "Never reached" in result.output
    assert "client.bad-snapshot: " in result.output
    assert "swarm: 2 runs, nothing was violated" in result.output


def test_a_campaign_of_one_scenario_lists_nothing_that_it_is_not_about() -> None:
    result = simulate("mass-death", "--seeds", "0..2", "--jobs", "1")
    assert result.exit_code == 0, result.output
    reached, verdict = result.output.splitlines()
    assert reached.endswith("rare branches were reached.")
    assert verdict.startswith("mass-death: 3 runs, nothing was violated")


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["mass-deth"], "there is no scenario 'mass-deth'; did you mean mass-death?"),
        (["zzz"], "--list shows them"),
        (["--mutant", "ignores-target"], "there is no mutant 'ignores-target'; did you mean 'ignores-targets'?"),
        (["--seeds", "5..3"], "'5..3' is no range of seeds such as 0..99"),
        (["--seeds", "many"], "'many' is no range of seeds"),
        (["--seed", "-1"], "-1 is not in the range"),
        (["all", "--trace", "x"], "are for one run"),
        (["all", "--diagram", "x.svg"], "are for one run"),
        (["--diagram", "x.png"], "ends with none of .svg, .html, .txt"),
        (["--seeds", "0..3", "--check-determinism"], "are for one run"),
    ],
)
def test_wrong_usage_is_one_sentence(arguments: list[str], sentence: str) -> None:
    result = simulate(*arguments)
    assert result.exit_code == 4
    assert sentence in result.output
    assert len(result.output.splitlines()) == 1


def test_a_trace_that_cannot_be_written_is_one_sentence(tmp_path: Path) -> None:
    result = simulate("engine-dies-twice", "--trace", str(tmp_path / "no" / "file"))
    assert result.exit_code == 4
    assert "cannot be written: there is no folder" in result.output


# -- campaigns ---------------------------------------------------------------------------------------------------------


def test_a_mistake_of_the_kit_does_not_end_a_campaign(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(simulating, "run", lambda *_, **__: 1 / 0)
    found = report(Setup())
    assert "ZeroDivisionError" in found.error
    assert not found.is_clean


def test_the_command_replays_the_run() -> None:
    assert command(Setup(name="mass-death", seed=3)) == "ippkit simulate mass-death --seed 3"
    broken = Setup(name="mass-death", mutant="ignores-targets")
    assert command(broken) == "ippkit simulate mass-death --seed 0 --mutant ignores-targets"
    swarm = Setup(seed=1, engines=2, tasks=5, faults="lite")
    assert command(swarm) == "ippkit simulate swarm --seed 1 --engines 2 --tasks 5 --faults lite"
