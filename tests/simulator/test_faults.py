"""Each fault does what it says, heals, and leaves the others what they were; plans follow from the seed."""

from random import Random
from typing import Any
from zlib import crc32

import msgspec
import pytest

from protocol.roles.hub import Hub
from protocol.world import MILLISECOND, SECOND, Work
from simulator.cluster import VirtualCluster
from simulator.faults import (
    ClockDrifting,
    ClockJumped,
    Cut,
    Damaged,
    Delayed,
    DiskFailing,
    DiskSlow,
    Doubled,
    Dropped,
    EngineInterrupted,
    EngineKilled,
    EngineStalled,
    Fault,
    Flood,
    Garbage,
    LinkSlow,
    OddEngine,
    Partitioned,
    PartKilled,
    PartStalled,
    Paused,
    Replays,
    vocabulary,
)
from simulator.hosts import Process
from simulator.plans import Draw, Event
from simulator.run import Setup, run
from simulator.workloads import Workload
from simulator.world import World

#: A value for every field that some fault needs.
VALUES: dict[str, Any] = {
    "engine": "engine-1", "who": "engine-1", "place": "engine-1", "places": ("engine-1",), "part": "hub",
    "nanoseconds": SECOND, "delay": 50 * MILLISECOND, "latency": 20 * MILLISECOND, "lacks": "shell", "count": 20,
    "per_mille": 50, "client": "client-1",
}  # fmt: skip


def example(kind: type[Fault]) -> Fault:
    fields = {name: VALUES[name] for name in kind.__struct_fields__ if name in VALUES}
    # A task of whose result nothing is heard occupies its engine for ever; what one client says harms only him.
    few = {"share": 0.2, "source": "client-1/"}
    return kind(**fields | {name: value for name, value in few.items() if name in kind.__struct_fields__})


@pytest.mark.parametrize("kind", vocabulary(), ids=lambda kind: kind.__name__)
def test_everything_heals(kind: type[Fault]) -> None:
    plan = (Event(at=300 * MILLISECOND, lasts=2 * SECOND, fault=example(kind)),)
    outcome = run(Setup(seed=4, plan=plan, keeps_items=True))
    assert outcome.is_clean, outcome.judgement.text() if outcome.judgement else ""


# What a wall clock says is no part of a trace, and an interrupt where nothing runs is none.
@pytest.mark.parametrize(
    "kind",
    [kind for kind in vocabulary() if kind not in (ClockJumped, EngineInterrupted)],
    ids=lambda kind: kind.__name__,
)
def test_something_happens(kind: type[Fault]) -> None:
    def entries(*plan: Event) -> list[Any]:
        trace = run(Setup(seed=4, plan=plan, has_trace=True, is_judged=False)).trace
        assert trace is not None
        return [entry for entry in trace.entries if entry[1] != "fault"]

    assert entries(Event(at=300 * MILLISECOND, fault=example(kind))) != entries()


@pytest.mark.parametrize("kind", vocabulary(), ids=lambda kind: kind.__name__)
def test_a_fault_is_the_same_when_it_was_written_and_read(kind: type[Fault]) -> None:
    fault = kind(**{name: VALUES[name] for name in kind.__struct_fields__ if name in VALUES})
    read = msgspec.json.decode(msgspec.json.encode(fault), type=kind)
    assert (repr(read), read) == (repr(fault), fault)
    assert "at_most" not in repr(read)


def test_everybody_knows_the_class_of_a_fault() -> None:
    outside = {kind.__name__ for kind in vocabulary() if not kind.IS_INSIDE}
    assert outside == {
        "DiskLost", "DiskFailing", "Dropped", "Delayed", "Doubled", "Damaged", "ClockJumped", "ClockDrifting"
    }  # fmt: skip


def test_a_fault_is_about_the_messages_that_it_names() -> None:
    cluster = VirtualCluster(engines=1)
    client = cluster.client()
    trouble = cluster.begin(Dropped(source="client-1/", target="tasks/", msg_type="apply_request", at_most=2))
    tasks = [client.submit(Work()) for _ in range(5)]
    asked = client.query("queue_request", {"targets": None})
    cluster.run_for(SECOND)
    assert [task.is_done for task in tasks] == [False, False, True, True, True]
    assert asked.is_done
    assert [entry[2:4] for entry in trouble.taken] == [("apply_request", task.msg_id) for task in tasks[:2]]
    trouble.end()
    task = client.submit(Work())
    cluster.run_for(SECOND)
    assert task.is_done


def test_messages_that_are_late_are_overtaken() -> None:
    cluster = VirtualCluster(1, engines=1)
    client = cluster.client()
    cluster.begin(Delayed(source="client-1/", delay=SECOND, at_most=1))
    late, first = client.apply(Work(), cluster.engines[0]), client.apply(Work(), cluster.engines[0])
    cluster.run_until(lambda: first.is_done, cluster.now + SECOND)
    assert (late.is_done, first.is_done) == (False, True)
    cluster.run_for(2 * SECOND)
    assert late.is_done


def test_what_arrives_twice_is_refused_the_second_time() -> None:
    cluster = VirtualCluster(engines=1)
    client = cluster.client()
    cluster.begin(Doubled(source="client-1/"))
    printed = client.execute(Work(prints=1), cluster.engines[0])
    cluster.run_for(SECOND)
    assert printed.output == "line 0\n"


@pytest.mark.parametrize("kind", ["drop", "flip-bit", "swap", "truncate", "no-delimiter"])
def test_damage_reaches_nobody(kind: str) -> None:
    cluster = VirtualCluster(engines=1)
    client = cluster.client()
    trouble = cluster.begin(Damaged(source="client-1/", msg_type="apply_request", kind=kind))
    for _ in range(10):
        client.submit(Work(prints=1))
    cluster.run_for(SECOND)
    assert len(trouble.taken) == 10
    trouble.end()
    good = client.submit(Work())
    cluster.run_for(SECOND)
    assert good.status == "ok"


def test_taps_work_together_and_go_one_by_one() -> None:
    cluster = VirtualCluster(engines=1)
    client = cluster.client()
    one = cluster.begin(Dropped(source="client-1/task"))
    other = cluster.begin(Dropped(source="client-1/mux"))
    task, call = client.submit(Work()), client.apply(Work(), cluster.engines[0])
    cluster.run_for(SECOND)
    assert (task.is_done, call.is_done) == (False, False)
    one.end()
    task, call = client.submit(Work()), client.apply(Work(), cluster.engines[0])
    cluster.run_for(SECOND)
    assert (task.is_done, call.is_done) == (True, False)
    other.end()
    other.end()
    assert cluster.world.network.tap is None


def test_a_part_of_the_controller_comes_back_when_it_is_healed() -> None:
    cluster = VirtualCluster(engines=1)
    trouble = cluster.begin(PartKilled(part="tasks"))
    assert not cluster.controller.members["tasks"].process.is_alive
    trouble.end()
    assert cluster.controller.members["tasks"].process.is_alive


def test_an_engine_comes_back_when_that_is_wanted() -> None:
    cluster = VirtualCluster(engines=2)
    troubles = [cluster.begin(EngineKilled(engine=f"engine-{number}", comes_back=number == 1)) for number in (1, 2)]
    assert not any(engine.is_alive for engine in cluster.engines)
    for trouble in troubles:
        trouble.end()
    assert [engine.is_alive for engine in cluster.engines] == [True, False]


def test_whoever_is_not_there_is_left_alone() -> None:
    cluster = VirtualCluster(engines=1)
    for fault in (
        EngineKilled(engine="engine-9", comes_back=True), Paused(who="engine-9"), Cut(who="engine-9"),
        ClockJumped(who="engine-9", nanoseconds=1), ClockDrifting(who="engine-9", per_mille=1),
    ):  # fmt: skip
        cluster.begin(fault).end()
    assert cluster.settle(SECOND)


def test_a_partition_of_everybody_cuts_nobody_off() -> None:
    cluster = VirtualCluster(engines=1)
    trouble = cluster.begin(Partitioned(places=("engine-1", "hub")))
    cluster.run_for(2 * SECOND)
    assert cluster.registered
    trouble.end()


def test_a_link_is_what_it_was_when_it_is_healed() -> None:
    cluster = VirtualCluster(engines=1)
    link = cluster.world.network.between("controller", "engine-1")
    before = (link.latency, link.jitter, link.loss, link.bandwidth)
    trouble = cluster.begin(LinkSlow(place="engine-1", latency=SECOND, jitter=7, loss=0.5, bandwidth=9))
    assert (link.latency, link.jitter, link.loss, link.bandwidth) == (SECOND, 7, 0.5, 9)
    trouble.end()
    assert (link.latency, link.jitter, link.loss, link.bandwidth) == before


def test_a_cut_within_loses_what_is_under_way_and_nothing_else() -> None:
    cluster = VirtualCluster(engines=1)
    client = cluster.client()
    lost = client.submit(Work())
    trouble = cluster.begin(Cut(who="client-1", where="within"))
    assert [entry[3] for entry in trouble.taken] == [lost.msg_id]
    cluster.run_for(SECOND)
    after = client.submit(Work())
    cluster.run_for(SECOND)
    assert (lost.is_done, after.status) == (False, "ok")


def test_a_cut_between_lets_arrive_what_was_sent() -> None:
    cluster = VirtualCluster(engines=1)
    client = cluster.client()
    task = client.submit(Work(takes=SECOND))
    trouble = cluster.begin(Cut(who="client-1"))
    assert not trouble.taken
    cluster.run_for(3 * SECOND)
    # The answer was for a connection that is gone: the result must be looked up.
    assert [entry[2] for entry in trouble.taken if entry[4] == task.msg_id] == ["apply_reply"]
    asked = client.query("result_request", {"msg_ids": [task.msg_id]})
    cluster.run_for(SECOND)
    assert asked.content["completed"] == [task.msg_id]


def test_a_cut_is_to_blame_until_the_connection_is_made_again_and_for_nobody_else() -> None:
    cluster = VirtualCluster(engines=2)
    client = cluster.client()
    trouble = cluster.begin(Cut(who="engine-1", where="greeting"))
    cluster.run_for(10 * MILLISECOND)
    trouble.end()
    cluster.engines[1].kill()
    calls = [client.apply(Work(), engine) for engine in cluster.engines]
    cluster.run_for(SECOND)
    assert [call.is_done for call in calls] == [False, False]
    assert [entry[3] for entry in trouble.taken if entry[2] == "apply_request"] == [calls[0].msg_id]
    again = client.apply(Work(), cluster.engines[0])
    cluster.run_for(SECOND)
    assert again.is_done


def test_what_is_sent_into_a_connection_that_only_one_side_knows_to_be_broken_is_lost_by_the_cut() -> None:
    cluster = VirtualCluster(engines=1)
    client = cluster.client()
    partition = cluster.begin(Partitioned(places=("engine-1",)))
    cut = cluster.begin(Cut(who="engine-1", where="within"))
    lost = client.apply(Work(), cluster.engines[0])
    cluster.run_for(100 * MILLISECOND)
    partition.end()
    cluster.run_for(SECOND)
    assert not lost.is_done
    assert lost.msg_id in [entry[3] for entry in cut.taken]
    after = client.apply(Work(), cluster.engines[0])
    cluster.run_for(SECOND)
    assert after.is_done


def test_connections_that_break_while_they_greet_are_made_in_the_end() -> None:
    cluster = VirtualCluster(engines=1)
    engine, client = cluster.engines[0], cluster.client()
    ends = cluster.world.network.wires.copy()
    cluster.begin(Cut(who="engine-1", where="greeting"))
    cluster.run_for(2 * SECOND)
    assert not set(map(id, ends)) >= {id(wire) for wire in cluster.world.network.wires}
    task = client.apply(Work(), engine)
    cluster.run_for(SECOND)
    assert task.status == "ok"


def test_a_disk_that_fails_says_so_and_is_well_again() -> None:
    cluster = VirtualCluster(engines=1)
    client = cluster.client()
    trouble = cluster.begin(DiskFailing(reason="gone"))
    asked = client.query("db_request", {"query": {}})
    cluster.run_for(SECOND)
    assert asked.status == "error"
    trouble.end()
    asked = client.query("db_request", {"query": {}})
    cluster.run_for(SECOND)
    assert asked.status == "ok"


def test_a_slow_disk_holds_up_the_hub_alone() -> None:
    cluster = VirtualCluster(engines=1)
    client = cluster.client()
    cluster.begin(DiskSlow(nanoseconds=2 * SECOND))
    task = client.submit(Work())
    cluster.run_for(SECOND)
    asked = client.query("queue_request", {"targets": None})
    cluster.run_for(500 * MILLISECOND)
    assert (task.is_done, asked.is_done) == (True, False)


@pytest.mark.parametrize("lacks", ["heart", "shell", "control", "reading"])
def test_an_odd_engine_is_listed_if_it_beats_and_gone_when_it_is_healed(lacks: Any) -> None:
    cluster = VirtualCluster(engines=1)
    trouble = cluster.begin(OddEngine(lacks=lacks))
    cluster.run_for(SECOND)
    assert len(cluster.registered) == (1 if lacks == "heart" else 2)
    trouble.end()
    cluster.run_for(5 * SECOND)
    assert len(cluster.registered) == 1


def test_a_flood_is_a_flood() -> None:
    cluster = VirtualCluster(engines=1)
    cluster.begin(Flood(count=50))
    cluster.run_for(10 * MILLISECOND)
    hub = cluster.controller.role("hub")
    assert isinstance(hub, Hub)
    assert len(hub.engines.by_uuid) == 51


def test_garbage_and_replays_are_refused() -> None:
    cluster = VirtualCluster(engines=1, has_trace=True)
    client = cluster.client()
    cluster.begin(Garbage(count=100))
    cluster.begin(Replays(share=1.0))
    task = client.submit(Work())
    cluster.run_for(SECOND)
    assert task.count == 1
    assert cluster.world.trace is not None
    refused = [entry[5] for entry in cluster.world.trace.entries if entry[2] == "took" and entry[4] == "!"]
    assert any("wire.replay-refused" in rules for rules in refused)
    assert any("wire.signature-verified" in rules for rules in refused)


@pytest.mark.parametrize(
    "fault",
    [EngineStalled(engine="engine-1", nanoseconds=SECOND), PartStalled(part="hub", nanoseconds=SECOND)],
    ids=repr,
)
def test_who_is_held_up_is_told_to_be_well_when_he_is(fault: Fault) -> None:
    cluster = VirtualCluster(engines=1, has_trace=True)
    begin, trouble = cluster.now, cluster.begin(fault)
    cluster.run_for(100 * MILLISECOND)
    trouble.end()
    trouble.end()
    assert not trouble.is_over
    cluster.run_for(2 * SECOND)
    assert cluster.world.trace is not None
    healed = [entry[0] for entry in cluster.world.trace.entries if entry[1:3] == ("fault", "healed")]
    assert healed == [begin + SECOND]


def test_clocks_that_tell_other_times_matter_to_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    made = World.process

    def skewed(self: World, name: str, host: str) -> Process:
        process = made(self, name, host)
        process.skew = (crc32(name.encode()) % 1000 - 500) * SECOND + 10 * 3600 * SECOND
        process.calendar.offset = -process.skew // 2
        return process

    monkeypatch.setattr(World, "process", skewed)
    outcomes = [
        run(Setup(name=name, seed=2)) for name in ("engine-dies-twice", "tasks-time-out", "hub-restarts-under-load")
    ]
    outcomes += [run(Setup(seed=seed, faults="lite", keeps_items=True)) for seed in range(3)]
    assert [outcome.violations for outcome in outcomes] == [[]] * len(outcomes)


def test_clocks_jump_back_and_drift() -> None:
    cluster = VirtualCluster(engines=1)
    process = cluster.engines[0].process
    jump = cluster.begin(ClockJumped(who="engine-1", nanoseconds=5))
    drift = cluster.begin(ClockDrifting(who="engine-1", per_mille=100))
    cluster.run_for(SECOND)
    assert (process.calendar.offset, process.clock() - cluster.now) == (5, SECOND // 10)
    jump.end()
    drift.end()
    cluster.run_for(SECOND)
    assert (process.calendar.offset, process.clock() - cluster.now) == (0, SECOND // 10)


def test_no_timer_of_a_clock_that_drifts_is_early_by_that_clock() -> None:
    cluster = VirtualCluster(engines=1)
    process = cluster.engines[0].process
    fired: list[tuple[int, int]] = []

    def fire(due: int, _: object) -> None:
        fired.append((process.clock() - due, cluster.now))

    trouble = cluster.begin(ClockDrifting(who="engine-1", per_mille=500))
    begin, now = process.clock(), cluster.now
    for delay in (0, 1, 7, 3 * MILLISECOND, 30 * MILLISECOND):
        process.at(begin + delay, fire, begin + delay, None)
    cluster.run_for(10 * MILLISECOND)
    assert len(fired) == 4
    assert fired[3][1] - now == 2 * MILLISECOND + 1
    trouble.end()
    cluster.run_for(SECOND)
    assert len(fired) == 5
    assert fired[4][1] - now == 25 * MILLISECOND
    assert all(0 <= late <= 5 for late, _ in fired)


# -- plans -------------------------------------------------------------------------------------------------------------


def draw(seed: int, hardness: Any) -> tuple[Event, ...]:
    return Draw(Random(seed), engines=3, clients=2).plan(3 * SECOND, hardness)


def test_a_plan_follows_from_the_seed() -> None:
    assert draw(1, "hard") == draw(1, "hard")
    assert draw(1, "hard") != draw(2, "hard")


def test_every_kind_is_drawn_some_day_and_only_what_is_allowed() -> None:
    drawn = {type(event.fault) for seed in range(60) for event in draw(seed, "hard")}
    assert drawn == set(vocabulary())
    assert all(type(event.fault).IS_INSIDE for seed in range(60) for event in draw(seed, "lite"))
    assert draw(1, "none") == ()


def test_a_cluster_without_engines_has_plans_as_well() -> None:
    assert Draw(Random(1), engines=0, clients=1).plan(SECOND, "hard")


def test_a_fault_less_leaves_the_chance_of_the_others() -> None:
    def taken(*faults: Fault) -> list[Any]:
        cluster = VirtualCluster(engines=2)
        Workload(cluster, clients=1, requests=30)
        troubles = [cluster.begin(fault) for fault in faults]
        cluster.run_for(100 * MILLISECOND)
        return [trouble.chance() for trouble in troubles]

    one, other = Dropped(source="nobody/", share=0.5), ClockJumped(who="hub", nanoseconds=1)
    assert taken(one, other)[0] == taken(one)[0]
    assert taken(one, one)[0] != taken(one, one)[1]
