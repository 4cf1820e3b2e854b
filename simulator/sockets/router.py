"""ROUTER: messages from peers come with the identity of the peer, messages to peers go by it.

An identity belongs to the peer that had it first. A second one with the same identity, unless ROUTER_HANDOVER is set,
is neither heard nor reached, and never will be: its identity was read from its pipe, and nothing wakes a reader that
found something. This is `Quirks.duplicate_is_zombie`; measured on libzmq 4.3.5 (router.cpp), reported as its issue
4503.
"""

import struct
from typing import TYPE_CHECKING, ClassVar

import msgspec

from simulator.sockets.arrays import Fair
from simulator.sockets.base import Socket
from simulator.sockets.errors import EAGAIN, Errno, LibraryAborts
from simulator.sockets.pipe import Message, Pipe, Special

if TYPE_CHECKING:
    from simulator.sockets.context import Context


class Router(Socket):
    """ROUTER, and what REP is built on."""

    KIND: ClassVar[str] = "ROUTER"
    HANDS_OVER: ClassVar[bool] = True

    def __init__(self, context: "Context", name: str) -> None:
        super().__init__(context, name)
        self._in = Fair()
        self._peers: dict[bytes, Pipe] = {}
        #: Pipes whose identity is not known, or belongs to another.
        self._anonymous: list[Pipe] = []
        #: The identities of those that belong to another.
        self._refused: dict[Pipe, bytes] = {}
        #: Pipes that were found full: of these, and no others, libzmq expects to hear that there is room.
        self._blocked: set[Pipe] = set()
        self._count = context.kernel.schedule.getrandbits(32)
        #: The message that `events` has found, and whose, by pipe and by the name that it had then.
        self._found: tuple[Pipe, bytes, Message] | None = None
        #: Whether the identity of that pipe went to another, and the pipe ends when its message was read.
        self._is_handing_over = False
        #: Whether the pipe of the message that was found is gone; libzmq then goes on with freed memory.
        self._is_dangling = False
        self._is_inside = False
        self._target: Pipe | None = None

    # -- peers ---------------------------------------------------------------------------------------------------------

    @property
    def zombies(self) -> tuple[bytes, ...]:
        """The identities under which peers are connected that are never heard, as another peer had them first."""
        return tuple(self._refused.values())

    def _attached(self, pipe: Pipe, is_local: bool) -> None:
        if self.options.probe_router:
            pipe.write((b"",))
        if self._identify(pipe, is_local):
            self._in.attach(pipe)
        else:
            self._anonymous.append(pipe)

    def _made_up(self) -> bytes:
        self._count = (self._count + 1) & 0xFFFFFFFF
        return b"\0" + struct.pack(">I", self._count)

    def _identify(self, pipe: Pipe, is_local: bool) -> bool:
        identity = self.options.connect_routing_id if is_local else b""
        if identity:
            # Holds for one connection.
            self.options = msgspec.structs.replace(self.options, connect_routing_id=b"")
            if identity in self._peers:
                raise LibraryAborts(f"router.cpp: CONNECT_ROUTING_ID {identity!r} is taken")
        else:
            item = pipe.read()
            if item is None:
                return False
            identity = item.routing_id if isinstance(item, Special) else item[0]
            if not identity:
                identity = self._made_up()
            elif identity in self._peers:
                if not self.options.router_handover:
                    if not self.context.quirks.duplicate_is_zombie:
                        pipe.peer.owner.dropped(pipe.peer)
                    self._refused[pipe] = identity
                    return False
                self._hand_over(identity)
        pipe.identity = identity
        self._peers[identity] = pipe
        return True

    def _hand_over(self, identity: bytes) -> None:
        if self._is_dangling:
            raise LibraryAborts("router.cpp: a pipe is compared with one that was freed")
        old = self._peers.pop(identity)
        old.identity = self._made_up()
        self._peers[old.identity] = old
        # Under its new name the pipe counts as one with room.
        self._blocked.discard(old)
        if self._found is not None and self._found[0] is old:
            self._is_handing_over = True
        else:
            old.terminate(True)
        if not self.context.quirks.handover_leaves_zombie:
            old.peer.owner.dropped(old.peer)

    def _detached(self, pipe: Pipe) -> None:
        self._blocked.discard(pipe)
        if self._found is not None and self._found[0] is pipe:
            self._is_dangling = True
        if pipe in self._anonymous:
            self._anonymous.remove(pipe)
            self._refused.pop(pipe, None)
            return
        del self._peers[pipe.identity]
        self._in.terminated(pipe)
        pipe.rollback()
        if pipe is self._target:
            self._target = None

    def pipe_readable(self, pipe: Pipe) -> None:
        """There is something to read again; of a pipe without identity, that is the identity."""
        if pipe not in self._anonymous:
            self._in.activated(pipe)
        elif self._identify(pipe, False):
            self._anonymous.remove(pipe)
            self._in.attach(pipe)

    def pipe_writable(self, pipe: Pipe) -> None:
        """There is room to write again. Raises LibraryAborts if that was never in doubt."""
        if pipe not in self._blocked:
            raise LibraryAborts("socket_base.cpp: the pipe was not known to be full")
        self._blocked.discard(pipe)

    def received(self, pipe: Pipe, message: Message) -> Message | None:
        """The message behind the identity of its peer."""
        return (pipe.identity, *message)

    # -- sending -------------------------------------------------------------------------------------------------------

    def _aim(self, identity: bytes) -> Errno | None:
        pipe = self._peers.get(identity)
        if pipe is not None:
            if pipe.check_write():
                self._target = pipe
                return None
            self._blocked.add(pipe)
            if self.options.router_mandatory:
                return Errno.EHOSTUNREACH if pipe.has_room() else EAGAIN
        elif self.options.router_mandatory:
            return Errno.EHOSTUNREACH
        return None

    def _send(self, frames: Message) -> Errno | None:
        if self._is_inside or len(frames) < 2:
            return super()._send(frames)
        pipe = self._peers.get(frames[0])
        if pipe is not None and pipe.write(frames[1:]):
            return None
        error = self._aim(frames[0])
        if error is not None:
            return error
        if self.context.network.on_drop is not None:
            self.context.network.on_drop(self.name, frames)
        return None

    def _send_frame(self, frame: bytes, more: bool) -> Errno | None:
        if not self._is_inside:
            # An identity with nothing behind it is no message, and is ignored.
            if not more:
                return None
            error = self._aim(frame)
            self._is_inside = error is None
            return error
        self._is_inside = more
        if self._target is not None:
            if not self._target.write_frame(frame, more):
                self._target.rollback()
                self._target = None
            elif not more:
                self._target = None
        return None

    def _forget_unfinished(self) -> None:
        if self._target is not None:
            self._target.rollback()
            self._target = None
            self._is_inside = False

    def _has_out(self) -> bool:
        return not self.options.router_mandatory or any(pipe.has_room() for pipe in self._peers.values())

    # -- receiving -----------------------------------------------------------------------------------------------------

    def _recv(self) -> Message | Errno:
        found = self._found
        if found is None:
            fetched = self._in.fetch()
            if fetched is None:
                return EAGAIN
            pipe, message = fetched
            identity = pipe.identity
        else:
            self._found = None
            pipe, identity, message = found
        self._in.finish()
        is_dangling, self._is_dangling = self._is_dangling, False
        if self._is_handing_over:
            if is_dangling:
                raise LibraryAborts("router.cpp: a pipe is ended that was freed")
            self._is_handing_over = False
            pipe.terminate(True)
        return (identity, *message)

    def _has_in(self) -> bool:
        if self._found is None:
            fetched = self._in.fetch()
            if fetched is not None:
                pipe, message = fetched
                self._found = pipe, pipe.identity, message
        return self._found is not None
