"""The engine: registration, the order of requests, output, the watch over pings."""

from collections.abc import Sequence
from typing import Any

import pytest
from engine_desk import CONTROL, FAILURE, OK, SHELL, UUID, Bench, queued
from hypothesis import given, settings
from hypothesis import strategies as st
from role_world import MS, SECOND, FakeEnv, check_freeze, drive, events, message, of, sent, unreadable

from protocol.messages import REGISTRY, validate
from protocol.roles.base import (
    Arrived,
    Effect,
    Exit,
    Finished,
    Fired,
    Output,
    Raw,
    SetTimer,
    Started,
    Stopping,
)
from protocol.roles.engine import (
    FAILED,
    Engine,
    EngineConfig,
    Outcome,
)
from protocol.roles.engine.answers import ANSWERS
from protocol.wire import Message

# -- registration ------------------------------------------------------------------------------------------------------


def test_an_engine_registers_connects_and_says_that_it_starts() -> None:
    bench = Bench(serve=False, id=7)
    (asked,) = sent(bench.do(Started()), "query")
    assert asked.content == {"uuid": UUID, "id": 7}
    assert asked.header["session"] == UUID
    assert of(bench.seen, SetTimer) == [SetTimer("registration", 5 * SECOND)]
    bench.registered(7)
    connect = bench.run("connect")
    assert connect.message.msg_type == "registration_reply"
    assert not sent(bench.seen, "iopub")
    bench.do(Finished(connect.job, None))
    (starting,) = sent(bench.seen, "iopub")
    assert starting.identities == (b"engine.7.status",)
    assert (starting.content, starting.parent_header) == ({"execution_state": "starting"}, {})
    assert not bench.do(Fired("registration", 0))


def test_without_a_reply_the_engine_says_so_and_fails() -> None:
    bench = Bench(serve=False, id=4)
    bench.do(Started())
    bench.now = 5 * SECOND
    effects = bench.do(Fired("registration", 0))
    assert [one.content for one in sent(effects, "query", "unregistration_request")] == [{"id": None}]
    assert of(effects, Exit) == [Exit(FAILED)]
    assert not bench.registered()


@pytest.mark.parametrize(
    "reply",
    [
        message("registration_reply", {"status": "error", "ename": "KeyError", "evalue": "in use", "traceback": []}),
        message("registration_reply", {"status": "ok", "id": "3"}),
        message("hub_error", {"status": "error"}, parent={"msg_id": "id-1"}),
    ],
)
def test_a_refused_engine_fails(reply: Message) -> None:
    bench = Bench(serve=False)
    bench.do(Started())
    assert of(bench.do(Arrived("query", reply)), Exit) == [Exit(FAILED)]


def test_replies_to_others_and_unreadable_ones_are_no_answer() -> None:
    bench = Bench(serve=False)
    bench.do(Started())
    for reply in (
        message("hub_error", {}, parent={"msg_id": "other"}),
        message("registration_reply", {"status": "ok", "id": 1}, parent={"msg_id": "other"}),
        unreadable("registration_reply"),
        message("connection_reply", {"status": "ok"}),
    ):
        assert not bench.do(Arrived("query", reply))
    assert bench.registered()


def test_an_engine_that_cannot_connect_leaves() -> None:
    bench = Bench(serve=False)
    bench.do(Started())
    bench.registered()
    effects = bench.do(Finished(bench.run("connect").job, "no route"))
    assert [one.content for one in sent(effects, "query")] == [{"id": 3}]
    assert of(effects, Exit) == [Exit(FAILED)]


# -- requests ----------------------------------------------------------------------------------------------------------


def test_an_apply_is_run_and_answered_where_it_came_from() -> None:
    bench = Bench()
    bench.shell(metadata={"label": "sum", "original_msg_id": "b0", "is_broadcast": True, "is_coalescing": False})
    run = bench.run("apply")
    assert bench.published() == ["busy"]
    bench.now = 2 * SECOND
    bench.do(Finished(run.job, OK))
    reply = bench.reply()
    assert reply.identities == tuple(SHELL)
    assert reply.parent_header == run.message.header
    assert reply.content == {"status": "ok"}
    assert reply.buffers == (b"42",)
    assert reply.metadata == {
        "started": bench.env.date(0), "dependencies_met": True, "engine": UUID, "is_broadcast": True,
        "is_coalescing": False, "original_msg_id": "b0", "label": "sum", "status": "ok",
    }  # fmt: skip
    assert bench.published() == ["idle"]
    validate(reply, "mux", local=True)


def test_code_is_announced_counted_and_its_result_numbered() -> None:
    bench = Bench()
    for number in (1, 2):
        bench.shell("execute_request", f"m{number}", content={"code": "1 + 1"})
        job = bench.run("execute").job
        assert bench.published() == ["busy", "execute_input"]
        assert sent(bench.seen, "iopub", "execute_input")[0].content == {"code": "1 + 1", "execution_count": number}
        bench.do(Output(job, "execute_result", {"data": {"text/plain": "2"}}))
        (result,) = sent(bench.seen, "iopub")
        assert result.content == {"data": {"text/plain": "2"}, "metadata": {}, "execution_count": number}
        bench.do(Finished(job, Outcome()))
        assert bench.reply().content["execution_count"] == number
        validate(bench.reply(), "mux", local=True)


@pytest.mark.parametrize("flags", [{"silent": True}, {"store_history": False}, {"code": "  "}])
def test_what_is_silent_unstored_or_empty_does_not_count(flags: dict[str, Any]) -> None:
    bench = Bench()
    for _ in range(2):
        bench.shell("execute_request", content={"code": "1"} | flags)
        job = bench.run("execute").job
        assert ("execute_input" in bench.published()) is ("silent" not in flags)
        shown = bench.do(Output(job, "execute_result", {"data": {}}))
        assert bool(shown) is ("silent" not in flags)
        bench.do(Finished(job, Outcome()))
        assert bench.reply().content["execution_count"] == 1


def test_an_error_is_published_and_names_the_engine() -> None:
    for msg_type, content in (("apply_request", None), ("execute_request", {"code": "1/0", "silent": True})):
        bench = Bench()
        bench.shell(msg_type, content=content)
        kind = msg_type.removesuffix("_request")
        bench.do(Finished(bench.run(kind).job, FAILURE))
        reply = bench.reply()
        assert (reply.content["status"], reply.content["ename"], reply.content["traceback"]) == (
            "error", "KeyError", ["line"],
        )  # fmt: skip
        assert reply.content["engine_info"] == {"engine_uuid": UUID, "engine_id": 3, "method": kind}
        assert reply.metadata["status"] == "error"
        assert reply.metadata["engine_info"] == reply.content["engine_info"]
        assert not reply.buffers
        assert bench.published() == ["error", "idle"]
        assert sent(bench.seen, "iopub", "error")[0].content == {
            "ename": "KeyError", "evalue": "x", "traceback": ["line"],
        }  # fmt: skip
        validate(reply, "mux", local=True)


def test_an_unmet_dependency_is_told_in_the_metadata() -> None:
    bench = Bench()
    bench.shell()
    unmet = Outcome(status="error", content={"ename": "UnmetDependency", "evalue": ""}, dependencies_met=False)
    bench.do(Finished(bench.run("apply").job, unmet))
    assert bench.reply().metadata["dependencies_met"] is False


def test_one_request_runs_at_a_time_in_the_order_sent() -> None:
    bench = Bench()
    bench.shell(msg_id="m1")
    first = bench.run("apply")
    assert not bench.shell(msg_id="m2")
    assert not bench.shell("kernel_info_request", "m3")
    assert not bench.shell(msg_id="m4", identities=[b"task_out", b"other"])
    bench.do(Finished(first.job, OK))
    second = bench.run("apply")
    assert second.message.msg_id == "m2"
    bench.do(Finished(second.job, OK))
    assert [one.parent_header["msg_id"] for one in sent(bench.seen, "shell")] == ["m2", "m3"]
    bench.do(Finished(bench.run("apply").job, OK))
    assert bench.reply().identities == (b"task_out", b"other")


@pytest.mark.parametrize(
    ("msg_type", "fields"),
    [
        ("apply_request", {"buffers": [b"only one"]}),
        ("execute_request", {"content": {}}),
        ("execute_request", {"content": {"code": 5}}),
        ("execute_request", {"content": {"code": "1", "silent": "yes"}}),
        ("complete_request", {"content": {"code": "a"}}),
        ("inspect_request", {"content": {"code": "a", "cursor_pos": "x"}}),
    ],
)
def test_a_request_that_cannot_be_understood_is_an_error_and_harms_nobody(msg_type: str, fields: Any) -> None:
    bench = Bench()
    bench.shell(msg_type, **fields)
    assert bench.reply().content["status"] == "error"
    assert bench.reply().msg_type == msg_type.replace("request", "reply")
    assert [one for one in bench.published() if one in ("busy", "idle")] == ["busy", "idle"]
    bench.shell(msg_id="m2")
    assert bench.run("apply")


def test_unreadable_content_and_metadata() -> None:
    bench = Bench()
    bench.do(Arrived("shell", unreadable("execute_request", identities=SHELL)))
    assert bench.reply().content["status"] == "error"
    bench.do(Arrived("shell", unreadable("kernel_info_request", part=2, identities=SHELL)))
    assert bench.reply().content["status"] == "ok"
    assert bench.reply().metadata["label"] is None
    bench.do(Arrived("control", unreadable("abort_request", identities=CONTROL)))
    assert bench.reply("control").content["status"] == "error"
    bench.do(Arrived("control", unreadable("shutdown_request", identities=CONTROL)))
    assert bench.reply("control").content["status"] == "error"
    assert not of(bench.seen, Exit)


@pytest.mark.parametrize("msg_type", sorted(ANSWERS))
@pytest.mark.parametrize("socket", ["shell", "control"])
def test_questions_to_a_kernel_are_answered_as_the_registry_says(msg_type: str, socket: str) -> None:
    bench = Bench()
    (row,) = [
        row for row in REGISTRY if row.name == msg_type and "mux" in row.channels and "ipyparallel-9" in row.dialects
    ]
    bench.do(Arrived(socket, message(msg_type, dict(row.example), identities=SHELL)))
    reply = bench.reply(socket)
    validate(reply, "mux", local=True)
    assert bench.published() == ["busy", "idle"]


def test_a_cursor_beyond_the_code_is_put_at_its_end() -> None:
    bench = Bench()
    for position, expected in ((99, 2), (-4, 0), (None, 2), (1, 1)):
        bench.shell("complete_request", content={"code": "ab", "cursor_pos": position})
        assert bench.reply().content["cursor_end"] == expected


def test_a_hosted_question_goes_to_the_process() -> None:
    bench = Bench(hosted=("is_complete_request",))
    bench.shell("is_complete_request", content={"code": "for"})
    bench.do(Finished(bench.run("is_complete").job, Outcome(content={"status": "incomplete", "indent": " "})))
    assert bench.reply().content == {"status": "incomplete", "indent": " "}


def test_an_unknown_type_is_bracketed_and_not_answered() -> None:
    bench = Bench()
    for socket in ("shell", "control"):
        bench.do(Arrived(socket, message("dance_request", identities=SHELL)))
        assert not sent(bench.seen, socket)
        assert bench.published() == ["busy", "idle"]


def test_an_error_in_code_aborts_the_same_clients_queued_code_unless_told_otherwise() -> None:
    for flags, expected in (({}, {"m2"}), ({"stop_on_error": False}, set()), ({"silent": True}, set())):
        bench = Bench()
        bench.shell("execute_request", "m1", content={"code": "1/0"} | flags)
        job = bench.run("execute").job
        bench.shell("execute_request", "m2", content={"code": "2"})
        bench.shell("execute_request", "m3", content={"code": "3"}, identities=[b"mux_out", b"other"])
        bench.shell("apply_request", "m4")
        bench.do(Finished(job, FAILURE))
        aborted = {
            one.parent_header["msg_id"] for one in sent(bench.seen, "shell") if one.content["status"] == "aborted"
        }
        assert aborted == expected


# -- output ------------------------------------------------------------------------------------------------------------


def test_output_has_the_request_as_parent_also_after_its_end() -> None:
    bench = Bench(remembered=1)
    bench.shell(msg_id="m1")
    job = bench.run("apply").job
    text = Output(job, "stream", {"name": "stderr", "text": "x"})
    for expected in ("m1", "m1"):
        bench.do(text)
        (stream,) = sent(bench.seen, "iopub")
        assert stream.identities == (b"engine.3.stderr",)
        assert stream.metadata == {}
        assert stream.parent_header["msg_id"] == expected
        validate(stream, "iopub", local=True)
        bench.do(Finished(job, OK))
    bench.shell(msg_id="m2")
    bench.do(Finished(bench.run("apply").job, OK))
    bench.do(text)
    assert sent(bench.seen, "iopub")[0].parent_header == {}


def test_published_data_has_a_topic_of_its_own() -> None:
    bench = Bench()
    bench.do(Output(0, "data_message", {"keys": ["a"]}, buffers=[b"1"]))
    (data,) = sent(bench.seen, "iopub")
    assert (data.identities, data.metadata, data.buffers) == ((b"datapub",), {"engine": UUID}, (b"1",))


def test_what_is_no_output_is_not_published() -> None:
    bench = Bench()
    for msg_type in ("status", "shutdown_reply", "apply_reply", "error"):
        assert not bench.do(Output(0, msg_type, {}))


# -- the watch ---------------------------------------------------------------------------------------------------------


def checks(bench: Bench, pinged: bool, times: int = 1, late: int = 0) -> Sequence[Effect]:
    for _ in range(times):
        if pinged:
            bench.do(Raw("heartbeat", (b"", b"1.0")))
        bench.now = bench.engine.due + late
        bench.do(Fired("watch", 0))
    return bench.seen


def test_an_engine_without_pings_unregisters_and_ends() -> None:
    bench = Bench(misses=3)
    assert bench.engine.due == 1500 * MS
    checks(bench, pinged=True, times=5)
    checks(bench, pinged=False, times=1)
    checks(bench, pinged=True)
    effects = checks(bench, pinged=False, times=3)
    assert [one.content for one in sent(effects, "query", "unregistration_request")] == [{"id": 3}]
    assert of(effects, Exit) == [Exit(FAILED)]
    assert bench.now == (5 + 1 + 1 + 3) * 1500 * MS


def test_zero_misses_switch_the_watch_off() -> None:
    bench = Bench(serve=False, misses=0)
    bench.do(Started())
    assert not of(bench.registered(), SetTimer)
    assert not bench.do(Fired("watch", 0))


def test_an_engine_asks_now_and_then_whether_the_hub_still_has_it() -> None:
    bench = Bench(refresh=3)
    assert not sent(checks(bench, pinged=True, times=2), "query")
    (again,) = sent(checks(bench, pinged=True), "query")
    assert again.content == {"uuid": UUID}
    assert not sent(checks(bench, pinged=True, times=2), "query")
    assert sent(checks(bench, pinged=True), "query")


def test_an_engine_without_refresh_asks_once() -> None:
    assert not sent(checks(Bench(), pinged=True, times=200), "query")


@pytest.mark.parametrize("kind", ["cut off", "held up"])
def test_an_engine_that_was_away_asks_again_and_a_hub_that_kept_it_refuses(kind: str) -> None:
    bench = Bench()
    checks(bench, pinged=kind == "held up", times=3)
    effects = checks(bench, pinged=True, late=10 * SECOND if kind == "held up" else 0)
    (again,) = sent(effects, "query")
    assert again.content == {"uuid": UUID}
    refusal = {"status": "error", "ename": "KeyError", "evalue": "in use", "traceback": []}
    assert not bench.do(Arrived("query", message("registration_reply", refusal)))
    bench.shell()
    assert bench.run("apply")


def test_an_engine_that_the_hub_had_lost_has_a_new_number_and_its_old_work() -> None:
    bench = Bench()
    run = queued(bench)
    checks(bench, pinged=False, times=3)
    checks(bench, pinged=True)
    bench.registered(9)
    bench.do(Finished(bench.run("connect").job, None))
    assert not bench.published()
    bench.do(Finished(run.job, OK))
    assert sent(bench.seen, "iopub", "status")[0].identities == (b"engine.9.status",)
    assert bench.run("apply").message.msg_id == "m2"


@pytest.mark.parametrize("engines", [{"9": UUID, "4": "engine-b"}, {"3": UUID}, {}, None, {"x": UUID}], ids=repr)
def test_a_number_whose_answer_was_lost_is_asked_for(engines: object) -> None:
    bench = Bench(refresh=3)
    # The Hub has lost it, registers it again, and that answer never comes; asked again, it refuses.
    assert sent(checks(bench, pinged=True, times=3), "query", "registration_request")
    assert sent(checks(bench, pinged=True, times=3), "query", "registration_request")
    refusal = {"status": "error", "ename": "KeyError", "evalue": "in use", "traceback": []}
    (asked,) = sent(bench.do(Arrived("query", message("registration_reply", refusal))), "query", "connection_request")
    bench.do(Arrived("query", message("connection_reply", {"status": "ok", "engines": engines}, parent=asked.header)))
    if engines == {"9": UUID, "4": "engine-b"}:
        assert bench.engine.id == 9
        connect = bench.run("connect")
        assert connect.message.content["id"] == 9
        bench.do(Finished(connect.job, None))
    else:
        assert bench.engine.id == 3
        assert not bench.seen
    # That is over: the next refusal raises no question.
    assert sent(checks(bench, pinged=True, times=3), "query", "registration_request")
    assert not bench.do(Arrived("query", message("registration_reply", refusal)))


def test_an_engine_told_to_stop_says_goodbye() -> None:
    bench = Bench()
    queued(bench)
    effects = bench.do(Stopping())
    assert [one.content for one in sent(effects, "query")] == [{"id": 3}]
    assert len(sent(effects, "shell")) == 3
    assert effects[-1] == Exit(0)
    assert Bench(serve=False).do(Stopping()) == [Exit(0)]


# -- as a whole --------------------------------------------------------------------------------------------------------


_TYPES = [
    "execute_request", "apply_request", "clear_request", "abort_request", "shutdown_request", "signal_request",
    "registration_reply", "hub_error", "complete_request", "kernel_info_request", "is_complete_request",
]  # fmt: skip
_RESULTS = st.none() | st.builds(Outcome) | st.just(FAILURE) | st.builds(Outcome, content=st.integers())
_STEPS = st.lists(
    st.tuples(
        st.sampled_from([0, MS, 2 * SECOND]),
        events(["shell", "control", "query", "heartbeat", "iopub"], _TYPES, ["watch", "registration"], _RESULTS),
    ),
    max_size=40,
)
_OPENING = [
    (0, Started()),
    (0, Arrived("query", message("registration_reply", {"status": "ok", "id": 0, "hb_period": 1000}))),
    (0, Finished(1, None)),
]


@settings(max_examples=200)
@given(_STEPS, st.booleans())
def test_every_event_has_an_answer_and_every_request_one_reply(steps: list[tuple[int, Any]], opened: bool) -> None:
    def make(env: FakeEnv) -> Engine:
        return Engine(EngineConfig(uuid=UUID, misses=2, notes=True, hosted=("is_complete_request",)), env)

    steps = [(delay, event) for delay, event in steps if not isinstance(event, Stopping)]
    opening = _OPENING if opened else []
    seen = drive(make(FakeEnv()), [*opening, *steps])
    check_freeze(make, [*opening, *steps[:20]], steps[20:])
    asked = [event for _, event in [*opening, *steps][: len(seen)] if isinstance(event, Arrived)]
    for socket in ("shell", "control"):
        requests = [one for one in asked if one.socket == socket]
        replies = [one for effects in seen for one in sent(effects, socket)]
        assert len(replies) <= len(requests)
    busy = [one for effects in seen for one in sent(effects, "iopub", "status")]
    counts = [one.content["execution_state"] for one in busy]
    assert counts.count("idle") <= counts.count("busy")
    if seen and any(isinstance(one, Exit) for one in seen[-1]):
        assert counts.count("idle") == counts.count("busy")
