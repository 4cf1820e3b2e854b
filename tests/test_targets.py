"""The processes of targets, which must never be left behind."""

import os
import re
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import msgspec
import pytest
from test_descriptors import CLIENT, GOOD, make

from conformance.harness.pump import Pump
from conformance.targets import Target, TargetUnusable, command, load, process
from conformance.targets.command import Process, environment
from conformance.targets.process import IN_USE, detect_version, start, start_client
from protocol.connection import ClientFile
from protocol.wire import Codec
from protocol.world import SECOND

# -- processes -------------------------------------------------------------------------------------------------------


def script(code: str, *, deadline: float = 30.0, grace: float = 5.0, ready: str = "files", extra: str = "") -> Target:
    """A target that is a Python program."""
    command = msgspec.json.encode(
        ["{{python}}".format(), "-c", textwrap.dedent(code).replace("{", "{{").replace("}", "}}")]
    )
    return make(
        f"""
        name = "script"
        dialect = "ipyparallel-9"
        roles = ["controller"]
        [controller]
        command = {command.decode()}
        client_file = "{{dir}}/client.json"
        engine_file = "{{dir}}/engine.json"
        ready = "{ready}"
        [timing]
        start_deadline_s = {deadline}
        stop_grace_s = {grace}
        {extra}
        """
    )


def leftovers() -> list[Path]:
    return [path for path in Path(process.tempfile.gettempdir()).glob("ippkit-*") if path.is_dir()]


@pytest.fixture(autouse=True)
def _own_temporary_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    # So that a directory left behind is seen, and other runs on this machine are not.
    monkeypatch.setattr(process.tempfile, "tempdir", str(tmp_path))


def test_a_target_that_dies_shows_its_output_and_status():
    with pytest.raises(TargetUnusable) as caught:
        start(script("import sys; print('out'); sys.exit('the reason')"))
    error = caught.value
    assert str(error) == "target script: ended with status 1 before it was ready: the reason"
    assert (error.status, error.stdout, error.stderr) == (1, "out\n", "the reason\n")
    assert "its stdout ends with:\n    out\n" in error.details()
    assert leftovers() == []


def test_a_target_that_is_killed_names_the_signal():
    with pytest.raises(TargetUnusable, match="ended by signal 9 before it was ready: it printed nothing"):
        start(script("import os; os.kill(os.getpid(), 9)"))


def test_a_target_that_never_writes_its_files_is_not_waited_for_for_ever():
    with pytest.raises(TargetUnusable, match=r"not ready after 0\.3 s: .*client\.json: expected a connection file"):
        start(script("import signal; signal.pause()", deadline=0.3))
    assert leftovers() == []


def test_a_program_that_does_not_exist_is_one_sentence():
    target = make(GOOD.replace('"{python}", "-c"', '"no-such-program", "-c"'))
    with pytest.raises(TargetUnusable, match="could not be started: no-such-program: No such file or directory"):
        start(target)
    assert leftovers() == []


WRITE_FILES = """
import json, os, signal, sys
ports = iter(range(20001, 20100))
both = dict(ssh="", interface="tcp://127.0.0.1", registration=20000, control=next(ports), mux=next(ports),
            task=next(ports), iopub=next(ports), key="se-cret", curve_serverkey=None, location="here", pack="json",
            unpack="json", signature_scheme="hmac-sha256")
os.umask(0o077)
def write(name, **more):
    with open(name, "w") as file:
        file.write(json.dumps(both | more))
client = dict(task_scheme="leastload", notification=next(ports), broadcast=next(ports))
engine = dict(hb_ping=next(ports), hb_pong=next(ports), broadcast=[next(ports), next(ports)])
"""


def test_half_written_files_are_waited_for():
    code = (
        WRITE_FILES
        + """
with open("engine.json", "w") as file:
    file.write("{")
write("client.json", **client)
os.mkfifo("seen")
open("seen").close()
write("engine.json", **engine)
signal.pause()
"""
    )

    class Patient(process.Running):
        """Lets the target go on only after it was found unready."""

        def _read_files(self) -> str:
            problem = super()._read_files()
            if "half written" in problem:
                (self.directory / "seen").write_text("")
            return problem

    directory = Path(process.tempfile.mkdtemp(prefix="ippkit-"))
    with Patient(script(code), directory, None) as running:
        running.wait_until_ready()
        assert running.client.registration == running.engine.registration == 20000
    assert leftovers() == []


def test_a_target_with_files_but_no_hub_is_not_ready():
    code = WRITE_FILES + 'write("client.json", **client); write("engine.json", **engine); signal.pause()'

    class Hasty(process.Running):
        """Waits for its files as long as it takes, and then no longer."""

        def _wait_for_answer(self, deadline: float) -> None:
            super()._wait_for_answer(min(deadline, time.monotonic()))

    directory = Path(process.tempfile.mkdtemp(prefix="ippkit-"))
    with (
        Hasty(script(code, ready="answers"), directory, None) as running,
        pytest.raises(TargetUnusable, match=r"not ready after 30 s: nothing at tcp://127\.0\.0\.1:20000 answers"),
    ):
        running.wait_until_ready()
    assert leftovers() == []


def test_the_key_is_never_shown():
    code = (
        WRITE_FILES
        + """
print("my key is se-cret", file=sys.stderr)
write("client.json", **client); write("engine.json", **engine)
print('{"key": "another"}')
sys.stdout.flush()
sys.stderr.flush()
signal.pause()
"""
    )
    with start(script(code)) as running:
        stdout, stderr = running.output()
        error = running.unusable("it says se-cret")
    assert stderr == "my key is <key>\n"
    assert "another" not in stdout
    assert "se-cret" not in str(error) + error.details()


def test_a_target_sees_nothing_personal(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.setenv("IPP_SESSION_KEY", "mine")
    monkeypatch.setenv("JUPYTER_CONFIG_DIR", "/somewhere/.jupyter")
    seen = environment(tmp_path)
    assert "IPP_SESSION_KEY" not in seen
    assert seen["HOME"] == seen["TMPDIR"] == str(tmp_path)
    assert seen["JUPYTER_CONFIG_DIR"].startswith(str(tmp_path))
    assert seen["PATH"] == os.environ["PATH"]


# The target holds the write end of a fifo; the test reads until its end, which comes when the last process has ended.
HOLD = """
import os, signal, sys
alive = os.open("alive", os.O_WRONLY)
"""


def held(directory: Path) -> int:
    """The read end of the fifo that the program in this directory holds."""
    return os.open(directory / "alive", os.O_RDONLY)


def run(code: str, directory: Path, *, grace: float = 5.0) -> tuple[Process, int]:
    directory.mkdir(exist_ok=True)
    os.mkfifo(directory / "alive")
    child = Process([sys.executable, "-c", textwrap.dedent(HOLD + code)], directory, environment(directory), grace)
    return child, held(directory)


def wait_for_end(fifo: int) -> None:
    while os.read(fifo, 100):
        pass
    os.close(fifo)


def test_that_an_address_was_in_use_is_found_however_much_was_printed_later(tmp_path: Path):
    said = "a key; Address already in use (addr='tcp://127.0.0.1:4321')"
    code = f'print("""{said}""", "much more " * 2000, sep=os.linesep, file=sys.stderr)'
    child, fifo = run(code, tmp_path / "d")
    wait_for_end(fifo)
    child.stop()
    assert "in use" not in child.output("stderr")
    assert child.line_with(IN_USE) == said
    assert child.line_with(re.compile(b"something else")) == ""


def test_stop_ends_a_process_that_obeys(tmp_path: Path):
    child, fifo = run("os.write(alive, b'x'); signal.pause()", tmp_path / "d")
    os.read(fifo, 1)
    child.stop()
    wait_for_end(fifo)
    assert (child.status, child.killed, child.is_running) == (-signal.SIGTERM, 0, False)


def test_stop_kills_a_process_that_does_not_obey(tmp_path: Path):
    code = "signal.signal(signal.SIGTERM, signal.SIG_IGN); os.write(alive, b'x')\nwhile True: signal.pause()"
    child, fifo = run(code, tmp_path / "d", grace=0.2)
    os.read(fifo, 1)
    child.stop()
    wait_for_end(fifo)
    assert child.status == -signal.SIGKILL
    assert child.killed == 1 or sys.platform != "linux"


def test_stop_reaches_grandchildren_of_a_target_that_is_gone(tmp_path: Path):
    child, fifo = run("if os.fork() == 0:\n    os.write(alive, b'x'); signal.pause()", tmp_path / "d")
    os.read(fifo, 1)
    while child.is_running:
        child.wait(1.0)
    assert child.status == 0
    child.stop()
    wait_for_end(fifo)


def test_stop_continues_what_was_stopped(tmp_path: Path):
    child, fifo = run("os.write(alive, b'x'); signal.pause()", tmp_path / "d")
    os.read(fifo, 1)
    child.send_signal(signal.SIGSTOP)
    child.stop()
    wait_for_end(fifo)
    assert child.status == -signal.SIGTERM


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux gives orphans to the supervisor")
def test_stop_reaches_a_process_that_left_the_session(tmp_path: Path):
    code = "if os.fork() == 0:\n    os.setsid()\n    if os.fork() == 0:\n        os.write(alive, b'x'); signal.pause()"
    child, fifo = run(code, tmp_path / "d")
    os.read(fifo, 1)
    child.stop()
    wait_for_end(fifo)


def test_stop_twice_is_once(tmp_path: Path):
    child, fifo = run("signal.pause()", tmp_path / "d")
    child.stop()
    child.stop()
    wait_for_end(fifo)


def test_a_fork_of_the_kit_does_not_stop_the_target(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    child, fifo = run("os.write(alive, b'x'); signal.pause()", tmp_path / "d")
    os.read(fifo, 1)
    with monkeypatch.context() as fork:
        fork.setattr(command.os, "getpid", lambda: 0)
        child.stop()
    assert child.is_running
    child.stop()
    wait_for_end(fifo)


KIT = """
import os, sys
from pathlib import Path
from conformance.targets.command import Process, environment
directory = Path(sys.argv[1])
child = Process([sys.executable, "-c", sys.argv[2]], directory, environment(directory), 5.0)
print("ready", flush=True)
sys.stdin.read()
"""


def test_nothing_is_left_when_the_kit_is_killed(tmp_path: Path):
    directory = tmp_path / "d"
    directory.mkdir()
    os.mkfifo(directory / "alive")
    with subprocess.Popen(
        [sys.executable, "-c", KIT, str(directory), HOLD + "os.write(alive, b'x')\nsignal.pause()"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as kit:
        assert kit.stdout.readline() == b"ready\n"
        fifo = held(directory)
        os.read(fifo, 1)
        kit.kill()
        wait_for_end(fifo)
        # The supervisor has this pipe too, so the end of file means that it has ended.
        assert kit.stderr.read() == b""
    assert not directory.exists()


# -- a client behind its driver --------------------------------------------------------------------------------------


def client_file() -> ClientFile:
    """A file that leads nowhere."""
    ports = {name: 20000 + number for number, name in enumerate(ClientFile.ports)}
    words = dict.fromkeys(("ssh", "location"), "") | dict.fromkeys(("pack", "unpack"), "json")
    return ClientFile(
        **ports, **words, interface="tcp://127.0.0.1", key="se-cret", curve_serverkey=None, task_scheme="leastload",
        signature_scheme="hmac-sha256",
    )  # fmt: skip


def test_a_driver_is_told_lines_and_says_lines():
    with start_client(make(CLIENT), client_file()) as running:
        assert running.path.stat().st_mode & 0o777 == 0o600
        pump = Pump(Codec(b"key"))
        said: list[bytes] = []
        stop = pump.watch(running.mouth, lambda: said.extend(running.heard() or ()))
        running.tell(b"abc")
        running.tell(b"terces")
        assert pump.run_until(lambda: len(said) == 2, 30 * SECOND)
        stop()
        pump.close()
        assert said == [b"cba", b"secret"]
        assert running.output()[0] == "cba\nsecret\n"
        running.process.send_signal(signal.SIGKILL)
        while running.heard() is not None:
            running.process.wait(0.1)
        with pytest.raises(TargetUnusable, match="its driver has closed its standard input"):
            running.tell(b"is anybody there?")
    assert leftovers() == []


def test_a_driver_that_does_not_listen_is_not_waited_for_for_ever():
    target = make(CLIENT.replace("while True: print(input()[::-1], flush=True)", "import signal; signal.pause()"))
    target = msgspec.structs.replace(target, timing=msgspec.structs.replace(target.timing, reply_deadline_s=0.2))
    with (
        start_client(target, client_file()) as running,
        pytest.raises(TargetUnusable, match="its driver does not read its standard input"),
    ):
        running.tell(b"x" * 2_000_000)


# -- the real controller ---------------------------------------------------------------------------------------------


def test_ipyparallel_starts_answers_and_leaves_nothing():
    target = load("ipyparallel")
    # A busy machine may need long to end nine processes.
    target = msgspec.structs.replace(target, timing=msgspec.structs.replace(target.timing, stop_grace_s=60.0))
    running = start(target)
    try:
        assert running.is_running
        assert re.fullmatch(r"9\.\d+.*", running.version)
        assert running.directory.stat().st_mode & 0o777 == 0o700
        assert running.client.key == running.engine.key != ""
        found = running.process.processes()
        assert len(found) == 9 or sys.platform != "linux"
    finally:
        running.stop()
    assert running.process.processes() == []
    assert (running.status, running.process.killed) == (0, 0)
    assert leftovers() == []


def test_a_version_that_the_descriptor_is_not_about_is_refused():
    text = GOOD + '\n[version]\ncommand = ["{python}", "-c", "print(\'8.8.0\')"]\naccepts = ">=9.2"\n'
    with pytest.raises(TargetUnusable, match=r"found version 8\.8\.0, but its descriptor is about >=9\.2"):
        detect_version(make(text))


def test_a_version_command_that_fails_shows_why():
    text = GOOD + '\n[version]\ncommand = ["{python}", "-c", "import no_such_module"]\n'
    with pytest.raises(TargetUnusable, match=r"is it installed.*No module named 'no_such_module'"):
        detect_version(make(text))
