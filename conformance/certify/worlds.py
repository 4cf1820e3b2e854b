"""The two worlds in which a sequence is carried out: sockets of libzmq, and virtual ones.

Both do the same with an operation and say what came of it, in the same words: None, the name of an errno, a message, or
a list of those. After each operation both settle: `EVENTS` of every socket is read, which lets each do what the others
left in its mailbox, in the same order in both worlds, until the mailboxes of the virtual sockets are empty. Closing is
the business of another thread, the reaper: where it has something to do, a barrier between two rounds waits until it
has done it.
"""

import errno
from collections.abc import Callable, Sequence
from typing import Any, Final, Protocol

import zmq

from conformance.certify.operations import STRANGER, SUBSCRIBERS, Operation
from simulator.kernel import Kernel
from simulator.network import Network
from simulator.sockets import Context, Errno, Socket, ZmqError

#: How often at least the events of all sockets are read after an operation.
ROUNDS: Final = 2

Frames = tuple[bytes, ...]
#: What an operation comes to.
Outcome = object


class Handle(Protocol):
    """One socket of either world; every method gives None or the name of an errno."""

    kind: str

    def set(self, name: str, value: int | bytes) -> str | None:
        """Set an option."""

    def endpoint(self, verb: str, address: str) -> str | None:
        """Bind, connect, unbind or disconnect."""

    def send(self, frames: Frames) -> str | None:
        """Send a message without waiting."""

    def frame(self, frame: bytes, more: bool) -> str | None:
        """Send one frame without waiting."""

    def recv(self) -> Frames | str:
        """Receive a message without waiting."""

    def events(self) -> int:
        """POLLIN and POLLOUT, after the mailbox was emptied."""

    def close(self) -> None:
        """Close without linger."""


class World:
    """What both worlds have in common: sockets by number, and the meaning of operations."""

    def __init__(self) -> None:
        self.sockets: dict[int, Handle] = {}
        #: The last two messages that each socket received.
        self._last: dict[int, list[Frames]] = {}

    def open(self, kind: str) -> Handle:
        """A new socket."""
        raise AssertionError(kind)

    def address(self, name: str) -> str:
        """The address that an operation names."""
        raise AssertionError(name)

    def perform(self, operation: Operation) -> Outcome:
        """Carry out an operation; what came of it."""
        number = operation.socket
        if operation.name == "open":
            kind, options = operation.value
            handle = self.open(str(kind))
            if number in self.sockets:
                self.sockets[number].close()
            self.sockets[number] = handle
            assert isinstance(options, tuple)
            return [handle.set(name, value) for name, value in options]
        socket = self.sockets.get(number)
        if socket is None:
            return "no socket"
        outcome: Outcome = getattr(self, f"_{operation.name}")(number, socket, *operation.value)
        return outcome

    def _set(self, _number: int, socket: Handle, name: str, value: int | bytes) -> Outcome:
        return socket.set(name, value)

    def _bind(self, _number: int, socket: Handle, address: str) -> Outcome:
        return socket.endpoint("bind", self.address(address))

    def _connect(self, _number: int, socket: Handle, address: str) -> Outcome:
        return socket.endpoint("connect", self.address(address))

    def _unbind(self, _number: int, socket: Handle, address: str) -> Outcome:
        return socket.endpoint("unbind", self.address(address))

    def _disconnect(self, _number: int, socket: Handle, address: str) -> Outcome:
        return socket.endpoint("disconnect", self.address(address))

    def _close(self, number: int, socket: Handle) -> Outcome:
        del self.sockets[number]
        socket.close()
        return None

    def _send(self, number: int, socket: Handle, target: bytes | None, frames: Frames) -> Outcome:
        return socket.send(self._aimed(number, socket, target, frames))

    def _burst(self, number: int, socket: Handle, target: bytes | None, frames: Frames, count: int) -> Outcome:
        outcomes: list[str | None] = []
        for index in range(count):
            marked = (*frames[:-1], b"%s-%d" % (frames[-1], index))
            outcomes.append(socket.send(self._aimed(number, socket, target, marked)))
            if outcomes[-1] is not None:
                break
        return outcomes

    def _frame(self, _number: int, socket: Handle, frame: bytes, more: bool) -> Outcome:
        return socket.frame(frame, more)

    def _answer(self, number: int, socket: Handle, frame: bytes, ago: int) -> Outcome:
        # A message that came, with another end: its envelope leads back to where it came from.
        came = self._last.get(number, [(STRANGER, b"") if socket.kind == "ROUTER" else (b"",)])
        last = came[min(ago, len(came) - 1)]
        if socket.kind in SUBSCRIBERS:
            return "no answer"
        return socket.send((*last[:-1], frame))

    def _aimed(self, number: int, socket: Handle, target: bytes | None, frames: Frames) -> Frames:
        if socket.kind != "ROUTER":
            return frames
        if target is None:
            target = self._last.get(number, [(STRANGER,)])[0][0]
        return (target, *frames)

    def _recv(self, number: int, socket: Handle) -> Outcome:
        outcome = socket.recv()
        if isinstance(outcome, tuple):
            self._last[number] = [outcome, *self._last.get(number, [])[:1]]
        return outcome

    def _drain(self, number: int, socket: Handle) -> Outcome:
        outcomes = [self._recv(number, socket)]
        while isinstance(outcomes[-1], tuple) and len(outcomes) < 200:
            outcomes.append(self._recv(number, socket))
        return outcomes

    def events(self) -> dict[int, int]:
        """The events of every open socket, read once, in the order of their numbers."""
        return {number: self.sockets[number].events() for number in sorted(self.sockets)}


# -- virtual -----------------------------------------------------------------------------------------------------------


class VirtualHandle:
    """A virtual socket."""

    def __init__(self, socket: Socket) -> None:
        self.socket = socket
        self.kind = socket.KIND

    def set(self, name: str, value: int | bytes) -> str | None:
        """Set an option."""
        return _refusal(lambda: self.socket.set(name, value))

    def endpoint(self, verb: str, address: str) -> str | None:
        """Bind, connect, unbind or disconnect."""
        return _refusal(lambda: getattr(self.socket, verb)(address))

    def send(self, frames: Frames) -> str | None:
        """Send a message."""
        error = self.socket.send(frames)
        return None if error is None else error.name

    def frame(self, frame: bytes, more: bool) -> str | None:
        """Send one frame."""
        error = self.socket.send_frame(frame, more)
        return None if error is None else error.name

    def recv(self) -> Frames | str:
        """Receive a message."""
        found = self.socket.recv()
        return found.name if isinstance(found, Errno) else found

    def events(self) -> int:
        """POLLIN and POLLOUT."""
        return self.socket.events()

    def close(self) -> None:
        """Close without linger."""
        self.socket.close(0)


def _refusal(action: Callable[[], object]) -> str | None:
    try:
        action()
    except ZmqError as error:
        return error.errno.name
    return None


class VirtualWorld(World):
    """Virtual sockets in one context."""

    def __init__(
        self,
        kinds: "dict[str, type[Socket]] | None" = None,
        *,
        seed: int = 0,
        network: Callable[[Kernel], Network] = Network,
    ) -> None:
        super().__init__()
        self.kernel = Kernel(seed)
        self.context = Context(self.kernel, network(self.kernel), kinds=kinds)

    def open(self, kind: str) -> Handle:
        """A new socket."""
        return VirtualHandle(self.context.socket(kind))

    def address(self, name: str) -> str:
        """An inproc address."""
        return f"inproc://{name}"

    def forbids(self, operation: Operation) -> bool:
        """Whether an operation would make libzmq abort at the end: a conflated connection without its identity."""
        socket = self.sockets.get(operation.socket)
        if operation.name != "connect" or not isinstance(socket, VirtualHandle):
            return False
        address = self.address(str(operation.value[0]))
        return socket.socket.options.is_conflated and address not in self.context.endpoints

    @property
    def is_reaping(self) -> bool:
        """Whether a closed socket is not gone yet."""
        return any(socket.is_closed for socket in self.context.sockets)

    def settle(self, *, is_reaping: bool) -> tuple[dict[int, int], int]:
        """Let the sockets do what is left to do; their events after that, and how many rounds it took."""
        rounds = 0
        while True:
            if is_reaping:
                self.kernel.run(self.kernel.now)
            events = self.events()
            rounds += 1
            if rounds >= ROUNDS and not any(socket.has_mail for socket in self.context.sockets):
                return events, rounds


# -- real --------------------------------------------------------------------------------------------------------------


def name_of(number: int) -> str:
    """The name of an errno, which for those that only ZeroMQ has is not in the system's list."""
    own = {int(zmq.EFSM): "EFSM", int(zmq.ETERM): "ETERM"}
    return own.get(number) or errno.errorcode.get(number, str(number)).replace("EOPNOTSUPP", "ENOTSUP")


class RealHandle:
    """A socket of libzmq."""

    def __init__(self, zsocket: "zmq.Socket[bytes]", kind: str) -> None:
        self.zsocket = zsocket
        self.kind = kind

    def set(self, name: str, value: int | bytes) -> str | None:
        """Set an option."""
        try:
            self.zsocket.setsockopt(getattr(zmq, name), value)
        except zmq.ZMQError as error:
            return name_of(error.errno or 0)
        return None

    def endpoint(self, verb: str, address: str) -> str | None:
        """Bind, connect, unbind or disconnect."""
        try:
            getattr(self.zsocket, verb)(address)
        except zmq.ZMQError as error:
            return name_of(error.errno or 0)
        return None

    def send(self, frames: Frames) -> str | None:
        """Send a message, frame by frame, until one is refused."""
        last = len(frames) - 1
        for number, frame in enumerate(frames):
            error = self.frame(frame, number < last)
            if error is not None:
                return error
        return None

    def frame(self, frame: bytes, more: bool) -> str | None:
        """Send one frame."""
        try:
            self.zsocket.send(frame, zmq.NOBLOCK | (zmq.SNDMORE if more else 0))
        except zmq.ZMQError as error:
            return name_of(error.errno or 0)
        return None

    def recv(self) -> Frames | str:
        """Receive a message."""
        try:
            return tuple(self.zsocket.recv_multipart(zmq.NOBLOCK))
        except zmq.ZMQError as error:
            return name_of(error.errno or 0)

    def events(self) -> int:
        """POLLIN and POLLOUT."""
        return int(self.zsocket.getsockopt(zmq.EVENTS))

    def close(self) -> None:
        """Close without linger."""
        self.zsocket.close(linger=0)


class RealWorld(World):
    """Sockets of libzmq in a context of their own."""

    def __init__(self) -> None:
        super().__init__()
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self._keeper: zmq.Socket[bytes] | None = None

    def open(self, kind: str) -> Handle:
        """A new socket."""
        return RealHandle(self._context.socket(getattr(zmq, kind)), kind)

    def address(self, name: str) -> str:
        """An inproc address: a context has its own."""
        return f"inproc://{name}"

    def settle(self, rounds: int, *, is_reaping: bool) -> dict[int, int]:
        """Let the sockets do what is left to do; their events after that."""
        events: dict[int, int] = {}
        for _ in range(rounds):
            if is_reaping:
                self._barrier()
            events = self.events()
        return events

    def _barrier(self) -> None:
        # The reaper takes sockets in the order of closing, and answers in the order of asking: when it has told the
        # keeper that this subscriber is gone, it has done all that was left to it before.
        keeper = self._keeper
        if keeper is None:
            keeper = self._keeper = self._context.socket(zmq.XPUB)
            keeper.linger = 0
            keeper.bind("inproc://keeper")
        probe = self._context.socket(zmq.SUB)
        probe.setsockopt(zmq.SUBSCRIBE, b"")
        probe.connect("inproc://keeper")
        keeper.recv()
        probe.close(linger=0)
        keeper.recv()

    def close(self) -> None:
        """Close everything."""
        self._context.destroy(linger=0)


Mapping = dict[bytes, bytes]


def agree(real: Any, virtual: Any, known: Mapping) -> bool:
    """Whether two outcomes are the same, but for numbers that libzmq makes up: those must be used alike throughout."""
    if isinstance(real, bytes) and isinstance(virtual, bytes):
        if len(real) == len(virtual) and len(real) in (4, 5) and (len(real) == 4 or real[:1] == virtual[:1] == b"\0"):
            return known.setdefault(real, virtual) == virtual
        return real == virtual
    if isinstance(real, Sequence) and not isinstance(real, str) and type(real) is type(virtual):
        return len(real) == len(virtual) and all(agree(one, two, known) for one, two in zip(real, virtual, strict=True))
    return bool(real == virtual)
