"""The driver of a client on the Client role, whatever its sockets are: commands in, answers out.

Each command is a generator: it yields what it waits for and until when, is told whether that came about, and returns
what there is to tell. So a command that waits keeps nobody else waiting, in one thread. Whoever owns a desk calls
`take` for each command and `look` whenever something may have happened, at `due` at the latest.
"""

import importlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Generator, Iterable, Sequence
from typing import Any, Final, NamedTuple

from conformance.drivers import lines
from conformance.drivers.lines import Answer, Outcome, Problem, Told, Written
from conformance.reference import objects
from protocol.connection import ConnectionFileError
from protocol.roles.base import Effect
from protocol.roles.client import Answer as Reply
from protocol.roles.client import Client
from protocol.wire import Frame
from protocol.world import SECOND

#: Nanoseconds between two questions for what is not there yet.
POLL: Final = SECOND // 20


class Connection(ABC):
    """A client that exists: its role, and what it takes to use that."""

    role: Client

    @abstractmethod
    def now(self) -> int:
        """Nanoseconds of the role's clock."""

    @abstractmethod
    def carry_out(self, effects: Sequence[Effect]) -> None:
        """Do what the role decided."""

    @abstractmethod
    def load(self, buffers: Sequence[Frame]) -> list[Any]:
        """The values in the buffers of a reply, as JSON can tell them."""

    @abstractmethod
    def close(self) -> None:
        """Let what was sent leave, and close everything."""


class Failure(Exception):
    """A command cannot be done; `problem` is what there is to say about it."""

    def __init__(self, problem: Problem) -> None:
        self.problem = problem
        super().__init__(problem.message)


class _Awaited(NamedTuple):
    """What a command waits for, and the time at which it no longer does."""

    is_there: Callable[[], bool]
    deadline: int


_Doing = Generator[_Awaited, bool, Told]


class _Sent(NamedTuple):
    """What a command has sent: the requests, and the engines that they went to, as they were named."""

    msg_ids: tuple[str, ...]
    uuids: tuple[str, ...]


class Desk:
    """Takes commands for one client at a time. `open_client` makes one of a connection file; what it raises is told."""

    def __init__(self, say: Callable[[Answer], None], open_client: Callable[[str, float], Connection]) -> None:
        self._say = say
        self._open = open_client
        self._connection: Connection | None = None
        self._sent: dict[int, _Sent] = {}
        #: Command -> the new ids of what it had sent again: the Hub alone is told what becomes of them.
        self._resubmitted: dict[int, tuple[str, ...]] = {}
        self._doing: dict[int, tuple[_Doing, _Awaited]] = {}
        self._do: Final[dict[type[lines.Command], Callable[[Any], _Doing]]] = {
            lines.Connect: self._connect, lines.Close: self._close, lines.ListEngines: self._engines,
            lines.Execute: self._execute, lines.Apply: self._apply, lines.Wait: self._wait,
            lines.Result: self._result, lines.Output: self._output, lines.QueueStatus: self._queue_status,
            lines.ResultStatus: self._result_status, lines.Purge: self._purge, lines.Resubmit: self._resubmit,
            lines.History: self._history, lines.DbQuery: self._db_query, lines.Abort: self._abort,
            lines.Clear: self._clear,
            lines.Signal: self._signal, lines.Shutdown: self._shutdown,
        }  # fmt: skip

    @property
    def connection(self) -> Connection | None:
        """The client, if there is one."""
        return self._connection

    @property
    def due(self) -> int | None:
        """When `look` has to be called although nothing has happened."""
        return min((awaited.deadline for _, awaited in self._doing.values()), default=None)

    def take(self, command: lines.AnyCommand) -> None:
        """Begin with a command, and end it if nothing has to be waited for."""
        self._go_on(command.id, self._do[type(command)](command), None)

    def look(self) -> None:
        """Go on with what has come about, or has waited for long enough."""
        # What one command does may be what another one waits for.
        for number, (doing, awaited) in tuple(self._doing.items()):
            if number in self._doing and self._connection is not None:
                is_there = awaited.is_there()
                if is_there or self._connection.now() >= awaited.deadline:
                    del self._doing[number]
                    self._go_on(number, doing, is_there)

    def _go_on(self, number: int, doing: _Doing, is_there: bool | None) -> None:
        try:
            awaited = next(doing) if is_there is None else doing.send(is_there)
        except StopIteration as end:
            self._say(Answer(id=number, ok=end.value))
        except Failure as failure:
            self._say(Answer(id=number, error=failure.problem))
        except Exception as error:
            self._say(Answer(id=number, error=Problem(kind="internal", message=f"{type(error).__name__}: {error}")))
        else:
            self._doing[number] = doing, awaited
            if awaited.is_there():
                self.look()

    # -- the client --------------------------------------------------------------------------------------------------

    @property
    def _client(self) -> Connection:
        if self._connection is None:
            raise Failure(Problem(kind="refused", message="there is no client"))
        return self._connection

    def _connect(self, command: lines.Connect) -> _Doing:
        try:
            connection = self._connection = self._open(command.file, command.timeout)
        except ConnectionFileError as error:
            raise Failure(Problem(kind="refused", message=str(error))) from None
        deadline = connection.now() + _nanoseconds(command.timeout)
        if not (yield _Awaited(lambda: connection.role.connected, deadline)):
            connection.close()
            self._connection = None
            message = f"the hub did not answer within {command.timeout:g} s"
            raise Failure(Problem(kind="timeout", message=message))
        return Told()

    def _close(self, _: lines.Close) -> _Doing:
        if self._connection is not None:
            self._connection.close()
            self._connection = None
        waiting, self._doing = self._doing, {}
        self._sent.clear()
        self._resubmitted.clear()
        for number in waiting:
            self._say(Answer(id=number, error=Problem(kind="refused", message="the client was closed")))
        return Told()
        yield  # a generator like the others, which waits for nothing

    def _engines(self, _: lines.ListEngines) -> _Doing:
        return Told(engines=tuple(sorted(self._client.role.engines.uuids)))
        yield

    # -- work --------------------------------------------------------------------------------------------------------

    def _execute(self, command: lines.Execute) -> _Doing:
        content = {"code": command.code, "silent": False, "user_expressions": {}}
        return self._send(command, "execute_request", content, ())
        yield

    def _apply(self, command: lines.Apply) -> _Doing:
        module, _, name = command.function.rpartition(".")
        try:
            function = getattr(importlib.import_module(module), name)
        except (ImportError, AttributeError, ValueError) as error:
            raise Failure(
                Problem(kind="refused", message=f"there is no function {command.function}: {error}")
            ) from None
        args, keywords = unpack_arguments(command)
        return self._send(command, "apply_request", {}, objects.pack(function, args, keywords))
        yield

    def _send(self, command: lines.Request, msg_type: str, content: dict[str, Any], buffers: Sequence[Frame]) -> Told:
        role = self._client.role
        uuids = tuple(role.engines.uuids.get(number, str(number)) for number in command.to)
        more: dict[str, Any] = {"buffers": buffers}
        if command.queue == "mux":
            msg_ids = tuple(self._ask("mux", msg_type, content, engine=number, **more) for number in command.to)
        elif command.queue == "task":
            steering = {
                "after": self._ids(command.after), "follow": self._ids(command.follow), "retries": command.retries,
                "timeout": command.within, "targets": list(uuids),
            }  # fmt: skip
            steering = {key: value for key, value in steering.items() if value}
            msg_ids = (self._ask("task", msg_type, content, metadata=steering, **more),)
        else:
            more |= {"targets": command.to, "coalescing": command.coalescing}
            msg_ids = (self._ask("broadcast", msg_type, content, **more),)
        self._sent[command.id] = _Sent(msg_ids, uuids)
        return Told(msg_ids=msg_ids)

    def _ask(self, socket: str, msg_type: str, content: dict[str, Any], **more: Any) -> str:
        client = self._client
        msg_id, effects = client.role.request(client.now(), socket, msg_type, content, **more)
        client.carry_out(effects)
        return msg_id

    def _ids(self, commands: Iterable[int]) -> list[str]:
        return [msg_id for number in commands for msg_id in self._what(number).msg_ids]

    def _what(self, number: int) -> _Sent:
        if number not in self._sent:
            raise Failure(Problem(kind="refused", message=f"command {number} has sent no request"))
        return self._sent[number]

    # -- waiting -----------------------------------------------------------------------------------------------------

    def _silent(self, msg_ids: Sequence[str], seconds: float) -> Generator[_Awaited, bool, dict[str, str]]:
        """Wait for requests; those that are not done then, and who is silent."""
        client = self._client
        now = client.now()
        deadline = now + _nanoseconds(seconds)
        number, effects = client.role.wait(now, msg_ids, deadline)
        client.carry_out(effects)
        found: dict[str, str] | None = None

        def is_over() -> bool:
            nonlocal found
            ended = client.role.outcome(number) if found is None else None
            if ended is not None:
                found = dict(ended.silent)
            return found is not None

        # The role has the deadline, and ends the wait at it.
        yield _Awaited(is_over, deadline + SECOND)
        return found or {}

    def _replies(self, msg_ids: Sequence[str], seconds: float) -> Generator[_Awaited, bool, list[Reply]]:
        """Wait for requests, and give what they were answered; silence is an error that names who is silent."""
        silent = yield from self._silent(msg_ids, seconds)
        if silent:
            who = "; ".join(dict.fromkeys(silent.values()))
            raise Failure(Problem(kind="timeout", message=f"no reply within {seconds:g} s from {who}"))
        return [reply for msg_id in msg_ids for reply in self._client.role.answers(msg_id)]

    def _wait(self, command: lines.Wait) -> _Doing:
        requests = {number: self._what(number).msg_ids for number in command.of}
        role = self._client.role

        def done() -> tuple[int, ...]:
            return tuple(number for number, ids in requests.items() if not any(one in role.open for one in ids))

        if command.until == "first":
            deadline = self._client.now() + _nanoseconds(command.timeout)
            yield _Awaited(lambda: bool(done()), deadline)
        else:
            yield from self._silent([one for ids in requests.values() for one in ids], command.timeout)
        return Told(done=done())

    def _result(self, command: lines.Result) -> _Doing:
        if command.of in self._resubmitted:
            return (yield from self._result_of_hub(self._resubmitted[command.of], command.timeout))
        sent = self._what(command.of)
        replies = yield from self._replies(sent.msg_ids, command.timeout)
        replies.sort(key=lambda reply: sent.uuids.index(reply.engine) if reply.engine in sent.uuids else 0)
        return Told(results=tuple(outcome for reply in replies for outcome in self._outcomes(reply)))

    def _result_of_hub(self, msg_ids: tuple[str, ...], seconds: float) -> _Doing:
        deadline = self._client.now() + _nanoseconds(seconds)
        while True:
            left = max(0, deadline - self._client.now()) / SECOND
            reply = yield from self._query("result_request", {"msg_ids": list(msg_ids), "status_only": False}, left)
            if not reply.content["pending"]:
                break
            if self._client.now() >= deadline:
                raise Failure(Problem(kind="timeout", message=f"the hub had no result within {seconds:g} s"))
            yield _Awaited(lambda: False, min(deadline, self._client.now() + POLL))
        found, buffers = dict[str, list[Outcome]](), reply.buffers
        # The buffers of all come one behind the other, in the order of the sorted ids.
        for msg_id in sorted(msg_ids):
            told = reply.content[msg_id]["result_content"]
            count = len(buffers) if len(msg_ids) == 1 else int(told.get("status") == "ok")
            own = Reply(str(told.get("status")), told, {}, buffers[:count])
            found[msg_id], buffers = self._outcomes(own), buffers[count:]
        return Told(results=tuple(outcome for msg_id in msg_ids for outcome in found[msg_id]))

    def _outcomes(self, reply: Reply) -> list[Outcome]:
        if reply.status == "ok":
            values = self._client.load(reply.buffers) or [None]
            return [Outcome(status="ok", value=value) for value in values]
        if reply.status == "aborted":
            return [Outcome(status="aborted")]
        told = {key: str(reply.content.get(key, "")) for key in ("ename", "evalue")}
        return [Outcome(status="error", **told)]

    def _output(self, command: lines.Output) -> _Doing:
        msg_ids, role = self._what(command.of).msg_ids, self._client.role
        yield from self._replies(msg_ids, command.timeout)

        def is_idle() -> bool:
            return all(
                any(one.content.get("execution_state") == "idle" for one in role.outputs(msg_id)) for msg_id in msg_ids
            )

        if not (yield _Awaited(is_idle, self._client.now() + _nanoseconds(command.timeout))):
            raise Failure(Problem(kind="timeout", message=f"the output had no end within {command.timeout:g} s"))
        return Told(output=tuple(Written(**self._streams(msg_id)) for msg_id in msg_ids))

    def _streams(self, msg_id: str) -> dict[str, str]:
        said = [one.content for one in self._client.role.outputs(msg_id) if one.msg_type == "stream"]
        return {
            name: "".join(str(one.get("text", "")) for one in said if one.get("name") == name)
            for name in ("stdout", "stderr")
        }

    # -- the Hub, and control -----------------------------------------------------------------------------------------

    def _query(self, msg_type: str, content: dict[str, Any], seconds: float) -> Generator[_Awaited, bool, Reply]:
        (reply,) = yield from self._replies([self._ask("query", msg_type, content)], seconds)
        _expect_ok([reply])
        return reply

    def _control(
        self, msg_type: str, content: dict[str, Any], to: Iterable[int], seconds: float
    ) -> Generator[_Awaited, bool, None]:
        asked = [self._ask("control", msg_type, content, engine=number) for number in to]
        _expect_ok((yield from self._replies(asked, seconds)))

    def _queue_status(self, command: lines.QueueStatus) -> _Doing:
        about = {"targets": list(command.to) or None, "verbose": command.verbose}
        return Told(content=(yield from self._query("queue_request", about, command.timeout)).content)

    def _result_status(self, command: lines.ResultStatus) -> _Doing:
        about = {"msg_ids": list(command.msg_ids), "status_only": True}
        return Told(content=(yield from self._query("result_request", about, command.timeout)).content)

    def _purge(self, command: lines.Purge) -> _Doing:
        msg_ids = command.msg_ids if command.msg_ids == "all" else list(command.msg_ids)
        yield from self._query("purge_request", {"msg_ids": msg_ids, "engine_ids": list(command.to)}, command.timeout)
        return Told()

    def _resubmit(self, command: lines.Resubmit) -> _Doing:
        reply = yield from self._query("resubmit_request", {"msg_ids": list(command.msg_ids)}, command.timeout)
        msg_ids = tuple(reply.content["resubmitted"][msg_id] for msg_id in command.msg_ids)
        self._resubmitted[command.id] = msg_ids
        return Told(msg_ids=msg_ids)

    def _history(self, command: lines.History) -> _Doing:
        reply = yield from self._query("history_request", {}, command.timeout)
        return Told(msg_ids=tuple(reply.content["history"]))

    def _db_query(self, command: lines.DbQuery) -> _Doing:
        about = {"query": command.query, "keys": None if command.keys is None else list(command.keys)}
        reply = yield from self._query("db_request", about, command.timeout)
        records, sizes = [dict(each) for each in reply.content["records"]], [len(each) for each in reply.buffers]
        counts = {"buffers": reply.content["buffer_lens"], "result_buffers": reply.content["result_buffer_lens"]}
        # The buffers of each record come together: those of the request, and then those of the result.
        for number, record in enumerate(records):
            for key, lens in counts.items():
                if lens is not None:
                    record[key], sizes = sizes[: lens[number]], sizes[lens[number] :]
        return Told(records=tuple(records))

    def _abort(self, command: lines.Abort) -> _Doing:
        yield from self._control("abort_request", {"msg_ids": list(command.msg_ids)}, command.to, command.timeout)
        return Told()

    def _clear(self, command: lines.Clear) -> _Doing:
        yield from self._control("clear_request", {}, command.to, command.timeout)
        return Told()

    def _signal(self, command: lines.Signal) -> _Doing:
        yield from self._control("signal_request", {"sig": command.signal}, command.to, command.timeout)
        return Told()

    def _shutdown(self, command: lines.Shutdown) -> _Doing:
        to = sorted(self._client.role.engines.uuids) if command.hub else command.to
        yield from self._control("shutdown_request", {"restart": False}, to, command.timeout)
        if command.hub:
            yield from self._query("shutdown_request", {}, command.timeout)
        return Told()


def unpack_arguments(command: lines.Apply) -> tuple[list[Any], dict[str, Any]]:
    """The arguments of a call: an object `{"bytes": N}` is N bytes."""
    args = [_argument(each) for each in command.args]
    return args, {name: _argument(each) for name, each in command.keywords.items()}


def _argument(value: Any) -> Any:
    if isinstance(value, dict) and value.keys() == {"bytes"}:
        return bytes(value["bytes"])
    return value


def _expect_ok(replies: Iterable[Reply]) -> None:
    for reply in replies:
        if reply.status != "ok":
            ename, evalue = (str(reply.content.get(key, "")) for key in ("ename", "evalue"))
            message = f"{ename}: {evalue}" if ename else reply.status
            raise Failure(Problem(kind="remote", message=message, ename=ename, evalue=evalue))


def _nanoseconds(seconds: float) -> int:
    return round(seconds * SECOND)


__all__ = ["Connection", "Desk", "Failure", "unpack_arguments"]
