"""Where strangers stand in a world of real sockets: see `simulator.strangers`."""

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

import zmq

from conformance.reference.env import RealEnv
from conformance.reference.heart import DeviceHeart
from protocol.roles.base import Env
from protocol.wire import Codec, Message
from simulator.strangers import Asker

if TYPE_CHECKING:
    from conformance.onreal.cluster import RealCluster

#: More than any flood needs.
SOCKETS: Final = 8192
#: Messages taken from one socket before the others get their turn.
BATCH: Final = 100


class RealPlug:
    """One raw socket of a stranger; what it sends waits for nothing."""

    def __init__(self, zsocket: "zmq.Socket[bytes]") -> None:
        self.zsocket = zsocket
        self.callback: Callable[[], object] | None = None

    def send(self, load: Any, /) -> None:
        """Send frames."""
        self.zsocket.send_multipart([bytes(frame) for frame in load], zmq.NOBLOCK)

    def recv(self) -> tuple[bytes, ...] | None:
        """The frames that have come next, or None."""
        with suppress(zmq.Again):
            return tuple(self.zsocket.recv_multipart(zmq.NOBLOCK))
        return None

    def watch(self, callback: Callable[[], object], /) -> None:
        """Call back when something may have come."""
        self.callback = callback


class RealGround:
    """A place in a cluster of processes, with its own copies of the connection files."""

    def __init__(self, cluster: "RealCluster", name: str) -> None:
        self._cluster = cluster
        self.name = name
        self.is_alive = True
        self.env: Env = RealEnv(name)
        self.files = cluster.copies(name)
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self._context.set(zmq.MAX_SOCKETS, SOCKETS)
        self._plugs: list[RealPlug] = []
        self._hearts: list[DeviceHeart] = []

    @property
    def now(self) -> int:
        """Nanoseconds of the monotonic clock."""
        return time.monotonic_ns()

    @property
    def clients(self) -> Sequence[Asker]:
        """The clients of the cluster."""
        return self._cluster.clients

    @property
    def registered(self) -> Mapping[int, str]:
        """The engines that the Hub named last."""
        return self._cluster.last_registered

    def codec(self) -> Codec:
        """A codec with the cluster's key."""
        return self.files[0].codec()

    def open(self, name: str, kind: str, options: Sequence[tuple[str, Any]], address: str) -> RealPlug:  # noqa: ARG002
        """A real socket; it has no use for a name."""
        zsocket = self._context.socket(getattr(zmq, kind))
        for option, value in options:
            zsocket.setsockopt(getattr(zmq, option), value)
        zsocket.connect(address)
        plug = RealPlug(zsocket)
        self._plugs.append(plug)
        return plug

    def beat(self, uuid: str, *, is_deaf: bool = False) -> None:
        """Start a heart whose copies of pings go nowhere: nobody looks whether they stay away."""
        file = self.files[1]
        ping, pong = file.address("hb_ping"), file.address("hb_pong")
        if is_deaf:
            self.open("ping", "SUB", (), ping)
            self.open("pong", "DEALER", (("ROUTING_ID", uuid.encode()),), pong)
        else:
            self._hearts.append(DeviceHeart(ping, pong, f"inproc://{uuid}", uuid.encode()))

    def spoke(self, uuid: str, channel: str, message: Message) -> None:
        """Nothing: the relay hears it."""

    def turn(self) -> None:
        """Let it take what has come."""
        for plug in self._plugs:
            if plug.callback is not None and plug.zsocket.poll(0):
                plug.callback()

    def end(self) -> None:
        """Close everything. May be called twice."""
        if not self.is_alive:
            return
        self.is_alive = False
        for heart in self._hearts:
            heart.stop()
        self._context.destroy(linger=0)


__all__ = ["RealGround", "RealPlug"]
