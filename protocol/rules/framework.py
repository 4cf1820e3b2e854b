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
`hindered` with `ns` (the machine kept those who were to answer for so long: none runs either),
`touched` with `msg_id` (the network kept, doubled, delayed or, if `is_altered`, altered a message of that request), and
those of `protocol.rules.engines` about hearts and subscriptions.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Sequence, Set
from functools import lru_cache
from typing import Any, ClassVar, Final, Literal, NamedTuple

import msgspec

from protocol.rules.ledger import FACTS, About, Exchange, Ledger
from protocol.rules.memory import FADED, Faded, forget, mentioned
from protocol.rules.setting import Setting
from protocol.wire import Message
from protocol.world import Direction, Fact, Observation

Vantage = Literal["peer", "relay", "monitor", "state"]
Item = Observation | Fact
#: Channels on which many are told the same.
PUBLISHED: Final = frozenset({"iopub", "notification"})
#: The channel on which the Hub is told what others say to each other.
COPIES: Final = "monitor"
Observe = Callable[[Observation], Iterable["Violation"]]
Note = Callable[[Fact], Iterable["Violation"]]

#: How many kinds of observation a judge remembers the rules of. Peers may send types without end; those who exist are
#: some hundred.
KINDS: Final = 4096


class Kind(NamedTuple):
    """What decides whether a rule looks at an observation at all.

    `msg_type` is None for what cannot be read as a message. `about` is what the ledger made of it: the `answer` to a
    request, the `delivery` of a job to an engine, or its `outcome`, told to a client. `form`: the message came as bytes
    (`written`); it never was any (`made`, see `was_written`); or it is `again` one that was never bytes and that came
    to another subscriber before, where nothing was wrong with it.
    """

    channel: str
    direction: Direction
    msg_type: str | None
    about: About = ""
    form: Literal["written", "made", "again"] = "written"


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
        return f"{self.requirement}: {self.guilty}: {self.found}; allowed: {' or '.join(self.allowed)} [{where}]"


class Rule(ABC):
    """Base of all rules; one instance judges one stream.

    A subclass names its requirement (`slug`), a `variant` where several rules share one requirement, the vantage it
    needs, and the channels it wants to see (empty: all but `monitor`, whose copies were said elsewhere and are judged
    there). Its docstring is the requirement in one sentence.
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

    def __init_subclass__(cls, **more: Any) -> None:
        # What a base said of its own `observe` and `note` need not hold for those that replace them.
        super().__init_subclass__(**more)
        for hook, question in (("observe", "listener"), ("note", "heeds")):
            if hook in cls.__dict__ and question not in cls.__dict__:
                setattr(cls, question, Rule.__dict__[question])

    def listener(self, kind: Kind) -> Observe | None:
        """What to call for observations of a kind: `observe`, or what that comes to; None if they are no concern of it.

        It is a method of the rule that follows from its class and the setting, so it is asked once, not once a stream.
        Who replaces `observe` hears everything on its channels again, unless it says otherwise itself.
        """
        is_ours = not self.channels or kind.channel in self.channels
        return self.observe if is_ours and type(self).observe is not Rule.observe else None

    @classmethod
    def heeds(cls, name: str) -> bool:  # noqa: ARG003 - a hook
        """Whether `note` may have anything to do with facts of this name; asked once for each name."""
        return cls.note is not Rule.note

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

    def let_go(self, gone: Set[str], limit: int) -> Iterable[Violation]:
        """Keep nothing that is about these messages, and of what is no message at most `limit` things.

        Whoever judges at the end what it has kept until then judges that first; see `protocol.rules.memory`.
        """
        forget((each for name, each in vars(self).items() if name not in ("setting", "ledger")), gone, limit)
        return ()

    def passed(self) -> Iterable[Violation]:
        """Mark the rule as exercised where nothing is wrong: as `judge` does, without words that nobody will read."""
        self.is_exercised = True
        return ()

    def judge(
        self, holds: object, seen: Observation, found: str, *allowed: str, evidence: Sequence[Observation] = ()
    ) -> Iterable[Violation]:
        """Mark the rule as exercised, and accuse the sender of `seen` unless the condition holds."""
        self.is_exercised = True
        return () if holds else (self.accuse(seen, found, *allowed, evidence=evidence),)

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

    def listener(self, kind: Kind) -> Observe | None:
        is_read = kind.direction == "received" and kind.msg_type is not None
        is_meant = is_read and (not self.types or kind.msg_type in self.types)
        return self.check if is_meant and super().listener(kind) else None

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

    def listener(self, kind: Kind) -> Observe | None:
        is_meant = kind.about == "answer" and (not self.types or kind.msg_type in self.types)
        return super().listener(kind) if is_meant else None

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


class _Answers:
    """What rules said of what concerns them: kind -> their places, and the methods to call; name of a fact -> places.

    It depends on their classes and the setting only, and many streams are judged by the same ones.
    """

    __slots__ = ("hearing", "heeding")

    def __init__(self) -> None:
        self.hearing: dict[tuple[object, ...], tuple[tuple[int, str], ...]] = {}
        self.heeding: dict[str, tuple[int, ...]] = {}


@lru_cache(maxsize=32)
def _answers_of(kinds: tuple[type[Rule], ...], setting: Setting) -> _Answers:  # noqa: ARG001 - the key
    return _Answers()


class Judge:
    """Feeds one stream, in order, to all rules whose vantage is offered.

    `vantages` says what the recorder could see; rules that need more are counted in `unobservable` and judge nothing.
    With a `memory` it forgets what that many messages have followed, see `protocol.rules.memory`.
    """

    def __init__(
        self,
        rules: Iterable[type[Rule]],
        setting: Setting | None = None,
        vantages: Iterable[Vantage] = ("peer",),
        *,
        memory: int | None = None,
    ) -> None:
        self.setting = setting or Setting()
        self._memory = memory
        #: How many messages were not judged, because they mention what was forgotten.
        self.passed_over = 0
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
        self._answers = _answers_of(self._kinds, self.setting)
        #: Which rules look at a kind of observation (see `Kind`), and at facts of a name.
        self._hearing: dict[tuple[object, ...], tuple[Observe, ...]] = {}
        self._heeding: dict[str, tuple[Note, ...]] = {}
        #: What was published lately and found to be right, by the identity of the header.
        self._right: dict[int, Message] = {}
        #: The ids that were mentioned and are not forgotten, in the order in which they came.
        self._ids: dict[str, None] = {}
        self._since = 0
        self._faded = Faded(FADED * (self._memory or 0))

    def observe(self, item: Item) -> list[Violation]:
        """Judge the next item of the stream; the violations that it completes, which are also kept.

        The fact `controller-started` begins a new epoch: what the controller before it knew and owed is forgotten.
        """
        found: list[Violation] = []
        if isinstance(item, Fact):
            if item.name == "controller-started":
                self._exercised |= self.exercised_rules
                self._begin()
            if item.name in FACTS:
                self.ledger.update(item)
            notes = self._heeding.get(item.name)
            for note in self._who_heeds(item.name) if notes is None else notes:
                found += note(item)
        else:
            ledger = self.ledger
            if self._memory is not None:
                found += self._remember(item)
                if self._faded and any(each in self._faded for each in mentioned(item)):
                    self.passed_over += 1
                    self.violations += found
                    return found
            ledger.update(item)
            if ledger.echoes.made(item):
                return found
            message = item.message
            if message is None:
                kind: tuple[object, ...] = (item.channel, item.direction, None)
            else:
                form = "written" if type(item.frames) is tuple or message.signature is not None else "made"
                if form == "made" and item.channel in PUBLISHED and item.direction == "received":
                    form = self._form(message)
                kind = (item.channel, item.direction, message.header["msg_type"], ledger.about, form)
            hearing = self._hearing.get(kind)
            for observe in self._who_hears(kind) if hearing is None else hearing:
                found += observe(item)
        if found:
            self._right.clear()
            self.violations += found
        return found

    def cares_for(self, name: str) -> bool:
        """Whether a fact of this name makes any difference, so that it has to be observed."""
        notes = self._heeding.get(name)
        return bool(self._who_heeds(name) if notes is None else notes) or name in FACTS or name == "controller-started"

    def _remember(self, seen: Observation) -> list[Violation]:
        """Take note of an item's ids, and now and then forget the older ones that are over; what shows only then."""
        assert self._memory is not None
        self._ids.update(dict.fromkeys(each for each in mentioned(seen) if each not in self._faded))
        self._since += 1
        if self._since < self._memory:
            return []
        self._since = 0
        older = list(self._ids)[: max(0, len(self._ids) - self._memory)]
        gone = {each for each in older if not self.ledger.is_open(each)}
        found = [violation for rule in self.rules for violation in rule.let_go(gone, 4 * self._memory)]
        self.ledger.forget(gone, self._memory)
        for each in gone:
            del self._ids[each]
        self._faded.add(gone)
        return found

    def is_deaf_to(self, output: Message) -> bool:
        """Whether nobody would listen to a message that was received on iopub, so that it need not be observed.

        So it is with most copies of what several subscribers get, where the message itself never was bytes.
        """
        if output.signature is not None:
            return False
        known = self._right.get(id(output.header))
        if known is None or not known.shares(output):
            return False
        return self._hearing.get(("iopub", "received", output.header["msg_type"], "", "again")) == ()

    def _form(self, message: Message) -> str:
        """Whether a message was published before. Until something is found to be wrong, all that was is right."""
        right = self._right
        known = right.get(id(message.header))
        if known is not None and known.shares(message):
            return "again"
        if len(right) >= KINDS:
            right.clear()
        right[id(message.header)] = message
        return "made"

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

    def _who_hears(self, key: tuple[Any, ...]) -> tuple[Observe, ...]:
        if len(self._hearing) >= KINDS:
            self._hearing.clear()
        known = self._answers.hearing.get(key)
        if known is None:
            if len(self._answers.hearing) >= KINDS:
                self._answers.hearing.clear()
            kind = Kind(*key)
            asked = [
                (place, rule.listener(kind))
                for place, rule in enumerate(self.rules)
                if kind.channel != COPIES or COPIES in rule.channels
            ]
            known = self._answers.hearing[key] = tuple((place, one.__name__) for place, one in asked if one is not None)
        rules = self.rules
        found = self._hearing[key] = tuple([getattr(rules[place], name) for place, name in known])
        return found

    def _who_heeds(self, name: str) -> tuple[Note, ...]:
        if len(self._heeding) >= KINDS:
            self._heeding.clear()
        known = self._answers.heeding.get(name)
        if known is None:
            if len(self._answers.heeding) >= KINDS:
                self._answers.heeding.clear()
            known = self._answers.heeding[name] = tuple(
                place for place, rule in enumerate(self.rules) if rule.heeds(name)
            )
        rules = self.rules
        found = self._heeding[name] = tuple([rules[place].note for place in known])
        return found
