"""The matrix of `ippkit interop`, with the ipyparallel that is installed: every cell is a test."""

from collections.abc import Mapping
from importlib.util import find_spec

import pytest

from conformance.interop import matrix
from conformance.interop.ability import COLUMNS
from conformance.interop.rows import ROWS, Row
from protocol.requirements import get

HAS_IPYPARALLEL = find_spec("ipyparallel") is not None
USABLE = [row for row in ROWS if HAS_IPYPARALLEL or not row.needs_ipyparallel]

# The first test runs the whole matrix, the others only look at it.
pytestmark = pytest.mark.timeout(600)


@pytest.fixture(scope="module")
def cells() -> Mapping[tuple[str, str], matrix.Cell]:
    return {(cell.row, cell.ability): cell for cell in matrix.run(USABLE)}


@pytest.mark.parametrize(
    ("row", "name"), [pytest.param(row, name, id=f"{row.name}-{name}") for row in ROWS for name in row.abilities]
)
def test_it_works(cells: Mapping[tuple[str, str], matrix.Cell], row: Row, name: str) -> None:
    if row not in USABLE:
        pytest.skip("ipyparallel is not installed")
    cell = cells[row.name, name]
    if cell.verdict == "fails" and row.is_control_group:
        pytest.xfail(f"nothing in this row is ours: {cell.text}")
    assert cell.verdict == "works", f"{cell.text}\n{cell.blame}"


def test_nothing_of_ours_breaks_anything_on_the_way(cells: Mapping[tuple[str, str], matrix.Cell]) -> None:
    parties = {row.name: {"controller": row.controller, "client": row.client} for row in ROWS}
    broken = [
        (cell.row, cell.ability, charge)
        for cell in cells.values()
        for charge in cell.noticed
        if parties[cell.row].get(charge.party.removeprefix("the "), charge.party.partition(" ")[2].strip("()"))
        == "ours"
    ]
    assert broken == []


def test_the_columns_and_the_tables_agree() -> None:
    for row in ROWS:
        assert [name for name in matrix.NAMES if name in row.abilities] == list(row.abilities)
    assert set(matrix.NAMES) == {name for row in ROWS for name in row.abilities}
    assert len(COLUMNS) == len({title for title, _ in COLUMNS.values()})


def test_every_ability_says_what_must_be_true_and_stands_for_a_requirement() -> None:
    for row in ROWS:
        for ability in row.abilities.values():
            assert ability.sentence.endswith("."), ability.name
            assert get(ability.requirement).level in ("MUST", "SHOULD")
