"""The dialects, their differences, and the command that shows them."""

import json

import pytest
from click.testing import CliRunner

from conformance.cli import main
from protocol.deviations import DEVIATIONS, RELEASE_TITLES, RELEASES
from protocol.dialects import DIALECTS, FEATURES, UNRECORDED, dialect, feature, value
from protocol.errors import RemoteProtocolError
from protocol.patterns import DEFAULT_DIALECT
from protocol.patterns import DIALECTS as NAMES
from protocol.wire import Message

HEADER = {"msg_id": "a", "msg_type": "connection_request"}


def test_the_dialects_are_those_of_the_vocabulary() -> None:
    assert tuple(row.name for row in DIALECTS) == NAMES
    assert dialect().name == DEFAULT_DIALECT == "ipyparallel-9"


@pytest.mark.parametrize("name", NAMES)
def test_a_dialect_reads_what_it_writes(name: str) -> None:
    codec = dialect(name).codec(b"key")
    frames = codec.encode(Message(HEADER, content={"x": 1}))
    assert len(frames) == 2 + int(str(value("envelope.dictionaries", name)))
    assert codec.scheme == value("envelope.signature-scheme", name)
    assert codec.open(frames).content == {"x": 1}


def test_the_oldest_dialect_is_not_interoperable() -> None:
    frames = dialect("ipython-0.1x").codec(b"key").encode(Message(HEADER))
    with pytest.raises(RemoteProtocolError, match="all-parts-present"):
        dialect("documented").codec(b"key").open(frames)


def test_a_file_may_name_another_scheme() -> None:
    assert dialect("documented").codec(b"key", scheme="hmac-sha512").scheme == "hmac-sha512"


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("notification.uuid-key", ("queue", "uuid", "uuid")),
        ("query.status-only-key", ("status_only", "statusonly", "status_only")),
        ("iopub.data-type", (None, "data_pub", "data_message")),
        ("heartbeat.period", (1000, 3000, 3000)),
        ("heartbeat.misses", (1, 10, 10)),
        ("task.hwm", (0, 1, 1)),
        ("sockets.client-identity", ("session", "none", "none")),
        ("envelope.task-fields", ("header", "metadata", "metadata")),
    ],
)
def test_values_of_features(name: str, values: tuple[object, ...]) -> None:
    assert tuple(value(name, one) for one in NAMES) == values
    assert feature(name).differs


def test_names_are_unique_and_rows_complete() -> None:
    assert len({row.name for row in FEATURES}) == len(FEATURES)
    for row in FEATURES:
        assert row.doc
        assert row.source
        assert "." in row.name


def test_what_was_not_recorded_differs_from_nothing() -> None:
    row = feature("query.queue-unassigned")
    assert row.value("ipython-0.1x") == UNRECORDED
    assert not row._replace(documented="unassigned").differs


def test_every_deviation_is_listed_once_and_referenced_rightly() -> None:
    names = [row.name for row in DEVIATIONS]
    assert names == [f"D{number}" for number in range(1, 29)]
    assert {name for row in FEATURES for name in row.deviations} <= set(names)
    broken = {row.name for row in DEVIATIONS if row.kind == "broken promise"}
    assert broken == {"D10", "D11", "D12"}
    # A dialect row may call a difference a broken promise only where the table of deviations does.
    assert {name for row in FEATURES if row.kind == "broken promise" for name in row.deviations} == broken


def test_every_release_row_has_a_value_to_repeat() -> None:
    for row in RELEASES:
        assert len(row) == len(RELEASE_TITLES)
        assert row.draft != "="


def test_unknown_names_are_answered_with_the_known_ones() -> None:
    with pytest.raises(KeyError, match=r"unknown dialect 'ipython-0\.10'; there are: ipython-0\.1x"):
        dialect("ipython-0.10")
    with pytest.raises(KeyError, match=r"heartbeat\.period"):
        feature("heartbeat.frequency")
    with pytest.raises(KeyError, match="unknown dialect"):
        value("heartbeat.period", "latest")


def test_the_command_prints_them_side_by_side() -> None:
    result = CliRunner().invoke(main, ["dialects", "--deviations", "--releases"])
    assert result.exit_code == 0
    row = next(line for line in result.output.splitlines() if "query.status-only-key" in line)
    assert row.index("status_only") < row.index("statusonly") < row.rindex("status_only")
    assert "D11" in result.output
    assert "exec_key" in result.output


def test_the_command_leaves_out_what_is_the_same() -> None:
    everything = CliRunner().invoke(main, ["dialects"]).output
    different = CliRunner().invoke(main, ["dialects", "--only-different"]).output
    assert "envelope.packer" in everything
    assert "envelope.packer" not in different
    assert "envelope.dictionaries" in different


def test_the_command_prints_json() -> None:
    result = CliRunner().invoke(main, ["dialects", "--json"])
    told = json.loads(result.output)
    assert [row["name"] for row in told["dialects"]] == list(NAMES)
    assert {row["name"]: row["values"] for row in told["features"]}["task.hwm"]["ipython-0.1x"] == 0
    assert len(told["deviations"]) == 28
