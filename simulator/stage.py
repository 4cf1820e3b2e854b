"""Where faults happen: what has begun, what is over, and whose messages were touched.

    trouble = cluster.begin(EnginePaused(engine="engine-1"))
    cluster.run_for(3 * SECOND)
    trouble.end()

Every fault that has begun is a `Trouble` until it is healed; `Stage.end_all` heals what is left, in the order in which
it began. A fault that alters messages gives a tap; all taps together are the one tap of the network, and each message
goes through them in turn. Chance follows from the seed and the fault alone, so that one fault more or less leaves the
others what they were.
"""

from collections.abc import Callable, Mapping, Sequence
from random import Random
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from protocol.roles.speech import parent_id
from simulator.network import Tap, Wire
from simulator.shell import Load, message_in
from simulator.strangers import VirtualGround

if TYPE_CHECKING:
    from simulator.clients import VirtualClient
    from simulator.cluster import VirtualCluster
    from simulator.engines import VirtualEngine
    from simulator.faults import Fault
    from simulator.hosts import Process
    from simulator.sockets.tcp import Session
    from simulator.world import World

Heal = Callable[[], object]

NO_ROOM: Final = "network.no-room"
#: What happens to messages and is seldom seen: whether a campaign has seen it.
SEEN: Final[Mapping[str, str]] = {
    NO_ROOM: "A publisher has no room for somebody who does not read: the newest messages are dropped for him.",
}


class _Broken(NamedTuple):
    """A connection that a fault broke: the side that connects, the sockets at both ends, and the identity it had."""

    dialer: "Session"
    ends: tuple[str, str]
    identity: bytes

    def explains(self, socket: str, identity: bytes) -> bool:
        """Whether it is why a socket drops what is for this identity: nobody connected again under it."""
        if socket not in self.ends or identity != self.identity:
            return False
        # A name that a ROUTER made up is given to nobody else.
        is_made_up, dialer = identity[:1] == b"\0", self.dialer
        return is_made_up or (not dialer.is_ready and dialer in dialer.context.sessions)


class Trouble:
    """A fault that has begun. `taken` are the messages that it touched.

    Each is `(time, sender and receiver, type, msg_id, msg_id of the parent)`; heartbeats have neither type nor id.
    """

    def __init__(self, stage: "Stage", fault: "Fault", chance: Random) -> None:
        self.stage = stage
        self.fault = fault
        self._number = -1
        self.chance = chance.random
        self.is_over = False
        #: When it is over by itself, and not before.
        self._until = 0
        self.taken: list[tuple[int, tuple[str, str], str, str, str]] = []
        self._taps: list[Tap] = []
        self._heals: list[Heal] = []
        self._broken: list[_Broken] = []

    @property
    def cluster(self) -> "VirtualCluster":
        """The cluster in which it happens."""
        return self.stage.cluster

    @property
    def world(self) -> "World":
        """Its world."""
        return self.stage.cluster.world

    def engine(self, name: str) -> "VirtualEngine | None":
        """The engine of this name, or None if there is none."""
        return next((engine for engine in self.cluster.engines if engine.name == name), None)

    def client(self, name: str) -> "VirtualClient | None":
        """The client of this name, or None if there is none."""
        return next((client for client in self.cluster.clients if client.name == name), None)

    def process(self, name: str) -> "Process | None":
        """The process of an engine, a client or a part of the controller that lives, or None."""
        member = self.cluster.controller.members.get(name)
        party = member or self.engine(name) or self.client(name)
        return party.process if party is not None and party.process.is_alive else None

    def host(self, name: str) -> str:
        """The host of an engine, a client or a part of the controller."""
        return self.cluster.controller.host if name in self.cluster.controller.members else name

    def ground(self) -> VirtualGround:
        """A place for a stranger."""
        return VirtualGround(self.cluster)

    def when_healed(self, heal: Heal) -> None:
        """Do this when the fault is over."""
        self._heals.append(heal)

    def last(self, nanoseconds: int) -> None:
        """It lasts so long, whenever it is told to end: nobody can help somebody whose interpreter is held up."""
        self._until = self.world.now + nanoseconds

    def tap(self, tap: Tap) -> None:
        """Let every message on every wire go through `tap` until the fault is over."""
        self._taps.append(tap)
        self.stage.add(tap)

    def touch(self, ends: tuple[str, str], load: Load) -> None:
        """Remember that a message was taken or altered: nobody can be blamed for what follows from it."""
        message = message_in(load, self.world.reader)
        named = ("", "", "") if message is None else (message.msg_type, message.msg_id, parent_id(message))
        self.taken.append((self.world.now, ends, *named))
        if self.world.recorder is not None:
            self.world.recorder.touched(
                self._number, load, ends[1], is_altered=self.fault.ALTERS, takes=self.fault.TAKES
            )

    def breaks(self, session: "Session") -> None:
        """A connection is about to break: that is why a ROUTER will drop what is for this peer."""
        far = session.far
        if far is not None and session.out is not None:
            if self.world.recorder is not None:
                for socket in session.out.name:
                    self.world.recorder.missed(socket)
            dialer, accepted = (session, far) if session.is_connecting else (far, session)
            name = accepted.pipe.peer.identity if accepted.pipe is not None else b""
            self._broken.append(_Broken(dialer, session.out.name, dialer.options.routing_id or name))

    def has_broken(self, socket: str, identity: bytes) -> bool:
        """Whether this fault is why nobody is connected to a socket under this identity."""
        return any(each.explains(socket, identity) for each in self._broken)

    def has_cut(self, ends: tuple[str, str]) -> bool:
        """Whether this fault broke a connection between these two sockets."""
        return any(each.ends in (ends, ends[::-1]) for each in self._broken)

    def begin(self) -> None:
        """Let it happen."""
        recorder, fault = self.world.recorder, self.fault
        if recorder is not None:
            self._number = recorder.began(
                repr(fault), is_inside=fault.IS_INSIDE, who=fault.met(), blurs_time=fault.BLURS_TIME
            )
            if fault.FORGETS:
                recorder.forgot.append(recorder.faults[self._number])
        self.stage.tell("began", fault)
        fault.begin(self)

    def end(self) -> None:
        """Heal it, as soon as that can be; what is over already stays so."""
        if self.is_over:
            return
        if self.world.now < self._until:
            self.world.kernel.at(self._until, lambda *_: self.end())
            return
        self.is_over = True
        for tap in self._taps:
            self.stage.remove(tap)
        self.stage.tell("healed", self.fault)
        if self.world.recorder is not None:
            self.world.recorder.ended(self._number)
        for heal in self._heals:
            heal()


class Stage:
    """The faults of one cluster, in the order in which they began."""

    def __init__(self, cluster: "VirtualCluster") -> None:
        self.cluster = cluster
        self.troubles: list[Trouble] = []
        self._taps: list[Tap] = []
        self._counts: dict[str, int] = {}
        cluster.world.network.on_drop = self._dropped
        cluster.world.network.on_lost = self._lost
        cluster.world.network.on_overflow = self._overflowed

    def begin(self, fault: "Fault") -> Trouble:
        """Let a fault begin."""
        text = repr(fault)
        count = self._counts[text] = self._counts.get(text, 0) + 1
        trouble = Trouble(self, fault, Random(f"{self.cluster.world.seed}/{text}/{count}"))
        self.troubles.append(trouble)
        trouble.begin()
        return trouble

    def end_all(self) -> None:
        """Heal whatever is not over."""
        for trouble in self.troubles:
            trouble.end()

    def tell(self, what: str, fault: "Fault") -> None:
        """Write it down."""
        world = self.cluster.world
        if world.trace is not None:
            world.trace.add((world.now, "fault", what, repr(fault)))

    def add(self, tap: Tap) -> None:
        """One more tap."""
        self._taps.append(tap)
        self.cluster.world.network.tap = self._through

    def remove(self, tap: Tap) -> None:
        """One tap less."""
        self._taps.remove(tap)
        self.cluster.world.network.tap = self._through if self._taps else None

    def _dropped(self, socket: str, load: Load) -> None:
        for trouble in reversed(self.troubles):
            if trouble.has_broken(socket, bytes(load[0])):
                trouble.touch((socket, ""), load)
                return
        recorder = self.cluster.world.recorder
        if recorder is not None and not self._is_gone(bytes(load[0])):
            recorder.dropped(socket.partition("/")[0], load)

    def _is_gone(self, identity: bytes) -> bool:
        """Whether this is the identity of an engine that has ended, and not only of one that must connect again."""
        return any(engine.uuid.encode() == identity and not engine.is_alive for engine in self.cluster.engines)

    def _overflowed(self, socket: str) -> None:
        world = self.cluster.world
        world.marks[NO_ROOM] = world.marks.get(NO_ROOM, 0) + 1
        if world.trace is not None:
            world.trace.add((world.now, "network", "overflow", socket))

    def _lost(self, ends: tuple[str, str], load: Load) -> None:
        for trouble in reversed(self.troubles):
            if trouble.has_cut(ends):
                trouble.touch(ends, load)
                return
        recorder = self.cluster.world.recorder
        if recorder is not None:
            recorder.buried([end.partition("/")[0] for end in ends], load)

    def _through(self, wire: Wire, load: Load) -> Sequence[tuple[int, Load]]:
        loads: list[tuple[int, Any]] = [(0, load)]
        for tap in self._taps:
            loads = [(delay + more, new) for delay, old in loads for more, new in tap(wire, old)]
        return loads


__all__ = ["NO_ROOM", "SEEN", "Heal", "Stage", "Trouble"]
