"""Messages that are wrong: everything that is wrong is told, where it stands; and no other error, whatever arrives."""

import copy
import random
from datetime import UTC, datetime

import pytest
from message_world import CONTENT, METADATA, SPOKEN, asked, codec, refusal

from protocol.errors import LocalProtocolError, RemoteProtocolError
from protocol.messages import NINE, OLD, example, lookup, problems, read, validate
from protocol.wire import DELIMITER, Message, ReplayMemory

# --- refusals ---------------------------------------------------------------------------------------------------------


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
