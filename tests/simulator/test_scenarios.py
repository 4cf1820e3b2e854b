"""Every scenario keeps what it says, whatever the seed; and one that is broken says so."""

import re
from pathlib import Path

import pytest

import simulator.scenarios
from protocol.requirements import load
from protocol.world import SECOND, Cluster, Work
from simulator.cluster import VirtualCluster
from simulator.run import Setup, run
from simulator.scenarios import SCENARIOS, Scenario, Unmet
from simulator.scenarios.scenario import becomes, dies, ends, must, returns, scenario, stays


@pytest.mark.parametrize("name", SCENARIOS)
def test_nothing_is_violated(name: str) -> None:
    outcome = run(Setup(name=name, seed=1, keeps_items=True))
    assert outcome.is_clean, "\n".join([*outcome.violations, outcome.judgement.text() if outcome.judgement else ""])
    if SCENARIOS[name].needs == frozenset():
        assert not outcome.excused, "a scenario for any cluster demands an answer to everything"


def test_there_are_at_least_thirty_with_a_sentence_each() -> None:
    assert len(SCENARIOS) >= 30
    assert all(len(each.text.split()) > 8 for each in SCENARIOS.values())
    assert len({each.text for each in SCENARIOS.values()}) == len(SCENARIOS)


def test_what_is_demanded_is_a_requirement() -> None:
    folder = Path(simulator.scenarios.__file__).parent
    files = [*folder.glob("*.py"), folder.parent / "run.py"]
    slugs = {slug for file in files for slug in re.findall(r'"([a-z-]+\.[a-z0-9-]+)"', file.read_text())}
    assert len(slugs) > 20
    assert slugs <= set(load())


def test_each_demand_fails_where_it_is_not_met() -> None:
    cluster = VirtualCluster(engines=1)
    engine, client = cluster.engines[0], cluster.client()
    with pytest.raises(Unmet, match="it does not hold"):
        must(False, "task.some-engine-runs", "it does not hold")
    with pytest.raises(Unmet, match="never, in 1 s"):
        becomes(cluster, lambda: False, "registration.can-return", "never", within=SECOND)
    with pytest.raises(Unmet, match="no answer to client-1_"):
        ends(cluster, [client.apply(Work(takes=5 * SECOND), engine)], within=SECOND)
    with pytest.raises(Unmet, match="error ValueError"):
        ends(cluster, [client.submit(Work(fails=True))], status="ok")
    with pytest.raises(Unmet, match="must be given up"):
        dies(cluster, engine, SECOND)
    engine.kill()
    with pytest.raises(Unmet, match="was given up"):
        stays(cluster, engine, 5 * SECOND)
    with pytest.raises(Unmet, match="must be registered"):
        returns(cluster, engine, SECOND)


def test_a_scenario_that_is_not_kept_is_a_violation(monkeypatch: pytest.MonkeyPatch) -> None:
    registered: dict[str, Scenario] = {}
    monkeypatch.setattr("simulator.scenarios.scenario.SCENARIOS", registered)

    @scenario()
    def pigs_fly(cluster: Cluster) -> None:
        """A task that fails wherever it runs is demanded to end well, which it does not."""
        ends(cluster, [cluster.client().submit(Work(fails=True))], status="ok")

    monkeypatch.setitem(SCENARIOS, "pigs-fly", registered["pigs-fly"])
    (violation,) = run(Setup(name="pigs-fly")).violations
    assert violation.startswith("wire.reply-true: everything should have ended with 'ok'")


def test_a_name_is_given_once() -> None:
    name = next(iter(SCENARIOS))

    def again(cluster: Cluster) -> None:
        """The same again."""

    again.__name__ = name.replace("-", "_")
    with pytest.raises(AssertionError, match=name):
        scenario()(again)
