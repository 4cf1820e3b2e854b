"""The devices that stand between two sockets: forwarders, and queues with a monitor.

A device has a thread of its own, in C: it acts whenever something arrives, whatever the interpreter does, and stops
only with its process. It takes one message of each side in turn, and waits where one cannot be sent, with all behind
it.

What becomes of a message stands in `protocol.devices`. One thing does not: of a message that consists of nothing but
two identities, a queue between two ROUTERs exchanges those, and takes the next message of that side for the rest of
it. Measured on pyzmq 27.3.
"""

from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, Protocol

from protocol.devices import Device
from simulator.sockets.base import POLLIN
from simulator.sockets.errors import Errno
from simulator.sockets.pipe import Message


class Plug(Protocol):
    """What a device does with a socket; whoever wants to know what passes may stand before one."""

    def recv(self) -> Message | Errno:
        """The next message, or Errno.EAGAIN."""

    def send(self, frames: Sequence[Any], /) -> Errno | None:
        """Send a message; None if it was taken."""

    def events(self) -> int:
        """POLLIN and POLLOUT."""

    def watch(self, callback: Callable[[], object] | None) -> None:
        """Call back when there may be something."""


class Relay:
    """A device at work: `front` and `back` are its sockets, and `monitor` the third one, if its row has prefixes.

    `stop` ends it; its sockets are left open.
    """

    def __init__(self, device: Device, front: Plug, back: Plug, monitor: Plug | None = None) -> None:
        self.device = device
        self.front = front
        self.back = back
        self.monitor = monitor
        self.is_stopped = False
        #: What waits for room: where it goes, and what.
        self._stuck: deque[tuple[Plug, Message]] = deque()
        #: The two identities of a message that had nothing else, by side.
        self._begun: dict[bool, Message] = {}
        for socket in (front, back, *([] if monitor is None else [monitor])):
            socket.watch(self.turn)

    def turn(self) -> None:
        """Pass on what is there."""
        while not self.is_stopped and self._flush():
            sides = [False] if self.front is self.back else [False, True]
            ready = [back for back in sides if (self.back if back else self.front).events() & POLLIN]
            if not ready:
                return
            for back in ready:
                self._pass(back)

    def _flush(self) -> bool:
        while self._stuck:
            target, message = self._stuck[0]
            target.events()
            if target.send(message) is Errno.EAGAIN:
                return False
            self._stuck.popleft()
        return True

    def _pass(self, back: bool) -> None:
        source, target = (self.back, self.front) if back else (self.front, self.back)
        message = source.recv()
        if isinstance(message, Errno):
            return
        begun = self._begun.pop(back, None)
        if begun is None and self.device.swap and len(message) == 2:
            self._begun[back] = message
            return
        if begun is not None:
            message = (*begun, *message)
        out, copy = self.device.forward(message, back=back)
        self._stuck.append((target, tuple(out)))
        if copy is not None and self.monitor is not None:
            self._stuck.append((self.monitor, tuple(copy)))
        self._flush()

    def stop(self) -> None:
        """Pass on nothing more."""
        self.is_stopped = True
        for socket in (self.front, self.back, *([] if self.monitor is None else [self.monitor])):
            socket.watch(None)
