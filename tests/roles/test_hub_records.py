"""The Hub and the queues: what passes them stands in the records."""

from typing import Any

import pytest
from hub_desk import CLIENT, OK, TIMEOUT, Desk, date
from role_world import SECOND, FakeEnv, unreadable

from conformance.reference.storage.sqlite import SqliteRecords
from protocol.roles.base import Arrived
from protocol.roles.hub.traffic import EARLY_BYTES, EARLY_MESSAGES
from protocol.roles.records import PLAIN, MemoryRecords

FAILED = {"status": "error", "ename": "ValueError", "evalue": "no", "traceback": []}


def desk_with_engine(**more: Any) -> Desk:
    desk = Desk(**more)
    desk.engine("e1")
    return desk


# -- MUX ---------------------------------------------------------------------------------------------------------------


def test_a_request_through_mux_and_its_result_make_a_record() -> None:
    desk = desk_with_engine()
    desk.now = 9 * SECOND
    request = desk.mux("e1", "m1", content={"code": "1"}, metadata={"label": "mine"})
    assert desk.status_of("m1") == (["m1"], [])
    assert desk.queues(0) == {"status": "ok", "0": {"queue": ["m1"], "completed": [], "tasks": []}, "unassigned": []}
    reply = desk.mux_result("e1", request, buffers=[b"r"])
    assert desk.status_of("m1") == ([], ["m1"])
    assert desk.queues(0, verbose=False)["0"] == {"queue": 0, "completed": 1, "tasks": 0}
    assert desk.record("m1") == {
        "msg_id": "m1", "header": request.header, "metadata": {"label": "mine"}, "content": {"code": "1"},
        "submitted": date(1), "client_uuid": "client-session", "engine_uuid": "e1", "started": date(2),
        "completed": date(3), "resubmitted": None, "received": date(9), "result_header": reply.header,
        "result_metadata": reply.metadata, "result_content": OK, "queue": "mux", "execute_input": None,
        "execute_result": None, "error": None, "stdout": "", "stderr": "", "label": "mine",
    }  # fmt: skip
    assert set(desk.record("m1")) == set(PLAIN)


def test_a_request_to_nobody_is_not_recorded() -> None:
    desk = Desk()
    desk.register("pending")
    desk.mux("e1", "m1")
    desk.mux("pending", "m2")
    desk.monitor(b"in", msg_type="apply_request")
    desk.monitor(b"in", b"\xff\xfe", CLIENT, msg_type="apply_request")
    assert desk.history() == []


def test_what_has_no_readable_date_is_dated_on_arrival() -> None:
    desk = desk_with_engine()
    desk.now = 5 * SECOND
    request = desk.mux("e1", "m1", date="yesterday")
    desk.mux_result("e1", request, date="", metadata={"started": 7})
    record = desk.record("m1")
    assert [record[key] for key in ("submitted", "started", "completed", "received")] == [
        date(5),
        None,
        date(5),
        date(5),
    ]


def test_a_result_counts_once() -> None:
    desk = desk_with_engine()
    request = desk.mux("e1", "m1")
    desk.mux_result("e1", request)
    before = desk.record("m1")
    desk.mux_result("e1", request, FAILED, date=date(8))
    assert desk.record("m1") == before
    desk.mux("e1", "m1", content={"another": "one"})
    assert desk.record("m1") == before
    assert desk.status_of("m1") == ([], ["m1"])


def test_an_id_used_twice_keeps_its_first_request() -> None:
    desk = desk_with_engine()
    desk.mux("e1", "m1", content={"first": 1})
    desk.mux("e1", "m1", content={"second": 2})
    assert desk.record("m1")["content"] == {"first": 1}
    assert desk.history() == ["m1"]


def test_results_without_a_request_are_passed_over() -> None:
    desk = desk_with_engine()
    desk.monitor(b"out", CLIENT, b"e1", msg_type="apply_reply", content=OK)
    desk.monitor(b"out", CLIENT, b"e1", msg_type="apply_reply", content=OK, parent={"msg_id": ["x"]})
    desk.monitor(b"out", CLIENT, b"e1", msg_type="apply_reply", content=OK, parent={"msg_id": "never"})
    desk.monitor(b"out", msg_type="apply_reply", content=OK)
    assert desk.history() == []


@pytest.mark.parametrize("prefix", [b"incontrol", b"outcontrol", b"N/A", b"", b"unheard of"])
def test_other_queues_are_not_recorded(prefix: bytes) -> None:
    desk = desk_with_engine()
    desk.monitor(prefix, b"e1", CLIENT, msg_type="abort_request")
    desk.handle(Arrived("monitor", unreadable("apply_request")))
    assert desk.history() == []


@pytest.mark.parametrize("part", [1, 2, 3])
def test_parts_that_cannot_be_read_are_recorded_as_empty(part: int) -> None:
    desk = desk_with_engine()
    desk.handle(Arrived("monitor", unreadable("apply_request", "m1", part=part, identities=[b"in", b"e1", CLIENT])))
    assert desk.status_of("m1") == (["m1"], [])
    request = desk.mux("e1", "m2")
    reply = unreadable("apply_reply", "r1", part=part, identities=[b"out", CLIENT, b"e1"])
    reply._parent = request.header if part != 1 else reply._parent
    desk.handle(Arrived("monitor", reply))
    assert desk.status_of("m2") == ((["m2"], []) if part == 1 else ([], ["m2"]))
    for prefix in (b"tracktask", b"iopub", b"heartmonitor", b"inbcast", b"outbcast"):
        desk.handle(Arrived("monitor", unreadable("stream", part=part, identities=[prefix, b"x"])))


# -- tasks -------------------------------------------------------------------------------------------------------------


def test_a_task_is_unassigned_then_on_its_engine_then_completed() -> None:
    desk = desk_with_engine()
    request = desk.task("t1")
    assert desk.queues(None)["unassigned"] == ["t1"]
    assert desk.record("t1")["queue"] == "task"
    desk.assigned(request, "e1")
    assert desk.queues(None) == {"status": "ok", "0": {"queue": [], "completed": [], "tasks": ["t1"]}, "unassigned": []}
    assert desk.told("load_request", {"targets": 0})["0"] == 1
    desk.task_result("e1", request)
    assert desk.queues(None)["0"] == {"queue": [], "completed": ["t1"], "tasks": []}
    desk.assigned(request, "e2")
    assert desk.record("t1")["engine_uuid"] == "e1"


def test_a_result_of_the_scheduler_itself_names_no_engine() -> None:
    desk = desk_with_engine()
    request = desk.task("t1")
    desk.task_result("", request, FAILED, metadata={})
    record = desk.record("t1")
    assert (record["engine_uuid"], record["result_content"]) == (None, FAILED)
    assert desk.queues(None)["unassigned"] == []


def test_a_result_that_no_scheduler_saw_is_its_engines_by_its_own_word() -> None:
    desk = desk_with_engine()
    request = desk.task("t1")
    desk.task_result("", request, metadata={"engine": "e1", "status": "ok"})
    assert desk.queues(None) == {"status": "ok", "0": {"queue": [], "completed": ["t1"], "tasks": []}, "unassigned": []}


def test_an_aborted_task_does_not_count_as_completed_by_its_engine() -> None:
    desk = desk_with_engine()
    request = desk.task("t1")
    desk.assigned(request, "e1")
    desk.task_result("e1", request, {"status": "aborted"})
    assert desk.queues(0)["0"] == {"queue": [], "completed": [], "tasks": []}
    assert desk.status_of("t1") == ([], ["t1"])


@pytest.mark.parametrize(
    "content", [None, {}, {"msg_id": "t1"}, {"msg_id": 1, "engine_id": "e1"}, {"msg_id": "t1", "engine_id": 0}]
)
def test_a_destination_that_cannot_be_read_is_passed_over(content: Any) -> None:
    desk = desk_with_engine()
    desk.task("t1")
    desk.monitor(b"tracktask", b"s", msg_type="task_destination", content=content)
    desk.monitor(b"tracktask", b"s", msg_type="other", content={"msg_id": "t1", "engine_id": "e1"})
    assert desk.queues(None)["unassigned"] == ["t1"]


# -- broadcasts --------------------------------------------------------------------------------------------------------


def broadcast(desk: Desk, msg_id: str, *, is_coalescing: bool, targets: Any = None) -> Any:
    metadata = {
        "targets": [["e1", 0], ["e2", 1]] if targets is None else targets,
        "is_broadcast": True,
        "is_coalescing": is_coalescing,
    }
    return desk.monitor(b"inbcast", CLIENT, msg_type="apply_request", msg_id=msg_id, metadata=metadata, date=date(1))


def broadcast_result(desk: Desk, parent: str, original: str, *, is_coalescing: bool, engine: str = "e1") -> None:
    metadata = {"status": "ok", "original_msg_id": original, "is_coalescing": is_coalescing}
    if engine:
        metadata["engine"] = engine
    desk.monitor(b"outbcast", CLIENT, msg_type="apply_reply", parent={"msg_id": parent}, metadata=metadata, content=OK)


def test_each_target_of_a_broadcast_has_a_record() -> None:
    desk = desk_with_engine()
    broadcast(desk, "b", is_coalescing=False)
    assert desk.history() == ["b_e1", "b_e2"]
    assert desk.record("b_e1")["header"]["msg_id"] == "b_e1"
    broadcast_result(desk, "b_e1", "b", is_coalescing=False)
    assert desk.status_of("b_e1", "b_e2") == (["b_e2"], ["b_e1"])
    assert desk.record("b_e1")["engine_uuid"] == "e1"
    assert desk.queues(0)["0"] == {"queue": [], "completed": ["b_e1"], "tasks": []}


def test_a_coalesced_broadcast_has_one_record() -> None:
    desk = desk_with_engine()
    broadcast(desk, "b", is_coalescing=True)
    desk.printed({"msg_id": "b_e1"}, "stream", {"name": "stdout", "text": "hello"})
    broadcast_result(desk, "b_e1", "b", is_coalescing=True)
    assert desk.history() == ["b"]
    record = desk.record("b")
    assert (record["stdout"], record["result_content"], record["queue"]) == ("hello", OK, None)


def test_a_broadcast_that_was_refused_is_completed_for_all_targets() -> None:
    desk = desk_with_engine()
    broadcast(desk, "b", is_coalescing=False)
    broadcast_result(desk, "b", "", is_coalescing=False, engine="")
    assert desk.status_of("b_e1", "b_e2") == ([], ["b_e1", "b_e2"])


@pytest.mark.parametrize("targets", [[], "all", [[]], [3], [[3, "x"]]], ids=repr)
def test_a_broadcast_without_readable_targets_is_recorded_under_its_own_id(targets: Any) -> None:
    desk = desk_with_engine()
    broadcast(desk, "b", is_coalescing=False, targets=targets)
    assert desk.status_of("b") == (["b"], [])
    broadcast_result(desk, "b", "", is_coalescing=False, engine="")
    assert desk.status_of("b") == ([], ["b"])


# -- output ------------------------------------------------------------------------------------------------------------


def test_output_is_in_the_record_in_order() -> None:
    desk = desk_with_engine()
    request = desk.mux("e1", "m1")
    for text in ("one ", "two ", ""):
        desk.printed(request, "stream", {"name": "stdout", "text": text})
    desk.printed(request, "stream", {"name": "stderr", "text": "oops"})
    desk.printed(request, "execute_input", {"code": "1+1", "execution_count": 1})
    desk.printed(request, "execute_result", {"data": {"text/plain": "2"}, "metadata": {}, "execution_count": 1})
    desk.printed(request, "error", {"ename": "E", "evalue": "e", "traceback": []})
    desk.printed(request, "status", {"execution_state": "idle"})
    desk.mux_result("e1", request)
    desk.printed(request, "stream", {"name": "stdout", "text": "late"})
    record = desk.record("m1")
    assert (record["stdout"], record["stderr"], record["execute_input"]) == ("one two late", "oops", "1+1")
    assert record["execute_result"]["data"] == {"text/plain": "2"}
    io = desk.told("result_request", {"msg_ids": ["m1"]})["m1"]["io"]
    assert io == {key: record[key] for key in ("execute_input", "execute_result", "error", "stdout", "stderr")}


def test_output_that_comes_before_its_request_is_not_lost() -> None:
    desk = desk_with_engine()
    for text in ("one ", "two "):
        desk.printed({"msg_id": "m1"}, "stream", {"name": "stdout", "text": text})
    desk.printed({"msg_id": "m1"}, "execute_input", {"code": "c"})
    request = desk.mux("e1", "m1")
    desk.printed(request, "stream", {"name": "stdout", "text": "three"})
    assert (desk.record("m1")["stdout"], desk.record("m1")["execute_input"]) == ("one two three", "c")
    assert desk.hub.traffic.early == {}
    assert desk.hub.traffic.early_size == 0


def test_output_of_nothing_is_kept_within_bounds() -> None:
    desk = desk_with_engine()
    for number in range(EARLY_MESSAGES + 10):
        desk.printed({"msg_id": f"x{number}"}, "stream", {"name": "stdout", "text": "text"})
    assert len(desk.hub.traffic.early) == EARLY_MESSAGES
    desk.printed({"msg_id": "huge"}, "stream", {"name": "stdout", "text": "x" * (EARLY_BYTES + 1)})
    assert desk.hub.traffic.early_size <= EARLY_BYTES
    assert desk.history() == []


@pytest.mark.parametrize(
    ("msg_type", "content"),
    [
        ("stream", {}),
        ("stream", {"name": "stdin", "text": "x"}),
        ("stream", {"name": ["stdout"], "text": "x"}),
        ("stream", {"name": "stdout", "text": 1}),
        ("execute_input", {"code": 1}),
        ("strange", {"name": "stdout", "text": "x"}),
    ],
)
def test_garbage_among_the_output_is_passed_over(msg_type: str, content: Any) -> None:
    desk = desk_with_engine()
    request = desk.mux("e1", "m1")
    before = desk.record("m1")
    desk.printed(request, msg_type, content)
    desk.printed({}, "stream", {"name": "stdout", "text": "x"})
    assert desk.record("m1") == before


# -- engines that are gone ---------------------------------------------------------------------------------------------


def test_stranded_requests_are_completed_with_an_error_after_the_grace_time() -> None:
    desk = desk_with_engine()
    done, lost = desk.mux("e1", "m1"), desk.mux("e1", "m2")
    desk.task("t1")
    desk.mux_result("e1", done)
    desk.stopped("e1")
    desk.let_pass(TIMEOUT - 1)
    assert desk.status_of("m1", "m2", "t1") == (["m2", "t1"], ["m1"])
    desk.let_pass(1)
    assert desk.status_of("m1", "m2", "t1") == (["t1"], ["m1", "m2"])
    entry = desk.told("result_request", {"msg_ids": ["m2"]})["m2"]
    assert entry["header"] == lost.header
    assert entry["result_content"]["ename"] == "EngineError"
    assert entry["result_content"]["evalue"] == "Engine 0 died while running task 'm2'"
    assert (entry["result_header"]["engine"], entry["result_metadata"]["engine"]) == ("e1", "e1")
    assert entry["result_header"]["msg_type"] == "apply_reply"
    assert desk.queues(0)["0"]["queue"] == []
    desk.mux_result("e1", lost)
    assert desk.told("result_request", {"msg_ids": ["m2"]})["m2"] == entry


def test_a_result_in_the_grace_time_counts() -> None:
    desk = desk_with_engine()
    request = desk.mux("e1", "m1")
    desk.stopped("e1")
    desk.mux_result("e1", request)
    desk.let_pass(TIMEOUT)
    assert desk.record("m1")["result_content"] == OK


def test_a_request_whose_copy_comes_after_the_death_is_stranded_too() -> None:
    desk = desk_with_engine()
    desk.stopped("e1")
    desk.mux("e1", "m1")
    assert desk.status_of("m1") == (["m1"], [])
    desk.let_pass(TIMEOUT)
    assert desk.status_of("m1") == ([], ["m1"])
    desk.mux("e1", "m2")
    assert desk.history() == ["m1"]


def test_an_engine_that_returned_keeps_its_new_requests() -> None:
    desk = desk_with_engine()
    desk.mux("e1", "old")
    desk.send("unregistration_request", {"id": 0})
    desk.register("e1")
    desk.mux("e1", "new")
    desk.let_pass(TIMEOUT)
    assert desk.status_of("old", "new") == (["new"], ["old"])
    assert desk.queues(1)["1"]["queue"] == ["new"]


def test_an_engine_that_returned_does_not_have_what_its_earlier_life_left_open() -> None:
    desk = desk_with_engine()
    desk.mux("e1", "old")
    desk.assigned(desk.task("old task"), "e1")
    desk.stopped("e1")
    desk.assigned(desk.task("late task"), "e1")
    desk.register("e1")
    desk.heard("e1")
    desk.mux("e1", "new")
    answered = desk.task("new task")
    desk.assigned(answered, "e1")
    assert desk.queues([0, 1])["0"] == {"queue": ["old"], "completed": [], "tasks": ["old task", "late task"]}
    assert desk.queues([0, 1])["1"] == {"queue": ["new"], "completed": [], "tasks": ["new task"]}
    assert [desk.told("load_request", {"targets": each})[str(each)] for each in (0, 1)] == [3, 2]
    desk.task_result("e1", answered)
    desk.let_pass(TIMEOUT)
    assert (desk.queues(1)["1"]["queue"], desk.queues(1)["1"]["tasks"]) == (["new"], [])
    assert desk.told("load_request", {"targets": 1})["1"] == 1


# -- restarts ----------------------------------------------------------------------------------------------------------


class LaterEnv(FakeEnv):
    def fresh_id(self) -> str:
        return f"later-{super().fresh_id()}"


def restarted(before: Desk, records: Any, **config: Any) -> Desk:
    return Desk(state=before.kept[-1] if before.kept else None, records=records, env=LaterEnv(), **config)


def test_results_survive_a_restart_and_open_requests_find_an_end(tmp_path: Any) -> None:
    before = Desk(records=SqliteRecords(tmp_path / "r.sqlite"))
    before.engine("e1")
    before.engine("gone")
    before.mux_result("e1", before.mux("e1", "done"), buffers=[b"r"])
    waits = before.mux("e1", "waits")
    before.mux("gone", "lost")
    before.task("task")
    before.send("unregistration_request", {"id": 1})
    before.records.close()
    after = restarted(before, SqliteRecords(tmp_path / "r.sqlite"), has_new_scheduler=True)
    assert after.status_of("done", "waits", "lost", "task") == (["waits", "lost", "task"], ["done"])
    reply = after.ask("result_request", {"msg_ids": ["done"]})
    assert [bytes(each) for each in reply.buffers] == [b"r"]
    after.heard("e1")
    after.mux_result("e1", waits)
    after.let_pass(TIMEOUT)
    assert after.status_of("done", "waits", "lost", "task") == ([], ["done", "waits", "lost", "task"])
    texts = {each: after.record(each)["result_content"].get("evalue") for each in ("waits", "lost", "task")}
    assert texts == {
        "waits": None,
        "lost": "Engine 'gone' died while running task 'lost'",
        "task": "The task scheduler ended while it had task 'task'",
    }
    after.records.close()


def test_a_scheduler_that_went_on_tells_what_becomes_of_its_tasks() -> None:
    records = MemoryRecords()
    before = Desk(records=records)
    before.engine("e1")
    request = before.task("t1")
    after = restarted(before, records, has_new_scheduler=False)
    after.let_pass(2 * TIMEOUT)
    assert after.status_of("t1") == (["t1"], [])
    after.task_result("e1", request)
    assert after.status_of("t1") == ([], ["t1"])


def test_requests_on_a_restored_engine_that_never_beats_are_stranded() -> None:
    records = MemoryRecords()
    before = Desk(records=records)
    before.engine("e1")
    before.mux("e1", "m1")
    after = restarted(before, records)
    after.let_pass(TIMEOUT)
    assert after.engines() == {}
    assert after.status_of("m1") == (["m1"], [])
    after.let_pass(TIMEOUT)
    assert after.status_of("m1") == ([], ["m1"])


def test_what_is_kept_of_finished_messages_is_nothing() -> None:
    desk = desk_with_engine()
    empty = desk.hub.freeze()
    for number in range(50):
        request = desk.task(f"t{number}")
        desk.assigned(request, "e1")
        desk.task_result("e1", request)
    assert desk.hub.freeze() == empty
