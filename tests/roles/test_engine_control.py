"""The engine: what control does to its requests, and how it ends them."""

from typing import Any

import pytest
from engine_desk import CONTROL, OK, SHELL, UUID, Bench, queued
from role_world import message, of, sent

from protocol.messages import validate
from protocol.roles.base import (
    Arrived,
    Effect,
    Exit,
    Finished,
    Run,
)
from protocol.roles.engine import (
    Outcome,
)
from protocol.wire import Message


@pytest.mark.parametrize(
    ("msg_ids", "aborted"),
    [("m2", {"m2"}), (["m3"], {"m3"}), (["m2", "m3", "x"], {"m2", "m3"}), ([], {"m2", "m3"}), (None, {"m2", "m3"}),
     (["m1"], set()), ("x", set())],
)  # fmt: skip
def test_abort_ends_what_it_names_and_nothing_else(msg_ids: object, aborted: set[str]) -> None:
    bench = Bench()
    run = queued(bench)
    bench.control("abort_request", {"msg_ids": msg_ids})
    replies = sent(bench.seen, "shell")
    assert {one.parent_header["msg_id"] for one in replies} == aborted
    for one in replies:
        assert (one.content, one.metadata["status"], one.metadata["engine"]) == ({"status": "aborted"}, "aborted", UUID)
        assert not one.buffers
        validate(one, "mux", local=True)
    assert bench.reply("control").content == {"status": "ok"}
    assert bench.reply("control").metadata == {"engine": UUID}
    assert bench.reply("control").identities == tuple(CONTROL)
    bench.do(Finished(run.job, OK))
    ran = {one.message.msg_id for one in of(bench.seen, Run)}
    while of(bench.seen, Run):
        bench.do(Finished(of(bench.seen, Run)[0].job, OK))
        ran |= {one.message.msg_id for one in of(bench.seen, Run)}
    assert ran == {"m2", "m3"} - aborted


def test_a_broadcast_is_aborted_by_the_clients_own_id() -> None:
    bench = Bench()
    bench.shell()
    bench.shell(msg_id="b0_engine-a", metadata={"original_msg_id": "b0"})
    bench.control("abort_request", {"msg_ids": ["b0"]})
    assert bench.reply().parent_header["msg_id"] == "b0_engine-a"


def test_an_abort_is_about_what_is_queued_now() -> None:
    bench = Bench()
    bench.control("abort_request", {"msg_ids": ["m1"]})
    bench.shell(msg_id="m1")
    assert bench.run("apply")


@pytest.mark.parametrize(
    ("sent_at", "session", "is_aborted"),
    [("09:00:00.000001Z", "client", True), ("09:00:01Z", "client", False), ("09:00:00.000001Z", "another", False),
     ("soon", "client", False), ("09:00:00.5", "client", False)],
)  # fmt: skip
def test_an_abort_that_overtakes_what_it_names_holds_when_that_comes(
    sent_at: str, session: str, is_aborted: bool
) -> None:
    def request(msg_type: str, msg_id: str, time: str, session: str, **fields: Any) -> Message:
        made = message(msg_type, None, msg_id, **fields)
        return made.replace(header=made.header | {"date": f"2026-01-01T{time}", "session": session})

    bench = Bench()
    abort = request("abort_request", "c1", "09:00:01Z", "client", identities=CONTROL)
    bench.do(Arrived("control", abort.replace(content={"msg_ids": ["m1"]})))
    frozen = bench.engine.freeze()
    late = request("apply_request", "m1", sent_at, session, identities=SHELL, buffers=[b"f", b"info"])
    bench.engine.thaw(frozen)
    bench.do(Arrived("shell", late))
    assert bool(of(bench.seen, Run)) is not is_aborted
    if is_aborted:
        assert bench.reply().content == {"status": "aborted"}
        bench.shell(msg_id="m1")
        assert bench.run("apply")


def test_no_more_ids_of_aborts_are_remembered_than_was_said() -> None:
    bench = Bench(remembered=5)
    bench.control("abort_request", {"msg_ids": [f"x{number}" for number in range(100)]})
    assert len(bench.engine.work.doomed) == 5


@pytest.mark.parametrize("content", [{}, {"msg_ids": 5}, {"msg_ids": [1]}])
def test_an_abort_of_nonsense_is_an_error_and_aborts_nothing(content: Any) -> None:
    bench = Bench()
    queued(bench)
    bench.control("abort_request", content)
    assert bench.reply("control").content["status"] == "error"
    assert not sent(bench.seen, "shell")


def test_clear_is_done_beside_running_code_and_answered_when_done() -> None:
    bench = Bench()
    running = queued(bench)
    bench.control("clear_request")
    clear = bench.run("clear")
    assert not sent(bench.seen, "control")
    bench.do(Finished(clear.job, None))
    assert bench.reply("control").content == {"status": "ok"}
    bench.control("clear_request")
    bench.do(Finished(bench.run("clear").job, "broken"))
    assert bench.reply("control").content["status"] == "error"
    bench.do(Finished(running.job, OK))
    assert bench.run("apply").message.msg_id == "m2"


@pytest.mark.parametrize(("content", "restart"), [({}, False), ({"restart": False}, False), ({"restart": True}, True)])
def test_shutdown_answers_everybody_and_ends(content: Any, restart: bool) -> None:
    bench = Bench()
    queued(bench)
    bench.control("shutdown_request", content)
    replies = sent(bench.seen, "shell")
    assert {one.parent_header["msg_id"]: one.content["status"] for one in replies} == {
        "m2": "aborted", "m3": "aborted", "m1": "error",
    }  # fmt: skip
    assert bench.reply("control").content == {"status": "ok", "restart": restart}
    (copy,) = sent(bench.seen, "iopub", "shutdown_reply")
    assert copy.identities == (b"engine.3.shutdown",)
    assert copy.content == {"status": "ok", "restart": restart}
    assert not sent(bench.seen, "query")
    assert bench.seen[-1] == Exit(0)
    assert not bench.shell()


def test_a_shutdown_that_cannot_be_understood_is_refused() -> None:
    bench = Bench()
    bench.control("shutdown_request", {"restart": "perhaps"})
    assert bench.reply("control").content["status"] == "error"
    assert bench.published() == ["busy", "idle"]
    bench.shell()
    assert bench.run("apply")


def test_signals_are_a_wardens_business() -> None:
    bench = Bench()
    bench.control("signal_request", {"sig": "SIGINT"})
    assert bench.reply("control").msg_type == "signal_reply"
    assert bench.reply("control").content["status"] == "error"


def test_code_on_control_waits_its_turn_and_is_answered_there() -> None:
    bench = Bench()
    bench.shell()
    run = bench.run("apply")
    bench.control("execute_request", {"code": "1"})
    assert not bench.seen
    bench.do(Finished(run.job, OK))
    bench.do(Finished(bench.run("execute").job, Outcome()))
    assert bench.reply("control").msg_type == "execute_reply"


def test_a_job_of_control_that_ends_does_not_begin_what_waits_for_the_shell() -> None:
    bench = Bench(hosted=("is_complete_request",))
    running = queued(bench)
    bench.control("is_complete_request", {"code": "1"})
    beside = bench.run("is_complete").job
    bench.do(Finished(beside, Outcome(content={"status": "complete"})))
    assert bench.reply("control").content == {"status": "complete"}
    assert not of(bench.seen, Run)
    bench.do(Finished(running.job, OK))
    assert bench.run("apply").message.msg_id == "m2"


def test_every_request_is_bracketed_once() -> None:
    bench = Bench()
    seen: list[Effect] = []
    run = queued(bench)
    bench.do(Finished(run.job, OK))
    for msg_type, content in (("abort_request", {"msg_ids": []}), ("signal_request", {}), ("shutdown_request", {})):
        bench.control(msg_type, content, msg_id=msg_type)
        seen += bench.seen
    states: dict[str, list[str]] = {}
    for one in sent(seen, "iopub", "status"):
        states.setdefault(one.parent_header["msg_id"], []).append(one.content["execution_state"])
    assert {name: each for name, each in states.items() if name.endswith("request")} == {
        name: ["busy", "idle"] for name in ("abort_request", "signal_request", "shutdown_request")
    }
    assert states["m3"] == ["busy", "idle"]
