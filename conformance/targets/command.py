"""One command of a target under its supervisor: its processes, its output, and what it sees of the world around.

POSIX only.
"""

import contextlib
import os
import re
import select
import site
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from conformance.targets import supervisor

#: Seconds between two looks at files that are not there yet; the end of the process is noticed at once.
STEP: Final = 0.005
#: How much of the output an error carries, in bytes.
TAIL: Final = 4000

#: What a target sees of the kit's own environment; the rest (configuration, credentials, proxies) is withheld.
INHERITED: Final = (
    "PATH", "LANG", "LC_ALL", "LC_CTYPE", "TZ", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH", "PYTHONPATH", "VIRTUAL_ENV",
    # The requirement whose case runs; for what cases share it is that of the first.
    "IPPKIT_CASE",
)  # fmt: skip


class Process:
    """A command under the supervisor. Nothing is left of it after `stop`, except its directory.

    One that is spoken to has pipes for its standard input and output: `ear` is there to write to, `mouth` to read from,
    and neither blocks.
    """

    def __init__(
        self,
        command: list[str],
        directory: Path,
        environment: Mapping[str, str],
        grace: float,
        *,
        is_spoken_to: bool = False,
    ) -> None:
        self.directory = directory
        self.ear = self.mouth = -1
        self.pid = 0
        self.status: int | None = None
        self.killed = 0
        self.failure = ""
        self._grace = grace
        self._owner = os.getpid()
        self._unread = b""
        its_ends = self._open_pipes() if is_spoken_to else ()
        ends = [str(end) for end in its_ends] or ["-", "-"]
        script = [sys.executable, "-I", "-S", supervisor.__file__, str(grace), str(directory), *ends, *command]
        self._supervisor = subprocess.Popen(  # noqa: S603 - the command is what the descriptor says
            script,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=dict(environment),
            pass_fds=its_ends,
            # A keyboard interrupt must reach the kit only, which then stops everything in order.
            start_new_session=True,
        )
        for end in its_ends:
            os.close(end)
        assert self._supervisor.stdout is not None
        self._events = self._supervisor.stdout.fileno()
        os.set_blocking(self._events, False)
        try:
            while not self.pid and not self.failure:
                self.wait(1.0)
        except BaseException:
            self.stop()
            raise
        if self.failure:
            self.stop()

    def _open_pipes(self) -> tuple[int, int]:
        its_input, self.ear = os.pipe()
        self.mouth, its_output = os.pipe()
        for end in (self.ear, self.mouth):
            os.set_blocking(end, False)
        return its_input, its_output

    @property
    def is_owned(self) -> bool:
        """Whether this is the process that started it, and not a fork of that."""
        return os.getpid() == self._owner

    @property
    def is_running(self) -> bool:
        """Whether its first process is there."""
        self.wait(0.0)
        return bool(self.pid) and self.status is None and not self.failure

    def wait(self, seconds: float) -> None:
        """Wait for the next event of the supervisor, at most so long."""
        if self._supervisor.stdout is None or self._supervisor.stdout.closed:
            return
        # Who has more files open than select() can count waits, too.
        poll = select.poll()
        poll.register(self._events, select.POLLIN)
        if not poll.poll(seconds * 1000):
            return
        data = os.read(self._events, 4096)
        if not data:
            self._supervisor.stdout.close()
            if self.status is None:
                self.failure = self.failure or "its supervisor was killed"
            return
        *lines, self._unread = (self._unread + data).split(b"\n")
        for line in lines:
            word, _, rest = line.decode(errors="replace").partition(" ")
            if word == "started":
                self.pid = int(rest)
            elif word == "failed":
                self.failure = rest
            elif word == "exited":
                self.status = int(rest)
            elif word == "stopped":
                self.killed = int(rest)

    def processes(self) -> list[int]:
        """The ids of the processes of its session that still live (Linux; empty elsewhere)."""
        return supervisor.family(self.pid) if self.pid else []

    def send_signal(self, number: int) -> None:
        """Send a signal to all of its processes."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.pid, number)

    def tell_to_stop(self) -> None:
        """Have every process ended, as `stop` does, and do not wait for that."""
        pipe = self._supervisor.stdin
        if self.is_owned and pipe is not None and not pipe.closed:
            with contextlib.suppress(BrokenPipeError):
                pipe.write(b"stop\n")
                pipe.flush()

    def stop(self) -> None:
        """End every process, with SIGTERM and then SIGKILL, and wait for that. May be called twice.

        Does nothing in a fork of the process that started it: the pipe is shared, the responsibility is not.
        """
        if not self.is_owned:
            return
        self.tell_to_stop()
        pipe = self._supervisor.stdin
        deadline = time.monotonic() + self._grace + supervisor.KILL_WAIT + 5.0
        try:
            while self._supervisor.poll() is None and time.monotonic() < deadline:
                self.wait(STEP)
                if self._supervisor.stdout is None or self._supervisor.stdout.closed:
                    self._supervisor.wait(max(0.0, deadline - time.monotonic()))
            self.wait(0.0)
        except subprocess.TimeoutExpired:
            pass
        if self._supervisor.poll() is None:
            self._supervisor.kill()
            self._supervisor.wait()
        for stream in (pipe, self._supervisor.stdout):
            if stream is not None:
                with contextlib.suppress(BrokenPipeError):
                    stream.close()
        for end in {self.ear, self.mouth} - {-1}:
            os.close(end)
        self.ear = self.mouth = -1

    def output(self, name: str) -> str:
        """The end of its `stdout` or `stderr`."""
        try:
            with (self.directory / name).open("rb") as file:
                file.seek(max(0, file.seek(0, os.SEEK_END) - TAIL))
                return file.read().decode(errors="replace")
        except FileNotFoundError:
            return ""

    def line_with(self, pattern: re.Pattern[bytes]) -> str:
        """The first line of all that it has printed in which a pattern is found; empty if there is none."""
        for name in ("stdout", "stderr"):
            with contextlib.suppress(FileNotFoundError), (self.directory / name).open("rb") as file:
                for line in file:
                    if pattern.search(line):
                        return line.decode(errors="replace").strip()
        return ""


def environment(directory: Path) -> dict[str, str]:
    """The environment of a target: what `INHERITED` names, and every place for personal files inside its directory."""
    inside = str(directory)
    kept = {name: os.environ[name] for name in INHERITED if name in os.environ}
    personal = {
        "HOME": inside,
        "TMPDIR": inside,
        "IPYTHONDIR": str(directory / "ipython"),
        "JUPYTER_CONFIG_DIR": str(directory / "jupyter"),
        "JUPYTER_DATA_DIR": str(directory / "jupyter-data"),
        "JUPYTER_RUNTIME_DIR": str(directory / "jupyter-runtime"),
        "XDG_CONFIG_HOME": str(directory / "config"),
        "XDG_CACHE_HOME": str(directory / "cache"),
        "PYTHONUNBUFFERED": "1",
    }
    # Packages in the user's site directory are code, not configuration; without this they would vanish with HOME.
    if site.ENABLE_USER_SITE:
        personal["PYTHONUSERBASE"] = site.getuserbase()
    return kept | personal


def describe_status(status: int | None) -> str:
    """An exit status in words."""
    if status is None:
        return "without a status"
    return f"with status {status}" if status >= 0 else f"by signal {-status}"
