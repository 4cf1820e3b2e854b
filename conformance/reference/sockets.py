"""Opening the sockets that a role has, as the tables of `protocol.channels` say.

Types, options and places are those of `protocol.roles.assembly`; here they become sockets of pyzmq.
"""

import errno
import socket
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Final, NamedTuple

import zmq

from protocol.connection import WILDCARDS, join, reachable
from protocol.patterns import End
from protocol.roles.assembly import LINK, end_of, opening, place_of
from protocol.roles.base import SocketSpec

#: Seconds in which the predecessor on a port may still be ending.
PATIENCE: Final = 3.0
#: How often another port is tried when one is free on one interface only.
ATTEMPTS: Final = 50


class BusyPort(Exception):
    """An address cannot be bound; the text is a sentence for the user."""


class Interfaces(NamedTuple):
    """Where to listen, each `transport://host` or `ipc://path`: for clients, for engines, and for ourselves."""

    client: str
    engine: str
    internal: str

    def of(self, place: str) -> tuple[str, ...]:
        """The interfaces on which a place listens: `registration` is one port for clients and engines."""
        if place == "registration":
            both = dict.fromkeys((self.client, self.engine))
            # Who listens everywhere listens there, too, and the port would be taken.
            return next(((each,) for each in both if each.rpartition("/")[2] in WILDCARDS), tuple(both))
        kind = place.partition(" ")[0]
        return ({"client": self.client, "engine": self.engine}.get(kind, self.internal),)

    def address(self, place: str, port: int) -> str:
        """The address at which a process of this machine reaches a place."""
        return join(reachable(self.of(place)[0], ""), port)


def here() -> tuple[str, ...]:
    """The names of this machine: who finds one as a location behind a wildcard connects to itself."""
    return (socket.gethostname(), "localhost")


def inside(place: str) -> str:
    """The address of a place that only one process knows."""
    return f"inproc://{place.removeprefix(LINK)}"


class Curve(NamedTuple):
    """The keys of CURVE connections, in Z85. Everybody has the server's public key, and the server its secret one."""

    server_key: bytes
    secret_key: bytes = b""

    def bind(self, zsocket: "zmq.Socket[bytes]") -> None:
        """Make a socket accept only peers that know the server's public key."""
        zsocket.curve_server = True
        zsocket.curve_secretkey = self.secret_key

    def connect(self, zsocket: "zmq.Socket[bytes]") -> None:
        """Give a connecting socket a pair of keys of its own."""
        zsocket.curve_publickey, zsocket.curve_secretkey = zmq.curve_keypair()
        zsocket.curve_serverkey = self.server_key


class Opened(NamedTuple):
    """A socket and the end of the channel that it is; `place` is where it binds or connects."""

    zsocket: "zmq.Socket[bytes]"
    end: End
    place: str


def make(
    context: "zmq.Context[zmq.Socket[bytes]]",
    end: End,
    *,
    identity: bytes = b"",
    is_mandatory: bool = False,
    curve: Curve | None = None,
) -> "zmq.Socket[bytes]":
    """A socket for an end of a channel, with its options set, neither bound nor connected.

    `identity` stands for one that the table does not fix; `is_mandatory` is that of a role's `SocketSpec`.
    With `curve`, the side that binds is the server.
    """
    kind, options = opening(end, identity, is_mandatory=is_mandatory)
    zsocket = context.socket(getattr(zmq, kind))
    for option, value in options:
        zsocket.setsockopt(getattr(zmq, option), value)
    if curve is not None:
        curve.bind(zsocket) if end.attach == "bind" else curve.connect(zsocket)
    return zsocket


def open_all(
    context: "zmq.Context[zmq.Socket[bytes]]",
    role: str,
    sockets: Mapping[str, SocketSpec],
    *,
    variant: str = "",
    identity: bytes = b"",
    curve: Curve | None = None,
    places: Mapping[str, str] | None = None,
) -> dict[str, Opened]:
    """The sockets of a role by name. `identity` is that of ends whose identity is the engine's uuid or a pattern.

    `variant` is used where the table has it for a channel. `places` overrides the place of a socket.
    """
    opened = {}
    for name, spec in sockets.items():
        end = end_of(role, spec, variant)
        place = (places or {}).get(name) or place_of(end)
        own = b"" if end.identity.rule == "none" else identity
        zsocket = make(
            context, end, identity=own, is_mandatory=spec.is_mandatory,
            curve=None if place.startswith(LINK) else curve,
        )  # fmt: skip
        opened[name] = Opened(zsocket, end, place)
    return opened


def bind(zsocket: "zmq.Socket[bytes]", interfaces: Sequence[str], port: int = 0) -> int:
    """Bind one port on every interface; 0 lets the system choose. The port. Raises BusyPort.

    A port that is wanted may still be held for a moment by the process that had it before.
    """
    deadline = time.monotonic() + PATIENCE
    first, *others = interfaces
    for _ in range(ATTEMPTS if not port else 1 << 30):
        found = _bind_one(zsocket, first, port, deadline)
        bound = [join(first, found)]
        try:
            for interface in others:
                _bind_one(zsocket, interface, found, deadline if port else 0.0)
                bound.append(join(interface, found))
        except BusyPort:
            # Free on one interface and taken on another.
            for address in bound:
                zsocket.unbind(address)
            if port:
                raise
        else:
            return found
    raise BusyPort(f"no port is free on all of {', '.join(interfaces)}")


def _bind_one(zsocket: "zmq.Socket[bytes]", interface: str, port: int, deadline: float) -> int:
    address = join(interface, port)
    while True:
        try:
            zsocket.bind(address)
        except zmq.ZMQError as error:
            if error.errno == errno.EADDRINUSE and time.monotonic() < deadline:
                zsocket.poll(20, zmq.POLLERR)
                continue
            raise BusyPort(_sentence(address, port, error)) from None
        if port:
            return port
        return int(str(zsocket.getsockopt_string(zmq.LAST_ENDPOINT)).rpartition(":")[2])


def _sentence(address: str, port: int, error: zmq.ZMQError) -> str:
    if error.errno == errno.EADDRINUSE:
        return f"{address} is in use by another process"
    if error.errno in (errno.EADDRNOTAVAIL, errno.ENODEV):
        return f"{address if port else address.rpartition(':')[0]} is no address of this machine"
    return f"{address} cannot be bound: {error.strerror}"


def await_listeners(zsocket: "zmq.Socket[bytes]", count: int, is_cancelled: Callable[[], bool]) -> list[bytes]:
    """Wait until `count` subscriptions arrived at an XPUB; what it was told. Ends early if cancelled."""
    told: list[bytes] = []
    while sum(one[:1] == b"\x01" for one in told) < count and not is_cancelled():
        if zsocket.poll(50):
            told.append(zsocket.recv())
    return told
