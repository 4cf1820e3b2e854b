"""The traceability matrix, and the verdicts that are kept for it."""

import re

from conformance.harness.verdict import VERDICTS
from conformance.report.data import Judged, Report
from conformance.report.verdicts import Last, kept, updated
from conformance.site.traceability import SIGNS, behind, mutants_of, page
from conformance.targets.descriptor import load as target
from protocol.requirements import load


def test_every_requirement_has_one_row_with_as_many_cells_as_its_table() -> None:
    rows = re.findall(r"^\| \[`([^`]+)`\]\(#([^)]+)\) (\|.*)$", page(), re.MULTILINE)
    assert [slug for slug, _, _ in rows] == [slug for _, label, _ in rows for slug in [label]]
    assert sorted(slug for slug, _, _ in rows) == sorted(load())
    assert all(cells.count("|") >= 5 for _, _, cells in rows)


def test_what_is_kept_is_about_requirements_and_targets_that_exist() -> None:
    for last in kept():
        known = {deviation.slug for deviation in target(last.name).deviations}
        assert last.verdicts.keys() <= load().keys()
        assert set(last.verdicts.values()) <= set(VERDICTS) - {"failed", "kit error"}
        assert {slug for slug, verdict in last.verdicts.items() if verdict == "known"} <= known
    assert {"reference", "simulated", "ipyparallel", "ipyparallel-client"} <= {last.name for last in kept()}
    assert SIGNS.keys() == set(VERDICTS)


def test_the_section_of_a_requirement_names_its_mutants_and_its_verdicts() -> None:
    found = dict(behind("query.purge-keeps-others"))
    assert "`purges-everything`: " in found["Mutants"]
    assert "reference 0.1.0: passed" in found["Last verdicts"]
    assert not mutants_of("wire.no-such-slug")


def test_a_report_replaces_what_is_kept_of_its_targets() -> None:
    old = Last(name="b", version="1", date="2026-01-01", verdicts={"x.y": "failed"})
    other = Last(name="a", version=None, date="2026-01-01", verdicts={})
    judged = Judged(
        name="b", version="2", dialect="d", roles=("engine",), verdicts={},
        requirements={"x.y": "passed", "x.z": "not judged"},
    )  # fmt: skip
    report = Report(
        kit="1", started="2026-02-03T04:05:06+00:00", seconds=1, command="", exit_status=0, is_complete=True,
        targets=(judged,), requirements={}, judgements=(),
    )  # fmt: skip
    new = Last(name="b", version="2", date="2026-02-03", verdicts={"x.y": "passed"})
    assert updated([old, other], [report]) == [other, new]
