"""Frames to messages and back: `protocol.wire`, part by part."""

import hmac
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec
import pytest

from protocol.errors import LocalProtocolError, ProtocolError, RemoteProtocolError
from protocol.wire import DELIMITER, Codec, Frame, Message, Packer, ReplayMemory, signer

KEY = b"a5f3c9e2-0123456789abcdef01234567"
HEADER = {
    "msg_id": "1f0c_77_0",
    "msg_type": "queue_request",
    "username": "username",
    "session": "1f0c",
    "date": "2010-07-12T12:00:00.000000Z",
    "version": "5.4",
}


def request(**changes: Any) -> Message:
    fields: dict[str, Any] = {
        "parent_header": {"msg_id": "1f0c_77_9", "msg_type": "x"},
        "metadata": {"engine": "é"},
        "content": {"targets": [0, None, "ü"]},
    }
    return Message(HEADER, **(fields | changes))


def signed(codec: Codec, *parts: bytes, identities: Sequence[bytes] = (), buffers: Sequence[Frame] = ()) -> list[Frame]:
    """Frames with these dictionaries, however wrong, under a signature that fits."""
    return [*identities, DELIMITER, codec.sign(b"".join(parts)), *parts, *buffers]


def refusal(codec: Codec, frames: Sequence[Frame]) -> RemoteProtocolError:
    with pytest.raises(RemoteProtocolError) as caught:
        codec.open(frames)
    assert caught.value.problems
    return caught.value


@pytest.fixture(params=["json", "msgpack"])
def packer(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


# Round trips


@pytest.mark.parametrize("scheme", ["hmac-md5", "hmac-sha1", "hmac-sha256", "hmac-sha512", "hmac-sha3_256"])
@pytest.mark.parametrize("key", [b"", b"k", KEY, b"L" * 64, b"L" * 129, bytes(range(256))], ids=len)
def test_what_is_encoded_is_opened_again(packer: str, scheme: str, key: bytes) -> None:
    codec = Codec(key, scheme=scheme, packer=packer)
    message = request(identities=[b"engine"], buffers=[b"", b"\0\xff"])
    assert codec.open(codec.encode(message)) == message


@pytest.mark.parametrize("count", [0, 1, 2, 5, 300])
def test_identities_of_any_number_are_kept_in_order(count: int) -> None:
    identities = [b"%d\0\xff" % n for n in range(count)]
    frames = Codec(KEY).encode(request(identities=identities))
    assert frames[: count + 1] == [*identities, DELIMITER]
    assert list(Codec(KEY).open(frames).identities) == identities


def test_an_empty_identity_is_an_identity() -> None:
    assert Codec(KEY).open(Codec(KEY).encode(request(identities=[b""]))).identities == (b"",)


@pytest.mark.parametrize("count", [0, 1, 3, 300])
def test_buffers_of_any_number_are_kept_in_order(count: int) -> None:
    buffers = [b"%d" % n * n for n in range(count)]
    assert list(Codec(KEY).open(Codec(KEY).encode(request(buffers=buffers))).buffers) == buffers


def test_a_buffer_that_looks_like_the_delimiter_is_a_buffer() -> None:
    message = request(identities=[b"a"], buffers=[DELIMITER, b"x", DELIMITER])
    opened = Codec(KEY).open(Codec(KEY).encode(message))
    assert opened.identities == (b"a",)
    assert opened.buffers == (DELIMITER, b"x", DELIMITER)


def test_the_frames_are_the_documented_ones() -> None:
    header = {"msg_id": "1", "msg_type": "t"}
    frames = Codec(b"k").encode(Message(header, content={"a": 1}, identities=[b"i"], buffers=[b"b"]))
    parts = [b'{"msg_id":"1","msg_type":"t"}', b"{}", b"{}", b'{"a":1}']
    signature = hmac.new(b"k", b"".join(parts), "sha256").hexdigest().encode()
    assert frames == [b"i", b"<IDS|MSG>", signature, *parts, b"b"]


def test_non_ascii_text_is_written_as_utf_8() -> None:
    assert Codec().encode(Message(HEADER, content={"é": "\U0001f600"}))[5] == '{"é":"\U0001f600"}'.encode()


def test_orjson_is_json_on_the_wire() -> None:
    assert Codec(KEY, packer="orjson").encode(request()) == Codec(KEY, packer="json").encode(request())


def test_typed_content_and_metadata_are_written_like_dictionaries(packer: str) -> None:
    class Typed(msgspec.Struct):
        targets: list[int]

    typed = Message(HEADER, metadata=Typed([1]), content=Typed([2]))
    codec = Codec(KEY, packer=packer)
    assert codec.encode(typed) == codec.encode(Message(HEADER, metadata={"targets": [1]}, content={"targets": [2]}))
    assert typed.content == {"targets": [2]}
    assert typed.metadata == {"targets": [1]}


# Zero copy


def test_buffers_are_handed_through_as_the_same_objects() -> None:
    buffers: list[Frame] = [b"x" * 1000, memoryview(bytearray(b"y" * 1000))]
    frames = Codec(KEY).encode(request(buffers=buffers))
    assert [id(frame) for frame in frames[-2:]] == [id(buffer) for buffer in buffers]
    opened = Codec(KEY).open(frames)
    assert [id(buffer) for buffer in opened.buffers] == [id(buffer) for buffer in buffers]


def test_a_buffer_shares_the_memory_of_the_caller() -> None:
    memory = bytearray(b"before")
    opened = Codec(KEY).open(Codec(KEY).encode(request(buffers=[memoryview(memory)])))
    memory[:] = b"after!"
    assert bytes(opened.buffers[0]) == b"after!"


def test_memoryview_frames_decode_like_bytes(packer: str) -> None:
    codec = Codec(KEY, packer=packer)
    message = request(identities=[b"engine"], buffers=[b"one", b"two"])
    opened = codec.open([memoryview(frame) for frame in codec.encode(message)])
    assert opened == message
    assert [type(identity) for identity in opened.identities] == [bytes]


def test_a_buffer_in_pieces_is_the_callers_mistake() -> None:
    with pytest.raises(LocalProtocolError) as caught:
        request(buffers=[b"fine", memoryview(b"abcdef")[::2], memoryview(b"fine")[1:]])
    assert caught.value.frames == ("buffers",)
    assert caught.value.problems[0].path == "[1]"


# Signatures


@pytest.mark.parametrize("digest", ["md5", "sha1", "sha224", "sha256", "sha384", "sha512", "blake2b", "sha3_512"])
@pytest.mark.parametrize("size", [1, 63, 64, 65, 127, 128, 129, 200, 1000])
def test_the_signature_is_the_standard_hmac(digest: str, size: int) -> None:
    key = bytes(n % 251 for n in range(size))
    sign = signer(key, f"hmac-{digest}")
    for data in (b"", b"x", b"x" * 1000):
        assert sign(data) == hmac.new(key, data, digest).hexdigest().encode()


def test_a_signer_keeps_nothing_of_what_it_signed() -> None:
    sign = signer(KEY, "hmac-sha256")
    assert sign(b"one") == sign(b"one") != sign(b"two")


def test_an_empty_key_makes_an_empty_frame_and_checks_nothing() -> None:
    codec = Codec(b"")
    frames = codec.encode(request())
    assert frames[1] == b""
    assert codec.open([DELIMITER, b"whatever", *frames[2:]]) == request()


@pytest.mark.parametrize("scheme", ["", "hmac", "hmac-", "sha256", "hmac-nothing", "HMAC-sha256", "hmac-shake_128"])
def test_an_unknown_scheme_is_the_callers_mistake(scheme: str) -> None:
    with pytest.raises(LocalProtocolError) as caught:
        Codec(KEY, scheme=scheme)
    assert caught.value.rules == ("wire.signature-scheme",)


WRONG_SIGNATURES: Mapping[str, tuple[Callable[[list[Frame]], bytes], str]] = {
    "another value": (lambda _: b"0" * 64, "another value"),
    "empty": (lambda _: b"", "an empty frame"),
    "uppercase": (lambda frames: bytes(frames[1]).upper(), "uppercase digits"),
    "short": (lambda frames: bytes(frames[1])[:-1], "63 bytes"),
    "long": (lambda frames: bytes(frames[1]) + b"0", "65 bytes"),
    "raw": (lambda frames: bytes.fromhex(bytes(frames[1]).decode()), "32 bytes"),
    "not ascii": (lambda _: b"\xff" * 64, "another value"),
    "other key": (lambda frames: signer(b"other", "hmac-sha256")(b"".join(frames[2:6])), "another value"),
    "three parts": (lambda frames: signer(KEY, "hmac-sha256")(b"".join(frames[2:5])), "another value"),
}


@pytest.mark.parametrize(("forge", "what"), WRONG_SIGNATURES.values(), ids=WRONG_SIGNATURES.keys())
def test_a_wrong_signature_is_refused(forge: Callable[[list[Frame]], bytes], what: str) -> None:
    frames = Codec(KEY).encode(request())
    error = refusal(Codec(KEY), [DELIMITER, forge(frames), *frames[2:]])
    assert error.rules == ("wire.signature-verified",)
    assert error.frames == ("signature",)
    assert error.problems[0].found == what


@pytest.mark.parametrize("index", [2, 3, 4, 5], ids=["header", "parent_header", "metadata", "content"])
def test_every_dictionary_is_signed(index: int) -> None:
    frames = Codec(KEY).encode(request())
    frames[index] = bytes(frames[index])[:-1] + b" }"
    assert refusal(Codec(KEY), frames).frames == ("signature",)


def test_identities_and_buffers_are_not_signed() -> None:
    frames = Codec(KEY).encode(request(identities=[b"a"], buffers=[b"b"]))
    opened = Codec(KEY).open([b"other", b"route", *frames[1:-1], b"other", b"buffers"])
    assert opened.identities == (b"other", b"route")
    assert opened.buffers == (b"other", b"buffers")


def test_the_boundaries_between_parts_are_not_signed() -> None:
    # The signature covers the bytes in a row: the protocol cannot tell where one dictionary ended. What saves a
    # receiver is that half a dictionary cannot be read.
    frames = Codec(KEY).encode(request())
    error = refusal(Codec(KEY), [*frames[:2], bytes(frames[2])[:-1], b"}" + bytes(frames[3]), *frames[4:]])
    assert error.frames == ("header", "parent_header")


@pytest.mark.parametrize("scheme", ["hmac-md5", "hmac-sha256", "hmac-sha512"])
def test_no_error_tells_the_right_signature_or_the_key(scheme: str) -> None:
    codec = Codec(KEY, scheme=scheme)
    frames = codec.encode(request(content={}))
    right = bytes(frames[1])
    for wrong in (b"", right.upper(), right[:-1], b"0" * len(right), right + b"0"):
        for tail in (frames[2:], [b"{", *frames[3:]], [b"\xff", b"[]", b"", b"{}"]):
            error = refusal(codec, [DELIMITER, wrong, *tail])
            text = f"{error} {error!r} {codec!r}".lower()
            real = codec.sign(b"".join(tail[:4])).decode()
            assert real not in text
            assert KEY.decode() not in text


# Replays


def test_a_second_copy_is_refused() -> None:
    codec = Codec(KEY, replay=ReplayMemory())
    frames = Codec(KEY).encode(request())
    codec.open(frames)
    error = refusal(codec, [b"another route", *frames])
    assert error.rules == ("wire.replay-refused",)
    assert error.frames == ("signature",)


def test_a_forged_copy_does_not_spoil_the_genuine_message() -> None:
    codec = Codec(KEY, replay=ReplayMemory())
    genuine = Codec(KEY).encode(request())
    forged = [*genuine[:5], b'{"targets":null}']
    assert refusal(codec, forged).rules == ("wire.signature-verified",)
    assert codec.open(genuine) == request()


def test_without_a_key_nothing_is_taken_for_a_copy() -> None:
    codec = Codec(b"", replay=ReplayMemory())
    frames = codec.encode(request())
    assert codec.open(frames) == codec.open(frames)


def test_a_copy_in_a_memoryview_is_a_copy() -> None:
    codec = Codec(KEY, replay=ReplayMemory())
    frames = Codec(KEY).encode(request())
    codec.open([memoryview(frame) for frame in frames])
    assert refusal(codec, frames).rules == ("wire.replay-refused",)


def test_the_memory_forgets_the_oldest_first() -> None:
    memory = ReplayMemory(capacity=2)
    assert [memory.admit(name) for name in (b"a", b"b", b"a", b"c")] == [True, True, False, True]
    assert [memory.admit(name) for name in (b"c", b"b", b"a")] == [False, False, True]


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


# Two depths


def test_the_header_is_read_and_the_rest_waits() -> None:
    codec = Codec(KEY)
    good = [bytes(part) for part in codec.encode(request())[2:6]]
    opened = codec.open_header(signed(codec, good[0], b"[", b"]", b"?"))
    assert (opened.msg_id, opened.msg_type) == (HEADER["msg_id"], HEADER["msg_type"])
    for name in ("parent_header", "metadata", "content"):
        with pytest.raises(RemoteProtocolError) as caught:
            getattr(opened, name)
        assert caught.value.frames == (name,)


def test_a_lazy_part_is_read_once() -> None:
    opened = Codec(KEY).open_header(Codec(KEY).encode(request()))
    assert opened.content is opened.content
    assert opened.metadata is opened.metadata
    assert opened.parent_header is opened.parent_header
    assert opened == request()


# Forwarding


def test_forwarding_keeps_the_signed_bytes_and_changes_the_route(packer: str) -> None:
    codec = Codec(KEY, packer=packer)
    frames = codec.encode(request(identities=[b"client"], buffers=[b"one", memoryview(b"two")]))
    if packer == "json":
        # Spaces and order of keys survive: a relay that writes the dictionaries anew would break the signature.
        parts = [b'{ "msg_type":"t" , "msg_id":"1"}', b"{ }", b'{"b":1,"a":1.0e0}', b'{"z" : "\\u00e9"}']
        frames = signed(codec, *parts, identities=[b"client"], buffers=frames[-2:])
    forwarded = codec.forward(codec.open(frames), [b"engine", b"client"])
    assert forwarded == [b"engine", b"client", *frames[1:]]
    assert [id(frame) for frame in forwarded[2:]] == [id(frame) for frame in frames[1:]]


def test_a_message_of_ours_is_signed_when_it_is_forwarded() -> None:
    codec = Codec(KEY)
    assert codec.forward(request(identities=[b"a"]), [b"b"]) == codec.encode(request(identities=[b"b"]))


def test_replacing_makes_another_message_and_leaves_the_first() -> None:
    codec = Codec(KEY)
    opened = codec.open(codec.encode(request(identities=[b"a"], buffers=[b"b"])))
    other = opened.replace(content={"x": 1}, header=HEADER | {"msg_id": "new"})
    assert opened == request(identities=[b"a"], buffers=[b"b"])
    assert other.signature is None
    assert other.parts is None
    assert other == Message(
        HEADER | {"msg_id": "new"},
        parent_header=opened.parent_header,
        metadata=opened.metadata,
        content={"x": 1},
        identities=[b"a"],
        buffers=[b"b"],
    )


# The oldest dialect


def test_the_oldest_dialect_has_three_dictionaries(packer: str) -> None:
    codec = Codec(KEY, scheme="hmac-md5", packer=packer, metadata=False)
    frames = codec.encode(request(metadata={}, identities=[b"a"], buffers=[b"b"]))
    assert len(frames) == 7
    assert frames[2] == hmac.new(KEY, b"".join(frames[3:6]), "md5").hexdigest().encode()
    opened = codec.open(frames)
    assert opened == request(metadata={}, identities=[b"a"], buffers=[b"b"])
    assert opened.metadata == {}
    assert codec.open_header(frames).metadata == {}
    assert codec.forward(opened, []) == frames[1:]


def test_the_oldest_dialect_misses_three_parts_and_no_metadata() -> None:
    assert refusal(Codec(metadata=False), [DELIMITER]).frames == ("signature", "header", "parent_header", "content")


def test_the_dialects_do_not_read_each_other() -> None:
    old, new = Codec(KEY, metadata=False), Codec(KEY)
    assert refusal(new, old.encode(request())).frames == ("content",)
    assert refusal(old, new.encode(request())).frames == ("signature",)


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


# Values


def test_messages_with_the_same_meaning_are_equal(packer: str) -> None:
    message = request(identities=[b"a"], buffers=[b"b"])
    assert Codec(packer=packer).open(Codec(packer=packer).encode(message)) == message
    changes: tuple[dict[str, Any], ...] = (
        {"identities": []},
        {"buffers": []},
        {"content": {}},
        {"metadata": {}},
        {"parent_header": {}},
    )
    for change in changes:
        assert message.replace(**change) != message
    assert message.replace(header=HEADER | {"date": ""}) != message
    assert message != "a message"


def test_messages_are_not_hashable_and_say_what_they_are() -> None:
    with pytest.raises(TypeError):
        hash(request())
    assert repr(request(buffers=[b"x"])) == "<queue_request 1f0c_77_0, 1 buffers>"
    assert repr(Codec(KEY)) == "<Codec hmac-sha256 json signed>"
    assert repr(Packer("msgpack")) == "Packer('msgpack')"


def test_both_errors_are_protocol_errors_and_render_themselves() -> None:
    error = refusal(Codec(), [])
    assert isinstance(error, ProtocolError)
    problem = "delimiter: expected a frame b'<IDS|MSG>', found none in 0 frames [wire.delimiter-present]"
    assert str(error) == f"the peer is at fault: {problem}"
