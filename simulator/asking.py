"""What a scenario asks of a client, and what has come of it: requests of the Client role, whatever sockets it has.

How work is written where code would stand differs from world to world: a virtual engine reads another language than a
real one.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from protocol.roles.base import Effect
from protocol.roles.client import Answer, Client
from protocol.roles.client.tables import Request
from protocol.wire import Frame
from protocol.world import SECOND, ClusterEngine, Task, Work

_NOTHING: Final[Mapping[str, Any]] = {}


class Asked:
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
        return f"<{type(self).__name__} {self.msg_id} {self.status or 'open'}>"


class Asking(ABC):
    """A client as scenarios see it; see `protocol.world.ClusterClient`. Whoever makes it into one gives it a world."""

    def __init__(self, name: str, role: Client) -> None:
        self.name = name
        self.role = role
        self.tasks: list[Asked] = []

    # -- the world ---------------------------------------------------------------------------------------------------

    @property
    @abstractmethod
    def now(self) -> int:
        """Nanoseconds of the clock by which the role lives."""

    @abstractmethod
    def carry_out(self, effects: Sequence[Effect]) -> None:
        """Do what the role decided."""

    @abstractmethod
    def code(self, work: Work) -> str:
        """The code that does some work."""

    @abstractmethod
    def call(self, work: Work) -> Sequence[Frame]:
        """The buffers of a call that does some work."""

    @abstractmethod
    def mistaken(self, msg_id: str, mistake: str) -> None:
        """Be told that a request is wrong on purpose, before it is sent."""

    # -- the client --------------------------------------------------------------------------------------------------

    @property
    def is_connected(self) -> bool:
        """Whether the Hub has told it the engines."""
        return self.role.connected

    @property
    def open(self) -> Mapping[str, Request]:
        """The requests that wait for an answer, by their ids."""
        return self.role.open

    def silent(self, msg_id: str) -> str:
        """On whom a request waits."""
        return self.role.silent(msg_id)

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
    ) -> Asked:
        """Give work to some engine, through the task queue; `timeout` in nanoseconds, `more` is further metadata.

        `mistake` says what is wrong with the request on purpose.
        """
        about: dict[str, Any] = {
            "after": [one.msg_id for one in after],
            "follow": [one.msg_id for one in follow],
            "targets": [one.uuid for one in targets],
            "retries": retries,
            "timeout": None if timeout is None else self.lasting(timeout) / SECOND,
        }
        return self._call(
            "task", work, metadata={key: one for key, one in about.items() if one} | dict(more), mistake=mistake
        )

    def lasting(self, nanoseconds: int) -> int:
        """How long something takes here of which a scenario says that it takes so long."""
        return nanoseconds

    def apply(self, work: Work, engine: ClusterEngine | str) -> Asked:
        """Give work to one engine, which may be named by its uuid, through MUX."""
        return self._call("mux", work, engine=engine if isinstance(engine, str) else engine.uuid)

    def execute(self, work: Work, engine: ClusterEngine | None = None) -> Asked:
        """Run code on one engine, or on any; its output is published."""
        content = {"code": self.code(work), "silent": False, "user_expressions": {}}
        if engine is None:
            return self.request("task", "execute_request", content)
        return self.request("mux", "execute_request", content, engine=engine.uuid)

    def broadcast(
        self, work: Work, targets: Iterable[ClusterEngine] | None = None, *, is_coalescing: bool = False
    ) -> Asked:
        """Give work to many engines, to all that the client knows if none are named."""
        chosen = list(self.role.engines.uuids.values()) if targets is None else [one.uuid for one in targets]
        return self._call("broadcast", work, targets=chosen, coalescing=is_coalescing)

    def control(self, msg_type: str, content: Mapping[str, Any], engine: ClusterEngine) -> Asked:
        """Ask an engine on the control queue."""
        return self.ask("control", msg_type, content, engine)

    def abort(self, tasks: Iterable[Task], engine: ClusterEngine) -> Asked:
        """Abort what is queued at an engine; no tasks: all of it."""
        return self.control("abort_request", {"msg_ids": [task.msg_id for task in tasks]}, engine)

    def ask(
        self, socket: str, msg_type: str, content: Mapping[str, Any], engine: ClusterEngine, *, mistake: str = ""
    ) -> Asked:
        """Ask an engine anything, on `mux` or `control`; `mistake` says what is wrong with it on purpose."""
        return self.request(socket, msg_type, content, engine=engine.uuid, mistake=mistake)

    def wait(self, tasks: Iterable[Task], nanoseconds: int) -> None:
        """Wait for some requests in the background, for so long."""
        now = self.now
        _, effects = self.role.wait(now, [task.msg_id for task in tasks], now + self.lasting(nanoseconds))
        self.carry_out(effects)

    def query(self, msg_type: str, content: Mapping[str, Any] | None = None) -> Asked:
        """Ask the Hub."""
        return self.request("query", msg_type, content or {})

    @abstractmethod
    def leave(self) -> None:
        """Close its sockets; what comes for it afterwards reaches nobody."""

    def _call(self, socket: str, work: Work, **more: Any) -> Asked:
        return self.request(socket, "apply_request", {}, buffers=self.call(work), **more)

    def request(
        self, socket: str, msg_type: str, content: Mapping[str, Any], *, mistake: str = "", **more: Any
    ) -> Asked:
        """Send any request; `more` are the keyword arguments of `protocol.roles.client.Client.request`."""
        msg_id, effects = self.role.request(self.now, socket, msg_type, content, **more)
        if mistake:
            self.mistaken(msg_id, mistake)
        self.carry_out(effects)
        task = Asked(self.role, msg_id, msg_type, is_mistaken=bool(mistake))
        self.tasks.append(task)
        return task


__all__ = ["Asked", "Asking"]
