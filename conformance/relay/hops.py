"""What a relay tells: connections with the peers at their ends, and the messages that cross them."""

from typing import Final, Literal

import msgspec

from protocol.channels import CHANNELS
from protocol.connection import ClientFile, ConnectionFile, EngineFile, KernelFile

#: Who uses a copy of a file, and so connects where the file says.
Kind = Literal["client", "engine", "frontend"]
KINDS: Final[dict[type[ConnectionFile], Kind]] = {ClientFile: "client", EngineFile: "engine", KernelFile: "frontend"}
CONTROLLER: Final = "the controller"
#: Who has bound what they connect to.
BINDERS: Final[dict[Kind, str]] = {"client": CONTROLLER, "engine": CONTROLLER, "frontend": "the kernel"}


def _channels(source: str) -> dict[str, str]:
    """Key of a file -> channel. The first channel is the one that has the address to itself."""
    found: dict[str, str] = {}
    for channel in CHANNELS:
        for end in channel.ends:
            if end.address.source == source:
                found.setdefault(end.address.key, channel.name)
    return found


#: The channels behind the keys of each kind of file.
CHANNELS_OF: Final[dict[Kind, dict[str, str]]] = {
    "client": _channels("client file"), "engine": _channels("engine file"), "frontend": _channels("kernel file"),
}  # fmt: skip


class Peer(msgspec.Struct, frozen=True, kw_only=True):
    """What one end of a connection has told of itself; nothing is known before it did.

    `identity` is None for a socket that spoke of none, and empty for one that has set none. `unreadable` says from
    which byte on nothing could be read, and why; empty where all was.
    """

    version: tuple[int, int] | None = None
    mechanism: str = ""
    socket_type: str = ""
    identity: bytes | None = None
    subscriptions: tuple[bytes, ...] = ()
    unreadable: str = ""


class Link(msgspec.Struct, frozen=True, kw_only=True):
    """One connection: `near` has connected, with the copy of a file that `party` uses, and `far` has bound.

    `index` counts the addresses behind one key, such as the leaves of the broadcast tree. `closed_by` is `near`, `far`
    or, if the relay cut it, `relay`; empty while it is open.
    """

    number: int
    party: str
    kind: Kind
    channel: str
    index: int = 0
    near: Peer = Peer()
    far: Peer = Peer()
    closed_by: Literal["", "near", "far", "relay"] = ""


class Hop(msgspec.Struct, frozen=True, kw_only=True):
    """One message on its way between a party and whoever has bound; `is_up` if it goes to the latter.

    `link` numbers the connection; `now` is in nanoseconds of the monotonic clock. `frames` are as the sender sent them,
    without what a ROUTER adds.
    """

    seq: int
    now: int
    party: str
    kind: Kind
    channel: str
    link: int
    is_up: bool
    frames: tuple[bytes, ...]

    @property
    def sender(self) -> str:
        """Who sent it."""
        return self.party if self.is_up else BINDERS[self.kind]
