"""The scheduler under everything that can happen, against a ledger of what it owes.

The ledger is `task_model`: exactly one reply per task, loads within the mark, no delivery to an engine that may not
have the task, dependencies kept, nothing forgotten, nobody idle while there is work.
"""

import gc
import random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule
from role_world import FakeEnv, check_freeze, drive, events
from task_desk import Desk
from task_model import Dependency, Ledger

from protocol.roles.marks import MARKS
from protocol.roles.relay import TaskRelay
from protocol.roles.task import SCHEMES, TASK, TaskConfig, TaskScheduler, scheduler

NAMES = ("A", "B", "C", "D")
HWM = (0, 1, 2)


def dependencies(ids: list[str]) -> st.SearchStrategy[Dependency | None]:
    some = st.lists(st.sampled_from(ids or ["nothing"]), min_size=1, max_size=3).map(tuple)
    usual = st.sampled_from([(True, False), (False, True), (True, True), (False, False)])
    return st.none() | st.builds(lambda ids, is_all, flags: Dependency(ids, is_all, *flags), some, st.booleans(), usual)


class Machine(RuleBasedStateMachine):
    @initialize(hwm=st.sampled_from(HWM), scheme=st.sampled_from(SCHEMES), seed=st.integers(0, 9))
    def begin(self, hwm: int, scheme: str, seed: int) -> None:
        self.ledger = Ledger(hwm, scheme, seed)

    def running(self) -> list[str]:
        return [task.id for task in self.ledger.open.values() if task.engine is not None]

    def known(self) -> list[str]:
        return [f"t{number + 1}" for number in range(self.ledger.count)][-6:]

    @rule(name=st.sampled_from(NAMES))
    def engine_comes(self, name: str) -> None:
        self.ledger.came(name)

    @precondition(lambda self: self.ledger.engines)
    @rule(data=st.data())
    def engine_goes(self, data: st.DataObject) -> None:
        self.ledger.went(data.draw(st.sampled_from(sorted(self.ledger.engines))))

    @rule(count=st.integers(1, 4))
    def plain_tasks(self, count: int) -> None:
        for _ in range(count):
            self.ledger.submit()

    @rule(data=st.data())
    def task(self, data: st.DataObject) -> None:
        targets = st.none() | st.lists(st.sampled_from([*NAMES, "nobody"]), min_size=1, max_size=3).map(tuple)
        self.ledger.submit(
            retries=data.draw(st.integers(0, 2)),
            timeout=data.draw(st.sampled_from([None, None, 0.25, 1.0, 7.0])),
            targets=data.draw(targets),
            after=data.draw(dependencies(self.known())),
            follow=data.draw(dependencies(self.known())),
        )

    @precondition(lambda self: self.running())
    @rule(data=st.data(), outcome=st.sampled_from(["ok", "ok", "error", "aborted", "refused"]))
    def reply(self, data: st.DataObject, outcome: str) -> None:
        self.ledger.reply(data.draw(st.sampled_from(self.running())), outcome)

    @precondition(lambda self: self.ledger.count)
    @rule(data=st.data(), engine=st.sampled_from(NAMES))
    def stray_reply(self, data: st.DataObject, engine: str) -> None:
        self.ledger.stray(engine, data.draw(st.sampled_from(self.known())))

    @precondition(lambda self: self.ledger.count)
    @rule(data=st.data())
    def same_request_again(self, data: st.DataObject) -> None:
        self.ledger.again(data.draw(st.sampled_from(self.known())))

    @rule(seconds=st.sampled_from([0.1, 0.25, 0.5, 3.0, 5.0]))
    def time_passes(self, seconds: float) -> None:
        self.ledger.sleep(seconds)

    @rule()
    def freeze_and_thaw(self) -> None:
        self.ledger.split()

    def teardown(self) -> None:
        if hasattr(self, "ledger"):
            self.ledger.finish()


TestMachine = Machine.TestCase
TestMachine.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)


def wander(ledger: Ledger, chance: random.Random, steps: int) -> None:
    """A random walk, without the machinery that shrinks."""
    for _ in range(steps):
        known = [f"t{number}" for number in range(max(1, ledger.count - 5), ledger.count + 1)]
        running = [task.id for task in ledger.open.values() if task.engine is not None]

        def need(known: list[str] = known) -> Dependency | None:
            if not known or chance.random() < 0.7:
                return None
            ids = tuple(chance.choices(known, k=chance.randint(1, 3)))
            return Dependency(ids, chance.random() < 0.6, chance.random() < 0.8, chance.random() < 0.5)

        what = chance.random()
        if what < 0.1:
            ledger.came(chance.choice(NAMES))
        elif what < 0.15 and ledger.engines:
            ledger.went(chance.choice(sorted(ledger.engines)))
        elif what < 0.45:
            targets = tuple(chance.choices([*NAMES, "nobody"], k=2)) if chance.random() < 0.2 else None
            ledger.submit(
                retries=chance.choice([0, 0, 0, 1, 2]), timeout=chance.choice([None, None, None, 0.3, 2.0]),
                targets=targets, after=need(), follow=need(),
            )  # fmt: skip
        elif what < 0.9 and running:
            ledger.reply(chance.choice(running), chance.choice(["ok", "ok", "ok", "error", "aborted", "refused"]))
        elif what < 0.95:
            ledger.sleep(chance.choice([0.1, 0.5, 5.0]))
        elif what < 0.96:
            ledger.split()
    ledger.finish()


def refused_by_the_dead(ledger: Ledger) -> None:
    """An orphaned task is refused, and may still follow a task that runs."""
    ledger.came("A")
    ledger.submit(targets=("A",))
    ledger.reply("t1", "ok")
    ledger.came("B")
    ledger.submit(targets=("B",))
    ledger.submit(follow=Dependency(("t1", "t2"), all=False))
    ledger.went("A")
    ledger.reply("t3", "refused")


def older_tasks_first(ledger: Ledger) -> None:
    """An engine comes back to a task that failed on it and may now return, but an older one waits too."""
    ledger.came("A")
    ledger.came("B")
    ledger.submit(retries=1)
    ledger.submit(retries=1)
    ledger.reply("t2", "error")
    ledger.went("A")
    ledger.went("B")
    ledger.sleep(5)
    ledger.came("A")


def test_long_walks_reach_every_transition_of_the_table_and_every_mark() -> None:
    seen: set[tuple[str, str, str]] = set()
    marks: set[str] = set()
    for seed in range(150):
        chance = random.Random(seed)
        ledger = Ledger(chance.choice(HWM), SCHEMES[seed % len(SCHEMES)], seed)
        wander(ledger, chance, 120)
        seen |= ledger.seen
        marks |= set(ledger.desk.env.marks)
    for story in (refused_by_the_dead, older_tasks_first):
        ledger = Ledger(1, "leastload")
        story(ledger)
        ledger.finish()
        seen |= ledger.seen
    table = {(was, why, state) for was, why, move in TASK for state in move.states}
    stopped = {each for each in table if each[1] == "scheduler stopped"}
    assert seen == table - stopped
    assert marks <= set(MARKS)


# -- any event ---------------------------------------------------------------------------------------------------------

SOCKETS = ["in", "out", "monitor", "notification", "query"]
TYPES = [
    "apply_request", "apply_request", "execute_request", "apply_reply", "apply_reply", "registration_notification",
    "unregistration_notification", "shutdown_notification", "connection_reply", "hub_error",
]  # fmt: skip
TIMERS = ["grace", "resync", "timeout:m1", "timeout:", "introduction:m1", "introduction"]
STEPS = st.lists(st.tuples(st.integers(0, 10**10), events(SOCKETS, TYPES, TIMERS)), max_size=25)


def make(env: FakeEnv) -> TaskScheduler:
    return TaskScheduler(TaskConfig(hwm=2), env)


@settings(deadline=None)
@given(steps=STEPS)
def test_any_event_has_an_answer(steps: list[tuple[int, Any]]) -> None:
    for scheme in SCHEMES:
        drive(TaskScheduler(TaskConfig(scheme=scheme, notes=True), FakeEnv()), steps)


@settings(deadline=None)
@given(before=STEPS, after=STEPS)
def test_a_thawed_scheduler_goes_on_as_the_frozen_one(before: list[Any], after: list[Any]) -> None:
    check_freeze(make, before, after)


def test_states_that_behave_alike_are_equal() -> None:
    """What has passed leaves no trace but ids, epochs and outcomes."""
    first, second = (Desk("AB", remember=1) for _ in range(2))
    for number in range(10):
        first.submit(f"x{number}")
        first.reply("BA"[number % 2], f"x{number}")
    for desk in (first, second):
        desk.submit("last")
        desk.reply("B", "last")
    assert first.role.freeze() == second.role.freeze()


def test_a_pure_scheduler_is_a_device_and_no_scheme_is_a_mistake() -> None:
    assert isinstance(scheduler(TaskConfig(scheme="pure"), FakeEnv()), TaskRelay)
    assert isinstance(scheduler(TaskConfig(), FakeEnv()), TaskScheduler)
    with pytest.raises(ValueError, match="fifo"):
        TaskConfig(scheme="fifo")
    with pytest.raises(ValueError, match="pure"):
        TaskScheduler(TaskConfig(scheme="pure"), FakeEnv())


@pytest.mark.parametrize("setting", [{"hwm": -1}, {"grace": -1}, {"introduction": -1}, {"resync": -1}, {"remember": 0}])
def test_settings_without_sense_are_refused(setting: dict[str, int]) -> None:
    with pytest.raises(ValueError, match=r"negative|at least one"):
        TaskConfig(**setting)  # type: ignore[arg-type]


def test_finished_tasks_leave_no_cyclic_garbage_and_a_bounded_memory() -> None:
    desk = Desk("AB", remember=10, hwm=1)
    gc.collect()
    gc.disable()
    try:
        for number in range(200):
            desk.submit(f"a{number}")
            desk.submit(f"b{number}", targets=["A", "B"], timeout=1, retries=1)
            desk.submit(f"c{number}", after=[f"a{number}"], follow=[f"a{number}"])
            while desk.role.tasks:
                for engine in desk.role.engines.values():
                    for msg_id in tuple(engine.pending):
                        desk.reply(engine.name, msg_id)
        assert gc.collect() == 0
    finally:
        gc.enable()
    role = desk.role
    assert len(role.outcomes) == 10
    assert not role.tasks
    assert not role.dependents
    assert not role.named.lines
