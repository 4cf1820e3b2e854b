"""An event loop for code that is written for asyncio and tornado, in the time of a simulated process.

It does what asyncio's own does in each of its turns: look which sockets have something, see which timers are due, then
run whatever is ready by now, once. What becomes ready meanwhile is for the next turn, which comes at the same moment of
virtual time. A process that is held up has no turns.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Coroutine, Generator
from contextlib import AbstractContextManager
from contextvars import Context, copy_context
from heapq import heappop, heappush
from inspect import isawaitable
from math import ceil
from typing import Any, Final, cast

from tornado.ioloop import IOLoop
from tornado.platform.asyncio import BaseAsyncIOLoop

from protocol.world import SECOND
from simulator.hosts import Process

Call = Callable[..., object]
#: Seconds by which what is due may be early: those of timers are no whole nanoseconds.
RESOLUTION: Final = 1e-9


class Handle:
    """Something that is to be called."""

    __slots__ = ("_arguments", "_call", "_context", "is_cancelled", "when")

    def __init__(self, call: Call, arguments: tuple[Any, ...], context: Context | None) -> None:
        self._call = call
        self._arguments = arguments
        self._context = copy_context() if context is None else context
        self.is_cancelled = False
        #: Seconds of the loop's clock, for what has a time.
        self.when = 0.0

    def cancel(self) -> None:
        """Do not call it any more."""
        self.is_cancelled = True

    def cancelled(self) -> bool:
        """Whether it will not be called."""
        return self.is_cancelled

    def run(self) -> None:
        """Call it."""
        self._context.run(self._call, *self._arguments)


class VirtualLoop:
    """The loop of one process. `on_error` is told what code of theirs raised, where nobody else sees it.

    It has what code asks of an `asyncio.AbstractEventLoop` that neither starts processes nor talks to the network.
    `acting` is entered for each turn: it makes this the running loop. `on_exit` is told that their code wants to end.
    """

    def __init__(
        self,
        process: Process,
        acting: Callable[[], AbstractContextManager[None]],
        on_error: Callable[[BaseException], object],
        on_exit: Callable[[int], object],
    ) -> None:
        self.process: Final = process
        self._acting = acting
        self._on_error = on_error
        self._on_exit = on_exit
        self._ready: deque[Handle] = deque()
        self._timers: list[tuple[float, int, Handle]] = []
        self._count = 0
        self._readers: dict[int, Handle] = {}
        #: The sockets that have had something since the last turn, in order.
        self._signalled: dict[int, None] = {}
        self._has_turn = False
        self._is_closed = False

    # -- what a process does with it ---------------------------------------------------------------------------------

    def signal(self, number: int) -> None:
        """A socket may have something."""
        self._signalled[number] = None
        self._wake()

    def _wake(self) -> None:
        if not self._has_turn and not self._is_closed:
            self._has_turn = True
            self.process.at(self.process.clock(), self._turn, None, None)

    def _turn(self, _: None, __: None) -> None:
        self._has_turn = False
        signalled, self._signalled = self._signalled, {}
        self._ready.extend(self._readers[number] for number in signalled if number in self._readers)
        now = self.time() + RESOLUTION
        while self._timers and self._timers[0][0] <= now:
            self._ready.append(heappop(self._timers)[2])
        with self._acting():
            for _number in range(len(self._ready)):
                handle = self._ready.popleft()
                if handle.is_cancelled:
                    continue
                try:
                    handle.run()
                except SystemExit as end:
                    self._on_exit(end.code if isinstance(end.code, int) else 0)
                except Exception as error:
                    self._on_error(error)
                if self._is_closed:
                    return
        if self._ready:
            self._wake()

    # -- what their code does with it --------------------------------------------------------------------------------

    def time(self) -> float:
        """Seconds of the process's clock, which does not jump with its dates."""
        return self.process.clock() / SECOND

    def call_soon(self, callback: Call, *args: Any, context: Context | None = None) -> Handle:
        """Call it in the next turn."""
        handle = Handle(callback, args, context)
        self._ready.append(handle)
        self._wake()
        return handle

    def call_soon_threadsafe(self, callback: Call, *args: Any, context: Context | None = None) -> Handle:
        """Call it in the next turn; there is one thread."""
        return self.call_soon(callback, *args, context=context)

    def call_later(self, delay: float, callback: Call, *args: Any, context: Context | None = None) -> Handle:
        """Call it in so many seconds."""
        return self.call_at(self.time() + delay, callback, *args, context=context)

    def call_at(self, when: float, callback: Call, *args: Any, context: Context | None = None) -> Handle:
        """Call it at a time of `time`."""
        handle = Handle(callback, args, context)
        handle.when = when
        self._count += 1
        heappush(self._timers, (when, self._count, handle))
        self.process.at(ceil(when * SECOND), self._is_due, None, None)
        return handle

    def _is_due(self, _: None, __: None) -> None:
        if not self._has_turn and not self._is_closed:
            self._has_turn = True
            self._turn(None, None)

    def add_reader(self, fd: Any, callback: Callable[..., Any], *args: Any) -> None:
        """Call it in each turn in which a socket may have something."""
        self._readers[fd] = Handle(callback, args, None)

    def remove_reader(self, fd: Any) -> bool:
        """Call it no more."""
        return self._readers.pop(fd, None) is not None

    def create_future(self) -> "asyncio.Future[Any]":
        """A future of this loop."""
        return asyncio.Future(loop=cast("Any", self))

    def create_task(self, coro: Coroutine[Any, Any, Any] | Generator[Any, None, Any], **_: Any) -> "asyncio.Task[Any]":
        """A task that takes its first step in the next turn."""
        return asyncio.Task(coro, loop=cast("Any", self))

    def call_exception_handler(self, context: dict[str, Any]) -> None:
        """Somebody's exception that nobody took."""
        self._on_error(context.get("exception") or RuntimeError(context.get("message")))

    def get_debug(self) -> bool:
        """Nobody debugs here."""
        return False

    def is_running(self) -> bool:
        """It is asked in its turns only."""
        return True

    def is_closed(self) -> bool:
        """Whether its process is gone."""
        return self._is_closed

    def close(self) -> None:
        """Call nothing more."""
        self._is_closed = True
        self._ready.clear()
        self._timers.clear()
        self._readers.clear()


class TornadoLoop(BaseAsyncIOLoop):
    """The IOLoop around a virtual loop. It is the current one while `edition.Edition.acting` says so."""

    def initialize(  # type: ignore[override]
        self, asyncio_loop: VirtualLoop, date: Callable[[], float], on_error: Callable[[BaseException], object]
    ) -> None:
        """`date` is the wall clock that IOLoops go by, in seconds since 1970."""
        super().initialize(cast("Any", asyncio_loop), make_current=False)
        del IOLoop._ioloop_for_asyncio[self.asyncio_loop]
        self._date = date
        self._on_error = on_error

    def time(self) -> float:
        """Seconds since 1970."""
        return self._date()

    def _run_callback(self, callback: Callable[[], Any]) -> None:
        try:
            awaited = callback()
        except Exception as error:
            self._on_error(error)
        else:
            if isawaitable(awaited):
                asyncio.ensure_future(awaited, loop=self.asyncio_loop).add_done_callback(self._done)

    def _done(self, future: "asyncio.Future[Any]") -> None:
        if not future.cancelled() and (error := future.exception()) is not None:
            self._on_error(error)


__all__ = ["Handle", "TornadoLoop", "VirtualLoop"]
