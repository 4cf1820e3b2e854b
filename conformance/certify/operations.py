"""What is done to the sockets of one sequence: operations as data, drawn from a seed.

A sequence has one family of socket types, two to five sockets and a few addresses. Which types meet at an address is
fixed, since inproc does not check it and libzmq may abort. An operation that makes no sense where it stands (its socket
is closed, or was never made) does nothing, in both worlds: so any part of a sequence is a sequence.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from random import Random
from typing import Final, TypeVar

_T = TypeVar("_T")

#: How many operations a sequence has, besides those that open its first sockets.
LENGTH: Final = 40

#: Families of types that talk to each other, each type with those that may connect where it is bound.
FAMILIES: Final[dict[str, dict[str, tuple[str, ...]]]] = {
    "publish": {
        "PUB": ("SUB", "XSUB"),
        "XPUB": ("SUB", "XSUB"),
        "SUB": ("PUB", "XPUB"),
        "XSUB": ("PUB", "XPUB"),
    },
    "route": {"ROUTER": ("DEALER", "ROUTER"), "DEALER": ("ROUTER", "DEALER")},
    "request": {
        "REP": ("REQ", "DEALER"),
        "ROUTER": ("REQ", "DEALER"),
        "DEALER": ("REP", "ROUTER"),
        "REQ": ("REP", "ROUTER"),
    },
    "pipeline": {"PUSH": ("PULL",), "PULL": ("PUSH",)},
    "pair": {"PAIR": ("PAIR",)},
}
#: How often each family is drawn.
_FAMILIES: Final = ("publish", "publish", "route", "route", "route", "request", "request", "pipeline", "pair")

SUBSCRIBERS: Final = ("SUB", "XSUB")
#: Types that receive nothing, and types that send nothing.
_DEAF: Final = ("PUB", "PUSH")
_MUTE: Final = ("SUB", "PULL")
_TOPICS: Final = (b"", b"a", b"ab", b"b")
_IDENTITIES: Final = (b"A", b"B", b"C")
#: An identity that nobody has.
STRANGER: Final = b"Z"
_MARKS: Final = ("SNDHWM", "RCVHWM")
_HWMS: Final = (0, 1, 2, 3, 5)
_TIGHT: Final = (1, 1, 2, 3)


@dataclass(frozen=True, slots=True)
class Operation:
    """One thing done to one socket; `value` depends on the name, as the fields of `VALUES` say."""

    name: str
    socket: int
    value: tuple[object, ...] = ()


#: What the value of an operation holds.
VALUES: Final = {
    "open": ("type", "options"),
    "set": ("option", "value"),
    "bind": ("address",),
    "connect": ("address",),
    "unbind": ("address",),
    "disconnect": ("address",),
    "close": (),
    "send": ("target", "frames"),
    "frame": ("frame", "more"),
    "burst": ("target", "frames", "count"),
    "answer": ("frame", "how many messages ago"),
    "recv": (),
    "drain": (),
}


class Draw:
    """Draws the operations of one sequence."""

    def __init__(self, seed: str, *, transport: str = "inproc", length: int = LENGTH) -> None:
        self._random = Random(seed)
        self._transport = transport
        self._length = length
        self._tags = 0
        self._alive: list[int] = []
        #: Whether all pipes are short, so that they fill.
        self._is_tight = self._chance(0.5)
        self.family = self._one(_FAMILIES)
        self._partners = FAMILIES[self.family]
        #: Whether sockets may keep the last message only; libzmq then keeps the last frame, whatever its message.
        self._is_conflated = transport == "inproc" and self._chance(0.1)
        #: Address -> the type that binds there.
        self._addresses: dict[str, str] = {}
        self._kinds: list[str] = []
        #: Who is bound where and connected where, as far as that is known, and who ever was.
        self._bound: list[tuple[int, str]] = []
        self._connected: list[tuple[int, str]] = []
        self._binders: list[tuple[int, str]] = []
        self._connecters: list[tuple[int, str]] = []
        #: Identities that were set.
        self._named: list[bytes] = []
        #: What comes next, if nothing else comes in between.
        self._planned: list[Operation] = []

    def _one(self, values: "Sequence[_T]") -> _T:
        return values[int(self._random.random() * len(values))]

    def _chance(self, probability: float) -> bool:
        return self._random.random() < probability

    def sequence(self) -> list[Operation]:
        """The operations."""
        kinds = tuple(self._partners)
        first = [self._open(kind) for kind in (self._one(kinds) for _ in range(1 + int(self._random.random() * 3)))]
        # Somebody for the first to talk to.
        first.append(self._open(self._one(self._partners[self._kinds[0]])))
        for number in range(1 + int(self._random.random() * 3)):
            self._addresses[f"{self._transport}-{number}"] = self._kinds[0] if not number else self._one(self._kinds)
        # Most things can be seen only between two that are connected.
        meeting = [self._bind(0, self._kinds[0]), self._connect(len(first) - 1, self._kinds[-1])]
        if self._chance(0.3):
            meeting.reverse()
        if self._chance(0.1):
            meeting = []
        meeting += [
            Operation("send", number, (None, (b"\1" + self._one(_TOPICS[:2]),)))
            for number, kind in enumerate(self._kinds)
            if kind == "XSUB" and self._chance(0.7)
        ]
        return [*first, *meeting, *[self._next() for _ in range(self._length - len(meeting))]]

    def _open(self, kind: str) -> Operation:
        self._kinds.append(kind)
        self._alive.append(len(self._kinds) - 1)
        options: list[tuple[str, int | bytes]] = [
            (mark, self._one(_TIGHT if self._is_tight else _HWMS))
            for mark in _MARKS
            if self._transport == "inproc" and (self._is_tight or self._chance(0.6))
        ]
        if kind in ("DEALER", "REQ", "ROUTER") and self._chance(0.6):
            options.append(("ROUTING_ID", self._name()))
        if kind == "REQ" and self._chance(0.5):
            options.append(("REQ_RELAXED", 1))
            if self._chance(0.5):
                options.append(("REQ_CORRELATE", 1))
        while self._chance(0.4):
            options.append(self._option(kind))
        if kind == "SUB" and self._chance(0.9):
            options.append(("SUBSCRIBE", self._one(_TOPICS)))
        return Operation("open", len(self._kinds) - 1, (kind, tuple(options)))

    def _option(self, kind: str) -> tuple[str, int | bytes]:
        found: list[tuple[str, int | bytes]] = [("LINGER", 0), ("ROUTING_ID", self._name())]
        # A ROUTER that probes a REQ over each of its connections loses each of them, for ever.
        if self._transport == "tcp" and not (self.family == "request" and kind == "ROUTER"):
            found.append(("IMMEDIATE", 1))
        if kind in ("ROUTER", "REP"):
            found += [("ROUTER_MANDATORY", 1), ("ROUTER_HANDOVER", 1)]
        if kind == "ROUTER":
            found += [("ROUTER_MANDATORY", 1), ("ROUTER_HANDOVER", 1)]
            if self._chance(0.3):
                found.append(("CONNECT_ROUTING_ID", self._name()))
        if kind in ("ROUTER", "DEALER"):
            found.append(("PROBE_ROUTER", 1))
        if kind == "REQ":
            found += [("REQ_RELAXED", self._one((0, 1))), ("REQ_CORRELATE", self._one((0, 1)))]
        if kind == "XPUB":
            found += [("XPUB_VERBOSE", 1), ("XPUB_VERBOSER", 1)]
        if kind in ("PUB", "XPUB"):
            found.append(("XPUB_NODROP", 1))
        if kind in ("PUB", "XPUB", "SUB", "PUSH", "PULL", "DEALER") and self._is_conflated:
            found += [("CONFLATE", 1)] * 3
        if kind in ("PUB", "XPUB", "SUB", "XSUB") and self._chance(0.3):
            found.append(("INVERT_MATCHING", 1))
        return self._one(found)

    def _name(self) -> bytes:
        self._named.append(self._one(_IDENTITIES))
        return self._named[-1]

    def _tag(self) -> bytes:
        # Never four or five bytes: those are numbers that libzmq makes up.
        self._tags += 1
        return b"m%06d" % self._tags

    def _frames(self, kind: str) -> tuple[bytes, ...]:
        frames = [self._tag() for _ in range(1 if self._is_conflated else self._one((1, 1, 1, 2, 3)))]
        if self.family == "publish":
            frames[0] = self._one(_TOPICS[1:]) + frames[0]
        if self.family == "request" and kind in ("DEALER", "ROUTER") and not self._is_conflated and self._chance(0.8):
            frames.insert(0, b"")
        return tuple(frames)

    def _target(self) -> bytes | None:
        if self._named and self._chance(0.6):
            return self._one(self._named)
        return self._one((*_IDENTITIES, None, None, None, STRANGER))

    def _next(self) -> Operation:
        if not self._alive:
            return self._open(self._one(tuple(self._partners)))
        if self._planned and self._chance(0.85):
            return self._planned.pop(0)
        if self._chance(0.1):
            self._plan()
        socket = self._one(self._alive)
        kind = self._kinds[socket]
        roll = self._random.random()
        if roll < 0.05:
            return self._bind(socket, kind)
        if roll < 0.13:
            return self._connect(socket, kind)
        if roll < 0.16:
            return self._leave()
        if roll < 0.18:
            return self._close(socket)
        if roll < 0.21:
            if len(self._kinds) < 6:
                return self._open(self._one(tuple(self._partners)))
            return Operation("drain", socket)
        if roll < 0.24:
            return Operation("set", socket, self._setting(kind))
        if kind in _DEAF and self._chance(0.9):
            roll = min(roll, 0.69)
        elif kind in _MUTE and self._chance(0.9):
            roll = roll if roll < 0.34 else max(roll, 0.7)
        if roll < 0.34 and kind in SUBSCRIBERS:
            return self._subscribe(socket, kind)
        if roll < 0.3 and kind not in SUBSCRIBERS:
            return Operation("frame", socket, self._frame(kind))
        if roll < 0.48:
            return Operation("send", socket, (self._target(), self._frames(kind)))
        if roll < 0.62:
            return Operation("burst", socket, (self._target(), self._frames(kind), 2 + int(self._random.random() * 6)))
        if roll < 0.7:
            return Operation("answer", socket, (self._tag(), int(self._chance(0.3))))
        if roll < 0.91:
            return Operation("recv", socket)
        return Operation("drain", socket)

    def _plan(self) -> None:
        """Let two that are connected talk to each other."""
        binders = {address: socket for socket, address in self._bound}
        pairs = [(socket, binders[address]) for socket, address in self._connected if address in binders]
        if not pairs:
            return
        asks, answers = self._one(pairs)
        if self._kinds[asks] in (*_MUTE, "XSUB", "REP") or (self._kinds[answers] == "REQ" and self._chance(0.8)):
            asks, answers = answers, asks
        mute, deaf = self._kinds[answers] in (*_MUTE, "XSUB"), self._kinds[asks] in _DEAF
        kind = self._kinds[asks]
        self._planned = [Operation("send", asks, (self._target(), self._frames(kind))), Operation("recv", answers)]
        if not mute and not deaf:
            self._planned += [Operation("answer", answers, (self._tag(), 0)), Operation("recv", asks)]
        elif kind == "XPUB" or self._chance(0.5):
            burst = Operation("burst", asks, (None, self._frames(kind), 2 + int(self._random.random() * 6)))
            self._planned += [burst, Operation("drain", answers)]

    def _frame(self, kind: str) -> tuple[bytes, bool]:
        more = self._chance(0.5) and not self._is_conflated
        if kind == "ROUTER" and self._chance(0.6):
            return self._one(_IDENTITIES), more
        return (b"a" if self.family == "publish" else self._tag()), more

    def _close(self, socket: int) -> Operation:
        self._alive.remove(socket)
        self._bound = [(one, address) for one, address in self._bound if one != socket]
        self._connected = [(one, address) for one, address in self._connected if one != socket]
        return Operation("close", socket)

    def _setting(self, kind: str) -> tuple[object, ...]:
        if self._transport == "inproc" and self._chance(0.4):
            return self._one(_MARKS), self._one(_HWMS)
        return self._option(kind)

    def _bind(self, socket: int, kind: str) -> Operation:
        fitting = [address for address, binder in self._addresses.items() if binder == kind]
        free = [address for address in fitting if all(address != bound for _, bound in self._bound)]
        if free and self._chance(0.8):
            fitting = free
        if self._transport == "tcp":
            # Nobody talks to themselves there: who of the two ends first is a race.
            fitting = [address for address in fitting if (socket, address) not in self._connecters]
        # Where one socket hears another twice over, the order is that of pointers in libzmq.
        is_used = any(one == socket for one, _ in self._binders + self._connecters)
        if not fitting or (self.family == "publish" and is_used):
            return Operation("recv", socket)
        address = self._one(fitting)
        self._binders.append((socket, address))
        if address in free:
            self._bound.append((socket, address))
        return Operation("bind", socket, (address,))

    def _connect(self, socket: int, kind: str) -> Operation:
        fitting = [address for address, binder in self._addresses.items() if kind in self._partners[binder]]
        heard = [address for address in fitting if any(address == bound for _, bound in self._bound)]
        if heard and self._chance(0.7):
            fitting = heard
        if not fitting:
            return self._bind(socket, kind)
        address = self._one(fitting)
        if self._transport == "tcp" and (socket, address) in self._binders:
            return Operation("recv", socket)
        is_twice = (socket, address) in self._connecters or any(one == socket for one, _ in self._binders)
        if self.family == "publish" and is_twice:
            return Operation("recv", socket)
        self._connected.append((socket, address))
        self._connecters.append((socket, address))
        return Operation("connect", socket, (address,))

    def _leave(self) -> Operation:
        ways = {"disconnect": self._connected, "unbind": self._bound}
        name = "disconnect" if self._connected and (not self._bound or self._chance(0.7)) else "unbind"
        if not ways[name]:
            return Operation("recv", self._one(self._alive))
        socket, address = self._one(ways[name])
        ways[name].remove((socket, address))
        return Operation(name, socket, (address,))

    def _subscribe(self, socket: int, kind: str) -> Operation:
        is_new = self._chance(0.65)
        topic = self._one((*_TOPICS, b"a", b"a"))
        if kind == "SUB":
            return Operation("set", socket, ("SUBSCRIBE" if is_new else "UNSUBSCRIBE", topic))
        return Operation("send", socket, (None, ((b"\1" if is_new else b"\0") + topic,)))
