"""Requests that the Hub submits again.

Each case has a controller of its own: what it leaves in the task scheduler would reach the engines of other cases.

Source: measured on ipyparallel 9.2.0; the documents name the feature without its messages.
"""

import pytest

from conformance.harness.actors import Client, Engine
from conformance.harness.case import needs, requirement
from conformance.harness.controller import Controller
from conformance.harness.expect import kind, ok, refusal
from conformance.harness.verdict import violate
from protocol.wire import Json, Message
from protocol.world import Observation

pytestmark = needs("resubmit", "results", "mux", "tasks")


def worker(controller: Controller) -> Engine:
    return controller.engine().with_shell("mux", "task").registered()


def resubmit(client: Client, *requests: Message) -> list[str]:
    old = [request.msg_id for request in requests]
    reply = client.ask("resubmit_request", {"msg_ids": old})
    reply.expect(ok("resubmit_reply", resubmitted=kind(dict)), requirement="query.resubmit-answered")
    new = reply.content["resubmitted"]
    if sorted(new) != sorted(old):
        violate(f"resubmitted {new!r}", f"a new id for each of {old}", requirement="query.resubmit-answered")
    return [new[msg_id] for msg_id in old]


def take_again(engine: Engine, msg_id: str) -> Observation:
    taken = engine.take("task", requirement="query.resubmit-runs")
    assert taken.message is not None
    if taken.message.msg_id != msg_id:
        violate(f"the engine was given {taken.message.msg_id}", f"{msg_id}", requirement="query.resubmit-runs")
    return taken


def history(client: Client) -> list[str]:
    found = client.ask("history_request", {}).expect(ok("history_reply", history=kind(list))).content["history"]
    return list(found)


@requirement("query.resubmit-answered")
@pytest.mark.parametrize("number", [1, 2], ids=["one", "two"])
def test_a_resubmission_is_answered_with_new_ids(fresh_controller: Controller, number: int) -> None:
    engine, client = worker(fresh_controller), fresh_controller.client()
    resubmit(client, *(client.run_on(engine) for _ in range(number)))


@needs("resubmit", "results", "mux", "tasks", "history")
@requirement("query.resubmit-fresh-id")
def test_the_new_id_belongs_to_no_other_message(fresh_controller: Controller) -> None:
    engine, client = worker(fresh_controller), fresh_controller.client()
    request = client.run_on(engine)
    before = history(client)
    new = [*resubmit(client, request), *resubmit(client, request)]
    if len({*before, *new}) != len(before) + 2:
        violate(f"the ids {new} beside {before}", "two ids never used before")


@requirement("query.resubmit-runs")
@pytest.mark.parametrize("channel", ["mux", "task"])
def test_a_resubmitted_request_runs_and_has_a_result(fresh_controller: Controller, channel: str) -> None:
    engine, client = worker(fresh_controller), fresh_controller.client()
    request = client.run_on(engine, channel=channel)
    (new,) = resubmit(client, request)
    engine.answer(take_again(engine, new), channel="task", buffers=(b"of the second run",))
    asked = {"msg_ids": [new]}
    reply = client.ask_until(lambda reply: reply.content.get("completed") == [new], "result_request", asked)
    reply.expect(ok("result_reply", completed=[new], **{new: kind(dict)}))
    buffers = [bytes(buffer) for buffer in reply.message.buffers]
    if buffers != [b"of the second run"]:
        violate(f"the buffers {buffers}", "those of the second run")


@requirement("query.resubmit-same-request")
@pytest.mark.parametrize("channel", ["mux", "task"])
def test_what_is_resubmitted_is_the_same_request(fresh_controller: Controller, channel: str) -> None:
    engine, client = worker(fresh_controller), fresh_controller.client()
    request = client.run_on(engine, channel=channel)
    (new,) = resubmit(client, request)
    again = take_again(engine, new).message
    assert again is not None
    for key in request.header.keys() - {"msg_id", "date"}:
        if again.header.get(key) != request.header[key]:
            violate(f"{key} {again.header.get(key)!r} in the header", f"{request.header[key]!r}")
    if again.content != (request.content or {}):
        violate(f"the content {again.content!r}", f"{request.content!r}")
    if [bytes(buffer) for buffer in again.buffers] != [bytes(buffer) for buffer in request.buffers]:
        violate("other buffers", "the buffers of the first submission")


@requirement("query.resubmit-keeps-metadata")
def test_a_resubmitted_task_keeps_its_metadata(fresh_controller: Controller) -> None:
    engine, client = worker(fresh_controller), fresh_controller.client()
    first = client.run_on(engine, channel="task")
    metadata: Json = {
        "targets": [engine.uuid], "after": [first.msg_id], "follow": [first.msg_id],
        "timeout": 60.0, "retries": 2, "label": "again",
    }  # fmt: skip
    request = client.run_on(engine, channel="task", metadata=metadata)
    (new,) = resubmit(client, request)
    again = take_again(engine, new).message
    assert again is not None
    lost = [key for key, value in metadata.items() if again.metadata.get(key) != value]
    if lost:
        violate(f"the metadata {again.metadata!r}", f"{lost} as submitted: {metadata!r}")


@requirement("query.resubmit-unknown-refused")
def test_a_resubmission_of_an_unknown_message_is_refused(controller: Controller) -> None:
    reply = controller.client().ask("resubmit_request", {"msg_ids": ["never-sent"]})
    reply.expect(*refusal("resubmit_reply"))


@needs("resubmit", "results", "mux", "tasks", "history")
@requirement("query.resubmit-all-or-nothing")
def test_a_refused_resubmission_submits_nothing(fresh_controller: Controller) -> None:
    engine, client = worker(fresh_controller), fresh_controller.client()
    request = client.run_on(engine)
    before = history(client)
    reply = client.ask("resubmit_request", {"msg_ids": [request.msg_id, "never-sent"]})
    reply.expect(*refusal("resubmit_reply"), requirement="query.resubmit-unknown-refused")
    if history(client) != before:
        violate(f"the history {history(client)}", f"the history {before}, as before")
    # The scheduler hands out tasks in the order in which they came: one more shows that nothing came before it.
    barrier = client.submit(None, channel="task")
    taken = engine.take("task").message
    assert taken is not None
    if taken.msg_id != barrier.msg_id:
        violate(f"the engine was given {taken.msg_id}", "nothing before the next task")


@requirement("query.resubmit-empty")
def test_a_resubmission_of_nothing_is_ok(controller: Controller) -> None:
    controller.client().ask("resubmit_request", {"msg_ids": []}).expect(ok("resubmit_reply", resubmitted={}))


@requirement("query.resubmit-msg-ids-missing")
def test_a_resubmission_without_message_ids_is_refused(controller: Controller) -> None:
    reply = controller.client().ask_unchecked("no msg_ids", "resubmit_request", {})
    reply.expect(*refusal("resubmit_reply"))


@requirement("query.resubmit-old-result-kept")
def test_the_old_result_stays_as_it_was(fresh_controller: Controller) -> None:
    engine, client = worker(fresh_controller), fresh_controller.client()
    request = client.finish(client.submit(engine), engine, buffers=(b"of the first run",))
    before = client.ask("result_request", {"msg_ids": [request.msg_id]}).expect(ok("result_reply")).message
    (new,) = resubmit(client, request)
    engine.answer(take_again(engine, new), channel="task", buffers=(b"of the second run",))
    asked = {"msg_ids": [new]}
    client.ask_until(lambda reply: reply.content.get("completed") == [new], "result_request", asked)
    after = client.ask("result_request", {"msg_ids": [request.msg_id]}).expect(ok("result_reply")).message
    if after.content != before.content:
        violate(f"the result {after.content!r}", f"{before.content!r}, as before")
    if [bytes(buffer) for buffer in after.buffers] != [b"of the first run"]:
        violate("other buffers", "those of the first run")


@needs("resubmit", "results", "mux", "tasks", "db")
@requirement("query.resubmit-recorded")
def test_the_old_record_names_the_new_message(fresh_controller: Controller) -> None:
    engine, client = worker(fresh_controller), fresh_controller.client()
    request = client.run_on(engine)
    (new,) = resubmit(client, request)
    asked = {"query": {"msg_id": request.msg_id}, "keys": ["resubmitted"]}
    reply = client.ask_until(lambda reply: new in str(reply.content.get("records")), "db_request", asked)
    reply.expect(ok("db_reply", records=[{"msg_id": request.msg_id, "resubmitted": new}]))
