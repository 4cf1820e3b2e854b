"""What the Hub keeps: one place for each message, times that stay and follow each other, purges that spare the rest."""

from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from itertools import pairwise

from protocol.rules.framework import Kind, Observe, Violation
from protocol.rules.jobs import Job, metadata_of
from protocol.rules.ledger import Exchange
from protocol.rules.parts import content_seen, text_list
from protocol.rules.query import OkRule, is_ok
from protocol.rules.results import DbRule, ResultReader
from protocol.world import Observation

#: The times of a record that its client and its engine say, in the order in which they must follow.
TOLD = ("submitted", "started", "completed")
TIMES = (*TOLD, "received")


class QueueListed(ResultReader, OkRule):
    """Base of rules that compare the lists of `queue_reply` with what is told of results."""

    types = frozenset({"queue_reply", "result_reply"})

    def listed(self, seen: Observation, names: Iterable[str]) -> set[str]:
        """The message ids in these lists of all engines; empty where the queues are counted."""
        entries = [entry for entry in content_seen(seen).values() if isinstance(entry, dict)]
        return {each for entry in entries for name in names for each in text_list(entry.get(name))}

    def is_result(self, seen: Observation) -> bool:
        """Whether the reply is about results."""
        return seen.message is not None and seen.message.msg_type == "result_reply"


class SetsWithinPending(QueueListed):
    """What was completed stands neither in a queue nor in the tasks of an engine, nor among the unassigned.

    A message that does is told once, however often it is listed.
    """

    slug = "storage.sets-within-pending"

    def begin(self) -> None:
        self._done: dict[str, Observation] = {}
        self._told: set[str] = set()

    def check(self, seen: Observation, exchange: Exchange) -> Iterable[Violation]:
        if self.is_result(seen):
            for msg_id in self.both(seen)[1]:
                self._done.setdefault(msg_id, seen)
            return ()
        waiting = self.listed(seen, ("queue", "tasks")) | set(text_list(content_seen(seen).get("unassigned")))
        waiting = {msg_id for msg_id in waiting - self._told if not is_muddled(self.ledger.jobs.by_id.get(msg_id))}
        known = {each: told for each in waiting if (told := self._done.get(each)) and told.seq < exchange.request.seq}
        self._told |= known.keys()
        if not waiting:
            return ()
        evidence = [*known.values(), exchange.request]
        return self.judge(not known, seen, f"{sorted(known)} listed, though completed", "what waits", evidence=evidence)


class PendingCompletedDisjoint(QueueListed):
    """What an engine was said to have completed is not pending afterwards."""

    slug = "storage.pending-completed-disjoint"

    def begin(self) -> None:
        self._done: dict[str, Observation] = {}

    def check(self, seen: Observation, exchange: Exchange) -> Iterable[Violation]:
        if not self.is_result(seen):
            for msg_id in self.listed(seen, ("completed",)):
                self._done.setdefault(msg_id, seen)
            return ()
        told = {each for ids in self.both(seen) for each in ids}
        told = {msg_id for msg_id in told if not is_muddled(self.ledger.jobs.by_id.get(msg_id))}
        known = {each: done for each in told if (done := self._done.get(each)) and done.seq < exchange.request.seq}
        if not known:
            return ()
        both = sorted(known.keys() & set(self.both(seen)[0]))
        evidence = [*known.values(), exchange.request]
        return self.judge(not both, seen, f"{both} pending, though completed", "completed", evidence=evidence)


class RecordRule(DbRule):
    """Base of rules about the records of work that this stream has seen whole."""

    def known(self, seen: Observation) -> Iterator[tuple[Job, dict[str, object]]]:
        """The records of clear jobs that one engine was given, once."""
        for record in self.records(seen):
            job = self.ledger.jobs.by_id.get(str(record.get("msg_id")))
            if job is not None and job.is_clear and len(job.deliveries) == 1:
                yield job, record


class TimesOrdered(RecordRule):
    """The times of a record follow each other, if those of the client and the engine that said them do."""

    slug = "storage.times-ordered"

    def check(self, seen: Observation, exchange: Exchange) -> Iterable[Violation]:
        for job, record in self.known(seen):
            times, said = moments(record.get(name) for name in TOLD), said_of(job)
            # Where the Hub fills in a time of its own, its clock need not agree with the others.
            if 1 < len(times) == len(said) and is_in_order(said):
                evidence = [job.request, exchange.request]
                told = {name: record.get(name) for name in TOLD}
                yield from self.judge(is_in_order(times), seen, f"{told}", "one after the other", evidence=evidence)


class TimesOnce(RecordRule):
    """Each time of a record is set once: told again, it is the same."""

    slug = "storage.times-ordered"
    variant = "once"

    def begin(self) -> None:
        self._told: dict[tuple[str, str], tuple[object, Observation]] = {}

    def check(self, seen: Observation, exchange: Exchange) -> Iterable[Violation]:
        for job, record in self.known(seen):
            for name in TIMES:
                value = record.get(name)
                if value is None:
                    continue
                before, first = self._told.setdefault((job.message.msg_id, name), (value, seen))
                if first is not seen and first.seq < exchange.request.seq:
                    found = f"{name} {value!r}, told as {before!r} before"
                    holds = moment_of(value) == moment_of(before)
                    evidence = [first, exchange.request]
                    yield from self.judge(holds, seen, found, "the same time", evidence=evidence)


class PurgeKeepsOthers(ResultReader):
    """A purge that names messages removes no others: who was told of a result can ask for it again."""

    slug = "query.purge-keeps-others"

    def begin(self) -> None:
        #: What was told to be completed, by whether the result was there, and no purge has named since.
        self._told: dict[bool, dict[str, Observation]] = {True: {}, False: {}}
        self._purge: Observation | None = None

    def listener(self, kind: Kind) -> Observe | None:
        return super().listener(kind) if kind.about == "answer" or kind.msg_type == "purge_request" else None

    def observe(self, seen: Observation) -> Iterable[Violation]:
        message = seen.message
        if message is not None and seen.direction == "sent" and message.msg_type == "purge_request":
            self._forget(seen)
        exchange = self.ledger.answered(seen)
        if exchange is None or exchange.is_damaged or exchange.message.msg_type != "result_request":
            return
        is_full = not self.is_status_only(exchange)
        if is_ok(seen):
            for msg_id in self.both(seen)[1]:
                self._told[False].setdefault(msg_id, seen)
                if is_full:
                    self._told[True].setdefault(msg_id, seen)
        asked, told, purge = self.asked(exchange), self._told[is_full], self._purge
        if purge is None or not asked or purge.seq > exchange.request.seq or asked - told.keys():
            return
        first = [told[msg_id] for msg_id in sorted(asked)]
        if any(each.seq < purge.seq for each in first) and all(each.seq < exchange.request.seq for each in first):
            evidence = [*first, purge, exchange.request]
            found = f"{sorted(asked)} unknown, which no purge has named"
            yield from self.judge(is_ok(seen), seen, found, "the results, as before", evidence=evidence)

    def _forget(self, purge: Observation) -> None:
        content = content_seen(purge)
        named = content.get("msg_ids")
        is_plain = purge.why is None and (named is None or isinstance(named, list)) and not content.get("engine_ids")
        for told in self._told.values():
            if is_plain:
                for msg_id in text_list(named):
                    told.pop(msg_id, None)
            else:
                told.clear()
        self._purge = purge


class PurgeKeepsPending(ResultReader):
    """No purge removes what an engine still works on: it can be asked for afterwards."""

    slug = "query.purge-keeps-pending"

    def begin(self) -> None:
        self._pending: dict[str, Observation] = {}
        self._kept: dict[str, Observation] = {}

    def listener(self, kind: Kind) -> Observe | None:
        return super().listener(kind) if kind.about == "answer" or kind.msg_type == "purge_request" else None

    def observe(self, seen: Observation) -> Iterable[Violation]:
        message = seen.message
        if message is not None and seen.direction == "sent" and message.msg_type == "purge_request":
            # What has ended since the last purge may go with this one.
            self._kept.clear()
        exchange = self.ledger.answered(seen)
        if exchange is None or exchange.is_damaged:
            return
        if exchange.message.msg_type == "purge_request":
            for msg_id, told in self._pending.items():
                if told.seq < exchange.request.seq and self._is_busy(msg_id, seen.now):
                    self._kept[msg_id] = seen
        elif exchange.message.msg_type == "result_request":
            asked = self.asked(exchange)
            purges = [self._kept[msg_id] for msg_id in sorted(asked & self._kept.keys())]
            if asked and len(purges) == len(asked) and all(each.seq < exchange.request.seq for each in purges):
                found = f"{sorted(asked)} unknown, pending when they were purged"
                evidence = [*purges, exchange.request]
                yield from self.judge(is_ok(seen), seen, found, "pending, or a result", evidence=evidence)
            if is_ok(seen):
                for msg_id in self.both(seen)[0]:
                    self._pending.setdefault(msg_id, seen)

    def _is_busy(self, msg_id: str, now: int) -> bool:
        job = self.ledger.jobs.by_id.get(msg_id)
        if job is None or not job.is_clear or job.answers or len(job.deliveries) != 1:
            return False
        lives = self.ledger.engines.of_uuid.get(job.given_to, [])
        is_alive = len(lives) == 1 and self.ledger.engines.is_surely_alive(lives[0], now)
        return is_alive and job.deliveries[0].answer is None


def is_muddled(job: Job | None) -> bool:
    """Whether nothing can be concluded of a message: its id was used twice, or it was sent wrong on purpose."""
    return job is not None and not job.is_clear


def moment_of(value: object) -> datetime | None:
    """A date of the protocol; without a zone it is UTC. None for what is no date."""
    if not isinstance(value, str):
        return None
    try:
        moment = datetime.fromisoformat(value)
    except ValueError:
        return None
    return moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)


def moments(values: Iterable[object]) -> list[datetime]:
    """Those of some values that are dates."""
    return [moment for value in values if (moment := moment_of(value)) is not None]


def said_of(job: Job) -> list[datetime]:
    """When the client and the engine of a job said that it was submitted, started and completed."""
    answer = job.deliveries[0].answer
    ends = () if answer is None or answer.message is None else (answer.message.header.get("date"),)
    starts = () if answer is None else (metadata_of(answer).get("started"),)
    return moments((job.message.header.get("date"), *starts, *ends))


def is_in_order(moments: list[datetime]) -> bool:
    """Whether none of the moments is before the one that it follows."""
    return all(before <= after for before, after in pairwise(moments))


RULES = (
    SetsWithinPending,
    PendingCompletedDisjoint,
    TimesOrdered,
    TimesOnce,
    PurgeKeepsOthers,
    PurgeKeepsPending,
)
