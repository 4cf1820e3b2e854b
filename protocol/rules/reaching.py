"""Who is reached: by what was sent and not refused, and by nothing else."""

from collections.abc import Iterable, Iterator
from typing import Final

from protocol.rules.framework import Kind, Observe, Rule, Violation
from protocol.rules.jobs import QUEUES, Job, metadata_of
from protocol.rules.ledger import Dropped
from protocol.rules.parts import claimed_content, claimed_id, content_seen, is_reply, text_list
from protocol.rules.query import QUEUES as QUEUE_LISTS
from protocol.rules.resubmissions import settled
from protocol.wire import Message
from protocol.world import Fact, Observation

#: Why a message must be refused by whoever reads it.
REFUSED: Final = frozenset({"forged", "undelimited", "short"})
#: Answers that tell which messages the Hub knows.
TELLING: Final = frozenset({"history_reply", "queue_reply", "result_reply"})


class RefusedChangesNothing(Rule):
    """What had to be refused is in no list of the Hub, comes to no engine and registers none."""

    slug = "wire.refused-changes-nothing"
    channels = QUEUES | {"query", "notification", "broadcast"}

    def begin(self) -> None:
        self._ids: dict[str, Observation] = {}
        self._uuids: dict[str, Observation] = {}

    def observe(self, seen: Observation) -> Iterable[Violation]:
        message = seen.message
        if seen.direction == "sent":
            if message is not None:
                self._ids.pop(message.msg_id, None)
            elif Dropped(seen).kind in REFUSED:
                self._refuse(seen)
            return ()
        if message is None or not self._ids:
            return ()
        return self._look(seen, message)

    def _refuse(self, seen: Observation) -> None:
        msg_id, uuid = claimed_id(seen.frames), claimed_content(seen.frames).get("uuid")
        if msg_id is not None and not self.ledger.was_asked(msg_id):
            if msg_id not in self.ledger.jobs.by_id:
                self._ids.setdefault(msg_id, seen)
            if isinstance(uuid, str) and uuid not in self.ledger.engines.of_uuid:
                self._uuids.setdefault(uuid, seen)

    def _look(self, seen: Observation, message: Message) -> Iterator[Violation]:
        if message.msg_type == "registration_notification":
            uuid = str(content_seen(seen).get("uuid"))
            if self._uuids:
                forged = self._uuids.get(uuid) if uuid not in self.ledger.engines.asking else None
                evidence = [] if forged is None else [forged]
                yield from self.judge(
                    forged is None, seen, f"the engine {uuid!r}", "engines that may register", evidence=evidence
                )
        elif message.msg_type in TELLING or (seen.channel != "query" and not is_reply(message)):
            told = self._told(seen) if seen.channel == "query" else {message.msg_id}
            known = sorted(told & self._ids.keys())
            evidence = [self._ids[each] for each in known]
            yield from self.judge(not known, seen, f"{known}, which had to be refused", "nothing", evidence=evidence)

    def _told(self, seen: Observation) -> set[str]:
        content = content_seen(seen)
        lists = [content.get(name) for name in ("history", "pending", "completed", "unassigned")]
        entries = [entry for entry in content.values() if isinstance(entry, dict)]
        lists += [entry.get(name) for entry in entries for name in QUEUE_LISTS]
        return {each for ids in lists for each in text_list(ids)}


class ReachableWhenRegistered(Rule):
    """Who is announced and beats gets what is sent to its uuid, on the queues where it listens."""

    slug = "registration.reachable-when-registered"
    channels = frozenset({"mux", "control"})

    def begin(self) -> None:
        self._listens: dict[str, int] = {}

    @classmethod
    def heeds(cls, name: str) -> bool:
        return name in ("socket-opened", "socket-closed")

    def listener(self, kind: Kind) -> Observe | None:
        return super().listener(kind) if kind.about == "delivery" else None

    def note(self, fact: Fact) -> Iterable[Violation]:
        if fact.name == "socket-opened":
            # Before that much has passed, its connection may not be there.
            self._listens.setdefault(str(fact.data.get("socket")), fact.now + self.setting.margin_ns)
        elif fact.name == "socket-closed":
            self._listens.pop(str(fact.data.get("socket")), None)
        return ()

    def observe(self, seen: Observation) -> Iterable[Violation]:
        if self.ledger.jobs.given is not None:
            self.is_exercised = True
            self._listens[seen.socket] = min(seen.now, self._listens.get(seen.socket, seen.now))
        return ()

    def finish(self, now: int) -> Iterable[Violation]:
        for job in self.ledger.jobs.by_id.values():
            if job.channel in self.channels and job.is_clear and not job.deliveries and not job.answers:
                yield from self._miss(job, now)

    def _miss(self, job: Job, now: int) -> Iterator[Violation]:
        uuid = job.message.identities[0].decode("utf-8", "replace") if job.message.identities else ""
        lives = self.ledger.engines.of_uuid.get(uuid, [])
        if len(lives) != 1 or lives[0].exchange is None:
            return
        engine, announced = lives[0], lives[0].announced_before(job.request)
        since = self._listens.get(f"{lives[0].exchange.request.observer}/{job.channel}")
        waited = self.ledger.waited(job.request.now, now)
        if announced is None or since is None or since > job.request.now or waited <= self.setting.reply_deadline_ns:
            return
        if self.ledger.engines.is_surely_alive(engine, now):
            found = f"a {job.message.msg_type} for {uuid!r} that never came there"
            yield self.accuse(job.request, found, "its arrival", evidence=[announced], now=now)


class NothingInvented(Rule):
    """What comes to an engine somebody has sent, or has asked the Hub to submit again.

    Who recorded only a part of what a controller did cannot tell: the fact `recorded-from-the-start` says that it can.
    """

    slug = "wire.nothing-invented"
    channels = QUEUES | {"broadcast", "query"}

    def begin(self) -> None:
        self._is_whole = False
        self._sent: set[str] = set()
        self._again: list[str] = []

    @classmethod
    def heeds(cls, name: str) -> bool:
        return name == "recorded-from-the-start"

    def note(self, fact: Fact) -> Iterable[Violation]:
        self._is_whole = self._is_whole or fact.name == "recorded-from-the-start"
        return ()

    def observe(self, seen: Observation) -> Iterable[Violation]:
        message = seen.message
        if message is None:
            return ()
        if seen.direction == "sent":
            self._sent.add(message.msg_id)
            if message.msg_type == "resubmit_request":
                self._again += text_list(content_seen(seen).get("msg_ids"))
            return ()
        if not self._is_whole or seen.channel == "query" or is_reply(message):
            return ()
        named = metadata_of(seen).get("original_msg_id")
        if named is not None and not isinstance(named, str):
            # Whoever was asked to broadcast that may pass it on as it is.
            return ()
        if message.msg_id in self._sent or named in self._sent or self._is_again(message):
            return self.passed()
        return self.judge(False, seen, f"{message.msg_type} {message.msg_id!r}, which nobody sent", "what was sent")

    def _is_again(self, message: Message) -> bool:
        jobs = (self.ledger.jobs.by_id.get(msg_id) for msg_id in self._again)
        return any(job is None or settled(job.message.header) == settled(message.header) for job in jobs)


RULES: tuple[type[Rule], ...] = (RefusedChangesNothing, ReachableWhenRegistered)
INVARIANTS: tuple[type[Rule], ...] = (NothingInvented,)
