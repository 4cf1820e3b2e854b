"""IOPub: what engines publish reaches all clients, and the Hub's records.

Source: IPython commit 7bde2f380 (2011), parallel_connections.txt, "IOPub"; IPython commit a2c57acba,
parallel_messages.txt.
"""

from collections.abc import Mapping

import pytest

from conformance.harness.actors import Client, Engine, Reply
from conformance.harness.case import needs, requirement
from conformance.harness.controller import Controller
from conformance.harness.expect import shorten
from conformance.harness.queues import envelope, expect_same
from conformance.harness.verdict import violate
from protocol.wire import DELIMITER, Message
from protocol.world import SECOND

pytestmark = needs("iopub")

#: Nothing is answered here; a message takes milliseconds.
BOUND = SECOND


def publisher(controller: Controller, *channels: str) -> Engine:
    return controller.engine().with_shell("iopub", *channels).registered()


def stream(engine: Engine, text: str, *, parent: Message | None = None, name: str = "stdout") -> Message:
    return engine.publish("stream", {"name": name, "text": text}, topic=f"engine.{engine.id}.{name}", parent=parent)


# -- to the clients ----------------------------------------------------------------------------------------------------


@requirement("iopub.reaches-all-clients")
def test_what_an_engine_publishes_reaches_every_subscriber(controller: Controller) -> None:
    engines = [publisher(controller) for _ in range(2)]
    listeners = [controller.listener(engines[0]).proved(engines[1]) for _ in range(4)]
    for engine in engines:
        published = [stream(engine, "to all"), engine.publish("status", {"execution_state": "idle"})]
        for listener in listeners:
            listener.expect(*published)


@requirement("iopub.reaches-all-clients")
def test_a_subscriber_that_leaves_takes_nothing_from_the_others(controller: Controller) -> None:
    engine = publisher(controller)
    leaves, stays = controller.listener(engine), controller.listener(engine)
    first = stream(engine, "to both")
    leaves.expect(first)
    leaves.close()
    published = [stream(engine, f"{number}") for number in range(50)]
    stays.expect(first, *published)


MESSAGES: dict[str, tuple[str, dict[str, object], tuple[bytes, ...]]] = {
    "a stream": ("stream", {"name": "stdout", "text": "é\n\0"}, ()),
    "a display with buffers": ("display_data", {"data": {"text/plain": "x"}, "metadata": {}}, (b"", DELIMITER, b"x")),
    "a result": ("execute_result", {"data": {"text/plain": "1"}, "metadata": {}, "execution_count": 1}, ()),
    "an error": ("error", {"ename": "E", "evalue": "", "traceback": []}, ()),
    "a type of tomorrow": ("news", {"key": [1.0, None]}, (bytes(2_000_000),)),
    "4,000 buffers": ("data_message", {"keys": ["a"]}, (b"x",) * 4000),
}


@requirement("iopub.relayed-unchanged", "wire.relayed-parts-unchanged")
@pytest.mark.parametrize("message", MESSAGES.values(), ids=MESSAGES)
def test_topic_and_message_arrive_as_they_were_published(
    controller: Controller, message: tuple[str, dict[str, object], tuple[bytes, ...]]
) -> None:
    engine = publisher(controller)
    listener = controller.listener(engine)
    msg_type, content, buffers = message
    published = engine.publish(msg_type, content, buffers=buffers, why="any message")
    (seen,) = listener.expect(published)
    expect_same(seen.frames, controller.codec.encode(published), requirement="wire.relayed-parts-unchanged")
    if envelope(seen.frames) != [f"engine.{engine.id}.{msg_type}".encode()]:
        violate(f"{envelope(seen.frames)!r} before the delimiter", "the topic", requirement="iopub.relayed-unchanged")


@requirement("iopub.relayed-unchanged")
@pytest.mark.parametrize("topic", ["", "a", "stdout", "engine.99999.stdout", "é" * 200], ids=repr)
def test_any_topic_passes(controller: Controller, topic: str) -> None:
    engine = publisher(controller)
    listener = controller.listener(engine)
    (seen,) = listener.expect(engine.publish("status", {"execution_state": "busy"}, topic=topic))
    if envelope(seen.frames) != [topic.encode()]:
        violate(f"{envelope(seen.frames)!r} before the delimiter", f"the topic {topic!r}")


@requirement("iopub.fifo-per-engine")
def test_messages_of_one_engine_arrive_in_order(controller: Controller) -> None:
    engines = [publisher(controller), publisher(controller)]
    listener = controller.listener(engines[0]).proved(engines[1])
    # Sizes that differ much: a small message must not overtake a large one.
    published = [(engine, stream(engine, "x" * 10 ** (number % 5))) for number in range(200) for engine in engines]
    own = {message.msg_id: engine for engine, message in published}
    started, limit = controller.world.now, controller.timing.reply_deadline
    if not controller.world.run_until(lambda: len(listener.heard) >= len(published), started + limit):
        controller.expect_waited(started, limit)
    for engine in engines:
        arrived = [seen.message.msg_id for seen in listener.heard
                   if seen.message and own.get(seen.message.msg_id) is engine]  # fmt: skip
        sent = [message.msg_id for who, message in published if who is engine]
        if arrived != sent:
            violate(f"{shorten(arrived)} of {engine.name}", shorten(sent))


@requirement("iopub.stream-order")
def test_many_lines_and_a_long_one_arrive_as_written(controller: Controller) -> None:
    engine = publisher(controller)
    listener = controller.listener(engine)
    # Not more at once than what a PUB keeps for a slow subscriber by default, 1,000: what it then drops is legal.
    published = [stream(engine, f"line {number}\n") for number in range(500)]
    published.append(stream(engine, "x" * 3_000_000))
    published.append(stream(engine, "end\n"))
    texts = [seen.message.content["text"] for seen in listener.expect(*published) if seen.message]
    if "".join(texts) != "".join(message.content["text"] for message in published):
        violate("other texts", "the texts as they were written")


@requirement("iopub.publisher-type-free")
@pytest.mark.parametrize("kind", ["PUB", "XPUB"])
def test_engines_may_publish_by_pub_or_xpub(controller: Controller, kind: str) -> None:
    engine, pilot = controller.engine().with_publisher(kind).registered(), publisher(controller)
    listener = controller.listener(pilot).proved(engine)
    listener.expect(stream(engine, "heard"))


# -- who disturbs nobody -----------------------------------------------------------------------------------------------

GARBAGE: dict[str, list[bytes]] = {
    "an empty frame": [b""],
    "a frame": [b"garbage"],
    "two frames": [b"\x00\xff", b"garbage"],
    "many frames": [b"%d" % number for number in range(300)],
    "a delimiter": [DELIMITER],
    "like a subscription": [b"\x01"],
    "like an unsubscription": [b"\x00"],
    "no delimiter": [b"topic", b"0" * 64, b"{}", b"{}", b"{}", b"{}"],
    "cut after the header": [b"topic", DELIMITER, b"0" * 64, b"{}"],
    "a wrong signature": [b"topic", DELIMITER, b"0" * 64, b"{}", b"{}", b"{}", b"{}"],
    "dictionaries that are none": [b"topic", DELIMITER, b"", b"\xff", b"[", b"1", b"}"],
}


@requirement("iopub.garbage-harmless")
@pytest.mark.parametrize("garbage", GARBAGE.values(), ids=GARBAGE)
def test_garbage_ends_nobodys_output(controller: Controller, garbage: list[bytes]) -> None:
    bad, good = publisher(controller), publisher(controller)
    listener = controller.listener(bad).proved(good)
    for _ in range(3):
        bad.publisher.send_raw(garbage, "garbage from an engine")
    # Each engine's own order is certain: its next message comes after its garbage.
    listener.expect(stream(bad, "next"), is_patient=True)
    listener.expect(stream(good, "next"), is_patient=True)
    controller.expect_running("iopub.garbage-harmless")


@needs("iopub", "mux", "results")
@requirement("iopub.garbage-harmless")
@pytest.mark.parametrize(
    ("msg_type", "content"),
    [("stream", {}), ("stream", {"name": "stdin", "text": "x"}), ("stream", {"name": "stdout", "text": 7}),
     ("error", {"ename": 7}), ("execute_input", {}), ("status", {}), ("", {})],
    ids=lambda value: repr(value),
)  # fmt: skip
def test_output_that_fits_no_type_harms_no_record(controller: Controller, msg_type: str, content: object) -> None:
    engine, client = publisher(controller, "mux"), controller.client()
    bad, good = client.submit(engine), client.submit(engine)
    engine.publish(msg_type, content, parent=bad, why="content that fits no type")
    stream(engine, "kept", parent=good)
    client.finish(bad, engine)
    client.finish(good, engine)
    expect_io(client, good, stdout="kept")


@requirement("iopub.garbage-harmless")
def test_an_engine_that_vanishes_ends_nobodys_output(controller: Controller) -> None:
    gone, stays = publisher(controller), publisher(controller)
    listener = controller.listener(gone).proved(stays)
    for number in range(20):
        stream(gone, f"{number}")
    gone.disconnect("iopub")
    listener.expect(stream(stays, "still there"), is_patient=True)


# -- to the Hub --------------------------------------------------------------------------------------------------------


def io_of(reply: Reply, request: Message) -> Mapping[str, object]:
    record = reply.content.get(request.msg_id)
    io = record.get("io") if isinstance(record, dict) else None
    return io if isinstance(io, dict) else {}


def expect_io(client: Client, request: Message, *, requirement: str | None = None, **wanted: object) -> None:
    """The record must have these texts and dictionaries, once the Hub has followed."""
    reply = client.ask_until(
        lambda reply: all(io_of(reply, request).get(key) == value for key, value in wanted.items()),
        "result_request", {"msg_ids": [request.msg_id]},
    )  # fmt: skip
    found = {key: io_of(reply, request).get(key) for key in wanted}
    if found != wanted:
        violate(f"the output {shorten(found)}", shorten(wanted), requirement=requirement)


@needs("iopub", "mux", "results")
@requirement("iopub.output-stored", "storage.output-recorded")
def test_output_stands_in_the_record_with_its_streams_joined(controller: Controller) -> None:
    engine, client = publisher(controller, "mux"), controller.client()
    request, other = client.submit(engine), client.submit(engine)
    for number in range(20):
        stream(engine, f"out {number}\n", parent=request)
        stream(engine, f"err {number}\n", parent=request, name="stderr")
        stream(engine, f"other {number}\n", parent=other)
    client.finish(request, engine)
    client.finish(other, engine)
    lines = {name: "".join(f"{name} {number}\n" for number in range(20)) for name in ("out", "err", "other")}
    expect_io(client, request, stdout=lines["out"], stderr=lines["err"])
    expect_io(client, other, stdout=lines["other"], stderr="")


@needs("iopub", "mux", "results")
@requirement("iopub.output-stored", "storage.output-recorded")
def test_input_result_and_error_stand_in_the_record(controller: Controller) -> None:
    engine, client = publisher(controller, "mux"), controller.client()
    content = {"code": "1 + 1", "silent": False, "user_expressions": {}}
    request = client.submit(engine, msg_type="execute_request", content=content, buffers=())
    result = {"data": {"text/plain": "2"}, "metadata": {}, "execution_count": 7}
    failure = {"ename": "E", "evalue": "é", "traceback": ["a", "b"]}
    engine.publish("status", {"execution_state": "busy"}, parent=request)
    engine.publish("execute_input", {"code": "1 + 1", "execution_count": 7}, parent=request)
    engine.publish("execute_result", result, parent=request)
    engine.publish("error", failure, parent=request)
    reply = {"status": "ok", "execution_count": 7, "payload": [], "user_expressions": {}}
    client.finish(request, engine, content=reply, buffers=())
    expect_io(client, request, execute_input="1 + 1", execute_result=result, error=failure)


@needs("iopub", "mux", "results")
@requirement("storage.output-recorded")
def test_output_that_comes_after_the_result_is_recorded_too(controller: Controller) -> None:
    engine, client = publisher(controller, "mux"), controller.client()
    request = client.submit(engine)
    stream(engine, "before ", parent=request)
    client.finish(request, engine)
    stream(engine, "and after", parent=request)
    expect_io(client, request, stdout="before and after")


@needs("iopub", "db")
@requirement("iopub.reaches-all-clients")
def test_a_busy_hub_delays_no_output(controller: Controller) -> None:
    engine, flood = publisher(controller), controller.client()
    listener = controller.listener(engine)
    queries = [flood.send("db_request", {"query": {}, "keys": ["msg_id", "header"]}) for _ in range(40)]
    slowest = 0
    for number in range(20):
        started = controller.world.now
        listener.expect(stream(engine, f"{number}"))
        slowest = max(slowest, controller.spent(started))
    if slowest > BOUND:
        violate(f"output took {slowest / SECOND:.2f} s while the Hub was busy", f"{BOUND / SECOND:.1f} s at most")
    for query in queries:
        flood.answer_to(query, requirement="wire.every-request-answered")
