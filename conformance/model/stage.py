"""Where conversations are played: a controller of a target, fresh for each in virtual time, shared where it is real.

What comes of a conversation is an `Outcome`: violations, each excused or not, and what was reached on the way. A
deviation that the target's descriptor lists in the words in which it was found is known, whatever conversation shows
it. Steps that would provoke nothing but what is known without such words are left out, and so are those whose harm goes
on: what a known mistake breaks besides would hide what nobody knows yet.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Final

from conformance.harness.attaching import controllers
from conformance.harness.controller import Controller
from conformance.harness.explain import explain
from conformance.harness.verdict import Blocked, CaseEnd, Undecided, Violated, finding_of
from conformance.harness.virtualworld import VirtualWorld
from conformance.model.player import Player, play
from conformance.model.steps import ENDS, Begin, Conversation
from conformance.targets import Target
from conformance.targets.process import detect_version
from conformance.targets.tables import Deviation
from protocol.requirements import get
from protocol.rules import Violation
from protocol.rules.parts import content_of
from protocol.world import Observation

#: How much of what led to a violation is shown.
ROWS: Final = 40
#: Settings that are left as they are if this is known: whatever else was wrong with them could not be told from it.
SPOILT: Final = {"hwm": "task.dispatches-bounded"}
#: What is avoided even if it is known in so many words: a second run of a task, and an answer that names no request.
LASTING: Final = frozenset({*SPOILT.values(), "wire.all-parts-present"})
#: Features that a target must declare to be talked to at all.
NEEDED: Final = (
    "queue", "results", "purge", "db", "history", "resubmit", "mux", "tasks", "control", "iopub", "broadcast",
)  # fmt: skip


@dataclass
class Outcome:
    """What came of one conversation."""

    conversation: Conversation
    violations: list[Violation] = field(default_factory=list)
    #: Violations that the target's descriptor lists.
    known: list[Violation] = field(default_factory=list)
    #: What nobody demands, and was seen to be otherwise.
    observed: list[Violation] = field(default_factory=list)
    #: What was seen, without heartbeats, and how much of it before each step.
    observations: Sequence[Observation] = ()
    marks: Sequence[int] = ()
    coverage: frozenset[str] = frozenset()
    is_undecided: bool = False
    #: What had been played with the same controller before.
    before: Sequence[Conversation] = ()

    @property
    def keys(self) -> list[str]:
        """By what each violation can be told from others."""
        return [key_of(each) for each in self.violations]


def key_of(violation: Violation) -> str:
    """Requirement, blame and shape: what was found, without names, numbers and whatever else differs each time."""
    shape = re.sub(r"'[^']*'|\"[^\"]*\"|\[[^\]]*\]|\{[^}]*\}|[\w.-]*\d[\w.-]*", "…", violation.found)
    return f"{violation.requirement} | {violation.guilty} | {shape[:80]}"


def told(outcome: Outcome, violation: Violation, replay: str) -> str:
    """A violation in a conversation, explained: requirement, blame, what was allowed, and what led to it."""
    end = max(violation.evidence, default=0) or outcome.observations[-1].seq if outcome.observations else 0
    before = [each for each in outcome.observations if each.seq <= end]
    shown = [each for each in before[:-ROWS] if each.seq in violation.evidence] + before[-ROWS:]
    return explain(get(violation.requirement), finding_of(violation), shown, replay)


def avoided(deviations: Iterable[Deviation]) -> frozenset[str]:
    """The requirements that no step is to provoke a violation of, as these deviations are known."""
    return frozenset(each.slug for each in deviations if not each.found or each.slug in LASTING)


class KitFailed(Exception):
    """The kit could not play a conversation; the cause says why."""

    def __init__(self, conversation: Conversation) -> None:
        super().__init__("the kit could not play a conversation")
        self.conversation = conversation

    def __str__(self) -> str:
        return f"{self.args[0]}: {type(self.__cause__).__name__}: {self.__cause__}"


class Stage:
    """See the module. `is_strict` knows no deviations. Close it at the end."""

    def __init__(self, target: Target, *, is_strict: bool = False) -> None:
        self.target = target
        version = detect_version(target) if target.deviations and not target.is_simulated else None
        self.deviations = [] if is_strict else [
            each for each in target.deviations if each.is_about(version) and not each.unreviewed
        ]  # fmt: skip
        self.avoid = avoided(self.deviations)
        self._deployment = controllers(target, may_disturb=False)
        self._open = ExitStack()
        self._shared: Controller | None = None
        self._shared_settings: dict[str, object] = {}
        self._had: list[Conversation] = []

    def play(self, conversation: Conversation, *, after: Sequence[Conversation] | None = None) -> Outcome:
        """Play one conversation: with a controller that has had those of `after` and no others, where they are given.

        Raises TargetUnusable, and KitFailed if the kit itself could not play it.
        """
        if after is not None:
            self._end_shared()
            for each in after:
                self.play(each)
        settings = self._settings(conversation)
        if self.target.is_simulated:
            return self._play_virtually(conversation, settings)
        controller = self._running(settings)
        try:
            outcome = self._play(controller, conversation, settings)
        except KitFailed:
            self._end_shared()
            raise
        outcome.before = tuple(self._had)
        self._had.append(conversation)
        is_unclear = outcome.violations or outcome.is_undecided or _ends(conversation)
        if self._shared is not None and (is_unclear or not self._shared.is_running):
            # Who knows in what state it is.
            self._end_shared()
        return outcome

    def _play_virtually(self, conversation: Conversation, settings: dict[str, object]) -> Outcome:
        try:
            with self._deployment.fresh(settings) as controller:
                return self._play(controller, conversation, settings)
        except KitFailed:
            raise
        except Exception as error:
            # A role that fell when it was tried, before anything was said to it.
            if not (fallen := _who_fell(error)):
                raise
            return Outcome(conversation, [_fell(fallen, 0)])

    def close(self) -> None:
        """End what was started."""
        self._end_shared()

    def _is_known(self, slug: str, found: str) -> bool:
        return any(each.excuses(slug, found) for each in self.deviations)

    def _settings(self, conversation: Conversation) -> dict[str, object]:
        """What the controller of a conversation is to be told, where it can be told."""
        begun = conversation[0] if conversation and isinstance(conversation[0], Begin) else Begin()
        is_real = not self.target.is_simulated
        wanted: dict[str, object] = {"hwm": begun.hwm, "scheme": begun.scheme}
        if is_real and begun.database:
            wanted |= {"database": True, "restore": True}
        wanted = {name: value for name, value in wanted.items() if SPOILT.get(name) not in self.avoid}
        usual: dict[str, object] = {"hwm": 1, "scheme": "leastload"}
        known = self.target.controller.options if is_real and self.target.controller is not None else usual
        return {name: value for name, value in wanted.items() if name in known and value != usual.get(name)}

    def _running(self, settings: dict[str, object]) -> Controller:
        if self._shared is not None and self._shared_settings != settings:
            self._end_shared()
        if self._shared is None:
            self._shared = self._open.enter_context(self._deployment.fresh(settings))
            self._shared_settings = settings
        return self._shared

    def _end_shared(self) -> None:
        self._shared = None
        self._had.clear()
        self._open.close()

    def _play(self, controller: Controller, conversation: Conversation, settings: dict[str, object]) -> Outcome:
        controller.begin_case()
        hwm = settings.get("hwm", 1)
        assert isinstance(hwm, int)
        player = Player(controller, hwm=hwm, avoid=self.avoid, is_known=self._is_known)
        player.is_lasting = bool(settings.get("database"))
        outcome = Outcome(conversation)
        found: list[Violation] = []
        try:
            play(player, conversation)
            found = player.violations(is_last=self.target.is_simulated)
        except CaseEnd as end:
            found = player.violations() + _from_end(end, player)
            outcome.is_undecided = isinstance(end, Undecided)
        except Exception as error:
            # Whoever stumbles over something that is accused anyway is not at fault.
            found = player.violations()
            if self.target.is_simulated and (fallen := _who_fell(error)):
                found.append(_fell(fallen, player.world.now))
            if not found:
                raise KitFailed(conversation) from error
        outcome.is_undecided = outcome.is_undecided or player.is_undecided
        if found and controller.robbed():
            outcome.is_undecided, found = True, []
        for each in found:
            if get(each.requirement).level == "MAY":
                outcome.observed.append(each)
                continue
            known = self._is_known(each.requirement, each.found)
            (outcome.known if known else outcome.violations).append(each)
        seen = [each for each in controller.observations if not each.channel.startswith("heartbeat")]
        outcome.observations, outcome.marks = seen, player.marks
        outcome.coverage = frozenset(_covered(controller, seen))
        if not controller.is_running and not player.book.is_ended:
            outcome.violations.append(_died(controller))
        try:
            player.leave()
            controller.end_case()
        except Exception as error:
            # What a broken one makes of goodbyes was accused already, or will be next time.
            if not outcome.violations:
                raise KitFailed(conversation) from error
        return outcome


def _ends(conversation: Conversation) -> bool:
    return any(isinstance(step, ENDS) for step in conversation)


def _from_end(end: CaseEnd, player: Player) -> list[Violation]:
    """What kept a conversation from going on, as the violation that it is."""
    if isinstance(end, Violated):
        slug, finding = end.requirement or "wire.every-request-answered", end.finding
        return [_violation(slug, finding.found, finding.allowed, finding.evidence, player.world.now)]
    if isinstance(end, Blocked):
        return [_violation(end.prerequisite, end.why, (), (), player.world.now)]
    return []


def _died(controller: Controller) -> Violation:
    return _fell(f"its process has ended (status {controller.instance.status})", controller.world.now)


def _who_fell(error: Exception) -> str:
    """What a role raised, with what it was doing; empty if it was no role."""
    notes = " ".join(getattr(error, "__notes__", ()))
    return f"{type(error).__name__}: {error} {notes}" if notes else ""


def _fell(found: str, now: int) -> Violation:
    """The target did not survive what it was told."""
    return _violation("wire.malformed-harms-nobody", found, ("it lives on",), (), now)


def _violation(slug: str, found: str, allowed: tuple[str, ...], evidence: tuple[int, ...], now: int) -> Violation:
    return Violation(
        requirement=slug, rule=f"{slug}.model", guilty="the target", evidence=evidence, found=found, allowed=allowed,
        now=now,
    )  # fmt: skip


def _covered(controller: Controller, seen: Sequence[Observation]) -> Iterable[str]:
    """What was reached: types and errors, pairs of what followed each other, and rare branches of our own roles."""
    before = ""
    for each in seen:
        message = each.message
        name = f"{each.channel} {message.msg_type}" if message is not None else f"{each.channel} frames"
        if each.direction == "received" and message is not None:
            content = content_of(message)
            status, error = content.get("status"), content.get("ename")
            name += f" {status}" if isinstance(status, str) else ""
            if isinstance(error, str):
                yield f"error {each.channel} {error}"
        yield f"type {each.direction} {name}"
        if before and each.direction == "received":
            yield f"pair {before} > {name}"
        before = name
    if isinstance(controller.world, VirtualWorld):
        for slug in controller.world.world.marks:
            yield f"mark {slug}"


__all__ = ["NEEDED", "KitFailed", "Outcome", "Stage", "avoided", "key_of", "told"]
