"""What keeps a target from going on is measured, and puts deadlines off: a busy machine makes nobody late."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from reference_cluster import wait_for

from conformance.harness.deployment import VirtualDeployment
from conformance.harness.hindrance import EVERY, PUT_OFF, Hindrance
from conformance.harness.pump import NEAR, Pump
from conformance.harness.subject import Subject
from conformance.harness.verdict import Undecided
from conformance.targets import load
from conformance.targets.delays import delays
from protocol.wire import Codec
from protocol.world import MILLISECOND, SECOND, Fact

#: Two processes that compute for ever, one below the other, with one processor between them.
RIVALS = """
import os
os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
if os.fork():
    print("go", flush=True)
while True:
    pass
"""


@pytest.mark.skipif(not Path("/proc/self/schedstat").exists(), reason="only Linux tells how long a thread has waited")
def test_processes_that_compete_for_a_processor_wait_for_it() -> None:
    with subprocess.Popen([sys.executable, "-c", RIVALS], stdout=subprocess.PIPE, start_new_session=True) as rivals:
        try:
            assert rivals.stdout is not None
            assert rivals.stdout.readline() == b"go\n"
            before = delays(rivals.pid)
            assert len(before) == 2
            assert rivals.pid in before
            # Together they wait all the time.
            assert wait_for(lambda: sum(delays(rivals.pid).values()) > sum(before.values()) + 100 * MILLISECOND)
        finally:
            os.killpg(rivals.pid, 9)
    assert delays(rivals.pid) == {}


def test_the_thread_that_waited_longest_counts() -> None:
    waited = {1: 5, 2: 1000}
    hindrance = Hindrance(lambda: dict(waited))
    assert hindrance.since(0) == 0
    assert hindrance.look(0) == 0
    waited |= {1: 35, 2: 1010, 3: 20}
    assert hindrance.look(EVERY - 1) == 0, "it is too early to look again"
    assert hindrance.look(EVERY) == 30
    del waited[1]
    waited[2] += 1
    assert hindrance.look(2 * EVERY) == 1
    assert (hindrance.since(0), hindrance.since(EVERY), hindrance.since(2 * EVERY)) == (20, 1, 0)


class Clock:
    """A pump whose time passes in polls only."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.now = 0
        self.pump = Pump(Codec(b"key"))
        patch.setattr(Pump, "now", property(lambda _: self.now))
        patch.setattr(self.pump, "_looked", 0)
        patch.setattr(self.pump._poller, "poll", self._poll)

    def _poll(self, milliseconds: int) -> list[object]:
        self.now += milliseconds * MILLISECOND
        return []

    def waits(self, share: float) -> None:
        """The target's only thread waits for a processor during this share of the time."""
        self.pump.attend(lambda: {1: int(self.now * share)})

    def subject(self) -> Subject:
        class Nobody:
            def delays(self) -> dict[int, int]:
                return {}

        return Subject(
            self.pump, load("reference").timing, role="controller", dialect="ipyparallel-9", token="t",
            date=lambda: "", instance=Nobody(),  # type: ignore[arg-type]
        )  # fmt: skip


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Iterator[Clock]:
    made = Clock(monkeypatch)
    yield made
    made.pump.close()


@pytest.mark.parametrize(
    ("share", "least", "most"), [(0.0, 5.0, 5.1), (0.5, 9.0, 10.1), (1.0, 5.0 * PUT_OFF, 5.0 * PUT_OFF + 0.1)]
)
def test_a_deadline_is_put_off_by_what_the_target_waited_for(
    clock: Clock, share: float, least: float, most: float
) -> None:
    clock.waits(share)
    assert not clock.pump.run_until(lambda: False, 5 * SECOND)
    assert least * SECOND <= clock.now <= most * SECOND
    assert not any(fact.name == "hindered" for fact in clock.pump.observations) or share


def test_what_comes_after_the_deadline_is_in_time_if_the_target_could_not_go_on(clock: Clock) -> None:
    clock.waits(0.6)
    assert clock.pump.run_until(lambda: clock.now > 8 * SECOND, 5 * SECOND)
    assert any(isinstance(fact, Fact) and fact.name == "hindered" for fact in clock.pump.observations)


def test_whoever_gets_something_else_first_waits_on_as_long(clock: Clock) -> None:
    clock.waits(0.6)
    limit = 5 * SECOND
    for heard in range(1, 5):
        # What is left until the deadline gets less; what it is put off by does not.
        assert clock.pump.run_until(lambda heard=heard: clock.now > heard * 1.2 * SECOND, limit)
    assert clock.pump.run_until(lambda: clock.now > 8 * SECOND, limit)


def test_a_near_deadline_stays_where_it_is(clock: Clock) -> None:
    clock.waits(1.0)
    clock.pump.run_until(lambda: False, NEAR // 2)
    assert clock.now == NEAR // 2


@pytest.mark.parametrize("deadline", [0, -1])
def test_a_deadline_that_has_passed_is_not_put_off(clock: Clock, deadline: int) -> None:
    clock.waits(1.0)
    assert not clock.pump.run_until(lambda: False, deadline)
    assert clock.now == 0


def test_nobody_is_accused_who_had_no_time(clock: Clock) -> None:
    subject, limit = clock.subject(), 5 * SECOND
    clock.waits(0.5)
    clock.pump.run_until(lambda: False, limit)
    assert limit * 9 // 10 <= subject.spent(0) <= limit
    subject.expect_waited(0, limit)
    clock.waits(1.0)
    started = clock.now
    clock.pump.run_until(lambda: False, started + limit)
    assert subject.is_over(started, limit)
    assert clock.now - started == PUT_OFF * limit
    with pytest.raises(Undecided, match="the machine is busy"):
        subject.expect_waited(started, limit)


def test_who_did_not_wait_is_not_excused_by_a_wait_that_was_cut_short(clock: Clock) -> None:
    subject = clock.subject()
    clock.waits(1.0)
    clock.pump.run_until(lambda: clock.now > SECOND, 5 * SECOND)
    subject.expect_waited(0, 5 * SECOND)
    with pytest.raises(Undecided, match="it kept the target"):
        subject.expect_unhindered(0, 4 * SECOND)


def test_a_case_in_which_the_kit_stood_still_accuses_nobody(clock: Clock) -> None:
    subject = clock.subject()
    clock.pump.run_until(lambda: False, SECOND)
    subject.begin_case()
    clock.now += subject.doze // 2
    subject.expect_awake()
    clock.now += subject.doze // 2
    with pytest.raises(Undecided, match="the harness itself stalled"):
        subject.expect_awake()
    clock.pump.run_until(lambda: True, clock.now)
    subject.begin_case()
    subject.expect_awake()


def test_the_kit_may_stand_still_as_long_as_no_heart_does() -> None:
    subject = VirtualDeployment(load("simulated")).shared()
    subject.begin_case()
    patience, limit = subject.timing.reply_deadline, subject.timing.heart_failure[0]
    assert subject.doze == limit < patience
    beating = subject.engine().registered(has_device_heart=True)
    assert subject.doze == patience
    subject.engine().registered().leave()
    assert subject.doze == limit
    beating.leave()
    subject.end_case()
    subject.begin_case()
    assert subject.doze == limit


def test_hearts_beat_while_much_is_sent(clock: Clock) -> None:
    socket, _ = clock.pump.bind("PUB", "tcp://127.0.0.1", channel="heartbeat-ping", party="p")
    beats: list[int] = []
    clock.pump.every(50 * MILLISECOND, lambda: beats.append(clock.now))
    for _ in range(10):
        clock.now += 30 * MILLISECOND
        socket.send_raw([b"one of many"], "raw by design: a flood")
    assert len(beats) >= 4
