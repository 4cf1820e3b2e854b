"""The derived schemas: valid themselves, agreeing with the types, and saying what is wrong in words."""

import json

import jsonschema
import pytest
from click.testing import CliRunner

from conformance.cli.schema import schema as command
from protocol.errors import RemoteProtocolError
from protocol.messages import NINE, OLD, REGISTRY, build, examples, lookup, read, rows, validate
from protocol.messages.query import QueueReply, ResultReply
from protocol.schema import content_schema, document, identifier, json_path, schema
from protocol.wire import Codec

ROWS = [row for row in REGISTRY if not row.is_raw]
every_row = pytest.mark.parametrize("row", ROWS, ids=identifier)


def parts(message):
    return {
        "header": message.header,
        "parent_header": message.parent_header,
        "metadata": message.metadata,
        "content": message.content,
        "buffers": [None] * len(message.buffers),
    }


def check(instance, against):
    jsonschema.Draft202012Validator(against).validate(instance)


@every_row
def test_examples_match_their_schema(row):
    made = schema(row)
    jsonschema.Draft202012Validator.check_schema(made)
    for dialect in row.dialects or (None,):
        for message in examples(row, dialect):
            check(parts(message), made)
            check(parts(message), schema(row, dialect) if dialect else made)


@every_row
def test_an_empty_message_matches_no_schema(row):
    with pytest.raises(jsonschema.ValidationError):
        check({}, schema(row))


def test_identifiers_are_unique():
    assert len({identifier(row) for row in REGISTRY}) == len(REGISTRY)


def test_one_document_holds_every_message():
    made = document()
    jsonschema.Draft202012Validator.check_schema(made)
    assert {entry["$ref"] for entry in made["anyOf"]} == {f"#/$defs/{identifier(row)}" for row in ROWS}
    for row in ROWS:
        if row.dialects:
            check(parts(examples(row)[0]), made)


def test_every_reference_in_the_document_leads_somewhere():
    made = document()
    found = set()

    def walk(value):
        if isinstance(value, dict):
            if isinstance(value.get("$ref"), str):
                found.add(value["$ref"])
            for inner in value.values():
                walk(inner)
        elif isinstance(value, list):
            for inner in value:
                walk(inner)

    walk(made)
    assert found
    assert all(reference.removeprefix("#/$defs/") in made["$defs"] for reference in found)


def test_unknown_keys_are_allowed_everywhere():
    for made in document()["$defs"].values():
        assert made.get("additionalProperties") is not False


def test_keys_that_are_data_have_the_schema_of_their_entries():
    made = content_schema(QueueReply)
    own = made["$defs"]["QueueReply"]
    assert "entries" not in own["properties"]
    assert own["patternProperties"] == {"^[0-9]+$": {"$ref": "#/$defs/QueueCounts"}}
    check({"status": "ok", "unassigned": 0, "backlog": 5}, made)
    with pytest.raises(jsonschema.ValidationError):
        check({"status": "ok", "0": 5}, made)
    own = content_schema(ResultReply)["$defs"]["ResultReply"]
    assert own["additionalProperties"] == {"$ref": "#/$defs/ResultRecord"}


def test_a_renamed_type_is_matched_under_each_of_its_names():
    row = lookup("pyin", "iopub", OLD)
    assert row is not None
    names = schema(row)["properties"]["header"]["properties"]["msg_type"]
    assert names == {"enum": ["execute_input", "pyin"]}
    assert schema(row, OLD)["properties"]["header"]["properties"]["msg_type"] == {"const": "pyin"}


def test_task_fields_of_the_oldest_dialect_are_in_the_header():
    row = lookup("apply_request", "task", OLD)
    assert row is not None
    made = schema(row)
    assert "metadata" not in made["properties"]
    (message,) = examples(row)
    wrong = parts(message)
    wrong["header"] = wrong["header"] | {"retries": "many"}
    with pytest.raises(jsonschema.ValidationError):
        check(wrong, made)


def test_what_is_withdrawn_says_so():
    (row,) = rows("apply_bound")
    assert schema(row)["deprecated"] is True
    assert all("deprecated" not in schema(row) for row in rows("apply_request"))


def test_fields_carry_their_meaning():
    made = schema(lookup("queue_request", "query"))["$defs"]["QueueRequest"]
    assert all(field["description"] for field in made["properties"].values())


@pytest.mark.parametrize(
    ("steps", "text"),
    [
        ((), "$"),
        (("a", 0, "b"), "$.a[0].b"),
        (("0",), "$['0']"),
        (("it's", "a b"), "$[\"it's\"]['a b']"),
    ],
)
def test_paths(steps, text):
    assert json_path(steps) == text


def refusal(codec, frames, channel, dialect):
    """Why `read` refuses; empty if it accepts."""
    try:
        read(codec, frames, channel, dialect)
    except RemoteProtocolError as error:
        return str(error)
    return ""


@every_row
def test_schema_and_types_agree_on_damage(row):
    """Whatever one field is exchanged for, the schema refuses the content exactly if reading does."""
    if not row.dialects:
        return
    dialect = row.dialects[-1]
    codec = Codec(b"k", metadata=dialect != OLD)
    validator = jsonschema.Draft202012Validator(schema(row, dialect))
    for message in examples(row, dialect):
        for key in message.content:
            for value in (None, True, 3, -1, 0.5, "x", [], [1], ["x"], {}, {"x": 1}):
                wrong = message.replace(content=message.content | {key: value})
                why = refusal(codec, codec.encode(wrong), row.channels[0], dialect)
                assert validator.is_valid(parts(wrong)) == (not why), (key, value, why)


# --- the command ------------------------------------------------------------------------------------------------------


def run(*arguments):
    return CliRunner().invoke(command, [str(argument) for argument in arguments])


def test_the_command_prints_the_schema_of_one_type():
    result = run("registration_request")
    assert result.exit_code == 0
    assert json.loads(result.stdout) == schema(lookup("registration_request", "query"))


def test_the_command_prints_every_meaning_of_a_name():
    made = json.loads(run("shutdown_request").stdout)
    assert {entry["$ref"] for entry in made["anyOf"]} >= {
        "#/$defs/query.shutdown_request",
        "#/$defs/control.shutdown_request",
        "#/$defs/kernel-shell.shutdown_request",
    }
    assert json.loads(run("shutdown_request", "--channel", "query").stdout)["title"] == "shutdown_request"


def test_the_command_knows_names_of_other_dialects():
    made = json.loads(run("pyin", "--dialect", OLD, "--channel", "iopub").stdout)
    assert made["title"] == "pyin"


def test_the_command_prints_everything():
    assert json.loads(run().stdout) == document()
    assert len(json.loads(run("--channel", "notification", "--dialect", NINE).stdout)["anyOf"]) == 3


def test_the_command_writes_files(tmp_path):
    result = run("--channel", "notification", "--dialect", NINE, "--out", tmp_path / "new" / "place")
    assert result.exit_code == 0
    written = sorted((tmp_path / "new" / "place").iterdir())
    assert [path.name for path in written] == [
        "notification.registration_notification.json",
        "notification.shutdown_notification.json",
        "notification.unregistration_notification.json",
    ]
    for path in written:
        made = json.loads(path.read_text(encoding="utf-8"))
        assert path.stem == f"notification.{made['title']}"


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["regstration_request"], "no message type 'regstration_request'; did you mean registration_request"),
        (["queue_request", "--channel", "qury"], "no channel 'qury'; did you mean query?"),
        (["queue_request", "--channel", "control"], "queue_request travels on query, not on control"),
        (["become_dask_request", "--dialect", OLD], "become_dask_request travels on query, not in ipython-0.1x"),
        (["ping"], "ping is raw"),
        (["--channel", "heartbeat-ping"], "no message type with a header on heartbeat-ping"),
    ],
)
def test_the_command_explains_wrong_usage(arguments, sentence):
    result = run(*arguments)
    assert result.exit_code == 2  # click's own; the group makes it 4
    assert sentence in result.stderr


def test_problems_are_told_in_words():
    content = {"status": "ok", "pending": "x" * 100, "completed": [10**30, 0.5, None, True, {}], "m": b"bytes"}
    with pytest.raises(RemoteProtocolError) as caught:
        validate(build("result_reply", content, msg_id="m"), "query")
    assert [(problem.path, problem.expected, problem.found) for problem in caught.value.problems] == [
        ("$.completed[0]", "a string", "an integer of more than 64 bits"),
        ("$.completed[1]", "a string", "0.5"),
        ("$.completed[2]", "a string", "null"),
        ("$.completed[3]", "a string", "True"),
        ("$.completed[4]", "a string", "an object"),
        ("$.m", "an object", "a value of type bytes"),
        ("$.pending", "an array of a string", "a string of 100 characters"),
    ]
