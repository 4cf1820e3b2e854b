"""The virtual world as a case meets it: the interface of `realworld`, on virtual sockets and in virtual time.

Time passes only while somebody waits. Nothing of a machine that is busy shows here: the harness never stalls, and what
does not arrive in time was not sent in time. What a case sends is bytes, and what it receives is: messages of roles are
encoded when they reach a case.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Final

from conformance.harness.observing import Observer, RawSocket, Unreachable, Visitor
from conformance.harness.probe import COMPATIBLE, Greeting, ProbeError
from conformance.harness.verdict import OnlyReal
from protocol.connection import ClientFile, EngineFile
from protocol.patterns import DEFAULT_DIALECT, Dialect
from protocol.rules.framework import COPIES
from protocol.wire import Codec, Frame, Message
from protocol.world import MILLISECOND, Observation
from simulator import sockets as virtual
from simulator.engines import start_heart
from simulator.hosts import Process
from simulator.recorder import Frames
from simulator.shell import in_bytes
from simulator.world import World

#: The host of the kit.
HOST: Final = "kit"


class VirtualSocket(RawSocket):
    """One raw socket of a scripted party, in virtual time."""

    def __init__(self, world: "VirtualPump", vsocket: virtual.Socket, name: str, channel: str, identity: bytes) -> None:
        super().__init__(world, name, channel, identity)
        self.vsocket = vsocket

    @property
    def is_closed(self) -> bool:
        """Whether it was closed."""
        return self.vsocket.is_closed

    @property
    def is_met(self) -> bool:
        """Always: a connection takes less time here than a registration."""
        return True

    def connect(self, address: str) -> None:
        """Connect it to one more address."""
        self.vsocket.connect(address)

    def shut(self) -> None:
        """Close it without lingering."""
        self.vsocket.close(linger=0)


class VirtualPump(Observer[VirtualSocket]):
    """All sockets of the kit in a virtual world: one process on a host of its own."""

    def __init__(self, world: World, codec: Codec, *, dialect: Dialect = DEFAULT_DIALECT) -> None:
        super().__init__(codec, dialect=dialect)
        self.world = world
        self._kernel: Final = world.kernel
        #: Grows whenever the kit has seen or done something.
        self._changes = 0
        self._process = world.process("kit", HOST)

    @property
    def now(self) -> int:
        """Nanoseconds of virtual time."""
        return self._kernel.now

    # -- sockets -----------------------------------------------------------------------------------------------------

    def make(
        self, kind: str, name: str, channel: str, identity: bytes, options: Sequence[tuple[str, int | bytes]]
    ) -> VirtualSocket:
        """A socket of this ZeroMQ type without high-water marks, which does not linger."""
        vsocket = self._process.context.socket(kind, name=f"{self._process.name}:{name}")
        for option, value in (("LINGER", 0), ("SNDHWM", 0), ("RCVHWM", 0), *options):
            vsocket.set(option, value)
        if identity:
            vsocket.set("ROUTING_ID", identity)
        return VirtualSocket(self, vsocket, name, channel, identity)

    def place(self, socket: VirtualSocket, interface: str, port: int) -> int:
        """Bind a socket to a port of a tcp interface; for one that was just given back it waits."""
        if port:
            # Sockets that were closed let go of their ports a moment later.
            self.run_until(lambda: False, self.now + MILLISECOND)
        socket.vsocket.bind(f"{interface}:{port or '*'}")
        return int(socket.vsocket.last_endpoint.rpartition(":")[2])

    def adopt(self, socket: VirtualSocket) -> None:
        """Note that a socket is open, and take what arrives on it from now on."""
        socket.vsocket.watch(lambda: self._receive(socket))
        self.note(socket.party, "socket-opened", socket=socket.name)
        # Who never found a socket empty is not told when something comes.
        self._receive(socket)

    def transmit(self, socket: VirtualSocket, frames: Sequence[Frame]) -> None:
        """Send frames. Raises Unreachable, see `bind`."""
        if socket.vsocket.send(tuple(map(bytes, frames))) is virtual.Errno.EHOSTUNREACH:
            raise Unreachable(f"nobody is connected to {socket.name} as {bytes(frames[0])!r}")

    def _receive(self, socket: VirtualSocket) -> None:
        # A listener may have closed it.
        while not socket.is_closed:
            load = socket.vsocket.recv()
            if not isinstance(load, tuple):
                return
            self._changes += 1
            frames = in_bytes(load, self.codec)
            if socket.vsocket.KIND == "XPUB":
                socket.told(frames[0])
            else:
                socket.hear(frames)

    # -- time --------------------------------------------------------------------------------------------------------

    def stir(self) -> None:
        """Note that something has happened that is no arrival, so that whoever waits looks again."""
        self._changes += 1

    def run_until(self, predicate: Callable[[], bool], deadline: int) -> bool:
        """Let time pass until the predicate holds (True) or the deadline has passed (its last value).

        The predicate is looked at again when something has arrived, a callback has run, or a process has ended: nothing
        else that happens can be seen from here.
        """
        looked = (-1, -1)

        def holds() -> bool:
            nonlocal looked
            changes = (self._changes, self.world.ends)
            if changes == looked:
                return False
            looked = changes
            return predicate()

        return self._kernel.run_until(holds, deadline)

    def every(self, period: int, callback: Callable[[], None]) -> Callable[[], None]:
        """Call back every `period` nanoseconds; the result stops it."""
        is_stopped = False

        def stop() -> None:
            nonlocal is_stopped
            is_stopped = True

        def beat(_: object, __: object) -> None:
            if not is_stopped:
                self._changes += 1
                callback()
                self._kernel.after(period, beat)

        self._kernel.after(period, beat)
        return stop

    def longest_stall(self, since: int) -> int:  # noqa: ARG002 - nothing is ever late here
        """None: virtual time waits for everybody."""
        return 0

    def attend(self, delays: Callable[[], Mapping[int, int]]) -> None:
        """Nothing: the processes of this world need no processor."""

    def hindered(self, since: int) -> int:  # noqa: ARG002 - nobody is ever kept here
        """None: virtual time waits for everybody."""
        return 0

    def close(self) -> None:
        """Close every socket. May be called twice."""
        self._process.crash()


class VirtualWorld(VirtualPump, Visitor[VirtualSocket]):
    """Where a case meets a virtual controller; `client` and `engine` are its connection files."""

    def __init__(
        self, world: World, client: ClientFile, engine: EngineFile, *, dialect: Dialect = DEFAULT_DIALECT
    ) -> None:
        super().__init__(world, client.codec(), dialect=dialect)
        self.client = client
        self.engine = engine

    def overhear(self, message: Message) -> None:
        """Write down what a queue, a scheduler or the heart monitor publishes to the Hub."""
        seen = Observation(
            seq=len(self.observations), now=self.now, observer="hub", socket=f"hub/{COPIES}", channel=COPIES,
            direction="received", peer="the target", message=message,
            frames=Frames(message.identities, message, self.codec),  # type: ignore[arg-type]
        )  # fmt: skip
        self.observations.append(seen)

    def expect_copies(self) -> None:
        """From now on `overhear` is told of everything."""
        self.vantages = ("peer", "monitor")
        self.note("hub", "overheard", socket=f"hub/{COPIES}")

    def greeting(self, channel: str, *, end: str, index: int = 0) -> Greeting:
        """What the socket to which this end connects says of itself. Raises ProbeError if nobody is there."""
        plan, addresses = self.plan(channel, end)
        host, _, port = addresses[index].removeprefix("tcp://").rpartition(":")
        listener = self.world.network.listeners.get((host, int(port)))
        if listener is None:
            raise ProbeError(f"nobody listens at {addresses[index]}")
        kind = listener.socket.KIND
        return Greeting(
            address=addresses[index],
            version=(3, 1),
            mechanism="NULL",
            socket_type=kind,
            identity=listener.socket.options.routing_id,
            probed_as=plan.socket,
            is_accepted=kind in COMPATIBLE[plan.socket],
        )

    def send_half(self, channel: str, frames: Sequence[Frame]) -> None:
        """Not applicable: what a connection carries here are whole messages, which only faults cut."""
        raise OnlyReal(f"connections to {channel} that end within {len(frames)} frames")

    def start_device_heart(self, identity: bytes) -> "VirtualHeart":
        """A heart that beats by itself; `stop` ends it."""
        return VirtualHeart(self.world, self.engine, identity)


class VirtualHeart:
    """A heart that beats as a device does, whatever the kit is doing; virtual time is all it needs."""

    def __init__(self, world: World, engine: EngineFile, identity: bytes) -> None:
        places = {"ping": engine.address("hb_ping"), "pong": engine.address("hb_pong")}
        self._process: Process = start_heart(world, places, identity, name="kit.heart", host=HOST, is_monitored=False)

    def stop(self) -> None:
        """Stop beating. May be called twice."""
        self._process.crash()
