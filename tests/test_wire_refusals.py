"""What is no message is refused, with every problem and who is at fault: the peer that sent it, or the caller here."""

from collections.abc import Mapping
from typing import Any

import msgspec
import pytest
from wire_world import HEADER, KEY, refusal, request, signed

from protocol.errors import LocalProtocolError, ProtocolError, RemoteProtocolError
from protocol.wire import DELIMITER, Codec, Message, Packer

# Refusals, with every problem


def test_no_delimiter(packer: str) -> None:
    for frames in ([], [b""], [b"x", b"y"], [b"<IDS|MSG> "], [b"<ids|msg>"] * 7):
        error = refusal(Codec(KEY, packer=packer), frames)
        assert error.rules == ("wire.delimiter-present",)
        assert error.frames == ("delimiter",)


@pytest.mark.parametrize("kept", range(5))
def test_missing_parts_are_all_named(kept: int) -> None:
    frames = Codec(b"").encode(request(identities=[b"a"]))
    error = refusal(Codec(b""), frames[: 2 + kept])
    names = ("signature", "header", "parent_header", "metadata", "content")
    assert error.frames == names[kept:]
    assert error.rules == ("wire.all-parts-present",)


def test_the_first_delimiter_counts() -> None:
    frames = Codec(KEY).encode(request())
    error = refusal(Codec(KEY), [DELIMITER, *frames])
    # Everything moved by one: the delimiter stands where the signature should, the signature where the header should.
    assert error.frames == ("signature", "header")


UNREADABLE_JSON: Mapping[str, bytes] = {
    "empty": b"",
    "not json": b"{'a': 1}",
    "half": b'{"a":',
    "more": b"{} {}",
    "utf-16": '{"a":1}'.encode("utf-16"),
    "byte order mark": b"\xef\xbb\xbf{}",
    "bad utf-8 in a value": b'{"a":"\xff"}',
    "bad utf-8 in a key": b'{"\xff":1}',
    "encoded surrogate": b'{"a":"\xed\xa0\x80"}',
    "lone surrogate": b'{"a":"\\ud800"}',
    "nan": b'{"a":NaN}',
    "infinity": b'{"a":-Infinity}',
    "huge number": b'{"a":1e400}',
    "huge integer": b'{"a":' + b"9" * 5000 + b"}",
    "deep arrays": b'{"a":' + b"[" * 100_000 + b"]" * 100_000 + b"}",
    "deep objects": b'{"a":' * 100_000 + b"1" + b"}" * 100_000,
    "control character": b'{"a":"\n"}',
    "leading zero": b'{"a":01}',
    "trailing comma": b'{"a":1,}',
}
UNREADABLE_MSGPACK: Mapping[str, bytes] = {
    "empty": b"",
    "half": b"\x81\xa1a",
    "more": b"\x80\x80",
    "bad utf-8": b"\x81\xa1a\xa1\xff",
    "never used": b"\xc1",
    "length beyond the frame": b"\x81\xa1a\xdd\xff\xff\xff\xff",
    "key that is a map": b"\x81\xa1a\x81\x80\x01",
    "bad timestamp": b"\x81\xa1a\xd7\xff" + b"\xff" * 8,
    "deep arrays": b"\x81\xa1a" + b"\x91" * 100_000 + b"\xc0",
    "deep maps": b"\x81\xa1a" * 100_000 + b"\xc0",
}
BOTH = (("json", UNREADABLE_JSON), ("msgpack", UNREADABLE_MSGPACK))
UNREADABLE = [(format_, bad) for format_, frames in BOTH for bad in frames.values()]
IDS = [f"{format_} {name}" for format_, frames in BOTH for name in frames]


@pytest.mark.parametrize(("format_", "bad"), UNREADABLE, ids=IDS)
def test_an_unreadable_dictionary_is_refused_and_named(format_: str, bad: bytes) -> None:
    codec = Codec(KEY, packer=format_)
    parts = [bytes(part) for part in codec.encode(request())[2:6]]
    for index, frame in enumerate(("header", "parent_header", "metadata")):
        error = refusal(codec, signed(codec, *parts[:index], bad, *parts[index + 1 :]))
        assert error.frames == (frame,)
        assert error.rules == ("wire.parts-readable",)
        assert len(str(error)) < 500


@pytest.mark.parametrize(("format_", "bad"), UNREADABLE, ids=IDS)
def test_unreadable_content_does_not_keep_a_message_from_being_relayed(format_: str, bad: bytes) -> None:
    codec = Codec(KEY, packer=format_)
    frames = codec.encode(request(identities=[b"a"], buffers=[b"b"]))
    frames = signed(codec, *map(bytes, frames[3:6]), bad, identities=[b"a"], buffers=[b"b"])
    opened = codec.open(frames)
    assert codec.forward(opened, [b"c"]) == [b"c", *frames[1:]]
    for _ in range(2):
        with pytest.raises(RemoteProtocolError) as caught:
            _ = opened.content
        assert caught.value.frames == ("content",)
        assert caught.value.rules == ("wire.parts-readable",)


NOT_OBJECTS = {
    "null": None, "true": True, "number": 1, "float": 1.5, "string": "x", "array": [], "pairs": [["msg_id", "1"]],
}  # fmt: skip


@pytest.mark.parametrize("value", NOT_OBJECTS.values(), ids=NOT_OBJECTS.keys())
def test_a_part_that_is_not_an_object_is_refused_and_named(packer: str, value: object) -> None:
    codec = Codec(KEY, packer=packer)
    parts = [bytes(part) for part in codec.encode(request())[2:6]]
    bad = codec.packer.encode(value)
    for index, frame in enumerate(("header", "parent_header", "metadata")):
        error = refusal(codec, signed(codec, *parts[:index], bad, *parts[index + 1 :]))
        assert error.frames == (frame,)
        assert error.rules == ("wire.parts-are-objects",)
        assert error.problems[0].path == "$"
    opened = codec.open(signed(codec, *parts[:3], bad))
    with pytest.raises(RemoteProtocolError, match="parts-are-objects"):
        _ = opened.content


def test_a_map_with_other_keys_than_strings_is_not_an_object() -> None:
    codec = Codec(KEY, packer="msgpack")
    parts = [bytes(part) for part in codec.encode(request())[2:6]]
    error = refusal(codec, signed(codec, parts[0], b"\x81\x01\x02", *parts[2:]))
    assert error.rules == ("wire.parts-are-objects",)
    assert error.problems[0].found == "a map with other keys"


@pytest.mark.parametrize("key", ["msg_id", "msg_type"])
@pytest.mark.parametrize("value", [None, True, 7, 1.5, [], {}, ["x"]], ids=repr)
def test_a_header_must_name_the_message_and_its_type(packer: str, key: str, value: object) -> None:
    codec = Codec(KEY, packer=packer)
    parts = [bytes(part) for part in codec.encode(request())[2:6]]
    error = refusal(codec, signed(codec, codec.packer.encode(HEADER | {key: value}), *parts[1:]))
    assert error.rules == (f"wire.header-{key.replace('_', '-')}",)
    assert error.problems[0].path == f"$.{key}"
    rest = {name: entry for name, entry in HEADER.items() if name != key}
    error = refusal(codec, signed(codec, codec.packer.encode(rest), *parts[1:]))
    assert error.problems[0].found == "nothing"


@pytest.mark.parametrize("missing", ["username", "session", "date", "version"])
def test_the_rest_of_the_header_may_be_missing(packer: str, missing: str) -> None:
    codec = Codec(KEY, packer=packer)
    header = {name: value for name, value in HEADER.items() if name != missing}
    assert codec.open(codec.encode(Message(header))).header == header


def test_every_problem_of_a_message_is_listed_at_once() -> None:
    error = refusal(Codec(KEY), [DELIMITER, b"no", b'{"msg_type":1}', b"[]", b"\xff", b"unseen"])
    assert [(problem.frame, problem.rule, problem.path) for problem in error.problems] == [
        ("signature", "wire.signature-verified", ""),
        ("header", "wire.header-msg-id", "$.msg_id"),
        ("header", "wire.header-msg-type", "$.msg_type"),
        ("parent_header", "wire.parts-are-objects", "$"),
        ("metadata", "wire.parts-readable", ""),
    ]
    assert str(error).count("expected") == 5
    assert error.party == "peer"


def test_a_short_message_still_tells_what_is_wrong_with_the_parts_it_has() -> None:
    error = refusal(Codec(KEY), [DELIMITER, b"", b"[]"])
    assert error.frames == ("parent_header", "metadata", "content", "header")


def test_a_good_message_has_no_problems(packer: str) -> None:
    codec = Codec(KEY, packer=packer)
    assert codec.problems(codec.encode(request(identities=[b"a"], buffers=[b"b"]))) == []


# What we would not send


def test_pickle_is_named_and_refused() -> None:
    with pytest.raises(LocalProtocolError, match="runs code chosen by the peer") as caught:
        Packer("pickle")
    assert caught.value.rules == ("wire.packer-safe",)
    with pytest.raises(LocalProtocolError, match="no such packer"):
        Codec(packer="yaml")


class Unknown:
    """Something that no packer can write."""


def endless() -> list[Any]:
    ring: list[Any] = []
    ring.append(ring)
    return ring


UNWRITABLE: Mapping[str, object] = {"object": Unknown(), "surrogate": "\ud800", "ring": endless(), "complex": 1j}


@pytest.mark.parametrize("value", UNWRITABLE.values(), ids=UNWRITABLE.keys())
def test_what_cannot_be_written_is_the_callers_mistake(packer: str, value: object) -> None:
    codec = Codec(KEY, packer=packer)
    for part in ("header", "parent_header", "metadata", "content"):
        header = HEADER | ({"x": value} if part == "header" else {})
        fields = {} if part == "header" else {part: {"x": value}}
        with pytest.raises(LocalProtocolError) as caught:
            codec.encode(Message(header, **fields))  # type: ignore[arg-type]
        assert caught.value.frames == (part,)
        assert caught.value.rules == ("wire.parts-readable",)
        assert caught.value.party == "caller"


def test_a_huge_integer_is_written_in_json_and_refused_in_msgpack() -> None:
    message = Message(HEADER, content={"n": 2**64})
    assert Codec().open(Codec().encode(message)) == message
    with pytest.raises(LocalProtocolError):
        Codec(packer="msgpack").encode(message)
    with pytest.raises(LocalProtocolError):
        Codec().encode(Message(HEADER, content={"n": 10**5000}))


@pytest.mark.parametrize("key", ["msg_id", "msg_type"])
def test_a_header_that_every_peer_would_refuse_is_not_sent(key: str) -> None:
    for header in (HEADER | {key: 7}, {name: value for name, value in HEADER.items() if name != key}):
        with pytest.raises(LocalProtocolError) as caught:
            Codec(KEY).encode(Message(header))
        assert caught.value.rules == (f"wire.header-{key.replace('_', '-')}",)


@pytest.mark.parametrize("part", ["parent_header", "metadata", "content"])
def test_a_part_that_is_not_a_dictionary_is_not_sent(packer: str, part: str) -> None:
    for value in ([1], "x", 7, True):
        with pytest.raises(LocalProtocolError) as caught:
            Codec(KEY, packer=packer).encode(request(**{part: value}))
        assert caught.value.frames == (part,)
        assert caught.value.rules == ("wire.parts-are-objects",)


def test_a_header_is_a_dictionary_and_nothing_else(packer: str) -> None:
    class Typed(msgspec.Struct):
        msg_id: str
        msg_type: str

    headers: tuple[Any, ...] = (Typed("1", "x"), [], "x", None)
    for header in headers:
        with pytest.raises(LocalProtocolError) as caught:
            Codec(KEY, packer=packer).encode(Message(header))
        assert caught.value.frames == ("header",)
        assert caught.value.rules == ("wire.parts-are-objects",)


def test_all_mistakes_of_the_caller_are_listed_at_once() -> None:
    with pytest.raises(LocalProtocolError) as caught:
        Codec(KEY).encode(Message({"msg_id": 1}, content={"x": Unknown()}, metadata=[1]))
    assert caught.value.frames == ("header", "metadata", "content")
    assert len(caught.value.problems) == 4


def test_an_identity_equal_to_the_delimiter_is_the_callers_mistake() -> None:
    with pytest.raises(LocalProtocolError) as caught:
        request(identities=[b"a", DELIMITER])
    assert caught.value.rules == ("wire.delimiter-present",)
    with pytest.raises(LocalProtocolError):
        Codec(KEY).forward(request(), [DELIMITER])
    opened = Codec(KEY).open(Codec(KEY).encode(request()))
    with pytest.raises(LocalProtocolError):
        Codec(KEY).forward(opened, [DELIMITER])


def test_both_errors_are_protocol_errors_and_render_themselves() -> None:
    error = refusal(Codec(), [])
    assert isinstance(error, ProtocolError)
    problem = "delimiter: expected a frame b'<IDS|MSG>', found none in 0 frames [wire.delimiter-present]"
    assert str(error) == f"the peer is at fault: {problem}"
