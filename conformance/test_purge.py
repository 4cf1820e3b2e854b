"""Telling the Hub to forget results: what goes, what stays, and what is refused.

Source: IPython commit a2c57acba, parallel_messages.txt, "Client Queries".
"""

import pytest

from conformance.harness.actors import Client, Engine
from conformance.harness.case import destructive, needs, requirement
from conformance.harness.controller import Controller
from conformance.harness.expect import ok, refusal
from conformance.harness.verdict import violate
from protocol.wire import Json, Message

pytestmark = needs("purge", "results", "mux")


def worker(controller: Controller) -> Engine:
    return controller.engine().with_shell().registered()


def purge(client: Client, **content: object) -> None:
    client.ask("purge_request", content).expect(ok("purge_reply"), requirement="query.purge-answered")


def expect_known(client: Client, *requests: Message) -> None:
    wanted = [request.msg_id for request in requests]
    reply = client.ask("result_request", {"msg_ids": wanted})
    if reply.is_error:
        violate(f"{reply.msg_type} {reply.content.get('evalue')!r:.200}", f"the results of {wanted}, which stay")
    missing = [msg_id for msg_id in wanted if msg_id not in reply.content]
    if missing:
        violate(f"no results for {missing}", "the results, which stay")


def expect_forgotten(client: Client, request: Message) -> None:
    client.ask("result_request", {"msg_ids": [request.msg_id]}).expect(*refusal("result_reply"))


@requirement("query.purge-answered")
def test_a_purge_is_answered(controller: Controller) -> None:
    engine, client = worker(controller), controller.client()
    purge(client, msg_ids=[client.run_on(engine).msg_id])


@requirement("query.purge-by-id")
def test_messages_that_a_purge_names_are_forgotten(controller: Controller) -> None:
    engine, client = worker(controller), controller.client()
    first, second = client.run_on(engine), client.run_on(engine)
    purge(client, msg_ids=[first.msg_id, second.msg_id])
    expect_forgotten(client, first)
    expect_forgotten(client, second)


@requirement("query.purge-by-engine")
def test_what_completed_on_a_purged_engine_is_forgotten(controller: Controller) -> None:
    engine, client = worker(controller), controller.client()
    request = client.run_on(engine)
    purge(client, engine_ids=[engine.id])
    expect_forgotten(client, request)


@destructive("it has every result forgotten")
@requirement("query.purge-all")
def test_a_purge_of_all_forgets_every_result(fresh_controller: Controller) -> None:
    client = fresh_controller.client()
    requests = [client.run_on(worker(fresh_controller)) for _ in range(2)]
    purge(client, msg_ids="all")
    for request in requests:
        expect_forgotten(client, request)


@requirement("query.purge-forgets")
def test_a_purged_message_is_unknown_to_a_result_request(controller: Controller) -> None:
    engine, client = worker(controller), controller.client()
    request = client.run_on(engine)
    purge(client, msg_ids=[request.msg_id])
    expect_forgotten(client, request)


@requirement("query.purge-forgets")
def test_a_purged_message_is_unknown_to_a_question_about_its_status(controller: Controller) -> None:
    engine, client = worker(controller), controller.client()
    request = client.run_on(engine)
    purge(client, msg_ids=[request.msg_id])
    flag = "statusonly" if controller.dialect == "documented" else "status_only"
    client.ask("result_request", {"msg_ids": [request.msg_id], flag: True}).expect(*refusal("result_reply"))


@needs("purge", "results", "mux", "history")
@requirement("query.purge-forgets")
def test_a_purged_message_has_left_the_history(controller: Controller) -> None:
    engine, client = worker(controller), controller.client()
    request = client.run_on(engine)
    purge(client, msg_ids=[request.msg_id])
    history = client.ask("history_request", {}).expect(ok("history_reply")).content["history"]
    if request.msg_id in history:
        violate(f"{request.msg_id} in the history", "a history without it")


@needs("purge", "results", "mux", "db")
@requirement("query.purge-forgets")
def test_a_purged_message_has_left_the_database(controller: Controller) -> None:
    engine, client = worker(controller), controller.client()
    request = client.run_on(engine)
    purge(client, msg_ids=[request.msg_id])
    client.ask("db_request", {"query": {"msg_id": request.msg_id}}).expect(ok("db_reply", records=[]))


@requirement("query.purge-keeps-others")
def test_a_purge_keeps_the_messages_that_it_does_not_name(controller: Controller) -> None:
    engine, client = worker(controller), controller.client()
    gone, stays = client.run_on(engine), client.run_on(engine)
    purge(client, msg_ids=[gone.msg_id])
    expect_known(client, stays)


@requirement("query.purge-keeps-others")
def test_a_purge_of_one_engine_keeps_the_results_of_another(controller: Controller) -> None:
    engine, other, client = worker(controller), worker(controller), controller.client()
    client.run_on(engine)
    stays = client.run_on(other)
    purge(client, engine_ids=[engine.id])
    expect_known(client, stays)


@requirement("query.purge-pending-refused")
def test_a_purge_of_a_pending_message_is_refused(controller: Controller) -> None:
    engine, client = worker(controller), controller.client()
    request = client.submit(engine)
    client.await_pending(request)
    client.ask("purge_request", {"msg_ids": [request.msg_id]}).expect(*refusal("purge_reply"))


def expect_result_survives(client: Client, engine: Engine, request: Message) -> None:
    reply = client.ask("result_request", {"msg_ids": [request.msg_id]})
    reply.expect(ok("result_reply", pending=[request.msg_id]))
    client.finish(request, engine)
    expect_known(client, request)


@requirement("query.purge-keeps-pending")
def test_a_refused_purge_keeps_the_pending_message(controller: Controller) -> None:
    engine, client = worker(controller), controller.client()
    request = client.submit(engine)
    client.await_pending(request)
    client.ask("purge_request", {"msg_ids": [request.msg_id]})
    expect_result_survives(client, engine, request)


@requirement("query.purge-keeps-pending")
def test_a_purge_of_its_engine_keeps_a_pending_message(controller: Controller) -> None:
    engine, client = worker(controller), controller.client()
    request = client.submit(engine)
    client.await_pending(request)
    purge(client, engine_ids=[engine.id])
    expect_result_survives(client, engine, request)


@destructive("it has every result forgotten")
@requirement("query.purge-keeps-pending")
def test_a_purge_of_all_keeps_a_pending_message(fresh_controller: Controller) -> None:
    engine, client = worker(fresh_controller), fresh_controller.client()
    request = client.submit(engine)
    client.await_pending(request)
    purge(client, msg_ids="all")
    expect_result_survives(client, engine, request)


@requirement("query.purge-keeps-pending")
def test_a_purge_that_names_a_pending_message_without_a_list_keeps_it(controller: Controller) -> None:
    engine, client = worker(controller), controller.client()
    request = client.submit(engine)
    client.await_pending(request)
    client.ask_unchecked("an id where a list of ids belongs", "purge_request", {"msg_ids": request.msg_id})
    expect_result_survives(client, engine, request)


@requirement("query.purge-nonexistent-refused")
def test_a_purge_of_an_unknown_message_is_refused(controller: Controller) -> None:
    controller.client().ask("purge_request", {"msg_ids": ["never-sent"]}).expect(*refusal("purge_reply"))


@requirement("query.purge-unknown-engine")
def test_a_purge_of_an_unknown_engine_is_refused(controller: Controller) -> None:
    controller.client().ask("purge_request", {"engine_ids": [1_000_000]}).expect(*refusal("purge_reply"))


@requirement("query.purge-nothing")
@pytest.mark.parametrize(
    "content", [{}, {"msg_ids": []}, {"engine_ids": []}, {"msg_ids": [], "engine_ids": []}], ids=repr
)
def test_a_purge_that_names_nothing_removes_nothing(controller: Controller, content: Json) -> None:
    engine, client = worker(controller), controller.client()
    request = client.run_on(engine)
    client.ask("purge_request", content).expect(ok("purge_reply"))
    expect_known(client, request)


@requirement("query.purge-null-answered")
def test_a_purge_with_null_for_messages_is_answered_and_removes_nothing(controller: Controller) -> None:
    engine, client = worker(controller), controller.client()
    request = client.run_on(engine)
    reply = client.ask_unchecked("null for msg_ids", "purge_request", {"msg_ids": None})
    reply.expect(ok("purge_reply"), *refusal("purge_reply"))
    expect_known(client, request)


@requirement("query.error-changes-nothing")
def test_a_purge_refused_for_a_pending_message_removes_no_other(controller: Controller) -> None:
    engine, client = worker(controller), controller.client()
    done = client.run_on(engine)
    waits = client.submit(engine)
    client.await_pending(waits)
    reply = client.ask("purge_request", {"msg_ids": [done.msg_id, waits.msg_id]})
    reply.expect(*refusal("purge_reply"), requirement="query.purge-pending-refused")
    expect_known(client, done)


@requirement("query.error-changes-nothing")
def test_a_purge_refused_for_an_unknown_engine_removes_no_message(controller: Controller) -> None:
    engine, client = worker(controller), controller.client()
    done = client.run_on(engine)
    reply = client.ask("purge_request", {"msg_ids": [done.msg_id], "engine_ids": [1_000_000]})
    reply.expect(*refusal("purge_reply"), requirement="query.purge-unknown-engine")
    expect_known(client, done)
