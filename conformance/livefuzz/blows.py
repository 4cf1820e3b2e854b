"""Damage as a stranger sends it to a running target: which kinds there are, and how one is made of a right message.

A blow is a number. With the seed it says at which spot it lands, which kind of damage it is and how that is done, so
that it can be struck again alone, at another instance of the target with another key. What is made follows from these
two numbers and from what is right at that spot, which its arena tells.

Damage may leave a message that can be accepted, since identities and buffers are not signed and a sender with the key
may write what he likes. What is right at a spot is therefore always something that harms nobody when it is done.
"""

from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from random import Random
from typing import Final

from conformance.fuzz import Fuzzer
from protocol.damage import DAMAGES, ON_THE_WAY, Chance, Drawn, damage
from protocol.messages import REGISTRY, MessageType
from protocol.wire import DELIMITER, Codec, Frame, Message

#: Blows of one kind that land at one spot in one batch.
IN_A_ROW: Final = 20
#: Messages that are done whoever sends them, wherever they are understood: what they do is no harm, but their purpose.
MEANT: Final = frozenset({
    "shutdown_request", "kill_request", "interrupt_request", "signal_request", "execute_request", "apply_request",
    "clear_request", "abort_request", "purge_request", "unregistration_request", "debug_request", "input_reply",
    "shutdown_notification", "unregistration_notification", "registration_notification",
})  # fmt: skip

_KILO: Final = bytes(1024)
_LARGE: Final = (_KILO * 64, b"\xff" * 65_536, b"[" * 65_536, b"{" * 20_000)
_HUGE: Final = _KILO * 1024
_ROWS: Final = (10, 20, 50, 100, 1000)
_LONE: Final = (
    b"x", b"\0", b"\0\0\0\0\0", b"\xff" * 5, b"{}", DELIMITER, b"<IDS|MSG", b"0" * 64, b"\xff" * 255, b"garbage", _KILO,
)  # fmt: skip


@dataclass
class Spot:
    """A socket of the target, from where strangers reach it.

    `good` makes a message that is right there, harms nobody, and is another one each time; `send` carries frames as
    they are, with the reason why, which goes into reports. `marker` sends what is to be answered to the stranger when
    everything before it has been dealt with, and gives its id; None where nothing is ever answered.
    """

    name: str
    channel: str
    good: Callable[[Chance], list[Frame]]
    send: Callable[[Sequence[Frame], str], None]
    marker: Callable[[], str] | None = None
    #: Whether frames there are no messages: heartbeats, and what subscribers say.
    is_raw: bool = False
    #: What stands in front of everything that is sent, so that it arrives at all.
    address: tuple[Frame, ...] = ()
    #: Identities that others have there.
    foreign: Sequence[bytes] = ()
    #: What honest peers have sent there, the last of it.
    earlier: deque[list[Frame]] = field(default_factory=lambda: deque(maxlen=8))


#: A kind of damage that only a running target can be dealt: what is sent, from what is right at a spot.
Kind = Callable[["Forge", Spot, list[Frame], Chance, int], Sequence[Frame]]


class Forge:
    """Makes the blows of one seed."""

    def __init__(self, seed: int, codec: Codec) -> None:
        self.seed = seed
        self.codec = codec
        self._random = Random()  # noqa: S311 (examples, no secrets)
        self.chance = Drawn(self._random.random)
        self._elsewhere: dict[str, Fuzzer] = {}

    def make(self, spot: Spot, kind: str, number: int) -> list[Frame]:
        """The frames of a blow."""
        self._random.seed(self.seed << 64 | number)
        good = spot.good(self.chance)
        known = RAW_KINDS if spot.is_raw else KINDS
        if kind in known:
            frames = known[kind](self, spot, good, self.chance, number)
        else:
            frames = damage(kind, self.codec, good, self.chance).frames
        # Of no frames at all there is no message.
        return [*spot.address, *(frames or [b""])]

    def from_elsewhere(self, spot: Spot, number: int) -> Message:
        """A message of a type that does not belong to a spot's channel."""
        if spot.channel not in self._elsewhere:
            self._elsewhere[spot.channel] = Fuzzer(self.seed, _not_of(spot.channel))
        return self._elsewhere[spot.channel].sample(number).message


def kinds_at(spot: Spot) -> tuple[str, ...]:
    """Every kind of damage that can be done at a spot, by name."""
    return tuple(RAW_KINDS) if spot.is_raw else (*DAMAGES, *KINDS)


def kind_of(seed: int, batch: int, spot: str, kinds: Sequence[str]) -> str:
    """Which kind of damage a spot is dealt in a batch."""
    return kinds[int(Random(f"{seed} {batch} {spot}").random() * len(kinds))]  # noqa: S311 (no secret)


def _not_of(channel: str) -> list[MessageType]:
    here = {row.name for row in REGISTRY if channel in row.channels}
    return [row for row in REGISTRY if not row.is_raw and row.name not in here | MEANT]


def _pick(options: Sequence[bytes], chance: Chance) -> bytes:
    return options[chance.below(len(options))]


# -- kinds -------------------------------------------------------------------------------------------------------------


def _empty(_: Forge, __: Spot, ___: list[Frame], chance: Chance, ____: int) -> Sequence[Frame]:
    return [b""] * (1, 1, 2, 3, 7)[chance.below(5)]


def _single(_: Forge, __: Spot, good: list[Frame], chance: Chance, ____: int) -> Sequence[Frame]:
    return [_pick([*_LONE, bytes(good[-1])], chance)]


def _identities_only(_: Forge, spot: Spot, __: list[Frame], chance: Chance, ___: int) -> Sequence[Frame]:
    known = [*spot.foreign, *map(bytes, spot.address), b"nobody", b"", b"\0\x80\0\0\x29"]
    return [_pick(known, chance) for _ in range(1 + chance.below(4))]


def _foreign_identities(_: Forge, spot: Spot, good: list[Frame], chance: Chance, __: int) -> Sequence[Frame]:
    at = good.index(DELIMITER)
    known = [*spot.foreign, b"nobody", b"", b"\0\x80\0\0\x29", DELIMITER[:4]]
    strange = [_pick(known, chance) for _ in range(1 + chance.below(3))]
    return (
        [*strange, *good],
        [*good[:at], *strange, *good[at:]],
        [*strange, *good[at:]],
    )[chance.below(3)]  # fmt: skip


def _many_frames(_: Forge, __: Spot, good: list[Frame], chance: Chance, ___: int) -> Sequence[Frame]:
    # Every frame is a call of libzmq's: most of these messages are long, and few very long.
    count = _ROWS[-1] if chance.below(IN_A_ROW) == 0 else _ROWS[chance.below(len(_ROWS) - 1)]
    more = [_pick(_LONE, chance)] * count
    return ([*more, *good], [*good, *more], more, list(good) * 10)[chance.below(4)]


def _huge(_: Forge, __: Spot, good: list[Frame], chance: Chance, ___: int) -> Sequence[Frame]:
    # Most are large, and few of them huge: the time goes where something is to be found.
    bulk = _HUGE if chance.below(IN_A_ROW) == 0 else _pick(_LARGE, chance)
    at = chance.below(len(good) + 1)
    return ([*good[:at], bulk, *good[at:]], [*good[:at], bulk, *good[at + 1 :]], [bulk], [*good, bulk])[chance.below(4)]


def _signed_nonsense(forge: Forge, _: Spot, good: list[Frame], chance: Chance, __: int) -> Sequence[Frame]:
    at = good.index(DELIMITER)
    parts = [_pick([*_LONE, b"", b"[" * 5000, b'"\xff"', b"null", b"NaN", b"\x80\x04."], chance) for _ in range(4)]
    return [*good[:at], DELIMITER, forge.codec.sign(b"".join(parts)), *parts, *good[at + 6 :]]


def _replay(_: Forge, spot: Spot, good: list[Frame], chance: Chance, __: int) -> Sequence[Frame]:
    return spot.earlier[chance.below(len(spot.earlier))] if spot.earlier else good


def _changed_replay(forge: Forge, spot: Spot, good: list[Frame], chance: Chance, number: int) -> Sequence[Frame]:
    frames = list(_replay(forge, spot, good, chance, number))
    at = frames.index(DELIMITER)
    choice = chance.below(4)
    if choice == 0:
        frames[at + 5] = b'{"changed": true}'
    elif choice == 1:
        frames[at + 6 :] = [b"changed"]
    elif choice == 2:
        frames[at + 2 + chance.below(4)] = bytes(good[good.index(DELIMITER) + 2 + chance.below(4)])
    else:
        frames[:at] = [_pick([*spot.foreign, b"nobody"], chance)]
    return frames


def _from_elsewhere(forge: Forge, spot: Spot, good: list[Frame], chance: Chance, number: int) -> Sequence[Frame]:
    if chance.below(3) == 0:
        message = Message({"msg_id": f"strange-{number}", "msg_type": ("tomorrow_request", "", "\0")[chance.below(3)]})
    else:
        message = forge.from_elsewhere(spot, number)
    frames = forge.codec.encode(message)
    return [*good[: good.index(DELIMITER)], *frames[frames.index(DELIMITER) :]]


def _twice(forge: Forge, _: Spot, good: list[Frame], chance: Chance, __: int) -> Sequence[Frame]:
    first, second = list(DAMAGES), list(ON_THE_WAY)
    kind = f"{first[chance.below(len(first))]}+{second[chance.below(len(second))]}"
    return damage(kind, forge.codec, good, chance).frames


def _other_bytes(_: Forge, __: Spot, good: list[Frame], chance: Chance, ___: int) -> Sequence[Frame]:
    return [_pick(_LONE, chance), *good][: 1 + chance.below(2)]


def _bulk(_: Forge, __: Spot, ___: list[Frame], chance: Chance, ____: int) -> Sequence[Frame]:
    return [_HUGE if chance.below(IN_A_ROW) == 0 else _pick(_LARGE, chance)]


def _in_others_names(_: Forge, spot: Spot, good: list[Frame], chance: Chance, __: int) -> Sequence[Frame]:
    return [_pick([*spot.foreign, b"nobody"], chance), *good]


def _long_row(_: Forge, __: Spot, good: list[Frame], chance: Chance, ____: int) -> Sequence[Frame]:
    return ([*good] * 100, [b""] * 100, [_pick(_LONE, chance)] * 20)[chance.below(3)]


def _message(forge: Forge, _: Spot, __: list[Frame], ___: Chance, number: int) -> Sequence[Frame]:
    return forge.codec.encode(Message({"msg_id": f"strange-{number}", "msg_type": "tomorrow_request"}))


#: Beside those of `protocol.damage`.
KINDS: Final[Mapping[str, Kind]] = {
    "empty-frames": _empty,
    "single-frame": _single,
    "identities-only": _identities_only,
    "foreign-identities": _foreign_identities,
    "many-frames": _many_frames,
    "huge": _huge,
    "signed-nonsense": _signed_nonsense,
    "replay": _replay,
    "changed-replay": _changed_replay,
    "from-elsewhere": _from_elsewhere,
    "twice-damaged": _twice,
}
#: Where frames are no messages.
RAW_KINDS: Final[Mapping[str, Kind]] = {
    "empty-frames": _empty,
    "other-bytes": _other_bytes,
    "foreign-identities": _in_others_names,
    "many-frames": _long_row,
    "huge": _bulk,
    "from-elsewhere": _message,
}


__all__ = ["IN_A_ROW", "KINDS", "RAW_KINDS", "Forge", "Spot", "kind_of", "kinds_at"]
