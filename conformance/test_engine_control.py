"""Engines: what manages them, and does not wait for what runs.

Source: IPython commit a2c57acba, parallel_messages.txt, "Control Messages"; ipython-dev mail, MinRK, 12 July 2010,
"Heartbeat Device"; measured on ipyparallel 9.2.0.
"""

import pytest

from conformance.harness.actors import Reply
from conformance.harness.case import needs, requirement
from conformance.harness.engine import Caller, EngineUnderTest
from conformance.harness.expect import error, ok
from conformance.harness.verdict import Undecided, violate
from protocol.wire import Message
from protocol.world import SECOND, Observation

#: How long code runs in front of what waits, in seconds: long enough to send everything and be answered meanwhile.
SLOW = 1.5
#: A control request is answered within milliseconds; this is for a machine that is slow, too.
BOUND = SECOND // 2


def slow(client: Caller, seconds: float = SLOW) -> Message:
    """Code that runs for a while, sent."""
    return client.execute(client.engine.sample("sleep", seconds=seconds))


def over(client: Caller, running: Message) -> Reply:
    """The reply to code that runs for a while, for which it is waited that much longer."""
    return client.reply(running, within=round(2 * SLOW * SECOND) + client.engine.timing.reply_deadline)


def waiting(client: Caller, text: str = "hello") -> Message:
    """A request that waits behind it."""
    return client.execute(client.engine.sample("print", text=text))


def meanwhile(client: Caller, msg_type: str, content: object = None, *, behind: Message, **fields: object) -> Reply:
    """Ask through control while a request runs: the answer must come within a bound, and before the request's."""
    engine = client.engine
    started = engine.world.now
    reply = client.ask(msg_type, content, channel="control", **fields)
    took = engine.spent(started)
    if engine.answers(behind):
        engine.expect_unhindered(started, BOUND)
    if took > BOUND or engine.answers(behind):
        violate(f"{reply.msg_type} after {took / SECOND:.2f} s, while code ran for {SLOW} s", f"{BOUND / SECOND:.1f} s",
                requirement="control.own-channel")  # fmt: skip
    return reply


def expect_aborted(client: Caller, request: Message, requirement: str | None = None) -> None:
    """A request that was aborted is answered all the same, and says so."""
    reply = client.reply(request, requirement="control.aborted-request-answered")
    if reply.content.get("status") not in ("aborted", "error"):
        violate(f"{reply.msg_type} {reply.content!r:.200}", "status aborted", "status error", requirement=requirement,
                evidence=(reply.observation.seq,))  # fmt: skip


# -- not behind what runs ----------------------------------------------------------------------------------------------


@needs("abort")
@requirement("control.own-channel", "control.before-queued-requests")
def test_a_control_request_is_answered_while_one_request_runs_and_a_hundred_wait(engine: EngineUnderTest) -> None:
    client, other = engine.client(), engine.client()
    running = slow(client)
    queued = [waiting(client) for _ in range(100)]
    for asking in (client, other):
        meanwhile(asking, "abort_request", {"msg_ids": ["never-sent"]}, behind=running).expect(ok("abort_reply"))
    if any(engine.answers(request) for request in queued):
        violate(
            "queued requests were answered before it", "control first", requirement="control.before-queued-requests"
        )
    over(client, running).expect(ok("execute_reply"))
    client.reply(queued[-1]).expect(ok("execute_reply"))


@needs("abort")
@requirement("kernel.control-fifo")
def test_control_requests_of_one_client_are_answered_in_the_order_sent(engine: EngineUnderTest) -> None:
    client = engine.client()
    requests = [client.send("abort_request", {"msg_ids": [f"never-{n}"]}, channel="control") for n in range(50)]
    client.reply(requests[-1])
    order = [seen.message.parent_header.get("msg_id") for seen in engine.replies if seen.message]
    if order != [request.msg_id for request in requests]:
        violate(f"{len(order)} replies in another order", "one reply for each of 50 requests, in the order sent")


@needs("kernel-info")
@requirement("control.shell-types-on-control")
def test_a_kernels_control_channel_answers_shell_types(engine: EngineUnderTest) -> None:
    client = engine.client()
    running = slow(client, 1.0)
    meanwhile(client, "kernel_info_request", behind=running).expect(ok("kernel_info_reply"))
    over(client, running)


@needs("kernel-info")
@requirement("control.warden-passes-through")
def test_a_request_passes_the_warden_as_it_is(engine: EngineUnderTest) -> None:
    client = engine.client()
    request = client.message("kernel_info_request", {}, channel="control", buffers=(b"one", b"", b"\0\xff"))
    request.header["of_tomorrow"] = "é\u2028"
    client.send_raw(engine.codec.encode(request), "an unknown key, and buffers that nobody needs", channel="control")
    reply = client.reply(request).expect(ok("kernel_info_reply"))
    if reply.message.parent_header != request.header:
        violate(f"the parent header {reply.message.parent_header!r:.300}", f"{request.header!r:.300}",
                evidence=(reply.observation.seq,))  # fmt: skip


@needs("abort")
@requirement("control.unknown-type-harmless")
def test_an_unknown_type_disturbs_nothing(engine: EngineUnderTest) -> None:
    client = engine.client()
    client.send("request_of_tomorrow", {"key": 1}, channel="control", why="a type that nobody knows")
    client.ask("abort_request", {"msg_ids": ["never-sent"]}, channel="control").expect(ok("abort_reply"))


@needs("abort")
@requirement("control.executes-nothing")
def test_control_requests_count_as_no_execution(engine: EngineUnderTest) -> None:
    client = engine.client()
    before = client.run(engine.sample("print", text="hello")).content["execution_count"]
    for _ in range(3):
        client.ask("abort_request", {"msg_ids": ["never-sent"]}, channel="control").expect(ok("abort_reply"))
    client.run(engine.sample("print", text="hello")).expect(ok("execute_reply", execution_count=before + 1))


# -- abort -------------------------------------------------------------------------------------------------------------


@needs("abort")
@requirement("control.abort-answered", "control.abort-by-id", "control.abort-keeps-others",
             "control.aborted-request-answered")  # fmt: skip
def test_an_abort_ends_the_requests_it_names_and_no_others(engine: EngineUnderTest) -> None:
    client, other = engine.client(), engine.client()
    running = slow(client)
    queued = [waiting(client), waiting(client), waiting(other), waiting(client)]
    named = [queued[0], queued[3]]
    meanwhile(client, "abort_request", {"msg_ids": [each.msg_id for each in named]}, behind=running).expect(
        ok("abort_reply")
    )
    over(client, running).expect(ok("execute_reply"))
    for request in named:
        expect_aborted(client, request, "control.abort-by-id")
    for asking, request in ((client, queued[1]), (other, queued[2])):
        asking.reply(request).expect(ok("execute_reply"), requirement="control.abort-keeps-others")


@needs("abort", "output")
@requirement("control.abort-by-id")
def test_an_aborted_request_prints_nothing(engine: EngineUnderTest) -> None:
    client = engine.client()
    running = slow(client)
    aborted, kept = waiting(client, "aborted"), waiting(client, "kept")
    meanwhile(client, "abort_request", {"msg_ids": [aborted.msg_id]}, behind=running).expect(ok("abort_reply"))
    expect_aborted(client, aborted)
    over(client, running)
    engine.until_idle(kept)
    if engine.outputs(aborted, "stream"):
        violate("an aborted request has printed", "nothing printed")


@needs("abort")
@requirement("control.abort-running-harmless")
def test_an_abort_does_not_touch_what_runs(engine: EngineUnderTest) -> None:
    client = engine.client()
    running = slow(client)
    engine.until_running(running)
    meanwhile(client, "abort_request", {"msg_ids": [running.msg_id]}, behind=running).expect(ok("abort_reply"))
    over(client, running).expect(ok("execute_reply"))


@needs("abort")
@requirement("control.abort-null-means-all", "control.abort-now-only")
def test_an_abort_with_null_ends_everything_that_is_queued(engine: EngineUnderTest) -> None:
    expect_all_aborted(engine, None)


@needs("abort")
@requirement("control.abort-empty-means-all", "control.abort-now-only")
def test_an_abort_with_an_empty_list_ends_everything_that_is_queued(engine: EngineUnderTest) -> None:
    expect_all_aborted(engine, [])


def expect_all_aborted(engine: EngineUnderTest, msg_ids: list[str] | None) -> None:
    """An abort of all must end what is queued, of whatever client, and nothing that comes later."""
    client, other = engine.client(), engine.client()
    running = slow(client)
    engine.until_running(running)
    queued = [(client, waiting(client)), (other, waiting(other))]
    client.ask("abort_request", {"msg_ids": msg_ids}, channel="control").expect(ok("abort_reply"))
    over(client, running)
    for asking, request in queued:
        reply = asking.reply(request)
        if reply.content.get("status") not in ("aborted", "error"):
            violate(f"{reply.msg_type} {reply.content!r:.200}", "status aborted", "status error",
                    evidence=(reply.observation.seq,))  # fmt: skip
    client.reply(waiting(client)).expect(ok("execute_reply"), requirement="control.abort-now-only")


@needs("abort")
@requirement("control.abort-single-id")
def test_an_abort_may_name_one_id_without_a_list(engine: EngineUnderTest) -> None:
    client = engine.client()
    running = slow(client)
    queued = waiting(client)
    meanwhile(client, "abort_request", {"msg_ids": queued.msg_id}, behind=running).expect(ok("abort_reply"))
    over(client, running)
    expect_aborted(client, queued)


@needs("abort")
@requirement("control.abort-unknown-harmless", "control.abort-now-only")
def test_an_abort_of_what_is_over_or_unknown_touches_nothing_later(engine: EngineUnderTest) -> None:
    client = engine.client()
    past = client.execute(engine.sample("print", text="hello"))
    client.reply(past)
    running = slow(client, 0.5)
    queued = waiting(client)
    meanwhile(client, "abort_request", {"msg_ids": [past.msg_id, "never-sent"]}, behind=running).expect(
        ok("abort_reply")
    )
    over(client, running).expect(ok("execute_reply"))
    for request in (queued, waiting(client)):
        client.reply(request).expect(ok("execute_reply"))


@needs("abort")
@requirement("control.reply-metadata-engine")
def test_the_reply_to_an_abort_names_the_engine(engine: EngineUnderTest) -> None:
    client = engine.client()
    expect_named(engine, client.ask("abort_request", {"msg_ids": ["never-sent"]}, channel="control"))


@needs("clear")
@requirement("control.reply-metadata-engine")
def test_the_reply_to_a_clear_names_the_engine(engine: EngineUnderTest) -> None:
    expect_named(engine, engine.client().ask("clear_request", {}, channel="control"))


def expect_named(engine: EngineUnderTest, reply: Reply) -> None:
    """The metadata must name the engine."""
    named = reply.message.metadata.get("engine")
    if named != engine.uuid:
        violate(
            f"metadata {reply.message.metadata!r:.200}", f"engine: {engine.uuid}", evidence=(reply.observation.seq,)
        )


# -- clear -------------------------------------------------------------------------------------------------------------


@needs("clear")
@requirement("control.clear-answered", "control.clear-empties-namespace", "control.clear-leaves-engine-usable")
def test_a_clear_empties_the_namespace(engine: EngineUnderTest) -> None:
    client = engine.client()
    client.run(engine.sample("define", name="cleared_by_the_kit")).expect(ok("execute_reply"))
    client.ask("clear_request", {}, channel="control").expect(ok("clear_reply"))
    client.run(engine.sample("recall", name="cleared_by_the_kit")).expect(
        error("execute_reply"), requirement="control.clear-empties-namespace"
    )
    client.run(engine.sample("print", text="hello")).expect(
        ok("execute_reply"), requirement="control.clear-leaves-engine-usable"
    )


# -- signals -----------------------------------------------------------------------------------------------------------


@needs("signal")
@requirement("control.signal-answered")
def test_a_signal_is_answered_under_its_name(engine: EngineUnderTest) -> None:
    client = engine.client()
    client.run(engine.sample("print", text="hello"))
    client.ask("signal_request", {"sig": "SIGCONT"}, channel="control").expect(ok("signal_reply"))


@needs("signal")
@requirement("control.signal-delivered", "control.signal-by-number-or-name")
@pytest.mark.parametrize("sig", [2, "SIGINT"], ids=repr)
def test_an_interrupt_ends_what_runs_and_the_engine_goes_on(engine: EngineUnderTest, sig: int | str) -> None:
    client = engine.client()
    client.run(engine.sample("print", text="hello"))
    running = slow(client, 30)
    engine.until_running(running)
    reply = client.ask("signal_request", {"sig": sig}, channel="control")
    expect_status(reply, "ok", "control.signal-by-number-or-name")
    client.reply(running).expect(error("execute_reply"))
    client.run(engine.sample("print", text="hello")).expect(ok("execute_reply"))


@needs("signal")
@requirement("control.signal-before-engine")
def test_a_signal_is_answered_while_the_interpreter_is_held(engine: EngineUnderTest) -> None:
    client = engine.client()
    client.run(engine.sample("print", text="hello"))
    running = client.execute(engine.sample("hold_interpreter", seconds=2 * SLOW))
    # That it runs may be published only when the interpreter is free again.
    engine.let_pass(SECOND // 4)
    started = engine.world.now
    expect_status(client.ask("signal_request", {"sig": "SIGCONT"}, channel="control"), "ok")
    if (took := engine.spent(started)) > BOUND:
        violate(f"answered after {took / SECOND:.2f} s, while the interpreter was held for {2 * SLOW} s",
                f"{BOUND / SECOND:.1f} s")  # fmt: skip
    over(client, running)


@needs("signal")
@requirement("control.signal-bad-refused")
@pytest.mark.parametrize("content", [{"sig": "SIGNOTHING"}, {"sig": 4096}, {}], ids=repr)
def test_a_signal_that_does_not_exist_is_refused(engine: EngineUnderTest, content: dict[str, object]) -> None:
    client = engine.client()
    expect_status(
        client.reply(client.send("signal_request", content, channel="control", why="no such signal")), "error"
    )
    client.run(engine.sample("print", text="hello")).expect(ok("execute_reply"))


def expect_status(reply: Reply, status: str, requirement: str | None = None) -> None:
    """A reply of whatever type must have this status: the type is judged by itself."""
    if reply.content.get("status") != status:
        found = f"{reply.msg_type} {reply.content!r:.200}"
        violate(found, f"status {status}", requirement=requirement, evidence=(reply.observation.seq,))


@needs("signal")
@requirement("registration.warden-reports-death")
def test_the_death_of_an_engine_is_reported_in_its_stead(fresh_engine: EngineUnderTest) -> None:
    client = fresh_engine.client()
    client.run(fresh_engine.sample("print", text="hello"))
    client.send("signal_request", {"sig": 9}, channel="control")
    world, timing = fresh_engine.world, fresh_engine.timing
    started = world.now
    if not world.run_until(lambda: bool(fresh_engine.unregistrations()), started + timing.reply_deadline):
        fresh_engine.expect_waited(started, timing.reply_deadline)
        violate("nobody reported the death of the engine", "an unregistration_request")


# -- the end -----------------------------------------------------------------------------------------------------------


@requirement("control.shutdown-answered", "control.shutdown-exits", "control.shutdown-restart-echoed")
@pytest.mark.parametrize("restart", [False, True])
def test_a_shutdown_is_answered_and_the_engine_ends(fresh_engine: EngineUnderTest, restart: bool) -> None:
    client = fresh_engine.client()
    reply = client.ask("shutdown_request", {"restart": restart}, channel="control").expect(ok("shutdown_reply"))
    fresh_engine.expect_end("control.shutdown-exits")
    fresh_engine.expect_no_process("control.shutdown-exits")
    if reply.content.get("restart") is not restart:
        violate(
            f"restart {reply.content.get('restart')!r}", f"{restart}", requirement="control.shutdown-restart-echoed"
        )


@requirement("control.shutdown-empty-content")
def test_a_shutdown_with_empty_content_is_a_shutdown(fresh_engine: EngineUnderTest) -> None:
    client = fresh_engine.client()
    client.ask("shutdown_request", {}, channel="control").expect(ok("shutdown_reply"))
    fresh_engine.expect_end("control.shutdown-empty-content")


@needs("output")
@requirement("control.shutdown-published")
def test_a_shutdown_is_published(fresh_engine: EngineUnderTest) -> None:
    client = fresh_engine.client()
    fresh_engine.until_idle(waiting(client))
    request = client.send("shutdown_request", {"restart": False}, channel="control")
    client.reply(request)
    published = fresh_engine.until_published(request, "shutdown_reply")
    assert published.message is not None
    if published.message.content.get("status") != "ok":
        violate(f"{published.message.content!r:.200}", "status ok", evidence=(published.seq,))


@requirement("control.shutdown-aborts-queue", "control.shutdown-exits")
def test_a_shutdown_aborts_what_is_queued(fresh_engine: EngineUnderTest) -> None:
    client = fresh_engine.client()
    running = slow(client)
    fresh_engine.until_running(running)
    queued = [waiting(client), waiting(client)]
    client.ask("shutdown_request", {"restart": False}, channel="control").expect(ok("shutdown_reply"))
    if ran(fresh_engine, running):
        raise Undecided("the code in front of the queue had ended before the shutdown")
    fresh_engine.expect_end("control.shutdown-exits", within=round(SLOW * SECOND) + fresh_engine.timing.reply_deadline)
    late = [seen for request in queued for seen in ran(fresh_engine, request)]
    if late:
        violate("a request that was queued ran after the shutdown", "it is aborted", evidence=(late[0].seq,))


def ran(engine: EngineUnderTest, request: Message) -> list[Observation]:
    """The replies that say that a request has run to its end."""
    return [seen for seen in engine.answers(request) if seen.message and seen.message.content.get("status") == "ok"]


# -- what nobody knows yet ---------------------------------------------------------------------------------------------


@needs("abort", "clear")
@requirement("wire.content-extra-keys")
def test_unknown_keys_of_the_content_are_ignored(engine: EngineUnderTest) -> None:
    client = engine.client()
    for name, content in (("abort", {"msg_ids": ["never-sent"]}), ("clear", {})):
        reply = client.ask(f"{name}_request", content | {"of_tomorrow": [1, None]}, channel="control")
        reply.expect(ok(f"{name}_reply"))
