"""What is seen of a run while it goes: the relay's messages, and for whom a fault is an excuse."""

import threading
import time
from collections import Counter
from collections.abc import Callable
from typing import Final, NamedTuple

from conformance.relay.hops import Hop
from conformance.relay.relay import Item
from protocol.errors import ProtocolError
from protocol.roles.speech import content_of, metadata_of, parent_id
from protocol.wire import Codec, Message
from protocol.world import SECOND

#: How an engine asks to be registered, and how it takes leave.
COMES: Final = "registration_request"
GOES: Final = "unregistration_request"
#: Nanoseconds that a message may be under way when a fault ends.
LATE: Final = SECOND


class Touched(NamedTuple):
    """A message that a fault took, altered or may have lost. The ends are named as in a simulation."""

    now: int
    ends: tuple[str, str]
    msg_type: str
    msg_id: str
    parent: str


def touched(ends: tuple[str, str], message: Message | None) -> Touched:
    """What is remembered of a message; of a heartbeat there is little."""
    if message is None:
        return Touched(time.monotonic_ns(), ends, "", "", "")
    return Touched(time.monotonic_ns(), ends, message.msg_type, message.msg_id, parent_id(message))


class Watcher:
    """A sink of the relay that keeps how often engines asked to come and to go, and hands everything on.

    With `hears_clients` it also keeps which engine answered each request of a client, and what was written for it.
    """

    def __init__(self, codec: Codec, sink: Callable[[Item], None], *, hears_clients: bool = False) -> None:
        self._codec = codec
        self._sink = sink
        self._hears_clients = hears_clients
        self._answered: dict[str, str] = {}
        self._written: dict[str, str] = {}
        self._lock = threading.Lock()
        #: Party and type of request -> how often; party -> as whom it asked to be registered last.
        self._asked: Counter[tuple[str, str]] = Counter()
        self._uuids: dict[str, str] = {}

    def __call__(self, item: Item) -> None:
        """Take in a message, or what is new of a connection."""
        if isinstance(item, Hop) and item.is_up and item.kind == "engine" and item.channel == "query":
            self._ask(item)
        elif self._hears_clients and isinstance(item, Hop) and not item.is_up and item.party.startswith("client-"):
            self._hear(item)
        self._sink(item)

    def _ask(self, hop: Hop) -> None:
        try:
            message = self._codec.open(hop.frames)
        except ProtocolError:
            return
        with self._lock:
            self._asked[hop.party, message.msg_type] += 1
            uuid = (content_of(message) or {}).get("uuid")
            if message.msg_type == COMES and isinstance(uuid, str):
                self._uuids[hop.party] = uuid

    def _hear(self, hop: Hop) -> None:
        """What comes to a client: a reply, or what code wrote."""
        try:
            message = self._codec.open(hop.frames)
        except ProtocolError:
            return
        about = metadata_of(message) or {}
        with self._lock:
            if hop.channel == "iopub":
                if message.msg_type == "stream":
                    text = (content_of(message) or {}).get("text")
                    self._written[parent_id(message)] = f"{self._written.get(parent_id(message), '')}{text}"
            elif isinstance(about.get("engine"), str):
                self._answered.setdefault(str(about.get("original_msg_id") or parent_id(message)), about["engine"])

    def answered(self, msg_id: str) -> str:
        """Which engine was the first whose answer to a request came to a client; empty if none."""
        with self._lock:
            return self._answered.get(msg_id, "")

    def written(self, msg_id: str) -> str:
        """What was written for a request, as far as it came to a client."""
        with self._lock:
            return self._written.get(msg_id, "")

    def asked(self, party: str, msg_type: str) -> int:
        """How often an engine, or its warden, has asked the Hub this."""
        with self._lock:
            return self._asked[party, msg_type]

    def uuid(self, party: str) -> str:
        """As whom an engine asked to be registered last; empty if it did not."""
        with self._lock:
            return self._uuids.get(party, "")


__all__ = ["COMES", "GOES", "LATE", "Touched", "Watcher", "touched"]
