"""Control: what manages engines goes its own way, past everything that waits for execution.

Source: IPython commit a2c57acba, parallel_messages.txt, "Schedulers" and "Control Messages"; ipython-dev mail, MinRK,
12 July 2010, "Heartbeat Device".
"""

import pytest

from conformance.harness.case import needs, requirement
from conformance.harness.controller import Controller
from conformance.harness.queues import Queue, envelope, expect_same
from conformance.harness.verdict import violate
from protocol.wire import DELIMITER
from protocol.world import SECOND

pytestmark = needs("control")

#: A round trip takes milliseconds; this is for a machine that does other things, too.
BOUND = SECOND


@pytest.fixture
def control(controller: Controller) -> Queue:
    return Queue(controller, "control")


@requirement("control.routes-by-identity")
def test_a_request_reaches_the_engine_it_names_and_no_other(controller: Controller, control: Queue) -> None:
    first, other, client = control.engine(), control.engine(), controller.client()
    requests = [control.send(client, first) for _ in range(3)]
    marker = control.send(client, other)
    for request in requests:
        control.delivered(first, request)
    control.delivered(other, marker)


@requirement("control.reply-to-requester")
def test_replies_go_to_who_asked_behind_the_identity_of_the_engine(controller: Controller, control: Queue) -> None:
    engine, clients = control.engine(), [controller.client() for _ in range(3)]
    requests = [control.send(client, engine) for client in clients]
    given = {seen.message.msg_id: seen for seen in (engine.take("control") for _ in clients) if seen.message}
    for request in reversed(requests):
        control.answer(engine, given[request.msg_id])
    for client, request in zip(clients, requests, strict=True):
        reply = control.replied(client, request)
        if envelope(reply.frames) != [engine.uuid.encode()]:
            violate(f"{envelope(reply.frames)!r} before the delimiter", f"the one frame {engine.uuid!r}")
        # Whatever else had come for this client would come before the second reply.
        control.exchange(client, engine)


@requirement("notification.uuid-routes")
def test_the_identity_that_is_announced_is_the_address(controller: Controller, control: Queue) -> None:
    engine, client = control.engine(), controller.client()
    announced = controller.notifications.expect("registration_notification", id=engine.id)
    assert announced.message is not None
    address = announced.message.content["uuid"].encode()
    request = client.make("clear_request", {}, identities=[address])
    client.queue("control").send(request)
    control.delivered(engine, request)


@requirement("registration.reachable-when-registered")
def test_every_engine_is_reachable_as_soon_as_it_is_announced(controller: Controller, control: Queue) -> None:
    client = controller.client()
    for _ in range(8):
        control.exchange(client, control.engine())


#: Every control request, with a content that fits it, and a content that its reply may have.
REQUESTS: dict[str, tuple[dict[str, object], dict[str, object]]] = {
    "clear_request": ({}, {"status": "ok"}),
    "abort_request": ({"msg_ids": ["never-submitted"]}, {"status": "ok"}),
    "signal_request": ({"sig": 2}, {"status": "ok"}),
    "shutdown_request": ({"restart": False}, {"status": "ok", "restart": False}),
    "kernel_info_request": ({}, {"status": "ok"}),
    "request_of_tomorrow": ({"key": "é"}, {"status": "ok"}),
}


@requirement("wire.relayed-parts-unchanged")
@pytest.mark.parametrize("msg_type", REQUESTS)
@pytest.mark.parametrize("buffers", [(), (b"", DELIMITER, bytes(1_000_000))], ids=["bare", "with buffers"])
def test_every_message_arrives_as_it_was_sent_both_ways(
    controller: Controller, control: Queue, msg_type: str, buffers: tuple[bytes, ...]
) -> None:
    engine, client = control.engine(), controller.client()
    content, answer = REQUESTS[msg_type]
    request = control.send(client, engine, msg_type=msg_type, content=content, buffers=buffers, why="any of all types")
    given = control.delivered(engine, request)
    expect_same(given.frames, controller.codec.encode(request))
    assert given.message is not None
    reply = engine.make(
        msg_type.replace("_request", "_reply"), answer, parent=given.message.header, buffers=buffers,
        identities=given.message.identities,
    )  # fmt: skip
    control.disturb(engine, controller.codec.encode(reply), "any of all types")
    expect_same(control.replied(client, request).frames, controller.codec.encode(reply))


@requirement("wire.content-opaque-to-relays")
@pytest.mark.parametrize("content", [b"", b"\xff\xfe", b"[1, 2"], ids=repr)
def test_a_signed_request_arrives_whatever_its_content(controller: Controller, control: Queue, content: bytes) -> None:
    engine, client = control.engine(), controller.client()
    parts = [*controller.codec.encode(client.make("clear_request", {}))[2:5], content]
    frames = [engine.uuid.encode(), DELIMITER, controller.codec.sign(b"".join(parts)), *parts]
    control.disturb(client, frames, "content that nobody can read")
    control.send(client, engine)
    expect_same(engine.take("control").frames, frames)


@needs("control", "mux")
@requirement("control.own-channel")
def test_a_control_request_passes_what_waits_in_mux(controller: Controller, control: Queue) -> None:
    mux = Queue(controller, "mux")
    engine = controller.engine().with_shell("mux", "control").registered()
    client, other = controller.client(), controller.client()
    waiting = [mux.send(client, engine, buffers=(b"f", bytes(500_000))) for _ in range(60)]
    started = controller.world.now
    control.exchange(client, engine)
    control.exchange(other, engine)
    if (took := controller.spent(started)) > BOUND:
        violate(f"two control requests took {took / SECOND:.2f} s behind 30 MB on MUX", f"{BOUND / SECOND:.1f} s")
    for request in waiting:
        mux.delivered(engine, request, requirement="mux.fifo-per-engine")


# -- who disturbs nobody -----------------------------------------------------------------------------------------------


@requirement("control.unknown-engine-harmless")
@pytest.mark.parametrize("whom", [b"nobody-has-this", b"", b"x" * 255, bytes(5)], ids=repr)
def test_a_request_to_nobody_disturbs_nobody(controller: Controller, control: Queue, whom: bytes) -> None:
    engine, client, other = control.engine(), controller.client(), controller.client()
    for _ in range(3):
        control.disturb(
            client, controller.codec.encode(client.make("clear_request", {}, identities=[whom])), "names nobody"
        )
    control.exchange(client, engine)
    control.exchange(other, engine)


@requirement("control.unknown-engine-harmless")
def test_an_engine_that_vanished_disturbs_nobody(controller: Controller, control: Queue) -> None:
    gone, stays, client = control.engine(), control.engine(), controller.client()
    control.send(client, gone)
    gone.take("control")
    gone.disconnect("control")
    for _ in range(20):
        control.send(client, gone)
    control.exchange(client, stays)
    control.exchange(controller.client(), stays)


GARBAGE: dict[str, list[bytes]] = {
    "two frames": [b"\x00\xff", b"garbage"],
    "many frames": [b"%d" % number for number in range(300)],
    "no delimiter": [b"0" * 64, b"{}", b"{}", b"{}", b"{}"],
    "cut after the header": [DELIMITER, b"0" * 64, b"{}"],
    "a wrong signature": [DELIMITER, b"0" * 64, b"{}", b"{}", b"{}", b"{}"],
    "dictionaries that are none": [DELIMITER, b"", b"\xff", b"[", b"1", b"}"],
}


@requirement("control.garbage-harmless")
@pytest.mark.parametrize("garbage", GARBAGE.values(), ids=GARBAGE)
def test_garbage_leaves_the_queue_working(controller: Controller, control: Queue, garbage: list[bytes]) -> None:
    bad_engine, engine = control.engine(), control.engine()
    bad, good = controller.client(), controller.client()
    relay, asked = envelope(control.exchange(bad, bad_engine)[0].frames)
    for address in (engine.uuid.encode(), b"nobody"):
        control.disturb(bad, [address, *garbage], "garbage from a client")
    for front in ([relay, asked], [relay, b"nobody"], [relay, b"", asked]):
        control.disturb(bad_engine, [*front, *garbage], "garbage from an engine")
    for client in (good, bad):
        for answering in (engine, bad_engine):
            control.exchange(client, answering, is_patient=True)


@requirement("control.garbage-harmless")
@pytest.mark.parametrize("end", ["client", "engine"])
def test_a_lone_frame_leaves_the_queue_working(fresh_controller: Controller, end: str) -> None:
    control = Queue(fresh_controller, "control")
    bad_engine, engine = control.engine(), control.engine()
    bad, good = fresh_controller.client(), fresh_controller.client()
    relay, _ = envelope(control.exchange(bad, bad_engine)[0].frames)
    if end == "client":
        control.disturb(bad, [b"garbage"], "one frame from a client")
    else:
        control.disturb(bad_engine, [relay, b"nobody"], "a client and nothing else from an engine")
    for client in (good, bad):
        for answering in (bad_engine, engine):
            control.exchange(client, answering, is_patient=True)


# -- the Hub listens, and no more --------------------------------------------------------------------------------------


@needs("control", "db")
@requirement("control.own-channel")
def test_a_busy_hub_delays_no_control_request(controller: Controller, control: Queue) -> None:
    engine, client, flood = control.engine(), controller.client(), controller.client()
    queries = [flood.send("db_request", {"query": {}, "keys": ["msg_id", "header"]}) for _ in range(40)]
    slowest = 0
    for _ in range(20):
        started = controller.world.now
        control.exchange(client, engine)
        slowest = max(slowest, controller.spent(started))
    if slowest > BOUND:
        violate(f"a round trip of {slowest / SECOND:.2f} s while the Hub was busy", f"{BOUND / SECOND:.1f} s at most")
    for query in queries:
        flood.answer_to(query, requirement="wire.every-request-answered")
