"""What the Hub submits once more: the same request, or none at all."""

from collections.abc import Iterable, Iterator
from typing import Any

from protocol.rules.framework import Kind, Observe, Rule, Violation
from protocol.rules.jobs import Job
from protocol.rules.ledger import Exchange
from protocol.rules.parts import content_of, content_seen, is_reply, text_list
from protocol.rules.query import is_ok
from protocol.wire import Message
from protocol.world import Observation

#: What a resubmission may have of its own.
FRESH = ("msg_id", "date")


class ResubmissionRule(Rule):
    """Base of rules that see both what is asked of the Hub and what comes to the engines.

    `strays` holds the tasks that came to an engine and that no client of this stream has sent, by message id.
    """

    channels = frozenset({"query", "task"})

    def begin(self) -> None:
        self.strays: dict[str, Observation] = {}

    def listener(self, kind: Kind) -> Observe | None:
        is_task = kind.channel == "task" and kind.msg_type is not None and not kind.msg_type.endswith("_reply")
        is_meant = kind.direction == "received" and (is_task or kind.about == "answer")
        return super().listener(kind) if is_meant else None

    def observe(self, seen: Observation) -> Iterable[Violation]:
        """Remember a stray, or call `answered` for the reply to a resubmission that was not damaged."""
        message = seen.message
        if message is None or seen.direction != "received":
            return ()
        if seen.channel == "task":
            if is_reply(message) or message.msg_id in self.ledger.jobs.by_id or message.msg_id in self.strays:
                return ()
            self.strays[message.msg_id] = seen
            return self.strayed(seen)
        exchange = self.ledger.answered(seen)
        if exchange is None or exchange.is_damaged or exchange.message.msg_type != "resubmit_request":
            return ()
        return self.answered(seen, exchange)

    def strayed(self, seen: Observation) -> Iterable[Violation]:  # noqa: ARG002 - a hook
        """Judge a task that no client of this stream has sent."""
        return ()

    def answered(self, seen: Observation, exchange: Exchange) -> Iterable[Violation]:  # noqa: ARG002 - a hook
        """Judge the answer to a resubmission."""
        return ()


class ResubmitSameRequest(ResubmissionRule):
    """What comes to an engine under the new id has the content, buffers and header of what was submitted."""

    slug = "query.resubmit-same-request"

    def begin(self) -> None:
        super().begin()
        self._old: dict[str, tuple[Job, Observation]] = {}

    def strayed(self, seen: Observation) -> Iterable[Violation]:
        assert seen.message is not None
        return self._compare(seen.message.msg_id)

    def answered(self, seen: Observation, exchange: Exchange) -> Iterator[Violation]:  # noqa: ARG002 - as the base
        for old, new in told_of(seen).items():
            job = self.ledger.jobs.by_id.get(old)
            if job is not None and job.is_clear and isinstance(new, str) and new not in self._old:
                self._old[new] = job, seen
                yield from self._compare(new)

    def _compare(self, new: str) -> Iterator[Violation]:
        seen, (job, reply) = self.strays.get(new), self._old.get(new, (None, None))
        if seen is None or job is None or reply is None or seen.message is None:
            return
        wrong = [name for name, is_same in compared(seen.message, job.message) if not is_same]
        found = f"{new!r}, which differs from {job.message.msg_id!r} in {', '.join(wrong)}"
        evidence = [job.request, reply]
        yield from self.judge(not wrong, seen, found, "the request as it was submitted", evidence=evidence)


class ResubmitAllOrNothing(ResubmissionRule):
    """Of a resubmission that was refused nothing comes to an engine.

    Judged at the end: until then, a stray may be what another resubmission has brought.
    """

    slug = "query.resubmit-all-or-nothing"

    def begin(self) -> None:
        super().begin()
        self._refused: list[tuple[Job, Observation, Exchange]] = []
        self._told: set[object] = set()

    def answered(self, seen: Observation, exchange: Exchange) -> Iterable[Violation]:
        if is_ok(seen):
            self._told.update(told_of(seen).values())
            return ()
        ids = text_list(content_seen(exchange.request).get("msg_ids"))
        jobs = [job for each in ids if (job := self.ledger.jobs.by_id.get(each)) is not None and job.is_clear]
        self._refused += [(job, seen, exchange) for job in jobs if len(ids) > 1]
        return ()

    def finish(self, now: int) -> Iterable[Violation]:  # noqa: ARG002 - as the base
        asked = [each for each in self.ledger.exchanges if each.message.msg_type == "resubmit_request"]
        if not self._refused or not all(each.replies for each in asked):
            return
        strays = [seen for msg_id, seen in self.strays.items() if msg_id not in self._told]
        for job, reply, exchange in self._refused:
            came = [
                seen
                for seen in strays
                if seen.seq > exchange.request.seq
                and seen.message is not None
                and all(is_same for _, is_same in compared(seen.message, job.message))
            ]
            found = f"{job.message.msg_id!r} submitted once more, though the resubmission was refused"
            evidence = [job.request, exchange.request, reply]
            yield from self.judge(not came, came[0] if came else reply, found, "nothing of it", evidence=evidence)


def told_of(reply: Observation) -> dict[str, Any]:
    """The new id for each old one, as a reply tells."""
    told = content_seen(reply).get("resubmitted") if is_ok(reply) else None
    return told if isinstance(told, dict) else {}


def compared(new: Message, old: Message) -> Iterator[tuple[str, bool]]:
    """What must be the same in a resubmission, and whether it is."""
    yield "header", settled(new.header) == settled(old.header)
    yield "content", content_of(new) == content_of(old)
    yield "buffers", [bytes(each) for each in new.buffers] == [bytes(each) for each in old.buffers]


def settled(header: dict[str, Any]) -> dict[str, Any]:
    """A header without what is fresh in every message."""
    return {key: value for key, value in header.items() if key not in FRESH}


RULES: tuple[type[Rule], ...] = (ResubmitSameRequest, ResubmitAllOrNothing)
