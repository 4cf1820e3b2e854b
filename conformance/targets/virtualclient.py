"""A client in virtual time behind the desk of our drivers: what `process.RunningClient` is, without a process.

It is told the same lines. The files that it connects with are no files of the system, and what it receives is never
loaded: values of replies are read as what they would build.
"""

from collections.abc import Callable, Sequence
from typing import Any, Final

from conformance.drivers.desk import Connection, Desk
from conformance.drivers.lines import Answer, Hello, read_command, write
from conformance.targets.descriptor import Target
from conformance.targets.errors import TargetUnusable
from protocol.connection import ClientFile, parse
from protocol.pickles import trace
from protocol.roles.base import Effect
from protocol.roles.client import ClientConfig
from protocol.wire import Frame
from simulator.clients import VirtualClient
from simulator.env import Calendar
from simulator.world import World

#: The host of the client.
HOST: Final = "client"


class VirtualRunningClient:
    """A client that runs in a world of its own. `on_line` is called with each line that its driver says."""

    def __init__(self, target: Target, world: World, on_line: Callable[[bytes], None]) -> None:
        self.target = target
        self.version = None
        self.world = world
        self.files: dict[str, bytes] = {}
        self._on_line = on_line
        self._calendar = Calendar()
        self._due: int | None = None
        self._desk = Desk(self._say, self._open)
        self._later(self._greet)

    def date(self) -> str:
        """The present moment of virtual time, as in headers."""
        return self._calendar.date(self.world.now)

    def write_file(self, name: str, content: bytes) -> str:
        """A file of this name for the client; its path."""
        path = f"/{HOST}/{name}"
        self.files[path] = content
        return path

    def tell(self, line: bytes) -> None:
        """Give it a line, without the line end."""
        self._later(lambda: self._desk.take(read_command(line)))

    @property
    def is_running(self) -> bool:
        """Whether it is there: always."""
        return True

    @property
    def status(self) -> int | None:
        """Its exit status: none, while it runs."""
        return None

    def output(self) -> tuple[str, str]:
        """What it would have printed."""
        return "", "".join(f"{line}\n" for process in self.world.processes for line in process.said)

    def unusable(self, sentence: str) -> TargetUnusable:
        """The error that says so."""
        return TargetUnusable(f"target {self.target.name}: {sentence}")

    def processes(self) -> list[int]:
        """Numbers of its processes that are alive, in the place of ids: it has none but the driver."""
        return [1]

    def delays(self) -> dict[int, int]:
        """Nothing keeps it from going on."""
        return {}

    def stop(self) -> None:
        """End it; nothing of it needs to be removed."""

    # -- inside ------------------------------------------------------------------------------------------------------

    def _greet(self) -> None:
        self._on_line(write(Hello(hello="the client of ippkit in virtual time")))

    def _say(self, answer: Answer) -> None:
        self._on_line(write(answer))

    def _open(self, file: str, _: float) -> Connection:
        found = parse(self.files[file], ClientFile, name=file)
        name = f"client-{len(self.world.processes)}"
        config = ClientConfig(session=f"{name}-{self.world.seed:08x}")
        return _Virtual(VirtualClient(self.world, found, name=name, host=HOST, config=config, on_event=self._look))

    def _later(self, act: Callable[[], None]) -> None:
        """Do something at this moment of virtual time, as soon as that goes on."""

        def acted(_: object, __: object) -> None:
            act()
            self._mind_the_time()

        self.world.kernel.after(0, acted)

    def _look(self) -> None:
        self._desk.look()
        self._mind_the_time()

    def _mind_the_time(self) -> None:
        """Look again when something is due, if nothing happens before."""
        due = self._desk.due
        if due is None or due == self._due:
            return
        self._due = due

        def look(_: object, __: object) -> None:
            self._due = None
            self._look()

        self.world.kernel.after(max(0, due - self.world.now), look)


class _Virtual(Connection):
    """A virtual client."""

    def __init__(self, client: VirtualClient) -> None:
        self.client = client
        self.role = client.role

    def now(self) -> int:
        """Nanoseconds of virtual time."""
        return self.client.process.clock()

    def carry_out(self, effects: Sequence[Effect]) -> None:
        """Send, and set timers."""
        self.client.shell.carry_out(effects)

    def load(self, buffers: Sequence[Frame]) -> list[Any]:
        """What the pickles build, without building it."""
        return [trace(bytes(buffer)) for buffer in buffers]

    def close(self) -> None:
        """Close its sockets."""
        self.client.leave()


__all__ = ["VirtualRunningClient"]
