"""Each kind of fault, and what it does to a world: one look per kind, which fails if the fault does nothing.

    @shows(HeartKilled)
    def a_heart_that_ends_takes_its_engine_off_the_list() -> None: ...

Every look is taken twice: as it is, and with a fault of that kind which does nothing. The second time it must fail.
"""

from collections.abc import Callable
from typing import Any

import pytest

from protocol.damage import ON_THE_WAY
from protocol.roles.hub import Hub
from protocol.roles.task import TaskScheduler
from protocol.world import MILLISECOND, SECOND, Work
from simulator.cluster import VirtualCluster
from simulator.faults import (
    ClockDrifting,
    ClockJumped,
    Cut,
    Damaged,
    Delayed,
    DiskFailing,
    DiskLost,
    DiskSlow,
    Doubled,
    Dropped,
    EngineInterrupted,
    EngineKilled,
    EngineStalled,
    EngineTerminated,
    Fault,
    Flood,
    Garbage,
    HeartHalted,
    HeartKilled,
    HeartLate,
    HeartLying,
    LinkSlow,
    Nonsense,
    OddEngine,
    OddHeart,
    OutputUnread,
    Partitioned,
    PartKilled,
    PartStalled,
    Paused,
    Replays,
    vocabulary,
)
from simulator.stage import NO_ROOM

Look = Callable[[], None]
#: Kind -> what it shows, one look for each thing that it can do.
LOOKS: dict[type[Fault], list[Look]] = {}
#: Nanoseconds after which a heart that is silent was given up, and in which none is.
DEATH = 2 * SECOND
MOMENT = 20 * MILLISECOND


def shows(kind: type[Fault]) -> Callable[[Look], Look]:
    """Take up a look at this kind of fault."""

    def take_up(look: Look) -> Look:
        LOOKS.setdefault(kind, []).append(look)
        return look

    return take_up


def cluster_of(engines: int = 1, **more: Any) -> VirtualCluster:
    """A cluster whose messages are never late."""
    return VirtualCluster(3, engines=engines, jitter=0, **more)


def refusals(cluster: VirtualCluster) -> set[str]:
    """The rules for which somebody has refused a message."""
    trace = cluster.world.trace
    assert trace is not None
    rules = [str(entry[5]) for entry in trace.entries if entry[2] == "took" and entry[4] == "!"]
    return {rule for text in rules for rule in text.replace(",", " ").split()}


def hub_of(cluster: VirtualCluster) -> Hub:
    """Its Hub."""
    hub = cluster.controller.role("hub")
    assert isinstance(hub, Hub)
    return hub


# -- hearts ------------------------------------------------------------------------------------------------------------


@shows(HeartKilled)
def the_engine_lives_and_is_given_up() -> None:
    cluster = cluster_of()
    cluster.begin(HeartKilled(engine="engine-1"))
    cluster.run_for(DEATH)
    # What is noticed of it later is that pings stay away.
    assert cluster.engines[0].heart is not None
    assert not cluster.engines[0].heart.is_alive
    assert cluster.engines[0].is_alive
    assert not cluster.registered


@shows(HeartHalted)
def a_heart_that_stands_still_answers_afterwards_what_came_meanwhile() -> None:
    cluster = cluster_of(has_trace=True)
    trouble = cluster.begin(HeartHalted(engine="engine-1"))
    begin = cluster.now
    cluster.run_for(500 * MILLISECOND)
    assert beats(cluster, begin) == 0
    trouble.end()
    cluster.run_for(10 * MILLISECOND)
    assert beats(cluster, begin) >= 4
    assert cluster.registered


def beats(cluster: VirtualCluster, since: int) -> int:
    """How many answers to pings the heart monitor has taken."""
    assert cluster.world.trace is not None
    entries = [entry for entry in cluster.world.trace.entries if entry[0] > since and entry[1:3] == ("hearts", "took")]
    return sum(entry[3] == "pong" for entry in entries)


@shows(HeartLate)
def an_answer_takes_so_much_longer() -> None:
    cluster = cluster_of(has_trace=True)
    cluster.run_for(SECOND)
    cluster.begin(HeartLate(engine="engine-1", delay=SECOND))
    cluster.run_for(10 * MILLISECOND)
    begin = cluster.now
    cluster.run_for(900 * MILLISECOND)
    assert beats(cluster, begin) == 0
    cluster.run_for(SECOND)
    assert beats(cluster, begin) > 0


@shows(HeartLying)
def another_text_is_no_beat() -> None:
    cluster = cluster_of()
    cluster.begin(HeartLying(engine="engine-1"))
    cluster.run_for(DEATH)
    assert cluster.engines[0].is_alive
    assert not cluster.registered


# -- engines and clients -----------------------------------------------------------------------------------------------


@shows(EngineKilled)
def what_an_engine_had_is_answered_by_somebody_else() -> None:
    cluster = cluster_of()
    client = cluster.client()
    call = client.apply(Work(takes=SECOND), cluster.engines[0])
    cluster.run_for(MOMENT)
    cluster.begin(EngineKilled(engine="engine-1"))
    assert not cluster.engines[0].is_alive
    cluster.run_for(DEATH + SECOND)
    assert (call.status, call.ename) == ("error", "EngineError")


@shows(EngineKilled)
def it_comes_back_under_the_same_uuid() -> None:
    cluster = cluster_of()
    first = cluster.engines[0].process
    trouble = cluster.begin(EngineKilled(engine="engine-1", comes_back=True))
    cluster.run_for(DEATH)
    assert not cluster.registered
    trouble.end()
    cluster.run_for(SECOND)
    assert list(cluster.registered.values()) == ["engine-1"]
    assert cluster.engines[0].process is not first


@shows(EngineTerminated)
def an_engine_that_ends_in_order_says_so() -> None:
    cluster = cluster_of()
    cluster.begin(EngineTerminated(engine="engine-1"))
    cluster.run_for(MOMENT)
    # Its heart would be missed much later.
    assert not cluster.registered


@shows(EngineInterrupted)
def what_runs_ends_and_what_waits_is_run() -> None:
    cluster = cluster_of()
    client = cluster.client()
    running = client.apply(Work(takes=10 * SECOND), cluster.engines[0])
    waiting = client.apply(Work(), cluster.engines[0])
    cluster.run_for(MOMENT)
    cluster.begin(EngineInterrupted(engine="engine-1"))
    cluster.run_for(MOMENT)
    assert (running.status, running.ename, waiting.status) == ("error", "KeyboardInterrupt", "ok")


@shows(EngineStalled)
def code_has_to_wait_and_the_heart_beats_on() -> None:
    cluster = cluster_of()
    client = cluster.client()
    cluster.begin(EngineStalled(engine="engine-1", nanoseconds=DEATH))
    call = client.apply(Work(), cluster.engines[0])
    cluster.run_for(DEATH - MOMENT)
    assert not call.is_done
    assert cluster.registered
    cluster.run_for(2 * MOMENT)
    assert call.status == "ok"


@shows(Paused)
def an_engine_that_stands_still_is_missed_and_returns() -> None:
    cluster = cluster_of()
    trouble = cluster.begin(Paused(who="engine-1"))
    cluster.run_for(DEATH)
    assert not cluster.registered
    trouble.end()
    cluster.run_for(DEATH)
    assert list(cluster.registered.values()) == ["engine-1"]


@shows(Paused)
def a_client_that_stands_still_reads_later() -> None:
    cluster = cluster_of()
    client = cluster.client()
    task = client.submit(Work(takes=MOMENT))
    trouble = cluster.begin(Paused(who="client-1"))
    cluster.run_for(SECOND)
    assert not task.is_done
    trouble.end()
    cluster.run_for(MOMENT)
    assert task.status == "ok"


@shows(OutputUnread)
def a_queue_that_is_full_takes_no_more_lines() -> None:
    cluster = cluster_of()
    deaf = cluster.client()
    printed = deaf.execute(Work(prints=100, takes=100 * MILLISECOND), cluster.engines[0])
    trouble = cluster.begin(OutputUnread(client="client-1", room=5))
    cluster.run_for(SECOND)
    assert cluster.world.marks[NO_ROOM] == 1
    trouble.end()
    cluster.run_for(SECOND)
    kept = printed.output.splitlines()
    assert 5 <= len(kept) <= 10
    assert kept == [f"line {number}" for number in range(len(kept))]
    again = deaf.execute(Work(prints=1), cluster.engines[0])
    cluster.run_for(SECOND)
    assert again.output == "line 0\n"


# -- the controller ----------------------------------------------------------------------------------------------------


@shows(PartKilled)
def a_hub_that_was_killed_answers_when_it_is_back() -> None:
    cluster = cluster_of()
    client = cluster.client()
    trouble = cluster.begin(PartKilled(part="hub"))
    # What is sent before a connection is known to be closed is lost with it.
    cluster.run_for(MOMENT)
    asked = client.query("queue_request", {"targets": None})
    cluster.run_for(SECOND)
    assert not asked.is_done
    trouble.end()
    cluster.run_for(DEATH)
    assert asked.is_done
    assert list(cluster.registered.values()) == ["engine-1"]


@shows(PartKilled)
def a_scheduler_that_was_killed_knows_nothing_of_its_tasks() -> None:
    cluster = cluster_of()
    client = cluster.client()
    waiting = [client.submit(Work(takes=MOMENT)) for _ in range(3)]
    cluster.run_for(5 * MILLISECOND)
    trouble = cluster.begin(PartKilled(part="tasks"))
    trouble.end()
    cluster.run_for(DEATH)
    scheduler = cluster.controller.role("tasks")
    assert isinstance(scheduler, TaskScheduler)
    assert not scheduler.tasks
    assert not all(task.is_done for task in waiting)


@shows(PartStalled)
def what_is_asked_of_a_part_that_is_held_up_waits() -> None:
    cluster = cluster_of()
    client = cluster.client()
    cluster.begin(PartStalled(part="hub", nanoseconds=SECOND))
    asked = client.query("queue_request", {"targets": None})
    cluster.run_for(SECOND - MOMENT)
    assert not asked.is_done
    cluster.run_for(2 * MOMENT)
    assert asked.is_done


@shows(DiskLost)
def results_of_before_are_unknown() -> None:
    assert found_again(DiskLost()) == "error"


@shows(DiskLost)
def engines_are_taken_up_without_what_was_written_of_them() -> None:
    cluster = cluster_of()
    before = hub_of(cluster)
    cluster.begin(DiskLost()).end()
    cluster.run_for(5 * SECOND)
    assert hub_of(cluster) is not before
    assert list(cluster.registered.values()) == ["engine-1"]


def found_again(fault: Fault) -> str:
    """The status of the answer to a question about a result of before a fault."""
    cluster = cluster_of()
    client = cluster.client()
    task = client.submit(Work())
    cluster.run_for(SECOND)
    cluster.begin(fault).end()
    cluster.run_for(DEATH)
    asked = client.query("result_request", {"msg_ids": [task.msg_id]})
    cluster.run_for(SECOND)
    return asked.status


def test_a_hub_with_its_disk_finds_results_again() -> None:
    assert found_again(PartKilled(part="hub")) == "ok"


@shows(DiskFailing)
def questions_are_answered_with_an_error_until_it_is_well() -> None:
    cluster = cluster_of()
    client = cluster.client()
    task = client.submit(Work())
    cluster.run_for(SECOND)
    trouble = cluster.begin(DiskFailing(reason="no such table"))
    asked = client.query("result_request", {"msg_ids": [task.msg_id]})
    cluster.run_for(SECOND)
    assert asked.status == "error"
    trouble.end()
    asked = client.query("result_request", {"msg_ids": [task.msg_id]})
    cluster.run_for(SECOND)
    assert asked.status == "ok"


@shows(DiskSlow)
def the_hub_is_held_up_whenever_it_writes() -> None:
    cluster = cluster_of()
    client = cluster.client()
    cluster.begin(DiskSlow(nanoseconds=SECOND))
    task = client.submit(Work())
    cluster.run_for(300 * MILLISECOND)
    asked = client.query("queue_request", {"targets": None})
    cluster.run_for(300 * MILLISECOND)
    assert (task.is_done, asked.is_done) == (True, False)
    cluster.run_for(DEATH)
    assert asked.is_done


# -- the network -------------------------------------------------------------------------------------------------------


@shows(Partitioned)
def nothing_passes_until_the_partition_is_over() -> None:
    cluster = cluster_of()
    client = cluster.client()
    trouble = cluster.begin(Partitioned(places=("engine-1",)))
    call = client.apply(Work(prints=1), cluster.engines[0])
    cluster.run_for(300 * MILLISECOND)
    assert not cluster.engines[0].is_busy
    assert not call.is_done
    trouble.end()
    cluster.run_for(SECOND)
    assert call.is_done


@shows(Partitioned)
def in_one_direction_requests_come_and_answers_do_not() -> None:
    cluster = cluster_of()
    client = cluster.client()
    trouble = cluster.begin(Partitioned(places=("engine-1",), one_way=True))
    call = client.apply(Work(takes=SECOND // 2), cluster.engines[0])
    cluster.run_for(MOMENT)
    was_busy = cluster.engines[0].is_busy
    cluster.run_for(600 * MILLISECOND)
    assert (was_busy, call.is_done) == (True, False)
    trouble.end()
    cluster.run_for(SECOND)
    assert call.status == "ok"


@shows(LinkSlow)
def the_way_to_an_engine_and_back_takes_so_much_longer() -> None:
    cluster = cluster_of()
    client = cluster.client()
    cluster.begin(LinkSlow(place="engine-1", latency=100 * MILLISECOND))
    call = client.apply(Work(), cluster.engines[0])
    cluster.run_for(199 * MILLISECOND)
    assert not call.is_done
    cluster.run_for(5 * MILLISECOND)
    assert call.is_done


@shows(LinkSlow)
def what_a_narrow_way_takes_depends_on_how_much_it_is() -> None:
    cluster = cluster_of(is_encoded=True)
    client = cluster.client()
    cluster.begin(LinkSlow(place="client-1", latency=50_000, bandwidth=2_000))
    call = client.apply(Work(), cluster.engines[0])
    cluster.run_for(200 * MILLISECOND)
    assert not call.is_done
    cluster.run_for(3 * SECOND)
    assert call.is_done


@shows(LinkSlow)
def what_a_lossy_way_loses_is_sent_again() -> None:
    cluster = cluster_of()
    client = cluster.client()
    cluster.begin(LinkSlow(place="client-1", latency=50_000, loss=0.5))
    calls = [client.apply(Work(), cluster.engines[0]) for _ in range(20)]
    cluster.run_for(MOMENT)
    assert not all(call.is_done for call in calls)
    cluster.run_for(10 * SECOND)
    assert [call.status for call in calls] == ["ok"] * 20


def connections(cluster: VirtualCluster) -> list[int]:
    """How often each connection of the first client was made."""
    return [session.epoch for session in cluster.clients[0].process.context.sessions]


@shows(Cut)
def between_messages_a_connection_breaks_and_loses_none() -> None:
    cluster = cluster_of()
    client = cluster.client()
    before, call = connections(cluster), client.apply(Work(), cluster.engines[0])
    trouble = cluster.begin(Cut(who="client-1", where="between"))
    assert not trouble.taken
    cluster.run_for(SECOND)
    assert all(now > then for then, now in zip(before, connections(cluster), strict=True))
    # The request has arrived; the answer was for a connection that is gone.
    assert [entry[2:] for entry in trouble.taken if entry[4]][:1] == [
        ("apply_reply", *trouble.taken[0][3:4], call.msg_id)
    ]


@shows(Cut)
def within_a_message_none_of_it_arrives() -> None:
    cluster = cluster_of(has_trace=True)
    client = cluster.client()
    call = client.apply(Work(), cluster.engines[0])
    trouble = cluster.begin(Cut(who="client-1", where="within"))
    cluster.run_for(SECOND)
    assert {entry[2:4] for entry in trouble.taken} == {("apply_request", call.msg_id)}
    assert not call.is_done


@shows(Cut)
def while_they_greet_connections_break_again() -> None:
    usual, greeting = (tries(where) for where in ("between", "greeting"))
    assert all(more > once for once, more in zip(usual, greeting, strict=True))


def tries(where: Any) -> list[int]:
    """How often each connection of a client is made when all of them are cut."""
    cluster = cluster_of()
    cluster.client()
    cluster.begin(Cut(who="client-1", where=where))
    cluster.run_for(SECOND)
    return connections(cluster)


# -- messages ----------------------------------------------------------------------------------------------------------


@shows(Dropped)
def a_message_that_is_dropped_is_never_answered() -> None:
    cluster = cluster_of()
    client = cluster.client()
    cluster.begin(Dropped(source="client-1/", at_most=1))
    lost, other = client.submit(Work()), client.submit(Work())
    cluster.run_for(SECOND)
    assert (lost.is_done, other.is_done) == (False, True)


@shows(Delayed)
def a_message_that_is_late_is_overtaken() -> None:
    cluster = cluster_of()
    client = cluster.client()
    cluster.begin(Delayed(source="client-1/", at_most=1, delay=SECOND))
    late, other = client.apply(Work(), cluster.engines[0]), client.apply(Work(), cluster.engines[0])
    cluster.run_until(lambda: other.is_done, cluster.now + SECOND)
    assert (late.is_done, other.is_done) == (False, True)
    cluster.run_for(DEATH)
    assert late.status == "ok"


@shows(Doubled)
def a_message_that_comes_twice_is_refused_once() -> None:
    cluster = cluster_of(has_trace=True)
    client = cluster.client()
    cluster.begin(Doubled(source="client-1/"))
    printed = client.execute(Work(prints=1), cluster.engines[0])
    cluster.run_for(SECOND)
    assert printed.output == "line 0\n"
    assert "wire.replay-refused" in refusals(cluster)


def damaged(kind: str) -> Look:
    """A look at one way to damage frames."""

    def what_was_damaged_is_not_what_was_sent() -> None:
        cluster = cluster_of(has_trace=True)
        client = cluster.client()
        trouble = cluster.begin(Damaged(source="client-1/", target="mux/", msg_type="apply_request", kind=kind))
        calls = [client.apply(Work(), cluster.engines[0]) for _ in range(20)]
        cluster.run_for(SECOND)
        assert len(trouble.taken) == 20
        assert refusals(cluster) or not all(call.is_done for call in calls)

    return what_was_damaged_is_not_what_was_sent


for each in ON_THE_WAY:
    shows(Damaged)(damaged(each))


# -- strangers ---------------------------------------------------------------------------------------------------------


@shows(OddEngine)
def without_a_heart_it_is_never_listed() -> None:
    cluster = cluster_of()
    cluster.begin(OddEngine(lacks="heart"))
    cluster.run_for(SECOND)
    assert len(hub_of(cluster).engines.by_uuid) == 2
    assert len(cluster.registered) == 1


@shows(OddEngine)
def a_heart_that_did_not_subscribe_never_beats() -> None:
    cluster = cluster_of()
    cluster.begin(OddEngine(lacks="subscription"))
    cluster.run_for(SECOND)
    assert len(hub_of(cluster).engines.by_uuid) == 2
    assert len(cluster.registered) == 1


def unanswered(lacks: Any) -> Look:
    """A look at an engine that is listed and answers nothing."""

    def what_is_sent_to_it_is_not_answered() -> None:
        cluster = cluster_of(engines=0)
        client = cluster.client()
        cluster.begin(OddEngine(lacks=lacks))
        cluster.run_for(SECOND)
        (uuid,) = cluster.registered.values()
        call = client.apply(Work(), uuid)
        cluster.run_for(SECOND)
        assert not call.is_done

    return what_is_sent_to_it_is_not_answered


for lack in ("shell", "control", "reading"):
    shows(OddEngine)(unanswered(lack))


@shows(OddEngine)
def answers_without_sense_are_no_answers() -> None:
    cluster = cluster_of(engines=0, has_trace=True)
    client = cluster.client()
    cluster.begin(OddEngine(lacks="sense"))
    cluster.run_for(SECOND)
    (uuid,) = cluster.registered.values()
    calls = [client.apply(Work(), uuid) for _ in range(20)]
    cluster.run_for(SECOND)
    trace = cluster.world.trace
    assert trace is not None
    assert len([entry for entry in trace.entries if entry[1:4] == ("mux", "took", "out")]) >= 10
    assert not all(call.status == "ok" for call in calls)


@shows(OddHeart)
def a_name_that_is_no_text_is_remembered_by_nobody() -> None:
    cluster = cluster_of()
    cluster.begin(OddHeart())
    cluster.run_for(SECOND)
    assert cluster.world.marks["heartmonitor.nameless-heart"] > 0
    assert cluster.world.marks["heartmonitor.malformed-pong"] > 0
    assert len(cluster.registered) == 1


@shows(Flood)
def a_thousand_registrations_come_at_once() -> None:
    cluster = cluster_of()
    cluster.begin(Flood(count=1000))
    cluster.run_for(MOMENT)
    assert len(hub_of(cluster).engines.by_uuid) == 1001
    cluster.run_for(5 * SECOND)
    assert list(hub_of(cluster).engines.by_uuid) == ["engine-1"]


@shows(Garbage)
def what_is_no_message_and_what_is_forged_is_refused() -> None:
    cluster = cluster_of(has_trace=True)
    cluster.begin(Garbage(count=100))
    cluster.run_for(SECOND)
    assert {"wire.delimiter-present", "wire.signature-verified"} <= refusals(cluster)


@shows(Nonsense)
def who_holds_the_key_and_makes_no_sense_is_found_out() -> None:
    cluster = cluster_of(has_trace=True)
    cluster.begin(Nonsense(count=100))
    cluster.run_for(SECOND)
    assert {"hub.request-repeated", "task.unknown-type", "relay.unaddressed", "broadcast.refused"} <= set(
        cluster.world.marks
    )
    assert "wire.parts-readable" in refusals(cluster)


@shows(Replays)
def what_was_sent_once_is_refused_the_second_time() -> None:
    cluster = cluster_of(has_trace=True)
    client = cluster.client()
    cluster.begin(Replays(share=1.0))
    printed = client.execute(Work(prints=1), cluster.engines[0])
    cluster.run_for(SECOND)
    assert printed.output == "line 0\n"
    assert "wire.replay-refused" in refusals(cluster)


# -- clocks ------------------------------------------------------------------------------------------------------------


@shows(ClockJumped)
def records_are_dated_as_the_clock_says() -> None:
    cluster = cluster_of()
    client = cluster.client()
    trouble = cluster.begin(ClockJumped(who="client-1", nanoseconds=24 * 3600 * SECOND))
    jumped = client.submit(Work())
    trouble.end()
    usual = client.submit(Work())
    cluster.run_for(SECOND)
    disk = cluster.controller.records
    assert disk is not None
    records = disk.records.find({}, ("msg_id", "submitted"))
    days = {record["msg_id"]: str(record["submitted"])[:10] for record in records}
    assert days[jumped.msg_id] > days[usual.msg_id]


@shows(ClockDrifting)
def pings_come_sooner() -> None:
    cluster = cluster_of(has_trace=True)
    begin = cluster.now
    cluster.run_for(10 * SECOND)
    usual, begin = beats(cluster, begin), cluster.now
    cluster.begin(ClockDrifting(who="hearts", per_mille=500))
    cluster.run_for(10 * SECOND)
    assert beats(cluster, begin) > usual * 1.3


# -- all of them -------------------------------------------------------------------------------------------------------

EVERY = [pytest.param(kind, look, id=f"{kind.__name__}-{look.__name__}") for kind, looks in LOOKS.items()
         for look in looks]  # fmt: skip


@pytest.mark.parametrize(("_", "look"), EVERY)
def test_what_a_fault_does(_: type[Fault], look: Look) -> None:
    look()


@pytest.mark.parametrize(("kind", "look"), EVERY)
def test_without_it_that_does_not_happen(kind: type[Fault], look: Look, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kind, "begin", lambda *_: None)
    with pytest.raises((AssertionError, KeyError, ValueError)):
        look()


def test_every_kind_is_looked_at() -> None:
    assert set(LOOKS) == set(vocabulary())
