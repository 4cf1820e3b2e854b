"""The relays: monitored queues that exchange identities or leave them, and copy everything to the Hub.

A relay knows no engine and no client. It is a row of `protocol.devices` brought to life, and has no state. Of a message
it looks at the identities only; content and buffers pass as they came. The copy for the monitor goes out first: the
Hub should hear of a request before it hears of the output that the request caused, which takes another way.

A message without the identities that its way needs, and one that is no message, is dropped; nobody else's is affected.

Source: IPython commit 7bde2f380 (2011, XREQ/XREP to DEALER/ROUTER), docs/source/development/parallel_connections.txt,
section "Schedulers"; measured on ipyparallel 9.2.0.
"""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Final

from protocol.devices import Device, device
from protocol.roles import marks
from protocol.roles.base import NOTHING, Arrived, Effect, Env, Event, Exit, Forward, Role, SocketSpec, Stopping, made


class Relay(Role):
    """A monitored queue between the sockets `in` and `out`, with copies to `monitor`; subclasses name the device."""

    DEVICE: ClassVar[Device]
    MARKS = marks.of("relay")

    def __init__(self, env: Env) -> None:
        self.env: Final = env
        row = self.DEVICE
        self._swap: Final = row.swap
        #: Where a message of a socket goes on to, and the prefix of its copy.
        self._ways: Final = {"in": ("out", row.in_prefix or b""), "out": ("in", row.out_prefix or b"")}

    def handle(self, now: int, event: Event) -> Sequence[Effect]:  # noqa: ARG002 - a relay has no clock
        """Pass a message on, and copy it."""
        if type(event) is Arrived:
            way = self._ways.get(event.socket)
            if way is None:
                return NOTHING
            message = event.message
            identities = message.identities
            if self._swap:
                if len(identities) < 2:
                    self.env.mark("relay.unaddressed")
                    return NOTHING
                identities = (identities[1], identities[0], *identities[2:])
            return (
                made(Forward, ("monitor", (way[1], *identities), message)),
                made(Forward, (way[0], identities, message)),
            )
        if type(event) is Stopping:
            return (Exit(),)
        return NOTHING

    def freeze(self) -> tuple[Any, ...]:
        """Nothing: a relay remembers no message."""
        return ()

    def thaw(self, frozen: tuple[Any, ...]) -> None:
        """Nothing to take up."""


def _sockets(row: Device) -> Mapping[str, SocketSpec]:
    return {
        "in": SocketSpec(row.front.channel, row.front.side),
        "out": SocketSpec(row.back.channel, row.back.side),
        "monitor": SocketSpec("monitor"),
    }


class MuxRelay(Relay):
    """Requests to engines that the client names."""

    DEVICE = device("mux-relay")
    NAME = DEVICE.role
    SOCKETS = _sockets(DEVICE)


class ControlRelay(Relay):
    """As the MUX relay, for messages that must not wait behind execution."""

    DEVICE = device("control-relay")
    NAME = DEVICE.role
    SOCKETS = _sockets(DEVICE)


class IopubRelay(Relay):
    """Output of all engines (`in`) to all clients (`out`)."""

    DEVICE = device("iopub-relay")
    NAME = DEVICE.role
    SOCKETS = _sockets(DEVICE)


class TaskRelay(Relay):
    """The scheduling scheme `pure`: its `out` is a DEALER that gives tasks to engines in turn."""

    DEVICE = device("task-relay")
    NAME = DEVICE.role
    SOCKETS = _sockets(DEVICE)


__all__ = ["ControlRelay", "IopubRelay", "MuxRelay", "Relay", "TaskRelay"]
