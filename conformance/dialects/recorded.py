"""The signs in a recording of a relay, by who gave them: the controller, and all its engines and clients."""

from pathlib import Path
from typing import Final

from conformance.dialects.signs import of_link, of_message, of_relays
from conformance.dialects.verdict import Peer
from conformance.relay.report import reading
from protocol.recording import Ends, ends_of
from protocol.world import Fact, Observation

#: Channels on which a controller speaks for itself; on the others it passes on what others said.
_OWN: Final = frozenset({"query", "notification"})
#: Who has connected and who has bound, by the kind of the connection.
_ENDS: Final = {
    "client": ("the clients", "the controller"), "engine": ("the engines", "the controller"),
    "frontend": ("the frontends", "the kernel"),
}  # fmt: skip


def peers_of(path: Path) -> list[Peer]:
    """Who speaks in a recording. Raises Unreadable, and OSError."""
    peers: dict[str, Peer] = {}
    links: dict[str, Ends] = {}
    relays: dict[str, bytes] = {}

    def peer(name: str) -> Peer:
        return peers.setdefault(name, Peer(name=name))

    with reading(path) as reader:
        for item in reader:
            ends = ends_of(item) if isinstance(item, Fact) else None
            if ends is not None and ends.kind in _ENDS:
                links[ends.socket] = ends
                peer(_ENDS[ends.kind][0]).add(of_link(ends))
                if ends.channel == "mux":
                    relays[ends.kind] = ends.far.routing_id
            elif isinstance(item, Observation) and item.socket in links:
                kind = links[item.socket].kind
                if item.direction == "sent":
                    peer(_ENDS[kind][0]).add(of_message(item.channel, item.frames))
                elif kind == "frontend" or item.channel in _OWN:
                    peer(_ENDS[kind][1]).add(of_message(item.channel, item.frames))
    if relays.keys() >= {"client", "engine"}:
        peer("the controller").add([of_relays(relays["client"], relays["engine"])])
    return list(peers.values())
