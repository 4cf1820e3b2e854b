"""The world of real sockets: a `World` on pyzmq that connects to a running controller, pumped by whoever waits."""

from collections.abc import Sequence
from types import TracebackType
from typing import Self

import zmq
from zmq.devices import ThreadDevice

from conformance.harness.observing import Visitor
from conformance.harness.probe import Greeting, probe, send_half
from conformance.harness.pump import Pump, RealSocket
from conformance.harness.verdict import NotApplicable
from protocol.connection import ClientFile, EngineFile
from protocol.patterns import DEFAULT_DIALECT, Dialect
from protocol.wire import Frame


class RealWorld(Pump, Visitor[RealSocket]):
    """Where a case meets a real controller; `client` and `engine` are its connection files."""

    def __init__(self, client: ClientFile, engine: EngineFile, *, dialect: Dialect = DEFAULT_DIALECT) -> None:
        super().__init__(client.codec(), dialect=dialect)
        self.client = client
        self.engine = engine
        self._devices: list[CHeart] = []
        #: What every socket is set to if the controller speaks CURVE only: its key, and a pair of our own.
        self._curve = curve_options(client.curve_serverkey)

    def make(
        self, kind: str, name: str, channel: str, identity: bytes, options: Sequence[tuple[str, int | bytes]]
    ) -> RealSocket:
        """As `Pump.make`, encrypted where the controller wants that."""
        return super().make(kind, name, channel, identity, (*options, *self._curve))

    def greeting(self, channel: str, *, end: str, index: int = 0) -> Greeting:
        """What the socket to which this end connects says of itself, asked by a peer of this end's type.

        Nothing is written down: no message travels. Raises ProbeError if nobody is there, or not ZeroMQ, NotApplicable
        behind CURVE, and KeyError as `open` does.
        """
        self._expect_plain()
        plan, addresses = self.plan(channel, end)
        return probe(addresses[index], socket_type=plan.socket, is_patient=True)

    def send_half(self, channel: str, frames: Sequence[Frame]) -> None:
        """Connect as a client does, send the first half of a message's bytes, and hang up. Raises ProbeError."""
        self._expect_plain()
        plan, addresses = self.plan(channel, "")
        send_half(addresses[0], [bytes(frame) for frame in frames], socket_type=plan.socket)

    def start_device_heart(self, identity: bytes) -> "CHeart":
        """A heart that beats in a thread of its own; `close` ends it if nobody else did."""
        heart = CHeart(self.engine, identity, self._curve)
        self._devices.append(heart)
        return heart

    def _expect_plain(self) -> None:
        if self._curve:
            raise NotApplicable("everything is encrypted with CURVE, so that nobody can look at bare connections")

    def close(self) -> None:
        """Stop the hearts, and close everything. May be called twice."""
        for device in self._devices:
            device.stop()
        super().close()


def curve_options(serverkey: str | None) -> tuple[tuple[str, bytes], ...]:
    """What a socket has to be set to before it connects to a server with this key (40 characters of Z85), if any."""
    if not serverkey:
        return ()
    public, secret = zmq.curve_keypair()
    return ("CURVE_SERVERKEY", serverkey.encode()), ("CURVE_PUBLICKEY", public), ("CURVE_SECRETKEY", secret)


class CHeart:
    """A heart that beats in C, whatever Python does: a FORWARDER device from a subscriber to a dealer.

    It answers every ping with the ping itself, behind its identity, until `stop`. Source: ipython-dev mail, MinRK,
    12 July 2010, "Heartbeat Device".
    """

    def __init__(self, engine: EngineFile, identity: bytes, options: Sequence[tuple[str, bytes]] = ()) -> None:
        self._context = zmq.Context()
        self._device = ThreadDevice(zmq.FORWARDER, zmq.SUB, zmq.DEALER)
        self._device.context_factory = lambda: self._context
        self._device.setsockopt_in(zmq.SUBSCRIBE, b"")
        self._device.setsockopt_out(zmq.ROUTING_ID, identity)
        self._device.setsockopt_out(zmq.LINGER, 0)
        for option, value in options:
            self._device.setsockopt_in(getattr(zmq, option), value)
            self._device.setsockopt_out(getattr(zmq, option), value)
        self._device.connect_in(engine.address("hb_ping"))
        self._device.connect_out(engine.address("hb_pong"))
        self._device.start()

    def stop(self) -> None:
        """Stop beating and close its sockets. May be called twice."""
        # Ending the context is what ends the device: its thread gets ETERM and closes both sockets.
        self._context.term()
        self._device.join()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.stop()
