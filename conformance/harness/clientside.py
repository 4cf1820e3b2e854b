"""The other side of a client: a world in which the kit is the controller and binds whatever a client connects to.

The sockets, their types, identities and options come from the table of channels; publishers are opened as XPUB, which
is the same to their peer, so that the kit sees who has subscribed. Every port is one that was found free, and `file`
tells them all: it is what the client is connected with. The engines are the kit's, too: who answers for whom is a
matter of frames.
"""

import secrets
from collections.abc import Mapping
from typing import Any, Final, TypeVar

from conformance.harness.controllerside import INTERFACE, PARTY, USUAL, codec_of, usual
from conformance.harness.observing import Observer, RawSocket
from conformance.harness.pump import Pump, RealSocket
from conformance.harness.virtualworld import HOST, VirtualPump, VirtualSocket
from protocol.channels import socket_for
from protocol.connection import ClientFile
from protocol.patterns import DEFAULT_DIALECT, Dialect, Side
from simulator.world import World

#: Every channel that a client uses, the role that holds the other end, and which of its sockets that is.
_ENDS: Final[Mapping[str, tuple[str, Side]]] = {
    "query": ("hub", ""),
    "notification": ("hub", ""),
    "mux": ("mux-relay", "client"),
    "task": ("task-scheduler", "client"),
    "control": ("control-relay", "client"),
    "iopub": ("iopub-relay", "client"),
    "broadcast": ("broadcast-scheduler", "client"),
}

S = TypeVar("S", bound=RawSocket)


class Front(Observer[S]):
    """All sockets of a controller that clients meet, by channel.

    It is what a pump also is that plays this side: `bind_all` is called once, when the pump is made.
    """

    sockets: dict[str, S]
    file: ClientFile

    def bind_all(self, interface: str, words: Mapping[str, Any], said: Mapping[str, object]) -> None:
        """Bind every socket to any port of an interface, whatever the file says of that.

        `words` and what else was `said` are the rest of the connection file.
        """
        self.sockets = {}
        ports: dict[str, Any] = {}
        for channel, (role, side) in _ENDS.items():
            plan = socket_for(channel, role, self.dialect, side=side)
            identity = plan.identity.value.encode() if plan.identity.rule == "fixed" else b""
            self.sockets[channel], ports[plan.address.key] = self.bind(
                "XPUB" if plan.socket == "PUB" else plan.socket, interface, channel=channel, party=PARTY,
                identity=identity, options=plan.options,
            )  # fmt: skip
        words = {"task_scheme": "leastload", **words}
        unknown = {key: value for key, value in said.items() if key not in words}
        self.file = ClientFile(**words, **ports, extra=unknown)


class ClientsSide(Pump, Front[RealSocket]):
    """On real sockets. `said` gives keys of the connection file other values, or adds keys that nobody knows."""

    def __init__(self, said: Mapping[str, object] = USUAL, *, dialect: Dialect = DEFAULT_DIALECT) -> None:
        words = usual(said, secrets.token_hex(16), INTERFACE, "localhost")
        super().__init__(codec_of(words), dialect=dialect)
        self.bind_all(INTERFACE, words, said)


class VirtualClientsSide(VirtualPump, Front[VirtualSocket]):
    """In a virtual world. `said` is that of `ClientsSide`."""

    def __init__(self, world: World, said: Mapping[str, object] = USUAL, *, dialect: Dialect = DEFAULT_DIALECT) -> None:
        words = usual(said, world.key, f"tcp://{HOST}", HOST)
        super().__init__(world, codec_of(words), dialect=dialect)
        self.bind_all(f"tcp://{HOST}", words, said)


__all__ = ["ClientsSide", "Front", "VirtualClientsSide"]
