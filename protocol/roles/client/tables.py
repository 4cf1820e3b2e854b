"""What a client keeps: its view of the engines, and its open requests."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

import msgspec

from protocol.roles.freezing import freeze_value, thaw_value
from protocol.wire import Frame, Json

#: The states of a request at its client, and what leads from one to the next.
REQUEST_STATES: Final = ("open", "stranded", "done")
REQUEST_TRANSITIONS: Final[Mapping[str, Mapping[str, str]]] = {
    "open": {
        "last reply": "done",
        "a reply of several": "open",
        "engine unregistered": "stranded",
        "controller shuts down": "stranded",
        "duplicate, late or foreign reply": "open",
    },
    "stranded": {"last reply": "done", "grace is over": "done: EngineError, made here"},
    "done": {"any reply": "done"},
}


class ClientConfig(msgspec.Struct, frozen=True, kw_only=True):
    """Times are nanoseconds; 0 switches off what is optional.

    `grace` is how long a reply may still be on its way when its engine is reported dead. `settle` after the start the
    client asks once more which engines there are, because its subscription may have come later than the first answer;
    then again every `refresh`, in case a notification was lost.
    """

    session: str = "client"
    grace: int = 1_000_000_000
    settle: int = 1_000_000_000
    refresh: int = 0
    keep_output: bool = True
    notes: bool = False


class Answer(NamedTuple):
    """One reply to a request. `local` is set when the client made it itself, because no other can come any more.

    `engine` is the uuid of the engine that answered or died, empty where none did.
    """

    status: str
    content: Json
    metadata: Json
    buffers: tuple[Frame, ...] = ()
    engine: str = ""
    local: bool = False


class Published(NamedTuple):
    """Something that came over iopub for a request."""

    msg_type: str
    content: Json
    metadata: Json
    buffers: tuple[Frame, ...] = ()


class Ended(NamedTuple):
    """How a wait ended: which requests are done, and for each other one, who is silent."""

    done: tuple[str, ...]
    silent: tuple[tuple[str, str], ...]


@dataclass(slots=True)
class Request:
    """An open request. `targets` are the engines of a broadcast that did not answer yet: uuid -> id."""

    socket: str
    msg_type: str
    engine: str = ""
    targets: dict[str, int] = field(default_factory=dict)
    coalescing: bool = False
    stranded: bool = False


class Engines:
    """The engines as this client knows them, from one snapshot and any number of notifications, in any order.

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


def freeze_request(request: Request) -> tuple[Any, ...]:
    """An open request as a plain tuple."""
    return (
        request.socket, request.msg_type, request.engine, tuple(request.targets.items()), request.coalescing,
        request.stranded,
    )  # fmt: skip


def thaw_request(frozen: tuple[Any, ...]) -> Request:
    """What `freeze_request` was given."""
    socket, msg_type, engine, targets, coalescing, stranded = frozen
    return Request(socket, msg_type, engine, dict(targets), coalescing, stranded)


def freeze_parts(parts: Answer | Published) -> tuple[Any, ...]:
    """An answer or a publication as a plain tuple."""
    kind, content, metadata, buffers, *rest = parts
    return kind, freeze_value(content), freeze_value(metadata), tuple(map(bytes, buffers)), *rest


def thaw_parts(frozen: Sequence[Any]) -> tuple[Any, ...]:
    """The fields of what `freeze_parts` was given."""
    kind, content, metadata, *rest = frozen
    return kind, thaw_value(content), thaw_value(metadata), *rest


__all__ = [
    "REQUEST_STATES",
    "REQUEST_TRANSITIONS",
    "Answer",
    "ClientConfig",
    "Ended",
    "Engines",
    "Published",
    "Request",
    "freeze_parts",
    "freeze_request",
    "thaw_parts",
    "thaw_request",
]
