"""The suite as a command: wrong input gets one sentence and the fitting exit status, never a traceback."""

import subprocess
import sys
from pathlib import Path

import pytest

from conformance.report.data import read

CHECKOUT = Path(__file__).parent.parent
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
        (
            ["--target", "reference", "--update-deviations"],
            "writes to a descriptor file, and reference is none",
        ),
        (["--requirement", "registration.duplicate-uuid-refusd"], "did you mean registration.duplicate-uuid-refused"),
        (["--report", "/dev/null/out"], "no report can be written to /dev/null/out: Not a directory"),
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


@pytest.mark.parametrize("arguments", [("-k", "no_such_case"), ("--requirement", "kernel.*")], ids=" ".join)
def test_nothing_selected(tmp_path: Path, arguments: tuple[str, str]) -> None:
    done = run(tmp_path, "--target", "ipyparallel", *arguments)
    assert done.returncode == 5
    assert "Nothing was judged." in done.stdout


def test_without_a_target_the_reference_is_judged(tmp_path: Path) -> None:
    done = run(tmp_path, "--requirement", "connection.client-file-keys", "--verbose")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "[reference]" in done.stdout


def test_two_targets_of_one_name_are_wrong_usage(tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    done = run(tmp_path, "--target", write(tmp_path, DESCRIPTOR), "--target", write(tmp_path / "other", DESCRIPTOR))
    assert done.returncode == 4
    assert "two targets have the name 'demo'" in done.stderr


@pytest.mark.parametrize("place", ["checkout", "elsewhere"])
def test_the_command_adds_no_noise_of_its_own(tmp_path: Path, place: str) -> None:
    # In a checkout a warning is an error, and the command has imported the kit before pytest looks at it.
    command = [sys.executable, "-c", "from conformance.cli import main; main()", "test"]
    done = subprocess.run(
        [*command, "-t", write(tmp_path, DESCRIPTOR), "--requirement", "registration.*"],
        cwd=CHECKOUT if place == "checkout" else tmp_path,
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert done.returncode == 3, done.stderr
    assert "a last word" in done.stdout
    assert "warning" not in done.stdout
    assert "Traceback" not in done.stderr + done.stdout


def test_a_target_that_dies_is_a_kit_error_with_its_output(tmp_path: Path) -> None:
    done = run(tmp_path, "--target", write(tmp_path, DESCRIPTOR), "--requirement", "registration.*")
    assert done.returncode == 3
    assert "ended with status 7 before it was ready: a last word" in done.stdout
    # One sentence for the target, not one failure for each case; then what the target printed. Below it pytest sums up,
    # in one line or, where CI is set, in full.
    report, _, _ = done.stdout.partition("short test summary info")
    assert report.count("a last word") == 2
    assert "violated" not in done.stdout.replace("0 violated", "")


def test_a_target_is_told_which_case_it_is_started_for(tmp_path: Path) -> None:
    text = DESCRIPTOR.replace("import sys; print('a last word')", "import os, sys; print(os.environ['IPPKIT_CASE'])")
    done = run(tmp_path, "--target", write(tmp_path, text), "--requirement", "registration.id-unique")
    assert "ended with status 7 before it was ready: registration.id-unique" in done.stdout


def test_a_report_is_written_with_a_page_for_a_violation_by_whichever_worker(tmp_path: Path) -> None:
    case = "test_a_purge_of_an_unknown_message_is_refused"
    done = run(tmp_path, "--target", "ipyparallel", "--strict", "--report", "out", "-n", "2", "-k", case)
    assert done.returncode == 1, done.stdout + done.stderr
    folder = tmp_path / "out"
    (page,) = (folder / "violations").iterdir()
    assert page.name == f"ipyparallel.query.purge-nonexistent-refused.{case}.html"
    assert f"page: {page.relative_to(tmp_path)}" in done.stdout
    shown = page.read_text(encoding="utf-8")
    assert "purge_reply" in shown
    assert "MUST query.purge-nonexistent-refused" in shown
    assert "allowed:  " in shown
    report = read(folder)
    (failed,) = [each for each in report.judgements if each.verdict == "failed"]
    assert folder / failed.page == page
    assert failed.seconds > 0
    assert report.command == f"ippkit test -t ipyparallel --strict -k {case}"
    assert (report.exit_status, report.is_complete) == (1, True)
    assert {path.name for path in folder.iterdir()} == {
        "index.html", "violations", "report.json", "junit.xml", "badge.json",
    }  # fmt: skip
