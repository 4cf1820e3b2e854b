"""The vector files are what their sources make; the codec agrees with them, and so does a reader of other code."""

import hashlib
import hmac
import json
from pathlib import Path
from typing import Any

import msgpack  # type: ignore[import-untyped]
import pytest
from click.testing import CliRunner

from conformance.cli import main
from conformance.files import data
from conformance.vector_sources import files
from conformance.vectors import FOLDER, MANIFEST, check, differences, failures, frame_of, make, write
from protocol.damage import DAMAGES
from protocol.messages import REGISTRY
from protocol.requirements import load
from protocol.wire import Codec, Message

Vector = dict[str, Any]
NAMES = [path.name for path in sorted(data(FOLDER).glob("*.json")) if path.name != MANIFEST]


def vectors_of(name: str) -> list[Vector]:
    found: list[Vector] = json.loads((data(FOLDER) / name).read_bytes())["vectors"]
    return found


EVERY = {name: vectors_of(name) for name in NAMES}
ALL = [vector for vectors in EVERY.values() for vector in vectors]


def test_the_files_are_what_their_sources_make_byte_for_byte() -> None:
    made = files()
    assert differences(data(FOLDER), made) == []
    assert made == files()


@pytest.mark.parametrize("name", NAMES)
def test_the_codec_agrees_with_every_vector(name: str) -> None:
    assert EVERY[name]
    assert [complaint for vector in EVERY[name] if (complaint := check(vector))] == []


def test_the_manifest_counts_and_fingerprints_every_file() -> None:
    manifest = json.loads((data(FOLDER) / MANIFEST).read_bytes())
    assert [row["file"] for row in sorted(manifest["files"], key=lambda row: row["file"])] == NAMES
    assert manifest["count"] == len(ALL)
    for row in manifest["files"]:
        assert row["accepted"] + row["refused"] == len(EVERY[row["file"]])
        assert row["sha256"] == hashlib.sha256((data(FOLDER) / row["file"]).read_bytes()).hexdigest()


def test_every_vector_has_its_own_name_and_names_requirements_that_exist() -> None:
    assert len({vector["name"] for vector in ALL}) == len(ALL)
    known = set(load())
    for vector in ALL:
        assert vector["requirements"]
        assert set(vector["requirements"]) <= known
        assert vector["summary"].endswith(".")
        assert ("accepted" in vector) != ("refused" in vector)
        assert {problem[1] for problem in vector.get("refused", {}).get("problems", [])} <= known


def test_every_message_type_has_a_valid_vector_in_each_of_its_dialects() -> None:
    accepted = {(*vector["place"], _msg_type(vector)) for vector in ALL if "place" in vector and "accepted" in vector}
    for row in REGISTRY:
        for dialect in () if row.is_raw else row.dialects:
            assert (row.channels[0], dialect, row.name_in(dialect)) in accepted
        if row.is_raw or not row.dialects:
            assert any(vector["name"].startswith(f"{row.channels[0]}.{row.name}.") for vector in ALL)


def _msg_type(vector: Vector) -> str:
    name: str = vector["accepted"]["header"]["msg_type"]
    return name


def test_every_kind_of_damage_has_vectors() -> None:
    damaged = {vector["name"].split(".")[1] for vector in EVERY["envelope-damage.json"]}
    assert damaged == set(DAMAGES)


def test_every_depth_of_refusal_occurs() -> None:
    depths = {vector["refused"]["at"] for vector in ALL if "refused" in vector}
    assert depths == {"envelope", "content", "type", "buffers"}


# A second reader: the standard library's json and hmac, and the msgpack package. It shares nothing with the codec.


def untag(value: Any) -> Any:
    if isinstance(value, list):
        return [untag(item) for item in value]
    if not isinstance(value, dict):
        return value
    match list(value.items()):
        case [("$integer", digits)]:
            return int(digits)
        case [("$float", text)]:
            return text
        case [("$bytes", digits)]:
            return bytes.fromhex(digits)
        case [("$extension", [code, digits])]:
            return msgpack.ExtType(code, bytes.fromhex(digits))
        case [("$timestamp", text)]:
            return text
        case [("$map", pairs)]:
            return {untag(key): untag(item) for key, item in pairs}
    return {key: untag(item) for key, item in value.items()}


def by_the_library(packer: str, part: bytes) -> Any:
    if packer == "json":
        return json.loads(part)
    return plain(msgpack.unpackb(part, strict_map_key=False))


def plain(value: Any) -> Any:
    if isinstance(value, msgpack.Timestamp):
        return value.to_datetime().isoformat()
    if isinstance(value, float) and value != value:
        return "nan"
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    return [plain(item) for item in value] if isinstance(value, list) else value


@pytest.mark.parametrize("name", NAMES)
def test_a_reader_that_shares_no_code_decodes_the_same(name: str) -> None:
    for vector in EVERY[name]:
        decoded = vector.get("accepted") or vector.get("decoded")
        if decoded is None:
            continue
        frames = [frame_of(frame) for frame in vector["frames"]]
        at = frames.index(b"<IDS|MSG>")
        parts = frames[at + 2 : at + 2 + len(vector["parts"])]
        assert decoded["identities"] == at
        assert decoded["buffers"] == len(frames) - at - 2 - len(parts)
        key, digest = bytes.fromhex(vector["key"]), vector["scheme"].removeprefix("hmac-")
        if key:
            assert frames[at + 1] == hmac.new(key, b"".join(parts), digest).hexdigest().encode()
        for part, octets in zip(vector["parts"], parts, strict=True):
            if part in decoded:
                assert by_the_library(vector["packer"], octets) == untag(decoded[part]), vector["name"]


def test_a_refused_signature_is_really_wrong() -> None:
    refused = [
        vector
        for vector in ALL
        if ["signature", "wire.signature-verified", ""] in vector.get("refused", {}).get("problems", [])
    ]
    assert len(refused) > 50
    for vector in refused:
        frames = [frame_of(frame) for frame in vector["frames"]]
        at = frames.index(b"<IDS|MSG>")
        signed = b"".join(frames[at + 2 : at + 2 + len(vector["parts"])])
        digest = vector["scheme"].removeprefix("hmac-")
        assert frames[at + 1] != hmac.new(bytes.fromhex(vector["key"]), signed, digest).hexdigest().encode()


# Writing and checking


@pytest.mark.parametrize(
    "octets", [b"", b"ab" * 5000, b"x" * 3000 + b"yz" + b"q" * 9000, bytes(range(256)) * 40], ids=len
)
def test_a_long_frame_is_written_as_what_repeats_in_it(octets: bytes) -> None:
    codec = Codec(b"k")
    frames = codec.encode(Message({"msg_id": "1", "msg_type": "x"}, buffers=[octets]))
    vector = json.loads(json.dumps(make("n", "s.", [], codec, frames)))
    assert frame_of(vector["frames"][-1]) == octets
    assert check(vector) is None
    if octets[:100] == octets[100:200]:
        assert len(json.dumps(vector["frames"][-1])) < 200


def test_a_vector_that_says_something_else_is_noticed() -> None:
    vector = next(vector for vector in ALL if "accepted" in vector)
    assert check(vector | {"key": "00"}) is not None
    assert check(vector | {"frames": vector["frames"][1:]}) is not None
    wrong = {"accepted": vector["accepted"] | {"identities": 7}}
    assert "expected" in (check(vector | wrong) or "")


def test_changed_missing_and_stale_files_are_named(tmp_path: Path) -> None:
    made = files()
    write(tmp_path, made)
    assert differences(tmp_path, made) == []
    (tmp_path / "query.json").write_bytes(made["query.json"].replace(b"queue", b"cue", 1))
    (tmp_path / "stdin.json").unlink()
    (tmp_path / "old.json").write_text("{}")
    found = differences(tmp_path, made)
    assert [sentence.split()[0] for sentence in found] == ["query.json", "stdin.json", "old.json"]
    assert failures(tmp_path) == ["old.json is no vector file: KeyError: 'vectors'"]

    result = CliRunner().invoke(main, ["vectors", "check", "--folder", str(tmp_path)])
    assert result.exit_code == 1
    assert "query.json differs from line" in result.output

    result = CliRunner().invoke(main, ["vectors", "write", "--folder", str(tmp_path)])
    assert result.exit_code == 0
    assert "stdin.json is missing" in result.output
    assert differences(tmp_path, made) == []


def test_the_command_checks_the_files_of_the_kit(tmp_path: Path) -> None:
    result = CliRunner().invoke(main, ["vectors", "check"])
    assert result.exit_code == 0, result.output
    assert f"{len(ALL):,} vectors agree" in result.output
    assert CliRunner().invoke(main, ["vectors", "check", "--folder", str(tmp_path / "none")]).exit_code == 3
