"""The engines as somebody other than the Hub knows them."""

import re
from collections.abc import Mapping
from typing import Any, Final

from protocol.roles.speech import content_of
from protocol.wire import DELIMITER, Message

_DELIMITER: Final = DELIMITER.decode()
_NUMBER: Final = re.compile("[0-9]{1,18}")


class EngineView:
    """The engines as a subscriber knows them: from snapshots and notifications, repeated and in any order.

    An id is never used twice, so whatever was once reported gone stays gone, even if an older snapshot comes later.
    """

    def __init__(self) -> None:
        self.uuids: dict[int, str] = {}
        self.ids: dict[str, int] = {}
        #: While a snapshot is under way: what was known when it was asked for, and what was reported gone since.
        self.known: tuple[int, ...] | None = None
        self.gone: dict[int, None] = {}

    def add(self, number: int, uuid: str) -> list[tuple[int, str]]:
        """An engine is there; the result are those that it replaces: the same uuid cannot have two ids."""
        if self.uuids.get(number) == uuid:
            return []
        lost = [(old, self.uuids[old]) for old in (number, self.ids.get(uuid, -1)) if old in self.uuids]
        for old, _ in lost:
            self.remove(old)
        self.uuids[number] = uuid
        self.ids[uuid] = number
        return lost

    def remove(self, number: int) -> str | None:
        """An engine is gone; its uuid if it was there."""
        if self.known is not None:
            self.gone[number] = None
        uuid = self.uuids.pop(number, None)
        if uuid is not None and self.ids.get(uuid) == number:
            del self.ids[uuid]
        return uuid

    def ask(self) -> None:
        """A snapshot is asked for."""
        self.known = tuple(self.uuids)
        self.gone = {}

    def snapshot(self, listed: Mapping[int, str]) -> list[tuple[int, str]]:
        """The answer: what it lists is there unless it went since; what we knew and it lacks went unnoticed."""
        lost = [
            (number, self.uuids[number]) for number in self.known or () if number in self.uuids and number not in listed
        ]
        for number, _ in lost:
            self.remove(number)
        for number, uuid in listed.items():
            if number not in self.gone:
                lost += self.add(number, uuid)
        self.known, self.gone = None, {}
        return lost

    def find(self, engine: int | str) -> tuple[str, int] | None:
        """The uuid and id of an engine, by either."""
        uuid = self.uuids.get(engine) if isinstance(engine, int) else engine
        if uuid is None or uuid not in self.ids:
            return None
        return uuid, self.ids[uuid]

    def freeze(self) -> tuple[Any, ...]:
        """The state as plain tuples."""
        return tuple(self.uuids.items()), tuple(self.gone), self.known

    def thaw(self, frozen: tuple[Any, ...]) -> None:
        """Take up a state that `freeze` gave."""
        uuids, gone, self.known = frozen
        self.uuids = dict(uuids)
        self.ids = {uuid: number for number, uuid in uuids}
        self.gone = dict.fromkeys(gone)


def may_be_identity(uuid: object) -> bool:
    """Whether this can be the identity of an engine's sockets: ASCII text, not empty, not the delimiter."""
    return isinstance(uuid, str) and uuid.isascii() and uuid not in ("", _DELIMITER)


def listed(reply: Message) -> dict[int, str] | None:
    """The engines in a `connection_reply`, id -> uuid; None if it lists none that can be read."""
    content = content_of(reply)
    engines = None if content is None else content.get("engines")
    if reply.msg_type != "connection_reply" or not isinstance(engines, dict):
        return None
    return {
        int(number): uuid
        for number, uuid in engines.items()
        if isinstance(uuid, str)
        and isinstance(number, str)
        and number.isascii()
        and number.isdigit()
        and len(number) < 19
    }


def announced(notification: Message) -> tuple[int, str] | None:
    """The id and uuid of the engine that a notification is about; None if it is about none."""
    content = content_of(notification) or {}
    number, uuid = content.get("id"), content.get("uuid")
    if type(number) is not int or number < 0 or not isinstance(uuid, str) or not may_be_identity(uuid):
        return None
    return number, uuid


__all__ = ["EngineView", "announced", "listed", "may_be_identity"]
