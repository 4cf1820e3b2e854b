"""What a run finds is written into a descriptor as unreviewed, and nothing else of the file changes."""

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
