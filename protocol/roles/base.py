"""What a role is: a state machine without I/O, and the events and effects through which it meets the world.

A shell (real sockets, or virtual ones) hands events to `Role.handle` and carries out the effects it returns, in order.
A role never blocks, reads no clock and draws no random number but through its `Env`; the same machine therefore runs in
virtual time, in an exhaustive search, and behind real sockets.

`handle` is total: any event in any state has an answer, if need be the empty one. What the specification calls illegal
is answered as it says (an error reply, or silence), never with an exception.

Sockets are named by the role (`"query"`, `"in"`, `"out"`, `"monitor"`); which ZeroMQ socket of which channel that
is stands in its `SOCKETS`. Messages carry, as `identities`, the frames before the delimiter as the role's own socket
yields or takes them: behind a ROUTER the first one is the peer's.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Final, NamedTuple, Protocol

from protocol.errors import ProtocolError
from protocol.roles.tables import StateTable
from protocol.wire import Frame, Message


class Env(Protocol):
    """What a role may ask of the world without sending anything."""

    def random(self, n: int) -> int:
        """A number from 0 to n - 1."""

    def fresh_id(self) -> str:
        """A text that nobody was given before: for message ids and sessions."""

    def date(self, now: int) -> str:
        """The moment `now` (nanoseconds of the world's clock) in ISO 8601, UTC, with microseconds and a final Z."""

    def rarely(self, place: str) -> bool:
        """Whether to take a way here that is as right as the usual one: a place of `protocol.roles.marks.RARELY`.

        Only a simulation ever says yes.
        """

    def mark(self, slug: str) -> None:
        """Note that a rare branch of `protocol.roles.marks` was taken; a campaign that misses one is not finished."""


# -- events ------------------------------------------------------------------------------------------------------------


class Started(NamedTuple):
    """The role begins; always the first event. `state` is what `Role.persistent` gave before a restart, or None."""

    state: Any = None


class Arrived(NamedTuple):
    """A message came. Its signature is valid and fresh; parent header, metadata and content may still be unreadable."""

    socket: str
    message: Message


class Raw(NamedTuple):
    """Frames came on a socket that carries no messages: a ping, a pong, a subscription."""

    socket: str
    frames: tuple[Frame, ...]


class Malformed(NamedTuple):
    """Frames came that are no acceptable message. They change nothing; a role may count them."""

    socket: str
    frames: tuple[Frame, ...]
    error: ProtocolError


class Fired(NamedTuple):
    """A timer ran out. Timers are not cancelled: one whose `epoch` is no longer the role's is stale and ignored."""

    timer: str
    epoch: int


class Found(NamedTuple):
    """The answer of the store to a `Query` with this token; `error` is set instead when the store refused it."""

    token: int
    records: Sequence[Mapping[str, Any]]
    error: str | None = None


class Finished(NamedTuple):
    """User code that a `Run` started has ended."""

    job: int
    result: Any


class Output(NamedTuple):
    """User code that a `Run` started published something, while it ran or (from a thread) later: a stream, a display.

    `msg_type` and the rest are those of the message on the iopub channel.
    """

    job: int
    msg_type: str
    content: Mapping[str, Any]
    metadata: Mapping[str, Any] | None = None
    buffers: Sequence[Frame] = ()


class Stopping(NamedTuple):
    """The process was asked to end (a signal); the role says goodbye as the protocol has it and then exits."""


class Unreachable(NamedTuple):
    """A message could not be handed on, since nobody is connected under its first identity: `peer`.

    Only sockets that are mandatory tell. The message is as the role sent it.
    """

    socket: str
    peer: bytes
    message: Message


#: Nanoseconds until a message is sent again to a peer that was not connected: peers reconnect in about as many.
AGAIN: Final = 100_000_000

Event = Started | Arrived | Raw | Malformed | Fired | Found | Finished | Output | Stopping | Unreachable


# -- effects -----------------------------------------------------------------------------------------------------------


class Send(NamedTuple):
    """Send a message that this role made; it is signed on the way. `message.identities` stand before the delimiter."""

    socket: str
    message: Message


class Forward(NamedTuple):
    """Pass a received message on, its signed parts byte for byte, under these identities."""

    socket: str
    identities: tuple[bytes, ...]
    message: Message


class SendRaw(NamedTuple):
    """Send frames that are no message: a ping, a pong."""

    socket: str
    frames: tuple[Frame, ...]


class SetTimer(NamedTuple):
    """Call back with `Fired(timer, epoch)` at this time, in nanoseconds of the world's clock."""

    timer: str
    at: int
    epoch: int = 0


class Store(NamedTuple):
    """Change the records: `operation` is a method of `protocol.roles.records.Records`."""

    operation: str
    arguments: tuple[Any, ...]


class Query(NamedTuple):
    """Ask the store; it answers with `Found(token, ...)`. Stores before it are visible to it."""

    token: int
    operation: str
    arguments: tuple[Any, ...]


class Run(NamedTuple):
    """Run user code, or do what else only the process can; `Finished(job, ...)` tells when it ended.

    `message` is what asked for it; the role's module says which kinds it uses and what results it takes.
    """

    job: int
    kind: str
    message: Message


class Persist(NamedTuple):
    """Keep this across a restart; a later `Started` brings the last one back."""

    state: Any


class Note(NamedTuple):
    """A fact of inner state, for rules whose vantage is the state."""

    name: str
    data: Mapping[str, Any]


class Exit(NamedTuple):
    """The role is finished; nothing more is handed to it. `status` is the exit status of its process."""

    status: int = 0


Effect = Send | Forward | SendRaw | SetTimer | Store | Query | Run | Persist | Note | Exit

NOTHING: tuple[Effect, ...] = ()

#: An event or an effect made without going through its own constructor, which costs twice as much.
made: Final = tuple.__new__


class SocketSpec(NamedTuple):
    """One socket of a role: the channel of `protocol.channels` it belongs to, and which end and side of it this is.

    `is_mandatory`: a ROUTER that says so with `Unreachable` when it has nobody to hand a message to.
    """

    channel: str
    side: str = ""
    is_mandatory: bool = False


class Role(ABC):
    """Base of all roles."""

    #: The role's name in `protocol.channels`.
    NAME: ClassVar[str]
    #: Its sockets, by the name that events and effects use.
    SOCKETS: ClassVar[Mapping[str, SocketSpec]]
    #: The lives of what it keeps in states; empty for a role that remembers nothing.
    TABLES: ClassVar[tuple[StateTable, ...]] = ()
    #: Its rare branches, from `protocol.roles.marks`: slug -> when it is taken.
    MARKS: ClassVar[Mapping[str, str]] = {}

    @abstractmethod
    def handle(self, now: int, event: Event) -> Sequence[Effect]:
        """The effects of an event, in order. Never raises."""

    @abstractmethod
    def freeze(self) -> tuple[Any, ...]:
        """The whole state as nested tuples of plain values: equal states freeze to equal tuples."""

    @abstractmethod
    def thaw(self, frozen: tuple[Any, ...]) -> None:
        """Take up a state that `freeze` gave."""
