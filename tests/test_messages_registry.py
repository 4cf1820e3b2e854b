"""The registry: a name means one thing in its place, and rows, rules and requirements share one vocabulary."""

import re
from pathlib import Path

import msgspec
import pytest
from message_world import spoken, title

from protocol import applybuffers, channels, messages, requirements, wire
from protocol.messages import DIALECTS, DOCUMENTED, NINE, OLD, REGISTRY, lookup, names, requirements_of, rows
from protocol.messages.registry import INDEX

FAMILIES = {
    "wire", "connection", "registration", "heartbeat", "heart-device", "notification", "query", "storage", "mux",
    "task", "dependency", "control", "apply", "iopub", "broadcast", "kernel", "stdin",
}  # fmt: skip
ROLES = {
    "client", "engine", "hub", "heart", "heart-monitor", "mux-relay", "control-relay", "iopub-relay", "task-scheduler",
    "broadcast-scheduler", "warden", "kernel", "frontend",
}  # fmt: skip
every_row = pytest.mark.parametrize("row", REGISTRY, ids=title)


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
