"""Who takes part in a case: sockets and messages of one's own, for the length of the case."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from protocol.messages import header
from protocol.wire import Frame, Json, Message
from protocol.world import Socket

if TYPE_CHECKING:
    from conformance.harness.controller import Controller
    from conformance.harness.subject import Subject


class Author:
    """Who writes messages: a session of its own, and a fresh id for each."""

    def __init__(self, subject: Subject, name: str) -> None:
        self.name = name
        self.session = f"{subject.token}-{name}"
        self._date = subject.date
        self._sent = 0

    def make(
        self,
        msg_type: str,
        content: object = None,
        *,
        metadata: object = None,
        buffers: Sequence[Frame] = (),
        parent: Json | None = None,
        identities: Sequence[bytes] = (),
        **header_fields: object,
    ) -> Message:
        """A message with a fresh id; `header_fields` are added to its header or replace what is there."""
        self._sent += 1
        head = header(f"{self.session}_{self._sent}", msg_type, session=self.session, username="kit", date=self._date())
        return Message(
            head | header_fields,
            parent_header=parent,
            metadata=metadata,
            content=content,
            buffers=buffers,
            identities=identities,
        )


class Party(Author):
    """Somebody who holds sockets of their own for the length of one case."""

    def __init__(self, controller: Controller, name: str) -> None:
        super().__init__(controller, name)
        self.controller = controller
        self.world = controller.world
        self._sockets: list[Socket] = []

    def open(self, channel: str, *, identity: bytes = b"", end: str = "", index: int = 0) -> Socket:
        """One more socket of this party; `index` chooses among the leaves of the broadcast tree."""
        socket = self.world.open(channel, party=self.name, identity=identity, end=end, index=index)
        self._sockets.append(socket)
        return socket

    def connect(self, kind: str, address: str, *, channel: str, identity: bytes = b"") -> Socket:
        """One more socket of this party, of another type than the channel's own."""
        socket = self.world.connect(kind, [address], channel=channel, party=self.name, identity=identity)
        self._sockets.append(socket)
        return socket

    @property
    def is_open(self) -> bool:
        """Whether it still holds a socket."""
        return bool(self._sockets)

    def close(self) -> None:
        """Close every socket."""
        for socket in self._sockets:
            socket.close()
        self._sockets.clear()
