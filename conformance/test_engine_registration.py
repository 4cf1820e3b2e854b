"""Engines: how one registers, and what it does with the answer.

Source: IPython commit a2c57acba, parallel_messages.txt, "Registration"; measured on ipyparallel 9.2.0.
"""

from conformance.harness.case import needs, requirement
from conformance.harness.engine import EngineUnderTest
from conformance.harness.verdict import violate


@requirement("registration.identity-is-uuid")
def test_the_identity_on_registration_heart_mux_and_control_is_the_uuid(engine: EngineUnderTest) -> None:
    request = engine.registration()
    assert request.message is not None
    if request.message.identities != (engine.uuid.encode(),):
        violate(f"it registers as {engine.uuid!r} from {list(request.message.identities)!r}", "the same identity")
    beat = engine.expect_heart()
    if bytes(beat.frames[0]) != engine.uuid.encode():
        violate(f"its heart beats as {bytes(beat.frames[0])!r:.200}", f"{engine.uuid!r}", evidence=(beat.seq,))
    for channel in ("mux", "control"):
        engine.expect_connected(channel)


@needs("tasks")
@requirement("registration.identity-is-uuid")
def test_the_identity_on_the_task_queue_is_the_uuid(engine: EngineUnderTest) -> None:
    engine.expect_connected("task")


@requirement("registration.engine-session-is-uuid")
def test_the_session_of_what_an_engine_sends_is_its_uuid(engine: EngineUnderTest) -> None:
    reply = engine.client().run(engine.sample("print", text="hello"))
    for seen in (engine.registration(), reply.observation):
        assert seen.message is not None
        session = seen.message.header.get("session")
        if session != engine.uuid:
            violate(f"{seen.message.msg_type} with the session {session!r}", f"{engine.uuid!r}", evidence=(seen.seq,))


@requirement("registration.engine-connects-after-reply", "heart-device.starts-after-reply")
def test_an_engine_waits_for_its_reply_and_then_serves(new_engine: EngineUnderTest) -> None:
    request = new_engine.registration()
    # Half of its patience: many pings, and more than anybody needs to connect.
    new_engine.let_pass(new_engine.timing.engine_timeout // 2)
    if new_engine.pongs:
        beat = new_engine.pongs[0]
        violate("its heart beat before the reply", "no beat", requirement="heart-device.starts-after-reply",
                evidence=(beat.seq,))  # fmt: skip
    for channel in ("mux", "control"):
        if new_engine.is_connected(channel):
            violate(f"it was connected to {channel} before the reply", "no connection")
    new_engine.accept(request)
    new_engine.client().run(new_engine.sample("print", text="hello"))
    new_engine.expect_heart("registration.engine-connects-after-reply")


@requirement("registration.engine-gives-up")
def test_an_engine_that_nobody_answers_takes_its_leave_and_fails(new_engine: EngineUnderTest) -> None:
    new_engine.registration()
    timing = new_engine.timing
    new_engine.expect_end(within=timing.engine_timeout + timing.margin + timing.stop_grace)
    if not new_engine.unregistrations():
        violate("it ended without an unregistration_request", "an unregistration_request")
    if new_engine.instance.status == 0:
        violate("it ended with status 0", "a status that says failure")


@requirement("registration.refused-engine-serves-nobody")
def test_a_refused_engine_does_not_go_on_under_that_uuid(new_engine: EngineUnderTest) -> None:
    request = new_engine.registration()
    new_engine.refuse(request)
    refused = new_engine.uuid
    timing = new_engine.timing
    new_engine.world.run_until(lambda: not new_engine.is_running, new_engine.world.now + timing.engine_timeout)
    beats = [seen for seen in new_engine.pongs if bytes(seen.frames[0]) == refused.encode()]
    if beats:
        violate("its heart beats under the uuid that was refused", "no beat", evidence=(beats[0].seq,))
    for channel in ("mux", "control"):
        if new_engine.is_connected(channel):
            violate(f"it is connected to {channel} under the uuid that was refused", "no connection")
