"""Which engines the Hub says there are: its notifications, and its answers when asked.

Notifications and answers come on two sockets, so an answer may be older than a notification that came before it. What
a notification said since the question was asked therefore counts more than the answer. An engine that the answer leaves
out, though nobody said that it went, may have been lost with a notification; it is given up when the next answer leaves
it out too, as a Hub that was restarted knows its engines only once it has heard their hearts.
"""

from collections.abc import Iterable
from typing import Any, NamedTuple

from protocol.errors import ProtocolError
from protocol.messages import validate
from protocol.messages.notification import EngineNotification
from protocol.messages.registration import ConnectionReply
from protocol.wire import DELIMITER, Message

#: More digits than any number of an engine has.
_DIGITS = 18


class Notice(NamedTuple):
    """What a notification says of one engine."""

    came: bool
    number: int
    uuid: bytes


def identity(uuid: str) -> bytes | None:
    """The identity of the engine's sockets, or None if no socket could have it."""
    try:
        name = uuid.encode()
    except UnicodeEncodeError:
        return None
    return name if 0 < len(name) <= 255 and name[0] and name != DELIMITER else None


def read_notice(message: Message) -> Notice | None:
    """The notification, or None if it is none about an engine, or unreadable."""
    came = message.msg_type == "registration_notification"
    if not came and message.msg_type != "unregistration_notification":
        return None
    try:
        content = validate(message, "notification").content
    except ProtocolError:
        return None
    if not isinstance(content, EngineNotification):
        return None
    uuid = identity(content.uuid)
    return None if uuid is None else Notice(came, content.id, uuid)


class Roster:
    """One question to the Hub at a time: what was said since it was asked, and what the answer changes."""

    def __init__(self) -> None:
        #: msg_id of the question; empty once it is answered.
        self.asked = ""
        self._came: dict[bytes, None] = {}
        self._went: dict[bytes, None] = {}
        #: Left out by the last answer.
        self._missing: dict[bytes, None] = {}

    def ask(self, msg_id: str) -> None:
        """A question was sent."""
        self.asked = msg_id
        self._came.clear()
        self._went.clear()

    def notice(self, notice: Notice) -> None:
        """A notification came."""
        if notice.came:
            self._missing.pop(notice.uuid, None)
        if self.asked:
            news, olds = (self._came, self._went) if notice.came else (self._went, self._came)
            olds.pop(notice.uuid, None)
            news[notice.uuid] = None

    def answer(self, message: Message, known: Iterable[bytes]) -> tuple[list[tuple[int, bytes]], list[bytes]]:
        """The engines that came, as number and identity, and those that went; of those `known`, in this order.

        An answer to another question, or one that cannot be read, says nothing.
        """
        try:
            parent = message.parent_header.get("msg_id")
            content = validate(message, "query").content
        except ProtocolError:
            return [], []
        if not self.asked or parent != self.asked or not isinstance(content, ConnectionReply):
            return [], []
        self.asked = ""
        named: dict[bytes, int] = {}
        for number, uuid in content.engines.items():
            name = identity(uuid)
            if name is not None and number.isascii() and number.isdecimal() and len(number) <= _DIGITS:
                named[name] = int(number)
        came = [(number, name) for name, number in named.items() if name not in self._went and name not in self._came]
        absent = [name for name in known if name not in named and name not in self._came]
        went = [name for name in absent if name in self._missing]
        self._missing = {name: None for name in absent if name not in self._missing}
        return came, went

    def freeze(self) -> tuple[Any, ...]:
        """The whole of it as a tuple."""
        return (self.asked, tuple(self._came), tuple(self._went), tuple(self._missing))

    def thaw(self, frozen: tuple[Any, ...]) -> None:
        """Take up what `freeze` gave."""
        self.asked = frozen[0]
        self._came, self._went, self._missing = map(dict.fromkeys, frozen[1:])
