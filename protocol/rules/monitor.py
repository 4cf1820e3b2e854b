"""What the queues, the schedulers and the heart monitor publish to the Hub, where it can be overheard.

That port is in no file, so a real controller's is not heard from outside; a simulated one's is. A recorder that notes
the fact `overheard` misses nothing from then on.
"""

from abc import abstractmethod
from collections.abc import Iterable, Iterator
from typing import ClassVar

from protocol.rules.framework import COPIES, Rule, Vantage, Violation
from protocol.rules.jobs import Job
from protocol.rules.parts import content_seen, is_reply, parent_of, text_list
from protocol.world import Fact, Observation


def prefix_of(seen: Observation) -> str:
    """What kind of traffic a message on the monitor channel is a copy of."""
    identities = seen.message.identities if seen.message is not None else ()
    return bytes(identities[0]).decode("ascii", "replace") if identities else ""


def about(seen: Observation) -> str:
    """The request that a message belongs to: itself, or its parent if it is a reply."""
    if seen.message is None:
        return ""
    if prefix_of(seen).startswith("in"):
        # Whatever a mistaken client wrote into its parent header.
        return seen.message.msg_id
    return str(parent_of(seen.message).get("msg_id")) if is_reply(seen.message) else seen.message.msg_id


class MonitorRule(Rule):
    """Base of rules about copies on the monitor channel."""

    vantage: ClassVar[Vantage] = "monitor"
    channels = frozenset({COPIES})

    def observe(self, seen: Observation) -> Iterable[Violation]:
        """Call `check` for a copy that can be read."""
        return self.check(seen) if seen.channel == COPIES and seen.message is not None else ()

    @abstractmethod
    def check(self, seen: Observation) -> Iterable[Violation]:
        """Judge one copy."""

    #: Whether nothing is missed.
    hears_all = False

    def note(self, fact: Fact) -> Iterable[Violation]:
        self.hears_all = self.hears_all or fact.name == "overheard"
        return ()

    @classmethod
    def heeds(cls, name: str) -> bool:
        return name == "overheard"


class CopyRule(MonitorRule):
    """Base of rules which demand a copy of all that passes a queue, under one of two prefixes: requests and replies."""

    queue: ClassVar[str]
    prefixes: ClassVar[tuple[str, str]]

    def begin(self) -> None:
        self._copied: set[tuple[str, str]] = set()

    def check(self, seen: Observation) -> Iterable[Violation]:
        self._copied.add((prefix_of(seen), about(seen)))
        return ()

    def finish(self, now: int) -> Iterable[Violation]:
        if not self.hears_all:
            return
        for job in self.ledger.jobs.by_id.values():
            if job.channel == self.queue and job.is_clear:
                yield from self._judge_job(job, now)

    def _judge_job(self, job: Job, now: int) -> Iterator[Violation]:
        passed = ((self.prefixes[0], [each.seen for each in job.deliveries[:1]]), (self.prefixes[1], job.answers[:1]))
        for prefix, seen in passed:
            for each in seen:
                # What has only just passed may still be on its way.
                if now - each.now > self.setting.margin_ns:
                    holds = (prefix, job.message.msg_id) in self._copied
                    found = f"no copy under {prefix!r} of {job.message.msg_type} {job.message.msg_id!r}"
                    yield from self.judge(holds, each, found, f"a copy under {prefix!r}", evidence=[job.request])


class MuxMonitored(CopyRule):
    """What passes the MUX queue is published to the Hub."""

    slug = "mux.monitored"
    queue = "mux"
    prefixes = ("in", "out")


class ControlMonitored(CopyRule):
    """What passes the control queue is published to the Hub."""

    slug = "control.monitored"
    queue = "control"
    prefixes = ("incontrol", "outcontrol")


class MuxPrefixes(MonitorRule):
    """Behind `in` stand engine and client, behind `out` client and engine."""

    slug = "mux.monitor-prefixes"

    def check(self, seen: Observation) -> Iterable[Violation]:
        prefix, job = prefix_of(seen), self.ledger.jobs.by_id.get(about(seen))
        if prefix not in ("in", "out") or job is None or not job.message.identities or seen.message is None:
            return ()
        if prefix == "out" and not is_reply(seen.message):
            # Whatever an engine sends that answers nothing belongs to no request.
            return ()
        engine, identities = bytes(job.message.identities[0]), [bytes(each) for each in seen.message.identities]
        at = 1 if prefix == "in" else 2
        found = f"{len(identities)} frames in front of a copy under {prefix!r}: {identities!r:.120}"
        # More than the engine's identity in front of a request stays there.
        holds = len(identities) == 2 + len(job.message.identities) and identities[at] == engine
        order = "engine, client" if prefix == "in" else "client, engine"
        return self.judge(holds, seen, found, f"{prefix}, {order}", evidence=[job.request])


class BroadcastRecorded(MonitorRule):
    """Of a broadcast that comes to engines, the request is published to the Hub."""

    slug = "broadcast.recorded"
    channels = frozenset({COPIES, "broadcast"})

    def begin(self) -> None:
        self._asked: dict[str, Observation] = {}
        self._came: dict[str, Observation] = {}
        self._copied: set[str] = set()

    def observe(self, seen: Observation) -> Iterable[Violation]:
        message = seen.message
        if message is not None and seen.channel == "broadcast" and not is_reply(message):
            if seen.direction == "sent" and seen.why is None:
                self._asked.setdefault(message.msg_id, seen)
            elif seen.direction == "received":
                original = message.metadata.get("original_msg_id")
                self._came.setdefault(str(original), seen)
        return super().observe(seen)

    def check(self, seen: Observation) -> Iterable[Violation]:
        if prefix_of(seen) == "inbcast":
            self._copied.add(about(seen))
        return ()

    def finish(self, now: int) -> Iterable[Violation]:
        if not self.hears_all:
            return
        for msg_id, request in self._asked.items():
            came = self._came.get(msg_id)
            if came is not None and now - came.now > self.setting.margin_ns:
                found = f"no copy of broadcast {msg_id!r}"
                holds = msg_id in self._copied
                yield from self.judge(holds, came, found, "a copy under 'inbcast'", evidence=[request])


class TaskOrder(MonitorRule):
    """A task is announced before its destination, and that before its result."""

    slug = "task.intask-before-destination"
    steps = ("intask", "tracktask", "outtask")

    def begin(self) -> None:
        self._reached: dict[str, tuple[int, Observation]] = {}

    def check(self, seen: Observation) -> Iterable[Violation]:
        prefix = prefix_of(seen)
        if prefix not in self.steps or not self.hears_all:
            return ()
        task = str(content_seen(seen).get("msg_id")) if prefix == "tracktask" else about(seen)
        step, (before, last) = self.steps.index(prefix), self._reached.get(task, (-1, seen))
        self._reached[task] = max(step, before), seen
        # Who says no gives no destination; who runs again gives one more.
        holds = before >= 0 if step else before < 0
        holds = holds and not (step == 1 and before == 2)
        found = f"{prefix} of {task!r} {'first' if before < 0 else f'after {self.steps[before]}'}"
        return self.judge(holds, seen, found, "intask, then tracktask, then outtask", evidence=[last])


class HeartsReported(MonitorRule):
    """The monitor tells the hub of each heart found and lost: nobody is lost who was not found.

    The latter where nothing was missed.
    """

    slug = "heartbeat.hearts-reported"

    def begin(self) -> None:
        self._beating: dict[str, Observation] = {}

    def check(self, seen: Observation) -> Iterable[Violation]:
        assert seen.message is not None
        kind = seen.message.msg_type
        for heart in text_list(content_seen(seen).get("hearts")) if kind in ("new_heart", "stopped_heart") else ():
            first = self._beating.pop(heart, None)
            if kind == "new_heart":
                self._beating[heart] = seen
                evidence = [] if first is None else [first]
                found = f"heart {heart!r} found again"
                yield from self.judge(first is None, seen, found, "each heart once", evidence=evidence)
            elif self.hears_all:
                found = f"heart {heart!r} lost, which was never found"
                yield from self.judge(first is not None, seen, found, "hearts that were found")


class DeathOnce(MonitorRule):
    """A heart that was lost is not lost again before it was found."""

    slug = "heartbeat.death-reported-once"

    def begin(self) -> None:
        self._lost: dict[str, Observation] = {}

    def check(self, seen: Observation) -> Iterable[Violation]:
        assert seen.message is not None
        kind = seen.message.msg_type
        for heart in text_list(content_seen(seen).get("hearts")):
            if kind == "new_heart":
                self._lost.pop(heart, None)
            elif kind == "stopped_heart":
                before = self._lost.get(heart)
                self._lost[heart] = seen
                evidence = [] if before is None else [before]
                found = f"heart {heart!r} lost again"
                yield from self.judge(before is None, seen, found, "once, until it is found", evidence=evidence)


RULES: tuple[type[Rule], ...] = (
    MuxMonitored,
    MuxPrefixes,
    ControlMonitored,
    BroadcastRecorded,
    TaskOrder,
    HeartsReported,
    DeathOnce,
)
