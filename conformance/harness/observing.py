"""What the kit's side of a conversation is in every world: raw sockets, and everything that passes is written down.

A `RawSocket` belongs to one scripted party. What arrives is written down first, then handed to a listener or kept for
`recv`. How frames travel and how time passes is for the worlds that are made of this: real sockets that are polled, or
virtual ones.
"""

from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, Generic, Self, TypeVar

from protocol import channels
from protocol.connection import ClientFile, ClusterFile, EngineFile
from protocol.errors import ProtocolError
from protocol.messages import validate
from protocol.patterns import DEFAULT_DIALECT, Dialect, End
from protocol.rules import Vantage
from protocol.wire import Codec, Frame, Message
from protocol.world import Direction, Fact, Observation, Socket

Listener = Callable[[Observation], None]


class Unreachable(Exception):
    """Nobody is connected under the identity to which something was sent; it was neither sent nor written down."""


class RawSocket(ABC):
    """One raw socket of a scripted party."""

    def __init__(self, world: "Observer[Any]", name: str, channel: str, identity: bytes) -> None:
        self.name = name
        self.channel = channel
        self.identity = identity
        self.is_raw = channels.channel(channel).framing == "raw"
        self.party = name.partition("/")[0]
        #: What others subscribed to here, for an XPUB; it is nothing that a party says to another.
        self.subscriptions: list[bytes] = []
        self.listener: Listener | None = None
        self.inbox: deque[Observation] = deque()
        self._world = world

    @property
    @abstractmethod
    def is_closed(self) -> bool:
        """Whether it was closed; a closed socket neither sends nor receives."""

    @property
    @abstractmethod
    def is_met(self) -> bool:
        """Whether the other end knows it, so that what is addressed to it is not lost: an engine's end of a queue."""

    @abstractmethod
    def connect(self, address: str) -> None:
        """Connect it to one more address."""

    @abstractmethod
    def shut(self) -> None:
        """Close what is below, with nothing left under way."""

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
        self.shut()

    def hear(self, frames: tuple[Frame, ...]) -> None:
        """Write down what has arrived, and hand it over; what an XPUB is told is only remembered."""
        seen = self._world.received(self, frames)
        if self.listener is not None:
            self.listener(seen)
        else:
            self.inbox.append(seen)

    def told(self, request: Frame) -> None:
        """Take in what an XPUB is told: 1 or 0 and a prefix, for a subscription that begins or ends."""
        prefix = bytes(request[1:])
        if request[:1] == b"\x01":
            self.subscriptions.append(prefix)
        elif prefix in self.subscriptions:
            self.subscriptions.remove(prefix)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.name}>"


S = TypeVar("S", bound=RawSocket)


class Observer(ABC, Generic[S]):
    """All sockets of one party of the kit, or of several, and what was seen on them; `vantages` says from where."""

    vantages: tuple[Vantage, ...] = ("peer",)

    def __init__(self, codec: Codec, *, dialect: Dialect = DEFAULT_DIALECT) -> None:
        self.dialect: Dialect = dialect
        #: Without replay memory: that a peer repeats itself is for the rules to see.
        self.codec = codec
        self.observations: list[Observation | Fact] = []
        self._names: dict[str, int] = {}

    @property
    @abstractmethod
    def now(self) -> int:
        """Nanoseconds of this world's clock."""

    @abstractmethod
    def run_until(self, predicate: Callable[[], bool], deadline: int) -> bool:
        """Let time pass until the predicate holds (True) or the deadline has passed (its last value)."""

    @abstractmethod
    def every(self, period: int, callback: Callable[[], None]) -> Callable[[], None]:
        """Call back every `period` nanoseconds while the world is pumped; the result stops it."""

    @abstractmethod
    def make(
        self, kind: str, name: str, channel: str, identity: bytes, options: Sequence[tuple[str, int | bytes]]
    ) -> S:
        """A socket of this ZeroMQ type with nobody at its other end yet, which drops nothing for want of room."""

    @abstractmethod
    def place(self, socket: S, interface: str, port: int) -> int:
        """Bind a socket to a port of a tcp interface, 0 for any that is free, and give the port."""

    @abstractmethod
    def adopt(self, socket: S) -> None:
        """Note that a socket is open, and hear what arrives on it from now on."""

    @abstractmethod
    def transmit(self, socket: S, frames: Sequence[Frame]) -> None:
        """Send frames."""

    @abstractmethod
    def close(self) -> None:
        """Close every socket. May be called twice."""

    # -- sockets -----------------------------------------------------------------------------------------------------

    def name(self, party: str, channel: str) -> str:
        """The name of one more socket of a party: order is told per socket, so a second one needs another name."""
        name = f"{party}/{channel}"
        count = self._names[name] = self._names.get(name, 0) + 1
        return name if count == 1 else f"{name}#{count}"

    def connect(
        self,
        kind: str,
        addresses: Sequence[str],
        *,
        channel: str,
        party: str,
        identity: bytes = b"",
        options: Sequence[tuple[str, int | bytes]] = (),
    ) -> S:
        """A socket of this ZeroMQ type, connected to these addresses, and listed as one of this channel.

        For what `open` cannot express: one socket with several connections, or a type that the channel does not have.
        """
        socket = self.make(kind, self.name(party, channel), channel, identity, options)
        for address in addresses:
            socket.connect(address)
        self.adopt(socket)
        return socket

    def bind(
        self,
        kind: str,
        interface: str,
        *,
        channel: str,
        party: str,
        identity: bytes = b"",
        options: Sequence[tuple[str, int | bytes]] = (),
        port: int = 0,
    ) -> tuple[S, int]:
        """A socket of this ZeroMQ type on a port of a tcp interface, 0 for any that is free; and the port.

        A port that was just given back is waited for. Sending to an identity that nobody connected with raises
        `Unreachable`.
        """
        mandatory = (("ROUTER_MANDATORY", 1),) if kind == "ROUTER" else ()
        socket = self.make(kind, self.name(party, channel), channel, identity, (*options, *mandatory))
        bound = self.place(socket, interface, port)
        self.adopt(socket)
        return socket, bound

    def listen(self, socket: Socket, callback: Listener) -> None:
        """Hand what arrives on a socket to a callback of the pump, at once, instead of keeping it for `recv`.

        What was kept before is handed over now.
        """
        assert isinstance(socket, RawSocket)
        socket.listener = callback
        while socket.inbox:
            callback(socket.inbox.popleft())

    def send(self, socket: S, frames: Sequence[Frame], message: Message | None, why: str | None) -> None:
        """Send frames and write them down; sockets use this.

        What was damaged on purpose is written down as its receiver may read it: as a message, or with the reason why
        it is none.
        """
        error = None
        if message is None:
            message, error = self._read(socket, frames)
        self.transmit(socket, frames)
        self._observe(socket, "sent", tuple(frames), message, error, why)

    def forget(self, socket: S) -> None:
        """Note that a socket is about to be closed; sockets use this."""
        if not socket.is_closed:
            self.note(socket.party, "socket-closed", socket=socket.name)

    def after(self, delay: int, callback: Callable[[], None]) -> Callable[[], None]:
        """Call back once, when `delay` nanoseconds have passed and the world is pumped; the result cancels it."""

        def once() -> None:
            stop()
            callback()

        stop = self.every(delay, once)
        return stop

    # -- what is written down ----------------------------------------------------------------------------------------

    def note(self, observer: str, name: str, **data: object) -> None:
        """Record a fact among the observations."""
        self.observations.append(
            Fact(seq=len(self.observations), now=self.now, observer=observer, name=name, data=data)
        )

    def received(self, socket: S, frames: tuple[Frame, ...]) -> Observation:
        """Write down what has arrived; sockets use this."""
        message, error = self._read(socket, frames)
        return self._observe(socket, "received", frames, message, error)

    def _read(self, socket: S, frames: Sequence[Frame]) -> tuple[Message | None, ProtocolError | None]:
        if socket.is_raw:
            return None, None
        try:
            return self.codec.open(frames), None
        except ProtocolError as refused:
            return None, refused

    def _observe(
        self,
        socket: S,
        direction: Direction,
        frames: tuple[Frame, ...],
        message: Message | None,
        error: ProtocolError | None,
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

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class Visitor(Observer[S]):
    """What an observer also is if its parties meet a running controller; `client` and `engine` are its files."""

    client: ClientFile
    engine: EngineFile

    def open(self, channel: str, *, party: str, identity: bytes = b"", end: str = "", index: int = 0) -> S:
        """A socket of the right type, connected where the channel says; `party` names who holds it.

        `end` names the role whose end it is: without it, the client's, or the only role that connects. `index` chooses
        the leaf of the broadcast tree for an engine. Subscribers hear everything. Raises KeyError for an unknown
        channel, and for an end that does not connect to an address of the connection files.
        """
        plan, addresses = self.plan(channel, end)
        return self.connect(
            plan.socket, [addresses[index]], channel=channel, party=party, identity=identity, options=plan.options
        )

    def plan(self, channel: str, end: str) -> tuple[End, tuple[str, ...]]:
        """The end of a channel, and the addresses to which it connects. Raises KeyError as `open` does."""
        row = channels.channel(channel)
        connecting = {each.role for each in row.ends if each.attach == "connect" and self.dialect in each.dialects}
        role = end or ("client" if "client" in connecting or len(connecting) != 1 else next(iter(connecting)))
        plan = row.end(role, self.dialect)
        files: dict[str, ClusterFile] = {"client file": self.client, "engine file": self.engine}
        if plan.attach != "connect" or plan.address.source not in files:
            raise KeyError(f"the {role}'s end of {channel} does not connect to an address of the connection files")
        return plan, files[plan.address.source].addresses(plan.address.key)


__all__ = ["Listener", "Observer", "RawSocket", "Unreachable", "Visitor"]
