"""`ippkit record` between real processes: what it says, what it leaves behind, and what its recording shows."""

import os
import signal
import stat
import sys
from pathlib import Path

import pytest
from reference_cluster import PATIENCE, cluster, end, run, wait_for
from test_cli import run as ippkit

from conformance.files import read_connection_file
from protocol import recording
from protocol.connection import ClientFile, KernelFile, render
from protocol.world import Observation

pytestmark = pytest.mark.skipif(os.name != "posix", reason="files have no modes, and signals no numbers")

IPPKIT = (sys.executable, "-c", "from conformance.cli import main; main()")


def test_a_cluster_is_recorded_and_its_recording_judged(tmp_path: Path) -> None:
    home, out = tmp_path / "home", tmp_path / "capture.jsonl"
    out.write_text("of an earlier time, and open to all\n")
    with cluster(home) as made:
        recorder = run(*IPPKIT, "record", "--dir", str(home), "--out", str(out))
        copies = home / "relayed"
        try:
            assert wait_for(lambda: (copies / "ipcontroller-engine.json").exists() or recorder.poll() is not None)
            assert recorder.stdout is not None
            said = [recorder.stdout.readline() for _ in range(3)]
            # Reading it refuses every mode but 0600.
            assert read_connection_file(copies / "ipcontroller-client.json", ClientFile).key
            engine = run(*IPPKIT, "engine", "--dir", str(copies))
            made.engines.append(engine)
            client = run(*IPPKIT, "submit", "--dir", str(copies), "math.gcd", "12", "18")
            assert client.communicate(timeout=PATIENCE)[0] == "6\n"
            recorder.send_signal(signal.SIGINT)
            told, errors = recorder.communicate(timeout=PATIENCE)
        finally:
            end(recorder)
        key = read_connection_file(made.client_file, ClientFile).key
    assert (recorder.returncode, errors) == (0, "")
    assert said[0].startswith(f"{copies / 'ipcontroller-client.json'}: for what shall be recorded")
    assert said[2] == "recording; Ctrl-C ends it\n"
    read = recording.read(out.read_text().splitlines())
    seen = [item for item in read.items if isinstance(item, Observation)]
    assert told.startswith(f"{out}: {len(seen)} messages on ")
    assert key not in out.read_text()
    assert stat.S_IMODE(out.stat().st_mode) == 0o600
    assert not copies.exists()
    replies = [each for each in seen if each.message is not None and each.message.msg_type == "apply_reply"]
    assert [(each.observer, each.direction) for each in replies] == [("engine-1", "sent"), ("client-1", "received")]
    # Not by its timers: they would judge the machine.
    judged = ippkit("check", str(out), "--whole")
    assert judged.exit_code == 0, judged.stdout


def test_what_cannot_be_recorded_is_one_sentence(tmp_path: Path) -> None:
    missing = ippkit("record", "--dir", str(tmp_path), "--out", str(tmp_path / "out"))
    assert missing.exit_code == 3
    assert "expected connection files, found none" in missing.stderr
    kernel = KernelFile(shell_port=1, iopub_port=2, stdin_port=3, hb_port=4, ip="127.0.0.1", key="key")
    path = tmp_path / "kernel-1.json"
    path.write_bytes(render(kernel))
    path.chmod(0o644)
    exposed = ippkit("record", "--dir", str(tmp_path), "--out", str(tmp_path / "out"))
    assert exposed.exit_code == 3
    assert "mode 0600" in exposed.stderr
    path.chmod(0o600)
    same = ippkit("record", "--dir", str(tmp_path), "--out", str(tmp_path / "out"), "--copies", str(tmp_path / "."))
    assert (same.exit_code, "would take the place" in same.stderr) == (4, True)
    assert path.read_bytes() == render(kernel)
    done = ippkit("record", "--dir", str(tmp_path), "--out", str(tmp_path / "out"), "--for", "0.01")
    assert (done.exit_code, done.stderr) == (0, "")
    assert "0 messages on 0 connections" in done.stdout
    assert ippkit("check", str(tmp_path / "out")).exit_code == 5
