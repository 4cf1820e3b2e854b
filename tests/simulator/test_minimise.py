"""Making failing runs small: what is heard, what is left out, and that the scenario that comes of it fails alike."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import msgspec
import pytest

import simulator.scenarios.scenario as scenarios
from conformance.report.reading import setup_of
from conformance.simulating import hooks_of
from protocol.world import MILLISECOND, SECOND, Cluster, Work
from simulator.cluster import VirtualCluster
from simulator.faults import Dropped, EngineStalled, Fault, Paused
from simulator.minimise import Found, NotMinimised, Search, nearest, scenario_of, scenario_text
from simulator.minimise.changes import without, without_engine
from simulator.minimise.listening import Listener
from simulator.minimise.search import SEEDS, blame_of, party_of
from simulator.minimise.steps import Case, Ref, Step
from simulator.plans import Draw, Event
from simulator.run import Blame, Hooks, Outcome, Setup, run
from simulator.scenarios import SCENARIOS, Scenario, Unmet

ROOT = Path(__file__).parents[2]
TWICE = Setup(seed=5, engines=2, tasks=4, faults="none", mutant="gives-out-twice")
NEVER = Setup(name="engine-dies-during-a-retry", seed=3, mutant="never-tries-again")


def search_of(setup: Setup, **options: Any) -> Search:
    return Search(setup, hooks_of(setup), **options)


@pytest.fixture(scope="module")
def search() -> Search:
    return search_of(TWICE)


@pytest.fixture(scope="module")
def found(search: Search) -> Found:
    return search.minimise()


@pytest.fixture(scope="module")
def demanding() -> Found:
    return search_of(NEVER).minimise()


# -- hearing -----------------------------------------------------------------------------------------------------------


def heard(setup: Setup) -> tuple[Case, Outcome]:
    listener = Listener()
    outcome = run(setup, hooks=Hooks(on_cluster=listener.listen))
    return listener.case(outcome), outcome


@pytest.mark.parametrize(
    "name",
    ["engine-dies-during-a-retry", "hub-restarts-under-load", "results-are-lost", "database-is-slow", "swarm"],
)
def test_what_was_heard_is_the_same_run_again(name: str) -> None:
    setup = Setup(name=name, seed=1, has_trace=True)
    case, outcome = heard(setup)
    again = run(msgspec.structs.replace(setup, engines=case.engines), scenario_of(case, name))
    assert again.digest == outcome.digest


def test_what_a_fault_does_is_not_heard_besides_it() -> None:
    case, _ = heard(Setup(seed=3))
    assert {step.does for step in case.steps if step.is_trouble} == {"begin", "end", "leave"} - (
        set() if any(step.does == "leave" for step in case.steps) else {"leave"}
    )


# -- leaving out -------------------------------------------------------------------------------------------------------


def ref(kind: Any, number: int) -> Ref:
    return Ref(kind=kind, number=number)


CASE = Case(
    engines=2,
    rest=SECOND,
    steps=(
        Step(does="client", makes=ref("client", 1)),
        Step(does="client", makes=ref("client", 2), after=MILLISECOND),
        Step(does="submit", who=ref("client", 1), makes=ref("task", 1), after=SECOND),
        Step(does="submit", who=ref("client", 2), makes=ref("task", 2), named={"after": (ref("task", 1),)}),
        Step(does="query", who=ref("client", 2), args=("result_request", {"msg_ids": (ref("id", 1), ref("id", 2))})),
        Step(does="apply", who=ref("client", 2), args=(Work(), ref("engine", 2)), makes=ref("task", 3)),
        Step(does="begin", args=(Paused(who="client-2"),), makes=ref("trouble", 1)),
        Step(does="begin", args=(Dropped(source="engine-2/"),), makes=ref("trouble", 2)),
        Step(does="end", who=ref("trouble", 1), after=SECOND),
    ),
)


def test_with_a_client_go_its_requests_and_what_hangs_on_them() -> None:
    smaller = without(CASE, frozenset([0]))
    assert [step.does for step in smaller.steps] == ["client", "submit", "query", "apply", "begin", "begin", "end"]
    assert smaller.steps[1].who == ref("client", 1)
    assert smaller.steps[1].named == {"after": ()}
    assert smaller.steps[2].args == ("result_request", {"msg_ids": (ref("id", 2),)})
    assert smaller.steps[4].args == (Paused(who="client-1"),)
    # Everything else happens when it did.
    assert sum(step.after for step in smaller.steps) == sum(step.after for step in CASE.steps)


def test_with_an_engine_go_the_calls_to_it_and_faults_are_about_nobody() -> None:
    smaller = without_engine(CASE, 2)
    assert smaller.engines == 1
    assert "apply" not in [step.does for step in smaller.steps]
    assert smaller.steps[6].args == (Dropped(source="engine-0/"),)
    other = without_engine(CASE, 1)
    assert other.steps[5].args == (Work(), ref("engine", 1))
    assert other.steps[7].args == (Dropped(source="engine-1/"),)


def test_a_fault_goes_with_its_end_and_time_goes_on() -> None:
    smaller = without(CASE, frozenset([6]))
    assert [step.does for step in smaller.steps][-1] == "begin"
    assert smaller.rest == 2 * SECOND


def test_what_a_case_needs_follows_from_its_steps() -> None:
    assert (CASE.needs, CASE.is_inside) == (["faults"], False)
    assert without(CASE, frozenset([6, 7])).needs == []
    killed = Case(steps=(Step(does="kill", args=("hub",)), Step(does="partition", args=(("hub",),))))
    assert (killed.needs, killed.is_inside) == (["parts", "hosts"], True)
    assert not Case(steps=(Step(does="restart", args=("hub",), named={"keeps_disk": False}),)).is_inside


# -- searching ---------------------------------------------------------------------------------------------------------


def test_the_smallest_run_has_nothing_that_it_does_not_need(found: Found) -> None:
    assert found.is_finished
    assert found.blame == Blame("task.one-live-assignment", "tasks")
    assert [step.does for step in found.case.steps] == ["client", "submit"]
    assert found.case.engines == 2
    assert found.seeds == len(SEEDS)
    assert len(found.whole.steps) > 4 * len(found.case.steps)


def test_the_same_search_has_the_same_result(found: Found) -> None:
    again = search_of(TWICE).minimise()
    assert (again.case, again.tries) == (found.case, found.tries)


def test_a_search_ends_when_enough_was_tried() -> None:
    few = search_of(TWICE, goes_on=lambda tried: tried < 3).minimise()
    assert few.tries == 3
    assert not few.is_finished
    assert len(few.case.steps) > 2


def test_another_requirement_can_be_kept() -> None:
    other = search_of(TWICE, requirement="task.dispatches-bounded").minimise()
    assert other.blame.requirement == "task.dispatches-bounded"
    assert [step.does for step in other.case.steps] == ["client", "submit"]


def test_the_demand_of_a_scenario_is_kept_where_it_fails_because_of_the_mutant(demanding: Found) -> None:
    assert demanding.blame == Blame("wire.reply-true", "")
    assert [step.does for step in demanding.case.steps] == ["client", "submit", "kill", "ends"]
    assert demanding.case.steps[1].named == {"retries": 1}


def test_a_party_is_known_whatever_its_number() -> None:
    assert [party_of(name) for name in ("engine-3", "engine-3-2", "hub", "hub-2", "engine-1.heart")] == [
        "engine", "engine", "hub", "hub", "engine.heart",
    ]  # fmt: skip


@pytest.mark.usefixtures("found")
def test_the_nearest_run_that_passes_shows_where_they_part(search: Search) -> None:
    near = nearest(search)
    assert near is not None
    assert near.change.startswith("without ")
    assert near.fails[0] != near.passes[0]


def outcome_of(*blames: Blame, unmet: Unmet | None = None) -> Outcome:
    outcome = Outcome(setup=Setup(name="mass-death"), unmet=unmet)
    for blame in blames:
        outcome.accuse(blame.requirement, blame.guilty, f"{blame.requirement}: text")
    return outcome


def test_what_cannot_be_made_smaller_is_said_in_a_sentence() -> None:
    hub, scenario = Blame("a.b", "hub"), Blame("c.d", "")
    opaque = Unmet("c.d", "text")
    assert blame_of(outcome_of(scenario, hub, unmet=opaque)) == hub
    with pytest.raises(NotMinimised, match="nothing is violated"):
        blame_of(outcome_of())
    with pytest.raises(NotMinimised, match=r"x\.y is not violated in this run; what is: c\.d, a\.b"):
        blame_of(outcome_of(scenario, hub), "x.y")
    with pytest.raises(NotMinimised, match="demanded by the code of mass-death itself"):
        blame_of(outcome_of(scenario, unmet=opaque))


def test_what_is_done_behind_the_clusters_back_cannot_be_told(monkeypatch: pytest.MonkeyPatch) -> None:
    def behind(cluster: VirtualCluster) -> None:
        cluster.client()._call("task", Work())

    made = Scenario("behind", behind, 2, frozenset({"faults"}), True, "Nobody hears it.")
    monkeypatch.setitem(SCENARIOS, "behind", made)
    with pytest.raises(NotMinimised, match="done behind the cluster's back"):
        search_of(Setup(name="behind", mutant="gives-out-twice"))


# -- writing -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("which", ["found", "demanding"])
def test_the_scenario_that_is_printed_fails_in_the_same_way(
    monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest, which: str
) -> None:
    found: Found = request.getfixturevalue(which)
    setup = found.setup
    registered: dict[str, Scenario] = {}
    monkeypatch.setattr(scenarios, "SCENARIOS", registered)
    exec(scenario_text(found), {})
    ((name, made),) = registered.items()
    assert name == f"minimised-{setup.name}-{setup.seed}"
    monkeypatch.setitem(SCENARIOS, name, made)
    pasted = Setup(name=name, seed=1, mutant=setup.mutant)
    assert found.blame in run(pasted, hooks=hooks_of(pasted)).blames
    assert run(msgspec.structs.replace(pasted, mutant="")).is_clean


def all_kinds() -> Found:
    """A result in which every kind of value stands."""
    stalled = EngineStalled(engine="engine-1", nanoseconds=20 * MILLISECOND)
    long = {"targets": (ref("engine", 1), ref("engine", 2)), "retries": 2, "timeout": 1_500_000_001}
    work = Work(takes=SECOND, prints=3, fails=True, refuses=("engine-1", "engine-2"))
    steps = (
        *CASE.steps,
        Step(does="begin", args=(stalled,)),
        Step(does="submit", who=ref("client", 1), args=(work,), named=long, makes=ref("task", 4)),
        Step(does="ends", args=((ref("task", 4), ref("task", 2)),), named={"status": "ok"}),
    )
    case = msgspec.structs.replace(CASE, steps=steps, config={"scheme": "lru"}, jitter=0, rest=0)
    return Found(
        setup=Setup(seed=9), blame=Blame("a.b", "hub"), whole=case, case=case, tries=1, is_finished=True, seeds=2,
        text='a.b: hub: "something" ' + "at great length " * 12 + "[#1]",
    )  # fmt: skip


def test_the_scenario_is_code_as_this_project_writes_it() -> None:
    text = scenario_text(all_kinds())
    assert "task_1 = client_1.submit()\n" in text
    assert 'client_2.query("result_request", {"msg_ids": [task_1.msg_id, task_2.msg_id]})' in text
    assert "    cluster.run_for(SECOND)\n    trouble.end()\n" in text
    assert '@scenario("faults", engines=2, is_inside=False, jitter=0, scheme="lru")' in text
    for command in (["format", "--check"], ["check"]):
        name = "simulator/scenarios/minimised.py"
        result = subprocess.run(
            [sys.executable, "-m", "ruff", *command, "--stdin-filename", name, "-"],
            input=text, text=True, capture_output=True, cwd=ROOT, check=False,
        )  # fmt: skip
        assert result.returncode == 0, f"{result.stdout}{result.stderr}\n{text}"


# -- setups ------------------------------------------------------------------------------------------------------------


def test_a_plan_with_every_kind_of_fault_comes_back_from_its_trace() -> None:
    from random import Random

    chance = Random(1)
    drawn: dict[type[Fault], Event] = {}
    for _ in range(12):
        drawn |= {type(event.fault): event for event in Draw(chance, engines=3, clients=2).plan(SECOND, "hard")}
    assert len(drawn) > 24
    setup = Setup(plan=tuple(drawn.values()), mutant="ignores-targets")
    assert setup_of(msgspec.json.decode(msgspec.json.encode(setup))) == setup


def test_a_scenario_can_have_another_controller(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[str] = []
    registered: dict[str, Scenario] = {}
    monkeypatch.setattr(scenarios, "SCENARIOS", registered)

    @scenarios.scenario("faults", engines=1, jitter=0, scheme="lru")
    def odd_controller(cluster: Cluster) -> None:
        """It has another scheme than usual, and messages are never late."""
        assert isinstance(cluster, VirtualCluster)
        seen.append(cluster.config.scheme)

    assert run(Setup(name="odd-controller"), registered["odd-controller"]).is_clean
    assert seen == ["lru"]
