"""Clients in the virtual world: a process with the Client role, and what a scenario asks of it."""

from collections.abc import Callable, Sequence
from typing import Final

from protocol.channels import socket_for
from protocol.connection import ClientFile
from protocol.roles.assembly import opening
from protocol.roles.base import Effect, Event
from protocol.roles.client import Client, ClientConfig
from protocol.wire import Frame
from protocol.world import Work
from simulator.asking import Asking
from simulator.scripts import written
from simulator.shell import VirtualShell
from simulator.world import World

#: The first buffers of a call, where Python code and a description of its arguments would stand.
_CALL: Final = (b"", b"")


class VirtualClient(Asking):
    """One client of the controller whose file this is. It connects when it is made.

    `on_event` is called after whatever happens to it.
    """

    def __init__(
        self,
        world: World,
        file: ClientFile,
        *,
        name: str,
        host: str,
        config: ClientConfig,
        on_event: Callable[[], None] | None = None,
    ) -> None:
        self.world = world
        self.host = host
        self.process = world.process(name, host)
        super().__init__(name, Client(config, world.env(self.process)))
        self.shell = VirtualShell(self.role, self.process, world.codec(file), is_encoded=world.is_encoded)
        if on_event is not None:
            self.shell.listen_in(_nothing, {}, on_event)
        for socket_name, spec in Client.SOCKETS.items():
            end = socket_for(spec.channel, "client", side=spec.side)
            kind, options = opening(end)
            socket = self.process.context.socket(kind, f"{self.process.name}/{socket_name}", options)
            socket.connect(file.address(end.address.key))
            self.shell.attach(socket_name, socket)
        self.shell.start()

    @property
    def now(self) -> int:
        """Nanoseconds of its process's clock."""
        return self.process.clock()

    def carry_out(self, effects: Sequence[Effect]) -> None:
        """Do what the role decided."""
        self.shell.carry_out(effects)

    def code(self, work: Work) -> str:
        """The work as virtual engines read it."""
        return written(work).decode()

    def call(self, work: Work) -> Sequence[Frame]:
        """The same, behind what stands for the function."""
        return (*_CALL, written(work))

    def mistaken(self, msg_id: str, mistake: str) -> None:
        """Tell the recorder."""
        if self.process.recorder is not None:
            self.process.recorder.mistaken(msg_id, mistake)

    def leave(self) -> None:
        """Close its sockets; what comes for it afterwards reaches nobody."""
        self.shell.stop()


def _nothing(_: Event) -> None:
    """What happens is looked at when it is over."""


__all__ = ["VirtualClient"]
