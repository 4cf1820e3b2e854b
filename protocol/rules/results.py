"""What the Hub tells of results and records: complete, consistent, stable, and forgotten when asked to."""

from collections.abc import Iterable
from typing import Any

from protocol.rules.framework import Kind, Observe, Rule, Violation
from protocol.rules.ledger import Exchange
from protocol.rules.parts import content_seen, text_list, whole
from protocol.rules.query import OkRule, is_ok
from protocol.world import Observation

_FIXED = ("status", "pending", "completed")
_PARTS = ("header", "result_header", "result_content")


class ResultReader(Rule):
    """Base of rules that read requests for results and their replies."""

    def asked(self, exchange: Exchange) -> set[str]:
        """The message ids that the request names."""
        return set(text_list(content_seen(exchange.request).get("msg_ids")))

    def is_status_only(self, exchange: Exchange) -> bool:
        """Whether the request asks for no records, under the key of the dialect."""
        key = "statusonly" if self.setting.dialect == "documented" else "status_only"
        return content_seen(exchange.request).get(key) is True

    def entries(self, seen: Observation) -> dict[str, Any]:
        """The records of the reply by message id: what names a message or looks like a record, and no unknown keys."""
        told = {each for ids in self.both(seen) for each in ids}
        return {
            key: value
            for key, value in content_seen(seen).items()
            if key not in _FIXED and (key in told or (isinstance(value, dict) and not value.keys().isdisjoint(_PARTS)))
        }

    def both(self, seen: Observation) -> tuple[list[str], list[str]]:
        """The lists `pending` and `completed`."""
        content = content_seen(seen)
        return text_list(content.get("pending")), text_list(content.get("completed"))


class ResultRule(ResultReader, OkRule):
    """Base of rules about a successful `result_reply`."""

    types = frozenset({"result_reply"})


class ResultByMsgId(ResultRule):
    """The reply deals with exactly the ids that the request names."""

    slug = "query.result-by-msg-id"

    def check(self, seen: Observation, exchange: Exchange) -> Iterable[Violation]:
        pending, completed = self.both(seen)
        told, asked = {*pending, *completed}, self.asked(exchange)
        found = f"{sorted(told)}"
        return self.judge(told == asked, seen, found, f"{sorted(asked)}", evidence=[exchange.request])


class ResultOnePlace(ResultRule):
    """Each id is in exactly one of `pending` and `completed`."""

    slug = "query.result-one-place"

    def check(self, seen: Observation, exchange: Exchange) -> Iterable[Violation]:
        pending, completed = self.both(seen)
        both = sorted(set(pending) & set(completed))
        return self.judge(not both, seen, f"{both} in both lists", "one list", evidence=[exchange.request])


class ResultCompleted(ResultRule):
    """A message in `completed` has its entry, unless only the status was asked for."""

    slug = "query.result-completed"

    def check(self, seen: Observation, exchange: Exchange) -> Iterable[Violation]:
        completed = self.both(seen)[1]
        if self.is_status_only(exchange) or not completed:
            return ()
        missing = sorted(set(completed) - self.entries(seen).keys())
        return self.judge(not missing, seen, f"no entry for {missing}", "an entry each", evidence=[exchange.request])


class ResultPending(ResultRule):
    """A message in `pending` has no entry."""

    slug = "query.result-pending"

    def check(self, seen: Observation, exchange: Exchange) -> Iterable[Violation]:
        pending = self.both(seen)[0]
        if not pending:
            return ()
        extra = sorted(set(pending) & self.entries(seen).keys())
        return self.judge(not extra, seen, f"entries for {extra}", "no entry", evidence=[exchange.request])


class ResultStatusOnly(ResultRule):
    """When only the status is asked for, the reply has the two lists and no entries."""

    slug = "query.result-status-only"

    def check(self, seen: Observation, exchange: Exchange) -> Iterable[Violation]:
        if not self.is_status_only(exchange):
            return ()
        extra = sorted(self.entries(seen))
        return self.judge(not extra, seen, f"entries for {extra}", "no entries", evidence=[exchange.request])


class ResultNoBuffers(ResultRule):
    """There are no buffers when nothing is complete or only the status was asked for."""

    slug = "query.result-no-buffers"

    def check(self, seen: Observation, exchange: Exchange) -> Iterable[Violation]:
        if self.both(seen)[1] and not self.is_status_only(exchange):
            return ()
        count = len(seen.message.buffers) if seen.message is not None else 0
        return self.judge(count == 0, seen, f"{count} buffers", "none", evidence=[exchange.request])


class ResultHeader(ResultRule):
    """The entry's header is the header of the request that it is about."""

    slug = "query.result-header"

    def check(self, seen: Observation, exchange: Exchange) -> Iterable[Violation]:
        for msg_id, entry in self.entries(seen).items():
            header = entry.get("header") if isinstance(entry, dict) else None
            if isinstance(header, dict):
                found = f"a header of {header.get('msg_id')!r} under {msg_id!r}"
                holds = header.get("msg_id") == msg_id
                yield from self.judge(holds, seen, found, "its own header", evidence=[exchange.request])


class ResultRepeatable(ResultReader):
    """A result can be asked for again: what was completed stays so, unless somebody purged.

    That a message is completed does not promise that its result is there: it may never have been kept. Only who was
    given it may not be refused it later.
    """

    slug = "query.result-repeatable"

    def begin(self) -> None:
        self._done: dict[str, Observation] = {}
        self._given: dict[str, Observation] = {}

    def listener(self, kind: Kind) -> Observe | None:
        return super().listener(kind) if kind.about == "answer" else None

    def observe(self, seen: Observation) -> Iterable[Violation]:
        exchange = self.ledger.answered(seen)
        if exchange is None or exchange.message.msg_type not in ("result_request", "purge_request"):
            return
        if exchange.message.msg_type == "purge_request":
            self._done.clear()
            self._given.clear()
            return
        asked = self.asked(exchange)
        seen_before = self._done if is_ok(seen) or self.is_status_only(exchange) else self._given
        known = {msg_id: first for msg_id in asked if (first := seen_before.get(msg_id)) is not None}
        before = {msg_id: first for msg_id, first in known.items() if first.seq < exchange.request.seq}
        lost = sorted(before.keys() & set(self.both(seen)[0])) if is_ok(seen) else []
        if not is_ok(seen) and before.keys() == asked and asked and not exchange.is_damaged:
            lost = sorted(asked)
        if before:
            evidence = [*before.values(), exchange.request]
            # A purge that was sent may have been done, answered or not.
            holds = not lost or any(each.message.msg_type == "purge_request" for each in self.ledger.exchanges)
            yield from self.judge(holds, seen, f"{lost} not completed any more", "as before", evidence=evidence)
        if is_ok(seen):
            for msg_id in self.both(seen)[1]:
                self._done.setdefault(msg_id, seen)
                if not self.is_status_only(exchange):
                    self._given.setdefault(msg_id, seen)


class HistoryOnce(OkRule):
    """Each id stands in the history once."""

    slug = "query.history-once"
    types = frozenset({"history_reply"})

    def check(self, seen: Observation, exchange: Exchange) -> Iterable[Violation]:
        history = text_list(content_seen(seen).get("history"))
        twice = (
            sorted({msg_id for msg_id in history if history.count(msg_id) > 1})
            if len(set(history)) < len(history)
            else []
        )
        return self.judge(not twice, seen, f"{twice} several times", "each id once", evidence=[exchange.request])


class DbRule(OkRule):
    """Base of rules about a successful `db_reply`."""

    types = frozenset({"db_reply"})

    def records(self, seen: Observation) -> list[dict[str, Any]]:
        """The records that can be looked at."""
        records = content_seen(seen).get("records")
        return [each for each in records if isinstance(each, dict)] if isinstance(records, list) else []

    def keys(self, exchange: Exchange) -> list[str] | None:
        """The fields asked for; None for all."""
        keys = content_seen(exchange.request).get("keys")
        return text_list(keys) if isinstance(keys, list) else None


class DbKeys(DbRule):
    """With `keys` the records have only these fields, and `msg_id` always."""

    slug = "query.db-keys"

    def check(self, seen: Observation, exchange: Exchange) -> Iterable[Violation]:
        keys = self.keys(exchange)
        if keys is None:
            return
        for record in self.records(seen):
            extra = sorted(record.keys() - {*keys, "msg_id"})
            found = f"a record with {extra}" if extra else "a record without msg_id"
            holds = not extra and "msg_id" in record
            yield from self.judge(holds, seen, found, f"msg_id and {keys}", evidence=[exchange.request])


class DbBufferLens(DbRule):
    """The buffer counts are null when not asked for, one per record when asked, and add up to the buffers sent."""

    slug = "query.db-buffer-lens"

    def check(self, seen: Observation, exchange: Exchange) -> Iterable[Violation]:
        assert seen.message is not None
        content, keys, total = content_seen(seen), self.keys(exchange) or [], 0
        for field, lens in (
            ("buffers", content.get("buffer_lens")),
            ("result_buffers", content.get("result_buffer_lens")),
        ):
            if field not in keys:
                yield from self.judge(
                    lens is None, seen, f"counts {lens!r} of {field}", "null", evidence=[exchange.request]
                )
                continue
            numbers = [whole(each) or 0 for each in lens] if isinstance(lens, list) else []
            total += sum(numbers)
            found, allowed = f"{len(numbers)} counts of {field}", f"{len(self.records(seen))}"
            holds = isinstance(lens, list) and len(numbers) == len(self.records(seen))
            yield from self.judge(holds, seen, found, allowed, evidence=[exchange.request])
        sent = len(seen.message.buffers)
        yield from self.judge(
            sent == total, seen, f"{sent} buffers", f"{total}, as counted", evidence=[exchange.request]
        )


class DbEquality(DbRule):
    """A query `{key: value}` matches the records in which the key has that value."""

    slug = "query.db-equality"

    def check(self, seen: Observation, exchange: Exchange) -> Iterable[Violation]:
        query = content_seen(exchange.request).get("query")
        plain = (
            {key: value for key, value in query.items() if isinstance(value, str)} if isinstance(query, dict) else {}
        )
        for record in self.records(seen):
            for key, value in plain.items():
                if isinstance(record.get(key), str):
                    found = f"a record with {key} {record[key]!r}"
                    holds = record[key] == value
                    yield from self.judge(holds, seen, found, repr(value), evidence=[exchange.request])


class PurgeNothing(Rule):
    """A purge that names nothing is `ok`; a `hub_error` may come of a Hub that cannot purge at all."""

    slug = "query.purge-nothing"

    def listener(self, kind: Kind) -> Observe | None:
        return super().listener(kind) if kind.about == "answer" else None

    def observe(self, seen: Observation) -> Iterable[Violation]:
        exchange = self.ledger.answered(seen)
        if exchange is None or seen.message is None or seen.message.msg_type != "purge_reply":
            return ()
        asked = content_seen(exchange.request)
        if asked.get("msg_ids", []) != [] or asked.get("engine_ids", []) != [] or exchange.is_damaged:
            return ()
        return self.judge(is_ok(seen), seen, "a refusal", "status ok", evidence=[exchange.request])


class PurgeForgets(Rule):
    """What was purged is unknown afterwards, to result requests and to the history."""

    slug = "query.purge-forgets"

    def begin(self) -> None:
        self._purged: dict[str, Observation] = {}

    def listener(self, kind: Kind) -> Observe | None:
        return super().listener(kind) if kind.about == "answer" else None

    def observe(self, seen: Observation) -> Iterable[Violation]:
        exchange = self.ledger.answered(seen)
        if exchange is None or seen.message is None or not is_ok(seen):
            return
        kind, content = seen.message.msg_type, content_seen(seen)
        if kind == "purge_reply" and not exchange.is_damaged:
            for msg_id in text_list(content_seen(exchange.request).get("msg_ids")):
                self._purged.setdefault(msg_id, seen)
        elif kind in ("result_reply", "history_reply") and self._purged:
            gone = {msg_id for msg_id, purge in self._purged.items() if purge.seq < exchange.request.seq}
            if kind == "history_reply":
                told = gone & set(text_list(content.get("history")))
            else:
                gone &= set(text_list(content_seen(exchange.request).get("msg_ids")))
                told = gone & {*text_list(content.get("completed")), *text_list(content.get("pending"))}
            if gone:
                evidence = [exchange.request, *(self._purged[msg_id] for msg_id in gone)]
                yield from self.judge(not told, seen, f"{sorted(told)} still known", "unknown ids", evidence=evidence)


class ResubmitAnswered(OkRule):
    """A resubmission is answered with an object from each old message id to a new one."""

    slug = "query.resubmit-answered"
    types = frozenset({"resubmit_reply"})

    def check(self, seen: Observation, exchange: Exchange) -> Iterable[Violation]:
        told, asked = content_seen(seen).get("resubmitted"), content_seen(exchange.request).get("msg_ids")
        if not isinstance(asked, list):
            return ()
        holds = isinstance(told, dict) and told.keys() == set(text_list(asked))
        return self.judge(holds, seen, f"{told!r:.120}", f"a new id for each of {asked}", evidence=[exchange.request])


class ResubmitFreshId(OkRule):
    """The new id belongs to no other message."""

    slug = "query.resubmit-fresh-id"
    channels = frozenset()
    types = frozenset({"resubmit_reply"})

    def begin(self) -> None:
        self._used: dict[str, Observation] = {}

    def listener(self, kind: Kind) -> Observe | None:
        if kind.msg_type is None or kind.form == "again":
            return None
        return self.observe if super().listener(kind) is not None else self.remember

    def observe(self, seen: Observation) -> Iterable[Violation]:
        self.remember(seen)
        return super().observe(seen)

    def remember(self, seen: Observation) -> Iterable[Violation]:
        """Note the id of a message."""
        if seen.message is not None:
            self._used.setdefault(seen.message.msg_id, seen)
        return ()

    def check(self, seen: Observation, exchange: Exchange) -> Iterable[Violation]:
        told = content_seen(seen).get("resubmitted")
        told = told if isinstance(told, dict) else {}
        for old, new in told.items():
            if isinstance(new, str):
                first = self._used.setdefault(new, seen)
                known = set(text_list(content_seen(exchange.request).get("msg_ids")))
                twice = list(told.values()).count(new) > 1
                evidence = [exchange.request, first]
                # An engine may be given the new message before the reply tells of it.
                is_new = first.seq > exchange.request.seq
                holds = is_new and new not in known and not twice
                yield from self.judge(holds, seen, f"{new!r} for {old!r}", "an id never used", evidence=evidence)


RULES: tuple[type[Rule], ...] = (
    ResultByMsgId,
    ResultOnePlace,
    ResultCompleted,
    ResultPending,
    ResultStatusOnly,
    ResultNoBuffers,
    ResultHeader,
    ResultRepeatable,
    HistoryOnce,
    DbKeys,
    DbBufferLens,
    DbEquality,
    PurgeNothing,
    PurgeForgets,
    ResubmitAnswered,
    ResubmitFreshId,
)
