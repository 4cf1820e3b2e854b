"""Example exchanges as text for people: what a requirement's messages look like on the wire.

The messages are the examples of the registry, so nothing is written twice. An exchange is a request with everything
that may answer it; a message that nothing answers stands alone. The same pictures serve `ippkit explain` and the pages
of the site.
"""

import json
from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple

from protocol import dialects
from protocol.channels import Channel, End, Envelope, channel
from protocol.messages import OLD, REGISTRY, example, examples, rows
from protocol.messages.base import MessageType
from protocol.requirements import Requirement
from protocol.wire import Frame, Message

#: The key that signs every example.
KEY: Final = b"00000000-example-key"
#: Dialects in the order in which examples prefer them.
PREFERRED: Final = ("ipyparallel-9", "documented", "ipython-0.1x")
#: What stands for the messages of a requirement that is about every message.
ANY: Final = "connection_request"
#: Beside the names of the frames this fills a terminal of 80 columns.
_LINE: Final = 64


class Part(NamedTuple):
    """One frame, or the frames of one kind: their name, and a text that may have several lines."""

    name: str
    text: str


class Picture(NamedTuple):
    """One message as a reader sees it; `outcome` tells apart what a reply may say."""

    row: MessageType
    dialect: str
    receiver: tuple[str, ...]
    outcome: str
    parts: tuple[Part, ...]

    @property
    def name(self) -> str:
        """What the message is called in its dialect."""
        return self.row.name_in(self.dialect)

    @property
    def title(self) -> str:
        """Who sends what to whom."""
        outcome = f" ({self.outcome})" if self.outcome else ""
        return f"{' or '.join(self.row.sender)} → {' or '.join(self.receiver)}: {self.name}{outcome}"


class Exchange(NamedTuple):
    """A message and what may answer it."""

    request: Picture
    replies: tuple[Picture, ...] = ()

    @property
    def pictures(self) -> tuple[Picture, ...]:
        """All messages in order."""
        return (self.request, *self.replies)


def pretty(value: object, width: int = _LINE, indent: int = 0) -> str:
    """JSON in as few lines as fit into the width: what is short stays on one line."""
    flat = json.dumps(value, ensure_ascii=False)
    if not isinstance(value, dict | list) or not value or len(flat) + indent <= width:
        return flat
    pad = " " * (indent + 2)
    if isinstance(value, dict):
        lines = [f"{pad}{json.dumps(key)}: {pretty(each, width, indent + 2)}" for key, each in value.items()]
    else:
        lines = [f"{pad}{pretty(each, width, indent + 2)}" for each in value]
    opening, closing = "{}" if isinstance(value, dict) else "[]"
    return f"{opening}\n" + ",\n".join(lines) + f"\n{' ' * indent}{closing}"


def bytes_text(frame: Frame, limit: int = 60) -> str:
    """A frame of raw bytes as Python writes it, shortened."""
    data = bytes(frame)
    return repr(data) if len(data) <= limit else f"{data[:limit]!r}… {len(data)} bytes in all"


def dialect_of(row: MessageType, wanted: Iterable[str] = PREFERRED) -> str:
    """The dialect in which to show a row: the most recent one that it and `wanted` share, or its own most recent."""
    choice = frozenset(wanted)
    own = [name for name in PREFERRED if name in row.dialects] or [OLD]
    return next((name for name in own if name in choice), own[0])


def end_of(where: Channel, roles: Sequence[str], dialect: str) -> End | None:
    """The end that the first of these roles holds on a channel in a dialect; the plainest one if there are several."""
    for role in roles:
        ends = [end for end in where.ends if end.role == role and dialect in end.dialects]
        if ends:
            return min(ends, key=lambda end: bool(end.variant))
    return None


def envelope_text(envelope: Envelope) -> str:
    """The frames before the delimiter, by name."""
    return " ".join(f"[{slot}]" for slot in envelope) if envelope else "none"


def picture(row: MessageType, dialect: str, message: Message | None = None, receiver: tuple[str, ...] = ()) -> Picture:
    """A row's example, or another message of its type, frame by frame; `receiver` narrows down who gets it."""
    receiver = tuple(role for role in row.receiver if role in receiver) or row.receiver
    if row.is_raw:
        raw = tuple(Part(f"frame {number}", bytes_text(frame)) for number, frame in enumerate(row.raw_example, 1))
        return Picture(row, dialect, receiver, "", raw)
    if message is None:
        message = example(row, dialect)
    spoken = dialects.dialect(dialect)
    codec = spoken.codec(KEY)
    signature = bytes(codec.encode(message)[1]).decode()
    parts = [
        _identities(row, dialect, receiver),
        Part("delimiter", "<IDS|MSG>"),
        Part("signature", f"{signature[:12]}…  ({len(signature)} hexadecimal digits, {codec.scheme})"),
        Part("header", pretty(message.header)),
        Part("parent_header", pretty(message.parent_header)),
    ]
    if spoken.metadata:
        parts.append(Part("metadata", pretty(message.metadata)))
    parts.append(Part("content", pretty(message.content)))
    parts += [Part(f"buffer {number}", bytes_text(buffer)) for number, buffer in enumerate(message.buffers, 1)]
    status = message.content.get("status")
    return Picture(row, dialect, receiver, status if isinstance(status, str) else "", tuple(parts))


def _identities(row: MessageType, dialect: str, receivers: Sequence[str]) -> Part:
    where = channel(row.channels[0])
    sender, receiver = end_of(where, row.sender, dialect), end_of(where, receivers, dialect)
    sent = envelope_text(sender.sends[0]) if sender is not None and sender.sends else "none"
    got = envelope_text(receiver.receives[0]) if receiver is not None and receiver.receives else "none"
    return Part("identities", sent if sent == got else f"sent: {sent}; received: {got}")


def exchange(row: MessageType, dialect: str) -> Exchange:
    """The example of a row, with every reply that it may have in this dialect, refusals included."""
    request = picture(row, dialect)
    if not row.replies:
        return Exchange(request)
    replies: list[Picture] = []
    for reply in answers(row, dialect):
        for message in [None] if reply.is_raw else examples(reply, dialect):
            if message is not None and reply.parent == "request" and not row.is_raw:
                message = message.replace(parent_header=example(row, dialect).header)
            replies.append(picture(reply, dialect, message, row.sender))
    return Exchange(request, tuple(replies))


def answers(row: MessageType, dialect: str) -> tuple[MessageType, ...]:
    """The rows of everything that may answer a row in a dialect, refusals of another type last."""
    names = dict.fromkeys((*row.replies, *(name for name in row.errors if name != "reply")))
    found = (reply for name in names for where in row.channels for reply in rows(name, where))
    # A reply may travel on several channels of its request.
    return tuple(dict.fromkeys(reply for reply in found if dialect in reply.dialects))


def exchanges(requirement: Requirement) -> tuple[Exchange, ...]:
    """The exchanges in which the messages of a requirement occur, each message once.

    A requirement about every message of some channels is shown by the first one of each, and a requirement about every
    message by one that everybody knows.
    """
    wanted = frozenset(requirement.dialects)
    names = requirement.messages or _first_of_each(requirement.channels, wanted) or (ANY,)
    chosen = [row for name in names for row in _rows(name, requirement.channels, wanted)]
    shown: list[Exchange] = []
    drawn: set[str] = set()
    for row in sorted(chosen, key=lambda row: not row.replies):
        if row.name not in drawn:
            # A reply is shown below the request that it answers.
            first = next((asker for asker in REGISTRY if _asks(asker, row, wanted)), row)
            shown.append(exchange(first, dialect_of(first, wanted)))
            drawn |= {each.row.name for each in shown[-1].pictures}
    return tuple(shown)


def _first_of_each(channels: Sequence[str], wanted: frozenset[str]) -> tuple[str, ...]:
    return tuple(
        row.name
        for where in channels
        if (row := next((each for each in REGISTRY if where in each.channels and wanted & set(each.dialects)), None))
    )


def _rows(name: str, channels: Sequence[str], wanted: frozenset[str]) -> list[MessageType]:
    """The rows of this name, on some of the channels if it travels there, those in the most recent dialect first."""
    found = [row for row in rows(name) if wanted & set(row.dialects) or row.lived] or list(rows(name))
    here = [row for row in found if not set(channels).isdisjoint(row.channels)]
    return sorted(here or found, key=lambda row: PREFERRED.index(dialect_of(row, wanted)))


def _asks(asker: MessageType, row: MessageType, wanted: frozenset[str]) -> bool:
    return (
        row.name in asker.replies
        and not set(asker.channels).isdisjoint(row.channels)
        and bool(wanted & set(asker.dialects) & set(row.dialects))
    )
