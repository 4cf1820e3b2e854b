"""Clients of a scenario on real sockets: the Client role in the kit's own process, behind its own copy of the file."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import zmq

from conformance.onreal.code import work as do_work
from conformance.onreal.speech import spoken
from conformance.reference import objects
from conformance.reference.env import Log, RealEnv
from conformance.reference.shell import Loop, Shell
from conformance.reference.sockets import make
from conformance.targets.tables import Samples
from protocol.channels import socket_for
from protocol.connection import ClientFile
from protocol.roles.base import Effect
from protocol.roles.client import Client, ClientConfig
from protocol.wire import Frame, ReplayMemory
from protocol.world import SECOND, Work
from simulator.asking import Asked, Asking

#: Milliseconds that what was asked last gets to leave when a client closes its sockets.
LINGER: Final = 200


class RealClient(Asking):
    """One client of the controller whose file this is. It connects when it is made; `turn` lets it go on.

    `pace` is how much longer everything takes than a scenario says; `homes` gives the homes of engines by uuid. With
    `samples` the engines are asked to execute code where else a function would be called.
    """

    def __init__(
        self,
        file: ClientFile,
        *,
        name: str,
        config: ClientConfig,
        pace: float,
        homes: Callable[[str], str],
        samples: Samples | None = None,
    ) -> None:
        super().__init__(name, Client(config, RealEnv(config.session)))
        self.is_alive = True
        self.is_paused = False
        #: When each request was made, by the monotonic clock.
        self.sent: dict[str, int] = {}
        self._pace = pace
        self._homes = homes
        self._samples = samples
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        sockets = {}
        for socket_name, spec in Client.SOCKETS.items():
            end = socket_for(spec.channel, "client", side=spec.side)
            sockets[socket_name] = make(self._context, end)
            sockets[socket_name].connect(file.address(end.address.key))
        self._shell = Shell(self.role, sockets, file.codec(ReplayMemory()), log=Log(name, _unsaid))
        self._loop = Loop()
        self._loop.add(self._shell)
        self._shell.start()

    @property
    def now(self) -> int:
        """Nanoseconds of the monotonic clock."""
        return self._shell.clock()

    def turn(self, milliseconds: int) -> None:
        """Take in what has arrived, waiting for at most so long."""
        if self.is_alive and not self.is_paused:
            self._loop.turn(milliseconds)

    def carry_out(self, effects: Sequence[Effect]) -> None:
        """Do what the role decided."""
        self._shell.carry_out(effects)

    def lasting(self, nanoseconds: int) -> int:
        """How long that takes here."""
        return round(nanoseconds * self._pace)

    def code(self, work: Work) -> str:
        """Code that calls the function that does the work, or that does it."""
        if self._samples is not None:
            return spoken(self._samples, work, self._pace)
        takes, prints, ends, refusers, holds = self._asked(work)
        return (
            f"from {do_work.__module__} import work as _work\n"
            f"_work({takes!r}, {prints!r}, {ends!r}, {refusers!r}, holds={holds!r})"
        )

    def call(self, work: Work) -> Sequence[Frame]:
        """A call of that function."""
        *values, holds = self._asked(work)
        return objects.pack(do_work, values, {"holds": holds})

    def _asked(self, work: Work) -> tuple[float, int, str, tuple[str, ...], bool]:
        ends = "crashes" if work.crashes else "fails" if work.fails else ""
        refusers = tuple(each if each == "*" else self._homes(each) for each in work.refuses)
        return self.lasting(work.takes) / SECOND, work.prints, ends, refusers, work.holds

    def _call(self, socket: str, work: Work, **more: Any) -> Asked:
        if self._samples is None:
            return super()._call(socket, work, **more)
        # As after a call that fails, what waits behind it is run.
        content = {"code": self.code(work), "silent": False, "stop_on_error": False, "user_expressions": {}}
        return self.request(socket, "execute_request", content, **more)

    def request(
        self, socket: str, msg_type: str, content: Mapping[str, Any], *, mistake: str = "", **more: Any
    ) -> Asked:
        """Send any request, and remember when."""
        task = super().request(socket, msg_type, content, mistake=mistake, **more)
        self.sent[task.msg_id] = self.now
        return task

    def mistaken(self, msg_id: str, mistake: str) -> None:
        """Nothing: whoever makes sense is not told apart here from who does not."""

    def leave(self) -> None:
        """Close its sockets; what comes for it afterwards reaches nobody. May be called twice."""
        if self.is_alive:
            self.is_alive = False
            self._loop.close(LINGER)
            self._context.destroy(LINGER)


def _unsaid(_: bytes) -> None:
    """Nothing: what a fault makes of messages is told by whoever judges."""


__all__ = ["RealClient"]
