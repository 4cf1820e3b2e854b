"""Registration: how an engine becomes known to the Hub, when it is refused, and how it leaves.

Source: IPython commit a2c57acba, parallel_messages.txt, "Registration".
"""

import pytest

from conformance.harness.case import needs, requirement
from conformance.harness.controller import Controller
from conformance.harness.expect import error, kind, ok, refusal
from conformance.harness.verdict import violate
from protocol.world import SECOND


@requirement("registration.request-answered", "registration.reply-id")
def test_an_engine_that_registers_is_given_an_id(controller: Controller) -> None:
    engine = controller.engine()
    engine.send_registration()
    reply = engine.expect(ok("registration_reply", id=kind(int)), requirement="registration.request-answered")
    if reply.content["id"] < 0:
        violate(f"the id {reply.content['id']}", "an integer from 0", requirement="registration.reply-id")
    engine.id = reply.content["id"]


@requirement("registration.reply-hb-period")
def test_the_reply_tells_the_heartbeat_period(controller: Controller) -> None:
    engine = controller.engine()
    content = engine.register().content
    if content.get("hb_period") != controller.timing.heartbeat_period_ms:
        violate(f"hb_period {content.get('hb_period')!r}", f"hb_period {controller.timing.heartbeat_period_ms}")


@requirement("registration.reply-connection-info")
def test_the_reply_tells_where_to_connect(controller: Controller) -> None:
    info = controller.engine().register().content.get("connection_info")
    if not isinstance(info, dict):
        violate(f"connection_info {info!r}", "an object with the ports of the engine file")
    file = controller.engine_file
    for key in ("hb_ping", "hb_pong", "mux", "task", "control", "iopub"):
        if info.get(key) != getattr(file, key):
            violate(f"{key} {info.get(key)!r}", f"{key} {getattr(file, key)!r}, as in the engine file")


@requirement("registration.duplicate-uuid-refused", "registration.refusal-in-reply")
def test_second_engine_with_a_live_uuid_is_refused(controller: Controller) -> None:
    first = controller.engine().registered()
    second = controller.engine(uuid=first.uuid)
    second.send_registration()
    reply = second.expect(*refusal("registration_reply"), requirement="registration.duplicate-uuid-refused")
    reply.expect(error("registration_reply"), requirement="registration.refusal-in-reply")


@requirement("registration.refusal-leaves-first-engine")
def test_a_refused_namesake_does_not_harm_the_engine_that_lives(controller: Controller) -> None:
    first = controller.engine().with_shell().registered()
    second = controller.engine(uuid=first.uuid)
    second.send_registration()
    second.expect(*refusal("registration_reply"), requirement="registration.duplicate-uuid-refused")
    first.expect_alive()
    if "mux" in controller.features:
        controller.client().run_on(first)


@requirement("registration.refusal-not-announced")
def test_a_refused_registration_is_not_announced(controller: Controller) -> None:
    first = controller.engine().registered()
    second = controller.engine(uuid=first.uuid)
    second.send_registration()
    second.expect(*refusal("registration_reply"), requirement="registration.duplicate-uuid-refused")
    controller.notifications.barrier()
    announced = controller.notifications.of("registration_notification", uuid=first.uuid)
    if len(announced) != 1:
        violate(f"{len(announced)} announcements of {first.uuid}", "one", evidence=tuple(n.seq for n in announced))


@requirement("registration.pending-uuid-refused")
def test_second_engine_with_a_pending_uuid_is_refused(controller: Controller) -> None:
    first = controller.engine()
    first.register()
    second = controller.engine(uuid=first.uuid)
    second.send_registration()
    second.expect(*refusal("registration_reply"))


@requirement("registration.id-unique")
def test_engines_that_register_at_once_get_different_ids(controller: Controller) -> None:
    engines = [controller.engine() for _ in range(20)]
    for engine in engines:
        engine.send_registration()
    ids = []
    for engine in engines:
        engine.id = engine.expect(ok("registration_reply", id=kind(int))).content["id"]
        ids.append(engine.id)
    if len(set(ids)) < len(ids):
        violate(f"the ids {sorted(ids)}", "20 different ids")


@requirement("registration.id-never-reused", "registration.can-return")
def test_an_engine_that_returns_gets_a_new_id(controller: Controller) -> None:
    first = controller.engine().registered()
    first.unregister()
    controller.notifications.expect(
        "unregistration_notification", uuid=first.uuid, requirement="registration.unregistration-honoured"
    )
    first.stop_heart()
    # A heart that is still counted as beating would not be found again.
    controller.let_pass(controller.timing.heart_failure[1] + controller.timing.margin)
    again = controller.engine(uuid=first.uuid)
    again.send_registration()
    reply = again.expect(ok("registration_reply", id=kind(int)), requirement="registration.can-return")
    again.id = reply.content["id"]
    if again.id == first.id:
        violate(
            f"the id {again.id} a second time", "an id never given before", requirement="registration.id-never-reused"
        )
    again.start_heart()
    controller.notifications.expect(
        "registration_notification", uuid=first.uuid, id=again.id, requirement="registration.can-return"
    )


@needs("requested-ids")
@requirement("registration.requested-id-honoured")
def test_a_free_id_is_given_to_who_asks_for_it(controller: Controller) -> None:
    first = controller.engine()
    first.register()
    assert first.id is not None
    wanted = first.id + 100
    second = controller.engine()
    reply = second.register(id=wanted)
    if reply.content["id"] != wanted:
        violate(f"id {reply.content['id']}", f"id {wanted}, which was free")


@needs("requested-ids")
@requirement("registration.taken-id-not-shared")
@pytest.mark.parametrize("state", ["live", "pending"])
def test_a_taken_id_is_not_given_to_a_second_engine(controller: Controller, state: str) -> None:
    first = controller.engine()
    if state == "live":
        first.registered()
    else:
        first.register()
    second = controller.engine()
    second.send_registration(id=first.id)
    reply = second.expect(ok("registration_reply", id=kind(int)), *refusal("registration_reply"))
    if reply.is_error:
        return
    second.id = reply.content["id"]
    if second.id == first.id:
        second.id = None
        violate(f"id {first.id} for a second engine", "another id", "a refusal")


@needs("requested-ids")
@requirement("registration.id-counter-passes-requests")
def test_ids_stay_unique_after_one_was_asked_for(controller: Controller) -> None:
    first = controller.engine()
    first.register()
    assert first.id is not None
    asked = controller.engine()
    asked.register(id=first.id + 3)
    ids = [first.id, asked.id]
    for _ in range(5):
        engine = controller.engine()
        engine.register()
        ids.append(engine.id)
    if len(set(ids)) < len(ids):
        violate(f"the ids {ids}", "different ids")


@requirement("registration.pending-until-heard")
def test_an_engine_whose_heart_was_not_heard_is_not_shown(controller: Controller) -> None:
    silent = controller.engine()
    silent.register()
    controller.notifications.barrier()
    if controller.notifications.of("registration_notification", uuid=silent.uuid):
        violate(f"{silent.uuid} was announced before its heart beat", "no announcement yet")
    if silent.uuid in controller.client().engines().values():
        violate(f"{silent.uuid} stands in connection_reply before its heart beat", "only engines that were heard")


@requirement("registration.heard-is-registered")
def test_a_pending_engine_is_registered_once_its_heart_is_heard(controller: Controller) -> None:
    engine = controller.engine()
    engine.register()
    engine.start_heart()
    controller.notifications.expect("registration_notification", uuid=engine.uuid, id=engine.id)
    engine.expect_alive()


@requirement("registration.pending-expires")
def test_a_registration_without_heart_expires_and_frees_its_uuid(controller: Controller) -> None:
    silent = controller.engine()
    silent.register()
    silent.id = None
    # Polling is the only way to see the end of a registration that nobody announces.
    limit = controller.timing.registration_timeout + 4 * controller.timing.heartbeat_period + controller.timing.margin
    started = controller.world.now
    again = controller.engine(uuid=silent.uuid)
    while not controller.is_over(started, limit):
        again.send_registration()
        reply = again.expect(ok("registration_reply"), *refusal("registration_reply"))
        if not reply.is_error:
            again.id = reply.content["id"]
            return
        controller.let_pass(SECOND // 10)
    controller.expect_waited(started, limit)
    violate(f"{silent.uuid} was still in use after {limit / SECOND:.1f} s", "a free uuid")


@requirement("registration.expiry-is-silent", "registration.pending-unregistration-cancels")
def test_a_cancelled_registration_is_never_announced(controller: Controller) -> None:
    engine = controller.engine()
    engine.register()
    engine.unregister()
    engine.start_heart()
    controller.notifications.barrier()
    if controller.notifications.of("registration_notification", uuid=engine.uuid):
        violate(
            f"{engine.uuid} was announced after it had cancelled its registration", "no announcement",
            requirement="registration.pending-unregistration-cancels",
        )  # fmt: skip
    if controller.notifications.of("unregistration_notification", uuid=engine.uuid):
        violate(
            f"the end of {engine.uuid} was announced, its beginning never", "no announcement",
            requirement="registration.expiry-is-silent",
        )  # fmt: skip


@requirement("registration.uuid-required")
def test_a_registration_without_uuid_is_answered_with_an_error(controller: Controller) -> None:
    engine = controller.engine()
    engine.send_unchecked("no uuid", "registration_request", {})
    engine.expect(*refusal("registration_reply"))


@requirement("registration.uuid-wrong-type-refused")
@pytest.mark.parametrize("uuid", [None, 17, 1.5, True, ["a"], {"a": 1}], ids=repr)
def test_a_uuid_that_is_no_string_is_refused(controller: Controller, uuid: object) -> None:
    before = controller.client().engines()
    engine = controller.engine()
    engine.send_unchecked("the uuid is no string", "registration_request", {"uuid": uuid})
    engine.expect(*refusal("registration_reply"))
    after = controller.client().engines()
    if before != after:
        violate(f"the engines are {after}", f"still {before}")


@requirement("registration.id-wrong-type-refused")
@pytest.mark.parametrize("wanted", ["7", [7], {"a": 7}], ids=repr)
def test_a_requested_id_that_is_no_number_is_refused(controller: Controller, wanted: object) -> None:
    engine = controller.engine()
    engine.send_unchecked("the id is no number", "registration_request", {"uuid": engine.uuid, "id": wanted})
    engine.expect(*refusal("registration_reply"))


@needs("requested-ids")
@requirement("registration.id-wrong-type-refused")
@pytest.mark.parametrize("wanted", [-1, 0.5, True], ids=repr)
def test_a_requested_id_that_is_no_natural_number_is_refused(controller: Controller, wanted: object) -> None:
    # A Hub that has given some ids compares this one with them, and must notice all the same.
    controller.engine().register()
    engine = controller.engine()
    engine.send_unchecked("the id is no natural number", "registration_request", {"uuid": engine.uuid, "id": wanted})
    engine.expect(*refusal("registration_reply"))


@requirement("registration.error-leaves-uuid-free")
def test_a_registration_refused_for_its_id_leaves_the_uuid_free(controller: Controller) -> None:
    engine = controller.engine()
    engine.send_unchecked("the id is no number", "registration_request", {"uuid": engine.uuid, "id": "seven"})
    engine.expect(*refusal("registration_reply"), requirement="registration.id-wrong-type-refused")
    engine.register()


@requirement("registration.unregistration-honoured")
def test_an_engine_that_unregisters_is_removed_and_announced(controller: Controller) -> None:
    engine = controller.engine().registered()
    engine.unregister()
    controller.notifications.expect("unregistration_notification", uuid=engine.uuid, id=engine.id)
    if engine.uuid in controller.client().engines().values():
        violate(f"engine {engine.id} still stands in connection_reply", "an engine set without it")


@requirement("registration.unregistration-unanswered")
def test_an_unregistration_gets_no_reply(controller: Controller) -> None:
    engine = controller.engine().registered()
    engine.unregister()
    engine.expect_silence("an unregistration_request")


@requirement("registration.unregistration-unknown-harmless")
@pytest.mark.parametrize("content", [{"id": 1_000_000}, {"id": None}, {}, {"id": "all"}, {"id": []}], ids=repr)
def test_an_unregistration_that_names_nobody_removes_nobody(controller: Controller, content: object) -> None:
    engine = controller.engine().registered()
    stranger = controller.client()
    stranger.send_unchecked("names no engine", "unregistration_request", content)
    controller.notifications.barrier()
    gone = controller.notifications.of("unregistration_notification")
    if gone:
        violate(f"{len(gone)} engines were unregistered by {content!r}", "nobody is removed", evidence=(gone[0].seq,))
    engine.expect_alive()


@requirement("registration.unregistration-repeated-harmless")
def test_a_second_unregistration_is_not_announced_again(controller: Controller) -> None:
    engine = controller.engine().registered()
    engine.unregister()
    controller.notifications.expect(
        "unregistration_notification", uuid=engine.uuid, requirement="registration.unregistration-honoured"
    )
    engine.unregister()
    controller.notifications.barrier()
    count = len(controller.notifications.of("unregistration_notification", uuid=engine.uuid))
    if count != 1:
        violate(f"{count} announcements of one death", "one")


@requirement("registration.reply-parent")
def test_a_registration_reply_names_its_request_or_nothing(controller: Controller) -> None:
    engine = controller.engine()
    request = engine.send_registration()
    parent = engine.expect(ok("registration_reply")).message.parent_header
    if parent and parent.get("msg_id") != request.msg_id:
        violate(f"the parent header {parent!r:.200}", f"that of {request.msg_id}, or an empty one")


@requirement("registration.refused-id-consumed", "registration.id-never-reused")
def test_ids_go_on_rising_after_a_refusal(controller: Controller) -> None:
    first = controller.engine().registered()
    namesake = controller.engine(uuid=first.uuid)
    namesake.send_registration()
    namesake.expect(*refusal("registration_reply"), requirement="registration.duplicate-uuid-refused")
    next_one = controller.engine()
    next_one.register()
    if first.id is None or next_one.id is None or next_one.id <= first.id:
        found = f"the ids {first.id} and, after a refusal, {next_one.id}"
        violate(found, "a greater one; the refusal may have taken some", requirement="registration.id-never-reused")
