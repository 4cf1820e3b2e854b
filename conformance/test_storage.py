"""What the Hub keeps of requests and results: which messages, which fields, and for how long.

Sources: IPython commit a2c57acba, parallel_messages.txt, "Client Queries"; ipyparallel documentation, "IPython's Task
Database"; measured on ipyparallel 9.2.0.
"""

from datetime import datetime

from conformance.harness.actors import Client
from conformance.harness.case import READING, needs, requirement, settings
from conformance.harness.controller import Controller
from conformance.harness.expect import error, kind, ok, refusal
from conformance.harness.queues import Queue
from conformance.harness.tasks import TaskQueue
from conformance.harness.verdict import violate
from protocol.messages import lookup
from protocol.wire import Json, Message

FIELDS = frozenset({
    "msg_id", "header", "metadata", "content", "submitted", "client_uuid", "engine_uuid", "started", "completed",
    "resubmitted", "received", "result_header", "result_metadata", "result_content", "queue", "execute_input",
    "execute_result", "error", "stdout", "stderr", "label",
})  # fmt: skip
#: With so many copies in front of it, that of a request comes to the Hub after what its engine tells the Hub itself.
MANY = 200


def record(client: Client, request: Message) -> Json:
    """The whole record of a message, which has its result."""
    asked = {"query": {"msg_id": request.msg_id}}
    reply = client.ask_until(
        lambda reply: any(each.get("completed") for each in reply.content.get("records") or ()), "db_request", asked
    ).expect(ok("db_reply", records=kind(list)))
    if not reply.content["records"]:
        violate(f"no record of {request.msg_id}", "one", requirement="storage.requests-recorded")
    return dict(reply.content["records"][0])


def outcome(client: Client, request: Message, *, requirement: str | None = None) -> Json:
    """What the Hub says of the result of a message, once it is completed; a `requirement` is accused if it never is."""
    asked = {"msg_ids": [request.msg_id]}
    reply = client.ask_until(lambda reply: reply.content.get("completed") == [request.msg_id], "result_request", asked)
    wanted = ok("result_reply", completed=[request.msg_id], **{request.msg_id: kind(dict)})
    reply.expect(wanted, requirement=requirement)
    return dict(reply.content[request.msg_id])


def place(client: Client, request: Message) -> str:
    """Where the Hub has a message: pending, completed, or unknown."""
    asked = {"msg_ids": [request.msg_id], "status_only": True}
    reply = client.ask("result_request", asked).expect(ok("result_reply"), *refusal("result_reply"))
    if reply.is_error:
        return "unknown"
    found = [name for name in ("pending", "completed") if request.msg_id in reply.content[name]]
    if len(found) != 1:
        violate(f"{reply.content!r:.200}", "one place", requirement="storage.pending-completed-disjoint")
    return found[0]


# -- what is on record -------------------------------------------------------------------------------------------------


@needs("mux", "db")
@requirement("storage.requests-recorded", "storage.queue-named", "storage.client-and-engine-named")
def test_a_request_through_mux_is_on_record_with_its_result(controller: Controller) -> None:
    mux = Queue(controller, "mux")
    engine, client = mux.engine(), controller.client()
    given, reply = mux.exchange(client, engine)
    assert given.message is not None
    assert reply.message is not None
    expect_record(record(controller.client(), given.message), given.message, reply.message, "mux", engine.uuid)


@needs("mux", "db")
@requirement("storage.requests-recorded")
def test_a_request_is_on_record_though_the_hub_hears_first_that_its_engine_leaves(controller: Controller) -> None:
    mux = Queue(controller)
    busy, leaving = mux.engine(), mux.engine()
    client, asking = controller.client(), controller.client()
    for _ in range(MANY):
        mux.send(client, busy)
    request = mux.send(client, leaving)
    mux.delivered(leaving, request)
    leaving.unregister()
    controller.notifications.expect(
        "unregistration_notification", uuid=leaving.uuid, requirement="registration.unregistration-honoured"
    )
    # Copies keep their order: the Hub that knows of this one has read the one before it.
    last = mux.send(client, busy)
    asking.ask_until(
        lambda reply: not reply.is_error, "result_request", {"msg_ids": [last.msg_id], "status_only": True}
    )
    if place(asking, last) == "unknown":
        violate(f"the Hub does not know {last.msg_id}, which an engine was given", "pending")
    if place(asking, request) == "unknown":
        violate(f"the Hub does not know {request.msg_id}, which an engine was given", "pending, or completed")


@needs("tasks", "db")
@settings(scheme=READING)
@requirement("storage.requests-recorded", "storage.queue-named", "storage.client-and-engine-named")
def test_a_task_is_on_record_with_its_result(controller: Controller) -> None:
    queue = TaskQueue(controller)
    engine = queue.finish(task := queue.submit(label="kept"))
    expect_record(record(controller.client(), task), task, queue.reply(task).message, "task", engine.uuid)


def expect_record(found: Json, request: Message, reply: Message, queue: str, engine: str) -> None:
    if found.get("queue") != queue:
        violate(f"queue {found.get('queue')!r}", repr(queue), requirement="storage.queue-named")
    named = found.get("client_uuid"), found.get("engine_uuid")
    if named != (request.header["session"], engine):
        wanted = f"{(request.header['session'], engine)}"
        violate(f"client_uuid and engine_uuid {named}", wanted, requirement="storage.client-and-engine-named")
    expected = {"content": request.content, "metadata": request.metadata, "result_content": reply.content}
    for name, value in expected.items():
        if found.get(name) != value:
            violate(f"{name} {found.get(name)!r:.200}", f"{value!r:.200}, as sent")
    # A date in a header may be given back in another form.
    for name, message in (("header", request), ("result_header", reply)):
        head = found.get(name)
        keys = ("msg_id", "msg_type", "session")
        if not isinstance(head, dict) or any(head.get(key) != message.header[key] for key in keys):
            violate(f"{name} {head!r:.200}", f"{message.header!r:.200}, as sent")


@needs("mux", "db")
@requirement("storage.record-fields")
def test_a_record_has_all_its_fields_before_and_after_the_result(controller: Controller) -> None:
    mux = Queue(controller, "mux")
    engine, client = mux.engine(), controller.client()
    request = mux.send(client, engine)
    given = mux.delivered(engine, request)
    client.await_pending(request)
    asked = {"query": {"msg_id": request.msg_id}}
    before = client.ask("db_request", asked).expect(ok("db_reply", records=kind(list))).content["records"]
    mux.answer(engine, given)
    for when, found in (("without", before[0] if before else {}), ("with", record(client, request))):
        if missing := sorted(FIELDS - found.keys()):
            violate(f"a record {when} a result lacks {', '.join(missing)}", "all fields, null where there is nothing")


@needs("mux", "db")
@requirement("storage.times-ordered")
def test_the_times_of_a_record_follow_each_other(controller: Controller) -> None:
    mux = Queue(controller, "mux")
    engine, client = mux.engine(), controller.client()
    request = mux.send(client, engine)
    given = mux.delivered(engine, request)
    controller.let_pass(5_000_000)
    mux.answer(engine, given)
    mux.replied(client, request)
    names = ("submitted", "started", "completed", "received")
    times = [record(client, request).get(name) for name in names]
    if not all(isinstance(time, str) for time in times):
        violate(f"{dict(zip(names, times, strict=True))}", "four dates")
    moments = [datetime.fromisoformat(str(time)) for time in times]
    if moments != sorted(moments):
        violate(f"{dict(zip(names, times, strict=True))}", ", then ".join(names))
    mux.exchange(client, engine)
    if [record(client, request).get(name) for name in names] != times:
        violate("other times when asked again", f"{times}, each set once")


@needs("tasks", "results")
@settings(scheme=READING)
@requirement("storage.intask-recorded-on-submission")
def test_a_task_is_on_record_before_an_engine_has_it(controller: Controller) -> None:
    queue = TaskQueue(controller, engines=1)
    held = queue.submit()
    queue.taken(held)
    waits = queue.submit(after=[held.msg_id])
    asked = {"msg_ids": [waits.msg_id]}
    queue.client.ask_until(lambda reply: not reply.is_error, "result_request", asked).expect(
        ok("result_reply", pending=[waits.msg_id], completed=[])
    )
    if queue.to(waits):
        violate("an engine was given it", "it waits", requirement="dependency.after-waits")
    queue.finish(held)
    queue.finish(waits)


@needs("mux", "results")
@requirement("storage.unroutable-unrecorded")
def test_a_request_to_nobody_never_has_a_good_result(controller: Controller) -> None:
    mux = Queue(controller, "mux")
    engine, client = mux.engine(), controller.client()
    lost = client.make("apply_request", {}, buffers=(b"f",), identities=[b"nobody-has-this"])
    mux.disturb(client, controller.codec.encode(lost), "names nobody")
    marker, _ = mux.exchange(client, engine)
    assert marker.message is not None
    client.await_completed(marker.message)
    reply = client.ask("result_request", {"msg_ids": [lost.msg_id]})
    reply.expect(ok("result_reply"), *refusal("result_reply"))
    result = reply.content.get(lost.msg_id)
    if isinstance(result, dict) and (result.get("result_content") or {}).get("status") == "ok":
        violate(f"the result {result!r:.200} of a request that reached nobody", "none, pending, or an error")


# -- how long ----------------------------------------------------------------------------------------------------------


@needs("mux", "results")
@requirement("storage.results-kept", "storage.results-of-dead-engines")
def test_a_result_is_there_when_client_and_engine_have_gone(controller: Controller) -> None:
    mux = Queue(controller, "mux")
    engine, client = mux.engine(), controller.client()
    given, _ = mux.exchange(client, engine)
    assert given.message is not None
    client.await_completed(given.message)
    client.close()
    other = controller.client()
    kept = outcome(other, given.message)
    engine.unregister()
    controller.notifications.expect(
        "unregistration_notification", uuid=engine.uuid, requirement="registration.unregistration-honoured"
    )
    requirement = "storage.results-of-dead-engines"
    if (after := outcome(other, given.message, requirement=requirement)) != kept:
        violate(f"{after!r:.200}", f"{kept!r:.200}, as before", requirement=requirement)


@needs("mux", "results")
@requirement("storage.late-result-once")
def test_a_second_result_does_not_change_the_record(controller: Controller) -> None:
    mux = Queue(controller, "mux")
    engine, client = mux.engine(), controller.client()
    given, _ = mux.exchange(client, engine)
    assert given.message is not None
    first = outcome(client, given.message)
    mux.answer(engine, given, content={"status": "error", "ename": "Second", "evalue": "", "traceback": []})
    # What follows by the same way is on record only after the second answer was seen.
    marker = mux.send(client, engine)
    mux.answer(engine, mux.delivered(engine, marker))
    client.await_completed(marker)
    if (second := outcome(client, given.message)) != first:
        found, wanted = (each.get("result_content") for each in (second, first))
        violate(f"the result {found!r:.200}", f"{wanted!r:.200} and all else as recorded first")


@needs("mux", "queue", "results", "tasks")
@settings(scheme=READING)
@requirement("storage.pending-completed-disjoint", "storage.sets-within-pending")
def test_every_message_is_in_one_place_and_what_engines_hold_is_pending(controller: Controller) -> None:
    queue, mux = TaskQueue(controller, engines=1), Queue(controller, "mux")
    engine, client = mux.engine(), controller.client()
    # The engine on MUX is no place for a task.
    target = [queue.engines[0].uuid]
    running = queue.submit(targets=target)
    queue.taken(running)
    waiting = queue.submit(after=[running.msg_id], targets=target)
    direct = mux.send(client, engine)
    given = mux.delivered(engine, direct)
    for request in (running, waiting, direct):
        client.await_pending(request)
    done, _ = mux.exchange(client, mux.engine())
    assert done.message is not None
    client.await_completed(done.message)
    content = client.ask("queue_request", {"targets": None, "verbose": True}).expect(ok("queue_reply")).content
    entries = [entry for entry in content.values() if isinstance(entry, dict)]
    listed = [*content["unassigned"], *(each for entry in entries for each in entry["queue"] + entry["tasks"])]
    # What earlier cases did to the task queue is not this one's to judge.
    listed = [msg_id for msg_id in listed if msg_id.startswith(controller.token)]
    for request in (running, waiting, direct):
        if request.msg_id not in listed:
            violate(f"{request.msg_id} is not among {listed}", "all that is pending", requirement="query.queue-counts")
    asked = {"msg_ids": [*listed, done.message.msg_id], "status_only": True}
    reply = client.ask("result_request", asked).expect(ok("result_reply")).content
    if both := set(reply["pending"]) & set(reply["completed"]):
        violate(f"{sorted(both)} pending and completed", "each in one place")
    if stray := set(listed) - set(reply["pending"]):
        violate(f"{sorted(stray)} listed and not pending", "all pending", requirement="storage.sets-within-pending")
    mux.answer(engine, given)
    for task in (running, waiting):
        queue.finish(task)


# -- how it ended ------------------------------------------------------------------------------------------------------


@needs("tasks", "queue", "results")
@settings(scheme=READING)
@requirement("storage.aborted-not-completed-by-engine")
def test_an_aborted_task_has_a_result_and_does_not_count_as_completed(controller: Controller) -> None:
    queue = TaskQueue(controller, engines=1)
    engine = queue.finish(aborted := queue.submit(), "aborted")
    queue.finish(done := queue.submit())
    for task in (aborted, done):
        queue.client.await_completed(task)
    asked = {"targets": [engine.id], "verbose": True}
    entry = queue.client.ask("queue_request", asked).expect(ok("queue_reply")).content[str(engine.id)]
    if aborted.msg_id in entry["completed"] or done.msg_id not in entry["completed"]:
        violate(f"completed by engine {engine.id}: {entry['completed']}", f"{done.msg_id}, not {aborted.msg_id}")


@needs("tasks", "results")
@settings(scheme=READING)
@requirement("storage.stranded-tasks-left-to-scheduler")
def test_a_task_of_a_dead_engine_is_pending_until_the_scheduler_has_decided(controller: Controller) -> None:
    queue = TaskQueue(controller)
    task = queue.submit(retries=1)
    dead = queue.taken(task)
    queue.client.await_pending(task)
    queue.lose(dead)
    grace = controller.timing.scheduler_grace + controller.timing.margin + controller.timing.reply_deadline
    queue.wait(
        lambda: len(queue.to(task)) > 1, "it was not run again", requirement="task.engine-death-retry", within=grace
    )
    if (found := place(queue.client, task)) != "pending":
        violate(f"{found}, while another engine runs it", "pending")
    queue.answer(task)
    reply = queue.reply(task).message
    result = outcome(queue.client, task)
    if result.get("result_content") != reply.content:
        violate(f"the result {result.get('result_content')!r:.200}", f"{reply.content!r:.200}, as the client was told")


# -- where -------------------------------------------------------------------------------------------------------------


@needs("mux", "db", "history", "results", "purge")
@settings(database=True)
@requirement("storage.sqlite-same-answers", "storage.backend-choice")
def test_questions_have_the_same_answers_when_records_are_on_disk(fresh_controller: Controller) -> None:
    mux = Queue(fresh_controller, "mux")
    one, two, client = mux.engine(), mux.engine(), fresh_controller.client()
    requests = []
    for number, engine in enumerate((one, two, one)):
        request = mux.send(client, engine, buffers=(b"f", b"%d" % number))
        mux.answer(engine, mux.delivered(engine, request), buffers=(b"result", b"%d" % number))
        client.await_completed(request)
        requests.append(request)
    waits = mux.send(client, one)
    client.await_pending(waits)
    first, second, third = (request.msg_id for request in requests)
    moment = record(client, requests[1])["submitted"]
    answers: list[tuple[Json, list[str]]] = [
        ({"msg_id": second}, [second]),
        ({"engine_uuid": two.uuid}, [second]),
        ({"msg_id": {"$in": [first, third, "never"]}}, [first, third]),
        ({"msg_id": {"$nin": [first, third]}}, [second, waits.msg_id]),
        ({"completed": None}, [waits.msg_id]),
        ({"completed": {"$ne": None}}, [first, second, third]),
        ({"submitted": {"$gt": moment}}, [third, waits.msg_id]),
        ({"submitted": {"$lte": moment}}, [first, second]),
        ({"queue": "task"}, []),
        ({"engine_uuid": one.uuid, "completed": {"$ne": None}}, [first, third]),
        ({}, [first, second, third, waits.msg_id]),
    ]
    for query, wanted in answers:
        reply = client.ask("db_request", {"query": query, "keys": ["msg_id"]}).expect(ok("db_reply"))
        found = sorted(each["msg_id"] for each in reply.content["records"])
        if found != sorted(wanted):
            violate(f"{found} for {query!r}", f"{sorted(wanted)}, as in memory")
    history = client.ask("history_request", {}).expect(ok("history_reply")).content["history"]
    if history != [first, second, third, waits.msg_id]:
        violate(f"the history {history}", f"{[first, second, third, waits.msg_id]}")
    reply = client.ask("result_request", {"msg_ids": [second]}).expect(ok("result_reply", completed=[second]))
    if [bytes(buffer) for buffer in reply.message.buffers] != [b"result", b"1"]:
        violate(f"the buffers {reply.message.buffers!r:.200}", "those of the result")
    client.ask("purge_request", {"msg_ids": [first], "engine_ids": []}).expect(ok("purge_reply"))
    client.ask("result_request", {"msg_ids": [first]}).expect(*refusal("result_reply"))


@needs("mux", "results")
@settings(record_limit=20)
@requirement("storage.limits-drop-oldest")
def test_a_full_store_drops_the_oldest(fresh_controller: Controller) -> None:
    mux = Queue(fresh_controller, "mux")
    engine, client = mux.engine(), fresh_controller.client()
    done = [mux.exchange(client, engine)[0].message for _ in range(40)]
    last = [request.msg_id for request in done if request is not None][-1:]
    # The Hub follows the queue: once it has seen the end of the last one, all others are behind it.
    status = {"msg_ids": last, "status_only": True}
    client.ask_until(lambda reply: reply.content.get("completed") == last, "result_request", status)
    kept = [request is not None and has_record(client, request) for request in done]
    if not 0 < sum(kept) <= 20:
        violate(f"{sum(kept)} records of 40", "20 at most, and the latest at least")
    if kept != sorted(kept):
        violate(f"kept, from the oldest on: {kept}", "the latest ones")


@needs("mux", "results")
@settings(record_limit=20)
@requirement("storage.limits-spare-pending")
def test_a_full_store_drops_nothing_that_is_pending(fresh_controller: Controller) -> None:
    mux = Queue(fresh_controller, "mux")
    engine, holds, client = mux.engine(), mux.engine(), fresh_controller.client()
    waits = mux.send(client, holds)
    given = mux.delivered(holds, waits)
    client.await_pending(waits)
    for _ in range(40):
        mux.exchange(client, engine)
    mux.answer(holds, given)
    mux.replied(client, waits)
    status = {"msg_ids": [waits.msg_id], "status_only": True}
    client.ask_until(lambda reply: reply.content.get("completed") == [waits.msg_id], "result_request", status)
    if not has_record(client, waits):
        violate("the result of a message that was pending is lost", "it is kept")


def has_record(client: Client, request: Message) -> bool:
    reply = client.ask("result_request", {"msg_ids": [request.msg_id]})
    reply.expect(ok("result_reply"), *refusal("result_reply"))
    return not reply.is_error


@needs("mux", "results", "history", "db", "resubmit", "purge")
@settings(no_database=True)
@requirement("storage.nodb-status-works", "storage.nodb-says-so", "storage.nodb-purge-ok")
def test_a_hub_without_database_says_so(fresh_controller: Controller) -> None:
    mux = Queue(fresh_controller, "mux")
    engine, client = mux.engine(), fresh_controller.client()
    waits = mux.send(client, engine)
    given = mux.delivered(engine, waits)
    status = {"msg_ids": [waits.msg_id], "status_only": True}
    client.ask_until(lambda reply: reply.content.get("pending") == [waits.msg_id], "result_request", status).expect(
        ok("result_reply", pending=[waits.msg_id], completed=[]), requirement="storage.nodb-status-works"
    )
    mux.answer(engine, given)
    client.ask_until(lambda reply: reply.content.get("completed") == [waits.msg_id], "result_request", status).expect(
        ok("result_reply", pending=[], completed=[waits.msg_id]), requirement="storage.nodb-status-works"
    )
    questions: dict[str, Json] = {
        "result_request": {"msg_ids": [waits.msg_id]}, "history_request": {}, "db_request": {"query": {}},
        "resubmit_request": {"msg_ids": [waits.msg_id]},
    }  # fmt: skip
    for msg_type, content in questions.items():
        row = lookup(msg_type, "query", fresh_controller.dialect)
        assert row is not None
        client.ask(msg_type, content).expect(
            *(error(reply) for reply in row.replies), requirement="storage.nodb-says-so"
        )
    client.ask("purge_request", {"msg_ids": [waits.msg_id], "engine_ids": []}).expect(
        ok("purge_reply"), requirement="storage.nodb-purge-ok"
    )
