"""What waits for engines and what they have done: queue_request and load_request.

Source: IPython commit a2c57acba, parallel_messages.txt, "Client Queries".
"""

from collections.abc import Callable

import pytest

from conformance.harness.actors import Client, Engine, Reply
from conformance.harness.case import READING, needs, requirement, settings
from conformance.harness.controller import Controller
from conformance.harness.expect import kind, ok, refusal
from conformance.harness.verdict import violate
from protocol.wire import Json, Message

pytestmark = needs("queue", "results", "mux")

QUEUES = ("queue", "completed", "tasks")


def worker(controller: Controller, *channels: str) -> Engine:
    return controller.engine().with_shell(*channels).registered()


def queues(client: Client, *engines: Engine, verbose: bool = True) -> Json:
    asked = {"targets": [engine.id for engine in engines], "verbose": verbose}
    return client.ask("queue_request", asked).expect(ok("queue_reply")).content


def entry(reply: Json, engine: Engine) -> Json:
    found = reply.get(str(engine.id))
    if not isinstance(found, dict):
        violate(f"{found!r} for engine {engine.id}", "an entry of its own", requirement="query.queue-targets-list")
    return found


def expect_named(reply: Reply, *engines: Engine) -> None:
    missing = [engine.id for engine in engines if str(engine.id) not in reply.content]
    if missing:
        violate(f"the keys {sorted(reply.content)}", f"entries for {missing}, too")


def expect_queues(found: Json, **wanted: object) -> None:
    """An entry must tell this of the three queues; it may tell more."""
    told = {key: found.get(key) for key in QUEUES}
    if told != wanted:
        violate(f"the entry {found!r}", f"{wanted!r}")


def expect_listed(listed: object, *requests: Message, what: str, requirement: str | None = None) -> None:
    """These messages must be listed, in whatever order, and no others."""
    wanted = sorted(request.msg_id for request in requests)
    if not isinstance(listed, list) or sorted(map(str, listed)) != wanted:
        violate(f"{what} {listed!r}", f"{what} {wanted}", requirement=requirement)


@requirement("query.queue-targets-list", "query.queue-keys-are-strings")
def test_the_reply_has_an_entry_for_each_engine_asked_about_and_for_no_other(controller: Controller) -> None:
    first, other, last = (controller.engine().registered() for _ in range(3))
    reply = controller.client().ask("queue_request", {"targets": [last.id, first.id]}).expect(ok("queue_reply"))
    if {first.uuid, last.uuid} & reply.content.keys():
        violate(f"the keys {sorted(reply.content)}", "ids as text", requirement="query.queue-keys-are-strings")
    expect_named(reply, first, last)
    if {str(other.id), other.uuid} & reply.content.keys():
        violate(f"the keys {sorted(reply.content)}", f"no entry for engine {other.id}")


@requirement("query.queue-target-int")
def test_targets_may_be_one_id(controller: Controller) -> None:
    engine = controller.engine().registered()
    expect_named(controller.client().ask("queue_request", {"targets": engine.id}).expect(ok("queue_reply")), engine)


TARGETS_BY_UUID: dict[str, Callable[[Engine, Engine], object]] = {
    "alone": lambda engine, _: engine.uuid,
    "in a list": lambda engine, _: [engine.uuid],
    "beside an id": lambda engine, other: [other.id, engine.uuid],
}


@requirement("query.queue-target-uuid")
@pytest.mark.parametrize("targets", TARGETS_BY_UUID.values(), ids=TARGETS_BY_UUID)
def test_targets_may_be_uuids(controller: Controller, targets: Callable[[Engine, Engine], object]) -> None:
    engine, other = controller.engine().registered(), controller.engine().registered()
    reply = controller.client().ask("queue_request", {"targets": targets(engine, other)}).expect(ok("queue_reply"))
    expect_named(reply, engine)
    if engine.uuid in reply.content:
        violate(f"an entry under {engine.uuid}", f"the key {str(engine.id)!r}")


@requirement("query.queue-request-all-engines")
def test_null_means_all_engines(controller: Controller) -> None:
    engines = [controller.engine().registered() for _ in range(3)]
    expect_named(controller.client().ask("queue_request", {"targets": None}).expect(ok("queue_reply")), *engines)


@requirement("query.queue-dead-engines-listed")
def test_the_reply_about_all_engines_is_good_after_one_has_left(controller: Controller) -> None:
    engine, stays = controller.engine().registered(), controller.engine().registered()
    engine.unregister()
    controller.notifications.expect(
        "unregistration_notification", uuid=engine.uuid, requirement="registration.unregistration-honoured"
    )
    reply = controller.client().ask("queue_request", {"targets": None}).expect(ok("queue_reply"))
    expect_named(reply, stays)


@requirement("query.queue-no-engines")
@pytest.mark.parametrize("verbose", [False, True], ids=["counted", "listed"])
def test_a_question_about_all_engines_is_answered_when_there_are_none(controller: Controller, verbose: bool) -> None:
    client = controller.client()
    if client.engines():
        raise controller.stopped("registration.unregistration-honoured", "engines of earlier cases are still there")
    client.ask("queue_request", {"targets": None, "verbose": verbose}).expect(ok("queue_reply"))


@requirement("query.queue-three-keys")
@pytest.mark.parametrize("verbose", [False, True], ids=["counted", "listed"])
def test_each_entry_tells_of_queue_completed_and_tasks(controller: Controller, verbose: bool) -> None:
    engine = controller.engine().registered()
    found = entry(queues(controller.client(), engine, verbose=verbose), engine)
    missing = [key for key in QUEUES if key not in found]
    if missing:
        violate(f"an entry without {missing}: {found!r}", f"an entry with {QUEUES}")


@requirement("query.queue-counts")
def test_messages_are_counted_when_verbose_is_false(controller: Controller) -> None:
    engine, client = worker(controller), controller.client()
    client.run_on(engine)
    expect_queues(entry(queues(client, engine, verbose=False), engine), queue=0, completed=1, tasks=0)


@requirement("query.queue-verbose-lists")
def test_messages_are_listed_when_verbose_is_true(controller: Controller) -> None:
    engine, client = worker(controller), controller.client()
    request = client.run_on(engine)
    expect_queues(entry(queues(client, engine), engine), queue=[], completed=[request.msg_id], tasks=[])


@requirement("query.queue-verbose-default")
def test_messages_are_counted_when_verbose_is_missing(controller: Controller) -> None:
    engine = controller.engine().registered()
    reply = controller.client().ask("queue_request", {"targets": [engine.id]}).expect(ok("queue_reply"))
    expect_queues(entry(reply.content, engine), queue=0, completed=0, tasks=0)


@requirement("query.queue-counts-match-lists")
def test_the_numbers_are_the_lengths_of_the_lists(controller: Controller) -> None:
    engine, client = worker(controller), controller.client()
    client.run_on(engine)
    client.run_on(engine)
    client.await_pending(client.submit(engine))
    listed = entry(queues(client, engine), engine)
    counted = entry(queues(client, engine, verbose=False), engine)
    expect_queues(counted, **{key: len(listed[key]) for key in QUEUES})


@requirement("query.queue-mux-outstanding")
def test_a_message_without_result_stands_in_the_queue_of_its_engine(controller: Controller) -> None:
    engine, other, client = worker(controller), worker(controller), controller.client()
    request = client.submit(engine)
    client.await_pending(request)
    reply = queues(client, engine, other)
    expect_listed(entry(reply, engine)["queue"], request, what="queue")
    expect_listed(entry(reply, other)["queue"], what="queue of another engine")
    client.finish(request, engine)
    expect_listed(entry(queues(client, engine), engine)["queue"], what="queue after the result")


@needs("queue", "results", "tasks")
@settings(scheme=READING)
@requirement("query.queue-tasks-outstanding")
def test_a_task_without_result_stands_among_the_tasks_of_its_engine(controller: Controller) -> None:
    engine, client = worker(controller, "task"), controller.client()
    request = client.submit(None, channel="task")
    taken = engine.take("task")
    asked = {"targets": engine.id, "verbose": True}
    wanted = [request.msg_id]
    reply = client.ask_until(lambda reply: entry(reply.content, engine)["tasks"] == wanted, "queue_request", asked)
    expect_listed(entry(reply.content, engine)["tasks"], request, what="tasks")
    engine.answer(taken, channel="task")
    client.await_completed(request)
    expect_listed(entry(queues(client, engine), engine)["tasks"], what="tasks after the result")


@needs("queue", "results", "mux", "tasks")
@requirement("query.queue-completed-any-queue")
def test_what_ran_on_an_engine_is_listed_as_completed_whichever_queue_it_came_by(controller: Controller) -> None:
    engine, client = worker(controller, "mux", "task"), controller.client()
    direct = client.run_on(engine)
    task = client.finish(client.submit(None, channel="task"), engine, channel="task")
    expect_listed(entry(queues(client, engine), engine)["completed"], direct, task, what="completed")


@needs("queue", "results", "tasks")
@requirement("query.queue-unassigned")
def test_a_task_that_no_engine_was_given_is_unassigned(started_controller: Controller) -> None:
    # No engine has ever been there: to one that has just gone, a scheduler that was not told yet would give the task.
    client = started_controller.client()
    asked = {"targets": None, "verbose": True}
    request = client.submit(None, channel="task")
    client.await_pending(request)
    listed = client.ask("queue_request", asked).expect(ok("queue_reply", unassigned=kind(list)))
    expect_listed(listed.content["unassigned"], request, what="unassigned")
    client.ask("queue_request", {"targets": None}).expect(ok("queue_reply", unassigned=1))
    client.finish(request, worker(started_controller, "task"), channel="task")
    client.ask("queue_request", asked).expect(ok("queue_reply", unassigned=[]))


@requirement("query.queue-targets-missing")
def test_a_queue_request_without_targets_is_refused(controller: Controller) -> None:
    controller.client().ask_unchecked("no targets", "queue_request", {}).expect(*refusal("queue_reply"))


UNKNOWN_TARGETS: dict[str, Callable[[Engine], object]] = {
    "id": lambda _: 1_000_000,
    "uuid": lambda _: "nobody",
    "id in a list": lambda _: [1_000_000],
    "beside a known one": lambda engine: [engine.id, 1_000_000],
}


@requirement("query.queue-unknown-engine")
@pytest.mark.parametrize("targets", UNKNOWN_TARGETS.values(), ids=UNKNOWN_TARGETS)
def test_a_question_about_an_unknown_engine_is_refused(
    controller: Controller, targets: Callable[[Engine], object]
) -> None:
    engine = controller.engine().registered()
    reply = controller.client().ask("queue_request", {"targets": targets(engine)})
    reply.expect(*refusal("queue_reply"))


@requirement("query.queue-empty-targets")
def test_a_question_about_no_engine_is_refused(controller: Controller) -> None:
    controller.engine().registered()
    controller.client().ask("queue_request", {"targets": []}).expect(*refusal("queue_reply"))


@requirement("query.queue-agrees-with-results")
def test_what_is_queued_is_pending_and_what_is_completed_is_not(controller: Controller) -> None:
    engine, client = worker(controller), controller.client()
    done = client.run_on(engine)
    waits = client.submit(engine)
    client.await_pending(waits)
    found = entry(queues(client, engine), engine)
    expect_listed(found["queue"], waits, what="queue", requirement="query.queue-mux-outstanding")
    expect_listed(found["completed"], done, what="completed", requirement="query.queue-completed-any-queue")
    reply = client.ask("result_request", {"msg_ids": [done.msg_id, waits.msg_id]})
    reply.expect(ok("result_reply", pending=found["queue"], completed=found["completed"]))


@requirement("query.load-answered")
def test_a_load_request_is_answered_with_the_number_of_outstanding_messages(controller: Controller) -> None:
    engine, idle, client = worker(controller), worker(controller), controller.client()
    client.await_pending(client.submit(engine))
    reply = client.ask("load_request", {"targets": [engine.id, idle.id]})
    reply.expect(ok("load_reply", **{str(engine.id): 1, str(idle.id): 0}))


@requirement("query.load-is-sum")
def test_the_load_of_an_engine_is_the_sum_of_its_queue_and_its_tasks(controller: Controller) -> None:
    engine, client = worker(controller), controller.client()
    client.await_pending(client.submit(engine))
    client.await_pending(client.submit(engine))
    load = client.ask("load_request", {"targets": [engine.id]}).content.get(str(engine.id))
    if load is None:
        raise controller.stopped("query.load-answered", "the load of the engine is not told")
    found = entry(queues(client, engine, verbose=False), engine)
    if load != found["queue"] + found["tasks"]:
        violate(f"the load {load!r}", f"the sum of queue and tasks in {found!r}")


@requirement("query.load-targets-checked")
@pytest.mark.parametrize("content", [{}, {"targets": 1_000_000}, {"targets": "nobody"}], ids=["missing", "id", "uuid"])
def test_a_load_request_for_nobody_is_refused(controller: Controller, content: Json) -> None:
    controller.client().ask_unchecked("names no engine", "load_request", content).expect(*refusal("load_reply"))
