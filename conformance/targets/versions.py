"""Version rules such as `>=9.2,<10`, compared as numbers.

Implementations are written in many languages, so nothing is assumed but numbers between dots: 9.10 is newer than 9.2,
9.2 equals 9.2.0, and what follows the numbers (`.dev0`, `-rc1`, `+local`) is ignored, so that a development build
counts as the release that it leads to.
"""

import operator
import re
from collections.abc import Callable
from typing import Final

_Numbers = tuple[int, ...]

_CLAUSE: Final = re.compile(r"\s*(==|!=|>=|<=|>|<)\s*v?(\d+(?:\.\d+)*)\s*")
_NUMBERS: Final = re.compile(r"v?(\d+(?:\.\d+)*)")
_COMPARE: Final[dict[str, Callable[[_Numbers, _Numbers], bool]]] = {
    "==": operator.eq, "!=": operator.ne, ">=": operator.ge, "<=": operator.le, ">": operator.gt, "<": operator.lt,
}  # fmt: skip


def numbers(version: str) -> _Numbers:
    """The leading numbers of a version, without trailing zeros: `9.2.0.dev1` is (9, 2). Raises ValueError."""
    found = _NUMBERS.match(version.strip())
    if found is None:
        raise ValueError(f"{version!r} does not begin with numbers between dots")
    parts = [int(part) for part in found[1].split(".")]
    while len(parts) > 1 and parts[-1] == 0:
        parts.pop()
    return tuple(parts)


def parse(rule: str) -> list[tuple[str, _Numbers]]:
    """The clauses of a rule; every one must hold. An empty rule has none. Raises ValueError."""
    clauses = []
    for text in rule.split(",") if rule.strip() else ():
        found = _CLAUSE.fullmatch(text)
        if found is None:
            raise ValueError(f"{text.strip()!r} is no comparison such as >=9.2 or ==9.2.0")
        clauses.append((found[1], numbers(found[2])))
    return clauses


def accepts(rule: str, version: str) -> bool:
    """Whether a version keeps every clause of a rule. Raises ValueError if either cannot be read."""
    having = numbers(version)
    return all(_COMPARE[sign](having, wanted) for sign, wanted in parse(rule))
