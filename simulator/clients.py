"""Clients in the virtual world: a process with the Client role, and what a scenario asks of it."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final

from protocol.channels import socket_for
from protocol.connection import ClientFile
from protocol.roles.assembly import opening
from protocol.roles.base import Event
from protocol.roles.client import Answer, Client, ClientConfig
from protocol.wire import ReplayMemory
from protocol.world import SECOND, ClusterEngine, Task, Work
from simulator.scripts import written
from simulator.shell import VirtualShell
from simulator.world import World

#: The first buffers of a call, where Python code and a description of its arguments would stand.
_CALL: Final = (b"", b"")
_NOTHING: Final[Mapping[str, Any]] = {}


class VirtualTask:
    """A request of a client, and what has come of it."""

    __slots__ = ("_role", "is_mistaken", "msg_id", "msg_type")

    def __init__(self, role: Client, msg_id: str, msg_type: str, *, is_mistaken: bool = False) -> None:
        self._role = role
        self.msg_id = msg_id
        self.msg_type = msg_type
        self.is_mistaken = is_mistaken

    @property
    def answers(self) -> Sequence[Answer]:
        """The replies so far."""
        return self._role.answers(self.msg_id)

    @property
    def is_done(self) -> bool:
        """Whether the last reply has come."""
        return self.msg_id not in self._role.open

    @property
    def status(self) -> str:
        """`ok`, `error` or `aborted`; of several replies the first that is not `ok`. Empty while nothing has come."""
        found = [answer.status for answer in self.answers]
        return next((status for status in found if status != "ok"), "ok" if found else "")

    @property
    def ename(self) -> str:
        """The name of the first error, or empty."""
        return next((str(one.content.get("ename", "")) for one in self.answers if one.status != "ok"), "")

    @property
    def engine(self) -> str:
        """The uuid of the engine that answered first, or empty."""
        return self.answers[0].engine if self.answers else ""

    @property
    def content(self) -> Mapping[str, Any]:
        """The content of the first reply; empty while nothing has come."""
        return self.answers[0].content if self.answers else {}

    @property
    def count(self) -> int:
        """How many replies have come."""
        return len(self.answers)

    @property
    def output(self) -> str:
        """What it wrote, as far as it was heard."""
        heard = self._role.outputs(self.msg_id)
        return "".join(str(one.content.get("text", "")) for one in heard if one.msg_type == "stream")

    def __repr__(self) -> str:
        return f"<VirtualTask {self.msg_id} {self.status or 'open'}>"


class VirtualClient:
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
        self.name = name
        self.host = host
        self.process = world.process(name, host)
        self.tasks: list[VirtualTask] = []
        self.role = Client(config, world.env(self.process))
        self.shell = VirtualShell(self.role, self.process, file.codec(ReplayMemory()), is_encoded=world.is_encoded)
        if on_event is not None:
            self.shell.listen_in(_nothing, {}, on_event)
        for socket_name, spec in Client.SOCKETS.items():
            end = socket_for(spec.channel, "client", side=spec.side)
            kind, options = opening(end)
            socket = self.process.context.socket(kind, name=f"{self.process.name}/{socket_name}")
            for option, value in options:
                socket.set(option, value)
            socket.connect(file.address(end.address.key))
            self.shell.attach(socket_name, socket)
        self.shell.start()

    @property
    def is_connected(self) -> bool:
        """Whether the Hub has told it the engines."""
        return self.role.connected

    @property
    def engines(self) -> Mapping[int, str]:
        """The engines that it knows: id -> uuid."""
        return dict(sorted(self.role.engines.uuids.items()))

    def submit(
        self,
        work: Work = Work(),  # noqa: B008 - it is frozen
        *,
        after: Iterable[Task] = (),
        follow: Iterable[Task] = (),
        targets: Iterable[ClusterEngine] = (),
        retries: int = 0,
        timeout: int | None = None,
        more: Mapping[str, Any] = _NOTHING,
        mistake: str = "",
    ) -> VirtualTask:
        """Give work to some engine, through the task queue; `timeout` in nanoseconds, `more` is further metadata.

        `mistake` says what is wrong with the request on purpose.
        """
        about: dict[str, Any] = {
            "after": [one.msg_id for one in after],
            "follow": [one.msg_id for one in follow],
            "targets": [one.uuid for one in targets],
            "retries": retries,
            "timeout": None if timeout is None else timeout / SECOND,
        }
        return self._call(
            "task", work, metadata={key: one for key, one in about.items() if one} | dict(more), mistake=mistake
        )

    def apply(self, work: Work, engine: ClusterEngine | str) -> VirtualTask:
        """Give work to one engine, which may be named by its uuid, through MUX."""
        return self._call("mux", work, engine=engine if isinstance(engine, str) else engine.uuid)

    def execute(self, work: Work, engine: ClusterEngine | None = None) -> VirtualTask:
        """Run code on one engine, or on any; its output is published."""
        content = {"code": written(work).decode(), "silent": False, "user_expressions": {}}
        if engine is None:
            return self._request("task", "execute_request", content)
        return self._request("mux", "execute_request", content, engine=engine.uuid)

    def broadcast(
        self, work: Work, targets: Iterable[ClusterEngine] | None = None, *, is_coalescing: bool = False
    ) -> VirtualTask:
        """Give work to many engines, to all that the client knows if none are named."""
        chosen = list(self.role.engines.uuids.values()) if targets is None else [one.uuid for one in targets]
        return self._call("broadcast", work, targets=chosen, coalescing=is_coalescing)

    def control(self, msg_type: str, content: Mapping[str, Any], engine: ClusterEngine) -> VirtualTask:
        """Ask an engine on the control queue."""
        return self.ask("control", msg_type, content, engine)

    def abort(self, tasks: Iterable[Task], engine: ClusterEngine) -> VirtualTask:
        """Abort what is queued at an engine; no tasks: all of it."""
        return self.control("abort_request", {"msg_ids": [task.msg_id for task in tasks]}, engine)

    def ask(
        self, socket: str, msg_type: str, content: Mapping[str, Any], engine: ClusterEngine, *, mistake: str = ""
    ) -> VirtualTask:
        """Ask an engine anything, on `mux` or `control`; `mistake` says what is wrong with it on purpose."""
        return self._request(socket, msg_type, content, engine=engine.uuid, mistake=mistake)

    def wait(self, tasks: Iterable[Task], nanoseconds: int) -> None:
        """Wait for some requests in the background, for so long."""
        now = self.process.clock()
        _, effects = self.role.wait(now, [task.msg_id for task in tasks], now + nanoseconds)
        self.shell.carry_out(effects)

    def query(self, msg_type: str, content: Mapping[str, Any] | None = None) -> VirtualTask:
        """Ask the Hub."""
        return self._request("query", msg_type, content or {})

    def leave(self) -> None:
        """Close its sockets; what comes for it afterwards reaches nobody."""
        self.shell.stop()

    def _call(self, socket: str, work: Work, **more: Any) -> VirtualTask:
        return self._request(socket, "apply_request", {}, buffers=(*_CALL, written(work)), **more)

    def _request(
        self, socket: str, msg_type: str, content: Mapping[str, Any], *, mistake: str = "", **more: Any
    ) -> VirtualTask:
        msg_id, effects = self.role.request(self.process.clock(), socket, msg_type, content, **more)
        if mistake and self.process.recorder is not None:
            self.process.recorder.mistaken(msg_id, mistake)
        self.shell.carry_out(effects)
        task = VirtualTask(self.role, msg_id, msg_type, is_mistaken=bool(mistake))
        self.tasks.append(task)
        return task


def _nothing(_: Event) -> None:
    """What happens is looked at when it is over."""


__all__ = ["VirtualClient", "VirtualTask"]
