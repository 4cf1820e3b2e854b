"""Engines: what is damaged, forged, repeated or strange, on the queues and on control.

Each damaged message is followed by a good one on the same way, whose answer must be the next thing that comes. Source:
IPython commit a2c57acba, parallel_messages.txt, "Split Sends"; jupyter_client messaging.rst, "The Wire Protocol".
"""

from collections.abc import Sequence

import pytest

from conformance.harness.case import needs, requirement
from conformance.harness.engine import Caller, EngineUnderTest
from conformance.harness.expect import error, ok
from conformance.harness.verdict import violate
from protocol.wire import DELIMITER, Codec, Frame, Message

WAYS = pytest.mark.parametrize("way", ["mux", pytest.param("control", marks=needs("abort"))])
#: Bytes that are no JSON text, and JSON values that are no object, by what they are.
UNREADABLE = {"empty": b"", "truncated": b'{"a": ', "not UTF-8": b'{"a": "\xff\xfe"}', "deeply nested": b"[" * 100_000}
NO_OBJECT = {"array": b"[]", "string": b'"text"', "number": b"17", "null": b"null"}


def good(client: Caller, way: str, **fields: object) -> Message:
    """A request that is answered whatever the engine is doing, made and not sent."""
    if way == "control":
        return client.message("abort_request", {"msg_ids": ["never-sent"]}, channel=way, **fields)
    code = client.engine.sample("print", text="hello")
    return client.message("execute_request", {"code": code, "silent": False}, channel=way, **fields)


def frames_of(client: Caller, way: str) -> list[Frame]:
    """The frames of a good request: two identities, delimiter, signature, header, parent, metadata, content."""
    return list(client.engine.codec.encode(good(client, way)))


def expect_only(client: Caller, way: str, *expected: Message, requirement: str | None = None) -> None:
    """Of everything since the case began, only these requests may have been answered, and a barrier that follows.

    A barrier that is not answered violates the `requirement`.
    """
    engine = client.engine
    barrier = good(client, way)
    engine.deliver(way, lambda socket: socket.send(barrier))
    client.reply(barrier, requirement=requirement).expect(ok(barrier.msg_type.replace("_request", "_reply")))
    wanted = [request.msg_id for request in (*expected, barrier)]
    for seen in engine.replies:
        asked = seen.message.parent_header.get("msg_id") if seen.message else None
        if asked in wanted:
            wanted.remove(asked)
        else:
            shown = f"{seen.message.msg_type} {seen.message.content!r:.200}" if seen.message else "what is no message"
            violate(f"{shown} came", "nothing", evidence=(seen.seq,))


@WAYS
@requirement("wire.delimiter-present", "wire.sender-recovers")
def test_a_multipart_without_delimiter_is_dropped(engine: EngineUnderTest, way: str) -> None:
    client = engine.client()
    whole = frames_of(client, way)
    for damaged in ([*whole[:2], *whole[3:]], [*whole[:2], b""], [whole[0], b"x"]):
        client.send_raw(damaged, "no delimiter", channel=way)
        expect_only_since(client, way)


def expect_only_since(client: Caller, way: str) -> None:
    """As `expect_only`, and forget what was seen."""
    expect_only(client, way)
    client.engine.replies.clear()


@WAYS
@requirement("wire.all-parts-present", "wire.sender-recovers")
@pytest.mark.parametrize("kept", [3, 4, 5, 6, 7])
def test_a_message_that_ends_too_early_is_dropped(engine: EngineUnderTest, way: str, kept: int) -> None:
    client = engine.client()
    client.send_raw(frames_of(client, way)[:kept], "cut", channel=way)
    expect_only(client, way)


@WAYS
@requirement("wire.signature-verified", "wire.unauthenticated-unanswered", "wire.sender-recovers")
@pytest.mark.parametrize("signature", [b"", b"0" * 64, b"f" * 63, b"\xff" * 64], ids=repr)
def test_a_message_with_a_wrong_signature_is_dropped(engine: EngineUnderTest, way: str, signature: bytes) -> None:
    client = engine.client()
    whole = frames_of(client, way)
    client.send_raw([*whole[:3], signature, *whole[4:]], "a wrong signature", channel=way)
    expect_only(client, way, requirement="wire.sender-recovers")


@WAYS
@requirement("wire.signature-covers-dictionaries")
@pytest.mark.parametrize("part", [4, 5, 6, 7], ids=["header", "parent header", "metadata", "content"])
def test_an_altered_dictionary_is_dropped(engine: EngineUnderTest, way: str, part: int) -> None:
    client = engine.client()
    whole = frames_of(client, way)
    # Still the same object, and not the same bytes.
    whole[part] = bytes(whole[part]) + b" "
    client.send_raw(whole, "altered under its signature", channel=way)
    expect_only(client, way)


@WAYS
@requirement("wire.signature-verified")
def test_a_message_under_another_key_is_dropped(engine: EngineUnderTest, way: str) -> None:
    client = engine.client()
    client.send_raw(Codec(b"another key").encode(good(client, way)), "signed with another key", channel=way)
    expect_only(client, way)


@WAYS
@requirement("wire.signature-uppercase-refused")
def test_a_signature_in_uppercase_is_refused(engine: EngineUnderTest, way: str) -> None:
    client = engine.client()
    whole = frames_of(client, way)
    client.send_raw([*whole[:3], bytes(whole[3]).upper(), *whole[4:]], "in uppercase", channel=way)
    expect_only(client, way)


@WAYS
@requirement("wire.replay-refused")
def test_a_repeated_message_is_answered_once(engine: EngineUnderTest, way: str) -> None:
    client = engine.client()
    request = good(client, way)
    engine.deliver(way, lambda socket: socket.send(request))
    client.reply(request)
    for _ in range(2):
        client.send_raw(engine.codec.encode(request), "sent before", channel=way)
    expect_only(client, way, request)


@WAYS
@requirement("wire.forged-copy-does-not-block")
def test_a_forged_copy_does_not_block_the_genuine_message(engine: EngineUnderTest, way: str) -> None:
    client = engine.client()
    genuine = good(client, way)
    whole = list(engine.codec.encode(genuine))
    client.send_raw([*whole[:7], bytes(whole[7]) + b" "], "forged under the signature of another", channel=way)
    engine.deliver(way, lambda socket: socket.send(genuine))
    client.reply(genuine)


@WAYS
@requirement("wire.parts-readable", "wire.sender-recovers")
@pytest.mark.parametrize("part", ["head", "parent", "metadata", "content"])
@pytest.mark.parametrize("data", UNREADABLE.values(), ids=UNREADABLE)
def test_after_a_part_that_cannot_be_read_the_next_request_is_answered(
    engine: EngineUnderTest, way: str, part: str, data: bytes
) -> None:
    expect_recovery(engine, way, part, data)


@WAYS
@requirement("wire.parts-are-objects", "wire.sender-recovers")
@pytest.mark.parametrize("part", ["head", "parent", "metadata", "content"])
@pytest.mark.parametrize("data", NO_OBJECT.values(), ids=NO_OBJECT)
def test_after_a_part_that_is_no_object_the_next_request_is_answered(
    engine: EngineUnderTest, way: str, part: str, data: bytes
) -> None:
    expect_recovery(engine, way, part, data)


def expect_recovery(engine: EngineUnderTest, way: str, part: str, data: bytes) -> None:
    """A signed message one of whose dictionaries holds these bytes may be dropped or answered; the next is served."""
    client = engine.client()
    head, parent, metadata, content = map(bytes, frames_of(client, way)[4:8])
    parts = {"head": head, "parent": parent, "metadata": metadata, "content": content} | {part: data}
    client.send_signed(f"{part} that is wrong", channel=way, **parts)
    expect_served(client, way)


def expect_served(client: Caller, way: str) -> None:
    """The next good request is answered."""
    request = good(client, way)
    client.engine.deliver(way, lambda socket: socket.send(request))
    client.reply(request).expect(ok(request.msg_type.replace("_request", "_reply")))


@WAYS
@pytest.mark.parametrize("msg_id", [..., 17, None], ids=repr)
@requirement("wire.header-msg-id", "wire.sender-recovers")
def test_a_header_without_a_good_msg_id_harms_nothing(engine: EngineUnderTest, way: str, msg_id: object) -> None:
    expect_header_survived(engine, way, "msg_id", msg_id)


@WAYS
@pytest.mark.parametrize("msg_type", [..., 17, None], ids=repr)
@requirement("wire.header-msg-type", "wire.sender-recovers")
def test_a_header_without_a_good_msg_type_harms_nothing(engine: EngineUnderTest, way: str, msg_type: object) -> None:
    expect_header_survived(engine, way, "msg_type", msg_type)


def expect_header_survived(engine: EngineUnderTest, way: str, key: str, value: object) -> None:
    """A header with this value (`...`: without it) may be dropped or answered; the next request is served."""
    client = engine.client()
    header = {name: each for name, each in (good(client, way).header | {key: value}).items() if each is not ...}
    client.send_signed(f"a header whose {key} is wrong", head=engine.codec.packer.encode(header), channel=way)
    expect_served(client, way)


@WAYS
@requirement("wire.header-optional-fields")
@pytest.mark.parametrize("missing", ["session", "username", "date", "version"])
def test_a_request_without_what_nobody_needs_is_answered(engine: EngineUnderTest, way: str, missing: str) -> None:
    expect_answered(engine, way, {missing: ...})


@WAYS
@requirement("wire.header-any-version")
@pytest.mark.parametrize("version", ["3.0", "4.1", "99.0"])
def test_a_request_of_another_version_is_answered(engine: EngineUnderTest, way: str, version: str) -> None:
    expect_answered(engine, way, {"version": version})


@WAYS
@requirement("wire.header-extra-keys", "wire.reply-parent")
def test_an_unknown_key_of_the_header_comes_back(engine: EngineUnderTest, way: str) -> None:
    parent = expect_answered(engine, way, {"of_tomorrow": [1, {"a": None}]})
    if parent.get("of_tomorrow") != [1, {"a": None}]:
        violate(f"the parent header {parent!r:.300}", "the header of the request, with its unknown key")


def expect_answered(engine: EngineUnderTest, way: str, changes: dict[str, object]) -> dict[str, object]:
    """A request with these changes in its header (`...`: without) is answered; the parent header of its reply."""
    client = engine.client()
    request = good(client, way)
    header = {name: each for name, each in (request.header | changes).items() if each is not ...}
    content = engine.codec.packer.encode(request.content)
    client.send_signed("an unusual header", head=engine.codec.packer.encode(header), content=content, channel=way)
    reply = client.reply(request).expect(ok(request.msg_type.replace("_request", "_reply")))
    parent: dict[str, object] = reply.message.parent_header
    return parent


@WAYS
@requirement("wire.unexpected-buffers-ignored", "wire.first-delimiter-counts")
@pytest.mark.parametrize("buffers", [[DELIMITER, b"x"], [b""], [bytes(1_000_000)]], ids=["delimiter", "empty", "1 MB"])
def test_buffers_that_nobody_needs_are_ignored(engine: EngineUnderTest, way: str, buffers: list[bytes]) -> None:
    expect_buffers(engine, way, buffers, requirement="wire.first-delimiter-counts" if DELIMITER in buffers else None)


@requirement("wire.buffers-any-number")
def test_thousands_of_buffers_pass(engine: EngineUnderTest) -> None:
    expect_buffers(engine, "mux", [b"%d" % number for number in range(20_000)])


def expect_buffers(
    engine: EngineUnderTest, way: str, buffers: Sequence[bytes], *, requirement: str | None = None
) -> None:
    """A request with buffers for which it has no use is answered."""
    client = engine.client()
    request = good(client, way, buffers=buffers)
    client.send_raw(engine.codec.encode(request), "buffers that nobody needs", channel=way)
    client.reply(request, requirement=requirement).expect(ok(request.msg_type.replace("_request", "_reply")))


@requirement("wire.malformed-harms-nobody", "wire.refused-changes-nothing")
def test_what_one_client_sends_wrong_harms_no_other(engine: EngineUnderTest) -> None:
    bad, client = engine.client(), engine.client()
    before = client.run(engine.sample("print", text="hello")).content["execution_count"]
    whole = frames_of(bad, "mux")
    for damaged in (whole[:3], whole[:6], [*whole[:3], b"0" * 64, *whole[4:]], [*whole[:2], b"garbage"]):
        bad.send_raw(damaged, "damaged")
        client.run(engine.sample("print", text="hello")).expect(ok("execute_reply"))
    after = client.run(engine.sample("print", text="hello")).content["execution_count"]
    if after != before + 5:
        violate(f"the counter went from {before} to {after} with five requests", f"{before + 5}",
                requirement="wire.refused-changes-nothing")  # fmt: skip


@requirement("kernel.bad-content-answered")
@pytest.mark.parametrize("content", [b"null", b"[]", b'"text"', b'{"code": 17}', b'{"code": null}'], ids=repr)
def test_a_request_for_code_with_bad_content_is_answered_with_an_error(engine: EngineUnderTest, content: bytes) -> None:
    client = engine.client()
    request = good(client, "mux")
    client.send_signed("content that is wrong", head=engine.codec.packer.encode(request.header), content=content)
    client.reply(request).expect(error("execute_reply"))
