"""The ladder, the doctor, and the descriptor to start from."""

import subprocess
import sys
import tomllib
from pathlib import Path
from typing import get_args

import click
import pytest
from jsonschema import Draft202012Validator
from test_smoke import hub

from conformance.catalogue import cases
from conformance.cli import main
from conformance.cli.venv import lend_driver, pinned
from conformance.climb import Step, _Climber, first_unmet
from conformance.doctor import STEPS, examine
from conformance.harness.verdict import Result, Verdict
from conformance.ladder import LADDERS, Rung
from conformance.targets import DescriptorError, load
from conformance.targets.descriptor import parse
from conformance.targets.schema import descriptor_schema
from conformance.targets.template import descriptor
from conformance.targets.vocabulary import Role
from protocol.requirements import get

ROLES = get_args(Role)


# -- the ladder ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("role", ROLES)
def test_every_rung_stands_on_requirements_that_cases_judge(role: Role) -> None:
    judged = cases(role)
    for rung in LADDERS[role]:
        assert all(get(slug) for slug in rung.slugs)
        assert not judged or set(rung.slugs) <= judged.keys(), rung
    assert len({rung.title for rung in LADDERS[role]}) == len(LADDERS[role])


def step(*verdicts: Verdict) -> Step:
    found = [Result("wire.reply-parent", "test_a.py::test_x", "demo", each, summary=each) for each in verdicts]
    return Step("engine", 1, Rung("a step", ("wire.reply-parent",)), len(found), found)


@pytest.mark.parametrize(
    ("verdicts", "unmet"),
    [
        (["passed", "known", "warned", "observed", "new"], None),
        (["passed", "not applicable"], None),
        (["blocked", "failed", "undecided"], "failed"),
        (["passed", "undecided"], "undecided"),
        (["blocked", "kit error"], "kit error"),
    ],
)
def test_a_rung_is_met_unless_something_speaks_against_it(verdicts: list[Verdict], unmet: Verdict | None) -> None:
    found = step(*verdicts).unmet
    assert (found.verdict if found else None) == unmet


def rung(number: int, slug: str, verdict: Verdict, blocked_by: str = "") -> Step:
    found = [Result(slug, "test_a.py::test_x", "demo", verdict, blocked_by=blocked_by)]
    return Step("engine", number, Rung(slug, (slug,)), 1, found)


def test_a_step_that_only_waits_for_a_later_one_is_not_the_one_that_is_missing() -> None:
    waits = rung(1, "wire.reply-parent", "blocked", "wire.reply-type")
    lacks = rung(2, "wire.reply-type", "failed")
    climber = _Climber([waits, lacks], lambda _: None)
    assert [climber._ends_at(each) for each in (waits, lacks)] == [False, True]
    assert first_unmet([waits, lacks]) is lacks
    # Nobody above it could accuse.
    below = rung(3, "wire.delimiter-present", "blocked", "wire.reply-type")
    assert _Climber([lacks, below], lambda _: None)._ends_at(below)
    assert first_unmet([rung(1, "wire.reply-parent", "passed"), below, waits]) is below


def test_what_is_left_out_says_why() -> None:
    assert step("not applicable", "not applicable").left_out == "not applicable"
    assert step("not applicable", "passed").left_out == ""
    assert step().left_out == "no case of it can be tried on this target"


def test_a_step_without_a_case_is_told_in_its_place(tmp_path: Path) -> None:
    done = command(tmp_path, "next", "simulated-engine")
    assert done.returncode == 0, done.stdout + done.stderr
    *told, _ = done.stdout.splitlines()
    assert [int(line.split()[0]) for line in told] == [*range(1, len(LADDERS["engine"]) + 1)]


def command(directory: Path, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", "from conformance.cli import main; main()", *words],
        cwd=directory, capture_output=True, text=True, timeout=100, check=False,
    )  # fmt: skip


def test_one_missing_thing_is_one_message(tmp_path: Path) -> None:
    (tmp_path / "mine.toml").write_text(HEARTLESS)
    done = command(tmp_path, "next", "./mine.toml")
    assert done.returncode == 1, done.stdout + done.stderr
    assert " 1  it registers, and its heart beats: NOT YET\n" in done.stdout
    assert done.stdout.count("MUST heart-device.") == 1
    assert "Blocked by heart-device." in done.stdout
    assert "the next: it is everywhere who it says it is." in done.stdout


HEARTLESS = f"""
name = "mine"
dialect = "ipyparallel-9"
roles = ["engine"]
[engine]
command = ["{{python}}", "{Path(__file__).parent / "broken_engine.py"}", "{{engine_file}}", "heart-of-another"]
[timing]
heartbeat_period_ms = 100
engine_timeout_s = 2.0
reply_deadline_s = 1.5
"""


# -- the doctor ------------------------------------------------------------------------------------------------------


def test_the_doctor_tells_what_is_seen_until_something_is_wrong() -> None:
    seen = list(examine(hub("none")))
    assert [each.title for each in seen] == [
        "descriptor", "starts as controller", "the Hub", "its heart monitor", "an engine", "a nonsense_request", "ends",
    ]  # fmt: skip
    assert all(each.is_well for each in seen)
    *_, last = examine(hub("grants-everything"))
    assert (last.title, last.is_well, last.is_unusable) == ("a nonsense_request", False, True)


def test_the_doctor_says_what_cannot_be_started(tmp_path: Path) -> None:
    (tmp_path / "mine.toml").write_text(descriptor("mine", ["engine"]))
    *_, last = examine(load(tmp_path / "mine.toml"))
    assert (last.title, last.is_unusable) == ("starts as engine", True)
    assert "could not be started: my-engine: No such file or directory" in last.text


def test_the_doctor_knows_every_role_that_can_be_judged() -> None:
    assert set(STEPS) == {role for role in ROLES if cases(role)}


def test_a_driver_that_cannot_be_started_is_told_as_that(tmp_path: Path) -> None:
    (tmp_path / "mine.toml").write_text(descriptor("mine", ["client"]))
    done = command(tmp_path, "next", "./mine.toml")
    assert done.returncode == 3, done.stdout + done.stderr
    assert "could not be started: my-driver: No such file or directory" in done.stdout


# -- the descriptor to start from ------------------------------------------------------------------------------------


@pytest.mark.parametrize("roles", [*([role] for role in ROLES), ["controller", "engine"], list(ROLES)], ids="-".join)
def test_what_is_written_is_a_descriptor(roles: list[Role]) -> None:
    text = descriptor("mine", roles)
    target = parse(text.encode(), Path("mine.toml"))
    assert (target.name, list(target.roles)) == ("mine", roles)
    assert set(target.profile) == {f"{role}-core" for role in roles}
    assert not list(Draft202012Validator(descriptor_schema()).iter_errors(tomllib.loads(text)))
    # Every line of it that is commented out may be taken in.
    for line in text.splitlines():
        if line.startswith("    # "):
            parse(text.replace(line, line.replace("# ", "", 1), 1).encode(), Path("mine.toml"))


def test_a_descriptor_is_written_once(tmp_path: Path) -> None:
    path = str(tmp_path / "mine.toml")
    assert main.main(["new-target", "mine", "--role", "kernel", "--out", path], standalone_mode=False) is None
    before = Path(path).read_text()
    with pytest.raises(click.UsageError, match="is there already; it is not overwritten"):
        main.main(["new-target", "mine", "--role", "engine", "--out", path], standalone_mode=False)
    assert Path(path).read_text() == before


# -- other releases --------------------------------------------------------------------------------------------------


def test_older_releases_get_what_they_were_made_for() -> None:
    assert pinned("8.8.0") == ["ipyparallel==8.8.0", "ipykernel<7"]
    assert pinned("9.1") == ["ipyparallel==9.1"]


def test_the_driver_of_clients_is_found_behind_what_an_environment_has_itself(tmp_path: Path) -> None:
    packages = tmp_path / "lib" / "python3.x" / "site-packages"
    packages.mkdir(parents=True)
    lend_driver(tmp_path)
    lent = (packages / "ippkit.pth").read_text().splitlines()
    assert [*filter(None, ((Path(each) / "conformance" / "drivers" / "theirs.py").exists() for each in lent))] == [True]
    assert any((Path(each) / "msgspec").is_dir() for each in lent)


def test_a_target_can_be_given_another_interpreter(tmp_path: Path) -> None:
    other = tmp_path / "other"
    (other / "bin").mkdir(parents=True)
    (other / "bin" / "python").symlink_to(sys.executable)
    target = load(f"ipyparallel@{other}")
    assert target.name == "ipyparallel@other"
    assert target.placeholders(tmp_path)["python"] == str(other / "bin" / "python")
    assert load("ipyparallel").placeholders(tmp_path)["python"] == sys.executable
    with pytest.raises(DescriptorError, match=r"is no virtual environment: there is no bin/python"):
        load(f"ipyparallel@{tmp_path}")
