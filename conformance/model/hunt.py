"""The search for a conversation that fails: invent one, play it, keep it if it reached something new, and go on.

    hunt = Hunt(stage, seed=1, folder=Path("corpus"))
    while time_is_left:
        failure = hunt.step()

Half of the conversations are drawn anew; the others are made of those in the corpus, which once reached what none had
reached before: cut, spliced, with steps taken out, put in or drawn again. The same seed and an empty corpus give the
same conversations. A failure is told once: the next one of the same requirement, blame and shape is only counted.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Final, TypeVar

import msgspec

from conformance.model import steps as alphabet
from conformance.model.stage import KitFailed, Outcome, Stage, key_of
from conformance.model.steps import (
    CHOICES,
    ENDS,
    Begin,
    Conversation,
    Damage,
    Register,
    Restart,
    Shutdown,
    Step,
    Wait,
    draw_any,
    weighted,
)
from conformance.model.team import Team
from conformance.model.vectors import conversation_from
from protocol.damage import Drawn
from protocol.rules import Violation

#: Steps of a conversation that is drawn, at least and at most.
SHORTEST, LONGEST = 10, 60
T = TypeVar("T")
#: How many conversations a failure is tried with while it is made short.
TRIES: Final = 250
#: How often a failure is looked for once more, each time with a fresh controller.
ALONE: Final = 3
#: Every so often a conversation ends the controller, and the next one has other settings.
OFTEN: Final = 12
SETTINGS: Final = (
    Begin(), Begin(hwm=2), Begin(), Begin(database=True), Begin(), Begin(scheme="lru"), Begin(database=True),
    Begin(hwm=0, scheme="plainrandom"), Begin(), Begin(scheme="twobin"),
)  # fmt: skip


@dataclass
class Failure:
    """A way to fail, its shortest conversation so far, and how often it was met.

    `before` are the conversations that must have been had with the same controller, so that it fails. `is_again` is
    whether it was seen once more when it was looked for; None where nobody has looked.
    """

    key: str
    violation: Violation
    outcome: Outcome
    seed: int
    count: int = 1
    is_short: bool = False
    is_again: bool | None = None
    before: Sequence[Conversation] = ()


@dataclass
class Progress:
    """How far a hunt has come."""

    conversations: int = 0
    steps: int = 0
    known: Counter[str] = field(default_factory=Counter)
    undecided: int = 0


class Hunt:
    """See the module. `folder` keeps the corpus, and where the hunt stopped; without one nothing is kept.

    `beside` are more stages of the same target, on which other conversations are played meanwhile.
    """

    def __init__(
        self, stage: Stage, *, seed: int = 0, folder: Path | None = None, beside: Sequence[Stage] = ()
    ) -> None:
        self.target = stage.target
        self._team = Team([*beside, stage])
        self.seed = seed
        self.folder = folder
        self.progress = Progress()
        self.coverage: set[str] = set()
        self.corpus: list[Conversation] = []
        self.failures: dict[str, Failure] = {}
        #: Requirements that are not demanded, and were seen not to be kept.
        self.observed: set[str] = set()
        self._number = 0
        if folder is not None:
            self._resume(folder)

    # -- where it stopped --------------------------------------------------------------------------------------------

    def _resume(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        for path in sorted((folder / "conversations").glob("*.json")):
            self.corpus.append(conversation_from(path))
        state = folder / "state.json"
        if state.exists():
            found = json.loads(state.read_text("utf-8"))
            self._number = int(found.get("next", {}).get(str(self.seed), 0))
            self.coverage = set(found.get("coverage", ()))

    def save(self) -> None:
        """Write down where to go on."""
        if self.folder is None:
            return
        state = self.folder / "state.json"
        before = json.loads(state.read_text("utf-8")) if state.exists() else {}
        following = before.get("next", {}) | {str(self.seed): self._number}
        state.write_text(json.dumps({"next": following, "coverage": sorted(self.coverage)}, indent=0) + "\n", "utf-8")

    def _keep(self, conversation: Conversation) -> None:
        self.corpus.append(conversation)
        if self.folder is not None:
            folder = self.folder / "conversations"
            folder.mkdir(exist_ok=True)
            path = folder / f"{len(self.corpus):05}.json"
            path.write_bytes(msgspec.json.encode(conversation) + b"\n")

    # -- one conversation --------------------------------------------------------------------------------------------

    def step(self) -> list[Failure]:
        """Play until one more conversation has ended; the failures that were not known.

        Raises TargetUnusable, and KitFailed if the kit could not play a conversation: others can be played after that.
        """
        while self._team.has_room:
            number, self._number = self._number, self._number + 1
            self._team.put(self._invent(Random(f"{self.seed}/{number}"), number))  # noqa: S311 - to be repeated
        return self._learn(self._team.take())

    def rest(self) -> list[Failure]:
        """The failures of the conversations that are still under way. Raises as `step` does."""
        return [failure for outcome in self._team.rest() for failure in self._learn(outcome)]

    @property
    def is_busy(self) -> bool:
        """Whether a conversation is under way that nobody has learnt from."""
        return self._team.is_busy

    def close(self) -> None:
        """End what was started."""
        self._team.close()

    def _learn(self, outcome: Outcome) -> list[Failure]:
        conversation = outcome.conversation
        self.progress.conversations += 1
        self.progress.steps += len(conversation)
        self.progress.undecided += outcome.is_undecided
        self.observed |= {each.requirement for each in outcome.observed}
        self.progress.known.update(each.requirement for each in outcome.known)
        new = outcome.coverage - self.coverage
        if new and not outcome.violations:
            self.coverage |= new
            self._keep(conversation)
        return self._note(outcome)

    def _note(self, outcome: Outcome) -> list[Failure]:
        new: list[Failure] = []
        for violation in outcome.violations:
            key = key_of(violation)
            failure = self.failures.get(key)
            if failure is None:
                failure = self.failures[key] = Failure(key, violation, outcome, self.seed)
                new.append(failure)
            else:
                failure.count += failure.outcome is not outcome
        return new

    def _invent(self, random: Random, number: int) -> Conversation:
        chance = Drawn(random.random)
        if self.corpus and chance.below(2):
            found = self._vary(chance)
        else:
            kinds = weighted()
            length = SHORTEST + chance.below(LONGEST - SHORTEST + 1)
            # Mostly somebody is there from the beginning.
            first: list[Step] = [Register(engine=number) for number in range(min(2, chance.below(4)))]
            # First beats take a while; who acts before meets nobody.
            first += [Wait(periods=2)] if chance.below(4) else []
            found = first + [draw_any(chance, kinds) for _ in range(length)]
        settings = SETTINGS[number // OFTEN % len(SETTINGS)]
        if number % OFTEN == OFTEN - 1:
            found.append(Restart() if settings.database else Shutdown())
        if settings != SETTINGS[0]:
            found.insert(0, settings)
        return tuple(found)  # type: ignore[arg-type]

    def _vary(self, chance: Drawn) -> list[Step]:
        old: list[Step] = [*self.corpus[chance.below(len(self.corpus))]]
        other: list[Step] = [*self.corpus[chance.below(len(self.corpus))]]
        old = [step for step in old if not isinstance(step, (Begin, *ENDS))]
        kinds = weighted()
        for _ in range(1 + chance.below(6)):
            at = chance.below(len(old) + 1)
            how = chance.below(4)
            if how == 0:
                old.insert(at, draw_any(chance, kinds))
            elif how == 1 and at < len(old):
                old[at] = alphabet.draw(type(old[at]), chance)
            elif how == 2 and len(old) > SHORTEST:
                del old[at : at + 1 + chance.below(4)]
            else:
                start = chance.below(len(other))
                old[at:at] = [step for step in other[start : start + 12] if not isinstance(step, (Begin, *ENDS))]
        return old[: 2 * LONGEST]

    # -- short conversations -----------------------------------------------------------------------------------------

    def shorten(self, failure: Failure, *, may_go_on: Callable[[], bool] = lambda: True) -> None:
        """Look for a shorter conversation that fails in the same way, for as long as that is allowed.

        What does not fail again by itself may need what was said to the same controller before; if it does not fail
        after that either, it stays as it is.
        """
        tries = 0

        def fails(candidate: Conversation, after: Sequence[Conversation] | None = None) -> bool:
            nonlocal tries
            tries += 1
            try:
                outcome = self._team.play(candidate, after=after)
            except KitFailed:
                return False
            self._note(outcome)
            for violation in outcome.violations:
                if key_of(violation) == failure.key:
                    failure.outcome, failure.violation = outcome, violation
                    return True
            return False

        def is_allowed() -> bool:
            return tries < TRIES and may_go_on()

        def fails_after(some: tuple[Conversation, ...]) -> bool:
            is_failing = fails(failure.outcome.conversation, some)
            if is_failing:
                failure.before = some
            return is_failing

        whole, had = failure.outcome.conversation, tuple(failure.outcome.before)
        failure.is_again = any(fails(whole, ()) for _ in range(ALONE))
        if not failure.is_again:
            failure.is_again = bool(had) and fails_after(had)
            if not failure.is_again:
                return
            _take_out(had, fails_after, is_allowed)

        def fails_still(candidate: Conversation) -> bool:
            return fails(candidate, failure.before or None)

        _take_out(failure.outcome.conversation, fails_still, is_allowed)
        _make_plain(failure.outcome.conversation, fails_still, is_allowed)
        failure.is_short = is_allowed()


def _take_out(start: tuple[T, ...], fails: Callable[[tuple[T, ...]], bool], is_allowed: Callable[[], bool]) -> None:
    """Leave out steps or conversations, many at once and then one by one, for as long as it still fails."""
    now, size = start, max(1, len(start) // 2)
    while is_allowed():
        at = len(now) - size
        has_shrunk = False
        while is_allowed() and now:
            at = max(0, min(at, len(now) - size))
            candidate = now[:at] + now[at + size :]
            if fails(candidate):
                now, has_shrunk = candidate, True
            if at == 0:
                break
            at -= size
        if size == 1 and not has_shrunk:
            return
        size = max(1, size // 2)


def _make_plain(start: Conversation, fails: Callable[[Conversation], bool], is_allowed: Callable[[], bool]) -> None:
    """Set fields to the first of their choices, for as long as it still fails."""
    now = list(start)
    for index, step in enumerate(now):
        for name, values in CHOICES[type(step)].items():
            if isinstance(step, Damage) or getattr(now[index], name) == values[0] or not is_allowed():
                continue
            before = now[index]
            now[index] = msgspec.structs.replace(before, **{name: values[0]})
            if not fails(tuple(now)):
                now[index] = before


__all__ = ["Failure", "Hunt", "Progress"]
