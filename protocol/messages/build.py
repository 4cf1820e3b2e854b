"""Building messages: headers, requests and replies.

Nothing here draws an id or reads a clock: both are arguments, so that the same call gives the same message.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from protocol.messages.base import Content, KeyedContent, Metadata
from protocol.wire import Frame, Json, Message

VERSION = "5.4"
#: Who speaks, where nobody has a better name.
USERNAME = "username"


def header(
    msg_id: str,
    msg_type: str,
    session: str = "",
    username: str = USERNAME,
    date: str = "",
    version: str | None = VERSION,
) -> Json:
    """A header, its keys in the order in which they are usually written.

    `date` is ISO 8601; an empty `session` or `date` is left out, as is a `version` of None (the oldest dialect has
    none).
    """
    optional = {"username": username, "session": session, "date": date, "version": version or ""}
    return {"msg_id": msg_id, "msg_type": msg_type, **{key: value for key, value in optional.items() if value}}


def plain(value: Content | Metadata | Mapping[str, Any] | None) -> Json:
    """Content or metadata as the dictionary that travels."""
    if value is None:
        return {}
    if isinstance(value, KeyedContent):
        return value.plain()
    if isinstance(value, msgspec.Struct):
        made: Json = msgspec.to_builtins(value)
        return made
    return dict(value)


def build(
    msg_type: str,
    content: Content | Mapping[str, Any] | None = None,
    *,
    msg_id: str,
    session: str = "",
    username: str = USERNAME,
    date: str = "",
    version: str | None = VERSION,
    parent: Message | Json | None = None,
    metadata: Metadata | Mapping[str, Any] | None = None,
    buffers: Sequence[Frame] = (),
    identities: Sequence[bytes] = (),
    extra_header: Mapping[str, Any] | None = None,
) -> Message:
    """A message of a type. `parent` is the message it answers, or that one's header.

    `extra_header` adds keys to the header: the task fields of the oldest dialect, or `subshell_id`. Whether the result
    is right for its channel is what `validate(message, channel, dialect, local=True)` tells.
    """
    made = header(msg_id, msg_type, session, username, date, version)
    return Message(
        made | dict(extra_header or {}),
        parent_header=parent.header if isinstance(parent, Message) else parent,
        metadata=plain(metadata),
        content=plain(content),
        buffers=buffers,
        identities=identities,
    )


def reply_name(msg_type: str) -> str:
    """The name of the reply to a request: `apply_request` -> `apply_reply`. Names without the ending stay."""
    return f"{msg_type.removesuffix('_request')}_reply" if msg_type.endswith("_request") else msg_type


def reply(
    request: Message,
    content: Content | Mapping[str, Any] | None = None,
    *,
    msg_id: str,
    msg_type: str | None = None,
    **fields: Any,
) -> Message:
    """The reply to a request: its header as parent, its identities as they came, the type named after it.

    `msg_type` gives another type, such as `hub_error`; the other arguments are those of `build`.
    """
    fields.setdefault("identities", request.identities)
    fields.setdefault("parent", request)
    return build(msg_type or reply_name(request.msg_type), content, msg_id=msg_id, **fields)
