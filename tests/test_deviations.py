"""What a run finds is written into a descriptor as unreviewed, and nothing else of the file changes."""

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from test_descriptors import GOOD

from conformance import deviations
from conformance import results as book
from conformance.harness.verdict import Result, Verdict
from conformance.targets import DescriptorError, Target, load

SLUG = "registration.duplicate-uuid-refused"


def result(verdict: Verdict, case: str = "test_a.py::test_x", *, slug: str = SLUG, found: str = "an ok") -> Result:
    return Result(slug, case, "mine", verdict, summary=found)


@pytest.fixture
def target(tmp_path: Path) -> Target:
    (tmp_path / "mine.toml").write_text(GOOD)
    return load(tmp_path / "mine.toml")


def test_new_violations_are_written_as_unreviewed_and_still_fail(target: Target) -> None:
    found = [result("failed"), result("failed"), result("warned", "test_a.py::test_y"), result("passed"),
             result("failed", "the end of the run", found='said "\x7f\n\\"')]  # fmt: skip
    assert deviations.update(found, target, "1.9") == 3
    assert Path(target.file).read_text().startswith(GOOD)
    again = load(target.file)
    first, second, third = again.deviations[-3:]
    assert (first.slug, first.case, first.versions, first.unreviewed) == (SLUG, "test_x", "==1.9", True)
    assert (second.case, third.case, third.evidence) == ("test_y", "*", 'said "\x7f\n\\"')
    assert book.excuse(found[0], again, "1.9").verdict == "failed"
    assert deviations.update(found, again, "1.9") == 0


def test_what_a_rule_saw_in_many_cases_is_one_entry_for_all(target: Target) -> None:
    found = [replace(result("warned", f"test_a.py::test_{number}"), by_rule=True) for number in range(9)]
    assert deviations.update(found, target, "1.9") == 1
    again = load(target.file)
    assert again.deviations[-1].case == "*"
    assert deviations.update(found, again, "1.9") == 0


def test_what_is_listed_or_fine_or_somebody_elses_is_not_written(target: Target) -> None:
    listed = result("failed", slug="wire.delimiter-present")
    other = Result(SLUG, "test_a.py::test_x", "another", "failed")
    assert deviations.update([result("known"), listed, other, result("undecided")], target, "1.9") == 0
    assert Path(target.file).read_text() == GOOD


def test_a_file_that_would_be_broken_is_left_alone(target: Target) -> None:
    Path(target.file).write_text(GOOD.replace("[[deviation]]", "[other]"))
    with pytest.raises(DescriptorError, match="the new deviations do not fit the file"):
        deviations.update([result("failed")], target, None)
    assert SLUG not in Path(target.file).read_text()


def test_the_suite_writes_what_it_found_into_the_file_that_it_was_given(tmp_path: Path) -> None:
    hub = Path(__file__).parent / "broken_hub.py"
    path = tmp_path / "mine.toml"
    words = (
        '"-c", "pass", "--period={heartbeat_period_ms}", "{client_file}"',
        f'"{hub}", "{{dir}}", "forgets-parents"',
    )
    text = GOOD.replace(*words)
    text = text.replace("_ms = 200", "_ms = 50\nallowed_misses = 8\nreply_deadline_s = 1.5")
    path.write_text(text)
    command = [sys.executable, "-m", "pytest", "--pyargs", "conformance", "-p", "no:cacheprovider", "--target"]
    command += [str(path), "--requirement", "wire.reply-parent", "--update-deviations"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=100, check=False)
    assert done.returncode == 1, done.stdout + done.stderr
    assert f"added to {path}; each still fails until somebody gives the reason" in done.stdout
    assert {"wire.reply-parent", "query.hub-error-names-request"} <= {each.slug for each in load(path).deviations}
