"""A small client: synchronous, on the Client role.

    with Client.from_dir(directory) as client:
        client.wait_for_engines(2)
        client.apply(os.getpid, engine=0).get()             # on one engine, through MUX
        client.submit(math.factorial, 5, retries=2).get()   # on any engine, through the task queue
        client.execute("print(1 + 1)", engine=0).output("stdout")
        client.broadcast(os.getpid).values()                # on all

Nothing runs in the background: whatever arrives is taken in while somebody waits. Times are seconds.
"""

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

import zmq

from conformance.files import read_connection_file
from conformance.reference import objects
from conformance.reference.env import Log, RealEnv, new_id
from conformance.reference.shell import Loop, Shell
from conformance.reference.sockets import Curve, here, make
from protocol.channels import socket_for
from protocol.connection import ClientFile
from protocol.roles import client as machine
from protocol.roles.base import Effect
from protocol.wire import Codec, Frame, ReplayMemory
from protocol.world import SECOND

#: Seconds that anything may take if nobody says otherwise.
PATIENCE: Final = 60.0
#: Milliseconds that requests get to leave the process when the client is closed.
LINGER: Final = 1000
CLIENT_FILE: Final = "ipcontroller-client.json"


#: Nanoseconds after which it asks again which engines there are: a notification may have been lost.
REFRESH: Final = 10 * SECOND


class ClientError(Exception):
    """A request did not end as it should; the text says how."""


class Silence(ClientError):
    """No reply came in time; the text says whose."""


class RemoteError(ClientError):
    """The other side answered with an error."""

    def __init__(self, answer: machine.Answer) -> None:
        content = answer.content
        self.answer = answer
        self.status = answer.status
        self.ename = str(content.get("ename", ""))
        self.evalue = str(content.get("evalue", ""))
        self.traceback = [str(line) for line in content.get("traceback") or ()]
        where = f" on engine {answer.engine}" if answer.engine else ""
        super().__init__(f"{self.ename}: {self.evalue}{where}" if self.ename else f"{answer.status}{where}")


class Result:
    """What becomes of a request. `msg_id` is what the Hub knows it by."""

    def __init__(self, client: "Client", msg_id: str, *, is_call: bool) -> None:
        self.msg_id = msg_id
        self._client = client
        self._is_call = is_call

    @property
    def is_done(self) -> bool:
        """Whether the last reply has come; looks at what has arrived, without waiting."""
        self._client.pump(0.0)
        return self._client.role_has_ended(self.msg_id)

    def answers(self, timeout: float = PATIENCE) -> Sequence[machine.Answer]:
        """The replies, of whatever status. Raises Silence."""
        self._client.wait([self], timeout)
        return self._client.machine.answers(self.msg_id)

    def content(self, timeout: float = PATIENCE) -> dict[str, Any]:
        """The content of the only reply. Raises Silence, and RemoteError for an error."""
        (answer,) = self.answers(timeout)
        if answer.status != "ok":
            raise RemoteError(answer)
        return answer.content

    def get(self, timeout: float = PATIENCE) -> Any:
        """What a call returned, or the content of another reply. Raises Silence, and RemoteError for an error."""
        content = self.content(timeout)
        return self.values(timeout)[0] if self._is_call else content

    def values(self, timeout: float = PATIENCE) -> list[Any]:
        """What the calls of a broadcast returned, by engine id. Raises as `get`, with the first error."""
        answers = self.answers(timeout)
        for answer in answers:
            if answer.status != "ok":
                raise RemoteError(answer)
        numbers = {uuid: number for number, uuid in self._client.engines.items()}
        found: list[tuple[int, Any]] = []
        for answer in answers:
            # A coalesced reply has the values of many, and says whose they are.
            targets = answer.metadata.get("broadcast_targets") or [(answer.engine, numbers.get(answer.engine, -1))]
            found += zip([number for _, number in targets], objects.unpack_values(answer.buffers), strict=True)
        return [value for _, value in sorted(found, key=lambda pair: pair[0])]

    def output(self, name: str, timeout: float = PATIENCE) -> str:
        """What the code wrote to a stream, until it was idle again. Raises Silence."""
        self.answers(timeout)

        def is_idle() -> bool:
            return any(one.content.get("execution_state") == "idle" for one in self._published())

        if not self._client.run(is_idle, timeout):
            raise Silence(f"the output of {self.msg_id} had no end within {timeout:g} s")
        return "".join(
            str(one.content.get("text", ""))
            for one in self._published()
            if one.msg_type == "stream" and one.content.get("name") == name
        )

    def displayed(self) -> list[dict[str, Any]]:
        """The data of everything that was displayed, results included, as far as it has arrived."""
        kinds = ("execute_result", "display_data")
        return [one.content["data"] for one in self._published() if one.msg_type in kinds and "data" in one.content]

    def _published(self) -> Sequence[machine.Published]:
        return self._client.machine.outputs(self.msg_id)


class Client:
    """A client of one controller. Raises ClientError if the Hub does not answer within `timeout` seconds."""

    def __init__(self, file: ClientFile, *, timeout: float = PATIENCE) -> None:
        session = new_id()
        self.machine = machine.Client(machine.ClientConfig(session=session, refresh=REFRESH), RealEnv(session))
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        curve = Curve(file.curve_serverkey.encode()) if file.curve_serverkey else None
        sockets = {}
        for name, spec in self.machine.SOCKETS.items():
            end = socket_for(spec.channel, "client", side=spec.side)
            sockets[name] = make(self._context, end, curve=curve)
            sockets[name].connect(file.address(end.address.key, here=here()))
        self._shell = Shell(self.machine, sockets, file.codec(ReplayMemory()), log=Log("client"))
        self._loop = Loop()
        self._loop.add(self._shell)
        self._shell.start()
        if not self.run(lambda: self.machine.connected, timeout):
            self.close()
            raise Silence(f"the hub did not answer within {timeout:g} s")

    @classmethod
    def from_file(cls, path: Path, *, timeout: float = PATIENCE) -> Self:
        """A client of the controller with this connection file. Raises ConnectionFileError."""
        return cls(read_connection_file(path, ClientFile), timeout=timeout)

    @classmethod
    def from_dir(cls, directory: Path, *, timeout: float = PATIENCE) -> Self:
        """A client of the controller that runs in this directory. Raises ConnectionFileError."""
        return cls.from_file(directory / CLIENT_FILE, timeout=timeout)

    @property
    def codec(self) -> Codec:
        """The codec with the cluster's key."""
        return self._shell.codec

    # -- the engines -------------------------------------------------------------------------------------------------

    @property
    def engines(self) -> dict[int, str]:
        """The engines by number, with their uuids."""
        self.pump(0.0)
        return dict(sorted(self.machine.engines.uuids.items()))

    def wait_for_engines(self, count: int, timeout: float = PATIENCE) -> None:
        """Wait until there are so many engines at least. Raises Silence."""
        if not self.run(lambda: len(self.machine.engines.uuids) >= count, timeout):
            there = len(self.machine.engines.uuids)
            found = f"only {there} of {count} engines are there" if there else "no engine is there"
            raise Silence(f"{found} after {timeout:g} s")

    # -- code --------------------------------------------------------------------------------------------------------

    def apply(self, function: Callable[..., Any], *args: Any, engine: int | str, **keywords: Any) -> Result:
        """Call a function on one engine. Functions are pickled by reference."""
        return self._call("mux", function, args, keywords, engine=engine)

    def submit(
        self,
        function: Callable[..., Any],
        *args: Any,
        after: Iterable[Result] = (),
        follow: Iterable[Result] = (),
        targets: Iterable[int | str] = (),
        retries: int = 0,
        timeout: float | None = None,
        **keywords: Any,
    ) -> Result:
        """Call a function on some engine; `timeout` is how long the task may wait for one, in seconds."""
        about: dict[str, Any] = {
            "after": [one.msg_id for one in after],
            "follow": [one.msg_id for one in follow],
            "targets": [self.uuid(target) for target in targets],
            "retries": retries,
            "timeout": timeout,
        }
        return self._call("task", function, args, keywords, metadata={key: one for key, one in about.items() if one})

    def broadcast(
        self,
        function: Callable[..., Any],
        *args: Any,
        targets: Iterable[int | str] | None = None,
        is_coalescing: bool = False,
        **keywords: Any,
    ) -> Result:
        """Call a function on many engines, all if no targets are given."""
        chosen = list(self.engines) if targets is None else list(targets)
        return self._call("broadcast", function, args, keywords, targets=chosen, coalescing=is_coalescing)

    def execute(self, code: str, *, engine: int | str | None = None, is_silent: bool = False) -> Result:
        """Run code as text on one engine, or on any."""
        content = {"code": code, "silent": is_silent, "user_expressions": {}}
        if engine is None:
            return self.request("task", "execute_request", content)
        return self.request("mux", "execute_request", content, engine=engine)

    def control(self, msg_type: str, content: Mapping[str, Any], *, engine: int | str) -> Result:
        """Ask an engine on its control channel: `clear_request`, `abort_request`, `signal_request`, ..."""
        return self.request("control", msg_type, content, engine=engine)

    def abort(self, results: Iterable[Result], *, engine: int | str) -> None:
        """Abort requests that are queued at an engine; no results: all of them."""
        msg_ids = [result.msg_id for result in results]
        self.control("abort_request", {"msg_ids": msg_ids}, engine=engine).get()

    def shutdown(self, engine: int | str) -> None:
        """End an engine."""
        self.control("shutdown_request", {"restart": False}, engine=engine).get()

    # -- the Hub -----------------------------------------------------------------------------------------------------

    def ask(self, msg_type: str, content: Mapping[str, Any] | None = None) -> Result:
        """Ask the Hub anything."""
        return self.request("query", msg_type, content)

    def shutdown_controller(self) -> None:
        """End the controller; its engines live on."""
        self.ask("shutdown_request", {}).get()

    # -- requests and waits ------------------------------------------------------------------------------------------

    def request(
        self,
        socket: str,
        msg_type: str,
        content: Mapping[str, Any] | None = None,
        *,
        is_call: bool = False,
        **more: Any,
    ) -> Result:
        """Send a request; `more` are the keyword arguments of `protocol.roles.client.Client.request`."""
        # The latest notifications decide whether an engine is there.
        self.pump(0.0)
        msg_id, effects = self.machine.request(self._shell.clock(), socket, msg_type, content, **more)
        self.carry_out(effects)
        return Result(self, msg_id, is_call=is_call)

    def wait(self, results: Iterable[Result], timeout: float = PATIENCE) -> None:
        """Wait until all are done. Raises Silence, which names who did not answer."""
        now = self._shell.clock()
        number, effects = self.machine.wait(now, [result.msg_id for result in results], now + _nanoseconds(timeout))
        self.carry_out(effects)
        ended: list[machine.Ended] = []

        def is_over() -> bool:
            found = self.machine.outcome(number)
            if found is not None:
                ended.append(found)
            return bool(ended)

        # The machine has the deadline; the second one is for a machine that never answers.
        self.run(is_over, timeout + 5.0)
        if not ended or ended[0].silent:
            silent = "; ".join(f"from {who} to {msg_id}" for msg_id, who in (ended[0].silent if ended else ()))
            raise Silence(f"no reply within {timeout:g} s {silent}")

    def role_has_ended(self, msg_id: str) -> bool:
        """Whether a request is over."""
        return msg_id not in self.machine.open

    def forget(self, result: Result) -> None:
        """Keep nothing more of a request."""
        self.machine.forget(result.msg_id)

    def uuid(self, engine: int | str) -> str:
        """The uuid of an engine, by its number or uuid. Raises ClientError if there is none."""
        found = self.machine.engines.find(engine)
        if found is None:
            raise ClientError(f"there is no engine {engine!r}")
        return found[0]

    def run(self, until: Callable[[], bool], timeout: float) -> bool:
        """Take in what arrives until something holds; whether it did in time."""
        self._loop.run(until, time.monotonic_ns() + _nanoseconds(timeout))
        return until()

    def watch(self, descriptor: int, callback: Callable[[], None]) -> None:
        """Call back whenever a file descriptor is readable while somebody waits."""
        self._loop.watch(descriptor, callback)

    def carry_out(self, effects: Sequence[Effect]) -> None:
        """Do what the machine decided when somebody asked it for something."""
        self._shell.carry_out(effects)

    def pump(self, timeout: float) -> None:
        """Take in what has arrived."""
        self._loop.turn(round(timeout * 1000))

    def close(self) -> None:
        """Close all sockets. May be called twice."""
        self._loop.close(LINGER)
        self._context.term()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def _call(
        self,
        socket: str,
        function: Callable[..., Any],
        args: Sequence[Any],
        keywords: Mapping[str, Any],
        **more: Any,
    ) -> Result:
        buffers: list[Frame] = objects.pack(function, args, keywords)
        return self.request(socket, "apply_request", is_call=True, buffers=buffers, **more)


def _nanoseconds(seconds: float) -> int:
    return round(seconds * SECOND)


__all__ = ["Client", "ClientError", "RemoteError", "Result", "Silence"]
