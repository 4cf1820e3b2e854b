"""What judges which requirement: cases, read from their source without importing them, rules, and test vectors."""

import ast
import json
from collections.abc import Collection, Iterable, Mapping
from functools import cache
from pathlib import Path
from typing import Final, get_args

from conformance.files import data
from conformance.targets.vocabulary import ROLES, Role
from conformance.vectors import FOLDER, MANIFEST
from protocol.requirements import Requirement, load
from protocol.rules import RULES

#: What tells pytest, called from a program, to run the suite. The program has imported the kit before pytest could
#: rewrite its asserts: nothing is lost by that (cases are imported later), but a checkout, where warnings are errors,
#: would end there.
SUITE: Final = (
    "--pyargs", "conformance", "-p", "no:cacheprovider",
    "-W", "ignore:Module already imported so cannot be rewritten:pytest.PytestAssertRewriteWarning",
)  # fmt: skip


def role_of(file: str) -> Role:
    """The role that the cases of a file judge: that of its name, as in `test_engine_*.py`, or else the controller."""
    return next((role for role in get_args(Role) if file.startswith(f"test_{role}_")), "controller")


@cache
def cases(role: Role | None = None) -> dict[str, tuple[str, ...]]:
    """Slug -> the cases that name it, as `test_module.py::test_function`; all, or those of one role."""
    found: dict[str, list[str]] = {}
    for path in sorted(Path(__file__).parent.glob("test_*.py")):
        if role not in (None, role_of(path.name)):
            continue
        module = ast.parse(path.read_text(encoding="utf-8"))
        groups = _groups(module)
        for node in ast.walk(module):
            if isinstance(node, ast.FunctionDef) and node.name.startswith("test_"):
                for slug in _slugs(node, groups):
                    found.setdefault(slug, []).append(f"{path.name}::{node.name}")
    return {slug: tuple(names) for slug, names in found.items()}


@cache
def vectored() -> frozenset[str]:
    """The requirements that test vectors are about, by which a codec can be judged without a peer."""
    manifest = data(FOLDER) / MANIFEST
    return frozenset(json.loads(manifest.read_text(encoding="utf-8"))["requirements"])


def _groups(module: ast.Module) -> dict[str, list[str]]:
    """The tuples of texts that a module gives a name, for `@requirement(..., *NAME)`."""
    found = {}
    for node in module.body:
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name) and isinstance(node.value, ast.Tuple):
            found[node.targets[0].id] = _texts(node.value.elts)
    return found


def _slugs(function: ast.FunctionDef, groups: Mapping[str, list[str]]) -> list[str]:
    arguments = [
        argument
        for decorator in function.decorator_list
        if isinstance(decorator, ast.Call) and getattr(decorator.func, "id", None) == "requirement"
        for argument in decorator.args
    ]
    named = [each.value.id for each in arguments if isinstance(each, ast.Starred) and isinstance(each.value, ast.Name)]
    return _texts(arguments) + [slug for name in named for slug in groups.get(name, ())]


def _texts(nodes: Iterable[ast.expr]) -> list[str]:
    return [each.value for each in nodes if isinstance(each, ast.Constant) and isinstance(each.value, str)]


def concerned(roles: Collection[Role]) -> list[Requirement]:
    """The requirements that a target of these roles has to keep; without roles, all."""
    bound = frozenset[str]().union(*(ROLES[role] for role in roles))
    return [each for each in load().values() if not roles or not bound.isdisjoint(each.roles)]


def untested(roles: Collection[Role] = ()) -> list[Requirement]:
    """What a target of these roles has to keep (or anybody), can be observed, and nothing judges yet."""
    judged = vectored().union({rule.slug for rule in RULES}, *(cases(role) for role in roles or get_args(Role)))
    return [each for each in concerned(roles) if each.unobservable is None and each.slug not in judged]
