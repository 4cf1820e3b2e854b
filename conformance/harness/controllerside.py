"""The other side of an engine: a world in which the kit is the controller and binds whatever an engine connects to.

The sockets, their types, identities and options come from the table of channels. Every port is one that the kernel
found free, and `file` tells them all: it is what the engine is started with.
"""

import secrets
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
    """All sockets of a controller that engines meet. `leaves` are those of the broadcast tree."""

    def __init__(self, *, dialect: Dialect = DEFAULT_DIALECT) -> None:
        key = secrets.token_hex(16)
        super().__init__(Codec(key.encode()), dialect=dialect)
        self.sockets: dict[str, RealSocket] = {}
        ports: dict[str, Any] = {}
        for channel, role in _ENDS.items():
            plan = socket_for(channel, role, dialect, side="" if role in ("hub", "heart-monitor") else "engine")
            identity = plan.identity.value.encode() if plan.identity.rule == "fixed" else b""
            self.sockets[channel], ports[plan.address.key] = self.bind(
                plan.socket, INTERFACE, channel=channel, party=PARTY, identity=identity, options=plan.options
            )
        leaf = socket_for("broadcast", "broadcast-scheduler", dialect, side="engine")
        bound = [
            self.bind(leaf.socket, INTERFACE, channel="broadcast", party=PARTY, identity=b"sub_scheduler_0%d" % number)
            for number in range(LEAVES)
        ]
        self.leaves = [socket for socket, _ in bound]
        self.file = EngineFile(
            ssh="",
            interface=INTERFACE,
            key=key,
            curve_serverkey=None,
            location="localhost",
            pack="json",
            unpack="json",
            signature_scheme="hmac-sha256",
            broadcast=[port for _, port in bound],
            **ports,
        )
