"""The task scheduler: gives each task to an engine that may have it, and sees to it that it is answered once.

A task comes in, is announced to the Hub (`intask`), and goes to an engine of the scheme's choice, if its demands leave
one with room; else it waits in one of the queues. When an engine has room again it takes the oldest task that it may
have. So no engine with room and no task for it are ever there together, and an event concerns only the engines and
tasks that it names or changes.

A reply ends the task, unless the engine refused it (`dependencies_met` is false) or it failed and has a retry left:
then it goes on to another engine and the client sees nothing. An engine that was unregistered gets nothing more; its
replies still count for the time of grace, then its tasks are run again or reported lost. The outcome of a task decides
those that depend on it. Whatever the scheduler has to say itself is an `apply_reply` with status `error`.

An engine may be registered and not connected: it has not come back to a scheduler that was started again, or its
connection broke. A task for it is then sent again until it arrives, or the engine is given up.

The scheduler reads the steering fields of metadata and nothing else of a task.

Source: IPython commit a2c57acba, docs/source/development/parallel_messages.txt, sections "Schedulers" and "apply";
ipyparallel docs, task.md; measured on ipyparallel 9.2.0.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar, Final

from protocol.errors import RemoteProtocolError
from protocol.messages.registry import INDEX
from protocol.roles import marks
from protocol.roles.base import (
    AGAIN,
    Arrived,
    Effect,
    Env,
    Event,
    Exit,
    Fired,
    Forward,
    Note,
    Send,
    SocketSpec,
    Started,
    Stopping,
    Unreachable,
    made,
)
from protocol.roles.speech import error, parent_id
from protocol.roles.task.config import TaskConfig
from protocol.roles.task.demands import BadDemandError, Demands, read_demands
from protocol.roles.task.depending import Depending
from protocol.roles.task.engines import Engine
from protocol.roles.task.placing import IMPOSSIBLE
from protocol.roles.task.roster import read_notice
from protocol.roles.task.tasks import ORPHANED, QUEUED, TASK, Task
from protocol.wire import Message

#: The types of requests to which an engine replies, on whatever channel they come to it.
ANSWERED: Final = frozenset(
    name for (name, channel, _), row in INDEX.items() if channel in ("mux", "task", "broadcast") and row.replies
)


class TaskScheduler(Depending):
    """The task scheduler of every scheme but `pure`, which is `protocol.roles.relay.TaskRelay`."""

    NAME: ClassVar[str] = "task-scheduler"
    SOCKETS: ClassVar[Mapping[str, SocketSpec]] = {
        "in": SocketSpec("task", "client"),
        "out": SocketSpec("task", "engine", is_mandatory=True),
        "monitor": SocketSpec("monitor"),
        "notification": SocketSpec("notification"),
        "query": SocketSpec("query"),
    }
    TABLES = (TASK,)
    MARKS = marks.of("task")

    def __init__(self, config: TaskConfig, env: Env) -> None:
        super().__init__(config, env)
        self._receivers: Final[dict[str, Callable[[int, Message], None]]] = {
            "in": self._submitted,
            "out": self._replied,
            "notification": self._notified,
            "query": self._told,
        }

    def handle(self, now: int, event: Event) -> Sequence[Effect]:
        """The effects of an event."""
        out = self._out = []
        if isinstance(event, Arrived):
            receive = self._receivers.get(event.socket)
            if receive is not None:
                receive(now, event.message)
        elif isinstance(event, Fired):
            self._fired(now, event)
        elif isinstance(event, Unreachable):
            self._unreached(now, event)
        elif isinstance(event, Started):
            if self._notes:
                out.append(Note("scheduler", {"hwm": self.config.hwm}))
            self._ask(now)
        elif isinstance(event, Stopping):
            self._stop(now)
        return out

    # -- tasks come in -------------------------------------------------------------------------------------------------

    def _submitted(self, now: int, message: Message) -> None:
        identities = message.identities
        msg_id = message.header.get("msg_id")
        if not identities or type(msg_id) is not str:
            return
        if msg_id in self.tasks or msg_id in self.outcomes:
            self._submitted_again(now, message, msg_id)
            return
        self._cause = "submitted"
        self._out.append(made(Forward, ("monitor", (b"intask", *identities), message)))
        self.seq = seq = self.seq + 1
        task = self.tasks[msg_id] = Task(msg_id, identities, message, seq)
        if message.msg_type not in ANSWERED:
            # It would occupy an engine for ever.
            self.env.mark("task.unknown-type")
            self._fail(now, task, "ValueError", f"no engine replies to a message of type {message.msg_type!r:.200}")
            return
        try:
            # Of a task whose parent header nobody can read no engine would ever reply, and none would be free again.
            if not type(message.parent_header) is type(message.metadata) is dict:
                raise BadDemandError("a part of the task is no object")
            demands = read_demands(message.metadata, self.numbers)
        except BadDemandError as mistake:
            self.env.mark("task.bad-demand")
            self._fail(now, task, mistake.ename, str(mistake))
            return
        except RemoteProtocolError:
            self.env.mark("task.unreadable")
            self._fail(now, task, "ValueError", "a part of the task cannot be read")
            return
        if demands is not None:
            task.demands = demands
            self._submitted_with_demands(now, task, demands)
            self._settle(now)
            return
        engine = self.pool.pick()
        if engine is not None:
            self._assign(now, task, engine)
        else:
            self.general.add(task)
            self._hold(now, task, QUEUED)

    def _submitted_with_demands(self, now: int, task: Task, demands: Demands) -> None:
        for need in demands.needs:
            for each in need.left:
                if each == task.id or (each not in self.tasks and each not in self.outcomes):
                    self.env.mark("task.invalid-dependency")
                    self._fail(now, task, "InvalidDependency", "a dependency names the task itself, or one not known")
                    return
        if demands.targets and not any(name in self.engines for name in demands.targets):
            self.env.mark("task.introduction")
            demands.introduction = self._timer(f"introduction:{task.id}", now + self.config.introduction)
        self._consider(now, task, demands)

    def _submitted_again(self, now: int, message: Message, msg_id: str) -> None:
        """A msg_id that is known: the same request again, which has its answer; or somebody else's mistake."""
        task, outcome = self.tasks.get(msg_id), self.outcomes.get(msg_id)
        client = task.identities[0] if task is not None else outcome.client if outcome is not None else b""
        if client == message.identities[0]:
            self.env.mark("task.submitted-again")
            return
        self.env.mark("task.id-taken")
        content = error("ValueError", "another client's task has this msg_id")
        self._out.append(Send("in", self.voice.answer(now, message, content, msg_type="apply_reply")))

    # -- replies -------------------------------------------------------------------------------------------------------

    def _replied(self, now: int, message: Message) -> None:
        identities = message.identities
        try:
            metadata: Any = message.metadata
            msg_id = message.parent_header.get("msg_id")
        except RemoteProtocolError:
            metadata = None
            msg_id = parent_id(message)
        task = self.tasks.get(msg_id) if type(msg_id) is str else None
        engine = None if task is None else task.engine
        if task is None or engine is None or not identities or engine.uuid != identities[0]:
            # Late, or not this engine's to answer.
            self.env.mark("task.reply-dropped")
            return
        is_readable = type(metadata) is dict
        ok = is_readable and metadata.get("status") == "ok"
        demands = task.demands
        is_refused = is_readable and metadata.get("dependencies_met", True) is False
        if is_refused or (not ok and demands is not None and demands.retries):
            self._leave(task, engine)
            self._go_on(now, task, engine, is_refused=is_refused)
        elif is_readable:
            del engine.pending[task.id]
            client, *rest = task.identities
            uuid = engine.uuid
            self._cause = "succeeded" if ok else "failed"
            self._out.append(made(Forward, ("monitor", (b"outtask", client, uuid, *rest), message)))
            self._out.append(made(Forward, ("in", (client, uuid, *rest), message)))
            self._finish(task, ok, uuid)
        else:
            self._cause = "failed"
            self.env.mark("task.unreadable-reply")
            self._leave(task, engine)
            self._fail(now, task, "EngineError", "the engine's reply cannot be read", engine)
        if self._ended or self._ready:
            self._settle(now, engine)
        self._freed(now, engine)

    def _go_on(self, now: int, task: Task, engine: Engine, *, is_refused: bool) -> None:
        """Run a task again, which was refused, or failed and has a retry left."""
        demands = task.demands = task.demands or Demands()
        if is_refused:
            self._cause = "refused"
            demands.refused[engine.uuid] = None
        else:
            self._cause = "failed"
            demands.retries -= 1
            demands.avoid = engine.uuid
            _renew(task, demands)
        if engine.is_live and len(engine.pending) < self.limit:
            self.pool.offer(engine)
        self._consider(now, task, demands)

    def _unreached(self, now: int, event: Unreachable) -> None:
        """An engine that was given a task is not connected, or not yet: with the message, the task would be lost."""
        msg_id = event.message.header.get("msg_id")
        task = self.tasks.get(msg_id) if type(msg_id) is str else None
        if task is not None and task.engine is not None and task.engine.uuid == event.peer and task.engine.is_live:
            self.env.mark("task.not-connected")
            self._timer(f"{event.peer.hex()}:{task.id}", now + AGAIN)

    def _try_again(self, uuid: str, task: Task | None) -> None:
        """Send a task once more, if it is still the same engine's.

        To one that is gone nothing is sent: whoever comes back under its name is another, and not registered yet.
        """
        if task is not None and task.engine is not None and task.engine.uuid.hex() == uuid and task.engine.is_live:
            self._out.append(made(Forward, ("out", (task.engine.uuid, *task.identities), task.message)))

    # -- engines -------------------------------------------------------------------------------------------------------

    def _notified(self, now: int, message: Message) -> None:
        notice = read_notice(message)
        if notice is None:
            return
        if self.env.rarely("task.asks-early"):
            self._ask(now)
        self.roster.notice(notice)
        engine = self.engines.get(notice.uuid)
        if engine is not None and notice.number < engine.number:
            # Of an earlier life: an answer of the Hub told of the next one first.
            self.env.mark("task.stale-notification")
            if notice.came:
                # Or of a Hub that has lost its disk, and gives numbers again.
                self._ask(now)
        elif notice.came:
            self._came(now, [(notice.number, notice.uuid)])
        else:
            self._went(now, notice.uuid)

    def _told(self, now: int, message: Message) -> None:
        if message.msg_type == "connection_reply":
            known = sorted(self.engines.values(), key=lambda engine: engine.number)
            came, went = self.roster.answer(message, [engine.uuid for engine in known])
            for uuid in went:
                self.env.mark("task.engine-missing")
                self._went(now, uuid)
            self._came(now, came)

    def _came(self, now: int, named: Sequence[tuple[int, bytes]]) -> None:
        """Take up engines that are not known yet; those that wait for work get it in turn."""
        fresh = []
        for number, uuid in named:
            known = self.engines.get(uuid)
            if known is not None:
                if known.number == number:
                    continue
                # Numbers are never used twice: the old one is gone, and nobody said so.
                self.env.mark("task.engine-replaced")
                self._went(now, uuid)
            engine = Engine(uuid, number)
            self.head = engine.stamp = self.head - 1
            self.engines[uuid] = engine
            self.numbers[number] = uuid
            self.named.came(uuid)
            self.barred.came(uuid)
            fresh.append(engine)
        if fresh and self._notes:
            self._tell_engines()
        for engine in fresh:
            self.pool.offer(engine)
        self._reconsider(now, self.barred.exhausted(len(self.engines)), "engine came")
        hungry = fresh
        while hungry:
            loads = [len(engine.pending) for engine in hungry]
            for engine in hungry:
                self._fill_one(now, engine)
            hungry = [engine for engine, load in zip(hungry, loads, strict=True) if len(engine.pending) > load]
        self._settle(now)

    def _went(self, now: int, uuid: bytes) -> None:
        """An engine is gone: it gets no more tasks, and those that only it could run have to be thought over."""
        engine = self.engines.pop(uuid, None)
        if engine is None:
            return
        self._cause = "engine gone"
        engine.is_live = False
        self.pool.withdraw(engine)
        if self.numbers.get(engine.number) == uuid:
            del self.numbers[engine.number]
        if self._notes:
            self._tell_engines()
        if engine.pending:
            self.graves[self._timer("grace", now + self.config.grace)] = engine
            for task in engine.pending.values():
                if self._notes:
                    self._tell(task, ORPHANED, engine)
                task.state = ORPHANED
        self.barred.went(uuid)
        self._reconsider(now, self.named.went(uuid), "engine gone")
        if self.engines:
            self._reconsider(now, self.barred.exhausted(len(self.engines)), "engine gone")
        self._settle(now)

    def _reconsider(self, now: int, tasks: Sequence[Task], why: str) -> None:
        """Place queued tasks anew, as no engine that is left may have them."""
        for task in tasks:
            if task.queue is not None:
                self._cause = why
                task.queue.remove(task)
                self._place(now, task)

    # -- time ----------------------------------------------------------------------------------------------------------

    def _fired(self, now: int, event: Fired) -> None:
        kind, _, msg_id = event.timer.partition(":")
        task = self.tasks.get(msg_id)
        if kind == "grace":
            engine = self.graves.pop(event.epoch, None)
            if engine is not None:
                self._bury(now, engine)
        elif kind == "resync" and event.epoch == self.resync:
            self._ask(now)
        elif kind == "timeout" and task is not None and event.epoch and event.epoch == task.epoch:
            self._cause = "timed out"
            self.env.mark("task.timed-out")
            self._fail(now, task, "TaskTimeout", "the task was still queued when its time was over")
        elif kind == "introduction" and task is not None and task.demands is not None:
            self._introduced(now, task, task.demands, event.epoch)
        elif kind == "fill":
            engine = self.engines.get(bytes.fromhex(msg_id))
            if engine is not None:
                self._freed(now, engine)
        elif event.epoch:
            self._try_again(kind, task)
        self._settle(now)

    def _introduced(self, now: int, task: Task, demands: Demands, epoch: int) -> None:
        if epoch and epoch == demands.introduction:
            demands.introduction = 0
            if task.queue is self.named and not demands.alive and not demands.is_hopeful:
                self._cause = "nobody introduced"
                self._fail(now, task, IMPOSSIBLE, "no engine is left that may run the task")

    def _bury(self, now: int, engine: Engine) -> None:
        """The time of grace is over: what the engine still has is run again, or reported lost."""
        for task in tuple(engine.pending.values()):
            self._cause = "grace over"
            self._leave(task, engine)
            demands = task.demands
            if demands is not None and demands.retries:
                self.env.mark("task.retry-after-death")
                demands.retries -= 1
                demands.avoid = engine.uuid if engine.uuid in self.engines else None
                _renew(task, demands)
                self._consider(now, task, demands)
            else:
                self._fail(now, task, "EngineError", f"Engine {engine.name} died while running task {task.id}", engine)

    def _ask(self, now: int) -> None:
        """Ask the Hub which engines there are, and again later."""
        message = self.voice.say(now, "connection_request")
        self.roster.ask(message.msg_id)
        self._out.append(Send("query", message))
        if self.config.resync:
            self.resync = self._timer("resync", now + self.config.resync)

    def _stop(self, now: int) -> None:
        """The scheduler ends: nobody should wait for an answer that cannot come."""
        for task in tuple(self.tasks.values()):
            self._cause = "scheduler stopped"
            self._fail(now, task, "TaskAborted", "the task scheduler was stopped before the task had ended")
        self.reset()
        self._out.append(Exit())


def _renew(task: Task, demands: Demands) -> None:
    """Have a task that runs once more signed anew, with the retries that are left.

    An engine that had it already would take the very same message for a replay, and never answer.
    """
    try:
        task.message = task.message.replace(metadata=task.message.metadata | {"retries": demands.retries})
    except RemoteProtocolError:
        # Content that nobody can read cannot be written again either.
        return
