"""The commands of the reference: what they print, and their exit status."""

import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from reference_cluster import PATIENCE, Cluster, cluster, run

pytestmark = pytest.mark.skipif(not Path("/proc/self/comm").exists(), reason="the processes are looked up in /proc")

IPPKIT = (sys.executable, "-c", "from conformance.cli import main; main()")


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """A cluster with two engines."""
    with cluster(tmp_path_factory.mktemp("cluster"), engines=2) as made, made.client() as client:
        client.wait_for_engines(2)
        yield made


def ippkit(*arguments: str) -> tuple[int, str, str]:
    done = subprocess.run([*IPPKIT, *arguments], capture_output=True, text=True, timeout=PATIENCE, check=False)
    return done.returncode, done.stdout, done.stderr


@pytest.mark.parametrize(
    ("arguments", "printed"),
    [
        (("math.gcd", "12", "18"), "6\n"),
        (("--engine", "1", "builtins.sorted", "[3, 1, 2]"), "[1, 2, 3]\n"),
        (("--all", "str.upper", "text"), "'TEXT'\n'TEXT'\n"),
        (("--retries", "2", "len", '"four"'), "4\n"),
        (("--code", "print('shown')\n1 + 1"), "shown\n2\n"),
    ],
)
def test_a_call_prints_what_it_returns(shared: Cluster, arguments: tuple[str, ...], printed: str) -> None:
    assert ippkit("submit", "--dir", str(shared.directory), *arguments) == (0, printed, "")


def test_a_connection_file_may_be_named_instead_of_a_directory(shared: Cluster) -> None:
    assert ippkit("submit", "--file", str(shared.client_file), "math.gcd", "4", "6")[:2] == (0, "2\n")


def test_an_error_of_the_call_is_shown_and_is_status_1(shared: Cluster) -> None:
    status, printed, errors = ippkit("submit", "--dir", str(shared.directory), "math.sqrt", "--", "-1")
    assert (status, printed) == (1, "")
    assert "ValueError" in errors


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (("submit", "math.gcd"), "--dir or --file"),
        (("submit", "--dir", ".", "--file", "x", "math.gcd"), "--dir or --file"),
        (("submit", "--dir", "."), "--code"),
        (("submit", "--dir", ".", "--code", "1", "math.gcd"), "--code"),
        (("submit", "--dir", ".", "--all", "--engine", "1", "math.gcd"), "--all"),
        (("submit", "--dir", ".", "no.such.function"), "no.such.function"),
        (("submit", "--dir", ".", "math.pi"), "cannot be called"),
        (("engine",), "--dir or --file"),
        (("controller",), "--dir"),
        (("controller", "--dir", ".", "--scheme", "best"), "--scheme"),
        (("controller", "--dir", ".", "--broadcast-depth", "9"), "--broadcast-depth"),
        (("controller", "--dir", ".", "--registration-timeout", "inf"), "--registration-timeout"),
        (("controller", "--dir", ".", "--scheduler-grace", "nan"), "--scheduler-grace"),
        (("controller", "--dir", ".", "--transport", "ipc", "--ip", "127.0.0.2"), "--ip"),
        (("submit", "--dir", ".", "--timeout", "1e300", "math.gcd"), "--timeout"),
        (("engine", "--dir", ".", "--timeout", "nan"), "--timeout"),
        (("engine", "--dir", ".", "--uuid", "grün"), "--uuid"),
        (("engine", "--dir", ".", "--uuid", 256 * "x"), "--uuid"),
    ],
)
def test_wrong_usage_is_one_sentence_and_status_4(arguments: tuple[str, ...], named: str) -> None:
    status, printed, errors = ippkit(*arguments)
    assert (status, printed) == (4, "")
    assert named in errors
    assert errors.count("\n") == 1


def test_no_controller_is_one_sentence_and_status_3(tmp_path: Path) -> None:
    status, _, errors = ippkit("submit", "--dir", str(tmp_path), "math.gcd", "4", "6")
    assert status == 3
    assert errors.count("\n") == 1
    assert "is the controller running" in errors


def test_without_engines_a_call_says_so(tmp_path: Path) -> None:
    with cluster(tmp_path):
        status, printed, errors = ippkit("submit", "--dir", str(tmp_path), "--timeout", "0.5", "math.gcd", "4", "6")
    assert (status, printed, errors) == (3, "", "ippkit: no engine is there after 0.5 s\n")


def test_an_engine_does_not_wait_for_a_file_that_is_there_and_wrong(tmp_path: Path) -> None:
    with cluster(tmp_path) as made:
        status, _, errors = ippkit("engine", "--file", str(made.client_file))
    assert status == 3
    assert errors.count("\n") == 1
    assert "hb_ping" in errors


def test_nobody_there_is_silence_in_words(shared: Cluster) -> None:
    status, _, errors = ippkit(
        "submit", "--dir", str(shared.directory), "--timeout", "0.5", "--code", "import time; time.sleep(60)"
    )
    assert status == 3
    assert "no reply within 0.5 s from the task scheduler to " in errors
    with shared.client() as client:
        for engine in client.engines:
            client.control("signal_request", {"sig": "SIGINT"}, engine=engine).get(PATIENCE)


def test_an_engine_that_nobody_registers_says_so(shared: Cluster) -> None:
    with shared.client() as client:
        taken = client.engines[0]
    status, _, errors = ippkit("engine", "--dir", str(shared.directory), "--uuid", taken)
    assert status == 255
    assert "refused to register it" in errors
    assert errors.count("\n") == 1


def test_the_guide_to_calls_from_python_works(shared: Cluster, tmp_path: Path) -> None:
    guide = (Path(__file__).parents[1] / "docs" / "reference-implementation.md").read_text("utf-8")
    (code,) = [block for block in re.findall(r"```python\n(.*?)```", guide, re.S) if "Client.from_dir" in block]
    (tmp_path / "cluster").symlink_to(shared.directory)
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, timeout=PATIENCE)
    assert (done.returncode, done.stderr) == (0, "")
    lines = done.stdout.splitlines()
    assert lines[2] == "2"
    assert lines[4:7] == ["2", "hello", ""]
    assert lines[7].startswith("ValueError")
    assert "'unassigned': 0" in lines[8]


def test_a_controller_says_when_it_is_ready_and_listens_on_every_interface(tmp_path: Path) -> None:
    controller = run(*IPPKIT, "controller", "--dir", str(tmp_path), "--ip", "0.0.0.0", "--ping", "100")
    try:
        assert controller.stdout is not None
        assert str(tmp_path) in controller.stdout.readline()
        engine = run(*IPPKIT, "engine", "--dir", str(tmp_path))
        assert ippkit("submit", "--dir", str(tmp_path), "math.gcd", "4", "6") == (0, "2\n", "")
        engine.send_signal(signal.SIGINT)
        assert engine.wait(PATIENCE) == 0
        engine.communicate()
    finally:
        controller.terminate()
        controller.communicate(timeout=PATIENCE)
    assert controller.returncode == 0
