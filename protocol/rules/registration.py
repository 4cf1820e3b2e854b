"""Who may register, under which id, and which engines a client is told of when it connects."""

from collections.abc import Iterable, Iterator

from protocol.rules.engines import Engine
from protocol.rules.framework import AnswerRule, Kind, Observe, Rule, Violation
from protocol.rules.ledger import Exchange
from protocol.rules.parts import content_seen, whole
from protocol.world import Observation


class RegistrationRule(AnswerRule):
    """Base of rules about the answer to a registration that the kit meant to be right."""

    def listener(self, kind: Kind) -> Observe | None:
        return super().listener(kind) if kind.about == "answer" else None

    def observe(self, seen: Observation) -> Iterable[Violation]:
        """Call `check` for the first answer to a `registration_request`."""
        exchange = self.ledger.answered(seen)
        if exchange is None or exchange.message.msg_type != "registration_request" or len(exchange.replies) > 1:
            return ()
        return self.check(seen, exchange)

    def earlier(self, exchange: Exchange) -> list[Engine]:
        """The engines granted to the same uuid before this registration was sent."""
        uuid = content_seen(exchange.request).get("uuid")
        known = self.ledger.engines.of_uuid.get(uuid, []) if isinstance(uuid, str) else []
        return [each for each in known if each.reply is not None and each.reply.seq < exchange.request.seq]

    def has_rival(self, exchange: Exchange, since: Engine) -> bool:
        """Whether another registration of the same uuid, after this engine's, may have been granted before this one."""
        uuid, first = content_seen(exchange.request).get("uuid"), since.exchange
        for other in self.ledger.engines.asking.get(uuid, []) if isinstance(uuid, str) else []:
            if other is exchange or (first is not None and other.request.seq <= first.request.seq):
                continue
            if not other.replies or other.replies[0].seq > exchange.request.seq or not is_error(other.replies[0]):
                return True
        return False

    def holder(self, seen: Observation, exchange: Exchange) -> Engine | None:
        """The announced engine that surely held the uuid while this registration was handled."""
        engines = self.ledger.engines
        for engine in self.earlier(exchange):
            if engine.announced_before(exchange.request) and engines.is_surely_alive(engine, seen.now):
                return engine
        return None

    def waiting(self, seen: Observation, exchange: Exchange) -> Engine | None:
        """The engine whose pending registration surely held the uuid while this registration was handled."""
        for engine in self.earlier(exchange):
            if engine.announced or engine.gone or engine.leaving is not None or engine.exchange is None:
                continue
            is_fresh = seen.now - engine.exchange.request.now < self.setting.registration_timeout_ns
            if is_fresh and self.ledger.engines.is_surely_mute(engine.uuid):
                return engine
        return None


def is_error(seen: Observation) -> bool:
    """Whether an answer reports an error."""
    return content_seen(seen).get("status") == "error"


def story(*pieces: Observation | None) -> list[Observation]:
    """The pieces of evidence that there are."""
    return [piece for piece in pieces if piece is not None]


class ReplyId(RegistrationRule):
    """An accepted registration is told its engine id, an integer from 0."""

    slug = "registration.reply-id"

    def check(self, seen: Observation, exchange: Exchange) -> Iterable[Violation]:
        if is_error(seen):
            return ()
        number = content_seen(seen).get("id")
        value = whole(number)
        holds = value is not None and value >= 0
        return self.judge(holds, seen, f"the id {number!r}", "an integer from 0", evidence=[exchange.request])


class ReplyPeriod(RegistrationRule):
    """The reply has `hb_period`, the heartbeat period in milliseconds, an integer."""

    slug = "registration.reply-hb-period"

    def check(self, seen: Observation, exchange: Exchange) -> Iterable[Violation]:
        if is_error(seen):
            return ()
        period = content_seen(seen).get("hb_period")
        value = whole(period)
        holds = value is not None and value > 0
        return self.judge(holds, seen, f"hb_period {period!r}", "milliseconds, an integer", evidence=[exchange.request])


class DuplicateRefused(RegistrationRule):
    """A registration that names the uuid of a live engine is refused."""

    slug = "registration.duplicate-uuid-refused"

    def check(self, seen: Observation, exchange: Exchange) -> Iterable[Violation]:
        holder = self.holder(seen, exchange)
        if holder is None:
            return ()
        found = f"uuid {holder.uuid!r} of engine {holder.id} registered again"
        evidence = story(holder.reply, *holder.announced.values(), exchange.request)
        return self.judge(is_error(seen), seen, found, "status error", evidence=evidence)


class PendingRefused(RegistrationRule):
    """A registration that names the uuid of a pending one is refused."""

    slug = "registration.pending-uuid-refused"

    def check(self, seen: Observation, exchange: Exchange) -> Iterable[Violation]:
        waiting = self.waiting(seen, exchange)
        if waiting is None:
            return ()
        found = f"uuid {waiting.uuid!r}, pending as engine {waiting.id}, registered again"
        evidence = story(waiting.reply, exchange.request)
        return self.judge(is_error(seen), seen, found, "status error", evidence=evidence)


class RefusalInReply(RegistrationRule):
    """The refusal of a uuid in use is a `registration_reply`, not another type."""

    slug = "registration.refusal-in-reply"

    def check(self, seen: Observation, exchange: Exchange) -> Iterable[Violation]:
        holder = self.holder(seen, exchange) or self.waiting(seen, exchange)
        if holder is None or not is_error(seen) or exchange.is_damaged or seen.message is None:
            return ()
        kind = seen.message.msg_type
        evidence = story(holder.reply, exchange.request)
        return self.judge(
            kind == "registration_reply", seen, f"a refusal in {kind}", "registration_reply", evidence=evidence
        )


class IdUnique(RegistrationRule):
    """No two engines, live or pending, have the same id."""

    slug = "registration.id-unique"

    def check(self, seen: Observation, exchange: Exchange) -> Iterable[Violation]:
        for engine, other in shared_id(self, seen):
            if other is None:
                yield from self.judge(True, seen, "")
            elif not is_over(self, other, seen):
                found = f"id {engine.id} for {engine.uuid!r}, which {other.uuid!r} has"
                evidence = story(other.reply, *other.announced.values(), exchange.request)
                yield self.accuse(seen, found, "an id of its own", evidence=evidence)


class IdNeverReused(RegistrationRule):
    """An engine id is never given out again while the controller runs, unless an engine asks for it.

    Whether one whose engine has gone is free for who asks for it, nobody says: it may be given, or another one.
    """

    slug = "registration.id-never-reused"

    def check(self, seen: Observation, exchange: Exchange) -> Iterable[Violation]:
        if content_seen(exchange.request).get("id") is not None:
            return
        for engine, other in shared_id(self, seen):
            if other is None:
                if any(is_over(self, each, seen) for each in self.ledger.engines.all()):
                    yield from self.judge(True, seen, "")
            elif is_over(self, other, seen):
                found = f"id {engine.id} for {engine.uuid!r}, which {other.uuid!r} had"
                evidence = story(other.reply, other.leaving, *other.gone.values(), exchange.request)
                yield self.accuse(seen, found, "an id never used", evidence=evidence)


def is_over(rule: Rule, engine: Engine, seen: Observation) -> bool:
    """Whether an engine had its time before `seen`: it is gone, it left, or its registration waited too long.

    A heart that once beat under its name may have been that of somebody before it.
    """
    if engine.gone or engine.leaving is not None:
        return True
    if engine.exchange is None or engine.announced:
        return False
    return seen.now - engine.exchange.request.now > rule.setting.registration_timeout_ns


def shared_id(rule: Rule, seen: Observation) -> Iterator[tuple[Engine, Engine | None]]:
    """The engine that this answer grants, with each other engine of the same id, or with None if there is none."""
    engines = rule.ledger.engines
    granted = engines.granted[-1] if engines.granted else None
    if granted is None or granted.reply is not seen:
        return
    others: list[Engine | None] = [each for each in engines.of_id[granted.id] if each is not granted]
    yield from ((granted, other) for other in others or [None])


class PendingExpires(RegistrationRule):
    """A registration whose heart is not heard within the timeout is dropped, and its uuid can register again."""

    slug = "registration.pending-expires"

    def check(self, seen: Observation, exchange: Exchange) -> Iterable[Violation]:
        earlier = self.earlier(exchange)
        if not earlier or exchange.is_damaged or not self.ledger.engines.is_surely_mute(earlier[-1].uuid):
            return ()
        last = earlier[-1]
        if last.reply is None or last.announced or last.leaving is not None or self.has_rival(exchange, last):
            return ()
        limit = self.setting.registration_timeout_ns + 2 * self.setting.period_ns + self.setting.margin_ns
        waited = exchange.request.now - last.reply.now
        if waited < limit:
            return ()
        found = f"a refusal {waited / 1e9:.1f} s after the pending registration as engine {last.id}"
        return self.judge(not is_error(seen), seen, found, "status ok", evidence=story(last.reply, exchange.request))


class CanReturn(RegistrationRule):
    """An engine that was unregistered can register again with the same uuid, under a new id."""

    slug = "registration.can-return"

    def check(self, seen: Observation, exchange: Exchange) -> Iterable[Violation]:
        earlier = self.earlier(exchange)
        gone = earlier[-1].gone_before(exchange.request) if earlier else None
        if gone is None or exchange.is_damaged or self.has_rival(exchange, earlier[-1]):
            return ()
        found = f"a refusal of uuid {earlier[-1].uuid!r}, whose engine {earlier[-1].id} is gone"
        return self.judge(not is_error(seen), seen, found, "status ok", evidence=story(gone, exchange.request))


class UnregistrationUnanswered(AnswerRule):
    """An unregistration request gets no reply."""

    slug = "registration.unregistration-unanswered"

    def check(self, seen: Observation, exchange: Exchange) -> Iterable[Violation]:
        if not exchange.is_one_way:
            if self.is_exercised:
                return ()
            asked = [each for each in self.ledger.exchanges if each.request.socket == seen.socket and each.is_one_way]
            # The answer to a later request proves the silence.
            is_barrier = any(each.request.seq < exchange.request.seq and not each.is_damaged for each in asked)
            return self.judge(True, seen, "") if is_barrier else ()
        if exchange.is_damaged or seen.message is None:
            return ()
        found = f"{seen.message.msg_type} for {exchange.message.msg_type}"
        return self.judge(False, seen, found, "no answer", evidence=[exchange.request])


class ConnectionRule(AnswerRule):
    """Base of rules about the engines in a `connection_reply`."""

    types = frozenset({"connection_reply"})

    def listed(self, seen: Observation) -> dict[str, object]:
        """The engines of the reply: id as text to uuid."""
        engines = content_seen(seen).get("engines")
        return engines if isinstance(engines, dict) else {}


class ConnectionAnswered(AnswerRule):
    """A `connection_request` is answered with status ok."""

    slug = "connection.request-answered"

    def check(self, seen: Observation, exchange: Exchange) -> Iterable[Violation]:
        if exchange.message.msg_type != "connection_request" or exchange.is_damaged or seen.message is None:
            return ()
        status = content_seen(seen).get("status")
        found = f"{seen.message.msg_type} with status {status!r}"
        holds = status == "ok" and seen.message.msg_type == "connection_reply"
        return self.judge(holds, seen, found, "connection_reply with status 'ok'", evidence=[exchange.request])


class EnginesListed(ConnectionRule):
    """`engines` maps each id, as a decimal string, to a uuid."""

    slug = "connection.engines-listed"

    def check(self, seen: Observation, exchange: Exchange) -> Iterable[Violation]:
        engines = content_seen(seen).get("engines")
        if is_error(seen) or exchange.message.msg_type != "connection_request":
            return ()
        holds = isinstance(engines, dict) and all(
            key.isdecimal() and isinstance(value, str) for key, value in engines.items()
        )
        found = f"engines {engines!r:.200}"
        return self.judge(holds, seen, found, "an object from decimal id to uuid", evidence=[exchange.request])


class OnlyHeardEngines(ConnectionRule):
    """An engine appears in `connection_reply` only once one of its heartbeats was heard."""

    slug = "connection.only-heard-engines"

    def check(self, seen: Observation, exchange: Exchange) -> Iterable[Violation]:
        engines, listed = self.ledger.engines, self.listed(seen)
        for engine in engines.granted:
            if engines.is_surely_mute(engine.uuid):
                found = f"engine {engine.id}, whose heart never beat"
                evidence = story(engine.reply, exchange.request)
                holds = listed.get(str(engine.id)) != engine.uuid
                yield from self.judge(holds, seen, found, "engines whose heart was heard", evidence=evidence)


class NoDeadEngines(ConnectionRule):
    """An engine that was unregistered does not appear in later connection replies."""

    slug = "connection.no-dead-engines"

    def check(self, seen: Observation, exchange: Exchange) -> Iterable[Violation]:
        listed = self.listed(seen)
        for engine in self.ledger.engines.all():
            gone = engine.gone_before(exchange.request)
            if gone is not None:
                found = f"engine {engine.id}, which was announced as gone"
                evidence = story(gone, exchange.request)
                holds = listed.get(str(engine.id)) != engine.uuid
                yield from self.judge(holds, seen, found, "live engines", evidence=evidence)


class SnapshotComplete(ConnectionRule):
    """A connection reply lists every engine that was announced before it was asked for and is still alive."""

    slug = "connection.snapshot-agrees-with-notifications"

    def check(self, seen: Observation, exchange: Exchange) -> Iterable[Violation]:
        engines, listed = self.ledger.engines, self.listed(seen)
        for engine in engines.all():
            announced = engine.announced_before(exchange.request)
            if announced is not None and engines.is_surely_alive(engine, seen.now):
                found = f"engines {listed!r:.200} without {engine.id}: {engine.uuid!r}"
                evidence = story(announced, exchange.request)
                holds = listed.get(str(engine.id)) == engine.uuid
                yield from self.judge(holds, seen, found, "every announced engine", evidence=evidence)


class IdentityUnique(ConnectionRule):
    """At any time one uuid belongs to at most one engine."""

    slug = "registration.identity-unique"

    def check(self, seen: Observation, exchange: Exchange) -> Iterable[Violation]:
        uuids = [str(uuid) for uuid in self.listed(seen).values()]
        twice = sorted({uuid for uuid in uuids if uuids.count(uuid) > 1})
        found = f"{', '.join(twice)} under several ids"
        return self.judge(not twice, seen, found, "each uuid once", evidence=[exchange.request])


RULES: tuple[type[Rule], ...] = (
    ReplyId,
    ReplyPeriod,
    DuplicateRefused,
    PendingRefused,
    RefusalInReply,
    IdUnique,
    IdNeverReused,
    PendingExpires,
    CanReturn,
    UnregistrationUnanswered,
    ConnectionAnswered,
    EnginesListed,
    OnlyHeardEngines,
    NoDeadEngines,
    SnapshotComplete,
    IdentityUnique,
)
