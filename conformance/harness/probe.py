"""What a socket really is: read from the ZMTP handshake, over a plain TCP connection and without libzmq.

libzmq tells nobody the type and identity of the socket at the other end. Both are in the READY command that every peer
sends when a connection opens, so the probe opens one, reads it and leaves; no message ever travels, and whoever is
probed sees a peer without an identity come and go. At each step the probe lets the other side go first, because a peer
that dislikes our mechanism or type hangs up at once, with its own words unsaid. Whether it was accepted is known
from the answer to a PING, which ZMTP 3.1 demands.

Source: rfc.zeromq.org 23/ZMTP (3.0), 37/ZMTP (3.1): greeting, NULL mechanism, "The Socket-Type Property".
"""

import contextlib
import socket
import struct
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

from conformance.relay.streams import connect
from conformance.relay.zmtp import (
    COMMAND,
    LONG,
    OPENING,
    Malformed,
    encode,
    encode_command,
    encode_properties,
    properties,
)

#: Which types may talk to each other; everything else must be refused. Of several, `meet` takes the first.
COMPATIBLE: Final[Mapping[str, tuple[str, ...]]] = {
    "REQ": ("ROUTER", "REP"),
    "REP": ("DEALER", "REQ"),
    "DEALER": ("ROUTER", "DEALER", "REP"),
    "ROUTER": ("DEALER", "ROUTER", "REQ"),
    "PUB": ("SUB", "XSUB"),
    "XPUB": ("SUB", "XSUB"),
    "SUB": ("PUB", "XPUB"),
    "XSUB": ("PUB", "XPUB"),
    "PUSH": ("PULL",),
    "PULL": ("PUSH",),
    "PAIR": ("PAIR",),
}

_GREETING: Final = b"\xff" + bytes(8) + b"\x7f" + b"\x03\x01" + b"NULL".ljust(20, b"\0") + b"\0" + bytes(31)
#: Seconds between two attempts to reach somebody who does not listen yet.
_STEP: Final = 0.01
#: More than any handshake needs; a length beyond it means that the peer speaks something else.
_MAXIMUM: Final = 1 << 16


class ProbeError(Exception):
    """No handshake could be read: nobody listens, the peer is silent, or it speaks something else."""


@dataclass(frozen=True)
class Greeting:
    """What a peer told about itself.

    `socket_type` and `identity` are None where the peer told none: behind another mechanism than NULL, before ZMTP 3,
    and the identity for types that have none (PUB, SUB, ...). An identity that is not set is `b""`. `is_accepted` says
    whether it took a peer of type `probed_as`: None if that could not be seen. `refusal` is its reason in words.
    """

    address: str
    version: tuple[int, int]
    mechanism: str = ""
    is_server: bool = False
    socket_type: str | None = None
    identity: bytes | None = None
    properties: Mapping[str, bytes] = field(default_factory=dict)
    probed_as: str = ""
    is_accepted: bool | None = None
    refusal: str = ""

    def __str__(self) -> str:
        parts = [f"{self.address}: ZMTP {self.version[0]}.{self.version[1]}"]
        if self.mechanism:
            parts.append(self.mechanism + (" server" if self.is_server else ""))
        if self.socket_type:
            parts.append(self.socket_type)
        if self.identity:
            parts.append(f"identity {self.identity!r}")
        if self.refusal:
            parts.append(f"refuses {self.probed_as}: {self.refusal}")
        return ", ".join(parts)


class _ClosedError(Exception):
    """The peer hung up."""


class _LateError(Exception):
    """The deadline has passed."""


class _Link:
    """A stream of bytes with one deadline for everything."""

    def __init__(self, stream: socket.socket, deadline: float) -> None:
        self.stream = stream
        self.deadline = deadline
        self._kept = b""

    def send(self, data: bytes) -> None:
        try:
            self.stream.settimeout(self._left(self.deadline))
            self.stream.sendall(data)
        except TimeoutError:
            raise _LateError from None
        except OSError:
            raise _ClosedError from None

    def read(self, count: int, deadline: float | None = None) -> bytes:
        """Exactly so many bytes; what came before a deadline is kept for the next attempt."""
        while len(self._kept) < count:
            try:
                self.stream.settimeout(self._left(deadline or self.deadline))
                data = self.stream.recv(4096)
            except TimeoutError:
                raise _LateError from None
            except OSError:
                raise _ClosedError from None
            if not data:
                raise _ClosedError
            self._kept += data
        taken, self._kept = self._kept[:count], self._kept[count:]
        return taken

    def has(self, count: int) -> bool:
        """Whether so many bytes come within a third of the time left; one that waits for us then gets our part."""
        try:
            self._kept = self.read(count, time.monotonic() + (self.deadline - time.monotonic()) / 3) + self._kept
        except _LateError:
            return False
        return True

    def command(self) -> tuple[str, bytes]:
        """Name and data of the next command; messages before it are passed over."""
        while True:
            flags = self.read(1)[0]
            size: int = struct.unpack(">Q", self.read(8))[0] if flags & LONG else self.read(1)[0]
            if flags & ~(COMMAND | LONG | 1) or size > _MAXIMUM:
                raise ProbeError(f"sent a frame that ZMTP does not know (flags {flags:#04x}, {size} bytes)")
            body = self.read(size)
            if flags & COMMAND:
                if not body or body[0] >= size:
                    raise ProbeError("sent a command without a name")
                return body[1 : 1 + body[0]].decode("ascii", "replace"), body[1 + body[0] :]

    @staticmethod
    def _left(deadline: float) -> float:
        left = deadline - time.monotonic()
        if left <= 0:
            raise _LateError
        return left


def probe(
    address: str,
    *,
    socket_type: str = "DEALER",
    identity: bytes = b"",
    deadline_seconds: float = 2.0,
    is_patient: bool = False,
) -> Greeting:
    """What listens at `tcp://host:port` or `ipc://path`, asked by a peer of this type and identity.

    `is_patient` waits, within the deadline, for somebody to listen: the sockets of a target that has just become ready
    need not all be bound. Raises ProbeError, in one sentence that begins with the address, and ValueError for an
    address of another form.
    """
    deadline = time.monotonic() + deadline_seconds
    with contextlib.closing(_connect(address, deadline_seconds, deadline if is_patient else 0)) as stream:
        link = _Link(stream, deadline)
        try:
            return _shake_hands(address, link, socket_type, identity)
        except ProbeError as error:
            raise ProbeError(f"{address}: {error}") from None
        except _LateError:
            raise ProbeError(f"{address}: sent no ZMTP handshake within {deadline_seconds:g} s") from None
        except _ClosedError:
            raise ProbeError(f"{address}: hung up before it had told what it is") from None


def send_half(address: str, frames: Sequence[bytes], *, socket_type: str = "DEALER", seconds: float = 2.0) -> None:
    """Connect as a peer of this type does, send the first half of a message's bytes, and hang up.

    Raises ProbeError and ValueError as `probe` does.
    """
    deadline = time.monotonic() + seconds
    with contextlib.closing(_connect(address, seconds, deadline)) as stream:
        link = _Link(stream, deadline)
        try:
            _shake_hands(address, link, socket_type, b"")
            whole = encode(frames)
            link.send(whole[: len(whole) // 2])
        except (_LateError, _ClosedError):
            raise ProbeError(f"{address}: hung up on a peer that was about to send") from None


def meet(address: str, *, deadline_seconds: float = 2.0, is_patient: bool = False) -> Greeting:
    """As `probe`, by a peer of a type that the socket must accept; it takes a second connection where needed."""
    first = probe(address, deadline_seconds=deadline_seconds, is_patient=is_patient)
    if first.socket_type is None or first.is_accepted or "DEALER" in COMPATIBLE.get(first.socket_type, ()):
        return first
    partner = COMPATIBLE.get(first.socket_type, ("DEALER",))[0]
    return probe(address, socket_type=partner, deadline_seconds=deadline_seconds)


def _connect(address: str, seconds: float, retry_until: float) -> socket.socket:
    transport, _, where = address.partition("://")
    host, _, port = where.rpartition(":")
    if not (transport == "ipc" and where) and not (
        transport == "tcp" and host and port.isdecimal() and 0 < int(port) < 65536
    ):
        raise ValueError(f"{address!r} is no address of the form tcp://HOST:PORT or ipc://PATH")
    while True:
        try:
            return connect(address, seconds)
        except TimeoutError:
            raise ProbeError(f"{address}: cannot be reached within {seconds:g} s") from None
        except (ConnectionRefusedError, FileNotFoundError) as error:
            if time.monotonic() >= retry_until:
                raise ProbeError(f"{address}: cannot be reached: {error.strerror}") from None
            time.sleep(_STEP)
        except OSError as error:
            raise ProbeError(f"{address}: cannot be reached: {error.strerror or error}") from None


def _shake_hands(address: str, link: _Link, socket_type: str, identity: bytes) -> Greeting:
    link.send(_GREETING[:OPENING])
    signature = link.read(10)
    if signature[0] != 0xFF or not signature[9] & 1:
        raise ProbeError(f"does not speak ZMTP: it began with {signature!r}")
    major = link.read(1)[0]
    if major < 3:
        # ZMTP 2.0 (libzmq 3) has neither mechanisms nor properties; the numbers are those of its revisions.
        return Greeting(address, (2, 0), probed_as=socket_type)
    is_told = link.has(53)
    if not is_told:
        link.send(_GREETING[OPENING:])
    rest = link.read(53)
    mechanism = rest[1:21].rstrip(b"\0").decode("ascii", "replace")
    seen = Greeting(address, (major, rest[0]), mechanism, bool(rest[21]), probed_as=socket_type)
    if mechanism != "NULL":
        return seen
    if is_told:
        link.send(_GREETING[OPENING:])
    ready = _ready(socket_type, identity)
    is_sent = not link.has(1)
    if is_sent:
        link.send(ready)
    name, data = link.command()
    if name == "ERROR":
        return replace(seen, is_accepted=False, refusal=_reason(data))
    if name != "READY":
        raise ProbeError(f"began its handshake with the command {name!r}")
    told = _properties(data)
    kind = told.get("socket-type", b"").decode("ascii", "replace")
    seen = replace(seen, socket_type=kind or None, identity=told.get("identity"), properties=told)
    accepted, refusal = _ask_acceptance(link, b"" if is_sent else ready, seen.version)
    return replace(seen, is_accepted=accepted, refusal=refusal)


def _ask_acceptance(link: _Link, ready: bytes, version: tuple[int, int]) -> tuple[bool | None, str]:
    if version < (3, 1):
        # Without PING there is no question that a peer must answer.
        return None, ""
    try:
        link.send(ready + encode_command("PING", b"\0\0"))
        while True:
            name, data = link.command()
            if name == "PONG":
                return True, ""
            if name == "ERROR":
                return False, _reason(data)
    except _ClosedError:
        return False, "it hung up"
    except _LateError:
        return None, ""


def _ready(socket_type: str, identity: bytes) -> bytes:
    told = {"Socket-Type": socket_type.encode()}
    if socket_type in ("REQ", "DEALER", "ROUTER"):
        told["Identity"] = identity
    return encode_command("READY", encode_properties(told))


def _properties(data: bytes) -> dict[str, bytes]:
    try:
        return properties(data)
    except Malformed:
        raise ProbeError("sent a READY command that ends within a property") from None


def _reason(data: bytes) -> str:
    return data[1 : 1 + data[0]].decode("ascii", "replace") if data else "no reason given"
