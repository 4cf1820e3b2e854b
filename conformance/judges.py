"""What judges a requirement: cases, rules, and the recorded logs that prove each rule."""

from functools import cache
from pathlib import Path

from conformance.catalogue import cases
from conformance.files import data
from protocol.rules import RULES, Rule

#: Where the logs are, relative to the kit's data.
LOGS = "fixtures/logs"


@cache
def ruled() -> frozenset[str]:
    """The slugs that some rule judges."""
    return frozenset(rule.slug for rule in RULES)


def rules_of(slug: str) -> tuple[type[Rule], ...]:
    """The rules of one requirement."""
    return tuple(rule for rule in RULES if rule.slug == slug)


def sentence(rule: type[Rule]) -> str:
    """The docstring of a rule in one line, which is the requirement in its words."""
    return " ".join((rule.__doc__ or "").split())


def logs_of(rule: type[Rule]) -> tuple[str, ...]:
    """The recorded logs of a rule, as paths relative to the repository; one is accepted and one refused."""
    folder = data(LOGS)
    found = [path for path in folder.rglob("*") if path.is_file() and _subject(path) == rule.name()]
    return tuple(sorted(f"{LOGS}/{path.relative_to(folder).as_posix()}" for path in found))


def _subject(path: Path) -> str:
    return path.name.removesuffix(path.suffix).removesuffix(".accepted").removesuffix(".refused")


def is_judged(slug: str) -> bool:
    """Whether a case or a rule judges this requirement."""
    return slug in ruled() or slug in cases()
