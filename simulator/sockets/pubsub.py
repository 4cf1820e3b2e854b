r"""PUB, XPUB, SUB and XSUB: messages to those who subscribed to the beginning of their first frame.

Publishers filter: a subscription travels upstream as a message, `\x01` and the prefix, and counts once it was read
there, which happens when the thread of the publisher comes by. Subscribers filter again. Who has no room loses the
newest messages, whole ones. Measured on libzmq 4.3.5 (xpub.cpp, xsub.cpp).
"""

from collections import deque
from typing import TYPE_CHECKING, ClassVar

from simulator.sockets.arrays import Fair, Spread
from simulator.sockets.base import Socket
from simulator.sockets.errors import EAGAIN, Errno, ZmqError
from simulator.sockets.pipe import Message, Pipe, Special
from simulator.sockets.subscriptions import Audience, Wanted

if TYPE_CHECKING:
    from simulator.sockets.context import Context


class XPub(Socket):
    """XPUB: publishes, and receives what is subscribed to."""

    KIND: ClassVar[str] = "XPUB"

    def __init__(self, context: "Context", name: str) -> None:
        super().__init__(context, name)
        self._out = Spread(self._refused)
        self._audience = Audience()
        #: Frames to be received, each with whether more of the same message follow.
        self._told: deque[tuple[bytes, bool]] = deque()
        self._is_inside = False

    def _attached(self, pipe: Pipe, is_local: bool) -> None:
        self._out.attach(pipe)
        # A pipe counts as readable when it is new.
        self.pipe_readable(pipe)

    def _detached(self, pipe: Pipe) -> None:
        for prefix, is_last in self._audience.drop(pipe):
            if is_last or self.options.xpub_verboser:
                self._tell(b"\0" + prefix, False)
        self._out.terminated(pipe)

    def _refused(self, pipe: Pipe) -> None:
        on_overflow = self.context.network.on_overflow
        if on_overflow is not None and not pipe.has_room():
            on_overflow(self.name)

    def pipe_writable(self, pipe: Pipe) -> None:
        """There is room to write again."""
        self._out.activated(pipe)

    def pipe_readable(self, pipe: Pipe) -> None:
        """Subscriptions have come."""
        options = self.options
        while (message := pipe.read()) is not None:
            if isinstance(message, Special):
                continue
            last = len(message) - 1
            for number, frame in enumerate(message):
                kind = frame[:1]
                if kind == b"\1":
                    if self._audience.add(frame[1:], pipe) or options.xpub_verbose or options.xpub_verboser:
                        self._tell(frame, False)
                elif kind == b"\0":
                    if not self._audience.remove(frame[1:], pipe) or options.xpub_verboser:
                        self._tell(frame, False)
                else:
                    self._tell(frame, number < last)

    def _hiccuped(self, pipe: Pipe) -> None:
        for _ in self._audience.drop(pipe):
            pass

    def _tell(self, frame: bytes, more: bool) -> None:
        self._told.append((frame, more))

    def _find(self, topic: bytes) -> None:
        out = self._out
        everything = self._audience.everything
        if everything is not None and len(everything) == len(out.pipes) and not self.options.invert_matching:
            # All want all of it: nobody has to be looked for.
            out.matching = out.eligible
            return
        out.unmatch()
        for pipe in self._audience.listeners(topic):
            out.match(pipe)
        if self.options.invert_matching:
            out.invert()

    def _send(self, frames: Message) -> Errno | None:
        if self._is_inside:
            return super()._send(frames)
        self._find(frames[0])
        out = self._out
        if self.options.xpub_nodrop and not out.has_room():
            return EAGAIN
        out.send(frames)
        out.matching = 0
        return None

    def _send_frame(self, frame: bytes, more: bool) -> Errno | None:
        if not self._is_inside:
            self._find(frame)
        if self.options.xpub_nodrop and not self._out.has_room():
            return EAGAIN
        self._out.send_frame(frame, more)
        if not more:
            self._out.unmatch()
        self._is_inside = more
        return None

    def _recv(self) -> Message | Errno:
        told = self._told
        if not told:
            return EAGAIN
        frame, more = told.popleft()
        frames = [frame]
        while more and told:
            frame, more = told.popleft()
            frames.append(frame)
        return tuple(frames)

    def _has_in(self) -> bool:
        return bool(self._told)

    def _has_out(self) -> bool:
        return True


class Pub(XPub):
    """PUB: publishes."""

    KIND: ClassVar[str] = "PUB"

    def _attached(self, pipe: Pipe, is_local: bool) -> None:
        # Nobody would come to the delimiter.
        pipe.is_delayed = False
        super()._attached(pipe, is_local)

    def _tell(self, frame: bytes, more: bool) -> None:
        pass

    def _recv(self) -> Message | Errno:
        return Errno.ENOTSUP

    def _has_in(self) -> bool:
        return False


class XSub(Socket):
    """XSUB: receives what it subscribed to, by messages of its own."""

    KIND: ClassVar[str] = "XSUB"
    HANDS_OVER: ClassVar[bool] = True
    IS_FILTERING: ClassVar[bool] = False
    takes_all = True

    def __init__(self, context: "Context", name: str) -> None:
        super().__init__(context, name)
        self._in = Fair()
        self._out = Spread()
        self._wanted = Wanted()
        self._found: Message | None = None

    def _attached(self, pipe: Pipe, is_local: bool) -> None:
        self._in.attach(pipe)
        self._out.attach(pipe)
        self._subscribe_all(pipe)

    def _hiccuped(self, pipe: Pipe) -> None:
        self._subscribe_all(pipe)

    def _subscribe_all(self, pipe: Pipe) -> None:
        for prefix in self._wanted:
            pipe.write((b"\1" + prefix,))

    def _detached(self, pipe: Pipe) -> None:
        self._in.terminated(pipe)
        self._out.terminated(pipe)

    def pipe_readable(self, pipe: Pipe) -> None:
        """There is something to read again."""
        self._in.activated(pipe)

    def pipe_writable(self, pipe: Pipe) -> None:
        """There is room to write again."""
        self._out.activated(pipe)

    def _send_frame(self, frame: bytes, more: bool) -> Errno | None:
        self._tell(frame, more)
        return None

    def _tell(self, frame: bytes, more: bool) -> None:
        kind = frame[:1]
        if kind == b"\1":
            self._wanted.add(frame[1:])
        elif kind == b"\0" and not self._wanted.remove(frame[1:]):
            return
        self._out.send_all(frame, more)

    def _has_out(self) -> bool:
        return True

    def _fetch(self) -> Message | None:
        while (found := self._in.fetch()) is not None:
            _, message = found
            if not self.IS_FILTERING or self._wanted.matches(message[0]) is not bool(self.options.invert_matching):
                return message
            self._in.finish()
        return None

    def _recv(self) -> Message | Errno:
        message = self._found
        if message is None:
            message = self._fetch()
            if message is None:
                return EAGAIN
        else:
            self._found = None
        self._in.finish()
        return message

    def _has_in(self) -> bool:
        if self._found is None:
            self._found = self._fetch()
        return self._found is not None


class Sub(XSub):
    """SUB: receives what it subscribed to, by an option."""

    KIND: ClassVar[str] = "SUB"
    IS_FILTERING: ClassVar[bool] = True
    takes_all = False

    def received(self, pipe: Pipe, message: Message) -> Message | None:
        """The message, if it is wanted."""
        return message if self._wanted.matches(message[0]) is not bool(self.options.invert_matching) else None

    def prepare(self, values: tuple[tuple[str, int | bytes], ...]) -> None:
        """As of every socket; to subscribe is something that is done, and no value that is kept."""
        super().prepare(tuple(each for each in values if each[0] != "SUBSCRIBE"))
        for name, value in values:
            if name == "SUBSCRIBE":
                self.set(name, value)

    def set(self, name: str, value: int | bytes) -> None:
        """Set an option; SUBSCRIBE and UNSUBSCRIBE take a prefix. Raises ZmqError(EINVAL)."""
        if name not in ("SUBSCRIBE", "UNSUBSCRIBE"):
            super().set(name, value)
        elif isinstance(value, bytes):
            self._tell((b"\1" if name == "SUBSCRIBE" else b"\0") + value, False)
        else:
            raise ZmqError(Errno.EINVAL, f"{name}: {value!r}")
        self.takes_all = self._wanted.is_everything and not self.options.invert_matching

    def _send_frame(self, frame: bytes, more: bool) -> Errno | None:
        return Errno.ENOTSUP

    def _has_out(self) -> bool:
        return False
