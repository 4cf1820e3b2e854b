"""What follows from a lost message is excused, and nothing else."""

from typing import Any

from protocol.world import SECOND, Work
from simulator.cluster import VirtualCluster
from simulator.excuses import excuse
from simulator.faults import Dropped
from simulator.settling import Matter


def matters(cluster: VirtualCluster, *msg_ids: str) -> list[Any]:
    """The excuses of what is open, by msg_id if some are given."""
    found = {matter.msg_id or matter.what: excuse(cluster, matter) for matter in cluster.open_matters()}
    return [found[msg_id] for msg_id in msg_ids] if msg_ids else list(found.values())


def test_what_waits_behind_a_lost_task_is_excused() -> None:
    cluster = VirtualCluster(engines=1)
    client = cluster.client()
    fault = Dropped(source="tasks/out", at_most=1)
    cluster.begin(fault)
    lost, behind = client.submit(Work()), client.submit(Work())
    after = client.submit(Work(), after=[lost])
    cluster.run_for(SECOND)
    assert not cluster.settle(5 * SECOND)
    assert matters(cluster, lost.msg_id, behind.msg_id, after.msg_id) == [repr(fault)] * 3


def test_what_waits_behind_a_task_that_runs_is_not() -> None:
    cluster = VirtualCluster(engines=2)
    client = cluster.client()
    cluster.begin(Dropped(source="tasks/out", at_most=1))
    lost, runs, behind = client.submit(Work()), client.submit(Work(takes=60 * SECOND)), client.submit(Work())
    after = client.submit(Work(), after=[runs])
    cluster.run_for(SECOND)
    assert matters(cluster, runs.msg_id, behind.msg_id, after.msg_id) == [None] * 3
    assert matters(cluster, lost.msg_id) != [None]


def test_a_death_whose_report_was_lost_is_noticed_all_the_same() -> None:
    cluster = VirtualCluster(engines=2)
    client = cluster.client()
    trouble = cluster.begin(Dropped(source="hearts/", msg_type="stopped_heart"))
    cluster.engines[0].kill()
    everywhere = client.broadcast(Work())
    cluster.run_for(3 * SECOND)
    assert [entry[2] for entry in trouble.taken] == ["stopped_heart"]
    trouble.end()
    assert cluster.settle(10 * SECOND), matters(cluster)
    assert everywhere.status == "error"


def test_a_heart_whose_announcement_was_lost_is_found_all_the_same() -> None:
    cluster = VirtualCluster(engines=1)
    trouble = cluster.begin(Dropped(source="hearts/", msg_type="new_heart", at_most=1))
    engine = cluster.engine(is_awaited=False)
    cluster.run_until(lambda: bool(trouble.taken), cluster.now + 5 * SECOND)
    assert engine.uuid not in cluster.registered.values()
    assert cluster.settle(10 * SECOND)
    assert engine.uuid in cluster.registered.values()


def test_without_a_fault_nothing_is_excused() -> None:
    cluster = VirtualCluster(engines=1)
    client = cluster.client()
    cluster.engines[0].kill()
    tasks = [client.broadcast(Work()), client.submit(Work()), client.query("history_request")]
    assert len(matters(cluster)) >= len(tasks)
    assert set(matters(cluster)) == {None}
    assert excuse(cluster, Matter("client-1", "x is known and gone", "hub")) is None
