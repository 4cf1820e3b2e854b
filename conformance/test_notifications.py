"""Notifications: what the Hub publishes of engines that come and go, to whom, and in which order.

Source: IPython commit a2c57acba, parallel_messages.txt, "Notification".
"""

from collections.abc import Sequence

from conformance.harness.actors import Engine
from conformance.harness.case import needs, requirement
from conformance.harness.controller import Controller
from conformance.harness.expect import ok, refusal
from conformance.harness.verdict import violate
from protocol.wire import Message
from protocol.world import Observation

CAME = "registration_notification"
WENT = "unregistration_notification"


def told(seen: Observation) -> Message:
    """The message in a notification that was heard."""
    assert seen.message is not None
    return seen.message


def leave(controller: Controller, engine: Engine) -> Observation:
    """Unregister an engine and wait until that is announced."""
    engine.unregister()
    return controller.notifications.expect(WENT, uuid=engine.uuid, requirement="notification.unregistration-published")


# -- engines that come -------------------------------------------------------------------------------------------------


@requirement("notification.registration-published")
def test_an_engine_that_comes_is_announced(controller: Controller) -> None:
    engine = controller.engine()
    engine.register()
    engine.start_heart()
    controller.notifications.expect(CAME, uuid=engine.uuid)


@requirement("notification.registration-content")
def test_the_announcement_names_id_and_uuid_as_registered(controller: Controller) -> None:
    engine = controller.engine()
    engine.register()
    engine.start_heart()
    seen = controller.notifications.expect(CAME, requirement="notification.registration-published")
    content = told(seen).content
    if content.get("id") != engine.id or content.get("uuid") != engine.uuid:
        violate(f"{content!r}", f"id {engine.id} and uuid {engine.uuid!r}", evidence=(seen.seq,))


@requirement("notification.registration-once")
def test_each_of_many_engines_is_announced_once(controller: Controller) -> None:
    engines = [controller.engine() for _ in range(10)]
    for engine in engines:
        engine.register()
        engine.start_heart()
    controller.notifications.barrier()
    for engine in engines:
        controller.notifications.expect(
            CAME, uuid=engine.uuid, id=engine.id, requirement="notification.registration-published"
        )
    controller.notifications.barrier()
    for engine in engines:
        found = controller.notifications.of(CAME, uuid=engine.uuid)
        if len(found) != 1:
            violate(f"engine {engine.id} was announced {len(found)} times", "once", evidence=(found[-1].seq,))


@needs("mux")
@requirement("notification.uuid-routes")
def test_the_announced_uuid_is_the_address_of_the_engine(controller: Controller) -> None:
    engine = controller.engine().with_shell().registered()
    announced = controller.notifications.expect(CAME, id=engine.id)
    engine.uuid = told(announced).content["uuid"]
    request = controller.client().submit(engine)
    taken = told(engine.take())
    if taken.msg_id != request.msg_id:
        violate(f"the engine was given {taken.msg_id}", f"{request.msg_id}, sent to the announced uuid")


# -- engines that go ---------------------------------------------------------------------------------------------------


@requirement("notification.unregistration-published")
def test_an_engine_that_leaves_is_announced(controller: Controller) -> None:
    leave(controller, controller.engine().registered())


@requirement("notification.unregistration-published")
def test_an_engine_whose_heart_failed_is_announced(controller: Controller) -> None:
    engine = controller.engine().registered()
    engine.expect_given_up(engine.scripted_heart.fall_silent())


@requirement("notification.unregistration-content")
def test_the_end_of_an_engine_is_announced_with_id_and_uuid(controller: Controller) -> None:
    left, died = controller.engine().registered(), controller.engine().registered()
    left.unregister()
    died.stop_heart()
    for engine in (left, died):
        seen = controller.notifications.expect(WENT, id=engine.id, requirement="notification.unregistration-published")
        content = told(seen).content
        if content.get("uuid") != engine.uuid:
            violate(f"{content!r}", f"id {engine.id} and uuid {engine.uuid!r}", evidence=(seen.seq,))


@requirement("notification.unregistration-once")
def test_a_death_that_several_report_is_announced_once(controller: Controller) -> None:
    engine = controller.engine().registered()
    warden = controller.client()
    engine.scripted_heart.fall_silent()
    engine.unregister()
    engine.unregister()
    warden.send("unregistration_request", {"id": engine.id})
    controller.let_pass(controller.timing.heart_failure[1] + controller.timing.heartbeat_period)
    controller.notifications.barrier()
    found = controller.notifications.of(WENT, id=engine.id)
    if len(found) != 1:
        violate(f"the end of engine {engine.id} was announced {len(found)} times", "once")


@needs("control", "iopub")
@requirement("notification.unregistration-on-shutdown")
def test_an_engine_that_shuts_down_is_taken_off_at_once(controller: Controller) -> None:
    engine = controller.engine().with_shell("control", "iopub").registered(has_device_heart=True)
    client = controller.client()
    client.submit(engine, channel="control", msg_type="shutdown_request", content={"restart": False}, buffers=())
    engine.shut_down(engine.take("control"))
    # Its heart beats on, so that it cannot have been given up for silence.
    controller.notifications.expect(WENT, uuid=engine.uuid, id=engine.id)


@requirement("notification.registered-before-unregistered")
def test_an_engine_that_leaves_at_once_is_announced_in_this_order(controller: Controller) -> None:
    engine = controller.engine().registered()
    leave(controller, engine)
    came, went = (controller.notifications.of(kind, uuid=engine.uuid)[0] for kind in (CAME, WENT))
    if went.seq < came.seq:
        violate(f"the end of engine {engine.id} came first", "first the beginning", evidence=(went.seq, came.seq))


@requirement("notification.no-death-without-life")
def test_who_was_never_announced_is_not_announced_as_gone(controller: Controller) -> None:
    live = controller.engine().registered()
    cancelled, refused = controller.engine(), controller.engine(uuid=live.uuid)
    cancelled.register()
    cancelled.unregister()
    refused.send_registration()
    refused.expect(*refusal("registration_reply"), requirement="registration.duplicate-uuid-refused")
    stranger = controller.client()
    stranger.send("unregistration_request", {"id": 1_000_000})
    controller.notifications.barrier()
    gone = [*controller.notifications.of(WENT, id=1_000_000)]
    for engine in (live, cancelled):
        gone += controller.notifications.of(WENT, uuid=engine.uuid)
    if gone:
        violate(f"the end of {told(gone[0]).content!r} was announced", "nothing", evidence=(gone[0].seq,))


# -- all subscribers, and what they can rely on ------------------------------------------------------------------------


def kinds_and_names(heard: Sequence[Observation]) -> list[tuple[str, object, object]]:
    """What a series of notifications tells."""
    return [(told(seen).msg_type, told(seen).content.get("id"), told(seen).content.get("uuid")) for seen in heard]


@requirement("notification.all-subscribers")
def test_all_subscribers_hear_the_same_in_the_same_order(controller: Controller) -> None:
    subscribers = [controller.notifications, controller.subscriber(), controller.subscriber()]
    engines = [controller.engine().registered() for _ in range(3)]
    engines[1].unregister()
    engines[0].unregister()
    last = controller.engine().registered()
    names = {engine.uuid for engine in (*engines, last)}
    heard = []
    for subscriber in subscribers:
        subscriber.expect(CAME, uuid=last.uuid)
        series = [seen for kind in (CAME, WENT) for seen in subscriber.of(kind) if told(seen).content["uuid"] in names]
        heard.append(kinds_and_names(sorted(series, key=lambda seen: seen.seq)))
    if any(each != heard[0] for each in heard):
        violate(f"the subscribers heard {heard}", "the same for all, in one order")


@requirement("notification.no-polling")
def test_notifications_alone_tell_which_engines_there_are(controller: Controller) -> None:
    client = controller.client()
    known = dict(client.engines())
    engines = [controller.engine() for _ in range(6)]
    for engine in engines:
        engine.register()
        engine.start_heart()
    for engine in engines:
        controller.notifications.expect(CAME, uuid=engine.uuid, requirement="notification.registration-published")
    engines[1].stop_heart()
    engines[2].unregister()
    engines[4].unregister()
    last = controller.engine()
    last.register()
    last.start_heart()
    for engine in (engines[1], engines[2], engines[4]):
        controller.notifications.expect(WENT, uuid=engine.uuid, requirement="notification.unregistration-published")
    controller.notifications.expect(CAME, uuid=last.uuid, requirement="notification.registration-published")
    heard = [seen for kind in (CAME, WENT) for seen in controller.notifications.of(kind)]
    for seen in sorted(heard, key=lambda each: each.seq):
        content = told(seen).content
        if told(seen).msg_type == CAME:
            known[str(content["id"])] = content["uuid"]
        else:
            known.pop(str(content["id"]), None)
    listed = client.engines()
    if known != listed:
        violate(f"the notifications tell of {known}, connection_reply of {listed}", "the same engines")


@requirement("notification.follows-effect")
def test_who_asks_on_a_notification_finds_it_carried_out(controller: Controller) -> None:
    client = controller.client()
    engine = controller.engine().registered()
    if client.engines().get(str(engine.id)) != engine.uuid:
        violate(f"engine {engine.id} is announced, and not in connection_reply", "a Hub that knows it")
    if "queue" in controller.features:
        queues = client.ask("queue_request", {"targets": None, "verbose": False}).expect(ok("queue_reply"))
        if str(engine.id) not in queues.content:
            violate(f"engine {engine.id} is announced, and not in queue_reply", "a Hub that knows it")
    leave(controller, engine)
    if str(engine.id) in client.engines():
        violate(f"engine {engine.id} is announced as gone, and still in connection_reply", "a Hub that forgot it")


@requirement("notification.no-topic")
def test_a_notification_begins_with_the_delimiter(controller: Controller) -> None:
    engine = controller.engine().registered()
    for seen in (*controller.notifications.of(CAME, uuid=engine.uuid), leave(controller, engine)):
        if told(seen).identities:
            violate(f"{list(told(seen).identities)!r} before the delimiter", "nothing", evidence=(seen.seq,))


@requirement("notification.parent-empty")
def test_a_notification_of_an_engine_has_no_parent(controller: Controller) -> None:
    engine = controller.engine().registered()
    for seen in (*controller.notifications.of(CAME, uuid=engine.uuid), leave(controller, engine)):
        if told(seen).parent_header:
            violate(f"the parent header {told(seen).parent_header!r}", "an empty one", evidence=(seen.seq,))


@requirement("notification.no-replay")
def test_a_late_subscriber_is_not_told_the_past(controller: Controller) -> None:
    engine = controller.engine().registered()
    late = controller.subscriber()
    found = [seen for seen in late.heard if told(seen).content.get("uuid") == engine.uuid]
    if found:
        violate(f"{told(found[0]).msg_type} of engine {engine.id} again", "nothing", evidence=(found[0].seq,))
    if engine.uuid not in controller.client().engines().values():
        violate(f"engine {engine.id} is in no connection_reply either", "the reply tells what a late subscriber missed")
