"""The queues against plain lists, and the promise that no event looks at every engine or every task."""

import sys
from collections.abc import Callable
from types import FrameType
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from task_desk import Desk

from protocol.messages import build
from protocol.roles.task.demands import Demands
from protocol.roles.task.queues import Barred, General, Line, Named
from protocol.roles.task.tasks import Task

ENGINES = (b"A", b"B", b"C", b"D")


def new_task(number: int) -> Task:
    task = Task(f"t{number}", (b"c",), build("apply_request", msg_id=f"t{number}"), number)
    task.demands = Demands()
    return task


names = st.lists(st.sampled_from(ENGINES), min_size=1, max_size=4, unique=True).map(tuple)
steps = st.lists(
    st.one_of(st.tuples(st.just("add"), names), st.tuples(st.just("remove"), st.integers(0, 60))), max_size=60
)


@given(steps=steps, alive=st.sets(st.sampled_from(ENGINES)), changes=st.lists(st.sampled_from(ENGINES), max_size=6))
def test_barred_tasks_are_found_as_a_walk_through_a_list_would(
    steps: list[tuple[str, Any]], alive: set[bytes], changes: list[bytes]
) -> None:
    queue = Barred()
    inside: list[tuple[Task, tuple[bytes, ...]]] = []
    for number, (what, value) in enumerate(steps):
        if what == "add":
            task = new_task(number)
            queue.add(task, value, len(alive & set(value)))
            inside.append((task, value))
        elif inside:
            task, _ = inside.pop(value % len(inside))
            queue.remove(task)
            assert task.queue is None
        for engine in ENGINES:
            expected = next((task.entry for task, barred in inside if engine not in barred), None)
            assert queue.first(engine) is expected
    for engine in changes:
        if engine in alive:
            alive.discard(engine)
            queue.went(engine)
        else:
            alive.add(engine)
            queue.came(engine)
        for count in range(5):
            expected_tasks = [task for task, barred in inside if len(alive & set(barred)) == count]
            assert queue.exhausted(count) == sorted(expected_tasks, key=lambda task: task.seq)
    assert queue.tasks() == [task for task, _ in inside]
    assert queue.count == len(inside)


@given(steps=steps, going=st.lists(st.sampled_from(ENGINES), max_size=4, unique=True))
def test_named_tasks_stand_in_every_line_they_may_be_taken_from(
    steps: list[tuple[str, Any]], going: list[bytes]
) -> None:
    queue = Named()
    inside: dict[Task, tuple[bytes, ...]] = {}
    for number, (what, value) in enumerate(steps):
        if what == "add":
            task = new_task(number)
            queue.add(task, value, len(value))
            inside[task] = value
        elif inside:
            task = list(inside)[value % len(inside)]
            del inside[task]
            queue.remove(task)
        for engine in ENGINES:
            expected = next((task.entry for task, named in inside.items() if engine in named), None)
            assert queue.first(engine) is expected
    alive = set(ENGINES)
    for engine in going:
        alive.discard(engine)
        assert queue.went(engine) == [
            task for task, named in inside.items() if engine in named and not alive & set(named)
        ]
    for task in inside:
        queue.remove(task)
    assert not queue.lines


def test_tasks_that_left_do_not_pile_up() -> None:
    for queue in (General(), Named(), Barred()):
        for number in range(5000):
            task = new_task(number)
            if isinstance(queue, General):
                queue.add(task)
            else:
                queue.add(task, (b"A", b"B"), 2)
            if number % 100:
                queue.remove(task)
    general, named, barred = General(), Named(), Barred()
    kept = new_task(0)
    general.add(kept)
    for number in range(1, 5000):
        task = new_task(number)
        general.add(task)
        general.remove(task)
        named.add(task, (b"A",), 1)
        named.remove(task)
        barred.add(task, (b"A",), 1)
        barred.remove(task)
    assert len(general.line._heap) < 100
    assert not named.lines
    assert len(barred._slots) < 100
    line = Line()
    assert line.first() is None


# -- work per event ----------------------------------------------------------------------------------------------------


def lines_of(work: Callable[[], object]) -> int:
    """How many lines of Python the roles run for this: a measure of work that no busy machine changes."""
    count = 0

    def trace(frame: FrameType, event: str, _argument: object) -> Any:
        nonlocal count
        if "roles/task" not in frame.f_code.co_filename.replace("\\", "/"):
            return None
        count += event == "line"
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        work()
    finally:
        sys.settrace(before)
    return count


def crowd(engines: int, tasks: int, scheme: str, kind: str) -> Desk:
    """Engines that are all busy but the last two, and tasks that wait for others than these."""
    desk = Desk(scheme=scheme, hwm=1)
    for number in range(engines):
        desk.came(f"e{number}", number)
    for number in range(engines - 2):
        desk.submit(f"busy{number}", targets=[f"e{number}"])
    metadata: dict[str, Any] = {
        "targets": {"targets": ["e0"]},
        "after": {"after": ["busy0"]},
        "follow": {"follow": ["busy0"]},
        "timeout": {"targets": ["e0", "e1"], "timeout": 60},
    }.get(kind, {})
    for number in range(tasks):
        desk.submit(f"queued{number}", **metadata)
        if kind == "refused":
            for _ in range(2):
                engine, task = desk.deliveries[-1]
                if task == f"queued{number}":
                    desk.refuse(engine, task)
    return desk


def everyday(desk: Desk) -> int:
    """The work of a task that comes and is answered, one that fails and is run again, one with demands, and a death."""

    def work() -> None:
        number = len(desk.deliveries)
        desk.submit(f"x{number}")
        desk.reply(*desk.deliveries[-1])
        desk.submit(f"y{number}", retries=1)
        desk.reply(*desk.deliveries[-1], "error")
        desk.reply(*desk.deliveries[-1])
        desk.submit(f"z{number}", targets=[desk.deliveries[-1][0]], after=[f"x{number}"])
        desk.reply(*desk.deliveries[-1])
        desk.came("passes by")
        desk.went("passes by")

    # The first times throw out what was left over from the crowd.
    return min(lines_of(work) for _ in range(4))


@pytest.mark.parametrize("kind", ["plain", "targets", "after", "follow", "timeout", "refused"])
@pytest.mark.parametrize("scheme", ["leastload", "lru", "plainrandom"])
def test_work_per_event_does_not_grow_with_engines_or_queued_tasks(scheme: str, kind: str) -> None:
    count = 0 if kind == "plain" else 10
    small = everyday(crowd(10, count, scheme, kind))
    large = everyday(crowd(400, 40 * count, scheme, kind))
    # Trees and heaps are a little deeper; a single walk over engines or tasks would be ten times this.
    assert large < 1.3 * small + 60


@pytest.mark.parametrize("scheme", ["twobin", "weighted"])
def test_the_schemes_that_weigh_do_not_look_at_queued_tasks_either(scheme: str) -> None:
    small = everyday(crowd(10, 10, scheme, "targets"))
    large = everyday(crowd(10, 1000, scheme, "targets"))
    assert large < 1.3 * small + 60
