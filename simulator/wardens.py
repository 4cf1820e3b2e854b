"""The warden of a virtual engine: a process of its own on the same host, in front of the engine's control socket.

It opens its end of the control queue when the engine has its number, delivers signals to the engine's process, and
tells the Hub at once when that is gone.
"""

from typing import Any, Final

from protocol.channels import socket_for
from protocol.connection import EngineFile
from protocol.roles.assembly import opening
from protocol.roles.base import Finished, Run
from protocol.roles.warden import CHILD, Warden, WardenConfig
from protocol.world import SECOND
from simulator.engines import VirtualEngine
from simulator.hosts import Process
from simulator.shell import VirtualShell
from simulator.sockets import Socket
from simulator.world import World

#: Nanoseconds in which the engine must end when its warden is told to.
PATIENCE: Final = 3 * SECOND
#: Names and numbers of the signals that a virtual process understands.
SIGNALS: Final = {2: "SIGINT", 9: "SIGKILL", 15: "SIGTERM", 18: "SIGCONT", 19: "SIGSTOP"}


class VirtualWarden:
    """The warden of one engine. It is made before the engine starts."""

    def __init__(self, world: World, file: EngineFile, engine: VirtualEngine) -> None:
        self.world = world
        self.file = file
        self.engine = engine
        self.process: Process = world.process(f"{engine.name}.warden", engine.host)
        self._shell: VirtualShell | None = None
        self._down = self._open("warden-link")
        self._down.bind(f"tcp://{engine.host}:*")
        #: Where the engine's control socket connects.
        self.address = self._down.last_endpoint
        engine.warden = self

    def again(self) -> "VirtualWarden":
        """The next one, for the next life of the engine."""
        return VirtualWarden(self.world, self.file, self.engine)

    def tell(self, number: int) -> None:
        """The engine has this id, for the first time or anew."""
        role = Warden(
            WardenConfig(uuid=self.engine.uuid, engine_id=number, patience=PATIENCE),
            self.world.env(self.process, self.process.name),
        )
        if self._shell is not None:
            role.thaw(self._shell.role.freeze())
            self._shell.role = role
            return
        up = self._open("control", self.engine.uuid.encode())
        up.connect(self.file.address("control"))
        self._shell = VirtualShell(
            role, self.process, self.world.codec(self.file), runner=self, is_encoded=self.world.is_encoded
        )
        if self.engine.on_shell is not None:
            self.engine.on_shell(self._shell)
        self._shell.attach("up", up)
        self._shell.attach("down", self._down)
        self._shell.start()

    def child_ended(self, status: int) -> None:
        """The engine's process is gone."""
        self.process.at(self.process.clock(), self._notice, status, None)

    def _notice(self, status: int, _: None) -> None:
        if self._shell is None:
            self.process.end(status)
            return
        query = self._open("query")
        query.connect(self.file.address("registration"))
        self._shell.attach("query", query)
        self._shell.deliver(Finished(CHILD, status))
        self.process.look_at_status()

    def stop(self) -> None:
        """Ask it to end, and its engine with it."""
        if self._shell is None:
            self.engine.stop()
        else:
            self._shell.stop()

    def run(self, effect: Run) -> None:
        """Deliver a signal to the engine."""
        assert self._shell is not None
        self._shell.deliver(Finished(effect.job, self._signal(effect.message.content.get("sig"))))

    def _signal(self, wanted: Any) -> str | None:
        """Send a signal that is named or numbered; what is wrong with it, or None."""
        name = SIGNALS.get(wanted, "") if isinstance(wanted, int) else wanted
        engine = self.engine
        if name not in SIGNALS.values():
            return f"there is no signal {wanted!r:.40}"
        if not engine.is_alive:
            return "the engine's process has ended"
        act = {
            "SIGINT": engine.interrupt, "SIGKILL": engine.kill, "SIGTERM": engine.stop, "SIGCONT": engine.resume,
            "SIGSTOP": engine.pause,
        }[name]  # fmt: skip
        # The system delivers it beside what the warden does now.
        self.world.kernel.at(self.world.now, lambda *_: act())
        return None

    def _open(self, channel: str, identity: bytes = b"") -> Socket:
        end = socket_for(channel, "warden")
        kind, options = opening(end, identity)
        return self.process.context.socket(kind, f"{self.process.name}/{channel}", options)


__all__ = ["VirtualWarden"]
