"""What judges a requirement: cases, rules with the recorded logs that prove them, and vectors for codecs."""

from collections import Counter
from collections.abc import Mapping
from functools import cache
from pathlib import Path

import msgspec

from conformance.catalogue import cases
from conformance.files import data
from conformance.vectors import FOLDER, MANIFEST
from protocol.rules import RULES, Rule

#: Where the logs are, relative to the kit's data.
LOGS = "fixtures/logs"


class _Vector(msgspec.Struct, frozen=True):
    """As much of a vector as is needed here."""

    requirements: tuple[str, ...]


class _Vectors(msgspec.Struct, frozen=True):
    vectors: tuple[_Vector, ...]


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


@cache
def _vectors() -> Mapping[str, Counter[str]]:
    """Slug -> how many vectors of each file name it."""
    found: dict[str, Counter[str]] = {}
    for path in sorted(data(FOLDER).glob("*.json")):
        if path.name != MANIFEST:
            for vector in msgspec.json.decode(path.read_bytes(), type=_Vectors).vectors:
                for slug in vector.requirements:
                    found.setdefault(slug, Counter())[f"{FOLDER}/{path.name}"] += 1
    return found


def vectors_of(slug: str) -> Mapping[str, int]:
    """How many vectors are about a requirement, by file relative to the repository."""
    return _vectors().get(slug, Counter())


def is_judged(slug: str) -> bool:
    """Whether a case or a rule judges this requirement."""
    return slug in ruled() or slug in cases()
