"""What every role needs to talk: messages of its own, and careful looks into those of others."""

from collections.abc import Mapping, Sequence
from typing import Any

from protocol.errors import RemoteProtocolError
from protocol.messages import reply_name
from protocol.messages.build import USERNAME, VERSION
from protocol.roles.base import Env
from protocol.wire import Frame, Json, Message


class Voice:
    """Makes the messages of one role: fresh ids, one session, dates of the world's clock."""

    __slots__ = ("env", "session")

    def __init__(self, env: Env, session: str) -> None:
        self.env = env
        self.session = session

    def say(
        self,
        now: int,
        msg_type: str,
        content: Mapping[str, Any] | None = None,
        *,
        parent: Json | None = None,
        metadata: Mapping[str, Any] | None = None,
        buffers: Sequence[Frame] = (),
        identities: Sequence[bytes] = (),
    ) -> Message:
        """A message of a type, from this role, at this time.

        It is what `build` makes, in the way of somebody who says a great deal: dictionaries, and nothing left out.
        """
        env = self.env
        return Message(
            {
                "msg_id": env.fresh_id(),
                "msg_type": msg_type,
                "username": USERNAME,
                "session": self.session,
                "date": env.date(now),
                "version": VERSION,
            },
            parent_header=parent,
            metadata={} if metadata is None else dict(metadata),
            content={} if content is None else dict(content),
            buffers=buffers,
            identities=identities,
        )

    def answer(
        self,
        now: int,
        request: Message,
        content: Mapping[str, Any] | None = None,
        *,
        msg_type: str = "",
        metadata: Mapping[str, Any] | None = None,
        buffers: Sequence[Frame] = (),
        identities: Sequence[bytes] | None = None,
    ) -> Message:
        """The reply to a request: its header as parent, its identities unless others are given."""
        return self.say(
            now,
            msg_type or reply_name(request.msg_type),
            content,
            parent=request.header,
            metadata=metadata,
            buffers=buffers,
            identities=request.identities if identities is None else identities,
        )


def error(ename: str, evalue: str, engine_info: Mapping[str, Any] | None = None) -> Json:
    """Content of a failed reply."""
    return {
        "status": "error",
        "ename": ename,
        "evalue": evalue,
        "traceback": [f"{ename}: {evalue}"],
        "engine_info": dict(engine_info or {}),
    }


def content_of(message: Message) -> Json | None:
    """The content, or None if it cannot be read."""
    try:
        content: object = message.content
    except RemoteProtocolError:
        return None
    return content if isinstance(content, dict) else None


def metadata_of(message: Message) -> Json | None:
    """The metadata, or None if they cannot be read."""
    try:
        metadata: object = message.metadata
    except RemoteProtocolError:
        return None
    return metadata if isinstance(metadata, dict) else None


def parent_of(message: Message) -> Json:
    """The parent header; `{}` if there is none or it cannot be read."""
    try:
        parent: object = message.parent_header
    except RemoteProtocolError:
        return {}
    return parent if isinstance(parent, dict) else {}


def parent_id(message: Message) -> str:
    """The msg_id of the request that a message names as its parent, or an empty text."""
    msg_id = parent_of(message).get("msg_id")
    return msg_id if isinstance(msg_id, str) else ""
