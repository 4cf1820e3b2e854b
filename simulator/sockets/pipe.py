"""One end of a connection between two sockets, or between a socket and the I/O thread that serves a TCP connection.

A pipe has two ends, each owned by a thread; what one end wants of the other is a command in the mailbox of the other's
owner, and is done when that owner next looks. Only messages are passed at once, and only whole ones: the frames of an
unfinished message stay with the writer.

Credit: a writer counts what it wrote, and learns in batches of the low-water mark `(hwm + 1) // 2` how much of it was
read. A full pipe therefore opens again only after a batch was read. Messages count, not frames; a routing id does not.

Sleep: a reader that finds the queue empty sleeps, and the next message wakes it with a command. A reader that merely
stopped reading is never woken: that is how a peer with a duplicate identity is heard no more.

The end of a pipe is a handshake (term, acknowledged, acknowledged), with a delimiter behind the last message, so that
what was sent before is still read. Measured on libzmq 4.3.5 (pipe.cpp, ypipe.hpp).
"""

from collections import deque
from collections.abc import Callable
from typing import Any, Final, Protocol

from simulator.sockets.errors import LibraryAborts

#: A whole message as it lies in a pipe. Frames are bytes, or what the users of a simulation agreed on instead: only the
#: first one is looked into, for identities and topics, and empty ones by REQ and REP. What has no length cannot cross a
#: link with a bandwidth.
Message = tuple[Any, ...]
Command = tuple[Callable[[Any], object], Any]


class Special:
    """What lies in a pipe and is no message: the delimiter, or the routing id of the peer."""

    __slots__ = ("routing_id",)

    def __init__(self, routing_id: bytes = b"") -> None:
        self.routing_id = routing_id


DELIMITER: Final = Special()

# The states. A pipe can be written in the first, and read in the first two.
ACTIVE: Final = 0
#: The peer asked to end; what it sent before is still read.
WAITING: Final = 1
#: The delimiter came before the peer's request.
DELIMITED: Final = 2
#: The peer's request was granted.
ACK_SENT: Final = 3
#: We asked to end, the peer has not answered.
ASKED: Final = 4
#: Both asked; we granted, and wait for the peer's grant.
BOTH_ASKED: Final = 5


class Sink(Protocol):
    """Who uses an end of a pipe, and is told what happens to it."""

    def pipe_readable(self, pipe: "Pipe") -> None:
        """There is something to read again."""

    def pipe_writable(self, pipe: "Pipe") -> None:
        """There is room to write again."""

    def pipe_hiccuped(self, pipe: "Pipe") -> None:
        """The connection behind the pipe was replaced, and what was written but not read was lost."""

    def pipe_terminated(self, pipe: "Pipe") -> None:
        """The pipe must be forgotten."""


class Owner(Protocol):
    """The thread to which an end belongs, as others see it: a mailbox."""

    def post(self, command: Command) -> None:
        """Leave a command."""

    def dropped(self, pipe: "Pipe") -> None:
        """The peer at the other end of a pipe wants no connection with us."""


class Pipe:
    """One end. `queue` is what there is to read; writing appends to the queue of `peer`."""

    __slots__ = (
        "credited",
        "express",
        "hwm",
        "hwm_boost",
        "identity",
        "in_active",
        "in_boost",
        "index_in",
        "index_out",
        "is_asleep",
        "is_delayed",
        "is_flowing",
        "lwm",
        "on_credit",
        "on_wake",
        "out_active",
        "owner",
        "partial",
        "peer",
        "queue",
        "sent",
        "sink",
        "state",
        "taken",
    )

    peer: "Pipe"

    def __init__(self, owner: Owner, in_hwm: int, out_hwm: int, *, conflate: bool = False) -> None:
        self.owner = owner
        self.sink: Sink | None = None
        self.queue: deque[Message | Special] = deque(maxlen=1) if conflate else deque()
        self.hwm = out_hwm
        self.lwm = (in_hwm + 1) // 2
        #: What the other side adds to the marks, where it does: None, or messages; 0 stands for no limit.
        self.in_boost: int | None = None
        self.hwm_boost: int | None = None
        #: Messages written; of those, how many the reader is known to have taken; messages taken here.
        self.sent = 0
        self.credited = 0
        self.taken = 0
        self.in_active = True
        self.out_active = True
        self.is_asleep = False
        #: Whether the peer's request to end waits for what it sent before.
        self.is_delayed = True
        #: Whether the connection behind this end may read it; not between a new connection and the news of it.
        self.is_flowing = True
        self.state = ACTIVE
        #: Frames of a message that is not finished.
        self.partial: list[bytes] = []
        #: The identity of the peer, where a ROUTER gave or read one.
        self.identity = b""
        #: Places in the arrays of the socket.
        self.index_in = -1
        self.index_out = -1
        #: How the peer wakes us, and how it tells us what it has taken; None: by a command for our owner.
        self.on_wake: Callable[[], object] | None = None
        self.on_credit: Callable[[int], object] | None = None
        #: Who takes a message at once that would be read at once; it may decline.
        self.express: Callable[[Message], bool] | None = None

    def notify(self) -> None:
        """Wake the reader here."""
        if self.on_wake is None:
            self.owner.post((self._activate_read, None))
        else:
            self.on_wake()

    def credit(self, taken: int) -> None:
        """Tell the writer here how much of what it wrote was taken."""
        if self.on_credit is None:
            self.owner.post((self._activate_write, taken))
        else:
            self.on_credit(taken)

    # -- marks ---------------------------------------------------------------------------------------------------------

    def set_boost(self, in_boost: int, out_boost: int) -> None:
        """The marks of the other socket of an inproc connection, which are added to ours."""
        self.in_boost = in_boost
        self.hwm_boost = out_boost

    def set_marks(self, in_hwm: int, out_hwm: int) -> None:
        """New marks for what is read and written from now on; no limit on either side is no limit."""
        into = in_hwm + (self.in_boost or 0)
        out = out_hwm + (self.hwm_boost or 0)
        if in_hwm <= 0 or self.in_boost == 0:
            into = 0
        if out_hwm <= 0 or self.hwm_boost == 0:
            out = 0
        self.lwm = (into + 1) // 2
        self.hwm = out

    def _set_marks(self, marks: tuple[int, int]) -> None:
        self.set_marks(*marks)

    def send_marks(self, in_hwm: int, out_hwm: int) -> None:
        """Tell the peer of new marks."""
        self.peer.owner.post((self.peer._set_marks, (in_hwm, out_hwm)))

    # -- reading -------------------------------------------------------------------------------------------------------

    def _next(self) -> Message | Special | None:
        """The next thing in the queue, which is not counted yet."""
        if not self.in_active or self.state > WAITING:
            return None
        queue = self.queue
        if not queue:
            self.in_active = False
            self.is_asleep = True
            return None
        item = queue.popleft()
        if item is DELIMITER:
            self._delimited()
            return None
        return item

    def read(self) -> Message | Special | None:
        """Take the next message, or the routing id; None if there is nothing."""
        if not self.in_active or self.state > WAITING:
            return None
        queue = self.queue
        if not queue:
            self.in_active = False
            self.is_asleep = True
            return None
        item = queue.popleft()
        if item.__class__ is not tuple:
            if item is DELIMITER:
                self._delimited()
                return None
            self._recount()
            return item
        if self.lwm:
            if len(item) > 1:
                self._recount()
            self.taken += 1
            if not self.taken % self.lwm:
                self.peer.credit(self.taken)
        else:
            self.taken += 1
        return item

    def _recount(self) -> None:
        # libzmq looks at the count after every frame, and tells the writer again what it knows.
        if self.lwm and not self.taken % self.lwm:
            self.peer.credit(self.taken)

    def fetch(self) -> Message | Special | None:
        """Take the next message without counting it: `finish` does, when its last frame is read."""
        item = self._next()
        if item is not None and (isinstance(item, Special) or len(item) > 1):
            self._recount()
        return item

    def finish(self, frames: int) -> None:
        """Count a message that was fetched, and had so many frames."""
        if frames > 2:
            self._recount()
        self.taken += 1
        if self.lwm and not self.taken % self.lwm:
            self.peer.credit(self.taken)

    def check_read(self) -> bool:
        """Whether there is something to read."""
        if not self.in_active or self.state > WAITING:
            return False
        queue = self.queue
        if not queue:
            self.in_active = False
            self.is_asleep = True
            return False
        if queue[0] is DELIMITER:
            queue.popleft()
            self._delimited()
            return False
        return True

    def _delimited(self) -> None:
        if self.state == ACTIVE:
            self.state = DELIMITED
        else:
            self._grant()

    # -- writing -------------------------------------------------------------------------------------------------------

    def has_room(self) -> bool:
        """Whether the high-water mark allows one more message."""
        return not 0 < self.hwm <= self.sent - self.credited

    def check_write(self) -> bool:
        """Whether a message can be written now. A pipe found full must be activated before it is tried again."""
        if not self.out_active or self.state:
            return False
        if 0 < self.hwm <= self.sent - self.credited:
            self.out_active = False
            return False
        return True

    def write(self, message: Message) -> bool:
        """Write a whole message, unless the pipe is full or ends."""
        if not self.out_active or self.state:
            return False
        if 0 < self.hwm <= self.sent - self.credited:
            self.out_active = False
            return False
        if self.partial:
            # What was begun here stands before it, whoever it was meant for.
            message = (*self.partial, *message)
            self.partial.clear()
        self.sent += 1
        peer = self.peer
        if peer.is_asleep:
            express = peer.express
            if express is not None and express(message):
                return True
            peer.queue.append(message)
            peer.is_asleep = False
            peer.notify()
        else:
            peer.queue.append(message)
        return True

    def write_frame(self, frame: bytes, more: bool) -> bool:
        """Write one frame of a message; nothing of it is to be seen before the last."""
        if not self.check_write():
            return False
        self.partial.append(frame)
        if more:
            return True
        message, self.partial = tuple(self.partial), []
        return self.write(message)

    def write_identity(self, identity: bytes) -> None:
        """Tell the peer who we are. Raises LibraryAborts if the pipe ends already."""
        if not self.check_write():
            raise LibraryAborts("pipe.cpp: the identity cannot be written")
        self._append(Special(identity))

    def _append(self, item: Message | Special) -> None:
        peer = self.peer
        peer.queue.append(item)
        if peer.is_asleep:
            peer.is_asleep = False
            peer.notify()

    def rollback(self) -> None:
        """Forget the frames of a message that is not finished."""
        self.partial.clear()

    # -- commands of the peer ------------------------------------------------------------------------------------------

    def _activate_read(self, _: object) -> None:
        if not self.in_active and self.state <= WAITING:
            self.in_active = True
            if self.sink is not None:
                self.sink.pipe_readable(self)

    def _activate_write(self, taken: int) -> None:
        self.credited = taken
        if not self.out_active and self.state == ACTIVE:
            self.out_active = True
            if self.sink is not None:
                self.sink.pipe_writable(self)

    def hiccup(self) -> None:
        """The connection is a new one: what the peer wrote and we did not read is lost, and the peer is told."""
        if self.state == ACTIVE:
            self.in_active = True
            self.is_flowing = False
            self.peer.owner.post((self.peer._hiccuped, None))

    def _hiccuped(self, _: object) -> None:
        peer = self.peer
        self.sent -= len(peer.queue)
        peer.queue.clear()
        peer.is_asleep = True
        peer.is_flowing = True
        self.out_active = True
        if self.state == ACTIVE and self.sink is not None:
            self.sink.pipe_hiccuped(self)

    # -- the end -------------------------------------------------------------------------------------------------------

    def terminate(self, is_delayed: bool) -> None:
        """End the pipe from our side; `is_delayed` lets what lies in it be read first."""
        self.is_delayed = is_delayed
        if self.state in (ACK_SENT, ASKED, BOTH_ASKED):
            return
        if self.state in (ACTIVE, DELIMITED):
            self.peer.owner.post((self.peer._asked, None))
            self.state = ASKED
        elif not is_delayed:
            self.partial.clear()
            self._grant()
        self.out_active = False
        if self.state != ACK_SENT:
            self.partial.clear()
            self._append(DELIMITER)

    def _grant(self) -> None:
        self.partial.clear()
        self.state = ACK_SENT
        self.peer.owner.post((self.peer._granted, None))

    def _asked(self, _: object) -> None:
        if self.state == ACTIVE:
            if self.is_delayed:
                self.state = WAITING
            else:
                self._grant()
        elif self.state == DELIMITED:
            self._grant()
        elif self.state == ASKED:
            self.state = BOTH_ASKED
            self.peer.owner.post((self.peer._granted, None))

    def _granted(self, _: object) -> None:
        if self.sink is not None:
            self.sink.pipe_terminated(self)
        if self.state == ASKED:
            self.peer.owner.post((self.peer._granted, None))
        self.queue.clear()


def pair(owners: tuple[Owner, Owner], hwms: tuple[int, int], *, conflate: bool = False) -> tuple[Pipe, Pipe]:
    """The two ends of a new pipe; `hwms` are the marks of what the first end sends and receives."""
    one = Pipe(owners[0], hwms[1], hwms[0], conflate=conflate)
    other = Pipe(owners[1], hwms[0], hwms[1], conflate=conflate)
    one.peer, other.peer = other, one
    return one, other
