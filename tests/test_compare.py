"""`ippkit compare`: before and after, side by side, and what is no report."""

from pathlib import Path

import msgspec
import pytest
from click.testing import CliRunner, Result

from conformance.cli import main
from conformance.report.comparing import changes, columns, pairs
from conformance.report.data import Judged, Report

RANKS = ("failed", "warned", "known", "passed")


def report(*targets: Judged, kit: str = "1.0") -> Report:
    return Report(
        kit=kit, started="2026-01-01T00:00:00+00:00", seconds=1, command="ippkit test", exit_status=0, is_complete=True,
        targets=targets, requirements={}, judgements=(),
    )  # fmt: skip


def target(name: str = "mine", version: str | None = None, **verdicts: str) -> Judged:
    requirements = {slug.replace("_", "."): verdict.replace("_", " ") for slug, verdict in verdicts.items()}
    return Judged(
        name=name, version=version, dialect="d", roles=("controller",), verdicts={}, requirements=requirements
    )


def written(folder: Path, *reports: Report) -> list[str]:
    paths = []
    for number, each in enumerate(reports, 1):
        path = folder / f"{number}.json"
        path.write_bytes(msgspec.json.encode(each))
        paths.append(str(path))
    return paths


def compare(*arguments: str) -> Result:
    return CliRunner().invoke(main, ["compare", *arguments])


@pytest.mark.parametrize("old", [*RANKS, "not judged", "blocked"])
@pytest.mark.parametrize("new", [*RANKS, "not judged", "undecided"])
def test_a_change_is_better_worse_or_neither(old: str, new: str) -> None:
    (before, after) = columns([(Path("a"), report(target(a_b=old))), (Path("b"), report(target(a_b=new)))])
    found = changes(before, after)
    kinds = [name for name in ("better", "worse", "unjudged", "neither") if getattr(found, name)]
    if old == new:
        expected = []
    elif old in RANKS and new in RANKS:
        expected = ["better" if RANKS.index(new) > RANKS.index(old) else "worse"]
    elif new in RANKS:
        expected = ["better" if new == "passed" else "worse"]
    else:
        expected = ["unjudged" if old == "passed" else "neither"]
    assert kinds == expected


def test_what_is_no_longer_judged_is_told_and_no_failure(tmp_path: Path) -> None:
    before, after = report(target(version="1", a_b="passed")), report(target(version="2", a_b="blocked"))
    result = compare(*written(tmp_path, before, after))
    assert result.exit_code == 0
    assert "  no longer judged, 1:\n    a.b  passed -> blocked\n" in result.output


def test_before_and_after_are_told_and_what_got_worse_is_a_failure(tmp_path: Path) -> None:
    before = report(target(version="1", a_b="failed", c_d="passed", e_f="known", g_h="passed"))
    after = report(target(version="2", a_b="passed", c_d="failed", e_f="blocked", g_h="passed"), kit="1.1")
    result = compare(*written(tmp_path, before, after))
    assert result.exit_code == 1
    assert (
        "mine 1 -> mine 2\n  better, 1:\n    a.b  failed -> passed\n  worse, 1:\n    c.d  passed -> failed\n"
        in result.output
    )
    assert "  otherwise, 1:\n    e.f  known -> blocked\n" in result.output
    assert "These were judged by different kits, 1.0, 1.1" in result.output
    assert "g.h" not in result.output
    assert compare(*written(tmp_path, after, after)).exit_code == 0
    assert "no verdict is other" in compare(*written(tmp_path, after, after)).output


def test_reports_of_the_same_targets_are_compared_target_by_target() -> None:
    before, after = (
        report(target("one", a_b=verdict), target("two", a_b="passed")) for verdict in ("failed", "passed")
    )
    found = columns([(Path("a.json"), before), (Path("b.json"), after)])
    assert [column.label for column in found] == ["one (a.json)", "two (a.json)", "one (b.json)", "two (b.json)"]
    assert [(one.label, other.label) for one, other in pairs(found)] == [
        ("one (a.json)", "one (b.json)"), ("two (a.json)", "two (b.json)"),
    ]  # fmt: skip


def test_several_targets_are_put_side_by_side_where_they_differ(tmp_path: Path) -> None:
    one = report(target("one", a_b="failed", c_d="passed"), target("two", a_b="passed", c_d="passed"))
    paths = written(tmp_path, one, report(target("three", a_b="known", c_d="passed")))
    result = compare(*paths)
    assert result.exit_code == 0
    (row,) = [line.split("│")[1:-1] for line in result.output.splitlines() if "a.b" in line]
    assert [cell.strip() for cell in row] == ["a.b", "failed", "passed", "known"]
    assert "c.d" not in result.output
    alike = compare(*written(tmp_path, *(report(target(name, c_d="passed")) for name in ("one", "two", "three"))))
    assert "They differ in no requirement." in alike.output


def test_wrong_usage_is_one_sentence(tmp_path: Path) -> None:
    (path,) = written(tmp_path, report(target()))
    alone = compare(path)
    assert (alone.exit_code, len(alone.output.splitlines())) == (4, 1)
    assert "there is one target in there" in alone.output
    assert compare().exit_code == 4
    assert compare(path, str(tmp_path / "none.json")).exit_code == 4
    other = tmp_path / "other.json"
    other.write_text("{}")
    unread = compare(path, str(other))
    assert (unread.exit_code, len(unread.output.splitlines())) == (4, 1)
    assert "no report of ippkit" in unread.output
    folder = compare(path, str(tmp_path))
    assert (folder.exit_code, len(folder.output.splitlines())) == (4, 1)
    assert "there is no report.json in this folder" in folder.output
