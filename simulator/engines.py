"""Engines in the virtual world: a process with the role, its heart, code that takes virtual time, perhaps a warden.

The heart is a device: it has a process object of its own, so that it beats on while the interpreter of its engine is
held up; a heart in Python is held up with it. What else ends or stops the engine's process ends or stops both.

User code is a `simulator.scripts.Script`, written as JSON where Python code would stand.
"""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final

from protocol.channels import socket_for
from protocol.connection import EngineFile
from protocol.roles.assembly import opening
from protocol.roles.base import Finished, Output, Run, made
from protocol.roles.engine import Engine, EngineConfig, Outcome
from protocol.roles.heart import Heart, HeartConfig
from protocol.roles.speech import error
from protocol.wire import Message
from protocol.world import SECOND, HeartKind
from simulator.dealers import QueueSocket
from simulator.hosts import Process
from simulator.scripts import Script, outcome, published, script_of, shown
from simulator.shell import VirtualShell
from simulator.sockets import Socket
from simulator.world import World

if TYPE_CHECKING:
    from simulator.wardens import VirtualWarden

#: What is given a shell before its first event.
OnShell = Callable[[VirtualShell], object]
#: Nanoseconds until an interrupt reaches code that runs.
INTERRUPT: Final = SECOND // 1000
#: No socket is of another type than usual.
USUAL: Final[Mapping[tuple[str, str], str]] = MappingProxyType({})


class VirtualEngine:
    """One engine of the controller whose file this is. `start` begins with its registration."""

    def __init__(
        self,
        world: World,
        file: EngineFile,
        config: EngineConfig,
        *,
        name: str,
        host: str,
        heart: HeartKind = "device",
        on_shell: OnShell | None = None,
        kinds: Mapping[tuple[str, str], str] = USUAL,
    ) -> None:
        self.world = world
        self.file = file
        self.config = config
        self.name = name
        self.host = host
        self.kind: HeartKind = heart
        #: Is given each shell of it, its warden's and its heart's too, before its first event.
        self.on_shell = on_shell
        #: Types of sockets that are unlike the usual ones, by role and name.
        self.kinds = kinds
        self.process: Process
        self.heart: Process | None = None
        self.role: Engine
        self.shell: VirtualShell
        self.warden: VirtualWarden | None = None
        self._leaf = ""
        #: The job that runs, or 0; and the variables that code has set.
        self._work = 0
        self._names: dict[str, object] = {}

    @property
    def uuid(self) -> str:
        """Its identity."""
        return self.config.uuid

    @property
    def number(self) -> int | None:
        """Its id, or None before it was given one."""
        return self.role.id

    @property
    def is_alive(self) -> bool:
        """Whether its process is there."""
        return self.process.is_alive

    @property
    def is_busy(self) -> bool:
        """Whether code of somebody's runs."""
        return bool(self._work)

    def start(self) -> None:
        """Start its process, and register."""
        self._leaf, self._work = "", 0
        self._names.clear()
        self.process = self.world.process(self.name, self.host)
        self.process.on_end = self._ended
        # What its messages are numbered by must be new, though its session is the uuid again.
        env = self.world.env(self.process, self.process.name)
        self.role = Engine(self.config, env)
        codec = self.world.codec(self.file)
        self.shell = VirtualShell(self.role, self.process, codec, runner=self, is_encoded=self.world.is_encoded)
        if self.on_shell is not None:
            self.on_shell(self.shell)
        self._open("query", self.file.address("registration"))
        self.shell.start()

    # -- jobs --------------------------------------------------------------------------------------------------------

    def run(self, effect: Run) -> None:
        """Do what the role asks for; the end of it is an event of its own."""
        if effect.kind == "connect":
            self._connect(effect)
            self._finish(effect.job, None)
        elif effect.kind == "clear":
            self._names.clear()
            self._finish(effect.job, None)
        else:
            self._begin(effect.job, effect.message)

    def _finish(self, job: int, result: Any, delay: int = 0) -> None:
        process = self.process
        process.at(process.clock() + delay, self._deliver, Finished(job, result), None)

    def _deliver(self, event: Finished | Output, _: None) -> None:
        self.shell.deliver(event)

    def _begin(self, job: int, message: Message) -> None:
        process = self.process
        now = process.clock()
        script = script_of(message)
        self._work = job
        lasts = script.lasts
        if script.holds:
            process.stall(lasts)
        lines = script.lines()
        for number, (stream, text) in enumerate(lines):
            output = Output(job, "stream", {"name": stream, "text": text})
            process.at(now + lasts * number // len(lines), self._print, output, job)
        process.at(now + lasts, self._end_of_work, job, (script, message))

    def _print(self, event: Output, job: int) -> None:
        if self._work == job:
            self.shell.deliver(event)

    def _end_of_work(self, job: int, ran: tuple[Script, Message]) -> None:
        if self._work != job:
            # It was interrupted.
            return
        self._work = 0
        script, message = ran
        if script.crashes:
            self.process.crash()
            return
        data = published(script)
        if data is not None:
            self.shell.deliver(Output(job, "data_message", data[0], buffers=data[1]))
        result = shown(script, message)
        if result is not None:
            self.shell.deliver(Output(job, "execute_result", result))
        self.shell.deliver(made(Finished, (job, outcome(script, message, self.uuid, self._names))))

    def interrupt(self) -> None:
        """What SIGINT does: the code that runs raises KeyboardInterrupt."""
        if self._work:
            job, self._work = self._work, 0
            self._finish(job, Outcome(status="error", content=error("KeyboardInterrupt", "")), INTERRUPT)

    # -- sockets and heart -------------------------------------------------------------------------------------------

    def _connect(self, effect: Run) -> None:
        """Open the sockets of a registered engine and start its heart."""
        number = effect.message.content["id"]
        leaves = self.file.addresses("broadcast")
        leaf = leaves[number % len(leaves)]
        if self.warden is not None:
            self.warden.tell(number)
        if self._leaf:
            # Registered again, perhaps under another number, which has another leaf.
            if leaf != self._leaf:
                self.shell.sockets["shell"].disconnect(self._leaf)
                self.shell.sockets["shell"].connect(leaf)
                self._leaf = leaf
            return
        self._leaf = leaf
        queues = {"mux": self.file.address("mux"), "task": self.file.address("task"), "broadcast": leaf}
        self._open_queues("shell", queues)
        if self.warden is None:
            self._open_queues("control", {"control": self.file.address("control")})
        else:
            self._open("control", self.warden.address)
        self._open("iopub", self.file.address("iopub"))
        watch = self._open("heartbeat")
        watch.bind(f"tcp://{self.host}:*")
        if self.kind != "none":
            self._start_heart(watch.last_endpoint)

    def _open_queues(self, name: str, queues: Mapping[str, str]) -> None:
        """Open one socket for all of these queues, or a DEALER for each."""
        if self.kinds.get((Engine.NAME, name)) == "DEALER":
            self.shell.attach(name, QueueSocket({queue: self._made(name, place) for queue, place in queues.items()}))
        else:
            self._open(name, *queues.values())

    def _open(self, name: str, *addresses: str) -> Socket:
        socket = self._made(name, *addresses)
        self.shell.attach(name, socket)
        return socket

    def _made(self, name: str, *addresses: str) -> Socket:
        spec = Engine.SOCKETS[name]
        end = socket_for(spec.channel, "engine", side=spec.side)
        identity = self.uuid.encode() if end.identity.rule != "none" else b""
        kind, options = opening(end, identity, kind=self.kinds.get((Engine.NAME, name), ""))
        socket = self.process.context.socket(kind, f"{self.process.name}/{name}", options)
        for address in addresses:
            socket.connect(address)
        return socket

    def _start_heart(self, monitor: str) -> None:
        places = {"ping": self.file.address("hb_ping"), "pong": self.file.address("hb_pong"), "monitor": monitor}
        self.heart = start_heart(
            self.world, places, self.uuid.encode(), name=f"{self.process.name}.heart", host=self.host,
            within=self.process if self.kind == "python" else None, on_shell=self.on_shell,
        )  # fmt: skip
        if self.kind == "device":
            self.process.companions.append(self.heart)

    # -- what can happen to it ---------------------------------------------------------------------------------------

    def kill(self) -> None:
        """End its process at once."""
        self.process.crash()

    def stop(self) -> None:
        """Ask it to end."""
        if self.process.is_alive:
            self.process.at(self.process.clock(), self._stop, None, None)

    def _stop(self, _: None, __: None) -> None:
        self.shell.stop()

    def pause(self) -> None:
        """Let its process stand still."""
        self.process.pause()

    def resume(self) -> None:
        """Let it go on."""
        self.process.resume()

    def stall(self, nanoseconds: int) -> None:
        """Hold its interpreter up."""
        self.process.stall(nanoseconds)

    def stop_heart(self) -> None:
        """End its heart, and nothing else."""
        if self.heart is not None and self.kind == "device":
            self.heart.crash()

    def restart(self) -> None:
        """Start it again, under the same uuid."""
        assert not self.is_alive, "it is still there"
        if self.warden is not None:
            self.warden.again()
        self.start()

    def _ended(self, process: Process) -> None:
        if self.warden is not None:
            self.warden.child_ended(process.status or 0)


def start_heart(
    world: World,
    places: dict[str, str],
    identity: bytes,
    *,
    name: str,
    host: str,
    within: Process | None = None,
    is_monitored: bool = True,
    on_shell: OnShell | None = None,
) -> Process:
    """A heart that beats from now on: the process that holds its sockets, or `within` if that was given."""
    process = within or world.process(name, host)
    role = Heart(HeartConfig(monitored=is_monitored), world.env(process, name))
    shell = VirtualShell(role, process, world.codec(), is_encoded=world.is_encoded, is_guest=within is not None)
    if on_shell is not None:
        on_shell(shell)
    for socket_name, place in places.items():
        end = socket_for(Heart.SOCKETS[socket_name].channel, "heart")
        # A device reads nothing of what a publisher is told.
        unread = "PUB" if end.socket == "PUB" else ""
        kind, options = opening(end, identity if end.identity.rule != "none" else b"", kind=unread)
        socket = process.context.socket(kind, f"{name}/{socket_name}", options)
        socket.connect(place)
        shell.attach(socket_name, socket)
    if world.recorder is not None:
        world.recorder.note(name, "heart-started", {"party": process.name, "uuid": identity.decode()})
    shell.start()
    return process


__all__ = ["VirtualEngine", "start_heart"]
