"""What abilities ask of processes: it must be true in the moment in which one ends, too."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from conformance.interop import calls


def test_a_process_is_alive_until_it_has_ended() -> None:
    assert calls.is_alive(os.getpid())
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as child:
        assert calls.is_alive(child.pid)
        child.kill()
        if hasattr(os, "waitid"):
            # It has ended, and nobody has asked for its status yet.
            os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
            assert calls.is_alive(child.pid) == (not Path("/proc/self/stat").exists())
    assert not calls.is_alive(child.pid)


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="the states of processes are looked up in /proc")
@pytest.mark.parametrize("error", [ProcessLookupError, FileNotFoundError])
def test_who_ends_while_it_is_looked_at_is_not_alive(error: type[OSError], monkeypatch: pytest.MonkeyPatch) -> None:
    def gone(*_: object, **__: object) -> str:
        raise error

    monkeypatch.setattr(Path, "read_text", gone)
    assert not calls.is_alive(os.getpid())


def test_where_nothing_is_told_of_processes_their_existence_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(*_: object, **__: object) -> str:
        raise FileNotFoundError

    monkeypatch.setattr(Path, "read_text", unknown)
    monkeypatch.setattr(Path, "exists", lambda _: False)
    assert calls.is_alive(os.getpid())
