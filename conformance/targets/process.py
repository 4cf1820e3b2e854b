"""Starts a target in a private directory, waits until it is ready, and takes everything down again.

    with start(load("ipyparallel")) as running:
        running.client, running.engine      # its connection files

A target runs under `supervisor.py`, in a temporary directory of mode 0700 that is its working directory, its HOME and
its TMPDIR, with an environment from which everything personal is removed. It is ready when its connection files can be
read and its hub sends anything at all to a connection_request: whether the answer is right is for the cases to judge.
It is stopped, and its directory removed, by `stop`, by a failure to start, at the end of the interpreter, and by the
supervisor when the kit is killed.

POSIX only.
"""

import atexit
import contextlib
import json
import os
import re
import select
import shutil
import signal
import subprocess
import tempfile
import time
from collections import deque
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from types import TracebackType
from typing import Final, Self, TypeVar

import zmq

from conformance.files import FileOnDisk, look_at
from conformance.targets import versions
from conformance.targets.checking import expand
from conformance.targets.command import STEP, TAIL, Process, describe_status, environment
from conformance.targets.delays import delays
from conformance.targets.descriptor import Target
from conformance.targets.errors import TargetUnusable
from conformance.targets.listening import is_stopped, listener, taken
from conformance.targets.vocabulary import AS_IT_IS, FILES, Role
from protocol.connection import ClientFile, ConnectionFileError, EngineFile, KernelFile, parse, render
from protocol.wire import Message
from protocol.world import SECOND

#: Seconds that a version command may take.
VERSION_DEADLINE: Final = 60.0
#: How many of the last lines of a driver are kept.
LINES: Final = 20
#: What the kit assumes where a connection file says nothing: that the key is missing is for the cases to judge.
ASSUMED: Final[Mapping[str, object]] = {
    "ssh": "", "location": "localhost", "curve_serverkey": None, "task_scheme": "leastload", "pack": "json",
    "unpack": "json", "signature_scheme": "hmac-sha256",
}  # fmt: skip

#: How systems and libraries say that somebody else has an address.
IN_USE: Final = re.compile(b"address already in use|EADDRINUSE", re.IGNORECASE)
_KEY: Final = re.compile(r"""((?:exec_)?key["']?\s*[:=]\s*b?["'])([^"']+)(["'])""")


F = TypeVar("F", ClientFile, EngineFile)


class Started:
    """A process of a target: its directory, its output, and the way to its end."""

    def __init__(
        self,
        target: Target,
        role: Role,
        directory: Path,
        version: str | None,
        settings: Mapping[str, object] = AS_IT_IS,
    ) -> None:
        self.target = target
        self.role: Role = role
        self.directory = directory
        self.version = version
        #: Seconds from the start of the process until it was ready.
        self.start_seconds = 0.0
        self._values = target.placeholders(directory, role)
        self._secrets: set[str] = set()
        try:
            self.process = self._start(settings)
        except BaseException:
            shutil.rmtree(directory, ignore_errors=True)
            raise
        atexit.register(self.stop)

    def _start(self, settings: Mapping[str, object]) -> Process:
        table = self.target.table(self.role)
        assert table is not None
        extra = {name: expand(text, self._values) for name, text in table.environment.items()}
        command = [expand(text, self._values) for text in table.command]
        command += self.target.arguments(self.role, settings, self.directory)
        return Process(
            command, self.directory, environment(self.directory) | extra, self.target.timing.stop_grace_s,
            is_spoken_to=self.role == "client",
        )  # fmt: skip

    @property
    def is_running(self) -> bool:
        """Whether its first process is there."""
        return self.process.is_running

    @property
    def status(self) -> int | None:
        """The exit status of its first process (negative: a signal), or None while it runs."""
        self.process.wait(0.0)
        return self.process.status

    def output(self) -> tuple[str, str]:
        """The end of its stdout and of its stderr, without any key."""
        return self._redact(self.process.output("stdout")), self._redact(self.process.output("stderr"))

    def processes(self) -> list[int]:
        """The ids of its processes that still live (Linux; empty elsewhere)."""
        return self.process.processes()

    def delays(self) -> dict[int, int]:
        """For each thread, the nanoseconds for which it ever waited for a processor (Linux; empty elsewhere)."""
        return delays(self.process.pid)

    def unusable(self, sentence: str) -> TargetUnusable:
        """The error that says so, with the output so far."""
        stdout, stderr = self.output()
        return TargetUnusable(
            f"target {self.target.name}: {self._redact(sentence)}", status=self.status, stdout=stdout, stderr=stderr
        )

    def kill(self) -> None:
        """End all of its processes at once, as SIGKILL does."""
        self.process.send_signal(signal.SIGKILL)

    def tell_to_stop(self) -> None:
        """Let its end begin; `stop` waits for it."""
        self.process.tell_to_stop()

    def stop(self) -> None:
        """End its processes and remove its directory. May be called twice."""
        atexit.unregister(self.stop)
        if not self.process.is_owned:
            return
        self.process.stop()
        shutil.rmtree(self.directory, ignore_errors=True)

    def expect_alive(self) -> None:
        """Raise TargetUnusable if it ended, or was never there."""
        if self.is_running:
            return
        if self.process.failure:
            raise self.unusable(f"could not be started: {self.process.failure}")
        how = describe_status(self.process.status)
        stdout, stderr = self.output()
        printed = [line for line in (stdout + "\n" + stderr).splitlines() if line.strip()]
        last = printed[-1] if printed else "it printed nothing"
        raise self.unusable(f"ended {how} before it was ready: {last.strip()}")

    def late(self, what: str) -> TargetUnusable:
        """The error that it was not ready in time."""
        return self.unusable(f"was not ready after {self.target.timing.start_deadline_s:g} s: {what}")

    def _redact(self, text: str) -> str:
        for secret in self._secrets:
            text = text.replace(secret, "<key>")
        return _KEY.sub(r"\1<key>\3", text)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.stop()


class Running(Started):
    """A controller that runs: its connection files, its version, and the way to its end."""

    def __init__(
        self, target: Target, directory: Path, version: str | None, settings: Mapping[str, object] = AS_IT_IS
    ) -> None:
        self.client: ClientFile
        self.engine: EngineFile
        self._is_restarted = False
        super().__init__(target, "controller", directory, version, settings)

    @property
    def client_path(self) -> Path:
        """Where the file for clients is."""
        return Path(self._values["client_file"])

    @property
    def engine_path(self) -> Path:
        """Where the file for engines is."""
        return Path(self._values["engine_file"])

    def on_disk(self) -> dict[str, FileOnDisk]:
        """Its connection files ("client", "engine") as they are now; missing ones are left out."""
        found = {"client": look_at(self.client_path), "engine": look_at(self.engine_path)}
        return {which: file for which, file in found.items() if file is not None}

    def restart(self, settings: Mapping[str, object], engine_file: Mapping[str, object] = AS_IT_IS) -> None:
        """Kill all of it, and start it again in the same directory, with these settings. Raises TargetUnusable.

        Whether it keeps its addresses is for the cases to judge. `engine_file` has keys of the file for engines that
        are changed in between.
        """
        self._is_restarted = True
        self.process.send_signal(signal.SIGKILL)
        self.process.stop()
        if engine_file:
            values = json.loads(self.engine_path.read_text(encoding="utf-8"))
            self.engine_path.write_text(json.dumps(values | dict(engine_file)), encoding="utf-8")
        self.process = self._start(settings)
        self.wait_until_ready()

    def terminate(self) -> None:
        """Tell its first process to end, with SIGTERM."""
        if self.is_running:
            os.kill(self.process.pid, signal.SIGTERM)

    def hub(self) -> int | None:
        """The process that listens where engines register and clients ask, and at no queue; None if there is none.

        Processes are asked in the order in which they were started: a child may have inherited what is its parent's.
        """
        processes = sorted(self.processes())
        ports = (self.client.registration, self.client.mux, self.client.task, self.client.control)
        found, *others = (listener(port, processes) for port in ports)
        return None if found in others else found

    def robbed(self) -> str:
        """In words, what shows that somebody else was quicker to take one of its ports; empty if nothing does.

        Of ports in its connection files that is seen (on Linux), of others only in what it prints.
        """
        if self._is_restarted:
            # Who holds its ports now may be what it left behind itself.
            return ""
        files = (self.client, self.engine)
        addresses = {each for file in files for key in file.ports for each in file.addresses(key)}
        ports = {int(each.rpartition(":")[2]) for each in addresses if each.startswith("tcp:")}
        if lost := taken(ports, self.processes()):
            return f"somebody else holds the port {lost[0]}, which its connection files name"
        said = self._redact(self.process.line_with(IN_USE))
        return f"it could not have one of its addresses: {said}" if said else ""

    def pause(self, pid: int) -> None:
        """Tell one of its processes to stand still (SIGSTOP); see `is_paused`."""
        os.kill(pid, signal.SIGSTOP)

    def is_paused(self, pid: int) -> bool:
        """Whether a process stands still."""
        return is_stopped(pid)

    def resume(self, pid: int) -> None:
        """Let a process go on that stands still, if it is there."""
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGCONT)

    def wait_until_ready(self) -> None:
        """Wait for the files and, if the descriptor says so, for an answer. Raises TargetUnusable."""
        started = time.monotonic()
        deadline = started + self.target.timing.start_deadline / SECOND
        problem = self._read_files()
        while problem:
            self.expect_alive()
            if time.monotonic() > deadline:
                raise self.late(f"its connection files are not usable: {problem}")
            self.process.wait(STEP)
            problem = self._read_files()
        assert self.target.controller is not None
        if self.target.controller.ready == "answers":
            self._wait_for_answer(deadline)
        self.start_seconds = time.monotonic() - started

    def _read_files(self) -> str:
        """What is wrong with the files; a file that is just being written is wrong for a moment.

        Their modes, and whether they agree, is for the cases to judge: nobody else can reach the directory.
        """
        try:
            client = _read(self.client_path, ClientFile)
            engine = _read(self.engine_path, EngineFile)
            self._secrets |= {client.key, engine.key} - {""}
        except OSError as error:
            return f"{error.filename}: expected a connection file, found nothing to read ({error.strerror})"
        except ConnectionFileError as error:
            return str(error)
        self.client, self.engine = client, engine
        return ""

    def _wait_for_answer(self, deadline: float) -> None:
        if self.client.curve_serverkey:
            # The kit has no CURVE keys of its own; a file is all that can be waited for.
            return
        file, codec = self.client, self.client.codec()
        request = {
            "msg_id": f"ready_{os.getpid()}", "msg_type": "connection_request", "session": "ready", "username": "kit",
            "date": "2000-01-01T00:00:00Z", "version": "5.4",
        }  # fmt: skip
        with zmq.Context() as context, context.socket(zmq.DEALER) as socket:
            socket.linger = 0
            socket.connect(self.client.address("registration"))
            socket.send_multipart(codec.encode(Message(request)))
            while not socket.poll(20):
                self.expect_alive()
                # One that was started again may replace the files of before when it has been running for a while.
                if not self._read_files() and self.client != file:
                    self._wait_for_answer(deadline)
                    return
                if time.monotonic() > deadline:
                    address = self.client.address("registration")
                    raise self.late(f"nothing at {address} answers a connection_request")


class Peer(Started):
    """A target whose connection file the kit writes, before it starts; whether it comes is seen by the kit's side."""

    def __init__(
        self,
        target: Target,
        role: Role,
        directory: Path,
        version: str | None,
        file: EngineFile | ClientFile | KernelFile,
        settings: Mapping[str, object] = AS_IT_IS,
    ) -> None:
        path = directory / FILES[role]
        # Nobody may read the key, not even for a moment.
        path.touch(mode=0o600)
        path.write_bytes(render(file))
        super().__init__(target, role, directory, version, settings)
        self._secrets |= {file.key} - {""}

    @property
    def path(self) -> Path:
        """Where its connection file is."""
        return self.directory / FILES[self.role]


class RunningEngine(Peer):
    """An engine that runs. Whether it has registered is seen by its controller, which is the kit."""


class RunningKernel(Peer):
    """A plain kernel that runs. Whether it answers is seen by its clients, which are the kit."""

    def interrupt(self) -> None:
        """Send SIGINT to its first process, as a front end does."""
        if self.is_running:
            os.kill(self.process.pid, signal.SIGINT)

    def start_again(self) -> None:
        """Start it once more, after it has ended, with the same file, as a launcher does."""
        self.process.stop()
        self.process = self._start(AS_IT_IS)


class RunningClient(Peer):
    """A client behind its driver, which is told in lines what to do and tells in lines what came of it."""

    def __init__(self, target: Target, directory: Path, version: str | None, file: ClientFile) -> None:
        self._unread = b""
        #: The last lines that it said; they are what it printed.
        self._said: deque[bytes] = deque(maxlen=LINES)
        super().__init__(target, "client", directory, version, file)

    @property
    def mouth(self) -> int:
        """The file descriptor from which its lines come; to be watched, see `Pump.watch`."""
        return self.process.mouth

    def tell(self, line: bytes) -> None:
        """Give it a line, without the line end. Raises TargetUnusable if it does not take it."""
        rest = line + b"\n"
        deadline = time.monotonic() + self.target.timing.reply_deadline_s
        while rest:
            try:
                rest = rest[os.write(self.process.ear, rest) :]
            except BlockingIOError:
                left = deadline - time.monotonic()
                if left <= 0 or not select.select([], [self.process.ear], [], left)[1]:
                    raise self.unusable("its driver does not read its standard input") from None
            except BrokenPipeError:
                raise self.unusable("its driver has closed its standard input") from None

    def heard(self) -> list[bytes] | None:
        """The lines that it has said since the last call, without line ends; None when it will say no more."""
        data = b""
        try:
            while chunk := os.read(self.process.mouth, 65536):
                data += chunk
        except BlockingIOError:
            pass
        else:
            if not data:
                return None
        *lines, self._unread = (self._unread + data).split(b"\n")
        self._said.extend(lines)
        return lines

    def output(self) -> tuple[str, str]:
        """The last lines that it said, and the end of its stderr, without any key."""
        said = b"".join(line + b"\n" for line in self._said) + self._unread
        return self._redact(said[-TAIL:].decode(errors="replace")), super().output()[1]


def start(target: Target, settings: Mapping[str, object] = AS_IT_IS) -> Running:
    """Start a controller, with these settings if any, and wait until it is ready.

    Raises TargetUnusable; then nothing is left of it.
    """
    return await_ready(begin(target, settings))


def begin(target: Target, settings: Mapping[str, object] = AS_IT_IS) -> Running:
    """Begin to start a controller with these settings: see `await_ready`. Raises TargetUnusable."""
    version, directory = _prepare(target)
    return Running(target, directory, version, settings)


def await_ready(running: Running) -> Running:
    """Wait until a controller that was begun is ready. Raises TargetUnusable; then nothing is left of it."""
    try:
        running.wait_until_ready()
    except BaseException:
        running.stop()
        raise
    return running


def start_engine(target: Target, file: EngineFile, settings: Mapping[str, object] = AS_IT_IS) -> RunningEngine:
    """Start an engine whose controller has this connection file. Raises TargetUnusable if it is another version."""
    version, directory = _prepare(target)
    return RunningEngine(target, "engine", directory, version, file, settings)


def start_kernel(target: Target, file: KernelFile) -> RunningKernel:
    """Start a kernel that is to bind what this file says. Raises TargetUnusable if it is another version."""
    version, directory = _prepare(target)
    return RunningKernel(target, "kernel", directory, version, file)


def start_client(target: Target, file: ClientFile) -> RunningClient:
    """Start the driver of a client whose controller has this file. Raises TargetUnusable if it is another version."""
    version, directory = _prepare(target)
    return RunningClient(target, directory, version, file)


def _prepare(target: Target) -> tuple[str | None, Path]:
    """The version of a target, and a private directory for it."""
    if os.name != "posix":
        raise TargetUnusable(f"target {target.name}: targets can be started on Linux and macOS only")
    version = detect_version(target)
    # Resolved, because macOS reaches its temporary directory through a link; short, because ipc addresses are limited.
    return version, Path(tempfile.mkdtemp(prefix="ippkit-")).resolve()


def _read(path: Path, kind: type[F]) -> F:
    """A connection file, with what the kit assumes in place of missing keys."""
    content = path.read_bytes()
    with contextlib.suppress(ValueError):
        values = json.loads(content)
        if isinstance(values, dict):
            assumed = {key: value for key, value in ASSUMED.items() if key in kind.keys}
            content = json.dumps(assumed | values).encode()
    return parse(content, kind, name=str(path))


def detect_version(target: Target) -> str | None:
    """The version that the target prints, None if its descriptor does not ask. Raises TargetUnusable.

    A version outside the descriptor's range is refused: its deviations and timers are about other releases.
    """
    rule = target.version
    if rule is None:
        return None
    version = _ask_version(target.name, tuple(expand(text, target.placeholders(Path.cwd())) for text in rule.command))
    try:
        is_meant = versions.accepts(rule.accepts, version)
    except ValueError as error:
        raise TargetUnusable(f"target {target.name}: its version cannot be compared: {error}") from None
    if not is_meant:
        raise TargetUnusable(
            f"target {target.name}: found version {version}, but its descriptor is about {rule.accepts}"
        )
    return version


@cache
def _ask_version(name: str, command: tuple[str, ...]) -> str:
    with tempfile.TemporaryDirectory(prefix="ippkit-") as directory:
        try:
            done = subprocess.run(  # noqa: S603 - the command is what the descriptor says
                command,
                cwd=directory,
                env=environment(Path(directory)),
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                errors="replace",
                timeout=VERSION_DEADLINE,
            )
        except OSError as error:
            raise TargetUnusable(f"target {name}: {command[0]}: {error.strerror}") from None
        except subprocess.TimeoutExpired:
            raise TargetUnusable(f"target {name}: its version command took over {VERSION_DEADLINE:g} s") from None
    lines = [line.strip() for line in done.stdout.splitlines() if line.strip()]
    if done.returncode or not lines:
        errors = [line.strip() for line in done.stderr.splitlines() if line.strip()]
        why = errors[-1] if errors else "it printed nothing"
        raise TargetUnusable(
            f"target {name}: its version is not to be had (is it installed?): {why}",
            status=done.returncode, stdout=done.stdout[-TAIL:], stderr=done.stderr[-TAIL:],
        )  # fmt: skip
    return lines[0]
