"""What the roles of a controller note of their inner state: no task is in two places, and no list tells two stories.

The facts, each from the process that it speaks of (`observer`):

* `scheduler` with `hwm`: a task scheduler begins. `scheduler-engines` with `engines`, `[[id, uuid], ...]`: whom it has.
* `task` with `task`, `was`, `is` (states of `protocol.roles.task.tasks`), `why`; `engine` and `load` when an engine is
  given the task; `left` and `graph`, the tasks that it waits for and those under which it is entered as waiting.
* `hub-engine` with `id`, `uuid`, `state`; `hub-open` and `hub-completed` with `msg_id`.
* `client-engines` with `engines`, `[[id, uuid], ...]`.
* `kept` with `counts`, name -> `[number, most]`: how much a role keeps, and how much it may with what is active.
* `process-ended`: what this process noted is no longer true. `healed`: from now on nothing is wrong any more.
"""

from abc import abstractmethod
from collections import Counter, defaultdict
from collections.abc import Iterable
from typing import Any, ClassVar

from msgspec import UNSET

from protocol.rules.framework import Rule, Vantage, Violation
from protocol.world import Fact

HELD = ("running", "orphaned")
OPEN = ("waiting", "queued", "orphaned")
STATES = ("waiting", "queued", "running", "orphaned", "done")


class StateRule(Rule):
    """Base of rules about facts; `facts` are the names of those that `look` is called with."""

    vantage: ClassVar[Vantage] = "state"
    channels = frozenset({"none"})
    facts: ClassVar[frozenset[str]] = frozenset()
    healed: int | None = None

    @classmethod
    def heeds(cls, name: str) -> bool:
        return name in cls.facts or name in ("process-ended", "healed")

    def note(self, fact: Fact) -> Iterable[Violation]:
        """Look at a fact of one of the names; forget what a process that has ended noted."""
        if fact.name in self.facts:
            return self.look(fact)
        if fact.name == "process-ended":
            self.forget(fact.observer)
        elif fact.name == "healed":
            self.healed = fact.now
        return ()

    @abstractmethod
    def look(self, fact: Fact) -> Iterable[Violation]:
        """Judge one fact."""

    def forget(self, observer: str) -> None:
        """A process is gone, and with it what it noted."""

    def has_settled(self, now: int) -> bool:
        """Whether all has been well for so long that everything must have come to rest."""
        return self.healed is not None and now - self.healed >= self.setting.reply_deadline_ns

    def has_calmed(self, now: int) -> bool:
        """Whether all has been well for so long that whatever was said has been heard."""
        rest = self.setting.reply_deadline_ns if self.setting.rest_ns is UNSET else self.setting.rest_ns
        return self.healed is not None and now - self.healed >= rest

    def judge_fact(self, holds: object, fact: Fact, found: str, *allowed: str) -> Iterable[Violation]:
        """Mark the rule as exercised, and accuse whoever noted the fact unless the condition holds."""
        self.is_exercised = True
        if holds:
            return ()
        return (
            Violation(
                requirement=self.slug,
                rule=self.name(),
                guilty=fact.observer,
                evidence=(fact.seq,),
                found=found,
                allowed=allowed,
                now=fact.now,
            ),
        )


class TaskRule(StateRule):
    """Base of rules about the states of tasks; `states` holds the last fact of every task, per scheduler."""

    facts = frozenset({"task"})

    def begin(self) -> None:
        self.states: defaultdict[str, dict[str, Fact]] = defaultdict(dict)

    def look(self, fact: Fact) -> Iterable[Violation]:
        """Judge the step of a task, then remember it."""
        tasks, task = self.states[fact.observer], str(fact.data["task"])
        before = tasks.get(task)
        tasks[task] = fact
        return self.step(fact, task, before)

    @abstractmethod
    def step(self, fact: Fact, task: str, before: Fact | None) -> Iterable[Violation]:
        """Judge the step of a task; `before` is the one before, None for a new task."""

    def forget(self, observer: str) -> None:
        self.states.pop(observer, None)


class ExactlyOnePlace(TaskRule):
    """Each submitted task is queued, pending on one engine, or done, and leaves a place before it enters another."""

    slug = "task.exactly-one-place"

    def step(self, fact: Fact, task: str, before: Fact | None) -> Iterable[Violation]:
        was, state = fact.data["was"], fact.data["is"]
        known = "new" if before is None or was == "new" else before.data["is"]
        if was == known and state in STATES and (state not in HELD or fact.data.get("engine")):
            return self.passed()
        found = f"{task} {state} at {fact.data.get('engine', 'nobody')!r}, out of {was}, when it was {known}"
        return self.judge_fact(False, fact, found, "one place after the other")


class DoneIsStable(TaskRule):
    """A task that is done stays so."""

    slug = "task.done-is-stable"

    def step(self, fact: Fact, task: str, before: Fact | None) -> Iterable[Violation]:
        if before is None or fact.data["was"] == "new":
            return ()
        if before.data["is"] != "done":
            return self.passed()
        return self.judge_fact(False, fact, f"{task} {fact.data['is']} after it was done", "nothing more")


class GraphExact(TaskRule):
    """A task is entered as waiting under exactly the tasks that it waits for, and under none once it waits no more."""

    slug = "dependency.graph-exact"

    def step(self, fact: Fact, task: str, before: Fact | None) -> Iterable[Violation]:  # noqa: ARG002 - as the base
        left, graph = fact.data.get("left"), fact.data.get("graph")
        if not isinstance(left, list) or not isinstance(graph, list):
            return ()
        wanted = sorted(left) if fact.data["is"] in ("waiting", "queued") else []
        if sorted(graph) == wanted:
            return self.passed()
        found = f"{task}, {fact.data['is']}, entered under {sorted(graph)}"
        return self.judge_fact(False, fact, found, f"under {wanted}")


class LoadIsPending(TaskRule):
    """The load of an engine is the number of tasks pending there, and never above the high water mark."""

    slug = "task.load-is-pending"
    facts = frozenset({"task", "scheduler"})

    def begin(self) -> None:
        super().begin()
        self._limits: dict[str, int] = {}
        self._pending: defaultdict[str, defaultdict[str, set[str]]] = defaultdict(lambda: defaultdict(set))

    def look(self, fact: Fact) -> Iterable[Violation]:
        if fact.name == "scheduler":
            hwm = fact.data.get("hwm")
            self._limits[fact.observer] = hwm if isinstance(hwm, int) else 0
            return ()
        return super().look(fact)

    def step(self, fact: Fact, task: str, before: Fact | None) -> Iterable[Violation]:
        pending = self._pending[fact.observer]
        if before is not None and before.data["is"] == "running":
            # What an engine had that is gone does not burden the next one of that name.
            pending[str(before.data.get("engine"))].discard(task)
        if fact.data["is"] != "running":
            return ()
        engine, load = str(fact.data.get("engine")), fact.data.get("load")
        mine = pending[engine]
        mine.add(task)
        limit = self._limits.get(fact.observer) or len(mine)
        if load == len(mine) <= limit:
            return self.passed()
        found = f"the load {load} of {engine!r}, which has {len(mine)} tasks"
        return self.judge_fact(False, fact, found, f"their number, at most {limit}")

    def forget(self, observer: str) -> None:
        super().forget(observer)
        self._pending.pop(observer, None)


class EnginesDistinct(StateRule):
    """The scheduler's list of engines has each engine once."""

    slug = "task.engines-distinct"
    facts = frozenset({"scheduler-engines"})

    def look(self, fact: Fact) -> Iterable[Violation]:
        engines = pairs(fact.data.get("engines"))
        # A Hub that lost its disk gives numbers again; until that is known here, two engines may have the same.
        holds = len({uuid for _, uuid in engines}) == len(engines)
        return self.judge_fact(holds, fact, f"the engines {engines}", "each of them once")


class TasksConverge(TaskRule):
    """After faults have healed no task waits for something that cannot happen.

    Who waits for an engine's answer is another obligation: a busy engine's, or that of one that runs a dependency. And
    a task that has come to where it is only lately may still go on.
    """

    slug = "task.converges"
    facts = frozenset({"task", "scheduler", "scheduler-engines"})

    def begin(self) -> None:
        super().begin()
        self._limits: dict[str, int] = {}
        self._engines: dict[str, list[str]] = {}

    def look(self, fact: Fact) -> Iterable[Violation]:
        if fact.name == "scheduler":
            hwm = fact.data.get("hwm")
            self._limits[fact.observer] = hwm if isinstance(hwm, int) else 0
        elif fact.name == "scheduler-engines":
            self._engines[fact.observer] = [str(uuid) for _, uuid in pairs(fact.data.get("engines"))]
        else:
            return super().look(fact)
        return ()

    def step(self, fact: Fact, task: str, before: Fact | None) -> Iterable[Violation]:  # noqa: ARG002 - as the base
        return ()

    def finish(self, now: int) -> Iterable[Violation]:
        if not self.has_settled(now):
            return
        for observer, tasks in self.states.items():
            loads = Counter(fact.data.get("engine") for fact in tasks.values() if fact.data["is"] == "running")
            limit, engines = self._limits.get(observer, 0), self._engines.get(observer, [])
            # Without engines a task may wait for one as long as it likes.
            if not engines or (limit and any(loads[uuid] >= limit for uuid in engines)):
                continue
            busy = self._behind(tasks)
            for task, fact in tasks.items():
                holds = fact.data["is"] not in OPEN or task in busy or now - fact.now < self.setting.reply_deadline_ns
                yield from self.judge_fact(holds, fact, f"{task} still {fact.data['is']}", "its end, or an engine")

    def _behind(self, tasks: dict[str, Fact]) -> set[str]:
        """The tasks that run, and those that wait for one of these, or for one that does."""
        waiting: defaultdict[str, list[str]] = defaultdict(list)
        for task, fact in tasks.items():
            left = fact.data.get("left")
            for each in left if fact.data["is"] == "waiting" and isinstance(left, list) else ():
                waiting[str(each)].append(task)
        found: set[str] = set()
        rest = [task for task, fact in tasks.items() if fact.data["is"] == "running"]
        while rest:
            task = rest.pop()
            if task not in found:
                found.add(task)
                rest += waiting[task]
        return found


class ViewsConverge(StateRule):
    """After faults have healed the registered engines, the scheduler's engines and each client's view agree."""

    slug = "notification.views-converge"
    facts = frozenset({"hub-engine", "scheduler-engines", "client-engines"})

    def begin(self) -> None:
        self._hubs: defaultdict[str, dict[int, str]] = defaultdict(dict)
        self._views: dict[str, tuple[Fact, dict[int, str]]] = {}

    def look(self, fact: Fact) -> Iterable[Violation]:
        data = fact.data
        if fact.name == "hub-engine":
            number, uuid = data["id"], str(data["uuid"])
            assert isinstance(number, int)
            if data["state"] in ("pending", "gone"):
                self._hubs[fact.observer].pop(number, None)
            else:
                self._hubs[fact.observer][number] = uuid
        else:
            self._views[fact.observer] = fact, dict(pairs(data.get("engines")))
        return ()

    def forget(self, observer: str) -> None:
        self._hubs.pop(observer, None)
        self._views.pop(observer, None)

    def finish(self, now: int) -> Iterable[Violation]:
        if not self.has_settled(now) or len(self._hubs) != 1:
            return
        (registered,) = self._hubs.values()
        for fact, view in self._views.values():
            found = f"the engines {sorted(view.items())}"
            yield from self.judge_fact(
                view == registered, fact, found, f"those registered: {sorted(registered.items())}"
            )


class DoneAgrees(StateRule):
    """What the scheduler holds to be done the Hub holds to be completed, at the latest after faults have healed."""

    slug = "storage.done-agrees"
    facts = frozenset({"task", "hub-open", "hub-completed"})

    def begin(self) -> None:
        self._open: dict[str, Fact] = {}
        self._done: dict[str, Fact] = {}

    def look(self, fact: Fact) -> Iterable[Violation]:
        if fact.name == "task":
            if fact.data["is"] == "done":
                self._done[str(fact.data["task"])] = fact
        elif fact.name == "hub-open":
            self._open[str(fact.data["msg_id"])] = fact
        else:
            self._open.pop(str(fact.data["msg_id"]), None)
            self.is_exercised = True
        return ()

    def finish(self, now: int) -> Iterable[Violation]:
        if not self.has_calmed(now):
            return
        for task, fact in self._open.items():
            found = f"{task} open, which the scheduler has done"
            yield from self.judge_fact(task not in self._done, fact, found, "a completed record")


class MemoryBounded(StateRule):
    """What the controller keeps besides its database is bounded by what is active."""

    slug = "storage.memory-bounded"
    facts = frozenset({"kept"})
    #: What has a requirement of its own, and this rule leaves to it.
    elsewhere: ClassVar[frozenset[str]] = frozenset({"outcomes", "signatures"})

    def is_mine(self, name: str) -> bool:
        """Whether what is kept under this name is the rule's business."""
        return name not in self.elsewhere

    def look(self, fact: Fact) -> Iterable[Violation]:
        counts = fact.data.get("counts")
        for name, (number, most) in (counts if isinstance(counts, dict) else {}).items():
            if self.is_mine(name):
                yield from self.judge_fact(number <= most, fact, f"{number} {name} kept", f"at most {most}")


class FinishedBounded(MemoryBounded):
    """Of how many finished tasks the scheduler remembers the outcome is bounded."""

    slug = "task.finished-bounded"

    def is_mine(self, name: str) -> bool:
        return name == "outcomes"


class ReplayMemoryBounded(MemoryBounded):
    """How many signatures a receiver remembers, in order to know replays, is bounded."""

    slug = "wire.replay-memory-bounded"

    def is_mine(self, name: str) -> bool:
        return name == "signatures"


def pairs(value: object) -> list[tuple[Any, Any]]:
    """A list of pairs as tuples; empty if it is none."""
    return [(first, second) for first, second in value] if isinstance(value, list) else []


RULES: tuple[type[Rule], ...] = (
    ExactlyOnePlace,
    DoneIsStable,
    GraphExact,
    LoadIsPending,
    EnginesDistinct,
    TasksConverge,
    ViewsConverge,
    DoneAgrees,
    MemoryBounded,
    FinishedBounded,
    ReplayMemoryBounded,
)
