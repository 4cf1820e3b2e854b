"""What a client keeps of its requests, and of the answers to them."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

import msgspec

from protocol.roles.freezing import freeze_value, thaw_value
from protocol.roles.tables import StateTable
from protocol.wire import Frame, Json

_LOCAL: Final = "done: EngineError, made here"
#: The life of a request at its client.
REQUEST: Final = StateTable(
    "a request at its client",
    {
        "open": {
            "last reply": "done",
            "a reply of several": "open",
            "engine unregistered": "stranded: grace begins",
            "controller shuts down": "stranded: grace begins",
            "nobody there": _LOCAL,
        },
        "stranded": {
            "last reply": "done",
            "a reply of several": "stranded",
            "engine unregistered": "stranded: grace begins",
            "controller shuts down": "stranded: grace begins",
            "grace is over": _LOCAL,
        },
        "done": {},
    },
    illegal=(
        "It is ignored: a second reply, a late one, one of another engine or on another socket, and whatever concerns "
        "a request that is done."
    ),
    meanings={
        "open": "it has been sent, and a reply is missing",
        "stranded": "who should answer is gone, but a reply may still be under way",
        "done": "no reply is missing, or none can come",
    },
)


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
    state: str = REQUEST.states[0]


def freeze_request(request: Request) -> tuple[Any, ...]:
    """An open request as a plain tuple."""
    return (
        request.socket, request.msg_type, request.engine, tuple(request.targets.items()), request.coalescing,
        request.state,
    )  # fmt: skip


def thaw_request(frozen: tuple[Any, ...]) -> Request:
    """What `freeze_request` was given."""
    socket, msg_type, engine, targets, coalescing, state = frozen
    return Request(socket, msg_type, engine, dict(targets), coalescing, state)


def freeze_parts(parts: Answer | Published) -> tuple[Any, ...]:
    """An answer or a publication as a plain tuple."""
    kind, content, metadata, buffers, *rest = parts
    return kind, freeze_value(content), freeze_value(metadata), tuple(map(bytes, buffers)), *rest


def thaw_parts(frozen: Sequence[Any]) -> tuple[Any, ...]:
    """The fields of what `freeze_parts` was given."""
    kind, content, metadata, *rest = frozen
    return kind, thaw_value(content), thaw_value(metadata), *rest


__all__ = [
    "REQUEST",
    "Answer",
    "ClientConfig",
    "Ended",
    "Published",
    "Request",
    "freeze_parts",
    "freeze_request",
    "thaw_parts",
    "thaw_request",
]
