"""Messages that are right, ours and those of others: they are built, travel, and are read typed, in every dialect."""

import pytest
from ipyparallel import Dependency, error
from ipyparallel.serialize import pack_apply_message
from jupyter_client.session import Session
from message_world import CONTENT, KEY, METADATA, asked, codec, refusal, spoken

from protocol.errors import LocalProtocolError
from protocol.messages import (
    DOCUMENTED,
    NINE,
    OLD,
    AbortedContent,
    Empty,
    ErrorContent,
    KeyedContent,
    build,
    example,
    examples,
    header,
    lookup,
    plain,
    problems,
    read,
    reply,
    reply_name,
    rows,
    validate,
)
from protocol.messages.apply import DependencyContent, TaskMetadata
from protocol.messages.query import QueueCounts, QueueReply, ResultReply
from protocol.wire import Codec

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
