"""The Hub and its clients: what it is asked, what it refuses, and in which order it answers."""

from typing import Any

import pytest
from hub_desk import CLIENT, OK, Desk, date
from role_world import SECOND, message, unreadable

from protocol.roles.base import Arrived, Found
from protocol.roles.hub import REQUESTS
from protocol.roles.records import PLAIN
from protocol.wire import Message

ANY: tuple[Any, ...] = (
    None, True, -1, 7, 2**63, 1.5, "", "text", [], [None], [7], ["text"], [[]], [{}], {}, {"text": 7},
)  # fmt: skip
FIELDS = [
    ("queue_request", "targets"), ("queue_request", "verbose"), ("load_request", "targets"),
    ("result_request", "msg_ids"), ("result_request", "status_only"), ("result_request", "statusonly"),
    ("db_request", "query"), ("db_request", "keys"), ("purge_request", "msg_ids"), ("purge_request", "engine_ids"),
    ("resubmit_request", "msg_ids"), ("become_dask_request", "scheduler_args"), ("registration_request", "uuid"),
    ("registration_request", "id"), ("shutdown_request", "x"), ("connection_request", "x"), ("history_request", "x"),
]  # fmt: skip


def working(**more: Any) -> tuple[Desk, Message, Message]:
    """A Hub with two engines, a message that is done and one that waits."""
    desk = Desk(**more)
    desk.engine("e1")
    desk.engine("e2")
    done = desk.mux("e1", "done", content={"code": "1"})
    desk.mux_result("e1", done, buffers=[b"r1", b"r2"])
    waits = desk.mux("e1", "waits", date=date(2))
    return desk, done, waits


def snapshot(desk: Desk) -> Any:
    return (
        desk.engines(), desk.queues(None), desk.history(), desk.told("db_request", {}),
        len(desk.said["resubmit"]), len(desk.said["notification"]),
    )  # fmt: skip


# -- how it answers ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("msg_type", ["no_such_request", "", "queue_reply", "hub_error", "apply_request"])
def test_unknown_types_are_answered_with_hub_error(msg_type: str) -> None:
    assert Desk().refused(msg_type, {}) == "hub_error"


def test_all_identities_of_a_request_come_back() -> None:
    desk = Desk()
    desk.handle(Arrived("query", message("connection_request", identities=[b"c", b"", b"\x01more"])))
    desk.handle(Arrived("query", message("connection_request", identities=[])))
    assert [each.identities for each in desk.said["query"]] == [(b"c", b"", b"\x01more"), ()]


@pytest.mark.parametrize("msg_type", ["queue_request", "load_request", "result_request", "resubmit_request"])
@pytest.mark.parametrize("content", [{}, None], ids=["no key", "unreadable"])
def test_a_request_without_what_it_needs_is_refused(msg_type: str, content: Any) -> None:
    desk = Desk()
    if content is None:
        desk.handle(Arrived("query", unreadable(msg_type, identities=[CLIENT])))
        (reply,) = desk.said["query"]
        assert (reply.msg_type, reply.parent_header["msg_id"]) == ("hub_error", "m1")
    else:
        assert desk.refused(msg_type, content) == "hub_error"


@pytest.mark.parametrize(
    "msg_type", ["connection_request", "history_request", "shutdown_request", "stop_distributed_request"]
)
def test_a_request_that_needs_nothing_takes_anything(msg_type: str) -> None:
    desk = Desk()
    for part in (1, 2, 3):
        desk.handle(Arrived("query", unreadable(msg_type, part=part, identities=[CLIENT])))
    assert [each.content["status"] for each in desk.said["query"]] == ["ok"] * 3


@pytest.mark.parametrize(("msg_type", "key"), FIELDS, ids=[f"{one}-{other}" for one, other in FIELDS])
def test_values_of_wrong_types_are_answered_and_errors_change_nothing(msg_type: str, key: str) -> None:
    right = {
        "queue_request": {"targets": None}, "result_request": {"msg_ids": []}, "registration_request": {"uuid": "new"},
    }.get(msg_type, {})  # fmt: skip
    for value in ANY:
        desk, _, waits = working()
        before = snapshot(desk)
        reply = desk.ask(msg_type, {**right, key: value})
        assert reply.msg_type in ("hub_error", msg_type.replace("_request", "_reply"))
        if reply.content["status"] == "error":
            assert snapshot(desk) == before
        desk.mux_result("e1", waits)
        assert desk.status_of("waits") == ([], ["waits"])


def test_dask_is_refused_politely_and_stopping_it_is_ok() -> None:
    desk = Desk()
    assert desk.refused("become_dask_request", {"scheduler_args": {}}) == "become_dask_reply"
    assert desk.told("stop_distributed_request", {}) == OK


# -- order -------------------------------------------------------------------------------------------------------------


def parents(desk: Desk, client: bytes) -> list[str]:
    return [each.parent_header["msg_id"] for each in desk.said["query"] if each.identities[0] == client]


def test_a_client_is_answered_in_order_and_others_meanwhile() -> None:
    desk = Desk(is_slow=True)
    desk.look_up()
    mine = [desk.send(each, {"targets": None}, b"one").msg_id for each in ("queue_request", "connection_request")]
    mine += [desk.send("history_request", {}, b"one").msg_id, desk.send("no_such_type", {}, b"one").msg_id]
    other = desk.send("connection_request", {}, b"two").msg_id
    late = desk.send("history_request", {}, b"two").msg_id
    assert (parents(desk, b"one"), parents(desk, b"two")) == ([], [other])
    assert len(desk.looks) == 4
    for _ in range(3):
        desk.look_up()
    assert parents(desk, b"one") == mine[:2]
    desk.look_up()
    assert parents(desk, b"two") == [other, late]
    desk.look_up()
    assert parents(desk, b"one") == mine
    assert desk.hub._waiting == {}
    assert desk.hub._looks == {}


def test_a_purge_is_done_before_the_next_question_of_its_client() -> None:
    desk, _, _ = working()
    desk.is_slow = True
    for msg_type, content in (("purge_request", {"msg_ids": ["done"]}), ("history_request", {})):
        desk.send(msg_type, content)
    while desk.looks:
        desk.look_up()
    assert desk.said["query"][-1].content["history"] == ["waits"]


def test_engines_register_in_order_behind_their_own_questions() -> None:
    desk = Desk(is_slow=True)
    desk.send("history_request", {}, b"e1")
    desk.send("registration_request", {"uuid": "e1"}, b"e1")
    desk.send("unregistration_request", {"id": 0}, b"e1")
    desk.send("connection_request", {}, b"e1")
    while desk.looks:
        desk.look_up()
    assert [each.msg_type for each in desk.said["query"]] == ["history_reply", "registration_reply", "connection_reply"]
    assert desk.hub.engines.by_id == {}


@pytest.mark.parametrize("failing", [0, 1, 2])
def test_a_store_that_refuses_costs_one_answer(failing: int) -> None:
    desk, _, _ = working()
    desk.is_slow = True
    desk.send("queue_request", {"targets": None})
    desk.send("history_request", {})
    for _ in range(failing):
        desk.look_up()
    desk.look_up("the disk is full")
    refusal = desk.said["query"][-1]
    assert (refusal.msg_type, refusal.content["evalue"]) == ("queue_reply", "the disk is full")
    while desk.looks:
        desk.look_up()
    assert desk.said["query"][-1].content == {"status": "ok", "history": ["done", "waits"]}
    desk.handle(Found(99, ()))


# -- queues and loads --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("targets", [0, "e1", [0], ["e1"], [0, "e1"], [1, "e1"]], ids=repr)
def test_engines_are_named_by_number_or_uuid(targets: Any) -> None:
    desk, _, _ = working()
    reply = desk.queues(targets)
    assert set(reply) == {"status", "unassigned", "0"} | (
        {"1"} if 1 in (targets if isinstance(targets, list) else []) else set()
    )
    assert reply["0"] == {"queue": ["waits"], "completed": ["done"], "tasks": []}


@pytest.mark.parametrize("targets", [99, "nobody", [99], [0, 99], [], "all", -1], ids=repr)
@pytest.mark.parametrize("msg_type", ["queue_request", "load_request"])
def test_questions_about_nobody_are_refused(targets: Any, msg_type: str) -> None:
    desk, _, _ = working()
    desk.register("pending")
    assert desk.refused(msg_type, {"targets": targets}).endswith("_reply")
    assert desk.refused(msg_type, {"targets": "pending"}).endswith("_reply")


def test_all_engines_may_be_none() -> None:
    assert Desk().queues(None, verbose=False) == {"status": "ok", "unassigned": 0}
    assert Desk().told("load_request", {"targets": None}) == OK


def test_the_load_is_what_is_outstanding() -> None:
    desk, _, _ = working()
    desk.assigned(desk.task("t1"), "e1")
    desk.task("t2")
    assert desk.told("load_request", {"targets": None}) == {"status": "ok", "0": 2, "1": 0}


# -- results -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("flag", ["status_only", "statusonly"])
def test_both_names_of_the_flag_leave_the_results_out(flag: str) -> None:
    desk, _, _ = working()
    reply = desk.ask("result_request", {"msg_ids": ["done", "waits", "done"], flag: True})
    assert reply.content == {"status": "ok", "pending": ["waits"], "completed": ["done"]}
    assert reply.buffers == ()


def test_results_come_with_their_buffers_in_the_order_of_the_ids() -> None:
    desk, done, _ = working()
    other = desk.mux("e2", "another")
    reply = desk.mux_result("e2", other, buffers=[b"a"])
    answer = desk.ask("result_request", {"msg_ids": ["waits", "done", "another"], "targets": [0]})
    assert answer.content["completed"] == ["done", "another"]
    assert [bytes(each) for each in answer.buffers] == [b"a", b"r1", b"r2"]
    entry = answer.content["another"]
    assert set(entry) == {
        "header", "metadata", "result_header", "result_metadata", "result_content", "received", "io",
    }  # fmt: skip
    assert (entry["header"], entry["result_header"], entry["result_content"]) == (other.header, reply.header, OK)
    assert answer.content["done"]["header"] == done.header
    again = desk.ask("result_request", {"msg_ids": ["waits", "done", "another"]})
    assert (again.content, again.buffers) == (answer.content, answer.buffers)


@pytest.mark.parametrize("status_only", [False, True])
def test_unknown_messages_are_refused_in_the_reply(status_only: bool) -> None:
    desk, _, _ = working()
    for msg_ids in (["never"], ["done", "never"]):
        assert desk.refused("result_request", {"msg_ids": msg_ids, "status_only": status_only}) == "result_reply"


def test_the_history_is_in_the_order_of_submission() -> None:
    desk = Desk()
    desk.engine("e1")
    for msg_id, second in (("late", 3), ("early", 1), ("between", 2), ("as late", 3)):
        desk.mux("e1", msg_id, date=date(second))
    assert desk.history() == ["early", "between", "late", "as late"]


# -- the database ------------------------------------------------------------------------------------------------------


def found(desk: Desk, query: Any) -> list[str]:
    return [record["msg_id"] for record in desk.told("db_request", {"query": query, "keys": ["msg_id"]})["records"]]


def test_records_are_found_by_their_fields() -> None:
    desk, _, _ = working()
    assert found(desk, {}) == ["done", "waits"]
    assert found(desk, {"completed": None}) == ["waits"]
    assert found(desk, {"engine_uuid": "e1", "completed": {"$ne": None}}) == ["done"]
    assert found(desk, {"header.session": "client-session", "content.code": "1"}) == ["done"]
    assert found(desk, {"submitted": {"$gte": "2026-01-05T13:00:02+01:00"}}) == ["waits"]
    assert found(desk, {"msg_id": {"$glob": "d*"}}) == ["done"]


def test_records_have_what_was_asked_for() -> None:
    desk, _, _ = working()
    whole = desk.told("db_request", {"query": {"msg_id": "done"}})
    assert (set(whole["records"][0]), whole["buffer_lens"], whole["result_buffer_lens"]) == (set(PLAIN), None, None)
    assert desk.told("db_request", {"query": {"msg_id": "done"}, "keys": None}) == whole
    assert desk.told("db_request", {"keys": ["queue"]})["records"] == [
        {"msg_id": "done", "queue": "mux"}, {"msg_id": "waits", "queue": "mux"},
    ]  # fmt: skip
    assert desk.told("db_request", {"keys": []})["records"] == [{"msg_id": "done"}, {"msg_id": "waits"}]


@pytest.mark.parametrize(
    ("keys", "buffers", "lens", "result_lens"),
    [
        (["buffers"], [b"f", b"a", b"f", b"a"], [2, 2], None),
        (["result_buffers"], [b"r1", b"r2"], None, [2, 0]),
        (["result_buffers", "buffers"], [b"f", b"a", b"r1", b"r2", b"f", b"a"], [2, 2], [2, 0]),
        (["queue"], [], None, None),
    ],
)
def test_buffers_come_when_asked_for(keys: list[str], buffers: list[bytes], lens: Any, result_lens: Any) -> None:
    desk, _, _ = working()
    reply = desk.ask("db_request", {"keys": keys})
    assert [bytes(each) for each in reply.buffers] == buffers
    assert (reply.content["buffer_lens"], reply.content["result_buffer_lens"]) == (lens, result_lens)
    assert set(reply.content["records"][0]) == {"msg_id", *keys} - {"buffers", "result_buffers"}


@pytest.mark.parametrize(
    ("content", "reply"),
    [
        ({"query": None}, "hub_error"),
        ({"query": {"msg_id": {"$nope": 1}}}, "db_reply"),
        ({"query": {"$or": []}}, "db_reply"),
        ({"keys": ["nope"]}, "db_reply"),
        ({"keys": "msg_id"}, "hub_error"),
        ({"query": {"submitted": {"$gte": {"a": [{}]}, "$in": 1}}}, "db_reply"),
    ],
    ids=repr,
)
def test_a_query_that_cannot_be_understood_is_refused(content: Any, reply: str) -> None:
    desk, _, _ = working()
    assert desk.refused("db_request", content) == reply


# -- purges ------------------------------------------------------------------------------------------------------------


def test_purged_messages_are_unknown_everywhere() -> None:
    desk, _, _ = working()
    other = desk.mux("e2", "other")
    desk.mux_result("e2", other)
    assert desk.told("purge_request", {"msg_ids": ["done"]}) == OK
    assert desk.refused("result_request", {"msg_ids": ["done"], "status_only": True}) == "result_reply"
    assert found(desk, {}) == ["other", "waits"]
    assert desk.queues(0)["0"] == {"queue": ["waits"], "completed": [], "tasks": []}
    assert desk.told("purge_request", {"engine_ids": [0]}) == OK
    assert desk.history() == ["other", "waits"]
    assert desk.told("purge_request", {"engine_ids": [1], "msg_ids": []}) == OK
    assert desk.history() == ["waits"]


def test_a_purge_of_all_spares_what_is_pending() -> None:
    desk, _, waits = working()
    assert desk.told("purge_request", {"msg_ids": "all", "engine_ids": [99]}) == OK
    assert desk.history() == ["waits"]
    desk.mux_result("e1", waits)
    assert desk.status_of("waits") == ([], ["waits"])


@pytest.mark.parametrize(
    ("content", "reply"),
    [
        ({"msg_ids": ["done", "waits"]}, "purge_reply"),
        ({"msg_ids": ["done", "never"]}, "purge_reply"),
        ({"msg_ids": ["done"], "engine_ids": [99]}, "purge_reply"),
        ({"msg_ids": "done"}, "hub_error"),
        ({"msg_ids": None}, "hub_error"),
        ({"msg_ids": ["done"], "engine_ids": [True]}, "hub_error"),
    ],
)
def test_a_purge_is_done_whole_or_not_at_all(content: Any, reply: str) -> None:
    desk, _, _ = working()
    assert desk.refused("purge_request", content) == reply
    assert desk.history() == ["done", "waits"]


@pytest.mark.parametrize("content", [{}, {"msg_ids": []}, {"engine_ids": []}, {"msg_ids": [], "engine_ids": []}])
def test_a_purge_of_nothing_is_ok(content: Any) -> None:
    desk, _, _ = working()
    assert desk.told("purge_request", content) == OK
    assert desk.history() == ["done", "waits"]


def test_results_of_an_engine_that_is_gone_can_be_purged() -> None:
    desk, _, _ = working()
    desk.stopped("e1")
    assert desk.told("purge_request", {"engine_ids": [0]}) == OK
    assert desk.history() == ["waits"]


# -- resubmission ------------------------------------------------------------------------------------------------------


def test_a_resubmission_is_the_same_request_under_a_fresh_id() -> None:
    desk = Desk()
    desk.engine("e1")
    metadata = {"targets": ["e1"], "after": ["x"], "follow": [], "timeout": 60.0, "retries": 2, "label": "again"}
    first = desk.task("t1", metadata=metadata, content={"a": 1}, extra_header={"own": [1]})
    desk.task_result("e1", first)
    before = desk.told("result_request", {"msg_ids": ["t1"]})
    desk.now = 8 * SECOND
    new = desk.told("resubmit_request", {"msg_ids": ["t1", "t1"]})["resubmitted"]["t1"]
    (again,) = desk.said["resubmit"]
    assert again.identities == ()
    assert again.header == first.header | {"msg_id": new, "date": date(8)}
    assert (again.metadata, again.content, again.buffers) == (metadata, {"a": 1}, first.buffers)
    assert desk.record("t1")["resubmitted"] == new
    assert desk.told("result_request", {"msg_ids": ["t1"]}) == before
    assert desk.status_of(new) == ([new], [])
    # The scheduler's copy arrives behind, and its result completes the record that is there.
    copy = desk.task(new, metadata=metadata, content={"a": 1}, date=date(8))
    assert desk.history() == ["t1", new]
    assert desk.queues(None)["unassigned"] == [new]
    desk.task_result("e1", copy)
    assert desk.status_of(new) == ([], [new])
    assert desk.record(new)["label"] == "again"
    assert desk.record(new)["client_uuid"] == "client-session"
    desk.handle(Arrived("resubmit", message("apply_reply", OK)))


def test_a_target_of_a_broadcast_runs_again_where_it_ran() -> None:
    desk = Desk()
    desk.engine("e1")
    metadata = {"targets": [["e1", 0]], "is_broadcast": True, "is_coalescing": False}
    desk.monitor(b"inbcast", CLIENT, msg_type="apply_request", msg_id="b", metadata=metadata)
    desk.told("resubmit_request", {"msg_ids": ["b_e1"]})
    assert desk.said["resubmit"][0].metadata == {"targets": ["e1"]}


def test_a_resubmission_is_all_or_nothing() -> None:
    desk, _, _ = working()
    assert desk.refused("resubmit_request", {"msg_ids": ["done", "never"]}) == "resubmit_reply"
    assert (desk.said["resubmit"], desk.history()) == ([], ["done", "waits"])
    assert desk.told("resubmit_request", {"msg_ids": []}) == {"status": "ok", "resubmitted": {}}


def test_every_kind_of_request_is_known() -> None:
    from protocol.messages import REGISTRY

    asked = {row.name for row in REGISTRY if "hub" in row.receiver and row.channels == ("query",)}
    assert asked == set(REQUESTS)
