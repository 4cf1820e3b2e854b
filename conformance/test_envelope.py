"""The envelope as the Hub speaks and hears it: frames, signatures, headers, and what must survive damage.

Each damaged message is followed by a good one on the same socket, whose answer must be the next thing that arrives.
Source: IPython commit a2c57acba, parallel_messages.txt, "Split Sends"; jupyter_client messaging.rst, "The Wire
Protocol".
"""

from typing import Literal

import pytest

from conformance.harness.actors import Client
from conformance.harness.case import needs, requirement
from conformance.harness.controller import Controller
from conformance.harness.expect import containing, error, ok
from conformance.harness.queues import Queue
from conformance.harness.verdict import violate
from protocol.wire import DELIMITER, Frame, Json

GOOD = b"{}"
#: Bytes that are no JSON text, by the name of what is wrong with them.
UNREADABLE = {
    "empty": b"",
    "truncated": b'{"a": ',
    "not-utf-8": b'{"a": "\xff\xfe"}',
    "bare-word": b"nonsense",
    "deeply-nested": b"[" * 100_000,
}
#: JSON values that are no object.
NO_OBJECT = {"array": b"[]", "string": b'"text"', "number": b"17", "null": b"null"}


def good(client: Client) -> list[Frame]:
    """The frames of a good request: delimiter, signature, header, parent header, metadata, content."""
    return client.controller.codec.encode(client.make("connection_request", {}))


def head(client: Client, **fields: object) -> bytes:
    """The header frame of a connection request with some fields replaced, or left out where they are `...`."""
    header = client.make("connection_request", {}).header | fields
    return client.controller.codec.packer.encode({key: value for key, value in header.items() if value is not ...})


@requirement("wire.delimiter-present")
@pytest.mark.parametrize("frames", [[b""], [b"x"], [b"", b""], [b"a", b"b", b"c", b"d", b"e", b"f"]], ids=repr)
def test_a_multipart_without_delimiter_is_dropped(controller: Controller, frames: list[bytes]) -> None:
    client = controller.client()
    client.send_raw("no delimiter", frames)
    client.expect_silence("a multipart without delimiter")


@requirement("wire.delimiter-present")
def test_a_request_whose_delimiter_was_left_out_is_dropped(controller: Controller) -> None:
    client = controller.client()
    client.send_raw("the delimiter left out", good(client)[1:])
    client.expect_silence("a request without delimiter")


@requirement("wire.sends-never-half")
@pytest.mark.parametrize(
    "channel", ["query", pytest.param("mux", marks=needs("mux")), pytest.param("control", marks=needs("control"))]
)
def test_half_a_message_of_one_peer_keeps_no_other_waiting(
    controller: Controller, channel: Literal["query", "mux", "control"]
) -> None:
    client = controller.client()
    controller.send_half(channel, good(client))
    client.ask("connection_request", {}).expect(ok("connection_reply"))
    if channel != "query":
        queue = Queue(controller, channel)
        queue.exchange(client, queue.engine())


@requirement("wire.first-delimiter-counts")
def test_a_buffer_that_equals_the_delimiter_is_a_buffer(controller: Controller) -> None:
    client = controller.client()
    message = client.make("connection_request", {}, buffers=[DELIMITER, b"x"])
    client.send_raw("a buffer equal to the delimiter", controller.codec.encode(message))
    client.answer_to(message).expect(ok("connection_reply"))


@requirement("wire.all-parts-present")
@pytest.mark.parametrize("kept", range(1, 6))
def test_a_message_that_ends_too_early_is_dropped(controller: Controller, kept: int) -> None:
    client = controller.client()
    client.send_raw(f"only {kept} of 6 frames", good(client)[:kept])
    client.expect_silence("a message that ends too early")


@requirement("wire.all-parts-present")
@pytest.mark.parametrize("left", [1, 2, 3], ids=["header", "parent-header", "metadata"])
def test_a_message_with_three_well_signed_dictionaries_is_dropped(controller: Controller, left: int) -> None:
    client = controller.client()
    parts = [part for index, part in enumerate(good(client)[2:], start=1) if index != left]
    client.send_raw("one dictionary left out", [DELIMITER, controller.codec.sign(b"".join(parts)), *parts])
    client.expect_silence("a message with three dictionaries")


@requirement("wire.signature-verified", "wire.unauthenticated-unanswered")
@pytest.mark.parametrize(
    "forge",
    [
        lambda _: b"",
        lambda _: b"0" * 64,
        lambda right: right[:-1],
        lambda right: right + b"0",
        lambda right: right[::-1],
    ],
    ids=["empty", "zeros", "shortened", "lengthened", "reversed"],
)
def test_a_message_with_a_wrong_signature_is_not_answered(controller: Controller, forge: object) -> None:
    client = controller.client()
    frames = good(client)
    assert callable(forge)
    frames[1] = forge(bytes(frames[1]))
    client.send_raw("a wrong signature", frames)
    client.expect_silence("a message with a wrong signature")


@requirement("wire.signature-uppercase-refused")
def test_a_signature_in_uppercase_is_not_valid(controller: Controller) -> None:
    client = controller.client()
    frames = good(client)
    frames[1] = bytes(frames[1]).upper()
    client.send_raw("the signature in uppercase", frames)
    client.expect_silence("a signature in uppercase")


@requirement("wire.signature-covers-dictionaries")
@pytest.mark.parametrize("part", range(2, 6), ids=["header", "parent-header", "metadata", "content"])
def test_a_dictionary_changed_after_signing_is_noticed(controller: Controller, part: int) -> None:
    client = controller.client()
    frames = good(client)
    frames[part] = bytes(frames[part]) + b" "
    client.send_raw("a dictionary changed after signing", frames)
    client.expect_silence("a changed dictionary")


@requirement("wire.signature-covers-dictionaries")
def test_identities_and_buffers_are_not_signed(controller: Controller) -> None:
    client = controller.client()
    message = client.make("connection_request", {})
    frames = [b"added", *controller.codec.encode(message), b"added"]
    client.send_raw("identity and buffer added after signing", frames)
    client.answer_to(message).expect(ok("connection_reply"))


@requirement("wire.replay-refused", "wire.at-most-one-reply")
def test_a_replayed_request_is_answered_once(controller: Controller) -> None:
    client = controller.client()
    message = client.make("connection_request", {})
    frames = controller.codec.encode(message)
    client.send_raw("the first time", frames)
    client.answer_to(message).expect(ok("connection_reply"))
    client.send_raw("a replay", frames)
    client.expect_silence("a replayed request")


@requirement("wire.replay-refused")
def test_a_replay_from_another_client_is_not_answered(controller: Controller) -> None:
    author, thief = controller.client(), controller.client()
    message = author.make("connection_request", {})
    frames = controller.codec.encode(message)
    author.send_raw("the first time", frames)
    author.answer_to(message).expect(ok("connection_reply"))
    thief.send_raw("a replay of what another client sent", frames)
    thief.expect_silence("a replayed request")


@requirement("wire.forged-copy-does-not-block")
def test_a_forged_copy_does_not_block_the_genuine_message(controller: Controller) -> None:
    client, thief = controller.client(), controller.client()
    message = client.make("connection_request", {})
    frames = controller.codec.encode(message)
    forged = [*frames[:5], b'{"forged": true}']
    thief.send_raw("other content under a borrowed signature", forged)
    thief.expect_silence("a forged copy")
    client.send_raw("the genuine message", frames)
    client.answer_to(message).expect(ok("connection_reply"))


@requirement("wire.refused-changes-nothing")
def test_a_forged_unregistration_removes_nobody(controller: Controller) -> None:
    engine = controller.engine().registered()
    thief = controller.client()
    frames = controller.codec.encode(thief.make("unregistration_request", {"id": engine.id}))
    frames[1] = b"0" * 64
    thief.send_raw("a forged unregistration", frames)
    controller.notifications.barrier()
    if gone := controller.notifications.of("unregistration_notification"):
        violate("a forged request unregistered an engine", "nothing", evidence=(gone[0].seq,))
    engine.expect_alive()


@requirement("wire.refused-changes-nothing")
def test_a_forged_registration_registers_nobody(controller: Controller) -> None:
    engine = controller.engine()
    frames = controller.codec.encode(engine.make("registration_request", {"uuid": engine.uuid}))
    frames[1] = b"0" * 64
    engine.send_raw("a forged registration", frames)
    engine.start_heart()
    controller.notifications.barrier()
    if seen := controller.notifications.of("registration_notification", uuid=engine.uuid):
        violate("a forged request registered an engine", "nothing", evidence=(seen[0].seq,))
    engine.expect_silence("a forged registration")


@requirement("wire.parts-readable")
@pytest.mark.parametrize("what", UNREADABLE)
@pytest.mark.parametrize("place", ["head", "parent", "metadata"])
def test_an_unreadable_dictionary_does_not_stop_the_hub(controller: Controller, place: str, what: str) -> None:
    client = controller.client()
    parts = {"head": head(client)} | {place: UNREADABLE[what]}
    client.send_signed(f"the {place} is {what}", **parts)
    client.expect_recovery(what)


@requirement("wire.parts-readable")
@pytest.mark.parametrize("what", UNREADABLE)
def test_unreadable_content_does_not_stop_the_hub(controller: Controller, what: str) -> None:
    client = controller.client()
    client.send_signed(f"the content is {what}", head=head(client), content=UNREADABLE[what])
    client.expect_recovery(what)


@requirement("wire.parts-are-objects")
@pytest.mark.parametrize("what", NO_OBJECT)
@pytest.mark.parametrize("place", ["head", "parent", "metadata", "content"])
def test_a_dictionary_that_is_no_object_does_not_stop_the_hub(controller: Controller, place: str, what: str) -> None:
    client = controller.client()
    parts = {"head": head(client)} | {place: NO_OBJECT[what]}
    client.send_signed(f"the {place} is {what}", **parts)
    client.expect_recovery(f"{place} {what}")


@requirement("wire.header-msg-id")
@pytest.mark.parametrize("value", [..., None, 17, ["a"]], ids=["missing", "null", "number", "array"])
def test_a_header_without_a_proper_msg_id_does_not_stop_the_hub(controller: Controller, value: object) -> None:
    client = controller.client()
    client.send_signed("no proper msg_id", head=head(client, msg_id=value))
    client.expect_recovery("a header without a proper msg_id")


@requirement("wire.header-msg-type")
@pytest.mark.parametrize("value", [..., None, 17, ["a"]], ids=["missing", "null", "number", "array"])
def test_a_header_without_a_proper_msg_type_does_not_stop_the_hub(controller: Controller, value: object) -> None:
    client = controller.client()
    client.send_signed("no proper msg_type", head=head(client, msg_type=value))
    client.expect_recovery("a header without a proper msg_type")


@requirement("wire.header-optional-fields")
@pytest.mark.parametrize("field", ["session", "username", "date", "version"])
def test_a_request_is_answered_without_an_optional_field(controller: Controller, field: str) -> None:
    client = controller.client()
    message = client.make("connection_request", {})
    del message.header[field]
    client.send_raw(f"no {field}", controller.codec.encode(message))
    client.answer_to(message).expect(ok("connection_reply"))


@requirement("wire.header-optional-fields")
def test_a_request_with_an_unreadable_date_is_answered(controller: Controller) -> None:
    client = controller.client()
    client.ask("connection_request", {}, date="yesterday at noon").expect(ok("connection_reply"))


@requirement("wire.header-any-version")
@pytest.mark.parametrize("version", ["3.0", "4.1", "5.4", "99.0"])
def test_a_request_of_another_version_is_answered(controller: Controller, version: str) -> None:
    controller.client().ask("connection_request", {}, version=version).expect(ok("connection_reply"))


@requirement("wire.header-extra-keys", "wire.reply-parent")
def test_the_parent_header_is_the_whole_header_of_the_request(controller: Controller) -> None:
    client = controller.client()
    reply = client.ask("queue_request", {"targets": None}, unknown={"key": [1, "two"]})
    assert reply.request is not None
    known = {key: value for key, value in reply.request.header.items() if key != "unknown"}
    for wanted, slug in ((known, "wire.reply-parent"), (reply.request.header, "wire.header-extra-keys")):
        differences = containing(**wanted)(reply.message.parent_header)
        if differences:
            violate(f"a parent header that differs: {differences}", "the header of the request",
                    requirement=slug, evidence=(reply.observation.seq,))  # fmt: skip


@needs("queue")
@requirement("wire.content-extra-keys")
def test_unknown_keys_of_the_content_are_ignored(controller: Controller) -> None:
    client = controller.client()
    client.ask("queue_request", {"targets": None, "unknown": 1}).expect(ok("queue_reply"))


@requirement("wire.reply-identities-echoed")
@pytest.mark.parametrize("identities", [[], [b""], [b"one", b"two"], [b"x"] * 200], ids=["0", "empty", "2", "200"])
def test_the_identities_of_a_request_come_back(controller: Controller, identities: list[bytes]) -> None:
    client = controller.client()
    reply = client.ask("connection_request", {}, identities=identities)
    if list(reply.message.identities) != identities:
        violate(f"the identities {reply.message.identities!r}", f"{identities!r}", evidence=(reply.observation.seq,))


#: Requests that succeed whatever the Hub knows; but for the first they are features of the same name.
ALWAYS_OK: dict[str, Json] = {
    "connection": {}, "queue": {"targets": None}, "history": {}, "purge": {}, "resubmit": {"msg_ids": []},
}  # fmt: skip


@requirement("wire.reply-type", "wire.reply-status")
@pytest.mark.parametrize("name", ALWAYS_OK)
def test_a_reply_has_the_type_that_belongs_to_its_request(controller: Controller, name: str) -> None:
    if name != "connection":
        controller.need(name)
    controller.client().ask(f"{name}_request", ALWAYS_OK[name]).expect(ok(f"{name}_reply"))


@requirement("wire.error-shape")
def test_an_error_has_name_value_and_traceback(controller: Controller) -> None:
    reply = controller.client().ask_unchecked("no msg_ids", "result_request", {})
    reply.expect(error("hub_error"), error("result_reply"))
    lines = reply.content["traceback"]
    if not all(isinstance(line, str) for line in lines):
        violate(f"the traceback {lines!r}", "a list of strings", evidence=(reply.observation.seq,))


@needs("queue", "history")
@requirement("wire.dispatch-by-type")
def test_interleaved_requests_are_answered_in_kind(controller: Controller) -> None:
    client = controller.client()
    names = ["connection", "queue", "history", "no_such", "queue", "connection"]
    sent = [
        (name, client.send_unchecked("a mixture", f"{name}_request", {"targets": None} if name == "queue" else {}))
        for name in names
    ]
    for name, request in sent:
        wanted = error("hub_error") if name == "no_such" else ok(f"{name}_reply")
        client.answer_to(request).expect(wanted)


@requirement("wire.unexpected-buffers-ignored")
def test_superfluous_buffers_are_ignored(controller: Controller) -> None:
    client = controller.client()
    message = client.make("connection_request", {}, buffers=[b"", b"x" * 1000])
    client.send_raw("buffers that nobody needs", controller.codec.encode(message))
    client.answer_to(message).expect(ok("connection_reply"))


@requirement("wire.buffers-any-number")
@pytest.mark.parametrize("buffers", [[b"x"] * 20_000, [bytes(50_000_000)]], ids=["20000-buffers", "50-megabytes"])
def test_buffers_may_be_many_or_large(controller: Controller, buffers: list[bytes]) -> None:
    client = controller.client()
    message = client.make("connection_request", {}, buffers=buffers)
    client.send_raw("many or large buffers", controller.codec.encode(message))
    client.answer_to(message).expect(ok("connection_reply"))


@requirement("wire.malformed-harms-nobody", "wire.sender-recovers")
def test_a_stream_of_damage_disturbs_nobody_else(controller: Controller) -> None:
    engine = controller.engine().registered()
    honest, rogue = controller.client(), controller.client()
    before = honest.engines()
    for frames in (
        [b""],
        [DELIMITER],
        [DELIMITER] * 7,
        good(rogue)[:4],
        [b"x"] * 50,
        [DELIMITER, b"0" * 64, *[b"\xff"] * 4],
    ):
        rogue.send_raw("damage", frames)
        if honest.engines() != before:
            violate("the engine set changed", f"still {before}", requirement="wire.malformed-harms-nobody")
    rogue.answer_to(rogue.send("connection_request", {}), requirement="wire.sender-recovers").expect(
        ok("connection_reply"), requirement="wire.sender-recovers"
    )
    engine.expect_alive()


@requirement("wire.every-request-answered")
def test_a_hundred_requests_get_a_hundred_replies(controller: Controller) -> None:
    client = controller.client()
    sent = [client.send("connection_request", {}) for _ in range(100)]
    for request in sent:
        client.answer_to(request).expect(ok("connection_reply"))
