"""One valid message of every type, the same on every run: for reference pages, vectors and tests."""

from protocol.errors import LocalProtocolError, Problem
from protocol.messages.base import NINE, OLD, AbortedContent, ErrorContent, MessageType
from protocol.messages.build import VERSION, build
from protocol.messages.registry import REGISTRY
from protocol.wire import Json, Message

DATE = "2026-01-05T12:00:00.000000Z"
ENGINE_UUID = "e7a3b1c0-5d2f4a6b8c0d1e2f3a4b5c6d"

#: Who sends -> the session under which examples of it are sent, and the number that its ids carry.
_SESSIONS = {
    "client": ("c11e0001-0a1b2c3d4e5f60718293a4b5", 4242),
    "frontend": ("f0e10001-0f1e2d3c4b5a69788796a5b4", 4343),
    "engine": (ENGINE_UUID, 4300),
    "heart": (ENGINE_UUID, 4300),
    "kernel": ("5e110001-99aabbccddeeff0011223344", 4400),
    "hub": ("4b000001-112233445566778899aabbcc", 4100),
}
_CONTROLLER = ("4b000001-112233445566778899aabbcc", 4110)

_REFUSAL: Json = {
    "status": "error",
    "ename": "ValueError",
    "evalue": "no such thing",
    "traceback": ["Traceback (most recent call last):", "ValueError: no such thing"],
}


def example(row: MessageType, dialect: str | None = None) -> Message:
    """A realistic message of this type, as its sender sends it; without routing identities.

    `dialect` is the one whose name and header are used, the newest of the row by default. Raises LocalProtocolError
    for a raw row, which is no message: its frames are `row.raw_example`.
    """
    return _make(row, dialect, row.example, row.example_buffers)


def examples(row: MessageType, dialect: str | None = None) -> tuple[Message, ...]:
    """`example`, and a message for the refusal and the abortion if the type can carry them."""
    made = [example(row, dialect)]
    if ErrorContent in row.content and made[0].content.get("status") != "error":
        made.append(_make(row, dialect, _REFUSAL, ()))
    if AbortedContent in row.content:
        made.append(_make(row, dialect, {"status": "aborted"}, ()))
    return tuple(made)


def _make(row: MessageType, dialect: str | None, content: object, buffers: tuple[bytes, ...]) -> Message:
    if row.is_raw:
        raise LocalProtocolError(
            Problem("message", "wire.delimiter-present", "a type that has an envelope", f"{row.name}, which is raw")
        )
    when = dialect or (NINE if NINE in row.dialects or not row.dialects else row.dialects[-1])
    head = _header(row.sender[0], row.name_in(when), 7, when)
    in_header = row.metadata_in == "header"
    parent = _parent(row, when)
    return build(
        head["msg_type"],
        dict(content),  # type: ignore[call-overload]
        msg_id=head["msg_id"],
        session=head["session"],
        date=head["date"],
        version=head.get("version"),
        parent=parent,
        metadata=None if when == OLD else row.example_metadata,
        extra_header=row.example_metadata if in_header else None,
        buffers=buffers,
    )


def _header(sender: str, name: str, number: int, dialect: str) -> Json:
    session, process = _SESSIONS.get(sender, _CONTROLLER)
    made = {"msg_id": f"{session}_{process}_{number}", "msg_type": name, "session": session, "date": DATE}
    return made if dialect == OLD else made | {"version": VERSION}


def _parent(row: MessageType, dialect: str) -> Json | None:
    if row.parent != "request":
        return None
    asked = next(
        (other for other in REGISTRY if row.name in other.replies and not set(row.channels).isdisjoint(other.channels)),
        None,
    )
    if asked is None:
        return _header("client", "execute_request" if row.name != "hub_error" else "x", 6, dialect)
    return _header(asked.sender[0], asked.name_in(dialect), 6, dialect)
