"""A controller in the virtual world: the processes of `protocol.roles.assembly`, their sockets, its files.

It starts as the real one does: every process binds, then all connect; the publishers wait for their listeners; then the
roles begin, and the connection files are there. With a supervisor, the end of one process is the end of all, as with
the reference; without one a process can be killed and started again by itself, at its old ports.

What survives a restart is the disk: key, ports, what the Hub keeps of its engines, and the records if they are kept
there. A disk loses what was not flushed.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

import msgspec

from protocol.connection import ClientFile, EngineFile, render
from protocol.roles.assembly import (
    LINK,
    ControllerConfig,
    Node,
    Parts,
    connection_files,
    end_of,
    listeners,
    opening,
    processes,
)
from protocol.roles.base import Role
from protocol.roles.hub import Hub
from protocol.roles.records import MemoryRecords, Records
from protocol.roles.task import TaskScheduler
from protocol.roles.task.tasks import QUEUED
from protocol.world import SECOND
from simulator.disks import Disk, DiskRecords
from simulator.hosts import Process
from simulator.rarity import never
from simulator.shell import VirtualShell
from simulator.sockets import Socket
from simulator.standing import Backlog
from simulator.world import World

if TYPE_CHECKING:
    from simulator.fault import Fault

#: Names of the files, as ipyparallel writes them.
CLIENT_FILE: Final = "ipcontroller-client.json"
ENGINE_FILE: Final = "ipcontroller-engine.json"
#: What the supervisor ends with when one of its processes has ended by itself.
FAILED: Final = 3
#: Nanoseconds that publishers wait for their listeners: one that is down must not keep the others from beginning.
PATIENCE: Final = 2 * SECOND


class _Member:
    """A process of the controller on its way to its beginning."""

    def __init__(self, name: str, process: Process, nodes: tuple[Node, ...]) -> None:
        self.name = name
        self.process = process
        self.nodes = nodes
        self.sockets: list[dict[str, Socket]] = []
        self.shells: list[VirtualShell] = []
        self.connections: list[tuple[Socket, str]] = []
        #: Publishers: what each was told, and how many listeners it waits for.
        self.told: dict[Socket, tuple[list[bytes], int]] = {}

    @property
    def is_ready(self) -> bool:
        """Whether every publisher has its listeners."""
        return all(sum(one[:1] == b"\x01" for one in told) >= count for told, count in self.told.values())


class VirtualController:
    """One controller. `status` is its exit status, None while it runs; `disk` holds its files."""

    def __init__(
        self,
        world: World,
        config: ControllerConfig,
        *,
        host: str = "controller",
        is_supervised: bool = True,
        has_disk: bool = False,
        on_shell: Callable[[VirtualShell], object] | None = None,
        kinds: Mapping[tuple[str, str], str] | None = None,
    ) -> None:
        self.world = world
        self.config = config
        self.host = host
        self.is_supervised = is_supervised
        #: Is given the shell of each role before its first event.
        self.on_shell = on_shell
        #: Types of sockets that are unlike the usual ones, by role and name.
        self.kinds: Mapping[tuple[str, str], str] = kinds or {}
        #: Where the records are kept, or None if they are in memory.
        self.records = Disk() if has_disk else None
        self.disk: dict[str, bytes] = {}
        self.status: int | None = None
        self.members: dict[str, _Member] = {}
        self.places: dict[str, list[int]] = {}
        self._engines: bytes | None = None
        self._is_stopping = False
        self._expected: Mapping[str, int] = {}
        #: The names of the processes that have not begun.
        self._waiting: set[str] = set()
        self._files: tuple[ClientFile, EngineFile] | None = None

    # -- the beginning -----------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Bring up all processes; the roles begin as soon as everybody has met."""
        made = self._parts(has_new_scheduler=True)
        self._expected = listeners(made)
        self._bring_up(made, list(made))

    def restart(self, names: Sequence[str], *, keeps_disk: bool = True) -> None:
        """Start processes that have ended again, at their old ports; without the disk they remember nothing."""
        if not keeps_disk:
            self._engines = None
            self.records = None if self.records is None else Disk()
        self._bring_up(self._parts(has_new_scheduler="tasks" in names), names)

    def _bring_up(self, made: Parts, names: Sequence[str]) -> None:
        for name in names:
            self._open(name, made[name])
        for name in names:
            self._connect(self.members[name])
        self.world.kernel.after(PATIENCE, self._begin_anyway)

    def _parts(self, *, has_new_scheduler: bool) -> Parts:
        config = msgspec.structs.replace(self.config, has_new_scheduler=has_new_scheduler)
        state = None if self._engines is None else msgspec.json.decode(self._engines)
        return processes(config, lambda: {"records": self._open_records(), "persist": self._persist}, state)

    def _open_records(self) -> Records:
        return (
            MemoryRecords() if self.records is None else DiskRecords(self.records, self.world.rarity("disk") or never)
        )

    def _persist(self, state: Any) -> None:
        self._engines = msgspec.json.encode(state)

    def _open(self, name: str, nodes: tuple[Node, ...]) -> None:
        process = self.world.process(name, self.host)
        process.on_end = self._ended
        member = self.members[name] = _Member(name, process, nodes)
        self._waiting.add(name)
        bound: dict[str, int] = {}
        for node in nodes:
            sockets: dict[str, Socket] = {}
            for socket_name, spec in node.sockets.items():
                end = end_of(node.role, spec, node.variant)
                place = node.place(socket_name, end)
                kind, options = opening(
                    end, b"" if end.identity.rule == "none" else node.identity, is_mandatory=spec.is_mandatory,
                    kind=self.kinds.get((node.role, socket_name), ""),
                )  # fmt: skip
                socket = sockets[socket_name] = process.context.socket(kind, f"{process.name}/{socket_name}", options)
                if end.attach == "connect":
                    member.connections.append((socket, place))
                elif place.startswith(LINK):
                    socket.bind(_inside(place))
                else:
                    self._bind(socket, place, bound)
                if kind == "XPUB":
                    count = 1 if end.attach == "connect" else self._expected.get(place, 0)
                    told: list[bytes] = []
                    member.told[socket] = told, count
                    socket.watch(self._listening(socket, told))
                else:
                    # libzmq subscribes for us only when its socket is used.
                    socket.watch(socket.events)
            member.sockets.append(sockets)

    def _bind(self, socket: Socket, place: str, bound: dict[str, int]) -> None:
        """Bind at the port that this place had before, or at a new one."""
        known = self.places.setdefault(place, [])
        number = bound[place] = bound.get(place, -1) + 1
        if number < len(known):
            socket.bind(f"tcp://{self.host}:{known[number]}")
        else:
            socket.bind(f"tcp://{self.host}:*")
            self._files = None
            known.append(int(socket.last_endpoint.rpartition(":")[2]))

    def _connect(self, member: _Member) -> None:
        for socket, place in member.connections:
            address = _inside(place) if place.startswith(LINK) else f"tcp://{self.host}:{self.places[place][0]}"
            socket.connect(address)

    def _listening(self, socket: Socket, told: list[bytes]) -> Callable[[], None]:
        def hear() -> None:
            while type(load := socket.recv()) is tuple:
                told.append(load[0])
            self._begin_if_ready()

        return hear

    def _begin_if_ready(self) -> None:
        waiting = self._to_begin()
        if all(member.is_ready for member in waiting):
            for member in waiting:
                self._begin(member)

    def _begin_anyway(self, _: None, __: None) -> None:
        for member in self._to_begin():
            self._begin(member)

    def _to_begin(self) -> list[_Member]:
        if not self._waiting:
            return []
        return [one for name, one in self.members.items() if name in self._waiting and one.process.is_alive]

    def _begin(self, member: _Member) -> None:
        self._waiting.discard(member.name)
        if CLIENT_FILE not in self.disk:
            self._write_files()
        world, process = self.world, member.process
        for index, (node, sockets) in enumerate(zip(member.nodes, member.sockets, strict=True)):
            codec = world.codec()
            env = world.env(process, process.name if index == 0 else f"{process.name}.{index}")
            shell = VirtualShell(
                node.build(env, self.places),
                process,
                codec,
                # What the monitor copies may have been seen by this role before, as a message of its own.
                codecs={name: world.codec() for name, spec in node.sockets.items() if spec.channel == "monitor"},
                is_encoded=world.is_encoded,
                # What answered in time counts for the heart monitor, which therefore always looks at once.
                rarity=None if member.name == "hearts" else world.rarity(f"{process.name}/{index}"),
                **node.extra(),
            )
            member.shells.append(shell)
            if self.on_shell is not None:
                self.on_shell(shell)
            for name, socket in sockets.items():
                shell.attach(name, socket)
            told = {name: member.told[socket][0] for name, socket in sockets.items() if socket in member.told}
            shell.start(node.state, told)

    def _write_files(self) -> None:
        client, engine = self.files()
        self.disk[ENGINE_FILE] = render(engine)
        self.disk[CLIENT_FILE] = render(client)

    def files(self) -> tuple[ClientFile, EngineFile]:
        """Its connection files."""
        if self._files is None:
            interface = f"tcp://{self.host}"
            self._files = connection_files(
                self.places,
                key=self.world.key,
                scheme=self.config.scheme,
                client=interface,
                engine=interface,
                location=self.host,
                signature_scheme=self.world.scheme,
            )
        return self._files

    # -- the end -----------------------------------------------------------------------------------------------------

    def role(self, name: str) -> Role | None:
        """The first role of a process, or None if that has not begun."""
        member = self.members[name]
        return member.shells[0].role if member.shells else None

    def lacks(self, fault: "Fault") -> str:
        """Whatever can happen to a controller can happen to this one."""
        return ""

    def registered(self) -> Mapping[int, str]:
        """The engines that the Hub names: id -> uuid."""
        hub = self.role("hub")
        return {engine.id: engine.uuid for engine in hub.engines.live()} if isinstance(hub, Hub) else {}

    def has_engines(self, count: int) -> bool:
        """Whether so many engines are registered, and nobody is on the way."""
        hub = self.role("hub")
        if not isinstance(hub, Hub) or len(hub.engines.by_id) != count:
            return False
        return all(engine.is_live for engine in hub.engines.by_id.values())

    def scheduled(self) -> set[str] | None:
        """The uuids of the engines that the task scheduler knows, or None if it does not know engines at all."""
        scheduler = self.role("tasks")
        return {uuid.decode() for uuid in scheduler.engines} if isinstance(scheduler, TaskScheduler) else None

    def buried(self) -> Sequence[str]:
        """The uuids of engines that are gone, and for whose tasks the scheduler has done nothing yet."""
        scheduler = self.role("tasks")
        return sorted(one.name for one in scheduler.graves.values()) if isinstance(scheduler, TaskScheduler) else []

    def backlog(self) -> Backlog | None:
        """What the task scheduler has not done, or None if nobody keeps that."""
        scheduler = self.role("tasks")
        if not isinstance(scheduler, TaskScheduler):
            return None
        needs: dict[str, tuple[str, ...]] = {}
        for msg_id, task in scheduler.tasks.items():
            if task.engine is None:
                left = () if task.demands is None else tuple(each for need in task.demands.needs for each in need.left)
                if left or task.state == QUEUED:
                    needs[msg_id] = () if task.state == QUEUED else left
        pending = {engine.name: list(engine.pending) for engine in scheduler.engines.values()}
        return Backlog(pending, scheduler.limit, needs)

    @property
    def is_running(self) -> bool:
        """Whether it was started and has not ended."""
        return self.status is None and bool(self.members)

    @property
    def has_begun(self) -> bool:
        """Whether all processes are at work."""
        return bool(self.members) and not self._waiting

    def stop(self) -> None:
        """Ask it to end, as a signal does: each says goodbye, and the Hub hears it."""
        self._stop_all(0)

    def _stop_all(self, status: int) -> None:
        if self._is_stopping or self.status is not None:
            return
        self._is_stopping = True
        others = [member for name, member in self.members.items() if name != "hub"]
        for member in others:
            self._tell(member)
        hub = self.members["hub"]
        if hub.process.is_alive:
            self.world.kernel.after(PATIENCE // 1000, lambda *_: self._tell(hub))
        self.world.kernel.after(PATIENCE, lambda *_: self._bury(status))
        self._wanted_status = status

    def _tell(self, member: _Member) -> None:
        for shell in member.shells:
            if member.process.is_alive:
                shell.stop()

    def _bury(self, status: int) -> None:
        for member in self.members.values():
            member.process.crash()
        self._over(status)

    def _over(self, status: int) -> None:
        if self.status is None:
            self.status = status
            self.disk.pop(CLIENT_FILE, None)
            self.disk.pop(ENGINE_FILE, None)

    def _ended(self, process: Process) -> None:
        alive = [member for member in self.members.values() if member.process.is_alive]
        if self._is_stopping:
            if not alive:
                self._over(self._wanted_status)
        elif self.is_supervised:
            is_asked = process is self.members["hub"].process and process.status == 0
            self._stop_all(0 if is_asked else FAILED)


def _inside(place: str) -> str:
    return f"inproc://{place.removeprefix(LINK)}"


__all__ = ["CLIENT_FILE", "ENGINE_FILE", "VirtualController"]
