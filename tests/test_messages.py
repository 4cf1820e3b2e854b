"""The registry, and checking messages against it: what is right is accepted, and what is wrong is told completely."""

import copy
import random
import re
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import pytest
from ipyparallel import Dependency, error
from ipyparallel.serialize import pack_apply_message
from jupyter_client.session import Session

from protocol import applybuffers, channels, messages, requirements, wire
from protocol.errors import LocalProtocolError, RemoteProtocolError
from protocol.messages import (
    DIALECTS,
    DOCUMENTED,
    NINE,
    OLD,
    REGISTRY,
    AbortedContent,
    Empty,
    ErrorContent,
    KeyedContent,
    build,
    example,
    examples,
    header,
    lookup,
    names,
    plain,
    problems,
    read,
    reply,
    reply_name,
    requirements_of,
    rows,
    validate,
)
from protocol.messages.apply import DependencyContent, TaskMetadata
from protocol.messages.query import QueueCounts, QueueReply, ResultReply
from protocol.messages.registry import INDEX
from protocol.wire import DELIMITER, Codec, Message, ReplayMemory

KEY = b"5f0c2b1e-9d3a7c6b5e4f3a2b1c0d9e8f"
FAMILIES = {
    "wire", "connection", "registration", "heartbeat", "heart-device", "notification", "query", "storage", "mux",
    "task", "dependency", "control", "apply", "iopub", "broadcast", "kernel", "stdin",
}  # fmt: skip
ROLES = {
    "client", "engine", "hub", "heart", "heart-monitor", "mux-relay", "control-relay", "iopub-relay", "task-scheduler",
    "broadcast-scheduler", "warden", "kernel", "frontend",
}  # fmt: skip
SPOKEN = [(row, dialect) for row in REGISTRY if not row.is_raw for dialect in row.dialects]


def title(value):
    return value if isinstance(value, str) else f"{value.channels[0]}.{value.name}"


spoken = pytest.mark.parametrize(("row", "dialect"), SPOKEN, ids=title)
every_row = pytest.mark.parametrize("row", REGISTRY, ids=title)


def codec(dialect=NINE, packer="json", **options):
    return Codec(KEY, packer=packer, metadata=dialect != OLD, **options)


def refusal(message, channel, dialect=NINE):
    """What `read` says about a message, as (frame, path, rule), after encoding it."""
    one = codec(dialect)
    with pytest.raises(RemoteProtocolError) as caught:
        read(one, one.encode(message), channel, dialect)
    return [(problem.frame, problem.path, problem.rule) for problem in caught.value.problems]


def asked(msg_type, content, **fields):
    return build(msg_type, content, msg_id="m_1", **fields)


# --- the registry -----------------------------------------------------------------------------------------------------


def test_a_name_means_one_thing_on_a_channel_in_a_dialect():
    places = [
        (row.name_in(dialect), channel, dialect)
        for row in REGISTRY
        for dialect in row.dialects
        for channel in row.channels
    ]
    assert len(places) == len(set(places)) == len(INDEX)


@every_row
def test_a_row_uses_the_common_vocabulary(row):
    assert row.family in FAMILIES
    assert ROLES.issuperset((*row.sender, *row.receiver))
    assert set(DIALECTS).issuperset(row.dialects)
    assert set(row.names) <= set(row.dialects)
    assert row.doc.endswith(".")
    assert row.source
    assert {channels.channel(name).name for name in row.channels} == set(row.channels)
    assert row.dialects or row.lived


@every_row
def test_a_row_is_raw_where_its_channel_is(row):
    assert {channels.channel(name).framing for name in row.channels} == {row.framing}


def test_every_channel_carries_something():
    assert {name for row in REGISTRY for name in row.channels} == {row.name for row in channels.CHANNELS}


@spoken
def test_replies_travel_where_their_requests_do(row, dialect):
    for name in row.replies:
        for channel in row.channels:
            answer = lookup(name, channel, dialect)
            assert answer is not None
            assert answer.parent in ("request", "any")
            # Two roles that speak to each other both ways.
            assert set(answer.sender) & set(row.receiver) or "task-scheduler" in answer.sender
            assert set(answer.receiver) & set(row.sender)


def test_types_are_named_once():
    kinds = {kind for row in REGISTRY for kind in (*row.content, row.metadata)}
    assert len({kind.__name__ for kind in kinds}) == len(kinds)
    assert [kind.__name__ for kind in kinds if not (kind.__doc__ or "").strip()] == []


def test_the_families_of_both_references_are_there():
    expected = {
        "registration_request", "registration_reply", "unregistration_request", "connection_request",
        "connection_reply", "hub_error", "queue_request", "queue_reply", "load_request", "load_reply",
        "result_request", "result_reply", "history_request", "history_reply", "db_request", "db_reply",
        "purge_request", "purge_reply", "resubmit_request", "resubmit_reply", "shutdown_request", "shutdown_reply",
        "become_dask_request", "become_dask_reply", "stop_distributed_request", "stop_distributed_reply",
        "registration_notification", "unregistration_notification", "shutdown_notification", "task_destination",
        "new_heart", "stopped_heart", "ping", "pong", "heartbeat", "apply_request", "apply_reply", "apply_bound",
        "execute_request", "execute_reply", "clear_request", "clear_reply", "abort_request", "abort_reply",
        "signal_request", "signal_reply", "status", "stream", "display_data", "update_display_data",
        "execute_input", "execute_result", "error", "clear_output", "data_message", "iopub_welcome", "debug_event",
        "comm_open", "comm_msg", "comm_close", "inspect_request", "inspect_reply", "object_info_request",
        "object_info_reply", "complete_request", "complete_reply", "is_complete_request", "is_complete_reply",
        "connect_request", "connect_reply", "comm_info_request", "comm_info_reply", "kernel_info_request",
        "kernel_info_reply", "interrupt_request", "interrupt_reply", "debug_request", "debug_reply",
        "create_subshell_request", "create_subshell_reply", "delete_subshell_request", "delete_subshell_reply",
        "list_subshell_request", "list_subshell_reply", "usage_request", "usage_reply", "input_request",
        "input_reply", "crash", "file", "getattr_request", "setattr_request",
    }  # fmt: skip
    assert expected <= {row.name for row in REGISTRY}


@pytest.mark.parametrize(
    ("old", "new", "channel"),
    [
        ("pyin", "execute_input", "kernel-iopub"),
        ("pyout", "execute_result", "iopub"),
        ("pyerr", "error", "iopub"),
    ],
)
def test_a_renamed_type_is_one_row(old, new, channel):
    assert lookup(old, channel, OLD) is lookup(new, channel)
    assert lookup(old, channel) is None
    assert lookup(new, channel, OLD) is None


def test_data_pub_is_the_documented_name_of_data_message():
    assert lookup("data_pub", "iopub", DOCUMENTED) is lookup("data_message", "iopub", NINE)


@pytest.mark.parametrize("name", ["heartbeat", "apply_bound", "crash", "file", "getattr_request", "setattr_request"])
def test_withdrawn_types_are_known_to_readers_of_history_only(name):
    (row,) = rows(name)
    assert row.lived
    assert all(lookup(name, channel, dialect) is None for channel in row.channels for dialect in DIALECTS)


def test_the_key_bound_lives_in_the_oldest_dialect_only():
    kinds = {row.metadata for row in rows("apply_request") if "bound" in row.metadata.__struct_fields__}
    assert {row.dialects for row in rows("apply_request") if row.metadata in kinds} == {(OLD,)}


def test_one_name_means_different_things_on_different_channels():
    to_hub, to_engine = lookup("shutdown_request", "query"), lookup("shutdown_request", "control")
    assert to_hub is not None
    assert to_engine is not None
    assert to_hub.receiver != to_engine.receiver
    assert set(rows("shutdown_request", "query")) == {to_hub}
    assert to_engine in rows("shutdown_request")


def test_names_of_a_channel_are_listed_without_heartbeats():
    assert names("notification") == (
        "registration_notification",
        "shutdown_notification",
        "unregistration_notification",
    )
    assert names("heartbeat-ping") == ()


def test_requirements_of_a_row_name_it(monkeypatch):
    class Fake(msgspec.Struct):
        messages: list[str]
        channels: list[str]
        dialects: list[str]

    made = {
        "a": Fake(["shutdown_request"], ["query"], [NINE]),
        "b": Fake(["shutdown_request"], ["control"], [NINE]),
        "c": Fake(["pyin"], [], [OLD]),
        "d": Fake(["queue_request"], ["mux"], [NINE]),
        "e": Fake([], ["heartbeat-pong"], [NINE]),
    }
    monkeypatch.setattr("protocol.requirements.load", lambda: made)
    assert requirements_of(lookup("shutdown_request", "query")) == (made["a"],)
    assert requirements_of(lookup("execute_input", "iopub")) == (made["c"],)
    assert requirements_of(lookup("queue_request", "query")) == (made["d"],)
    assert requirements_of(lookup("pong", "heartbeat-pong")) == (made["e"],)
    assert requirements_of(lookup("load_request", "query")) == ()


# --- examples ---------------------------------------------------------------------------------------------------------


@spoken
@pytest.mark.parametrize("packer", ["json", "msgpack"])
def test_examples_travel_and_are_read_typed(row, dialect, packer):
    one = codec(dialect, packer)
    for channel in row.channels:
        for message in examples(row, dialect):
            reading = read(one, one.encode(message), channel, dialect)
            assert reading.message == message
            assert reading.row is row
            assert isinstance(reading.content, row.content)
            assert isinstance(reading.metadata, row.metadata)
            assert problems(one, one.encode(message), channel, dialect) == []
            again = validate(message, channel, dialect, local=True)
            assert (again.content, again.metadata) == (reading.content, reading.metadata)


@spoken
def test_examples_show_every_field_that_must_be_there(row, dialect):
    message = example(row, dialect)
    content = validate(message, row.channels[0], dialect).content
    known = set(type(content).__struct_encode_fields__) | {"status"}
    if not isinstance(content, KeyedContent):
        assert set(message.content) <= known
    assert message.header["msg_type"] == row.name_in(dialect)
    assert (message.parent_header == {}) == (row.parent != "request")


def test_examples_are_the_same_every_time():
    row = lookup("apply_request", "mux")
    assert row is not None
    assert example(row) == example(row)
    assert example(row) is not example(row)


def test_a_raw_row_has_frames_for_an_example():
    row = lookup("pong", "heartbeat-pong")
    assert row is not None
    assert len(row.raw_example) == 2
    with pytest.raises(LocalProtocolError, match="pong, which is raw"):
        example(row)


def test_withdrawn_rows_have_examples_too():
    (row,) = rows("heartbeat")
    assert example(row).msg_type == "heartbeat"


# --- building ---------------------------------------------------------------------------------------------------------


def test_a_header_holds_what_was_given():
    assert header("m_1", "clear_request") == {
        "msg_id": "m_1",
        "msg_type": "clear_request",
        "username": "username",
        "version": "5.4",
    }
    full = header("m_1", "clear_request", "s", "ada", "2026-01-05T12:00:00Z", None)
    assert full == {
        "msg_id": "m_1",
        "msg_type": "clear_request",
        "username": "ada",
        "session": "s",
        "date": "2026-01-05T12:00:00Z",
    }


def test_a_reply_names_its_request_and_goes_back_the_same_way():
    request = asked("queue_request", {"targets": None}, identities=[b"client", b""], session="s")
    answer = reply(request, QueueReply(entries={"0": {"queue": 0, "completed": 1, "tasks": 0}}), msg_id="m_2")
    assert answer.msg_type == "queue_reply"
    assert answer.parent_header == request.header
    assert answer.identities == (b"client", b"")
    assert answer.content == {"status": "ok", "0": {"queue": 0, "completed": 1, "tasks": 0}}
    assert validate(answer, "query", local=True).content.entries["0"] == QueueCounts(queue=0, completed=1, tasks=0)
    assert reply(request, AbortedContent(), msg_id="m_3", msg_type="hub_error").msg_type == "hub_error"


def test_names_of_replies():
    assert reply_name("apply_request") == "apply_reply"
    assert reply_name("status") == "status"


def test_plain_content_is_what_travels():
    assert plain(None) == {}
    assert plain(Empty()) == {}
    assert plain({"a": 1}) == {"a": 1}
    assert plain(ErrorContent(ename="E", evalue="v", traceback=[])) == {
        "status": "error",
        "ename": "E",
        "evalue": "v",
        "traceback": [],
    }
    keyed = ResultReply(pending=[], completed=["a"], entries={"a": {"received": None}})
    assert plain(keyed) == {"status": "ok", "pending": [], "completed": ["a"], "a": {"received": None}}


# --- refusals ---------------------------------------------------------------------------------------------------------

CONTENT = "wire.content-matches-type"
METADATA = "wire.metadata-matches-type"


def test_every_problem_of_a_message_is_listed():
    message = asked(
        "apply_request",
        {},
        metadata={"after": [1, "a", None], "timeout": "soon", "retries": 1.5, "targets": [["x"]], "label": 3},
        buffers=[b"x"],
    )
    assert refusal(message, "task") == [
        ("metadata", "$.after[0]", METADATA),
        ("metadata", "$.after[2]", METADATA),
        ("metadata", "$.label", METADATA),
        ("metadata", "$.retries", METADATA),
        ("metadata", "$.targets[0]", METADATA),
        ("metadata", "$.timeout", METADATA),
        ("buffers", "", "wire.buffer-count"),
    ]


def test_problems_of_all_frames_are_listed_together():
    one = codec()
    frames = one.encode(asked("registration_request", {"uuid": 5, "id": "x"}, parent={}))
    at = frames.index(DELIMITER)
    frames[at + 1] = b"0" * 64
    frames[at + 3] = b"[]"
    frames[at + 4] = b"{"
    with pytest.raises(RemoteProtocolError) as caught:
        read(one, frames, "query")
    assert [(problem.frame, problem.path) for problem in caught.value.problems] == [
        ("signature", ""),
        ("parent_header", "$"),
        ("metadata", ""),
        ("content", "$.id"),
        ("content", "$.uuid"),
    ]


def test_content_is_judged_although_the_header_lacks_its_id():
    one = codec()
    frames = one.encode(asked("registration_request", {}))
    at = frames.index(DELIMITER) + 2
    frames[at] = b'{"msg_type":"registration_request"}'
    frames[at - 1] = one.sign(b"".join(frames[at : at + 4]))
    with pytest.raises(RemoteProtocolError) as caught:
        read(one, frames, "query")
    assert [problem.path for problem in caught.value.problems] == ["$.msg_id", "$.uuid"]


@pytest.mark.parametrize(
    ("msg_type", "content", "channel", "paths"),
    [
        ("registration_request", {}, "query", ["$.uuid"]),
        ("registration_request", {"uuid": None, "id": "0"}, "query", ["$.id", "$.uuid"]),
        ("registration_reply", {"status": "ok", "id": -1}, "query", ["$.id"]),
        ("registration_reply", {"status": "ok", "hb_period": "3000"}, "query", ["$.hb_period", "$.id"]),
        ("registration_reply", {"status": "error", "reason": "x"}, "query", ["$.ename", "$.evalue", "$.traceback"]),
        ("registration_reply", {"status": "fine", "id": 0}, "query", ["$.status"]),
        ("registration_reply", {"id": 0}, "query", ["$.status"]),
        ("registration_reply", {"status": ["ok"]}, "query", ["$.status"]),
        ("connection_reply", {"status": "ok", "engines": {"0": 1, "x y": None}}, "query",
         ["$.engines['0']", "$.engines['x y']"]),
        ("queue_request", {"verbose": 1}, "query", ["$.targets", "$.verbose"]),
        ("queue_request", {"targets": [0, None, 1.5]}, "query", ["$.targets[1]", "$.targets[2]"]),
        ("queue_reply", {"status": "ok", "0": {"queue": 1}, "1": 5}, "query",
         ["$['0'].completed", "$['0'].tasks", "$['1']"]),
        ("load_reply", {"status": "ok", "0": 1, "1": "2"}, "query", ["$['1']"]),
        ("result_request", {"msg_ids": "m_1", "status_only": None}, "query", ["$.msg_ids", "$.status_only"]),
        ("result_reply", {"status": "ok", "pending": [], "completed": [1], "m": []}, "query",
         ["$.completed[0]", "$.m"]),
        ("db_request", {"query": None, "keys": [None]}, "query", ["$.keys[0]", "$.query"]),
        ("db_reply", {"status": "ok", "records": [1]}, "query",
         ["$.buffer_lens", "$.records[0]", "$.result_buffer_lens"]),
        ("purge_request", {"msg_ids": "some", "engine_ids": None}, "query", ["$.engine_ids", "$.msg_ids"]),
        ("hub_error", {"status": "ok"}, "query", ["$.status"]),
        ("registration_notification", {"id": True}, "notification", ["$.id", "$.uuid"]),
        ("new_heart", {"hearts": "e"}, "monitor", ["$.hearts"]),
        ("task_destination", {"msg_id": 1}, "monitor", ["$.engine_id", "$.msg_id"]),
        ("abort_request", {}, "control", ["$.msg_ids"]),
        ("signal_request", {"sig": None}, "control", ["$.sig"]),
        ("stream", {"name": "stdlog", "text": 1}, "iopub", ["$.name", "$.text"]),
        ("status", {"execution_state": "sleeping"}, "kernel-iopub", ["$.execution_state"]),
        ("execute_request", {"silent": "no"}, "kernel-shell", ["$.code", "$.silent"]),
        ("inspect_request", {"code": "", "cursor_pos": 0, "detail_level": 2}, "mux", ["$.detail_level"]),
        ("history_reply", {"history": [[1, 2], [1, "2", "x"]]}, "kernel-shell",
         ["$.history[0]", "$.history[1][1]"]),
        ("kernel_info_reply", {"status": "ok", "language_info": {"name": "python"}}, "kernel-shell",
         ["$.banner", "$.implementation", "$.implementation_version", "$.language_info.file_extension",
          "$.language_info.mimetype", "$.language_info.version", "$.protocol_version"]),
        ("is_complete_reply", {"status": "ok"}, "kernel-shell", ["$.status"]),
        ("debug_reply", {"status": "ok"}, "kernel-control", ["$.command", "$.request_seq", "$.success", "$.type"]),
        ("shutdown_request", {}, "kernel-control", ["$.restart"]),
        ("input_reply", {}, "kernel-stdin", ["$.value"]),
        ("comm_open", {"comm_id": "c", "data": []}, "kernel-shell", ["$.data", "$.target_name"]),
    ],
)  # fmt: skip
def test_wrong_content_is_refused_with_every_path(msg_type, content, channel, paths):
    assert refusal(asked(msg_type, content), channel) == [("content", path, CONTENT) for path in paths]


@pytest.mark.parametrize(
    ("msg_type", "content", "channel"),
    [
        ("registration_request", {"uuid": "e", "id": None, "extra": [1]}, "query"),
        ("unregistration_request", {"id": None}, "query"),
        ("connection_request", {"anything": "goes"}, "query"),
        ("queue_request", {"targets": "a uuid"}, "query"),
        ("queue_reply", {"status": "ok"}, "query"),
        ("queue_reply", {"status": "ok", "unassigned": ["m"]}, "query"),
        ("purge_request", {}, "query"),
        ("purge_request", {"msg_ids": "all"}, "query"),
        ("abort_request", {"msg_ids": None}, "control"),
        ("abort_request", {"msg_ids": "m_1"}, "control"),
        ("shutdown_request", {}, "control"),
        ("execute_reply", {"status": "aborted", "execution_count": 3}, "kernel-shell"),
        ("debug_reply", {"status": "error", "ename": "E", "evalue": "", "traceback": []}, "kernel-control"),
        ("hub_error", {"status": "error", "ename": "E", "evalue": "", "traceback": [], "engine_info": {}}, "query"),
    ],
)
def test_what_the_protocol_leaves_open_is_accepted(msg_type, content, channel):
    one = codec()
    message = asked(msg_type, content)
    assert read(one, one.encode(message), channel).message.content == content


def test_buffers_nobody_asked_for_are_tolerated_in_others_and_not_in_us():
    one = codec()
    message = asked("connection_request", {}, buffers=[b""] * 1000)
    assert len(read(one, one.encode(message), "query").message.buffers) == 1000
    assert validate(message, "query").row.name == "connection_request"
    with pytest.raises(LocalProtocolError) as caught:
        validate(message, "query", local=True)
    assert caught.value.rules == ("wire.buffer-count",)


def test_missing_buffers_are_a_problem():
    assert refusal(asked("apply_request", {}, buffers=[b"f"]), "mux") == [("buffers", "", "wire.buffer-count")]
    assert refusal(asked("data_message", {"keys": []}), "iopub") == [("buffers", "", "wire.buffer-count")]


def test_how_many_buffers_there_may_be_is_said_in_words():
    wanted = {}
    for msg_type, channel, count in (("apply_request", "mux", 1), ("connection_request", "query", 1)):
        with pytest.raises(LocalProtocolError) as caught:
            validate(asked(msg_type, {}, buffers=[b""] * count), channel, local=True)
        (problem,) = caught.value.problems
        wanted[msg_type] = problem.expected, problem.found
    assert wanted == {"apply_request": ("at least 2 buffers", "1"), "connection_request": ("no buffers", "1")}


def test_an_unknown_type_is_named_with_the_nearest_ones():
    one = codec()
    with pytest.raises(RemoteProtocolError) as caught:
        read(one, one.encode(asked("queue_reqest", {})), "query")
    (problem,) = caught.value.problems
    assert (problem.frame, problem.path, problem.rule) == ("header", "$.msg_type", "wire.message-type-known")
    assert "queue_request" in problem.expected
    assert "shutdown_request" not in problem.expected


def test_a_whole_number_that_is_written_as_a_fraction_is_found_where_it_stands():
    assert refusal(asked("unregistration_request", {"id": 1.0}), "query") == [
        ("content", "$.id", "wire.content-matches-type")
    ]
    task = asked("apply_request", {}, metadata={"retries": 1.0}, buffers=[b"f", b"i"])
    assert refusal(task, "task") == [("metadata", "$.retries", "wire.metadata-matches-type")]


def test_a_type_of_another_channel_is_unknown_here():
    assert refusal(asked("queue_request", {"targets": None}), "control") == [
        ("header", "$.msg_type", "wire.message-type-known")
    ]


def test_whole_numbers_written_as_fractions_are_no_integers():
    one = codec()
    with pytest.raises(RemoteProtocolError) as caught:
        read(one, one.encode(asked("registration_notification", {"id": 1.0, "uuid": "e"})), "notification")
    (problem,) = caught.value.problems
    assert (problem.path, problem.expected, problem.found) == ("$.id", "int", "float")


def test_a_replayed_message_is_refused_as_such():
    one = codec(replay=ReplayMemory())
    frames = one.encode(asked("connection_request", {}))
    read(one, frames, "query")
    with pytest.raises(RemoteProtocolError) as caught:
        read(one, frames, "query")
    assert caught.value.rules == ("wire.replay-refused",)


def test_our_own_mistakes_are_ours():
    message = asked("registration_request", {"uuid": 5})
    with pytest.raises(LocalProtocolError):
        validate(message, "query", local=True)
    with pytest.raises(RemoteProtocolError):
        validate(message, "query")
    with pytest.raises(LocalProtocolError) as caught:
        validate(Message({"msg_type": 5}), "query", local=True)
    assert caught.value.rules == ("wire.header-msg-id", "wire.header-msg-type")


@pytest.mark.parametrize("call", [lambda *place: validate(asked("x", {}), *place), lambda *p: read_garbage(*p)])
def test_a_place_that_does_not_exist_is_the_callers_slip(call):
    with pytest.raises(ValueError, match="no channel 'qery'; did you mean query"):
        call("qery", NINE)
    with pytest.raises(ValueError, match="no dialect 'ipyparallel'; did you mean ipyparallel-9"):
        call("query", "ipyparallel")


def read_garbage(channel, dialect):
    read(codec(), [b"garbage"], channel, dialect)


# --- dialects ---------------------------------------------------------------------------------------------------------


def test_the_oldest_dialect_keeps_task_fields_in_the_header():
    message = build(
        "apply_request",
        msg_id="m_1",
        version=None,
        extra_header={"after": ["m_0"], "retries": 2, "bound": True},
        buffers=[b"f", b"i"],
    )
    one = codec(OLD)
    reading = read(one, one.encode(message), "task", OLD)
    assert isinstance(reading.metadata, TaskMetadata)
    assert (reading.metadata.after, reading.metadata.retries) == (["m_0"], 2)
    wrong = message.replace(header=message.header | {"retries": "2", "after": 5})
    assert refusal(wrong, "task", OLD) == [("header", "$.after", METADATA), ("header", "$.retries", METADATA)]


def test_a_documented_result_request_uses_another_key():
    documented = validate(asked("result_request", {"msg_ids": [], "statusonly": True}), "query", DOCUMENTED)
    assert documented.content.statusonly is True
    measured = validate(asked("result_request", {"msg_ids": [], "statusonly": True}), "query", NINE)
    assert measured.content.status_only is False


def test_addresses_in_the_oldest_connection_reply_may_be_missing():
    content = {"status": "ok", "engines": {}, "mux": None, "task": ["pure", "tcp://127.0.0.1:1"], "iopub": "x"}
    assert validate(asked("connection_reply", content), "query", OLD).content.mux is None


@pytest.mark.parametrize(
    "content",
    [
        {"shell": 1, "iopub": 2, "stdin": 3, "hb": 4},
        {"shell_port": 1, "iopub_port": 2, "stdin_port": 3, "hb_port": 4},
        {"xrep_port": 1, "pub_port": 2, "req_port": 3, "hb_port": 4},
    ],
)
def test_three_sets_of_names_are_known_for_old_ports(content):
    assert plain(validate(asked("connect_reply", content), "kernel-shell", OLD).content) == content


def test_the_nearest_alternative_is_reported():
    assert refusal(asked("connect_reply", {"shell": 1, "iopub": 2, "stdin": 3}), "kernel-shell", OLD) == [
        ("content", "$.hb", CONTENT)
    ]


# --- whatever arrives -------------------------------------------------------------------------------------------------

DEEP = b"[" * 100_000 + b"]" * 100_000
NASTY = [
    b"", b"\x00", b"null", b"[]", b'"x"', b"5", b"{", b'{"a":1}x', b'{"x":NaN}', b'{"x":1e999}', b'{"x":-Infinity}',
    b'{"x":"\\ud800"}', b'{"\\ud800":1}', b'{"x":"\xff"}', b"\xff\xfe", DEEP, b'{"x":' + DEEP + b"}",
    b'{"x":' + b"9" * 5000 + b"}", b'{"uuid":' + b"9" * 4000 + b"}", b'{"uuid":' + b"[" * 900 + b"]" * 900 + b"}",
    b'{"status":' + b"[" * 900 + b"]" * 900 + b"}", b'{"status":{}}', b'{"id":1e400}', b"\x80", b"\x81\x01\x02",
    b"\x81\xa4uuid\xd4\x05\x00", b"\x81\xa4uuid\xd6\xff\xff\xff\xff\xff", b"\x81\xa4uuid" + b"\x91" * 900 + b"\x01",
    b"\x81\xa4uuid\xc4\x01x", b"\x81\xc4\x04uuid\x01", b"\xdf\xff\xff\xff\xff",
]  # fmt: skip


def outcome(one, frames, channel, dialect):
    """The problems that `read` reports; none if it accepts."""
    try:
        read(one, frames, channel, dialect)
    except RemoteProtocolError as error:
        return error.problems
    return ()


@pytest.mark.parametrize("packer", ["json", "msgpack"])
@pytest.mark.parametrize("index", range(4), ids=["header", "parent", "metadata", "content"])
@pytest.mark.parametrize("nasty", NASTY, ids=range(len(NASTY)))
def test_nothing_but_protocol_errors_escapes(nasty, index, packer):
    one = codec(packer=packer)
    for msg_type, channel in [("registration_request", "query"), ("apply_reply", "task"), ("queue_reply", "query")]:
        row = lookup(msg_type, channel)
        assert row is not None
        frames = one.encode(example(row))
        at = frames.index(DELIMITER) + 2
        frames[at + index] = nasty
        frames[at - 1] = one.sign(b"".join(frames[at : at + 4]))
        found = problems(one, frames, channel)
        assert all(str(problem) for problem in found)
        if outcome(one, frames, channel, NINE):
            # Only the fast path tells a whole number written as a fraction; there the slow one has nothing to say.
            assert found
        else:
            assert not found


def test_values_that_cannot_be_put_into_words_are_refused_all_the_same():
    deep: list[object] = []
    for _ in range(5000):
        deep = [deep]
    for value in (deep, 10**5000, "\ud800", {1: 2}, b"x", datetime(2026, 1, 5, tzinfo=UTC)):
        with pytest.raises(LocalProtocolError):
            validate(asked("registration_request", {"uuid": {"no": value}}), "query", local=True)


def test_damaged_examples_are_read_or_refused():
    """Every example, with one value exchanged for a random other one; `read` and the slow path agree."""
    chance = random.Random(20100712)
    values = [None, True, -1, 1.5, "x", [], ["x"], [[1]], {}, {"status": "ok"}, 10**30]
    one = codec()
    for row, dialect in SPOKEN:
        if dialect == OLD:
            continue
        for _ in range(4):
            message = example(row, dialect)
            content, metadata = copy.deepcopy(message.content), copy.deepcopy(message.metadata)
            for part in (content, metadata):
                if part:
                    part[chance.choice(sorted(part))] = chance.choice(values)
            frames = one.encode(message.replace(content=content, metadata=metadata))
            found = problems(one, frames, row.channels[0], dialect)
            assert list(outcome(one, frames, row.channels[0], dialect)) == found


# --- what others make -------------------------------------------------------------------------------------------------


def received(session, msg_type, content=None, channel="query", metadata=None, buffers=()):
    """A message as jupyter_client writes it, read by us."""
    message = session.msg(msg_type, content=content, metadata=metadata)
    return read(Codec(session.key), [*session.serialize(message), *buffers], channel)


def test_messages_of_jupyter_client_are_read():
    session = Session(key=KEY)
    assert received(session, "connection_request").row.name == "connection_request"
    try:
        raise KeyError("uuid in use")
    except KeyError:
        refused = error.wrap_exception({"engine_uuid": "e", "engine_id": 0, "method": "apply"})
    reading = received(session, "registration_reply", refused)
    assert isinstance(reading.content, ErrorContent)
    assert reading.content.ename == "KeyError"


def test_apply_requests_of_ipyparallel_are_read():
    session = Session(key=KEY)
    metadata = {
        "after": Dependency(["a", "b"], all=False).as_dict(),
        "follow": ["c"],
        "timeout": None,
        "targets": [],
        "retries": 0,
        "label": None,
    }
    buffers = pack_apply_message(max, (1, 2), {"key": abs})
    reading = received(session, "apply_request", {}, "task", metadata, buffers)
    assert isinstance(reading.metadata, TaskMetadata)
    after = reading.metadata.after
    assert isinstance(after, DependencyContent)
    assert (sorted(after.dependencies), after.all) == (["a", "b"], False)


def test_every_rule_that_a_refusal_names_is_a_requirement():
    known = requirements.load()
    sources = [*Path(messages.__path__[0]).glob("*.py"), Path(applybuffers.__file__), Path(wire.__file__)]
    families = "|".join(sorted(FAMILIES))
    used = {
        slug
        for path in sources
        for slug in re.findall(rf'"((?:{families})\.[a-z-]+)"', path.read_text(encoding="utf-8"))
    }
    assert {"wire.content-matches-type", "apply.request-buffers"} <= used
    assert used <= set(known)
