"""The other side of an engine: a world in which the kit is the controller and binds whatever an engine connects to.

The sockets, their types, identities and options come from the table of channels. Every port is one that the kernel
found free, and `file` tells them all: it is what the engine is started with.
"""

import secrets
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any, Final

from conformance.harness.pump import Pump, RealSocket
from protocol.channels import socket_for
from protocol.connection import EngineFile
from protocol.patterns import DEFAULT_DIALECT, Dialect
from protocol.wire import Codec

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


class ControllerSide(Pump):
    """All sockets of a controller that engines meet. `leaves` are those of the broadcast tree.

    `said` gives keys of the connection file other values, or adds keys that nobody knows.
    """

    def __init__(
        self, said: Mapping[str, object] = MappingProxyType({}), *, dialect: Dialect = DEFAULT_DIALECT
    ) -> None:
        usual = {
            "ssh": "", "interface": INTERFACE, "key": secrets.token_hex(16), "curve_serverkey": None,
            "location": "localhost", "pack": "json", "unpack": "json", "signature_scheme": "hmac-sha256",
        }  # fmt: skip
        words: dict[str, Any] = usual | {key: value for key, value in said.items() if key in usual}
        super().__init__(Codec(words["key"].encode(), scheme=words["signature_scheme"]), dialect=dialect)
        self.sockets: dict[str, RealSocket] = {}
        self.leaves: list[RealSocket] = []
        ports, leaves = self._bind_all({}, [0] * LEAVES)
        unknown = {key: value for key, value in said.items() if key not in usual}
        self.file = EngineFile(**words, **ports, broadcast=leaves, extra=unknown)

    def restart(self) -> None:
        """Close every socket, as a controller does that dies, and bind new ones to the same ports."""
        for socket in (*self.sockets.values(), *self.leaves):
            socket.close()
        self._bind_all(
            {key: getattr(self.file, key) for key in self.file.ports if key != "broadcast"}, self.file.broadcast
        )

    def _bind_all(self, ports: Mapping[str, int], leaves: Sequence[int]) -> tuple[dict[str, Any], list[int]]:
        """Bind every socket to the port under its key of the connection file, or to any; the ports."""
        found: dict[str, Any] = {}
        for channel, role in _ENDS.items():
            plan = socket_for(channel, role, self.dialect, side="" if role in ("hub", "heart-monitor") else "engine")
            key = plan.address.key
            identity = plan.identity.value.encode() if plan.identity.rule == "fixed" else b""
            self.sockets[channel], found[key] = self.bind(
                plan.socket, INTERFACE, channel=channel, party=PARTY, identity=identity, options=plan.options,
                port=ports.get(key, 0),
            )  # fmt: skip
        leaf = socket_for("broadcast", "broadcast-scheduler", self.dialect, side="engine")
        bound = [
            self.bind(leaf.socket, INTERFACE, channel="broadcast", party=PARTY, identity=b"sub_scheduler_0%d" % number,
                      port=port)
            for number, port in enumerate(leaves)
        ]  # fmt: skip
        self.leaves = [socket for socket, _ in bound]
        return found, [port for _, port in bound]
