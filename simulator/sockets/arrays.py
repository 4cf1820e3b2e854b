"""How a socket chooses among its pipes: the three arrays of libzmq.

Each array keeps the pipes that can be used at its front, and swaps a pipe across the border when it is found unusable
or becomes usable again. The order that results is what users see: round robin in `Balance`, fair queueing in `Fair`.
It is the order of libzmq 4.3.5 (lb.cpp, fq.cpp, dist.cpp), including what swaps do to it.
"""

from collections.abc import Callable

from simulator.sockets.errors import LibraryAborts
from simulator.sockets.pipe import WAITING, Message, Pipe, Special


def _swap_in(pipes: list[Pipe], one: int, other: int) -> None:
    if one == other:
        return
    a, b = pipes[one], pipes[other]
    pipes[one], pipes[other] = b, a
    a.index_in, b.index_in = other, one


def _swap_out(pipes: list[Pipe], one: int, other: int) -> None:
    if one == other:
        return
    a, b = pipes[one], pipes[other]
    pipes[one], pipes[other] = b, a
    a.index_out, b.index_out = other, one


class Balance:
    """Sending in turn: each message goes to the next pipe that can take it."""

    __slots__ = ("active", "current", "is_dropping", "is_inside", "pipes")

    def __init__(self) -> None:
        self.pipes: list[Pipe] = []
        self.active = 0
        self.current = 0
        #: Whether a message was begun whose last frame is still to come, and whether the rest of it goes nowhere.
        self.is_inside = False
        self.is_dropping = False

    def attach(self, pipe: Pipe) -> None:
        """Take a new pipe, which can be written to."""
        pipe.index_out = len(self.pipes)
        self.pipes.append(pipe)
        self.activated(pipe)

    def activated(self, pipe: Pipe) -> None:
        """A pipe can be written to again."""
        _swap_out(self.pipes, pipe.index_out, self.active)
        self.active += 1

    def terminated(self, pipe: Pipe) -> None:
        """A pipe is gone."""
        index = pipe.index_out
        if index == self.current and self.is_inside:
            self.is_dropping = True
        if index < self.active:
            self.active -= 1
            _swap_out(self.pipes, index, self.active)
            if self.current == self.active:
                self.current = 0
        last = self.pipes.pop()
        if last is not pipe:
            self.pipes[pipe.index_out] = last
            last.index_out = pipe.index_out

    def _deactivate(self) -> None:
        self.active -= 1
        if self.current < self.active:
            _swap_out(self.pipes, self.current, self.active)
        else:
            self.current = 0

    def send(self, message: Message) -> Pipe | None:
        """Send a whole message; the pipe that took it, or None if none can."""
        while self.active:
            pipe = self.pipes[self.current]
            if pipe.write(message):
                self.current += 1
                if self.current >= self.active:
                    self.current = 0
                return pipe
            self._deactivate()
        return None

    def send_frame(self, frame: bytes, more: bool) -> bool:
        """Send one frame of a message; whether it was taken. While the message lasts, its pipe is `pipes[current]`.

        The rest of a message whose pipe went away is swallowed frame by frame.
        """
        if self.is_dropping:
            self.is_inside = self.is_dropping = more
            return True
        while self.active:
            pipe = self.pipes[self.current]
            if pipe.write_frame(frame, more):
                self.is_inside = more
                if not more:
                    self.current += 1
                    if self.current >= self.active:
                        self.current = 0
                return True
            if self.is_inside:
                pipe.rollback()
                self.is_dropping = more
                self.is_inside = False
                return False
            self._deactivate()
        return False

    def has_out(self) -> bool:
        """Whether a message could be sent now."""
        if self.is_inside:
            return True
        while self.active:
            if self.pipes[self.current].check_write():
                return True
            self.active -= 1
            _swap_out(self.pipes, self.current, self.active)
            if self.current == self.active:
                self.current = 0
        return False


class Fair:
    """Receiving in turn: the next message is that of the next pipe that has one.

    A message of several frames counts as read when its last frame is: `fetch` takes it, `finish` ends with it.
    """

    __slots__ = ("active", "current", "pending", "pipes")

    def __init__(self) -> None:
        self.pipes: list[Pipe] = []
        self.active = 0
        self.current = 0
        #: The message that was fetched but not finished, and its pipe.
        self.pending: tuple[Pipe, Message] | None = None

    def attach(self, pipe: Pipe) -> None:
        """Take a new pipe, which may have something to read."""
        pipe.index_in = len(self.pipes)
        self.pipes.append(pipe)
        _swap_in(self.pipes, self.active, len(self.pipes) - 1)
        self.active += 1

    def activated(self, pipe: Pipe) -> None:
        """A pipe has something to read again."""
        _swap_in(self.pipes, pipe.index_in, self.active)
        self.active += 1

    def terminated(self, pipe: Pipe) -> None:
        """A pipe is gone."""
        index = pipe.index_in
        if index < self.active:
            self.active -= 1
            _swap_in(self.pipes, index, self.active)
            if self.current == self.active:
                self.current = 0
        last = self.pipes.pop()
        if last is not pipe:
            self.pipes[pipe.index_in] = last
            last.index_in = pipe.index_in

    def _deactivate(self) -> None:
        self.active -= 1
        _swap_in(self.pipes, self.current, self.active)
        if self.current == self.active:
            self.current = 0

    def recv(self) -> Message | None:
        """The next whole message, or None. Routing ids are skipped."""
        while self.active:
            message = self.pipes[self.current].read()
            if message is None:
                self._deactivate()
                continue
            self.current += 1
            if self.current >= self.active:
                self.current = 0
            if not isinstance(message, Special):
                return message
        return None

    def fetch(self) -> tuple[Pipe, Message] | None:
        """The next message and its pipe; `finish` must follow before anything else is read. Routing ids are skipped."""
        while self.active:
            pipe = self.pipes[self.current]
            message = pipe.fetch()
            if message is None:
                self._deactivate()
            elif isinstance(message, Special):
                self.current = (self.current + 1) % self.active
            else:
                # What is no bytes stands for a message of several frames.
                if len(message) > 1 or message[0].__class__ is not bytes:
                    self.pending = pipe, message
                else:
                    pipe.finish(1)
                    self.current = (self.current + 1) % self.active
                return pipe, message
        return None

    def finish(self) -> None:
        """The last frame of the message that was fetched was read. Raises LibraryAborts if its pipe was ended here."""
        if self.pending is not None:
            (pipe, message), self.pending = self.pending, None
            if pipe.state > WAITING:
                raise LibraryAborts("fq.cpp: the rest of a message cannot be read")
            pipe.finish(len(message))
            self.current = (self.current + 1) % self.active if self.active else 0

    def has_in(self) -> bool:
        """Whether there is a message."""
        while self.active:
            if self.pipes[self.current].check_read():
                return True
            self._deactivate()
        return False


class Spread:
    """Sending to many: each message goes to all pipes that match, and is dropped where there is no room.

    The array has three borders: the first `matching` get the current message, the first `active` may get one, the
    first `eligible` will be active when the current message has ended.
    """

    __slots__ = ("active", "eligible", "is_inside", "matching", "on_refused", "pipes")

    def __init__(self, on_refused: Callable[[Pipe], object] | None = None) -> None:
        self.pipes: list[Pipe] = []
        self.matching = self.active = self.eligible = 0
        self.is_inside = False
        #: Is told of a pipe that did not take a message; what follows for it is dropped until it is activated.
        self.on_refused = on_refused

    def attach(self, pipe: Pipe) -> None:
        """Take a new pipe. It gets nothing of a message that was begun before."""
        pipes = self.pipes
        pipe.index_out = len(pipes)
        pipes.append(pipe)
        if self.is_inside:
            _swap_out(pipes, self.eligible, len(pipes) - 1)
        else:
            _swap_out(pipes, self.active, len(pipes) - 1)
            self.active += 1
        self.eligible += 1

    def match(self, pipe: Pipe) -> None:
        """The current message is for this pipe as well."""
        index = pipe.index_out
        if self.matching <= index < self.eligible:
            _swap_out(self.pipes, index, self.matching)
            self.matching += 1

    def invert(self) -> None:
        """The current message is for those that do not match instead."""
        before = self.matching
        self.matching = 0
        for index in range(before, self.eligible):
            _swap_out(self.pipes, index, self.matching)
            self.matching += 1

    def unmatch(self) -> None:
        """The next message is for nobody yet."""
        self.matching = 0

    def terminated(self, pipe: Pipe) -> None:
        """A pipe is gone."""
        self._withdraw(pipe)
        last = self.pipes.pop()
        if last is not pipe:
            self.pipes[pipe.index_out] = last
            last.index_out = pipe.index_out

    def activated(self, pipe: Pipe) -> None:
        """A pipe has room again."""
        pipes = self.pipes
        if self.eligible < len(pipes):
            _swap_out(pipes, pipe.index_out, self.eligible)
            self.eligible += 1
        if not self.is_inside and self.active < len(pipes):
            _swap_out(pipes, self.eligible - 1, self.active)
            self.active += 1

    def _withdraw(self, pipe: Pipe) -> None:
        pipes = self.pipes
        if pipe.index_out < self.matching:
            _swap_out(pipes, pipe.index_out, self.matching - 1)
            self.matching -= 1
        if pipe.index_out < self.active:
            _swap_out(pipes, pipe.index_out, self.active - 1)
            self.active -= 1
        if pipe.index_out < self.eligible:
            _swap_out(pipes, pipe.index_out, self.eligible - 1)
            self.eligible -= 1

    def send(self, message: Message) -> None:
        """Send a whole message to those that match."""
        index = 0
        while index < self.matching:
            pipe = self.pipes[index]
            if pipe.write(message):
                index += 1
            else:
                self._withdraw(pipe)
                if self.on_refused is not None:
                    self.on_refused(pipe)
        self.active = self.eligible

    def send_frame(self, frame: bytes, more: bool) -> None:
        """Send one frame of a message to those that match."""
        index = 0
        while index < self.matching:
            pipe = self.pipes[index]
            if pipe.write_frame(frame, more):
                index += 1
            else:
                self._withdraw(pipe)
        if not more:
            self.active = self.eligible
        self.is_inside = more

    def send_all(self, frame: bytes, more: bool) -> None:
        """Send one frame to everybody."""
        self.matching = self.active
        self.send_frame(frame, more)

    def has_room(self) -> bool:
        """Whether all that match could take a message."""
        return all(self.pipes[index].has_room() for index in range(self.matching))
