"""The other side of an engine: a world in which the kit is the controller and binds whatever an engine connects to.

The sockets, their types, identities and options come from the table of channels. Every port is one that was found free,
and `file` tells them all: it is what the engine is started with.
"""

import secrets
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any, Final, NamedTuple, TypeVar

from conformance.harness.observing import Observer, RawSocket
from conformance.harness.pump import Pump, RealSocket
from conformance.harness.virtualworld import HOST, VirtualPump, VirtualSocket
from conformance.relay.relay import Relay
from protocol.channels import socket_for
from protocol.connection import EngineFile
from protocol.patterns import DEFAULT_DIALECT, Dialect
from protocol.wire import Codec
from simulator.world import World

PARTY: Final = "controller"
INTERFACE: Final = "tcp://127.0.0.1"
#: The leaves of a broadcast tree of depth 1.
LEAVES: Final = 2
#: A connection file that says nothing unusual.
USUAL: Final[Mapping[str, object]] = MappingProxyType({})
#: Every channel whose engine side one socket of the controller holds, and the role that holds it.
_ENDS: Final = {
    "query": "hub",
    "heartbeat-ping": "heart-monitor",
    "heartbeat-pong": "heart-monitor",
    "mux": "mux-relay",
    "task": "task-scheduler",
    "control": "control-relay",
    "iopub": "iopub-relay",
}

#: The types of sockets that tell an identity, be it that none is set.
_NAMED: Final = frozenset({"REQ", "DEALER", "ROUTER"})

S = TypeVar("S", bound=RawSocket)


class Contact(NamedTuple):
    """A socket that is connected to one of ours: its channel, type and identity (None for types without one)."""

    channel: str
    socket_type: str
    identity: bytes | None


class Bound(Observer[S]):
    """All sockets of a controller that engines meet. `leaves` are those of the broadcast tree.

    It is what a pump also is that plays a controller: `bind_all` is called once, when the pump is made.
    """

    sockets: dict[str, S]
    leaves: list[S]
    file: EngineFile

    @abstractmethod
    def contacts(self) -> list[Contact]:
        """The sockets of others that are connected to ours, as far as their handshake has come."""

    def bind_all(self, words: Mapping[str, Any], said: Mapping[str, object]) -> None:
        """Bind every socket to any port; `words` and what else was `said` are the rest of the connection file."""
        self._interface = words["interface"]
        self.sockets, self.leaves = {}, []
        ports, leaves = self._bind({}, [0] * LEAVES)
        unknown = {key: value for key, value in said.items() if key not in words}
        self.file = EngineFile(**words, **ports, broadcast=leaves, extra=unknown)

    def restart(self) -> None:
        """Close every socket, as a controller does that dies, and bind new ones to the same ports."""
        for socket in (*self.sockets.values(), *self.leaves):
            socket.close()
        self._bind({key: getattr(self.file, key) for key in self.file.ports if key != "broadcast"}, self.file.broadcast)

    def _bind(self, ports: Mapping[str, int], leaves: Sequence[int]) -> tuple[dict[str, Any], list[int]]:
        """Bind every socket to the port under its key of the connection file, or to any; the ports."""
        found: dict[str, Any] = {}
        for channel, role in _ENDS.items():
            plan = socket_for(channel, role, self.dialect, side="" if role in ("hub", "heart-monitor") else "engine")
            key = plan.address.key
            identity = plan.identity.value.encode() if plan.identity.rule == "fixed" else b""
            self.sockets[channel], found[key] = self.bind(
                plan.socket, self._interface, channel=channel, party=PARTY, identity=identity, options=plan.options,
                port=ports.get(key, 0),
            )  # fmt: skip
        leaf = socket_for("broadcast", "broadcast-scheduler", self.dialect, side="engine")
        bound = [
            self.bind(leaf.socket, self._interface, channel="broadcast", party=PARTY,
                      identity=b"sub_scheduler_0%d" % number, port=port)
            for number, port in enumerate(leaves)
        ]  # fmt: skip
        self.leaves = [socket for socket, _ in bound]
        return found, [port for _, port in bound]


class ControllerSide(Pump, Bound[RealSocket]):
    """On real sockets. `said` gives keys of the connection file other values, or adds keys that nobody knows.

    If it `is_relayed`, a relay lies between it and the engine, and sees what sits at the other end. `told` is the file
    that an engine is started with.
    """

    def __init__(
        self, said: Mapping[str, object] = USUAL, *, dialect: Dialect = DEFAULT_DIALECT, is_relayed: bool = False
    ) -> None:
        words = usual(said, secrets.token_hex(16), INTERFACE, "localhost")
        super().__init__(codec_of(words), dialect=dialect)
        self.bind_all(words, said)
        self._relay = Relay() if is_relayed else None
        self.told = self.file if self._relay is None else self._relay.copy("engine", self.file)

    def contacts(self) -> list[Contact]:
        """The sockets of others that are connected to ours. Only one that is relayed can tell."""
        assert self._relay is not None
        return [
            Contact(link.channel, link.near.socket_type, link.near.identity)
            for link in self._relay.links.values()
            if not link.closed_by and link.near.socket_type
        ]

    def close(self) -> None:
        """Close every socket, and the relay. May be called twice."""
        super().close()
        if self._relay is not None:
            self._relay.close()


class VirtualControllerSide(VirtualPump, Bound[VirtualSocket]):
    """In a virtual world. `said` is that of `ControllerSide`."""

    def __init__(self, world: World, said: Mapping[str, object] = USUAL, *, dialect: Dialect = DEFAULT_DIALECT) -> None:
        words = usual(said, world.key, f"tcp://{HOST}", HOST)
        super().__init__(world, codec_of(words), dialect=dialect)
        self.bind_all(words, said)

    def contacts(self) -> list[Contact]:
        """The sockets of others that are connected to ours."""
        found = []
        for socket in (*self.sockets.values(), *self.leaves):
            for session in socket.vsocket.sessions:
                if session.far is not None:
                    other = session.far.socket
                    identity = other.options.routing_id if other.KIND in _NAMED else None
                    found.append(Contact(socket.channel, other.KIND, identity))
        return found


def usual(said: Mapping[str, object], key: str, interface: str, location: str) -> dict[str, Any]:
    """What both files of a controller say beside ports, unless something else is `said`."""
    words = {
        "ssh": "", "interface": interface, "key": key, "curve_serverkey": None, "location": location, "pack": "json",
        "unpack": "json", "signature_scheme": "hmac-sha256",
    }  # fmt: skip
    return words | {name: value for name, value in said.items() if name in words}


def codec_of(words: Mapping[str, Any]) -> Codec:
    """The codec of whoever has this file."""
    return Codec(words["key"].encode(), scheme=words["signature_scheme"])
