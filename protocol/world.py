"""The interfaces between cases and the world they run in: real sockets or virtual ones.

A case talks to a `World` through raw sockets and waits synchronously. Waiting pumps the world: a virtual one pops
events, a real one polls its sockets, and in both the scripted hearts and engines are callbacks of that pump. Times are
integer nanoseconds of the world's own clock.
"""

from collections.abc import Callable, Sequence
from typing import Literal, Protocol

import msgspec

from protocol.errors import ProtocolError
from protocol.wire import Frame, Message

MILLISECOND = 1_000_000
SECOND = 1_000_000_000

Direction = Literal["sent", "received"]


class Observation(msgspec.Struct, frozen=True, kw_only=True):
    """One message as one observer saw it cross one socket.

    Order holds per socket and direction only, so rules never compare positions across sockets unless one observer saw
    both. `message` is None when the frames could not be read (`error` then says why) or are raw by design (heartbeats).
    `why` is set on damage that the kit sent on purpose.
    """

    seq: int
    now: int
    observer: str
    socket: str
    channel: str
    direction: Direction
    peer: str
    frames: tuple[Frame, ...]
    message: Message | None = None
    error: ProtocolError | None = None
    why: str | None = None


class Fact(msgspec.Struct, frozen=True, kw_only=True):
    """Something that happened besides messages: a peer was started, a heart was stopped, a role noted its state."""

    seq: int
    now: int
    observer: str
    name: str
    data: dict[str, object] = {}


class Socket(Protocol):
    """One raw socket of a scripted party."""

    @property
    def name(self) -> str:
        """Unique in its world, such as `client-1/query`; the key of the order of observations."""

    @property
    def channel(self) -> str:
        """The name of its row in `protocol.channels`."""

    @property
    def identity(self) -> bytes:
        """The routing identity set on the socket, or b"" where libzmq or the peer chooses one."""

    @property
    def subscriptions(self) -> Sequence[bytes]:
        """The prefixes that others subscribed to here, where the socket is told: an XPUB. They are no messages."""

    def send(self, message: Message) -> None:
        """Send a valid message. Raises LocalProtocolError: a mistake of ours is never blamed on the peer."""

    def send_raw(self, frames: Sequence[Frame], why: str) -> None:
        """Send frames as they are: damage on purpose, or raw by design; `why` goes into the report."""

    def recv(self, deadline: int) -> Observation | None:
        """The next thing that arrives before the deadline, or None. Pumps the world while it waits."""

    def close(self) -> None:
        """Close the socket and drop what it still held."""


class World(Protocol):
    """Where a case runs."""

    @property
    def now(self) -> int:
        """Nanoseconds of the world's clock."""

    @property
    def observations(self) -> Sequence[Observation | Fact]:
        """Everything seen so far, in the order in which it was seen."""

    def open(self, channel: str, *, party: str, identity: bytes = b"", end: str = "", index: int = 0) -> Socket:
        """A socket of the right type, connected where the channel says; `party` names who holds it.

        `end` names the role whose end of the channel it is, where more than one kind of peer connects; `index` is the
        leaf of the broadcast tree.
        """

    def run_until(self, predicate: Callable[[], bool], deadline: int) -> bool:
        """Pump until the predicate holds (True) or the deadline has passed (its last value)."""

    def every(self, period: int, callback: Callable[[], None]) -> Callable[[], None]:
        """Call back every `period` while the world is pumped; the result stops it."""

    def listen(self, socket: Socket, callback: Callable[[Observation], None]) -> None:
        """Hand what arrives on a socket to a callback of the pump, at once, instead of keeping it for `recv`."""

    def note(self, observer: str, name: str, **data: object) -> None:
        """Record a fact among the observations."""
