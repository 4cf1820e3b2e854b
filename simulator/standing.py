"""Which controller stands in a world: what a cluster asks of it, whoever's it is.

The kit's own is `simulator.controller.VirtualController`. Somebody else's may take its place if it runs in processes of
the world, on virtual sockets: `VirtualCluster(controller=...)` is given what makes it. Nobody asks it for roles of the
kit then; what must be known of its inner state to judge a run is asked in the words of this file.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final, NamedTuple, Protocol

from protocol.connection import ClientFile, EngineFile
from protocol.roles.assembly import ControllerConfig
from protocol.roles.base import Effect, Event, Role, SocketSpec
from protocol.rules import Vantage

if TYPE_CHECKING:
    from simulator.disks import Disk
    from simulator.fault import Fault
    from simulator.hosts import Process
    from simulator.world import World


class Seen(Protocol):
    """What is known of a role from outside: its name in `protocol.channels`, and its sockets."""

    @property
    def NAME(self) -> str: ...  # noqa: D102, N802 - as roles have it

    @property
    def SOCKETS(self) -> Mapping[str, SocketSpec]: ...  # noqa: D102, N802


class Resident(Protocol):
    """Something that runs in a process: a shell of the kit around a role, or what somebody else's code runs in."""

    @property
    def process(self) -> "Process":
        """Where it runs."""

    @property
    def role(self) -> Seen:
        """What it is."""

    @property
    def status(self) -> int | None:
        """Its exit status, or None while it runs."""

    def hold(self) -> None:
        """Take nothing any more: what arrives stays in the sockets."""

    def go_on(self) -> None:
        """Take what has arrived meanwhile, and what comes."""

    def listen_in(
        self,
        hear: Callable[[Event], None] | None,
        effects: Mapping[type[Effect], Callable[[Any], None]],
        over: Callable[[], None] | None = None,
    ) -> None:
        """Tell what it is handed, before it is handled, and what it sends."""


class Member(Protocol):
    """A process of a controller."""

    @property
    def process(self) -> "Process":
        """The process that this part is now, or was last."""


class Backlog(NamedTuple):
    """What a task scheduler has not done: `pending` tasks by engine, of at most `limit` each.

    `needs` are those that wait, with what they wait for; for room only, if that is empty.
    """

    pending: Mapping[str, Sequence[str]]
    limit: float
    needs: Mapping[str, Sequence[str]]


class Controller(Protocol):
    """A controller in a world, as a cluster uses it."""

    @property
    def records(self) -> "Disk | None":
        """The disk of its records, or None if it has none that can fail."""

    @property
    def host(self) -> str:
        """The host of all its processes."""

    @property
    def members(self) -> Mapping[str, Member]:
        """Its processes by their part."""

    @property
    def has_begun(self) -> bool:
        """Whether all processes are at work."""

    def start(self) -> None:
        """Bring up all processes."""

    def restart(self, names: Sequence[str], *, keeps_disk: bool = True) -> None:
        """Start processes that have ended again. Raises Lacking."""

    def files(self) -> tuple[ClientFile, EngineFile]:
        """Its connection files."""

    def role(self, name: str) -> Role | None:
        """The first role of the kit in a process, or None if there is none."""

    def lacks(self, fault: "Fault") -> str:
        """What it would need for this fault, in a few words; empty if it can happen to it."""

    def registered(self) -> Mapping[int, str]:
        """The engines that the Hub names: id -> uuid."""

    def has_engines(self, count: int) -> bool:
        """Whether so many engines are registered, and nobody is on the way."""

    def scheduled(self) -> set[str] | None:
        """The uuids of the engines that the task scheduler knows, or None if it does not know engines at all."""

    def buried(self) -> Sequence[str]:
        """The uuids of engines that are gone, and for whose tasks the scheduler has done nothing yet."""

    def backlog(self) -> Backlog | None:
        """What the task scheduler has not done, or None if nobody keeps that."""


class Maker(Protocol):
    """Makes the controller of a world; one that `has_disk` keeps its records there."""

    def __call__(self, world: "World", config: ControllerConfig, *, has_disk: bool) -> Controller: ...  # noqa: D102


#: What the rules see where the roles are the kit's own, and where the controller is not.
EVERYTHING: Final[tuple[Vantage, ...]] = ("peer", "monitor", "state")
OUTSIDE: Final[tuple[Vantage, ...]] = ("peer",)

__all__ = ["EVERYTHING", "OUTSIDE", "Backlog", "Controller", "Maker", "Member", "Resident", "Seen"]
