"""`ippkit interop`: what it prints, and its exit status."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from conformance.cli import main
from conformance.interop import matrix
from conformance.interop.blame import Blame
from conformance.interop.matrix import Cell
from conformance.interop.rows import ROWS
from conformance.interop.witness import Charge


def ippkit(*arguments: str) -> Result:
    return CliRunner().invoke(main, ["interop", *arguments])


def fake(monkeypatch: pytest.MonkeyPatch, *cells: Cell) -> None:
    monkeypatch.setattr(matrix, "run", lambda *_, **__: list(cells))
    monkeypatch.setattr(matrix, "version_of_ipyparallel", lambda: "9.9.9")


def cell(row: str = "ours-ours-ours", **more: object) -> Cell:
    return Cell(**({"row": row, "ability": "direct.apply", "verdict": "works"} | more))  # type: ignore[arg-type]


BLAME = Blame(party="engine-1 (ours)", requirement="apply.answered", how="apply_request reached it")


@pytest.mark.parametrize(
    ("arguments", "status", "named"),
    [
        (("--only", "nobody"), 4, "ours-ours-ours"),
        (("--ability", "nothing.*"), 5, "ippkit interop --list"),
        (("--only", "ours-ours-ours", "--ability", "direct.push"), 5, "direct.push"),
        (("--ability", "pusch", "--ability", "pul"), 5, "'pusch' or 'pul'"),
        (("surplus",), 4, "surplus"),
    ],
)
def test_wrong_usage_is_one_sentence(arguments: tuple[str, ...], status: int, named: str) -> None:
    result = ippkit(*arguments)
    assert result.exit_code == status
    assert result.stdout == ""
    assert result.stderr.startswith("ippkit: ")
    assert result.stderr.count("\n") == 1
    assert named in result.stderr


def test_without_ipyparallel_the_extra_is_named_and_what_still_works(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(matrix, "version_of_ipyparallel", lambda: None)
    result = ippkit()
    assert result.exit_code == 3
    assert "pip install 'ippkit[ipyparallel]'" in result.stderr
    assert "--only ours-ours-ours" in result.stderr
    assert ippkit("--only", "ours-ours-ours", "--list").exit_code == 0


def test_abilities_are_listed_with_what_they_demand() -> None:
    result = ippkit("--list")
    assert result.exit_code == 0
    for row in ROWS:
        for ability in row.abilities.values():
            assert f"{ability.name} " in result.stdout
            assert ability.requirement in result.stdout
    assert "direct.push" not in ippkit("--list", "--only", "ours-ours-ours").stdout


def test_a_row_that_works_is_shown_and_is_status_0() -> None:
    result = ippkit("--only", "ours-ours-ours", "--ability", "direct.*")
    assert (result.exit_code, result.stderr) == (0, "")
    assert "client ours, controller ours, engines ours" in result.stdout
    assert "4 of 4 cells work, in 1 rows" in result.stdout
    assert "balanced" not in result.stdout


def test_the_cells_are_to_be_had_as_json() -> None:
    result = ippkit("--only", "ours-ours-ours", "--ability", "errors", "--json")
    found = json.loads(result.stdout)
    assert {(one["row"], one["ability"], one["verdict"]) for one in found} == {
        ("ours-ours-ours", "direct.errors", "works"), ("ours-ours-ours", "broadcast.errors", "works"),
    }  # fmt: skip


def test_a_red_cell_names_party_and_requirement_and_is_status_1(monkeypatch: pytest.MonkeyPatch) -> None:
    fake(monkeypatch, cell(verdict="fails", text="no reply", blame=BLAME))
    result = ippkit("--only", "ours-ours-ours", "--ability", "direct.apply")
    assert result.exit_code == 1
    assert "FAILS: engine-1 (ours), apply.answered" in result.stdout
    assert "ours-ours-ours direct.apply: A function is called on the engine that was named" in result.stdout
    assert "evidence:    apply_request reached it" in result.stdout
    assert "control group" not in result.stdout


def test_what_fails_in_the_control_group_is_no_fault_of_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    theirs = cell("ipp-ipp-ipp", verdict="fails", text="no reply", blame=BLAME)
    fake(monkeypatch, theirs)
    result = ippkit("--ability", "direct.apply")
    assert result.exit_code == 0
    assert "fails (not ours)" in result.stdout
    fake(monkeypatch, cell("ipp-ours-ipp", verdict="fails", text="no reply", blame=BLAME), theirs)
    result = ippkit("--ability", "direct.apply")
    assert result.exit_code == 1
    assert "It fails in the control group, too" in result.stdout


def test_what_could_not_be_tried_is_said_once(monkeypatch: pytest.MonkeyPatch) -> None:
    cells = [cell(verdict="unusable", text="row ours-ours-ours: no such thing")] * 2
    fake(monkeypatch, *cells)
    result = ippkit("--only", "ours-ours-ours", "--ability", "direct.apply")
    assert result.exit_code == 3
    assert result.stdout.count("no such thing") == 1


def test_what_was_broken_without_harm_is_told_with_who_did_it(monkeypatch: pytest.MonkeyPatch) -> None:
    charge = Charge(1, "engine-1 (ipyparallel)", "wire.message-type-known", "_request", "the type")
    fake(monkeypatch, cell("ipp-ours-ipp", noticed=(charge,)))
    result = ippkit("--only", "ipp-ours-ipp", "--ability", "direct.apply")
    assert result.exit_code == 0
    assert "ipp-ours-ipp: an engine (ipyparallel) broke wire.message-type-known with _request" in result.stdout


def test_the_rows_are_those_of_the_page() -> None:
    page = (Path(__file__).parent.parent / "docs" / "interop.md").read_text(encoding="utf-8")
    for row in ROWS:
        assert f"| `{row.name}` |" in page
