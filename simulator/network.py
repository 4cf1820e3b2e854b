"""Hosts, the links between them, and the TCP connections that run over those.

A `Link` is one direction between two hosts (or within one): latency, jitter, loss, bandwidth, cut or not. A `Wire` is
one direction of a connection. What TCP promises holds here: nothing is lost, doubled or reordered while the
connection lives. A lost packet comes late, and all behind it wait; what meets a partition waits until that is healed,
and nobody is told. Who wants a network that breaks these promises sets `Network.tap`.

A wire holds `wire_capacity` messages: what the buffers of both kernels hold when the receiver does not read. Then the
sender's own queue fills.
"""

from collections import deque
from collections.abc import Callable, Sequence
from heapq import heappush
from typing import TYPE_CHECKING, Any, Final

from simulator.kernel import Kernel

if TYPE_CHECKING:
    from simulator.sockets.tcp import Listener

#: The first time-out of a lost packet, in nanoseconds; each further one takes twice as long.
RETRANSMIT: Final = 200_000_000
#: Messages that the buffers of a connection hold.
WIRE_CAPACITY: Final = 256
#: Ports that are given to those who ask for any.
EPHEMERAL: Final = 49152
#: Bytes that go with each message when bandwidth is counted.
OVERHEAD: Final = 60


#: `(wire, message) -> [(extra delay in ns, message), ...]`
Tap = Callable[["Wire", tuple[bytes, ...]], Sequence[tuple[int, tuple[bytes, ...]]]]


def size_of(message: tuple[Any, ...]) -> int:
    """The bytes of a message."""
    return sum(map(len, message))


class Link:
    """One direction between two hosts. Times in nanoseconds, loss as a probability, bandwidth in bytes per second."""

    __slots__ = ("_free_at", "bandwidth", "is_cut", "is_plain", "is_shaky", "is_tapped", "jitter", "latency", "loss")

    def __init__(self, latency: int, jitter: int = 0, loss: float = 0.0, bandwidth: int = 0) -> None:
        self.latency = latency
        self.jitter = jitter
        self.loss = loss
        self.bandwidth = bandwidth
        self.is_cut = False
        self.is_tapped = False
        self._free_at = 0
        self.settle()

    def settle(self) -> None:
        """Find out whether nothing but the latency counts, or nothing but latency and jitter."""
        is_simple = not (self.loss or self.bandwidth or self.is_tapped)
        self.is_plain = is_simple and not self.jitter
        self.is_shaky = is_simple and not self.is_plain

    def arrival(self, kernel: Kernel, size: int) -> int:
        """When something of this many bytes arrives that is sent now."""
        t = kernel.now
        if self.bandwidth:
            t = self._free_at = max(t, self._free_at) + size * 1_000_000_000 // self.bandwidth
        t += self.latency
        if self.jitter:
            t += int(kernel.network.random() * self.jitter)
        if self.loss:
            wait = RETRANSMIT
            while kernel.network.random() < self.loss:
                t += wait
                wait *= 2
        return t


class Wire:
    """One direction of a TCP connection: in order, and never more than it can hold.

    `take(item)` of the receiver says whether it took something; if not, it stays here, with all behind it, until
    `flow`.
    """

    __slots__ = (
        *("arrive", "capacity", "held", "in_flight", "is_open", "is_starved", "is_stopped", "kernel", "last", "link"),
        *("name", "network", "on_room", "take"),
    )

    def __init__(self, network: "Network", link: Link, name: tuple[str, str], take: Callable[[Any], bool]) -> None:
        self.network = network
        self.kernel = network.kernel
        self.link = link
        #: The names of the sockets at both ends, sender first.
        self.name = name
        self.take = take
        self.on_room: Callable[[], object] | None = None
        self.capacity = network.wire_capacity
        self.in_flight = 0
        self.last = 0
        self.held: deque[Any] = deque()
        self.is_open = True
        self.is_stopped = False
        #: Whether the sender waits for room.
        self.is_starved = False
        self.arrive: Callable[[Any, Any], None] = self._arrive

    def send(self, item: Any) -> None:
        """Put something onto the wire: a message, or what the connection itself has to say."""
        link = self.link
        kernel = self.kernel
        if link.is_plain:
            t = kernel.now + link.latency
        elif link.is_shaky:
            t = kernel.now + link.latency + int(kernel.network.random() * link.jitter)
        else:
            t = self._departs(item)
            if t < 0:
                return
        if t < self.last:
            t = self.last
        else:
            self.last = t
        self.in_flight += 1
        heappush(kernel.heap, (t, kernel.seq(), self.arrive, item, None))

    def _departs(self, item: Any) -> int:
        size = OVERHEAD
        if item.__class__ is tuple:
            tap = self.network.tap
            if tap is not None:
                return self._tapped(tap, item)
            if self.link.bandwidth:
                size += self.network.weigh(item)
        return self.link.arrival(self.kernel, size)

    def _tapped(self, tap: Tap, item: tuple[bytes, ...]) -> int:
        link = self.link
        for delay, message in tap(self, item):
            t = link.arrival(self.kernel, OVERHEAD + (self.network.weigh(message) if link.bandwidth else 0))
            # What is delayed on purpose is overtaken; the rest stays in order.
            t = self.last = max(t, self.last)
            self.in_flight += 1
            self.kernel.at(t + delay, self.arrive, message)
        return -1

    def _arrive(self, item: Any, _: Any) -> None:
        if self.held or self.is_stopped or self.link.is_cut or not self.is_open:
            if self.is_open:
                self.held.append(item)
            else:
                self._lose(item)
            return
        if self.take(item):
            self.in_flight -= 1
            if self.is_starved:
                self._make_room()
        else:
            self.held.append(item)

    def flow(self, _a: object = None, _b: object = None) -> None:
        """Hand over what was held back, as far as it is taken."""
        held = self.held
        while held and self.is_open and not self.is_stopped and not self.link.is_cut:
            if not self.take(held[0]):
                return
            if held:
                held.popleft()
            self.in_flight -= 1
            if self.is_starved:
                self._make_room()

    def _make_room(self) -> None:
        self.is_starved = False
        if self.on_room is not None:
            self.on_room()

    def close(self) -> None:
        """Nothing arrives any more."""
        self.is_open = False
        self.on_room = None
        while self.held:
            self._lose(self.held.popleft())

    def _lose(self, item: Any) -> None:
        if item.__class__ is tuple and self.network.on_lost is not None:
            self.network.on_lost(self.name, item)


class Network:
    """The hosts and what lies between them. `latency` is that of every link which was not told otherwise."""

    def __init__(self, kernel: Kernel, *, latency: int = 50_000, wire_capacity: int = WIRE_CAPACITY) -> None:
        self.kernel = kernel
        self.latency = latency
        self.wire_capacity = wire_capacity
        self.links: dict[tuple[str, str], Link] = {}
        #: Who listens where: (host, port).
        self.listeners: dict[tuple[str, int], Listener] = {}
        #: The open wires, in the order of making.
        self.wires: list[Wire] = []
        #: Told what a ROUTER drops, since nobody is connected under its first frame: the socket's name, the message.
        self.on_drop: Callable[[str, tuple[Any, ...]], object] | None = None
        #: Told what was sent into a connection of which the other side had let go, or still waited at the side that
        #: listens when the connection ended: the names of its ends, sender first, and the message.
        self.on_lost: Callable[[tuple[str, str], tuple[Any, ...]], object] | None = None
        #: The bytes of a message, which counts where a link is narrow.
        self.weigh: Callable[[tuple[Any, ...]], int] = size_of
        #: Is told of a publisher that has just dropped a message, as there is no room for it at one of its peers.
        self.on_overflow: Callable[[str], object] | None = None
        self._tap: Tap | None = None
        self._ports = EPHEMERAL

    # -- links ---------------------------------------------------------------------------------------------------------

    def between(self, source: str, target: str) -> Link:
        """The link from one host to another."""
        link = self.links.get((source, target))
        if link is None:
            link = self.links[source, target] = Link(self.latency)
            link.is_tapped = self._tap is not None
            link.settle()
        return link

    def link(
        self, source: str, target: str, *, latency: int = -1, jitter: int = 0, loss: float = 0.0, bandwidth: int = 0
    ) -> Link:
        """Say what one direction is like; a latency of -1 stands for the default."""
        link = self.between(source, target)
        link.latency = self.latency if latency < 0 else latency
        link.jitter, link.loss, link.bandwidth = jitter, loss, bandwidth
        link.settle()
        return link

    def join(self, one: str, other: str, **values: Any) -> None:
        """Say what both directions between two hosts are like; the values are those of `link`."""
        self.link(one, other, **values)
        self.link(other, one, **values)

    def partition(self, side: Sequence[str], other: Sequence[str], *, one_way: bool = False) -> None:
        """Let nothing pass from the hosts of one side to those of the other, nor back unless `one_way`."""
        for one in side:
            for two in other:
                self.between(one, two).is_cut = True
                if not one_way:
                    self.between(two, one).is_cut = True

    def heal(self, side: Sequence[str] = (), other: Sequence[str] = ()) -> None:
        """End partitions, between these hosts or all; what waited is sent again."""
        healed = [
            link
            for (one, two), link in self.links.items()
            if link.is_cut and (not side or (one in side and two in other) or (one in other and two in side))
        ]
        for link in healed:
            link.is_cut = False
        for wire in self.wires:
            if wire.held and any(wire.link is link for link in healed):
                self.kernel.after(wire.link.latency, wire.flow)

    @property
    def tap(self) -> Tap | None:
        """What may alter every message on every wire, against all that TCP promises."""
        return self._tap

    @tap.setter
    def tap(self, tap: Tap | None) -> None:
        self._tap = tap
        for link in self.links.values():
            link.is_tapped = tap is not None
            link.settle()

    # -- addresses and connections -------------------------------------------------------------------------------------

    def port(self, host: str) -> int:
        """A port of a host where nobody listens."""
        while (host, self._ports) in self.listeners:
            self._ports += 1
        self._ports += 1
        return self._ports - 1

    def wire(self, source: str, target: str, name: tuple[str, str], take: Callable[[Any], bool]) -> Wire:
        """One direction of a new connection between two hosts."""
        wire = Wire(self, self.between(source, target), name, take)
        self.wires.append(wire)
        return wire

    def unplug(self, wire: Wire) -> None:
        """A wire is of no more use."""
        wire.close()
        if wire in self.wires:
            self.wires.remove(wire)
