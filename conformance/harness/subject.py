"""What is under test, as a case sees it: its clock, the rules that watch it, and how it is accused of silence.

`begin_case` and `end_case` keep apart the cases that share one: names, uuids and sessions are unique per case.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Final, Protocol

from msgspec import UNSET

from conformance.harness.hindrance import PUT_OFF
from conformance.harness.verdict import Blocked, CaseEnd, Finding, NotApplicable, Undecided, Violated
from conformance.targets.errors import TargetUnusable
from conformance.targets.tables import Timing
from conformance.targets.vocabulary import ROLES, Role
from protocol.requirements import get
from protocol.rules import Judge, Setting, Vantage, Violation, rules_for
from protocol.rules.framework import COPIES
from protocol.wire import Codec, Message
from protocol.world import SECOND, Fact, Observation

#: A request that no dialect has.
NONSENSE: Final = "nonsense_request"


class HarnessWorld(Protocol):
    """As much of a world as everybody needs, and how long the harness itself once failed to pump it."""

    @property
    def now(self) -> int:
        """Nanoseconds of the world's clock."""

    @property
    def observations(self) -> Sequence[Observation | Fact]:
        """Everything seen so far, in the order in which it was seen."""

    @property
    def vantages(self) -> Sequence[Vantage]:
        """From where the rules can see what happens."""

    def run_until(self, predicate: Callable[[], bool], deadline: int) -> bool:
        """Pump until the predicate holds (True) or the deadline has passed (its last value)."""

    @property
    def codec(self) -> Codec:
        """The codec with the key of everybody in this world."""

    def longest_stall(self, since: int) -> int:
        """The longest gap, in nanoseconds, between two rounds of the pump since a moment."""

    def attend(self, delays: Callable[[], Mapping[int, int]]) -> None:
        """From now on ask now and then for how long each of the target's threads was kept from a processor."""

    def hindered(self, since: int) -> int:
        """For how many nanoseconds since a moment the target could not go on, or nobody looked at the sockets."""


class Instance(Protocol):
    """What runs: a process, or its likeness in virtual time."""

    @property
    def is_running(self) -> bool:
        """Whether it is still there."""

    @property
    def status(self) -> int | None:
        """Its exit status (negative: the signal that ended it), or None while it runs."""

    def output(self) -> tuple[str, str]:
        """The end of what it printed, without keys."""

    def processes(self) -> list[int]:
        """The ids of its processes that still live, where the system can tell."""

    def delays(self) -> Mapping[int, int]:
        """For each thread, the nanoseconds for which it ever waited for a processor, where the system can tell."""

    def unusable(self, sentence: str) -> TargetUnusable:
        """The error that says so, with what it printed."""


class Subject:
    """A target of one role, and the kit's side of the conversation with it."""

    def __init__(
        self,
        world: HarnessWorld,
        timing: Timing,
        *,
        role: Role,
        dialect: str,
        token: str,
        date: Callable[[], str],
        instance: Instance,
        name: str = "target",
        features: frozenset[str] = frozenset(),
        is_pure: bool = False,
    ) -> None:
        self.world = world
        self.timing = timing
        self.dialect = dialect
        self.features = features
        self.case_start = 0
        #: Since when the kit has had to be awake for what the case says.
        self.awake_since = 0
        self._token = token
        self._cases = 0
        self._counts: dict[str, int] = {}
        self.instance = instance
        self.name = name
        self.date = date
        self.judge = Judge(
            rules_for(dialect, ROLES[role]),
            Setting(
                role=role,
                is_pure=is_pure or UNSET,
                dialect=dialect,
                period_ns=timing.heartbeat_period,
                allowed_misses=timing.allowed_misses,
                registration_timeout_ns=timing.registration_timeout,
                reply_deadline_ns=timing.reply_deadline,
                margin_ns=timing.margin,
            ),
            world.vantages,
        )
        #: The requirements that the running case names; None while no case runs.
        self.about: frozenset[str] | None = None
        #: What cases stand on and the target was seen to lack: the requirement, and what was seen instead.
        self.missing: dict[str, str] = {}
        #: What this one does not lack, and another one did that was started before it and in the same way.
        self.setbacks: dict[str, str] = {}
        #: Requirements that rules were already said to have judged.
        self.reported: frozenset[str] = frozenset()
        self._judged = 0
        self._kept: list[Violation] = []
        self._is_watched = True
        world.attend(instance.delays)

    @property
    def codec(self) -> Codec:
        """The codec with the key of this conversation."""
        return self.world.codec

    @property
    def token(self) -> str:
        """Unique per run, target and case; part of every session and uuid."""
        return f"{self._token}-{self._cases}"

    def is_of_earlier_case(self, session: str) -> bool:
        """Whether a session is that of a party of a case that is over, on this target."""
        return session.startswith(f"{self._token}-") and not session.startswith(f"{self.token}-")

    @property
    def is_running(self) -> bool:
        """Whether the target's process is still there."""
        return self.instance.is_running

    def robbed(self) -> str:
        """In words, what shows that somebody else was quicker to take one of its addresses; empty if nothing does."""
        return ""

    @property
    def observations(self) -> Sequence[Observation]:
        """What was seen since the case began, but for what the Hub alone is told."""
        seen = self.world.observations[self.case_start :]
        return [each for each in seen if isinstance(each, Observation) and each.channel != COPIES]

    def _name(self, kind: str) -> str:
        self._counts[kind] = self._counts.get(kind, 0) + 1
        return f"{kind}-{self._counts[kind]}"

    # -- the course of a case ----------------------------------------------------------------------------------------

    def begin_case(self) -> None:
        """Start a case: new names, and nothing heard yet."""
        self._cases += 1
        self._counts.clear()
        self.case_start = len(self.world.observations)
        self.awake_since = self.world.now

    def distrust(self) -> None:
        """Take note that a case ended in something else than success: who knows what it left behind."""

    @property
    def doze(self) -> int:
        """The nanoseconds for which the kit may stand still before the target could take its parties for dead."""
        return self.timing.reply_deadline

    def expect_awake(self) -> None:
        """End the case undecided if the kit stood still so long that its parties may have been taken for dead."""
        stall = self.world.longest_stall(self.awake_since)
        if stall * 4 > self.doze * 3:
            raise Undecided(f"the harness itself stalled for {stall / SECOND:.2f} s, and all of its parties with it")

    def end_case(self) -> None:
        """Leave nothing behind that the next case could meet."""

    def judge_new(self) -> list[Violation]:
        """Let the rules look at what was seen since they last looked; the violations found."""
        found, self._kept = self._kept, []
        if self._is_watched:
            seen = self.world.observations
            for item in seen[self._judged :]:
                found += self.judge.observe(item)
            self._judged = len(seen)
        return found

    def look_ahead(self) -> list[Violation]:
        """What is demanded and was broken so far; `judge_new` gives it once more."""
        self._kept = self.judge_new()
        return [violation for violation in self._kept if get(violation.requirement).level == "MUST"]

    def stop_watching(self) -> None:
        """What comes from now on is no concern of the rules."""
        self._kept = self.judge_new()
        self._is_watched = False

    def judge_rest(self) -> list[Violation]:
        """At the very end: the violations of what never happened, too."""
        return self.judge_new() + (self.judge.finish(self.world.now) if self._is_watched else [])

    def need(self, feature: str) -> None:
        """End the case unless the target declares a feature."""
        if feature not in self.features:
            raise NotApplicable(f"the target does not declare the feature {feature!r}")

    def stand_on(self, *slugs: str) -> None:
        """End the case if the target lacks what comes next; a case that is about just that goes on, and accuses."""
        for slug in slugs:
            if self.about is not None and slug in self.missing and slug not in self.about:
                raise Blocked(slug, self.missing[slug])

    def stopped(self, slug: str, found: str) -> CaseEnd:
        """What ends a case that cannot go on because of this: the accusation, if that is what it is about."""
        return Violated(Finding(found), slug) if slug in (self.about or ()) else Blocked(slug, found)

    def explore(self) -> None:
        """Before the first case: see what the target lacks of that on which most cases stand, and note it in `missing`.

        So one missing thing is accused by the cases about it, and blocks all others at once.
        """

    def smoke(self) -> bool:
        """Before anything is judged, and after the last case: somebody is there to be judged. Raises TargetUnusable.

        Whoever answers at all is there; who says yes to what does not exist cannot be judged. False: that was too much
        for it, and it is no use to a case any more; whether it may be so is for the cases to judge that try the same.
        """
        return self.is_running

    def let_pass(self, nanoseconds: int) -> None:
        """Wait for something that shows in no message, such as the end of a timer of the target."""
        self.world.run_until(lambda: False, self.world.now + nanoseconds)

    # -- accusations ---------------------------------------------------------------------------------------------------

    def spent(self, since: int) -> int:
        """The nanoseconds since a moment that the target had: without those in which the machine kept it."""
        return self.world.now - since - self.world.hindered(since)

    def is_over(self, since: int, limit: int) -> bool:
        """Whether the target has had so many nanoseconds since a moment, or the machine keeps it for far too long."""
        return self.spent(since) >= limit or self.world.now - since >= PUT_OFF * limit

    def expect_waited(self, since: int, limit: int) -> None:
        """End the case undecided if a deadline has passed, was put off, and still did not leave the target its time."""
        spent = self.spent(since)
        # Deadlines are put off in steps, so that a little may be left.
        if self.world.now - since >= limit and spent * 10 < limit * 9:
            raise Undecided(
                f"the machine is busy: the target had {max(spent, 0) / SECOND:.2f} s of {limit / SECOND:.2f} s"
            )

    def expect_unhindered(self, since: int, limit: int) -> None:
        """End the case undecided if the machine kept the target, or the kit, for a fifth of a time that matters."""
        if (kept := self.world.hindered(since)) * 5 > limit:
            raise Undecided(
                f"the machine is busy: it kept the target for {kept / SECOND:.2f} s of {limit / SECOND:.2f} s"
            )

    def expect_steady(self, since: int, limit: int) -> None:
        """End the case undecided if the harness itself, which had to be in time, stalled for a fifth of a deadline."""
        stall = self.world.longest_stall(since)
        if stall * 5 > limit:
            raise Undecided(
                f"the harness itself stalled for {stall / SECOND:.2f} s of a deadline of {limit / SECOND:.2f} s"
            )

    def silence(
        self, request: Message | None, since: int, allowed: tuple[str, ...], requirement: str | None
    ) -> Violated:
        """The accusation that an answer did not come; raises Undecided if the machine was too slow to tell."""
        limit = self.timing.reply_deadline
        self.expect_waited(since, limit)
        what = f"no answer to {request.msg_type} within {limit / SECOND:.1f} s" if request else (
            f"nothing arrived within {limit / SECOND:.1f} s"
        )  # fmt: skip
        if not self.is_running:
            what += "; the target's process has ended"
        return Violated(Finding(what, allowed or ("an answer",)), requirement)

    def expect_end(self, requirement: str | None = None, *, within: int = 0) -> None:
        """The target must end by itself, as after a request to shut down; in so many nanoseconds."""
        started = self.world.now
        limit = within or self.timing.reply_deadline + self.timing.stop_grace
        if not self.world.run_until(lambda: not self.is_running, started + limit):
            self.expect_waited(started, limit)
            raise Violated(Finding(f"it still runs after {limit / SECOND:.1f} s", ("it ends",)), requirement)

    def expect_no_process(self, requirement: str | None = None) -> None:
        """After its first process has ended, no other process of the target may live on."""
        started = self.world.now
        if not self.world.run_until(lambda: not self.instance.processes(), started + self.timing.stop_grace):
            self.expect_waited(started, self.timing.stop_grace)
            found = f"{len(self.instance.processes())} processes of it live on"
            raise Violated(Finding(found, ("none",)), requirement)
