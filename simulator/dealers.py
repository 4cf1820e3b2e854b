"""An engine's end of its queues as the documents of 2012 have it: one DEALER per queue, in the place of one ROUTER.

Its role knows one socket, on which a request comes behind the name of the queue and its reply leaves behind the same
name. `QueueSocket` is that socket for the role, and so many DEALERs on the wire: the name, which there is none of, is
put in front of what a DEALER takes and is taken from what it sends.
"""

from collections.abc import Callable, Mapping
from typing import Any, ClassVar

from simulator.sockets import Errno, Socket


class QueueSocket:
    """Some DEALERs, by the name of their queue, which are used like one ROUTER."""

    #: Like any of them, it may have no room for what is sent.
    KIND: ClassVar[str] = "DEALER"

    def __init__(self, queues: Mapping[str, Socket]) -> None:
        self.queues = {name.encode(): socket for name, socket in queues.items()}

    def recv(self) -> tuple[Any, ...] | Errno:
        """What has come, behind the name of its queue."""
        for name, socket in self.queues.items():
            load = socket.recv()
            if type(load) is tuple:
                return (name, *load)
        return Errno.EAGAIN

    def send(self, load: tuple[Any, ...]) -> Errno | None:
        """Send it through the queue that is named first; what is for none is lost, as with a ROUTER."""
        queue = self.queues.get(bytes(load[0]))
        return None if queue is None else queue.send(load[1:])

    def watch(self, callback: Callable[[], object] | None) -> None:
        """Call back when there may be something."""
        for socket in self.queues.values():
            socket.watch(callback)

    def listen(self, _: Callable[[tuple[Any, ...]], object] | None) -> None:
        """Nothing is handed over at once: everything comes by `watch`."""

    def set(self, name: str, value: int | bytes) -> None:
        """Set an option of all of them. Raises ZmqError(EINVAL)."""
        for socket in self.queues.values():
            socket.set(name, value)

    def connect(self, address: str) -> None:
        """Connect the queue of broadcasts, of which there is another one for each number."""
        self.queues[b"broadcast"].connect(address)

    def disconnect(self, address: str) -> None:
        """Leave the queue of broadcasts."""
        self.queues[b"broadcast"].disconnect(address)


__all__ = ["QueueSocket"]
