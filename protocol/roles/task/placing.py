"""What the scheduler does with one task: give it to an engine, let it stay, end it.

The rules of placing: no engine gets a task that it may not have, nor more tasks than the high water mark; and whatever
is called here leaves a task in exactly one place.
"""

import sys
from collections import deque
from typing import Any, Final

from protocol.roles.base import Effect, Env, Forward, Note, Role, Send, SetTimer, made
from protocol.roles.speech import Voice, error
from protocol.roles.task import state
from protocol.roles.task.config import TaskConfig
from protocol.roles.task.demands import Demands
from protocol.roles.task.engines import Engine, pool
from protocol.roles.task.outcomes import Outcome, Outcomes
from protocol.roles.task.queues import Barred, General, Named
from protocol.roles.task.roster import Roster
from protocol.roles.task.tasks import DONE, QUEUED, RUNNING, WAITING, Task
from protocol.wire import Message

IMPOSSIBLE: Final = "ImpossibleDependency"
#: Nanoseconds after which an engine with room is thought of that was not thought of at once.
LATER: Final = 2_000_000


class Placing(Role):
    """The scheduler's state, and what happens to a single task."""

    def __init__(self, config: TaskConfig, env: Env) -> None:
        self.config: Final = config
        self.env: Final = env
        self.voice = Voice(env, config.session or env.fresh_id())
        self.limit: Final = config.hwm or sys.maxsize
        self._notes: Final = config.notes
        self.epoch = 0
        self.reset()
        self._out: list[Effect] = []
        self._cause = ""

    def reset(self) -> None:
        """Forget everything but the session and the epoch."""
        self.seq = 0
        self.head = 0
        self.tail = 0
        #: Open tasks by msg_id, in order of submission.
        self.tasks: dict[str, Task] = {}
        self.outcomes = Outcomes(self.config.remember)
        #: Live engines by identity and by number, and dead ones that still have tasks by the epoch of their timer.
        self.engines: dict[bytes, Engine] = {}
        self.numbers: dict[int, bytes] = {}
        self.graves: dict[int, Engine] = {}
        self.pool = pool(self.config.scheme, self.env.random)
        self.general = General()
        self.named = Named()
        self.barred = Barred()
        #: For every open task that others wait for: those, by msg_id.
        self.dependents: dict[str, dict[str, Task]] = {}
        self.roster = Roster()
        #: The epoch of the timer that ends with the next question to the Hub.
        self.resync = 0
        #: What has ended and has others waiting for it, until they are told.
        self._ended: deque[Outcome] = deque()

    def freeze(self) -> tuple[Any, ...]:
        """The whole state: see `protocol.roles.task.state`."""
        return state.freeze(self)

    def thaw(self, frozen: tuple[Any, ...]) -> None:
        """Take up a state that `freeze` gave."""
        state.thaw(self, frozen)

    # -- to engines ----------------------------------------------------------------------------------------------------

    def _place(self, now: int, task: Task) -> None:
        """Give a task whose dependencies are met, and which is in no queue, to an engine, or put it in a queue."""
        demands = task.demands
        names = None if demands is None else demands.allowed()
        if demands is not None and names is not None:
            self._place_named(now, task, demands, names)
            return
        barred = () if demands is None else demands.barred()
        if demands is not None and barred:
            self._place_barred(now, task, demands, barred)
            return
        older = self.general.first()
        engine = self.pool.pick() if older is None or older[0] > task.seq else None
        if engine is not None:
            self._assign(now, task, engine)
        else:
            self.general.add(task)
            self._hold(now, task, QUEUED)

    def _place_barred(self, now: int, task: Task, demands: Demands, barred: tuple[bytes, ...]) -> None:
        engines = self.engines
        never = [engines[name] for name in barred if name in engines]
        if never and len(never) == len(engines):
            if demands.avoid in engines and demands.avoid not in demands.refused:
                self.env.mark("task.retry-on-same-engine")
                demands.avoid = None
                self._place(now, task)
            else:
                self.env.mark("task.all-refused")
                self._fail(now, task, IMPOSSIBLE, "every engine refused the task")
            return
        engine = self.pool.pick_without(never)
        if engine is not None:
            self._assign(now, task, engine)
        else:
            self.barred.add(task, barred, len(never))
            self._hold(now, task, QUEUED)

    def _place_named(self, now: int, task: Task, demands: Demands, names: tuple[bytes, ...]) -> None:
        engines = self.engines
        live = [engines[name] for name in names if name in engines]
        if demands.avoid is not None:
            others = [engine for engine in live if engine.uuid != demands.avoid]
            if others:
                live = others
                names = tuple(name for name in names if name != demands.avoid)
            elif live:
                self.env.mark("task.retry-on-same-engine")
                demands.avoid = None
        if not live:
            if names and (demands.is_hopeful or demands.introduction):
                self.named.add(task, names, 0)
                self._hold(now, task, QUEUED)
            elif demands.is_hopeful:
                self._hold(now, task, WAITING)
            else:
                self.env.mark("task.nobody-left")
                self._fail(now, task, IMPOSSIBLE, "no engine is left that may run the task")
            return
        limit = self.limit
        free = [engine for engine in live if len(engine.pending) < limit]
        if free:
            self._assign(now, task, self.pool.best_of(free))
        else:
            self.named.add(task, names, len(live))
            self._hold(now, task, QUEUED)

    def _assign(self, now: int, task: Task, engine: Engine) -> None:
        """Send a task that is in no queue to an engine with room, which so moves to the tail of the order."""
        msg_id = task.id
        if task.demands is not None:
            self._unlink(task, task.demands)
        pending = engine.pending
        pending[msg_id] = task
        if self._notes:
            self._tell(task, RUNNING, engine)
        task.state = RUNNING
        task.engine = engine
        task.epoch = 0
        self.tail = engine.stamp = self.tail + 1
        if len(pending) < self.limit:
            self.pool.offer(engine)
        else:
            self.pool.withdraw(engine)
        env, session = self.env, self.voice.session
        message = Message(
            {
                "msg_id": env.fresh_id(), "msg_type": "task_destination", "username": "username", "session": session,
                "date": env.date(now), "version": "5.4",
            },
            content={"msg_id": msg_id, "engine_id": engine.name},
            identities=(b"tracktask", session.encode()),
        )  # fmt: skip
        # The Hub should know of the destination before it hears what the task printed there.
        self._out.append(made(Send, ("monitor", message)))
        self._out.append(made(Forward, ("out", (engine.uuid, *task.identities), task.message)))

    def _fill(self, now: int, engine: Engine, before: int = sys.maxsize) -> None:
        """Let a live engine take what waits for it, of what was submitted before, as long as it has room."""
        pending, limit = engine.pending, self.limit
        while len(pending) < limit:
            entry = self.general.first()
            if self.named.lines:
                other = self.named.first(engine.uuid)
                entry = other if entry is None or (other is not None and other < entry) else entry
            if self.barred.count:
                other = self.barred.first(engine.uuid)
                entry = other if entry is None or (other is not None and other < entry) else entry
            if entry is None or entry[0] > before:
                return
            self._take(now, engine, entry[1])

    def _fill_one(self, now: int, engine: Engine) -> None:
        """Let an engine take one task that waits for it."""
        limit = self.limit
        if engine.is_live and len(engine.pending) < limit:
            firsts = self.general.first(), self.named.first(engine.uuid), self.barred.first(engine.uuid)
            entry = min((each for each in firsts if each is not None), default=None)
            if entry is not None:
                self._take(now, engine, entry[1])

    def _take(self, now: int, engine: Engine, task: Task) -> None:
        self._cause = "engine free"
        assert task.queue is not None
        task.queue.remove(task)
        self._assign(now, task, engine)

    def _freed(self, now: int, engine: Engine) -> None:
        """An engine has room for one more; it is offered to the queues, and what they leave of it to those who come."""
        if not engine.is_live:
            return
        if self.env.rarely("task.fills-late"):
            self._out.append(SetTimer(f"fill:{engine.uuid.hex()}", now + LATER))
            return
        self._fill(now, engine)
        if len(engine.pending) < self.limit:
            self.pool.offer(engine)

    def _leave(self, task: Task, engine: Engine) -> None:
        """The engine does not have the task any more; it counts as full until it is offered again."""
        del engine.pending[task.id]
        task.engine = None

    # -- to the queues, and to their end -------------------------------------------------------------------------------

    def _hold(self, now: int, task: Task, state: str) -> None:
        """Let a task stay here; unless it runs already, its time runs from now."""
        if self._notes:
            self._tell(task, state, None)
        task.state = state
        demands = task.demands
        if demands is not None and demands.timeout is not None and not task.epoch:
            task.epoch = self._timer(f"timeout:{task.id}", now + demands.timeout)

    def _finish(self, task: Task, ok: bool, engine: bytes | None) -> None:
        """A task has had its reply."""
        if self._notes:
            self._tell(task, DONE, None)
        msg_id = task.id
        del self.tasks[msg_id]
        task.state = DONE
        task.engine = None
        outcome = Outcome(msg_id, ok, engine, task.identities[0])
        self.outcomes.add(outcome)
        if msg_id in self.dependents:
            self._ended.append(outcome)

    def _fail(self, now: int, task: Task, ename: str, evalue: str, engine: Engine | None = None) -> None:
        """Answer a task that no engine has with an error; with `engine` as one of that engine's."""
        if task.queue is not None:
            task.queue.remove(task)
        if task.demands is not None:
            self._unlink(task, task.demands)
        client, *rest = task.identities
        identities = (client, *rest) if engine is None else (client, engine.uuid, *rest)
        metadata = None
        if engine is not None:
            metadata = {"status": "error", "engine": engine.name, "date": self.env.date(now)}
        reply = self.voice.answer(
            now, task.message, error(ename, evalue), msg_type="apply_reply", metadata=metadata, identities=identities
        )
        self._out.append(Send("monitor", reply.replace(identities=(b"outtask", *identities))))
        self._out.append(Send("in", reply))
        self._finish(task, False, None if engine is None else engine.uuid)

    def _unlink(self, task: Task, demands: Demands) -> None:
        """Forget what a task waits for."""
        for need in demands.needs:
            for each in need.left:
                others = self.dependents.get(each)
                if others is not None and others.pop(task.id, None) is not None and not others:
                    del self.dependents[each]

    def _timer(self, name: str, at: int) -> int:
        self.epoch = epoch = self.epoch + 1
        self._out.append(SetTimer(name, at, epoch))
        return epoch

    def _tell(self, task: Task, state: str, engine: Engine | None) -> None:
        """Note that a task goes on to a state, when all but the state itself has changed."""
        data: dict[str, Any] = {"task": task.id, "was": task.state, "is": state, "why": self._cause}
        if engine is not None:
            data |= {"engine": engine.name, "load": len(engine.pending)}
        if task.demands is not None:
            needs = task.demands.needs
            data["left"] = sorted({each for need in needs for each in need.left})
            data["graph"] = sorted(each for each, others in self.dependents.items() if task.id in others)
        self._out.append(made(Note, ("task", data)))

    def _tell_engines(self) -> None:
        """Note which engines there are."""
        engines = sorted([engine.number, engine.name] for engine in self.engines.values())
        self._out.append(Note("scheduler-engines", {"engines": engines}))
