"""Somebody who is no engine and no client of ours: raw sockets, and what is sent through them on purpose.

A stranger stands on a `Ground`, in virtual time or not. It can register as an engine and lack what an engine must have,
or send what no peer should: frames that are no message, messages under another key, messages that somebody else has
sent. It may also hold the key and make no sense: requests that cannot be read, answers that answer nothing.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Final, Literal, Protocol

from protocol.channels import socket_for
from protocol.connection import ClientFile, EngineFile
from protocol.damage import Drawn, damage
from protocol.errors import ProtocolError
from protocol.roles.assembly import opening
from protocol.roles.base import Env
from protocol.roles.speech import Voice
from protocol.wire import DELIMITER, Codec, Frame, Message
from protocol.world import Task
from simulator.engines import start_heart
from simulator.hosts import Process
from simulator.shell import VirtualShell, in_bytes
from simulator.sockets.tcp import Session

if TYPE_CHECKING:
    from simulator.cluster import VirtualCluster

#: What an engine that registers lacks: a heart, or its subscription to the pings; the sockets for requests, or the one
#: for control; or it never reads a request; or its answers make no sense.
Lack = Literal["heart", "subscription", "shell", "control", "reading", "sense"]

_OTHER_KEY: Final = b"a key that nobody else has"
#: What only who holds the key can do to a message.
_SIGNED: Final = ("unreadable-value", "strange-value", "broken-part", "not-an-object", "nameless", "wrong-type")
#: The name of a heart that no engine can have.
_NAMELESS: Final = b"\xc3\x28"
#: Is told of each message that makes no sense, before it is sent.
Tell = Callable[[tuple[str, str], tuple[Any, ...]], object]


class Plug(Protocol):
    """One raw socket of a stranger."""

    def send(self, load: Any, /) -> object:
        """Send frames, without waiting."""

    def recv(self) -> Any:
        """The frames that have come next, as a tuple; anything else if there are none."""

    def watch(self, callback: Callable[[], object], /) -> None:
        """Call back when something has come; what to do is to receive until nothing is there."""


class Asker(Protocol):
    """A client, as far as a stranger looks at it."""

    @property
    def open(self) -> Mapping[str, object]:
        """The requests that wait for an answer, by their ids."""

    @property
    def tasks(self) -> Sequence[Task]:
        """All that it asked."""


class Ground(Protocol):
    """Where a stranger stands: what it can see of a cluster, and its sockets. `name` is that of its process."""

    name: str

    @property
    def is_alive(self) -> bool:
        """Whether it has not ended."""

    @property
    def now(self) -> int:
        """Nanoseconds of its clock."""

    @property
    def env(self) -> Env:
        """Its chance, ids and dates."""

    @property
    def files(self) -> tuple[ClientFile, EngineFile]:
        """The connection files that it uses."""

    @property
    def clients(self) -> Sequence[Asker]:
        """The clients of the cluster."""

    @property
    def registered(self) -> Mapping[int, str]:
        """The engines that the Hub names: id -> uuid."""

    def codec(self) -> Codec:
        """A codec with the cluster's key."""

    def open(self, name: str, kind: str, options: Sequence[tuple[str, Any]], address: str) -> Plug:
        """A socket of this type, connected."""

    def beat(self, uuid: str, *, is_deaf: bool = False) -> None:
        """Have a heart for an engine of this name; it beats unless it never subscribes to the pings."""

    def spoke(self, uuid: str, channel: str, message: Message) -> None:
        """Be told that it spoke for an engine that nobody runs."""

    def end(self) -> None:
        """Close everything."""


class VirtualGround:
    """A place in a virtual cluster."""

    def __init__(self, cluster: "VirtualCluster") -> None:
        self._cluster = cluster
        self._world = cluster.world
        self._process = self._world.process("stranger", "stranger")
        self.name = self._process.name
        self.env: Env = self._world.env(self._process)
        self.files = cluster.controller.files()
        self._hearts: list[Process] = []

    @property
    def is_alive(self) -> bool:
        """Whether it has not ended."""
        return self._process.is_alive

    @property
    def now(self) -> int:
        """Nanoseconds of the cluster's clock."""
        return self._world.now

    @property
    def clients(self) -> Sequence[Asker]:
        """The clients of the cluster."""
        return self._cluster.clients

    @property
    def registered(self) -> Mapping[int, str]:
        """The engines that the Hub has."""
        return self._cluster.registered

    @property
    def sessions(self) -> Sequence[Session]:
        """Its connections."""
        return self._process.context.sessions

    def codec(self) -> Codec:
        """A codec with the cluster's key."""
        return self._world.codec()

    def open(self, name: str, kind: str, options: Sequence[tuple[str, Any]], address: str) -> Plug:
        """A virtual socket."""
        socket = self._process.context.socket(kind, f"{self.name}/{name}", tuple(options))
        socket.connect(address)
        return socket

    def beat(self, uuid: str, *, is_deaf: bool = False) -> None:
        """Start a heart whose copies of pings go nowhere: nobody looks whether they stay away."""
        file = self.files[1]
        places = {"ping": file.address("hb_ping"), "pong": file.address("hb_pong")}
        name = f"{uuid}.heart"
        monitor = self._process.context.socket("PULL", name=f"{name}/unheard")
        monitor.bind(f"tcp://{self._process.host}:*")
        places["monitor"] = monitor.last_endpoint
        heart = start_heart(self._world, places, uuid.encode(), name=name, host=self._process.host)
        if is_deaf:
            (shell,) = (each for each in heart.shells if isinstance(each, VirtualShell))
            shell.sockets["ping"].set("UNSUBSCRIBE", b"")
        self._hearts.append(heart)
        if self._world.recorder is not None:
            self._world.recorder.stands_for(heart.name, uuid)

    def spoke(self, uuid: str, channel: str, message: Message) -> None:
        """Tell the recorder."""
        if self._world.recorder is not None:
            self._world.recorder.spoke(uuid, channel, message)

    def end(self) -> None:
        """End its process and its hearts."""
        for heart in self._hearts:
            heart.crash()
        self._process.crash()


class Stranger:
    """One stranger to a cluster. `leave` ends it, with whatever it has opened."""

    #: The channels on which a client sends.
    CHANNELS: ClassVar[tuple[str, ...]] = ("query", "mux", "task", "control", "broadcast")

    def __init__(self, ground: Ground) -> None:
        self.ground = ground
        self._client, self._engine = ground.files
        self._voice = Voice(ground.env, ground.name)
        self._codec = ground.codec()
        self._sockets: dict[str, Plug] = {}
        self._count = 0
        #: Is told of every answer to what it has sent in the place of a client.
        self.on_answer: Tell | None = None

    def register(self, lacks: Lack) -> str:
        """Register as one more engine that lacks something; its uuid."""
        self._count += 1
        uuid = f"{self.ground.name}.{self._count}"
        query = self._open("query", "engine", self._engine.address("registration"), uuid)
        request = self._voice.say(self.ground.now, "registration_request", {"uuid": uuid, "id": None})
        query.send(tuple(self._codec.encode(request)))
        self.ground.spoke(uuid, "query", request)
        if lacks != "heart":
            self.ground.beat(uuid, is_deaf=lacks == "subscription")
        if lacks in ("control", "reading"):
            self._open("mux", "engine", self._engine.address("mux"), uuid)
            self._open("task", "engine", self._engine.address("task"), uuid)
        if lacks == "reading":
            self._open("control", "engine", self._engine.address("control"), uuid)
        return uuid

    def answer_nonsense(self, uuid: str, chance: Callable[[], float], tell: Tell) -> None:
        """Answer whatever this engine is asked from now on with what answers nothing."""
        leaves = self._engine.addresses("broadcast")
        places = [("mux", self._engine.address("mux")), ("task", self._engine.address("task"))]
        for channel, address in (*places, *(("broadcast", leaf) for leaf in leaves)):
            socket = self._open(channel, "engine", address, uuid)
            socket.watch(self._answering(socket, uuid, chance, tell))

    def _answering(self, socket: Plug, uuid: str, chance: Callable[[], float], tell: Tell) -> Callable[[], None]:
        def answer() -> None:
            while type(load := socket.recv()) is tuple:
                try:
                    request = self._codec.open(in_bytes(load, self._codec))
                except ProtocolError:
                    continue
                about = {"status": "ok", "engine": uuid}
                reply = self._voice.answer(self.ground.now, request, {"status": "ok"}, metadata=about)
                tell((f"{uuid}/shell", ""), (reply,))
                frames = self._codec.encode(reply)
                kind = _SIGNED[int(chance() * len(_SIGNED))]
                broken = damage(kind, self._codec, frames, Drawn(chance)).frames
                self._tell_read(f"{uuid}/shell", broken, tell)
                other = self._voice.say(self.ground.now, "apply_reply", {"status": "ok"}, identities=request.identities)
                tell((f"{uuid}/shell", ""), (other,))
                foreign = other.replace(parent_header={"msg_id": self._other_call(chance)})
                *envelope, _, header, parent, _, content = frames
                parts = [header, parent, b"[]", content]
                listed = [*envelope, self._codec.sign(b"".join(parts)), *parts]
                choice = (broken, listed, self._codec.encode(other), self._codec.encode(foreign))
                socket.send(tuple(choice[int(chance() * len(choice))]))

        return answer

    def _tell_read(self, socket: str, frames: Sequence[Frame], tell: Tell) -> None:
        """Tell of a message as it will be read, if it will: under another id, perhaps."""
        try:
            message = self._client.codec().open_header(frames)
        except ProtocolError:
            return
        tell((socket, ""), (message,))

    def _other_call(self, chance: Callable[[], float]) -> str:
        """Something that a client has asked somebody else."""
        asked = [msg_id for client in self.ground.clients for msg_id in client.open]
        return asked[int(chance() * len(asked))] if asked else "nothing"

    def beat_oddly(self) -> None:
        """Answer pings under a name that no engine has, and with frames too many."""
        ping = self._open("heartbeat-ping", "heart", self._engine.address("hb_ping"))
        pong = self._open("heartbeat-pong", "heart", self._engine.address("hb_pong"), identity=_NAMELESS)

        def answer() -> None:
            while type(load := ping.recv()) is tuple:
                pong.send(load)
                pong.send((*load, b""))

        ping.watch(answer)
        # Who never found a socket empty is not told when something comes.
        answer()

    def send(self, channel: str, frames: Sequence[Frame]) -> None:
        """Send frames on one of the channels of a client."""
        if not self.ground.is_alive:
            return
        socket = self._sockets.get(channel)
        if socket is None:
            key = "registration" if channel == "query" else channel
            socket = self._sockets[channel] = self._open(channel, "client", self._client.address(key))
            if self.on_answer is not None:
                socket.watch(self._reading(channel, socket, self.on_answer))
        socket.send(tuple(frames))

    def _reading(self, channel: str, socket: Plug, tell: Tell) -> Callable[[], None]:
        """Tell of every answer that comes here."""

        def read() -> None:
            while type(load := socket.recv()) is tuple:
                self._tell_read(f"{self.ground.name}/{channel}", in_bytes(load, self._codec), tell)

        read()
        return read

    def send_garbage(self, chance: Callable[[], float]) -> None:
        """Send something that no receiver may act upon, on some channel."""
        channel = self.CHANNELS[int(chance() * len(self.CHANNELS))]
        noise = bytes(int(chance() * 256) for _ in range(int(chance() * 64)))
        asks = "connection_request" if channel == "query" else "apply_request"
        request = self._voice.say(self.ground.now, asks, {})
        forged: list[Any] = Codec(_OTHER_KEY).encode(request)
        choice: list[Sequence[Any]] = [
            (noise,), (b"", b""), (DELIMITER,), (DELIMITER, noise, b"{}"), (b"engine-1", *forged), forged,
            (b"engine-1", DELIMITER, b"", b"{}", b"{}", b"{}", b"{}"),
        ]  # fmt: skip
        self.send(channel, choice[int(chance() * len(choice))])

    def send_nonsense(self, chance: Callable[[], float], tell: Tell) -> None:
        """Send a request under the key that nobody can act upon, or that should not be there."""
        channel = self.CHANNELS[int(chance() * len(self.CHANNELS))]
        request = self._request(channel)
        choice = int(chance() * 5)
        if choice == 0:
            tell((f"{self.ground.name}/{channel}", ""), (request,))
            kind = _SIGNED[int(chance() * len(_SIGNED))]
            frames = damage(kind, self._codec, self._codec.encode(request), Drawn(chance)).frames or (b"",)
            self._tell_read(f"{self.ground.name}/{channel}", frames, tell)
            self.send(channel, frames)
            return
        if choice == 1:
            request = request.replace(header=request.header | {"msg_type": ("dance_request", "apply")[chance() < 0.5]})
        elif choice == 2:
            request = request.replace(identities=())
        elif choice == 3 and channel == "task":
            # Of somebody else, who has had the answer.
            done = [task.msg_id for client in self.ground.clients for task in client.tasks if task.is_done]
            taken = done[int(chance() * len(done))] if done else request.msg_id
            request = request.replace(header=request.header | {"msg_id": taken})
        self._say(channel, request, tell)
        if choice == 4:
            self._say(channel, request.replace(header=request.header | {"date": None}), tell)

    def _request(self, channel: str) -> Message:
        """A request as a client would make it."""
        uuid, number = next(((uuid, number) for number, uuid in self.ground.registered.items()), ("engine-1", 0))
        identities = (uuid.encode(),) if channel in ("mux", "control") else ()
        asks = {"query": "connection_request", "control": "clear_request"}.get(channel, "apply_request")
        metadata = (
            {"targets": [[uuid, number]], "is_broadcast": True, "is_coalescing": False}
            if channel == "broadcast"
            else {}
        )
        return self._voice.say(self.ground.now, asks, {}, metadata=metadata, buffers=(b"", b""), identities=identities)

    def _say(self, channel: str, request: Message, tell: Tell) -> None:
        tell((f"{self.ground.name}/{channel}", ""), (request,))
        self.send(channel, self._codec.encode(request))

    def leave(self) -> None:
        """Be gone."""
        self.ground.end()

    def _open(self, channel: str, role: str, address: str, identity: str | bytes = b"") -> Plug:
        end = socket_for(channel, role)
        name = identity.encode() if isinstance(identity, str) else identity
        kind, options = opening(end, name if end.identity.rule != "none" else b"")
        return self.ground.open(channel, kind, options, address)


__all__ = ["Ground", "Lack", "Plug", "Stranger", "VirtualGround"]
