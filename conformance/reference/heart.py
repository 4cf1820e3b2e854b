"""The heart of an engine: a device in C, which beats whatever Python does.

Pings come in on a SUB and go out on a DEALER whose identity is the engine's uuid; a copy goes to a PUB, from which the
engine sees that its controller lives. `protocol.roles.heart` is the model of this device.

Source: ipython-dev mail, MinRK, 12 July 2010, "Heartbeat Device"; measured on ipyparallel 9.2.0.
"""

from typing import Any

import zmq
from zmq.devices import ThreadMonitoredQueue

from conformance.reference.sockets import Curve
from protocol.devices import device


class DeviceHeart:
    """A heart that beats from now until `stop`. It has a context and a thread of its own."""

    def __init__(self, ping: str, pong: str, monitor: str, identity: bytes, curve: Curve | None = None) -> None:
        row = device("heart-monitored")
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        queue: Any = ThreadMonitoredQueue  # pyzmq's devices have no types
        self._device = queue(
            zmq.SUB, zmq.DEALER, zmq.PUB, in_prefix=row.in_prefix or b"", out_prefix=row.out_prefix or b""
        )
        self._device.context_factory = lambda: self._context
        self._device.setsockopt_in(zmq.SUBSCRIBE, b"")
        self._device.setsockopt_out(zmq.ROUTING_ID, identity)
        for setsockopt in (self._device.setsockopt_in, self._device.setsockopt_out, self._device.setsockopt_mon):
            setsockopt(zmq.LINGER, 0)
        if curve is not None:
            for setsockopt in (self._device.setsockopt_in, self._device.setsockopt_out):
                public, secret = zmq.curve_keypair()
                setsockopt(zmq.CURVE_PUBLICKEY, public)
                setsockopt(zmq.CURVE_SECRETKEY, secret)
                setsockopt(zmq.CURVE_SERVERKEY, curve.server_key)
        self._device.connect_in(ping)
        self._device.connect_out(pong)
        self._device.connect_mon(monitor)
        self._device.start()

    @property
    def is_beating(self) -> bool:
        """Whether the device still runs."""
        return not bool(self._device.done)

    def stop(self) -> None:
        """Stop beating; its thread and its sockets are gone when this returns. May be called twice."""
        # The end of the context is what ends the device.
        self._context.term()
        self._device.join()
