"""The options of a socket, by the names that zmq gives them, and which types have them.

What was set when an endpoint was made holds for its connections. Options are values: who sets one gets others, and
endpoints keep those of their beginning. Most sockets of a simulation are opened like many before them, with the same
options; what came of them is remembered.
"""

from functools import lru_cache
from typing import Final

import msgspec

from simulator.sockets.errors import Errno, ZmqError

MILLISECOND: Final = 1_000_000

_ANY: Final = ()
_ROUTERS: Final = ("ROUTER", "REP")
_CONFLATED: Final = ("DEALER", "PULL", "PUSH", "PUB", "SUB")

#: Option -> the attribute of `Options`, whether the value is a number, and the types that have it (none: all).
TABLE: Final[dict[str, tuple[str, bool, tuple[str, ...]]]] = {
    "SNDHWM": ("sndhwm", True, _ANY),
    "RCVHWM": ("rcvhwm", True, _ANY),
    "LINGER": ("linger", True, _ANY),
    "ROUTING_ID": ("routing_id", False, _ANY),
    "IDENTITY": ("routing_id", False, _ANY),
    "IMMEDIATE": ("immediate", True, _ANY),
    "CONFLATE": ("conflate", True, _ANY),
    "RECONNECT_IVL": ("reconnect_ivl", True, _ANY),
    "RECONNECT_IVL_MAX": ("reconnect_ivl_max", True, _ANY),
    "HEARTBEAT_IVL": ("heartbeat_ivl", True, _ANY),
    "HEARTBEAT_TIMEOUT": ("heartbeat_timeout", True, _ANY),
    "INVERT_MATCHING": ("invert_matching", True, _ANY),
    "ROUTER_MANDATORY": ("router_mandatory", True, _ROUTERS),
    "ROUTER_HANDOVER": ("router_handover", True, _ROUTERS),
    "PROBE_ROUTER": ("probe_router", True, ("ROUTER", "REP", "DEALER", "REQ")),
    "CONNECT_ROUTING_ID": ("connect_routing_id", False, _ROUTERS),
    "XPUB_VERBOSE": ("xpub_verbose", True, ("PUB", "XPUB")),
    "XPUB_VERBOSER": ("xpub_verboser", True, ("PUB", "XPUB")),
    "XPUB_NODROP": ("xpub_nodrop", True, ("PUB", "XPUB")),
    "REQ_RELAXED": ("req_relaxed", True, ("REQ",)),
    "REQ_CORRELATE": ("req_correlate", True, ("REQ",)),
}
_SWITCHES: Final = frozenset(
    {
        *("immediate", "conflate", "invert_matching", "router_mandatory", "router_handover", "probe_router"),
        *("xpub_verbose", "xpub_verboser", "xpub_nodrop", "req_relaxed", "req_correlate"),
    }
)


class Options(msgspec.Struct, frozen=True):
    """The values of one socket, with the defaults of libzmq. Times are milliseconds, marks messages (0: no limit)."""

    kind: str
    sndhwm: int = 1000
    rcvhwm: int = 1000
    linger: int = -1
    routing_id: bytes = b""
    immediate: int = 0
    conflate: int = 0
    reconnect_ivl: int = 100
    reconnect_ivl_max: int = 0
    heartbeat_ivl: int = 0
    heartbeat_timeout: int = -1
    invert_matching: int = 0
    router_mandatory: int = 0
    router_handover: int = 0
    probe_router: int = 0
    connect_routing_id: bytes = b""
    xpub_verbose: int = 0
    xpub_verboser: int = 0
    xpub_nodrop: int = 0
    req_relaxed: int = 0
    req_correlate: int = 0

    @property
    def wants_identity(self) -> bool:
        """Whether sockets of this type are told the identity of their peers."""
        return self.kind in _ROUTERS

    @property
    def is_conflated(self) -> bool:
        """Whether pipes keep the last message only: other types ignore the option."""
        return bool(self.conflate) and self.kind in _CONFLATED

    def having(self, name: str, value: int | bytes) -> "Options":
        """The same, but for one option. Raises ZmqError(EINVAL)."""
        attribute = attribute_of(name)
        _, is_number, kinds = TABLE[name]
        if (kinds and self.kind not in kinds) or isinstance(value, int) is not is_number:
            raise ZmqError(Errno.EINVAL, f"{self.kind} has no such {name}: {value!r}")
        if isinstance(value, bytes):
            # An identity that begins with zero is one that ZeroMQ makes up.
            is_legal = 1 <= len(value) <= 255
        elif attribute in _SWITCHES:
            is_legal = value in (0, 1)
        else:
            is_legal = value >= (-1 if attribute in ("linger", "heartbeat_timeout", "reconnect_ivl") else 0)
        if not is_legal:
            raise ZmqError(Errno.EINVAL, f"{name}: {value!r}")
        return msgspec.structs.replace(self, **{attribute: value})

    def get(self, name: str) -> int | bytes:
        """The value of an option. Raises ZmqError(EINVAL)."""
        value: int | bytes = getattr(self, attribute_of(name))
        return value


def attribute_of(name: str) -> str:
    """The attribute in which an option is kept. Raises ZmqError(EINVAL)."""
    if name not in TABLE:
        raise ZmqError(Errno.EINVAL, f"no option {name}")
    return TABLE[name][0]


@lru_cache(maxsize=1024)
def opened(kind: str, values: tuple[tuple[str, int | bytes], ...] = ()) -> Options:
    """The options of a new socket of a type for which these were set, in that order. Raises ZmqError(EINVAL)."""
    options = Options(kind)
    for name, value in values:
        options = options.having(name, value)
    return options
