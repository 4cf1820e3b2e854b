"""The heartbeat: what a ping is, how regularly it comes, and when a silent heart is given up."""

from abc import abstractmethod
from collections import defaultdict
from collections.abc import Iterable, Set
from itertools import pairwise
from statistics import median

from protocol.rules.engines import Engine
from protocol.rules.framework import Kind, MessageRule, Observe, Rule, Violation
from protocol.rules.notification import WENT, SameForAll, names
from protocol.rules.parts import content_seen, whole
from protocol.rules.pings import lifetime
from protocol.wire import DELIMITER
from protocol.world import MILLISECOND, SECOND, Fact, Observation

_PING = frozenset({"heartbeat-ping"})
#: How many pings make a rhythm.
_ENOUGH = 5


class PingRule(Rule):
    """Base of rules about one ping."""

    channels = _PING

    def listener(self, kind: Kind) -> Observe | None:
        return self.check if kind.direction == "received" and super().listener(kind) else None

    def observe(self, seen: Observation) -> Iterable[Violation]:
        return self.check(seen) if seen.direction == "received" else ()

    @abstractmethod
    def check(self, seen: Observation) -> Iterable[Violation]:
        """Judge one ping."""


class RawNotMessage(PingRule):
    """The heartbeat uses no messages: no delimiter, no signature, no header."""

    slug = "heartbeat.raw-not-message"

    def check(self, seen: Observation) -> Iterable[Violation]:
        if DELIMITER not in seen.frames:
            return self.passed()
        return self.judge(False, seen, "a ping with a delimiter", "raw bytes")


class PingSingleFrame(PingRule):
    """A ping is one message of one frame."""

    slug = "heartbeat.ping-single-frame"

    def check(self, seen: Observation) -> Iterable[Violation]:
        if len(seen.frames) == 1:
            return self.passed()
        return self.judge(False, seen, f"a ping of {len(seen.frames)} frames", "one frame")


class PingIsLifetime(PingRule):
    """The ping is the monitor's lifetime in seconds as decimal text."""

    slug = "heartbeat.ping-is-lifetime"

    def check(self, seen: Observation) -> Iterable[Violation]:
        if len(seen.frames) != 1:
            return ()
        if lifetime(seen) is not None:
            return self.passed()
        found = f"the ping {bytes(seen.frames[0])[:40]!r}"
        return self.judge(False, seen, found, "a decimal number of seconds")


class PingDistinct(PingRule):
    """Each ping differs from those before it."""

    slug = "heartbeat.ping-distinct"

    def begin(self) -> None:
        self._first: dict[tuple[str, bytes], Observation] = {}

    def check(self, seen: Observation) -> Iterable[Violation]:
        text = b"".join(map(bytes, seen.frames))
        first = self._first.setdefault((seen.socket, text), seen)
        if first is seen:
            return self.passed()
        return self.judge(False, seen, f"the ping {text[:40]!r} again", "a ping never sent", evidence=[first])


class PreviousRule(PingRule):
    """Base of rules that compare a ping with the one before it on the same socket."""

    def begin(self) -> None:
        self.last: dict[str, Observation] = {}

    def check(self, seen: Observation) -> Iterable[Violation]:
        before = self.last.get(seen.socket)
        self.last[seen.socket] = seen
        return () if before is None else self.compare(before, seen)

    @abstractmethod
    def compare(self, before: Observation, seen: Observation) -> Iterable[Violation]:
        """Judge two pings that follow each other."""


class LifetimeIncreases(PreviousRule):
    """The lifetime grows from ping to ping."""

    slug = "heartbeat.lifetime-increases"

    def compare(self, before: Observation, seen: Observation) -> Iterable[Violation]:
        was, now = lifetime(before), lifetime(seen)
        if was is None or now is None or was == now:
            return ()
        if now > was:
            return self.passed()
        return self.judge(False, seen, f"lifetime {now} after {was}", f"more than {was}", evidence=[before])


class PingPeriodic(PreviousRule):
    """Pings are published periodically as long as the controller lives."""

    slug = "heartbeat.ping-periodic"

    def begin(self) -> None:
        super().begin()
        self._watched: set[str] = set()

    @classmethod
    def heeds(cls, name: str) -> bool:
        return name in ("socket-opened", "socket-closed")

    def note(self, fact: Fact) -> Iterable[Violation]:
        socket = str(fact.data.get("socket"))
        if fact.name == "socket-opened":
            self._watched.add(socket)
        elif fact.name == "socket-closed":
            self._watched.discard(socket)
        return ()

    @property
    def _limit(self) -> int:
        return 3 * self.setting.period_ns + self.setting.margin_ns

    def compare(self, before: Observation, seen: Observation) -> Iterable[Violation]:
        gap = self.ledger.waited(before.now, seen.now)
        was, now = lifetime(before), lifetime(seen)
        if was is not None and now is not None and was < now:
            # Pings that were late only to a recorder that looked late tell the right time themselves.
            gap = min(gap, int((now - was) * SECOND))
        if gap <= self._limit:
            return self.passed()
        found = f"{gap / SECOND:.3f} s between two pings"
        return self.judge(False, seen, found, f"{self.setting.period_ns / SECOND} s", evidence=[before])

    def finish(self, now: int) -> Iterable[Violation]:
        # Silence at the end counts only where the recorder noted when its sockets open and close.
        for socket, last in self.last.items():
            waited = self.ledger.waited(last.now, now)
            if socket in self._watched and self.ledger.engines.closing is None and waited > self._limit:
                found = f"no ping for {waited / SECOND:.3f} s"
                yield self.accuse(last, found, f"one every {self.setting.period_ns / SECOND} s", now=now)


class RhythmRule(PingRule):
    """Base of rules about the rhythm of all pings on one socket, judged at the end."""

    def begin(self) -> None:
        self._pings: defaultdict[str, list[Observation]] = defaultdict(list)

    def check(self, seen: Observation) -> Iterable[Violation]:
        if lifetime(seen) is not None:
            self._pings[seen.socket].append(seen)
        return ()

    def finish(self, now: int) -> Iterable[Violation]:  # noqa: ARG002 - a hook
        for pings in self._pings.values():
            if len(pings) >= _ENOUGH:
                yield from self.rhythm(pings, [lifetime(ping) or 0.0 for ping in pings])

    def let_go(self, gone: Set[str], limit: int) -> Iterable[Violation]:  # noqa: ARG002 - pings have no ids
        """Judge the rhythm so far, and listen for it anew."""
        for socket, pings in self._pings.items():
            if len(pings) > limit:
                yield from self.rhythm(pings, [lifetime(ping) or 0.0 for ping in pings])
                self._pings[socket] = pings[-1:]

    @abstractmethod
    def rhythm(self, pings: list[Observation], said: list[float]) -> Iterable[Violation]:
        """Judge the pings of one socket and the lifetimes that they say."""


class PingMatchesPeriod(RhythmRule):
    """The time between pings is the `hb_period` that registering engines are told."""

    slug = "heartbeat.ping-matches-hb-period"

    def rhythm(self, pings: list[Observation], said: list[float]) -> Iterable[Violation]:
        told = [
            whole(content_seen(engine.reply).get("hb_period")) for engine in self.ledger.engines.granted if engine.reply
        ]
        if not told or told[0] is None:
            return
        period = told[0] * MILLISECOND / SECOND
        usual = median(later - sooner for sooner, later in pairwise(said))
        found = f"{usual:.3f} s between pings"
        # A busy machine makes every beat late by some of its time slices, however short the period.
        holds = abs(usual - period) <= max(period / 4, 0.05)
        yield from self.judge(holds, pings[-1], found, f"{period} s, as engines are told", evidence=[pings[0]])


class LifetimeTracksPeriod(RhythmRule):
    """The lifetimes in pings differ by about the time between them."""

    slug = "heartbeat.lifetime-tracks-period"

    def rhythm(self, pings: list[Observation], said: list[float]) -> Iterable[Violation]:
        passed = (pings[-1].now - pings[0].now) / SECOND
        grown = said[-1] - said[0]
        # When a ping is read tells when it was sent unless somebody stood still, be it just before the first one.
        since = pings[0].now - self.setting.reply_deadline_ns
        late = pings[-1].now - since - self.ledger.waited(since, pings[-1].now)
        tolerance = (self.setting.period_ns + self.setting.margin_ns + late) / SECOND + passed / 10
        found = f"lifetimes {grown:.3f} s apart in {passed:.3f} s"
        yield from self.judge(
            abs(grown - passed) <= tolerance, pings[-1], found, f"{passed:.3f} s", evidence=[pings[0]]
        )


class PingReachesAll(SameForAll):
    """Every connected heart gets every ping."""

    slug = "heartbeat.ping-reaches-all"
    channels = _PING

    def key(self, seen: Observation) -> object:
        return tuple(map(bytes, seen.frames))


class RemovalRule(MessageRule):
    """Base of rules about engines that are given up although they did not leave."""

    channels = frozenset({"notification"})
    types = frozenset({WENT})

    def check(self, seen: Observation) -> Iterable[Violation]:
        named, engines = names(seen), self.ledger.engines
        engine = engines.engine(*named) if named else None
        if engine is None or engine.exchange is None or engine.leaving is not None or engines.closing is not None:
            return ()
        return self.removed(seen, engine)

    @abstractmethod
    def removed(self, seen: Observation, engine: Engine) -> Iterable[Violation]:
        """Judge the end of one engine, announced by `seen`."""


class RemovalNotEarly(RemovalRule):
    """An engine is given up only after more than the allowed number of consecutive pings stayed unanswered.

    Half a period is forgiven: a monitor whose beat was late does not shift the beats after it. So is what the ping that
    was answered last took longer on its way than others: it was sent as much earlier.
    """

    slug = "heartbeat.removal-not-early"

    def removed(self, seen: Observation, engine: Engine) -> Iterable[Violation]:
        heart = self.ledger.engines.hearts.get(engine.uuid)
        if heart is None or (heart.is_unseen and heart.stopped is not None):
            return ()
        soonest = self.setting.soonest_death_ns
        # The hearts of a recorder that stalled have missed pings, whatever they answered when it looked again.
        if not heart.is_unseen and self.ledger.looked(seen.now - soonest, seen.now) < soonest // 2:
            return ()
        if heart.is_unseen:
            found = f"engine {engine.id} given up while its heart beats"
            return self.judge(
                False, seen, found, "it stays registered", evidence=[engine.exchange.request] if engine.exchange else []
            )
        if heart.fresh is None:
            return ()
        waited = seen.now - heart.fresh.now + self.ledger.engines.late(heart)
        found = f"engine {engine.id} given up {waited / SECOND:.3f} s after its last answer"
        return self.judge(
            waited >= soonest - self.setting.period_ns // 2,
            seen,
            found,
            f"{soonest / SECOND:.3f} s or later: {self.setting.allowed_misses} misses are allowed",
            evidence=[heart.fresh],
        )


class RemovalInTime(RemovalRule):
    """An engine is given up at the latest (misses + 2) periods after its last beat, plus a margin."""

    slug = "heartbeat.removal-in-time"

    def removed(self, seen: Observation, engine: Engine) -> Iterable[Violation]:
        last = self._last(engine)
        if last is None:
            return ()
        waited = self.ledger.waited(last, seen.now)
        found = f"engine {engine.id} given up {waited / SECOND:.3f} s after its last answer"
        return self.judge(waited <= self._limit, seen, found, self._allowed, evidence=self._evidence(engine))

    def finish(self, now: int) -> Iterable[Violation]:
        engines = self.ledger.engines
        for engine in engines.granted:
            last = self._last(engine)
            if last is None or engine.leaving is not None or engines.closing is not None:
                continue
            waited = self.ledger.waited(last, now)
            for socket, announced in engine.announced.items():
                if socket in engines.watchers and socket not in engine.gone and waited > self._limit:
                    found = f"engine {engine.id} not given up {waited / SECOND:.3f} s after its last answer"
                    yield self.accuse(announced, found, self._allowed, evidence=self._evidence(engine), now=now)

    @property
    def _limit(self) -> int:
        return self.setting.latest_death_ns + self.setting.margin_ns

    @property
    def _allowed(self) -> str:
        return f"within {self._limit / SECOND:.3f} s: {self.setting.allowed_misses} misses are allowed"

    def _last(self, engine: Engine) -> int | None:
        heart = self.ledger.engines.hearts.get(engine.uuid)
        if heart is None:
            return None
        if heart.is_unseen:
            return heart.stopped
        return heart.last.now if heart.last is not None else None

    def _evidence(self, engine: Engine) -> list[Observation]:
        heart = self.ledger.engines.hearts.get(engine.uuid)
        return [heart.last] if heart is not None and heart.last is not None else []


class UnknownHeartIgnored(MessageRule):
    """Beats under an identity that never registered register nobody and are announced to nobody."""

    slug = "heartbeat.unknown-heart-ignored"
    channels = frozenset({"notification"})

    def check(self, seen: Observation) -> Iterable[Violation]:
        engines = self.ledger.engines
        strangers = [uuid for uuid in engines.hearts if uuid not in engines.asking]
        named = names(seen)
        if not strangers or named is None:
            return ()
        heart = engines.hearts.get(named[0])
        evidence = [heart.last] if heart is not None and heart.last is not None else []
        found = f"{named[0]!r} announced, which never registered"
        return self.judge(named[0] not in strangers, seen, found, "nothing", evidence=evidence)


RULES: tuple[type[Rule], ...] = (
    RawNotMessage,
    PingSingleFrame,
    PingIsLifetime,
    PingDistinct,
    LifetimeIncreases,
    PingPeriodic,
    PingMatchesPeriod,
    LifetimeTracksPeriod,
    PingReachesAll,
    RemovalNotEarly,
    RemovalInTime,
    UnknownHeartIgnored,
)
