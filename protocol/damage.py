"""Damage to messages, and who may rightly be blamed for it.

A damage takes the frames of a good message and breaks one thing: on the way (frames dropped, added, swapped, doubled
or cut, bits flipped, another signature, no delimiter or two), or at a sender who holds the key (dictionaries that
cannot be read, or are none, under a signature that fits). What a decoder must make of the result follows from where
every frame ended up, not from reading it:

* the first delimiter counts; without one, only the delimiter can be blamed;
* parts that are missing must be blamed;
* a signature that does not fit what stands after it must be blamed;
* a part that is not the good one may be blamed, and must be if the damage made it unreadable;
* nothing else may be blamed: identities and buffers are not signed, so whatever happened to them is accepted.

Nothing here draws chance by itself: a `Chance` hands in the numbers, a random generator's or given ones.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Final, Literal, NamedTuple, Protocol

from protocol.errors import FrameName, RemoteProtocolError
from protocol.messages import read
from protocol.strange import READABLE_VALUES, UNREADABLE_VALUES, with_value
from protocol.wire import DELIMITER, Codec, Frame


class Chance(Protocol):
    """Where a damage gets its numbers from."""

    def below(self, stop: int, /) -> int:
        """A number from 0 up to, not including, `stop`, which is at least 1."""


class Drawn:
    """Chance from a function like `random.Random(seed).random`, which gives numbers from 0 up to 1."""

    __slots__ = ("_random",)

    def __init__(self, random: Callable[[], float]) -> None:
        self._random = random

    def below(self, stop: int, /) -> int:
        """A number below `stop`."""
        return int(self._random() * stop)


class Given:
    """Chance from integers that someone else chose; 0 for ever when they are used up."""

    __slots__ = ("_numbers",)

    def __init__(self, numbers: Iterable[int]) -> None:
        self._numbers: Iterator[int] = iter(numbers)

    def below(self, stop: int, /) -> int:
        """The next integer, modulo `stop`."""
        return next(self._numbers, 0) % stop


class Damaged(NamedTuple):
    """Frames after a damage, and what may be said about them.

    `required`: frames that a refusal must name; empty if the message may be accepted. `allowed`: what it may name.
    `content` tells whether the content is as it was, certainly unreadable, or anything. `typed`: what a check against
    the message's type may name in addition.
    """

    kind: str
    frames: tuple[Frame, ...]
    required: frozenset[FrameName]
    allowed: frozenset[FrameName]
    content: Literal["same", "unreadable", "any"]
    typed: frozenset[FrameName]


Fault = Literal["unreadable", "readable", "unknown"]
#: New frames; and if a sender with the key broke a part, which, and whether it can still be read.
Outcome = tuple[Sequence[Frame], FrameName | None, Fault]
Damage = Callable[[Codec, list[Frame], int, Chance], Outcome]

_NOTHING: Final[frozenset[FrameName]] = frozenset()
_DELIMITER: Final[frozenset[FrameName]] = frozenset({"delimiter"})
_TYPED: Final[frozenset[FrameName]] = frozenset({"header", "metadata", "content", "buffers"})


def damage(kind: str, codec: Codec, frames: Sequence[Frame], chance: Chance) -> Damaged:
    """These good frames, which `codec` encoded, after one damage of a kind in DAMAGES.

    `drop+swap` is a drop and then a swap; every kind after the first must be one of ON_THE_WAY. Raises KeyError for a
    kind that does not exist.
    """
    first, *more = kind.split("+")
    broken, part, fault = DAMAGES[first](codec, list(frames), frames.index(DELIMITER), chance)
    for another in more:
        # What was certainly broken may be anywhere now: its place decides, as for all other frames.
        part, fault = None, "unknown"
        broken, _, _ = ON_THE_WAY[another](codec, list(broken) or [b""], 0, chance)
    return judge_by_place(kind, codec, frames, tuple(broken), part, fault)


def judge_by_place(
    kind: str,
    codec: Codec,
    good: Sequence[Frame],
    frames: tuple[Frame, ...],
    part: FrameName | None = None,
    fault: Fault = "unknown",
) -> Damaged:
    """What may be said about frames, told from where those of the good message ended up among them."""
    if DELIMITER not in frames:
        return Damaged(kind, frames, _DELIMITER, _DELIMITER, "any", _NOTHING)
    start, at = good.index(DELIMITER) + 2, frames.index(DELIMITER)
    count = len(codec.parts)
    parts = frames[at + 2 : at + 2 + count]
    required: set[FrameName] = set()
    if len(parts) < count:
        names: tuple[FrameName, ...] = ("signature", *codec.parts)
        required.update(names[len(frames) - at - 1 :])
    elif codec.key and frames[at + 1] != codec.sign(b"".join(parts)):
        required.add("signature")
    changed = {name for name, now, then in zip(codec.parts, parts, good[start:], strict=False) if now != then}
    content: Literal["same", "unreadable", "any"] = "any" if "content" in changed else "same"
    if part is not None and fault != "unknown":
        if part == "content":
            content = "unreadable" if fault == "unreadable" else content
        elif fault == "unreadable":
            required.add(part)
    allowed = required | (changed - {"content"})
    if fault == "readable" and part is not None:
        allowed.discard(part)
    typed: set[FrameName] = set(_TYPED) if "header" in changed else changed | allowed
    if len(frames) - at != len(good) - start + 2:
        typed.add("buffers")
    return Damaged(kind, frames, frozenset(required), frozenset(allowed), content, frozenset(typed))


# What decoders do with it


def misjudged(codec: Codec, damaged: Damaged) -> str | None:
    """What is wrong with the codec's judgement of damaged frames, in a sentence; None if it is right."""
    frames = damaged.frames
    try:
        message = codec.open(frames)
    except RemoteProtocolError as error:
        return _wrongly_blamed(error, damaged.required, damaged.allowed)
    except Exception as error:
        return f"{type(error).__name__} escaped: {error}"
    if damaged.required:
        return f"accepted, although {_list(damaged.required)} is wrong"
    at = frames.index(DELIMITER)
    end = at + 2 + len(codec.parts)
    if message.identities != frames[:at] or message.buffers != frames[end:] or message.parts != frames[at + 2 : end]:
        return "accepted, but frames went to the wrong place"
    if codec.forward(message, message.identities) != list(frames):
        return "forwarded with other frames"
    try:
        _ = message.content
    except RemoteProtocolError as error:
        if damaged.content == "same":
            return f"the content is good and was refused: {error}"
        return _wrongly_blamed(error, frozenset(), frozenset({"content"}))
    except Exception as error:
        return f"{type(error).__name__} escaped from the content: {error}"
    return "content that cannot be read was read" if damaged.content == "unreadable" else None


def misread(codec: Codec, damaged: Damaged, channel: str, dialect: str) -> str | None:
    """As `misjudged`, for `protocol.messages.read`, to which every part and the number of buffers matter."""
    try:
        read(codec, damaged.frames, channel, dialect)
    except RemoteProtocolError as error:
        return _wrongly_blamed(error, damaged.required, damaged.allowed | damaged.typed)
    except Exception as error:
        return f"{type(error).__name__} escaped from reading: {error}"
    if damaged.required or damaged.content == "unreadable":
        return f"read, although {_list(damaged.required) or 'content'} is wrong"
    return None


def _wrongly_blamed(
    error: RemoteProtocolError, required: frozenset[FrameName], allowed: frozenset[FrameName]
) -> str | None:
    blamed = frozenset(error.frames)
    if not blamed:
        return "refused without a reason"
    if not required <= blamed:
        return f"refused without naming {_list(required - blamed)}: {error}"
    if not blamed <= allowed:
        return f"{_list(blamed - allowed)} wrongly blamed: {error}"
    return None


def _list(names: frozenset[FrameName]) -> str:
    return ", ".join(sorted(names))


# On the way: frames and bits


def _drop(_: Codec, frames: list[Frame], __: int, chance: Chance) -> Outcome:
    del frames[chance.below(len(frames))]
    return frames, None, "unknown"


_STRAY: Final = (b"", b"\0", b"{}", b"x", DELIMITER, b"\xff" * 9, b'{"msg_id":"1","msg_type":"x"}', b"\x80", b"0" * 64)


def _add(_: Codec, frames: list[Frame], __: int, chance: Chance) -> Outcome:
    frames.insert(chance.below(len(frames) + 1), _STRAY[chance.below(len(_STRAY))])
    return frames, None, "unknown"


def _swap(_: Codec, frames: list[Frame], __: int, chance: Chance) -> Outcome:
    one, other = chance.below(len(frames)), chance.below(len(frames))
    frames[one], frames[other] = frames[other], frames[one]
    return frames, None, "unknown"


def _duplicate(_: Codec, frames: list[Frame], __: int, chance: Chance) -> Outcome:
    at = chance.below(len(frames))
    frames.insert(at, frames[at])
    return frames, None, "unknown"


def _truncate(_: Codec, frames: list[Frame], __: int, chance: Chance) -> Outcome:
    return frames[: chance.below(len(frames))], None, "unknown"


def _cut_frame(_: Codec, frames: list[Frame], __: int, chance: Chance) -> Outcome:
    at = chance.below(len(frames))
    frames[at] = bytes(frames[at])[: chance.below(len(frames[at]) + 1)]
    return frames, None, "unknown"


def _flip_bit(_: Codec, frames: list[Frame], __: int, chance: Chance) -> Outcome:
    at = chance.below(len(frames))
    octets = bytearray(frames[at])
    if octets:
        octets[chance.below(len(octets))] ^= 1 << chance.below(8)
    frames[at] = bytes(octets)
    return frames, None, "unknown"


def _no_delimiter(_: Codec, frames: list[Frame], at: int, chance: Chance) -> Outcome:
    other = (None, b"<ids|msg>", b"<IDS|MSG> ", b"<IDS|MSG", b"")[chance.below(5)]
    frames[at : at + 1] = [] if other is None else [other]
    return frames, None, "unknown"


def _two_delimiters(_: Codec, frames: list[Frame], __: int, chance: Chance) -> Outcome:
    frames.insert(chance.below(len(frames) + 1), DELIMITER)
    return frames, None, "unknown"


# On the way: signatures


def _wrong_signature(codec: Codec, frames: list[Frame], at: int, chance: Chance) -> Outcome:
    right = bytes(frames[at + 1])
    wrong = (
        b"",
        right.upper(),
        right[:-1],
        right + b"0",
        right[::-1],
        b"0" * len(right),
        b"\xff" * len(right),
        b" " + right,
        right.rstrip(b"0123456789"),
        Codec(codec.key + b"x", scheme=codec.scheme).sign(b"".join(frames[at + 2 : at + 2 + len(codec.parts)])),
    )
    frames[at + 1] = wrong[chance.below(len(wrong))]
    return frames, None, "unknown"


def _signature_over_others(codec: Codec, frames: list[Frame], at: int, chance: Chance) -> Outcome:
    first, last = at + 2, at + 2 + len(codec.parts)
    parts = frames[first:last]
    others = (parts[:-1], parts[1:], parts[::-1], frames[first:], frames[:at] + parts, [DELIMITER, *parts], parts * 2)
    frames[at + 1] = codec.sign(b"".join(others[chance.below(len(others))]))
    return frames, None, "unknown"


# At a sender with the key: dictionaries that are none


def _resigned(codec: Codec, frames: list[Frame], at: int, index: int, part: bytes) -> list[Frame]:
    frames[at + 2 + index] = part
    frames[at + 1] = codec.sign(b"".join(frames[at + 2 : at + 2 + len(codec.parts)]))
    return frames


def _often(values: Iterable[bytes]) -> list[bytes]:
    """Values to draw from. Huge ones cost as much time as a hundred others, so they come last and seldom."""
    ordered = sorted(values, key=len)
    return [value for value in ordered if len(value) < 10_000] * 8 + [
        value for value in ordered if len(value) >= 10_000
    ]


_DRAWN: Final[Mapping[Fault, Mapping[str, list[bytes]]]] = {
    "unreadable": {packer: _often(values.values()) for packer, values in UNREADABLE_VALUES.items()},
    "readable": {packer: _often(values.values()) for packer, values in READABLE_VALUES.items()},
}


def _value(codec: Codec, frames: list[Frame], at: int, chance: Chance, fault: Fault) -> Outcome:
    values = _DRAWN[fault]["msgpack" if codec.packer.name == "msgpack" else "json"]
    index = chance.below(len(codec.parts))
    part = with_value(codec, frames[at + 2 + index], values[chance.below(len(values))])
    return _resigned(codec, frames, at, index, part), codec.parts[index], fault


def _unreadable_value(codec: Codec, frames: list[Frame], at: int, chance: Chance) -> Outcome:
    return _value(codec, frames, at, chance, "unreadable")


def _strange_value(codec: Codec, frames: list[Frame], at: int, chance: Chance) -> Outcome:
    return _value(codec, frames, at, chance, "readable")


def _broken_part(codec: Codec, frames: list[Frame], at: int, chance: Chance) -> Outcome:
    index = chance.below(len(codec.parts))
    part = bytes(frames[at + 2 + index])
    broken = (
        b"",
        part[: chance.below(len(part))],
        part + b"\xc1",
        part + part,
        b"\xc1" + part,
        b"\xef\xbb\xbf" + part,
        b"\xff\xfe" + part,
    )
    return (
        _resigned(codec, frames, at, index, broken[chance.below(len(broken))]),
        codec.parts[index],
        "unreadable",
    )


_NOT_OBJECTS: Final[tuple[object, ...]] = (
    None,
    True,
    False,
    0,
    -1.5,
    "",
    "x",
    [],
    [["msg_id", "1"], ["msg_type", "x"]],
    [{}],
)


def _not_an_object(codec: Codec, frames: list[Frame], at: int, chance: Chance) -> Outcome:
    index = chance.below(len(codec.parts))
    part = codec.packer.encode(_NOT_OBJECTS[chance.below(len(_NOT_OBJECTS))])
    return _resigned(codec, frames, at, index, part), codec.parts[index], "unreadable"


def _nameless(codec: Codec, frames: list[Frame], at: int, chance: Chance) -> Outcome:
    header = codec.packer.decode(frames[at + 2])
    key = ("msg_id", "msg_type")[chance.below(2)]
    del header[key]
    values: tuple[object, ...] = (None, True, 7, 0.5, [], ["x"], {}, {"$": "x"})
    choice = chance.below(len(values) + 1)
    if choice:
        header[key] = values[choice - 1]
    return _resigned(codec, frames, at, 0, codec.packer.encode(header)), "header", "unreadable"


def _wrong_type(codec: Codec, frames: list[Frame], at: int, chance: Chance) -> Outcome:
    """One value of a dictionary, at the top or inside, exchanged for one of another JSON type, or left out."""
    index = chance.below(len(codec.parts))
    part = codec.packer.decode(frames[at + 2 + index])
    place = part
    while place:
        key = list(place)[chance.below(len(place))]
        if isinstance(place[key], dict) and place[key] and chance.below(2):
            place = place[key]
            continue
        choice = chance.below(len(_NOT_OBJECTS) + 2)
        if choice == 0:
            del place[key]
        else:
            place[key] = {} if choice == 1 else _NOT_OBJECTS[choice - 2]
        break
    fault: Fault = "unknown" if index == 0 else "readable"  # the header may have lost its name
    return _resigned(codec, frames, at, index, codec.packer.encode(part)), codec.parts[index], fault


#: What may happen to any frames, damaged already or not.
ON_THE_WAY: Final[Mapping[str, Damage]] = {
    "drop": _drop,
    "add": _add,
    "swap": _swap,
    "duplicate": _duplicate,
    "truncate": _truncate,
    "cut-frame": _cut_frame,
    "flip-bit": _flip_bit,
    "two-delimiters": _two_delimiters,
}
#: Every kind of damage, by name.
DAMAGES: Final[Mapping[str, Damage]] = {
    **ON_THE_WAY,
    "no-delimiter": _no_delimiter,
    "wrong-signature": _wrong_signature,
    "signature-over-others": _signature_over_others,
    "unreadable-value": _unreadable_value,
    "strange-value": _strange_value,
    "broken-part": _broken_part,
    "not-an-object": _not_an_object,
    "nameless": _nameless,
    "wrong-type": _wrong_type,
}

__all__ = [
    "DAMAGES",
    "ON_THE_WAY",
    "Chance",
    "Damaged",
    "Drawn",
    "Given",
    "damage",
    "judge_by_place",
    "misjudged",
    "misread",
]
