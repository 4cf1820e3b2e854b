"""The controller of ipyparallel in a simulated world: its own Hub, schedulers and heart monitor, each in its process.

It stands where the kit's own controller would (`simulator.standing.Controller`). What is asked of its inner state is
read from the objects of theirs; nothing of it is changed.

The parts are daemons of one process: they end with it, and none of them can be started again by itself. A scenario that
wants that, or a fault, finds it lacking. All of them can, as by `ipcontroller --restore` with the old connection files.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, Final

import msgspec

from conformance.targets.adapters.edition import load
from conformance.targets.adapters.parts import (
    QUEUES,
    BroadcastPart,
    CodePart,
    HeartPart,
    HubPart,
    Part,
    Places,
    QueuePart,
    TaskPart,
    leaves,
    nodes,
)
from protocol.connection import ClientFile, EngineFile
from protocol.roles.assembly import ControllerConfig, connection_files
from protocol.roles.base import Role
from protocol.roles.broadcast import BroadcastScheduler
from protocol.roles.heartmonitor import HeartMonitor
from protocol.roles.hub import Hub
from protocol.roles.relay import Relay, TaskRelay
from protocol.roles.task import TaskScheduler
from protocol.world import MILLISECOND
from simulator import faults
from simulator.fault import Fault
from simulator.hosts import Process
from simulator.lacking import Lacking
from simulator.standing import Backlog
from simulator.world import World

HOST: Final = "controller"
#: Nanoseconds after which all have met: the connections of their publishers nobody waits for.
MEETING: Final = 250 * MILLISECOND
#: The scheme that needs numpy; without, its controller never gives a task to anybody.
NEEDS_NUMPY: Final = "weighted"
#: What takes its place here, so that runs are the same everywhere.
INSTEAD: Final = "plainrandom"
#: What it lacks, in a few words.
PARTS: Final = "parts of the controller that can be started again by themselves"
DISK: Final = "a disk of the controller's records that can fail"


class Member:
    """A process of the controller, with what runs in it."""

    def __init__(self, process: Process, parts: Sequence[Part]) -> None:
        self.process = process
        self.parts = parts


class IpyparallelController:
    """See the module. If it `has_disk` its records are in a database there, else in memory.

    Raises TargetUnusable if ipyparallel is not installed.
    """

    records: None = None

    def __init__(self, world: World, config: ControllerConfig, *, has_disk: bool = False) -> None:
        self.world: Final = world
        self.host: Final = HOST
        if config.scheme == NEEDS_NUMPY:
            config = msgspec.structs.replace(config, scheme=INSTEAD)
        self.config: Final = config
        self.has_disk: Final = has_disk
        self.members: dict[str, Member] = {}
        #: What was in its processes before it was started again.
        self.former: Final[dict[str, list[Part]]] = {}
        #: What is on its disk.
        self.disk: dict[str, bytes] = {}
        self.has_begun = False
        self._edition = load()
        self._places = Places(HOST)
        self._is_ending = False

    # -- the beginning -----------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Bring up all processes: the Hub first, as there."""
        self._bring_up(restores=False)

    def _bring_up(self, *, restores: bool) -> None:
        self._add("hub", partial(self._records, restores))
        for name, role in QUEUES.items():
            self._add(name, partial(self._queue, role))
        if self.config.scheme == "pure":
            self._add("tasks", partial(self._queue, TaskRelay))
        else:
            self._add("tasks", lambda process: [self._code(TaskPart, process, TaskScheduler)])
        self._add("broadcast", self._tree)
        self._add("hearts", lambda process: [self._code(HeartPart, process, HeartMonitor)])
        self.world.kernel.after(MEETING, self._met)

    def _records(self, restores: bool, process: Process) -> list[Part]:
        part = self._code(HubPart, process, Hub)
        part.has_disk, part.restores = self.has_disk, restores
        return [part]

    def _queue(self, role: type[Relay], process: Process) -> list[Part]:
        return [QueuePart(self.world, process, role, self._places)]

    def _tree(self, process: Process) -> list[Part]:
        made: list[Part] = []
        for path in nodes(self.config.broadcast_depth):
            part = self._code(BroadcastPart, process, BroadcastScheduler, f"{process.name}.{path}")
            part.path = path
            made.append(part)
        return made

    def _code(self, kind: Callable[..., Any], process: Process, role: type[Role], name: str = "") -> Any:
        return kind(self._edition, self.world, process, role, self._places, self.config, self.disk, name)

    def _add(self, name: str, make: Callable[[Process], list[Part]]) -> None:
        process = self.world.process(name, HOST)
        process.on_end = self._ended
        member = self.members[name] = Member(process, make(process))
        for part in member.parts:
            if isinstance(part, CodePart):
                part.begin()

    def _met(self, _: None, __: None) -> None:
        self.has_begun = True

    def _ended(self, process: Process) -> None:
        for member in self.members.values():
            for part in member.parts:
                if member.process is process and isinstance(part, CodePart):
                    part.close()
        if process is self.members["hub"].process and not self._is_ending:
            # The others are daemons of its process.
            self._is_ending = True
            for member in self.members.values():
                member.process.crash()

    def restart(self, names: Sequence[str], *, keeps_disk: bool = True) -> None:
        """Start all that has ended again, at its old places. Without the disk, on which neither key nor ports are, it
        remembers nothing. Raises Lacking for a part by itself.
        """
        if set(names) != set(self.members):
            raise Lacking(PARTS)
        if not keeps_disk:
            self.disk.clear()
        for name, member in self.members.items():
            self.former.setdefault(name, []).extend(member.parts)
        self.has_begun = self._is_ending = False
        self._bring_up(restores=True)

    def lacks(self, fault: Fault) -> str:
        """What it would need for this fault; empty if it can happen to it."""
        if isinstance(fault, faults.DiskLost) or (isinstance(fault, faults.PartKilled) and fault.part != "controller"):
            return PARTS
        return DISK if isinstance(fault, faults.DiskFailing | faults.DiskSlow) else ""

    def files(self) -> tuple[ClientFile, EngineFile]:
        """Its connection files."""
        port = self._places.port
        names = [*(f"{who} {queue}" for who in ("client", "engine") for queue in ("control", "mux", "task", "iopub"))]
        names += ["registration", "engine hb_ping", "engine hb_pong", "client notification", "client broadcast"]
        places = {name: [port(name)] for name in names}
        places["engine broadcast"] = [port(place) for place in leaves(self.config.broadcast_depth)]
        interface = f"tcp://{HOST}"
        return connection_files(
            places, key=self.world.key, scheme=self.config.scheme, client=interface, engine=interface, location=HOST,
            signature_scheme=self.world.scheme,
        )  # fmt: skip

    # -- what is known of its inner state ----------------------------------------------------------------------------

    def role(self, name: str) -> None:
        """It has no roles of the kit."""

    @property
    def hub(self) -> Any:
        """Their Hub."""
        (part,) = self.members["hub"].parts
        assert isinstance(part, HubPart)
        return part.hub

    @property
    def scheduler(self) -> Any:
        """Their task scheduler, or None for a queue without one."""
        (part,) = self.members["tasks"].parts
        return part.scheduler if isinstance(part, TaskPart) else None

    def registered(self) -> Mapping[int, str]:
        """The engines that the Hub names: id -> uuid."""
        return {number: engine.uuid for number, engine in self.hub.engines.items()}

    def has_engines(self, count: int) -> bool:
        """Whether so many engines are registered, and nobody is on the way."""
        return len(self.hub.engines) == count and not self.hub.incoming_registrations

    def scheduled(self) -> set[str] | None:
        """The uuids of the engines that the task scheduler knows, or None if it does not know engines at all."""
        return None if self.scheduler is None else {uuid.decode() for uuid in self.scheduler.targets}

    def buried(self) -> Sequence[str]:
        """The uuids of engines that are gone, and for whose tasks the scheduler has done nothing yet."""
        if self.scheduler is None:
            return []
        known = self.scheduler.targets
        return sorted(uuid.decode() for uuid, jobs in self.scheduler.pending.items() if jobs and uuid not in known)

    def backlog(self) -> Backlog | None:
        """What the task scheduler has not done, or None if nobody keeps that."""
        theirs = self.scheduler
        if theirs is None:
            return None
        pending = {uuid.decode(): list(theirs.pending.get(uuid, ())) for uuid in theirs.targets}
        needs = {msg_id: sorted(job.dependents - theirs.all_done) for msg_id, job in theirs.queue_map.items()}
        return Backlog(pending, theirs.hwm or float("inf"), needs)


__all__ = ["IpyparallelController"]
