"""Clusters of the reference for tests: a controller and engines in processes of their own, all gone at the end."""

import contextlib
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from conformance.reference.client import Client

CONTROLLER = (sys.executable, "-m", "conformance.reference")
ENGINE = (sys.executable, "-c", "from conformance.cli import main; main(['engine', *__import__('sys').argv[1:]])")
#: Seconds that anything may take; a machine that does other things needs patience, a defect does not.
PATIENCE = 20.0


def wait_for(what: Callable[[], object], seconds: float = PATIENCE) -> bool:
    """Look again and again until something holds; whether it did in time."""
    deadline = time.monotonic() + seconds
    while not what():
        if time.monotonic() > deadline:
            return False
        select.select([], [], [], 0.01)
    return True


def children(pid: int) -> dict[int, str]:
    """The living children of a process, with their names (Linux)."""
    found = {}
    for entry in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            head, _, rest = entry.read_text().rpartition(")")
            state, parent = rest.split()[:2]
            if int(parent) == pid and state != "Z":
                found[int(entry.parent.name)] = head.partition("(")[2]
    return found


def is_alive(pid: int) -> bool:
    """Whether a process is there and no zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


class Cluster:
    """A controller in a directory, with its engines."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.controller: subprocess.Popen[str]
        self.engines: list[subprocess.Popen[str]] = []
        self._seen: set[int] = set()

    def start(self, *options: str) -> None:
        """Start the controller, and wait until its files are there."""
        self.controller = run(*CONTROLLER, "--dir", str(self.directory), "--ping", "100", *options)
        is_ready = wait_for(lambda: self.client_file.exists() or self.controller.poll() is not None)
        assert is_ready, "no connection file"
        if self.controller.poll() is not None:
            raise AssertionError(f"the controller ended: {self.controller.communicate()[1]}")

    @property
    def client_file(self) -> Path:
        """Where clients find it."""
        return self.directory / "ipcontroller-client.json"

    @property
    def engine_file(self) -> Path:
        """Where engines find it."""
        return self.directory / "ipcontroller-engine.json"

    def engine(self, *options: str) -> "subprocess.Popen[str]":
        """Start one more engine."""
        self.engines.append(run(*ENGINE, "--dir", str(self.directory), *options))
        return self.engines[-1]

    def client(self) -> Client:
        """A client."""
        return Client.from_dir(self.directory, timeout=PATIENCE)

    def parts(self) -> dict[str, int]:
        """The processes of the controller by name."""
        found = {name.removeprefix("ippkit-"): pid for pid, name in children(self.controller.pid).items()}
        self._seen |= set(found.values())
        return found

    def stop(self) -> None:
        """End everything that still runs; kill what does not end."""
        self.parts() if self.controller.poll() is None else None
        end(*self.engines)
        end(self.controller)
        for pid in self._seen:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


def run(*command: str) -> "subprocess.Popen[str]":
    """A process in a session of its own, so that a signal to it reaches nobody else."""
    return subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        start_new_session=True,
    )  # fmt: skip


def end(*processes: "subprocess.Popen[str]") -> None:
    """End processes, by force if need be, and reap them."""
    for process in processes:
        if process.poll() is None:
            process.terminate()
    for process in processes:
        try:
            process.communicate(timeout=PATIENCE)
        except subprocess.TimeoutExpired:
            process.kill()
            process.communicate()


def try_to_start(directory: Path, *options: str) -> tuple[int, str]:
    """The exit status and the words of a controller that cannot run."""
    done = subprocess.run(
        [*CONTROLLER, "--dir", str(directory), *options], stdin=subprocess.DEVNULL, capture_output=True, text=True,
        timeout=PATIENCE,
    )  # fmt: skip
    assert not done.stdout
    return done.returncode, done.stderr


@contextlib.contextmanager
def cluster(directory: Path, *options: str, engines: int = 0, engine_options: Sequence[str] = ()) -> Iterator[Cluster]:
    """A cluster for one block."""
    made = Cluster(directory)
    try:
        made.start(*options)
        for _ in range(engines):
            made.engine(*engine_options)
        yield made
    finally:
        if hasattr(made, "controller"):
            made.stop()
