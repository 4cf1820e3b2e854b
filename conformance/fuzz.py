"""Search for frames that the decoder judges wrongly: as many messages as time allows, each good or damaged.

Example `n` of seed `s` depends on these two numbers and on the message types, and on nothing else: every example can be
made again alone. A good message must come back unchanged, by every way of reading; a damaged one must be accepted or
refused as `protocol.damage` says it may, and nothing but a ProtocolError may escape.

Hypothesis draws its examples with care and shrinks them; this loop has no time for that, and shows the smallest of the
failures that it met.
"""

import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from random import Random
from typing import Any, Final, NamedTuple

from msgspec import inspect

from protocol.damage import DAMAGES, ON_THE_WAY, Drawn, damage, misjudged, misread
from protocol.errors import ProtocolError, RemoteProtocolError
from protocol.messages import OLD, REGISTRY, Content, KeyedContent, MessageType, Metadata, read
from protocol.wire import DELIMITER, Codec, Frame, Json, Message, ReplayMemory

Random01 = Callable[[], float]
Draw = Callable[[Random01], Any]

_KEYS: Final = (b"", b"k", b"5f0c2b1e-9d3a7c6b5e4f3a2b1c0d9e8f", bytes(range(256)))
_SCHEMES: Final = ("hmac-sha256", "hmac-md5", "hmac-sha512")
_PACKERS: Final = ("json", "msgpack")

_TEXTS: Final = (
    "", "a", "engine", "é", "\U0001f600", "\0", '"\\\n', "<IDS|MSG>", "1", "null", "x" * 300, "\u2028", "\uffff",
    "e7a3b1c0-5d2f4a6b8c0d1e2f3a4b5c6d", "c11e0001-0a1b2c3d4e5f60718293a4b5_4242_7", "2026-01-05T12:00:00.000000Z",
)  # fmt: skip
_HOW_MANY: Final = len(_TEXTS)
_VERSIONS: Final = ("5.4", "4.1", "")
_INTEGERS: Final = (0, 1, 2, 7, 99, -1, -(2**31), 2**31, 2**53 + 1, -(2**63), 2**63 - 1, 2**64 - 1)
_FLOATS: Final = (0.0, -0.0, 0.5, -1.5, 0.1, 3000.0, 1e-7, 5e-324, 1.7976931348623157e308, 1e22, -1e-300)
_IDENTITIES: Final = (
    b"",
    b"a",
    b"\0\x80\0\0\x2a",
    b"engine.0.stdout",
    b"e7a3b1c0-5d2f4a6b8c0d1e2f3a4b5c6d",
    b"\xff" * 40,
)
_BUFFERS: Final[tuple[Frame, ...]] = (
    b"", b"\0", b"{}", DELIMITER, b"0" * 64, bytes(1024), memoryview(b"view"), memoryview(bytearray(b"changing")),
)  # fmt: skip


class Sample(NamedTuple):
    """One example: a message, and where it is valid."""

    number: int
    row: MessageType
    channel: str
    dialect: str
    codec: Codec
    message: Message
    kind: str


@dataclass(frozen=True, slots=True)
class Failure:
    """An example that was judged wrongly."""

    seed: int
    sample: Sample
    frames: tuple[Frame, ...]
    complaint: str

    @property
    def size(self) -> int:
        """Bytes in all frames, each counted with one byte more: fewer frames are smaller too."""
        return sum(len(frame) + 1 for frame in self.frames)

    @property
    def command(self) -> str:
        """How to make this example again."""
        return f"ippkit fuzz wire --seed {self.seed} --only {self.sample.number}"


@dataclass(slots=True)
class Report:
    """What a run has seen so far: examples per kind, how many of them were refused, and the failures."""

    examples: Counter[str] = field(default_factory=Counter)
    refused: Counter[str] = field(default_factory=Counter)
    types: set[tuple[str, str, str]] = field(default_factory=set)
    failures: list[Failure] = field(default_factory=list)

    def smallest(self) -> list[Failure]:
        """One failure for each kind of damage and sort of complaint, the smallest first."""
        found: dict[tuple[str, str], Failure] = {}
        for failure in sorted(self.failures, key=lambda failure: (failure.size, failure.sample.number)):
            found.setdefault((failure.sample.kind, failure.complaint.partition(":")[0]), failure)
        return list(found.values())


class Fuzzer:
    """Examples of one seed, made and judged."""

    def __init__(self, seed: int, rows: Sequence[MessageType] = REGISTRY) -> None:
        self.seed = seed
        self._makers = [_Maker(row, dialect) for row in rows for dialect in row.dialects if not row.is_raw]
        self._codecs = {
            metadata: [
                Codec(key, scheme=scheme, packer=packer, metadata=metadata)
                for key in _KEYS
                for scheme in _SCHEMES
                for packer in _PACKERS
            ]
            for metadata in (True, False)
        }
        self._random = Random()  # noqa: S311 (examples, no secrets)
        self.chance = Drawn(self._random.random)

    def sample(self, number: int) -> Sample:
        """Example `number` of this seed; what is drawn afterwards for its damage follows from it too."""
        self._random.seed(self.seed << 48 | number)
        random = self._random.random
        maker = _pick(self._makers, random)
        codec = _pick(self._codecs[maker.dialect != OLD], random)
        kind = "good"
        if (chance := random()) > 0.25:
            kind = _pick(_KINDS, random)
            if chance > 0.85:
                kind += "+" + _pick(_MORE, random)
        return Sample(number, maker.row, _pick(maker.row.channels, random), maker.dialect, codec, maker(random), kind)

    def judge(self, number: int, report: Report | None = None) -> Failure | None:
        """Make and judge one example, and count it in a report."""
        sample = self.sample(number)
        frames: tuple[Frame, ...] = ()
        refused = False
        try:
            frames = tuple(sample.codec.encode(sample.message))
            if sample.kind == "good":
                complaint = _changed(sample, frames)
            else:
                damaged = damage(sample.kind, sample.codec, frames, self.chance)
                frames = damaged.frames
                refused = bool(damaged.required)
                complaint = misjudged(sample.codec, damaged)
                # What the codec must refuse, `read` refuses by the same steps: one in four is enough there.
                if complaint is None and (not refused or number % 4 == 0):
                    complaint = misread(sample.codec, damaged, sample.channel, sample.dialect)
        except Exception as error:
            complaint = f"{type(error).__name__} escaped: {error}"
        if report is not None:
            report.examples[sample.kind] += 1
            report.refused[sample.kind] += refused
            report.types.add((sample.row.name, sample.channel, sample.dialect))
        return None if complaint is None else Failure(self.seed, sample, frames, complaint)

    def run(self, examples: int, start: int = 0, most_failures: int = 100) -> Iterator[Report]:
        """Judge examples, and give the report after each thousand; ends early after too many failures."""
        report = Report()
        for number in range(start, start + examples):
            failure = self.judge(number, report)
            if failure is not None:
                report.failures.append(failure)
                if len(report.failures) >= most_failures:
                    break
            if number % 1000 == 999:
                yield report
        yield report


_KINDS: Final = tuple(DAMAGES)
_MORE: Final = tuple(ON_THE_WAY)


def _changed(sample: Sample, frames: Sequence[Frame]) -> str | None:
    """What became different of a good message on its way through the codec."""
    codec, message = sample.codec, sample.message
    try:
        reading = read(codec, frames, sample.channel, sample.dialect)
        header_only = codec.open_header(frames)
        codec.replay = ReplayMemory() if codec.key else None
        codec.open(frames)
    except ProtocolError as error:
        return f"a good message was refused: {error}"
    finally:
        again, codec.replay = codec.replay, None
    if reading.row is not sample.row:
        return f"read as {reading.row.name} of {reading.row.channels}"
    if reading.message != message or header_only != message:
        return "decoded as another message"
    if any(now is not then for now, then in zip(reading.message.buffers, message.buffers, strict=True)):
        return "a buffer was copied"
    if codec.forward(reading.message, [b"r"]) != [b"r", *frames[len(message.identities) :]]:
        return "forwarded with other frames"
    if codec.encode(reading.message) != list(frames):
        return "encoded otherwise the second time"
    return None if again is None else _admitted_twice(codec, again, frames)


def _admitted_twice(codec: Codec, memory: ReplayMemory, frames: Sequence[Frame]) -> str | None:
    codec.replay = memory
    try:
        codec.open(frames)
    except RemoteProtocolError as error:
        return None if error.rules == ("wire.replay-refused",) else f"a copy was refused for another reason: {error}"
    finally:
        codec.replay = None
    return "a copy was accepted"


# Messages


class _Maker:
    """Draws messages of one type in one dialect, from closures that were made once."""

    def __init__(self, row: MessageType, dialect: str) -> None:
        self.row = row
        self.dialect = dialect
        self._name = row.name_in(dialect)
        self._contents = [_values(kind) for kind in row.content]
        self._metadata = _values(row.metadata)
        self._in_header = row.metadata_in == "header"
        self._no_metadata = dialect == OLD or self._in_header
        self._least = row.buffers.minimum
        self._spread = 4 if row.buffers.maximum is None else row.buffers.maximum - row.buffers.minimum + 1

    def __call__(self, random: Random01) -> Message:
        header = _header(random, self._name)
        if self._in_header:
            header = {**self._metadata(random), **header}
        return Message(
            header,
            parent_header={}
            if self.row.parent == "empty" or random() < 0.3
            else _header(random, _pick(_TEXTS, random)),
            metadata={} if self._no_metadata else self._metadata(random),
            content=_pick(self._contents, random)(random),
            buffers=[_pick(_BUFFERS, random) for _ in range(self._least + int(random() * self._spread))],
            identities=[_pick(_IDENTITIES, random) for _ in range(int(random() * 4))],
        )


def _pick(options: Sequence[Any], random: Random01) -> Any:
    return options[int(random() * len(options))]


def _header(random: Random01, msg_type: str) -> Json:
    header = {"msg_id": f"{int(random() * 1e9)}_{_TEXTS[int(random() * _HOW_MANY)]}", "msg_type": msg_type}
    if random() < 0.7:
        header["session"] = _pick(_TEXTS, random)
        header["username"] = "username"
    if random() < 0.7:
        header["date"] = "2026-01-05T12:00:00.000000Z"
        header["version"] = _VERSIONS[int(random() * 3)]
    return header


def _any(random: Random01, depth: int = 0) -> Any:
    """Any JSON value that both packers can hold."""
    choice = int(random() * (7 if depth < 3 else 5))
    if choice == 0:
        return None
    if choice == 1:
        return random() < 0.5
    if choice == 2:
        return _pick(_INTEGERS, random)
    if choice == 3:
        return _pick(_FLOATS, random)
    if choice == 4:
        return _pick(_TEXTS, random)
    length = int(random() * 4)
    if choice == 5:
        return [_any(random, depth + 1) for _ in range(length)]
    return {_pick(_TEXTS, random): _any(random, depth + 1) for _ in range(length)}


def _values(kind: type[Content] | type[Metadata]) -> Draw:
    known = _of_type(inspect.type_info(kind))
    if not issubclass(kind, KeyedContent):
        return known
    entry = _of_type(inspect.type_info(kind.entry_type))
    fixed = {*kind.__struct_encode_fields__, kind.__struct_config__.tag_field, "status"}
    is_entry = re.compile(kind.entry_keys or ".*", re.DOTALL).fullmatch
    names = [name for name in _TEXTS if name not in fixed and is_entry(name)]

    def keyed(random: Random01) -> Json:
        value: Json = known(random)
        for _ in range(int(random() * 4)):
            value[_pick(names, random)] = entry(random)
        return value

    return keyed


def _of_type(kind: inspect.Type) -> Draw:
    match kind:
        case inspect.Metadata():
            return _of_type(kind.type)
        case inspect.AnyType():
            return _any
        case inspect.NoneType():
            return lambda _: None
        case inspect.BoolType():
            return lambda random: random() < 0.5
        case inspect.IntType():
            return _one_of([value for value in _INTEGERS if _within(kind, value)])
        case inspect.FloatType():
            return _one_of([value for value in _FLOATS if _within(kind, value)])
        case inspect.StrType() if kind.pattern is None:
            least, most = kind.min_length or 0, kind.max_length
            return _one_of([text for text in _TEXTS if least <= len(text) and (most is None or len(text) <= most)])
        case inspect.LiteralType():
            return _one_of(kind.values)
        case inspect.UnionType():
            options = [_of_type(each) for each in kind.types]
            return lambda random: _pick(options, random)(random)
        case inspect.ListType():
            item, least = _of_type(kind.item_type), kind.min_length or 0
            spread = 4 if kind.max_length is None else min(4, kind.max_length - least + 1)
            return lambda random: [item(random) for _ in range(least + int(random() * spread))]
        case inspect.TupleType():
            items = [_of_type(each) for each in kind.item_types]
            return lambda random: [item(random) for item in items]
        case inspect.DictType():
            value = _of_type(kind.value_type)
            return lambda random: {_pick(_TEXTS, random): value(random) for _ in range(int(random() * 4))}
        case inspect.StructType():
            return _of_struct(kind)
        case _:
            raise TypeError(f"no generator for {kind!r}; add one where the message types gained this kind of field")


def _within(kind: inspect.IntType | inspect.FloatType, value: float) -> bool:
    return (
        (kind.ge is None or value >= kind.ge)
        and (kind.gt is None or value > kind.gt)
        and (kind.le is None or value <= kind.le)
        and (kind.lt is None or value < kind.lt)
    )


def _one_of(options: Sequence[Any]) -> Draw:
    if not options:
        raise TypeError("no value of the generator lies within the bounds of a field; add one")
    return lambda random: options[int(random() * len(options))]


def _of_struct(kind: inspect.StructType) -> Draw:
    fields = [
        (each.encode_name, _of_type(each.type), 1.0 if each.required else 0.6)
        for each in kind.fields
        if not (issubclass(kind.cls, KeyedContent) and each.name == "entries")
    ]
    tag = {} if kind.tag_field is None else {kind.tag_field: kind.tag}
    is_all_data = issubclass(kind.cls, KeyedContent) and not kind.cls.entry_keys

    def struct(random: Random01) -> Json:
        value: Json = dict(tag)
        for name, draw, likely in fields:
            if likely == 1.0 or random() < likely:
                value[name] = draw(random)
        if random() < 0.1 and not kind.forbid_unknown_fields and not is_all_data:
            value["x-unknown"] = _any(random)
        return value

    return struct


__all__ = ["Failure", "Fuzzer", "Report", "Sample"]
