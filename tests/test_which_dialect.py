"""Which dialect a peer speaks: told from recordings and from answers, and left open where nothing tells."""

from pathlib import Path
from typing import Any

import pytest
from reference_cluster import cluster
from relay_tape import ENGINE, Tape, build
from test_cli import run

from conformance.dialects.recorded import peers_of
from conformance.dialects.signs import Sign, of_message, of_relays
from conformance.dialects.verdict import Peer
from protocol.connection import ClientFile, render
from protocol.dialects import FEATURES, feature
from protocol.messages.build import header
from protocol.patterns import DIALECTS
from protocol.wire import Codec, Message

OLD = Codec(b"key", scheme="hmac-md5", metadata=False)


def spoken(path: Path) -> dict[str, tuple[str, ...]]:
    return {peer.name: peer.best for peer in peers_of(path)}


def test_a_recorded_cluster_of_today_speaks_as_it_was_measured(tmp_path: Path) -> None:
    tape = Tape()
    tape.register()
    tape.connect()
    tape.work()
    assert spoken(tape.write(tmp_path / "capture")) == {
        "the engines": ("ipyparallel-9",), "the clients": ("ipyparallel-9",), "the controller": ("ipyparallel-9",),
    }  # fmt: skip


def said(msg_type: str, content: dict[str, Any], *, parent: dict[str, Any] | None = None, **fields: Any) -> list[bytes]:
    """A message of IPython 0.11: three dictionaries, and a header without date and version."""
    made = header("m", msg_type, "session", "user", "", None) | fields
    return [bytes(frame) for frame in OLD.encode(Message(made, parent_header=parent, content=content))]


def test_a_recorded_cluster_of_old_speaks_as_of_old(tmp_path: Path) -> None:
    tape = Tape()
    keys = {"queue": ENGINE, "heartbeat": ENGINE, "control": None}
    tape.say("engine", said("registration_request", keys), is_up=True)
    content = {"status": "ok", "id": 0, "mux": "tcp://127.0.0.1:1", "heartbeat": ["tcp://127.0.0.1:2"]}
    tape.say("engine", said("registration_reply", content), is_up=False)
    tape.say("client/mux", said("apply_request", {"bound": True}, after=[], retries=0), is_up=True)
    assert spoken(tape.write(tmp_path / "capture")) == {
        "the engines": ("ipython-0.1x",), "the clients": ("ipython-0.1x",), "the controller": ("ipython-0.1x",),
    }  # fmt: skip


def test_the_letter_of_the_documents_is_told_from_what_was_measured() -> None:
    peer = Peer(name="the controller")
    for msg_type, content in (
        ("registration_reply", {"status": "ok", "id": 0}),
        ("connection_reply", {"status": "ok"}),
        ("queue_reply", {"status": "error", "ename": "e", "evalue": "v", "traceback": []}),
    ):
        made = build(msg_type, content, msg_id="m", session="s", version=None, parent={"msg_id": "p"})
        peer.add(of_message("query", Codec(b"key").encode(made)))
    assert peer.best == ("documented",)
    assert peer.sentence.startswith("the controller: documented, 6 of 6 signs fit (ipython-0.1x ")


@pytest.mark.parametrize(
    ("channel", "frames"),
    [
        ("heartbeat-ping", [b"1.5"]), ("query", []), ("query", [b"<IDS|MSG>", b"", b"{}"]),
        ("mux", [b"\xff", b"<IDS|MSG>"]),
    ],
)  # fmt: skip
def test_what_cannot_be_read_shows_nothing(channel: str, frames: list[bytes]) -> None:
    assert list(of_message(channel, frames)) == []


def test_what_fits_several_dialects_is_left_open() -> None:
    peer = Peer(name="somebody")
    assert peer.best == ()
    assert "nothing was shown" in peer.sentence
    peer.add([Sign("kernel.error", "error", ("error",))])
    assert peer.best == ("documented", "ipyparallel-9")
    assert peer.sentence == "somebody: documented, 1 of 1 or ipyparallel-9, 1 of 1 signs fit (ipython-0.1x 0 of 1)"
    peer.add([Sign("envelope.packer", "json", ("json",))])
    # In every dialect the same.
    assert len(peer.telling) == 1


def test_every_value_of_a_sign_is_one_of_the_table() -> None:
    messages = [
        ("queue_reply", {"unassigned": 0}), ("result_request", {"status_only": True}),
        ("result_request", {"statusonly": True}), ("registration_notification", {"uuid": "u"}),
        ("registration_notification", {"queue": "u"}), ("stream", {"text": ""}), ("stream", {"data": ""}), ("pyin", {}),
        ("execute_input", {}), ("data_pub", {}), ("signal_request", {}),
    ]  # fmt: skip
    signs = [of_relays(b"mux", b""), of_relays(b"mux_in", b"mux_out")]
    for msg_type, content in messages:
        made = Message(header("m", msg_type, "s", "u", "", "5.4"), content=content)
        signs += list(of_message("iopub", Codec(b"k").encode(made)))
    for sign in signs:
        assert any(sign.fits(dialect) for dialect in DIALECTS), sign
        assert feature(sign.feature) in FEATURES


def test_a_running_controller_is_asked(tmp_path: Path) -> None:
    with cluster(tmp_path / "home") as made:
        result = run("which-dialect", str(made.client_file), str(made.engine_file))
        assert (result.exit_code, result.stderr) == (0, "")
        # Whoever remembers what it was sent takes nothing for a replay when it is asked again.
        assert run("which-dialect", str(made.client_file), str(made.engine_file)).stdout == result.stdout
        *_, last = result.stdout.splitlines()
        assert last.startswith("the controller: ipyparallel-9, ")
        for expected in ("query.refusal", "hub_error", "sockets.relay-identities", "mux_in, mux_out"):
            assert expected in result.stdout
        alone = run("which-dialect", str(made.engine_file))
        assert (alone.exit_code, "give that one, too" in alone.stderr) == (4, True)


def test_nobody_there_and_no_such_file_are_one_sentence(tmp_path: Path) -> None:
    file = ClientFile(
        ssh="", interface="tcp://127.0.0.1", registration=1, control=2, mux=3, task=4, iopub=5, key="key",
        curve_serverkey=None, location="", pack="json", unpack="json", signature_scheme="hmac-sha256",
        task_scheme="leastload", notification=6, broadcast=7,
    )  # fmt: skip
    path = tmp_path / "client.json"
    path.touch(mode=0o600)
    path.write_bytes(render(file))
    result = run("which-dialect", str(path), "--deadline", "0.02")
    assert (result.exit_code, result.stdout) == (3, "the controller: nothing was shown that tells dialects apart\n")
    other = tmp_path / "other"
    other.write_text("{}\n", encoding="utf-8")
    result = run("which-dialect", str(other))
    assert (result.exit_code, result.stdout) == (4, "")
    assert result.stderr.startswith(f"ippkit: {other}: is not made by ippkit record: line 1")
    assert "nor is it a connection file" in result.stderr
