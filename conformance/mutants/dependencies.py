"""Mistakes of a task scheduler about dependencies: what is waited for, for how long, and what its end means."""

from collections.abc import Sequence
from typing import Any

from conformance.mutants.changes import GONE, other, wrap
from conformance.mutants.tasks import Scheduler
from protocol.errors import RemoteProtocolError
from protocol.roles.base import Arrived, Effect, Event, Forward, Send
from protocol.roles.task.outcomes import Outcomes
from protocol.wire import Json, Message


def ids_of(value: object) -> list[Any]:
    """The tasks that a dependency names, in whatever form."""
    if isinstance(value, dict):
        value = value.get("dependencies")
    return [value] if isinstance(value, str) else list(value) if isinstance(value, list) else []


def flagged(value: object, **flags: bool) -> Json:
    """A dependency in its full form, with other flags."""
    usual = {"all": True, "success": True, "failure": False}
    return usual | (value if isinstance(value, dict) else {}) | {"dependencies": ids_of(value)} | flags


def steering(event: Event) -> Json | None:
    """What steers a task that has just come in; None if this is no task, or nobody can read that."""
    try:
        is_task = isinstance(event, Arrived) and event.socket == "in" and isinstance(event.message.metadata, dict)
        return event.message.metadata if is_task else None  # type: ignore[union-attr]
    except RemoteProtocolError:
        return None


class Depending(Scheduler):
    """A scheduler that takes some of what steers a task, its `fields`, for something else."""

    fields: tuple[str, ...] = ("after", "follow")

    def taken(self, message: Message, value: Any) -> Any:
        """What a dependency is taken for."""
        raise AssertionError(f"{self.name()} changes nothing")

    def hear(self, event: Event) -> Sequence[Event]:
        """The task with its other dependencies."""
        metadata = steering(event)
        if metadata is None:
            return (event,)
        message: Message = event.message  # type: ignore[union-attr]
        others = {key: self.taken(message, metadata[key]) for key in self.fields if key in metadata}
        if all(others[key] is metadata[key] for key in others):
            return (event,)
        return (Arrived("in", message.replace(metadata=other(metadata, others))),)

    def is_open(self, value: object) -> bool:
        """Whether all tasks that it names are known and have not ended."""
        ids = ids_of(value)
        return bool(ids) and all(isinstance(each, str) and each in self.role.tasks for each in ids)


class DoesNotWait(Depending):
    """What was submitted will be done soon enough."""

    breaks = ("dependency.after-waits",)
    fields = ("after",)

    def taken(self, message: Message, value: Any) -> Any:
        """Nothing, if it could be waited for."""
        return GONE if self.is_open(value) else value


class DoesNotWaitToFollow(DoesNotWait):
    """Where something will run nobody can know."""

    breaks = ("dependency.follow-waits",)
    fields = ("follow",)


class KnowsObjects(Depending):
    """A dependency is an object, so that nobody has to guess its flags."""

    breaks = ("dependency.list-of-ids",)

    def taken(self, message: Message, value: Any) -> Any:
        """Nothing, if it is a list of what is open."""
        return GONE if isinstance(value, list) and self.is_open(value) else value


class RefusesTheEmpty(Depending):
    """Who depends on nothing has forgotten something."""

    breaks = ("dependency.null-or-empty",)

    def taken(self, message: Message, value: Any) -> Any:
        """Nobody's id in the place of none."""
        return ["none"] if not ids_of(value) else value


class CountsEverySuccess(Depending):
    """A success is what one wants."""

    breaks = ("dependency.success-counts",)

    def taken(self, message: Message, value: Any) -> Any:
        """With the flag."""
        return flagged(value, success=True) if isinstance(value, dict) else value


class CountsNoFailure(Depending):
    """Nothing good can follow from a failure."""

    breaks = ("dependency.failure-counts",)

    def taken(self, message: Message, value: Any) -> Any:
        """Without the flag."""
        return flagged(value, failure=False) if isinstance(value, dict) else value


class FollowsAnybody(Depending):
    """Who may follow one or the other may go anywhere."""

    breaks = ("dependency.follow-any-per-engine",)
    fields = ("follow",)

    def taken(self, message: Message, value: Any) -> Any:
        """Nothing, if one of several is enough."""
        return GONE if isinstance(value, dict) and value.get("all") is False else value


class FollowsOrWaits(Depending):
    """Who follows has waited long enough."""

    breaks = ("dependency.after-and-follow",)
    fields = ("after",)

    def taken(self, message: Message, value: Any) -> Any:
        """Nothing, beside something to follow."""
        return GONE if message.metadata.get("follow") else value


class WaitsForItsOwn(Depending):
    """What others do is nobody's business."""

    breaks = ("dependency.other-clients-ids",)

    def taken(self, message: Message, value: Any) -> Any:
        """Nobody's id in the place of another client's."""
        tasks = [self.role.tasks.get(each) for each in ids_of(value)]
        return ["none"] if any(task and task.identities[0] != message.identities[0] for task in tasks) else value


class FollowsWherever(Depending):
    """Who follows need not be told where to."""

    breaks = ("dependency.follow-and-targets",)
    fields = ("targets",)

    def taken(self, message: Message, value: Any) -> Any:
        """Nothing, beside something to follow."""
        return GONE if message.metadata.get("follow") else value


class Swallowing(Scheduler):
    """A scheduler that never does anything about some tasks."""

    def swallows(self, metadata: Json) -> bool:
        """Whether this is one of them."""
        raise AssertionError(f"{self.name()} swallows nothing")

    def hear(self, event: Event) -> Sequence[Event]:
        """All others."""
        metadata = steering(event)
        return () if metadata is not None and self.swallows(metadata) else (event,)


class WaitsForTheEndAgain(Swallowing):
    """What a task waits for is still to come."""

    breaks = ("dependency.finished-before-submission",)

    def swallows(self, metadata: Json) -> bool:
        """Tasks of which all that they wait for has ended."""
        ids = ids_of(metadata.get("after")) + ids_of(metadata.get("follow"))
        return bool(ids) and all(each in self.role.outcomes for each in ids)


class KnowsOneLink(Swallowing):
    """Who waits for one that waits has not understood."""

    breaks = ("dependency.chain-completes",)

    def swallows(self, metadata: Json) -> bool:
        """Tasks after one that waits itself."""
        tasks = [self.role.tasks.get(each) for each in ids_of(metadata.get("after"))]
        return any(task is not None and task.demands is not None and task.demands.needs for task in tasks)


class SilentAboutOtherQueues(Swallowing):
    """What this queue never saw may still come."""

    breaks = ("dependency.mux-ids-unusable",)

    def swallows(self, metadata: Json) -> bool:
        """Tasks for known engines after unknown tasks."""
        known = {engine.name for engine in self.role.engines.values()}
        targets = metadata.get("targets")
        is_bound = isinstance(targets, list) and bool(targets) and known.issuperset(targets)
        unknown = [each for each in ids_of(metadata.get("after")) if each not in self.role.tasks]
        return is_bound and any(each not in self.role.outcomes for each in unknown)


class AsksTheEngines(Scheduler):
    """An engine knows best what it has."""

    breaks = ("dependency.no-code-needed",)

    def do(self, now: int, effect: Effect) -> Sequence[Effect]:
        """A question to every engine before a task that had to wait."""
        if isinstance(effect, Forward) and effect.socket == "out" and effect.message.metadata.get("after"):
            client = effect.identities[1]
            return (
                *(
                    Send("out", self.role.voice.say(now, "kernel_info_request", {}, identities=(uuid, client)))
                    for uuid in self.role.engines
                ),
                effect,
            )
        return (effect,)


class RepliesInTheEnd(Scheduler):
    """Who waits for the last need not hear of the first."""

    breaks = ("dependency.after-reply-order",)

    def handle(self, now: int, event: Event) -> Sequence[Effect]:
        """Keep a reply as long as another task runs on its account."""
        waiting = set(self.role.dependents)
        done = super().handle(now, event)
        kept, said = self.memory.setdefault("kept", []), []
        for effect in done:
            is_reply = isinstance(effect, Forward) and effect.socket == "in"
            if is_reply and effect.message.parent_header.get("msg_id") in waiting:  # type: ignore[union-attr]
                kept.append(effect)
            else:
                said.append(effect)
                if is_reply:
                    said += kept
                    kept.clear()
        return said


class AbortedIsWell(Scheduler):
    """What did not fail went well."""

    breaks = ("dependency.aborted-is-failed",)

    def prepare(self) -> None:
        """An aborted task ends well for those that wait."""

        def finish(old: Any, task: Any, is_ok: bool, engine: Any) -> None:
            old(task, is_ok or self.memory["status"] == "aborted", engine)

        wrap(self.role, "_finish", finish)

    def hear(self, event: Event) -> Sequence[Event]:
        """Take note of how an engine ended a task."""
        if isinstance(event, Arrived) and event.socket == "out" and isinstance(event.message.metadata, dict):
            self.memory["status"] = event.message.metadata.get("status")
        return (event,)


class Forgetful(Scheduler):
    """A scheduler that tells those that wait nothing of some of its own answers; `enames` are theirs."""

    enames: tuple[str, ...] = ()

    def prepare(self) -> None:
        """Forget who waits."""

        def fail(old: Any, now: int, task: Any, ename: str, *rest: Any) -> None:
            if ename in self.enames:
                self.role.dependents.pop(task.id, None)
            old(now, task, ename, *rest)

        wrap(self.role, "_fail", fail)


class RefusesOneByOne(Forgetful):
    """A refused task has not ended: it never began."""

    breaks = ("dependency.unreachable-propagates",)
    enames = ("ImpossibleDependency",)


class ForgetsWhoWaitedForTheDead(Forgetful):
    """The dead end nothing."""

    breaks = ("dependency.survives-engine-death",)
    enames = ("EngineError",)


class TakesTheForgottenForDone(Depending):
    """What was long ago went well."""

    breaks = ("dependency.forgotten-id-refused",)

    def taken(self, message: Message, value: Any) -> Any:
        """Nothing, if all of it was once submitted and is forgotten."""
        ids = ids_of(value)
        known = self.role.tasks, self.role.outcomes
        return GONE if ids and all(each in self.memory and each not in known[0] and each not in known[1]
                                   for each in ids) else value  # fmt: skip

    def hear(self, event: Event) -> Sequence[Event]:
        """Take note of every task."""
        if steering(event) is not None:
            self.memory[event.message.msg_id] = True  # type: ignore[union-attr]
        return super().hear(event)


class RemembersAHundred(Scheduler):
    """What was long ago is of no use."""

    breaks = ("dependency.recent-ids-known",)

    def prepare(self) -> None:
        """A short memory."""
        self.role.outcomes = Outcomes(100)
