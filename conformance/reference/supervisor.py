"""The processes of a controller: forked from one, told the addresses, and ended together.

The supervisor has imported everything before it forks, and no ZeroMQ context exists then, so that a process of its own
for each role costs little. Each child holds one end of a socket pair, over which lines of JSON travel:

    child       {"bound": {"client mux": [5555], ...}}       its sockets are bound
    supervisor  {"places": {"client mux": [5555], ...}}      those of all children
    child       {"is_ready": true}                           connected, and heard by those who listen to it
    supervisor  {"is_begun": true}                           the connection files are written
    supervisor  {"is_stopping": true}                        say goodbye and end
    child       {"signal": 15}                               somebody told this child alone to end
    child       {"failed": "..."}                            a sentence for the user

A child whose pair is closed ends: nothing outlives the supervisor, whatever ended it. A child that ends unasked ends
the controller.
"""

import ctypes
import json
import os
import resource
import select
import signal
import socket
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Final, NoReturn

from conformance.reference.env import Log

#: Seconds in which all children must have bound, connected and heard each other.
START_PATIENCE: Final = 30.0
#: Seconds in which a child must end when it was told to, before it is killed.
GRACE: Final = 3.0

#: Bytes from which on a block of memory is the system's, not the allocator's: glibc's own first choice.
BIG_BLOCK: Final = 128 << 10
_M_MMAP_THRESHOLD: Final = -3

Places = Mapping[str, list[int]]
Line = dict[str, Any]


class ChildFailed(Exception):
    """A child ended, or never got ready; the text is a sentence for the user."""


class Gone(Exception):
    """The other end of a pair was closed."""


class Pair:
    """One end of the socket pair between supervisor and child."""

    def __init__(self, end: socket.socket) -> None:
        self.end = end
        #: Lines that were read and not asked for yet; no poll tells of them.
        self.kept: list[Line] = []
        self._unread = b""
        end.setblocking(True)

    def fileno(self) -> int:
        """The descriptor, for polling."""
        return self.end.fileno()

    def tell(self, **line: Any) -> None:
        """Send a line. Raises Gone."""
        try:
            self.end.sendall(json.dumps(line).encode() + b"\n")
        except OSError:
            raise Gone from None

    def lines(self) -> list[Line]:
        """The lines that are there; if there are none, waits for more bytes first. Raises Gone."""
        if not self.kept:
            self._read()
        found, self.kept = self.kept, []
        return found

    def line(self) -> Line:
        """The next line, waiting for it. Raises Gone."""
        while not self.kept:
            self._read()
        return self.kept.pop(0)

    def _read(self) -> None:
        try:
            data = self.end.recv(65536)
        except OSError:
            data = b""
        if not data:
            raise Gone
        *whole, self._unread = (self._unread + data).split(b"\n")
        self.kept += [json.loads(line) for line in whole]

    def is_closed(self) -> bool:
        """Whether the other end is gone; looks without waiting and without reading."""
        if not select.select([self.end], [], [], 0)[0]:
            return False
        try:
            return not self.end.recv(1, socket.MSG_PEEK)
        except OSError:
            return True


class Child:
    """One child as the supervisor sees it."""

    def __init__(self, name: str, pid: int, pair: Pair) -> None:
        self.name = name
        self.pid = pid
        self.pair = pair
        self.status: int | None = None
        self.bound: dict[str, list[int]] = {}
        self.is_ready = False

    def reap(self, *, is_patient: bool = False) -> bool:
        """Whether it has ended; then `status` is its exit status, negative for a signal."""
        if self.status is None:
            found, status = os.waitpid(self.pid, 0 if is_patient else os.WNOHANG)
            if found:
                self.status = os.waitstatus_to_exitcode(status)
        return self.status is not None

    def signal(self, number: int) -> None:
        """Send a signal, if it still is there."""
        if self.status is None:
            with suppress(ProcessLookupError):
                os.kill(self.pid, number)


class Supervisor:
    """Forks children, introduces them to each other, and ends them.

    `main` of a child gets its end of the pair, and returns the exit status.
    """

    def __init__(self, log: Log) -> None:
        self.log = log
        self.children: list[Child] = []
        self.signalled = 0
        self._wakeup, self._wakeup_write = os.pipe()
        for end in (self._wakeup, self._wakeup_write):
            os.set_blocking(end, False)

    def take_signals(self) -> None:
        """From now on SIGTERM and SIGINT end the controller in order, and ends of children are noticed."""

        def note(number: int, _: object) -> None:
            self.signalled = self.signalled or number

        signal.set_wakeup_fd(self._wakeup_write, warn_on_full_buffer=False)
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, note)
        signal.signal(signal.SIGCHLD, lambda *_: None)

    def fork(self, name: str, main: Callable[[Pair], int]) -> Child:
        """A child that runs `main`."""
        ours, theirs = socket.socketpair()
        sys.stdout.flush()
        sys.stderr.flush()
        pid = os.fork()
        if pid == 0:
            self._be_child(name, Pair(theirs), ours, main)
        theirs.close()
        child = Child(name, pid, Pair(ours))
        self.children.append(child)
        return child

    def _be_child(self, name: str, pair: Pair, other: socket.socket, main: Callable[[Pair], int]) -> NoReturn:
        status = 1
        try:
            # A descriptor that is inherited by mistake would keep a pair open when its owner is gone.
            other.close()
            for sibling in self.children:
                sibling.pair.end.close()
            signal.set_wakeup_fd(-1)
            os.close(self._wakeup)
            os.close(self._wakeup_write)
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            # An interrupt reaches the whole group; the supervisor then ends everybody in order.
            signal.signal(signal.SIGINT, signal.SIG_IGN)
            signal.signal(signal.SIGTERM, lambda number, _: _report(pair, number))
            name_process(name)
            status = main(pair)
        except Gone:
            status = 0
        except BaseException as error:
            Log(name).failure("the whole of it", error)
        finally:
            # Neither the handlers nor the buffers of the supervisor are the child's to run.
            os._exit(status)

    def introduce(self) -> dict[str, list[int]]:
        """Wait until all are bound and tell each the places of all; wait until all are ready. Raises ChildFailed."""
        deadline = time.monotonic() + START_PATIENCE
        self._await("bound", lambda child: bool(child.bound) or child.is_ready, deadline)
        places = {place: ports for child in self.children for place, ports in child.bound.items()}
        self.tell_all(places=places)
        self._await("ready", lambda child: child.is_ready, deadline)
        return places

    def tell_all(self, **line: Any) -> None:
        """Send a line to every child that is there."""
        for child in self.children:
            with suppress(Gone):
                child.pair.tell(**line)

    def _await(self, what: str, is_done: Callable[[Child], bool], deadline: float) -> None:
        while not all(map(is_done, self.children)):
            left = deadline - time.monotonic()
            if left <= 0:
                late = ", ".join(child.name for child in self.children if not is_done(child))
                raise ChildFailed(f"not {what} after {START_PATIENCE:g} s: {late}")
            self.wait(left)
            if self.signalled:
                raise ChildFailed("told to end before it was ready")
            ended = next((child for child in self.children if child.status is not None), None)
            if ended is not None:
                raise ChildFailed(f"{ended.name} ended {describe(ended.status)} before it was ready")

    def wait(self, seconds: float | None) -> None:
        """Wait for the next line, end of a child, or signal. Raises ChildFailed for a child that says it failed."""
        alive = [child.pair.fileno() for child in self.children if child.pair.fileno() >= 0]
        found, _, _ = select.select([self._wakeup, *alive], [], [], seconds)
        with suppress(BlockingIOError):
            os.read(self._wakeup, 4096)
        for child in self.children:
            if child.pair.fileno() in found:
                self._listen(child)
            child.reap()

    def _listen(self, child: Child) -> None:
        try:
            lines = child.pair.lines()
        except Gone:
            child.pair.end.close()
            child.reap(is_patient=True)
            return
        for line in lines:
            child.bound.update(line.get("bound", {}))
            child.is_ready |= "is_ready" in line
            self.signalled = self.signalled or line.get("signal", 0)
            if "failed" in line:
                raise ChildFailed(line["failed"])

    def end(self, last: Child | None = None) -> int:
        """End every child: each says goodbye, and the last one hears it. How many had to be killed.

        Without a last one, nothing has begun yet, and nobody has anything to say.
        """
        if last is None:
            for child in self.children:
                child.pair.end.close()
            return self._bury(self.children)
        others = [child for child in self.children if child is not last]
        killed = 0
        for group in (others, [last]):
            for child in group:
                with suppress(Gone):
                    child.pair.tell(is_stopping=True)
            killed += self._bury(group)
        for child in self.children:
            child.pair.end.close()
        return killed

    def _bury(self, children: list[Child]) -> int:
        deadline = time.monotonic() + GRACE
        while [child for child in children if not child.reap()] and time.monotonic() < deadline:
            for child in children:
                # A stopped process notices nothing until it is continued.
                child.signal(signal.SIGCONT)
            select.select([self._wakeup], [], [], 0.05)
            with suppress(BlockingIOError):
                os.read(self._wakeup, 4096)
        left = [child for child in children if not child.reap()]
        for child in left:
            child.signal(signal.SIGKILL)
            child.reap(is_patient=True)
        return len(left)


def _report(pair: Pair, number: int) -> None:
    # Told to the supervisor, which ends all of them in order; this process waits for its turn.
    with suppress(Gone):
        pair.tell(signal=number)


def name_process(name: str) -> None:
    """Let `top` and `ps -o comm` tell the processes of a cluster apart, where the system has a way (Linux)."""
    with suppress(OSError):
        Path("/proc/self/comm").write_text(f"ippkit-{name}")


def raise_file_limit() -> None:
    """Let this process, and what it forks, open as many files as it may: each engine takes one per process."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = hard if hard != resource.RLIM_INFINITY else 1 << 16
    if soft != resource.RLIM_INFINITY and soft < wanted:
        with suppress(ValueError, OSError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def give_memory_back() -> None:
    """Let this process, and what it forks, return big blocks to the system when they are freed (glibc).

    Left to itself, glibc takes the first big block that is freed as a sign to keep all of that size, and a table that
    is built anew from time to time then leaves holes as large as itself.
    """
    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).mallopt(_M_MMAP_THRESHOLD, BIG_BLOCK)


def describe(status: int | None) -> str:
    """An exit status in words."""
    if status is None:
        return "without a status"
    return f"with status {status}" if status >= 0 else f"by signal {-status}"
