"""The faults of `simulator.faults`, in a world of processes: signals, raw sockets, and what a relay does to messages.

What a fault asks of engines, clients and parts it does itself, as in virtual time. For what it does to messages and
connections there is a function here, by its type; what has neither cannot be done.
"""

import time
from collections.abc import Callable, Sequence
from random import Random
from typing import TYPE_CHECKING, Any, Final, cast

from conformance.onreal.parts import PARTS
from conformance.onreal.strangers import RealGround
from conformance.onreal.watching import Touched, touched
from conformance.relay.hops import Hop, Link
from conformance.relay.rewriting import Delay, Passing, Rule
from protocol.damage import Drawn, damage
from protocol.wire import DELIMITER, Message
from protocol.world import MILLISECOND, SECOND
from simulator import faults
from simulator.faults import Fault
from simulator.lacking import Lacking
from simulator.strangers import Stranger

if TYPE_CHECKING:
    from conformance.onreal.clients import RealClient
    from conformance.onreal.cluster import RealCluster
    from conformance.onreal.driven import DrivenClient
    from conformance.onreal.engines import RealEngine

#: The part of a controller at the far end of each channel.
_PART_OF: Final = {
    "query": "hub", "notification": "hub", "mux": "mux", "task": "tasks", "control": "control", "iopub": "iopub",
    "broadcast": "broadcast", "heartbeat-ping": "hearts", "heartbeat-pong": "hearts",
}  # fmt: skip
_BEATS: Final = ("heartbeat-ping", "heartbeat-pong")
#: Nanoseconds after which TCP sends again what was lost.
AGAIN: Final = 200 * MILLISECOND
#: Nanoseconds in which connections break again while they greet, as long as in a simulation.
GREETING: Final = SECOND
#: Nanoseconds in which a connection that is to break within a message breaks without one.
UNUSED: Final = 50 * MILLISECOND


def ends_of(hop: Hop) -> tuple[str, str]:
    """From where to where a message goes, as a simulation calls it: `process/socket`."""
    if hop.channel in _BEATS:
        near = f"{hop.party}.heart/{hop.channel.removeprefix('heartbeat-')}"
    else:
        near = f"{hop.party}/{hop.channel}"
    far = f"{_PART_OF.get(hop.channel, 'hub')}/{hop.channel}"
    return (near, far) if hop.is_up else (far, near)


class RealTrouble:
    """A fault that has begun; the interface of `simulator.stage.Trouble`, as far as it makes sense here."""

    def __init__(self, cluster: "RealCluster", fault: Fault, chance: Random) -> None:
        self.cluster = cluster
        self.fault = fault
        self.chance = chance.random
        self.is_over = False
        #: When it was over, by the monotonic clock.
        self.until = 1 << 63
        self.taken: list[Touched] = []
        self._heals: list[Callable[[], object]] = []
        self._rules: list[Rule] = []

    def engine(self, name: str) -> "RealEngine | None":
        """The engine of this name, or None if there is none."""
        return next((engine for engine in self.cluster.engines if engine.name == name), None)

    def client(self, name: str) -> "RealClient | DrivenClient | None":
        """The client of this name, or None if there is none."""
        return next((client for client in self.cluster.clients if client.name == name), None)

    def ground(self) -> RealGround:
        """A place for a stranger."""
        return self.cluster.ground()

    def when_healed(self, heal: Callable[[], object]) -> None:
        """Do this when the fault is over."""
        self._heals.append(heal)

    def touch(self, ends: tuple[str, str], load: Sequence[Any]) -> None:
        """Remember that a message makes no sense on purpose: nobody can be blamed for what follows from it."""
        last = load[-1] if load else None
        self.taken.append(touched(ends, last if isinstance(last, Message) else None))

    def rule(self, rule: Rule) -> None:
        """Let every message that crosses the relay meet this until the fault is over."""
        self._rules.append(rule)
        self.cluster.relay.rules = (*self.cluster.relay.rules, rule)

    def begin(self) -> None:
        """Let it happen. Raises Lacking if that cannot be done here."""
        act = ACTS.get(type(self.fault))
        if act is not None:
            act(self, self.fault)
        else:
            self.fault.begin(cast("Any", self))

    def end(self) -> None:
        """Heal it; what is over already stays so."""
        if self.is_over:
            return
        self.is_over = True
        self.until = time.monotonic_ns()
        kept = [rule for rule in self.cluster.relay.rules if not any(rule is own for own in self._rules)]
        self.cluster.relay.rules = kept
        for heal in self._heals:
            heal()


# -- messages ----------------------------------------------------------------------------------------------------------


def _on_messages(trouble: RealTrouble, fault: Any) -> None:
    """Drop, double, delay or damage those messages that the fault means."""
    if all(end.rstrip("/") in PARTS for end in (fault.source, fault.target)):
        raise Lacking("the ways between the processes of a controller")
    late = Delay(lambda _: True, lambda _: trouble.cluster.lasting(_share(trouble, fault.delay)), trouble.cluster.relay)

    def alter(passing: Passing) -> Sequence[Passing] | None:
        source, target = ends_of(passing.hop)
        if passing.hop.party == trouble.cluster.OBSERVER or not (
            source.startswith(fault.source) and target.startswith(fault.target)
        ):
            return None
        if fault.msg_type and passing.msg_type != fault.msg_type:
            return None
        if len(trouble.taken) >= fault.at_most or trouble.chance() >= fault.share:
            return None
        made = _altered(trouble, fault, passing, late)
        if made is not None:
            trouble.taken.append(touched((source, target), passing.message))
        return made

    trouble.rule(alter)


def _altered(trouble: RealTrouble, fault: Any, passing: Passing, late: Delay) -> Sequence[Passing] | None:
    if isinstance(fault, faults.Dropped):
        return ()
    if isinstance(fault, faults.Delayed):
        return late.strike(passing)
    if isinstance(fault, faults.Doubled):
        return (passing, *late.strike(passing))
    assert isinstance(fault, faults.Damaged)
    if DELIMITER not in passing.hop.frames:
        return None
    broken = damage(fault.kind, passing.codec, passing.hop.frames, Drawn(trouble.chance)).frames or (b"",)
    return (passing.with_frames(bytes(frame) for frame in broken),)


def _share(trouble: RealTrouble, nanoseconds: int) -> int:
    return 1 + int(trouble.chance() * nanoseconds)


def _replays(trouble: RealTrouble, fault: faults.Replays) -> None:
    """Send again, through somebody else's sockets, what clients have sent."""
    stranger = Stranger(trouble.ground())
    cluster = trouble.cluster

    def copy(passing: Passing) -> None:
        hop = passing.hop
        is_request = hop.party.startswith("client-") and hop.is_up and hop.channel in stranger.CHANNELS
        if is_request and passing.message is not None and trouble.chance() < fault.share:
            due = time.monotonic_ns() + cluster.lasting(fault.delay)
            cluster.relay.at(due, lambda: cluster.post(lambda: stranger.send(hop.channel, hop.frames)))

    trouble.rule(copy)
    trouble.when_healed(stranger.leave)


# -- hearts ------------------------------------------------------------------------------------------------------------


def _is_pong(passing: Passing, engine: str) -> bool:
    return passing.hop.party == engine and passing.hop.channel == "heartbeat-pong" and passing.hop.is_up


def _heart_halted(trouble: RealTrouble, fault: faults.HeartHalted) -> None:
    """Hold its pings back, and let them through in a heap."""
    trouble.when_healed(trouble.cluster.relay.part(lambda link: link.party == fault.engine and link.channel in _BEATS))


def _heart_late(trouble: RealTrouble, fault: faults.HeartLate) -> None:
    cluster = trouble.cluster

    def is_meant(passing: Passing) -> bool:
        return _is_pong(passing, fault.engine)

    trouble.rule(Delay(is_meant, lambda _: cluster.lasting(fault.delay), cluster.relay, keeps_order=True))


def _heart_lying(trouble: RealTrouble, fault: faults.HeartLying) -> None:
    def lie(passing: Passing) -> Sequence[Passing] | None:
        if not _is_pong(passing, fault.engine):
            return None
        *envelope, beat = passing.hop.frames
        return (passing.with_frames((*envelope, beat[::-1] + b"?")),)

    trouble.rule(lie)


# -- processes and connections -----------------------------------------------------------------------------------------


def _paused(trouble: RealTrouble, fault: faults.Paused) -> None:
    who = trouble.engine(fault.who) or trouble.client(fault.who)
    if who is not None:
        trouble.cluster.pause(who)
        trouble.when_healed(lambda: trouble.cluster.resume(who))
        return
    part = next((part for part in PARTS if part == fault.who), None)
    if part is not None:
        trouble.cluster.pause(part)
        trouble.when_healed(lambda: trouble.cluster.resume(part))


def _partitioned(trouble: RealTrouble, fault: faults.Partitioned) -> None:
    for _, heal in trouble.cluster.cut_off(fault.places, None, one_way=fault.one_way):
        trouble.when_healed(heal)


def _link_slow(trouble: RealTrouble, fault: faults.LinkSlow) -> None:
    """Let whatever crosses be late by the link's latency and its size, and sometimes by what TCP needs to notice."""
    cluster = trouble.cluster

    def late(passing: Passing) -> int:
        nanoseconds = fault.latency + int(trouble.chance() * fault.jitter)
        while trouble.chance() < fault.loss:
            nanoseconds += AGAIN
        if fault.bandwidth:
            nanoseconds += len(passing.raw) * SECOND // fault.bandwidth
        return cluster.lasting(nanoseconds)

    trouble.rule(Delay(lambda passing: passing.hop.party == fault.place, late, cluster.relay, keeps_order=True))


def _cut(trouble: RealTrouble, fault: faults.Cut) -> None:
    relay = trouble.cluster.relay

    def is_meant(link: Link) -> bool:
        return fault.who in (link.party, _PART_OF.get(link.channel)) and link.party != trouble.cluster.OBSERVER

    if fault.where == "within":
        numbers = {number for number, link in relay.links.items() if is_meant(link)}
        relay.cut_within(lambda link: link.number in numbers)
        relay.at(time.monotonic_ns() + UNUSED, lambda: relay.cut(lambda link: link.number in numbers))
        return
    if fault.where == "greeting":
        welcome = relay.turn_away(is_meant)
        trouble.when_healed(welcome)
        relay.at(time.monotonic_ns() + trouble.cluster.lasting(GREETING), welcome)
    relay.cut(is_meant)


def _no_clock(_: RealTrouble, __: Fault) -> None:
    raise Lacking("clocks that can be set")


def _no_mark(_: RealTrouble, __: Fault) -> None:
    raise Lacking("queues of a controller that can be narrowed")


def _no_disk(_: RealTrouble, __: Fault) -> None:
    raise Lacking("disks that can be slow, full or lost")


#: Faults that do what they do through engines, clients, parts and strangers, whatever world these are in.
THEMSELVES: Final[tuple[type[Fault], ...]] = (
    faults.EngineInterrupted, faults.EngineKilled, faults.EngineStalled, faults.EngineTerminated, faults.Flood,
    faults.Garbage, faults.HeartKilled, faults.Nonsense, faults.OddEngine, faults.OddHeart, faults.PartKilled,
    faults.PartStalled,
)  # fmt: skip
#: What is done about messages, connections, processes and disks, by the type of the fault.
ACTS: Final[dict[type[Fault], Callable[[RealTrouble, Any], None]]] = {
    faults.ClockDrifting: _no_clock,
    faults.ClockJumped: _no_clock,
    faults.Cut: _cut,
    faults.Damaged: _on_messages,
    faults.Delayed: _on_messages,
    faults.DiskFailing: _no_disk,
    faults.DiskLost: _no_disk,
    faults.DiskSlow: _no_disk,
    faults.Doubled: _on_messages,
    faults.Dropped: _on_messages,
    faults.HeartHalted: _heart_halted,
    faults.HeartLate: _heart_late,
    faults.HeartLying: _heart_lying,
    faults.LinkSlow: _link_slow,
    faults.OutputUnread: _no_mark,
    faults.Partitioned: _partitioned,
    faults.Paused: _paused,
    faults.Replays: _replays,
}

__all__ = ["ACTS", "THEMSELVES", "RealTrouble", "ends_of"]
