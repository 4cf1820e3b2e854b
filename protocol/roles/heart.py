"""The heart of an engine: a device that returns each ping to the monitor and shows a copy to its own engine.

Behind real sockets this is a device in C, which beats while Python is held up; this role is its model for virtual
time. The monitor's own DEALER puts the engine's uuid in front, so the heart sends what it got and nothing else.

Source: IPython messaging.txt, commit "Add note about pure-zmq heartbeat messaging" (Fernando Perez, 2010), section
"Heartbeat for kernels"; IPython commit 7bde2f380 (2011, XREQ/XREP to DEALER/ROUTER), heartmonitor.py.
"""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Final

import msgspec

from protocol.roles.base import NOTHING, Effect, Env, Event, Exit, Raw, Role, SendRaw, SocketSpec, Stopping, made


class HeartConfig(msgspec.Struct, frozen=True, kw_only=True):
    """`monitored`: whether the engine gets a copy of each ping, as the heart of ipyparallel 9 gives it."""

    monitored: bool = True


class Heart(Role):
    """A forwarder from `ping` to `pong`, and to `monitor` if it is monitored."""

    NAME = "heart"
    SOCKETS: ClassVar[Mapping[str, SocketSpec]] = {
        "ping": SocketSpec("heartbeat-ping"),
        "pong": SocketSpec("heartbeat-pong"),
        "monitor": SocketSpec("heartbeat-engine-monitor"),
    }

    def __init__(self, config: HeartConfig, env: Env) -> None:
        self.config: Final = config
        self.env: Final = env

    def handle(self, now: int, event: Event) -> Sequence[Effect]:  # noqa: ARG002 - a device has no clock
        """Return a ping, whatever its bytes; everything else is passed over."""
        if type(event) is Raw and event.socket == "ping":
            frames = event.frames
            pong = made(SendRaw, ("pong", frames))
            return (made(SendRaw, ("monitor", (b"", *frames))), pong) if self.config.monitored else (pong,)
        if type(event) is Stopping:
            return (Exit(),)
        return NOTHING

    def freeze(self) -> tuple[Any, ...]:
        """Nothing: a device remembers nothing."""
        return ()

    def thaw(self, frozen: tuple[Any, ...]) -> None:
        """Nothing to take up."""


__all__ = ["Heart", "HeartConfig"]
