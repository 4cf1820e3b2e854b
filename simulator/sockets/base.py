"""What all virtual sockets have in common: a mailbox, endpoints, pipes, and when what is done.

A socket does nothing by itself. What others want of it (a new pipe, more room, something to read, an end) lies in its
mailbox until the thread that owns the socket comes by: `recv` looks when it finds no message, `events` looks always,
and so do bind and connect. `send` looks only now and then, see `Quirks.throttle`. A thread that stands still answers
nothing. Closing gives the socket to the reaper, which looks at once.

Measured on libzmq 4.3.5 (socket_base.cpp).
"""

from collections import deque
from collections.abc import Callable, Sequence
from heapq import heappush
from typing import TYPE_CHECKING, Any, ClassVar, Final

import msgspec

from simulator.sockets.errors import EAGAIN, Errno, ZmqError
from simulator.sockets.monitor import Monitor
from simulator.sockets.options import Options, attribute_of, opened
from simulator.sockets.pipe import Command, Message, Pipe, pair

if TYPE_CHECKING:
    from simulator.sockets.context import Context
    from simulator.sockets.tcp import Endpoint, Session

POLLIN: Final = 1
POLLOUT: Final = 2

#: Nanoseconds in which a socket that has looked into its mailbox may send without looking again.
THROTTLE: Final = 1_000_000


class Socket:
    """A virtual socket: the part that does not depend on its type. `Context.socket` makes one."""

    KIND: ClassVar[str]
    #: Whether what arrives is for the user, as it is or with the peer in front, and nothing else.
    HANDS_OVER: ClassVar[bool] = False
    #: Whether what arrives is for the user just as it is; a SUB that filters nothing says so itself.
    takes_all: bool = False

    def __init__(self, context: "Context", name: str) -> None:
        self.context = context
        self.kernel = context.kernel
        self.name = name
        self.options: Options = opened(self.KIND)
        self.is_closed = False
        self.last_endpoint = ""
        self.pipes: list[Pipe] = []
        self._mailbox: deque[Command] = deque()
        self._is_signalled = False
        self._looked = -THROTTLE - 1
        self._callback: Callable[[], object] | None = None
        self._call_event: Callable[[Any, Any], None] = self._call
        #: Who is handed every message at once; see `listen`.
        self.listener: Callable[[Message], object] | None = None
        self._is_terminating = False
        #: Pipes that connect to inproc addresses, in the order of connecting.
        self._inprocs: list[tuple[str, Pipe]] = []
        #: What binds or connects over TCP, in the order of making.
        self._endpoints: list[tuple[str, Endpoint]] = []
        #: Connections that were accepted.
        self.sessions: list[Session] = []
        self.events_monitor: Monitor | None = None

    def __repr__(self) -> str:
        return f"<{self.KIND} {self.name}>"

    # -- the mailbox ---------------------------------------------------------------------------------------------------

    def post(self, command: Command) -> None:
        """Leave a command for this socket; whoever watches it is called."""
        self._mailbox.append(command)
        if not self._is_signalled:
            self._is_signalled = True
            if self.is_closed:
                self.kernel.at(self.kernel.now, self._reap)
            elif self._callback is not None:
                kernel = self.kernel
                heappush(kernel.heap, (kernel.now, kernel.seq(), self._call_event, None, None))

    def watch(self, callback: Callable[[], object] | None) -> None:
        """Call back, as an event of the kernel, when something was put into the mailbox; None stops that.

        It is an edge, as that of ZMQ_FD: what to do is to receive until nothing is there. What lies in the mailbox
        already is called for as well.
        """
        self._callback = callback
        if callback is not None and self._mailbox:
            self.kernel.at(self.kernel.now, self._call)

    def listen(self, listener: Callable[[Message], object] | None) -> None:
        """Hand over messages within the event in which they arrive; None stops that.

        It is what a thread sees that does nothing but poll and receive, without the way through the mailbox. It holds
        for what comes over TCP to a pipe that was found empty; whatever else there is comes by `watch`, as ever, and
        for a type that does more with what arrives than hand it over, everything does.
        """
        self.listener = listener if self.HANDS_OVER else None

    def received(self, pipe: Pipe, message: Message) -> Message | None:
        """What the user sees of a message from this pipe; None if nothing."""
        return message

    def _call(self, _a: object, _b: object) -> None:
        self._is_signalled = False
        if self._callback is not None and not self.is_closed:
            self._callback()

    def _reap(self, _a: object, _b: object) -> None:
        self.process()

    @property
    def has_mail(self) -> bool:
        """Whether something lies in the mailbox."""
        return bool(self._mailbox)

    def process(self) -> None:
        """Do what lies in the mailbox."""
        mailbox = self._mailbox
        while mailbox:
            fn, argument = mailbox.popleft()
            fn(argument)
        self._is_signalled = False

    def _glance(self) -> None:
        # When there is something in the mailbox, or something was not sent: other looks make no difference.
        kernel = self.kernel
        if kernel.now - self._looked <= THROTTLE and self.context.is_throttled():
            return
        self._looked = kernel.now
        self.process()

    # -- endpoints -----------------------------------------------------------------------------------------------------

    def _begin(self, address: str) -> tuple[str, str]:
        if self.is_closed:
            raise ZmqError(Errno.ENOTSOCK)
        self.process()
        protocol, found, place = address.partition("://")
        if not found or not place:
            raise ZmqError(Errno.EINVAL, address)
        if protocol not in ("inproc", "tcp"):
            raise ZmqError(Errno.EPROTONOSUPPORT, address)
        return protocol, place

    def bind(self, address: str) -> None:
        """Listen at `inproc://name` or `tcp://host:port`; `*` stands for all hosts, or any port. Raises ZmqError."""
        protocol, place = self._begin(address)
        if protocol == "tcp":
            self.last_endpoint = self.context.listen(self, place)
            return
        self.context.register(address, self)
        self.last_endpoint = address

    def connect(self, address: str) -> None:
        """Connect to an address, where nobody need listen yet. Raises ZmqError."""
        protocol, place = self._begin(address)
        if protocol == "tcp":
            # Of these, libzmq takes a second connection to the same endpoint for a mistake, and makes none.
            is_single = self.KIND in ("DEALER", "SUB", "PUB", "REQ")
            if not is_single or all(where != address for where, _ in self._endpoints):
                self.last_endpoint = self.context.dial(self, place)
            return
        peer = self.context.endpoints.get(address)
        mine = self.options
        sndhwm, rcvhwm = mine.sndhwm, mine.rcvhwm
        other: Socket = self
        # Who is not there yet counts with its defaults, should our marks change before it comes.
        theirs = opened(self.KIND)
        if peer is not None:
            other, theirs = peer
            sndhwm = sndhwm + theirs.rcvhwm if sndhwm and theirs.rcvhwm else 0
            rcvhwm = rcvhwm + theirs.sndhwm if rcvhwm and theirs.sndhwm else 0
        conflate = mine.is_conflated
        marks = (0, 0) if conflate else (sndhwm, rcvhwm)
        here, there = pair((self, other), marks, conflate=conflate)
        if not conflate:
            here.set_boost(theirs.sndhwm, theirs.rcvhwm)
            there.set_boost(mine.sndhwm, mine.rcvhwm)
        if peer is None:
            # Whether the other side wants our identity is not known yet; it drops one that it does not want.
            here.write_identity(mine.routing_id)
            self.context.pend(address, self, here, there)
        else:
            if theirs.wants_identity:
                here.write_identity(mine.routing_id)
            if mine.wants_identity:
                there.write_identity(theirs.routing_id)
            other.post((other.attach, there))
        self.attach(here, is_local=True)
        self._inprocs.append((address, here))
        self.last_endpoint = address

    def unbind(self, address: str) -> None:
        """Listen there no longer; connections over TCP end, those of inproc stay. Raises ZmqError(ENOENT)."""
        self._end(address)

    def disconnect(self, address: str) -> None:
        """End the connections to an address; what waits for it is dropped. Raises ZmqError(ENOENT)."""
        self._end(address)

    def _end(self, address: str) -> None:
        protocol, _ = self._begin(address)
        if protocol == "inproc":
            if self.context.unregister(address, self):
                return
            ended = [pipe for where, pipe in self._inprocs if where == address]
            self._inprocs = [entry for entry in self._inprocs if entry[0] != address]
            for pipe in ended:
                pipe.terminate(True)
        else:
            ended_tcp = [one for where, one in self._endpoints if where == address]
            self._endpoints = [entry for entry in self._endpoints if entry[0] != address]
            for endpoint in ended_tcp:
                endpoint.end(self.options.linger)
            if ended_tcp:
                return
            ended = []
        if not ended:
            raise ZmqError(Errno.ENOENT, address)

    def add_endpoint(self, address: str, endpoint: "Endpoint") -> None:
        """Remember what serves an address over TCP."""
        self._endpoints.append((address, endpoint))

    def add_session(self, session: "Session") -> None:
        """A connection was accepted."""
        self.sessions.append(session)

    def forget_session(self, session: "Session") -> None:
        """A connection is gone for good."""
        if session in self.sessions:
            self.sessions.remove(session)

    def dropped(self, pipe: Pipe) -> None:
        """The peer at the other end of a pipe wants no connection with us: nothing to do, its pipe ends."""

    def close(self, linger: int | None = None) -> None:
        """Give the socket to the reaper; what is queued for TCP gets `linger` milliseconds (None: the option)."""
        if self.is_closed:
            return
        if linger is not None:
            self.options = msgspec.structs.replace(self.options, linger=linger)
        self.is_closed = True
        self._callback = self.listener = None
        self._is_signalled = True
        self.kernel.at(self.kernel.now, self._terminate)

    def _terminate(self, _a: object, _b: object) -> None:
        self.context.unregister_all(self)
        self._is_terminating = True
        for pipe in self.pipes:
            pipe.terminate(False)
        endpoints, self._endpoints = self._endpoints, []
        for _, endpoint in endpoints:
            endpoint.end(self.options.linger)
        self.process()
        self._check_gone()

    def vanish(self) -> None:
        """The process is dead: nothing is answered any more."""
        self.is_closed = True
        self._callback = None
        self._mailbox.clear()
        self._is_signalled = True

    @property
    def is_gone(self) -> bool:
        """Whether the socket is closed and nothing of it is left."""
        return self._is_terminating and not self.pipes

    def _check_gone(self) -> None:
        if self.is_gone and self in self.context.sockets:
            self.context.forget(self)
            if self.events_monitor is not None:
                self.events_monitor.tell("MONITOR_STOPPED", "", 0)

    def monitor(self) -> "Monitor":
        """The events of the connections of this socket, from now on."""
        if self.events_monitor is None:
            self.events_monitor = Monitor(self.kernel)
        return self.events_monitor

    # -- pipes: the sink -----------------------------------------------------------------------------------------------

    def attach(self, pipe: Pipe, is_local: bool = False) -> None:
        """Take a new pipe."""
        pipe.sink = self
        self.pipes.append(pipe)
        self._attached(pipe, is_local)
        if self._is_terminating:
            pipe.terminate(False)

    def pipe_readable(self, pipe: Pipe) -> None:
        """There is something to read again."""

    def pipe_writable(self, pipe: Pipe) -> None:
        """There is room to write again."""

    def pipe_hiccuped(self, pipe: Pipe) -> None:
        """The connection behind the pipe was replaced."""
        if self.options.immediate:
            pipe.terminate(False)
        else:
            self._hiccuped(pipe)

    def pipe_terminated(self, pipe: Pipe) -> None:
        """The pipe is gone."""
        self._detached(pipe)
        self.pipes.remove(pipe)
        self._inprocs = [entry for entry in self._inprocs if entry[1] is not pipe]
        if self._is_terminating:
            self._check_gone()

    # -- what the types are made of ------------------------------------------------------------------------------------

    def _attached(self, pipe: Pipe, is_local: bool) -> None:
        raise AssertionError(self.KIND)

    def _detached(self, pipe: Pipe) -> None:
        raise AssertionError(self.KIND)

    def _hiccuped(self, pipe: Pipe) -> None:
        """Only those that subscribe care for new connections."""

    def _send(self, frames: Message) -> Errno | None:
        """Send a whole message, when none is unfinished."""
        last = len(frames) - 1
        for number, frame in enumerate(frames):
            error = self._send_frame(frame, number < last)
            if error is not None:
                return error
        return None

    def _send_frame(self, frame: bytes, more: bool) -> Errno | None:
        return Errno.ENOTSUP

    def _recv(self) -> Message | Errno:
        return Errno.ENOTSUP

    def _has_in(self) -> bool:
        return False

    def _has_out(self) -> bool:
        return False

    # -- what the user does --------------------------------------------------------------------------------------------

    def send(self, frames: Sequence[Any]) -> Errno | None:
        """Send a message of at least one frame, without waiting; None if it was taken."""
        if self.is_closed:
            return Errno.ENOTSOCK
        if self._mailbox:
            self._glance()
        error = self._send(tuple(frames))
        if error is not None and not self._mailbox:
            self._glance()
        return error

    def send_frame(self, frame: Any, more: bool = False) -> Errno | None:
        """Send one frame; `more` says that others of the same message follow."""
        if self.is_closed:
            return Errno.ENOTSOCK
        if self._mailbox:
            self._glance()
        return self._send_frame(frame, more)

    def recv(self) -> Message | Errno:
        """The next message, without waiting; Errno.EAGAIN if there is none."""
        if self.is_closed:
            return Errno.ENOTSOCK
        found = self._recv()
        if found is EAGAIN:
            if not self._mailbox:
                self._is_signalled = False
                return found
            self.process()
            found = self._recv()
        return found

    def events(self) -> int:
        """POLLIN and POLLOUT, after all that lies in the mailbox was done."""
        if self.is_closed:
            return 0
        self.process()
        found = POLLOUT if self._has_out() else 0
        return found | POLLIN if self._has_in() else found

    def prepare(self, values: tuple[tuple[str, int | bytes], ...]) -> None:
        """Set options of a socket that was not used yet, as `set` does one by one. Raises ZmqError(EINVAL)."""
        self.options = opened(self.KIND, values)

    def set(self, name: str, value: int | bytes) -> None:
        """Set an option by the name that zmq gives it. Raises ZmqError(EINVAL)."""
        self.options = self.options.having(name, value)
        if attribute_of(name) in ("sndhwm", "rcvhwm"):
            for pipe in self.pipes:
                pipe.set_marks(self.options.rcvhwm, self.options.sndhwm)
                pipe.send_marks(self.options.sndhwm, self.options.rcvhwm)

    def get(self, name: str) -> int | bytes:
        """The value of an option. Raises ZmqError(EINVAL)."""
        return self.options.get(name)
