"""Agreement with `jupyter_client.session.Session`, which most peers speak through.

What we encode it decodes to the same, and the reverse; what it refuses we refuse. The exceptions are the tables below,
each with its argument and a message that shows it; a test fails when two verdicts differ for a reason that is not
listed, and when a listed reason is none any more.
"""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from functools import cache
from typing import Any, NamedTuple
from unittest import mock

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from jupyter_client import session as jupyter
from jupyter_client.jsonutil import extract_dates

from conformance.fuzz import Fuzzer
from protocol import strategies
from protocol.damage import damage
from protocol.errors import LocalProtocolError, ProtocolError, RemoteProtocolError
from protocol.messages import OLD
from protocol.strange import READABLE_VALUES, UNREADABLE_VALUES, with_value
from protocol.wire import DELIMITER, Codec, Frame, Message, ReplayMemory

KEY = b"5f0c2b1e-9d3a7c6b5e4f3a2b1c0d9e8f"
HEADER = {"msg_id": "1f0c_77_0", "msg_type": "queue_request", "date": "yesterday", "version": "5.4"}
QUICK = settings(max_examples=200, derandomize=True, database=None, suppress_health_check=list(HealthCheck))
Decoded = dict[str, Any]


@cache
def session(key: bytes, scheme: str, packer: str) -> jupyter.Session:
    """A Session that never forgets what it was told, and never remembers what it has seen."""
    return jupyter.Session(key=key, signature_scheme=scheme, packer=packer, digest_history_size=0)


def theirs(codec: Codec, frames: Sequence[Frame]) -> Decoded | Exception:
    """What Session.recv makes of frames, or why it refuses them. Dates stay text."""
    peer = session(codec.key, codec.scheme, codec.packer.name)
    with mock.patch.object(jupyter, "extract_dates", lambda value: value):
        try:
            identities, parts = peer.feed_identities([bytes(frame) for frame in frames])
            return peer.deserialize(parts) | {"identities": identities}
        except Exception as error:
            return error


def ours(codec: Codec, frames: Sequence[Frame]) -> Message | ProtocolError:
    try:
        message = codec.open(frames)
        _ = message.content
    except ProtocolError as error:
        return error
    return message


class Difference(NamedTuple):
    """A reason why Session and the codec may differ, who is right, and a message that shows it."""

    name: str
    why: str
    applies: Callable[[Sequence[Frame], Codec, Decoded | Exception], bool]
    shown_by: Callable[[], tuple[Codec, list[Frame]]]


def parts_of(frames: Sequence[Frame]) -> list[bytes]:
    at = list(frames).index(DELIMITER)
    return [bytes(frame) for frame in frames[at + 2 : at + 6]]


def frames_with(
    values: Mapping[int, bytes], packer: str = "json", header: Mapping[str, Any] = HEADER
) -> Callable[[], tuple[Codec, list[Frame]]]:
    """A good message with parts exchanged for other bytes, signed."""

    def made() -> tuple[Codec, list[Frame]]:
        codec = Codec(KEY, packer=packer)
        parts = [codec.packer.encode(header), *[codec.packer.empty] * 3]
        for index, part in values.items():
            parts[index] = part
        return codec, [DELIMITER, codec.sign(b"".join(parts)), *parts]

    return made


def leaves(value: object) -> Iterator[object]:
    """Every value and key inside a decoded message."""
    if isinstance(value, dict):
        for key, inner in value.items():
            yield key
            yield from leaves(inner)
    elif isinstance(value, list | tuple):
        for inner in value:
            yield from leaves(inner)
    else:
        yield value


def _has_no_finite_number(_: Sequence[Frame], codec: Codec, decoded: Decoded | Exception) -> bool:
    found = (leaf for leaf in leaves(decoded) if isinstance(leaf, float))
    return codec.packer.name == "json" and any(not math.isfinite(leaf) for leaf in found)


def _has_surrogates(_: Sequence[Frame], __: Codec, decoded: Decoded | Exception) -> bool:
    found = (leaf for leaf in leaves(decoded) if isinstance(leaf, str))
    return any("\ud800" <= letter <= "\udfff" for leaf in found for letter in leaf)


def _is_not_utf_8(frames: Sequence[Frame], codec: Codec, _: Decoded | Exception) -> bool:
    if codec.packer.name != "json":
        return False
    try:
        b"".join(parts_of(frames)).decode()
    except UnicodeDecodeError:
        return True
    return False


def _is_no_object(_: Sequence[Frame], __: Codec, decoded: Decoded | Exception) -> bool:
    parts = ("parent_header", "metadata", "content")
    return isinstance(decoded, dict) and any(not isinstance(decoded[part], dict) for part in parts)


def _has_no_text_for_a_name(_: Sequence[Frame], __: Codec, decoded: Decoded | Exception) -> bool:
    names = ("msg_id", "msg_type")
    return isinstance(decoded, dict) and any(not isinstance(decoded[name], str) for name in names)


#: What Session takes and we refuse.
TAKEN_BY_SESSION = (
    Difference(
        "not-finite",
        "JSON has no NaN and no Infinity, and 1e400 is no double: by RFC 8259 a strict reader can only refuse them.",
        _has_no_finite_number,
        frames_with({3: b'{"a":NaN,"b":-Infinity,"c":1e400}'}),
    ),
    Difference(
        "lone-surrogate",
        "Half a surrogate pair is no character; text that holds one cannot be written as UTF-8 again.",
        _has_surrogates,
        frames_with({3: b'{"a":"\\ud800"}'}),
    ),
    Difference(
        "bad-utf-8",
        "Session replaces bad bytes silently, so the receiver reads something that nobody wrote.",
        _is_not_utf_8,
        frames_with({3: b'{"a":"\xff"}'}),
    ),
    Difference(
        "part-is-no-object",
        "The documents call all four parts dictionaries; Session hands on whatever it finds, header excepted.",
        _is_no_object,
        frames_with({1: b"null", 2: b"[]", 3: b'"x"'}),
    ),
    Difference(
        "name-is-no-text",
        "msg_id and msg_type are strings in every document; replies are matched and handlers chosen by them.",
        _has_no_text_for_a_name,
        frames_with({}, header=HEADER | {"msg_id": [], "msg_type": None}),
    ),
)


def _header(frames: Sequence[Frame], codec: Codec) -> Decoded:
    return codec.packer.decode(parts_of(frames)[0])


def _version_is_no_number(frames: Sequence[Frame], codec: Codec, _: Decoded | Exception) -> bool:
    version = _header(frames, codec).get("version", "4")
    if not isinstance(version, str):
        return True
    try:
        int(version.split(".")[0])
    except ValueError:
        return True
    return False


def _is_adapted(frames: Sequence[Frame], codec: Codec, _: Decoded | Exception) -> bool:
    version = _header(frames, codec).get("version", "4")
    return isinstance(version, str) and version.split(".")[0].strip() == "4"


def _has_other_keys(frames: Sequence[Frame], codec: Codec, _: Decoded | Exception) -> bool:
    def inside(value: object) -> bool:
        if isinstance(value, dict):
            return any(not isinstance(key, str | bytes) or inside(inner) for key, inner in value.items())
        return isinstance(value, list | tuple) and any(map(inside, value))

    return codec.packer.name == "msgpack" and any(inside(codec.packer.decode(part)) for part in parts_of(frames))


OLD_STREAM = {"msg_id": "1", "msg_type": "stream"}

#: What Session refuses and we take.
REFUSED_BY_SESSION = (
    Difference(
        "version-is-no-number",
        "Session reads the version to adapt messages of old kernels and stumbles over any text; whether a message is "
        "whole is not told by its version, and the Hub answers any.",
        _version_is_no_number,
        frames_with({}, header=HEADER | {"version": "next"}),
    ),
    Difference(
        "adapted-from-version-4",
        "A missing version counts as 4: Session rewrites such messages, and a KeyError escapes when the content is not "
        "of that time. What a version means is a matter of dialects, not of framing.",
        _is_adapted,
        frames_with({3: b'{"name":"stdout","text":"x"}'}, header=OLD_STREAM),
    ),
    Difference(
        "keys-that-are-no-text",
        "msgpack allows any key; the library beneath Session refuses them against floods of colliding hashes. Inside a "
        "dictionary we leave them to the content type; at its top we refuse them too.",
        _has_other_keys,
        frames_with({3: b"\x81\xa1a\x81\x01\x02"}, packer="msgpack"),
    ),
)

ALL = [(True, difference) for difference in TAKEN_BY_SESSION] + [(False, each) for each in REFUSED_BY_SESSION]


def reason(codec: Codec, frames: Sequence[Frame]) -> str | None:
    """The listed reason why the two verdicts differ; None if they do not. Fails if there is no such reason."""
    mine, other = ours(codec, frames), theirs(codec, frames)
    if isinstance(mine, Exception) == isinstance(other, Exception):
        return None
    table = TAKEN_BY_SESSION if isinstance(mine, Exception) else REFUSED_BY_SESSION
    for difference in table:
        if difference.applies(frames, codec, other):
            return difference.name
    pytest.fail(f"not listed: we say {mine!r}, Session says {other!r} to {[bytes(frame)[:200] for frame in frames]}")


@pytest.mark.parametrize(("taken", "difference"), ALL, ids=lambda value: getattr(value, "name", None))
def test_every_listed_difference_is_one(taken: bool, difference: Difference) -> None:
    codec, frames = difference.shown_by()
    mine, other = ours(codec, frames), theirs(codec, frames)
    assert isinstance(mine, RemoteProtocolError) is taken
    assert isinstance(other, Exception) is not taken
    assert difference.applies(frames, codec, other)
    assert len(difference.why) > 60


# What both accept, they decode to the same


def same(message: Message, decoded: Decoded | Exception) -> None:
    assert isinstance(decoded, dict), decoded
    assert decoded["identities"] == list(message.identities)
    assert [bytes(buffer) for buffer in decoded["buffers"]] == [bytes(buffer) for buffer in message.buffers]
    header = dict(message.header)
    if "date" not in header:
        del decoded["header"]["date"]  # Session supplies the time at which it read the message
    assert decoded["header"] == header
    assert (decoded["msg_id"], decoded["msg_type"]) == (message.msg_id, message.msg_type)
    for part in ("parent_header", "metadata", "content"):
        assert decoded[part] == getattr(message, part)


def of_today(message: Message) -> Message:
    """The message with a version that Session does not adapt."""
    return message.replace(header=message.header | {"version": "5.4"})


def codec_of_a_session(codec: Codec) -> Codec:
    # Session writes json where its file says orjson and the package is missing; it is one format.
    return codec if codec.packer.name != "orjson" else Codec(codec.key, scheme=codec.scheme)


@QUICK
@given(strategies.envelopes().map(of_today), strategies.codecs("documented").map(codec_of_a_session))
def test_session_decodes_what_we_encode(message: Message, codec: Codec) -> None:
    same(message, theirs(codec, codec.encode(message)))


@QUICK
@given(strategies.typed_messages(), st.data())
def test_session_decodes_our_messages_of_every_type(typed: strategies.Typed, data: st.DataObject) -> None:
    codec = codec_of_a_session(data.draw(strategies.codecs("documented")))
    message = of_today(typed.message)
    same(message, theirs(codec, codec.encode(message)))


@QUICK
@given(strategies.envelopes(), strategies.codecs("documented").map(codec_of_a_session))
def test_we_decode_what_session_encodes(message: Message, codec: Codec) -> None:
    peer = session(codec.key, codec.scheme, codec.packer.name)
    parts = {name: getattr(message, name) for name in ("header", "parent_header", "metadata", "content")}
    frames = [*peer.serialize(parts, list(message.identities)), *message.buffers]
    opened = codec.open(frames)
    assert opened == message
    again = codec.encode(opened)
    if codec.packer.name == "msgpack":
        # JSON is written with other spaces; msgpack has one shortest form, and both use it.
        assert again == frames


def test_we_decode_what_session_makes_itself() -> None:
    peer = session(KEY, "hmac-sha256", "json")
    made = peer.msg("apply_request", content={"a": [1, "é", None]}, metadata={"date": datetime(2026, 1, 5, tzinfo=UTC)})
    opened = Codec(KEY).open([*peer.serialize(made, [b"engine"]), b"buffer"])
    assert opened.header["msg_id"] == made["msg_id"]
    assert opened.header["date"] == made["header"]["date"].isoformat().replace("+00:00", "Z")
    assert opened.content == made["content"]
    assert opened.metadata == {"date": "2026-01-05T00:00:00Z"}
    assert opened.buffers == (b"buffer",)


def test_types_of_msgpack_that_json_lacks_come_as_those_of_each_library() -> None:
    parts = {3: b"\x83\xa1e\xd4\x05x\xa1t\xd6\xff\0\0\0\x01\xa1b\xc4\x01\xff"}
    codec, frames = frames_with(parts, packer="msgpack")()
    mine, other = ours(codec, frames), theirs(codec, frames)
    assert isinstance(mine, Message)
    assert isinstance(other, dict)
    assert (mine.content["e"].code, mine.content["e"].data) == (other["content"]["e"].code, other["content"]["e"].data)
    assert mine.content["t"] == other["content"]["t"].to_datetime() == datetime(1970, 1, 1, 0, 0, 1, tzinfo=UTC)
    assert mine.content["b"] == other["content"]["b"] == b"\xff"


def test_dates_of_headers_are_text_to_us_and_objects_to_session() -> None:
    header = HEADER | {"date": "2010-07-12T12:00:00.000001Z"}
    codec = Codec(KEY)
    frames: list[Any] = codec.encode(Message(header, parent_header=header, content={"when": header["date"]}))
    # Importing ipyparallel switches this off for the whole process.
    with mock.patch.object(jupyter, "extract_dates", extract_dates):
        decoded = session(KEY, "hmac-sha256", "json").deserialize(frames[1:])
    opened = codec.open(frames)
    assert decoded["header"]["date"] == datetime(2010, 7, 12, 12, 0, 0, 1, UTC)
    assert decoded["header"] == extract_dates(opened.header)
    assert decoded["parent_header"] == extract_dates(opened.parent_header)
    assert decoded["content"] == opened.content == {"when": header["date"]}


# What Session refuses we refuse


def test_verdicts_on_damaged_messages_differ_only_for_listed_reasons() -> None:
    fuzzer = Fuzzer(8)
    seen: set[str | None] = set()
    for number in range(6000):
        sample = fuzzer.sample(number)
        if sample.dialect == OLD:
            continue  # three dictionaries: a message that Session cannot know
        frames: Sequence[Frame] = sample.codec.encode(sample.message)
        if sample.kind != "good":
            frames = damage(sample.kind, sample.codec, frames, fuzzer.chance).frames
        seen.add(reason(sample.codec, frames))
    assert seen == {None, *(difference.name for _, difference in ALL)}


@pytest.mark.parametrize("packer", ["json", "msgpack"])
def test_strange_and_unreadable_values_differ_only_for_listed_reasons(packer: str) -> None:
    codec = Codec(KEY, packer=packer)
    good = [codec.packer.encode(HEADER), *[codec.packer.empty] * 3]
    found: dict[str, str | None] = {}
    for name, value in {**UNREADABLE_VALUES[packer], **READABLE_VALUES[packer]}.items():
        for index in range(4):
            parts = [*good[:index], with_value(codec, good[index], value), *good[index + 1 :]]
            why = reason(codec, [DELIMITER, codec.sign(b"".join(parts)), *parts])
            assert found.setdefault(name, why) == why
    expected = {
        "json": {
            **dict.fromkeys(("nan", "infinity", "huge number"), "not-finite"),
            **dict.fromkeys(("lone surrogate", "reversed surrogates"), "lone-surrogate"),
            **dict.fromkeys(("not utf-8", "overlong utf-8", "encoded surrogate"), "bad-utf-8"),
        },
        "msgpack": {"other keys": "keys-that-are-no-text"},
    }
    assert {name: why for name, why in found.items() if why} == expected[packer]


@pytest.mark.parametrize("key", [b"", KEY])
def test_both_refuse_every_message_that_is_cut_short(key: bytes) -> None:
    codec = Codec(key)
    frames = codec.encode(Message(HEADER, identities=[b"a"], buffers=[b"b"]))
    verdicts = [reason(codec, frames[:kept]) for kept in range(len(frames) + 1)]
    assert verdicts == [None] * len(verdicts)
    assert [isinstance(ours(codec, frames[:kept]), Exception) for kept in (6, 7, 8)] == [True, False, False]


@QUICK
@given(st.lists(st.one_of(st.binary(max_size=30), st.just(DELIMITER), st.just(b"{}")), max_size=10))
def test_both_refuse_frames_from_nowhere(frames: list[bytes]) -> None:
    assert reason(Codec(KEY), frames) is None


def test_a_nesting_too_deep_for_session_is_too_deep_for_us() -> None:
    # Where exactly each gives up depends on how deep the caller already is; far above and far below they agree.
    for depth, refused in ((300, False), (100_000, True)):
        codec, frames = frames_with({3: b'{"a":' + b"[" * depth + b"]" * depth + b"}"})()
        assert isinstance(ours(codec, frames), Exception) is refused
        assert isinstance(theirs(codec, frames), Exception) is refused


def test_an_integer_too_long_for_session_is_too_long_for_us() -> None:
    for digits, refused in ((4300, False), (4301, True)):
        codec, frames = frames_with({3: b'{"a":' + b"9" * digits + b"}"})()
        assert isinstance(ours(codec, frames), Exception) is refused
        assert isinstance(theirs(codec, frames), Exception) is refused


# Copies


def remembering() -> Callable[[Sequence[Any]], Decoded]:
    """A Session that remembers signatures, reduced to its `deserialize`."""
    peer = jupyter.Session(key=KEY, packer="json", signature_scheme="hmac-sha256")
    return lambda frames: peer.deserialize(list(frames))


def test_both_refuse_a_copy() -> None:
    codec = Codec(KEY, replay=ReplayMemory())
    frames = codec.encode(Message(HEADER))
    peer = remembering()
    codec.open(frames)
    peer(frames[1:])
    with pytest.raises(RemoteProtocolError, match="replay-refused"):
        codec.open(frames)
    with pytest.raises(ValueError, match="Duplicate Signature"):
        peer(frames[1:])


def test_a_forged_copy_blocks_the_genuine_message_in_session_and_not_in_ours() -> None:
    # Session remembers a signature before it has verified it. Whoever sees a message can so suppress it, without the
    # key; wire.forged-copy-does-not-block demands the other order.
    codec = Codec(KEY, replay=ReplayMemory())
    genuine = codec.encode(Message(HEADER))
    forged = [*genuine[:5], b'{"forged":true}']
    peer = remembering()
    with pytest.raises(ValueError, match="Invalid Signature"):
        peer(forged[1:])
    with pytest.raises(ValueError, match="Duplicate Signature"):
        peer(genuine[1:])
    with pytest.raises(RemoteProtocolError, match="signature-verified"):
        codec.open(forged)
    assert codec.open(genuine) == Message(HEADER)


# What both encode, and what only one does


class Written(NamedTuple):
    """A value that a caller may put into content; what Session writes for it and what we write, None for a refusal."""

    value: object
    session: str | None
    ours: str | None
    why: str = ""


DATE = '"2026-01-05T01:02:03.000004Z"'
WRITTEN = {
    "date": Written(datetime(2026, 1, 5, 1, 2, 3, 4, UTC), DATE, DATE),
    "bytes": Written(b"\0\xff", '"AP8="', '"AP8="'),
    "tuple": Written((1, 2), "[1,2]", "[1,2]"),
    "set": Written({1}, "[1]", "[1]"),
    "large integer": Written(2**70, "1180591620717411303424", "1180591620717411303424"),
    "integer key": Written({1: 2}, '{"1":2}', '{"1":2}'),
    "nan": Written(float("nan"), '"nan"', "null", "the library writes null, as browsers do; JSON has neither"),
    "infinity": Written(float("-inf"), '"-inf"', "null", "the same"),
    "null key": Written({None: 1}, '{"null":1}', None, "a key that comes back as another is a mistake"),
    "boolean key": Written({True: 1}, '{"true":1}', None, "the same"),
    "lone surrogate": Written("\ud800", None, None),
    "escaped byte": Written("\udcff", "bad utf-8", None, "Session writes the byte 0xff, which no strict reader takes"),
    "generator": Written((n for n in (1, 2)), "[1,2]", None, "what can be written once only cannot be looked at"),
    "complex": Written(1j, None, None),
}  # fmt: skip


@pytest.mark.filterwarnings("ignore:Message serialization failed")
@pytest.mark.parametrize("written", WRITTEN.values(), ids=WRITTEN.keys())
def test_what_only_one_encodes_is_listed(written: Written) -> None:
    assert bool(written.why) == (written.session != written.ours)
    peer = session(KEY, "hmac-sha256", "json")
    if written.ours is None:
        with pytest.raises(LocalProtocolError):
            Codec(KEY).encode(Message(HEADER, content={"a": written.value}))
    else:
        assert (
            Codec(KEY).encode(Message(HEADER, content={"a": written.value}))[-1] == f'{{"a":{written.ours}}}'.encode()
        )
    parts = {"header": HEADER, "parent_header": {}, "metadata": {}, "content": {"a": written.value}}
    if written.session is None:
        with pytest.raises((TypeError, ValueError)):
            peer.serialize(parts)
        return
    frame = peer.serialize(parts)[-1]
    if written.session == "bad utf-8":
        with pytest.raises(UnicodeDecodeError):
            frame.decode()
    else:
        assert frame.decode().replace(": ", ":").replace(", ", ",") == f'{{"a":{written.session}}}'


def test_both_refuse_a_buffer_with_gaps() -> None:
    gaps: Any = memoryview(b"abcdef")[::2]
    with pytest.raises(LocalProtocolError):
        Message(HEADER, buffers=[gaps])
    with pytest.raises(ValueError, match="not contiguous"):
        session(KEY, "hmac-sha256", "json").send(None, "x", buffers=[gaps])
