"""What happened between parties, told line by line: the one form from which every diagram is drawn.

    story = of_items(items, title="…", is_whole=True)        # a simulation, a recording, the traffic of a case
    chosen = select(story, about="client-1_4")               # what is worth drawing

A line is a message or something that happened to somebody. What one party sent and others took is one line, with all
who took it. In a stream that saw everybody (`is_whole`), a message that nobody took is known to be lost; in one that
saw only its own side, the peer stands for whoever was there.
"""

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Final, Literal

import msgspec

from conformance.harness.explain import told
from protocol.errors import ProtocolError
from protocol.roles.speech import parent_id
from protocol.world import Fact, Observation

Kind = Literal["message", "fault", "healed", "event"]

#: Channels that repeat what is seen elsewhere, or say all the time that nothing is new.
QUIET: Final = frozenset({"monitor", "heartbeat-ping", "heartbeat-pong"})
#: The lanes in their order: clients at the left, then the parts of the controller, then engines.
_ORDER: Final = ("client", "kit", "hub", "hearts", "mux", "control", "tasks", "broadcast", "iopub", "controller")
#: What becomes of a process is a fault where it ends; of its notes only these are told.
_EVENTS: Final = {"process-began": "begins", "process-resumed": "goes on", "controller-started": "starts again"}
#: The channel on which a part speaks with itself.
WITHIN: Final = "broadcast-tree"
#: Nanoseconds after which it is worth saying that a message was late.
_LATE: Final = 20_000_000


class Line(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that happened. `at` is in nanoseconds since the stream began.

    Of a message: who sent it, who took it (nobody: it was lost), its type, its id, and the request that it is about.
    Otherwise `sender` is the lane where it happened (empty: everywhere), and `what` says it. `seqs` are the items of
    the stream that the line is made of, `accused` the numbers of the violations that it shows, and `seen` the message
    itself, where it is known.
    """

    kind: Kind
    at: int
    sender: str
    what: str
    receivers: tuple[str, ...] = ()
    channel: str = ""
    msg_id: str = ""
    about: str = ""
    remark: str = ""
    seqs: tuple[int, ...] = ()
    is_lost: bool = False
    accused: tuple[int, ...] = ()
    seen: Observation | None = None

    @property
    def lanes(self) -> tuple[str, ...]:
        """The lanes that the line touches."""
        return (self.sender, *self.receivers) if self.sender else self.receivers

    @property
    def is_accused(self) -> bool:
        """Whether somebody is accused of it."""
        return bool(self.accused)

    @property
    def is_quiet(self) -> bool:
        """Whether a reader would rather not see it, unless somebody is accused of it."""
        return self.channel in QUIET and not self.is_accused


class Story(msgspec.Struct, frozen=True, kw_only=True):
    """All lines in their order, who takes part, and what was violated (each text begins with the requirement)."""

    title: str
    lines: tuple[Line, ...]
    violations: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def lanes(self) -> tuple[str, ...]:
        """Everybody who takes part, from the left to the right."""
        return tuple(sorted({lane for line in self.lines for lane in line.lanes}, key=_place))

    @property
    def channels(self) -> tuple[str, ...]:
        """The channels on which something was said."""
        return tuple(dict.fromkeys(line.channel for line in self.lines if line.channel))


def _place(lane: str) -> tuple[int, str, int]:
    name, _, number = lane.partition("-") if re.fullmatch(r"[a-z]+-\d+", lane) else (lane, "", "0")
    return (_ORDER.index(name) if name in _ORDER else len(_ORDER), name, int(number))


def lane_of(who: str) -> str:
    """Whose lane it is: a heart stands in that of its engine."""
    return who.partition(".")[0]


def _is_link(one: str, other: str) -> bool:
    """Whether what is sent on one channel arrives on the other: the Hub submits again as clients submit."""
    return one == other or {one, other} == {"resubmission", "task"}


class _Sending:
    """A message that was seen once at least, who has taken it since and when, and how often at most."""

    def __init__(self, seen: Observation, sender: str) -> None:
        self.seen = seen
        self.sender = sender
        self.seqs = [seen.seq]
        self.taken: dict[str, int] = {}
        self.times = 0

    def is_for(self, seen: Observation, who: str, everybody: Collection[str]) -> bool:
        """Whether what was taken may be this message: nobody takes what bears the identity of somebody else."""
        if self.seen.direction == "received" or not _is_link(self.seen.channel, seen.channel):
            return False
        if self.sender == who:
            return seen.channel == WITHIN
        # What others send bears the identity of whom the part that takes it shall pass it on to.
        to = self.towards if self.sender == self.seen.peer else ""
        return to not in everybody or lane_of(to) == who

    @property
    def towards(self) -> str:
        """The identity to which it was sent, if any."""
        message = self.seen.message
        return message.identities[0].decode("ascii", "replace") if message is not None and message.identities else ""


def of_items(
    items: Sequence[Observation | Fact],
    *,
    title: str,
    violations: Sequence[tuple[str, Collection[int]]] = (),
    marks: Iterable[Line] = (),
    lost: Mapping[str, str] | None = None,
    is_whole: bool = False,
) -> Story:
    """The story of a stream.

    `marks` are lines to be put among the others, such as faults; `lost` says what took a message, by the id of its
    request; each violation is a text with the numbers of the items that show it.
    """
    everybody = frozenset(item.observer for item in items)
    sendings: list[_Sending] = []
    by_id: dict[str, list[_Sending]] = {}
    lines: list[Line] = list(marks)
    start = items[0].now if items else 0
    for item in items:
        if isinstance(item, Fact):
            lines += _event(item, item.now - start, is_whole=is_whole)
        else:
            _add(item, sendings, by_id, everybody)
    shown = [evidence for _, evidence in violations]
    lines += [_message(each, start, shown, lost or {}, everybody if is_whole else None) for each in sendings]
    texts = tuple(text for text, _ in violations)
    return Story(title=title, lines=tuple(sorted(lines, key=lambda line: line.at)), violations=texts)


def _add(
    seen: Observation, sendings: list[_Sending], by_id: dict[str, list[_Sending]], everybody: Collection[str]
) -> None:
    known = by_id.setdefault(seen.message.msg_id, []) if seen.message is not None else []
    who = lane_of(seen.observer)
    if seen.direction == "sent":
        made = _Sending(seen, who)
    else:
        # A relay sends on under the same id, so the latest sending on this channel is the one it comes from.
        candidates = [each for each in reversed(known) if each.is_for(seen, who, everybody)]
        if candidates:
            match = next((each for each in candidates if who not in each.taken), candidates[0])
            # The nodes of the broadcast tree are one party, and each of them subscribes.
            match.times += who in match.taken and who != "broadcast"
            match.taken.setdefault(who, seen.now)
            match.seqs.append(seen.seq)
            return
        made = _Sending(seen, lane_of(seen.peer) or "the other side")
        made.taken[who] = seen.now
    known.append(made)
    sendings.append(made)


def _message(
    sending: _Sending, start: int, shown: Sequence[Collection[int]], lost: Mapping[str, str],
    everybody: Collection[str] | None,
) -> Line:  # fmt: skip
    """`shown` is the evidence of each violation, `everybody` are the observers of a stream that saw them all."""
    seen, message = sending.seen, sending.seen.message
    about = _about(seen)
    is_lost = everybody is not None and not sending.taken and message is not None
    remarks = [seen.why or ""]
    receivers = tuple(sending.taken)
    late = max((at - seen.now for at in sending.taken.values()), default=0)
    if is_lost:
        remarks.append(lost.get(about, ""))
        # The peer of a channel is the part that serves it; what this part sends is for somebody else.
        is_served = sending.sender == seen.peer
        meant = sending.towards if is_served else lane_of(seen.peer)
        receivers = (lane_of(meant),) if everybody and meant in everybody and lane_of(meant) != sending.sender else ()
    elif not receivers:
        receivers = (lane_of(seen.peer) or "the other side",)
    if late > _LATE:
        remarks.append(f"taken {late / 1e9:.3f} s later")
    if sending.times:
        remarks.append(f"taken {sending.times + 1} times")
    return Line(
        kind="message", at=seen.now - start, sender=sending.sender, receivers=receivers,
        what=message.msg_type if message is not None else _raw(seen), channel=seen.channel,
        msg_id=message.msg_id if message is not None else "", about=about, remark=", ".join(filter(None, remarks)),
        seqs=tuple(sending.seqs), is_lost=is_lost, seen=seen,
        accused=tuple(number for number, seqs in enumerate(shown) if not set(seqs).isdisjoint(sending.seqs)),
    )  # fmt: skip


def _raw(seen: Observation) -> str:
    if seen.error is not None:
        return "unreadable frames"
    return {"heartbeat-ping": "ping", "heartbeat-pong": "pong"}.get(seen.channel, "raw frames")


def _about(seen: Observation) -> str:
    if seen.message is None:
        return ""
    try:
        return parent_id(seen.message) or seen.message.msg_id
    except ProtocolError:
        return seen.message.msg_id


def _event(fact: Fact, at: int, *, is_whole: bool) -> Iterable[Line]:
    """What a fact tells a reader: of roles that note everything, only what happens to processes.

    Connections that a relay saw are told by whoever reads its recording.
    """
    if fact.name in _EVENTS:
        if at > 0:
            lane, _, part = str(fact.data.get("process", "")).partition(".")
            what = f"{part} {_EVENTS[fact.name]}".strip()
            yield Line(kind="event", at=at, sender=lane, what=what, seqs=(fact.seq,))
    elif not is_whole and fact.name != "link":
        data = ", ".join(f"{key} {value}" for key, value in fact.data.items())
        yield Line(kind="event", at=at, sender="", what=f"{fact.name}: {data}".rstrip(": "), seqs=(fact.seq,))


def select(
    story: Story, *, roles: Collection[str] = (), channels: Collection[str] = (), about: str = "", is_all: bool = False
) -> Story:
    """The lines that touch one of the lanes, run over one of the channels, and are about a request; empty: any.

    Without `is_all` what is quiet is left out, unless its channel was asked for by name. What happened to somebody
    stays.
    """

    def is_chosen(line: Line) -> bool:
        if line.kind != "message":
            return not line.sender or not roles or line.sender in roles
        return (
            (not roles or not set(roles).isdisjoint(line.lanes))
            and (not channels or line.channel in channels)
            and (not about or about in (line.about, line.msg_id))
            and (is_all or line.channel in channels or not line.is_quiet)
        )

    lines = tuple(line for line in story.lines if is_chosen(line))
    return msgspec.structs.replace(story, lines=lines)


def content_of(line: Line) -> str:
    """A message in one line: its type, its content in short and what it answers."""
    return line.what if line.seen is None else told(line.seen)


__all__ = ["QUIET", "Kind", "Line", "Story", "content_of", "lane_of", "of_items", "select"]
