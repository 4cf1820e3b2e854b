"""Mistakes that no single case shows: in what roles hold to be true, in the end, and when everything happens at once.

They are judged by whole simulated runs: swarms, whose seeds draw work and faults, and scenarios. All rules watch.
"""

from collections.abc import Sequence
from typing import Any

from msgspec import structs

from conformance.mutants.changes import is_so, unheard, wrap
from conformance.mutants.dependencies import RefusesOneByOne
from conformance.mutants.mutant import Mutant
from conformance.mutants.relays import Passing
from conformance.mutants.tasks import GivesOutTwice, HoldsTwo, IgnoresTargets, Scheduler, SendsToTheDead
from protocol.roles.base import Effect, Forward, Note, Send
from protocol.roles.task.outcomes import Outcomes
from protocol.roles.task.tasks import QUEUED
from protocol.signature import ReplayMemory

SWARMS = tuple(f"swarm {seed}" for seed in range(12))


class LeavesTasksInTheQueue(Scheduler):
    """Who has come back stands in the queue, and that need not be said."""

    breaks = ("task.exactly-one-place",)
    runs = ("failing-task-is-retried 0",)

    def prepare(self) -> None:
        """Another state, and no word about it."""

        def leave(old: Any, task: Any, engine: Any) -> None:
            old(task, engine)
            task.state = QUEUED

        wrap(self.role, "_leave", leave)


class PutsFailuresBack(Scheduler):
    """A failure need not be the end."""

    breaks = ("task.done-is-stable",)
    runs = ("graph-with-a-failing-branch 0",)

    def prepare(self) -> None:
        """What has failed waits again."""

        def finish(old: Any, task: Any, is_ok: bool, engine: Any) -> None:
            old(task, is_ok, engine)
            if not is_ok:
                self.role._tell(task, QUEUED, None)

        wrap(self.role, "_finish", finish)


class CountsEveryLife(Scheduler):
    """An engine that comes back is another one."""

    breaks = ("task.engines-distinct", "notification.views-converge")
    runs = SWARMS

    def do(self, now: int, effect: Effect) -> Sequence[Effect]:
        """Whoever was ever there is there."""
        if isinstance(effect, Note) and effect.name == "scheduler-engines":
            ever = self.memory.setdefault("ever", [])
            ever += [each for each in effect.data["engines"] if each not in ever]
            return (Note(effect.name, {"engines": list(ever)}),)
        return (effect,)


class RefusesOneByOneInACrowd(RefusesOneByOne):
    """A refused task has not ended: it never began."""

    breaks = ("task.converges",)
    runs = ("graph-with-a-failing-branch 0",)


class WaitsForTheFirst(Scheduler):
    """Who waits for several hears of the first one that ends."""

    breaks = ("dependency.graph-exact",)
    runs = SWARMS

    def prepare(self) -> None:
        """A task that waits stands under one that it waits for, and not under the last."""

        def hold(old: Any, now: int, task: Any, state: str) -> None:
            needs = () if task.demands is None else task.demands.needs
            left = [each for need in needs for each in need.left]
            if len(left) > 1:
                self.role.dependents.get(left[-1], {}).pop(task.id, None)
            old(now, task, state)

        wrap(self.role, "_hold", hold)


class BelievesInTheDead(SendsToTheDead):
    """It may come back, whatever the Hub says."""

    breaks = ("notification.views-converge",)
    hears = (unheard(lambda m: m.msg_type in ("unregistration_notification", "connection_reply")),)
    runs = ("mass-death 0",)


class CompletesSuccesses(Mutant):
    """A failure has no result."""

    breaks = ("storage.done-agrees",)
    hears = (unheard(lambda m: m.identities[:1] == (b"outtask",) and m.content.get("status") == "error", "monitor"),)
    runs = ("graph-with-a-failing-branch 0",)


class KeepsAPlaceForWhoWaits(Scheduler):
    """Somebody may still want to wait for it."""

    breaks = ("storage.memory-bounded",)
    runs = SWARMS

    def prepare(self) -> None:
        """Every task that has ended stays among those that are waited for."""

        def finish(old: Any, task: Any, *rest: Any) -> None:
            old(task, *rest)
            self.role.dependents.setdefault(task.id, {})

        wrap(self.role, "_finish", finish)


class LoadsTwo(HoldsTwo):
    """Until the load is above the mark there is room."""

    breaks = ("task.load-is-pending",)
    runs = SWARMS


class GivesOutTwiceInACrowd(GivesOutTwice):
    """One of two will do it."""

    breaks = ("task.one-live-assignment", "task.dispatches-bounded")
    runs = SWARMS


class IgnoresTargetsInACrowd(IgnoresTargets):
    """Any engine will do."""

    breaks = ("task.targets-respected",)
    runs = SWARMS


class AsksAgain(Passing):
    """What is important is asked twice."""

    breaks = ("wire.nothing-invented",)
    runs = SWARMS

    def passed(self, effect: Forward) -> Sequence[Effect]:
        """Each request that can be read once more, under another id."""
        if effect.socket == "out" and is_so(lambda m: (m.parent_header, m.metadata, m.content), effect.message):
            message = effect.message.replace(identities=effect.identities)
            again = message.replace(header=message.header | {"msg_id": self.role.env.fresh_id()})
            return (effect, Send("out", again))
        return (effect,)


class RemembersEveryOutcome(Scheduler):
    """Somebody may still depend on it."""

    breaks = ("task.finished-bounded",)
    runs = SWARMS

    def prepare(self) -> None:
        """A memory of ten that forgets nothing."""
        object.__setattr__(self.role, "config", structs.replace(self.role.config, remember=10))
        self.role.outcomes = Outcomes(1 << 30)


class Endless(ReplayMemory):
    """A memory that should hold nothing, and forgets nothing."""

    def admit(self, signature: bytes) -> bool:
        """Whether this signature is new."""
        if signature in self._order:
            return False
        self._order.append(signature)
        return True


class RemembersEverySignature(Mutant):
    """A replay may come at any time."""

    breaks = ("wire.replay-memory-bounded",)
    runs = ("requests-are-replayed 0",)

    def prepare(self) -> None:
        """One that has no end."""
        self.shell.codec.replay = Endless(0)
