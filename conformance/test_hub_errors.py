"""How the Hub answers: whoever asks, in which order, and what it says when it cannot do what was asked.

Source: measured on ipyparallel 9.2.0, and derived: a mistaken client must not hang, and must not harm the others.
"""

import pytest

from conformance.harness.actors import Client, Engine
from conformance.harness.case import needs, requirement
from conformance.harness.controller import Controller
from conformance.harness.expect import error, kind, ok, refusal
from conformance.harness.verdict import violate
from protocol.wire import Json, Message

#: Every kind of question, with a content that is right and changes nothing.
QUESTIONS: dict[str, Json] = {
    "connection_request": {},
    "queue_request": {"targets": None},
    "load_request": {"targets": None},
    "result_request": {"msg_ids": []},
    "history_request": {},
    "db_request": {"query": {"msg_id": "never-sent"}, "keys": ["msg_id"]},
    "purge_request": {"msg_ids": [], "engine_ids": []},
    "resubmit_request": {"msg_ids": []},
    "stop_distributed_request": {},
}

#: The feature that a target declares if it knows this kind of question.
FEATURE = {
    "queue_request": "queue", "load_request": "queue", "result_request": "results", "history_request": "history",
    "db_request": "db", "purge_request": "purge", "resubmit_request": "resubmit", "stop_distributed_request": "dask",
}  # fmt: skip

#: What each request must have.
REQUIRED = {
    "queue_request": "targets", "load_request": "targets", "result_request": "msg_ids", "resubmit_request": "msg_ids",
}  # fmt: skip

FIELDS = [
    ("queue_request", "targets"), ("queue_request", "verbose"), ("load_request", "targets"),
    ("result_request", "msg_ids"), ("result_request", "status_only"), ("db_request", "query"), ("db_request", "keys"),
    ("purge_request", "msg_ids"), ("purge_request", "engine_ids"), ("resubmit_request", "msg_ids"),
    ("become_dask_request", "scheduler_args"),
]  # fmt: skip

VALUES: tuple[object, ...] = (
    None, True, -1, 7, 2**63, 1.5, "", "text", [], [None], [7], ["text"], [[]], [{}], {}, {"text": 7},
)  # fmt: skip

#: Requests that are refused, whatever the Hub remembers.
REFUSED: dict[str, tuple[str, Json]] = {
    "unknown type": ("no_such_request", {}),
    "queue of nobody": ("queue_request", {"targets": [1_000_000]}),
    "queue without targets": ("queue_request", {}),
    "unknown result": ("result_request", {"msg_ids": ["never-sent"]}),
    "results without ids": ("result_request", {}),
    "bad query": ("db_request", {"query": {"msg_id": {"$no_such": 1}}}),
    "unknown resubmission": ("resubmit_request", {"msg_ids": ["never-sent"]}),
    "resubmission without ids": ("resubmit_request", {}),
    "purge of an unknown engine": ("purge_request", {"engine_ids": [1_000_000]}),
    "purge of null": ("purge_request", {"msg_ids": None}),
}


def reply_type(msg_type: str) -> str:
    return msg_type.replace("_request", "_reply")


def snapshot(client: Client, engine: Engine, request: Message) -> dict[str, object]:
    """What the Hub says of one engine, one message and the history."""
    result = client.ask("result_request", {"msg_ids": [request.msg_id]}).message
    return {
        "engines": client.engines(),
        "queue": client.ask("queue_request", {"targets": engine.id, "verbose": True}).content,
        "result": result.content,
        "buffers": [bytes(buffer) for buffer in result.buffers],
        "history": client.ask("history_request", {}).content.get("history"),
        "record": client.ask("db_request", {"query": {"msg_id": request.msg_id}}).content.get("records"),
    }


def expect_unchanged(before: dict[str, object], after: dict[str, object], what: str) -> None:
    for key, value in before.items():
        if after[key] != value:
            violate(f"{key} {after[key]!r:.400} after {what}", f"{key} {value!r:.400}, as before")


@needs("queue")
@requirement("query.same-socket-as-registration")
def test_a_query_is_answered_on_the_socket_that_serves_registration(controller: Controller) -> None:
    engine = controller.engine().registered()
    reply = engine.ask("queue_request", {"targets": [engine.id]})
    reply.expect(ok("queue_reply", **{str(engine.id): kind(dict)}))


@requirement("query.anyone-may-ask")
@pytest.mark.parametrize("msg_type", QUESTIONS)
def test_an_engine_may_ask_what_a_client_may_ask(controller: Controller, msg_type: str) -> None:
    if msg_type in FEATURE:
        controller.need(FEATURE[msg_type])
    engine = controller.engine().registered()
    asked = QUESTIONS[msg_type]
    of_client = controller.client().ask(msg_type, asked)
    of_engine = engine.ask(msg_type, asked)
    if (of_engine.msg_type, of_engine.is_error) != (of_client.msg_type, of_client.is_error):
        violate(
            f"{of_engine.msg_type} {of_engine.content.get('evalue', 'ok')!r:.200} for an engine",
            f"{of_client.msg_type} {of_client.content.get('evalue', 'ok')!r:.200}, as for a client",
        )


@requirement("query.anyone-may-ask")
def test_a_client_that_chose_its_identity_is_answered(controller: Controller) -> None:
    client = controller.client(identity=b"client with a name")
    client.ask("connection_request", {}).expect(ok("connection_reply"))


@requirement("query.two-askers-kept-apart")
def test_each_client_gets_the_answers_to_its_own_requests(controller: Controller) -> None:
    clients = [controller.client() for _ in range(5)]
    asked = [[client.send(msg_type, content) for msg_type, content in QUESTIONS.items()] for client in clients]
    for client, requests in zip(clients, asked, strict=True):
        wanted = {request.msg_id for request in requests}
        for request in requests:
            parent = client.answer_to_marker(request).message.parent_header.get("msg_id")
            if parent not in wanted:
                violate(f"an answer to {parent}", f"answers to {sorted(wanted)}")


@requirement("query.answered-in-order")
def test_requests_are_answered_in_the_order_in_which_they_were_sent(controller: Controller) -> None:
    client = controller.client()
    types = [*QUESTIONS] * 6
    requests = [client.send(msg_type, QUESTIONS[msg_type]) for msg_type in types]
    for request in requests:
        reply = client.answer_to_marker(request)
        parent = reply.message.parent_header.get("msg_id")
        if parent != request.msg_id:
            violate(f"the answer to {parent}", f"the answer to {request.msg_id}", evidence=(reply.observation.seq,))


@requirement("query.unknown-type-hub-error")
@pytest.mark.parametrize(
    "msg_type", ["no_such_request", "", "queue_reply", "registration_notification", "apply_request", "hub_error"]
)
def test_a_request_of_an_unknown_type_is_answered_with_hub_error(controller: Controller, msg_type: str) -> None:
    controller.client().ask_unchecked("no type of a request", msg_type, {}).expect(error("hub_error"))


@requirement("query.hub-error-shape", "query.hub-error-names-request")
def test_a_hub_error_has_its_keys_and_names_the_request(controller: Controller) -> None:
    reply = controller.client().ask_unchecked("no type of a request", "no_such_request", {"some": "content"})
    reply.expect(error("hub_error"), requirement="query.hub-error-shape")
    assert reply.request is not None
    if reply.message.parent_header != reply.request.header:
        violate(
            f"the parent header {reply.message.parent_header!r}", f"{reply.request.header!r}",
            requirement="query.hub-error-names-request",
        )  # fmt: skip


@requirement("query.content-not-object")
@pytest.mark.parametrize("content", [b"[]", b"null", b'"text"', b"7", b"[{}]"], ids=bytes.decode)
@pytest.mark.parametrize("msg_type", REQUIRED)
def test_a_query_whose_content_is_no_object_is_refused(controller: Controller, msg_type: str, content: bytes) -> None:
    controller.need(FEATURE[msg_type])
    client = controller.client()
    request = client.make(msg_type, {})
    head = bytes(controller.codec.packer.encode(request.header))
    client.send_signed("the content is no object", head=head, content=content)
    client.answer_to(request).expect(*refusal(reply_type(msg_type)))


@requirement("query.missing-key-answered")
@pytest.mark.parametrize("msg_type", REQUIRED)
def test_a_query_without_a_key_that_it_needs_is_refused(controller: Controller, msg_type: str) -> None:
    controller.need(FEATURE[msg_type])
    reply = controller.client().ask_unchecked(f"no {REQUIRED[msg_type]}", msg_type, {})
    reply.expect(*refusal(reply_type(msg_type)))


@requirement("query.missing-key-answered")
@pytest.mark.parametrize("msg_type", ["db_request", "purge_request"])
def test_a_query_without_any_key_is_answered(controller: Controller, msg_type: str) -> None:
    controller.need(FEATURE[msg_type])
    reply = controller.client().ask(msg_type, {})
    reply.expect(ok(reply_type(msg_type)), *refusal(reply_type(msg_type)))


@requirement("query.wrong-type-answered")
@pytest.mark.parametrize(("msg_type", "key"), FIELDS, ids=[f"{msg_type}-{key}" for msg_type, key in FIELDS])
def test_a_value_of_a_wrong_type_is_answered(controller: Controller, msg_type: str, key: str) -> None:
    client = controller.client()
    for value in VALUES:
        content = QUESTIONS.get(msg_type, {}) | {key: value}
        reply = client.ask_unchecked(f"{value!r} as {key}", msg_type, content)
        reply.expect(ok(reply_type(msg_type)), *refusal(reply_type(msg_type)))
    controller.expect_running()


@needs("queue", "results", "history", "db", "purge", "resubmit", "mux")
@requirement("query.error-changes-nothing")
@pytest.mark.parametrize("refused", REFUSED)
def test_a_refused_query_changes_nothing(controller: Controller, refused: str) -> None:
    engine, client = controller.engine().with_shell().registered(), controller.client()
    request = client.run_on(engine)
    before = snapshot(client, engine, request)
    client.ask_unchecked(refused, *REFUSED[refused]).expect(error("hub_error"), error(reply_type(REFUSED[refused][0])))
    expect_unchanged(before, snapshot(client, engine, request), refused)


@needs("queue", "results", "history", "db", "mux")
@requirement("query.reading-changes-nothing")
def test_questions_change_nothing(controller: Controller) -> None:
    engine, client = controller.engine().with_shell().registered(), controller.client()
    request = client.run_on(engine)
    client.await_pending(client.submit(engine))
    before = snapshot(client, engine, request)
    for msg_type in ("connection_request", "queue_request", "load_request", "history_request", "db_request"):
        client.ask(msg_type, QUESTIONS[msg_type])
    client.ask("result_request", {"msg_ids": [request.msg_id], "status_only": True})
    expect_unchanged(before, snapshot(client, engine, request), "questions")
