"""Descriptors, version rules, and processes that must never be left behind."""

import os
import re
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import msgspec
import pytest

from conformance.harness.pump import Pump
from conformance.targets import DescriptorError, Target, TargetUnusable, command, load, process, versions
from conformance.targets.checking import expand
from conformance.targets.command import Process, environment
from conformance.targets.descriptor import known, parse
from conformance.targets.process import detect_version, start, start_client
from conformance.targets.vocabulary import FEATURES
from protocol.connection import ClientFile
from protocol.wire import Codec
from protocol.world import MILLISECOND, SECOND

GOOD = """
name = "mine"
dialect = "ipyparallel-9"
roles = ["controller"]
features = ["db", "history"]

[controller]
command = ["{python}", "-c", "pass", "--period={heartbeat_period_ms}", "{client_file}"]
client_file = "{dir}/client.json"
engine_file = "{dir}/engine.json"
environment = { WHERE = "{dir}" }

[controller.settings]
hwm = 2

[controller.options]
scheme = ["--scheme", "{scheme}", "--period={heartbeat_period_ms}"]

[timing]
heartbeat_period_ms = 200

[[deviation]]
slug = "wire.delimiter-present"
case = "test_*"
versions = "<2"
evidence = "sent this, received that"
reason = "argued here"
"""


def make(text: str = GOOD, path: Path = Path("mine.toml")) -> Target:
    return parse(text.encode(), path)


# -- descriptors -----------------------------------------------------------------------------------------------------


def test_a_descriptor_is_read_with_its_defaults():
    target = make()
    assert target.name == "mine"
    assert target.features == ("db", "history")
    assert target.controller is not None
    assert target.controller.ready == "answers"
    assert target.timing.heartbeat_period == 200 * MILLISECOND
    assert target.timing.reply_deadline == 10 * SECOND
    assert target.timing.heart_failure == (11 * 200 * MILLISECOND, 12 * 200 * MILLISECOND)
    assert target.deviations[0].slug == "wire.delimiter-present"
    assert target.file.endswith("mine.toml")


def test_placeholders_are_filled_in():
    target = make()
    values = target.placeholders(Path("/somewhere"), "controller")
    assert values["client_file"] == "/somewhere/client.json"
    assert expand("--period={heartbeat_period_ms}", values) == "--period=200"
    assert expand("{{x}} {here}", values) == "{x} " + str(Path("mine.toml").resolve().parent)


def test_what_a_case_asks_for_is_put_behind_the_command():
    arguments = make().arguments({"scheme": "lru"}, Path("/somewhere"))
    assert arguments == ["--scheme", "lru", "--period=200"]
    assert make().arguments({}, Path("/somewhere")) == []


@pytest.mark.parametrize(
    ("before", "after", "sentence"),
    [
        ("heartbeat_period_ms = ", "heartbeat_perid_ms = ", "unknown key 'timing.heartbeat_perid_ms', did you mean"),
        ("[timing]", "[timng]", "unknown table 'timng', did you mean 'timing'?"),
        ("evidence", "evidense", "unknown key 'deviation[0].evidense', did you mean 'evidence'?"),
        ("name =", "file =", "unknown key 'file'; allowed here: name, "),
        ('"db"', '"dB"', "features: unknown value 'dB', did you mean 'db'?"),
        ('"controller"]', '"controler"]', "roles: unknown value 'controler', did you mean 'controller'?"),
        ('["controller"]', "[]", "roles: names no role; allowed: controller, engine, client, kernel"),
        ('["controller"]', '["controller", "engine"]', "roles: the role 'engine' needs a table [engine]"),
        ('"db"', '"watch"', "features: unknown value 'watch'"),
        ("[timing]", "[engine]\ncommand = ['x']\n[timing]", "there is a table [engine], but 'engine' is not among the"),
        (
            "[timing]",
            "[samples]\nprint = '{text}'\n[timing]",
            "samples: are code for an engine or a kernel, and",
        ),
        ("ipyparallel-9", "ipyparalel-9", "dialect: unknown value 'ipyparalel-9', did you mean 'ipyparallel-9'?"),
        ("= 200", '= "200"', "timing.heartbeat_period_ms: expected `int`, got `str`"),
        ("= 200", "= 0", "timing.heartbeat_period_ms: expected a positive number, found 0"),
        ("{client_file}", "{client_fil}", "controller.command: unknown placeholder {client_fil}, did you mean 'cl"),
        ('WHERE = "{dir}"', 'WHERE = "{dri}"', "controller.environment.WHERE: unknown placeholder {dri}, did you"),
        ("{dir}/client", "{client_file}/client", "controller.client_file: unknown placeholder {client_file}"),
        ("hwm = 2", "hmw = 2", "unknown key 'controller.settings.hmw', did you mean 'hwm'?"),
        ("hwm = 2", "hwm = -2", "controller.settings.hwm: expected `int` >= 0"),
        ("hwm = 2", 'scheme = "lur"', "controller.settings.scheme: unknown value 'lur', did you mean 'lru'?"),
        ('scheme = ["', 'sheme = ["', "controller.options: unknown value 'sheme', did you mean 'scheme'?"),
        ('"{scheme}"', '"{hwm}"', "controller.options.scheme: unknown placeholder {hwm}"),
        ("wire.delimiter-present", "wire.delimiter-presnt", "did you mean 'wire.delimiter-present'?"),
        ('"<2"', '"~2"', "deviation[0].versions: '~2' is no comparison"),
        ('"argued here"', '" "', "deviation[0].reason: is empty"),
        ("[controller]", "[controller", "is not TOML"),
        ('name = "mine"', "", "object missing required field `name`"),
        ('client_file = "{dir}/client.json"', "", "controller: object missing required field `client_file`"),
    ],
)
def test_a_mistake_is_named_in_one_sentence(before: str, after: str, sentence: str):
    assert before in GOOD
    with pytest.raises(DescriptorError) as caught:
        make(GOOD.replace(before, after, 1))
    assert str(caught.value).startswith("mine.toml: ")
    assert sentence in str(caught.value)
    assert "\n" not in str(caught.value)


ENGINE = """
name = "mine"
dialect = "ipyparallel-9"
roles = ["engine"]
features = ["output"]

[engine]
command = ["my-engine", "--file={engine_file}", "--max-misses={engine_misses}"]

[samples]
print = "console.log(`{text}`); if (true) { }"
sleep = "sleep({seconds})"
"""


def test_an_engine_needs_no_controller_and_is_told_its_file():
    target = make(ENGINE)
    assert target.controller is None
    values = target.placeholders(Path("/somewhere"), "engine")
    assert values["engine_file"] == "/somewhere/ipcontroller-engine.json"
    assert "client_file" not in values
    assert target.samples.print == "console.log(`{text}`); if (true) { }"


@pytest.mark.parametrize(
    ("before", "after", "sentence"),
    [
        ('roles = ["engine"]', 'roles = ["controller"]', "the role 'controller' needs a table [controller]"),
        ("{engine_file}", "{client_file}", "engine.command: unknown placeholder {client_file}"),
        ("{engine_misses}", "{engine_mises}", "engine.command: unknown placeholder {engine_mises}, did you mean"),
        ("print =", "prnt =", "unknown key 'samples.prnt', did you mean 'print'?"),
        ("`{text}`", "`text`", "samples.print: lacks {text}, in whose place the kit writes its own"),
        ('"output"', '"mux"', "features: unknown value 'mux'"),
        ('command = ["my-engine", "--file={engine_file}", "--max-misses={engine_misses}"]', "command = []", "is empty"),
    ],
)
def test_a_mistake_about_an_engine_is_named_in_one_sentence(before: str, after: str, sentence: str):
    assert before in ENGINE
    with pytest.raises(DescriptorError) as caught:
        make(ENGINE.replace(before, after, 1))
    assert sentence in str(caught.value)
    assert "\n" not in str(caught.value)


CLIENT = """
name = "mine"
dialect = "ipyparallel-9"
roles = ["client", "kernel"]
features = ["apply", "stdin"]

[client]
command = ["{python}", "-c", "while True: print(input()[::-1], flush=True)", "{client_file}"]

[kernel]
command = ["my-kernel", "-f", "{kernel_file}"]

[samples]
print = "console.log(`{text}`)"
"""


def test_clients_and_kernels_are_told_their_files():
    target = make(CLIENT)
    assert target.placeholders(Path("/x"), "client")["client_file"] == "/x/ipcontroller-client.json"
    assert target.placeholders(Path("/x"), "kernel")["kernel_file"] == "/x/kernel.json"
    assert "kernel_file" not in target.placeholders(Path("/x"), "client")


@pytest.mark.parametrize(
    ("before", "after", "sentence"),
    [
        ("[kernel]", "[engine]", "roles: there is a table [engine], but 'engine' is not among the roles"),
        ("{kernel_file}", "{client_file}", "kernel.command: unknown placeholder {client_file}, did you mean"),
        ('"stdin"', '"output"', "features: unknown value 'output'"),
        ('"client", "kernel"', '"client", "kernl"', "roles: unknown value 'kernl', did you mean 'kernel'?"),
    ],
)
def test_a_mistake_about_a_client_or_a_kernel_is_named_in_one_sentence(before: str, after: str, sentence: str):
    assert before in CLIENT
    with pytest.raises(DescriptorError) as caught:
        make(CLIENT.replace(before, after, 1))
    assert sentence in str(caught.value)
    assert "\n" not in str(caught.value)


def test_text_that_is_not_utf_8_is_refused():
    with pytest.raises(DescriptorError, match="is not UTF-8 text"):
        parse(b"name = '\xff'", Path("mine.toml"))


def test_an_unknown_name_lists_the_known_ones():
    with pytest.raises(DescriptorError, match=r"no target 'ipyparalel', did you mean 'ipyparallel'\?; known targets: "):
        load("ipyparalel")


def test_a_missing_file_is_one_sentence(tmp_path: Path):
    with pytest.raises(DescriptorError, match=r"absent\.toml: cannot be read: No such file"):
        load(tmp_path / "absent.toml")


def test_a_descriptor_may_live_anywhere(tmp_path: Path):
    (tmp_path / "mine.toml").write_text(GOOD)
    assert load(str(tmp_path / "mine.toml")).name == "mine"


@pytest.mark.parametrize("name", known())
def test_every_shipped_descriptor_is_right(name: str):
    target = load(name)
    assert target.name == name
    assert not [deviation for deviation in target.deviations if deviation.unreviewed]
    assert set(target.features) <= {name for role in target.roles for name in FEATURES[role]}


def test_wrong_usage_and_an_unusable_target_have_their_own_exit_status():
    assert (DescriptorError.exit_status, TargetUnusable.exit_status) == (4, 3)


# -- versions and deviations -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("rule", "version", "expected"),
    [
        (">=9.2,<10", "9.2.0", True),
        (">=9.2,<10", "9.10", True),
        (">=9.2,<10", "9.1.9", False),
        (">=9.2,<10", "10.0", False),
        ("==9.2", "9.2.0", True),
        ("!=9.2", "9.2.0", False),
        ("<9.3", "9.3.0.dev1", False),
        (">=2.1.4", "2.1.11", True),
        ("", "anything is 1", None),
        ("", "1", True),
    ],
)
def test_versions_are_compared_as_numbers(rule: str, version: str, expected: bool | None):
    if expected is None:
        with pytest.raises(ValueError, match="does not begin with numbers"):
            versions.accepts(rule, version)
    else:
        assert versions.accepts(rule, version) is expected


@pytest.mark.parametrize(
    ("slug", "case", "version", "covered"),
    [
        ("wire.delimiter-present", "conformance/test_wire.py::test_x", "1.9", True),
        ("wire.delimiter-present", "conformance/test_wire.py::test_x[mine-a]", "1.9", True),
        ("wire.delimiter-present", "conformance/test_wire.py::other", "1.9", False),
        ("wire.delimiter-present", "conformance/test_wire.py::test_x", "2.0", False),
        ("wire.delimiter-present", "conformance/test_wire.py::test_x", None, False),
        ("wire.replay-refused", "conformance/test_wire.py::test_x", "1.9", False),
    ],
)
def test_a_deviation_covers_its_slug_its_cases_and_its_versions(slug, case, version, covered):
    target = make()
    assert (target.deviation(slug, case, version) is not None) is covered


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
    with pytest.raises(TargetUnusable, match=r"not ready after 1 s: nothing at tcp://127\.0\.0\.1:20000 answers"):
        start(script(code, deadline=1.0, ready="answers"))


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
