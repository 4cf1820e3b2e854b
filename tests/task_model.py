"""What a task scheduler owes, written down without looking at how it works: a ledger of obligations.

`Ledger` drives a `Desk` and keeps its own account of every task and engine. Each delivery and each answer is checked
against that account when it is seen; `audit` then looks for what should have happened and did not. Everything is done
in the plainest way: by looking at all tasks and all engines.
"""

from dataclasses import dataclass, field
from typing import Any

from task_desk import SECOND, Answer, Desk

from protocol.roles.task import TASK

GRACE = 5 * SECOND
INTRODUCTION = SECOND // 2


@dataclass
class Dependency:
    ids: tuple[str, ...]
    all: bool = True
    success: bool = True
    failure: bool = False

    def as_metadata(self) -> dict[str, Any]:
        return {
            "dependencies": list(self.ids), "all": self.all, "success": self.success, "failure": self.failure,
        }  # fmt: skip


@dataclass
class Open:
    """An open task."""

    id: str
    number: int
    submitted: int
    retries: int
    timeout: int | None
    targets: tuple[str, ...] | None
    after: Dependency | None
    follow: Dependency | None
    queued: int = 0
    engine: str | None = None
    died: int | None = None
    refused: set[str] = field(default_factory=set)
    avoid: str | None = None
    strangers: bool = False
    runs: int = 0
    allowed_runs: int = 0

    @property
    def is_plain(self) -> bool:
        return not (self.targets is not None or self.after or self.follow or self.runs)


class Ledger:
    """The account of one scheduler."""

    def __init__(self, hwm: int, scheme: str, seed: int = 1) -> None:
        self.desk = Desk(hwm=hwm, scheme=scheme, seed=seed, notes=True, introduction=INTRODUCTION, grace=GRACE)
        self.hwm = hwm or 10**9
        self.open: dict[str, Open] = {}
        self.ended: dict[str, tuple[bool, str | None]] = {}
        self.engines: dict[str, set[str]] = {}
        self.count = 0
        self.last_plain = 0
        self.seen: set[tuple[str, str, str]] = set()
        self._answers = self._deliveries = self._notes = 0
        self._reply_expected: tuple[str, str] | None = None

    # -- what happens ------------------------------------------------------------------------------------------------

    def submit(
        self,
        *,
        retries: int = 0,
        timeout: float | None = None,
        targets: tuple[str, ...] | None = None,
        after: Dependency | None = None,
        follow: Dependency | None = None,
    ) -> None:
        self.count += 1
        now = self.desk.now
        task = Open(
            f"t{self.count}", self.count, now, retries, None if timeout is None else int(timeout * SECOND), targets,
            after, follow, queued=now, allowed_runs=1 + retries,
        )  # fmt: skip
        task.strangers = targets is not None and not any(name in self.engines for name in targets)
        self.open[task.id] = task
        metadata: dict[str, Any] = {"retries": retries, "timeout": timeout}
        if targets is not None:
            metadata["targets"] = list(targets)
        if after:
            metadata["after"] = after.as_metadata()
        if follow:
            metadata["follow"] = follow.as_metadata()
        self.desk.submit(task.id, **metadata)
        self.settle()

    def came(self, name: str) -> None:
        if name not in self.engines:
            self.engines[name] = set()
            self.desk.came(name)
            self.settle()

    def went(self, name: str) -> None:
        for msg_id in self.engines.pop(name):
            self.open[msg_id].died = self.desk.now
        self.desk.went(name)
        self.settle()

    def reply(self, msg_id: str, outcome: str) -> None:
        """The engine that has a task replies: `ok`, `error`, `aborted` or `refused`."""
        task = self.open[msg_id]
        engine = task.engine
        assert engine is not None
        if outcome == "refused":
            task.refused.add(engine)
            task.allowed_runs += 1
            self._release(task)
            self.desk.refuse(engine, msg_id)
        elif outcome != "ok" and task.retries:
            task.retries -= 1
            task.avoid = engine
            self._release(task)
            self.desk.reply(engine, msg_id, outcome)
        else:
            self._reply_expected = (msg_id, outcome)
            self.desk.reply(engine, msg_id, outcome)
        self.settle()
        assert self._reply_expected is None, "the reply was not passed on"

    def stray(self, engine: str, msg_id: str) -> None:
        """An engine replies to a task that it does not have."""
        task = self.open.get(msg_id)
        if task is None or task.engine != engine:
            assert not self.desk.reply(engine, msg_id, "ok")

    def again(self, msg_id: str) -> None:
        """The client sends the same request once more."""
        assert not self.desk.submit(msg_id)

    def sleep(self, seconds: float) -> None:
        self.desk.sleep(seconds)
        self.settle()

    def split(self) -> None:
        self.desk.split()

    # -- what was done -----------------------------------------------------------------------------------------------

    def settle(self) -> None:
        """Check everything that came out since the last time, in its order, and audit the account."""
        desk = self.desk
        for task in self.open.values():
            if task.died is not None and desk.now - task.died >= GRACE and task.retries:
                # Its engine died, and it is to be run again.
                task.retries -= 1
                task.avoid = task.engine if task.engine in self.engines else None
                queued = task.died + GRACE
                self._release(task)
                task.queued = queued
        answers, deliveries = iter(desk.answers[self._answers :]), iter(desk.deliveries[self._deliveries :])
        for kind in self._order():
            if kind == "answer":
                self._answered(next(answers))
            else:
                self._delivered(*next(deliveries))
        self._answers, self._deliveries = len(desk.answers), len(desk.deliveries)
        for note in desk.notes[self._notes :]:
            was, why, state = note.data["was"], note.data["why"], note.data["is"]
            move = TASK.move(was, why)
            assert move is not None, (was, why, state)
            assert state in move.states, (was, why, state)
            self.seen.add((was, why, state))
        self._notes = len(desk.notes)
        self.audit()

    def _order(self) -> list[str]:
        """Answers and deliveries of the effects since the last time."""
        kinds = [
            "answer" if effect.socket == "in" else "delivery"  # type: ignore[union-attr]
            for effect in self.desk.effects
            if getattr(effect, "socket", "") in ("in", "out")
        ]
        return kinds[self._answers + self._deliveries :]

    def _release(self, task: Open) -> None:
        if task.died is None and task.engine is not None:
            self.engines[task.engine].discard(task.id)
        task.engine = None
        task.died = None
        task.queued = self.desk.now

    def _delivered(self, engine: str, msg_id: str) -> None:
        task = self.open[msg_id]
        assert task.engine is None, "given out twice"
        assert engine in self.engines, "given to a dead engine"
        assert engine in self.allowed(task), "given to an engine that may not have it"
        assert self.is_met(task), "given out before its dependencies were met"
        if task.is_plain:
            assert task.number > self.last_plain, "not in order of submission"
            self.last_plain = task.number
        running = self.engines[engine]
        running.add(msg_id)
        assert len(running) <= self.hwm, "too many tasks on one engine"
        task.engine = engine
        task.runs += 1
        assert task.runs <= task.allowed_runs

    def _answered(self, answer: Answer) -> None:
        task = self.open.pop(answer.task)
        now = self.desk.now
        name = answer.ename
        if not name:
            assert self._reply_expected == (task.id, answer.message.content["status"])
            assert answer.engine == task.engine
            self._reply_expected = None
            ok = answer.message.content["status"] == "ok"
            self.ended[task.id] = ok, task.engine
            if task.died is None:
                self.engines[answer.engine].discard(task.id)
            return
        self.ended[task.id] = False, None
        if name == "EngineError":
            assert answer.engine == task.engine
            assert task.died is not None
            assert now - task.died >= GRACE
            assert not task.retries
            self.ended[task.id] = False, task.engine
            return
        assert not answer.engine
        assert task.engine is None, "answered although an engine has it"
        if name == "TaskTimeout":
            assert task.timeout is not None
            assert now - task.queued >= task.timeout
        elif name == "InvalidDependency":
            known = {*self.open, *self.ended} - {task.id}
            assert any(each not in known for need in (task.after, task.follow) if need for each in need.ids)
        else:
            assert name == "ImpossibleDependency"
            assert self.is_lost(task) or self.is_impossible(task)

    # -- what holds --------------------------------------------------------------------------------------------------

    def counts(self, need: Dependency, is_place: bool) -> tuple[list[str], list[str], list[str]]:
        """The tasks of a dependency that ended as wanted, that ended otherwise, and that are open."""
        good, bad, left = [], [], []
        for each in dict.fromkeys(need.ids):
            if each not in self.ended:
                left.append(each)
                continue
            ok, engine = self.ended[each]
            fits = (need.success if ok else need.failure) and not (is_place and engine is None)
            (good if fits else bad).append(each)
        return good, bad, left

    def is_met(self, task: Open) -> bool:
        for need, is_place in ((task.after, False), (task.follow, True)):
            if need is not None:
                good, bad, left = self.counts(need, is_place)
                if (bad or left) if need.all else not good:
                    return False
        return not self.is_lost(task)

    def is_lost(self, task: Open) -> bool:
        for need, is_place in ((task.after, False), (task.follow, True)):
            if need is None:
                continue
            good, bad, left = self.counts(need, is_place)
            if not (need.success or need.failure) or (bad if need.all else not good and not left):
                return True
            if need.all and is_place and len({self.ended[each][1] for each in good}) > 1:
                return True
        return False

    def permitted(self, task: Open) -> set[str]:
        """The live engines that targets, `follow` and refusals leave."""
        names = set(self.engines) - task.refused
        if task.targets is not None:
            names &= set(task.targets)
        if task.follow is not None:
            good, _, _ = self.counts(task.follow, True)
            names &= {self.ended[each][1] for each in good}  # type: ignore[arg-type]
        return names

    def allowed(self, task: Open) -> set[str]:
        """The same without the one on which it failed last, if there are others."""
        names = self.permitted(task)
        return names - {task.avoid} or names

    def is_impossible(self, task: Open) -> bool:
        """Whether no engine may have a task whose dependencies are met, and none is to be expected."""
        if self.permitted(task):
            return False
        if task.targets is None and task.follow is None:
            return bool(self.engines)
        if task.follow is not None and not task.follow.all and self.counts(task.follow, True)[2]:
            return False
        return not self.is_introduced_later(task)

    def is_introduced_later(self, task: Open) -> bool:
        """Whether an engine that it names may still become known, as they were all unknown a moment ago."""
        if not task.strangers or self.desk.now - task.submitted >= INTRODUCTION:
            return False
        return self._names_somebody(task)

    def _names_somebody(self, task: Open) -> bool:
        names = set(task.targets or ()) - task.refused
        if task.follow is not None:
            names &= {self.ended[each][1] for each in self.counts(task.follow, True)[0]}  # type: ignore[arg-type]
        return bool(names)

    def audit(self) -> None:
        """What should have happened by now has happened, and the scheduler's account agrees with this one."""
        role, now = self.desk.role, self.desk.now
        assert set(role.tasks) == set(self.open)
        assert {engine.name: set(engine.pending) for engine in role.engines.values()} == self.engines
        for task in self.open.values():
            if task.engine is not None:
                assert task.died is None or now - task.died < GRACE, "the grace is over"
                continue
            assert task.timeout is None or now - task.queued < task.timeout, "its time is over"
            assert not self.is_lost(task), "its dependencies are lost"
            if self.is_met(task):
                if self.permitted(task) == {task.avoid}:
                    # There was a moment without another engine; one that comes now need not be waited for.
                    task.avoid = None
                assert not self.is_impossible(task), "nobody may have it"
                free = {name for name in self.allowed(task) if len(self.engines[name]) < self.hwm}
                assert not free, "an engine that may have it is free"
        waiting: dict[str, set[str]] = {}
        for task in self.open.values():
            for need in (task.after, task.follow):
                if need is not None and task.engine is None:
                    for each in need.ids:
                        if each in self.open:
                            waiting.setdefault(each, set()).add(task.id)
        assert {each: set(tasks) for each, tasks in role.dependents.items()} == waiting
        for task_id, task in role.tasks.items():
            places = [task.queue is not None, task.state == "waiting", task.engine is not None]
            assert sum(places) == 1, task_id
            assert (task.entry is None) == (task.queue is None)

    def finish(self) -> None:
        """Engines answer from now on, and a new one is there: everything ends, and the books are closed."""
        self.came("fresh")
        for _ in range(4 * len(self.open) + 4):
            running = [task.id for task in self.open.values() if task.engine is not None and task.died is None]
            for msg_id in running:
                if msg_id in self.open:
                    self.reply(msg_id, "ok")
            if not running:
                self.sleep(6)
        assert not self.open
        desk, role = self.desk, self.desk.role
        assert sorted(desk.ends()) == sorted(f"t{number + 1}" for number in range(self.count))
        assert not [*role.dependents, *role.graves, *role.named.lines]
        assert role.general.line.count == role.barred.count == 0
        kinds = [kind for kind, _ in desk.monitor]
        assert kinds.count("intask") == kinds.count("outtask") == self.count
        assert kinds.count("tracktask") == len(desk.deliveries)
        for msg_id in desk.ends():
            mine = [kind for kind, each in desk.monitor if each == msg_id]
            assert mine[0] == "intask"
            assert mine[-1] == "outtask"
