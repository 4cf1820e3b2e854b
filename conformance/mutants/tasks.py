"""Mistakes of a task scheduler: where tasks go, when, how often, and who hears of it."""

from collections.abc import Sequence
from typing import Any, ClassVar

from conformance.mutants.changes import GONE, content, edited, heard, other, unheard, when, without, wrap
from conformance.mutants.mutant import Mutant
from protocol.messages.build import reply_name
from protocol.roles.base import Arrived, Effect, Event, Fired, Forward, Send, SetTimer
from protocol.wire import Message

TASKS = "task-scheduler"


def demanding(**others: Any) -> Any:
    """Tasks are taken for tasks with other demands."""
    return heard(lambda m: m.replace(metadata=other(m.metadata, others)), socket="in")


class Scheduler(Mutant):
    """A mutant of the task scheduler."""

    part = TASKS


class IgnoresTargets(Scheduler):
    """Any engine will do."""

    breaks: ClassVar[tuple[str, ...]] = ("task.targets-respected", "task.no-live-target-error")
    hears = (demanding(targets=GONE),)


class IgnoresAfter(Scheduler):
    """First come, first served."""

    breaks = ("dependency.unknown-id-refused",)
    hears = (demanding(after=GONE),)


class IgnoresFollow(Scheduler):
    """Any engine will do."""

    breaks = ("dependency.follow-same-engine", "dependency.follow-all-two-engines")
    hears = (demanding(follow=GONE),)


class IgnoresTimeouts(Scheduler):
    """It will be run in the end."""

    breaks = ("task.timeout-while-queued",)
    hears = (demanding(timeout=GONE),)


class NeverTriesAgain(Scheduler):
    """What failed fails again."""

    breaks = ("task.retry-on-failure", "task.retry-where-it-failed", "task.engine-death-retry")
    hears = (demanding(retries=GONE),)


class PassesRefusalsOn(Scheduler):
    """The client should know that an engine did not want it."""

    breaks = ("task.unmet-is-rerouted",)
    hears = (heard(lambda m: m.replace(metadata=other(m.metadata, {"dependencies_met": GONE})), socket="out"),)


class RefusesTheSilent(Scheduler):
    """A reply that does not say that its dependencies were met was made by one who did not look."""

    breaks = ("apply.metadata-dependencies-met",)
    hears = (heard(lambda m: m.replace(metadata={"dependencies_met": False} | m.metadata), socket="out"),)


class AnswersNobody(Scheduler):
    """The result is on record."""

    breaks = ("task.some-engine-runs",)

    def do(self, now: int, effect: Effect) -> Sequence[Effect]:
        """No task to any engine."""
        return () if isinstance(effect, Forward) and effect.socket == "out" else (effect,)


class GivesOutTwice(Scheduler):
    """One of two will do it."""

    breaks = ("task.exactly-one-engine", "task.one-live-assignment")

    def do(self, now: int, effect: Effect) -> Sequence[Effect]:
        """Each task to one more engine."""
        if isinstance(effect, Forward) and effect.socket == "out":
            others = [uuid for uuid in self.role.engines if uuid != effect.identities[0]]
            return (effect, *(effect._replace(identities=(uuid, *effect.identities[1:])) for uuid in others[:1]))
        return (effect,)


class AnswersWhoSubmittedLast(Scheduler):
    """The last to ask is the one who waits."""

    breaks = ("task.reply-to-requester",)

    def do(self, now: int, effect: Effect) -> Sequence[Effect]:
        """Replies to the client that submitted last."""
        if isinstance(effect, Forward) and effect.socket == "in" and "last" in self.memory:
            return (effect._replace(identities=(self.memory["last"], *effect.identities[1:])),)
        return (effect,)

    def hear(self, event: Event) -> Sequence[Event]:
        """Take note of who submits."""
        if isinstance(event, Arrived) and event.socket == "in" and event.message.identities:
            self.memory["last"] = event.message.identities[0]
        return (event,)


class NamesNoEngine(Scheduler):
    """Who ran it does not matter."""

    breaks = ("task.reply-names-engine",)

    def do(self, now: int, effect: Effect) -> Sequence[Effect]:
        """Replies without an engine in front."""
        if isinstance(effect, Forward) and effect.socket == "in":
            return (effect._replace(identities=(effect.identities[0], *effect.identities[2:])),)
        return (effect,)


class PutsItselfInFront(Scheduler):
    """Who answers says who it is."""

    breaks = ("task.own-replies-unprefixed",)

    def do(self, now: int, effect: Effect) -> Sequence[Effect]:
        """Its own replies with a name in front."""
        if isinstance(effect, Send) and effect.socket == "in":
            message = effect.message
            return (Send("in", message.replace(identities=(*message.identities[:1], b"me", *message.identities[1:]))),)
        return (effect,)


class AnswersInKind(Scheduler):
    """Each request has its reply."""

    breaks = ("task.own-replies-are-apply-replies",)
    says = (edited(lambda m: m.replace(header=m.header | {"msg_type": reply_name(m.parent_header["msg_type"])}),
                   "apply_reply", status="error"),)  # fmt: skip


class OneNameForAll(Scheduler):
    """An error is an error; its text says the rest."""

    breaks = ("task.own-error-names",)
    says = (content("apply_reply", status="error", ename="TaskError"),)


class HoldsTwo(Scheduler):
    """Until the load is above the mark there is room."""

    breaks = ("task.hwm-respected",)

    def prepare(self) -> None:
        """One more than the mark."""
        self.role.limit += 1


class ZeroIsOne(Scheduler):
    """Every engine can have one task, at least and at most."""

    breaks = ("task.hwm-zero-unlimited",)

    def prepare(self) -> None:
        """A mark where there is none."""
        self.role.limit = self.role.config.hwm or 1


class NewestFirst(Scheduler):
    """The engine that was used last is still warm."""

    breaks = ("task.lru-order", "task.idle-engines-take-turns")

    def prepare(self) -> None:
        """The greatest stamp is the head."""

        def offer(old: Any, engine: Any) -> None:
            stamp, engine.stamp = engine.stamp, -engine.stamp
            old(engine)
            engine.stamp = stamp

        wrap(self.role.pool, "offer", offer)


class KnowsOnlyOldEngines(Scheduler):
    """Who comes late is not needed."""

    breaks = ("task.new-engine-used",)

    def prepare(self) -> None:
        """New engines get nothing of what waits."""
        self.role._fill_one = lambda *_: None


class SendsToTheDead(Scheduler):
    """It may come back."""

    breaks = ("task.engine-death-error",)
    hears = (unheard(lambda m: m.msg_type == "unregistration_notification", "notification"),)


class HasNoPatience(Scheduler):
    """Who is gone is gone."""

    breaks = ("task.reply-within-grace",)

    def do(self, now: int, effect: Effect) -> Sequence[Effect]:
        """A time of grace of nothing."""
        if isinstance(effect, SetTimer) and effect.timer == "grace":
            return (SetTimer("grace", now, effect.epoch),)
        return (effect,)


class PassesEveryReply(Scheduler):
    """An answer is an answer, whoever gives it and when."""

    breaks = ("task.stranger-reply-dropped", "task.late-reply-dropped")

    def handle(self, now: int, event: Event) -> Sequence[Effect]:
        """Pass on what the role drops."""
        done = super().handle(now, event)
        if isinstance(event, Arrived) and event.socket == "out" and not done and len(event.message.identities) > 1:
            engine, client, *rest = event.message.identities
            return (Forward("in", (client, engine, *rest), event.message),)
        return done


class SilentAboutNonsense(Scheduler):
    """Who sends nonsense wants no answer."""

    breaks = ("task.malformed-metadata-answered", "dependency.self-refused", "dependency.unknown-id-refused")
    says = (when(lambda m: m.content.get("ename") in ("ValueError", "InvalidDependency"), without("apply_reply")),)


class TellsNoDestination(Scheduler):
    """The Hub will hear of it in the end."""

    breaks = ("task.destination-told",)
    says = (without("task_destination"),)


class HidesFromTheHub(Scheduler):
    """Tasks are nobody's business."""

    breaks = ("task.monitored",)

    def do(self, now: int, effect: Effect) -> Sequence[Effect]:
        """No copies."""
        return () if isinstance(effect, Forward) and effect.socket == "monitor" else (effect,)


class RunsCallsOnly(Scheduler):
    """Code is for the other queue."""

    breaks = ("task.execute-through-task",)
    hears = (unheard(lambda m: m.msg_type == "execute_request", "in"),)


class LosesTheLabel(Scheduler):
    """Labels are for clients."""

    breaks = ("task.outside-like-a-queue",)

    def do(self, now: int, effect: Effect) -> Sequence[Effect]:
        """Tasks without a label."""
        if isinstance(effect, Forward) and effect.socket == "out":
            about = other(effect.message.metadata, {"label": GONE})
            return (Send("out", effect.message.replace(metadata=about, identities=effect.identities)),)
        return (effect,)


class TreatsAllRequestsAsNew(Scheduler):
    """Who submits twice wants two runs."""

    breaks = ("task.repeated-request-ignored",)

    def prepare(self) -> None:
        """Each submission is another task."""

        def again(_: Any, __: int, message: Message, ___: str) -> None:
            for uuid in list(self.role.engines)[:1]:
                self.role._out.append(Forward("out", (uuid, *message.identities), message))

        wrap(self.role, "_submitted_again", again)


class TakesForeignIds(Scheduler):
    """An id is an id."""

    breaks = ("task.foreign-id-refused",)

    def prepare(self) -> None:
        """No word about a known id."""
        wrap(self.role, "_submitted_again", lambda *_: None)


class CountsFailureAsSuccess(Scheduler):
    """What has ended has ended."""

    breaks = ("dependency.unreachable-all", "dependency.all-needs-every")

    def prepare(self) -> None:
        """Every task ended well, for those that wait."""
        wrap(self.role, "_finish", lambda old, task, _, engine: old(task, True, engine))


class TakesAnyForAll(Scheduler):
    """One of them is not enough."""

    breaks = ("dependency.any-needs-one", "dependency.unreachable-any")
    hears = (heard(lambda m: m.replace(metadata=m.metadata | {"after": m.metadata["after"] | {"all": True}})
                   if isinstance(m.metadata.get("after"), dict) else m, socket="in"),)  # fmt: skip


class KnowsLists(Scheduler):
    """A dependency is a list."""

    breaks = ("dependency.as-dict", "dependency.bare-id")
    hears = (heard(lambda m: m.replace(metadata=other(m.metadata, {"after": GONE}))
                   if not isinstance(m.metadata.get("after"), list) else m, socket="in"),)  # fmt: skip


class RunsWhatTimedOut(Scheduler):
    """Time is over for what runs, too."""

    breaks = ("task.running-never-times-out",)

    def handle(self, now: int, event: Event) -> Sequence[Effect]:
        """A timeout is one, wherever the task is."""
        if isinstance(event, Fired) and event.timer.startswith("timeout:"):
            task = self.role.tasks.get(event.timer.partition(":")[2])
            if task is not None and task.engine is not None:
                self.role._out = []
                engine = task.engine
                self.role._leave(task, engine)
                self.role._fail(now, task, "TaskTimeout", "too late")
                return list(self.role._out)
        return super().handle(now, event)
