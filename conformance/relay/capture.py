"""A recording made by a relay: what crosses it, written down line by line as it passes.

    capture = Capture(stream, {"clients": client_file.codec()}, about="…")
    with Relay(sink=capture) as relay: ...
    capture.close()

Whoever uses one copy of a file is one party to the relay; here the processes behind it are told apart, as far as they
tell themselves: by the identity of their sockets, or by the session in what they send first. A socket that only
subscribes tells nothing, and counts as somebody of its own.

The keys are needed to say which signatures are wrong, and are not written down.
"""

import threading
import time
from collections import Counter
from collections.abc import Mapping
from typing import BinaryIO, Final

import msgspec

from conformance.relay.hops import Hop, Kind, Link, Peer
from conformance.relay.relay import Item
from protocol.recording import End, Ends, Head, end, head, line, open_frames, written
from protocol.rules.setting import Setting
from protocol.wire import Codec, Message
from protocol.world import Fact, Observation

RELAY: Final = "relay"
#: Who is at the other end, by the kind of those who connect.
FAR: Final[Mapping[Kind, str]] = {"client": "controller", "engine": "controller", "frontend": "kernel"}
#: Types of sockets that never say anything.
_SILENT: Final = frozenset({"SUB", "XSUB"})


class Capture:
    """See the module; it is a relay's sink. `codecs` has one for every party of the relay, `far` names for some peers.

    With `keeps_names` each party is one process, and is called as the relay calls it.

    Called in the relay's thread; `flush`, `close` and the numbers may be used in any.
    """

    def __init__(
        self,
        stream: BinaryIO,
        codecs: Mapping[str, Codec],
        *,
        setting: Setting | None = None,
        about: str = "",
        far: Mapping[str, str] | None = None,
        keeps_names: bool = False,
    ) -> None:
        self._stream = stream
        self._codecs = codecs
        self._far = far or {}
        self._keeps_names = keeps_names
        self._lock = threading.Lock()
        self._start = time.monotonic_ns()
        self._seq = 0
        self._links: dict[int, Link] = {}
        self._told: dict[int, Ends] = {}
        self._names: dict[tuple[Kind, str, object], str] = {}
        self._numbers: Counter[str] = Counter()
        self.messages = 0
        self.connections = 0
        #: The connections that could not be read, and why.
        self.unread: dict[int, str] = {}
        self._is_closed = False
        codec = next(iter(codecs.values()))
        self._write(head(Head(
            about=about, setting=setting or Setting(), scheme=codec.scheme, packer=codec.packer.name, vantage="relay"
        )))  # fmt: skip

    def __call__(self, item: Item) -> None:
        """Take in a message or what is new of a connection."""
        with self._lock:
            if self._is_closed:
                return
            if isinstance(item, Hop):
                self._hop(item)
            else:
                self.connections += item.number not in self._links
                self._links[item.number] = item
                if reason := item.near.unreadable or item.far.unreadable:
                    self.unread.setdefault(item.number, reason)
                if item.number in self._told or item.closed_by:
                    self._tell(item.number, time.monotonic_ns())
                if item.closed_by:
                    del self._links[item.number]
                    self._told.pop(item.number, None)

    def flush(self) -> None:
        """Hand everything over to the system."""
        with self._lock:
            self._stream.flush()

    def close(self) -> None:
        """Write the end. May be called twice; what comes afterwards is not recorded."""
        with self._lock:
            if self._is_closed:
                return
            now = time.monotonic_ns()
            for number in self._links:
                self._tell(number, now)
            self._write(end(now - self._start))
            self._stream.flush()
            self._is_closed = True

    def _write(self, text: str) -> None:
        self._stream.write(text.encode() + b"\n")

    def _hop(self, hop: Hop) -> None:
        message, error = open_frames(self._codecs[hop.party], hop.channel, hop.frames)
        if hop.link not in self._told:
            self._tell(hop.link, hop.now, message if hop.is_up else None)
        ends = self._told[hop.link]
        self.messages += 1
        self._seq += 1
        self._write(line(Observation(
            seq=self._seq, now=hop.now - self._start, observer=ends.party, socket=ends.socket, channel=hop.channel,
            direction="sent" if hop.is_up else "received", peer=self._peer(hop.party, hop.kind), frames=hop.frames,
            message=message, error=error,
        )))  # fmt: skip

    def _peer(self, party: str, kind: Kind) -> str:
        return self._far.get(party, FAR[kind])

    def _tell(self, number: int, now: int, first: Message | None = None) -> None:
        """Write down what is known of a connection, if that is new."""
        link, known = self._links[number], self._told.get(number)
        ends = Ends(
            link=number, party=known.party if known else self._name(link, first), kind=link.kind, channel=link.channel,
            near=_end(link.near), far=_end(link.far), closed_by=link.closed_by,
        )  # fmt: skip
        if ends != known:
            self._told[number] = ends
            self._seq += 1
            data = msgspec.to_builtins(ends)
            self._write(line(Fact(seq=self._seq, now=now - self._start, observer=RELAY, name="link", data=data)))

    def _name(self, link: Link, first: Message | None) -> str:
        """Who has connected: `client-1`, `engine-2`, …, by what tells them apart."""
        if self._keeps_names:
            return link.party
        session = first.header.get("session") if first is not None else None
        keys: list[tuple[Kind, str, object]] = []
        if link.near.identity:
            keys.append((link.kind, "identity", link.near.identity))
        if isinstance(session, str) and session:
            keys.append((link.kind, "session", session))
        kind = "subscriber" if link.near.socket_type in _SILENT else link.kind
        name = next((self._names[key] for key in keys if key in self._names), "")
        if not name:
            self._numbers[kind] += 1
            name = f"{kind}-{self._numbers[kind]}"
        for key in keys:
            self._names.setdefault(key, name)
        return name


def _end(peer: Peer) -> End:
    version = "" if peer.version is None else ".".join(map(str, peer.version))
    identity = None if peer.identity is None else written(peer.identity)
    return End(
        socket_type=peer.socket_type, identity=identity, version=version, mechanism=peer.mechanism,
        unreadable=peer.unreadable,
    )  # fmt: skip
