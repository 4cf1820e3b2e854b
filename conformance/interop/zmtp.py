"""Reading along: the messages in one direction of a TCP connection between two sockets of ZeroMQ.

    splitter = Splitter()
    for frames in splitter.feed(data): ...

Nothing is answered and nothing is changed. What cannot be read along (another mechanism than NULL, which encrypts, or
something that is not ZMTP 3) yields nothing.

Source: rfc.zeromq.org 23/ZMTP (3.0), 37/ZMTP (3.1), sections Greeting and Framing.
"""

import struct
from collections.abc import Iterator
from typing import Final

#: Signature, version, mechanism, as-server, filler.
GREETING: Final = 64
MORE: Final = 0x01
LONG: Final = 0x02
COMMAND: Final = 0x04


class Splitter:
    """One direction of one connection."""

    def __init__(self) -> None:
        self.is_readable = True
        self._kept = bytearray()
        self._has_greeting = False
        self._frames: list[bytes] = []

    def feed(self, data: bytes) -> Iterator[tuple[bytes, ...]]:
        """Take in the next bytes; the messages that they complete, as their frames. Commands are passed over."""
        if not self.is_readable:
            return
        self._kept += data
        if not self._has_greeting:
            if len(self._kept) < GREETING:
                return
            head = bytes(self._kept[:GREETING])
            self.is_readable = head[0] == 0xFF and head[10] >= 3 and head[12:32].rstrip(b"\0") == b"NULL"
            self._has_greeting = True
            del self._kept[:GREETING]
        at = 0
        while self.is_readable and (found := self._frame(at)) is not None:
            flags, body, at = found
            if flags & ~(MORE | LONG | COMMAND):
                self.is_readable = False
            elif not flags & COMMAND:
                self._frames.append(body)
                if not flags & MORE:
                    yield tuple(self._frames)
                    self._frames = []
        del self._kept[:at]

    def _frame(self, at: int) -> tuple[int, bytes, int] | None:
        """Flags, body and end of the frame that begins here; None if it is not all there."""
        kept = self._kept
        if len(kept) < at + 2:
            return None
        flags = kept[at]
        start = at + (9 if flags & LONG else 2)
        if len(kept) < start:
            return None
        size: int = struct.unpack_from(">Q", kept, at + 1)[0] if flags & LONG else kept[at + 1]
        if len(kept) < start + size:
            return None
        return flags, bytes(kept[start : start + size]), start + size
