"""Connection files: as bytes (`protocol.connection`) and on disk (`conformance.files`)."""

import json
import os
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jupyter_client.connect import write_connection_file
from rich.console import Console

from conformance.files import MAXIMUM_BYTES, FileOnDisk, data, look_at, read_connection_file
from protocol import requirements
from protocol.connection import (
    AGREED,
    ClientFile,
    ConnectionFile,
    ConnectionFileError,
    EngineFile,
    HistoricalFile,
    KernelFile,
    check_pair,
    join,
    parse,
    reachable,
    render,
)
from protocol.wire import Message

KEY = "0f1e2d3c-4b5a69788796a5b4c3d2e1f0"
# Written by ipyparallel 9.2.0; ports as they were, key and host name invented.
CLIENT = b"""{
  "ssh": "",
  "interface": "tcp://127.0.0.1",
  "registration": 41267,
  "control": 48951,
  "mux": 56673,
  "task": 47013,
  "task_scheme": "leastload",
  "iopub": 39855,
  "notification": 41929,
  "broadcast": 56527,
  "key": "0f1e2d3c-4b5a69788796a5b4c3d2e1f0",
  "curve_serverkey": null,
  "location": "head-node",
  "pack": "json",
  "unpack": "json",
  "signature_scheme": "hmac-sha256"
}"""
ENGINE = b"""{
  "ssh": "",
  "interface": "tcp://127.0.0.1",
  "registration": 41267,
  "control": 58397,
  "mux": 42075,
  "task": 40469,
  "iopub": 57049,
  "hb_ping": 43031,
  "hb_pong": 51979,
  "broadcast": [
    42975,
    39269
  ],
  "key": "0f1e2d3c-4b5a69788796a5b4c3d2e1f0",
  "curve_serverkey": null,
  "location": "head-node",
  "pack": "json",
  "unpack": "json",
  "signature_scheme": "hmac-sha256"
}"""
KERNEL = b"""{
  "shell_port": 40001,
  "iopub_port": 40002,
  "stdin_port": 40003,
  "control_port": 40004,
  "hb_port": 40005,
  "ip": "127.0.0.1",
  "key": "0f1e2d3c-4b5a69788796a5b4c3d2e1f0",
  "transport": "tcp",
  "signature_scheme": "hmac-sha256",
  "kernel_name": "python3"
}"""
OLD = b"""{
  "exec_key": "0f1e2d3c-4b5a69788796a5b4c3d2e1f0",
  "url": "tcp://127.0.0.1:41267",
  "ssh": "",
  "location": "10.0.0.7"
}"""
FILES: list[tuple[bytes, type[ConnectionFile]]] = [
    (CLIENT, ClientFile),
    (ENGINE, EngineFile),
    (KERNEL, KernelFile),
    (OLD, HistoricalFile),
]
KINDS = [kind for _, kind in FILES]
CURVE = "rq:rM>}U?@Lns47E1%kR.o@n%FcmmsL/@{H8]yf7"


def changed(source: bytes, **changes: Any) -> bytes:
    """A file with some keys exchanged; a key with the value `...` is left out."""
    values = json.loads(source) | changes
    return json.dumps({key: value for key, value in values.items() if value is not ...}).encode()


def refusal(source: bytes, kind: type[ConnectionFile]) -> ConnectionFileError:
    with pytest.raises(ConnectionFileError) as caught:
        parse(source, kind, name="the file")
    assert KEY not in f"{caught.value} {caught.value!r} {caught.value.problems}"
    assert set(caught.value.rules) <= set(requirements.load())
    return caught.value


@pytest.mark.parametrize(("source", "kind"), FILES)
def test_a_file_survives_reading_and_writing(source: bytes, kind: type[ConnectionFile]) -> None:
    file = parse(source, kind)
    assert json.loads(render(file)).items() >= json.loads(source).items()
    assert parse(render(file), kind) == file


@pytest.mark.parametrize(("source", "kind"), FILES[:3])
def test_files_are_written_as_the_real_writers_write_them(source: bytes, kind: type[ConnectionFile]) -> None:
    assert render(parse(source, kind)) == source


def test_both_files_of_a_controller_have_sixteen_keys() -> None:
    assert len(ClientFile.keys) == len(EngineFile.keys) == 16
    assert set(json.loads(CLIENT)) == set(ClientFile.keys)
    assert set(json.loads(ENGINE)) == set(EngineFile.keys)
    assert set(ClientFile.keys) - set(EngineFile.keys) == {"task_scheme", "notification"}
    assert set(EngineFile.keys) - set(ClientFile.keys) == {"hb_ping", "hb_pong"}


@pytest.mark.parametrize("kind", KINDS)
def test_keys_and_fields_are_the_same(kind: type[ConnectionFile]) -> None:
    assert {*kind.keys, "extra"} == set(kind.__struct_fields__)


@pytest.mark.parametrize(("source", "kind"), FILES)
def test_unknown_keys_are_ignored_and_kept(source: bytes, kind: type[ConnectionFile]) -> None:
    file = parse(changed(source, future={"a": [1]}, extra="mine"), kind)
    assert file.extra == {"future": {"a": [1]}, "extra": "mine"}
    assert json.loads(render(file))["future"] == {"a": [1]}
    assert json.loads(render(file))["extra"] == "mine"


@pytest.mark.parametrize(("source", "kind"), FILES)
def test_no_representation_shows_a_key(source: bytes, kind: type[ConnectionFile]) -> None:
    file = parse(changed(source, future=KEY), kind)
    shown = StringIO()
    Console(file=shown, width=400).print(file)
    for text in (repr(file), str(file), f"{file}", shown.getvalue(), repr([file]), repr(file.codec())):
        assert KEY not in text
    assert "<hidden>" in repr(file)
    assert "'future'" in repr(file)


# Addresses


def test_addresses_of_a_cluster_file() -> None:
    client, engine = parse(CLIENT, ClientFile), parse(ENGINE, EngineFile)
    assert client.address("mux") == "tcp://127.0.0.1:56673"
    assert client.address("broadcast") == "tcp://127.0.0.1:56527"
    assert engine.addresses("broadcast") == ("tcp://127.0.0.1:42975", "tcp://127.0.0.1:39269")
    assert engine.addresses("hb_ping") == ("tcp://127.0.0.1:43031",)
    with pytest.raises(KeyError, match="'broadcast' has 2 addresses in the engine file"):
        engine.address("broadcast")
    with pytest.raises(KeyError, match="'hb_ping' is no address in the client file; those are registration"):
        client.address("hb_ping")
    with pytest.raises(KeyError, match="'key' is no address"):
        client.address("key")


def test_clients_and_engines_may_have_different_interfaces() -> None:
    client = parse(changed(CLIENT, interface="tcp://192.0.2.1"), ClientFile)
    engine = parse(changed(ENGINE, interface="ipc:///run/ipp"), EngineFile)
    check_pair(client, engine)
    assert client.address("registration") == "tcp://192.0.2.1:41267"
    assert engine.address("registration") == "ipc:///run/ipp-41267"


@pytest.mark.parametrize(
    ("interface", "location", "here", "expected"),
    [
        ("tcp://127.0.0.1", "head-node", (), "tcp://127.0.0.1"),
        ("tcp://*", "", (), "tcp://127.0.0.1"),
        ("tcp://0.0.0.0", "192.0.2.7", (), "tcp://192.0.2.7"),
        ("tcp://0.0.0.0", "192.0.2.7", ("192.0.2.7", "node"), "tcp://127.0.0.1"),
        ("tcp://*", "node", ("192.0.2.7", "node"), "tcp://127.0.0.1"),
        ("ipc://*", "node", (), "ipc://*"),
    ],
)
def test_a_wildcard_becomes_the_controllers_location(
    interface: str, location: str, here: tuple[str, ...], expected: str
) -> None:
    assert reachable(interface, location, here) == expected
    file = parse(changed(CLIENT, interface=interface, location=location), ClientFile)
    assert file.address("mux", here=here) == join(expected, 56673)


def test_addresses_of_a_kernel_file() -> None:
    tcp = parse(KERNEL, KernelFile)
    assert tcp.address("shell_port") == "tcp://127.0.0.1:40001"
    ipc = parse(changed(KERNEL, transport="ipc", ip="/run/kernel", shell_port=1), KernelFile)
    assert ipc.address("shell_port") == "ipc:///run/kernel-1"
    early = parse(changed(KERNEL, control_port=..., transport=..., signature_scheme=..., hb_port=0), KernelFile)
    assert early.address("iopub_port") == "tcp://127.0.0.1:40002"
    for missing in ("control_port", "hb_port", "key", "mux"):
        with pytest.raises(KeyError, match=f"no port for '{missing}'"):
            early.address(missing)


# Codecs


@pytest.mark.parametrize(
    ("source", "kind", "scheme", "dictionaries"),
    [
        (CLIENT, ClientFile, "hmac-sha256", 4),
        (changed(ENGINE, signature_scheme="hmac-sha512"), EngineFile, "hmac-sha512", 4),
        (KERNEL, KernelFile, "hmac-sha256", 4),
        (changed(KERNEL, signature_scheme="hmac-md5"), KernelFile, "hmac-md5", 4),
        (OLD, HistoricalFile, "hmac-md5", 3),
    ],
)
def test_a_file_tells_how_to_sign(source: bytes, kind: type[ConnectionFile], scheme: str, dictionaries: int) -> None:
    codec = parse(source, kind).codec()
    assert (codec.key, codec.scheme, len(codec.parts)) == (KEY.encode(), scheme, dictionaries)
    message = Message({"msg_id": "a", "msg_type": "b"})
    assert codec.open(codec.encode(message)) == message


def test_an_empty_key_means_unsigned() -> None:
    codec = parse(changed(CLIENT, key="", curve_serverkey=CURVE), ClientFile).codec()
    assert codec.encode(Message({"msg_id": "a", "msg_type": "b"}))[1] == b""


# Refusals


@pytest.mark.parametrize(("source", "kind"), FILES)
def test_every_beginning_of_a_file_is_refused(source: bytes, kind: type[ConnectionFile]) -> None:
    for length in range(len(source)):
        error = refusal(source[:length], kind)
        assert error.rules == ("connection.half-written-file-waits",)
        assert ("empty file" in str(error)) == (length == 0)
        assert ("half written" in str(error)) == (length > 0)


@pytest.mark.parametrize(
    ("source", "found"),
    [
        (b"[]", "a JSON list"),
        (b"7", "a JSON int"),
        (b"not json at all", "that are none"),
        (b"\xff\xfe", "2 bytes that are none"),
        (b'{"a": "\xff"}', "that are none"),
        (b" \n", "an empty file"),
        (b"[" * 100_000, "100000 bytes that are none"),
    ],
)
def test_what_is_no_object_is_refused(source: bytes, found: str) -> None:
    assert found in str(refusal(source, ClientFile))


@pytest.mark.parametrize(("source", "kind"), FILES)
def test_every_required_key_is_missed_by_name(source: bytes, kind: type[ConnectionFile]) -> None:
    required = [key for key in json.loads(source) if not _is_optional(source, kind, key)]
    assert required
    for key in required:
        error = refusal(changed(source, **{key: ...}), kind)
        assert [problem.path for problem in error.problems] == [f"$.{key}"]
        assert error.problems[0].found == "nothing"
    assert {problem.path for problem in refusal(b"{}", kind).problems} == {f"$.{key}" for key in required}


def _is_optional(source: bytes, kind: type[ConnectionFile], key: str) -> bool:
    try:
        parse(changed(source, **{key: ...}), kind)
    except ConnectionFileError:
        return False
    return True


def test_optional_keys_are_those_of_later_releases() -> None:
    optional = {key for key in json.loads(KERNEL) if _is_optional(KERNEL, KernelFile, key)}
    assert optional == {"control_port", "transport", "signature_scheme", "kernel_name"}
    assert not any(_is_optional(CLIENT, ClientFile, key) for key in ClientFile.keys)
    assert not any(_is_optional(ENGINE, EngineFile, key) for key in EngineFile.keys)


@pytest.mark.parametrize(
    ("source", "kind", "key", "value", "expected"),
    [
        (CLIENT, ClientFile, "registration", "41267", "a port, 1 to 65535"),
        (CLIENT, ClientFile, "registration", True, "a port, 1 to 65535"),
        (CLIENT, ClientFile, "registration", 0, "a port, 1 to 65535"),
        (CLIENT, ClientFile, "registration", 65536, "a port, 1 to 65535"),
        (CLIENT, ClientFile, "registration", None, "a port, 1 to 65535"),
        (CLIENT, ClientFile, "broadcast", [1], "a port, 1 to 65535"),
        (ENGINE, EngineFile, "broadcast", 1, "a list of ports"),
        (ENGINE, EngineFile, "broadcast", [], "a list of ports"),
        (CLIENT, ClientFile, "key", 7, "a string"),
        (CLIENT, ClientFile, "curve_serverkey", "short", "null or a Z85 key of 40 characters"),
        (CLIENT, ClientFile, "location", None, "a string"),
        (CLIENT, ClientFile, "interface", "127.0.0.1", "tcp://<address> or ipc://<path>"),
        (CLIENT, ClientFile, "interface", "udp://127.0.0.1", "tcp://<address> or ipc://<path>"),
        (CLIENT, ClientFile, "interface", "tcp://", "tcp://<address> or ipc://<path>"),
        (CLIENT, ClientFile, "signature_scheme", "sha256", "'hmac-<hash>'"),
        (CLIENT, ClientFile, "signature_scheme", "hmac-sha257", "'hmac-<hash>'"),
        (CLIENT, ClientFile, "unpack", "msgpack", "the format that pack names (json)"),
        (CLIENT, ClientFile, "pack", "yaml", "the packer json, orjson or msgpack"),
        (CLIENT, ClientFile, "mux", 47013, "a port of its own"),
        (ENGINE, EngineFile, "hb_ping", 39269, "a port of its own"),
        (KERNEL, KernelFile, "shell_port", -1, "a port, or 0"),
        (KERNEL, KernelFile, "control_port", None, "a port, or 0"),
        (KERNEL, KernelFile, "transport", "udp", "'tcp' or 'ipc'"),
        (KERNEL, KernelFile, "curve_publickey", CURVE, "both CURVE keys or neither"),
        (KERNEL, KernelFile, "signature_scheme", "none", "'hmac-<hash>'"),
        (OLD, HistoricalFile, "url", "127.0.0.1:41267", "an address tcp://... or ipc://..."),
    ],
)
def test_a_wrong_value_is_named_with_its_path(
    source: bytes, kind: type[ConnectionFile], key: str, value: object, expected: str
) -> None:
    error = refusal(changed(source, **{key: value}), kind)
    assert len(error.problems) == 1
    assert expected in error.problems[0].expected
    assert error.party == "peer"
    blamed = {"mux": "task", "curve_publickey": "curve_secretkey"}.get(key, key)
    assert error.problems[0].path == f"$.{blamed}"


def test_a_wrong_item_of_a_list_is_named_too() -> None:
    assert "$.broadcast[1]: expected" in str(refusal(changed(ENGINE, broadcast=[42975, "x"]), EngineFile))


def test_a_broadcast_tree_may_have_any_number_of_leaves_but_none() -> None:
    error = refusal(changed(ENGINE, broadcast=[]), EngineFile)
    assert error.rules == ("connection.broadcast-ports-shape",)
    for leaves in (1, 2, 3, 8):
        parse(changed(ENGINE, broadcast=list(range(1, leaves + 1))), EngineFile)


def test_pickle_is_named_and_refused() -> None:
    error = refusal(changed(CLIENT, pack="pickle", unpack="pickle"), ClientFile)
    assert error.rules == ("wire.packer-safe",)
    assert "reading pickle runs code" in str(error)


def test_json_and_orjson_are_one_format() -> None:
    assert parse(changed(CLIENT, pack="orjson", unpack="json"), ClientFile).pack == "orjson"


def test_every_problem_is_reported_at_once() -> None:
    error = refusal(changed(CLIENT, mux="x", task=..., key=3, broadcast=[1]), ClientFile)
    assert {problem.path for problem in error.problems} == {"$.mux", "$.task", "$.key", "$.broadcast"}
    error = refusal(changed(CLIENT, interface="x", pack="pickle", signature_scheme="x", mux=47013), ClientFile)
    assert [problem.path for problem in error.problems] == ["$.interface", "$.pack", "$.signature_scheme", "$.task"]


def test_the_text_of_an_error_names_the_file() -> None:
    assert str(refusal(b"", ClientFile)).startswith("the file: expected a JSON object, found an empty file")


# Pairs


def test_the_files_of_one_controller_agree() -> None:
    check_pair(parse(CLIENT, ClientFile), parse(ENGINE, EngineFile))


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("key", "another"),
        ("registration", 5),
        ("pack", "orjson"),
        ("unpack", "orjson"),
        ("signature_scheme", "hmac-sha512"),
    ],
)
def test_a_disagreement_is_named(key: str, value: object) -> None:
    client, engine = parse(CLIENT, ClientFile), parse(changed(ENGINE, **{key: value}), EngineFile)
    with pytest.raises(ConnectionFileError) as caught:
        check_pair(client, engine)
    assert [problem.path for problem in caught.value.problems] == [f"$.{key}"]
    assert caught.value.rules == ("connection.files-agree",)
    assert KEY not in str(caught.value)
    assert key in AGREED


def test_every_disagreement_is_named() -> None:
    other = changed(ENGINE, key="x", registration=5, pack="msgpack", unpack="msgpack", signature_scheme="hmac-md5")
    with pytest.raises(ConnectionFileError) as caught:
        check_pair(parse(CLIENT, ClientFile), parse(other, EngineFile))
    assert [problem.path for problem in caught.value.problems] == [f"$.{key}" for key in AGREED]


# Whatever the bytes, nothing but the one error comes out.

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=6,
)


@settings(max_examples=300)
@given(st.sampled_from(FILES), st.data())
def test_any_values_are_read_or_refused(file: tuple[bytes, type[ConnectionFile]], draw: st.DataObject) -> None:
    source, kind = file
    keys = draw.draw(st.lists(st.sampled_from([*kind.keys, "other"]), max_size=4))
    damaged = changed(source, **{key: draw.draw(json_values | st.just(...)) for key in keys})
    try:
        read = parse(damaged, kind)
    except ConnectionFileError:
        return
    assert parse(render(read), kind) == read
    assert read.codec().encode(Message({"msg_id": "a", "msg_type": "b"}))


@given(st.binary(), st.sampled_from(KINDS))
def test_any_bytes_are_read_or_refused(source: bytes, kind: type[ConnectionFile]) -> None:
    with pytest.raises(ConnectionFileError):
        parse(source, kind)


# On disk

POSIX = pytest.mark.skipif(os.name != "posix", reason="file modes mean something on POSIX only")


def written(folder: Path, source: bytes, mode: int = 0o600) -> Path:
    path = folder / "ipcontroller-client.json"
    path.write_bytes(source)
    path.chmod(mode)
    return path


def disk_refusal(path: Path) -> str:
    with pytest.raises(ConnectionFileError) as caught:
        read_connection_file(path, ClientFile)
    text = str(caught.value)
    assert text.startswith(f"{path}: ")
    assert KEY not in text
    return text


def test_a_file_on_disk(tmp_path: Path) -> None:
    path = written(tmp_path, CLIENT)
    assert read_connection_file(path, ClientFile) == parse(CLIENT, ClientFile)
    assert read_connection_file(str(path), ClientFile).task_scheme == "leastload"


def test_a_kernel_file_as_jupyter_client_writes_it(tmp_path: Path) -> None:
    name, written_by_it = write_connection_file(str(tmp_path / "kernel.json"), key=KEY.encode(), kernel_name="python3")
    Path(name).chmod(0o600)
    file = read_connection_file(name, KernelFile)
    assert (file.key, file.transport, file.kernel_name) == (KEY, "tcp", "python3")
    assert file.address("hb_port") == f"tcp://{written_by_it['ip']}:{written_by_it['hb_port']}"
    assert json.loads(render(file)) == json.loads(Path(name).read_text())


def test_a_missing_file(tmp_path: Path) -> None:
    assert "is the controller running" in disk_refusal(tmp_path / "nothing.json")


def test_an_empty_and_a_half_written_file(tmp_path: Path) -> None:
    assert "an empty file" in disk_refusal(written(tmp_path, b""))
    assert "half written" in disk_refusal(written(tmp_path, CLIENT[:200]))


def test_a_folder_and_a_huge_file(tmp_path: Path) -> None:
    with pytest.raises(ConnectionFileError, match=r"expected a (readable|regular) file"):
        read_connection_file(tmp_path, ClientFile)
    assert f"at most {MAXIMUM_BYTES} bytes" in disk_refusal(written(tmp_path, b" " * (MAXIMUM_BYTES + 1)))


@POSIX
@pytest.mark.parametrize("mode", [0o644, 0o640, 0o604, 0o660, 0o602, 0o777])
def test_a_file_that_others_can_read_is_refused_with_the_repair(tmp_path: Path, mode: int) -> None:
    text = disk_refusal(path := written(tmp_path, CLIENT, mode))
    assert f"found mode {mode:04o} (repair it with: chmod 600 {path})" in text


@POSIX
def test_a_wrong_file_can_be_looked_at_without_judgement(tmp_path: Path) -> None:
    assert look_at(written(tmp_path, CLIENT, 0o644)) == FileOnDisk(0o644, json.loads(CLIENT))
    assert look_at(written(tmp_path, CLIENT[:40], 0o600)) == FileOnDisk(0o600, {})
    assert look_at(tmp_path / "none") is None


@POSIX
def test_a_pipe_does_not_keep_the_reader_waiting(tmp_path: Path) -> None:
    path = tmp_path / "pipe"
    os.mkfifo(path, 0o600)
    assert "expected a regular file" in disk_refusal(path)


def test_data_is_found_in_the_checkout() -> None:
    assert (data("fixtures") / "targets").is_dir()
    assert data("docs/coverage.toml").is_file()
    assert data(Path("pyproject.toml")).is_file()


@pytest.mark.parametrize("path", ["/etc/passwd", "../secret", "fixtures/../../secret"])
def test_data_stays_inside_the_repository(path: str) -> None:
    with pytest.raises(ValueError, match="is not a path inside"):
        data(path)
