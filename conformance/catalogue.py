"""Which case tests which requirement, read from the source of the cases without importing them."""

import ast
from functools import cache
from pathlib import Path

from protocol.requirements import Requirement, load
from protocol.rules import RULES


@cache
def cases() -> dict[str, tuple[str, ...]]:
    """Slug -> the cases that name it, as `test_module.py::test_function`."""
    found: dict[str, list[str]] = {}
    for path in sorted(Path(__file__).parent.glob("test_*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.FunctionDef) and node.name.startswith("test_"):
                for slug in _slugs(node):
                    found.setdefault(slug, []).append(f"{path.name}::{node.name}")
    return {slug: tuple(names) for slug, names in found.items()}


def _slugs(function: ast.FunctionDef) -> list[str]:
    return [
        argument.value
        for decorator in function.decorator_list
        if isinstance(decorator, ast.Call) and getattr(decorator.func, "id", None) == "requirement"
        for argument in decorator.args
        if isinstance(argument, ast.Constant) and isinstance(argument.value, str)
    ]


def untested() -> list[Requirement]:
    """The requirements that neither a case nor a rule judges yet."""
    judged = cases().keys() | {rule.slug for rule in RULES}
    return [requirement for slug, requirement in load().items() if slug not in judged]
