"""Clients: what they make of replies and output: good ones, late, second, strange, damaged and forged ones.

Each bad message is followed by the good one, which must count as if the other had never come. Source: IPython commit
a2c57acba, parallel_messages.txt, "Split Sends"; jupyter_client messaging.rst, "The Wire Protocol"; measured on
ipyparallel 9.2.0.
"""

from collections.abc import Mapping, Sequence

import pytest

from conformance.drivers import lines
from conformance.drivers.lines import Outcome, Written
from conformance.harness.case import needs, requirement
from conformance.harness.client import ENGINES, ClientUnderTest, Work, executed, failed, message_of, packed
from conformance.harness.verdict import violate
from protocol.wire import DELIMITER, Codec, Frame

OK = Outcome(status="ok")
#: The frames of a reply after the delimiter.
SIGNATURE, HEADER, PARENT, METADATA, CONTENT = range(1, 6)
#: Those without which nobody knows what a reply is about; without another one it may still end its request.
PARTS = {"header": HEADER, "parent": PARENT}
#: Bytes that are no JSON text, and JSON values that are no object, by what they are.
UNREADABLE = {"empty": b"", "truncated": b'{"a": ', "not UTF-8": b'{"a": "\xff\xfe"}'}
NO_OBJECT = {"array": b"[]", "string": b'"text"', "null": b"null"}


def frames_of(client: ClientUnderTest, work: Work) -> tuple[list[Frame], int]:
    """The frames of the good reply to code, and where its delimiter is; it was not sent."""
    frames = list(client.codec.encode(client.reply_to(work.request, executed())))
    return frames, frames.index(DELIMITER)


def signed(client: ClientUnderTest, frames: Sequence[Frame], at: int) -> list[Frame]:
    """The same frames under a signature that fits them."""
    dictionaries = [bytes(frame) for frame in frames[at + HEADER : at + CONTENT + 1]]
    return [*frames[: at + 1], client.codec.sign(b"".join(dictionaries)), *frames[at + 2 :]]


def expect_recovery(client: ClientUnderTest, work: Work, requirement: str = "wire.sender-recovers") -> None:
    """The good reply must count, and so must one to another request on the same way."""
    client.execute_reply(work.request)
    client.expect_results(work, OK, requirement=requirement)
    another = client.execute(5)
    client.execute_reply(another.request)
    client.expect_results(another, OK, requirement=requirement)


# -- good replies ------------------------------------------------------------------------------------------------------


@needs("apply")
@requirement("apply.client-gets-own-result")
def test_results_belong_to_their_calls_in_whatever_order_they_come(tested_client: ClientUnderTest) -> None:
    calls = [tested_client.apply(number, args=(number, 1)) for number in (2, 5, 2)]
    for value, call in reversed(list(enumerate(calls))):
        tested_client.apply_reply(call.request, f"value {value}")
    for value, call in enumerate(calls):
        tested_client.expect_results(call, Outcome(status="ok", value=f"value {value}"))


@needs("apply")
@requirement("apply.client-gets-own-result")
def test_results_of_several_engines_come_in_the_order_of_the_engines(tested_client: ClientUnderTest) -> None:
    call = tested_client.apply(5, 2)
    for seen in sorted(call.requests, key=tested_client.engine_of):
        tested_client.apply_reply(seen, tested_client.engine_of(seen))
    tested_client.expect_results(call, *(Outcome(status="ok", value=ENGINES[number]) for number in (5, 2)))


@needs("execute")
@requirement("client.error-told")
def test_an_error_of_code_is_told(tested_client: ClientUnderTest) -> None:
    work = tested_client.execute(2)
    info = {"engine_uuid": ENGINES[2], "engine_id": 2, "method": "execute"}
    tested_client.reply(work.request, failed("NameError", "no such name", engine_info=info, execution_count=1))
    tested_client.idle(work.request)
    tested_client.expect_results(work, Outcome(status="error", ename="NameError", evalue="no such name"))


@needs("apply")
@requirement("client.error-told")
def test_an_error_of_a_call_is_told_beside_the_other_results(tested_client: ClientUnderTest) -> None:
    call = tested_client.apply(2, 5)
    for seen in call.requests:
        if tested_client.engine_of(seen) == ENGINES[5]:
            tested_client.apply_reply(seen, 7)
        else:
            info = {"engine_uuid": ENGINES[2], "engine_id": 2, "method": "apply"}
            tested_client.reply(seen, failed("ValueError", "too large", engine_info=info))
            tested_client.idle(seen)
    error = Outcome(status="error", ename="ValueError", evalue="too large")
    tested_client.expect_results(call, error, Outcome(status="ok", value=7))


@needs("execute")
@requirement("client.aborted-told")
def test_an_aborted_request_is_told(tested_client: ClientUnderTest) -> None:
    work = tested_client.execute(2)
    tested_client.reply(work.request, {"status": "aborted"})
    tested_client.expect_results(work, Outcome(status="aborted"))


@needs("execute")
@requirement("client.late-reply-counts")
def test_a_reply_after_the_end_of_a_wait_counts(tested_client: ClientUnderTest) -> None:
    work = tested_client.execute(2)
    tested_client.success(tested_client.wait(work, timeout=0.1))
    tested_client.failure(tested_client.result(work, timeout=0.1))
    tested_client.execute_reply(work.request)
    tested_client.expect_results(work, OK)


@needs("execute")
@requirement("wire.content-extra-keys")
def test_unknown_keys_of_a_reply_do_not_matter(tested_client: ClientUnderTest) -> None:
    work = tested_client.execute(2)
    tested_client.reply(work.request, executed(of_tomorrow=[1, {"two": 3}]))
    tested_client.expect_results(work, OK)


# -- the scheduler, and broadcasts -------------------------------------------------------------------------------------


@needs("apply", "tasks")
@requirement("client.refusal-ends-task")
def test_a_refusal_of_the_scheduler_ends_a_task(tested_client: ClientUnderTest) -> None:
    work = tested_client.apply(queue="task")
    content = failed("ImpossibleDependency", "no engine can", engine_info={})
    identities = work.message.identities[:1]
    tested_client.reply(work.request, content, metadata={}, identities=identities)
    tested_client.expect_results(work, Outcome(status="error", ename="ImpossibleDependency"))


@needs("execute", "tasks")
@requirement("client.refusal-ends-task")
def test_a_refusal_of_code_has_the_type_of_a_call(tested_client: ClientUnderTest) -> None:
    work = tested_client.execute(queue="task")
    content = failed("TaskTimeout", "waited for too long", engine_info={})
    tested_client.reply(
        work.request, content, msg_type="apply_reply", metadata={}, identities=work.message.identities[:1]
    )
    tested_client.expect_results(work, Outcome(status="error", ename="TaskTimeout"))


def reply_of(client: ClientUnderTest, work: Work, number: int, value: object) -> None:
    """What comes of a broadcast from one engine: its parent has another id, and the metadata say which it had."""
    request, uuid = work.message, ENGINES[number]
    metadata = {
        "status": "ok", "engine": uuid, "started": client.date(), "dependencies_met": True, "is_broadcast": True,
        "is_coalescing": False, "original_msg_id": request.msg_id,
    }  # fmt: skip
    parent = request.header | {"msg_id": f"{request.msg_id}_{uuid}"}
    client.reply(work.request, {"status": "ok"}, metadata=metadata, buffers=packed(value), parent=parent)


@needs("apply", "broadcast")
@requirement("client.broadcast-collects")
def test_a_broadcast_is_done_when_every_engine_has_answered(tested_client: ClientUnderTest) -> None:
    work = tested_client.apply(2, 5, queue="broadcast")
    marker = tested_client.apply(2, queue="broadcast")
    reply_of(tested_client, work, 5, "five")
    # What comes later on the same socket shows that the first reply was read.
    reply_of(tested_client, marker, 2, "marker")
    tested_client.expect_results(marker, Outcome(status="ok", value="marker"))
    tested_client.expect_open(work)
    reply_of(tested_client, work, 2, "two")
    tested_client.expect_results(work, *(Outcome(status="ok", value=value) for value in ("two", "five")))


@needs("apply", "broadcast")
@requirement("client.broadcast-collects")
def test_one_reply_may_have_the_results_of_all_engines(tested_client: ClientUnderTest) -> None:
    work = tested_client.apply(2, 5, queue="broadcast", coalescing=True)
    request = work.message
    metadata = {
        "status": "ok", "engine": ENGINES[2], "started": tested_client.date(), "dependencies_met": True,
        "is_broadcast": True, "is_coalescing": True, "original_msg_id": request.msg_id,
        "broadcast_targets": [[uuid, number] for number, uuid in ENGINES.items()],
    }  # fmt: skip
    parent = request.header | {"msg_id": f"{request.msg_id}_{ENGINES[2]}"}
    tested_client.reply(work.request, {"status": "ok"}, metadata=metadata, buffers=packed("two", "five"), parent=parent)
    tested_client.expect_results(work, *(Outcome(status="ok", value=value) for value in ("two", "five")))


# -- second and strange replies ----------------------------------------------------------------------------------------


@needs("apply")
@requirement("client.first-reply-counts")
def test_a_second_reply_changes_nothing(tested_client: ClientUnderTest) -> None:
    call, marker = tested_client.apply(2), tested_client.apply(2)
    tested_client.apply_reply(call.request, "first")
    first = Outcome(status="ok", value="first")
    tested_client.expect_results(call, first, requirement="apply.client-gets-own-result")
    tested_client.apply_reply(call.request, "second")
    # What follows on the same way has been read after it.
    tested_client.apply_reply(marker.request, "marker")
    tested_client.expect_results(marker, Outcome(status="ok", value="marker"), requirement="wire.sender-recovers")
    tested_client.expect_results(call, first)


#: Parents that no request of the client has.
STRANGERS = {"unknown": {"msg_id": "of-nobody", "msg_type": "execute_request", "session": "x"}, "none": {}}


@needs("execute")
@requirement("client.strange-replies-harmless")
@pytest.mark.parametrize("parent", STRANGERS.values(), ids=STRANGERS)
def test_a_reply_to_nothing_does_not_matter(tested_client: ClientUnderTest, parent: dict[str, object]) -> None:
    work = tested_client.execute(2)
    tested_client.reply(work.request, executed(), parent=parent, why="a reply to nothing that was asked")
    expect_recovery(tested_client, work, "client.strange-replies-harmless")


@needs("execute")
@requirement("client.strange-replies-harmless")
def test_a_reply_of_an_unknown_type_does_not_matter(tested_client: ClientUnderTest) -> None:
    work = tested_client.execute(2)
    tested_client.reply(work.request, executed(), msg_type="tomorrow_reply", parent={}, why="a type nobody knows")
    expect_recovery(tested_client, work, "client.strange-replies-harmless")


@needs("apply")
@requirement("client.strange-replies-harmless")
def test_a_reply_after_the_death_of_its_engine_harms_nothing(tested_client: ClientUnderTest) -> None:
    lost, kept = tested_client.apply(2), tested_client.apply(5)
    reply = tested_client.reply_to(lost.request, {"status": "ok"}, buffers=packed("too late"))
    tested_client.remove_engine(2)
    died = Outcome(status="error", ename="EngineError")
    tested_client.expect_results(lost, died, requirement="mux.dead-engine-inferred")
    tested_client.send("mux", reply)
    tested_client.apply_reply(kept.request, "kept")
    tested_client.expect_results(kept, Outcome(status="ok", value="kept"))
    tested_client.expect_results(lost, died, requirement="client.first-reply-counts")


# -- damaged and forged replies ----------------------------------------------------------------------------------------


FORGED = failed("Forged", "somebody without the key has answered")


def expect_genuine(client: ClientUnderTest, work: Work) -> None:
    """The good reply, which comes last, must be the result; what says the opposite came before it on the same way."""
    client.execute_reply(work.request)
    client.expect_results(work, OK, unheard="wire.sender-recovers")


@needs("execute")
@requirement("wire.signature-verified")
def test_a_forged_reply_is_no_reply(tested_client: ClientUnderTest) -> None:
    work = tested_client.execute(2)
    message = tested_client.reply_to(work.request, FORGED)
    frames = list(tested_client.codec.encode(message))
    at = frames.index(DELIMITER)
    tested_client.send_raw("mux", Codec(b"another key").encode(message), "signed with another key")
    tested_client.send_raw("mux", [*frames[: at + 1], b"", *frames[at + 2 :]], "no signature")
    tested_client.send_raw("mux", [*frames[:-1], bytes(frames[-1]) + b" "], "altered under its signature")
    expect_genuine(tested_client, work)


@needs("execute")
@requirement("wire.signature-uppercase-refused")
def test_a_signature_in_uppercase_is_refused(tested_client: ClientUnderTest) -> None:
    work = tested_client.execute(2)
    frames = list(tested_client.codec.encode(tested_client.reply_to(work.request, FORGED)))
    at = frames.index(DELIMITER) + SIGNATURE
    frames[at] = bytes(frames[at]).upper()
    tested_client.send_raw("mux", frames, "a signature in uppercase")
    expect_genuine(tested_client, work)


@needs("execute")
@requirement("wire.forged-copy-does-not-block")
def test_a_forged_copy_does_not_block_the_genuine_reply(tested_client: ClientUnderTest) -> None:
    work = tested_client.execute(2)
    frames, _ = frames_of(tested_client, work)
    tested_client.send_raw("mux", [*frames[:-1], bytes(frames[-1]) + b" "], "forged under the signature of another")
    tested_client.send_raw("mux", frames, "the genuine message, byte for byte as it was signed")
    tested_client.expect_results(work, OK)


@needs("execute")
@requirement("wire.delimiter-present", "wire.all-parts-present", "wire.sender-recovers")
def test_after_frames_that_are_no_message_the_reply_counts(tested_client: ClientUnderTest) -> None:
    work = tested_client.execute(2)
    frames, at = frames_of(tested_client, work)
    tested_client.send_raw("mux", [*frames[:at], *frames[at + 1 :]], "no delimiter")
    tested_client.send_raw("mux", frames[:at], "nothing but identities")
    for kept in (SIGNATURE, HEADER, METADATA, CONTENT):
        tested_client.send_raw("mux", frames[: at + kept], "cut")
    expect_recovery(tested_client, work)


@needs("execute")
@requirement("wire.parts-readable", "wire.sender-recovers")
@pytest.mark.parametrize("part", PARTS.values(), ids=PARTS)
def test_after_a_part_that_cannot_be_read_the_reply_counts(tested_client: ClientUnderTest, part: int) -> None:
    expect_recovery_from(tested_client, part, UNREADABLE)


@needs("execute")
@requirement("wire.parts-are-objects", "wire.sender-recovers")
@pytest.mark.parametrize("part", PARTS.values(), ids=PARTS)
def test_after_a_part_that_is_no_object_the_reply_counts(tested_client: ClientUnderTest, part: int) -> None:
    expect_recovery_from(tested_client, part, NO_OBJECT)


@needs("execute")
@requirement("wire.header-msg-type", "wire.header-msg-id", "wire.sender-recovers")
def test_after_a_header_that_says_too_little_the_reply_counts(tested_client: ClientUnderTest) -> None:
    # To nobody: a reply whose own id is missing is good enough to be the answer to its parent.
    poor = {"no type": b'{"msg_id": "x"}', "no id": b'{"msg_type": "execute_reply"}'}
    expect_recovery_from(tested_client, HEADER, poor, parent=b"{}")


def expect_recovery_from(
    client: ClientUnderTest, part: int, values: Mapping[str, bytes], parent: bytes | None = None
) -> None:
    """Whatever stands in one part of well signed messages, what comes after them counts."""
    work = client.execute(2)
    for what, data in values.items():
        frames, at = frames_of(client, work)
        frames[at + part] = data
        if parent is not None:
            frames[at + PARENT] = parent
        client.send_raw("mux", signed(client, frames, at), f"well signed, and in one part: {what}")
    expect_recovery(client, work)


@needs("execute")
@requirement("wire.malformed-harms-nobody")
def test_a_damaged_reply_of_one_engine_harms_nothing_of_another(tested_client: ClientUnderTest) -> None:
    first, second = tested_client.execute(2), tested_client.execute(5)
    frames, at = frames_of(tested_client, first)
    frames[at + CONTENT] = b"[1"
    tested_client.send_raw("mux", signed(tested_client, frames, at), "content that cannot be read, well signed")
    tested_client.execute_reply(second.request)
    tested_client.expect_results(second, OK)


# -- output ------------------------------------------------------------------------------------------------------------


def expect_output(client: ClientUnderTest, work: Work, *allowed: Written, requirement: str | None = None) -> None:
    """What was written for work must be this, for each engine."""
    asking = client.tell(lines.Output, of=work.number, timeout=client.timing.reply_deadline_s)
    found = client.success(asking, within=2 * client.timing.reply_deadline, requirement=requirement).output or ()
    if list(found) != list(allowed):
        violate(f"the output {list(found)!r}", repr(list(allowed)), requirement=requirement)


@needs("execute", "output")
@requirement("client.output-by-parent")
@pytest.mark.parametrize("order", ["before", "after"])
def test_output_belongs_to_its_request(tested_client: ClientUnderTest, order: str) -> None:
    first, second = tested_client.execute(2), tested_client.execute(5)

    def publish() -> None:
        tested_client.print(first.request, "one")
        tested_client.print(second.request, "two")
        tested_client.print(first.request, " and three")
        tested_client.print(second.request, "bad", stream="stderr")
        for work in (second, first):
            tested_client.idle(work.request)

    if order == "before":
        publish()
    for work in (first, second):
        tested_client.execute_reply(work.request)
    if order == "after":
        publish()
    expect_output(tested_client, first, Written(stdout="one and three"))
    expect_output(tested_client, second, Written(stdout="two", stderr="bad"))


def expect_output_after(client: ClientUnderTest, work: Work) -> None:
    """What is published from now on must reach its request."""
    client.print(work.request, "heard")
    client.idle(work.request)
    client.execute_reply(work.request)
    expect_output(client, work, Written(stdout="heard"))


@needs("execute", "output")
@requirement("iopub.foreign-parents-tolerated")
@pytest.mark.parametrize("parent", STRANGERS.values(), ids=STRANGERS)
def test_output_of_others_does_not_matter(tested_client: ClientUnderTest, parent: dict[str, object]) -> None:
    work = tested_client.execute(2)
    tested_client.publish_output(work.request, "stream", {"name": "stdout", "text": "not mine"}, parent=parent)
    tested_client.publish_output(work.request, "status", {"execution_state": "idle"}, parent=parent)
    expect_output_after(tested_client, work)


@needs("execute", "output")
@requirement("iopub.welcome-harmless")
def test_a_welcome_does_not_matter(tested_client: ClientUnderTest) -> None:
    work = tested_client.execute(2)
    welcome = tested_client.hub.make("iopub_welcome", {"subscription": ""})
    tested_client.send("iopub", welcome)
    expect_output_after(tested_client, work)


@needs("execute", "output")
@requirement("wire.sender-recovers")
def test_after_forged_output_the_next_counts(tested_client: ClientUnderTest) -> None:
    work = tested_client.execute(2)
    forged = tested_client.hub.make(
        "stream", {"name": "stdout", "text": "forged"}, parent=message_of(work.request).header,
        identities=(b"engine.2.stdout",),
    )  # fmt: skip
    tested_client.send_raw("iopub", Codec(b"another key").encode(forged), "signed with another key")
    expect_output_after(tested_client, work)
