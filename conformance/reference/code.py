"""User code on an engine: a namespace, code as text, calls, captured output.

Code runs in the main thread, one piece at a time, so that an interrupt reaches it; the loop with the sockets has a
thread of its own and answers control messages meanwhile. What code writes goes to a `Mailbox`, which the loop empties:
output of the same stream is joined until somebody fetches it, so that a chatty loop costs few messages.
"""

import ast
import builtins
import contextlib
import io
import linecache
import os
import queue
import signal
import sys
import threading
import traceback
import types
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final

from conformance.reference import datapub, facade, objects
from protocol.roles.base import Finished, Output, Run
from protocol.roles.engine import Outcome
from protocol.roles.speech import error
from protocol.wire import Frame

#: Exceptions of this name, or of a class that inherits from one of this name, refuse a task.
UNMET: Final = "UnmetDependency"
#: The texts of so many cells are kept for tracebacks.
CELLS: Final = 1000
OURS: Final = os.path.dirname(__file__)  # noqa: PTH120 - the names in a traceback are texts


class Mailbox:
    """Events from other threads for the loop, in order. Whoever posts wakes the loop through a pipe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._events: deque[Finished | _Text | Output] = deque()
        self.descriptor, self._bell = os.pipe()
        os.set_blocking(self.descriptor, False)
        os.set_blocking(self._bell, False)

    def post(self, event: Finished | Output) -> None:
        """Put an event behind the others."""
        with self._lock:
            self._put(event)

    def write(self, job: int, name: str, text: str) -> None:
        """Output on a stream; joined with the last event, if that is output of the same stream."""
        with self._lock:
            last = self._events[-1] if self._events else None
            if isinstance(last, _Text) and last.job == job and last.name == name:
                last.pieces.append(text)
            else:
                self._put(_Text(job, name, text))

    def _put(self, event: "Finished | _Text | Output") -> None:
        if not self._events:
            with contextlib.suppress(BlockingIOError, OSError):
                os.write(self._bell, b".")
        self._events.append(event)

    def fetch(self) -> list[Finished | Output]:
        """Everything that is there."""
        with contextlib.suppress(BlockingIOError):
            os.read(self.descriptor, 4096)
        with self._lock:
            events, self._events = self._events, deque()
        return [event.output() if isinstance(event, _Text) else event for event in events]


class _Text:
    __slots__ = ("job", "name", "pieces")

    def __init__(self, job: int, name: str, text: str) -> None:
        self.job = job
        self.name = name
        self.pieces = [text]

    def output(self) -> Output:
        return Output(self.job, "stream", {"name": self.name, "text": "".join(self.pieces)})


class Stream(io.TextIOBase):
    """Standard output or error of user code. A thread writes for the job that ran when it first wrote."""

    def __init__(self, name: str, mailbox: Mailbox, job: Callable[[], int]) -> None:
        super().__init__()
        self.name = name
        self._mailbox = mailbox
        self._job = job
        self._main = threading.get_ident()
        self._known = threading.local()

    @property
    def encoding(self) -> str:  # type: ignore[override]
        """What `print` needs to know."""
        return "utf-8"

    def writable(self) -> bool:
        """Yes."""
        return True

    def write(self, text: str) -> int:
        """Publish a text."""
        if not isinstance(text, str):
            raise TypeError(f"write() argument must be str, not {type(text).__name__}")
        if text:
            job = self._job()
            if threading.get_ident() != self._main:
                job = self._known.__dict__.setdefault("job", job)
            self._mailbox.write(job, self.name, text)
        return len(text)


class NoInput(io.TextIOBase):
    """Standard input of user code: there is none, and waiting for it would hold the engine for ever."""

    def readable(self) -> bool:
        """Yes, so that `input` asks."""
        return True

    def readline(self, size: int | None = -1) -> str:  # type: ignore[override]  # noqa: ARG002
        """Refuse."""
        raise EOFError("an engine has no standard input")


class Worker:
    """Runs the jobs of one engine in the main thread, which calls `serve`; `put` is for the loop's thread.

    The namespace is that of a module `__main__`, so that functions and classes which clients define are found there.
    """

    def __init__(self, mailbox: Mailbox) -> None:
        self.mailbox = mailbox
        self.job = 0
        self.is_busy = False
        self.module = types.ModuleType("__main__")
        self.namespace: dict[str, Any] = self.module.__dict__
        self._jobs: queue.SimpleQueue[Run | None] = queue.SimpleQueue()
        self._cells = 0
        self.clear()

    # -- for the loop ------------------------------------------------------------------------------------------------

    def put(self, effect: Run) -> None:
        """Run a job when its turn comes."""
        self._jobs.put(effect)

    def end(self) -> None:
        """Let `serve` return when the present job is done."""
        self._jobs.put(None)

    def clear(self) -> None:
        """Forget the user's names."""
        self.namespace.clear()
        self.namespace |= {"__name__": "__main__", "__builtins__": builtins, "__doc__": None}

    # -- the main thread ---------------------------------------------------------------------------------------------

    def serve(self) -> None:
        """Run jobs until `end`. Takes standard streams, `__main__` and SIGINT for user code."""
        with self._installed():
            while True:
                try:
                    effect = self._jobs.get()
                    if effect is None:
                        return
                    self._run(effect)
                except KeyboardInterrupt:
                    # It came between two jobs, or too late for the one that it was meant for.
                    continue

    @contextlib.contextmanager
    def _installed(self) -> Iterator[None]:
        def interrupt(*_: object) -> None:
            if self.is_busy:
                raise KeyboardInterrupt

        before = sys.stdout, sys.stderr, sys.stdin, sys.modules["__main__"]
        handler = signal.signal(signal.SIGINT, interrupt)
        streams: list[Any] = [Stream(name, self.mailbox, lambda: self.job) for name in ("stdout", "stderr")]
        sys.stdout, sys.stderr = streams
        sys.stdin = NoInput()
        sys.modules["__main__"] = self.module
        try:
            with facade.offered(self.namespace, self._publish), datapub.offered(self._publish):
                yield
        finally:
            sys.stdout, sys.stderr, sys.stdin, sys.modules["__main__"] = before
            signal.signal(signal.SIGINT, handler)

    def _publish(self, kind: str, content: Mapping[str, Any], buffers: Sequence[Frame] = ()) -> None:
        self.mailbox.post(Output(self.job, kind, dict(content), buffers=buffers))

    def _run(self, effect: Run) -> None:
        self.job = effect.job
        try:
            try:
                self.is_busy = True
                outcome = self._execute(effect) if effect.kind == "execute" else self._apply(effect)
            finally:
                self.is_busy = False
        except BaseException as raised:
            outcome = Outcome(
                status="error",
                content=describe(raised),
                dependencies_met=not any(kind.__name__ == UNMET for kind in type(raised).__mro__),
            )
        self.mailbox.post(Finished(effect.job, outcome))

    def _execute(self, effect: Run) -> Outcome:
        content = effect.message.content
        is_silent = content.get("silent") is True
        self._cells += 1
        # Tracebacks of functions from earlier cells show their lines, for a while.
        linecache.cache.pop(f"<cell {self._cells - CELLS}>", None)
        run_cell(content["code"], f"<cell {self._cells}>", self.namespace, None if is_silent else self._display)
        asked = content.get("user_expressions")
        values = {name: self._value(str(text)) for name, text in asked.items()} if isinstance(asked, dict) else {}
        return Outcome(content={"user_expressions": values, "payload": []})

    def _value(self, expression: str) -> dict[str, Any]:
        try:
            found = eval(expression, self.namespace)  # noqa: S307 - the user's own code, on the user's own engine
        except Exception as raised:
            return describe(raised)
        return {"status": "ok", "data": {"text/plain": repr(found)}, "metadata": {}}

    def _display(self, value: object) -> None:
        if value is not None:
            self.namespace["_"] = value
            self.mailbox.post(Output(self.job, "execute_result", {"data": {"text/plain": repr(value)}, "metadata": {}}))

    def _apply(self, effect: Run) -> Outcome:
        function, args, keywords = objects.unpack(effect.message.buffers, self.namespace)
        return Outcome(buffers=objects.pack_result(function(*args, **keywords)))


def run_cell(code: str, name: str, namespace: dict[str, Any], display: Callable[[object], None] | None) -> None:
    """Run code as text; the value of a last expression goes to `display`. Tracebacks show its lines."""
    linecache.cache[name] = (len(code), None, code.splitlines(keepends=True), name)
    tree = ast.parse(code, name)
    last = tree.body.pop() if tree.body and isinstance(tree.body[-1], ast.Expr) else None
    exec(compile(tree, name, "exec"), namespace)  # noqa: S102 - the user's own code, on the user's own engine
    if isinstance(last, ast.Expr):
        value = eval(compile(ast.Expression(last.value), name, "eval"), namespace)  # noqa: S307 - as above
        if display is not None:
            display(value)


def describe(raised: BaseException) -> dict[str, Any]:
    """The content of an error, its traceback without the frames that are ours."""
    try:
        value = str(raised)
    except Exception:
        value = "<no text>"
    told = traceback.TracebackException.from_exception(raised)
    told.stack = traceback.StackSummary.from_list([one for one in told.stack if not one.filename.startswith(OURS)])
    return error(type(raised).__name__, value) | {"traceback": [line.rstrip("\n") for line in told.format()]}
