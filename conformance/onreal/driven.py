"""Clients of a scenario that are under test: each behind a driver, which is told in lines what a scenario asks.

What has come of a request is what the driver says; which engine answered, and what is written while code runs, no
client has to say, and is taken from what crossed the relay.
"""

import os
import signal
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, Final, NamedTuple

from conformance.drivers import lines
from conformance.drivers.lines import Answer, Outcome
from conformance.harness.driver import Pending, RealDriver
from conformance.onreal.code import work as do_work
from conformance.targets.descriptor import Target
from conformance.targets.process import start_client
from protocol.connection import ClientFile
from protocol.world import MILLISECOND, SECOND, ClusterEngine, Task, Work
from simulator.lacking import Lacking

#: Nanoseconds between two questions what is done, and which engines there are.
LOOK: Final = 50 * MILLISECOND
#: Seconds that a client gets for what it must wait for.
PATIENCE: Final = 60.0
#: Nanoseconds that a client may take to hear of an engine before it is told to use it.
KNOWN: Final = 10 * SECOND
#: How a request is called whose id the client does not tell.
UNTOLD: Final = "command "
_FUNCTION: Final = f"{do_work.__module__}.{do_work.__name__}"


class Ways(NamedTuple):
    """What a cluster does for its driven clients: `wait` until something holds or a moment has come, by the monotonic
    clock; the `home` of an engine by its uuid; the engines that were ever registered, id -> `uuids`; who is said to
    have `answered` a request and what was `written` for it, by its id.
    """

    wait: Callable[[Callable[[], bool], int], bool]
    home: Callable[[str], str]
    uuids: Callable[[], Mapping[int, str]]
    answered: Callable[[str], str]
    written: Callable[[str], str]


class Open(NamedTuple):
    """A request that is open: on which queue, and for which engines."""

    msg_type: str
    socket: str
    targets: Sequence[str]
    coalescing: bool = False


class DrivenTask:
    """A request of a driven client, and what has come of it; see `protocol.world.Task`."""

    def __init__(self, pending: Pending, about: Open, ways: Ways, *, is_work: bool) -> None:
        self.pending = pending
        self.about = about
        self._ways = ways
        #: Whether something has to be waited for once it was sent.
        self.is_work = is_work
        self.sent = time.monotonic_ns()
        self.results: Sequence[Outcome] = ()
        self.result: Pending | None = None
        self.output_asked: Pending | None = None
        self._told: Mapping[str, Any] = {}
        self.is_done = False

    @property
    def number(self) -> int:
        """The number of the command that sent it."""
        return self.pending.command.id

    @property
    def msg_id(self) -> str:
        """Its id, if the client has told it."""
        answer = self.pending.answer
        ids = answer.ok.msg_ids if answer is not None and answer.ok is not None else None
        return ids[0] if ids else f"{UNTOLD}{self.number}"

    @property
    def status(self) -> str:
        """`ok`, `error` or `aborted`; of several outcomes the first that is not `ok`. Empty while nothing has come."""
        found = [one.status for one in self.results]
        return next((status for status in found if status != "ok"), "ok" if found else "")

    @property
    def ename(self) -> str:
        """The name of the first error, or empty."""
        return next((one.ename for one in self.results if one.status != "ok"), "")

    @property
    def engine(self) -> str:
        """The uuid of the engine that answered first, as was seen on the way; empty if none did."""
        return self._ways.answered(self.msg_id)

    @property
    def content(self) -> Mapping[str, Any]:
        """What the Hub said; empty for work."""
        return self._told

    @property
    def count(self) -> int:
        """How many outcomes the client has."""
        return len(self.results)

    @property
    def output(self) -> str:
        """What it wrote: as the client says once it is done, and as was seen on the way before."""
        answer = self.output_asked.answer if self.output_asked is not None else None
        if answer is None or answer.ok is None:
            return "" if self.output_asked is not None else self._ways.written(self.msg_id)
        return "".join(one.stdout for one in answer.ok.output or ())

    def end(self, answer: Answer) -> None:
        """Take what has come of it."""
        self.is_done = True
        if answer.ok is not None:
            self._told = answer.ok.content or {}
            self.results = answer.ok.results or (Outcome(status="ok"),)
        elif answer.error is not None:
            self.results = (Outcome(status="error", ename=answer.error.ename or answer.error.kind),)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.msg_id} {self.status or 'open'}>"


class DrivenClient:
    """One client behind a driver of its own; see `protocol.world.ClusterClient`. It connects when it is made.

    `pace` is how much longer everything takes than a scenario says.
    """

    def __init__(self, target: Target, file: ClientFile, ways: Ways, *, name: str, pace: float) -> None:
        self.name = name
        self.is_alive = True
        self.is_paused = False
        self.tasks: list[DrivenTask] = []
        self._ways = ways
        self._pace = pace
        self._features = target.features
        self._running = start_client(target, file)
        self._driver = RealDriver(self._running)
        self._connecting = self._tell(lines.Connect, file=str(self._running.path), timeout=PATIENCE)
        self._numbers: tuple[int, ...] = ()
        self._listing: Pending | None = None
        self._waiting: Pending | None = None
        self._looked = 0

    def _tell(self, kind: type[lines.Command], **fields: Any) -> Pending:
        if kind.feature and kind.feature not in self._features:
            raise Lacking(f"a client with the feature {kind.feature!r}")
        return self._driver.tell(kind, time.monotonic_ns, **fields)

    # -- the course of things ----------------------------------------------------------------------------------------

    @property
    def is_connected(self) -> bool:
        """Whether it says that it is. Raises TargetUnusable if it says that it cannot be."""
        answer = self._connecting.answer
        if answer is not None and answer.error is not None:
            raise self._running.unusable(f"cannot connect: {answer.error.message}")
        return answer is not None

    def turn(self, _: int) -> None:
        """Take in what the driver has said, and ask on. Raises TargetUnusable if it has ended or fails."""
        if not self.is_alive or self.is_paused:
            return
        said = self._running.heard()
        if said is None:
            raise self._driver.unusable("the driver has ended")
        for line in said:
            self._driver.hear(line)
        if self.is_connected:
            self._take_in()
            if time.monotonic_ns() - self._looked >= LOOK:
                self._looked = time.monotonic_ns()
                self._ask()

    def _take_in(self) -> None:
        if self._listing is not None and self._listing.answer is not None:
            told, self._listing = self._listing.answer.ok, None
            self._numbers = told.engines or () if told is not None else self._numbers
        for task in self._still_open():
            first = task.pending.answer
            if first is not None and (first.error is not None or not task.is_work):
                self._check(first)
                task.end(first)
            elif task.result is not None and task.result.answer is not None:
                self._check(task.result.answer)
                task.end(task.result.answer)
                if "output" in self._features and task.results:
                    task.output_asked = self._tell(lines.Output, of=task.number, timeout=PATIENCE)
        if self._waiting is not None and self._waiting.answer is not None:
            told, self._waiting = self._waiting.answer.ok, None
            done = set(told.done or ()) if told is not None else set()
            for task in self._still_open():
                if task.number in done and task.result is None:
                    task.result = self._tell(lines.Result, of=task.number, timeout=PATIENCE)

    def _check(self, answer: Answer) -> None:
        """Raise what is no fault of the client: what it has not, and mistakes of its driver."""
        if answer.error is not None and answer.error.kind == "unsupported":
            raise Lacking(f"a client that can do it: {answer.error.message}")
        if answer.error is not None and answer.error.kind == "internal":
            raise self._driver.unusable(f"its driver has failed: {answer.error.message}")

    def _ask(self) -> None:
        """Ask which engines it knows, and what is done."""
        if self._listing is None:
            self._listing = self._tell(lines.ListEngines)
        waiting = [task.number for task in self._still_open() if self._is_sent(task) and task.result is None]
        if waiting and self._waiting is None:
            self._waiting = self._tell(lines.Wait, of=tuple(waiting), timeout=0.0)

    def _is_sent(self, task: DrivenTask) -> bool:
        return task.is_work and task.pending.answer is not None

    def _still_open(self) -> Iterator[DrivenTask]:
        return (task for task in self.tasks if not task.is_done)

    def pause(self) -> None:
        """Let its process stand still until `resume`."""
        self.is_paused = True
        os.kill(self._running.process.pid, signal.SIGSTOP)

    def resume(self) -> None:
        """Let it go on."""
        if self.is_paused:
            self.is_paused = False
            os.kill(self._running.process.pid, signal.SIGCONT)

    def leave(self) -> None:
        """End it; what comes for it afterwards reaches nobody. May be called twice."""
        if self.is_alive:
            self.is_alive = False
            self._running.stop()

    # -- what others see of it ---------------------------------------------------------------------------------------

    @property
    def engines(self) -> Mapping[int, str]:
        """The engines that it knows: id -> uuid."""
        uuids = self._ways.uuids()
        return {number: uuids.get(number, f"engine {number}") for number in sorted(self._numbers)}

    @property
    def open(self) -> Mapping[str, Open]:
        """The requests that wait for an answer, by their ids."""
        return {task.msg_id: task.about for task in self._still_open()}

    @property
    def sent(self) -> Mapping[str, int]:
        """When each request was made, by the monotonic clock."""
        return {task.msg_id: task.sent for task in self.tasks}

    def silent(self, msg_id: str) -> str:
        """On whom a request waits."""
        about = self.open[msg_id]
        return f"engine ({about.targets[0]})" if about.socket == "mux" else about.socket

    # -- what it is asked --------------------------------------------------------------------------------------------

    def submit(
        self,
        work: Work = Work(),  # noqa: B008 - it is frozen
        *,
        after: Iterable[Task] = (),
        follow: Iterable[Task] = (),
        targets: Iterable[ClusterEngine] = (),
        retries: int = 0,
        timeout: int | None = None,
    ) -> DrivenTask:
        """Give work to some engine, through the task queue; `timeout` in nanoseconds."""
        chosen = list(targets)
        return self._work(
            "task", work, chosen, retries=retries, after=_numbers(after), follow=_numbers(follow),
            within=None if timeout is None else timeout * self._pace / SECOND,
        )  # fmt: skip

    def apply(self, work: Work, engine: ClusterEngine) -> DrivenTask:
        """Give work to one engine, through MUX."""
        return self._work("mux", work, [engine])

    def broadcast(
        self, work: Work, targets: Iterable[ClusterEngine] | None = None, *, is_coalescing: bool = False
    ) -> DrivenTask:
        """Give work to many engines, to all that the client knows if none are named."""
        return self._work("broadcast", work, None if targets is None else list(targets), coalescing=is_coalescing)

    def execute(self, work: Work, engine: ClusterEngine | None = None) -> DrivenTask:
        """Run code on one engine, or on any."""
        values, holds = self._values(work)
        code = f"from {do_work.__module__} import work as _work\n_work(*{values!r}, holds={holds!r})"
        to = [] if engine is None else [engine]
        return self._request(lines.Execute, "execute_request", "mux" if to else "task", to, code=code)

    def abort(self, tasks: Iterable[Task], engine: ClusterEngine) -> DrivenTask:
        """Abort what is queued at an engine; no tasks: all of it."""
        ids = tuple(task.msg_id for task in tasks)
        return self._question(lines.Abort, "abort_request", "control", msg_ids=ids, to=self._to([engine]))

    def control(self, msg_type: str, content: Mapping[str, Any], engine: ClusterEngine) -> DrivenTask:
        """Ask an engine on the control queue. Raises Lacking for what the drivers' language does not know."""
        if msg_type == "clear_request":
            return self._question(lines.Clear, msg_type, "control", to=self._to([engine]))
        if msg_type == "signal_request":
            return self._question(lines.Signal, msg_type, "control", signal=content["sig"], to=self._to([engine]))
        raise Lacking(f"a driver that can be told to send a {msg_type}")

    def query(self, msg_type: str, content: Mapping[str, Any] | None = None) -> DrivenTask:
        """Ask the Hub. Raises Lacking for what the drivers' language does not know."""
        asked = content or {}
        if msg_type == "queue_request":
            to, verbose = tuple(asked.get("targets") or ()), bool(asked.get("verbose"))
            return self._question(lines.QueueStatus, msg_type, "hub", to=to, verbose=verbose)
        if msg_type == "result_request":
            return self._question(lines.ResultStatus, msg_type, "hub", msg_ids=tuple(asked["msg_ids"]))
        raise Lacking(f"a driver that can be told to send a {msg_type}")

    # -- how ---------------------------------------------------------------------------------------------------------

    def _values(self, work: Work) -> tuple[list[object], bool]:
        ends = "crashes" if work.crashes else "fails" if work.fails else ""
        refusers = [each if each == "*" else self._ways.home(each) for each in work.refuses]
        return [work.takes * self._pace / SECOND, work.prints, ends, refusers], work.holds

    def _work(self, queue: str, work: Work, engines: Sequence[ClusterEngine] | None, **more: Any) -> DrivenTask:
        values, holds = self._values(work)
        return self._request(
            lines.Apply, "apply_request", queue, engines, function=_FUNCTION, args=tuple(values),
            keywords={"holds": holds}, **more,
        )  # fmt: skip

    def _request(
        self, kind: type[lines.Request], msg_type: str, queue: str, engines: Sequence[ClusterEngine] | None, **more: Any
    ) -> DrivenTask:
        to = tuple(self._numbers) if engines is None else self._to(engines)
        uuids = self._ways.uuids()
        about = Open(msg_type, queue, [uuids.get(number, "") for number in to], bool(more.get("coalescing")))
        return self._add(DrivenTask(self._tell(kind, queue=queue, to=to, **more), about, self._ways, is_work=True))

    def _question(self, kind: type[lines.Command], msg_type: str, socket: str, **more: Any) -> DrivenTask:
        pending = self._tell(kind, timeout=PATIENCE, **more)
        return self._add(DrivenTask(pending, Open(msg_type, socket, ()), self._ways, is_work=False))

    def _add(self, task: DrivenTask) -> DrivenTask:
        self.tasks.append(task)
        return task

    def _to(self, engines: Iterable[ClusterEngine]) -> tuple[int, ...]:
        """The numbers of engines, once the client knows them: it names them by number, and cannot be told others."""
        numbers = []
        for engine in engines:
            known = {uuid: number for number, uuid in self._ways.uuids().items()}
            if engine.uuid not in known:
                raise Lacking("engines that a client can name before they have a number")
            numbers.append(known[engine.uuid])
        end = time.monotonic_ns() + KNOWN
        self._ways.wait(lambda: set(numbers) <= set(self._numbers), end)
        return tuple(numbers)


def _numbers(tasks: Iterable[Task]) -> tuple[int, ...]:
    return tuple(task.number for task in tasks if isinstance(task, DrivenTask))


__all__ = ["UNTOLD", "DrivenClient", "DrivenTask", "Open", "Ways"]
