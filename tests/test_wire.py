"""Frames to messages and back: `protocol.wire` keeps what it is given, copies nothing, and reads what is asked for."""

import hmac
from typing import Any

import msgspec
import pytest
from wire_world import HEADER, KEY, refusal, request, signed

from protocol.errors import LocalProtocolError, RemoteProtocolError
from protocol.wire import DELIMITER, Codec, Frame, Message, Packer

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
