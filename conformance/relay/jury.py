"""The rules of the protocol, held against what a relay recorded.

A rule judges what one observer received (see `protocol.rules`). A relay sees both directions of everything, so
everybody is observer and judged in turn: the controller (or the kernel) by the stream as its peers saw it, each engine
by the stream as the controller saw it, and each client by the same, there only with the rules about single messages.
For each of these streams the frames get back what ROUTERs add and take away.

Nobody is blamed for what somebody else said first: a relay or a scheduler passes on what it was given.

Not everybody need be in the recording, and some may have been there before it began. Unless it is said to be whole,
nothing is concluded from what is not in it. What needs times that nobody told is not judged either, nor what needs the
Hub's own traffic or its inner state.
"""

from collections import OrderedDict
from collections.abc import Iterable, Iterator, Mapping
from hashlib import blake2b
from typing import Final, NamedTuple

import msgspec
from msgspec import UNSET

from conformance.targets.vocabulary import ROLES
from protocol.recording import End, Ends, ends_of, open_frames
from protocol.rules import Judge, Rule, Violation, rules_for, wire
from protocol.rules.setting import Role, Setting
from protocol.wire import DELIMITER, Codec, Frame
from protocol.world import Fact, Observation

#: What only those can judge who know the timers of the controller.
TIMED: Final = frozenset({
    "heartbeat.ping-periodic", "heartbeat.ping-matches-hb-period", "heartbeat.lifetime-tracks-period",
    "heartbeat.removal-not-early", "heartbeat.removal-in-time", "registration.pending-expires",
    "registration.pending-uuid-refused", "registration.heard-is-registered", "registration.expiry-is-silent",
    "registration.reachable-when-registered", "task.one-live-assignment",
})  # fmt: skip
#: What only those can judge who saw everybody: an engine that is not recorded answers, too, and so does a Hub whom
#: somebody else has told to forget. By the names of the rules.
EVERYBODY: Final = frozenset({
    "wire.reply-true", "wire.nothing-invented", "wire.refused-changes-nothing", "dependency.after-waits",
    "dependency.follow-same-engine", "query.result-repeatable", "query.purge-keeps-others", "query.purge-keeps-pending",
    "query.resubmit-all-or-nothing",
})  # fmt: skip
#: How many messages are remembered with who said them first.
AUTHORS: Final = 100_000
#: How many messages each judge remembers of what is over.
MEMORY: Final = 5_000
#: Bytes of a buffer that is kept as it is.
LARGE: Final = 4096


class Charge(NamedTuple):
    """Somebody of this role broke a requirement."""

    role: Role
    who: str
    violation: Violation


class _Bench(NamedTuple):
    """One judge: who is judged, and whether the stream is that of those who bind."""

    role: Role
    who: str
    judge: Judge
    is_mirrored: bool


class Jury:
    """See the module. `setting` is that of the recording; its times count only with `has_timing`.

    `is_whole`: the recording has everybody who ever used this controller. Each judge forgets what is over once `memory`
    messages have followed.
    """

    def __init__(
        self,
        setting: Setting,
        codec: Codec,
        *,
        has_timing: bool = False,
        is_whole: bool = False,
        memory: int = MEMORY,
    ) -> None:
        self._setting = setting
        self._codec = codec
        self._has_timing = has_timing
        self._is_whole = is_whole
        self._memory = memory
        self._benches: dict[tuple[Role, str], _Bench] = {}
        self._links: dict[str, Ends] = {}
        self._authors: OrderedDict[object, str] = OrderedDict()
        self._has_ended = False

    def observe(self, item: Observation | Fact) -> list[Charge]:
        """Judge the next item of the recording; what it shows."""
        return list(self._note(item) if isinstance(item, Fact) else self._see(item))

    def finish(self, now: int) -> list[Charge]:
        """End the recording: what did not happen."""
        return [
            Charge(bench.role, bench.who, violation)
            for bench in self._benches.values()
            for violation in bench.judge.finish(now)
        ]

    @property
    def dialect(self) -> str:
        """The dialect that the parties have to speak."""
        return self._setting.dialect

    @property
    def roles(self) -> tuple[Role, ...]:
        """The roles that were judged."""
        return tuple(dict.fromkeys(bench.role for bench in self._benches.values()))

    @property
    def exercised(self) -> Mapping[tuple[Role, str], frozenset[str]]:
        """The requirements that were judged, by whom they were judged of."""
        return {key: bench.judge.exercised for key, bench in self._benches.items()}

    @property
    def judges(self) -> tuple[Judge, ...]:
        """Everybody's judge."""
        return tuple(bench.judge for bench in self._benches.values())

    @property
    def passed_over(self) -> int:
        """How many messages some judge could not judge, because they belong to what was over long before."""
        return max((judge.passed_over for judge in self.judges), default=0)

    @property
    def unobservable(self) -> frozenset[str]:
        """The requirements of these roles that have rules, and that no recording like this one shows."""
        seen = {slug for bench in self._benches.values() for slug in bench.judge.judged}
        wanted = {
            rule.slug
            for bench in self._benches.values()
            for rule in rules_for(self._setting.dialect, ROLES[bench.role])
        }
        return frozenset(wanted - seen)

    # -- facts ---------------------------------------------------------------------------------------------------------

    def _note(self, fact: Fact) -> Iterator[Charge]:
        ends = ends_of(fact)
        if ends is None:
            return
        known = self._links.get(ends.socket)
        names = []
        if known is None:
            if ends.channel == "query" and self._has_ended:
                names.append("controller-started")
                self._has_ended = False
            names.append("socket-opened")
        if ends.closed_by:
            names.append("socket-closed")
            # A Hub hangs up on nobody: it has ended, and what answers there later is another one.
            self._has_ended = self._has_ended or (ends.closed_by == "far" and ends.channel == "query")
            self._links.pop(ends.socket, None)
        else:
            self._links[ends.socket] = ends
        for name in names:
            note = Fact(seq=fact.seq, now=fact.now, observer=ends.party, name=name, data={"socket": ends.socket})
            for bench in self._for(ends):
                if name == "controller-started" and bench.role != "controller":
                    continue
                for violation in _judged(bench, note):
                    yield Charge(bench.role, bench.who, violation)

    # -- messages ------------------------------------------------------------------------------------------------------

    def _see(self, seen: Observation) -> Iterator[Charge]:
        ends = self._links.get(seen.socket)
        if ends is None:
            return
        seen = self._thin(seen)
        author = self._author(seen)
        sender = seen.observer if seen.direction == "sent" else seen.peer
        for bench in self._for(ends, seen.peer):
            mine = self._as_seen(seen, ends, is_mirrored=bench.is_mirrored)
            for violation in _judged(bench, mine):
                is_said_again = violation.evidence[-1] == seen.seq and author != sender
                if not (is_said_again and violation.rule in _SINGLE):
                    yield Charge(bench.role, bench.who, violation)

    def _thin(self, seen: Observation) -> Observation:
        """With large buffers replaced by what stands for them: rules count and compare them, and keep them long."""
        message = seen.message
        if message is None or all(len(buffer) <= LARGE for buffer in message.buffers):
            return seen
        count = len(message.buffers)
        frames = (*seen.frames[:-count], *map(_summary, message.buffers))
        message, error = open_frames(self._codec, seen.channel, frames)
        return msgspec.structs.replace(seen, frames=frames, message=message, error=error)

    def _author(self, seen: Observation) -> str:
        """Who said a message first, as far as that is remembered."""
        who = seen.observer if seen.direction == "sent" else seen.peer
        # What is no message has no id. Queues pass it on all the same, behind another envelope.
        frames = seen.frames
        key: object = frames[frames.index(DELIMITER) :] if DELIMITER in frames else frames[-1:]
        if seen.message is not None:
            key = seen.message.msg_id
            original = _metadata(seen).get("original_msg_id")
            if isinstance(original, str) and original in self._authors:
                # A copy that a broadcast made.
                return self._authors[original]
        author = self._authors.setdefault(key, who)
        if len(self._authors) > AUTHORS:
            self._authors.popitem(last=False)
        return author

    def _as_seen(self, seen: Observation, ends: Ends, *, is_mirrored: bool) -> Observation:
        """An observation as whoever is at one end of the connection made it, at the API of its socket."""
        own, other = (ends.far, ends.near) if is_mirrored else (ends.near, ends.far)
        frames, message, error = seen.frames, seen.message, seen.error
        if own.socket_type == "ROUTER":
            frames = (_identity(other, ends.link), *frames)
            if error is None:
                message, error = open_frames(self._codec, seen.channel, frames)
        if not is_mirrored:
            return msgspec.structs.replace(seen, frames=frames, message=message, error=error)
        return msgspec.structs.replace(
            seen, observer=seen.peer, peer=seen.observer, frames=frames, message=message, error=error,
            direction="received" if seen.direction == "sent" else "sent",
        )  # fmt: skip

    # -- judges --------------------------------------------------------------------------------------------------------

    def _for(self, ends: Ends, peer: str = "") -> Iterable[_Bench]:
        """Everybody who is judged by what happens on this connection."""
        if ends.kind == "frontend":
            return (self._bench("kernel", peer or "kernel"), self._bench("client", ends.party, is_mirrored=True))
        controller = self._bench("controller", "controller")
        role: Role = "engine" if ends.kind == "engine" else "client"
        return (controller, self._bench(role, ends.party, is_mirrored=True))

    def _bench(self, role: Role, who: str, *, is_mirrored: bool = False) -> _Bench:
        bench = self._benches.get((role, who))
        if bench is None:
            rules: Iterable[type[Rule]] = rules_for(self._setting.dialect, ROLES[role])
            if role == "client":
                rules = [rule for rule in rules if rule.name() in _SINGLE]
            if not self._has_timing:
                rules = [rule for rule in rules if rule.slug not in TIMED]
            if not self._is_whole:
                rules = [rule for rule in rules if rule.name() not in EVERYBODY]
            setting = msgspec.structs.replace(self._setting, role=UNSET if role == "client" else role)
            bench = _Bench(role, who, Judge(rules, setting, memory=self._memory), is_mirrored)
            self._benches[role, who] = bench
            if self._is_whole:
                bench.judge.observe(Fact(seq=0, now=0, observer=who, name="recorded-from-the-start"))
        return bench


def _judged(bench: _Bench, item: Observation | Fact) -> list[Violation]:
    """What an item shows to one judge, who need not keep it."""
    found = bench.judge.observe(item)
    bench.judge.violations.clear()
    return found


#: Rules that judge a message by itself.
_SINGLE: Final = frozenset(rule.name() for rule in wire.RULES)


def _identity(end: End, link: int) -> bytes:
    """How a ROUTER calls whoever is at this end: five bytes of its own where no identity is set."""
    return end.routing_id or b"\0" + link.to_bytes(4, "big")


def _summary(buffer: Frame) -> bytes:
    if len(buffer) <= LARGE:
        return bytes(buffer)
    return b"%d bytes, blake2b %s" % (len(buffer), blake2b(buffer, digest_size=32).hexdigest().encode())


def _metadata(seen: Observation) -> Mapping[str, object]:
    assert seen.message is not None
    return seen.message.metadata
