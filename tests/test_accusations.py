"""The suite accuses a hub of exactly what it does wrong, and a hub without that fault of nothing."""

import subprocess
import sys
from pathlib import Path

import pytest

HUB = Path(__file__).parent / "broken_hub.py"

#: Fault -> the requirement that must be broken. The same requirements must pass without the fault.
FAULTS = {
    "accepts-namesakes": "registration.duplicate-uuid-refused",
    "repeats-ids": "registration.id-unique",
    "announces-twice": "notification.registration-once",
    "ignores-unknown-types": "query.unknown-type-hub-error",
    "forgets-parents": "wire.reply-parent",
    "answers-replays": "wire.replay-refused",
    "signs-wrongly": "wire.signature-verified",
    "names-no-task-scheme": "connection.client-file-keys",
    "names-no-signature-scheme": "connection.engine-file-keys",
}
#: Of what a rule accuses the hub before the case can ask for what it is about.
ACCUSED = {"signs-wrongly": "wire.signature-sent"}


def judge(directory: Path, fault: str, *requirements: str, patience: int = 110) -> subprocess.CompletedProcess[str]:
    descriptor = directory / "demo.toml"
    command = f'["{{python}}", "{HUB}", "{{dir}}", "{fault}"]'
    descriptor.write_text(
        f"""
name = "demo"
dialect = "ipyparallel-9"
roles = ["controller"]
[controller]
command = {command}
client_file = "{{dir}}/client.json"
engine_file = "{{dir}}/engine.json"
[timing]
heartbeat_period_ms = 50
allowed_misses = 8
registration_timeout_s = 3
reply_deadline_s = 1.5
start_deadline_s = 60.0
""",
        encoding="utf-8",
    )
    selected = [word for slug in requirements for word in ("--requirement", slug)]
    command_line = [sys.executable, "-m", "pytest", "--pyargs", "conformance", "-p", "no:cacheprovider", "--target",
                    str(descriptor), *selected]  # fmt: skip
    return subprocess.run(command_line, cwd=directory, capture_output=True, text=True, timeout=patience, check=False)


#: The families of what every hub has to do, whatever its features.
CORE = ("wire", "connection", "registration", "heartbeat", "notification", "query")


@pytest.mark.timeout(400)
def test_a_hub_without_fault_is_accused_of_nothing_by_the_whole_suite(tmp_path: Path) -> None:
    done = judge(tmp_path, "none", *(f"{family}.*" for family in CORE), patience=390)
    # A busy machine may hold the kit up, so that a case is undecided (6): that accuses nobody.
    assert done.returncode in (0, 6), done.stdout + done.stderr
    assert "0 violated" in done.stdout
    rows = [line.split() for line in done.stdout.splitlines()]
    passed = {row[0]: row[1] for row in rows if len(row) == 9 and row[0] in CORE}
    assert all(passed[family].isdecimal() for family in CORE), passed


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_is_found_under_its_name(tmp_path: Path, fault: str) -> None:
    done = judge(tmp_path, fault, FAULTS[fault])
    assert done.returncode == 1, done.stdout + done.stderr
    assert f"MUST {ACCUSED.get(fault, FAULTS[fault])}" in done.stdout


def test_a_hub_that_dies_of_a_message_is_shown_with_its_last_words(tmp_path: Path) -> None:
    done = judge(tmp_path, "dies-of-garbage", "wire.replay-refused")
    assert done.returncode == 1, done.stdout + done.stderr
    assert "could not read a message" in done.stdout
