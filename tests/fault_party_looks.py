"""What faults do to parties: to hearts, engines and clients, to the controller and its disk, and to their clocks."""

from fault_looks import DEATH, MOMENT, cluster_of, hub_of, shows

from protocol.roles.task import TaskScheduler
from protocol.world import MILLISECOND, SECOND, Work
from simulator.cluster import VirtualCluster
from simulator.faults import (
    ClockDrifting,
    ClockJumped,
    DiskFailing,
    DiskLost,
    DiskSlow,
    EngineInterrupted,
    EngineKilled,
    EngineStalled,
    EngineTerminated,
    Fault,
    HeartHalted,
    HeartKilled,
    HeartLate,
    HeartLying,
    OutputUnread,
    PartKilled,
    PartStalled,
    Paused,
)
from simulator.stage import NO_ROOM

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
