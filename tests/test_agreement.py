"""A simulation that is judged otherwise than what it simulates is noticed, and nothing else is called a difference."""

from pathlib import Path

import pytest
from test_suite_usage import run

from conformance.agreement import disagreements
from conformance.files import data
from conformance.harness.verdict import Result, Verdict
from conformance.results import CONFORMS, UNUSABLE, VIOLATIONS, exit_status
from conformance.targets import Target, load

SLUG = "registration.reply-id"
OTHER = "registration.duplicate-uuid-refused"


def result(
    target: str, verdict: Verdict = "passed", slug: str = SLUG, case: str = "test_a.py::test_a", **more: bool
) -> Result:
    return Result(slug, case, target, verdict, **more)  # type: ignore[arg-type]


@pytest.fixture
def targets() -> list[Target]:
    return [load("reference"), load("simulated")]


@pytest.mark.parametrize("name", ["simulated", "simulated-engine"])
def test_a_simulation_is_asked_the_same_as_what_it_simulates(name: str) -> None:
    simulated = load(name)
    real = load(simulated.simulates)
    for same in ("dialect", "roles", "features", "timing"):
        assert getattr(simulated, same) == getattr(real, same)


def test_equal_verdicts_are_no_difference(targets: list[Target]) -> None:
    results = [
        result("reference"),
        result("simulated"),
        result("reference", "failed", OTHER),
        result("simulated", "failed", OTHER),
    ]
    assert disagreements(results, targets) == []


@pytest.mark.parametrize(
    "verdicts", [("passed", "failed"), ("failed", "passed"), ("passed", "blocked"), ("passed", "not applicable")]
)
def test_different_verdicts_are(targets: list[Target], verdicts: tuple[Verdict, Verdict]) -> None:
    results = [result("reference", verdicts[0]), result("simulated", verdicts[1])]
    (found,) = disagreements(results, targets)
    assert str(found) == f"{SLUG} in test_a.py::test_a: reference: {verdicts[0]}; simulated: {verdicts[1]}"


def test_what_only_one_of_them_was_accused_of_is_a_difference(targets: list[Target]) -> None:
    results = [result("reference"), result("simulated"), result("simulated", "failed", OTHER, by_rule=True)]
    (found,) = disagreements(results, targets)
    assert (found.requirement, found.verdicts["reference"]) == (OTHER, ())


@pytest.mark.parametrize(
    "results",
    [
        [result("reference"), result("simulated", "not applicable", only_real=True)],
        [result("reference", "undecided"), result("simulated")],
        [result("reference"), result("simulated"), result("simulated", slug=OTHER, by_rule=True)],
        [result("reference"), result("simulated", "failed", case="test_a.py::test_that_only_one_ran")],
        [result("reference"), result("ipyparallel", "failed")],
    ],
    ids=["needs a system", "a busy machine", "what a rule saw besides", "another case", "another target"],
)
def test_what_cannot_be_compared_is_left_out(targets: list[Target], results: list[Result]) -> None:
    assert disagreements(results, targets) == []


def test_a_difference_is_a_defect_of_the_kit_unless_something_was_violated() -> None:
    assert exit_status([result("reference")], 0) == CONFORMS
    assert exit_status([result("reference")], 0, is_at_odds=True) == UNUSABLE
    assert exit_status([result("reference", "failed")], 1, is_at_odds=True) == VIOLATIONS


def test_a_run_tells_the_difference(tmp_path: Path) -> None:
    text = (data("fixtures/targets/simulated.toml")).read_text()
    (tmp_path / "poor.toml").write_text(
        text.replace(', "controller-broadcast"', "").replace('name = "simulated"', 'name = "poor"')
    )
    words = ("--target", "reference", "--target", str(tmp_path / "poor.toml"), "-k", "test_broadcast_is_one_port")
    done = run(tmp_path, *words)
    assert done.returncode == UNUSABLE, done.stdout
    assert "connection.broadcast-ports-shape in test_connection.py::" in done.stdout
    assert "reference: passed; poor: not applicable" in done.stdout


def test_what_needs_a_system_is_listed(tmp_path: Path) -> None:
    done = run(tmp_path, "--target", "simulated", "-k", "test_only_the_owner_may_read")
    assert done.returncode == CONFORMS, done.stdout
    assert "only a real system has file modes" in done.stdout
