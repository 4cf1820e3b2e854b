"""Kernels: what is damaged, forged, repeated or strange, on shell and on control.

Each damaged message is followed by a good one on the same socket, whose answer must be the next thing that comes, and
what is published must belong to that good one. Source: jupyter_client messaging.rst, "The Wire Protocol" and
"Compatibility"; measured on ipykernel 7.4.0.
"""

from collections.abc import Mapping

import pytest

from conformance.harness.case import connection_file, needs, requirement
from conformance.harness.coding import parent_id
from conformance.harness.expect import error, ok
from conformance.harness.kernel import Frontend, KernelUnderTest
from conformance.harness.verdict import violate
from protocol.wire import DELIMITER, Codec, Frame, Message
from protocol.world import Observation

WAYS = pytest.mark.parametrize("way", ["kernel-shell", "kernel-control"])
#: Bytes that are no JSON text, and JSON values that are no object, by what they are.
UNREADABLE = {"empty": b"", "truncated": b'{"a": ', "not UTF-8": b'{"a": "\xff\xfe"}', "deeply nested": b"[" * 100_000}
NO_OBJECT = {"array": b"[]", "string": b'"text"', "number": b"17", "null": b"null"}


def good(frontend: Frontend) -> Message:
    """A request that is answered whatever the kernel is doing, made and not sent."""
    return frontend.message("kernel_info_request")


def frames_of(frontend: Frontend) -> list[Frame]:
    """The frames of a good request: delimiter, signature, header, parent, metadata, content."""
    return list(frontend.kernel.codec.encode(good(frontend)))


def packed(frontend: Frontend, value: object) -> bytes:
    """An object as bytes."""
    return frontend.kernel.codec.packer.encode(value)


def expect_only(frontend: Frontend, way: str, *expected: Message, requirement: str | None = None) -> None:
    """Since the case began only these requests may have been answered and bracketed, and a barrier that follows."""
    kernel = frontend.kernel
    barrier = frontend.send("kernel_info_request", channel=way)
    frontend.reply(barrier).expect(ok("kernel_info_reply"), requirement="wire.sender-recovers")
    kernel.until_idle(barrier)
    allowed = [request.msg_id for request in (*expected, barrier)]
    wanted = list(allowed)
    for seen in frontend.received:
        if parent_id(seen) not in wanted:
            violate(f"{_shown(seen)} came", "nothing", evidence=(seen.seq,), requirement=requirement)
        wanted.remove(str(parent_id(seen)))
    for seen in kernel.published:
        if seen.message and seen.message.msg_type == "status" and parent_id(seen) not in allowed:
            violate(f"{_shown(seen)} of a message that is dropped was published", "nothing", evidence=(seen.seq,),
                    requirement="kernel.malformed-no-stray-status")  # fmt: skip


def _shown(seen: Observation) -> str:
    return f"{seen.message.msg_type} {seen.message.content!r:.200}" if seen.message else "what is no message"


# -- dropped -----------------------------------------------------------------------------------------------------------


@WAYS
@requirement("kernel.malformed-dropped", "wire.delimiter-present", "wire.sender-recovers")
@pytest.mark.parametrize("kept", [0, 1, 2], ids=["no delimiter", "one frame", "empty frame"])
def test_a_multipart_without_delimiter_is_dropped(kernel: KernelUnderTest, way: str, kept: int) -> None:
    frontend = kernel.frontend()
    damaged = ([*frames_of(frontend)[1:]], [b"x"], [b""])[kept]
    frontend.send_raw(damaged, "no delimiter", channel=way)
    expect_only(frontend, way)


@WAYS
@requirement("kernel.malformed-dropped", "wire.all-parts-present", "wire.sender-recovers")
@pytest.mark.parametrize("kept", [1, 2, 3, 4, 5])
def test_a_message_that_ends_too_early_is_dropped(kernel: KernelUnderTest, way: str, kept: int) -> None:
    frontend = kernel.frontend()
    frontend.send_raw(frames_of(frontend)[:kept], "cut", channel=way)
    expect_only(frontend, way)


@WAYS
@requirement(
    "wire.signature-verified", "wire.unauthenticated-unanswered", "wire.sender-recovers", "kernel.malformed-dropped"
)
@pytest.mark.parametrize("signature", [b"", b"0" * 64, b"f" * 63, b"\xff" * 64], ids=repr)
def test_a_message_with_a_wrong_signature_is_dropped(kernel: KernelUnderTest, way: str, signature: bytes) -> None:
    frontend = kernel.frontend()
    whole = frames_of(frontend)
    frontend.send_raw([whole[0], signature, *whole[2:]], "a wrong signature", channel=way)
    expect_only(frontend, way)


@WAYS
@requirement("wire.signature-verified", "wire.signature-covers-dictionaries")
@pytest.mark.parametrize("part", [2, 3, 4, 5], ids=["header", "parent header", "metadata", "content"])
def test_an_altered_dictionary_is_dropped(kernel: KernelUnderTest, way: str, part: int) -> None:
    frontend = kernel.frontend()
    whole = frames_of(frontend)
    # Still the same object, and not the same bytes.
    whole[part] = bytes(whole[part]) + b" "
    frontend.send_raw(whole, "altered under its signature", channel=way)
    expect_only(frontend, way)


@WAYS
@requirement("wire.signature-verified")
def test_a_message_under_another_key_is_dropped(kernel: KernelUnderTest, way: str) -> None:
    frontend = kernel.frontend()
    frontend.send_raw(Codec(b"another key").encode(good(frontend)), "signed with another key", channel=way)
    expect_only(frontend, way)


@WAYS
@requirement("wire.signature-uppercase-refused")
def test_a_signature_in_uppercase_is_refused(kernel: KernelUnderTest, way: str) -> None:
    frontend = kernel.frontend()
    whole = frames_of(frontend)
    frontend.send_raw([whole[0], bytes(whole[1]).upper(), *whole[2:]], "in uppercase", channel=way)
    expect_only(frontend, way)


@WAYS
@requirement("wire.replay-refused")
def test_a_repeated_message_is_answered_once(kernel: KernelUnderTest, way: str) -> None:
    frontend = kernel.frontend()
    request = good(frontend)
    frontend.post(request, way)
    frontend.reply(request)
    for _ in range(2):
        frontend.send_raw(kernel.codec.encode(request), "sent before", channel=way)
    expect_only(frontend, way, request)


@requirement("kernel.replay-across-channels")
def test_a_message_is_not_answered_again_on_another_channel(kernel: KernelUnderTest) -> None:
    frontend = kernel.frontend()
    request = good(frontend)
    frontend.post(request)
    frontend.reply(request)
    frontend.send_raw(kernel.codec.encode(request), "sent before, on shell", channel="kernel-control")
    expect_only(frontend, "kernel-control", request)


@WAYS
@requirement("wire.forged-copy-does-not-block")
def test_a_forged_copy_does_not_keep_the_true_message_out(kernel: KernelUnderTest, way: str) -> None:
    forger, frontend = kernel.frontend(), kernel.frontend()
    request = good(frontend)
    whole = list(kernel.codec.encode(request))
    # The true signature under other bytes: whoever remembers it now takes the true message for a repetition.
    forger.send_raw([*whole[:2], bytes(whole[2]) + b" ", *whole[3:]], "a forged copy", channel=way)
    forger.ask("kernel_info_request", channel=way)
    frontend.post(request, way)
    frontend.reply_before_barrier(request, channel=way).expect(ok("kernel_info_reply"))


@WAYS
@requirement("wire.parts-readable", "wire.sender-recovers")
@pytest.mark.parametrize("part", ["head", "metadata", "parent"])
@pytest.mark.parametrize("damage", UNREADABLE.values(), ids=UNREADABLE)
def test_what_cannot_be_read_harms_nobody(kernel: KernelUnderTest, way: str, damage: bytes, part: str) -> None:
    frontend = kernel.frontend()
    parts = {"head": packed(frontend, good(frontend).header)} | {part: damage}
    frontend.send_signed(f"{part} that cannot be read", channel=way, **parts)
    expect_recovery(frontend, way)


@WAYS
@requirement("wire.header-msg-id", "kernel.malformed-no-stray-status", "wire.sender-recovers")
@pytest.mark.parametrize("value", [..., None, 17, []], ids=["missing", "null", "number", "array"])
@pytest.mark.parametrize("key", ["msg_id", "msg_type"])
def test_a_header_without_id_or_type_leaves_no_trace(
    kernel: KernelUnderTest, way: str, key: str, value: object
) -> None:
    frontend = kernel.frontend()
    header = {name: each for name, each in good(frontend).header.items() if name != key}
    if value is not ...:
        header[key] = value
    frontend.send_signed(f"no {key}", head=packed(frontend, header), channel=way)
    expect_recovery(frontend, way)


@WAYS
@requirement("wire.parts-are-objects", "wire.sender-recovers")
@pytest.mark.parametrize("damage", NO_OBJECT.values(), ids=NO_OBJECT)
def test_a_header_that_is_no_object_harms_nobody(kernel: KernelUnderTest, way: str, damage: bytes) -> None:
    frontend = kernel.frontend()
    frontend.send_signed("a header that is no object", head=damage, channel=way)
    expect_recovery(frontend, way)


def expect_recovery(frontend: Frontend, way: str) -> None:
    """After a message that may be dropped or answered a good one is answered, and every busy has its idle."""
    kernel = frontend.kernel
    barrier = frontend.send("kernel_info_request", channel=way)
    frontend.reply(barrier, requirement="wire.sender-recovers").expect(
        ok("kernel_info_reply"), requirement="wire.sender-recovers"
    )
    kernel.until_idle(barrier)
    states: dict[object, list[object]] = {}
    for seen in kernel.published:
        if seen.message and seen.message.msg_type == "status":
            states.setdefault(str(parent_id(seen)), []).append(seen.message.content.get("execution_state"))
    odd = {asked: found for asked, found in states.items() if found != ["busy", "idle"]}
    if odd:
        violate(f"the states {odd!r:.300}", "busy, then idle, or nothing",
                requirement="kernel.malformed-no-stray-status")  # fmt: skip


# -- answered all the same ---------------------------------------------------------------------------------------------


@WAYS
@requirement("kernel.odd-parent-tolerated")
@pytest.mark.parametrize("part", ["parent", "metadata"])
@pytest.mark.parametrize("value", NO_OBJECT.values(), ids=NO_OBJECT)
def test_a_parent_that_is_no_object_is_taken_as_empty(
    kernel: KernelUnderTest, way: str, part: str, value: bytes
) -> None:
    frontend = kernel.frontend()
    request = good(frontend)
    head = packed(frontend, request.header)
    frontend.send_signed(f"{part} that is no object", head=head, channel=way, **{part: value})
    frontend.reply_before_barrier(request, channel=way).expect(ok("kernel_info_reply"))


@WAYS
@requirement("wire.header-optional-fields")
@pytest.mark.parametrize("key", ["session", "username", "date", "version"])
def test_a_header_without_what_is_optional_is_answered(kernel: KernelUnderTest, way: str, key: str) -> None:
    frontend = kernel.frontend()
    request = good(frontend)
    header = {name: value for name, value in request.header.items() if name != key}
    frontend.send_signed(f"no {key}", head=packed(frontend, header), channel=way)
    frontend.reply_before_barrier(request, channel=way).expect(ok("kernel_info_reply"))


@WAYS
@requirement("wire.header-extra-keys")
def test_a_header_with_more_is_answered_with_all_of_it(kernel: KernelUnderTest, way: str) -> None:
    frontend = kernel.frontend()
    request = frontend.send("kernel_info_request", channel=way, of_tomorrow={"key": [1]})
    reply = frontend.reply(request).expect(ok("kernel_info_reply"))
    if reply.message.parent_header != request.header:
        violate(f"the parent header {reply.message.parent_header!r:.300}", f"{request.header!r:.300}",
                requirement="wire.reply-parent", evidence=(reply.observation.seq,))  # fmt: skip


@WAYS
@requirement("wire.header-any-version")
@pytest.mark.parametrize("version", ["5.0", "5.99", "6.0"])
def test_a_request_of_another_version_is_answered(kernel: KernelUnderTest, way: str, version: str) -> None:
    frontend = kernel.frontend()
    frontend.ask("kernel_info_request", channel=way, version=version).expect(ok("kernel_info_reply"))


@WAYS
@requirement("wire.unexpected-buffers-ignored")
@pytest.mark.parametrize("count", [1, 1000])
def test_buffers_that_belong_to_nothing_are_ignored(kernel: KernelUnderTest, way: str, count: int) -> None:
    frontend = kernel.frontend()
    request = frontend.send(
        "kernel_info_request", channel=way, buffers=[b"buffer"] * count, why="buffers that belong to nothing"
    )
    frontend.reply_before_barrier(request, channel=way).expect(ok("kernel_info_reply"))


@WAYS
@requirement("wire.reply-identities-echoed")
@pytest.mark.parametrize("count", [1, 50])
def test_what_stands_before_the_delimiter_comes_back(kernel: KernelUnderTest, way: str, count: int) -> None:
    frontend = kernel.frontend()
    request = frontend.send("kernel_info_request", channel=way, identities=[b"hop%d" % n for n in range(count)])
    frontend.reply(request).expect(ok("kernel_info_reply"))


@requirement("wire.first-delimiter-counts")
def test_a_delimiter_among_the_buffers_is_one_of_them(kernel: KernelUnderTest) -> None:
    frontend = kernel.frontend()
    request = frontend.send("kernel_info_request", buffers=[DELIMITER, b"x"], why="a delimiter as a buffer")
    frontend.reply_before_barrier(request).expect(ok("kernel_info_reply"))


@requirement("wire.malformed-harms-nobody", "wire.refused-changes-nothing")
def test_others_do_not_notice_what_is_damaged(kernel: KernelUnderTest) -> None:
    bad, frontend = kernel.frontend(), kernel.frontend()
    before = frontend.run(kernel.sample("print", text="hello")).expect(ok("execute_reply")).content["execution_count"]
    for damaged in ([b"garbage"], frames_of(bad)[:4], [DELIMITER, b"0" * 64, *frames_of(bad)[2:]]):
        bad.send_raw(damaged, "damaged")
        frontend.run(kernel.sample("print", text="hello")).expect(ok("execute_reply"))
    after = frontend.run(kernel.sample("print", text="hello")).content["execution_count"]
    if after != before + 4:
        violate(f"the counter went from {before} to {after} with four requests", f"{before + 4}",
                requirement="wire.refused-changes-nothing")  # fmt: skip


# -- well signed, and wrong --------------------------------------------------------------------------------------------

QUESTIONS: Mapping[str, str] = {
    "execute_request": "", "complete_request": "complete", "inspect_request": "inspect",
    "is_complete_request": "is-complete", "history_request": "history",
}  # fmt: skip
ASKED = pytest.mark.parametrize(
    "msg_type", [pytest.param(name, marks=needs(word) if word else ()) for name, word in QUESTIONS.items()]
)


def expect_refused(frontend: Frontend, msg_type: str, content: bytes, *, may_be_ok: bool = False) -> None:
    """A request with this content must be answered with an error, or else made do with if that is allowed."""
    kernel = frontend.kernel
    request = frontend.message(msg_type)
    frontend.send_signed("content that is wrong", head=packed(frontend, request.header), content=content)
    reply = frontend.reply_before_barrier(request)
    wanted = msg_type.replace("request", "reply")
    if not may_be_ok or reply.content.get("status") == "error":
        reply.expect(error(wanted))
    kernel.until_idle(request)
    if kernel.states(request) != ["busy", "idle"]:
        violate(f"the states {kernel.states(request)}", "busy, then idle", requirement="kernel.status-brackets")


@ASKED
@requirement("kernel.bad-content-answered")
@pytest.mark.parametrize("content", [b"null", b"[]", b'"text"'], ids=repr)
def test_a_request_whose_content_is_no_object_is_answered(
    kernel: KernelUnderTest, msg_type: str, content: bytes
) -> None:
    expect_refused(kernel.frontend(), msg_type, content)


@ASKED
@requirement("kernel.missing-field-answered")
def test_a_request_that_lacks_a_field_is_answered_with_an_error(kernel: KernelUnderTest, msg_type: str) -> None:
    expect_refused(kernel.frontend(), msg_type, b"{}")


@ASKED
@requirement("kernel.field-out-of-range")
def test_a_field_of_the_wrong_type_is_answered(kernel: KernelUnderTest, msg_type: str) -> None:
    wrong = b'{"code": 17, "cursor_pos": "far", "hist_access_type": 3, "output": "x", "raw": []}'
    expect_refused(kernel.frontend(), msg_type, wrong, may_be_ok=True)


@needs("complete", "inspect")
@requirement("kernel.field-out-of-range")
@pytest.mark.parametrize("cursor", [-1, 10**6, 10**30])
@pytest.mark.parametrize("msg_type", ["complete_request", "inspect_request"])
def test_a_cursor_outside_the_code_is_answered(kernel: KernelUnderTest, msg_type: str, cursor: int) -> None:
    frontend = kernel.frontend()
    content = packed(frontend, {"code": "kit_name", "cursor_pos": cursor}) if cursor < 2**63 else (
        b'{"code": "kit_name", "cursor_pos": %d}' % cursor
    )  # fmt: skip
    expect_refused(frontend, msg_type, content, may_be_ok=True)


# -- keys and schemes --------------------------------------------------------------------------------------------------


@connection_file(signature_scheme="hmac-sha512")
@requirement("wire.signature-scheme")
def test_a_kernel_signs_as_its_file_says(fresh_kernel: KernelUnderTest) -> None:
    fresh_kernel.expect_usable()


@connection_file(key="")
@requirement("wire.empty-key-unsigned")
def test_a_kernel_without_key_signs_nothing_and_accepts_everything(fresh_kernel: KernelUnderTest) -> None:
    frontend = fresh_kernel.frontend()
    request = good(frontend)
    whole = list(fresh_kernel.codec.encode(request))
    frontend.send_raw([whole[0], b"whatever", *whole[2:]], "any signature is accepted")
    reply = frontend.reply(request).expect(ok("kernel_info_reply"))
    at = reply.observation.frames.index(DELIMITER) + 1
    if bytes(reply.observation.frames[at]):
        violate(f"the signature {bytes(reply.observation.frames[at])!r:.80}", "an empty one",
                evidence=(reply.observation.seq,))  # fmt: skip
