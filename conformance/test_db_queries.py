"""The task database: records found by their fields, in a subset of MongoDB's query language.

Source: IPython and ipyparallel documentation, "IPython's Task Database", section "Using the Task Database"; the
messages were measured on ipyparallel 9.2.0.
"""

from collections.abc import Callable

import pytest

from conformance.harness.actors import Client, Engine, Reply
from conformance.harness.case import needs, requirement
from conformance.harness.controller import Controller
from conformance.harness.expect import kind, ok, refusal
from conformance.harness.verdict import violate
from protocol.wire import Json, Message

pytestmark = needs("db", "results", "mux")

#: A moment before every message of any run, and one after.
LONG_AGO, NEVER = "2000-01-01T00:00:00.000000Z", "2999-12-31T23:59:59.000000Z"


def worker(controller: Controller) -> Engine:
    return controller.engine().with_shell().registered()


def ask(client: Client, query: Json, **more: object) -> Reply:
    return client.ask("db_request", {"query": query, **more}).expect(ok("db_reply", records=kind(list)))


def expect_found(client: Client, query: Json, *wanted: Message, or_refused: bool = False) -> None:
    allowed = [ok("db_reply", records=kind(list)), *(refusal("db_reply") if or_refused else ())]
    reply = client.ask("db_request", {"query": query, "keys": ["msg_id"]}).expect(*allowed)
    if reply.content["status"] == "error":
        return
    found = sorted(record.get("msg_id") for record in reply.content["records"])
    ids = sorted(request.msg_id for request in wanted)
    if found != ids:
        violate(f"{found} for {query!r}", f"{ids}")


@requirement("query.db-answered")
def test_a_record_is_found_by_its_message_id(controller: Controller) -> None:
    engine, client = worker(controller), controller.client()
    request, _ = client.run_on(engine), client.run_on(engine)
    expect_found(client, {"msg_id": request.msg_id}, request)


@requirement("query.db-answered")
def test_no_record_is_found_of_an_unknown_message(controller: Controller) -> None:
    expect_found(controller.client(), {"msg_id": "never-sent"})


@requirement("query.db-all")
@pytest.mark.parametrize("asked", [{"query": {}}, {}], ids=["empty query", "no query"])
def test_an_empty_query_finds_every_record(fresh_controller: Controller, asked: Json) -> None:
    engine, client = worker(fresh_controller), fresh_controller.client()
    done = client.run_on(engine)
    waits = client.submit(engine)
    client.await_pending(waits)
    records = client.ask("db_request", asked).expect(ok("db_reply", records=kind(list))).content["records"]
    found = sorted(record.get("msg_id") for record in records)
    if found != sorted([done.msg_id, waits.msg_id]):
        violate(f"records of {found}", f"records of {done.msg_id} and {waits.msg_id}")


EQUALITIES: dict[str, Callable[[Engine, Message], Json]] = {
    "engine": lambda engine, _: {"engine_uuid": engine.uuid},
    "message": lambda _, request: {"msg_id": request.msg_id},
}


@requirement("query.db-equality")
@pytest.mark.parametrize("query", EQUALITIES.values(), ids=EQUALITIES)
def test_a_query_finds_the_records_with_this_value(
    controller: Controller, query: Callable[[Engine, Message], Json]
) -> None:
    engine, other, client = worker(controller), worker(controller), controller.client()
    request, _ = client.run_on(engine), client.run_on(other)
    expect_found(client, query(engine, request), request)


@requirement("query.db-equality")
def test_null_finds_the_records_without_a_value(controller: Controller) -> None:
    engine, client = worker(controller), controller.client()
    done = client.run_on(engine)
    waits = client.submit(engine)
    client.await_pending(waits)
    found = [record["msg_id"] for record in ask(client, {"completed": None}, keys=["msg_id"]).content["records"]]
    if waits.msg_id not in found or done.msg_id in found:
        violate(f"{found}", f"{waits.msg_id} and not {done.msg_id}")


@requirement("query.db-equality")
def test_a_query_with_two_values_finds_the_records_that_have_both(controller: Controller) -> None:
    engine, other, client = worker(controller), worker(controller), controller.client()
    request, _ = client.run_on(engine), client.run_on(other)
    expect_found(client, {"engine_uuid": engine.uuid, "queue": "mux"}, request)


@requirement("query.db-equality")
def test_a_query_with_a_value_and_an_operator_finds_the_records_that_fit_both(controller: Controller) -> None:
    engine, client = worker(controller), controller.client()
    done = client.run_on(engine)
    waits = client.submit(engine)
    client.await_pending(waits)
    expect_found(client, {"engine_uuid": engine.uuid, "completed": {"$ne": None}}, done)


#: Of three messages in the order of their ids: the condition on `msg_id`, and which of them it finds.
OPERATORS: dict[str, tuple[Callable[[list[str]], Json], tuple[int, ...]]] = {
    "$lt": (lambda ids: {"$lt": ids[1]}, (0,)),
    "$lte": (lambda ids: {"$lte": ids[1]}, (0, 1)),
    "$gte": (lambda ids: {"$gte": ids[1]}, (1, 2)),
    "$eq": (lambda ids: {"$eq": ids[1]}, (1,)),
    "$ne": (lambda ids: {"$ne": ids[1]}, (0, 2)),
    "$in": (lambda ids: {"$in": [ids[0], ids[2]]}, (0, 2)),
    "$in nothing": (lambda _: {"$in": []}, ()),
    "$nin": (lambda ids: {"$nin": [ids[0], ids[2]]}, (1,)),
    "$all": (lambda ids: {"$all": [ids[1]]}, (1,)),
    "$all of two": (lambda ids: {"$all": ids[:2]}, ()),
    "$exists": (lambda _: {"$exists": True}, (0, 1, 2)),
    "two": (lambda ids: {"$gte": ids[1], "$lt": ids[2]}, (1,)),
}


#: A database need not know these; then it must say so. A wrong answer is never allowed.
OPTIONAL = {"$all", "$mod", "$exists", "$glob"}


def expect_selected(controller: Controller, condition: Callable[[list[str]], Json], places: tuple[int, ...]) -> None:
    engine, client = worker(controller), controller.client()
    requests = sorted((client.run_on(engine) for _ in range(3)), key=lambda request: request.msg_id)
    asked = condition([request.msg_id for request in requests])
    query = {"engine_uuid": {"$eq": engine.uuid}, "msg_id": asked}
    expect_found(client, query, *(requests[place] for place in places), or_refused=not OPTIONAL.isdisjoint(asked))


@requirement("query.db-operators")
@pytest.mark.parametrize("operator", OPERATORS)
def test_an_operator_selects_as_in_mongodb(controller: Controller, operator: str) -> None:
    expect_selected(controller, *OPERATORS[operator])


@requirement("query.db-operators")
def test_greater_than_selects_what_is_greater(controller: Controller) -> None:
    expect_selected(controller, lambda ids: {"$gt": ids[1]}, (2,))


@requirement("query.db-operators")
def test_a_field_that_no_record_has_does_not_exist(controller: Controller) -> None:
    engine, client = worker(controller), controller.client()
    request = client.run_on(engine)
    expect_found(
        client, {"msg_id": {"$eq": request.msg_id}, "no_such_field": {"$exists": False}}, request, or_refused=True
    )
    expect_found(client, {"msg_id": {"$eq": request.msg_id}, "no_such_field": {"$exists": True}}, or_refused=True)


@requirement("query.db-operators")
def test_dates_are_compared(controller: Controller) -> None:
    engine, client = worker(controller), controller.client()
    request = client.run_on(engine)
    mine = {"msg_id": {"$eq": request.msg_id}}
    expect_found(client, {**mine, "submitted": {"$gte": LONG_AGO}}, request)
    expect_found(client, {**mine, "submitted": {"$lt": LONG_AGO}})
    expect_found(client, {**mine, "completed": {"$lte": NEVER}}, request)


@requirement("query.db-operators")
def test_all_does_not_select_what_is_only_contained(controller: Controller) -> None:
    expect_selected(controller, lambda ids: {"$all": [f"{ids[1]} and more"]}, ())


@requirement("query.db-operators")
def test_a_comparison_passes_over_records_without_a_value(controller: Controller) -> None:
    engine, client = worker(controller), controller.client()
    done = client.run_on(engine)
    waits = client.submit(engine)
    client.await_pending(waits)
    expect_found(client, {"engine_uuid": {"$eq": engine.uuid}, "completed": {"$gte": LONG_AGO}}, done)


@requirement("query.db-operators")
def test_modulo_passes_over_what_is_no_number(controller: Controller) -> None:
    expect_selected(controller, lambda _: {"$mod": [2, 0]}, ())


@requirement("query.db-glob")
def test_glob_selects_by_a_shell_pattern(controller: Controller) -> None:
    expect_selected(controller, lambda ids: {"$glob": f"*{ids[1][-2:]}"}, (1,))


@requirement("query.db-keys")
def test_records_have_the_fields_asked_for_and_the_message_id(controller: Controller) -> None:
    engine, client = worker(controller), controller.client()
    request = client.run_on(engine)
    (record,) = ask(client, {"msg_id": request.msg_id}, keys=["queue", "engine_uuid"]).content["records"]
    wanted = {"msg_id": request.msg_id, "queue": "mux", "engine_uuid": engine.uuid}
    if record != wanted:
        violate(f"the record {record!r}", f"{wanted!r}")


#: Which buffers come when these keys are asked for: (of the request, of the result).
BUFFERS: dict[str, tuple[list[str] | None, bool, bool]] = {
    "requests": (["buffers"], True, False),
    "results": (["result_buffers"], False, True),
    "both": (["buffers", "result_buffers"], True, True),
    "neither": (["queue"], False, False),
    "no keys": (None, False, False),
}


def expect_sent(controller: Controller, which: str) -> None:
    keys, with_requests, with_results = BUFFERS[which]
    engine, client = worker(controller), controller.client()
    requests = {}
    for result in ((b"first", b"1"), (), (b"third",)):
        request = client.finish(client.submit(engine), engine, buffers=result)
        requests[request.msg_id] = [bytes(buffer) for buffer in request.buffers], list(result)
    reply = ask(client, {"msg_id": {"$in": list(requests)}}, **({} if keys is None else {"keys": keys}))
    records = [requests[record["msg_id"]] for record in reply.content["records"]]
    if len(records) != len(requests):
        violate(f"{len(records)} records", f"{len(requests)} records", requirement="query.db-operators")
    wanted = [
        buffer
        for sent, got in records
        for buffer in (sent if with_requests else []) + (got if with_results else [])
    ]  # fmt: skip
    found = [bytes(buffer) for buffer in reply.message.buffers]
    if found != wanted:
        violate(f"the buffers {found}", f"{wanted}", requirement="query.db-buffers")
    for key, wants, lengths in (
        ("buffer_lens", with_requests, [len(sent) for sent, _ in records]),
        ("result_buffer_lens", with_results, [len(got) for _, got in records]),
    ):
        value = lengths if wants else None
        if reply.content.get(key) != value:
            violate(f"{key} {reply.content.get(key)!r}", f"{key} {value!r}", requirement="query.db-buffer-lens")


@requirement("query.db-buffers", "query.db-buffer-lens")
@pytest.mark.parametrize("which", BUFFERS)
def test_buffers_come_when_they_were_asked_for_and_are_counted(controller: Controller, which: str) -> None:
    expect_sent(controller, which)


@requirement("query.db-bad-query")
@pytest.mark.parametrize("asked", [{"query": None}, {"query": {"msg_id": {"$no_such": 1}}}], ids=["null", "operator"])
def test_a_query_that_cannot_be_understood_is_refused(controller: Controller, asked: Json) -> None:
    engine, client = worker(controller), controller.client()
    client.run_on(engine)
    client.ask_unchecked("cannot be understood", "db_request", asked).expect(*refusal("db_reply"))


@requirement("query.db-bad-query")
def test_a_field_that_no_record_has_is_refused_or_left_out(controller: Controller) -> None:
    engine, client = worker(controller), controller.client()
    request = client.run_on(engine)
    reply = client.ask("db_request", {"query": {"msg_id": request.msg_id}, "keys": ["no_such_field"]})
    reply.expect(*refusal("db_reply"), ok("db_reply", records=[{"msg_id": request.msg_id}]))


@requirement("query.db-agrees-with-result")
@pytest.mark.parametrize("status", ["ok", "error"])
def test_a_record_tells_what_the_result_tells(controller: Controller, status: str) -> None:
    engine, client = worker(controller), controller.client()
    failure = {"status": "error", "ename": "ValueError", "evalue": "no", "traceback": ["ValueError: no"]}
    request = client.finish(client.submit(engine), engine, content=failure if status == "error" else None)
    result = client.ask("result_request", {"msg_ids": [request.msg_id]}).expect(ok("result_reply"))
    told = result.content[request.msg_id]
    (record,) = ask(client, {"msg_id": request.msg_id}).content["records"]
    wrong = {key: (record.get(key), value) for key, value in told.items() if key != "io" and record.get(key) != value}
    wrong |= {
        key: (record.get(key), value) for key, value in (told.get("io") or {}).items() if record.get(key) != value
    }
    if wrong:
        violate(f"the record and the result differ: {wrong!r}", "the same in both")
