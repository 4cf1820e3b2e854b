"""Requests and what may answer them: the part of the wire format that concerns two messages."""

from collections.abc import Iterable

from protocol.rules.framework import AnswerRule, Kind, Observe, Rule, Violation
from protocol.rules.ledger import Exchange
from protocol.rules.parts import content_of, lost_keys, parent_of
from protocol.world import Observation

STATUSES = ("ok", "error", "aborted")
#: Replies whose `status`, if they have one, says something of their own.
OWN_FORM = frozenset({"is_complete_reply", "debug_reply", "usage_reply"})


class ReplyParent(AnswerRule):
    """The parent header of a reply is the whole header of its request; a registration reply may have none."""

    slug = "wire.reply-parent"

    def check(self, seen: Observation, exchange: Exchange) -> Iterable[Violation]:
        assert seen.message is not None
        parent = parent_of(seen.message)
        if not parent and seen.message.msg_type == "registration_reply":
            return ()
        wrong = lost_keys(exchange.message.header, parent)
        found = f"a parent header that differs in {', '.join(wrong)}"
        return self.judge(not wrong, seen, found, "the header of the request", evidence=[exchange.request])


class ReplyType(AnswerRule):
    """The reply to a request has the type that belongs to it, or says `hub_error`."""

    slug = "wire.reply-type"

    def check(self, seen: Observation, exchange: Exchange) -> Iterable[Violation]:
        assert seen.message is not None
        if exchange.row is None or exchange.is_one_way:
            return ()
        allowed = (*exchange.row.replies, "hub_error")
        found = f"{seen.message.msg_type} for {exchange.message.msg_type}"
        return self.judge(seen.message.msg_type in allowed, seen, found, *allowed, evidence=[exchange.request])


class ReplyStatus(AnswerRule):
    """The content of a reply has `status`: ok, error or aborted."""

    slug = "wire.reply-status"

    def check(self, seen: Observation, exchange: Exchange) -> Iterable[Violation]:
        assert seen.message is not None
        status = content_of(seen.message).get("status")
        if seen.message.msg_type in OWN_FORM:
            return ()
        return self.judge(status in STATUSES, seen, f"the status {status!r}", *STATUSES, evidence=[exchange.request])


class ErrorShape(AnswerRule):
    """A reply with status `error` has `ename`, `evalue` and `traceback`."""

    slug = "wire.error-shape"

    def check(self, seen: Observation, exchange: Exchange) -> Iterable[Violation]:
        assert seen.message is not None
        content = content_of(seen.message)
        if content.get("status") != "error":
            return ()
        wrong = [key for key in ("ename", "evalue") if not isinstance(content.get(key), str)]
        lines = content.get("traceback")
        if not isinstance(lines, list) or not all(isinstance(line, str) for line in lines):
            wrong.append("traceback")
        found = f"an error without a good {' and '.join(wrong)}"
        return self.judge(not wrong, seen, found, "ename, evalue: str; traceback: [str]", evidence=[exchange.request])


class IdentitiesEchoed(AnswerRule):
    """The identities before the delimiter of a request come back before the delimiter of the reply."""

    slug = "wire.reply-identities-echoed"

    def check(self, seen: Observation, exchange: Exchange) -> Iterable[Violation]:
        assert seen.message is not None
        if exchange.message.msg_id in self.ledger.altered:
            # Identities are not signed: who answers cannot know what they were.
            return ()
        if exchange.is_damaged and not parent_of(seen.message):
            # A reply that names nothing may belong to a later request, where one that makes no sense was passed over.
            return ()
        sent, got = exchange.message.identities, seen.message.identities
        found = f"{len(got)} identities {list(got)[:4]!r}"
        return self.judge(got == sent, seen, found, f"{list(sent)[:4]!r}", evidence=[exchange.request])


class AtMostOneReply(AnswerRule):
    """A request never gets more than one terminal reply."""

    slug = "wire.at-most-one-reply"

    def check(self, seen: Observation, exchange: Exchange) -> Iterable[Violation]:
        if exchange.replays:
            return ()
        found = f"reply {len(exchange.replies)} to one {exchange.message.msg_type}"
        return self.judge(
            len(exchange.replies) == 1, seen, found, "one reply", evidence=[exchange.request, *exchange.replies]
        )


class EveryRequestAnswered(AnswerRule):
    """Every accepted request of a type that has a reply gets a reply or an error in bounded time."""

    slug = "wire.every-request-answered"

    def check(self, seen: Observation, exchange: Exchange) -> Iterable[Violation]:
        return self.judge(True, seen, "", evidence=[exchange.request])

    def finish(self, now: int) -> Iterable[Violation]:
        closing = self.ledger.engines.closing
        for exchange in self.ledger.exchanges:
            asked = exchange.request
            # What was sent raw is judged by the case that sent it: it knows which mistake it made.
            if exchange.replies or exchange.is_closed or exchange.is_damaged or not exchange.is_owed:
                continue
            # What an engine still had to do when it was told to end is for the cases of its end to judge.
            if closing is not None and (asked.seq > closing.seq or self.setting.role == "engine"):
                continue
            waited = self.ledger.waited(asked.now, now)
            if waited >= self.setting.reply_deadline_ns:
                allowed = exchange.row.replies if exchange.row else ()
                found = f"no reply to {exchange.message.msg_type} in {waited / 1e9:.1f} s"
                yield self.accuse(asked, found, *allowed, "hub_error", now=now)


class OrphanRule(Rule):
    """Base of rules about replies to nothing that was accepted; `kinds` of orphans are accused (see `Orphan`)."""

    kinds: frozenset[str] = frozenset()
    what = ""

    def listener(self, kind: Kind) -> Observe | None:
        is_meant = kind.direction == "received" and kind.msg_type is not None and kind.channel in self.setting.asked
        return super().listener(kind) if is_meant else None

    def observe(self, seen: Observation) -> Iterable[Violation]:
        """Accuse an orphan of these kinds; an answer after a message that had to be dropped exercises the rule."""
        orphan = self.ledger.orphan
        if orphan is None:
            if not self.is_exercised and self.is_tempted(seen):
                self.is_exercised = True
        elif orphan.kind in self.kinds and seen.message is not None:
            evidence = [orphan.cause] if orphan.cause is not None else []
            return (self.accuse(seen, f"{seen.message.msg_type} {self.what}", "no answer", evidence=evidence),)
        return ()

    def is_tempted(self, seen: Observation) -> bool:
        """Whether this answers something sent later than a message that had to stay unanswered: a barrier."""
        exchange = self.ledger.answered(seen)
        return exchange is not None and any(
            dropped.kind in self.kinds and dropped.seen.seq < exchange.request.seq
            for dropped in self.ledger.dropped[seen.socket]
        )


class UndelimitedDropped(OrphanRule):
    """A multipart without delimiter is dropped without an answer."""

    slug = "wire.delimiter-present"
    variant = "dropped"
    kinds = frozenset({"undelimited"})
    what = "for frames without delimiter"


class ShortDropped(OrphanRule):
    """A message that lacks one of its parts is dropped."""

    slug = "wire.all-parts-present"
    variant = "dropped"
    kinds = frozenset({"short"})
    what = "for a message that ends too early"


class UnauthenticatedUnanswered(OrphanRule):
    """A message that fails authentication gets no reply of any kind."""

    slug = "wire.unauthenticated-unanswered"
    kinds = frozenset({"forged"})
    what = "for a message that is not authentic"


class ReplayRefused(OrphanRule):
    """A message whose signature was accepted before is not processed again."""

    slug = "wire.replay-refused"
    kinds = frozenset({"replayed"})
    what = "for a replay on another socket"

    def listener(self, kind: Kind) -> Observe | None:
        return super().listener(kind)

    def observe(self, seen: Observation) -> Iterable[Violation]:
        exchange = self.ledger.answered(seen)
        if exchange is not None and exchange.replays and len(exchange.replies) > 1:
            evidence = [exchange.request, *exchange.replays, *exchange.replies]
            return (self.accuse(seen, "a reply to a replay", "one reply to the first copy", evidence=evidence),)
        return super().observe(seen)


class AskersKeptApart(OrphanRule):
    """Each asker gets the answers to its own requests and nobody else's."""

    slug = "query.two-askers-kept-apart"
    channels = frozenset({"query"})
    kinds = frozenset({"elsewhere", "unasked"})
    what = "that answers no request of this socket"

    def is_tempted(self, seen: Observation) -> bool:
        return any(exchange.request.socket != seen.socket for exchange in self.ledger.exchanges)


RULES: tuple[type[Rule], ...] = (
    ReplyParent,
    ReplyType,
    ReplyStatus,
    ErrorShape,
    IdentitiesEchoed,
    AtMostOneReply,
    EveryRequestAnswered,
    UndelimitedDropped,
    ShortDropped,
    UnauthenticatedUnanswered,
    ReplayRefused,
    AskersKeptApart,
)
