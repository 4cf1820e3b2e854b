"""The vocabulary of faults: what can go wrong, how it begins, how it heals, and whether it is within the contract.

    cluster.begin(Dropped(source="engine-1/", msg_type="apply_reply", share=0.5))

A fault is a value: it can be printed, written as JSON, compared, and left out of a plan. Engines and clients are named
(`engine-1`, `client-2`), as are the parts of the controller. What a fault is about may be gone when it begins; then
nothing happens.

IS_INSIDE tells the class. Inside ZeroMQ's contract, which is that of TCP, every invariant holds: stops, cuts,
partitions, slowness, restarts with a disk, peers that misbehave. Outside it, whatever was not touched is safe, the
damage is bounded, and after healing everything recovers: loss, doubles, another order and alterations within a
connection that lives, clocks that jump, disks that lose what they had.
"""

from collections.abc import Sequence
from typing import Literal

from protocol.wire import Message
from protocol.world import MILLISECOND, Part
from simulator.fault import Fault, Loads
from simulator.network import Wire
from simulator.shell import Load, in_bytes, message_in, seal
from simulator.sockets.pipe import Pipe
from simulator.sockets.tcp import Session
from simulator.stage import Trouble
from simulator.strangers import Lack, Stranger
from simulator.tampering import Damaged, Delayed, Doubled, Dropped, OnMessages

# -- hearts ------------------------------------------------------------------------------------------------------------


class HeartKilled(Fault, frozen=True, kw_only=True):
    """The heart of an engine ends, and nothing else of it; it stays so."""

    engine: str

    def begin(self, trouble: Trouble) -> None:
        engine = trouble.engine(self.engine)
        if engine is not None and engine.is_alive:
            engine.stop_heart()


class HeartHalted(Fault, frozen=True, kw_only=True):
    """The heart of an engine stands still for a while; its answers come in a heap."""

    engine: str

    def begin(self, trouble: Trouble) -> None:
        engine = trouble.engine(self.engine)
        if engine is not None and engine.kind == "device" and engine.heart is not None:
            engine.heart.pause()
            trouble.when_healed(engine.heart.resume)


class HeartLate(Fault, frozen=True, kw_only=True):
    """The answers of a heart are under way for so many nanoseconds more."""

    BLURS_TIME = True
    engine: str
    delay: int

    def begin(self, trouble: Trouble) -> None:
        trouble.tap(lambda wire, load: [(self.delay if _is_pong(wire, self.engine) else 0, load)])


class HeartLying(Fault, frozen=True, kw_only=True):
    """A heart answers every ping with another text."""

    BLURS_TIME = True
    engine: str

    def begin(self, trouble: Trouble) -> None:
        def lie(wire: Wire, load: Load) -> Loads:
            if _is_pong(wire, self.engine):
                load = (*load[:-1], bytes(load[-1])[::-1] + b"?")
            return [(0, load)]

        trouble.tap(lie)


def _is_pong(wire: Wire, engine: str) -> bool:
    source = wire.name[0]
    # The process of an engine that came back has a number behind its name.
    return source.startswith((f"{engine}.", f"{engine}-")) and source.endswith("/pong")


# -- engines and clients -----------------------------------------------------------------------------------------------


class EngineKilled(Fault, frozen=True, kw_only=True):
    """An engine is gone at once; if it `comes_back`, it does so under its uuid when the fault is healed."""

    engine: str
    comes_back: bool = False

    def begin(self, trouble: Trouble) -> None:
        engine = trouble.engine(self.engine)
        if engine is None:
            return
        engine.kill()
        if self.comes_back:
            trouble.when_healed(lambda: None if engine.is_alive else engine.restart())


class EngineTerminated(Fault, frozen=True, kw_only=True):
    """An engine is asked to end, through its warden if it has one, and does in order."""

    engine: str

    def begin(self, trouble: Trouble) -> None:
        engine = trouble.engine(self.engine)
        if engine is not None:
            (engine.warden or engine).stop()


class EngineInterrupted(Fault, frozen=True, kw_only=True):
    """An engine is interrupted, as SIGINT does: the code that runs there ends with KeyboardInterrupt, nothing else."""

    engine: str

    def begin(self, trouble: Trouble) -> None:
        engine = trouble.engine(self.engine)
        if engine is not None and engine.is_alive:
            engine.interrupt()


class EngineStalled(Fault, frozen=True, kw_only=True):
    """The interpreter of an engine is held up for so many nanoseconds; a heart that is a device beats on."""

    engine: str
    nanoseconds: int

    def begin(self, trouble: Trouble) -> None:
        engine = trouble.engine(self.engine)
        if engine is not None:
            engine.stall(self.nanoseconds)
            trouble.last(self.nanoseconds)


class Paused(Fault, frozen=True, kw_only=True):
    """An engine, a client or a part of the controller stands still, as with SIGSTOP; what comes for it waits."""

    who: str

    def begin(self, trouble: Trouble) -> None:
        process = trouble.process(self.who)
        if process is not None:
            process.pause()
            trouble.when_healed(process.resume)


class OutputUnread(Fault, frozen=True, kw_only=True):
    """A client stands still, and there is room for `room` messages of output in the buffers of its connection, and for
    as many in the queue of the relay. What comes then is dropped. The mark stays, so that it may happen again.
    """

    client: str
    room: int = 10

    def begin(self, trouble: Trouble) -> None:
        client = trouble.client(self.client)
        if client is None or not client.process.is_alive:
            return
        for session in _connected(client.process.context.sessions):
            far = session.far
            if session.socket.name.endswith("/iopub") and far is not None and far.out is not None:
                far.out.capacity = self.room
                if far.pipe is not None:
                    self._lower(far.pipe)
        client.process.pause()
        trouble.when_healed(client.process.resume)

    def _lower(self, pipe: Pipe) -> None:
        """Give the relay a lower mark for one peer."""
        publisher = pipe.peer
        publisher.set_marks(0, self.room)
        publisher.send_marks(self.room, 0)
        # With the mark of before, it would hear of nothing that was read for long.
        publisher.credited = pipe.taken


# -- the controller ----------------------------------------------------------------------------------------------------


class PartKilled(Fault, frozen=True, kw_only=True):
    """A part of the controller is gone, and starts again with its disk when that is healed."""

    part: Part

    def begin(self, trouble: Trouble) -> None:
        trouble.cluster.kill(self.part)
        trouble.when_healed(lambda: trouble.cluster.restart(self.part))


class PartStalled(Fault, frozen=True, kw_only=True):
    """The interpreter of a part of the controller is held up for so many nanoseconds."""

    part: Part
    nanoseconds: int

    def begin(self, trouble: Trouble) -> None:
        trouble.cluster.stall(self.part, self.nanoseconds)
        trouble.last(self.nanoseconds)


class DiskLost(Fault, frozen=True, kw_only=True):
    """The Hub is gone, and starts again without anything that it had on its disk."""

    IS_INSIDE = False
    FORGETS = True

    def met(self) -> tuple[str, ...]:
        """The Hub."""
        return ("hub",)

    def begin(self, trouble: Trouble) -> None:
        trouble.cluster.kill("hub")
        trouble.when_healed(lambda: trouble.cluster.restart("hub", keeps_disk=False))


class DiskFailing(Fault, frozen=True, kw_only=True):
    """Nothing can be written to the records, nor read from them."""

    IS_INSIDE = False
    reason: str = "database or disk is full"

    def met(self) -> tuple[str, ...]:
        """The Hub."""
        return ("hub",)

    def begin(self, trouble: Trouble) -> None:
        disk = trouble.cluster.controller.records
        if disk is not None:
            disk.failure = self.reason
            trouble.when_healed(lambda: setattr(disk, "failure", None))


class DiskSlow(Fault, frozen=True, kw_only=True):
    """Whenever the Hub makes its records durable, that takes it so many nanoseconds."""

    nanoseconds: int

    def met(self) -> tuple[str, ...]:
        """The Hub."""
        return ("hub",)

    def begin(self, trouble: Trouble) -> None:
        disk = trouble.cluster.controller.records
        if disk is not None:
            disk.on_flush = lambda: self._hold_up(trouble)
            trouble.when_healed(lambda: setattr(disk, "on_flush", None))

    def _hold_up(self, trouble: Trouble) -> None:
        hub = trouble.process("hub")
        if hub is not None:
            hub.stall(self.nanoseconds)


# -- the network -------------------------------------------------------------------------------------------------------


class Partitioned(Fault, frozen=True, kw_only=True):
    """Nothing passes between these engines, clients and controller and everybody else; `one_way`: from these only."""

    BLURS_TIME = True
    places: tuple[str, ...]
    one_way: bool = False

    def met(self) -> tuple[str, ...]:
        """Those who are cut off."""
        return self.places

    def begin(self, trouble: Trouble) -> None:
        network, cluster = trouble.world.network, trouble.cluster
        hosts = [*(engine.host for engine in cluster.engines), *(client.host for client in cluster.clients)]
        everybody = [cluster.controller.host, *hosts]
        these = list(dict.fromkeys(map(trouble.host, self.places)))
        those = [host for host in dict.fromkeys(everybody) if host not in these]
        network.partition(these, those, one_way=self.one_way)
        # Nobody may be left out, or everybody would be meant.
        if those:
            trouble.when_healed(lambda: network.heal(these, those))


class LinkSlow(Fault, frozen=True, kw_only=True):
    """The way between the controller and an engine or client is long, uneven, lossy or narrow.

    Times in nanoseconds, loss as a probability (what is lost is sent again), bandwidth in bytes per second (0: any).
    """

    BLURS_TIME = True
    place: str
    latency: int
    jitter: int = 0
    loss: float = 0.0
    bandwidth: int = 0

    def begin(self, trouble: Trouble) -> None:
        network, here, there = trouble.world.network, trouble.cluster.controller.host, trouble.host(self.place)
        for ends in ((here, there), (there, here)):
            link = network.between(*ends)
            before = {name: getattr(link, name) for name in ("latency", "jitter", "loss", "bandwidth")}
            network.link(*ends, latency=self.latency, jitter=self.jitter, loss=self.loss, bandwidth=self.bandwidth)
            trouble.when_healed(lambda ends=ends, before=before: network.link(*ends, **before))  # type: ignore[misc]


class Cut(Fault, frozen=True, kw_only=True):
    """All connections of an engine, a client or a part of the controller break, and are made again.

    `where`: `between` messages, so that all that was sent still arrives; `within` what is under way, of which nothing
    arrives, since half a message is none; or `greeting`: the next ones break, too, before they are of any use.
    """

    BLURS_TIME = True
    who: str
    where: Literal["between", "within", "greeting"] = "between"

    def begin(self, trouble: Trouble) -> None:
        process = trouble.process(self.who)
        if process is None:
            return
        broken = _connected(process.context.sessions)
        for session in broken:
            trouble.breaks(session)
            if self.where == "between":
                session.cut()
            else:
                for wire, load in session.reset():
                    trouble.touch(wire.name, load)
        if self.where == "greeting":
            self._watch(trouble, process.context.sessions, len(broken), GREETING_LOOKS)

    def _watch(self, trouble: Trouble, sessions: list[Session], left: int, looks: int) -> None:
        """Break as many connections as there were, each while it greets."""
        for session in [one for one in _connected(sessions) if not one.is_ready][:left]:
            trouble.breaks(session)
            session.cut()
            left -= 1
        if left and looks and not trouble.is_over:
            latency = trouble.world.network.latency
            trouble.world.kernel.after(latency // 2, lambda *_: self._watch(trouble, sessions, left, looks - 1))


#: How often a fault looks whether a connection greets.
GREETING_LOOKS = 10_000


def _connected(sessions: Sequence[Session]) -> list[Session]:
    return [session for session in sessions if session.out is not None]


# -- strangers ---------------------------------------------------------------------------------------------------------


class OddEngine(Fault, frozen=True, kw_only=True):
    """Somebody registers as an engine and lacks something: a heart, the socket for requests, the will to read, or the
    sense to give answers that answer anything.
    """

    ALTERS = True
    lacks: Lack

    def begin(self, trouble: Trouble) -> None:
        stranger = Stranger(trouble.ground())
        uuid = stranger.register(self.lacks)
        if self.lacks == "sense":
            stranger.answer_nonsense(uuid, trouble.chance, trouble.touch)
        trouble.when_healed(stranger.leave)


class OddHeart(Fault, frozen=True, kw_only=True):
    """Somebody answers pings under a name that no engine can have, and with a frame too many."""

    def begin(self, trouble: Trouble) -> None:
        stranger = Stranger(trouble.ground())
        stranger.beat_oddly()
        trouble.when_healed(stranger.leave)


class Flood(Fault, frozen=True, kw_only=True):
    """So many registrations come at once, of engines that have no heart."""

    count: int

    def begin(self, trouble: Trouble) -> None:
        stranger = Stranger(trouble.ground())
        for _ in range(self.count):
            stranger.register("heart")
        trouble.when_healed(stranger.leave)


class Garbage(Fault, frozen=True, kw_only=True):
    """Somebody without the key sends frames that are no message, and messages under another key, on all channels."""

    count: int = 10

    def begin(self, trouble: Trouble) -> None:
        stranger = Stranger(trouble.ground())
        for _ in range(self.count):
            stranger.send_garbage(trouble.chance)
        trouble.when_healed(stranger.leave)


class Nonsense(Fault, frozen=True, kw_only=True):
    """Somebody with the key sends requests that cannot be read, are of no known type, are for nobody, come twice under
    one id, or under the id of another client's task.
    """

    ALTERS = True
    count: int = 10

    def begin(self, trouble: Trouble) -> None:
        stranger = Stranger(trouble.ground())
        for _ in range(self.count):
            stranger.send_nonsense(trouble.chance, trouble.touch)
        trouble.when_healed(stranger.leave)


class Replays(Fault, frozen=True, kw_only=True):
    """Somebody reads what clients send, and sends it again a moment later."""

    share: float = 0.2
    delay: int = MILLISECOND

    def begin(self, trouble: Trouble) -> None:
        ground, codec = trouble.ground(), trouble.world.reader
        stranger, after = Stranger(ground), trouble.world.kernel.after

        def copy(wire: Wire, load: Load) -> Loads:
            channel = wire.name[0].rpartition("/")[2]
            is_request = wire.name[0].startswith("client-") and channel in stranger.CHANNELS
            if is_request and message_in(load, codec) is not None and trouble.chance() < self.share:
                if type(load[-1]) is Message:
                    # Who gets it again knows it by its signature.
                    seal(load[-1], codec)
                after(self.delay, lambda *_: stranger.send(channel, in_bytes(load, codec)))
            return [(0, load)]

        # Who is heard first is answered, be it the one who came second.
        stranger.on_answer = trouble.touch

        def leave() -> None:
            for session in _connected(ground.sessions):
                trouble.breaks(session)
            stranger.leave()

        trouble.tap(copy)
        trouble.when_healed(leave)


# -- clocks ------------------------------------------------------------------------------------------------------------


class ClockJumped(Fault, frozen=True, kw_only=True):
    """The wall clock of somebody is set forward or back by so many nanoseconds; timers do not notice."""

    IS_INSIDE = False
    who: str
    nanoseconds: int

    def begin(self, trouble: Trouble) -> None:
        process = trouble.process(self.who)
        if process is not None:
            calendar = process.calendar
            calendar.offset += self.nanoseconds
            trouble.when_healed(lambda: setattr(calendar, "offset", calendar.offset - self.nanoseconds))


class ClockDrifting(Fault, frozen=True, kw_only=True):
    """The clock by which somebody's timers run goes too fast: by so many parts of a thousand."""

    IS_INSIDE = False
    who: str
    per_mille: int

    def begin(self, trouble: Trouble) -> None:
        process = trouble.process(self.who)
        if process is not None:
            process.drift(self.per_mille)
            trouble.when_healed(lambda: process.drift(0))


def vocabulary() -> list[type[Fault]]:
    """Every kind of fault."""
    return [kind for kind in (*Fault.__subclasses__(), *OnMessages.__subclasses__()) if kind is not OnMessages]


__all__ = [
    "ClockDrifting",
    "ClockJumped",
    "Cut",
    "Damaged",
    "Delayed",
    "DiskFailing",
    "DiskLost",
    "DiskSlow",
    "Doubled",
    "Dropped",
    "EngineInterrupted",
    "EngineKilled",
    "EngineStalled",
    "EngineTerminated",
    "Fault",
    "Flood",
    "Garbage",
    "HeartHalted",
    "HeartKilled",
    "HeartLate",
    "HeartLying",
    "LinkSlow",
    "Nonsense",
    "OddEngine",
    "OddHeart",
    "OutputUnread",
    "PartKilled",
    "PartStalled",
    "Partitioned",
    "Paused",
    "Replays",
    "vocabulary",
]
