"""Work on the queues: it arrives as it was sent, as often as it may, where it may, and is answered once.

Who records these streams plays the clients and the engines; the queues and the scheduler between them are judged.
"""

from abc import abstractmethod
from collections.abc import Iterable

from protocol.rules.framework import Kind, Observe, Rule, Violation
from protocol.rules.jobs import QUEUES, Job, is_as_sent, meaning_of, metadata_of, status_of
from protocol.rules.parts import content_seen, whole
from protocol.world import SECOND, Observation


class DeliveryRule(Rule):
    """Base of rules about a request that arrives at an engine."""

    channels = QUEUES

    def listener(self, kind: Kind) -> Observe | None:
        return super().listener(kind) if kind.about == "delivery" else None

    def observe(self, seen: Observation) -> Iterable[Violation]:
        """Call `check` for what an engine is given of a clear job."""
        job = self.ledger.jobs.given
        return self.check(seen, job) if job is not None and job.is_clear else ()

    @abstractmethod
    def check(self, seen: Observation, job: Job) -> Iterable[Violation]:
        """Judge one arrival: the last of the job's deliveries."""


class SchedulingRule(DeliveryRule):
    """Base of rules about what a scheduler that reads tasks gives to an engine."""

    def listener(self, kind: Kind) -> Observe | None:
        return super().listener(kind)

    def observe(self, seen: Observation) -> Iterable[Violation]:
        """Leave out the other queues, and the pure scheduler, which reads nothing."""
        job = self.ledger.jobs.given
        if job is None or not job.is_clear or job.channel != "task" or self.setting.is_pure is True:
            return ()
        return self.check(seen, job)


class ReplyRule(Rule):
    """Base of rules about an answer that arrives at the client."""

    channels = QUEUES

    def listener(self, kind: Kind) -> Observe | None:
        return super().listener(kind) if kind.about == "outcome" else None

    def observe(self, seen: Observation) -> Iterable[Violation]:
        """Call `check` for an answer to a clear job."""
        job = self.ledger.jobs.answered
        return self.check(seen, job) if job is not None and job.is_clear else ()

    @abstractmethod
    def check(self, seen: Observation, job: Job) -> Iterable[Violation]:
        """Judge one answer."""


def all_seen(job: Job) -> list[Observation]:
    """The request, its arrivals, and what was answered, as evidence."""
    answers = [each.answer for each in job.deliveries if each.answer is not None]
    return [job.request, *(each.seen for each in job.deliveries), *answers, *job.answers]


class OneReply(ReplyRule):
    """A request on a queue never gets more than one terminal reply.

    What an engine says twice, a queue passes on twice; that is not its fault.
    """

    slug = "wire.at-most-one-reply"
    variant = "queues"

    def check(self, seen: Observation, job: Job) -> Iterable[Violation]:
        if len(job.answers) == 1:
            return self.passed()
        found = f"reply {len(job.answers)} to one {job.message.msg_type}"
        return self.judge(False, seen, found, "one reply", evidence=all_seen(job))


class ReplyTrue(ReplyRule):
    """A result comes from an engine that was given the request, the one that the reply names."""

    slug = "wire.reply-true"

    def check(self, seen: Observation, job: Job) -> Iterable[Violation]:
        delivery = job.delivered(seen)
        if delivery is None:
            if not self.ledger.engines.are_all_granted or status_of(seen) != "ok":
                return ()
            found = "a result that no engine sent"
            return self.judge(False, seen, found, "what an engine answered", evidence=all_seen(job))
        assert seen.message is not None
        named = seen.message.identities[0].decode("utf-8", "replace") if seen.message.identities else ""
        # A ROUTER that hands a name over to a new connection calls the old one by a name of its own making, which
        # begins with a zero; what still waits there arrives under it, and no relay can know whose it was.
        if named in ("", delivery.engine) or named[:1] == "\0":
            return self.passed()
        found = f"the reply of {delivery.engine!r} as one of {named!r}"
        return self.judge(False, seen, found, f"{delivery.engine!r}", evidence=all_seen(job))


class TimeoutTrue(ReplyRule):
    """Who says that a task's time is over has waited for as long as the task allows."""

    slug = "wire.reply-true"
    variant = "timeout"

    def check(self, seen: Observation, job: Job) -> Iterable[Violation]:
        if content_seen(seen).get("ename") != "TaskTimeout" or job.delivered(seen) is not None:
            return ()
        limit = metadata_of(job.request).get("timeout")
        waited = seen.now - job.request.now
        is_number = isinstance(limit, int | float) and not isinstance(limit, bool)
        holds = is_number and waited + self.setting.margin_ns >= float(limit) * SECOND  # type: ignore[arg-type]
        found = f"a timeout after {waited / SECOND:.3f} s of a task that allows {limit!r} s"
        return self.judge(holds, seen, found, "another answer, or a later one", evidence=all_seen(job))


class DeathTrue(ReplyRule):
    """Who says that a task's engine has died does not say so of one that is registered and beats."""

    slug = "wire.reply-true"
    variant = "death"

    def check(self, seen: Observation, job: Job) -> Iterable[Violation]:
        named = metadata_of(seen).get("engine")
        if content_seen(seen).get("ename") != "EngineError" or job.delivered(seen) is not None:
            return ()
        engines = self.ledger.engines
        lives = engines.of_uuid.get(named, []) if isinstance(named, str) else []
        if len(lives) != 1:
            return ()
        is_alive = engines.is_surely_alive(lives[0], seen.now)
        found = f"the death of {named!r}, which lives"
        return self.judge(not is_alive, seen, found, "the engine's answer", evidence=all_seen(job))


class PartsUnchanged(DeliveryRule):
    """A request arrives at an engine as the client sent it; only a task that runs once more may be signed anew.

    Of that one the retries that are left may differ, and nothing else.
    """

    slug = "wire.relayed-parts-unchanged"
    variant = "requests"

    def check(self, seen: Observation, job: Job) -> Iterable[Violation]:
        if is_as_sent(seen, job.request) or (job.channel == "task" and self._is_retry(seen, job)):
            return self.passed()
        found = f"{job.message.msg_type} {job.message.msg_id} with other parts"
        return self.judge(False, seen, found, "what the client sent", evidence=[job.request])

    def _is_retry(self, seen: Observation, job: Job) -> bool:
        assert seen.message is not None
        parent, metadata, *rest = meaning_of(seen.message)
        old_parent, old_metadata, *old_rest = meaning_of(job.message)
        return (
            seen.message.header == job.message.header
            and (parent, *rest) == (old_parent, *old_rest)
            and isinstance(metadata, dict)
            and isinstance(old_metadata, dict)
            # An earlier run may never have arrived anywhere.
            and (whole(metadata.get("retries")) or 0) < (whole(old_metadata.get("retries")) or 0)
            and {**metadata, "retries": 0} == {**old_metadata, "retries": 0}
        )


class ReplyPartsUnchanged(ReplyRule):
    """A reply of an engine arrives at the client as the engine sent it."""

    slug = "wire.relayed-parts-unchanged"
    variant = "replies"

    def check(self, seen: Observation, job: Job) -> Iterable[Violation]:
        delivery = job.delivered(seen)
        if delivery is None or delivery.answer is None:
            return ()
        holds = is_as_sent(seen, delivery.answer)
        return self.judge(holds, seen, "other parts", "what the engine sent", evidence=[delivery.answer])


class DispatchesBounded(SchedulingRule):
    """A task is given out once, once more per retry it was allowed, and once more per engine that refused it."""

    slug = "task.dispatches-bounded"

    def check(self, seen: Observation, job: Job) -> Iterable[Violation]:
        retries = metadata_of(job.request).get("retries")
        refusals = {each.engine for each in job.deliveries if each.is_refusal}
        allowed = 1 + (whole(retries) or 0) + len(refusals)
        if len(job.deliveries) <= allowed:
            return self.passed()
        found = f"arrival {len(job.deliveries)} of a task with {retries or 0} retries and {len(refusals)} refusals"
        return self.judge(False, seen, found, f"{allowed}", evidence=all_seen(job))


class OneLiveAssignment(SchedulingRule):
    """A task is given to nobody while another engine that lives still has it."""

    slug = "task.one-live-assignment"

    def check(self, seen: Observation, job: Job) -> Iterable[Violation]:
        engines = self.ledger.engines
        having = [
            each.engine
            for each in job.deliveries[:-1]
            if each.answer is None
            and len(lives := engines.of_uuid.get(each.engine, [])) == 1
            and engines.is_surely_alive(lives[0], seen.now)
        ]
        if not having:
            return self.passed()
        found = f"a task that {having} still has, for {job.given_to!r}"
        return self.judge(False, seen, found, "one live engine at a time", evidence=all_seen(job))


class TargetsRespected(SchedulingRule):
    """A task with targets goes only to engines named there."""

    slug = "task.targets-respected"

    def check(self, seen: Observation, job: Job) -> Iterable[Violation]:
        targets = metadata_of(job.request).get("targets")
        if not isinstance(targets, list) or not targets:
            return ()
        numbers = {engine.id for engine in self.ledger.engines.of_uuid.get(job.given_to, [])}
        holds = job.given_to in targets or any(whole(each) in numbers for each in targets if whole(each) is not None)
        found = f"a task for {targets} given to {job.given_to!r}"
        return self.judge(holds, seen, found, "one of its targets", evidence=[job.request])


class RefusingAvoided(SchedulingRule):
    """A task never goes back to an engine that refused it for an unmet dependency."""

    slug = "task.refusing-engine-avoided"

    def check(self, seen: Observation, job: Job) -> Iterable[Violation]:
        refusing = {each.engine for each in job.deliveries[:-1] if each.is_refusal}
        if not refusing or len(self.ledger.engines.of_uuid.get(job.given_to, [])) > 1:
            return ()
        found = f"a task that {job.given_to!r} has refused"
        return self.judge(job.given_to not in refusing, seen, found, "another engine", evidence=all_seen(job))


class Dependency:
    """A dependency of which only what ended well counts: the ids, and whether all of them are needed."""

    def __init__(self, value: object) -> None:
        self.is_all, self.is_plain = True, True
        if isinstance(value, dict):
            self.is_all = value.get("all", True) is True
            self.is_plain = value.get("success", True) is True and value.get("failure", False) is False
            value = value.get("dependencies")
        ids = [value] if isinstance(value, str) else value
        self.ids = ids if isinstance(ids, list) and all(isinstance(each, str) for each in ids) else []


class DependencyRule(SchedulingRule):
    """Base of rules about tasks that depend on tasks which have to end well."""

    field = ""

    def check(self, seen: Observation, job: Job) -> Iterable[Violation]:
        """Call `weigh` with the dependency and the tasks it names, if all of them are known."""
        value = metadata_of(job.request).get(self.field)
        if value is None:
            return ()
        dependency = Dependency(value)
        others = self.ledger.jobs.named(dependency.ids) if dependency.ids and dependency.is_plain else None
        if not others or any(other.channel != "task" for other in others):
            return ()
        return self.weigh(seen, job, dependency, others)

    @abstractmethod
    def weigh(self, seen: Observation, job: Job, dependency: Dependency, others: list[Job]) -> Iterable[Violation]:
        """Judge one arrival: the last of the job's deliveries."""


class AfterWaits(DependencyRule):
    """A task with `after` does not arrive at an engine before the tasks named there have ended well."""

    slug = "dependency.after-waits"
    field = "after"

    def weigh(self, seen: Observation, job: Job, dependency: Dependency, others: list[Job]) -> Iterable[Violation]:
        ended = [any(each.is_ok for each in other.deliveries) for other in others]
        holds = all(ended) if dependency.is_all else any(ended)
        evidence = [job.request, *(other.request for other in others)]
        return self.judge(holds, seen, f"a task before {dependency.ids}", "their end first", evidence=evidence)


class FollowSameEngine(DependencyRule):
    """A task with `follow` goes to the engine where the tasks named there ran."""

    slug = "dependency.follow-same-engine"
    field = "follow"

    def weigh(self, seen: Observation, job: Job, dependency: Dependency, others: list[Job]) -> Iterable[Violation]:
        here = [any(each.is_ok and each.engine == job.given_to for each in other.deliveries) for other in others]
        holds = all(here) if dependency.is_all else any(here)
        found = f"a task that follows {dependency.ids}, for {job.given_to!r}"
        evidence = [job.request, *(seen for other in others for seen in all_seen(other))]
        return self.judge(holds, seen, found, "the engine where they ran", evidence=evidence)


RULES: tuple[type[Rule], ...] = (
    OneReply,
    ReplyTrue,
    TimeoutTrue,
    DeathTrue,
    PartsUnchanged,
    ReplyPartsUnchanged,
    DispatchesBounded,
    OneLiveAssignment,
    TargetsRespected,
    RefusingAvoided,
    AfterWaits,
    FollowSameEngine,
)
