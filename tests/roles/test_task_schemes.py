"""Which engine gets a task: the order of engines, the schemes, the high water mark, and turns."""

from collections import Counter
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from task_desk import Desk

from protocol.roles.task import SCHEMES
from protocol.roles.task.engines import Engine, pool


def run_alone(desk: Desk, count: int) -> str:
    """Tasks one after the other; the engines that got them."""
    for number in range(count):
        desk.submit(f"alone-{number}")
        engine, task = desk.deliveries[-1]
        desk.reply(engine, task)
    return "".join(desk.places())


@pytest.mark.parametrize("scheme", ["leastload", "lru"])
@pytest.mark.parametrize("hwm", [0, 1, 3])
def test_idle_engines_take_turns_and_the_newest_begins(scheme: str, hwm: int) -> None:
    assert run_alone(Desk("AB", scheme=scheme, hwm=hwm), 6) == "BABABA"
    assert run_alone(Desk("ABC", scheme=scheme, hwm=hwm), 7) == "CBACBAC"


def test_without_a_mark_everything_is_given_out_at_once_and_evenly() -> None:
    desk = Desk("AB", hwm=0)
    for number in range(4):
        desk.submit(f"t{number}")
    assert Counter(desk.places()) == {"A": 2, "B": 2}
    for number in range(100):
        desk.submit(f"u{number}")
    assert Counter(desk.places()) == {"A": 52, "B": 52}


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("hwm", [1, 2, 5])
def test_no_engine_gets_more_than_the_mark(scheme: str, hwm: int) -> None:
    desk = Desk("AB", scheme=scheme, hwm=hwm)
    for number in range(20):
        desk.submit(f"t{number}")
    assert Counter(desk.places()) == {"A": hwm, "B": hwm}
    first = desk.deliveries[0]
    desk.reply(*first)
    assert desk.deliveries[-1] == (first[0], f"t{2 * hwm}")


def test_leastload_prefers_the_fewest_tasks_and_lru_does_not_look() -> None:
    for scheme, expected in (("leastload", "A"), ("lru", "B")):
        desk = Desk("AB", scheme=scheme, hwm=0)
        desk.submit("one")
        desk.submit("two", targets=["B"])
        desk.submit("three", targets=["A"])
        desk.submit("four", targets=["A"])
        desk.reply("A", "three")
        desk.reply("A", "four")
        desk.submit("t")
        assert desk.places() == ["B", "B", "A", "A", expected]


def test_a_finished_task_leaves_its_engine_where_it_stands() -> None:
    desk = Desk("ABC", hwm=0, scheme="lru")
    for name in "xyz":
        desk.submit(name)
    assert desk.places() == ["C", "B", "A"]
    for engine, task in reversed(desk.deliveries[:3]):
        desk.reply(engine, task)
    desk.submit("t")
    assert desk.places()[-1] == "C"


def test_a_new_engine_is_used_first_and_takes_from_the_backlog() -> None:
    desk = Desk("A")
    for number in range(3):
        desk.submit(f"t{number}")
    desk.came("B")
    assert desk.deliveries == [("A", "t0"), ("B", "t1")]


def test_equal_tasks_start_in_order_of_submission() -> None:
    desk = Desk("A")
    names = [f"t{number}" for number in range(50)]
    for name in names:
        desk.submit(name)
    for name in names:
        desk.reply("A", name)
    assert [task for _, task in desk.deliveries] == names


def test_restricted_tasks_wait_their_turn_and_hold_up_nobody() -> None:
    desk = Desk("AB")
    desk.submit("long", targets=["A"])
    desk.submit("short", targets=["B"])
    desk.submit("for A", targets=["A"])
    desk.submit("for anyone")
    desk.submit("also for A", targets=["A"])
    desk.reply("B", "short")
    assert desk.deliveries[-1] == ("B", "for anyone")
    desk.submit("next")
    desk.reply("A", "long")
    assert desk.deliveries[-1] == ("A", "for A")
    desk.reply("A", "for A")
    assert desk.deliveries[-1] == ("A", "also for A")


def test_a_task_that_becomes_ready_takes_its_turn_by_submission() -> None:
    desk = Desk("A")
    desk.submit("first")
    desk.submit("dependent", after=["first"])
    desk.submit("younger")
    desk.reply("A", "first")
    assert desk.deliveries[-1] == ("A", "dependent")
    desk.submit("older")
    desk.submit("late", after=["dependent"])
    desk.reply("A", "dependent")
    assert desk.deliveries[-1] == ("A", "younger")


def test_an_engine_that_was_just_freed_has_a_part_in_the_choice() -> None:
    """With room on both, the dependent goes where the load is least, which is the engine that replied."""
    desk = Desk("AB", hwm=3)
    desk.submit("root", targets=["B"])
    desk.submit("a", targets=["A"])
    desk.submit("t", after=["root"])
    desk.reply("B", "root")
    assert desk.deliveries[-1] == ("B", "t")


@pytest.mark.parametrize("scheme", SCHEMES)
def test_every_scheme_respects_targets_and_refusals(scheme: str) -> None:
    desk = Desk("ABCDE", scheme=scheme, hwm=0)
    for number in range(40):
        desk.submit(f"t{number}", targets=["B", "D"])
    assert set(desk.places()) == {"B", "D"}
    for number in range(40):
        desk.submit(f"u{number}")
        for _ in range(3):
            desk.refuse(*desk.deliveries[-1])
        assert len({engine for engine, task in desk.deliveries if task == f"u{number}"}) == 4


def test_plainrandom_chooses_everyone_alike() -> None:
    desk = Desk("ABCD", scheme="plainrandom", hwm=0)
    for number in range(4000):
        desk.submit(f"t{number}")
    counts = Counter(desk.places())
    assert all(900 < counts[name] < 1100 for name in "ABCD")


def test_twobin_prefers_the_head_of_the_order() -> None:
    """Of four the first in order is the lower of two draws in 7 of 16 cases, the last in 1."""
    desk = Desk("ABCD", scheme="twobin", hwm=0)
    ranks: Counter[int] = Counter()
    order = list("DCBA")
    for number in range(4000):
        desk.submit(f"t{number}")
        engine = desk.places()[-1]
        ranks[order.index(engine)] += 1
        order.remove(engine)
        order.append(engine)
    assert 1600 < ranks[0] < 1900
    assert 150 < ranks[3] < 350


def test_weighted_prefers_the_idle_and_balances() -> None:
    desk = Desk("ABC", scheme="weighted", hwm=0)
    desk.submit("a", targets=["A"])
    desk.submit("b", targets=["B"])
    desk.submit("t")
    assert desk.places()[-1] == "C"
    for number in range(300):
        desk.submit(f"t{number}")
    counts = Counter(desk.places())
    assert max(counts.values()) - min(counts.values()) < 60


# -- pools against lists -----------------------------------------------------------------------------------------------


def chosen(scheme: str, engines: list[Engine], draws: list[int]) -> Engine:
    """What a scheme chooses from a list in order, told as its documents tell it."""
    if scheme == "lru":
        return engines[0]
    loads = [len(engine.pending) for engine in engines]
    assert scheme == "leastload"
    assert not draws
    return engines[loads.index(min(loads))]


@pytest.mark.parametrize("scheme", ["leastload", "lru"])
@given(
    steps=st.lists(
        st.tuples(st.sampled_from(["run", "end", "full", "room", "pick", "without", "best"]), st.integers(0, 4))
    )
)
def test_a_heap_chooses_as_a_list_would(scheme: str, steps: list[tuple[str, int]]) -> None:
    engines = [Engine(bytes([65 + number]), number) for number in range(5)]
    order: list[Engine] = []
    found = pool(scheme, lambda n: n // 2)
    free: set[bytes] = set()
    for stamp, engine in enumerate(engines):
        engine.stamp = -stamp
        order.insert(0, engine)
        found.offer(engine)
        free.add(engine.uuid)
    for stamp, (what, number) in enumerate(steps, 1):
        engine = engines[number]
        here = [each for each in order if each.uuid in free]
        if what == "run":
            engine.pending[f"t{stamp}"] = None  # type: ignore[assignment]
            engine.stamp = stamp
            order.remove(engine)
            order.append(engine)
        elif what == "end" and engine.pending:
            engine.pending.popitem()
        elif what == "full":
            found.withdraw(engine)
            free.discard(engine.uuid)
        elif what == "room":
            free.add(engine.uuid)
        elif what == "pick":
            assert found.pick() is (chosen(scheme, here, []) if here else None)
        elif what == "without":
            barred = engines[:number]
            rest = [each for each in here if each not in barred]
            assert found.pick_without(barred) is (chosen(scheme, rest, []) if rest else None)
        elif here:
            assert found.best_of(here[::-1]) is chosen(scheme, here, [])
        if what in ("run", "end", "room") and engine.uuid in free:
            found.offer(engine)


@pytest.mark.parametrize("scheme", ["plainrandom", "twobin", "weighted"])
@given(data=st.data())
def test_an_array_holds_those_with_room_and_nobody_else(scheme: str, data: st.DataObject) -> None:
    engines = [Engine(bytes([65 + number]), number) for number in range(6)]
    for number, engine in enumerate(engines):
        engine.stamp = number
    found = pool(scheme, lambda n: data.draw(st.integers(0, n - 1)))
    free: set[Engine] = set()
    for number, has_room in data.draw(st.lists(st.tuples(st.integers(0, 5), st.booleans()))):
        if has_room:
            found.offer(engines[number])
            free.add(engines[number])
        else:
            found.withdraw(engines[number])
            free.discard(engines[number])
    assert set(found.freeze()) == {engine.uuid for engine in free}
    assert len(found.freeze()) == len(free)
    barred = data.draw(st.lists(st.sampled_from(engines), unique=True))
    picked, other = found.pick(), found.pick_without(barred)
    assert (picked in free) if free else picked is None
    rest = free - set(barred)
    assert (other in rest) if rest else other is None


@pytest.mark.parametrize("scheme", ["plainrandom", "twobin"])
def test_drawing_around_holes_reaches_everyone_left(scheme: str) -> None:
    engines = [Engine(bytes([65 + number]), number) for number in range(6)]
    draws: list[int] = []
    found = pool(scheme, lambda n: draws.pop() % n)
    for engine in engines:
        found.offer(engine)
    barred = [engines[0], engines[3], engines[4]]
    picked = []
    for number in range(3):
        draws[:] = [number, number]
        picked.append(found.pick_without(barred))
    assert picked == [engines[1], engines[2], engines[5]]


def test_old_entries_do_not_pile_up() -> None:
    found: Any = pool("leastload", lambda n: 0 * n)
    engines = [Engine(b"%d" % number, number) for number in range(10)]
    for stamp in range(10_000):
        engine = engines[stamp % 10]
        engine.stamp = stamp
        found.offer(engine)
    assert len(found._heap) < 200
    assert found.pick() is engines[0]
