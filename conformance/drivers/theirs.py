"""Drives the client of ipyparallel: `python -m conformance.drivers.theirs`. Needs the extra `ipyparallel`.

It does what a program does that uses the public methods. Those that wait run in a thread each: some have no timeout,
and are then left to wait for ever, which is what a program sees.
"""

import contextlib
import importlib
import threading
from collections.abc import Callable, Iterable
from concurrent import futures
from typing import Any, Final

import ipyparallel
from ipyparallel.error import CompositeError, KernelError, RemoteError, TaskAborted

from conformance.drivers import lines
from conformance.drivers.desk import Failure, unpack_arguments
from conformance.drivers.lines import Answer, Outcome, Problem, Told, Written
from conformance.drivers.standard import Lines

#: What the client does at once; all else waits for somebody, and must keep nobody waiting.
_PROMPT: Final = (lines.Connect, lines.Close, lines.ListEngines, lines.Execute, lines.Apply)


class Driver:
    """One client of ipyparallel at a time, and the results of what it has asked."""

    def __init__(self) -> None:
        self._lines = Lines(f"the client of ipyparallel {ipyparallel.__version__}")
        self._client: Any = None
        #: Command -> what its view gave.
        self._asked: dict[int, Any] = {}
        self._do: Final[dict[type[lines.Command], Callable[[Any], Told]]] = {
            lines.Connect: self._connect, lines.Close: self._close, lines.ListEngines: self._engines,
            lines.Execute: self._execute, lines.Apply: self._apply, lines.Wait: self._wait,
            lines.Result: self._result, lines.Output: self._output, lines.QueueStatus: self._queue_status,
            lines.ResultStatus: self._result_status, lines.Purge: self._purge, lines.Resubmit: self._resubmit,
            lines.History: self._history, lines.DbQuery: self._db_query, lines.Abort: self._abort,
            lines.Clear: self._clear,
            lines.Signal: self._signal, lines.Shutdown: self._shutdown,
        }  # fmt: skip

    def run(self) -> None:
        """Do what is told until standard input ends."""
        while not self._lines.is_over:
            for command in self._lines.read():
                if isinstance(command, _PROMPT):
                    self._answer(command)
                else:
                    threading.Thread(target=self._answer, args=(command,), daemon=True).start()

    def _answer(self, command: lines.AnyCommand) -> None:
        try:
            told = self._do[type(command)](command)
        except Exception as error:
            self._lines.say(Answer(id=command.id, error=_problem(error)))
        else:
            self._lines.say(Answer(id=command.id, ok=told))

    # -- the client --------------------------------------------------------------------------------------------------

    def _connect(self, command: lines.Connect) -> Told:
        self._client = ipyparallel.Client(command.file, timeout=command.timeout)
        return Told()

    def _close(self, _: lines.Close) -> Told:
        if self._client is not None:
            self._client.close()
            self._client = None
        self._asked.clear()
        return Told()

    def _engines(self, _: lines.ListEngines) -> Told:
        return Told(engines=tuple(self._client.ids))

    # -- work --------------------------------------------------------------------------------------------------------

    def _execute(self, command: lines.Execute) -> Told:
        if command.queue == "task":
            # Its view for tasks has no method for code; this is what one writes instead.
            view = self._client.load_balanced_view()
            future = self._client.send_execute_request(view._socket, command.code, silent=False)
            return self._sent(command, ipyparallel.AsyncResult(self._client, future, owner=True))
        return self._sent(command, self._view(command).execute(command.code, silent=False, block=False))

    def _apply(self, command: lines.Apply) -> Told:
        module, _, name = command.function.rpartition(".")
        function = getattr(importlib.import_module(module), name)
        args, keywords = unpack_arguments(command)
        view = self._view(command)
        with self._steered(view, command):
            return self._sent(command, view.apply_async(function, *args, **keywords))

    def _view(self, command: lines.Request) -> Any:
        to = list(command.to)
        if command.queue == "task":
            return self._client.load_balanced_view(to or None)
        if command.queue == "broadcast":
            return self._client.broadcast_view(to, is_coalescing=command.coalescing)
        return self._client[to]

    def _steered(self, view: Any, command: lines.Request) -> Any:
        if command.queue != "task":
            return contextlib.nullcontext()
        steering = {
            "after": [self._asked[number] for number in command.after],
            "follow": [self._asked[number] for number in command.follow],
            "retries": command.retries,
            "timeout": command.within,
        }
        return view.temp_flags(**{name: value for name, value in steering.items() if value})

    def _sent(self, command: lines.Request, result: Any) -> Told:
        self._asked[command.id] = result
        return Told(msg_ids=tuple(result.msg_ids))

    # -- waiting -----------------------------------------------------------------------------------------------------

    def _wait(self, command: lines.Wait) -> Told:
        results = [self._asked[number] for number in command.of]
        if command.until == "all":
            self._client.wait(results, command.timeout)
        else:
            # Its results are futures.
            futures.wait(results, command.timeout, return_when=futures.FIRST_COMPLETED)
        return Told(done=tuple(number for number in command.of if self._asked[number].done()))

    def _result(self, command: lines.Result) -> Told:
        found = self._asked[command.of].get(command.timeout, return_exceptions=True)
        return Told(results=tuple(_outcome(each) for each in _flat(_list(found))))

    def _output(self, command: lines.Output) -> Told:
        result = self._asked[command.of]
        result.get(command.timeout, return_exceptions=True)
        if not result.wait_for_output(command.timeout):
            raise TimeoutError(f"the output had no end within {command.timeout:g} s")
        both = zip(_list(result.stdout), _list(result.stderr), strict=True)
        return Told(output=tuple(Written(stdout=out, stderr=err) for out, err in both))

    # -- the Hub, and control ----------------------------------------------------------------------------------------

    def _queue_status(self, command: lines.QueueStatus) -> Told:
        content = self._client.queue_status(list(command.to) or "all", verbose=command.verbose)
        return Told(content={str(key): value for key, value in content.items()})

    def _result_status(self, command: lines.ResultStatus) -> Told:
        return Told(content=self._client.result_status(list(command.msg_ids), status_only=True))

    def _purge(self, command: lines.Purge) -> Told:
        msg_ids = command.msg_ids if command.msg_ids == "all" else list(command.msg_ids)
        self._client.purge_hub_results(msg_ids, list(command.to))
        return Told()

    def _resubmit(self, command: lines.Resubmit) -> Told:
        result = self._asked[command.id] = self._client.resubmit(list(command.msg_ids), block=False)
        return Told(msg_ids=tuple(result.msg_ids))

    def _history(self, _: lines.History) -> Told:
        return Told(msg_ids=tuple(self._client.hub_history()))

    def _db_query(self, command: lines.DbQuery) -> Told:
        found = self._client.db_query(command.query, None if command.keys is None else list(command.keys))
        return Told(records=tuple({key: _plain(key, value) for key, value in record.items()} for record in found))

    def _abort(self, command: lines.Abort) -> Told:
        self._client.abort(list(command.msg_ids), targets=list(command.to), block=True)
        return Told()

    def _clear(self, command: lines.Clear) -> Told:
        self._client.clear(list(command.to), block=True)
        return Told()

    def _signal(self, command: lines.Signal) -> Told:
        self._client.send_signal(command.signal, list(command.to), block=True)
        return Told()

    def _shutdown(self, command: lines.Shutdown) -> Told:
        self._client.shutdown(list(command.to) or "all", hub=command.hub, block=True)
        return Told()


def _problem(error: Exception) -> Problem:
    """What an exception says, in the words of the language."""
    message = f"{type(error).__name__}: {error}"
    if isinstance(error, Failure):
        return error.problem
    if isinstance(error, RemoteError) and not isinstance(error, CompositeError):
        return Problem(kind="remote", message=message, ename=str(error.ename), evalue=str(error.evalue))
    if isinstance(error, TimeoutError):
        return Problem(kind="timeout", message=message)
    return Problem(kind="refused", message=message)


def _outcome(value: Any) -> Outcome:
    if isinstance(value, TaskAborted):
        return Outcome(status="aborted")
    if isinstance(value, RemoteError):
        return Outcome(status="error", ename=str(value.ename), evalue=str(value.evalue))
    if isinstance(value, KernelError):
        return Outcome(status="error", ename=type(value).__name__, evalue=str(value))
    is_plain = value is None or isinstance(value, bool | int | float | str | list | dict)
    return Outcome(status="ok", value=value if is_plain else None)


def _plain(key: str, value: Any) -> Any:
    """A field of a record, as JSON can tell it."""
    return [len(memoryview(each)) for each in value] if key in ("buffers", "result_buffers") else value


def _flat(values: Iterable[Any]) -> list[Any]:
    """The results of a request that one reply answered for many engines stand in a list of their own."""
    return [each for value in values for each in (value if isinstance(value, list) else [value])]


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


if __name__ == "__main__":
    Driver().run()
