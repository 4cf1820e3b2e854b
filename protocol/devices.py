"""The devices: parts of a cluster that pass messages on without reading them, one row each.

A *monitored queue* joins two sockets and copies everything to a third, with a prefix that tells the direction. When
both its sockets are ROUTERs, the frames begin with two identities: where the message came from, and where it is to go.
Such a device exchanges the two; every other one leaves the frames alone. The copy shows the frames as they were sent.

A *forwarder* is a queue without a monitor. A *starter* forwards in both directions too, except for the few types that
it handles itself.

Source: IPython commit 7bde2f380 (2011), parallel_connections.txt and ipcontrollerapp.py; ipyparallel docs,
connections.md; measured on ipyparallel 9.2.0.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal, NamedTuple

from protocol.patterns import DIALECTS, NINE, OLD, UNTIL_DOCUMENTED, Dialect, Role, Side
from protocol.wire import Frame


class Port(NamedTuple):
    """One socket of a device: an end of a channel."""

    channel: str
    side: Side = ""


@dataclass(frozen=True, slots=True)
class Device:
    """One device. `front` is where requests come in, `back` where they go out; prefixes are None without a monitor.

    `swap` says whether the first two frames change places. `handles` names the message types that are not forwarded.
    """

    name: str
    role: Role
    kind: Literal["monitored queue", "forwarder", "starter", "echo"]
    front: Port
    back: Port
    doc: str
    swap: bool = False
    in_prefix: bytes | None = None
    out_prefix: bytes | None = None
    handles: tuple[str, ...] = ()
    variant: str = ""
    dialects: tuple[Dialect, ...] = DIALECTS

    def forward(self, frames: Sequence[Frame], *, back: bool = False) -> tuple[list[Frame], list[Frame] | None]:
        """What one message becomes: the frames on the other socket, and the copy for the monitor or None.

        `back` is the direction from the back socket to the front one. Raises ValueError for fewer than two frames in a
        device that exchanges identities; a ROUTER never yields such a message from a well-behaved peer.
        """
        out = list(frames)
        if self.swap:
            if len(out) < 2:
                raise ValueError(f"{self.name} needs two identities in front, and there are {len(out)} frames")
            out[0], out[1] = out[1], out[0]
        prefix = self.out_prefix if back else self.in_prefix
        return out, None if prefix is None else [prefix, *out]


DEVICES: Final = (
    Device(
        "mux-relay", "mux-relay", "monitored queue", Port("mux", "client"), Port("mux", "engine"),
        "Requests for one engine that the client names by its identity.",
        swap=True, in_prefix=b"in", out_prefix=b"out",
    ),
    Device(
        "control-relay", "control-relay", "monitored queue", Port("control", "client"), Port("control", "engine"),
        "As the MUX relay, for messages that must not wait behind execution.",
        swap=True, in_prefix=b"incontrol", out_prefix=b"outcontrol",
    ),
    Device(
        "task-relay", "task-scheduler", "monitored queue", Port("task", "client"), Port("task", "engine"),
        "The scheduler scheme `pure`: a DEALER gives tasks to engines in turn, and nobody looks into them.",
        in_prefix=b"intask", out_prefix=b"outtask", variant="pure",
    ),
    Device(
        "iopub-relay", "iopub-relay", "monitored queue", Port("iopub", "engine"), Port("iopub", "client"),
        "Output of all engines to all clients. A PUB receives nothing, so the prefix of the way back is never used.",
        in_prefix=b"iopub", out_prefix=b"N/A",
    ),
    Device(
        "heart-forwarder", "heart", "forwarder", Port("heartbeat-ping"), Port("heartbeat-pong"),
        "The engine's heart: each ping goes back unchanged, without the interpreter taking part.",
        dialects=UNTIL_DOCUMENTED,
    ),
    Device(
        "heart-monitored", "heart", "monitored queue", Port("heartbeat-ping"), Port("heartbeat-pong"),
        "The same heart with a copy for the engine itself, which so notices a dead controller. The prefix is empty.",
        in_prefix=b"", out_prefix=b"", dialects=NINE,
    ),
    Device(
        "kernel-starter", "warden", "starter", Port("starter-up"), Port("starter-down"),
        "Starts a kernel and stands between it and the control queue.",
        handles=("shutdown_request", "shutdown_reply"), dialects=OLD,
    ),
    Device(
        "warden", "warden", "starter", Port("control", "engine"), Port("warden-link"),
        "The nanny of an engine: delivers signals, and reports the engine's death.",
        handles=("signal_request",), dialects=NINE,
    ),
    Device(
        "kernel-heart", "kernel", "echo", Port("kernel-heartbeat"), Port("kernel-heartbeat"),
        "The plain kernel's heartbeat: one socket on both sides of a device, so that everything is echoed.",
    ),
)  # fmt: skip


def device(name: str) -> Device:
    """The device of this name. Raises KeyError, naming all there are."""
    for row in DEVICES:
        if row.name == name:
            return row
    raise KeyError(f"unknown device {name!r}; there are: {', '.join(row.name for row in DEVICES)}")
