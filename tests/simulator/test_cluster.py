"""The virtual cluster: what scenarios rely on. Four stops, restarts, and that nothing but the seed decides."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from protocol.world import MILLISECOND, SECOND, Work
from simulator.cluster import VirtualCluster
from simulator.engines import VirtualEngine
from simulator.run import Setup, run
from simulator.trace import first_difference

#: Longer than the misses of the cluster's heart monitor last.
DEATH = 2 * SECOND


def is_registered(cluster: VirtualCluster, engine: VirtualEngine) -> bool:
    return engine.uuid in cluster.registered.values()


def everything(seed: int = 1, *, is_encoded: bool = False) -> tuple[VirtualCluster, list[Any]]:
    """A run with every kind of request, engines with wardens and with hearts in Python, deaths, and a client's end."""
    cluster = VirtualCluster(seed, engines=3, is_encoded=is_encoded, has_trace=True)
    cluster.engine(has_warden=True)
    cluster.engine(heart="python")
    client = cluster.client()
    tasks = [
        client.submit(Work(takes=number * MILLISECOND, prints=number % 3, fails=number % 5 == 0), retries=1)
        for number in range(1, 20)
    ]
    tasks.append(client.submit(Work(), after=tasks[1:3]))
    tasks.append(client.submit(Work(), after=tasks[3:5], timeout=SECOND))
    tasks.append(client.submit(Work(), follow=tasks[5:6]))
    tasks.append(client.submit(Work(refuses=tuple(cluster.registered.values())[:2])))
    tasks.append(client.broadcast(Work(prints=1)))
    tasks.append(client.broadcast(Work(), is_coalescing=True))
    tasks.append(client.execute(Work(prints=3)))
    waiting = [client.apply(Work(takes=SECOND), cluster.engines[0]) for _ in range(2)]
    tasks += waiting
    cluster.run_for(100 * MILLISECOND)
    tasks.append(client.abort(waiting[1:], cluster.engines[0]))
    tasks.append(client.query("queue_request", {"targets": None}))
    tasks.append(client.query("db_request", {"query": {}, "keys": None}))
    tasks.append(client.control("signal_request", {"sig": "SIGINT"}, cluster.engines[3]))
    cluster.run_for(DEATH)
    cluster.engines[1].kill()
    tasks.append(client.submit(Work(crashes=True), retries=1))
    cluster.run_for(2 * DEATH)
    tasks.append(client.query("purge_request", {"msg_ids": [tasks[0].msg_id]}))
    tasks.append(client.query("resubmit_request", {"msg_ids": [tasks[1].msg_id]}))
    cluster.run_for(SECOND)
    client.leave()
    cluster.run_for(SECOND)
    return cluster, tasks


def test_every_kind_of_request_ends_as_it_must() -> None:
    cluster, tasks = everything()
    assert all(task.is_done for task in tasks)
    ended = [task.status for task in tasks]
    assert ended[:19] == ["error" if number % 5 == 0 else "ok" for number in range(1, 20)]
    assert ended[19:21] == ["ok", "error"]
    assert tasks[20].ename == "ImpossibleDependency"
    assert ended[21:] == [*["ok"] * 6, "aborted", *["ok"] * 4, "error", "ok", "ok"]
    assert tasks[23].count == 5
    assert tasks[25].output == "line 0\nline 1\nline 2\n"
    assert not cluster.clients[0].process.is_alive


def test_whether_messages_are_encoded_makes_no_difference() -> None:
    (lazy, tasks), (encoded, same) = everything(), everything(is_encoded=True)
    assert lazy.world.trace is not None
    assert encoded.world.trace is not None
    assert first_difference(lazy.world.trace.entries, encoded.world.trace.entries) is None
    assert [task.content for task in tasks] == [task.content for task in same]


@pytest.mark.parametrize("setup", [Setup(seed=seed, tasks=20) for seed in (2, 8, 9, 12)], ids=lambda one: f"{one.seed}")
def test_it_makes_none_among_faults_either(setup: Setup) -> None:
    lazy, encoded = (run(msgspec.structs.replace(setup, has_trace=True, is_encoded=each)) for each in (False, True))
    assert lazy.trace is not None
    assert encoded.trace is not None
    assert first_difference(lazy.trace.entries, encoded.trace.entries) is None
    assert lazy.excused == encoded.excused


def test_another_seed_makes_another_run() -> None:
    (one, _), (other, _) = everything(1), everything(2)
    assert one.world.trace is not None
    assert other.world.trace is not None
    assert one.world.trace.digest() != other.world.trace.digest()


def test_the_hash_seed_of_python_changes_nothing() -> None:
    code = "from test_cluster import everything; print(everything()[0].world.trace.digest())"
    folder = Path(__file__).parent
    found = {
        subprocess.run(
            [sys.executable, "-c", code],
            cwd=folder,
            env=os.environ | {"PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("1", "2")
    }
    mine = everything()[0].world.trace
    assert mine is not None
    assert found == {f"{mine.digest()}\n"}


# -- the four stops ----------------------------------------------------------------------------------------------------


def test_a_stall_holds_up_the_code_and_not_the_heart_in_c() -> None:
    cluster = VirtualCluster(engines=1)
    engine, client = cluster.engines[0], cluster.client()
    engine.stall(DEATH)
    task = client.apply(Work(), engine)
    cluster.run_for(DEATH - MILLISECOND)
    assert not task.is_done
    assert is_registered(cluster, engine)
    cluster.run_for(SECOND)
    assert task.status == "ok"


def test_a_stall_stops_a_heart_in_python() -> None:
    cluster = VirtualCluster()
    engine = cluster.engine(heart="python")
    engine.stall(DEATH)
    cluster.run_for(DEATH - MILLISECOND)
    assert not is_registered(cluster, engine)
    cluster.run_for(DEATH)
    assert is_registered(cluster, engine), "it was alive all the time, and asked again"


def test_a_pause_stops_everything_and_is_survived() -> None:
    cluster = VirtualCluster(engines=2)
    engine, client = cluster.engines[0], cluster.client()
    task = client.apply(Work(takes=SECOND), engine)
    cluster.run_for(100 * MILLISECOND)
    engine.pause()
    cluster.run_for(2 * DEATH)
    assert not is_registered(cluster, engine)
    assert task.ename == "EngineError"
    assert engine.is_alive
    engine.resume()
    cluster.run_for(DEATH)
    assert is_registered(cluster, engine)
    assert client.apply(Work(), engine) is not None


def test_after_a_crash_the_task_is_run_again() -> None:
    cluster = VirtualCluster(engines=2)
    task = cluster.client().submit(Work(takes=3 * SECOND), retries=1)
    cluster.run_for(100 * MILLISECOND)
    busy = next(engine for engine in cluster.engines if engine.is_busy)
    busy.kill()
    assert not busy.is_alive
    assert cluster.run_until(lambda: task.is_done, cluster.now + 10 * SECOND)
    assert (task.status, task.engine == busy.uuid) == ("ok", False)


def test_a_partition_is_noticed_by_silence_alone() -> None:
    cluster = VirtualCluster(engines=2)
    away, here = cluster.engines
    cluster.partition([away])
    cluster.run_for(DEATH)
    assert away.is_alive
    assert [is_registered(cluster, engine) for engine in (away, here)] == [False, True]
    cluster.heal()
    cluster.run_for(DEATH)
    assert is_registered(cluster, away)


def test_a_stopped_heart_ends_the_engine_for_the_hub_only() -> None:
    cluster = VirtualCluster(engines=1)
    cluster.engines[0].stop_heart()
    cluster.run_for(DEATH)
    assert cluster.engines[0].is_alive
    assert not cluster.registered


def test_an_engine_may_come_back_under_its_uuid() -> None:
    cluster = VirtualCluster(engines=1)
    engine, client = cluster.engines[0], cluster.client()
    engine.kill()
    cluster.run_for(DEATH)
    engine.restart()
    cluster.run_for(DEATH)
    assert is_registered(cluster, engine)
    task = client.apply(Work(), engine)
    cluster.run_for(SECOND)
    assert task.status == "ok"


def test_a_warden_tells_of_a_death_at_once() -> None:
    cluster = VirtualCluster()
    engine = cluster.engine(has_warden=True)
    engine.kill()
    cluster.run_for(100 * MILLISECOND)
    assert not is_registered(cluster, engine)


def test_an_engine_ends_in_order_when_it_is_told_to() -> None:
    cluster = VirtualCluster(engines=1)
    cluster.engines[0].stop()
    cluster.run_for(100 * MILLISECOND)
    assert not cluster.engines[0].is_alive
    assert not cluster.registered


def test_last_words_are_heard_before_the_end_is_known() -> None:
    cluster = VirtualCluster()
    engine = cluster.engine(has_warden=True)
    asked = cluster.client().control("shutdown_request", {"restart": False}, engine)
    cluster.run_for(SECOND)
    assert asked.status == "ok"
    assert not engine.is_alive


# -- the controller ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("part", ["hub", "tasks", "mux", "control", "iopub", "broadcast", "hearts", "controller"])
def test_every_part_can_be_started_again(part: Any) -> None:
    cluster = VirtualCluster(engines=2)
    client = cluster.client()
    cluster.kill(part)
    cluster.run_for(500 * MILLISECOND)
    cluster.restart(part)
    cluster.run_for(3 * DEATH)
    assert set(cluster.registered.values()) == {engine.uuid for engine in cluster.engines}
    tasks = [
        client.submit(Work()),
        client.apply(Work(), cluster.engines[0]),
        client.broadcast(Work()),
        client.control("clear_request", {}, cluster.engines[0]),
        client.query("connection_request"),
    ]
    assert cluster.run_until(lambda: all(task.is_done for task in tasks), cluster.now + 10 * SECOND), tasks
    assert {task.status for task in tasks} == {"ok"}


@pytest.mark.parametrize("keeps_disk", [True, False])
def test_results_survive_the_hub_on_its_disk_only(keeps_disk: bool) -> None:
    cluster = VirtualCluster(engines=1)
    client = cluster.client()
    task = client.submit(Work())
    cluster.run_for(SECOND)
    cluster.restart("hub", keeps_disk=keeps_disk)
    cluster.run_for(3 * DEATH)
    asked = client.query("result_request", {"msg_ids": [task.msg_id]})
    cluster.run_for(SECOND)
    assert asked.status == ("ok" if keeps_disk else "error")


def test_a_disk_loses_what_was_not_flushed() -> None:
    cluster = VirtualCluster(engines=1)
    client = cluster.client()
    task = client.submit(Work())
    assert cluster.run_until(lambda: task.is_done, cluster.now + SECOND)
    cluster.restart("hub")
    cluster.run_for(3 * DEATH)
    asked = client.query("result_request", {"msg_ids": [task.msg_id]})
    cluster.run_for(SECOND)
    assert asked.status == "error"


def test_a_pause_of_the_hub_is_waited_out() -> None:
    cluster = VirtualCluster(engines=1)
    client = cluster.client()
    cluster.pause("hub")
    asked = client.query("connection_request")
    cluster.run_for(DEATH)
    assert not asked.is_done
    cluster.resume("hub")
    cluster.run_for(SECOND)
    assert asked.status == "ok"
    assert is_registered(cluster, cluster.engines[0])


def test_time_stops_where_the_predicate_holds() -> None:
    cluster = VirtualCluster()
    due: Callable[[], bool] = lambda: cluster.now >= SECOND  # noqa: E731
    assert cluster.run_until(due, 10 * SECOND)
    assert cluster.now < 2 * SECOND
    assert not cluster.run_until(lambda: False, 3 * SECOND)
    assert cluster.now == 3 * SECOND
