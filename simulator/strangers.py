"""Somebody who is no engine and no client of ours: raw sockets, and what is sent through them on purpose.

A stranger has a host and a process of its own. It can register as an engine and lack what an engine must have, or send
what no peer should: frames that are no message, messages under another key, messages that somebody else has sent.
"""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Final, Literal

from protocol.channels import socket_for
from protocol.roles.assembly import opening
from protocol.roles.speech import Voice
from protocol.wire import DELIMITER, Codec
from simulator.engines import start_heart
from simulator.hosts import Process
from simulator.sockets import Socket

if TYPE_CHECKING:
    from simulator.cluster import VirtualCluster

#: What an engine that registers lacks: a heart; the socket for requests, or for control; or it never reads a request.
Lack = Literal["heart", "shell", "control", "reading"]

_OTHER_KEY: Final = b"a key that nobody else has"


class Stranger:
    """One stranger to a cluster. `leave` ends it, with whatever it has opened."""

    #: The channels on which a client sends.
    CHANNELS: ClassVar[tuple[str, ...]] = ("query", "mux", "task", "control", "broadcast")

    def __init__(self, cluster: "VirtualCluster") -> None:
        self.cluster = cluster
        self.world = cluster.world
        self.process = self.world.process("stranger", "stranger")
        env = self.world.env(self.process)
        self._client, self._engine = cluster.controller.files()
        self._voice = Voice(env, self.process.name)
        self._codec = self.world.codec()
        self._sockets: dict[str, Socket] = {}
        self._hearts: list[Process] = []
        self._count = 0

    def register(self, lacks: Lack) -> str:
        """Register as one more engine that lacks something; its uuid."""
        self._count += 1
        uuid = f"{self.process.name}.{self._count}"
        query = self._open("query", "engine", self._engine.address("registration"), uuid)
        request = self._voice.say(self.world.now, "registration_request", {"uuid": uuid, "id": None})
        query.send(tuple(self._codec.encode(request)))
        if self.world.recorder is not None:
            self.world.recorder.spoke(uuid, "query", request)
        if lacks != "heart":
            # What would tell it that its pings stay away goes nowhere.
            places = {"ping": self._engine.address("hb_ping"), "pong": self._engine.address("hb_pong")}
            name = f"{uuid}.heart"
            monitor = self.process.context.socket("PULL", name=f"{name}/unheard")
            monitor.bind(f"tcp://{self.process.host}:*")
            places["monitor"] = monitor.last_endpoint
            heart = start_heart(self.world, places, uuid.encode(), name=name, host=self.process.host)
            self._hearts.append(heart)
        if lacks in ("control", "reading"):
            self._open("mux", "engine", self._engine.address("mux"), uuid)
            self._open("task", "engine", self._engine.address("task"), uuid)
        if lacks == "reading":
            self._open("control", "engine", self._engine.address("control"), uuid)
        return uuid

    def send(self, channel: str, frames: Sequence[bytes]) -> None:
        """Send frames on one of the channels of a client."""
        if not self.process.is_alive:
            return
        socket = self._sockets.get(channel)
        if socket is None:
            key = "registration" if channel == "query" else channel
            socket = self._sockets[channel] = self._open(channel, "client", self._client.address(key))
        socket.send(tuple(frames))

    def send_garbage(self, chance: Callable[[], float]) -> None:
        """Send something that no receiver may act upon, on some channel."""
        channel = self.CHANNELS[int(chance() * len(self.CHANNELS))]
        noise = bytes(int(chance() * 256) for _ in range(int(chance() * 64)))
        asks = "connection_request" if channel == "query" else "apply_request"
        request = self._voice.say(self.world.now, asks, {})
        forged: list[Any] = Codec(_OTHER_KEY).encode(request)
        choice: list[Sequence[Any]] = [
            (noise,), (b"", b""), (DELIMITER,), (DELIMITER, noise, b"{}"), (b"engine-1", *forged), forged,
            (b"engine-1", DELIMITER, b"", b"{}", b"{}", b"{}", b"{}"),
        ]  # fmt: skip
        self.send(channel, choice[int(chance() * len(choice))])

    def leave(self) -> None:
        """Be gone."""
        for heart in self._hearts:
            heart.crash()
        self.process.crash()

    def _open(self, channel: str, role: str, address: str, identity: str = "") -> Socket:
        end = socket_for(channel, role)
        kind, options = opening(end, identity.encode() if end.identity.rule != "none" else b"")
        socket = self.process.context.socket(kind, name=f"{self.process.name}/{channel}")
        for option, value in options:
            socket.set(option, value)
        socket.connect(address)
        return socket


__all__ = ["Lack", "Stranger"]
