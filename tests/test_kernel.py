"""Virtual time: the order of events, the end of runs, streams of chance, and links."""

import subprocess
import sys

import pytest

from simulator.kernel import Kernel
from simulator.network import RETRANSMIT, Link, Network


def test_events_happen_in_the_order_of_time_and_then_of_making() -> None:
    kernel = Kernel()
    seen: list[tuple[int, object, object]] = []
    see = lambda a, b: seen.append((kernel.now, a, b))  # noqa: E731
    kernel.at(20, see, "late", 1)
    kernel.at(10, see, "first")
    kernel.at(10, see, "second")
    kernel.at(10, lambda *_: kernel.after(5, see, "made on the way"))
    kernel.run(15)
    assert seen == [(10, "first", None), (10, "second", None), (15, "made on the way", None)]
    assert kernel.now == 15
    kernel.run(15)
    assert len(seen) == 3
    kernel.run(30)
    assert seen[3:] == [(20, "late", 1)]
    assert kernel.now == 30


def test_what_is_asked_for_in_the_past_happens_now() -> None:
    kernel = Kernel()
    kernel.run(100)
    seen: list[int] = []
    kernel.at(50, lambda *_: seen.append(kernel.now))
    kernel.run(100)
    assert seen == [100]


def test_run_until_looks_first_and_after_each_event() -> None:
    kernel = Kernel()
    seen: list[int] = []
    for t in (1, 2, 3, 50):
        kernel.at(t, lambda *_: seen.append(kernel.now))
    assert kernel.run_until(lambda: True, 10)
    assert seen == []
    assert kernel.run_until(lambda: len(seen) == 2, 10)
    assert (seen, kernel.now) == ([1, 2], 2)
    assert not kernel.run_until(lambda: len(seen) == 4, 10)
    assert (seen, kernel.now) == ([1, 2, 3], 10)


def test_an_error_in_an_event_leaves_a_kernel_that_goes_on() -> None:
    kernel = Kernel()
    seen: list[int] = []

    def fail(_a: object, _b: object) -> None:
        raise ValueError("mine")

    kernel.at(1, fail)
    kernel.at(2, lambda *_: seen.append(kernel.now))
    with pytest.raises(ValueError, match="mine"):
        kernel.run(5)
    kernel.run(9)
    assert (seen, kernel.now) == ([2], 9)


def test_a_tracer_sees_every_event_and_nothing_else() -> None:
    kernel = Kernel()
    seen: list[tuple[int, int]] = []
    kernel.tracer = lambda *event: seen.append(event[:2])
    kernel.at(3, lambda *_: None)
    kernel.at(1, lambda *_: None)
    kernel.run(2)
    assert kernel.step()
    assert not kernel.step()
    assert seen == [(1, 1), (3, 0)]


def test_streams_of_chance_are_separate_and_the_same_in_every_process() -> None:
    one, other = Kernel(17), Kernel(17)
    one.faults.random()
    assert one.schedule.random() == other.schedule.random()
    assert len({Kernel(17).network.random(), Kernel(18).network.random(), Kernel(17).workload.random()}) == 3
    code = "from simulator.kernel import Kernel; print(Kernel(17).schedule.getrandbits(64))"
    drawn = {
        subprocess.run(
            [sys.executable, "-c", code], env={"PYTHONHASHSEED": seed}, capture_output=True, text=True, check=True
        ).stdout
        for seed in ("0", "1")
    }
    assert drawn == {f"{Kernel(17).schedule.getrandbits(64)}\n"}


def test_a_link_counts_latency_jitter_bandwidth_and_lost_packets() -> None:
    kernel = Kernel(3)
    assert Link(500).arrival(kernel, 1000) == 500
    assert 500 <= Link(500, jitter=100).arrival(kernel, 1000) < 600
    slow = Link(500, bandwidth=1_000_000)
    assert [slow.arrival(kernel, 1000) for _ in range(3)] == [1_000_500, 2_000_500, 3_000_500]
    lossy = [Link(500, loss=0.5).arrival(kernel, 1000) for _ in range(200)]
    assert set(lossy) >= {500, 500 + RETRANSMIT, 500 + 3 * RETRANSMIT}


def test_a_wire_keeps_its_order_whatever_its_link_does() -> None:
    kernel = Kernel(5)
    network = Network(kernel)
    network.link("a", "b", latency=1000, jitter=5000, loss=0.2)
    got: list[int] = []
    wire = network.wire("a", "b", ("x", "y"), lambda item: not got.append(item[0][0]))
    for number in range(200):
        wire.send((bytes([number]),))
        kernel.run(kernel.now + 500)
    kernel.run(10**12)
    assert got == list(range(200))
    assert wire.in_flight == 0


def test_what_meets_a_partition_comes_when_it_is_healed() -> None:
    kernel = Kernel()
    network = Network(kernel, latency=1000)
    got: list[tuple[int, object]] = []
    wire = network.wire("a", "b", ("x", "y"), lambda item: not got.append((kernel.now, item)))
    back = network.wire("b", "a", ("y", "x"), lambda item: not got.append((kernel.now, item)))
    wire.send((b"on its way",))
    network.partition(["a"], ["b"], one_way=True)
    back.send((b"the other way",))
    kernel.run(5000)
    wire.send((b"during",))
    kernel.run(10_000)
    assert got == [(1000, (b"the other way",))]
    network.heal(["b"], ["a"])
    wire.send((b"after",))
    kernel.run(20_000)
    assert got[1:] == [(11_000, (b"on its way",)), (11_000, (b"during",)), (11_000, (b"after",))]


def test_a_tap_may_drop_delay_and_double() -> None:
    kernel = Kernel()
    network = Network(kernel, latency=1000)
    got: list[tuple[int, object]] = []
    wire = network.wire("a", "b", ("x", "y"), lambda item: not got.append((kernel.now, item[0])))
    plans = {b"drop": [], b"delay": [(5000, (b"delay",))], b"double": [(0, (b"double",)), (0, (b"double",))]}
    network.tap = lambda _, message: plans.get(message[0], [(0, message)])
    for name in (b"drop", b"delay", b"double", b"plain"):
        wire.send((name,))
    kernel.run(10_000)
    assert got == [(1000, b"double"), (1000, b"double"), (1000, b"plain"), (6000, b"delay")]
    network.tap = None
    wire.send((b"drop",))
    kernel.run(20_000)
    assert got[4:] == [(11_000, b"drop")]
