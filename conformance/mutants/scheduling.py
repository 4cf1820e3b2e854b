"""Mistakes of a task scheduler about loads, order, retries and refusals: who is next, and who is given what again."""

from collections.abc import Sequence
from heapq import heappush
from typing import Any, Final

from conformance.mutants.changes import unheard, wrap
from conformance.mutants.dependencies import Depending, Swallowing
from conformance.mutants.mutant import Mutant
from conformance.mutants.tasks import Scheduler
from protocol.roles.base import Arrived, Effect, Event, Forward, Send
from protocol.roles.relay import TaskRelay
from protocol.roles.task.engines import pool
from protocol.wire import Json, Message
from protocol.world import MILLISECOND

RANDOM: Final = ("plainrandom", "twobin", "weighted")
#: Nanoseconds by which news of engines are late; an introduction lasts longer.
LATE: Final = 200 * MILLISECOND


# -- loads and order ---------------------------------------------------------------------------------------------------


class FillsOneFirst(Scheduler):
    """One engine at work costs less than two."""

    breaks = ("task.least-load-first",)

    def prepare(self) -> None:
        """The greatest load is first."""
        heap = self.role.pool

        def offer(old: Any, engine: Any) -> None:
            old(engine)
            if engine.entry is None:  # another scheme chooses otherwise
                return
            load, stamp, _ = engine.entry
            engine.entry = (-load, stamp, engine)
            heappush(heap._heap, engine.entry)

        wrap(heap, "offer", offer)


class LetsTheSchemeDecide(Depending):
    """A scheme is what one has chosen."""

    breaks = ("task.scheme-choice-allowed",)
    fields = ("targets",)

    def taken(self, message: Message, value: Any) -> Any:
        """Nothing, under schemes that draw lots; of the kit's pilots only those for nobody keep theirs."""
        return [] if self.role.config.scheme in RANDOM else value


class TakesTurnsInsteadOfLots(Scheduler):
    """Lots are for those who cannot count."""

    breaks = ("task.twobin-plainrandom-weighted",)

    def prepare(self) -> None:
        """Another scheme in the place of those that draw lots."""
        if self.role.config.scheme in RANDOM:
            self.role.pool = pool("lru", self.role.env.random)


class LastComeFirstServed(Scheduler):
    """What was submitted last is what is wanted now."""

    breaks = ("task.fifo-among-equals",)

    def prepare(self) -> None:
        """The order of submission turned round."""
        for queue in (self.role.general, self.role.named):
            wrap(queue, "add", self.add)

    def add(self, old: Any, task: Any, *rest: Any) -> None:
        """Enter a task as if it had come before all others."""
        seq, task.seq = task.seq, -task.seq
        old(task, *rest)
        task.seq = seq


class ForgetsWhoIsWaitedFor(Scheduler):
    """An engine that is free takes what anybody may have."""

    breaks = ("task.no-starvation",)

    def prepare(self) -> None:
        """Nothing of what waits for certain engines is ever looked at again."""
        wrap(self.role.named, "first", lambda *_: None)


class WorksOnlyWithEngines(Swallowing):
    """Without engines there is no work."""

    breaks = ("task.waits-for-engine",)

    def swallows(self, metadata: Json) -> bool:
        """Whatever comes while nobody is there."""
        return not self.role.engines and not metadata.get("after")


class TrustsNobodyWhoFailed(Scheduler):
    """Who failed once should rest."""

    breaks = ("task.load-is-pending",)

    def prepare(self) -> None:
        """An engine whose task failed is not given another one."""

        def freed(old: Any, now: int, engine: Any) -> None:
            if self.memory["status"] == "ok":
                old(now, engine)

        wrap(self.role, "_freed", freed)

    def hear(self, event: Event) -> Sequence[Event]:
        """Take note of how an engine ended a task."""
        if isinstance(event, Arrived) and event.socket == "out":
            self.memory["status"] = event.message.metadata.get("status")
        return (event,)


# -- engines that come and go ------------------------------------------------------------------------------------------


class HearsLate(Scheduler):
    """A scheduler that hears of engines a fifth of a second after everybody else."""

    def hear(self, event: Event) -> Sequence[Event]:
        """News later, in order."""
        if isinstance(event, Arrived) and event.socket == "notification" and event not in self.memory.values():
            self.shell.process.at(self.shell.clock() + LATE, self.late, event, None)
            return ()
        return (event,)

    def late(self, event: Event, _: None) -> None:
        """What was held back."""
        self.memory["due"] = event
        self.shell.deliver(event)
        del self.memory["due"]


class RefusesWhomItDoesNotKnowYet(HearsLate):
    """Whom I do not know is not there."""

    breaks = ("task.late-introduction",)

    def prepare(self) -> None:
        """No time for an introduction."""
        wrap(self.role, "_timer", lambda old, name, at: 0 if name.startswith("introduction") else old(name, at))


class UsesTheDead(Scheduler):
    """It has worked before, and may come back."""

    breaks = ("task.dead-engine-avoided",)

    def hear(self, event: Event) -> Sequence[Event]:
        """No word about the death of an engine that ever had a task, unless it is the last one."""
        if isinstance(event, Arrived) and event.message.msg_type == "unregistration_notification":
            engine = self.role.engines.get(event.message.content["uuid"].encode())
            return () if engine is not None and engine.stamp > 0 and len(self.role.engines) > 1 else (event,)
        return (event,)


class NamesAnotherEngine(Scheduler):
    """One engine is as good as another."""

    breaks = ("task.destination-content",)

    def do(self, now: int, effect: Effect) -> Sequence[Effect]:
        """The engine that has the task is told to be another one, where there is one."""
        if isinstance(effect, Send) and effect.message.msg_type == "task_destination":
            told = effect.message.content["engine_id"]
            named = [engine.name for engine in self.role.engines.values() if engine.name != told] or [told]
            return (Send("monitor", effect.message.replace(content=effect.message.content | {"engine_id": named[-1]})),)
        return (effect,)


# -- again -------------------------------------------------------------------------------------------------------------


class TriesForEver(Scheduler):
    """In the end it will work."""

    breaks = ("task.retries-bounded", "task.dispatches-bounded")

    def prepare(self) -> None:
        """Every task has one more retry than it had."""

        def go_on(old: Any, now: int, task: Any, engine: Any, *, is_refused: bool) -> None:
            task.demands.retries += 1
            old(now, task, engine, is_refused=is_refused)

        wrap(self.role, "_go_on", go_on)


class Considering(Scheduler):
    """A scheduler that forgets something of a task that has come back."""

    def forgets(self, demands: Any) -> None:
        """Forget it."""
        raise AssertionError(f"{self.name()} forgets nothing")

    def prepare(self) -> None:
        """Before it is placed anew."""

        def consider(old: Any, now: int, task: Any, demands: Any) -> None:
            self.forgets(demands)
            old(now, task, demands)

        wrap(self.role, "_consider", consider)


class TriesWhereItWas(Considering):
    """It may have been bad luck."""

    breaks = ("task.retry-elsewhere",)

    def forgets(self, demands: Any) -> None:
        """That another engine may be better."""
        if demands.avoid is not None and demands.targets is None:
            demands.targets = (demands.avoid,)


class AsksWhoRefused(Considering):
    """It may have changed its mind."""

    breaks = ("task.refusing-engine-avoided",)

    def forgets(self, demands: Any) -> None:
        """Who refused it."""
        demands.refused.clear()


class CountsRefusals(Scheduler):
    """A run is a run."""

    breaks = ("task.unmet-keeps-retries",)

    def prepare(self) -> None:
        """A retry less after a refusal."""

        def go_on(old: Any, now: int, task: Any, engine: Any, *, is_refused: bool) -> None:
            if is_refused and task.demands is not None:
                task.demands.retries = max(task.demands.retries - 1, 0)
            old(now, task, engine, is_refused=is_refused)

        wrap(self.role, "_go_on", go_on)


class HopesForSomebodyElse(Scheduler):
    """Somebody will want it one day."""

    breaks = ("task.all-refused-error",)

    def prepare(self) -> None:
        """No answer to a task that was refused somewhere."""

        def fail(old: Any, now: int, task: Any, ename: str, *rest: Any) -> None:
            if not (task.demands and task.demands.refused):
                old(now, task, ename, *rest)

        wrap(self.role, "_fail", fail)


# -- pure --------------------------------------------------------------------------------------------------------------


class Pure(Mutant):
    """A mutant of the scheduler that only relays."""

    part = "task-scheduler"

    def handle(self, now: int, event: Event) -> Sequence[Effect]:
        """Nothing unlike the role, under any other scheme."""
        return super().handle(now, event) if isinstance(self.role, TaskRelay) else self._handle(now, event)


class ReadsTargetsToo(Pure):
    """What names an engine that is not there need not be passed on."""

    breaks = ("task.pure-reads-nothing",)
    hears = (unheard(lambda m: m.metadata.get("targets") == ["nobody"], "in"),)


class AnswersTheLatest(Pure):
    """The last to ask is the one who waits."""

    breaks = ("task.pure-reply-to-requester",)

    def do(self, now: int, effect: Effect) -> Sequence[Effect]:
        """Replies to the client that submitted last."""
        if isinstance(effect, Forward) and effect.socket == "out":
            self.memory["last"] = effect.identities[0]
        if isinstance(effect, Forward) and effect.socket == "in":
            return (effect._replace(identities=(self.memory["last"], *effect.identities[1:])),)
        return (effect,)


class StartsAnew(Pure):
    """After four the row begins anew."""

    breaks = ("task.pure-round-robin",)

    def do(self, now: int, effect: Effect) -> Sequence[Effect]:
        """Every fifth task to the first engine of the row."""
        if isinstance(effect, Forward) and effect.socket == "out":
            self.memory["count"] = count = self.memory.get("count", -1) + 1
            if count % 4 == 0:
                self.shell.sockets["out"]._out.current = 0  # type: ignore[union-attr]
        return (effect,)
