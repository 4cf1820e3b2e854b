"""Kernels: code as text, which runs one request after the other, is counted, remembered, and aborted after an error.

Source: jupyter_client messaging.rst, "Execute" and "Execution results"; measured on ipykernel 7.4.0.
"""

import pytest

from conformance.harness.actors import Reply
from conformance.harness.case import needs, requirement
from conformance.harness.coding import parent_id
from conformance.harness.expect import Pattern, containing, error, kind, ok
from conformance.harness.kernel import Frontend, KernelUnderTest
from conformance.harness.verdict import violate
from protocol.wire import Message
from protocol.world import SECOND

#: What answers a request that was not run because one before it failed.
ABORTED = Pattern("execute_reply", {"status": "aborted"})
#: How long code takes behind which others wait.
MOMENT = SECOND // 2


def good(frontend: Frontend, **content: object) -> Message:
    """A request whose code works, sent."""
    return frontend.execute(frontend.kernel.sample("print", text="hello"), content=content)


def bad(frontend: Frontend, **content: object) -> Message:
    """A request whose code fails, sent."""
    return frontend.execute(frontend.kernel.sample("raise", text="badness"), content=content)


def count(frontend: Frontend, request: Message) -> int:
    """The counter in the reply to code that works."""
    reply = frontend.reply(request).expect(ok("execute_reply", execution_count=kind(int)))
    return int(reply.content["execution_count"])


# -- one request -------------------------------------------------------------------------------------------------------


@requirement("kernel.execute-answered")
def test_code_is_run_and_answered(kernel: KernelUnderTest) -> None:
    frontend = kernel.frontend()
    frontend.reply(good(frontend)).expect(ok("execute_reply", execution_count=kind(int)))


@requirement("kernel.execute-answered", "kernel.count-in-ok-and-error")
def test_code_that_fails_is_answered_with_an_error(kernel: KernelUnderTest) -> None:
    frontend = kernel.frontend()
    reply = frontend.reply(bad(frontend)).expect(error("execute_reply"))
    reply.expect(error("execute_reply", execution_count=kind(int)), requirement="kernel.count-in-ok-and-error")


@requirement("kernel.execute-answered")
def test_after_an_error_the_next_request_runs(kernel: KernelUnderTest) -> None:
    frontend = kernel.frontend()
    for _ in range(3):
        frontend.reply(bad(frontend)).expect(error("execute_reply"))
        frontend.reply(good(frontend)).expect(ok("execute_reply"))


@requirement("kernel.execute-answered")
def test_what_is_set_in_one_request_is_there_in_the_next(kernel: KernelUnderTest) -> None:
    first, other = kernel.frontend(), kernel.frontend()
    first.run(kernel.sample("define", name="kit_shared")).expect(ok("execute_reply"))
    other.run(kernel.sample("recall", name="kit_shared")).expect(ok("execute_reply"))


@requirement("kernel.execute-missing-code")
def test_a_request_without_code_is_answered_with_an_error(kernel: KernelUnderTest) -> None:
    frontend = kernel.frontend()
    request = frontend.send("execute_request", {"silent": False}, why="no code")
    frontend.reply_before_barrier(request).expect(error("execute_reply"))


@requirement("kernel.empty-code-ok")
def test_no_code_at_all_is_ok_and_does_not_count(kernel: KernelUnderTest) -> None:
    frontend = kernel.frontend()
    before = count(frontend, good(frontend))
    frontend.run("").expect(ok("execute_reply"))
    frontend.reply(good(frontend)).expect(ok("execute_reply", execution_count=before + 1))


@needs("expressions")
@requirement("kernel.user-expressions")
def test_each_expression_is_answered_for_itself(kernel: KernelUnderTest) -> None:
    wanted = {"good": kernel.sample("value", text="wanted"), "bad": kernel.sample("recall", name="never_defined")}
    reply = kernel.frontend().run(kernel.sample("print", text="hello"), content={"user_expressions": wanted})
    shown = containing(status="ok", data=kind(dict), metadata=kind(dict))
    broken = containing(status="error", ename=kind(str), evalue=kind(str), traceback=kind(list))
    reply.expect(ok("execute_reply", user_expressions=containing(good=shown, bad=broken)))
    found = reply.content["user_expressions"]["good"]["data"]
    if "wanted" not in str(found):
        violate(f"{found!r:.200}", "a value that shows 'wanted'", evidence=(reply.observation.seq,))


@requirement("kernel.extra-fields-ignored", "wire.content-extra-keys")
def test_fields_of_tomorrow_are_ignored(kernel: KernelUnderTest) -> None:
    frontend = kernel.frontend()
    frontend.reply(good(frontend, of_tomorrow=[1])).expect(ok("execute_reply"))
    frontend.ask("kernel_info_request", {"of_tomorrow": [1]}).expect(ok("kernel_info_reply"))


@requirement("kernel.payload-tolerated")
def test_a_payload_is_a_list_of_objects_that_say_where_they_come_from(kernel: KernelUnderTest) -> None:
    frontend = kernel.frontend()
    reply = frontend.reply(good(frontend)).expect(ok("execute_reply"))
    payload = reply.content.get("payload", [])
    if not isinstance(payload, list) or any(not isinstance(each, dict) or "source" not in each for each in payload):
        violate(f"the payload {payload!r:.200}", "a list of objects with a source, or none",
                evidence=(reply.observation.seq,))  # fmt: skip


@requirement("wire.dispatch-by-type")
def test_what_a_request_is_says_its_type_and_nothing_else(kernel: KernelUnderTest) -> None:
    frontend = kernel.frontend()
    content = {"code": kernel.sample("print", text="hello"), "silent": False, "msg_type": "execute_request"}
    request = frontend.send("kernel_info_request", content)
    frontend.reply(request).expect(ok("kernel_info_reply"))
    kernel.until_idle(request)
    if kernel.outputs(request, "execute_input", "stream"):
        violate("code was run for a kernel_info_request", "nothing but its answer")


# -- the counter -------------------------------------------------------------------------------------------------------


@requirement("kernel.execution-count", "kernel.count-in-ok-and-error")
def test_the_counter_rises_with_each_request(kernel: KernelUnderTest) -> None:
    frontend = kernel.frontend()
    counts = []
    for send, pattern in ((good, ok), (good, ok), (bad, error), (good, ok)):
        reply = frontend.reply(send(frontend)).expect(pattern("execute_reply"))
        reply.expect(pattern("execute_reply", execution_count=kind(int)), requirement="kernel.count-in-ok-and-error")
        counts.append(reply.content["execution_count"])
    if counts != list(range(counts[0], counts[0] + 4)) or counts[0] < 1:
        violate(f"the counts {counts}", "from 1, one more each time")


@requirement("kernel.execution-count")
def test_the_counter_starts_at_one(fresh_kernel: KernelUnderTest) -> None:
    frontend = fresh_kernel.frontend()
    frontend.reply(good(frontend)).expect(ok("execute_reply", execution_count=1))


@requirement("kernel.silent-quiet")
def test_a_silent_request_does_not_count(kernel: KernelUnderTest) -> None:
    expect_uncounted(kernel, silent=True)


@requirement("kernel.store-history-false")
def test_a_request_that_is_not_to_be_stored_does_not_count(kernel: KernelUnderTest) -> None:
    expect_uncounted(kernel, store_history=False)


def expect_uncounted(kernel: KernelUnderTest, **content: object) -> None:
    """A request with these fields must leave the counter alone."""
    frontend = kernel.frontend()
    before = count(frontend, good(frontend))
    frontend.reply(good(frontend, **content)).expect(ok("execute_reply"))
    frontend.reply(good(frontend)).expect(ok("execute_reply", execution_count=before + 1))


# -- many requests, many frontends -------------------------------------------------------------------------------------


@requirement("kernel.shell-fifo", "wire.at-most-one-reply")
def test_requests_of_one_frontend_are_answered_in_the_order_sent(kernel: KernelUnderTest) -> None:
    frontend = kernel.frontend()
    requests = [good(frontend) for _ in range(50)]
    frontend.reply(requests[-1])
    order = [parent_id(seen) for seen in kernel.replies]
    if sorted(map(str, order)) != sorted(request.msg_id for request in requests):
        violate(f"{len(order)} replies", "one reply for each of 50 requests", requirement="wire.at-most-one-reply")
    if order != [request.msg_id for request in requests]:
        violate("50 replies in another order", "the order sent")


@requirement("kernel.many-frontends", "kernel.reply-to-sender-only")
def test_each_frontend_gets_its_own_replies_and_no_others(kernel: KernelUnderTest) -> None:
    frontends = [kernel.frontend() for _ in range(4)]
    requests = [(frontend, good(frontend)) for _ in range(5) for frontend in frontends]
    for frontend, request in requests:
        frontend.reply(request).expect(ok("execute_reply"))
    for frontend in frontends:
        mine = {request.msg_id for owner, request in requests if owner is frontend}
        strays = [seen for seen in frontend.received if parent_id(seen) not in mine]
        if strays:
            violate(f"{frontend.name} got {len(strays)} replies to others", "its own",
                    requirement="kernel.reply-to-sender-only", evidence=(strays[0].seq,))  # fmt: skip


# -- an error and what waits behind it ---------------------------------------------------------------------------------


def queue(frontend: Frontend, *requests: Message) -> int:
    """Send requests in one go, so that all but the first wait while that one runs; when that began."""
    began = frontend.world.now
    for request in requests:
        frontend.post(request)
    return began


def expect_aborted(frontend: Frontend, request: Message, since: int) -> Reply:
    """A request that waited behind one that fails must not be run."""
    reply = frontend.reply(request, requirement="kernel.aborted-answered")
    if reply.content.get("status") == "ok":
        # It may not have waited at all if the kit itself stood still, or the kernel.
        frontend.kernel.expect_unhindered(since, MOMENT)
        violate("a request that waited behind an error was run", "status aborted",
                requirement="kernel.stop-on-error-aborts", evidence=(reply.observation.seq,))  # fmt: skip
    return reply


def code(frontend: Frontend, sample: str, *, content: dict[str, object] | None = None, **values: object) -> Message:
    """A request for code, not sent."""
    said = {"code": frontend.kernel.sample(sample, **values), "silent": False} | (content or {})
    return frontend.message("execute_request", said)


def slow_error(kernel: KernelUnderTest) -> str:
    """Code that takes a moment, in which others can be queued, and fails."""
    return kernel.sample("sleep", seconds=MOMENT / SECOND) + "\n" + kernel.sample("raise", text="badness")


def failing(frontend: Frontend, **content: object) -> Message:
    """A request that fails after a moment, not sent."""
    return frontend.message("execute_request", {"code": slow_error(frontend.kernel), "silent": False} | content)


@requirement("kernel.stop-on-error-aborts", "kernel.aborted-answered")
def test_after_an_error_what_waits_is_aborted(kernel: KernelUnderTest) -> None:
    frontend = kernel.frontend()
    first = failing(frontend)
    waiting = [code(frontend, "print", text="waits") for _ in range(2)]
    since = queue(frontend, first, *waiting)
    frontend.reply(first).expect(error("execute_reply"))
    for request in waiting:
        expect_aborted(frontend, request, since).expect(
            ABORTED, error("execute_reply"), requirement="kernel.aborted-answered"
        )


@requirement("kernel.aborted-answered", "kernel.status-brackets")
def test_an_aborted_request_has_its_brackets_and_nothing_else(kernel: KernelUnderTest) -> None:
    frontend = kernel.frontend()
    first, waiting = failing(frontend), code(frontend, "print", text="waits")
    expect_aborted(frontend, waiting, queue(frontend, first, waiting))
    seen = kernel.until_idle(waiting)
    shown = [each.message.msg_type for each in seen if each.message and each.message.msg_type != "status"]
    if shown:
        violate(f"{', '.join(shown)} of an aborted request", "nothing but its brackets", evidence=(seen[0].seq,))
    if kernel.states(waiting) != ["busy", "idle"]:
        violate(f"the states {kernel.states(waiting)}", "busy, then idle", requirement="kernel.status-brackets")


@requirement("kernel.aborted-answered")
def test_an_aborted_request_does_not_count(kernel: KernelUnderTest) -> None:
    frontend = kernel.frontend()
    first, waiting = failing(frontend), code(frontend, "print", text="waits")
    since = queue(frontend, first, waiting)
    before = frontend.reply(first).expect(error("execute_reply", execution_count=kind(int))).content["execution_count"]
    expect_aborted(frontend, waiting, since)
    after = frontend.reply(good(frontend)).expect(ok("execute_reply"), requirement="kernel.later-requests-run")
    if after.content.get("execution_count") != before + 1:
        violate(f"the counter went from {before} to {after.content.get('execution_count')}", f"to {before + 1}",
                evidence=(after.observation.seq,))  # fmt: skip


@requirement("kernel.stop-on-error-false")
def test_without_stop_on_error_what_waits_is_run(kernel: KernelUnderTest) -> None:
    frontend = kernel.frontend()
    first = failing(frontend, stop_on_error=False)
    waiting = [code(frontend, "print", text="waits") for _ in range(2)]
    queue(frontend, first, *waiting)
    frontend.reply(first).expect(error("execute_reply"))
    for request in waiting:
        frontend.reply(request).expect(ok("execute_reply"))


@requirement("kernel.abort-spares-other-types")
def test_requests_of_other_types_are_not_aborted(kernel: KernelUnderTest) -> None:
    frontend = kernel.frontend()
    first, question = failing(frontend), frontend.message("kernel_info_request")
    waiting = code(frontend, "print", text="waits")
    queue(frontend, first, question, waiting)
    frontend.reply(question).expect(ok("kernel_info_reply"))
    frontend.reply(waiting)
    order = [parent_id(seen) for seen in frontend.received]
    if order != [first.msg_id, question.msg_id, waiting.msg_id]:
        violate("replies in another order", "the order sent")


@requirement("kernel.later-requests-run")
def test_what_is_sent_after_the_abort_is_run(kernel: KernelUnderTest) -> None:
    frontend = kernel.frontend()
    first, waiting = failing(frontend), code(frontend, "print", text="waits")
    queue(frontend, first, waiting)
    frontend.reply(waiting)
    frontend.reply(good(frontend)).expect(ok("execute_reply"))


@requirement("kernel.silent-error-aborts-nothing")
def test_a_silent_request_that_fails_aborts_nothing(kernel: KernelUnderTest) -> None:
    frontend = kernel.frontend()
    first, waiting = failing(frontend, silent=True), code(frontend, "print", text="waits")
    queue(frontend, first, waiting)
    frontend.reply(first).expect(error("execute_reply"), requirement="kernel.execute-answered")
    frontend.reply(waiting).expect(ok("execute_reply"))


@requirement("kernel.abort-spans-frontends")
def test_what_others_have_waiting_is_run_or_aborted_and_in_any_case_answered(kernel: KernelUnderTest) -> None:
    first, other = kernel.frontend(), kernel.frontend()
    kernel.until_idle(good(other))
    running = failing(first)
    first.post(running)
    kernel.until_running(running)
    waiting = good(other)
    other.reply(waiting).expect(ok("execute_reply"), ABORTED, error("execute_reply"))


@pytest.mark.parametrize("flag", ["silent", "store_history", "stop_on_error", "allow_stdin"])
@requirement("kernel.execute-answered")
def test_each_flag_may_be_left_out(kernel: KernelUnderTest, flag: str) -> None:
    frontend = kernel.frontend()
    whole = {"silent": False, "store_history": True, "stop_on_error": False, "allow_stdin": False}
    content = {key: value for key, value in whole.items() if key != flag}
    said = {"code": kernel.sample("print", text="hello"), "user_expressions": {}} | content
    frontend.ask("execute_request", said).expect(ok("execute_reply"))
