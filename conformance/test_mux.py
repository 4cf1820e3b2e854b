"""MUX: requests to the engine that the client names, and the replies back to who asked.

Source: IPython commit a2c57acba, parallel_messages.txt, "Schedulers"; IPython commit 7bde2f380 (2011),
parallel_connections.txt.
"""

from collections.abc import Callable

import pytest

from conformance.harness.actors import APPLY_BUFFERS, Client
from conformance.harness.case import needs, requirement
from conformance.harness.controller import Controller
from conformance.harness.expect import ok
from conformance.harness.queues import Queue, body, envelope, expect_same
from conformance.harness.verdict import violate
from protocol.wire import DELIMITER
from protocol.world import SECOND

pytestmark = needs("mux")

#: A round trip takes milliseconds; this is for a machine that does other things, too.
BOUND = SECOND


@pytest.fixture
def mux(controller: Controller) -> Queue:
    return Queue(controller, "mux")


# -- where a message goes ----------------------------------------------------------------------------------------------


@requirement("mux.routes-by-identity")
def test_a_request_reaches_the_engine_it_names_and_no_other(controller: Controller, mux: Queue) -> None:
    first, other, client = mux.engine(), mux.engine(), controller.client()
    requests = [mux.send(client, first) for _ in range(3)]
    marker = mux.send(client, other)
    for request in requests:
        mux.delivered(first, request)
    mux.delivered(other, marker)


@requirement("mux.engine-identity-swap", "mux.identity-swap")
def test_an_engine_receives_the_queue_and_the_client_in_front(controller: Controller, mux: Queue) -> None:
    engine, one, two = mux.engine(), controller.client(), controller.client()
    fronts = []
    for client in (one, two, one):
        given, _ = mux.exchange(client, engine)
        fronts.append(envelope(given.frames))
    if any(len(front) != 2 for front in fronts):
        violate(f"{fronts[0]!r} before the delimiter", "two frames", requirement="mux.engine-identity-swap")
    if fronts[0] != fronts[2] or fronts[0][-1] == fronts[1][-1]:
        violate(
            f"the clients {[front[-1] for front in fronts]!r}", "one identity for each client",
            requirement="mux.identity-swap",
        )  # fmt: skip


@requirement("mux.reply-to-requester")
def test_replies_go_to_who_asked_in_whatever_order_they_come(controller: Controller, mux: Queue) -> None:
    engine, clients = mux.engine(), [controller.client() for _ in range(3)]
    requests = [mux.send(client, engine) for client in clients]
    given = {seen.message.msg_id: seen for seen in (engine.take() for _ in clients) if seen.message}
    for request in reversed(requests):
        mux.answer(engine, given[request.msg_id])
    for client, request in zip(clients, requests, strict=True):
        mux.replied(client, request)
        # Whatever else had come for this client would come before the second reply.
        mux.exchange(client, engine)


@requirement("mux.reply-names-engine")
def test_a_reply_comes_behind_the_identity_of_its_engine(controller: Controller, mux: Queue) -> None:
    client = controller.client()
    for engine in (mux.engine(), mux.engine()):
        _, reply = mux.exchange(client, engine)
        if envelope(reply.frames) != [engine.uuid.encode()]:
            violate(f"{envelope(reply.frames)!r} before the delimiter", f"the one frame {engine.uuid!r}")


@requirement("mux.raw-router-addressing")
def test_many_clients_and_engines_at_once_are_told_apart(controller: Controller, mux: Queue) -> None:
    engines, clients = [mux.engine() for _ in range(3)], [controller.client() for _ in range(5)]
    requests = {(client, engine): mux.send(client, engine) for client in clients for engine in engines}
    ids = {request.msg_id: request for request in requests.values()}
    for engine in engines:
        for _ in clients:
            given = engine.take()
            asked = given.message and ids.get(given.message.msg_id)
            if not asked or asked.identities != (engine.uuid.encode(),):
                violate(f"{engine.name} was given what names another", "a request to it", evidence=(given.seq,))
            mux.answer(engine, given)
    for client in clients:
        wanted = {requests[client, engine].msg_id for engine in engines}
        for _ in engines:
            started = controller.world.now
            reply = client.queue("mux").recv(controller.world.now + controller.timing.reply_deadline)
            if reply is None:
                raise controller.silence(None, started, ("three replies",), None)
            parent = reply.message.parent_header.get("msg_id") if reply.message else None
            if parent not in wanted:
                violate(f"{client.name} was given a reply to {parent}", f"one of {wanted}", evidence=(reply.seq,))
            wanted.discard(parent)


@requirement("notification.uuid-routes")
def test_the_identity_that_is_announced_is_the_address(controller: Controller, mux: Queue) -> None:
    engine, client = mux.engine(), controller.client()
    announced = controller.notifications.expect("registration_notification", id=engine.id)
    assert announced.message is not None
    address = announced.message.content["uuid"].encode()
    request = client.make("apply_request", {}, buffers=APPLY_BUFFERS, identities=[address])
    client.queue("mux").send(request)
    mux.delivered(engine, request)


@requirement("registration.reachable-when-registered")
def test_every_engine_is_reachable_as_soon_as_it_is_announced(controller: Controller, mux: Queue) -> None:
    client = controller.client()
    engines = [controller.engine().with_shell("mux") for _ in range(12)]
    for engine in engines:
        engine.send_registration()
    for engine in engines:
        engine.id = engine.expect(ok("registration_reply")).content["id"]
        engine.start_heart()
    for engine in engines:
        controller.notifications.expect("registration_notification", uuid=engine.uuid)
        mux.exchange(client, engine)


@requirement("mux.late-joiner-works")
def test_an_engine_that_joins_during_traffic_is_reached(controller: Controller, mux: Queue) -> None:
    first, client = mux.engine(), controller.client()
    waiting = [mux.send(client, first) for _ in range(20)]
    late = mux.engine()
    mux.exchange(client, late)
    for request in waiting:
        mux.answer(first, mux.delivered(first, request))
    for request in waiting:
        mux.replied(client, request)


# -- what arrives ------------------------------------------------------------------------------------------------------

BUFFERS: dict[str, Callable[[], tuple[bytes, ...]]] = {
    "no buffers": tuple,
    "empty ones": lambda: (b"", b"", b""),
    "one like the delimiter": lambda: (b"x", DELIMITER, b"y"),
    "every byte": lambda: (bytes(range(256)),),
    "5,000 of them": lambda: tuple(b"%d" % number for number in range(5000)),
    "one of 24 MB": lambda: (bytes(24_000_000),),
}


@requirement("wire.relayed-parts-unchanged")
@pytest.mark.parametrize("buffers", BUFFERS.values(), ids=BUFFERS)
def test_a_message_arrives_as_it_was_sent_both_ways(
    controller: Controller, mux: Queue, buffers: Callable[[], tuple[bytes, ...]]
) -> None:
    engine, client = mux.engine(), controller.client()
    request = mux.send(client, engine, buffers=buffers(), why="any buffers")
    given = mux.delivered(engine, request)
    expect_same(given.frames, controller.codec.encode(request))
    answer = engine.answer(given, buffers=buffers() or (b"3",))
    expect_same(mux.replied(client, request).frames, controller.codec.encode(answer))


@requirement("wire.relayed-parts-unchanged")
def test_spelling_and_unknown_keys_survive(controller: Controller, mux: Queue) -> None:
    engine, client = mux.engine(), controller.client()
    sent = controller.codec.encode(
        client.make("apply_request", {}, buffers=APPLY_BUFFERS, identities=[engine.uuid.encode()], extra={"é": [1.0]})
    )
    parts = [b" " + bytes(sent[3]).replace(b'":', b'" :'), b"{ }", b'{"label": null, "\\u00e9": 1e2}', b"{ }"]
    frames = [sent[0], DELIMITER, controller.codec.sign(b"".join(parts)), *parts, *sent[7:]]
    mux.disturb(client, frames, "spelt unlike other messages, and valid")
    expect_same(engine.take().frames, frames)


@requirement("wire.content-opaque-to-relays")
@pytest.mark.parametrize("content", [b"", b"\xff\xfe", b"[1, 2", b"not json", b"null"], ids=repr)
def test_a_signed_request_arrives_whatever_its_content(controller: Controller, mux: Queue, content: bytes) -> None:
    engine, client = mux.engine(), controller.client()
    parts = [*controller.codec.encode(client.make("apply_request", {}))[2:5], content]
    frames = [engine.uuid.encode(), DELIMITER, controller.codec.sign(b"".join(parts)), *parts]
    mux.disturb(client, frames, "content that nobody can read")
    marker = mux.send(client, engine)
    first = engine.take()
    if body(first.frames) == body(frames):
        mux.delivered(engine, marker)
    else:
        violate("the request was not delivered", "it arrives as it was sent")


TYPES: dict[str, dict[str, object]] = {
    "execute_request": {"code": "1", "silent": False, "store_history": True, "user_expressions": {},
                        "allow_stdin": False, "stop_on_error": True},
    "complete_request": {"code": "pri", "cursor_pos": 3},
    "inspect_request": {"code": "print", "cursor_pos": 5, "detail_level": 0},
    "is_complete_request": {"code": "1"},
    "kernel_info_request": {},
    "comm_info_request": {},
    "request_of_tomorrow": {"key": "value"},
}  # fmt: skip


@requirement("mux.all-message-types")
@pytest.mark.parametrize("msg_type", TYPES)
def test_every_type_of_request_passes(controller: Controller, mux: Queue, msg_type: str) -> None:
    engine, client = mux.engine(), controller.client()
    request = mux.send(client, engine, msg_type=msg_type, content=TYPES[msg_type], buffers=(), why="any type")
    given = mux.delivered(engine, request)
    expect_same(given.frames, controller.codec.encode(request))
    assert given.message is not None
    reply = client.make(
        msg_type.replace("_request", "_reply"), {"status": "ok"}, parent=given.message.header,
        identities=given.message.identities,
    )  # fmt: skip
    mux.disturb(engine, controller.codec.encode(reply), "any type")
    expect_same(mux.replied(client, request).frames, controller.codec.encode(reply))


@needs("mux", "tasks")
@requirement("mux.same-types-as-task")
@pytest.mark.parametrize("msg_type", ["apply_request", "execute_request"])
def test_a_request_looks_the_same_through_mux_and_task_queue(controller: Controller, msg_type: str) -> None:
    engine = controller.engine().with_shell("mux", "task").registered()
    client = controller.client()
    content = TYPES.get(msg_type, {})
    buffers = APPLY_BUFFERS if msg_type == "apply_request" else ()
    for channel in ("mux", "task"):
        # What an earlier case left in the task queue is none of this one's.
        request = client.submit(
            engine, channel=channel, msg_type=msg_type, content=content, buffers=buffers,
            metadata={"targets": [engine.uuid]} if channel == "task" else {},
        )  # fmt: skip
        given = engine.take(channel)
        expect_same(given.frames, controller.codec.encode(request))
        engine.answer(given, channel=channel, buffers=() if msg_type == "execute_request" else (b"3",), content=(
            {"status": "ok", "execution_count": 1, "payload": [], "user_expressions": {}}
            if msg_type == "execute_request" else None
        ))  # fmt: skip
        client.result(request, channel=channel)


@requirement("mux.fifo-per-engine")
def test_messages_arrive_in_the_order_sent_both_ways(controller: Controller, mux: Queue) -> None:
    engine, clients = mux.engine(), [controller.client(), controller.client()]
    # Sizes that differ much: a small message must not overtake a large one.
    requests = [
        (client, mux.send(client, engine, buffers=(b"f", bytes(10 ** (number % 6)))))
        for number in range(100)
        for client in clients
    ]
    given = [engine.take() for _ in requests]
    for client in clients:
        arrived = [
            seen.message.msg_id for seen in given if seen.message and seen.message.header["session"] == client.session
        ]
        sent = [request.msg_id for who, request in requests if who is client]
        if arrived != sent:
            violate(f"the requests of {client.name} in the order {arrived}", f"{sent}")
    for seen in given:
        mux.answer(engine, seen)
    for client, request in requests:
        mux.replied(client, request)


# -- who disturbs nobody -----------------------------------------------------------------------------------------------

NOBODY: dict[str, Callable[[Controller], bytes]] = {
    "unknown": lambda _: b"nobody-has-this",
    "empty": lambda _: b"",
    "255 bytes": lambda _: b"x" * 255,
    "64 kB": lambda _: b"x" * 65536,
    "zero bytes": lambda _: bytes(5),
    "never registered": lambda controller: controller.engine().uuid.encode(),
}


@requirement("mux.unknown-engine-harmless")
@pytest.mark.parametrize("whom", NOBODY.values(), ids=NOBODY)
def test_a_request_to_nobody_disturbs_nobody(
    controller: Controller, mux: Queue, whom: Callable[[Controller], bytes]
) -> None:
    engine, client, other = mux.engine(), controller.client(), controller.client()
    for _ in range(3):
        message = client.make("apply_request", {}, buffers=APPLY_BUFFERS, identities=[whom(controller)])
        mux.disturb(client, controller.codec.encode(message), "names nobody")
    mux.exchange(client, engine)
    mux.exchange(other, engine)


@requirement("mux.unknown-engine-harmless")
def test_an_engine_that_vanished_disturbs_nobody(controller: Controller, mux: Queue) -> None:
    gone, stays, client = mux.engine(), mux.engine(), controller.client()
    mux.send(client, gone)
    gone.take()
    gone.disconnect()
    for _ in range(20):
        mux.send(client, gone)
    mux.exchange(client, stays)
    mux.exchange(controller.client(), stays)


@requirement("mux.unknown-engine-harmless")
def test_a_reply_to_a_client_that_left_disturbs_nobody(controller: Controller, mux: Queue) -> None:
    engine, gone, stays = mux.engine(), controller.client(), controller.client()
    requests = [mux.send(gone, engine) for _ in range(5)]
    given = [mux.delivered(engine, request) for request in requests]
    gone.close()
    for seen in given:
        mux.answer(engine, seen)
    mux.exchange(stays, engine)


#: What follows the identity of an engine, or of queue and client.
GARBAGE: dict[str, list[bytes]] = {
    "an empty frame": [b""],
    "a frame": [b"garbage"],
    "two frames": [b"\x00\xff", b"garbage"],
    "many frames": [b"%d" % number for number in range(300)],
    "a delimiter": [DELIMITER],
    "no delimiter": [b"0" * 64, b"{}", b"{}", b"{}", b"{}"],
    "cut after the header": [DELIMITER, b"0" * 64, b"{}"],
    "a wrong signature": [DELIMITER, b"0" * 64, b"{}", b"{}", b"{}", b"{}"],
    "dictionaries that are none": [DELIMITER, b"", b"\xff", b"[", b"1", b"}"],
}


@requirement("mux.garbage-harmless")
@pytest.mark.parametrize("garbage", GARBAGE.values(), ids=GARBAGE)
def test_garbage_from_a_client_leaves_the_queue_working(
    controller: Controller, mux: Queue, garbage: list[bytes]
) -> None:
    engine, bad, good = mux.engine(), controller.client(), controller.client()
    for address in (engine.uuid.encode(), b"nobody", DELIMITER):
        mux.disturb(bad, [address, *garbage], "garbage from a client")
        for client in (good, bad):
            mux.exchange(client, engine, is_patient=True)


@requirement("mux.garbage-harmless")
@pytest.mark.parametrize("garbage", GARBAGE.values(), ids=GARBAGE)
def test_garbage_from_an_engine_leaves_the_queue_working(
    controller: Controller, mux: Queue, garbage: list[bytes]
) -> None:
    bad, good, client, other = mux.engine(), mux.engine(), controller.client(), controller.client()
    relay, asked = envelope(mux.exchange(client, bad)[0].frames)
    for front in ([relay, asked], [relay, b"nobody"], [relay, relay], [relay, b"", asked]):
        mux.disturb(bad, [*front, *garbage], "garbage from an engine")
        for engine in (good, bad):
            mux.exchange(other, engine, is_patient=True)
            mux.exchange(client, engine, is_patient=True)


@requirement("mux.garbage-harmless")
@pytest.mark.parametrize("is_address", [True, False], ids=["an address", "garbage"])
def test_a_lone_frame_from_a_client_leaves_the_queue_working(fresh_controller: Controller, is_address: bool) -> None:
    mux = Queue(fresh_controller, "mux")
    engine, bad, good = mux.engine(), fresh_controller.client(), fresh_controller.client()
    mux.exchange(bad, engine)
    mux.disturb(bad, [engine.uuid.encode() if is_address else b"garbage"], "one frame from a client")
    for client in (good, bad):
        mux.exchange(client, engine, is_patient=True)


@requirement("mux.garbage-harmless")
def test_a_lone_frame_from_an_engine_leaves_the_queue_working(fresh_controller: Controller) -> None:
    mux = Queue(fresh_controller, "mux")
    bad, good, client = mux.engine(), mux.engine(), fresh_controller.client()
    relay, _ = envelope(mux.exchange(client, bad)[0].frames)
    mux.disturb(bad, [relay, b"nobody"], "a client and nothing else from an engine")
    for engine in (good, bad):
        mux.exchange(client, engine, is_patient=True)


@requirement("mux.reply-to-requester")
def test_a_reply_to_another_client_of_the_same_engine_is_no_ones_but_his(controller: Controller, mux: Queue) -> None:
    engine, asks, listens = mux.engine(), controller.client(), controller.client()
    mux.exchange(listens, engine)
    for _ in range(10):
        mux.exchange(asks, engine)
    mux.exchange(listens, engine)


# -- the Hub listens, and no more --------------------------------------------------------------------------------------


@needs("mux", "db")
@requirement("mux.monitoring-does-not-interfere")
def test_a_busy_hub_delays_no_message(controller: Controller, mux: Queue) -> None:
    engine, client, flood = mux.engine(), controller.client(), controller.client()
    for _ in range(20):
        mux.exchange(client, engine)
    queries = [flood.send("db_request", {"query": {}, "keys": ["msg_id", "header"]}) for _ in range(40)]
    slowest = 0
    for _ in range(20):
        started = controller.world.now
        mux.exchange(client, engine)
        slowest = max(slowest, controller.spent(started))
    if slowest > BOUND:
        violate(f"a round trip of {slowest / SECOND:.2f} s while the Hub was busy", f"{BOUND / SECOND:.1f} s at most")
    for query in queries:
        flood.answer_to(query, requirement="wire.every-request-answered")


# -- what the Hub makes of it ------------------------------------------------------------------------------------------


def stranded(controller: Controller, mux: Queue) -> tuple[Client, str]:
    engine, client = mux.engine(), controller.client()
    request = mux.send(client, engine)
    mux.delivered(engine, request)
    client.await_pending(request)
    engine.unregister()
    controller.notifications.expect(
        "unregistration_notification", uuid=engine.uuid, requirement="registration.unregistration-honoured"
    )
    return client, request.msg_id


@needs("mux", "results")
@requirement("storage.stranded-mux-gets-error")
def test_what_a_dead_engine_held_ends_with_an_error_in_the_record(controller: Controller, mux: Queue) -> None:
    since = controller.world.now
    client, msg_id = stranded(controller, mux)
    asked = {"msg_ids": [msg_id]}
    first = client.ask("result_request", asked | {"status_only": True}).expect(ok("result_reply"))
    is_early = controller.world.now - since < controller.timing.registration_timeout
    if is_early and first.content.get("pending") != [msg_id]:
        violate(f"{first.content!r:.200} at once", "pending until the grace time is over")
    controller.let_pass(since + controller.timing.registration_timeout - controller.world.now)
    reply = client.ask_until(lambda reply: msg_id in (reply.content.get("completed") or ()), "result_request", asked)
    record = reply.content.get(msg_id)
    if not isinstance(record, dict):
        violate(f"{reply.content!r:.200}", f"{msg_id} completed, with its record")
    result = record.get("result_content")
    if not isinstance(result, dict) or result.get("status") != "error":
        violate(f"the result {result!r:.200}", "status error")
    controller.notifications.barrier()
    # The client is told on the notification channel only: nothing comes by the queue.
    other = mux.engine()
    mux.exchange(client, other)
    if "queue" in controller.features:
        # Whether what is completed still waits for the engine that is gone, a rule says who hears the answer.
        client.ask("queue_request", {"targets": None, "verbose": True})


@requirement("mux.socket-types")
@pytest.mark.parametrize("end", ["client", "engine"])
def test_both_ends_of_the_queue_are_routers(controller: Controller, end: str) -> None:
    greeting = controller.greeting("mux", end=end, requirement="connection.addresses-from-file")
    if greeting.socket_type not in (None, "ROUTER"):
        violate(f"{greeting}", "a ROUTER")
