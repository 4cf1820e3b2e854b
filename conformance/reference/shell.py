"""The shell around a role: frames in, effects out.

A `Shell` holds one role, its sockets and its codec. A `Loop` polls the sockets of one or more shells in one thread,
takes what is there in batches, and wakes for timers. Nothing here decides anything about the protocol.

What arrives is decoded as far as a relay needs it: signature, freshness, header. Frames on a socket that carries no
messages go to the role as they are, and so does what an XPUB is told about subscriptions. What is no acceptable
message is handed over as `Malformed` and logged once per kind, without a byte of it.

A Python exception while one event is handled is a mistake of ours: it is reported, costs that event, and the loop
goes on.
"""

import heapq
import itertools
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any, Final

import zmq

from conformance.reference.env import Log
from protocol.channels import channel
from protocol.errors import ProtocolError
from protocol.roles.base import (
    Arrived,
    Fired,
    Forward,
    Malformed,
    Note,
    Raw,
    Role,
    Send,
    SendRaw,
    SetTimer,
    Started,
    Stopping,
)
from protocol.roles.carrier import Carrier, Runner
from protocol.roles.records import Records
from protocol.wire import Codec, Frame
from protocol.world import MILLISECOND

#: Messages taken from one socket before the others get their turn.
BATCH: Final = 100
#: Batches taken from a heart monitor's sockets before its timer: an answer that came in time counts.
BATCHES_IN_TIME: Final = 1000
#: The longest a poll lasts, in milliseconds: nothing depends on it, a lost wakeup would be healed by it.
LONGEST_POLL: Final = 10_000

#: Later than every moment of the monotonic clock.
NEVER: Final = 1 << 63

_NOBLOCK: Final = int(zmq.NOBLOCK)
_MORE: Final = int(zmq.NOBLOCK | zmq.SNDMORE)
#: Types that hand over what they are told about subscriptions; it is never a message.
_TOLD: Final = (zmq.XPUB, zmq.XSUB)
# Plain numbers: arithmetic with flags of an enumeration costs more than a system call.
_IN: Final = int(zmq.POLLIN)
_OUT: Final = int(zmq.POLLOUT)


class Link:
    """One socket of a role. Sending never waits: what libzmq does not take at once is kept, in order."""

    __slots__ = ("_get", "_recv", "_send", "is_raw", "name", "pending", "zsocket")

    def __init__(self, name: str, zsocket: "zmq.Socket[bytes]", *, is_raw: bool = False) -> None:
        self.name = name
        self.zsocket = zsocket
        self.is_raw = is_raw or zsocket.type in _TOLD
        #: Whole messages that wait for a peer; only a DEALER without one ever has any.
        self.pending: deque[Sequence[Frame]] = deque()
        # The methods of the C type: pyzmq's own wrappers cost several times as much as the call.
        base: Any = super(zmq.Socket, zsocket)
        self._send: Callable[[Frame, int], object] = base.send
        self._recv: Callable[..., Any] = base.recv

    def send(self, frames: Sequence[Frame]) -> None:
        """Send a message of at least one frame."""
        if self.pending:
            self.pending.append(frames)
            return
        send = self._send
        last = len(frames) - 1
        sent = 0
        try:
            while sent < last:
                send(frames[sent], _MORE)
                sent += 1
            send(frames[last], _NOBLOCK)
        except zmq.Again:
            # Only the first frame chooses a pipe, so either all of a message is taken or nothing.
            self.pending.append(frames)
        except Exception:
            if sent:
                # The beginning is on its way; without an end it would swallow the next message.
                with suppress(zmq.ZMQError):
                    send(b"", _NOBLOCK)
            raise

    def flush(self) -> None:
        """Try again to send what waits."""
        waiting, self.pending = self.pending, deque()
        while waiting and not self.pending:
            self.send(waiting.popleft())
        self.pending.extend(waiting)

    def recv(self) -> tuple[Frame, ...]:
        """The next message. Raises zmq.Again if there is none."""
        recv = self._recv
        frame = recv(_NOBLOCK, False)
        if not frame.more:
            return (frame.bytes,)
        frames = [frame.bytes]
        while frame.more:
            frame = recv(_NOBLOCK, False)
            frames.append(frame.bytes)
        return tuple(frames)


class Shell(Carrier):
    """One role and what it meets the world through; see `Carrier` for `records`, `runner`, `persist` and `on_note`."""

    def __init__(
        self,
        role: Role,
        sockets: Mapping[str, "zmq.Socket[bytes]"],
        codec: Codec,
        *,
        log: Log,
        codecs: Mapping[str, Codec] | None = None,
        records: Records | None = None,
        runner: Runner | None = None,
        persist: Callable[[Any], None] | None = None,
        on_note: Callable[[Note], None] | None = None,
        clock: Callable[[], int] = time.monotonic_ns,
    ) -> None:
        super().__init__(role, clock, records=records, runner=runner, persist=persist, on_note=on_note)
        self.codec = codec
        self.log = log
        self.links: dict[str, Link] = {}
        self._codecs: dict[str, Codec] = {}
        for name, zsocket in sockets.items():
            self.attach(name, zsocket, (codecs or {}).get(name))
        self._timers: list[tuple[int, int, str, int]] = []
        self._order = itertools.count()

    @property
    def due(self) -> int:
        """When there is something to do although nothing arrives."""
        due = self._timers[0][0] if self._timers else NEVER
        return due if self.flush_due is None else min(due, self.flush_due)

    def attach(self, name: str, zsocket: "zmq.Socket[bytes]", codec: Codec | None = None) -> Link:
        """Give the role one more socket; a shell in a loop is given it by `Loop.attach`."""
        is_raw = channel(self.role.SOCKETS[name].channel).framing == "raw"
        link = self.links[name] = Link(name, zsocket, is_raw=is_raw)
        self._codecs[name] = codec or self.codec
        return link

    def start(self, state: Any = None) -> None:
        """Hand over the first event."""
        self.deliver(Started(state))

    def stop(self) -> None:
        """Ask the role to end; it says goodbye first, and may take its time."""
        self.deliver(Stopping())

    def failed(self, where: str, error: Exception) -> None:
        """Tell the log, and go on."""
        self.log.failure(f"{self.role.NAME}: {where}", error)

    def drain(self, link: Link) -> bool:
        """Take what has arrived on a socket, up to a batch. Whether there may be more."""
        name = link.name
        recv = link.recv
        deliver = self.deliver
        if link.is_raw:
            for _ in range(BATCH):
                try:
                    frames = recv()
                except zmq.Again:
                    return False
                deliver(Raw(name, frames))
            return True
        decode = self._codecs[name].open_header
        for _ in range(BATCH):
            try:
                frames = recv()
            except zmq.Again:
                return False
            try:
                message = decode(frames)
            except ProtocolError as error:
                self.log.malformed(f"{self.role.NAME} {name}", error)
                deliver(Malformed(name, frames, error))
            except Exception as error:
                self.log.failure(f"{self.role.NAME}: frames on {name}", error)
            else:
                deliver(Arrived(name, message))
        return True

    def fire(self) -> None:
        """Hand over the timers that have run out; before them what waits on sockets without messages: pongs."""
        for link in self.links.values():
            if link.is_raw and link.zsocket.type != zmq.PUB:
                for _ in range(BATCHES_IN_TIME):
                    if not self.drain(link):
                        break
        timers = self._timers
        now = self.clock()
        if self.flush_due is not None and now >= self.flush_due:
            self.flush()
        while timers and timers[0][0] <= now:
            _, _, timer, epoch = heapq.heappop(timers)
            self.deliver(Fired(timer, epoch))

    def close(self, linger: int) -> None:
        """Close the sockets; what is still under way gets `linger` milliseconds."""
        for name, link in self.links.items():
            # The listener may have ended before, and nobody else is told anything there.
            is_monitor = self.role.SOCKETS[name].channel == "monitor"
            link.zsocket.close(linger=0 if is_monitor else linger)

    # -- effects -----------------------------------------------------------------------------------------------------

    def carry_send(self, effect: Send) -> None:
        """Sign and send a message."""
        self._send(effect, self.codec.encode(effect.message))

    def carry_forward(self, effect: Forward) -> None:
        """Send a message as it came, under other identities."""
        self._send(effect, self.codec.forward(effect.message, effect.identities))

    def _send(self, effect: Send | Forward, frames: Sequence[Frame]) -> None:
        try:
            self.links[effect.socket].send(frames)
        except zmq.ZMQError as error:
            if error.errno != zmq.EHOSTUNREACH:
                raise
            self.unreached(effect)

    def carry_send_raw(self, effect: SendRaw) -> None:
        """Send frames."""
        self.links[effect.socket].send(effect.frames)

    def carry_timer(self, effect: SetTimer) -> None:
        """Remember when to fire."""
        heapq.heappush(self._timers, (effect.at, next(self._order), effect.timer, effect.epoch))

    def flush_at(self, due: int) -> None:
        """Nothing: `due` and `fire` look at when it is time."""


class Loop:
    """Polls the sockets of some shells, and file descriptors, in the thread that calls `run`."""

    def __init__(self) -> None:
        self.shells: list[Shell] = []
        self._poller = zmq.Poller()
        self._links: dict[Any, tuple[Shell, Link]] = {}
        self._descriptors: dict[int, Callable[[], None]] = {}
        #: Links that may have to wait for room, and those that do.
        self._limited: list[tuple[Shell, Link]] = []
        self._waiting: set[Link] = set()
        self._is_stopped = False

    def add(self, shell: Shell) -> None:
        """Poll the sockets of a shell from now on."""
        self.shells.append(shell)
        for link in shell.links.values():
            self._poll(shell, link)

    def attach(self, shell: Shell, name: str, zsocket: "zmq.Socket[bytes]") -> None:
        """Give a shell of this loop one more socket."""
        self._poll(shell, shell.attach(name, zsocket))

    def _poll(self, shell: Shell, link: Link) -> None:
        self._links[link.zsocket] = shell, link
        # A PUB never receives, and a poll would be told so each time.
        if link.zsocket.type != zmq.PUB:
            self._poller.register(link.zsocket, _IN)
        # Without high-water marks, a ROUTER and a publisher take or drop everything at once.
        if link.zsocket.type not in (zmq.ROUTER, zmq.PUB, zmq.XPUB, zmq.SUB):
            self._limited.append((shell, link))

    def watch(self, descriptor: int, callback: Callable[[], None]) -> None:
        """Call back whenever a file descriptor is readable."""
        self._descriptors[descriptor] = callback
        self._poller.register(descriptor, _IN)

    def forget(self, descriptor: int) -> None:
        """Watch a file descriptor no more."""
        if self._descriptors.pop(descriptor, None) is not None:
            self._poller.unregister(descriptor)

    def stop(self) -> None:
        """End `run` after the present round."""
        self._is_stopped = True

    def run(self, until: Callable[[], bool] | None = None, deadline: int | None = None) -> int:
        """Poll until every role has ended, `stop` was called, `until` holds, or the deadline has passed.

        The deadline is in nanoseconds of the monotonic clock. The result is the greatest exit status of the roles.
        """
        self._is_stopped = False
        while not self._is_stopped and any(shell.status is None for shell in self.shells):
            if until is not None and until():
                break
            now = time.monotonic_ns()
            if deadline is not None and now >= deadline:
                break
            self.turn(self._wait(now, deadline))
        return max((shell.status or 0 for shell in self.shells), default=0)

    def turn(self, longest: int = 0) -> None:
        """One look at everything, waiting for at most `longest` milliseconds."""
        for found, event in self._poller.poll(longest):
            if isinstance(found, int):
                callback = self._descriptors.get(found)
                if callback is not None:
                    callback()
                continue
            shell, link = self._links[found]
            if event & _OUT:
                link.flush()
            if event & _IN:
                shell.drain(link)
        for shell in self.shells:
            due = shell.due
            if due != NEVER and due <= shell.clock():
                shell.fire()
        self._mind_the_full()

    def close(self, linger: int = 1000) -> None:
        """Close every socket."""
        for shell in self.shells:
            shell.close(linger)

    def _wait(self, now: int, deadline: int | None) -> int:
        """Milliseconds until something is due, rounded up: a poll that ends too early would only be repeated."""
        due = NEVER if deadline is None else deadline
        for shell in self.shells:
            if shell.status is None:
                due = min(due, shell.due)
        return min(LONGEST_POLL, max(0, -(-(due - now) // MILLISECOND)))

    def _mind_the_full(self) -> None:
        """Poll for room where messages wait, and only there."""
        for shell, link in self._limited:
            if bool(link.pending) != (link in self._waiting):
                flags = _IN
                if link.pending:
                    self._waiting.add(link)
                    flags |= _OUT
                else:
                    self._waiting.discard(link)
                if shell.status is None:
                    self._poller.register(link.zsocket, flags)


__all__ = ["BATCH", "Link", "Loop", "Shell"]
