"""What a message type is: one row of the registry, and the types that its rows are made of.

A row says everything that is known about one message type on the channels where it travels: who sends it, what its
content and metadata look like, how many buffers it carries, what answers it, and in which dialects it lives. Schemas,
strategies, reference pages and vectors are derived from the rows, so nothing is written twice. Two rows may share a
name when channel or dialect tell them apart (`shutdown_request` to the Hub and to an engine).
"""

from collections.abc import Callable, Mapping
from typing import Any, ClassVar, Final, Literal, NamedTuple

import msgspec

from protocol.wire import Frame, Message, Packer

#: The three dialects, and the ranges of them in which rows live.
OLD: Final = "ipython-0.1x"
DOCUMENTED: Final = "documented"
NINE: Final = "ipyparallel-9"
ALL: Final = (OLD, DOCUMENTED, NINE)
MODERN: Final = (DOCUMENTED, NINE)


class Content(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Base of every content type. Unknown keys are tolerated, as the documents demand."""


class OkContent(Content, frozen=True, kw_only=True, omit_defaults=True, tag_field="status", tag="ok"):
    """Base of a successful reply's content: `{"status": "ok", ...}`."""


class Metadata(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, eq=False):
    """Base of every metadata type, and the type of metadata that nobody reads.

    Equal are those of the same name with equal fields: the decoder makes them of a stricter type of its own.
    """

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Metadata):
            return NotImplemented
        mine, yours = type(self), type(other)
        return (mine.__module__, mine.__qualname__) == (yours.__module__, yours.__qualname__) and (
            msgspec.structs.astuple(self) == msgspec.structs.astuple(other)
        )

    def __hash__(self) -> int:
        return hash(msgspec.structs.astuple(self))


class Empty(Content, frozen=True):
    """Content `{}`."""


class ErrorContent(Content, frozen=True, kw_only=True, omit_defaults=True, tag_field="status", tag="error"):
    """Content of a failed reply: `{"status": "error", "ename", "evalue", "traceback"}`, often with `engine_info`."""

    ename: str
    evalue: str
    traceback: list[str]
    engine_info: dict[str, Any] | msgspec.UnsetType = msgspec.UNSET


class AbortedContent(Content, frozen=True, tag_field="status", tag="aborted"):
    """Content of the reply to a request that was aborted before it ran: `{"status": "aborted"}`."""


class KeyedContent(Content, frozen=True, kw_only=True, omit_defaults=True):
    """Base of content whose further keys are data: engine ids, message ids.

    The fields of a subclass are the fixed keys. Every other key of the object is read as `entry_type` into `entries`;
    if `entry_keys` is a regular expression, only those that match it as a whole, and what else stands there is an
    unknown key like any other. On the wire the entries stand beside the fixed keys: `plain` gives that form, and what
    sends a message uses it.
    """

    entry_type: ClassVar[Any]
    entry_keys: ClassVar[str] = ""
    entries: dict[str, Any] = {}

    def plain(self) -> dict[str, Any]:
        """The dictionary as it travels, fixed keys first."""
        fixed: dict[str, Any] = msgspec.to_builtins(self)
        entries = fixed.pop("entries", {})
        return {**fixed, **entries}


class Buffers(NamedTuple):
    """How many buffers a message carries, and what they hold."""

    minimum: int = 0
    maximum: int | None = 0
    holds: str = ""


Parent = Literal["request", "empty", "any"]


class MessageType(msgspec.Struct, frozen=True, kw_only=True, eq=False):
    """One row of the registry.

    `content` is one Content type or a tuple of alternatives (ok, error, aborted): what names its `status` in a tag is
    told apart by it, the others are tried in order. `replies` names the types that may answer, none for a one-way
    message. `errors` says how a refusal looks: in the reply itself (`reply`), as a message of type `hub_error`, or not
    at all. `names` maps a dialect to the name the type has there, when it differs. `lived` is the range of releases of
    a type that is not in today's, in words.

    `metadata_in` is the frame in which the fields of `metadata` travel: the oldest dialect has no metadata frame and
    keeps them in the header. A row with `framing="raw"` is a bare ZeroMQ message without delimiter, signature or
    dictionaries (heartbeats): its name is ours, it cannot be read as an envelope, and `raw_example` shows its frames.

    The `example` fields are what example messages are made of, deterministic and valid.
    """

    name: str
    family: str
    channels: tuple[str, ...]
    sender: tuple[str, ...]
    receiver: tuple[str, ...]
    content: tuple[type[Content], ...]
    doc: str
    source: str
    dialects: tuple[str, ...]
    metadata: type[Metadata] = Metadata
    metadata_in: Literal["metadata", "header"] = "metadata"
    buffers: Buffers = Buffers()
    replies: tuple[str, ...] = ()
    errors: tuple[Literal["reply", "hub_error"], ...] = ()
    parent: Parent = "any"
    names: Mapping[str, str] = {}
    lived: str = ""
    framing: Literal["message", "raw"] = "message"
    example: Mapping[str, Any] = {}
    example_metadata: Mapping[str, Any] = {}
    example_buffers: tuple[bytes, ...] = ()
    raw_example: tuple[bytes, ...] = ()

    def name_in(self, dialect: str) -> str:
        """What the type is called in a dialect."""
        return self.names.get(dialect, self.name)

    @property
    def is_raw(self) -> bool:
        """Whether this is a bare ZeroMQ message that has no envelope."""
        return self.framing == "raw"

    @property
    def all_names(self) -> tuple[str, ...]:
        """Every name the type has in one of its dialects, the present one first."""
        return tuple(dict.fromkeys((self.name, *self.names.values())))


class Reading(NamedTuple):
    """A message checked against its type: the typed content and metadata beside the message itself."""

    message: Message
    row: MessageType
    content: Content
    metadata: Metadata


Decode = Callable[[Frame], Any]

__all__ = [
    "ALL",
    "DOCUMENTED",
    "MODERN",
    "NINE",
    "OLD",
    "AbortedContent",
    "Buffers",
    "Content",
    "Decode",
    "Empty",
    "ErrorContent",
    "KeyedContent",
    "Message",
    "MessageType",
    "Metadata",
    "OkContent",
    "Packer",
    "Parent",
    "Reading",
]
