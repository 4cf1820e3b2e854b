"""The folder of `--report`: the data and its schema, what machines are told, and the front page in a browser."""

import json
import re
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

import jsonschema
import msgspec
import pytest
from browser import dom

from conformance.harness.verdict import Result, Verdict
from conformance.report import folder
from conformance.report.data import Report, UnreadableReport, read, report_of, report_schema, whole
from conformance.targets.descriptor import load

PURGE = "query.purge-nonexistent-refused"
UUID = "registration.duplicate-uuid-refused"
CASE = "test_purge.py::test_a"


def result(verdict: Verdict, slug: str = PURGE, case: str = CASE, target: str = "reference", **more: Any) -> Result:
    return Result(slug, case, target, verdict, summary=f"what was {verdict}", **more)


def made(*results: Result, names: tuple[str, ...] = ("reference",), status: int = 0) -> Report:
    targets = [(load(name), "1.2" if name == "reference" else None) for name in names]
    return report_of(results, targets, started=1_800_000_000, seconds=3.21, command="ippkit test", exit_status=status)


@pytest.fixture(scope="module")
def report() -> Report:
    evil = "</script><script>document.body.dataset.evil = 1</script>"
    return made(
        result("failed", details=f"MUST {PURGE}\n{evil}\n\x00", page="violations/a.html", seconds=1.5),
        result("blocked", UUID, blocked_by=PURGE),
        result("passed", UUID, "test_registration.py::test_b"),
        result("known", "wire.header-complete", "test_envelope.py::test_c", reason="It is `so`."),
        result("kit error", "query.purge-forgets", "test_purge.py::test_d", details="kit error: a traceback"),
        result("undecided", "query.purge-by-engine", "test_purge.py::test_e"),
        result("passed", "wire.reply-true", "rules", by_rule=True),
        result("passed", PURGE, CASE, "simulated"),
        names=("reference", "simulated"),
        status=3,
    )


@pytest.fixture(scope="module")
def written(report: Report, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("report")
    folder.write(path, report)
    return path


# -- the data ----------------------------------------------------------------------------------------------------------


def test_the_verdict_as_a_whole_is_the_worst_by_which_something_is_known() -> None:
    assert whole(["passed", "failed"]) == "failed"
    assert whole(["known", "passed"]) == "known"
    assert whole(["blocked", "passed"]) == "passed"
    assert whole(["blocked", "undecided"]) == "undecided"
    assert whole([]) == "not judged"


def test_a_target_has_every_requirement_that_concerns_it(report: Report) -> None:
    target = report.targets[0]
    assert (target.requirements[PURGE], target.requirements[UUID]) == ("failed", "passed")
    assert target.requirements["task.some-engine-runs"] == "not judged"
    assert len(target.requirements) > 400
    assert (target.violated, len(target.judged)) == ([PURGE], 4)
    assert report.targets[1].violated == []
    assert set(report.requirements) >= set(target.requirements)


def test_what_is_written_fits_the_schema_and_comes_back(report: Report, written: Path) -> None:
    data = json.loads((written / "report.json").read_text())
    schema = report_schema()
    jsonschema.Draft202012Validator.check_schema(schema)
    jsonschema.validate(data, schema)
    assert read(written) == read(written / "report.json") == report
    broken = {**data, "version": 2}
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(broken, schema)


@pytest.mark.parametrize("content", [b"", b"{}", b"\xff", b'{"format": "other"}'])
def test_a_file_that_holds_no_report_is_one_sentence(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "x.json"
    path.write_bytes(content)
    with pytest.raises(UnreadableReport, match=re.escape(f"{path}: no report of ippkit")):
        read(path)


def test_pages_of_earlier_runs_are_removed_and_nothing_else(report: Report, tmp_path: Path) -> None:
    pages = tmp_path / "violations"
    pages.mkdir()
    for name in ("a.html", "old.html", "notes.txt"):
        (pages / name).write_text("x")
    folder.write(tmp_path, report)
    assert {path.name for path in pages.iterdir()} == {"a.html", "notes.txt"}


# -- machines ----------------------------------------------------------------------------------------------------------


def test_junit_tells_violations_from_mistakes_of_the_kit_and_from_what_was_not_judged(written: Path) -> None:
    suites = ET.parse(written / "junit.xml").getroot()
    (first, second) = suites.findall("testsuite")
    assert {name: first.get(name) for name in ("tests", "failures", "errors", "skipped")} == {
        "tests": "6", "failures": "1", "errors": "1", "skipped": "1",
    }  # fmt: skip
    cases = {case.get("name"): case for case in first}
    assert [each.tag for each in cases["test_a"]] == ["failure"]
    assert cases["test_a"][0].get("type") == PURGE
    assert cases["test_a"].get("time") == "1.500"
    assert [each.tag for each in cases["test_d"]] == ["error"]
    assert [each.tag for each in cases["test_e"]] == ["skipped"]
    assert list(cases["test_b"]) == []
    assert (cases["test_c"][0].tag, cases["test_c"][0].text) == (
        "system-out",
        "known: wire.header-complete: what was known",
    )
    assert cases["wire.reply-true"].get("classname") == "reference.rules"
    assert (second.get("name"), second.get("failures")) == ("simulated", "0")


@pytest.mark.parametrize(
    ("results", "message", "color"),
    [
        ([], "not judged", "lightgrey"),
        ([result("passed"), result("passed", UUID)], "2 judged, conforms", "brightgreen"),
        ([result("passed"), result("known", UUID)], "2 judged, 1 known deviations", "yellowgreen"),
        ([result("failed"), result("known", UUID)], "1 of 2 violated", "red"),
        ([result("kit error"), result("passed", UUID)], "not usable", "lightgrey"),
    ],
)
def test_a_badge_says_what_matters_most(results: list[Result], message: str, color: str) -> None:
    badge = folder.badge(made(*results).targets)
    assert badge == {"schemaVersion": 1, "label": "IPython Parallel protocol", "message": message, "color": color}


def test_each_of_several_targets_has_a_badge_of_its_own(written: Path) -> None:
    assert json.loads((written / "badge-simulated.json").read_text())["message"] == "1 judged, conforms"
    assert json.loads((written / "badge-reference.json").read_text())["message"] == "not usable"


# -- the front page ----------------------------------------------------------------------------------------------------


def rows(page: str) -> dict[str, str]:
    """What a page shows: slug -> verdict."""
    found = re.findall(r'<details data-slug="([^"]+)"[^>]*><summary><span class="verdict"><i[^>]*></i>([^<]+)<', page)
    return dict(found)


def test_the_page_needs_nothing_else(report: Report) -> None:
    page = folder.front_page(report)
    assert "default-src 'none'" in page
    assert not re.search(r"""\bsrc\s*=|<link|@import|url\(|\bfetch\b|XMLHttp|import\(""", page)
    assert "<title>Conformance of reference 1.2, simulated</title>" in page


def test_a_browser_shows_the_worst_first_and_counts_what_was_not_judged(report: Report, written: Path) -> None:
    page = dom(written / "index.html")
    shown = rows(page)
    assert shown == report.targets[0].requirements
    assert list(shown.values())[:2] == ["failed", "known"]
    meant = len(report.targets[0].requirements)
    assert f"<b>4 of {meant}</b><span>requirements judged</span>" in page
    assert f"<b>{meant - 4}</b><span>not judged</span>" in page
    assert "data-evil" not in page


def test_a_view_is_chosen_by_the_address_and_a_requirement_opened(written: Path) -> None:
    page = dom(written / "index.html", f"#verdicts=failed,known&family=query&open={PURGE}")
    assert rows(page) == {PURGE: "failed"}
    assert 'href="violations/a.html"' in page
    assert "&lt;/script&gt;&lt;script&gt;document.body" in page
    assert "ippkit test" in page


@pytest.mark.parametrize(
    ("fragment", "slugs"),
    [
        ("#search=duplicate%20REFUSED&level=MUST", {UUID}),
        ("#search=test_purge.py::test_e", {"query.purge-by-engine"}),
        ("#target=simulated&verdicts=passed", {PURGE}),
        ("#search=nothing-like-this", set()),
    ],
)
def test_the_page_can_be_searched(written: Path, fragment: str, slugs: set[str]) -> None:
    page = dom(written / "index.html", fragment)
    assert set(rows(page)) == slugs
    assert ('<p class="nothing">' in page) == (not slugs)


def test_an_interrupted_run_says_so(report: Report, tmp_path: Path) -> None:
    folder.write(tmp_path, msgspec.structs.replace(report, is_complete=False))
    assert "The run was interrupted." in dom(tmp_path / "index.html", "#verdicts=failed")
