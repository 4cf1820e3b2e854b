"""Judging a run: what is accused, what is excused, and what is shown of it."""

from typing import Any

import pytest

from protocol.errors import LocalProtocolError
from protocol.roles.heartmonitor import HeartMonitorConfig
from protocol.roles.task import TaskScheduler
from protocol.wire import Codec, Message
from protocol.world import MILLISECOND, SECOND, Observation, Work
from simulator.cluster import VirtualCluster
from simulator.faults import PartStalled
from simulator.judge import ANSWERED, judge
from simulator.recorder import CALM
from simulator.workloads import Workload


def scheduler_of(cluster: VirtualCluster) -> Any:
    scheduler = cluster.controller.role("tasks")
    assert isinstance(scheduler, TaskScheduler)
    return scheduler


def test_a_run_without_faults_is_clean_and_exercises_the_rules() -> None:
    cluster = VirtualCluster(3, engines=3, is_judged=True)
    workload = Workload(cluster, requests=30)
    assert cluster.run_until(lambda: workload.is_done, cluster.now + 30 * SECOND)
    assert cluster.settle()
    judgement = judge(cluster)
    assert judgement.text() == ""
    assert judgement.is_clean
    assert [*judgement.open, *judgement.excused, *judgement.remarks] == []
    assert {"wire.at-most-one-reply", "registration.reply-id", "heartbeat.ping-is-lifetime"} <= judgement.exercised
    assert judgement.silent.isdisjoint(judgement.exercised)


def test_whoever_swallows_a_reply_is_accused_and_the_way_of_the_message_is_shown() -> None:
    cluster = VirtualCluster(3, engines=1, is_judged=True, keeps_items=True)
    scheduler_of(cluster)._receivers["out"] = lambda *_: None
    task = cluster.client().submit(Work(takes=MILLISECOND))
    assert not cluster.settle(5 * SECOND)
    judgement = judge(cluster)
    (violation,) = judgement.violations
    assert (violation.requirement, violation.guilty) == (ANSWERED, "tasks")
    assert [matter.msg_id for matter in judgement.open] == [task.msg_id]
    chain = [item for item in judgement.chain(violation) if isinstance(item, Observation)]
    steps = [(item.observer, item.direction, item.message.msg_type) for item in chain if item.message]
    assert steps[-2:] == [("engine-1", "sent", "apply_reply"), ("tasks", "received", "apply_reply")]
    assert "took apply_reply" in judgement.text()


def test_what_died_with_a_process_is_excused() -> None:
    cluster = VirtualCluster(3, engines=1, is_judged=True)
    task = cluster.client().submit(Work(takes=SECOND))
    cluster.run_for(100 * MILLISECOND)
    cluster.kill("tasks")
    assert not cluster.settle(5 * SECOND)
    judgement = judge(cluster)
    assert judgement.is_clean
    (excused,) = judgement.excused
    assert excused.msg_id == task.msg_id
    assert str(excused).startswith(f"client-1: apply_request {task.msg_id} is open: excused, as tasks ended")


def test_times_count_again_a_while_after_everything_was_healed() -> None:
    def accused(after: int) -> set[str]:
        cluster = VirtualCluster(1, engines=2, is_judged=True)
        cluster.client()
        cluster.begin(PartStalled(part="hub", nanoseconds=SECOND))
        cluster.run_for(2 * SECOND)
        cluster.mend()
        cluster.run_for(after)
        monitor = cluster.controller.role("hearts")
        object.__setattr__(monitor, "config", HeartMonitorConfig(period=100 * MILLISECOND, misses=30))
        cluster.engines[0].kill()
        cluster.run_for(6 * SECOND)
        return {violation.requirement for violation in judge(cluster).violations}

    assert accused(after=0) == set()
    assert accused(after=CALM + SECOND) == {"heartbeat.removal-in-time"}


NAMES = {"msg_id": "a", "msg_type": "b"}


@pytest.mark.parametrize(
    "message",
    [
        Message({"msg_id": 7, "msg_type": "b"}), Message({"msg_type": "b"}), Message({"msg_id": "a", "msg_type": 3}),
        Message(NAMES, content=[1]), Message(NAMES, parent_header=[]), Message(NAMES, metadata="x"),
    ],
)  # fmt: skip
def test_what_rules_about_frames_forbid_cannot_be_written(message: Message) -> None:
    # A message that never was bytes therefore breaks none of them: on real sockets its sender could not send it.
    with pytest.raises(LocalProtocolError):
        Codec(b"key").encode(message)


def test_what_a_tap_dropped_is_excused() -> None:
    cluster = VirtualCluster(3, engines=1, is_judged=True)
    recorder = cluster.world.recorder
    assert recorder is not None
    client = cluster.client()
    number = recorder.began("replies to clients are dropped", is_inside=False, who=("client-1",))

    def tap(wire: Any, load: tuple[Any, ...]) -> list[tuple[int, tuple[Any, ...]]]:
        if wire.name[1].startswith("client-1"):
            recorder.touched(number, load)
            return []
        return [(0, load)]

    cluster.world.network.tap = tap
    task = client.submit(Work())
    cluster.run_for(SECOND)
    cluster.world.network.tap = None
    recorder.ended(number)
    assert not cluster.settle(5 * SECOND)
    judgement = judge(cluster)
    assert judgement.is_clean
    assert [each.msg_id for each in judgement.excused] == [task.msg_id]


def test_a_judged_run_is_the_same_run() -> None:
    digests = []
    for is_judged in (False, True):
        cluster = VirtualCluster(5, engines=2, has_trace=True, is_judged=is_judged, keeps_items=is_judged)
        workload = Workload(cluster, requests=20)
        cluster.run_until(lambda workload=workload: workload.is_done, cluster.now + 30 * SECOND)
        assert cluster.world.trace is not None
        digests.append(cluster.world.trace.digest())
    assert digests[0] == digests[1]


def test_a_task_that_is_run_again_is_no_second_message() -> None:
    cluster = VirtualCluster(engines=2, is_judged=True)
    client = cluster.client()
    task = client.submit(Work(fails=True), retries=2)
    cluster.run_for(SECOND)
    # What the Hub submits again nobody else has sent under that msg_id.
    again = client.query("resubmit_request", {"msg_ids": [task.msg_id]})
    cluster.run_for(SECOND)
    assert again.status == "ok"
    assert cluster.settle()
    assert judge(cluster).text() == ""
