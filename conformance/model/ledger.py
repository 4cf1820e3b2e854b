"""What everybody is owed: the parties of a conversation, their requests, and what has become of each.

The ledger is sequential and knows only what the kit itself did and saw. Where the order of two things on the way
decides what comes, it says so and claims nothing, until all is quiet and both have arrived.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Literal

from conformance.harness.actors import Client, Engine
from protocol.errors import ProtocolError
from protocol.rules import Violation
from protocol.rules.parts import content_of, parent_of
from protocol.wire import Json, Message
from protocol.world import Observation

#: Where the Hub has a request: nowhere, without a result, or with one.
Place = Literal["unknown", "pending", "completed"]
#: How a run of a request ended, as its engine said.
End = Literal["ok", "failed", "aborted", "refused"]


@dataclass(frozen=True)
class Dependency:
    """What a task depends on: ids, whether on all of them, and which ends count."""

    ids: tuple[str, ...]
    all: bool = True
    success: bool = True
    failure: bool = False


@dataclass(frozen=True)
class Intent:
    """What a client wants of the scheduler. `is_odd`: it said so in a way that may be refused."""

    targets: tuple[str, ...] = ()
    after: Dependency | None = None
    follow: Dependency | None = None
    retries: int = 0
    timeout: float = 0.0
    is_odd: bool = False
    must_fail: str = ""

    @property
    def can_fail(self) -> bool:
        """Whether the scheduler may have a reason of its own to refuse it."""
        return bool(self.targets or self.after or self.follow or self.timeout or self.is_odd or self.must_fail)


@dataclass
class Run:
    """A request at an engine."""

    peer: Peer
    seen: Observation
    at: int
    reply: Message | None = None
    end: End | None = None
    #: The engine was given up while it had the request.
    is_lost: bool = False
    #: Its engine is not to answer it: it has said so in another way, or keeps its answer to itself.
    is_shelved: bool = False


@dataclass(eq=False)
class Peer:
    """An engine of the conversation, from one registration to its end."""

    slot: int
    engine: Engine
    #: asked: nobody has answered; pending: its heart was not heard; here; leaving: told to be gone or silent; gone.
    state: Literal["asked", "pending", "here", "leaving", "gone", "refused"] = "asked"
    beats: bool = True
    #: When it was told or fell silent, and when that was announced.
    since: int = 0
    gone_at: int = 0
    #: When its connections were closed.
    closed_at: int = 0
    runs: list[Run] = field(default_factory=list)
    #: What a queue gave to it that is nobody's request.
    broadcasts: list[Observation] = field(default_factory=list)
    #: It beats once and never again; and a time of quiet has passed since it went.
    is_faint: bool = False
    is_over: bool = False
    #: The id that it asked for, and whether that was free.
    wanted: tuple[int, bool] | None = None
    #: It was sent what is no request, and the Hub may count that, too.
    is_littered: bool = False
    #: What it said to whom cannot be told apart any more.
    is_doubtful: bool = False

    @property
    def uuid(self) -> str:
        """The name under which it registers."""
        return self.engine.uuid

    @property
    def has_beaten(self) -> bool:
        """Whether its heart has ever answered a ping, rightly or not."""
        return self.engine.heart is not None and bool(self.engine.scripted_heart.answered)

    def open(self, *channels: str) -> list[Run]:
        """What it has not answered, but may, in the order in which it came."""
        unanswered = [run for run in self.runs if run.reply is None and not run.is_shelved]
        return [run for run in unanswered if not channels or run.seen.channel in channels]


@dataclass(eq=False)
class Job:
    """A request of a client on a queue."""

    message: Message
    client: Client | None
    channel: str
    intent: Intent = field(default_factory=Intent)
    at: int = 0
    #: The engine that MUX or control is to give it to, as it was when it was sent; None if nobody had that name.
    peer: Peer | None = None
    runs: list[Run] = field(default_factory=list)
    replies: list[Observation] = field(default_factory=list)
    #: Nobody can tell what must become of it: something was said about it that should not have been.
    is_muddled: bool = False
    #: What the Hub makes of it cannot be told: its id was used twice.
    is_blurred: bool = False
    #: Something has happened to it since all was quiet.
    is_fresh: bool = True
    is_purged: bool = False
    #: The job that was submitted again as this one; and as which this one was.
    original: Job | None = None
    again: list[str] = field(default_factory=list)
    #: When one of its engines was given up.
    lost_at: int = 0
    #: It names an engine that nobody is.
    is_for_nobody: bool = False
    #: How many answers its engine gave besides the first, which a relay may pass on.
    extra: int = 0
    #: What its engines published about it, by stream.
    printed: dict[str, str] = field(default_factory=dict)

    @property
    def msg_id(self) -> str:
        """The id of the request."""
        return self.message.msg_id

    @property
    def last(self) -> Run | None:
        """Where it is, or was last."""
        return self.runs[-1] if self.runs else None

    @property
    def refusals(self) -> list[Run]:
        """The runs that were none: a dependency was found unmet."""
        return [run for run in self.runs if run.end == "refused"]

    @property
    def tries(self) -> int:
        """How often it really ran, or may have."""
        return len(self.runs) - len(self.refusals)

    @property
    def is_over(self) -> bool:
        """Whether nothing more can happen to it."""
        if self.replies:
            return True
        last = self.last
        if last is None or last.end is None:
            return False
        if self.channel != "task":
            return True
        return last.end == "ok" or (last.end != "refused" and self.tries > self.intent.retries)

    @property
    def was_good(self) -> bool | None:
        """Whether it ended well; None if it has not ended."""
        if self.replies:
            message = self.replies[0].message
            return message is not None and content_of(message).get("status") == "ok"
        last = self.last
        return last.end == "ok" if self.is_over and last is not None else None


class Ledger:
    """See the module."""

    def __init__(self, *, hwm: int = 1, is_alone: bool = True) -> None:
        self.hwm = hwm
        #: Whether nothing of earlier conversations can be under way.
        self.is_alone = is_alone
        self.peers: list[Peer] = []
        self.jobs: list[Job] = []
        self.casts: list[Cast] = []
        self.by_id: dict[str, Job] = {}
        self.purged: list[str] = []
        self.findings: list[Violation] = []
        #: From now on nothing can be said about a queue: its scheduler was told what it need not survive.
        self.is_ended = False
        #: Names that two may have asked for at once, so that nobody can tell who has them.
        self.contested: set[str] = set()
        #: Names that are announced, and nobody's of ours; and when the last of them was given up.
        self.strangers: set[str] = set()
        self.stranger_gone_at = 0
        #: Ids of messages that were damaged: whatever becomes of them is no surprise.
        self.wild: set[str] = set()
        self.now = 0

    # -- the parties -------------------------------------------------------------------------------------------------

    def peer(self, slot: int) -> Peer | None:
        """The engine of this number that was last there."""
        return next((peer for peer in reversed(self.peers) if peer.slot == slot), None)

    @property
    def here(self) -> list[Peer]:
        """The engines that are registered."""
        return [peer for peer in self.peers if peer.state == "here"]

    @property
    def gone(self) -> list[Peer]:
        """The engines that were registered and are no more, whose name nobody else has."""
        taken = {peer.uuid for peer in self.peers if peer.state != "gone"}
        return [peer for peer in self.peers if peer.state == "gone" and peer.uuid not in taken]

    def is_strange(self, uuid: object) -> bool:
        """Whether this may be the name of somebody who is nobody of ours, perhaps of before."""
        return uuid in self.contested or all(peer.uuid != uuid for peer in self.peers)

    @property
    def is_steady(self) -> bool:
        """Whether nobody comes or goes, and everybody who is there is known."""
        return not self.strangers and all(peer.state in ("here", "gone", "refused") for peer in self.peers)

    # -- the requests ------------------------------------------------------------------------------------------------

    def add(self, job: Job) -> None:
        """A request was sent."""
        self.jobs.append(job)
        self.by_id[job.msg_id] = job

    def about(self, number: int, jobs: Sequence[Job]) -> Job | None:
        """The latest of these jobs, or one of those before it; None if there are none."""
        return jobs[-1 - number % len(jobs)] if jobs else None

    def of(self, *channels: str) -> list[Job]:
        """The requests on these queues."""
        return [job for job in self.jobs if job.channel in channels]

    def load(self, peer: Peer) -> int:
        """How many tasks an engine has."""
        return len(peer.open("task"))

    def place(self, job: Job) -> Place | None:
        """Where the Hub must have a request; None if that cannot be told yet."""
        if job.is_purged:
            return "unknown"
        if job.is_muddled or job.is_blurred or job.is_fresh or job.channel == "control":
            # Nothing of control is on record.
            return None
        if job.channel == "mux":
            if job.peer is None or not job.runs:
                return None
            run = job.runs[-1]
            if run.is_lost and run.end is None and run.peer.state != "gone":
                # The Hub does not know yet that its engine has vanished.
                return None
            return "completed" if run.end is not None or run.is_lost else "pending"
        if job.client is None:
            # What the scheduler says of it, the Hub alone is told.
            last = job.last
            if last is None or last.is_lost or (last.end is not None and not job.is_over):
                return None
            return "pending" if last.end is None else "completed"
        if not job.replies and job.last is not None and job.last.is_lost:
            # It is run again or refused at any moment.
            return None
        return "completed" if job.replies else "pending"

    def settled(self, place: Place) -> list[Job]:
        """The requests that the Hub certainly has in a place."""
        return [job for job in self.jobs if self.place(job) == place]

    # -- accusations -------------------------------------------------------------------------------------------------

    def accuse(self, slug: str, found: str, *allowed: str, evidence: Iterable[Observation | None] = ()) -> None:
        """Note a violation."""
        seqs = tuple(sorted({each.seq for each in evidence if each is not None}))
        self.findings.append(
            Violation(
                requirement=slug, rule=f"{slug}.model", guilty="the target", evidence=seqs, found=found,
                allowed=allowed, now=self.now,
            )
        )  # fmt: skip


@dataclass(eq=False)
class Cast:
    """One request for several engines."""

    message: Message
    client: Client
    targets: tuple[Peer, ...]
    coalesces: bool
    #: The uuids that it names, whoever they belong to.
    named: frozenset[str] = frozenset()
    is_muddled: bool = False
    given: dict[str, Observation] = field(default_factory=dict)
    answers: dict[str, Message] = field(default_factory=dict)
    replies: list[Observation] = field(default_factory=list)
    #: Targets that cannot answer: unknown, or gone since.
    missing: int = 0


def parent_id(seen: Observation) -> str | None:
    """The id of the request that a message answers."""
    if seen.message is None:
        return None
    found = parent_of(seen.message).get("msg_id")
    return found if isinstance(found, str) else None


def metadata_of(message: Message) -> Json:
    """Its metadata, {} if they cannot be read."""
    try:
        return message.metadata
    except ProtocolError:
        return {}
