"""The pump of real sockets: one context, one thread, no event loop, and everything that passes is written down.

Every wait polls all sockets, so that hearts beat and every arrival is seen at the moment at which libzmq hands it over,
whoever it is that a case waits for. What arrives is written down first, then handed to a listener or kept for `recv`.

Sending never waits and nothing is ever dropped on our side: the high-water marks are 0. LINGER is 0 when a socket is
closed, so a message that must arrive needs an answer before its sender is closed.

The pump watches itself. It polls in slices of at most `SLICE`; whenever two looks at the sockets lie further apart than
that, the machine or the case held it up, and `longest_stall` tells: what the target did or failed to do in such a time
says nothing about the target.

It watches the target, too: how long that was kept from a processor, see `hindrance`. Nobody is late for that reason, so
a deadline that has passed is put off by what `hindered` tells, up to `PUT_OFF` times as far as it was.
"""

import heapq
import itertools
import time
from collections.abc import Callable, Sequence
from typing import Final

import zmq

from conformance.harness.hindrance import PUT_OFF, Delays, Hindrance
from conformance.harness.observing import Observer, RawSocket, Unreachable
from protocol.patterns import DEFAULT_DIALECT, Dialect
from protocol.wire import Codec, Frame
from protocol.world import MILLISECOND

#: The longest that one poll may last; shorter slices make stalls visible, and cost nothing at this length.
SLICE: Final = 20 * MILLISECOND
#: How long a port that was given back may stay in use.
PATIENCE: Final = 5_000 * MILLISECOND
#: Gaps in pumping that are not worth remembering.
NEGLIGIBLE: Final = 20 * MILLISECOND
#: A deadline that lies nearer than this is never put off.
NEAR: Final = 250 * MILLISECOND
#: Queues on which a request names the engine: it is lost if that is not known there yet.
ADDRESSED: Final = frozenset({"mux", "task", "control", "broadcast"})
#: Messages taken from one socket before the others get their turn.
BATCH: Final = 100


class RealSocket(RawSocket):
    """One raw socket of a scripted party, on pyzmq."""

    def __init__(self, world: "Pump", zsocket: "zmq.Socket[bytes]", name: str, channel: str, identity: bytes) -> None:
        super().__init__(world, name, channel, identity)
        self.zsocket = zsocket
        #: Tells when somebody has shaken hands.
        self._handshakes: zmq.Socket[bytes] | None = None

    @property
    def is_closed(self) -> bool:
        """Whether it was closed."""
        return self.zsocket.closed

    @property
    def is_met(self) -> bool:
        """Whether the other end knows it, so that what is addressed to it is not lost: an engine's end of a queue."""
        if self._handshakes is not None and self._handshakes.poll(0):
            self._watch_no_more()
        return self._handshakes is None

    def connect(self, address: str) -> None:
        """Connect it to one more address."""
        if self.identity and self.channel in ADDRESSED:
            self._handshakes = self.zsocket.get_monitor_socket(zmq.EVENT_HANDSHAKE_SUCCEEDED)
        self.zsocket.connect(address)

    def _watch_no_more(self) -> None:
        if self._handshakes is not None:
            self.zsocket.disable_monitor()
            self._handshakes.close(linger=0)
            self._handshakes = None

    def shut(self) -> None:
        """Close it without lingering."""
        self._watch_no_more()
        self.zsocket.close(linger=0)


class Pump(Observer[RealSocket]):
    """All sockets of one party of the kit, or of several, and their common clock.

    The clock begins at 0 when the pump is made, and is monotonic.
    """

    def __init__(self, codec: Codec, *, dialect: Dialect = DEFAULT_DIALECT) -> None:
        super().__init__(codec, dialect=dialect)
        self._epoch = time.monotonic_ns()
        self._context = zmq.Context()
        self._poller = zmq.Poller()
        self._sockets: dict[zmq.Socket[bytes], RealSocket] = {}
        self._files: dict[int, Callable[[], None]] = {}
        self._timers: list[tuple[int, int, Callable[[], None]]] = []
        self._order = itertools.count()
        self._looked = self.now
        self._is_pumping = False
        #: The deadline that was waited for last, and since when.
        self._awaited = (0, 0)
        self._stalls: list[tuple[int, int]] = []
        self._hindrance: Hindrance | None = None
        #: Other pumps whose timers go on while somebody waits in this one.
        self.beside: list[Pump] = []

    @property
    def now(self) -> int:
        """Nanoseconds since this world was made."""
        return time.monotonic_ns() - self._epoch

    # -- sockets -----------------------------------------------------------------------------------------------------

    def make(
        self, kind: str, name: str, channel: str, identity: bytes, options: Sequence[tuple[str, int | bytes]]
    ) -> RealSocket:
        """A socket of this ZeroMQ type without high-water marks, which does not linger."""
        zsocket = self._context.socket(getattr(zmq, kind))
        zsocket.linger = 0
        zsocket.set_hwm(0)
        if identity:
            zsocket.routing_id = identity
        for option, value in options:
            zsocket.setsockopt(getattr(zmq, option), value)
        return RealSocket(self, zsocket, name, channel, identity)

    def place(self, socket: RealSocket, interface: str, port: int) -> int:
        """Bind a socket to a port of a tcp interface; for one that was just given back it waits."""
        if not port:
            return socket.zsocket.bind_to_random_port(interface)
        deadline = self.now + PATIENCE
        while not self._has_bound(socket.zsocket, f"{interface}:{port}", is_last=self.now > deadline):
            self.run_until(lambda: False, self.now + MILLISECOND)
        return port

    @staticmethod
    def _has_bound(zsocket: "zmq.Socket[bytes]", address: str, *, is_last: bool) -> bool:
        try:
            zsocket.bind(address)
        except zmq.ZMQError as error:
            # libzmq gives a port back a moment after its socket was closed.
            if is_last or error.errno != zmq.EADDRINUSE:
                raise
            return False
        return True

    def adopt(self, socket: RealSocket) -> None:
        """Note that a socket is open, and poll it from now on."""
        self._sockets[socket.zsocket] = socket
        self._poller.register(socket.zsocket, zmq.POLLIN)
        self.note(socket.party, "socket-opened", socket=socket.name)

    def transmit(self, socket: RealSocket, frames: Sequence[Frame]) -> None:
        """Send frames. Raises Unreachable, see `bind`."""
        # Whoever sends a lot without waiting would let no heart beat meanwhile.
        if self.now - self._looked > SLICE and not self._is_pumping:
            self._pump(0)
        try:
            socket.zsocket.send_multipart(frames, zmq.NOBLOCK)
        except zmq.ZMQError as refused:
            if refused.errno != zmq.EHOSTUNREACH:
                raise
            raise Unreachable(f"nobody is connected to {socket.name} as {bytes(frames[0])!r}") from None

    def forget(self, socket: RealSocket) -> None:
        """Stop polling a socket that is about to be closed; sockets use this."""
        if self._sockets.pop(socket.zsocket, None) is not None:
            self._poller.unregister(socket.zsocket)
        super().forget(socket)

    def watch(self, file: int, callback: Callable[[], None]) -> Callable[[], None]:
        """Call back whenever a file descriptor can be read, or has come to its end; the result stops it."""
        self._files[file] = callback
        self._poller.register(file, zmq.POLLIN)

        def stop() -> None:
            if self._files.pop(file, None) is not None:
                self._poller.unregister(file)

        return stop

    # -- time ----------------------------------------------------------------------------------------------------------

    def run_until(self, predicate: Callable[[], bool], deadline: int) -> bool:
        """Pump until the predicate holds (True) or the deadline has passed (its last value).

        The sockets are looked at once even when the deadline has passed already. The time for which the target or this
        pump was hindered does not count, from when this deadline was first waited for: whoever gets something else
        first, and waits on, has lost none of it.
        """
        if self._awaited[0] != deadline:
            self._awaited = (deadline, self.now)
        began = self._awaited[1]
        distance, put_off = deadline - began, 0
        self._pump(0)
        while not predicate():
            left = deadline + put_off - self.now
            if left > 0:
                self._pump(left)
                continue
            before, put_off = put_off, min(self.hindered(began), (PUT_OFF - 1) * distance)
            if distance < NEAR or put_off - before < distance // 20:
                return predicate()
        return True

    def every(self, period: int, callback: Callable[[], None]) -> Callable[[], None]:
        """Call back every `period` nanoseconds while the world is pumped; the result stops it.

        Beats that were missed while nobody pumped are not made up for.
        """
        is_stopped = False
        due = self.now + period

        def stop() -> None:
            nonlocal is_stopped
            is_stopped = True

        def beat() -> None:
            nonlocal due
            if is_stopped:
                return
            callback()
            if not is_stopped:
                due = max(due + period, self.now)
                self._at(due, beat)

        self._at(due, beat)
        return stop

    def longest_stall(self, since: int) -> int:
        """The longest time, in nanoseconds, in which nobody looked at the sockets, of all that ended after `since`.

        Time spent waiting in a poll is no stall. The time since the last look counts, so that a case that computed for
        long sees it, too.
        """
        gaps = [end - max(start, since) for start, end in reversed(self._stalls) if end > since]
        gaps.append(self.now - max(self._looked, since))
        longest = max(gaps)
        return longest if longest > NEGLIGIBLE else 0

    def attend(self, delays: Callable[[], Delays]) -> None:
        """Watch how long each thread of the target was kept from a processor, which these `delays` tell."""
        self._hindrance = Hindrance(delays)

    def hindered(self, since: int) -> int:
        """For how many nanoseconds since a moment the target could not go on, or nobody looked at the sockets."""
        stalled = sum(end - max(start, since) for start, end in self._stalls if end > since)
        return max(stalled, self._hindrance.since(since) if self._hindrance is not None else 0)

    def _at(self, due: int, callback: Callable[[], None]) -> None:
        heapq.heappush(self._timers, (due, next(self._order), callback))

    def _pump(self, longest: int) -> None:
        """One look at everything, waiting for at most `longest` nanoseconds."""
        is_outermost, self._is_pumping = not self._is_pumping, True
        try:
            self._pump_once(longest)
        finally:
            self._is_pumping = not is_outermost

    def _pump_once(self, longest: int) -> None:
        self._run_timers()
        for other in self.beside:
            other._pump(0)
        wait = min(longest, SLICE)
        if self._timers:
            wait = min(wait, max(0, self._timers[0][0] - self.now))
        self._look()
        # Rounded up: a poll that ends just before the deadline would only be repeated.
        ready = self._poller.poll(-(-wait // MILLISECOND))
        self._look(wait)
        for source, _ in ready:
            if isinstance(source, int):
                # What was called before may have stopped it.
                self._files.get(source, _nothing)()
            elif (socket := self._sockets.get(source)) is not None:
                self._receive(socket)
        self._run_timers()

    def _look(self, allowed: int = 0) -> None:
        now = self.now
        if now - self._looked - allowed > NEGLIGIBLE:
            self._stalls.append((self._looked + allowed, now))
            self.note("kit", "stalled", ns=now - self._looked - allowed)
        self._looked = now
        if self._hindrance is not None and (kept := self._hindrance.look(now)) > NEGLIGIBLE:
            self.note("kit", "hindered", ns=kept)

    def _run_timers(self) -> None:
        while self._timers and self._timers[0][0] <= self.now:
            heapq.heappop(self._timers)[2]()

    # -- arrivals ------------------------------------------------------------------------------------------------------

    def _receive(self, socket: RealSocket) -> None:
        for _ in range(BATCH):
            # A listener may have closed it.
            if socket.is_closed:
                return
            try:
                frames = tuple(socket.zsocket.recv_multipart(zmq.NOBLOCK))
            except zmq.ZMQError as nothing:
                # A REQ has nothing more to say until it is used again.
                if nothing.errno not in (zmq.EAGAIN, zmq.EFSM):
                    raise
                return
            if socket.zsocket.type == zmq.XPUB:
                socket.told(frames[0])
            else:
                socket.hear(frames)

    # -- the end -------------------------------------------------------------------------------------------------------

    def close(self) -> None:
        """Close every socket, forget every timer, and end the context. May be called twice."""
        for socket in list(self._sockets.values()):
            socket.close()
        self._timers.clear()
        # Also what was made and never came into use: its end would be waited for without end.
        self._context.destroy(linger=0)


def _nothing() -> None:
    """Nobody is called back any more."""
