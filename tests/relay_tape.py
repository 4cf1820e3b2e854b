"""A recording as a relay would make it, of parties that the tests play; no socket is opened."""

import io
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

from conformance.relay.capture import Capture
from conformance.relay.hops import Hop, Kind, Link, Peer
from protocol import recording
from protocol.messages.build import build as made
from protocol.recording import Recording
from protocol.wire import Codec, Message

KEY = "a-secret-key"
CODEC = Codec(KEY.encode())
ENGINE = "engine-uuid"

build = partial(made, date="2026-11-26T01:02:03.000004Z")
#: Connections: party, kind, channel, socket and identity of who connected, socket and identity of who has bound.
LINKS: dict[str, tuple[str, Kind, str, str, bytes | None, str, bytes | None]] = {
    "client": ("clients", "client", "query", "DEALER", b"", "ROUTER", b""),
    "client/mux": ("clients", "client", "mux", "DEALER", b"", "ROUTER", b"mux_in"),
    "client/iopub": ("clients", "client", "iopub", "SUB", None, "PUB", None),
    "engine": ("engines", "engine", "query", "DEALER", ENGINE.encode(), "ROUTER", b""),
    "engine/mux": ("engines", "engine", "mux", "ROUTER", ENGINE.encode(), "ROUTER", b"mux_out"),
    "engine/iopub": ("engines", "engine", "iopub", "XPUB", None, "SUB", None),
    "frontend": ("kernel.json", "frontend", "kernel-shell", "DEALER", b"me", "ROUTER", b""),
}


class Tape:
    """See the module. A line is written as soon as it is said."""

    def __init__(self) -> None:
        self.stream = io.BytesIO()
        self.capture = Capture(self.stream, dict.fromkeys(("clients", "engines", "kernel.json"), CODEC), about="test")
        self._links: dict[str, Link] = {}
        self._seq = 0
        self._opened = 0
        self._lives = 0

    def open(self, name: str) -> None:
        party, kind, channel, near, near_id, far, far_id = LINKS[name]
        self._opened += 1
        self._links[name] = Link(
            number=self._opened, party=party, kind=kind, channel=channel,
            near=Peer(version=(3, 1), mechanism="NULL", socket_type=near, identity=near_id),
            far=Peer(version=(3, 1), mechanism="NULL", socket_type=far, identity=far_id),
        )  # fmt: skip
        self.capture(self._links[name])

    def close(self, name: str, by: str = "near") -> None:
        link = self._links.pop(name)
        self.capture(Link(**{field: getattr(link, field) for field in link.__struct_fields__} | {"closed_by": by}))

    def say(self, name: str, said: Message | list[bytes], *, is_up: bool) -> None:
        if name not in self._links:
            self.open(name)
        link = self._links[name]
        self._seq += 1
        frames = said if isinstance(said, list) else list(map(bytes, CODEC.encode(said)))
        self.capture(
            Hop(
                seq=self._seq, now=time.monotonic_ns(), party=link.party, kind=link.kind, channel=link.channel,
                link=link.number, is_up=is_up, frames=tuple(frames),
            )
        )  # fmt: skip

    def register(self) -> None:
        """The engine registers."""
        self._lives += 1
        asked = build("registration_request", {"uuid": ENGINE}, msg_id=f"r-{self._lives}", session="engine")
        self.say("engine", asked, is_up=True)
        content = {"status": "ok", "id": 0, "hb_period": 3000}
        self.say(
            "engine",
            build("registration_reply", content, msg_id=f"h-{self._lives}", session="hub", parent=asked.header),
            is_up=False,
        )

    def work(self, number: int = 1, *, replies: int = 1, **content: Any) -> None:
        """The client has the engine run something, and gets so many replies; `content` is what the engine answers."""
        asked = build("apply_request", msg_id=f"m-{number}", session="ann", buffers=[b"f", b"i"])
        answer = build(
            "apply_reply", {"status": "ok"} | content, msg_id=f"a-{number}", session="engine", parent=asked.header,
            buffers=[b"r" * 9000],
        )  # fmt: skip
        self.say("client/mux", asked.replace(identities=(ENGINE.encode(),)), is_up=True)
        self.say("engine/mux", asked.replace(identities=(b"\0ann0",)), is_up=False)
        self.say("engine/mux", answer.replace(identities=(b"\0ann0",)), is_up=True)
        for _ in range(replies):
            self.say("client/mux", answer.replace(identities=(ENGINE.encode(),)), is_up=False)

    def connect(self, **changed: Any) -> None:
        """The client asks the Hub; `changed` are parts of the reply that are not as they should be."""
        asked = build("connection_request", msg_id="c-1", session="ann")
        self.say("client", asked, is_up=True)
        answer = build(
            "connection_reply", {"status": "ok", "engines": {}}, msg_id="h-c", session="hub", parent=asked.header
        )
        self.say("client", answer.replace(**changed), is_up=False)

    def text(self) -> str:
        self.capture.close()
        return self.stream.getvalue().decode()

    def read(self) -> Recording:
        return recording.read(self.text().splitlines())

    def write(self, path: Path) -> Path:
        path.write_text(self.text(), encoding="utf-8")
        return path

    def lines(self) -> Iterator[str]:
        return iter(self.text().splitlines())
