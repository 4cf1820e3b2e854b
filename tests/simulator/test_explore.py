"""Every order of events in a small world: the real machines break nothing, and a mistake is found with its story."""

import itertools
import re
from pathlib import Path
from typing import Any

import msgspec
import pytest
from click.testing import CliRunner, Result

from conformance.cli import main
from conformance.exploring import UnsuitableMutantError, infecting
from conformance.mutants import find
from conformance.mutants import load as load_mutants
from protocol.requirements import load
from simulator.explore import FAULTS, Scope, World, explore, tell, text


def run(*arguments: str) -> Result:
    return CliRunner().invoke(main, ["explore", *arguments])


def test_two_tasks_on_two_engines_survive_every_fault_and_every_two_faults() -> None:
    """One world for all: what a machine does in a state does not depend on what may still go wrong."""
    world = World(Scope())
    for number in (0, 1, 2):
        for chosen in itertools.combinations(FAULTS, number):
            scope = Scope(faults=dict.fromkeys(chosen, 1))
            found = explore(scope, world=world)
            assert found.violation is None, (chosen, found.violation, *text(tell(world, found.path)))
            assert found.is_whole
            assert found.ends >= 5, f"stories end in different ways: {found}"
    reached = {"task.not-connected", "task.reply-dropped", "task.engine-missing", "task.stale-notification"}
    assert reached <= world.marks.keys(), world.marks


@pytest.mark.parametrize(
    "others",
    [
        {"retries": 1, "faults": {"error": 2, "crash": 1}},
        {"retries": 1, "faults": {"heart": 1}},
        {"dependencies": 1, "faults": {"error": 1, "crash": 1}},
        {"dependencies": 1, "retries": 1, "faults": {"unmet": 2, "drop": 1}},
        {"hwm": 0, "faults": {"crash": 1, "unmet": 1}},
        {"hwm": 2, "scheme": "lru", "tasks": 3, "faults": {"crash": 1}},
        {"tasks": 3, "dependencies": 1, "retries": 1, "faults": {"error": 1}},
        {"tasks": 3, "engines": 3, "faults": {"unmet": 1}},
        {"purges": 1, "faults": {"error": 1}},
        {"dependencies": 1, "purges": 2},
    ],
    ids=repr,
)
def test_other_worlds_are_clean_too(others: dict[str, Any]) -> None:
    world = World(Scope(**others))
    found = explore(world.scope, world=world)
    assert found.violation is None, (found.violation, *text(tell(world, found.path)))
    assert found.is_whole


@pytest.mark.parametrize("fault", FAULTS)
def test_orders_that_are_passed_over_lead_nowhere_else(fault: str) -> None:
    scope = Scope(faults={fault: 1})
    world = World(scope)
    reduced, whole = explore(scope, world=world), explore(scope, world=world, is_reduced=False)
    assert reduced.violation is whole.violation is None
    assert reduced.ends == whole.ends
    assert reduced.states < whole.states


def test_engines_that_are_alike_are_not_told_apart() -> None:
    world = World(Scope())
    happened = {each.action: each.state for each in world.happens(world.begin())}
    one, other = (happened[("registers",), engine] for engine in (0, 1))
    assert one != other
    assert world.sorted(one) == world.sorted(other)


#: A mistake, where it is looked for, what it breaks, and how many steps the shortest story has.
MISTAKES = [
    ("gives-out-twice", {}, "task.one-live-assignment", 6),
    ("holds-two", {}, "task.load-is-pending", 6),
    ("works-only-with-engines", {"tasks": 1, "engines": 1}, "wire.every-request-answered", 5),
    ("names-no-engine", {}, "task.reply-names-engine", 7),
    ("passes-every-reply", {"faults": {"crash": 1}}, "wire.at-most-one-reply", 11),
    ("leaves-tasks-in-the-queue", {"faults": {"crash": 1}}, "task.exactly-one-place", 8),
    ("puts-failures-back", {"faults": {"crash": 1}}, "task.done-is-stable", 8),
    ("uses-the-dead", {"faults": {"crash": 1}}, "notification.views-converge", 18),
    ("never-tries-again", {"retries": 1, "faults": {"error": 1}}, "task.retry-on-failure", 7),
    ("tries-for-ever", {"retries": 1, "faults": {"error": 2}}, "task.dispatches-bounded", 12),
    ("asks-who-refused", {"faults": {"unmet": 1}}, "task.refusing-engine-avoided", 7),
    ("passes-refusals-on", {"faults": {"unmet": 1}}, "task.unmet-is-rerouted", 7),
    ("ignores-after", {"dependencies": 1}, "dependency.after-waits", 8),
    ("counts-failure-as-success", {"dependencies": 1, "faults": {"error": 1}}, "dependency.after-waits", 9),
    (
        "forgets-who-waited-for-the-dead",
        {"dependencies": 1, "faults": {"crash": 1}},
        "wire.every-request-answered",
        16,
    ),
    ("purges-nothing", {"purges": 1}, "query.purge-forgets", 12),
    ("purges-everything", {"purges": 1}, "query.purge-keeps-others", 20),
    ("purges-what-does-not-exist", {"purges": 1}, "query.purge-nonexistent-refused", 3),
]


@pytest.mark.parametrize(("mutant", "others", "requirement", "steps"), MISTAKES, ids=[row[0] for row in MISTAKES])
def test_a_mistake_is_found_with_its_shortest_story(
    mutant: str, others: dict[str, Any], requirement: str, steps: int
) -> None:
    world = World(Scope(**others), infecting(find(mutant)))
    found = explore(world.scope, world=world)
    assert found.violation is not None
    assert found.violation.requirement == requirement
    story = tell(world, found.path)
    assert len(story) == steps, text(story)


def test_what_the_ledger_demands_is_demanded() -> None:
    source = Path("simulator/explore/ledger.py")
    named = set(re.findall(r'"([a-z]+\.[a-z-]+)"', (Path(__file__).parents[2] / source).read_text()))
    assert named, source
    assert named <= load().keys()


def test_a_search_that_becomes_too_large_says_so() -> None:
    found = explore(Scope(faults={"crash": 1}), most=100)
    assert not found.is_whole
    assert found.states >= 100


@pytest.mark.parametrize(
    "wrong", [{"tasks": 0}, {"engines": 5}, {"dependencies": 2}, {"scheme": "weighted"}, {"faults": {"fire": 1}}]
)
def test_a_scope_that_makes_no_sense_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"."):
        msgspec.structs.replace(Scope(), **wrong)


def test_a_mistake_of_another_role_is_refused() -> None:
    with pytest.raises(UnsuitableMutantError, match="a mistake of heart-monitor"):
        infecting(next(one for one in load_mutants().values() if one.part == "heart-monitor"))


# -- the command -------------------------------------------------------------------------------------------------------


def test_the_command_counts_what_it_has_seen() -> None:
    result = run("--faults", "error=1")
    assert result.exit_code == 0, result.output
    assert re.search(r"^\d+ states, \d+ transitions, \d+ ends of stories, at most \d+ steps; ", result.output)
    assert result.output.endswith("Nothing is violated.\n")


def test_the_command_tells_the_story_and_draws_it(tmp_path: Path) -> None:
    file = tmp_path / "story.svg"
    result = run("--faults", "crash=1", "--mutant", "passes-every-reply", "--diagram", str(file))
    assert result.exit_code == 1, result.output
    assert "wire.at-most-one-reply: task-0 answered with ok, after error" in result.output
    assert "The shortest story, 11 steps:" in result.output
    assert "   11  engine-0 ──> tasks: apply_reply task-0 ok" in result.output
    drawn = file.read_text()
    assert drawn.startswith("<svg")
    assert "takes engine-0 for dead" in drawn


def test_the_command_ends_where_it_is_told_to() -> None:
    result = run("--faults", "crash=1", "--states", "50")
    assert result.exit_code == 6, result.output
    assert result.output.endswith("Nothing is violated in these; there are more.\n")


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--faults", "fire=1"], "there is no fault 'fire'; there are crash, heart, drop, error, unmet, ask"),
        (["--faults", "crash=often"], "'crash=often' does not say how often: crash=1"),
        (["--dependencies", "2"], "there are fewer dependencies than tasks"),
        (["--mutant", "holds-tree"], "did you mean 'holds-two'?"),
        (
            ["--mutant", "completes-successes"],
            "of whose records nobody asks without --purges",
        ),
        (["--mutant", "refuses-whom-it-does-not-know-yet"], "here roles are without one"),
    ],
)
def test_the_command_refuses_with_a_sentence(arguments: list[str], sentence: str) -> None:
    result = run(*arguments)
    assert result.exit_code == 4, result.output
    assert sentence in result.output
    assert len(result.output.splitlines()) == 1
