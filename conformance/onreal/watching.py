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
    """A sink of the relay that keeps which engines asked to be registered, and hands everything on."""

    def __init__(self, codec: Codec, sink: Callable[[Item], None]) -> None:
        self._codec = codec
        self._sink = sink
        self._lock = threading.Lock()
        #: Party -> how often it asked to be registered, and as whom it did so last.
        self._asked: Counter[str] = Counter()
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
        if message.msg_type == "registration_request":
            uuid = (content_of(message) or {}).get("uuid")
            with self._lock:
                self._asked[hop.party] += 1
                if isinstance(uuid, str):
                    self._uuids[hop.party] = uuid

    def asked(self, party: str) -> int:
        """How often an engine has asked to be registered."""
        with self._lock:
            return self._asked[party]

    def uuid(self, party: str) -> str:
        """As whom it did so last; empty if it did not."""
        with self._lock:
            return self._uuids.get(party, "")


__all__ = ["LATE", "Touched", "Watcher", "touched"]
