"""Stands between the kit and a target's processes, so that they end when the kit ends, however that happens.

It is run as a script, by path, in an interpreter without site packages, and imports nothing but the standard library:

    python -I -S supervisor.py GRACE DIRECTORY INPUT OUTPUT COMMAND...

The command runs in `DIRECTORY`, as leader of a session of its own, its output in the files `stdout` and `stderr` there.
`INPUT` and `OUTPUT` are file descriptors for its standard input and output, or `-` for none and for that file.
On its own standard output the supervisor writes one line per event: `started PID`, `failed TEXT`, `exited STATUS`
(negative for a signal), `stopped COUNT` (how many processes had to be killed). The line `stop` on its standard input
makes it end the whole session: SIGTERM, and SIGKILL when `GRACE` seconds have passed. The end of its standard input
means that the kit is gone, be it by SIGKILL: then it does the same and removes the directory.

On Linux it adopts orphans of the target (PR_SET_CHILD_SUBREAPER), and so also finds those that left the session. And
should the supervisor itself be killed, the kernel sends SIGTERM to the target's first process (PR_SET_PDEATHSIG).
"""

import contextlib
import ctypes
import os
import select
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

PR_SET_PDEATHSIG = 1
PR_SET_CHILD_SUBREAPER = 36
#: Seconds between two looks at processes that were told to end; only those of other parents end unannounced.
STEP = 0.02
#: Seconds to wait for processes that were killed: a process in an uninterruptible call may stay for ever.
KILL_WAIT = 5.0


class Supervisor:
    """One command, its process group, and the two pipes to the kit."""

    def __init__(self, grace: float, directory: str, ends: list[str], command: list[str]) -> None:
        self.grace = grace
        self.directory = directory
        self.ends = [int(end) for end in ends if end != "-"]
        self.command = command
        self.main = 0
        self.status: int | None = None
        self.prctl = ctypes.CDLL(None, use_errno=True).prctl if sys.platform == "linux" else None
        self.wakeup, wakeup_write = os.pipe()
        for end in (self.wakeup, wakeup_write):
            os.set_blocking(end, False)
        signal.set_wakeup_fd(wakeup_write, warn_on_full_buffer=False)
        # Any handler will do: it is the wakeup that counts.
        signal.signal(signal.SIGCHLD, lambda *_: None)
        if self.prctl is not None:
            self.prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)

    def run(self) -> None:
        """Start the command, wait for the word or the end of the kit, and end everything."""
        try:
            # This process has one thread, so code between fork and exec is safe.
            with Path(self.directory, "stdout").open("wb") as out, Path(self.directory, "stderr").open("wb") as err:
                child = subprocess.Popen(  # noqa: S603 - the command is what the descriptor says
                    self.command,
                    cwd=self.directory,
                    stdin=self.ends[0] if self.ends else subprocess.DEVNULL,
                    stdout=self.ends[1] if self.ends else out,
                    stderr=err,
                    start_new_session=True,
                    preexec_fn=self._follow_parent,
                )
        except OSError as error:
            report(f"failed {self.command[0]}: {error.strerror}")
            return
        finally:
            # Only while the command holds them they are open.
            for end in self.ends:
                os.close(end)
        self.main = child.pid
        # Every child is reaped here, so the Popen object must not try it again.
        child.returncode = 0
        report(f"started {self.main}")
        is_told = self._wait_for_word()
        killed = self._end()
        if not is_told:
            shutil.rmtree(self.directory, ignore_errors=True)
        report(f"stopped {killed}")

    def _follow_parent(self) -> None:
        if self.prctl is not None:
            self.prctl(PR_SET_PDEATHSIG, int(signal.SIGTERM), 0, 0, 0)

    def _wait_for_word(self) -> bool:
        while True:
            ready, _, _ = select.select([0, self.wakeup], [], [])
            if self.wakeup in ready:
                os.read(self.wakeup, 4096)
                self._reap()
            if 0 in ready:
                return bool(os.read(0, 4096))

    def _reap(self) -> bool:
        """Take leave of every ended child; whether any is left."""
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return False
            if pid == 0:
                return True
            if pid == self.main:
                self.status = os.waitstatus_to_exitcode(status)
                report(f"exited {self.status}")

    def _is_alone(self) -> bool:
        if self._reap():
            return False
        try:
            os.killpg(self.main, 0)
        except ProcessLookupError:
            return True
        except PermissionError:
            return False  # on macOS, a group of which only zombies are left
        return False

    def _signal(self, number: int, told: set[int]) -> None:
        """Signal the processes that were not told yet; what was orphaned by the first round is found by the next."""
        if not told:
            # Once for the whole group, which on systems without /proc is all that can be found.
            told |= {self.main, *family(self.main)}
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self.main, number)
        for pid in set(family(self.main, os.getpid())) - told:
            told.add(pid)
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(pid, number)

    def _end(self) -> int:
        killed = 0
        for number, seconds in ((signal.SIGTERM, self.grace), (signal.SIGKILL, KILL_WAIT)):
            if self._is_alone():
                break
            if number == signal.SIGKILL:
                killed = len(family(self.main, os.getpid()))
            told: set[int] = set()
            deadline = time.monotonic() + seconds
            while not self._is_alone() and time.monotonic() < deadline:
                self._signal(number, told)
                # A stopped process notices nothing until it is continued.
                with contextlib.suppress(ProcessLookupError, PermissionError):
                    os.killpg(self.main, signal.SIGCONT)
                select.select([self.wakeup], [], [], STEP)
                with contextlib.suppress(BlockingIOError):
                    os.read(self.wakeup, 4096)
        return killed


def family(group: int, parent: int = -1) -> list[int]:
    """On Linux, the living processes of a group and the living children of a process; elsewhere nothing."""
    found = []
    for entry in Path("/proc").glob("[0-9]*/stat") if sys.platform == "linux" else ():
        with contextlib.suppress(OSError):
            # The name in parentheses may hold anything, so the fields are counted from its end.
            state, its_parent, its_group = entry.read_text().rpartition(")")[2].split()[:3]
            if state != "Z" and (int(its_group) == group or int(its_parent) == parent):
                found.append(int(entry.parent.name))
    return found


def report(line: str) -> None:
    """Tell the kit; nobody may be there any more."""
    with contextlib.suppress(BrokenPipeError):
        os.write(1, f"{line}\n".encode())


if __name__ == "__main__":
    Supervisor(float(sys.argv[1]), sys.argv[2], sys.argv[3:5], sys.argv[5:]).run()
