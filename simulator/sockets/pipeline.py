"""PUSH, PULL, DEALER and PAIR: messages in turn to peers, messages in turn from peers, and one peer only."""

from typing import TYPE_CHECKING, ClassVar

from simulator.sockets.arrays import Balance, Fair
from simulator.sockets.base import Socket
from simulator.sockets.errors import EAGAIN, Errno
from simulator.sockets.pipe import Message, Pipe, Special

if TYPE_CHECKING:
    from simulator.sockets.context import Context


class Push(Socket):
    """PUSH: sends in turn, and receives nothing."""

    KIND: ClassVar[str] = "PUSH"

    def __init__(self, context: "Context", name: str) -> None:
        super().__init__(context, name)
        self._out = Balance()

    def _attached(self, pipe: Pipe, is_local: bool) -> None:
        # Nobody reads here, so nobody would come to the delimiter.
        pipe.is_delayed = False
        self._out.attach(pipe)

    def _detached(self, pipe: Pipe) -> None:
        self._out.terminated(pipe)

    def pipe_writable(self, pipe: Pipe) -> None:
        """There is room to write again."""
        self._out.activated(pipe)

    def _send(self, frames: Message) -> Errno | None:
        if self._out.is_inside or self._out.is_dropping:
            return super()._send(frames)
        return EAGAIN if self._out.send(frames) is None else None

    def _send_frame(self, frame: bytes, more: bool) -> Errno | None:
        return None if self._out.send_frame(frame, more) else EAGAIN

    def _has_out(self) -> bool:
        return self._out.has_out()


class Pull(Socket):
    """PULL: receives in turn, and sends nothing."""

    KIND: ClassVar[str] = "PULL"

    def __init__(self, context: "Context", name: str) -> None:
        super().__init__(context, name)
        self._in = Fair()

    def _attached(self, pipe: Pipe, is_local: bool) -> None:
        self._in.attach(pipe)

    def _detached(self, pipe: Pipe) -> None:
        self._in.terminated(pipe)

    def pipe_readable(self, pipe: Pipe) -> None:
        """There is something to read again."""
        self._in.activated(pipe)

    def _recv(self) -> Message | Errno:
        message = self._in.recv()
        return EAGAIN if message is None else message

    def _has_in(self) -> bool:
        return self._in.has_in()


class Dealer(Socket):
    """DEALER: sends in turn and receives in turn."""

    KIND: ClassVar[str] = "DEALER"
    HANDS_OVER: ClassVar[bool] = True
    takes_all = True

    def __init__(self, context: "Context", name: str) -> None:
        super().__init__(context, name)
        self._in = Fair()
        self._out = Balance()

    def _attached(self, pipe: Pipe, is_local: bool) -> None:
        if self.options.probe_router:
            pipe.write((b"",))
        self._in.attach(pipe)
        self._out.attach(pipe)

    def _detached(self, pipe: Pipe) -> None:
        self._in.terminated(pipe)
        self._out.terminated(pipe)

    def pipe_readable(self, pipe: Pipe) -> None:
        """There is something to read again."""
        self._in.activated(pipe)

    def pipe_writable(self, pipe: Pipe) -> None:
        """There is room to write again."""
        self._out.activated(pipe)

    def _send(self, frames: Message) -> Errno | None:
        if self._out.is_inside or self._out.is_dropping:
            return super()._send(frames)
        return EAGAIN if self._out.send(frames) is None else None

    def _send_frame(self, frame: bytes, more: bool) -> Errno | None:
        return None if self._out.send_frame(frame, more) else EAGAIN

    def _recv(self) -> Message | Errno:
        message = self._in.recv()
        return EAGAIN if message is None else message

    def _has_in(self) -> bool:
        return self._in.has_in()

    def _has_out(self) -> bool:
        return self._out.has_out()


class Pair(Socket):
    """PAIR: one peer; others are sent away while it is there."""

    KIND: ClassVar[str] = "PAIR"

    def __init__(self, context: "Context", name: str) -> None:
        super().__init__(context, name)
        self._pipe: Pipe | None = None

    def _attached(self, pipe: Pipe, is_local: bool) -> None:
        if self._pipe is None:
            self._pipe = pipe
        else:
            pipe.terminate(False)

    def _detached(self, pipe: Pipe) -> None:
        if pipe is self._pipe:
            self._pipe = None

    def _send(self, frames: Message) -> Errno | None:
        pipe = self._pipe
        if pipe is None:
            return EAGAIN
        if pipe.partial:
            return super()._send(frames)
        return None if pipe.write(frames) else EAGAIN

    def _send_frame(self, frame: bytes, more: bool) -> Errno | None:
        pipe = self._pipe
        return None if pipe is not None and pipe.write_frame(frame, more) else EAGAIN

    def _recv(self) -> Message | Errno:
        message = None if self._pipe is None else self._pipe.read()
        return EAGAIN if message is None or isinstance(message, Special) else message

    def _has_in(self) -> bool:
        return self._pipe is not None and self._pipe.check_read()

    def _has_out(self) -> bool:
        return self._pipe is not None and self._pipe.check_write()
