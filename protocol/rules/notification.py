"""What the Hub publishes of engines: once, in order, to everybody, and only what is so."""

from abc import abstractmethod
from collections import defaultdict
from collections.abc import Iterable, Set

from protocol.rules.framework import Kind, MessageRule, Observe, Rule, Violation
from protocol.rules.memory import forget
from protocol.rules.parts import content_seen, lost_keys, parent_of, whole
from protocol.world import Observation

CAME = "registration_notification"
WENT = "unregistration_notification"
_CHANNEL = frozenset({"notification"})


class NotificationRule(MessageRule):
    """Base of rules about one notification."""

    channels = _CHANNEL


def names(seen: Observation) -> tuple[str, int] | None:
    """The uuid and id in a notification, or None where its content is no such thing."""
    content = content_seen(seen)
    uuid, number = content.get("uuid"), whole(content.get("id"))
    return None if number is None or not isinstance(uuid, str) else (uuid, number)


class OnceRule(NotificationRule):
    """Base of rules that allow one notification of a type per engine on each socket."""

    def begin(self) -> None:
        self._first: dict[tuple[str, str, int], Observation] = {}

    def check(self, seen: Observation) -> Iterable[Violation]:
        named = names(seen)
        if named is None:
            return ()
        first = self._first.setdefault((seen.socket, *named), seen)
        kind = seen.message.msg_type if seen.message else ""
        return self.judge(first is seen, seen, f"{kind} of engine {named[1]} again", "one", evidence=[first])


class RegistrationOnce(OnceRule):
    """`registration_notification` is published exactly once per registered engine."""

    slug = "notification.registration-once"
    types = frozenset({CAME})


class UnregistrationOnce(OnceRule):
    """`unregistration_notification` is published exactly once per death."""

    slug = "notification.unregistration-once"
    types = frozenset({WENT})


class RegistrationContent(NotificationRule):
    """A registration notification has `id` and `uuid` as the engine registered."""

    slug = "notification.registration-content"
    types = frozenset({CAME})

    def begin(self) -> None:
        self._claims: list[tuple[Observation, str, int]] = []

    def check(self, seen: Observation) -> Iterable[Violation]:
        named = names(seen)
        if named is not None:
            self._claims.append((seen, *named))
        return ()

    def finish(self, now: int) -> Iterable[Violation]:  # noqa: ARG002 - a hook
        engines = self.ledger.engines
        for seen, uuid, number in self._claims:
            # What was asked later cannot be why it was announced.
            asked = [exchange for exchange in engines.asking.get(uuid, ()) if exchange.request.seq < seen.seq]
            if not asked or not all(exchange.replies for exchange in asked):
                continue
            granted = [engine for engine in engines.granted if engine.uuid == uuid]
            if not granted and engines.has_strangers:
                # It may have registered before this recording began.
                continue
            ids = [engine.id for engine in granted]
            found = f"{uuid!r} announced as engine {number}"
            allowed = f"the id given to it: {ids}" if ids else "no announcement: it was refused"
            evidence = [engine.reply for engine in granted if engine.reply is not None]
            yield from self.judge(number in ids, seen, found, allowed, evidence=evidence)


class UnregistrationContent(NotificationRule):
    """An unregistration notification has the same `id` and `uuid` as when the engine registered."""

    slug = "notification.unregistration-content"

    def begin(self) -> None:
        self._uuid_of: dict[tuple[str, int], Observation] = {}

    def check(self, seen: Observation) -> Iterable[Violation]:
        named = names(seen)
        if named is None or seen.message is None:
            return ()
        key = (seen.socket, named[1])
        if seen.message.msg_type == CAME:
            self._uuid_of[key] = seen
            return ()
        came = self._uuid_of.get(key)
        if came is None:
            return ()
        uuid = content_seen(came).get("uuid")
        found = f"engine {named[1]} gone with uuid {named[0]!r}"
        return self.judge(uuid == named[0], seen, found, f"uuid {uuid!r}", evidence=[came])


class RegisteredBeforeUnregistered(NotificationRule):
    """The notification of an engine's death never precedes that of its registration."""

    slug = "notification.registered-before-unregistered"

    def begin(self) -> None:
        self._went: dict[tuple[str, str, int], Observation] = {}

    def check(self, seen: Observation) -> Iterable[Violation]:
        named = names(seen)
        if named is None or seen.message is None:
            return ()
        key = (seen.socket, *named)
        if seen.message.msg_type == WENT:
            self._went.setdefault(key, seen)
            return ()
        went = self._went.get(key)
        found = f"engine {named[1]} announced after its end"
        evidence = [] if went is None else [went]
        return self.judge(went is None, seen, found, "first the registration", evidence=evidence)


class NoDeathWithoutLife(NotificationRule):
    """Nobody is announced as gone who was not announced as registered, to a subscriber that was there all the time."""

    slug = "notification.no-death-without-life"
    types = frozenset({WENT})

    def check(self, seen: Observation) -> Iterable[Violation]:
        named, engines = names(seen), self.ledger.engines
        engine = engines.engine(*named) if named else None
        watched = engines.watchers.get(seen.socket)
        if engine is None or engine.exchange is None or watched is None:
            return ()
        if watched.seq >= engine.exchange.request.seq:
            return ()
        found = f"engine {engine.id} gone without having been announced"
        return self.judge(seen.socket in engine.announced, seen, found, "nothing", evidence=[engine.exchange.request])


class ExpiryIsSilent(NotificationRule):
    """A registration that expires or is cancelled while pending is not announced, neither as come nor as gone."""

    slug = "registration.expiry-is-silent"
    types = frozenset({WENT})

    def begin(self) -> None:
        self._accused = False

    def check(self, seen: Observation) -> Iterable[Violation]:
        named, engines = names(seen), self.ledger.engines
        engine = engines.engine(*named) if named else None
        if engine is None or engine.reply is None or not engines.is_surely_mute(engine.uuid):
            return ()
        return self.judge(
            False, seen, f"engine {engine.id} gone, which was pending", "nothing", evidence=[engine.reply]
        )

    def finish(self, now: int) -> Iterable[Violation]:
        # A registration that stayed mute beyond its timeout, before the eyes of a subscriber, exercises the rule.
        engines, limit = self.ledger.engines, self.setting.registration_timeout_ns + self.setting.margin_ns
        for engine in engines.granted:
            is_over = engine.reply is not None and (now - engine.reply.now > limit or engine.leaving is not None)
            if is_over and engines.watchers and engines.is_surely_mute(engine.uuid):
                self.is_exercised = True
        return ()


class PendingUntilHeard(NotificationRule):
    """An engine is announced only after its heart was heard."""

    slug = "registration.pending-until-heard"
    types = frozenset({CAME})

    def check(self, seen: Observation) -> Iterable[Violation]:
        named, engines = names(seen), self.ledger.engines
        if named is None or named[0] not in engines.asking or engines.has_strangers:
            return ()
        found = f"engine {named[1]} announced before its heart beat"
        evidence = [exchange.request for exchange in engines.asking[named[0]]]
        return self.judge(named[0] in engines.hearts, seen, found, "no announcement yet", evidence=evidence)


class NoTopic(NotificationRule):
    """A notification has no frame before the delimiter."""

    slug = "notification.no-topic"

    def check(self, seen: Observation) -> Iterable[Violation]:
        assert seen.message is not None
        topic = list(seen.message.identities)
        return self.judge(not topic, seen, f"{topic!r} before the delimiter", "the delimiter first")


class HeardIsRegistered(Rule):
    """Once its heartbeat is heard a pending engine is registered and announced."""

    slug = "registration.heard-is-registered"

    def finish(self, now: int) -> Iterable[Violation]:
        engines, limit = self.ledger.engines, 2 * self.setting.period_ns
        latest = {engine.uuid: engine for engine in engines.granted}
        for engine in engines.granted:
            heart, reply = engines.heart_of(engine.uuid), engine.reply
            if latest[engine.uuid] is not engine and not engine.announced:
                # It has expired, and its name was given once more: the beats are those of who has it now.
                continue
            if heart is None or heart.first is None or heart.fresh is None or reply is None or engines.closing:
                continue
            if heart.first.now - reply.now > self.setting.registration_timeout_ns - self.setting.margin_ns:
                # It may have expired before, and the heart be that of another registration under its name.
                continue
            since = max(reply.now, heart.first.now)
            until = now if engine.leaving is None else engine.leaving.now
            # Two whole periods of answers: one of them was in time.
            waited = self.ledger.waited(since, until)
            is_due = min(heart.fresh.now, until) - since >= limit and waited >= limit + self.setting.margin_ns
            for socket, watched in engines.watchers.items():
                if socket in engine.announced:
                    yield from self.judge(True, reply, "")
                elif is_due and watched.seq < reply.seq:
                    found = f"no announcement of engine {engine.id} in {waited / 1e9:.1f} s of heartbeats"
                    yield self.accuse(reply, found, CAME, evidence=[heart.fresh], now=now)


class UnregistrationHonoured(Rule):
    """An `unregistration_request` with the id of a live engine removes it and is announced."""

    slug = "registration.unregistration-honoured"

    def finish(self, now: int) -> Iterable[Violation]:
        engines = self.ledger.engines
        for engine in engines.all():
            asked = engine.leaving
            if asked is None or asked.channel != "query" or asked.why is not None or engines.closing:
                continue
            if whole(content_seen(asked).get("id")) != engine.id:
                continue  # it named nobody, and may take off the list whom it likes
            for socket, announced in engine.announced.items():
                if announced.seq > asked.seq or socket not in engines.watchers:
                    continue
                if socket in engine.gone:
                    yield from self.judge(True, asked, "")
                elif (waited := self.ledger.waited(asked.now, now)) >= self.setting.reply_deadline_ns:
                    found = f"engine {engine.id} not announced as gone in {waited / 1e9:.1f} s"
                    yield self.accuse(asked, found, WENT, evidence=[announced], now=now)


class SameForAll(Rule):
    """Base of rules by which all subscribers get the same things in the same order.

    Two subscribers are compared between the first and the last thing that both got: before and after that, one of
    them may not have been there.
    """

    def begin(self) -> None:
        self._heard: defaultdict[str, dict[object, Observation]] = defaultdict(dict)

    def listener(self, kind: Kind) -> Observe | None:
        return super().listener(kind) if kind.direction == "received" else None

    def observe(self, seen: Observation) -> Iterable[Violation]:
        if seen.direction == "received":
            key = self.key(seen)
            if key is not None:
                self._heard[seen.socket].setdefault(key, seen)
        return ()

    @abstractmethod
    def key(self, seen: Observation) -> object:
        """What makes two messages the same for two subscribers; None for what is not compared."""

    def finish(self, now: int) -> Iterable[Violation]:  # noqa: ARG002 - a hook
        sockets = list(self._heard)
        for number, one in enumerate(sockets):
            for other in sockets[number + 1 :]:
                yield from self._compare(self._heard[one], self._heard[other])

    def let_go(self, gone: Set[str], limit: int) -> Iterable[Violation]:  # noqa: ARG002 - what is kept was said to many
        """Compare what was heard so far, and keep the latest of it."""
        if any(len(heard) > limit for heard in self._heard.values()):
            yield from self.finish(0)
            for heard in self._heard.values():
                forget((heard,), frozenset(), limit // 2)

    def _compare(self, one: dict[object, Observation], other: dict[object, Observation]) -> Iterable[Violation]:
        left = _between_common(one, other)
        right = _between_common(other, one)
        if len(left) < 2:
            return
        if left == right:
            yield from self.judge(True, one[left[0]], "")
            return
        at = next(
            (i for i, pair in enumerate(zip(left, right, strict=False)) if pair[0] != pair[1]),
            min(len(left), len(right)) - 1,
        )
        first, second = one[left[at]], other[right[at]]
        found = f"different things to {first.socket} and {second.socket}"
        yield self.accuse(second, found, "the same to all, in the same order", evidence=[first])


def _between_common(one: dict[object, Observation], other: dict[object, Observation]) -> list[object]:
    keys = list(one)
    common = [index for index, key in enumerate(keys) if key in other]
    return keys[common[0] : common[-1] + 1] if common else []


class AllSubscribers(SameForAll):
    """Every subscriber gets every notification, in the same order."""

    slug = "notification.all-subscribers"
    channels = _CHANNEL

    def key(self, seen: Observation) -> object:
        return seen.message.msg_id if seen.message is not None else None


class ShutdownParent(NotificationRule):
    """The parent header of a shutdown notification is the header of the request that caused it."""

    slug = "notification.shutdown-parent"
    types = frozenset({"shutdown_notification"})

    def check(self, seen: Observation) -> Iterable[Violation]:
        assert seen.message is not None
        asked = [each for each in self.ledger.exchanges if each.message.msg_type == "shutdown_request"]
        if not asked:
            return ()
        parent = parent_of(seen.message)
        holds = any(not lost_keys(exchange.message.header, parent) for exchange in asked)
        found = f"the parent header {parent!r:.120}"
        evidence = [exchange.request for exchange in asked]
        return self.judge(holds, seen, found, "the header of the shutdown_request", evidence=evidence)


class ShutdownPublished(Rule):
    """A hub that was asked to shut down publishes `shutdown_notification` before it ends."""

    slug = "notification.shutdown-published"
    channels = _CHANNEL

    def begin(self) -> None:
        self._heard: dict[str, Observation] = {}

    def listener(self, kind: Kind) -> Observe | None:
        return super().listener(kind) if kind.msg_type == "shutdown_notification" else None

    def observe(self, seen: Observation) -> Iterable[Violation]:
        message = seen.message
        if seen.direction == "received" and message is not None and message.msg_type == "shutdown_notification":
            self._heard.setdefault(seen.socket, seen)
        return ()

    def finish(self, now: int) -> Iterable[Violation]:
        for exchange in self.ledger.exchanges:
            ok = [reply for reply in exchange.replies if content_seen(reply).get("status") == "ok"]
            if exchange.message.msg_type != "shutdown_request" or not ok:
                continue
            for socket, watched in self.ledger.engines.watchers.items():
                if watched.seq > exchange.request.seq:
                    continue
                if socket in self._heard:
                    yield from self.judge(True, exchange.request, "")
                elif (waited := self.ledger.waited(ok[0].now, now)) >= self.setting.reply_deadline_ns:
                    found = f"nothing published {waited / 1e9:.1f} s after the shutdown_reply"
                    yield self.accuse(exchange.request, found, "shutdown_notification", evidence=ok, now=now)


RULES: tuple[type[Rule], ...] = (
    RegistrationOnce,
    UnregistrationOnce,
    RegistrationContent,
    UnregistrationContent,
    RegisteredBeforeUnregistered,
    NoDeathWithoutLife,
    ExpiryIsSilent,
    PendingUntilHeard,
    NoTopic,
    HeardIsRegistered,
    UnregistrationHonoured,
    AllSubscribers,
    ShutdownParent,
    ShutdownPublished,
)
