"""The history: every message that the Hub has a record of.

Source: measured on ipyparallel 9.2.0; the documents name the feature without its messages.
"""

from conformance.harness.actors import Client, Engine
from conformance.harness.case import needs, requirement
from conformance.harness.controller import Controller
from conformance.harness.expect import kind, ok
from conformance.harness.verdict import violate

pytestmark = needs("history", "results", "mux")


def worker(controller: Controller) -> Engine:
    return controller.engine().with_shell().registered()


def history(client: Client) -> list[str]:
    reply = client.ask("history_request", {})
    reply.expect(ok("history_reply", history=kind(list)), requirement="query.history-answered")
    return list(reply.content["history"])


@requirement("query.history-answered")
def test_the_history_lists_what_was_submitted(fresh_controller: Controller) -> None:
    engine, client = worker(fresh_controller), fresh_controller.client()
    if before := history(client):
        violate(f"the history {before}", "an empty history")
    done = client.run_on(engine)
    waits = client.submit(engine)
    client.await_pending(waits)
    found = history(client)
    if sorted(found) != sorted([done.msg_id, waits.msg_id]):
        violate(f"the history {found}", f"{[done.msg_id, waits.msg_id]}")


@requirement("query.history-order")
def test_the_history_is_in_the_order_of_submission(controller: Controller) -> None:
    first, second, client = worker(controller), worker(controller), controller.client()
    requests = [client.submit(engine) for engine in (first, second, second, first)]
    # What was submitted first is answered last: the order of the results is another one.
    for engine in (second, first):
        for _ in range(2):
            engine.answer(engine.take())
    for request in requests:
        client.await_completed(request)
    wanted = [request.msg_id for request in requests]
    listed = [msg_id for msg_id in history(client) if msg_id in wanted]
    if listed != wanted:
        violate(f"{listed} in the history", f"{wanted}")


@requirement("query.history-once")
def test_each_message_stands_in_the_history_once(controller: Controller) -> None:
    engine, client = worker(controller), controller.client()
    requests = [client.run_on(engine) for _ in range(3)]
    found = history(client)
    for request in requests:
        if found.count(request.msg_id) != 1:
            violate(f"{request.msg_id} {found.count(request.msg_id)} times in the history", "each message once")
    if len(set(found)) < len(found):
        violate(f"{len(found)} entries for {len(set(found))} messages", "each message once")
