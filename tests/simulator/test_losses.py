"""A request that is open is excused by the fault that took its message, and by no other."""

from collections.abc import Callable
from typing import Any

import pytest

from protocol.roles.speech import parent_id
from protocol.roles.task import TaskScheduler
from protocol.world import MILLISECOND, SECOND, Work
from simulator.cluster import VirtualCluster
from simulator.faults import (
    Cut,
    Delayed,
    DiskLost,
    Doubled,
    Dropped,
    EngineKilled,
    EngineStalled,
    Fault,
    HeartHalted,
    LinkSlow,
    Partitioned,
    PartKilled,
    PartStalled,
    Paused,
    Replays,
)
from simulator.judge import ANSWERED, Judgement, judge
from simulator.kernel import Kernel
from simulator.network import Network
from simulator.sockets import Context, Errno

#: What makes somebody wait, comes to an end, and takes nothing.
HARMLESS: list[Fault] = [
    PartStalled(part="tasks", nanoseconds=SECOND // 2),
    Paused(who="tasks"),
    Paused(who="engine-1"),
    Paused(who="client-1"),
    EngineStalled(engine="engine-1", nanoseconds=SECOND // 2),
    Partitioned(places=("engine-1",)),
    Partitioned(places=("client-1",)),
    LinkSlow(place="client-1", latency=50 * MILLISECOND, loss=0.1),
    HeartHalted(engine="engine-1"),
    Delayed(delay=20 * MILLISECOND),
    Doubled(),
    Replays(share=1.0),
    PartKilled(part="iopub"),
    PartKilled(part="broadcast"),
    PartKilled(part="mux"),
]


def cluster_of(engines: int = 1) -> VirtualCluster:
    return VirtualCluster(3, engines=engines, is_judged=True, jitter=0)


def settled(cluster: VirtualCluster) -> Judgement:
    cluster.settle(10 * SECOND)
    return judge(cluster)


def forgotten(cluster: VirtualCluster) -> None:
    """Let an engine die, and come back, when the Hub has lost what it knew of it."""
    disk = cluster.begin(DiskLost())
    engine = cluster.begin(EngineKilled(engine="engine-1", comes_back=True))
    engine.end()
    disk.end()


def swallow(cluster: VirtualCluster) -> None:
    """Let the task scheduler lose every result that it gets."""
    scheduler: Any = cluster.controller.role("tasks")
    assert isinstance(scheduler, TaskScheduler)
    scheduler._receivers["out"] = lambda *_: None


@pytest.mark.parametrize("fault", HARMLESS, ids=repr)
def test_who_loses_a_result_is_accused_though_he_or_his_peers_had_trouble(fault: Fault) -> None:
    cluster = cluster_of()
    client = cluster.client()
    swallow(cluster)
    task = client.submit(Work(takes=MILLISECOND))
    trouble = cluster.begin(fault)
    cluster.run_for(600 * MILLISECOND)
    trouble.end()
    judgement = settled(cluster)
    assert [matter.msg_id for matter in judgement.open] == [task.msg_id]
    found = [violation for violation in judgement.violations if violation.requirement == ANSWERED]
    assert [violation.guilty for violation in found] == ["tasks"]


def test_the_end_of_an_engine_excuses_nobody() -> None:
    cluster = cluster_of(engines=2)
    client = cluster.client()
    scheduler: Any = cluster.controller.role("tasks")
    scheduler._receivers["notification"] = lambda *_: None
    task = client.submit(Work(takes=SECOND))
    cluster.run_for(10 * MILLISECOND)
    (busy,) = [engine.name for engine in cluster.engines if engine.is_busy]
    cluster.begin(EngineKilled(engine=busy))
    judgement = settled(cluster)
    assert task.msg_id in [matter.msg_id for matter in judgement.open]


def lost_with_the_scheduler(cluster: VirtualCluster) -> None:
    cluster.run_for(MILLISECOND)
    cluster.begin(PartKilled(part="tasks"))


def lost_on_the_way_to_the_scheduler(cluster: VirtualCluster) -> None:
    cluster.begin(PartKilled(part="tasks"))


def cut_on_the_way(cluster: VirtualCluster) -> None:
    cluster.begin(Cut(who="client-1", where="within"))


def dropped(cluster: VirtualCluster) -> None:
    cluster.begin(Dropped(source="tasks/", target="engine-", at_most=1))
    cluster.run_for(MILLISECOND)


@pytest.mark.parametrize(
    "happens", [lost_with_the_scheduler, lost_on_the_way_to_the_scheduler, cut_on_the_way, dropped]
)
def test_what_a_fault_took_is_excused_by_it(happens: Callable[[VirtualCluster], None]) -> None:
    cluster = cluster_of()
    task = cluster.client().submit(Work(takes=10 * MILLISECOND))
    happens(cluster)
    judgement = settled(cluster)
    assert judgement.is_clean, judgement.text()
    assert [one.msg_id for one in judgement.excused] == [task.msg_id]


def test_a_reply_into_a_connection_whose_other_end_is_gone_is_lost_with_that() -> None:
    cluster = cluster_of()
    call = cluster.client().apply(Work(takes=100 * MILLISECOND), cluster.engines[0])
    cluster.run_for(10 * MILLISECOND)
    partition = cluster.begin(Partitioned(places=("engine-1",)))
    relay = cluster.begin(PartKilled(part="mux"))
    cluster.run_for(200 * MILLISECOND)
    relay.end()
    partition.end()
    judgement = settled(cluster)
    assert judgement.is_clean, judgement.text()
    (excused,) = judgement.excused
    assert (excused.msg_id, excused.fault.name) == (call.msg_id, "mux ended with status -9")


def test_an_answer_to_who_sent_again_and_was_heard_first_is_lost_with_that() -> None:
    cluster = cluster_of()
    client = cluster.client()
    cluster.begin(LinkSlow(place="client-1", latency=100 * MILLISECOND))
    replays = Replays(share=1.0)
    cluster.begin(replays)
    task = client.submit(Work())
    cluster.run_for(SECOND)
    judgement = settled(cluster)
    assert judgement.is_clean, judgement.text()
    assert [(one.msg_id, one.fault.name) for one in judgement.excused] == [(task.msg_id, repr(replays))]


def test_what_waits_for_room_at_the_side_that_listens_is_lost_with_the_connection() -> None:
    kernel = Kernel()
    network = Network(kernel, wire_capacity=1)
    lost: list[Any] = []
    network.on_lost = lambda ends, load: lost.append((ends, load))
    here, there = (Context(kernel, network, host=host) for host in "ab")
    router, dealer = here.socket("ROUTER", "router"), there.socket("DEALER", "dealer")
    dealer.set("ROUTING_ID", b"peer")
    router.bind("tcp://a:1")
    dealer.connect("tcp://a:1")
    kernel.run(SECOND)
    there.pause()
    router.events()
    for text in (b"1", b"2", b"3"):
        router.send((b"peer", text))
    kernel.run(2 * SECOND)
    # The first is on the way, and arrives; a dialer would keep the others for its next connection.
    here.sessions[0].cut()
    assert lost == [(("router", "dealer"), (b"2",)), (("router", "dealer"), (b"3",))]
    there.resume()
    kernel.run(3 * SECOND)
    assert dealer.recv() == (b"1",)
    assert dealer.recv() is Errno.EAGAIN


def test_an_engine_that_the_hub_forgot_ends_unnoticed() -> None:
    cluster = cluster_of()
    task = cluster.client().submit(Work(takes=SECOND))
    cluster.run_for(10 * MILLISECOND)
    forgotten(cluster)
    judgement = settled(cluster)
    assert judgement.is_clean, judgement.text()
    assert [(one.msg_id, one.fault.name) for one in judgement.excused] == [(task.msg_id, "DiskLost()")]


@pytest.mark.parametrize("uuid", ["", "another-name"])
def test_what_was_on_its_way_to_an_engine_is_lost_with_it_whatever_its_name(uuid: str) -> None:
    cluster = cluster_of(engines=0)
    cluster.engine(uuid=uuid)
    client = cluster.client()
    apart = cluster.begin(Partitioned(places=("engine-1",)))
    task = client.submit(Work(takes=SECOND))
    cluster.run_for(10 * MILLISECOND)
    disk = cluster.begin(DiskLost())
    engine = cluster.begin(EngineKilled(engine="engine-1", comes_back=True))
    for trouble in (engine, disk, apart):
        trouble.end()
    judgement = settled(cluster)
    assert judgement.is_clean, judgement.text()
    assert [(one.msg_id, one.fault.name) for one in judgement.excused] == [(task.msg_id, "DiskLost()")]


@pytest.mark.parametrize("swallowed", ["", "engine-2"])
@pytest.mark.parametrize("is_coalescing", [False, True])
def test_a_broadcast_is_excused_by_the_copy_that_was_taken_unless_another_reply_is_owed(
    is_coalescing: bool, swallowed: str
) -> None:
    cluster = cluster_of(engines=2)
    client = cluster.client()
    root: Any = cluster.controller.members["broadcast"].shells[0].role
    take = root._child_reply
    root._child_reply = lambda now, message, effects: (
        None if swallowed and parent_id(message).endswith(swallowed) else take(now, message, effects)
    )
    task = client.broadcast(Work(takes=SECOND), is_coalescing=is_coalescing)
    cluster.run_for(10 * MILLISECOND)
    forgotten(cluster)
    judgement = settled(cluster)
    # One reply for all could not have come, whatever became of the other engine's.
    is_owed = bool(swallowed) and not is_coalescing
    assert [matter.msg_id for matter in judgement.open] == ([task.msg_id] if is_owed else [])
    assert [(one.msg_id, one.fault.name) for one in judgement.excused] == (
        [] if is_owed else [(task.msg_id, "DiskLost()")]
    )
