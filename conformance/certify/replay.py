"""One sequence over TCP: libzmq goes first, and a virtual world must be able to do the same.

Over TCP, what happens depends on who is faster: which of two peers is connected first, say. A virtual world is one
way in which it can go, and its seed says which. So after each operation libzmq has settled when it shows what the
virtual world shows: the outcome, the events of all sockets, and how often each was connected and disconnected. When
it comes to rest in something else, other seeds are tried, with everything from the beginning: only if none of them
leads through all that was seen so far, the two differ.

Marks are left at their defaults here: how much fits into the buffers of a connection is nobody's promise.
"""

import random
import socket as plain
import time
from collections.abc import Callable, Sequence
from typing import Any, Final

import zmq
from zmq.utils.monitor import recv_monitor_message

from conformance.certify.compare import Divergence
from conformance.certify.operations import Operation
from conformance.certify.worlds import Handle, RealHandle, RealWorld, VirtualHandle, VirtualWorld, agree
from simulator.kernel import Kernel
from simulator.network import Network, Wire
from simulator.sockets import LibraryAborts, Socket

#: Set on every socket: short times, and nothing that a context would wait for in the end.
_OPTIONS: Final = {"RECONNECT_IVL": 5, "LINGER": 0}
#: Virtual nanoseconds in which a virtual world comes to rest: so often, so long.
_TURNS: Final = 4
_TURN: Final = 60_000_000
#: Before that, the application comes by so often, in quick succession.
_GLANCES: Final = 12
#: Seconds: libzmq is at rest if nothing changed for so long, and has had its time after so long.
_REST: Final = 0.05
_PATIENCE: Final = 1.5
#: All times are so much longer when something that was found is looked at again.
_LONGER: Final = 5.0
#: Seconds for which libzmq must show what is expected: what nobody sees, such as a subscription, needs its time too.
_QUIET: Final = 0.0005
_QUIET_AFTER: Final = {
    **dict.fromkeys(("bind", "connect", "unbind", "close", "disconnect"), 0.004), "set": 0.002,
}  # fmt: skip
#: Seeds that are tried before something counts as impossible.
_SEEDS: Final = 60
#: Messages that a connection holds, in the first seeds all of them alike; after that, each what chance says.
_CAPACITIES: Final = (256, 1, 2, 3)
#: What is counted of a monitor.
_COUNTED: Final = ("HANDSHAKE_SUCCEEDED", "DISCONNECTED")
_WATCHED: Final = (zmq.EVENT_HANDSHAKE_SUCCEEDED, zmq.EVENT_DISCONNECTED)
#: Ports that the system gives to nobody of its own accord: who connects to one of those may be connected to itself.
_PORTS: Final = range(20_000, 32_000)

#: Events of each socket, and how often each was connected and disconnected.
State = tuple[dict[int, int], dict[int, tuple[int, ...]]]


class UnevenNetwork(Network):
    """A network of which every connection holds another number of messages."""

    def __init__(self, kernel: Kernel, chance: random.Random) -> None:
        super().__init__(kernel)
        self._chance = chance

    def wire(self, source: str, target: str, name: tuple[str, str], take: Callable[[Any], bool]) -> Wire:
        """A new wire, of a capacity that chance says."""
        self.wire_capacity = self._chance.choice(_CAPACITIES)
        return super().wire(source, target, name, take)


def _uneven(seed: int) -> Callable[[Kernel], Network]:
    return lambda kernel: UnevenNetwork(kernel, random.Random(seed))


class VirtualNet(VirtualWorld):
    """Virtual sockets that meet over TCP; the seed decides who is faster."""

    def __init__(self, seed: int, kinds: "dict[str, type[Socket]] | None" = None) -> None:
        # How much of a burst was sent when a connection is lost; the rest is sent over the next one.
        row = seed // 8
        super().__init__(kinds, seed=seed, network=Network if row < len(_CAPACITIES) else _uneven(seed))
        if row < len(_CAPACITIES):
            self.context.network.wire_capacity = _CAPACITIES[row]
        #: How often the application comes by at first.
        self._glance = 20_000 << seed % 8
        # Attempts to connect are spread by chance already.
        self.context.network.link("localhost", "localhost", jitter=0 if not seed else 100_000)

    def open(self, kind: str) -> Handle:
        """A new socket."""
        handle = super().open(kind)
        for name, value in _OPTIONS.items():
            handle.set(name, value)
        assert isinstance(handle, VirtualHandle)
        handle.socket.monitor()
        return handle

    def address(self, name: str) -> str:
        """The address for which a name stands."""
        return f"tcp://localhost:{1 + int(name.rpartition('-')[2])}"

    def rest(self) -> State:
        """Let everything happen that will; what is to be seen then."""
        for turn in range(_GLANCES + _TURNS):
            self.kernel.run(self.kernel.now + (self._glance if turn < _GLANCES else _TURN))
            self.events()
        counts = {}
        for number, handle in sorted(self.sockets.items()):
            assert isinstance(handle, VirtualHandle)
            names = handle.socket.monitor().names
            counts[number] = tuple(names.count(name) for name in _COUNTED)
        return self.events(), counts


class RealNet(RealWorld):
    """Sockets of libzmq that meet over TCP, on loopback."""

    def __init__(self) -> None:
        super().__init__()
        self._ports: dict[str, int] = {}
        self._monitors: dict[int, zmq.Socket[bytes]] = {}
        self._counts: dict[int, list[int]] = {}
        # The I/O thread waits for whoever listens to a monitor, and waits for ever if that one is gone.
        self._kept: list[zmq.Socket[bytes]] = []

    def perform(self, operation: Operation) -> object:
        """Carry out an operation; a socket that is opened is watched from the beginning."""
        outcome = super().perform(operation)
        number = operation.socket
        if operation.name == "open":
            handle = self.sockets[number]
            assert isinstance(handle, RealHandle)
            for name, value in _OPTIONS.items():
                handle.set(name, value)
            monitor = self._monitors[number] = handle.zsocket.get_monitor_socket(sum(_WATCHED))
            self._kept.append(monitor)
            self._counts[number] = [0] * len(_COUNTED)
        return outcome

    def address(self, name: str) -> str:
        """The address for which a name stands: a port that nobody uses."""
        if name not in self._ports:
            self._ports[name] = _free_port()
        return f"tcp://127.0.0.1:{self._ports[name]}"

    def close(self) -> None:
        """Close everything."""
        for handle in self.sockets.values():
            assert isinstance(handle, RealHandle)
            handle.zsocket.disable_monitor()
        super().close()

    def look(self) -> State:
        """What is to be seen now."""
        events = self.events()
        for number, monitor in self._monitors.items():
            while number in self.sockets and int(monitor.getsockopt(zmq.EVENTS)) & zmq.POLLIN:
                event = recv_monitor_message(monitor)["event"]
                self._counts[number][_WATCHED.index(event)] += 1
        return events, {number: tuple(self._counts[number]) for number in sorted(self.sockets)}


def _free_port() -> int:
    start = time.monotonic_ns() // 1000
    for offset in range(len(_PORTS)):
        port = _PORTS[(start + offset) % len(_PORTS)]
        with plain.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise OSError("no port is free")


class Guide:
    """The virtual side: a world that could have done all that was seen, or none if there is no such world."""

    def __init__(self, kinds: "dict[str, type[Socket]] | None" = None) -> None:
        self._kinds = kinds
        self.world = VirtualNet(0, kinds)
        #: Operations so far, with what libzmq made of each: outcome and state.
        self._history: list[tuple[Operation, Any, State]] = []
        self.known: dict[bytes, bytes] = {}

    def perform(self, operation: Operation) -> tuple[Any, State]:
        """What this world makes of the next operation."""
        return self.world.perform(operation), self.world.rest()

    def accept(self, operation: Operation, outcome: Any, state: State) -> None:
        """That is what libzmq made of it, and this world too."""
        self._history.append((operation, outcome, state))

    def finds(self, operation: Operation, outcome: Any, state: State | None) -> bool:
        """Whether another seed leads through all that was seen, and to this; if so, that world is taken."""
        for seed in range(1, _SEEDS + 1):
            world = VirtualNet(seed, self._kinds)
            known: dict[bytes, bytes] = {}
            steps = [*self._history, (operation, outcome, state)]
            if all(_follows(world, *step, known) for step in steps):
                self.world, self.known = world, known
                return True
        return False


def _follows(
    world: VirtualNet, operation: Operation, outcome: Any, state: State | None, known: dict[bytes, bytes]
) -> bool:
    try:
        virtual = world.perform(operation)
        rest = world.rest()
    except LibraryAborts:
        return False
    return agree(outcome, virtual, known) and state in (None, rest)


def replay(
    operations: Sequence[Operation], kinds: "dict[str, type[Socket]] | None" = None, *, is_patient: bool = True
) -> Divergence | None:
    """Carry out a sequence over TCP; the first thing that no virtual world could have done, or None.

    What is found is looked at once more with longer times, if `is_patient`: a machine that is busy is no difference.
    """
    found = _replay(operations, kinds, 1.0)
    return _replay(operations, kinds, _LONGER) if found is not None and is_patient else found


def _replay(
    operations: Sequence[Operation], kinds: "dict[str, type[Socket]] | None", scale: float
) -> Divergence | None:
    real, guide = RealNet(), Guide(kinds)
    try:
        for index, operation in enumerate(operations):
            try:
                expected, state = guide.perform(operation)
            except LibraryAborts:
                return None
            outcome = _perform(real, operation, expected, scale)
            if not agree(outcome, expected, guide.known):
                if not guide.finds(operation, outcome, None):
                    return Divergence(index, "outcome", outcome, expected)
                state = guide.world.rest()
            found = _settle(real, guide, operation, outcome, state, scale)
            if found is not None:
                return Divergence(index, "state", found, state)
    finally:
        real.close()
    return None


def _perform(real: RealNet, operation: Operation, expected: Any, scale: float) -> Any:
    """Carry out an operation; where more is expected than is there yet, wait for it."""
    outcome = real.perform(operation)
    deadline = time.monotonic() + _PATIENCE * scale
    if operation.name == "recv" and isinstance(expected, tuple):
        while outcome == "EAGAIN" and time.monotonic() < deadline:
            time.sleep(0.0005)
            outcome = real.perform(operation)
    elif operation.name == "drain" and isinstance(expected, list):
        while isinstance(outcome, list) and len(outcome) < len(expected) and time.monotonic() < deadline:
            time.sleep(0.0005)
            more = real.perform(operation)
            assert isinstance(more, list)
            outcome = [*outcome[:-1], *more]
    elif operation.name == "bind" and expected is None:
        # A listener that was closed may hold its port for a moment.
        while outcome == "EADDRINUSE" and time.monotonic() < deadline:
            time.sleep(0.0005)
            outcome = real.perform(operation)
    return outcome


def _settle(
    real: RealNet, guide: Guide, operation: Operation, outcome: Any, expected: State, scale: float
) -> State | None:
    """Wait until libzmq shows what a virtual world shows; what it shows instead, or None."""
    quiet = _QUIET_AFTER.get(operation.name, _QUIET) * scale
    started = changed = time.monotonic()
    is_searched = False
    state = real.look()
    while True:
        now = time.monotonic()
        if state == expected and now - changed >= quiet:
            guide.accept(operation, outcome, state)
            return None
        if state != expected and now - changed >= _REST * scale and not is_searched:
            is_searched = True
            if guide.finds(operation, outcome, state):
                guide.accept(operation, outcome, state)
                return None
        if now - started >= _PATIENCE * scale:
            return state
        time.sleep(0.0003)
        before, state = state, real.look()
        if state != before:
            changed = time.monotonic()
            is_searched = False
