"""Results asked from the Hub: what is pending, what is completed, and the replies with their buffers.

Source: IPython commit a2c57acba, parallel_messages.txt, "Client Queries".
"""

import pytest

from conformance.harness.actors import Client, Engine, Reply
from conformance.harness.case import needs, requirement
from conformance.harness.controller import Controller
from conformance.harness.expect import error, kind, ok, refusal
from conformance.harness.verdict import NotApplicable, violate
from protocol.requirements import get
from protocol.wire import Json, Message

pytestmark = needs("results", "mux")

RECORD_KEYS = ("header", "metadata", "result_header", "result_metadata", "result_content", "received", "io")
IO_KEYS = ("execute_input", "execute_result", "error", "stdout", "stderr")

#: What the flag that leaves the results out is called.
STATUS_ONLY = {"ipython-0.1x": "status_only", "documented": "statusonly", "ipyparallel-9": "status_only"}

FAILED = {"status": "error", "ename": "ValueError", "evalue": "no", "traceback": ["ValueError: no"]}


def worker(controller: Controller) -> Engine:
    return controller.engine().with_shell().registered()


def ids(*requests: Message) -> list[str]:
    return [request.msg_id for request in requests]


def status_only(controller: Controller, *requests: Message) -> Json:
    return {"msg_ids": ids(*requests), STATUS_ONLY[controller.dialect]: True}


def record(client: Client, request: Message) -> Json:
    reply = client.ask("result_request", {"msg_ids": ids(request)}).expect(ok("result_reply", completed=ids(request)))
    found = reply.content.get(request.msg_id)
    if not isinstance(found, dict):
        violate(f"{found!r} under {request.msg_id}", "an entry", requirement="query.result-completed")
    return found


def expect_in_one_place(client: Client, *requests: Message) -> None:
    content = client.ask("result_request", {"msg_ids": ids(*requests)}).expect(ok("result_reply")).content
    if sorted(content["pending"] + content["completed"]) != sorted(ids(*requests)):
        violate(f"{content['pending']} pending, {content['completed']} completed", f"each of {ids(*requests)} once")


def expect_buffers(reply: Reply, *wanted: bytes) -> None:
    found = tuple(bytes(buffer) for buffer in reply.expect(ok("result_reply")).message.buffers)
    if found != wanted:
        violate(f"the buffers {found!r}", f"the buffers {wanted!r}")


@requirement("query.result-by-msg-id")
@pytest.mark.parametrize("number", [1, 3], ids=["one", "three"])
def test_the_reply_deals_with_exactly_the_messages_asked_for(controller: Controller, number: int) -> None:
    engine, client = worker(controller), controller.client()
    requests = [client.run_on(engine) for _ in range(5)]
    asked, others = requests[-number:], requests[:-number]
    reply = client.ask("result_request", {"msg_ids": ids(*asked)}).expect(ok("result_reply", pending=[]))
    if sorted(reply.content["completed"]) != sorted(ids(*asked)):
        violate(f"completed {reply.content['completed']}", f"completed {ids(*asked)}")
    unasked = reply.content.keys() & set(ids(*others))
    if unasked:
        violate(f"entries for {unasked}", "only the messages asked for")


@requirement("query.result-completed")
def test_a_message_with_a_result_is_completed_and_has_an_entry(controller: Controller) -> None:
    engine, client = worker(controller), controller.client()
    request = client.run_on(engine)
    reply = client.ask("result_request", {"msg_ids": ids(request)})
    reply.expect(ok("result_reply", pending=[], completed=ids(request), **{request.msg_id: kind(dict)}))


@requirement("query.result-pending")
def test_a_message_without_result_is_pending_and_has_no_entry(controller: Controller) -> None:
    engine, client = worker(controller), controller.client()
    request = client.submit(engine)
    client.await_pending(request)
    reply = client.ask("result_request", {"msg_ids": ids(request)})
    reply.expect(ok("result_reply", pending=ids(request), completed=[]))
    if request.msg_id in reply.content:
        violate(f"the entry {reply.content[request.msg_id]!r}", "no entry for a pending message")


@requirement("query.result-one-place")
def test_a_message_is_pending_or_completed_and_never_both(controller: Controller) -> None:
    engine, client = worker(controller), controller.client()
    done = client.run_on(engine)
    waits = client.submit(engine)
    client.await_pending(waits)
    expect_in_one_place(client, done, waits)
    client.finish(waits, engine)
    expect_in_one_place(client, done, waits)


@requirement("query.result-content")
def test_the_entry_has_the_content_that_the_engine_sent(controller: Controller) -> None:
    engine, client = worker(controller), controller.client()
    sent = {"status": "ok", "payload": [], "of the case": {"depth": [1, None, "ü"]}}
    request = client.finish(client.submit(engine), engine, content=sent)
    found = record(client, request).get("result_content")
    if found != sent:
        violate(f"result_content {found!r}", f"{sent!r}")


@requirement("query.result-record-keys")
def test_an_entry_has_all_its_keys(controller: Controller) -> None:
    engine, client = worker(controller), controller.client()
    found = record(client, client.run_on(engine))
    missing = [key for key in RECORD_KEYS if key not in found]
    missing += [f"io.{key}" for key in IO_KEYS if key not in (found.get("io") or {})]
    if missing:
        violate(f"an entry without {missing}", "all of them")


@requirement("query.result-header")
def test_the_headers_of_an_entry_are_those_of_request_and_reply(controller: Controller) -> None:
    engine, client = worker(controller), controller.client()
    request = client.submit(engine)
    reply = engine.answer(engine.take())
    client.result(request)
    client.await_completed(request)
    found = record(client, request)
    for key, wanted in (("header", request.header), ("result_header", reply.header)):
        if found.get(key) != wanted:
            violate(f"{key} {found.get(key)!r}", f"{wanted!r}")


@requirement("query.result-buffers")
def test_the_result_comes_with_the_buffers_that_the_engine_sent(controller: Controller) -> None:
    engine, client = worker(controller), controller.client()
    buffers = (b"", b"\x00" * 100_000, b"<IDS|MSG>")
    request = client.finish(client.submit(engine), engine, buffers=buffers)
    expect_buffers(client.ask("result_request", {"msg_ids": ids(request)}), *buffers)


@requirement("query.result-buffers-order")
def test_the_buffers_of_several_results_are_in_the_order_of_the_sorted_ids(controller: Controller) -> None:
    engine, client = worker(controller), controller.client()
    requests = [client.submit(engine) for _ in range(4)]
    buffers = {request.msg_id: (request.msg_id.encode(), b"of it") for request in requests}
    for request in requests:
        client.finish(request, engine, buffers=buffers[request.msg_id])
    reply = client.ask("result_request", {"msg_ids": ids(*reversed(requests))})
    expect_buffers(reply, *(buffer for msg_id in sorted(buffers) for buffer in buffers[msg_id]))


@requirement("query.result-no-buffers")
def test_no_buffers_come_when_nothing_is_complete_or_only_the_status_was_asked_for(controller: Controller) -> None:
    engine, client = worker(controller), controller.client()
    done = client.run_on(engine)
    waits = client.submit(engine)
    client.await_pending(waits)
    expect_buffers(client.ask("result_request", {"msg_ids": ids(waits)}))
    expect_buffers(client.ask("result_request", status_only(controller, done)))


@requirement("query.result-status-only")
def test_a_question_about_the_status_is_answered_with_two_lists_and_no_entries(controller: Controller) -> None:
    engine, client = worker(controller), controller.client()
    done = client.run_on(engine)
    waits = client.submit(engine)
    client.await_pending(waits)
    reply = client.ask("result_request", status_only(controller, done, waits))
    reply.expect(ok("result_reply", pending=ids(waits), completed=ids(done)))
    if done.msg_id in reply.content:
        violate(f"the entry {reply.content[done.msg_id]!r}", "no entries")


def expect_flag_heeded(controller: Controller, slug: str, flag: str) -> None:
    if controller.dialect not in get(slug).dialects:
        raise NotApplicable(f"the dialect {controller.dialect} has another name for this flag")
    engine, client = worker(controller), controller.client()
    request = client.run_on(engine)
    reply = client.ask("result_request", {"msg_ids": ids(request), flag: True}).expect(ok("result_reply"))
    if request.msg_id in reply.content:
        violate(f"an entry in spite of {flag}", "no entries")


@requirement("query.status-only-accepted")
def test_the_flag_of_today_leaves_the_results_out(controller: Controller) -> None:
    expect_flag_heeded(controller, "query.status-only-accepted", "status_only")


@requirement("query.statusonly-accepted")
def test_the_documented_flag_leaves_the_results_out(controller: Controller) -> None:
    expect_flag_heeded(controller, "query.statusonly-accepted", "statusonly")


@requirement("query.result-status-only-default")
@pytest.mark.parametrize("flag", [None, False], ids=["missing", "false"])
def test_the_results_come_unless_only_the_status_was_asked_for(controller: Controller, flag: bool | None) -> None:
    engine, client = worker(controller), controller.client()
    request = client.run_on(engine)
    asked = {"msg_ids": ids(request)} | ({} if flag is None else {STATUS_ONLY[controller.dialect]: flag})
    client.ask("result_request", asked).expect(ok("result_reply", **{request.msg_id: kind(dict)}))


@requirement("query.result-any-client")
def test_another_client_may_ask_for_the_result(controller: Controller) -> None:
    engine = worker(controller)
    request = controller.client().run_on(engine)
    record(controller.client(), request)


@requirement("query.result-repeatable")
def test_a_result_can_be_asked_for_again(controller: Controller) -> None:
    engine, client = worker(controller), controller.client()
    request = client.run_on(engine)
    first, second = (client.ask("result_request", {"msg_ids": ids(request)}).message for _ in range(2))
    if first.content != second.content or list(map(bytes, first.buffers)) != list(map(bytes, second.buffers)):
        violate(f"{second.content!r} the second time", f"{first.content!r}, as the first time")


@requirement("query.result-unknown-id")
@pytest.mark.parametrize("status", [False, True], ids=["result", "status"])
def test_a_question_about_an_unknown_message_is_refused(controller: Controller, status: bool) -> None:
    asked = {"msg_ids": ["never-sent"], STATUS_ONLY[controller.dialect]: status}
    controller.client().ask("result_request", asked).expect(error("result_reply"))


@requirement("query.result-partly-unknown")
def test_one_unknown_message_makes_the_reply_an_error(controller: Controller) -> None:
    engine, client = worker(controller), controller.client()
    request = client.run_on(engine)
    client.ask("result_request", {"msg_ids": [*ids(request), "never-sent"]}).expect(*refusal("result_reply"))


@requirement("query.result-msg-ids-missing")
def test_a_result_request_without_message_ids_is_refused(controller: Controller) -> None:
    reply = controller.client().ask_unchecked("no msg_ids", "result_request", {})
    reply.expect(*refusal("result_reply"))


@requirement("query.result-targets-tolerated")
def test_a_result_request_may_name_targets(controller: Controller) -> None:
    engine, client = worker(controller), controller.client()
    request = client.run_on(engine)
    for targets in ([engine.id], [engine.uuid]):
        reply = client.ask("result_request", {"msg_ids": ids(request), "targets": targets})
        reply.expect(ok("result_reply", completed=ids(request)))


@requirement("query.result-failed-is-completed")
@pytest.mark.parametrize("content", [FAILED, {"status": "aborted"}], ids=["error", "aborted"])
def test_a_message_that_failed_is_completed_with_its_error(controller: Controller, content: Json) -> None:
    engine, client = worker(controller), controller.client()
    request = client.finish(client.submit(engine), engine, content=content)
    found = record(client, request).get("result_content")
    if found != content:
        violate(f"result_content {found!r}", f"{content!r}")
