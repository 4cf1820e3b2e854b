"""Engines: code as text, which runs one request after the other and is answered as a kernel would answer it.

Source: jupyter_client messaging.rst, "Execute"; measured on ipyparallel 9.2.0 and ipykernel 7.4.0.
"""

import pytest

from conformance.harness.case import needs, requirement
from conformance.harness.engine import Caller, EngineUnderTest
from conformance.harness.expect import containing, error, kind, ok, one_of
from conformance.harness.verdict import Finding, Violated, violate
from protocol.wire import Message


def good(client: Caller, channel: str = "mux") -> Message:
    """A request whose code works, sent."""
    return client.execute(client.engine.sample("print", text="hello"), channel=channel)


def bad(client: Caller, **content: object) -> Message:
    """A request whose code fails, sent."""
    return client.execute(client.engine.sample("raise", text="badness"), content=content)


@pytest.mark.parametrize(
    "channel",
    [
        "mux",
        pytest.param("task", marks=needs("tasks")),
        pytest.param("broadcast", marks=needs("broadcast")),
    ],
)
@requirement("apply.execute-too")
def test_code_is_run_from_each_queue(engine: EngineUnderTest, channel: str) -> None:
    client = engine.client()
    client.reply(good(client, channel)).expect(ok("execute_reply", execution_count=kind(int)))


@requirement("apply.execute-error-reported", "kernel.execute-answered")
def test_code_that_fails_is_answered_with_an_error(engine: EngineUnderTest) -> None:
    client = engine.client()
    client.reply(bad(client)).expect(error("execute_reply"))


@requirement("kernel.execute-missing-code")
def test_a_request_without_code_is_answered_with_an_error(engine: EngineUnderTest) -> None:
    client = engine.client()
    request = client.send("execute_request", {"silent": False}, why="no code")
    client.reply(request).expect(error("execute_reply"))


@requirement("apply.usable-after-error")
def test_after_an_error_the_next_request_runs(engine: EngineUnderTest) -> None:
    client = engine.client()
    for _ in range(3):
        client.reply(bad(client)).expect(error("execute_reply"))
        client.reply(good(client)).expect(ok("execute_reply"))


@requirement("kernel.count-in-ok-and-error", "kernel.execution-count")
def test_the_counter_rises_with_each_request(engine: EngineUnderTest) -> None:
    client = engine.client()
    counts = []
    for sample, pattern in (("print", ok), ("print", ok), ("raise", error), ("print", ok)):
        reply = client.run(engine.sample(sample, text="hello"))
        counts.append(reply.expect(pattern("execute_reply", execution_count=kind(int))).content["execution_count"])
    if counts != list(range(counts[0], counts[0] + 4)) or counts[0] < 1:
        violate(f"the counts {counts}", "from 1, one more each time", requirement="kernel.execution-count")


@requirement("kernel.execution-count")
def test_the_counter_starts_at_one(new_engine: EngineUnderTest) -> None:
    client = new_engine.registered().client()
    client.reply(good(client)).expect(ok("execute_reply", execution_count=1))


@requirement("kernel.silent-quiet")
def test_a_silent_request_does_not_count(engine: EngineUnderTest) -> None:
    expect_uncounted(engine, {"silent": True})


@requirement("kernel.store-history-false")
def test_a_request_that_is_not_to_be_stored_does_not_count(engine: EngineUnderTest) -> None:
    expect_uncounted(engine, {"store_history": False})


def expect_uncounted(engine: EngineUnderTest, content: dict[str, object]) -> None:
    """A request with these fields must leave the counter alone."""
    client = engine.client()
    before = client.reply(good(client)).expect(ok("execute_reply")).content["execution_count"]
    client.reply(client.execute(engine.sample("print", text="hello"), content=content)).expect(ok("execute_reply"))
    client.reply(good(client)).expect(ok("execute_reply", execution_count=before + 1))


@requirement("kernel.empty-code-ok")
def test_no_code_at_all_is_ok_and_does_not_count(engine: EngineUnderTest) -> None:
    client = engine.client()
    before = client.reply(good(client)).expect(ok("execute_reply")).content["execution_count"]
    client.run("").expect(ok("execute_reply"))
    client.reply(good(client)).expect(ok("execute_reply", execution_count=before + 1))


@requirement("kernel.user-expressions")
def test_each_expression_is_answered_for_itself(engine: EngineUnderTest) -> None:
    client = engine.client()
    wanted = {"good": engine.sample("value", text="wanted"), "bad": engine.sample("recall", name="never_defined")}
    reply = client.run(engine.sample("print", text="hello"), content={"user_expressions": wanted})
    reply.expect(ok("execute_reply", user_expressions=kind(dict)))
    expressions = reply.content["user_expressions"]
    shown = containing(status="ok", data=kind(dict), metadata=kind(dict))
    broken = containing(status="error", ename=kind(str), evalue=kind(str), traceback=kind(list))
    reply.expect(ok("execute_reply", user_expressions=containing(good=shown, bad=broken)))
    if "wanted" not in str(expressions["good"]["data"]):
        violate(f"{expressions['good']['data']!r:.200}", "a value that shows 'wanted'")


@requirement("kernel.extra-fields-ignored")
def test_fields_of_tomorrow_are_ignored(engine: EngineUnderTest) -> None:
    client = engine.client()
    client.run(engine.sample("print", text="hello"), content={"of_tomorrow": [1]}).expect(ok("execute_reply"))


# -- many requests, many clients ---------------------------------------------------------------------------------------


@requirement("kernel.shell-fifo", "apply.one-at-a-time")
def test_requests_of_one_client_are_answered_in_the_order_sent(engine: EngineUnderTest) -> None:
    client = engine.client()
    requests = [good(client) for _ in range(100)]
    client.reply(requests[-1])
    order = [seen.message.parent_header.get("msg_id") for seen in engine.replies if seen.message]
    if order != [request.msg_id for request in requests]:
        violate(f"{len(order)} replies in another order", "one reply for each of 100 requests, in the order sent")


@requirement("apply.one-at-a-time")
def test_a_request_does_not_run_before_the_one_in_front_of_it_has_ended(engine: EngineUnderTest) -> None:
    first, other = engine.client(), engine.client()
    slow = first.execute(engine.sample("sleep", seconds=0.5))
    quick = [good(first), good(other)]
    first.reply(slow)
    early = [request for request in quick if engine.answers(request)]
    if early and engine.answers(early[0])[0].seq < engine.answers(slow)[0].seq:
        violate("a request behind a running one was answered before it", "one after the other")
    for client, request in zip((first, other), quick, strict=True):
        client.reply(request)


@requirement("kernel.many-frontends", "kernel.reply-to-sender-only", "wire.reply-identities-echoed")
def test_each_client_is_answered_under_its_own_identity(engine: EngineUnderTest) -> None:
    clients = [engine.client() for _ in range(5)]
    requests = [(client, good(client)) for _ in range(4) for client in clients]
    for client, request in requests:
        client.reply(request)
        if len(engine.answers(request)) != 1:
            violate(
                f"{len(engine.answers(request))} replies to one request", "one", requirement="wire.at-most-one-reply"
            )


@requirement("apply.namespace-persists")
def test_clients_share_one_namespace_that_lasts(engine: EngineUnderTest) -> None:
    first, other = engine.client(), engine.client()
    first.run(engine.sample("define", name="kept_by_the_kit")).expect(ok("execute_reply"))
    for client in (first, other):
        client.run(engine.sample("recall", name="kept_by_the_kit")).expect(ok("execute_reply"))
    first.run(engine.sample("recall", name="never_defined_by_the_kit")).expect(error("execute_reply"))


# -- after an error ----------------------------------------------------------------------------------------------------


@requirement("kernel.stop-on-error-aborts", "kernel.aborted-answered", "kernel.later-requests-run")
def test_what_is_queued_behind_an_error_is_aborted_and_answered(engine: EngineUnderTest) -> None:
    client = engine.client()
    # What waits behind this is queued for certain when the error comes.
    slow = client.execute(engine.sample("sleep", seconds=0.3))
    failing, *queued = bad(client, stop_on_error=True), good(client), good(client)
    client.reply(slow)
    client.reply(failing).expect(error("execute_reply"))
    for request in queued:
        reply = client.reply(request, requirement="kernel.aborted-answered")
        if reply.content.get("status") not in ("aborted", "error"):
            found = f"{reply.msg_type} {reply.content!r:.200}"
            raise Violated(Finding(found, ("status aborted", "status error"), evidence=(reply.observation.seq,)))
    client.reply(good(client)).expect(ok("execute_reply"), requirement="kernel.later-requests-run")


@requirement("kernel.stop-on-error-false")
def test_what_is_queued_behind_an_error_runs_if_that_was_asked_for(engine: EngineUnderTest) -> None:
    client = engine.client()
    slow = client.execute(engine.sample("sleep", seconds=0.3))
    failing, *queued = bad(client, stop_on_error=False), good(client), good(client)
    client.reply(slow)
    client.reply(failing).expect(error("execute_reply"))
    for request in queued:
        client.reply(request).expect(ok("execute_reply"))


# -- what a kernel knows -----------------------------------------------------------------------------------------------


@needs("kernel-info")
@requirement("kernel.kernel-info")
def test_an_engine_tells_what_it_is(engine: EngineUnderTest) -> None:
    engine.client().ask("kernel_info_request").expect(
        ok(
            "kernel_info_reply", protocol_version=kind(str), implementation=kind(str), implementation_version=kind(str),
            language_info=containing(name=kind(str)), banner=kind(str),
        )
    )  # fmt: skip


@needs("kernel-info")
@requirement("kernel.is-complete")
def test_an_engine_says_whether_code_is_complete(engine: EngineUnderTest) -> None:
    client = engine.client()
    reply = client.ask("is_complete_request", {"code": engine.sample("print", text="hello")})
    status = one_of("complete", "unknown")(reply.content.get("status"))
    if reply.msg_type != "is_complete_reply" or status:
        violate(f"{reply.msg_type} {reply.content!r:.200} for whole code", "is_complete_reply with complete or unknown")


@requirement("wire.dispatch-by-type")
@needs("kernel-info")
def test_requests_of_different_types_are_answered_in_kind(engine: EngineUnderTest) -> None:
    client = engine.client()
    requests = [ask for _ in range(5) for ask in (good(client), client.send("kernel_info_request"))]
    for request in requests:
        reply = client.reply(request)
        wanted = request.msg_type.replace("_request", "_reply")
        if reply.msg_type != wanted:
            violate(f"{reply.msg_type} for {request.msg_type}", wanted)


@requirement("kernel.unknown-type-bracketed")
def test_an_unknown_type_disturbs_nothing(engine: EngineUnderTest) -> None:
    client = engine.client()
    client.send("request_of_tomorrow", {"key": 1}, why="a type that nobody knows")
    client.reply(good(client)).expect(ok("execute_reply"))


# -- input, of which an engine has none --------------------------------------------------------------------------------


@requirement("stdin.not-allowed-error")
@pytest.mark.parametrize("content", [{}, {"allow_stdin": False}], ids=["unsaid", "forbidden"])
def test_code_that_asks_for_input_fails_and_the_engine_goes_on(
    engine: EngineUnderTest, content: dict[str, object]
) -> None:
    client = engine.client()
    client.run(engine.sample("input", text="prompt"), content=content).expect(error("execute_reply"))
    client.reply(good(client)).expect(ok("execute_reply"))
