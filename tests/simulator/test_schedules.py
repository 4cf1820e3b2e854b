"""Other orders of what is due at about the same time: what they may change, what not, and how they are drawn."""

from collections import Counter
from collections.abc import Sequence
from random import Random

import pytest
from simulating import simulate

from simulator.kernel import Kernel
from simulator.run import Setup, run
from simulator.schedules import WINDOW, Priorities, ScheduledKernel, Uniform, parse, scheduled

KINDS = ("uniform", "pct", "pct:1", "pct:9")


class Actor:
    """Writes down what it does, and when."""

    def __init__(self, name: str, kernel: Kernel, done: list[tuple[str, int]]) -> None:
        self.name = name
        self.kernel = kernel
        self.done = done

    def act(self, number: int, _: object) -> None:
        self.done.append((self.name, number))


def order(schedule: str, seed: int, dues: Sequence[tuple[str, int]]) -> list[tuple[str, int]]:
    kernel = scheduled(seed, schedule)
    done: list[tuple[str, int]] = []
    actors = {name: Actor(name, kernel, done) for name, _ in dues}
    for number, (name, due) in enumerate(dues):
        kernel.at(due, actors[name].act, number)
    kernel.run(10 * WINDOW)
    assert kernel.now == 10 * WINDOW
    return done


@pytest.mark.parametrize("schedule", KINDS)
def test_what_is_due_at_about_the_same_time_happens_in_any_order(schedule: str) -> None:
    found = {tuple(name for name, _ in order(schedule, seed, [("a", 1), ("b", 2), ("c", 3)])) for seed in range(60)}
    assert len(found) == 6, found


@pytest.mark.parametrize("schedule", KINDS)
def test_nobody_overtakes_itself(schedule: str) -> None:
    dues = [("a", 1), ("b", 1), ("a", 2), ("b", 2), ("a", 2), ("b", 3)]
    for seed in range(30):
        done = order(schedule, seed, dues)
        assert sorted(done) == sorted((name, number) for number, (name, _) in enumerate(dues))
        for name in ("a", "b"):
            numbers = [number for who, number in done if who == name]
            assert numbers == sorted(numbers)


@pytest.mark.parametrize("schedule", KINDS)
def test_what_is_due_much_later_happens_later(schedule: str) -> None:
    for seed in range(30):
        assert order(schedule, seed, [("a", 0), ("b", WINDOW + 1)]) == [("a", 0), ("b", 1)]


def test_time_never_goes_back_and_a_deadline_is_kept() -> None:
    kernel = scheduled(3, "uniform")
    times: list[int] = []
    done: list[tuple[str, int]] = []
    kernel.tracer = lambda t, *_: times.append(t)
    for number in range(20):
        kernel.at(number * WINDOW // 4, Actor(str(number), kernel, done).act, number)
    kernel.run(WINDOW)
    assert len(done) == 5
    assert kernel.now == WINDOW
    assert kernel.run_until(lambda: len(done) == 12, 5 * WINDOW)
    assert kernel.run_until(lambda: False, 5 * WINDOW) is False
    assert kernel.step() is False
    assert len(done) == 20
    assert times == sorted(times)


def test_without_a_schedule_it_is_the_plain_kernel() -> None:
    assert type(scheduled(0, "")) is Kernel
    assert type(scheduled(0, "pct")) is ScheduledKernel


def test_anybody_is_as_likely_as_the_others() -> None:
    uniform = Uniform(Random(1))
    counts = Counter(uniform.choose("abcd") for _ in range(4000))
    assert all(800 < counts[place] < 1200 for place in range(4)), counts


def test_a_priority_stays_until_it_is_taken_away() -> None:
    priorities = Priorities(Random(1), 1)
    actors = [object() for _ in range(5)]
    assert len({priorities.choose(actors) for _ in range(500)}) == 1
    changing = Priorities(Random(1), 4)
    found = [changing.choose(actors) for _ in range(2000)]
    assert len([1 for one, other in zip([-1, *found], found, strict=False) if one != other]) == 1 + 3


@pytest.mark.parametrize("text", ["fifo", "uniform:3", "pct:", "pct:0", "pct:x", "pct:100"])
def test_what_is_no_schedule_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is no schedule: there are uniform, pct and pct:DEPTH"):
        parse(text)


@pytest.mark.parametrize("schedule", ["uniform", "pct:3"])
def test_a_run_follows_from_seed_and_schedule(schedule: str) -> None:
    setup = Setup(name="engine-dies-twice", seed=5, schedule=schedule, has_trace=True)
    one, other = run(setup), run(setup)
    assert one.digest == other.digest
    assert one.digest != run(Setup(name="engine-dies-twice", seed=5, has_trace=True)).digest
    assert not one.violations


@pytest.mark.parametrize("schedule", ["uniform", "pct:3"])
@pytest.mark.parametrize("seed", range(3))
def test_swarms_are_clean_in_other_orders(schedule: str, seed: int) -> None:
    outcome = run(Setup(seed=seed, schedule=schedule, tasks=15, faults="lite"))
    assert outcome.is_clean, outcome.violations


def test_the_command_writes_the_schedule_into_the_trace(tmp_path: object) -> None:
    file = f"{tmp_path}/trace.jsonl"
    result = simulate("engine-dies-twice", "--schedule", "pct:2", "--trace", file)
    assert result.exit_code == 0, result.output
    with open(file) as trace:  # noqa: PTH123
        assert '"schedule": "pct:2"' in trace.readline()
    assert simulate("--schedule", "pct:no").exit_code == 4
