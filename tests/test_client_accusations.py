"""The suite accuses a client of exactly what it does wrong, and a client without that fault of nothing.

Everything happens in virtual time, in this process: what a real client makes of the same cases is for the gate to see.
"""

import ast
import importlib
import inspect
import itertools
from collections.abc import Iterator
from pathlib import Path
from types import FunctionType
from typing import Any

import broken_client
import broken_client_answers
import pytest
from client_mischief import FAULTS

import conformance
from conformance.harness.clients import clients
from conformance.harness.verdict import Violated
from conformance.targets import load
from protocol.requirements import get

#: The modules with faults; each adds its own to the table when it is imported.
TABLES = (broken_client, broken_client_answers)
SUITE = Path(conformance.__file__).parent


def functions() -> Iterator[tuple[str, FunctionType]]:
    """The cases about clients, by name."""
    for path in sorted(SUITE.glob("test_client_*.py")):
        module = importlib.import_module(f"conformance.{path.stem}")
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            if isinstance(node, ast.FunctionDef) and node.name.startswith("test_"):
                yield f"{path.name}::{node.name}", getattr(module, node.name)


def marks(function: FunctionType, name: str) -> list[pytest.Mark]:
    return [mark for mark in getattr(function, "pytestmark", ()) if mark.name == name]


def variants(function: FunctionType) -> dict[str, dict[str, Any]]:
    """The parameters with which pytest calls a case, by their id; "" if it has none."""
    choices = []
    for mark in marks(function, "parametrize"):
        names, values = mark.args[0], list(mark.args[1])
        names = [names] if isinstance(names, str) else list(names)
        ids = mark.kwargs.get("ids")
        entries = []
        for index, value in enumerate(values):
            given = value.values if hasattr(value, "values") and hasattr(value, "marks") else (
                value if len(names) > 1 else (value,)
            )  # fmt: skip
            word = getattr(value, "id", None) or (
                ids(given[0]) if callable(ids) else list(ids)[index] if ids else str(given[0])
            )
            entries.append((word, dict(zip(names, given, strict=True))))
        choices.append(entries)
    found = {}
    for chosen in itertools.product(*choices):
        found["-".join(word for word, _ in chosen)] = {key: one for _, each in chosen for key, one in each.items()}
    return found


CASES = dict(functions())
ALL = [
    f"{name}[{which}]" if which else name for name, function in CASES.items() for which in variants(function)
]  # fmt: skip


#: Every fault, with each case that must find it, and what that must call it.
FOUND = [(fault.name, case, slug) for fault in FAULTS.values() for case, slug in fault.finds.items()]


def accused(case: str) -> set[str]:
    """What the case, and the rules while it runs, accuse the client of."""
    name, _, which = case.partition("[")
    function = CASES[name]
    parameters = variants(function)[which.removesuffix("]")]
    said = {key: one for mark in marks(function, "connection_file") for key, one in mark.kwargs.items()}
    (named,) = marks(function, "requirement")
    fixture = next(iter(inspect.signature(function).parameters))
    found: set[str] = set()
    try:
        with clients(load("simulated-client")).fresh(said, is_settled=fixture == "tested_client") as client:
            client.wait_for_driver()
            client.begin_case()
            try:
                function(client, **parameters)
            except Violated as violated:
                found.add(violated.requirement or named.args[0])
                client.distrust()
            client.end_case()
            found |= {violation.requirement for violation in client.judge_rest()}
    except Violated as violated:
        # It did not come to where the case begins.
        found.add(violated.requirement or "")
    return found


@pytest.mark.parametrize("case", ALL)
def test_a_client_without_fault_is_accused_of_nothing(case: str) -> None:
    assert accused(case) == set()


@pytest.mark.parametrize(("name", "case", "slug"), FOUND)
def test_a_fault_is_found_under_its_name(name: str, case: str, slug: str, monkeypatch: pytest.MonkeyPatch) -> None:
    get(slug)
    FAULTS[name].patch(monkeypatch)
    assert slug in accused(case)


def test_every_case_about_clients_was_seen_to_fail() -> None:
    assert set(CASES) - {case.partition("[")[0] for fault in FAULTS.values() for case in fault.finds} == set()
