"""What crossed the relay, read: every message with its sender, and which of its copies passed on the way.

A request of a client, its copies at engines, their replies, and what the client got of those belong together; so do
what an engine published and what the client got of it. Nothing is taken from a message that the relay knows better: the
sender of a message is whoever was on that connection.
"""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Any

from conformance.relay.hops import CONTROLLER, Hop
from protocol.errors import ProtocolError
from protocol.rules.parts import content_of, parent_of
from protocol.wire import DELIMITER, Codec, Message

#: Channels on which one side only subscribes: what it sends is no message.
PUBLISHED = {"iopub": "client", "notification": "client"}


class Seen:
    """One message on its way. `author` is who said it first, as far as that was seen."""

    __slots__ = ("author", "error", "hop", "message", "metadata", "msg_id", "parent_id")

    def __init__(self, hop: Hop, codec: Codec) -> None:
        self.hop = hop
        self.author = hop.sender
        self.message: Message | None = None
        self.error: ProtocolError | None = None
        self.msg_id = self.parent_id = ""
        self.metadata: dict[str, Any] = {}
        try:
            self.message = codec.open(hop.frames)
            self.msg_id = self.message.msg_id
            self.metadata = self.message.metadata
        except ProtocolError as error:
            self.error = error
        if self.message is not None:
            parent = parent_of(self.message).get("msg_id")
            self.parent_id = parent if isinstance(parent, str) else ""

    @property
    def msg_type(self) -> str:
        """The type, or "" if the message cannot be read."""
        return "" if self.message is None else self.message.msg_type

    @property
    def content(self) -> dict[str, Any]:
        """The content, or {} if it cannot be read."""
        return {} if self.message is None else content_of(self.message)

    @property
    def is_reply(self) -> bool:
        """Whether it answers something, and is not published."""
        return bool(self.parent_id) and self.hop.channel not in PUBLISHED

    @property
    def payload(self) -> tuple[bytes, ...]:
        """What no relay may change: everything behind the signature."""
        frames = self.hop.frames
        return frames[frames.index(DELIMITER) + 2 :] if DELIMITER in frames else frames

    @property
    def opaque(self) -> tuple[bytes, ...]:
        """What nobody on the way may change, not even a scheduler, which may sign anew: content and buffers."""
        return self.payload[3:]

    def answers(self, msg_id: str) -> bool:
        """Whether it is the reply to a request, or to a copy of it that a broadcast made."""
        return self.is_reply and (self.parent_id == msg_id or self.parent_id.startswith(f"{msg_id}_"))

    def carries(self, msg_id: str) -> bool:
        """Whether it is a request, or a copy of it that a broadcast made."""
        return self.msg_id == msg_id or self.metadata.get("original_msg_id") == msg_id


class Traffic:
    """All messages of a cluster, read in order; `take` reads more."""

    def __init__(self, codec: Codec) -> None:
        self._codec = codec
        self._said: dict[tuple[bytes, ...], str] = {}
        #: The uuid under which each engine's process registered.
        self.uuids: dict[str, str] = {}
        #: The uuids of the engines of which clients were told that they are gone.
        self.announced: set[str] = set()

    def take(self, hops: Iterable[Hop]) -> list[Seen]:
        """The messages among these hops, in order."""
        found = []
        for hop in hops:
            listener = PUBLISHED.get(hop.channel)
            if listener is not None and hop.is_up == (hop.kind == listener):
                continue
            seen = Seen(hop, self._codec)
            seen.author = self._said.setdefault(seen.payload, hop.sender)
            if seen.msg_type == "registration_request" and hop.is_up:
                self.uuids[hop.party] = str(seen.content.get("uuid", ""))
            elif seen.msg_type == "unregistration_notification":
                self.announced.add(str(seen.content.get("uuid", "")))
            found.append(seen)
        return found


class Window:
    """The messages that were seen while one ability ran.

    `gone` are the processes that had hung up by then, `closed` the connections that their party had closed.
    """

    def __init__(
        self,
        traffic: Traffic,
        seen: Sequence[Seen],
        gone: frozenset[str] = frozenset(),
        closed: frozenset[int] = frozenset(),
    ) -> None:
        self.seen = seen
        self._closed = closed
        self.gone = gone
        uuids = {party: traffic.uuids.get(party) for party in gone}
        self._dead = frozenset(uuids.values())
        #: Those of them that registered, and of which no client was told that they are gone.
        self.unannounced = frozenset(
            party for party, uuid in uuids.items() if uuid is not None and uuid not in traffic.announced
        )
        self._by_parent: defaultdict[str, list[Seen]] = defaultdict(list)
        for each in seen:
            self._by_parent[each.parent_id].append(each)

    def is_for_the_dead(self, request: Seen) -> bool:
        """Whether a client addressed a request to an engine that has hung up."""
        return bytes(request.hop.frames[0]).decode(errors="replace") in self._dead

    def concerns(self, seq: int, msg_ids: Iterable[str]) -> bool:
        """Whether a message is one of these requests, or a reply to one, or cannot be read."""
        found = next((each for each in self.seen if each.hop.seq == seq), None)
        if found is None or found.message is None:
            return found is not None
        return any(found.carries(each) or found.answers(each) or found.parent_id == each for each in msg_ids)

    def requests(self) -> list[Seen]:
        """What clients asked, in order, and can still be answered."""
        return [
            each for each in self.seen
            if each.hop.kind == "client" and each.hop.is_up and each.msg_id and each.hop.link not in self._closed
        ]  # fmt: skip

    def delivered(self, request: Seen) -> list[Seen]:
        """Its copies on their way to engines."""
        return [
            each for each in self.seen
            if each.hop.kind == "engine" and not each.hop.is_up and not each.is_reply and each.carries(request.msg_id)
        ]  # fmt: skip

    def replies(self, msg_id: str, *, at_client: bool) -> list[Seen]:
        """The replies to a request as clients got them, or as engines sent them."""
        kind = "client" if at_client else "engine"
        return [
            each for each in self.seen
            if each.answers(msg_id) and each.hop.kind == kind and each.hop.is_up != at_client
        ]  # fmt: skip

    def published(self, msg_id: str, msg_type: str, *, at_client: bool) -> list[Seen]:
        """What was published for a request, as clients got it or as engines sent it."""
        kind = "client" if at_client else "engine"
        return [
            each for each in self._by_parent[msg_id]
            if each.hop.channel == "iopub" and each.hop.kind == kind and each.msg_type == msg_type
        ]  # fmt: skip

    def notices(self, msg_type: str) -> list[Seen]:
        """The notifications of this type that clients got."""
        return [each for each in self.seen if each.hop.channel == "notification" and each.msg_type == msg_type]


__all__ = ["CONTROLLER", "Seen", "Traffic", "Window"]
