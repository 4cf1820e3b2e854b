"""The real machines of the roles, one step at a time, and each step once.

A role is thawed, handed an event, and frozen again. What came of it is kept under the number of the state and of the
event: the next time that the two meet, in whatever state the others are, nothing has to be computed. Steps are tuples
whose first element is the new state, followed by numbers of messages and, last, the number of the facts for the ledger.

What role a machine plays is its own affair, as is its mistake, if somebody had it make one: `infect` may put something
between a role and its events, and gives back what that remembers, which is then a part of the state.
"""

from collections.abc import Callable, Sequence
from typing import Any, Final

from protocol.roles.base import (
    Arrived,
    Effect,
    Event,
    Finished,
    Fired,
    Forward,
    Note,
    Role,
    Run,
    Send,
    SetTimer,
    Started,
    Unreachable,
)
from protocol.roles.client import Client, ClientConfig
from protocol.roles.engine import Engine, EngineConfig, Outcome
from protocol.roles.freezing import freeze_value, thaw_value
from protocol.roles.speech import content_of, error, parent_id
from protocol.roles.task import TaskConfig, TaskScheduler
from protocol.roles.task.state import renumbered
from protocol.wire import Message
from simulator.explore.names import SELF, SELF_NUMBER, Rename, engine_of, place, task_id, task_of
from simulator.explore.scope import Scope
from simulator.explore.tables import Messages, Renamed, Table

#: What is told to the ledger of one step.
Fact = tuple[Any, ...]
Facts = Table[tuple[Fact, ...]]
#: Puts a mistake between a role and its events; gives back what that remembers, or None if it is another role's.
Infect = Callable[[Role], dict[str, Any] | None]

CLIENT: Final = b"client"
OK: Final = "ok"
FAILS: Final = "error"
UNMET: Final = "unmet"
#: How the code of a task may end.
OUTCOMES: Final = {
    OK: Outcome(buffers=(b"value",)),
    FAILS: Outcome(status="error", content=error("ZeroDivisionError", "division by zero")),
    UNMET: Outcome(status="error", content=error("UnmetDependency", "not here"), dependencies_met=False),
}
_NOBODY: Final[dict[str, Any]] = {}
#: The timers of the scheduler that mean nothing any more once their epoch is over; the others are told by their name.
_COUNTED: Final = frozenset({"grace", "resync", "timeout", "introduction"})
_AGAIN: Final = -1
_PURGE: Final = "purge-"


def purge_of(msg_id: str) -> int:
    """The task that a request asks the Hub to forget; -1 if it is no such request."""
    return task_of(msg_id.removeprefix(_PURGE)) if msg_id.startswith(_PURGE) else -1


class PlainEnv:
    """No clock, no chance, and no id that is unlike another: none of them decides anything here."""

    def __init__(self, session: str, marks: dict[str, int]) -> None:
        self.next_id = session
        self._marks = marks

    def random(self, n: int) -> int:
        """Nothing is left to chance."""
        raise AssertionError("a choice was left to chance that the search cannot see")

    def fresh_id(self) -> str:
        """The id that was chosen."""
        return self.next_id

    def date(self, now: int) -> str:
        """Always the same."""
        return "2026-01-05T12:00:00.000000Z"

    def rarely(self, place: str) -> bool:
        """Never: what is right and seldom done is for simulated runs."""
        return False

    def mark(self, slug: str) -> None:
        """Count a rare branch."""
        self._marks[slug] = self._marks.get(slug, 0) + 1


class Machine:
    """One role, its states, and the steps that are known."""

    def __init__(self, role: Role, messages: Messages, facts: Facts, infect: Infect | None) -> None:
        self.role = role
        self.messages = messages
        self.facts = facts
        memory = infect(role) if infect is not None else None
        self.memory = _NOBODY if memory is None else memory
        self.states: Table[tuple[Any, ...]] = Table()
        self.steps: dict[Any, tuple[Any, ...]] = {}
        self.renamed = Renamed(self._renamed)

    def _renamed(self, state: int, names: Rename) -> int:
        return self.states.number(names(self.states.values[state]))

    def enter(self, state: int) -> None:
        """Take up a state."""
        frozen, memory = self.states.values[state][:2]
        self.role.thaw(frozen)
        if self.memory is not _NOBODY:
            self.memory.clear()
            self.memory.update(thaw_value(memory))

    def leave(self, frozen: tuple[Any, ...], *more: Any) -> int:
        """The number of a state of the role; `more` stands beside it."""
        memory = freeze_value(self.memory) if self.memory is not _NOBODY else ()
        return self.states.number((frozen, memory, *more))

    def handle(self, state: int, event: Event) -> Sequence[Effect]:
        """Let the role handle an event in a state."""
        self.enter(state)
        return self.role.handle(0, event)


class SchedulerMachine(Machine):
    """The task scheduler. Beside its state stand the timers that are pending: names, and the epochs that they carry.

    A step: state, messages for the client, messages for engines as (engine, message), questions to the Hub, copies for
    the Hub if anybody asks for its records, facts.
    """

    def __init__(
        self, scope: Scope, messages: Messages, facts: Facts, marks: dict[str, int], infect: Infect | None
    ) -> None:
        config = TaskConfig(scheme=scope.scheme, hwm=scope.hwm, session="scheduler", notes=True)
        super().__init__(TaskScheduler(config, PlainEnv("scheduler", marks)), messages, facts, infect)
        self._is_copied: Final = scope.purges > 0
        self.pending: dict[tuple[str, int], None] = {}
        self._timers: dict[int, tuple[tuple[str, int], ...]] = {}

    def _renamed(self, state: int, names: Rename) -> int:
        frozen, memory, timers = names(self.states.values[state])
        return self.states.number((frozen, memory, tuple(sorted(timers))))

    def begin(self) -> tuple[Any, ...]:
        """The first step."""
        return self._step(self.role.handle(0, Started()))

    def timers(self, state: int) -> tuple[tuple[str, int], ...]:
        """The timers that may run out: all but that of the next question to the Hub, which is asked when it matters."""
        found = self._timers.get(state)
        if found is None:
            pending = self.states.values[state][2]
            found = self._timers[state] = tuple(each for each in pending if each[0] != "resync")
        return found

    def takes(self, state: int, socket: str, message: int, identities: tuple[bytes, ...]) -> tuple[Any, ...]:
        """A message comes, from whoever these identities name."""
        key = (state, socket, message, identities)
        step = self.steps.get(key)
        if step is None:
            whole = self.messages.whole[message]
            if identities:
                whole = whole.replace(identities=(*identities, *whole.identities))
            self.pending = dict.fromkeys(self.states.values[state][2])
            step = self.steps[key] = self._step(self.handle(state, Arrived(socket, whole)))
        return step

    def fires(self, state: int, timer: tuple[str, int]) -> tuple[Any, ...]:
        """A timer runs out."""
        key = (state, timer)
        step = self.steps.get(key)
        if step is None:
            self.pending = dict.fromkeys(each for each in self.states.values[state][2] if each != timer)
            before = [("grace",)] if timer[0] == "grace" else []
            step = self.steps[key] = self._step(self.handle(state, Fired(*timer)), before)
        return step

    def asks(self, state: int) -> tuple[Any, ...]:
        """The time for the next question to the Hub has come."""
        return self.fires(state, next(each for each in self.states.values[state][2] if each[0] == "resync"))

    def unreached(self, state: int, engine: bytes, message: int) -> tuple[Any, ...]:
        """An engine to which a message was to go is not connected."""
        key = (state, engine, message, None)
        step = self.steps.get(key)
        if step is None:
            whole = self.messages.whole[message]
            event = Unreachable("out", engine, whole.replace(identities=(engine, *whole.identities)))
            self.pending = dict.fromkeys(self.states.values[state][2])
            step = self.steps[key] = self._step(self.handle(state, event))
        return step

    def _step(self, effects: Sequence[Effect], before: Sequence[Fact] = ()) -> tuple[Any, ...]:
        to_client, to_engines, asks, copies, facts = [], [], 0, [], list(before)
        for effect in effects:
            if isinstance(effect, SetTimer):
                # Who is tried again is tried again: another such timer, of whatever epoch, adds nothing.
                counts = effect.timer.partition(":")[0] in _COUNTED
                self.pending[effect.timer, effect.epoch if counts else _AGAIN] = None
            elif isinstance(effect, Note):
                facts += _noted(effect)
            elif isinstance(effect, Forward | Send):
                message = effect.message
                identities = message.identities if isinstance(effect, Send) else effect.identities
                if effect.socket == "out":
                    engine = engine_of(identities[0])
                    number = self.messages.of(message.replace(identities=identities[1:]))
                    to_engines.append((engine, number))
                    facts.append(("sends", task_of(message.msg_id), engine))
                elif effect.socket == "in":
                    to_client.append(self.messages.of(message.replace(identities=identities[1:])))
                    facts.append(_answer(message, identities))
                elif effect.socket == "query":
                    asks += 1
                elif self._is_copied:
                    copies.append(self.messages.of(message.replace(identities=identities)))
        numbers = self.facts.number(tuple(facts))
        return self._left(), tuple(to_client), tuple(to_engines), asks, tuple(copies), numbers

    def _left(self) -> int:
        """The number of the present state, with epochs counted anew."""
        frozen, numbers = renumbered(self.role.freeze())
        pending = (
            (name, _AGAIN if epoch == _AGAIN else numbers[epoch])
            for name, epoch in self.pending
            if epoch == _AGAIN or epoch in numbers
        )
        return self.leave(frozen, tuple(sorted(pending)))


def _noted(note: Note) -> list[Fact]:
    data = note.data
    if note.name == "scheduler-engines":
        return [("knows", *[place(number) for number, _ in data["engines"]])]
    if note.name != "task":
        return []
    engine = engine_of(data["engine"]) if "engine" in data else -1
    is_waiting = data["is"] in ("waiting", "queued")
    is_exact = "left" not in data or data["graph"] == (data["left"] if is_waiting else [])
    return [("goes", task_of(data["task"]), data["was"], data["is"], engine, data.get("load", -1), is_exact)]


def _answer(message: Message, identities: tuple[bytes, ...]) -> Fact:
    content = content_of(message) or {}
    engine = engine_of(identities[1]) if len(identities) > 1 else -1
    task = task_of(parent_id(message))
    return ("answers", task, str(content.get("status")), str(content.get("ename", "")), engine, identities[0] == CLIENT)


class EngineMachine(Machine):
    """One engine, which stands for all: it calls itself `SELF`.

    Beside its state stand the messages that it has taken, which it would not take again, and the jobs that run, each
    with its task. A step: state, messages for the scheduler, facts.
    """

    def __init__(self, messages: Messages, facts: Facts, marks: dict[str, int], infect: Infect | None) -> None:
        env = PlainEnv(SELF, marks)
        # No watch on the pings: what is said about hearts is said by the Hub.
        config = EngineConfig(uuid=SELF, misses=0, remembered=0)
        self.engine: Final = Engine(config, env)
        super().__init__(self.engine, messages, facts, infect)
        self._env = env

    def begin(self) -> int:
        """The state of an engine that has registered and serves."""
        engine, env = self.engine, self._env
        engine.handle(0, Started())
        content = {"status": "ok", "id": SELF_NUMBER, "hb_period": 3000}
        reply = engine.voice.say(0, "registration_reply", content, parent={"msg_id": env.next_id})
        for effect in engine.handle(0, Arrived("query", reply)):
            if isinstance(effect, Run):
                engine.handle(0, Finished(effect.job, None))
        assert engine.state == "serving"
        return self._left(())

    def jobs(self, state: int) -> tuple[tuple[int, int], ...]:
        """The jobs that run: number and task."""
        jobs: tuple[tuple[int, int], ...] = self.states.values[state][3]
        return jobs

    def takes(self, state: int, message: int) -> tuple[Any, ...]:
        """A task comes."""
        key = (state, message)
        step = self.steps.get(key)
        if step is None:
            taken = self.states.values[state][2]
            if message in taken:
                # The shell knows the signature: a replay.
                step = (state, (), self.facts.number((("replayed", self.messages.task[message]),)))
            else:
                effects = self.handle(state, Arrived("shell", self.messages.whole[message]))
                step = self._step(effects, (*taken, message), ())
            self.steps[key] = step
        return step

    def finishes(self, state: int, job: int, outcome: str) -> tuple[Any, ...]:
        """The code of a task ends."""
        key = (state, job, outcome)
        step = self.steps.get(key)
        if step is None:
            (task,) = (task for number, task in self.jobs(state) if number == job)
            taken = self.states.values[state][2]
            effects = self.handle(state, Finished(job, OUTCOMES[outcome]))
            step = self.steps[key] = self._step(effects, taken, (("ran", task, outcome),))
        return step

    def _step(self, effects: Sequence[Effect], taken: tuple[int, ...], facts: tuple[Fact, ...]) -> tuple[Any, ...]:
        replies = tuple(
            self.messages.of(effect.message)
            for effect in effects
            if isinstance(effect, Send) and effect.socket == "shell"
        )
        return self._left(taken), replies, self.facts.number(facts)

    def _left(self, taken: tuple[int, ...]) -> int:
        work = self.engine.work
        # Numbers of jobs are there to tell those apart that run.
        work.last_job = max(work.jobs, default=0)
        jobs = tuple((number, task_of(job.message.msg_id)) for number, job in work.jobs.items())
        return self.leave(self.role.freeze(), tuple(sorted(taken)), jobs)


class ClientMachine(Machine):
    """The client. Beside its state stands how many tasks it has submitted. A step: state, messages, facts."""

    def __init__(
        self, scope: Scope, messages: Messages, facts: Facts, marks: dict[str, int], infect: Infect | None
    ) -> None:
        env = PlainEnv("client", marks)
        self.client: Final = Client(ClientConfig(settle=0, keep_output=False, notes=True), env)
        super().__init__(self.client, messages, facts, infect)
        self._env = env
        self._scope = scope

    def begin(self) -> tuple[Any, ...]:
        """The first step, in which it asks which engines there are."""
        return self._step(self.role.handle(0, Started()), 0)

    def submitted(self, state: int) -> int:
        """How many tasks it has submitted."""
        count: int = self.states.values[state][2]
        return count

    def submits(self, state: int) -> tuple[Any, ...]:
        """It submits the next task."""
        key = (state,)
        step = self.steps.get(key)
        if step is None:
            self.enter(state)
            task = self.submitted(state)
            before = self._scope.waits_for(task)
            metadata = {"retries": self._scope.retries} | ({} if before is None else {"after": [task_id(before)]})
            self._env.next_id = task_id(task)
            _, effects = self.client.request(
                0, "task", "apply_request", {}, metadata=metadata, buffers=(b"function", b"arguments")
            )
            self._env.next_id = "client"
            step = self.steps[key] = self._step(effects, task + 1, [("asks", task)])
        return step

    def purges(self, state: int, task: int) -> tuple[Any, ...]:
        """It asks the Hub to forget a task."""
        key = (state, "purge", task)
        step = self.steps.get(key)
        if step is None:
            self.enter(state)
            self._env.next_id = f"{_PURGE}{task_id(task)}"
            _, effects = self.client.request(0, "query", "purge_request", {"msg_ids": [task_id(task)]})
            self._env.next_id = "client"
            step = self.steps[key] = self._step(effects, self.submitted(state), [("wants", task)])
        return step

    def takes(self, state: int, socket: str, message: int) -> tuple[Any, ...]:
        """A message comes."""
        key = (state, socket, message)
        step = self.steps.get(key)
        if step is None:
            submitted = self.submitted(state)
            effects = self.handle(state, Arrived(socket, self.messages.whole[message]))
            step = self.steps[key] = self._step(effects, submitted)
        return step

    def asks(self, state: int) -> tuple[Any, ...]:
        """It is time to ask once more which engines there are."""
        key = (state, None)
        step = self.steps.get(key)
        if step is None:
            submitted = self.submitted(state)
            step = self.steps[key] = self._step(self.handle(state, Fired("refresh", 0)), submitted)
        return step

    def _step(self, effects: Sequence[Effect], submitted: int, before: Sequence[Fact] = ()) -> tuple[Any, ...]:
        facts, said = list(before), []
        for effect in effects:
            if isinstance(effect, Send) and (effect.socket == "task" or purge_of(effect.message.msg_id) >= 0):
                said.append(self.messages.of(effect.message))
            elif isinstance(effect, Note):
                if effect.name == "client-engines":
                    facts.append(("sees", *[place(number) for number, _ in effect.data["engines"]]))
                elif effect.name == "client-request-done":
                    # It has what it wanted, and keeps nothing of it.
                    msg_id = effect.data["msg_id"]
                    self.client.forget(msg_id)
                    purged = purge_of(msg_id)
                    facts.append(("has", task_of(msg_id)) if purged < 0 else ("settled", purged))
        return self.leave(self.role.freeze(), submitted), tuple(said), self.facts.number(tuple(facts))


__all__ = [
    "CLIENT",
    "FAILS",
    "OK",
    "OUTCOMES",
    "UNMET",
    "ClientMachine",
    "EngineMachine",
    "Fact",
    "Facts",
    "Infect",
    "Machine",
    "SchedulerMachine",
    "purge_of",
]
