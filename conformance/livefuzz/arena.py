"""Where a target is struck: the honest peers, what they ask, and what they miss.

A batch goes like this. Honest peers send their requests while the blows fall, so that both meet in the target's queues.
Then each stranger sends something right, whose answer proves that all before it has been dealt with; and when that and
every honest answer has come, the honest peers ask once more, for what was broken may show only now. Whatever is
missing, comes twice, comes to somebody else or has changed is trouble, and so is what the rules say of all of it.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Final, Generic, NamedTuple, TypeVar

from conformance.harness.observing import Unreachable
from conformance.harness.subject import Subject
from conformance.harness.verdict import Blocked, Undecided, Violated
from conformance.livefuzz.blows import Forge, Spot
from protocol.requirements import get
from protocol.rules.parts import content_of
from protocol.wire import Frame
from protocol.world import SECOND, Fact, Observation

#: What is accused when an honest peer misses something, and when a stranger who has become honest does.
HARM: Final = "wire.malformed-harms-nobody"
RECOVERY: Final = "wire.sender-recovers"
#: How many blows fall between two looks at what has come.
LOOK: Final = 50
#: How often a wait in which the kit itself was held up is begun anew.
ANEW: Final = 3
#: How many deadlines the honest wait at most. What is late by that much is lost, however busy the machine is.
PATIENCE: Final = 3

S = TypeVar("S", bound=Subject)


class Blow(NamedTuple):
    """One damaged message: its number, where it lands, and what kind of damage it is."""

    number: int
    spot: str
    kind: str


@dataclass(frozen=True, slots=True)
class Trouble:
    """What an honest peer noticed. `where` is the same for the same harm, whatever ids and numbers it had."""

    requirement: str
    where: str
    found: str
    allowed: tuple[str, ...] = ()
    guilty: str = "the target"
    evidence: tuple[int, ...] = ()
    #: The messages that show it, in words, where a rule has pointed at some.
    shown: tuple[str, ...] = ()


class Arena(ABC, Generic[S]):
    """A target of one role, its spots, and the honest peers around it; it lives as long as a case.

    Its maker opens everything that is used later: who comes late may miss something. `tally` counts what strangers got:
    by spot, kind of damage, and `sent`, `answered` or `error`.
    """

    def __init__(self, subject: S, seed: int) -> None:
        self.subject = subject
        self.world = subject.world
        self.forge = Forge(seed, subject.codec)
        self.spots: dict[str, Spot] = {}
        self.tally: Counter[tuple[str, str, str]] = Counter()
        #: What honest peers wait for, by what tells the answer: where it is due, and what it would be.
        self.due: dict[str, tuple[str, str]] = {}
        #: What was sent for that, by spot: it may be replayed when it has been answered, for before that a copy that is
        #: faster than the genuine message takes its place, and nobody can tell which is which.
        self.sent: dict[str, list[tuple[str, list[Frame]]]] = {}
        #: The markers on which strangers wait, and their spots.
        self.marks: dict[str, str] = {}
        self.troubles: list[Trouble] = []
        #: Whether the honest were served once.
        self.is_warm = False
        #: How many deadlines the honest wait for what is due.
        self.patience = PATIENCE
        #: Whether what the rules find is trouble, too.
        self.is_judging = True
        self._kinds: dict[str, str] = {}
        self._came: set[str] = set()

    # -- what roles add ----------------------------------------------------------------------------------------------

    @abstractmethod
    def acts(self) -> Iterable[Callable[[], None]]:
        """What honest peers do once, each thing by itself; what they then wait for is put into `due`."""

    def look_closer(self) -> None:
        """What is asked when all else is quiet."""

    def leave(self) -> None:
        """Give the target back as it was found, where others go on with it."""

    # -- a batch -----------------------------------------------------------------------------------------------------

    def add(self, *spots: Spot) -> None:
        """Take in spots."""
        self.spots |= {spot.name: spot for spot in spots}

    def warm_up(self) -> list[Trouble]:
        """Honest traffic alone; trouble here is no harm that a stranger has done."""
        self.is_warm = True
        for act in self.acts():
            act()
        self._mark(self.spots)
        self._settle()
        return self._troubles()

    def fight(self, blows: Sequence[Blow]) -> list[Trouble]:
        """Strike a batch of blows among honest traffic, and say what the honest noticed."""
        try:
            self._fight(blows)
            self._settle()
            if not self.troubles:
                for act in self.acts():
                    act()
                self._settle()
            if not self.troubles:
                self.look_closer()
        except (Blocked, Violated, Unreachable) as end:
            # Somebody could not even ask. A process that ends leaves its sockets first.
            self.world.run_until(lambda: not self.subject.is_running, self.world.now + self.subject.timing.margin)
            if self.subject.is_running:
                self.notice(HARM, "the target", str(end))
            else:
                self._ended()
        return self._troubles()

    def _fight(self, blows: Sequence[Blow]) -> None:
        acts = list(self.acts())
        every = max(1, len(blows) // (len(acts) + 1))
        struck: dict[str, None] = {}
        for count, blow in enumerate(blows, 1):
            self._kinds[blow.spot] = blow.kind
            struck[blow.spot] = None
            self.strike(blow)
            if count % every == 0 and acts:
                acts.pop(0)()
            if count % LOOK == 0:
                self.world.run_until(lambda: True, 0)
        for act in acts:
            act()
        self._mark(struck)

    def strike(self, blow: Blow) -> None:
        """One blow."""
        spot = self.spots[blow.spot]
        frames = self.forge.make(spot, blow.kind, blow.number)
        self.tally[blow.spot, blow.kind, "sent"] += 1
        spot.send(frames, f"{blow.kind}, blow {blow.number}")

    def frames(self, blow: Blow) -> list[Frame]:
        """The frames of a blow as they would be sent now."""
        return self.forge.make(self.spots[blow.spot], blow.kind, blow.number)

    def _mark(self, spots: Iterable[str]) -> None:
        for name in spots:
            marker = self.spots[name].marker
            if marker is not None:
                self.marks[marker()] = name

    # -- what comes --------------------------------------------------------------------------------------------------

    def answered(self, spot: str, seen: Observation) -> None:
        """Take in what has come to the stranger of a spot."""
        message = seen.message
        if message is not None:
            names = (message.parent_header.get("msg_id"), message.msg_id, message.metadata.get("original_msg_id"))
            for told in names:
                if isinstance(told, str) and self.marks.pop(told, None) is not None:
                    return
        status = "error" if message is not None and _status(seen) == "error" else "answered"
        self.tally[spot, self._kinds.get(spot, ""), status] += 1

    def arrived(self, key: object, where: str, seen: Observation, *, is_same: bool = True) -> None:
        """Take in what has come to an honest peer; `key` tells for what it waited."""
        if isinstance(key, str) and key in self.due:
            expected = self.due.pop(key)
            self._came.add(key)
            for spot, frames in self.sent.pop(key, ()):
                self.spots[spot].earlier.append(frames)
            if expected[0] != where:
                self.notice(HARM, f"{where} of another peer", f"what was due on {expected[0]} came on {where}", seen)
            elif not is_same:
                self.notice(HARM, f"{where} of another peer", "it was altered on its way", seen)
        elif isinstance(key, str) and key in self._came:
            self.notice("wire.at-most-one-reply", f"{where} of another peer", "it came a second time", seen)
        else:
            told = (
                "frames that are no message" if seen.message is None else f"{seen.message.msg_type}, parent {key!r:.80}"
            )
            self.notice(HARM, f"{where} of another peer", f"{told} came to a peer that asked nothing of the kind", seen)

    def notice(
        self, requirement: str, where: str, found: str, *seen: Observation, allowed: tuple[str, ...] = ()
    ) -> None:
        """Note trouble."""
        evidence = tuple(each.seq for each in seen)
        self.troubles.append(Trouble(requirement, where, found, allowed or ("it is as without the damage",),
                                     evidence=evidence))  # fmt: skip

    def _settle(self) -> None:
        """Wait until everything that is due has come, in bounded time. Raises Undecided if the kit was held up."""
        limit = self.subject.timing.reply_deadline * self.patience
        for left in reversed(range(ANEW)):
            started = self.world.now
            is_done = self.world.run_until(
                lambda: (not self.due and not self.marks) or not self.subject.is_running, started + limit
            )
            if is_done and self.subject.is_running:
                return
            if not self.subject.is_running:
                self._ended()
                return
            try:
                self.subject.expect_steady(started, limit)
                break
            except Undecided:
                if not left:
                    raise
        self._missed(limit)

    def _ended(self) -> None:
        """The target is gone, and what else is missing follows from that."""
        for missed in (self.due, self.marks, self.sent, self.troubles):
            missed.clear()
        status = self.subject.instance.status
        self.notice(HARM, "the target", f"its process has ended (status {status})", allowed=("it lives on",))

    def _missed(self, limit: int) -> None:
        within = f"within {limit / SECOND:.1f} s"
        for where, what in self.due.values():
            self.notice(HARM, f"{where} of another peer", f"no {what} came {within}", allowed=(what,))
        for name in self.marks.values():
            self.notice(RECOVERY, f"the stranger at {name}", f"nothing answers what is right there {within}",
                        allowed=("an answer",))  # fmt: skip
        for missed in (self.due, self.marks, self.sent):
            missed.clear()

    def _shown(self, evidence: Sequence[int]) -> tuple[str, ...]:
        return tuple(_words(self.world.observations[seq]) for seq in evidence[-2:])

    def _troubles(self) -> list[Trouble]:
        found, self.troubles = self.troubles, []
        for violation in self.subject.judge_new() if self.is_judging else ():
            if get(violation.requirement).level == "MUST":
                found.append(
                    Trouble(
                        violation.requirement, f"rule {violation.requirement}", violation.found, violation.allowed,
                        violation.guilty, violation.evidence, self._shown(violation.evidence),
                    )
                )  # fmt: skip
        if len(self._came) > 10_000:
            self._came.clear()
        return found


def _words(seen: Observation | Fact) -> str:
    if isinstance(seen, Fact):
        return f"{seen.observer}: {seen.name}"
    frames = [bytes(frame)[:160] for frame in seen.frames[:12]]
    return f"{seen.socket} {seen.direction}: {frames!r:.900}"


def _status(seen: Observation) -> object:
    assert seen.message is not None
    return content_of(seen.message).get("status")


__all__ = ["HARM", "PATIENCE", "RECOVERY", "Arena", "Blow", "Trouble"]
