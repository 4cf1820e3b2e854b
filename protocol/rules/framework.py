"""What a rule is, and the judge that feeds a stream of observations to many of them.

A rule is one formulation of one requirement: it watches observations in the order in which a recorder wrote them and
yields a `Violation` whenever somebody broke the requirement. Rules know nothing of tests, of worlds or of the roles'
state machines; the same rules judge a live target, a simulation and a recorded capture.

What may be concluded from an order:

* Messages of one socket and one direction happened in the order in which they were seen.
* What was received before something else was sent happened before it, on any two sockets of one recorder: the sender
  could not know of what it did not cause, and the receiver of the later message could know of the earlier one.
* Nothing else. Two messages received on two sockets may have been sent in either order.

Only what was received is judged: what the kit sends is its own business, and damage sent on purpose exempts itself.
Silence proves little. A rule that demands a message says so in `finish`, when the deadline has passed, and a rule marks
itself as exercised only when it saw something that it could have accused; what was never exercised is never passed.

A recorder may note facts, which widen or narrow what can be concluded: `controller-started` (a new epoch: the ledger
and all rules begin again), `socket-opened` and `socket-closed` with `socket` (what a closed socket is owed is excused;
silence on an open one counts), `stalled` with `ns` (nobody looked at the sockets for so long: no deadline runs),
`touched` with `msg_id` (the network kept, doubled, delayed or, if `is_altered`, altered a message of that request), and
those of `protocol.rules.engines` about hearts and subscriptions.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from typing import ClassVar, Literal

import msgspec

from protocol.rules.ledger import Exchange, Ledger
from protocol.rules.setting import Setting
from protocol.world import Fact, Observation

Vantage = Literal["peer", "relay", "monitor", "state"]
Item = Observation | Fact


class Violation(msgspec.Struct, frozen=True, kw_only=True):
    """Somebody broke a requirement.

    `evidence` holds the sequence numbers of the observations that show it, `found` what was done and `allowed` what
    would have been legal instead. `now` is the time of the last piece of evidence, or of the deadline that passed, in
    nanoseconds of the recorder's clock. `rule` names the formulation, where a requirement has several.
    """

    requirement: str
    rule: str
    guilty: str
    evidence: tuple[int, ...]
    found: str
    allowed: tuple[str, ...]
    now: int

    def __str__(self) -> str:
        where = ", ".join(f"#{seq}" for seq in self.evidence)
        return f"{self.requirement}: {self.guilty} did {self.found}; allowed: {' or '.join(self.allowed)} [{where}]"


class Rule(ABC):
    """Base of all rules; one instance judges one stream.

    A subclass names its requirement (`slug`), a `variant` where several rules share one requirement, the vantage it
    needs, and the channels it wants to see (empty: all). Its docstring is the requirement in one sentence.
    """

    slug: ClassVar[str]
    variant: ClassVar[str] = ""
    vantage: ClassVar[Vantage] = "peer"
    channels: ClassVar[frozenset[str]] = frozenset()

    def __init__(self, setting: Setting, ledger: Ledger) -> None:
        self.setting = setting
        self.ledger = ledger
        self.is_exercised = False
        self.begin()

    def begin(self) -> None:  # noqa: B027 - a hook
        """Set up what the rule remembers of its stream."""

    @classmethod
    def name(cls) -> str:
        """The requirement, with the variant behind a dot: unique, and the name of the rule's recorded logs."""
        return f"{cls.slug}.{cls.variant}" if cls.variant else cls.slug

    @classmethod
    def family(cls) -> str:
        """The family of the requirement."""
        return cls.slug.partition(".")[0]

    def observe(self, seen: Observation) -> Iterable[Violation]:  # noqa: ARG002 - a hook
        """Judge one observation. The ledger already knows it."""
        return ()

    def note(self, fact: Fact) -> Iterable[Violation]:  # noqa: ARG002 - a hook
        """Take notice of something that happened besides messages."""
        return ()

    def finish(self, now: int) -> Iterable[Violation]:  # noqa: ARG002 - a hook
        """Judge what is missing, at the end of the stream."""
        return ()

    def judge(
        self, holds: object, seen: Observation, found: str, *allowed: str, evidence: Sequence[Observation] = ()
    ) -> Iterator[Violation]:
        """Mark the rule as exercised, and accuse the sender of `seen` unless the condition holds."""
        self.is_exercised = True
        if not holds:
            yield self.accuse(seen, found, *allowed, evidence=evidence)

    def accuse(
        self,
        seen: Observation,
        found: str,
        *allowed: str,
        evidence: Sequence[Observation] = (),
        now: int | None = None,
    ) -> Violation:
        """The violation of whoever is at the other end of the socket of `seen`."""
        self.is_exercised = True
        seqs = sorted({seen.seq, *(each.seq for each in evidence)})
        return Violation(
            requirement=self.slug,
            rule=self.name(),
            guilty=seen.peer or "the target",
            evidence=tuple(seqs),
            found=found,
            allowed=allowed,
            now=seen.now if now is None else now,
        )


class MessageRule(Rule):
    """Base of rules that judge each received message of some types by itself."""

    types: ClassVar[frozenset[str]] = frozenset()

    def observe(self, seen: Observation) -> Iterable[Violation]:
        """Call `check` for a readable received message of one of the types (empty: all)."""
        message = seen.message
        if seen.direction == "received" and message is not None and (not self.types or message.msg_type in self.types):
            return self.check(seen)
        return ()

    @abstractmethod
    def check(self, seen: Observation) -> Iterable[Violation]:
        """Judge one message, which can be read."""


class AnswerRule(Rule):
    """Base of rules that judge a reply together with the request it answers, on the channels where one is owed."""

    types: ClassVar[frozenset[str]] = frozenset()

    def observe(self, seen: Observation) -> Iterable[Violation]:
        """Call `check` for a reply of one of the types (empty: all) that answers a known request."""
        exchange = self.ledger.answered(seen)
        if (
            exchange is not None
            and seen.message is not None
            and (not self.types or seen.message.msg_type in self.types)
        ):
            return self.check(seen, exchange)
        return ()

    @abstractmethod
    def check(self, seen: Observation, exchange: Exchange) -> Iterable[Violation]:
        """Judge one reply."""


class Judge:
    """Feeds one stream, in order, to all rules whose vantage is offered.

    `vantages` says what the recorder could see; rules that need more are counted in `unobservable` and judge nothing.
    """

    def __init__(
        self,
        rules: Iterable[type[Rule]],
        setting: Setting | None = None,
        vantages: Iterable[Vantage] = ("peer",),
    ) -> None:
        self.setting = setting or Setting()
        self.violations: list[Violation] = []
        offered, kinds = frozenset(vantages), tuple(rules)
        self._kinds = tuple(kind for kind in kinds if kind.vantage in offered)
        self.judged = frozenset(kind.slug for kind in self._kinds)
        self.unobservable = frozenset(kind.slug for kind in kinds) - self.judged
        self._exercised: set[str] = set()
        self._begin()

    def _begin(self) -> None:
        self.ledger = Ledger(self.setting)
        self.rules = tuple(kind(self.setting, self.ledger) for kind in self._kinds)
        self._by_channel: dict[str, tuple[Rule, ...]] = {}

    def observe(self, item: Item) -> list[Violation]:
        """Judge the next item of the stream; the violations that it completes, which are also kept.

        The fact `controller-started` begins a new epoch: what the controller before it knew and owed is forgotten.
        """
        if isinstance(item, Fact) and item.name == "controller-started":
            self._exercised |= self.exercised_rules
            self._begin()
        self.ledger.update(item)
        found: list[Violation] = []
        if isinstance(item, Fact):
            for rule in self.rules:
                found += rule.note(item)
        elif not self.ledger.echoes.made(item):
            for rule in self._rules_for(item.channel):
                found += rule.observe(item)
        self.violations += found
        return found

    def finish(self, now: int) -> list[Violation]:
        """End the stream at this time: the violations of what did not happen, which are also kept."""
        found = [violation for rule in self.rules for violation in rule.finish(now)]
        self.violations += found
        return found

    def feed(self, items: Iterable[Item], now: int) -> list[Violation]:
        """Judge a whole stream that ended at this time; all violations."""
        for item in items:
            self.observe(item)
        self.finish(now)
        return self.violations

    @property
    def exercised(self) -> frozenset[str]:
        """The requirements for which at least one rule saw something to judge."""
        names = self.exercised_rules
        return frozenset(kind.slug for kind in self._kinds if kind.name() in names)

    @property
    def exercised_rules(self) -> frozenset[str]:
        """The names of the rules that saw something to judge."""
        return frozenset(self._exercised | {rule.name() for rule in self.rules if rule.is_exercised})

    @property
    def silent(self) -> frozenset[str]:
        """The requirements that could have been judged, but nothing came that they speak of: not passed."""
        return self.judged - self.exercised

    def _rules_for(self, channel: str) -> tuple[Rule, ...]:
        rules = self._by_channel.get(channel)
        if rules is None:
            rules = tuple(rule for rule in self.rules if not rule.channels or channel in rule.channels)
            self._by_channel[channel] = rules
        return rules
