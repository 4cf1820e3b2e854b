"""Broken variants of the controller's roles, one small class each, and legal ones: they prove the cases and rules.

One module for each family of requirements; `variants` has those that must be accused of nothing. Nothing here is used
to judge an implementation.
"""

import difflib
from functools import cache
from importlib import import_module

from conformance.mutants.mutant import MUTANTS, Mutant, Variant

_MODULES = (
    "wire", "connections", "registrations", "notifications", "hearts", "queries", "queues", "results", "history",
    "purges", "resubmissions", "records", "answers", "relays", "passing", "tasks", "dependencies", "scheduling",
    "inside", "copies", "engines", "manners", "speech", "beats", "variants",
)  # fmt: skip


@cache
def load() -> dict[str, type[Mutant]]:
    """All mutants and variants by name, in the order of their families."""
    for module in _MODULES:
        import_module(f"conformance.mutants.{module}")
    return MUTANTS


def find(name: str) -> type[Mutant]:
    """The mutant of this name. Raises KeyError with a sentence."""
    known = load()
    if name not in known:
        close = difflib.get_close_matches(name, known, n=1)
        hint = f"; did you mean {close[0]!r}?" if close else "; `ippkit mutants` lists them all"
        raise KeyError(f"there is no mutant {name!r}{hint}")
    return known[name]


__all__ = ["Mutant", "Variant", "find", "load"]
