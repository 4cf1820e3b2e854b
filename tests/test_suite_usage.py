"""The suite as a command: wrong input gets one sentence and the fitting exit status, never a traceback."""

import subprocess
import sys
from pathlib import Path

import pytest

DESCRIPTOR = """
name = "demo"
dialect = "ipyparallel-9"
roles = ["controller"]
[controller]
command = ["{python}", "-c", "import sys; print('a last word'); sys.exit(7)"]
client_file = "{dir}/c.json"
engine_file = "{dir}/e.json"
"""


def run(directory: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "pytest", "--pyargs", "conformance", "-p", "no:cacheprovider", *arguments]
    return subprocess.run(command, cwd=directory, capture_output=True, text=True, timeout=100, check=False)


def write(directory: Path, text: str) -> str:
    path = directory / "demo.toml"
    path.write_text(text, encoding="utf-8")
    return str(path)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--target", "ipyparalell"], "did you mean 'ipyparallel'"),
        (["--target", "nowhere/demo.toml"], "cannot be read"),
        (["--requirement", "registration.duplicate-uuid-refusd"], "did you mean registration.duplicate-uuid-refused"),
    ],
)
def test_wrong_words_are_wrong_usage(tmp_path: Path, arguments: list[str], sentence: str) -> None:
    done = run(tmp_path, *arguments)
    assert done.returncode == 4
    assert sentence in done.stderr + done.stdout
    assert "Traceback" not in done.stderr + done.stdout


def test_a_typo_in_a_descriptor_is_wrong_usage(tmp_path: Path) -> None:
    done = run(tmp_path, "--target", write(tmp_path, DESCRIPTOR.replace("client_file", "cleint_file")))
    assert done.returncode == 4
    assert "did you mean 'client_file'" in done.stderr
    assert "Traceback" not in done.stderr


def test_nothing_selected(tmp_path: Path) -> None:
    assert run(tmp_path, "--target", "ipyparallel", "-k", "no_such_case").returncode == 5


def test_a_target_that_dies_is_a_kit_error_with_its_output(tmp_path: Path) -> None:
    done = run(tmp_path, "--target", write(tmp_path, DESCRIPTOR), "--requirement", "registration.*")
    assert done.returncode == 3
    assert "ended with status 7 before it was ready" in done.stdout
    assert "a last word" in done.stdout
    # One sentence for the target, not one failure for each case.
    assert done.stdout.count("a last word") <= 2
    assert "violated" not in done.stdout.replace("0 violated", "")
