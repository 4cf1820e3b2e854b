"""Reading along one direction of a connection between two ZeroMQ sockets. Bytes in, events out; no socket is touched.

    decoder = Decoder()
    for event in decoder.feed(data): ...

What one peer sends is a greeting (64 bytes), a handshake in commands, and then messages and more commands. A frame is a
byte of flags, its size in one byte or eight, and its body. The mechanism NULL says everything openly; behind another
one nothing can be read, and before version 3 everything looks otherwise: both are recognised and said (`Unreadable`).
So is garbage, with the first byte that fits nothing and what could have stood there. After that nothing more is read,
whatever comes; nothing is ever refused, because whoever reads along has no say.

Source: rfc.zeromq.org 23/ZMTP (3.0) and 37/ZMTP (3.1): Greeting, Framing, The NULL Security Mechanism, and the commands
of 3.1; 15/ZMTP (2.0) and 13/ZMTP (1.0) for how those begin; libzmq 4.3.5 for the revision numbers in their greetings.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Final

import msgspec

#: Signature, version, mechanism, as-server, filler.
GREETING: Final = 64
#: Signature and major version.
OPENING: Final = 11
MORE: Final = 0x01
LONG: Final = 0x02
COMMAND: Final = 0x04
#: Bytes; nobody keeps a frame beyond this only to read along.
LARGEST: Final = 1 << 31

#: Types that subscribe; until 3.0 they do so in messages.
SUBSCRIBERS: Final = frozenset({"SUB", "XSUB"})
#: What the byte behind the signature says before version 3.
_REVISIONS: Final = {0: (1, 0), 1: (2, 0)}
_UNSUBSCRIBE, _SUBSCRIBE = b"\x00", b"\x01"


class Event(msgspec.Struct, frozen=True, kw_only=True):
    """Base of what a peer does; `raw` are its bytes, if the decoder keeps them.

    A bare event is a piece of a greeting.
    """

    raw: bytes = b""


class Greeting(Event, frozen=True, kw_only=True):
    """The peer says what it speaks. Before version 3 there are no mechanisms."""

    version: tuple[int, int]
    mechanism: str = ""
    is_server: bool = False


class Ready(Event, frozen=True, kw_only=True):
    """The peer says what it is. `properties` have lowercase names."""

    properties: Mapping[str, bytes]

    @property
    def socket_type(self) -> str:
        """Such as `DEALER`; empty if it told none."""
        return self.properties.get("socket-type", b"").decode("ascii", "replace")

    @property
    def identity(self) -> bytes | None:
        """Its routing identity: empty if it has set none, None if it did not speak of it."""
        return self.properties.get("identity")


class Command(Event, frozen=True, kw_only=True):
    """Any other command: PING, PONG, ERROR, or one that nobody knows."""

    name: str
    data: bytes


class Subscription(Event, frozen=True, kw_only=True):
    """The peer wants what begins with `topic`, or wants it no more. A message until 3.0, a command since 3.1."""

    topic: bytes
    is_wanted: bool


class Multipart(Event, frozen=True, kw_only=True):
    """A whole message, as its frames."""

    frames: tuple[bytes, ...]


class Unreadable(Event, frozen=True, kw_only=True):
    """Nothing more can be read in this direction: from byte `at` of the stream on; why, in words."""

    at: int
    expected: str
    found: str

    def __str__(self) -> str:
        return f"byte {self.at}: expected {self.expected}, found {self.found}"


class Decoder:
    """One direction of one connection. With `keeps_raw` every event carries the bytes that it was.

    Once `is_readable` is false, bytes are neither kept nor told of any more.
    """

    def __init__(self, *, keeps_raw: bool = False) -> None:
        self.is_readable = True
        self.greeting: Greeting | None = None
        self.ready: Ready | None = None
        self._keeps_raw = keeps_raw
        self._kept = bytearray()
        self._at = 0
        #: Bytes of a greeting that are kept and have been told already.
        self._told = 0
        self._frames: list[bytes] = []
        self._raw: list[bytes] = []

    def feed(self, data: bytes) -> Iterator[Event]:
        """Take in the next bytes; the events that they complete."""
        if not self.is_readable:
            return
        self._kept += data
        try:
            while (event := self._next()) is not None:
                if type(event) is not Event:
                    yield event
        except Malformed as wrong:
            self.is_readable = False
            # What was held back belongs to nothing that can be told.
            rest = b"".join(self._raw) + self._kept[self._told :] if self._keeps_raw else b""
            self._kept.clear()
            self._frames.clear()
            self._raw.clear()
            yield Unreadable(at=self._at + wrong.at, expected=wrong.expected, found=wrong.found, raw=rest)
            return
        if self._keeps_raw and self.greeting is None and len(self._kept) > self._told:
            # The end of a greeting may wait for the beginning of the other one.
            yield Event(raw=bytes(self._kept[self._told :]))
            self._told = len(self._kept)

    @property
    def unfinished(self) -> int:
        """Bytes of something that has not ended yet."""
        return len(self._kept) + sum(len(frame) for frame in self._frames)

    def _next(self) -> Event | None:
        """The next event; a bare one for a frame that ends nothing; None if not all of it is there."""
        if self.greeting is None:
            return self._greet()
        version = self.greeting.version
        if version[0] < 3:
            raise Malformed(0, "ZMTP 3", f"ZMTP {version[0]}.{version[1]}, which is not read here")
        if self.greeting.mechanism != "NULL":
            raise Malformed(0, "the mechanism NULL", f"{self.greeting.mechanism}, behind which nothing is read")
        return self._frame()

    def _greet(self) -> Greeting | None:
        kept = self._kept
        if kept and kept[0] != 0xFF:
            if len(kept) < 2:
                return None
            if kept[0] and not kept[1]:
                # Version 1 begins with a frame, the identity.
                return self._old((1, 0))
            raise Malformed(0, "255, with which every greeting begins", _byte(kept[0]))
        if len(kept) < OPENING:
            return None
        if not kept[9] & 1:
            return self._old((1, 0))
        major = kept[10]
        if major < 3:
            return self._old(_REVISIONS.get(major, (2, 0)))
        if len(kept) < GREETING:
            return None
        head = bytes(kept[:GREETING])
        name = head[12:32].rstrip(b"\0")
        if not name or not name.isascii() or not name.decode("ascii").isprintable():
            raise Malformed(12, "the name of a mechanism", repr(name))
        self.greeting = Greeting(
            version=(major, head[11]), mechanism=name.decode("ascii"), is_server=bool(head[32]),
            raw=self._cut(GREETING),
        )  # fmt: skip
        return self.greeting

    def _old(self, version: tuple[int, int]) -> Greeting:
        self.greeting = Greeting(version=version)
        return self.greeting

    def _frame(self) -> Event | None:
        kept = self._kept
        if not kept:
            return None
        flags = kept[0]
        if flags & ~(MORE | LONG | COMMAND) or (flags & COMMAND and flags & MORE):
            raise Malformed(0, "the flags of a frame (0 to 3) or of a command (4 or 6)", _byte(flags))
        start = 9 if flags & LONG else 2
        if len(kept) < start:
            return None
        size = int.from_bytes(kept[1:start], "big")
        if size > LARGEST:
            raise Malformed(1, f"a size of at most {LARGEST}", str(size))
        if self.ready is None and not flags & COMMAND:
            raise Malformed(0, "READY or ERROR, which come before all messages", f"a message, {_byte(flags)}")
        if len(kept) < start + size:
            return None
        with memoryview(kept) as view:
            body = bytes(view[start : start + size])
        if flags & COMMAND:
            event = self._command(body, start)
            raw = self._cut(start + size)
            return msgspec.structs.replace(event, raw=raw) if raw else event
        raw = self._cut(start + size)
        self._frames.append(body)
        self._raw.append(raw)
        if flags & MORE:
            return Event()
        frames, raws = tuple(self._frames), self._raw
        self._frames, self._raw = [], []
        return self._message(frames, b"".join(raws))

    def _message(self, frames: tuple[bytes, ...], raw: bytes) -> Event:
        assert self.ready is not None
        if self.ready.socket_type in SUBSCRIBERS and len(frames) == 1 and frames[0][:1] in (_UNSUBSCRIBE, _SUBSCRIBE):
            return Subscription(topic=frames[0][1:], is_wanted=frames[0][:1] == _SUBSCRIBE, raw=raw)
        return Multipart(frames=frames, raw=raw)

    def _command(self, body: bytes, start: int) -> Event:
        length = body[0] if body else 0
        if not 0 < length < len(body):
            raise Malformed(start, "the length of a command's name", _byte(body[0]) if body else "an empty command")
        name = body[1 : 1 + length].decode("ascii", "replace")
        data = body[1 + length :]
        if name == "READY":
            try:
                self.ready = Ready(properties=properties(data))
            except Malformed as wrong:
                raise Malformed(start + 1 + length + wrong.at, wrong.expected, wrong.found) from None
            return self.ready
        if name in ("SUBSCRIBE", "CANCEL"):
            return Subscription(topic=data, is_wanted=name == "SUBSCRIBE")
        return Command(name=name, data=data)

    def _cut(self, size: int) -> bytes:
        """Leave bytes behind; they themselves, if they are kept."""
        raw = b""
        if self._keeps_raw:
            with memoryview(self._kept) as view:
                raw = bytes(view[self._told : size])
        del self._kept[:size]
        self._at += size
        self._told = 0
        return raw


def encode(frames: Sequence[bytes]) -> bytes:
    """The bytes of a message."""
    parts = []
    last = len(frames) - 1
    for index, frame in enumerate(frames):
        more = MORE if index < last else 0
        size = len(frame)
        parts.append(bytes((more, size)) if size < 256 else bytes((more | LONG,)) + size.to_bytes(8, "big"))
        parts.append(frame)
    return b"".join(parts)


def encode_command(name: str, data: bytes = b"") -> bytes:
    """The bytes of a command."""
    body = bytes([len(name)]) + name.encode() + data
    if len(body) < 256:
        return bytes([COMMAND, len(body)]) + body
    return bytes([COMMAND | LONG]) + len(body).to_bytes(8, "big") + body


def encode_properties(told: Mapping[str, bytes]) -> bytes:
    """The data of a READY command."""
    return b"".join(
        bytes([len(name)]) + name.encode() + len(value).to_bytes(4, "big") + value for name, value in told.items()
    )


class Malformed(ValueError):
    """A byte fits nothing: the one at `at` of what was given."""

    def __init__(self, at: int, expected: str, found: str) -> None:
        self.at = at
        self.expected = expected
        self.found = found
        super().__init__(expected)


def _byte(value: int) -> str:
    return f"{value} (0x{value:02x})"


def properties(data: bytes) -> dict[str, bytes]:
    """The properties of a READY command, by lowercase name: upper and lower case mean the same. Raises Malformed."""
    found = {}
    at = 0
    while at < len(data):
        name = data[at + 1 : at + 1 + data[at]]
        end = at + 1 + data[at] + 4
        size = int.from_bytes(data[end - 4 : end], "big")
        if end + size > len(data):
            raise Malformed(at, "a property that ends within READY", f"one of {size} bytes")
        found[name.decode("ascii", "replace").lower()] = data[end : end + size]
        at = end + size
    return found
