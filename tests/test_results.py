"""Verdicts, known deviations and exit statuses, as plain data."""

from pathlib import Path

import msgspec
import pytest

from conformance import results as book
from conformance.harness.verdict import Result, Verdict
from conformance.report.console import FEW, summary
from conformance.targets.descriptor import Target, parse
from conformance.targets.tables import Deviation
from protocol.requirements import load

MUST = "registration.duplicate-uuid-refused"
SHOULD = "registration.unregistration-unanswered"
MAY = "registration.reply-parent"


def result(verdict: Verdict, slug: str = MUST, *, case: str = "test_a.py::test_x", by_rule: bool = False) -> Result:
    return Result(slug, case, "demo", verdict, summary=verdict, by_rule=by_rule)


def target(**deviation: object) -> Target:
    listed = "\n".join(f"{key} = {str(value).lower() if isinstance(value, bool) else repr(value)}"
                       for key, value in deviation.items())  # fmt: skip
    text = f"""
name = "demo"
dialect = "ipyparallel-9"
roles = ["controller"]
[controller]
command = ["{{python}}", "-c", "pass"]
client_file = "{{dir}}/c.json"
engine_file = "{{dir}}/e.json"
[[deviation]]
slug = "{MUST}"
evidence = "sent and received"
{listed}
"""
    return parse(text.encode(), Path("demo.toml"))


def test_levels_decide_how_a_broken_requirement_is_called() -> None:
    assert [book.accuse(slug) for slug in (MUST, SHOULD, MAY)] == ["failed", "warned", "observed"]


@pytest.mark.parametrize(
    ("verdicts", "failed", "status"),
    [
        (["passed"], 0, 0),
        (["passed", "known", "warned", "observed", "not applicable"], 0, 0),
        (["passed", "failed"], 1, 1),
        (["failed", "kit error"], 2, 3),
        (["passed", "undecided"], 0, 6),
        (["passed", "blocked"], 0, 6),
        (["failed", "blocked"], 1, 1),
        (["passed"], 1, 1),
    ],
)
def test_exit_status(verdicts: list[Verdict], failed: int, status: int) -> None:
    assert book.exit_status([result(verdict) for verdict in verdicts], failed) == status


def test_what_nobody_demands_may_stay_undecided() -> None:
    assert book.exit_status([result("undecided", SHOULD)], 0) == 0


def test_a_listed_deviation_is_known_and_keeps_its_reason() -> None:
    demo = target(reason="argued", case="test_x")
    assert book.excuse(result("failed"), demo, None).verdict == "known"
    assert book.excuse(result("failed"), demo, None).reason == "argued"
    assert book.excuse(result("failed", case="test_a.py::test_y"), demo, None).verdict == "failed"
    assert book.excuse(result("failed", SHOULD), demo, None).verdict == "failed"
    assert book.excuse(result("kit error"), demo, None).verdict == "kit error"


def test_an_unreviewed_deviation_excuses_nothing() -> None:
    assert book.excuse(result("failed"), target(reason="", unreviewed=True), None).verdict == "failed"


def test_a_deviation_of_other_versions_excuses_nothing() -> None:
    demo = target(reason="argued", versions="<=9.2.0")
    assert book.excuse(result("failed"), demo, "9.2.0").verdict == "known"
    assert book.excuse(result("failed"), demo, "9.3.0").verdict == "failed"


def test_what_a_known_deviation_blocks_needs_no_decision() -> None:
    demo = target(reason="argued")
    blocked = Result("registration.refusal-in-reply", "test_a.py::test_x", "demo", "blocked", blocked_by=MUST)
    assert book.exit_status([blocked], 0) == 6
    assert book.exit_status([book.excuse(blocked, demo, None)], 0) == 0
    assert book.exit_status([book.excuse(blocked, target(reason="", unreviewed=True), None)], 0) == 6
    assert book.exit_status([book.excuse(blocked, target(reason="argued", versions="<=9.2.0"), "9.3.0")], 0) == 6


def test_what_is_demanded_since_a_later_revision_is_new_and_does_not_fail() -> None:
    later = max(load().values(), key=lambda each: each.revision)
    assert later.revision > 1
    pinned = msgspec.structs.replace(target(reason="argued"), requirements=later.revision - 1)
    broken = book.excuse(result("failed", later.slug), pinned, None)
    assert (broken.verdict, book.exit_status([broken], 0)) == ("new", 0)
    assert broken.reason == f"demanded since revision {later.revision}; the descriptor is about {later.revision - 1}"
    assert book.exit_status([book.excuse(result("undecided", later.slug), pinned, None)], 0) == 0
    blocked = Result(MUST, "test_a.py::test_x", "demo", "blocked", blocked_by=later.slug)
    assert book.exit_status([book.excuse(blocked, pinned, None)], 0) == 0
    assert book.excuse(result("failed", SHOULD), pinned, None).verdict == "failed"
    present = msgspec.structs.replace(pinned, requirements=later.revision)
    assert book.excuse(result("failed", later.slug), present, None).verdict == "failed"


def test_of_a_target_that_was_not_usable_there_are_no_verdicts() -> None:
    unusable = Result(MUST, "test_a.py::test_x", "demo", "kit error", is_unusable=True)
    other = Result(MUST, "test_a.py::test_x", "another", "passed")
    assert book.withdraw([result("failed"), unusable, other]) == [unusable, other]
    text = "\n".join(summary([unusable, other], [target(reason="known")], lambda _: None))
    assert "Nothing is said about demo, because it was not usable." in text
    assert "violated" not in text


def test_a_deviation_whose_case_passes_is_stale() -> None:
    demo = target(reason="argued")
    listed: list[Deviation] = list(demo.deviations)
    assert book.stale([result("passed")], demo, None) == listed
    assert book.stale([result("known")], demo, None) == []
    assert book.stale([result("passed"), result("known")], demo, None) == []
    assert book.stale([result("passed", SHOULD)], demo, None) == []
    assert book.stale([result("passed")], target(reason="argued", intermittent=True), None) == []


def test_a_rule_that_accuses_is_not_also_said_to_have_passed() -> None:
    accused = result("failed", case="test_a.py::test_x", by_rule=True)
    praised = result("passed", case="rules", by_rule=True)
    assert book.merge([praised, praised]) == [praised]
    assert book.merge([praised, accused]) == [accused]


def test_what_a_case_did_not_accuse_counts_for_nothing_where_a_rule_did() -> None:
    accused = result("failed", case="test_a.py::test_x", by_rule=True)
    for verdict in ("passed", "blocked"):
        here, elsewhere = (result(verdict, case=f"test_a.py::{name}") for name in ("test_x", "test_y"))
        assert book.merge([here, accused, elsewhere]) == [accused, elsewhere]


def test_results_travel_as_plain_data() -> None:
    original = result("known")
    assert book.from_dict(book.to_dict(original)) == original


def test_every_requirement_is_counted_in_its_family() -> None:
    counts = book.by_family([result("passed"), result("failed", "wire.signature-verified")])
    assert counts["registration"]["passed"] == 1
    assert counts["wire"]["failed"] == 1


def test_what_is_left_out_is_told_by_its_reason_and_each_case_once() -> None:
    lacking = [Result(slug, "test_a.py::test_x", "demo", "not applicable", summary="no sample 'print'")
               for slug in (MUST, SHOULD)]  # fmt: skip
    other = Result(MAY, "test_a.py::test_y", "demo", "not applicable", summary="no sample 'print'")
    text = "\n".join(summary([*lacking, other], [target(reason="known")], lambda _: None))
    assert "no sample 'print': 2 cases" in text
    assert text.count("test_a.py::test_x") == text.count("test_a.py::test_y") == 1


@pytest.mark.parametrize("verdict", ["warned", "not applicable", "blocked"])
def test_where_many_cases_found_the_same_they_are_counted_by_file(verdict: Verdict) -> None:
    many = [Result(SHOULD, f"test_{name}.py::test_{number}", "demo", verdict, summary="no answer")
            for name in "ab" for number in range(FEW)]  # fmt: skip
    text = "\n".join(summary(many, [target(reason="known")], lambda _: None))
    assert f"test_a.py ({FEW}), test_b.py ({FEW})" in text
    assert "test_a.py::" not in text
