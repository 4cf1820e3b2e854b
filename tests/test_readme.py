"""What the README shows is what the kit does."""

import re
import subprocess
from pathlib import Path

import pytest

from conformance import results
from conformance.catalogue import concerned
from conformance.cli import COMMANDS
from conformance.report.console import HEADS
from protocol.requirements import FAMILIES, get

CHECKOUT = Path(__file__).parent.parent
README = (CHECKOUT / "README.md").read_text(encoding="utf-8")


def block(name: str) -> str:
    found = re.search(rf"<!-- {name} -->\n```\w+\n(.*?)```", README, re.DOTALL)
    assert found, name
    return found[1]


@pytest.mark.parametrize("name", ["main-command", "test-command"])
def test_each_of_the_two_commands_sets_up_everything(name: str) -> None:
    command = block(name).strip()
    assert "\n" not in command
    assert command.startswith("python3 -m venv .venv && .venv/bin/pip install -e ")


def test_the_gate_runs_the_test_command() -> None:
    script = (CHECKOUT / ".ci" / "run").read_text(encoding="utf-8")
    assert "readme_command test-command" in script
    function = next(line for line in script.splitlines() if line.startswith("readme_command()"))
    done = subprocess.run(
        ["bash", "-c", f"{function}; readme_command test-command"],
        cwd=CHECKOUT, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert done.stdout.strip() == block("test-command").strip()


def test_every_command_named_exists() -> None:
    shell = "".join(re.findall(r"```sh\n(.*?)```", README, re.DOTALL))
    named = set(re.findall(r"`ippkit ([a-z-]+)", README)) | set(re.findall(r"^ippkit ([a-z-]+)", shell, re.MULTILINE))
    assert named
    assert named <= COMMANDS.keys()


def test_the_sample_has_todays_table() -> None:
    lines = block("sample").splitlines()
    head = next(line for line in lines if line.startswith("family"))
    columns = [HEADS.get(column, column) for column in results.COLUMNS if column not in ("new", "kit error")]
    assert re.split(r" {2,}", head) == ["family", *columns]
    shown = [line.split()[0] for line in lines if line.split()[0] in FAMILIES]
    assert shown == [family for family in FAMILIES if family in {each.family for each in concerned(["controller"])}]


def test_the_sample_violation_shows_a_requirement_as_it_reads_today() -> None:
    lines = block("sample-violation").splitlines()
    level, slug = next(line.split() for line in lines if line.startswith("MUST "))
    requirement = get(slug)
    assert level == requirement.level
    assert f"  {requirement.text}" in lines
    assert f"  basis: {requirement.basis}; source: {'; '.join(requirement.source)}" in lines


def test_the_exit_statuses_are_those_of_the_code() -> None:
    shown = {int(number) for number in re.findall(r"^\| (\d) \|", README, re.MULTILINE)}
    assert shown == {
        results.CONFORMS, results.VIOLATIONS, results.UNUSABLE, results.USAGE, results.NOTHING_SELECTED,
        results.UNDECIDED,
    }  # fmt: skip
