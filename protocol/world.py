"""The interfaces between cases or scenarios and the world they run in: real sockets or virtual ones.

A case talks to a `World` through raw sockets and waits synchronously. Waiting pumps the world: a virtual one pops
events, a real one polls its sockets, and in both the scripted hearts and engines are callbacks of that pump. Times are
integer nanoseconds of the world's own clock.

A scenario talks to a `Cluster`: it lets engines and clients come and go, gives them work, stops and restarts parts of
the controller, and waits in the same way.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Literal, Protocol

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

    @property
    def is_met(self) -> bool:
        """Whether the other end knows it, so that what is addressed to it is not lost: an engine's end of a queue."""

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


# -- clusters ----------------------------------------------------------------------------------------------------------

#: How the heart of an engine beats: in C beside the interpreter, within the interpreter, or not at all.
HeartKind = Literal["device", "python", "none"]


class Work(msgspec.Struct, frozen=True, kw_only=True):
    """What the code of a request does: a world of processes runs code that does it, a virtual one pretends.

    It takes `takes` nanoseconds, in which it writes `prints` lines. With `holds` no other code of the interpreter runs
    meanwhile. Then it returns; or it raises (`fails`), or takes the process of the engine with it (`crashes`). On
    engines whose uuid is in `refuses`, or anywhere for `"*"`, it says that its dependencies are not met.
    """

    takes: int = 0
    prints: int = 0
    fails: bool = False
    crashes: bool = False
    holds: bool = False
    refuses: tuple[str, ...] = ()


class Task(Protocol):
    """What became of a request of a client."""

    @property
    def msg_id(self) -> str:
        """Its id."""

    @property
    def is_done(self) -> bool:
        """Whether the last reply has come."""

    @property
    def status(self) -> str:
        """`ok`, `error` or `aborted`; of several replies the first that is not `ok`. Empty while nothing has come."""

    @property
    def ename(self) -> str:
        """The name of the first error, or empty."""

    @property
    def engine(self) -> str:
        """The uuid of the engine that answered first, or empty."""

    @property
    def content(self) -> Mapping[str, Any]:
        """The content of the first reply; empty while nothing has come."""

    @property
    def count(self) -> int:
        """How many replies have come: one, or for a broadcast one per engine."""

    @property
    def output(self) -> str:
        """What it wrote, as far as it was heard."""


class ClusterEngine(Protocol):
    """One engine: a process, or its likeness."""

    @property
    def name(self) -> str:
        """Unique in its cluster."""

    @property
    def uuid(self) -> str:
        """Its identity."""

    @property
    def number(self) -> int | None:
        """Its id, or None before it was given one."""

    @property
    def is_alive(self) -> bool:
        """Whether its process is there, be it stopped."""

    def kill(self) -> None:
        """End its process at once."""

    def stop(self) -> None:
        """Ask its process to end, as SIGTERM does."""

    def interrupt(self) -> None:
        """Interrupt the code that runs there, as SIGINT does; where none runs, nothing happens."""

    def pause(self) -> None:
        """Let its process stand still until `resume`."""

    def resume(self) -> None:
        """Let it go on."""

    def stall(self, nanoseconds: int) -> None:
        """Hold its interpreter up; a heart that is a device beats on."""

    def stop_heart(self) -> None:
        """End its heart, and nothing else."""

    def restart(self) -> None:
        """Start it again after its end, under the same uuid."""


class ClusterClient(Protocol):
    """One client."""

    @property
    def name(self) -> str:
        """Unique in its cluster."""

    @property
    def engines(self) -> Mapping[int, str]:
        """The engines that it knows: id -> uuid."""

    def submit(
        self,
        work: Work = Work(),  # noqa: B008 - it is frozen
        *,
        after: Iterable[Task] = (),
        follow: Iterable[Task] = (),
        targets: Iterable[ClusterEngine] = (),
        retries: int = 0,
        timeout: int | None = None,
    ) -> Task:
        """Give work to some engine, through the task queue; `timeout` in nanoseconds."""

    def apply(self, work: Work, engine: ClusterEngine) -> Task:
        """Give work to one engine, through MUX."""

    def execute(self, work: Work, engine: ClusterEngine | None = None) -> Task:
        """Run code on one engine, or on any; its output is published."""

    def broadcast(
        self, work: Work, targets: Iterable[ClusterEngine] | None = None, *, is_coalescing: bool = False
    ) -> Task:
        """Give work to many engines, to all that the client knows if none are named."""

    def control(self, msg_type: str, content: Mapping[str, Any], engine: ClusterEngine) -> Task:
        """Ask an engine on the control queue."""

    def abort(self, tasks: Iterable[Task], engine: ClusterEngine) -> Task:
        """Abort what is queued at an engine; no tasks: all of it."""

    def query(self, msg_type: str, content: Mapping[str, Any] | None = None) -> Task:
        """Ask the Hub."""

    def leave(self) -> None:
        """Close its sockets; what comes for it afterwards reaches nobody."""


#: The processes of a controller that can be stopped by themselves; `controller` stands for all of them.
Part = Literal["controller", "hub", "tasks", "mux", "control", "iopub", "broadcast", "hearts"]
#: Who can be cut off: a part of the controller, an engine or a client.
Place = ClusterEngine | ClusterClient | Part


class Cluster(Protocol):
    """A controller with its engines and clients, and what can happen to them."""

    @property
    def now(self) -> int:
        """Nanoseconds of its clock."""

    @property
    def engines(self) -> Sequence[ClusterEngine]:
        """All engines that were ever started, in order."""

    @property
    def registered(self) -> Mapping[int, str]:
        """The engines that the Hub names: id -> uuid."""

    def engine(
        self, *, uuid: str = "", heart: HeartKind = "device", has_warden: bool = False, is_awaited: bool = True
    ) -> ClusterEngine:
        """Start an engine, and wait until it is registered and its heart was heard, unless `is_awaited` is false."""

    def client(self) -> ClusterClient:
        """A client that is connected and knows the engines."""

    def run_for(self, nanoseconds: int) -> None:
        """Let time pass."""

    def run_until(self, predicate: Callable[[], bool], deadline: int) -> bool:
        """Let time pass until the predicate holds (True) or the deadline has passed (its last value)."""

    def kill(self, part: Part) -> None:
        """End a part of the controller at once."""

    def restart(self, part: Part, *, keeps_disk: bool = True) -> None:
        """Start a part again at its old addresses; without its disk it remembers nothing."""

    def pause(self, part: Part) -> None:
        """Let a part stand still until `resume`."""

    def resume(self, part: Part) -> None:
        """Let it go on."""

    def stall(self, part: Part, nanoseconds: int) -> None:
        """Hold the interpreter of a part up."""

    def partition(self, these: Iterable[Place], those: Iterable[Place] | None = None, *, one_way: bool = False) -> None:
        """Let nothing pass between these and those (everybody else, if not given); `one_way`: from these to those."""

    def heal(self, these: Iterable[Place] = (), those: Iterable[Place] = ()) -> None:
        """End every partition, or what parts these from those."""
