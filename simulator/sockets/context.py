"""A context: the sockets of one process on one host, its inproc addresses and its I/O thread.

Four stops are four things. A thread that stands still simply does not use its sockets: connections live, and what
arrives is queued. `pause` stops the I/O thread as well: the kernel of the host still takes connections and data, up to
what its buffers hold. `crash` closes all connections. A partition is a matter of the network.
"""

from collections.abc import Callable
from typing import Final

from simulator.kernel import Kernel
from simulator.network import Network
from simulator.sockets.base import Socket
from simulator.sockets.errors import Errno, LibraryAborts, ZmqError
from simulator.sockets.options import Options
from simulator.sockets.pipe import Pipe
from simulator.sockets.pipeline import Dealer, Pair, Pull, Push
from simulator.sockets.pubsub import Pub, Sub, XPub, XSub
from simulator.sockets.quirks import Quirks
from simulator.sockets.reqrep import Rep, Req
from simulator.sockets.router import Router
from simulator.sockets.tcp import Dialer, Listener, Session

#: The types of sockets by their names.
KINDS: Final[dict[str, type[Socket]]] = {
    kind.KIND: kind for kind in (Dealer, Pair, Pub, Pull, Push, Rep, Req, Router, Sub, XPub, XSub)
}
_HERE: Final = ("*", "0.0.0.0", "127.0.0.1", "localhost")  # noqa: S104 (names, not sockets)


class Context:
    """Where sockets are made. Those of one context share inproc addresses, and a fate."""

    def __init__(
        self,
        kernel: Kernel,
        network: Network | None = None,
        *,
        host: str = "localhost",
        quirks: Quirks | None = None,
        kinds: dict[str, type[Socket]] | None = None,
    ) -> None:
        self.kernel = kernel
        self.network = network or Network(kernel)
        self.host = host
        self.quirks = quirks or Quirks()
        self.is_paused = False
        self.sockets: list[Socket] = []
        #: The sessions of all sockets, in the order of making.
        self.sessions: list[Session] = []
        self.when_resumed: list[Callable[[], None]] = []
        #: Who is bound to an inproc address, with the options of that moment.
        self.endpoints: dict[str, tuple[Socket, Options]] = {}
        self._pending: list[tuple[str, Socket, Options, Pipe, Pipe]] = []
        self._kinds = kinds or KINDS
        self._count = 0

    def socket(self, kind: str, name: str = "", options: tuple[tuple[str, int | bytes], ...] = ()) -> Socket:
        """A new socket of this type with these options, by the names that zmq gives them; `name` is for traces.

        Raises ZmqError(EINVAL) for an unknown type, and for an option that it does not have.
        """
        kind = {"XREQ": "DEALER", "XREP": "ROUTER"}.get(kind, kind)
        if kind not in self._kinds:
            raise ZmqError(Errno.EINVAL, f"no socket type {kind}")
        self._count += 1
        socket = self._kinds[kind](self, name or f"{self.host}/{kind.lower()}-{self._count}")
        if options:
            socket.prepare(options)
        self.sockets.append(socket)
        return socket

    def forget(self, socket: Socket) -> None:
        """A socket is gone; sockets use this."""
        if socket in self.sockets:
            self.sockets.remove(socket)

    def is_throttled(self) -> bool:
        """Whether a socket that has just looked into its mailbox need not look again now."""
        throttle = self.quirks.throttle
        return throttle >= 1 or (throttle > 0 and self.kernel.schedule.random() < throttle)

    # -- inproc --------------------------------------------------------------------------------------------------------

    def register(self, address: str, socket: Socket) -> None:
        """A socket binds to an inproc address; those who connected before are connected now. Raises EADDRINUSE."""
        if address in self.endpoints:
            raise ZmqError(Errno.EADDRINUSE, address)
        options = socket.options
        self.endpoints[address] = socket, options
        waiting = [entry for entry in self._pending if entry[0] == address]
        self._pending = [entry for entry in self._pending if entry[0] != address]
        for _, peer, theirs, here, there in waiting:
            there.owner = socket
            if not options.wants_identity and there.read() is None:
                raise LibraryAborts("ctx.cpp: a connection that was ended waits for this address")
            if not theirs.is_conflated:
                here.set_boost(options.sndhwm, options.rcvhwm)
                there.set_boost(theirs.sndhwm, theirs.rcvhwm)
                here.set_marks(theirs.rcvhwm, theirs.sndhwm)
                there.set_marks(options.rcvhwm, options.sndhwm)
            socket.attach(there)
            if theirs.wants_identity and not peer.is_closed:
                there.write_identity(options.routing_id)

    def pend(self, address: str, socket: Socket, here: Pipe, there: Pipe) -> None:
        """A socket connects to an inproc address that nobody is bound to yet."""
        self._pending.append((address, socket, socket.options, here, there))

    def unregister(self, address: str, socket: Socket) -> bool:
        """A socket is no longer bound to an inproc address; whether it was."""
        bound = self.endpoints.get(address)
        if bound is None or bound[0] is not socket:
            return False
        del self.endpoints[address]
        return True

    def unregister_all(self, socket: Socket) -> None:
        """A socket is no longer bound to any inproc address."""
        self.endpoints = {address: bound for address, bound in self.endpoints.items() if bound[0] is not socket}

    # -- TCP -----------------------------------------------------------------------------------------------------------

    def _place(self, text: str) -> tuple[str, str]:
        host, found, port = text.rpartition(":")
        if not found or not host or not (port == "*" or (port.isdecimal() and int(port) < 1 << 16)):
            raise ZmqError(Errno.EINVAL, f"tcp://{text}")
        return self.host if host in _HERE else host, port

    def listen(self, socket: Socket, text: str) -> str:
        """Bind a socket to `host:port`; the address that resulted. Raises ZmqError."""
        host, port = self._place(text)
        if host != self.host:
            raise ZmqError(Errno.EADDRNOTAVAIL, f"tcp://{text}")
        number = self.network.port(host) if port in ("*", "0") else int(port)
        if (host, number) in self.network.listeners:
            raise ZmqError(Errno.EADDRINUSE, f"tcp://{text}")
        address = f"tcp://{host}:{number}"
        listener = Listener(socket, socket.options, address, (host, number))
        socket.add_endpoint(address, listener)
        if f"tcp://{text}" != address:
            # Either name of it may be used to unbind.
            socket.add_endpoint(f"tcp://{text}", listener)
        return address

    def dial(self, socket: Socket, text: str) -> str:
        """Connect a socket to `host:port`; the address as it was given. Raises ZmqError."""
        host, port = self._place(text)
        if port in ("*", "0"):
            raise ZmqError(Errno.EINVAL, f"tcp://{text}")
        address = f"tcp://{text}"
        dialer = Dialer(socket, socket.options, address, (host, int(port)))
        socket.add_endpoint(address, dialer)
        return address

    # -- stops ---------------------------------------------------------------------------------------------------------

    def pause(self) -> None:
        """Halt the I/O thread: nothing is read, nothing is answered."""
        self.is_paused = True
        for session in self.sessions:
            if session.into is not None:
                session.into.is_stopped = True

    def resume(self) -> None:
        """Let the I/O thread go on."""
        self.is_paused = False
        waiting, self.when_resumed = self.when_resumed, []
        for resume in waiting:
            resume()
        for session in list(self.sessions):
            if session.into is not None:
                session.into.is_stopped = False
                session.into.flow()
            session.pull()

    def crash(self) -> None:
        """The process dies: its connections are closed, and everything in it is lost."""
        for session in self.sessions:
            session.vanish()
        self.sessions.clear()
        listeners = self.network.listeners
        for place in [place for place, listener in listeners.items() if listener.context is self]:
            del listeners[place]
        for socket in self.sockets:
            socket.vanish()
        self.sockets.clear()
        self.endpoints.clear()
        self._pending.clear()

    def close(self, linger: int | None = None) -> None:
        """Close every socket."""
        for socket in list(self.sockets):
            socket.close(linger)
