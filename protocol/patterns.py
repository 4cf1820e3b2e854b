"""What a socket pattern is: the row types of `protocol.channels` and `protocol.devices`, and how envelopes are read.

An *envelope* is the sequence of frames before the delimiter. It is written as names of its frames (*slots*), as the
program sees them at the socket's API: a ROUTER's envelope begins with the identity of the peer, a DEALER's does not. A
slot that ends in `*` stands for any number of frames. Channels with framing `raw` have no delimiter: there the envelope
is the whole message.

`fill` turns slots into frames to send, and `match` turns received frames into slots.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal, NamedTuple

from protocol.wire import Frame

Dialect = Literal["ipython-0.1x", "documented", "ipyparallel-9"]
DIALECTS: Final[tuple[Dialect, ...]] = ("ipython-0.1x", "documented", "ipyparallel-9")
OLD: Final[tuple[Dialect, ...]] = ("ipython-0.1x",)
NEW: Final[tuple[Dialect, ...]] = ("documented", "ipyparallel-9")
NINE: Final[tuple[Dialect, ...]] = ("ipyparallel-9",)
UNTIL_DOCUMENTED: Final[tuple[Dialect, ...]] = ("ipython-0.1x", "documented")
DEFAULT_DIALECT: Final[Dialect] = "ipyparallel-9"

Role = Literal[
    "client", "engine", "hub", "heart", "heart-monitor", "mux-relay", "control-relay", "iopub-relay",
    "task-scheduler", "broadcast-scheduler", "warden", "kernel", "frontend",
]  # fmt: skip
#: The roles that a controller plays; together they are one target.
CONTROLLER: Final[frozenset[Role]] = frozenset(
    {"hub", "heart-monitor", "mux-relay", "control-relay", "iopub-relay", "task-scheduler", "broadcast-scheduler"}
)
#: The roles that an engine plays, with its heart and its nanny; together they are one target.
ENGINE: Final[frozenset[Role]] = frozenset({"engine", "heart", "warden"})

SocketType = Literal["ROUTER", "DEALER", "PUB", "SUB", "XPUB", "XSUB", "REQ", "REP", "PAIR", "PUSH", "PULL"]
Attach = Literal["bind", "connect"]
Framing = Literal["message", "raw"]
#: Which of a relay's two sockets; `parent` and `child` are the two ends of a link in the broadcast tree.
Side = Literal["", "client", "engine", "parent", "child"]

#: The names that socket types had before ZeroMQ 2.1.9; the types are the same on the wire.
ALIASES: Final[Mapping[str, SocketType]] = {"XREQ": "DEALER", "XREP": "ROUTER"}

Slot = Literal[
    "client", "engine", "requester", "frontend", "relay", "warden", "child", "parent", "path*", "extra*",
    "topic", "prefix", "session", "empty", "ping", "ping*", "rest*",
]  # fmt: skip
Envelope = tuple[Slot, ...]

SLOTS: Final[Mapping[Slot, str]] = {
    "client": "identity of the client's socket",
    "engine": "identity of the engine's socket, its uuid",
    "requester": "identity of whoever asked on the query channel",
    "frontend": "identity of the frontend's socket",
    "relay": "identity of the relay's or scheduler's socket that faces this end",
    "warden": "identity of the warden's socket",
    "child": "identity of the scheduler one step further from the client",
    "parent": "identity of the scheduler one step nearer to the client",
    "path*": "identities of the broadcast schedulers above, the nearest first; none above the root",
    "extra*": "frames that the requester put before the delimiter, echoed in the reply",
    "topic": "what subscriptions are matched against",
    "prefix": "which queue and direction, see the table of monitor prefixes",
    "session": "session id of the sender",
    "empty": "an empty frame",
    "ping": "the heart monitor's lifetime in seconds as decimal text",
    "ping*": "any frames, echoed",
    "rest*": "what follows the prefix, see the table of monitor prefixes",
}


@dataclass(frozen=True, slots=True)
class Identity:
    """What routing identity a socket sets.

    `none`: it sets none, so a ROUTER peer sees five bytes that begin with 0. `engine-uuid`: the uuid it registers.
    `session`: the session id of the process. `fixed`: exactly `value`. `pattern`: `value` describes it.
    """

    rule: Literal["none", "engine-uuid", "session", "fixed", "pattern"]
    value: str = ""

    def __str__(self) -> str:
        return self.value or self.rule


NO_IDENTITY: Final = Identity("none")
ENGINE_UUID: Final = Identity("engine-uuid")
SESSION: Final = Identity("session")


class Address(NamedTuple):
    """Where the address of a channel stands: in which file or reply, under which key.

    With source `internal` no file has it, and `key` says in words how the two ends come to know it.
    """

    source: Literal[
        "client file", "engine file", "kernel file", "historical file", "registration_reply", "connection_reply",
        "internal",
    ]  # fmt: skip
    key: str

    def __str__(self) -> str:
        return self.key if self.source == "internal" else f"{self.source}: {self.key}"


@dataclass(frozen=True, slots=True)
class End:
    """One end of a channel: what a role has to open, and the envelopes it sends and receives there.

    `sends` and `receives` list alternatives, the usual one first; an empty tuple means that this end never does. `also`
    names socket types that serve as well and that nobody may demand or refuse. `options` are socket options that the
    protocol depends on. `variant` tells apart what one role may do in two ways, such as the scheduler scheme `pure`.
    """

    role: Role
    socket: SocketType
    attach: Attach
    identity: Identity
    address: Address
    sends: tuple[Envelope, ...] = ()
    receives: tuple[Envelope, ...] = ()
    side: Side = ""
    also: tuple[SocketType, ...] = ()
    options: tuple[tuple[str, int | bytes], ...] = ()
    dialects: tuple[Dialect, ...] = DIALECTS
    variant: str = ""
    note: str = ""


@dataclass(frozen=True, slots=True)
class Channel:
    """One channel: a pair of socket roles that can talk to each other, and everything that is fixed about it."""

    name: str
    doc: str
    source: str
    ends: tuple[End, ...]
    framing: Framing = "message"

    @property
    def roles(self) -> tuple[Role, ...]:
        """The roles that have an end here, each once."""
        return tuple(dict.fromkeys(end.role for end in self.ends))

    @property
    def dialects(self) -> tuple[Dialect, ...]:
        """The dialects in which the channel exists."""
        return tuple(name for name in DIALECTS if any(name in end.dialects for end in self.ends))

    def end(self, role: str, dialect: str = DEFAULT_DIALECT, *, side: str = "", variant: str = "") -> End:
        """The one end of this role in a dialect. Raises KeyError, naming what there is instead.

        `side` may be left out where the role has one end only.
        """
        found = [
            end
            for end in self.ends
            if end.role == role and dialect in end.dialects and end.variant == variant and side in ("", end.side)
        ]
        if len(found) == 1:
            return found[0]
        here = ", ".join(
            f"{end.role}{'/' + end.side if end.side else ''}{'/' + end.variant if end.variant else ''}"
            for end in self.ends
            if dialect in end.dialects
        )
        what = "several ends" if found else "no end"
        raise KeyError(
            f"{what} of {role}{'/' + side if side else ''}{'/' + variant if variant else ''} on {self.name} "
            f"in {dialect}; there are: {here or 'none'}"
        )


class Prefix(NamedTuple):
    """One kind of traffic on the monitor channel: the first frame, and what follows it up to the delimiter."""

    name: bytes
    rest: tuple[Envelope, ...]
    role: Role
    channel: str
    doc: str
    dialects: tuple[Dialect, ...] = DIALECTS


def socket_type(name: str) -> SocketType:
    """The present name of a socket type: `XREQ` is DEALER, `XREP` is ROUTER. Raises KeyError for an unknown one."""
    upper = name.upper()
    known: tuple[SocketType, ...] = SocketType.__args__  # type: ignore[attr-defined]
    if upper in ALIASES:
        return ALIASES[upper]
    for one in known:
        if one == upper:
            return one
    raise KeyError(f"unknown socket type {name!r}; there are: {', '.join([*known, *ALIASES])}")


def fill(
    envelope: Envelope, values: Mapping[str, bytes | Sequence[bytes]] | Mapping[Slot, bytes | Sequence[bytes]]
) -> tuple[bytes, ...]:
    """The frames of an envelope to send. A `*` slot takes a sequence and may be left out; `empty` needs no value.

    Raises KeyError if a value is missing.
    """
    frames: list[bytes] = []
    for slot in envelope:
        if slot == "empty":
            frames.append(b"")
            continue
        value = values.get(slot, () if slot.endswith("*") else None)
        if value is None:
            raise KeyError(f"the envelope {envelope} needs a value for {slot!r} ({SLOTS[slot]})")
        if isinstance(value, bytes):
            frames.append(value)
        else:
            frames.extend(value)
    return tuple(frames)


def match(envelopes: Sequence[Envelope], frames: Sequence[Frame]) -> dict[str, tuple[bytes, ...]] | None:
    """The frames by slot, for the first of the alternatives that fits; None if none does.

    Every slot has a tuple: one frame, or for a `*` slot as many as there were.
    """
    for envelope in envelopes:
        open_ended = [index for index, slot in enumerate(envelope) if slot.endswith("*")]
        spare = len(frames) - (len(envelope) - len(open_ended))
        if spare < 0 or (spare and not open_ended):
            continue
        found: dict[str, tuple[bytes, ...]] = {}
        at = 0
        for slot in envelope:
            width = spare if slot.endswith("*") else 1
            found[slot] = tuple(bytes(frame) for frame in frames[at : at + width])
            at += width
        if found.get("empty", (b"",)) == (b"",):
            return found
    return None
