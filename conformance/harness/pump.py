"""The pump of real sockets: one context, one thread, no event loop, and everything that passes is written down.

Every wait polls all sockets, so that hearts beat and every arrival is seen at the moment at which libzmq hands it over,
whoever it is that a case waits for. What arrives is written down first, then handed to a listener or kept for `recv`.

Sending never waits and nothing is ever dropped on our side: the high-water marks are 0. LINGER is 0 when a socket is
closed, so a message that must arrive needs an answer before its sender is closed.

The pump watches itself. It polls in slices of at most `SLICE`; whenever two looks at the sockets lie further apart than
that, the machine or the case held it up, and `longest_stall` tells: what the target did or failed to do in such a time
says nothing about the target.
"""

import heapq
import itertools
import time
from collections import deque
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Final, Self

import zmq

from protocol import channels
from protocol.errors import ProtocolError
from protocol.messages import validate
from protocol.patterns import DEFAULT_DIALECT, Dialect
from protocol.wire import Codec, Frame, Message
from protocol.world import MILLISECOND, Direction, Fact, Observation, Socket

#: The longest that one poll may last; shorter slices make stalls visible, and cost nothing at this length.
SLICE: Final = 20 * MILLISECOND
#: Gaps in pumping that are not worth remembering.
NEGLIGIBLE: Final = 20 * MILLISECOND
#: Messages taken from one socket before the others get their turn.
BATCH: Final = 100

Listener = Callable[[Observation], None]


class Unreachable(Exception):
    """Nobody is connected under the identity to which something was sent; it was neither sent nor written down."""


class RealSocket:
    """One raw socket of a scripted party."""

    def __init__(self, world: "Pump", zsocket: "zmq.Socket[bytes]", name: str, channel: str, identity: bytes) -> None:
        self.name = name
        self.channel = channel
        self.identity = identity
        self.is_raw = channels.channel(channel).framing == "raw"
        self.party = name.partition("/")[0]
        self.zsocket = zsocket
        #: What others subscribed to here, for an XPUB; it is nothing that a party says to another.
        self.subscriptions: list[bytes] = []
        self.listener: Listener | None = None
        self.inbox: deque[Observation] = deque()
        self._world = world

    @property
    def is_closed(self) -> bool:
        """Whether it was closed; a closed socket neither sends nor receives."""
        return self.zsocket.closed

    def send(self, message: Message) -> None:
        """Send a valid message. Raises LocalProtocolError: a mistake of ours is never blamed on the peer."""
        validate(message, self.channel, self._world.dialect, local=True)
        self._world.send(self, self._world.codec.encode(message), message, None)

    def send_raw(self, frames: Sequence[Frame], why: str) -> None:
        """Send frames as they are: damage on purpose, or raw by design; `why` goes into the report."""
        self._world.send(self, frames, None, why)

    def recv(self, deadline: int) -> Observation | None:
        """The next thing that arrives before the deadline (on the world's clock), or None.

        Something that is already there is returned even when the deadline has passed.
        """
        self._world.run_until(lambda: bool(self.inbox), deadline)
        return self.inbox.popleft() if self.inbox else None

    def close(self) -> None:
        """Close the socket and drop what it still held."""
        self._world.forget(self)
        self.inbox.clear()
        self.zsocket.close(linger=0)

    def __repr__(self) -> str:
        return f"<RealSocket {self.name}>"


class Pump:
    """All sockets of one party of the kit, or of several, and their common clock.

    The clock begins at 0 when the pump is made, and is monotonic.
    """

    def __init__(self, codec: Codec, *, dialect: Dialect = DEFAULT_DIALECT) -> None:
        self.dialect: Dialect = dialect
        #: Without replay memory: that a peer repeats itself is for the rules to see.
        self.codec = codec
        self.observations: list[Observation | Fact] = []
        self._epoch = time.monotonic_ns()
        self._context = zmq.Context()
        self._poller = zmq.Poller()
        self._sockets: dict[zmq.Socket[bytes], RealSocket] = {}
        self._names: dict[str, int] = {}
        self._timers: list[tuple[int, int, Callable[[], None]]] = []
        self._order = itertools.count()
        self._looked = self.now
        self._stalls: list[tuple[int, int]] = []

    @property
    def now(self) -> int:
        """Nanoseconds since this world was made."""
        return time.monotonic_ns() - self._epoch

    # -- sockets -----------------------------------------------------------------------------------------------------

    def connect(
        self,
        kind: str,
        addresses: Sequence[str],
        *,
        channel: str,
        party: str,
        identity: bytes = b"",
        options: Sequence[tuple[str, int | bytes]] = (),
    ) -> RealSocket:
        """A socket of this ZeroMQ type, connected to these addresses, and listed as one of this channel.

        For what `open` cannot express: one socket with several connections, or a type that the channel does not have.
        """
        zsocket = self._make(kind, identity, options)
        for address in addresses:
            zsocket.connect(address)
        return self._adopt(zsocket, channel, party, identity)

    def bind(
        self,
        kind: str,
        interface: str,
        *,
        channel: str,
        party: str,
        identity: bytes = b"",
        options: Sequence[tuple[str, int | bytes]] = (),
    ) -> tuple[RealSocket, int]:
        """A socket of this ZeroMQ type on a free port of a tcp interface, and the port.

        Sending to an identity that nobody connected with raises `Unreachable`.
        """
        zsocket = self._make(kind, identity, options)
        if kind == "ROUTER":
            zsocket.setsockopt(zmq.ROUTER_MANDATORY, 1)
        port = zsocket.bind_to_random_port(interface)
        return self._adopt(zsocket, channel, party, identity), port

    def _make(self, kind: str, identity: bytes, options: Sequence[tuple[str, int | bytes]]) -> "zmq.Socket[bytes]":
        zsocket = self._context.socket(getattr(zmq, kind))
        zsocket.linger = 0
        zsocket.set_hwm(0)
        if identity:
            zsocket.routing_id = identity
        for option, value in options:
            zsocket.setsockopt(getattr(zmq, option), value)
        return zsocket

    def _adopt(self, zsocket: "zmq.Socket[bytes]", channel: str, party: str, identity: bytes) -> RealSocket:
        name = f"{party}/{channel}"
        count = self._names[name] = self._names.get(name, 0) + 1
        # Order is told per socket, so a second socket of the same party and channel needs another name.
        socket = RealSocket(self, zsocket, name if count == 1 else f"{name}#{count}", channel, identity)
        self._sockets[zsocket] = socket
        self._poller.register(zsocket, zmq.POLLIN)
        self.note(party, "socket-opened", socket=socket.name)
        return socket

    def listen(self, socket: Socket, callback: Listener) -> None:
        """Hand what arrives on a socket to a callback of the pump, at once, instead of keeping it for `recv`.

        What was kept before is handed over now.
        """
        assert isinstance(socket, RealSocket)
        socket.listener = callback
        while socket.inbox:
            callback(socket.inbox.popleft())

    def send(self, socket: RealSocket, frames: Sequence[Frame], message: Message | None, why: str | None) -> None:
        """Send frames and write them down; sockets use this. Raises Unreachable, see `bind`.

        What was damaged on purpose is written down as its receiver may read it: as a message, or with the reason why
        it is none.
        """
        error = None
        if message is None:
            message, error = self._read(socket, frames)
        try:
            socket.zsocket.send_multipart(frames, zmq.NOBLOCK)
        except zmq.ZMQError as refused:
            if refused.errno != zmq.EHOSTUNREACH:
                raise
            raise Unreachable(f"nobody is connected to {socket.name} as {bytes(frames[0])!r}") from None
        self._observe(socket, "sent", tuple(frames), message=message, error=error, why=why)

    def forget(self, socket: RealSocket) -> None:
        """Stop polling a socket that is about to be closed; sockets use this."""
        if self._sockets.pop(socket.zsocket, None) is not None:
            self._poller.unregister(socket.zsocket)
            self.note(socket.party, "socket-closed", socket=socket.name)

    # -- time ----------------------------------------------------------------------------------------------------------

    def run_until(self, predicate: Callable[[], bool], deadline: int) -> bool:
        """Pump until the predicate holds (True) or the deadline has passed (its last value).

        The sockets are looked at once even when the deadline has passed already.
        """
        self._pump(0)
        while not predicate():
            left = deadline - self.now
            if left <= 0:
                return predicate()
            self._pump(left)
        return True

    def every(self, period: int, callback: Callable[[], None]) -> Callable[[], None]:
        """Call back every `period` nanoseconds while the world is pumped; the result stops it.

        Beats that were missed while nobody pumped are not made up for.
        """
        is_stopped = False
        due = self.now + period

        def stop() -> None:
            nonlocal is_stopped
            is_stopped = True

        def beat() -> None:
            nonlocal due
            if is_stopped:
                return
            callback()
            if not is_stopped:
                due = max(due + period, self.now)
                self._at(due, beat)

        self._at(due, beat)
        return stop

    def after(self, delay: int, callback: Callable[[], None]) -> Callable[[], None]:
        """Call back once, when `delay` nanoseconds have passed and the world is pumped; the result cancels it."""

        def once() -> None:
            stop()
            callback()

        stop = self.every(delay, once)
        return stop

    def note(self, observer: str, name: str, **data: object) -> None:
        """Record a fact among the observations."""
        self.observations.append(
            Fact(seq=len(self.observations), now=self.now, observer=observer, name=name, data=data)
        )

    def longest_stall(self, since: int) -> int:
        """The longest time, in nanoseconds, in which nobody looked at the sockets, of all that ended after `since`.

        Time spent waiting in a poll is no stall. The time since the last look counts, so that a case that computed for
        long sees it, too.
        """
        gaps = [end - max(start, since) for start, end in reversed(self._stalls) if end > since]
        gaps.append(self.now - max(self._looked, since))
        longest = max(gaps)
        return longest if longest > NEGLIGIBLE else 0

    def _at(self, due: int, callback: Callable[[], None]) -> None:
        heapq.heappush(self._timers, (due, next(self._order), callback))

    def _pump(self, longest: int) -> None:
        """One look at everything, waiting for at most `longest` nanoseconds."""
        self._run_timers()
        wait = min(longest, SLICE)
        if self._timers:
            wait = min(wait, max(0, self._timers[0][0] - self.now))
        self._look()
        # Rounded up: a poll that ends just before the deadline would only be repeated.
        ready = self._poller.poll(-(-wait // MILLISECOND))
        self._look(wait)
        for zsocket, _ in ready:
            socket = self._sockets.get(zsocket)
            if socket is not None:
                self._receive(socket)
        self._run_timers()

    def _look(self, allowed: int = 0) -> None:
        now = self.now
        if now - self._looked - allowed > NEGLIGIBLE:
            self._stalls.append((self._looked + allowed, now))
            self.note("kit", "stalled", ns=now - self._looked - allowed)
        self._looked = now

    def _run_timers(self) -> None:
        while self._timers and self._timers[0][0] <= self.now:
            heapq.heappop(self._timers)[2]()

    # -- arrivals ------------------------------------------------------------------------------------------------------

    def _receive(self, socket: RealSocket) -> None:
        for _ in range(BATCH):
            # A listener may have closed it.
            if socket.is_closed:
                return
            try:
                frames = tuple(socket.zsocket.recv_multipart(zmq.NOBLOCK))
            except zmq.Again:
                return
            if socket.zsocket.type == zmq.XPUB:
                self._subscribe(socket, frames[0])
                continue
            message, error = self._read(socket, frames)
            seen = self._observe(socket, "received", frames, message=message, error=error)
            if socket.listener is not None:
                socket.listener(seen)
            else:
                socket.inbox.append(seen)

    @staticmethod
    def _subscribe(socket: RealSocket, request: bytes) -> None:
        """Take in what an XPUB is told: 1 or 0 and a prefix, for a subscription that begins or ends."""
        prefix = bytes(request[1:])
        if request[:1] == b"\x01":
            socket.subscriptions.append(prefix)
        elif prefix in socket.subscriptions:
            socket.subscriptions.remove(prefix)

    def _read(self, socket: RealSocket, frames: Sequence[Frame]) -> tuple[Message | None, ProtocolError | None]:
        if socket.is_raw:
            return None, None
        try:
            return self.codec.open(frames), None
        except ProtocolError as refused:
            return None, refused

    def _observe(
        self,
        socket: RealSocket,
        direction: Direction,
        frames: tuple[Frame, ...],
        *,
        message: Message | None,
        error: ProtocolError | None = None,
        why: str | None = None,
    ) -> Observation:
        seen = Observation(
            seq=len(self.observations),
            now=self.now,
            observer=socket.party,
            socket=socket.name,
            channel=socket.channel,
            direction=direction,
            peer="the target",
            frames=frames,
            message=message,
            error=error,
            why=why,
        )
        self.observations.append(seen)
        return seen

    # -- the end -------------------------------------------------------------------------------------------------------

    def close(self) -> None:
        """Close every socket, forget every timer, and end the context. May be called twice."""
        for socket in list(self._sockets.values()):
            socket.close()
        self._timers.clear()
        self._context.term()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()
