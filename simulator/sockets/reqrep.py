"""REQ and REP: one request, then one reply.

REQ is a DEALER, and REP a ROUTER, with a state and an envelope: an empty frame ends the identities. What has no such
frame is skipped by both. Measured on libzmq 4.3.5 (req.cpp, rep.cpp).
"""

import struct
from typing import TYPE_CHECKING, ClassVar

from simulator.sockets.base import Socket
from simulator.sockets.errors import EAGAIN, EFSM, Errno, LibraryAborts
from simulator.sockets.pipe import Message, Pipe
from simulator.sockets.pipeline import Dealer
from simulator.sockets.router import Router

if TYPE_CHECKING:
    from simulator.sockets.context import Context


class Req(Dealer):
    """REQ: sends, then receives, in turn."""

    KIND: ClassVar[str] = "REQ"

    def __init__(self, context: "Context", name: str) -> None:
        super().__init__(context, name)
        self._is_waiting = False
        self._begins = True
        #: Where the request went: a reply from elsewhere is none. None when that peer is gone: then all are taken.
        self._asked: Pipe | None = None
        self._number = context.kernel.schedule.getrandbits(32)

    def _detached(self, pipe: Pipe) -> None:
        if pipe is self._asked:
            self._asked = None
        super()._detached(pipe)

    def _send(self, frames: Message) -> Errno | None:
        # Not at once, as DEALER does: the state moves with each frame.
        return Socket._send(self, frames)

    def _send_frame(self, frame: bytes, more: bool) -> Errno | None:
        if self._is_waiting:
            if not self.options.req_relaxed:
                return EFSM
            self._is_waiting = False
            self._begins = True
        if self._begins:
            self._asked = None
            if self.options.req_correlate:
                self._number = (self._number + 1) & 0xFFFFFFFF
                if not self._out.send_frame(struct.pack("=I", self._number), True):
                    return EAGAIN
                self._asked = self._out.pipes[self._out.current]
            if not self._out.send_frame(b"", True):
                return EAGAIN
            self._asked = self._out.pipes[self._out.current]
            self._begins = False
            # Replies to earlier requests that lie here already are none to this one.
            while self._in.recv() is not None:
                pass
        if not self._out.send_frame(frame, more):
            return EAGAIN
        if not more:
            self._is_waiting = True
            self._begins = True
        return None

    def _recv(self) -> Message | Errno:
        if not self._is_waiting:
            return EFSM
        while True:
            found = self._in.fetch()
            if found is None:
                return EAGAIN
            self._in.finish()
            pipe, message = found
            if self._asked is not None and pipe is not self._asked:
                continue
            body = self._body(message)
            if body is not None:
                self._is_waiting = False
                self._begins = True
                return body

    def _body(self, message: Message) -> Message | None:
        if self.options.req_correlate:
            if len(message) < 2 or message[0] != struct.pack("=I", self._number):
                return None
            message = message[1:]
        return message[1:] if len(message) > 1 and not message[0] else None

    def _has_in(self) -> bool:
        return self._is_waiting and super()._has_in()

    def _has_out(self) -> bool:
        return (not self._is_waiting or bool(self.options.req_relaxed)) and super()._has_out()


class Rep(Router):
    """REP: receives, then sends, in turn."""

    KIND: ClassVar[str] = "REP"
    HANDS_OVER: ClassVar[bool] = False

    def __init__(self, context: "Context", name: str) -> None:
        super().__init__(context, name)
        self._is_replying = False

    def _send(self, frames: Message) -> Errno | None:
        # Not at once, as ROUTER does: the state moves with each frame.
        return Socket._send(self, frames)

    def _send_frame(self, frame: bytes, more: bool) -> Errno | None:
        if not self._is_replying:
            return EFSM
        error = super()._send_frame(frame, more)
        if error is None and not more:
            self._is_replying = False
        return error

    def _recv(self) -> Message | Errno:
        if self._is_replying:
            return EFSM
        while True:
            message = super()._recv()
            if isinstance(message, Errno):
                return message
            # The identities up to the delimiter are the beginning of the reply.
            last = len(message) - 1
            for number, frame in enumerate(message):
                if number == last:
                    self._forget_unfinished()
                    break
                if super()._send_frame(frame, True) is not None:
                    raise LibraryAborts("rep.cpp: ROUTER_MANDATORY, and the peer of a request cannot be reached")
                if not frame:
                    self._is_replying = True
                    return message[number + 1 :]

    def _has_in(self) -> bool:
        return not self._is_replying and super()._has_in()

    def _has_out(self) -> bool:
        return self._is_replying and super()._has_out()
