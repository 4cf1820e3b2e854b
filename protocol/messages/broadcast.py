"""One request for many engines, spread by a tree of schedulers.

Each scheduler rewrites the msg_id for every copy it makes and signs it anew; the client's own id travels along in the
metadata, and replies are told by that. With `is_coalescing` the replies come back as one, which holds the buffers of
all engines in the order of `broadcast_targets`.

Source: measured on ipyparallel 9.2.0.
"""

from typing import Annotated, Any

from msgspec import UNSET, Meta, UnsetType

from protocol.messages.apply import (
    EXAMPLE_REPLY_BUFFERS,
    EXAMPLE_REPLY_METADATA,
    EXAMPLE_REQUEST_BUFFERS,
    EXECUTED,
    REPLY_BUFFERS,
    REQUEST_BUFFERS,
    ApplyReply,
    LabelMetadata,
    ReplyMetadata,
)
from protocol.messages.base import (
    NINE,
    AbortedContent,
    Buffers,
    Content,
    Empty,
    ErrorContent,
    MessageType,
)
from protocol.messages.kernel_shell import ExecuteReply, ExecuteRequest

_MEASURED = "measured on ipyparallel 9.2.0"
_CHANNELS = ("broadcast", "broadcast-tree")
_FIRST = "e7a3b1c0-5d2f4a6b8c0d1e2f3a4b5c6d"
_SECOND = "e7a3b1c1-6e3f4a6b8c0d1e2f3a4b5c6d"
_REQUEST = "c11e0001-0a1b2c3d4e5f60718293a4b5_4242_6"

Target = Annotated[tuple[str, int], Meta(description="uuid and id of an engine.")]


class BroadcastMetadata(LabelMetadata, frozen=True, kw_only=True):
    """Metadata of a broadcast request."""

    targets: Annotated[list[Target], Meta(description="The engines it is for.")]
    is_coalescing: Annotated[bool, Meta(description="Whether the replies shall come as one.")]
    is_broadcast: Annotated[bool | UnsetType, Meta(description="true")] = UNSET
    original_msg_id: Annotated[str | UnsetType, Meta(description="The client's msg_id; added by the root.")] = UNSET


class BroadcastReplyMetadata(ReplyMetadata, frozen=True, kw_only=True):
    """Metadata of a reply to a broadcast."""

    broadcast_targets: Annotated[
        list[Target] | UnsetType, Meta(description="Coalesced: the engines, in the order of their buffers.")
    ] = UNSET


_COPY = {"is_broadcast": True, "is_coalescing": True, "original_msg_id": _REQUEST}
_ASKED = {"targets": [[_FIRST, 0], [_SECOND, 1]], "is_broadcast": True, "is_coalescing": True, "label": None}
_ANSWERED = EXAMPLE_REPLY_METADATA | _COPY | {"broadcast_targets": [[_FIRST, 0], [_SECOND, 1]]}


def _rows(
    name: str,
    request: type[Content],
    reply: type[Content],
    buffers: tuple[Buffers, Buffers],
    examples: tuple[dict[str, Any], dict[str, Any]],
    example_buffers: tuple[tuple[bytes, ...], tuple[bytes, ...]],
) -> tuple[MessageType, MessageType]:
    return (
        MessageType(
            name=f"{name}_request",
            family="broadcast",
            channels=_CHANNELS,
            sender=("client", "broadcast-scheduler"),
            receiver=("broadcast-scheduler", "engine"),
            content=(request,),
            doc="As on the MUX channel, for several engines at once.",
            source=_MEASURED,
            dialects=(NINE,),
            metadata=BroadcastMetadata,
            buffers=buffers[0],
            replies=(f"{name}_reply",),
            errors=("reply",),
            parent="empty",
            example=examples[0],
            example_metadata=_ASKED,
            example_buffers=example_buffers[0],
        ),
        MessageType(
            name=f"{name}_reply",
            family="broadcast",
            channels=_CHANNELS,
            sender=("engine", "broadcast-scheduler"),
            receiver=("broadcast-scheduler", "client"),
            content=(reply, ErrorContent, AbortedContent),
            doc="The reply of one engine, or of all as one. Told by `original_msg_id`: the parent names a copy.",
            source=_MEASURED,
            dialects=(NINE,),
            metadata=BroadcastReplyMetadata,
            buffers=buffers[1],
            parent="request",
            example=examples[1],
            example_metadata=_ANSWERED,
            example_buffers=example_buffers[1],
        ),
    )


ROWS: tuple[MessageType, ...] = (
    *_rows(
        "apply",
        Empty,
        ApplyReply,
        (REQUEST_BUFFERS, REPLY_BUFFERS),
        ({}, {"status": "ok"}),
        (EXAMPLE_REQUEST_BUFFERS, EXAMPLE_REPLY_BUFFERS * 2),
    ),
    *_rows(
        "execute",
        ExecuteRequest,
        ExecuteReply,
        (Buffers(), Buffers()),
        ({"code": "a = 6 * 7", "silent": True, "user_expressions": {}}, EXECUTED),
        ((), ()),
    ),
)
