"""What is seen of a run while it goes: the relay's messages, and for whom a fault is an excuse."""

import threading
import time
from collections import Counter
from collections.abc import Callable
from typing import Final, NamedTuple

from conformance.relay.hops import Hop
from conformance.relay.relay import Item
from protocol.errors import ProtocolError
from protocol.roles.speech import content_of, parent_id
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
    """A sink of the relay that keeps how often engines asked to come and to go, and hands everything on."""

    def __init__(self, codec: Codec, sink: Callable[[Item], None]) -> None:
        self._codec = codec
        self._sink = sink
        self._lock = threading.Lock()
        #: Party and type of request -> how often; party -> as whom it asked to be registered last.
        self._asked: Counter[tuple[str, str]] = Counter()
        self._uuids: dict[str, str] = {}

    def __call__(self, item: Item) -> None:
        """Take in a message, or what is new of a connection."""
        if isinstance(item, Hop) and item.is_up and item.kind == "engine" and item.channel == "query":
            self._ask(item)
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

    def asked(self, party: str, msg_type: str) -> int:
        """How often an engine, or its warden, has asked the Hub this."""
        with self._lock:
            return self._asked[party, msg_type]

    def uuid(self, party: str) -> str:
        """As whom an engine asked to be registered last; empty if it did not."""
        with self._lock:
            return self._uuids.get(party, "")


__all__ = ["COMES", "GOES", "LATE", "Touched", "Watcher", "touched"]
