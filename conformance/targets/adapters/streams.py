"""What their code holds in the place of a `zmq.Socket`: a virtual one, of which somebody is told what passes.

`PlainSocket` is what a `ZMQStream` asks of a socket. The stream around it is pyzmq's own, which only must not ask the
system whether there is something to be read.
"""

from collections.abc import Callable, Sequence
from typing import Any, Final

import zmq

from conformance.targets.adapters.edition import Edition
from conformance.targets.adapters.loop import TornadoLoop, VirtualLoop
from protocol.wire import Codec
from simulator.shell import Load, in_bytes
from simulator.sockets import Errno, Socket

#: What is told of a message: the name of the socket, and its frames.
Told = Callable[[str, tuple[bytes, ...]], object]


class ToldSocket:
    """A virtual socket on which everything is bytes. `took` and `sent` are told of what passes."""

    def __init__(self, name: str, socket: Socket, codec: Codec, took: Told, sent: Told) -> None:
        self.name: Final = name
        self.socket: Final = socket
        self._codec = codec
        self._took, self._sent = took, sent

    def recv(self) -> Load | Errno:
        """The next message, or Errno.EAGAIN."""
        load = self.socket.recv()
        if isinstance(load, Errno):
            return load
        frames = in_bytes(load, self._codec)
        self._took(self.name, frames)
        return frames

    def send(self, frames: Sequence[Any]) -> Errno | None:
        """Send a message; None if it was taken."""
        whole = tuple(map(bytes, frames))
        found = self.socket.send(whole)
        if found is not Errno.EAGAIN:
            self._sent(self.name, whole)
        return found

    def events(self) -> int:
        """POLLIN and POLLOUT."""
        return self.socket.events()

    def watch(self, callback: Callable[[], object] | None) -> None:
        """Call back when there may be something."""
        self.socket.watch(callback)


class PlainSocket:
    """A socket as code on pyzmq sees it. Its number stands for its file descriptor."""

    def __init__(self, told: ToldSocket, number: int, loop: VirtualLoop) -> None:
        self._told = told
        self._number = number
        self._begun: list[bytes] = []
        self.closed = False
        told.watch(lambda: loop.signal(number))

    @property
    def FD(self) -> int:  # noqa: N802 - as it is called there
        """The descriptor."""
        return self._number

    def fileno(self) -> int:
        """The descriptor."""
        return self._number

    @property
    def EVENTS(self) -> int:  # noqa: N802
        """POLLIN and POLLOUT."""
        return self._told.events()

    events = EVENTS

    def recv_multipart(self, _: int = 0, copy: bool = True) -> list[Any]:
        """The next message. Raises zmq.Again."""
        load = self._told.recv()
        if isinstance(load, Errno):
            raise zmq.Again
        return list(load) if copy else [zmq.Frame(frame) for frame in load]

    def send_multipart(self, parts: Sequence[Any], flags: int = 0, **_: bool) -> None:
        """Send a message, or the beginning of one. Raises zmq.ZMQError."""
        frames = [part.bytes if isinstance(part, zmq.Frame) else bytes(part) for part in parts]
        if flags & zmq.SNDMORE:
            self._begun += frames
            return
        frames, self._begun = self._begun + frames, []
        found = self._told.send(frames)
        if found is Errno.EAGAIN:
            raise zmq.Again
        if found is not None:
            raise zmq.ZMQError(zmq.EHOSTUNREACH)

    def setsockopt(self, option: int, value: int | bytes) -> None:
        """Set an option."""
        self._told.socket.set(zmq.SocketOption(option).name, value)

    def getsockopt(self, option: int) -> int | bytes:
        """The value of an option."""
        return self._told.socket.get(zmq.SocketOption(option).name)

    setsockopt_string = setsockopt_unicode = setsockopt
    getsockopt_string = getsockopt_unicode = getsockopt

    def bind(self, address: str) -> None:
        """Bind it."""
        self._told.socket.bind(address)

    bind_to_random_port = bind

    def connect(self, address: str) -> None:
        """Connect it."""
        self._told.socket.connect(address)

    def close(self, linger: int | None = None) -> None:
        """Close it."""
        self.closed = True
        self._told.socket.close(linger)


class _Poller:
    """The poller of one stream, which looks and never waits."""

    def __init__(self, socket: PlainSocket) -> None:
        self._socket = socket
        self._flags = 0

    def register(self, _: PlainSocket, flags: int) -> None:
        self._flags = flags

    def poll(self, _: int) -> list[tuple[PlainSocket, int]]:
        found = self._socket.EVENTS & self._flags
        return [(self._socket, found)] if found else []


def stream(edition: Edition, socket: PlainSocket, tornado: TornadoLoop) -> Any:
    """A ZMQStream around a socket, which is read in the turns of a loop."""
    made = edition.zmqstream.ZMQStream(socket, tornado)
    made.poller = _Poller(socket)
    return made


__all__ = ["PlainSocket", "Told", "ToldSocket", "stream"]
