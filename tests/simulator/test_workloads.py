"""Workloads come from the seed, and everything comes to rest when nothing is wrong any more."""

import pytest

from protocol.world import MILLISECOND, SECOND, Work
from simulator.cluster import VirtualCluster
from simulator.workloads import MIX, Workload


def asked(seed: int) -> list[tuple[int, str, str]]:
    """Who asked what, when."""
    cluster = VirtualCluster(seed, engines=2, has_trace=True)
    Workload(cluster)
    cluster.run_for(3 * SECOND)
    assert cluster.world.trace is not None
    return [
        (entry[0], entry[1], entry[4])
        for entry in cluster.world.trace.entries
        if entry[1].startswith("client-") and entry[2] == "sent"
    ]


#: Kinds in which nothing is asked.
WITHOUT_REQUESTS = ("client_leaves", "client_comes", "engine_comes", "awaited")


@pytest.mark.parametrize("kind", MIX)
def test_every_kind_of_request_ends(kind: str) -> None:
    cluster = VirtualCluster(engines=3)
    client = cluster.client()
    before = client.submit(Work())
    cluster.run_for(SECOND)
    workload = Workload(cluster, clients=2, requests=4, mix={kind: 1})
    assert cluster.run_until(lambda: workload.is_done, cluster.now + 20 * SECOND), cluster.open_matters()
    assert before.status == "ok"
    assert all(task.is_done for task in workload.tasks)
    assert bool(workload.tasks) is not (kind in WITHOUT_REQUESTS) or kind in ("purged", "resubmitted")


def test_the_seed_decides_what_is_asked() -> None:
    assert asked(1) == asked(1)
    assert asked(1) != asked(2)


def test_a_fault_more_leaves_the_requests_what_they_were() -> None:
    def moments(seed: int, *, is_stalled: bool) -> list[int]:
        cluster = VirtualCluster(seed, engines=2)
        found: list[int] = []
        workload = Workload(cluster, mix={"short_task": 1, "burst": 1})
        cluster.world.kernel.tracer = lambda t, _seq, fn, _a, _b: fn == workload._happens and found.append(t)
        if is_stalled:
            cluster.engines[0].stall(SECOND)
            cluster.world.kernel.faults.random()
        cluster.run_for(3 * SECOND)
        return found

    assert len(moments(1, is_stalled=False)) == 40
    assert moments(1, is_stalled=False) == moments(1, is_stalled=True)


# -- rest --------------------------------------------------------------------------------------------------------------


def test_nothing_is_open_in_a_cluster_at_rest() -> None:
    cluster = VirtualCluster(engines=2)
    cluster.client()
    assert cluster.settle()
    assert cluster.open_matters() == []


def test_what_is_open_is_named_with_whom_it_waits_on() -> None:
    cluster = VirtualCluster(engines=1)
    client = cluster.client()
    client.apply(Work(takes=10 * SECOND), cluster.engines[0])
    cluster.run_for(100 * MILLISECOND)
    (matter,) = cluster.open_matters()
    assert (matter.whose, matter.waits_on) == ("client-1", "engine 0 (engine-1)")
    assert not cluster.settle(SECOND)
    assert cluster.settle(20 * SECOND)


@pytest.mark.parametrize("seed", range(12))
def test_everything_comes_to_rest_after_trouble(seed: int) -> None:
    cluster = VirtualCluster(seed, engines=4)
    workload = Workload(cluster)
    cluster.run_for(500 * MILLISECOND)
    engine = cluster.engines[seed % 4]
    trouble = [
        engine.kill,
        engine.pause,
        lambda: engine.stall(2 * SECOND),
        lambda: cluster.partition([engine]),
        lambda: cluster.kill("hub"),
        lambda: cluster.pause("tasks"),
        lambda: cluster.pause("hearts"),
        lambda: cluster.stall("broadcast", SECOND),
    ][seed % 8]
    trouble()
    cluster.run_for(2 * SECOND)
    assert cluster.settle(60 * SECOND), [str(matter) for matter in cluster.open_matters()]
    assert workload.is_done


def test_what_a_killed_scheduler_had_stays_open_and_is_named() -> None:
    cluster = VirtualCluster(engines=1)
    client = cluster.client()
    for _ in range(3):
        client.submit(Work(takes=SECOND))
    cluster.run_for(100 * MILLISECOND)
    cluster.kill("tasks")
    assert not cluster.settle(20 * SECOND)
    assert {matter.waits_on for matter in cluster.open_matters()} == {"the task scheduler"}
