"""The requirement registry: every demand of the protocol, as data.

One TOML file per family holds an array of tables `[[requirement]]`. A requirement has a slug that never changes, a
level, a basis (why we may demand it), a text in our own words, its public sources, who must keep it and in which
dialects, the messages and channels it is about, and how a tester sees it or why nobody can.

    slug, text           "<family>.<kebab-case>", one or two sentences
    level                MUST, SHOULD or MAY; a MUST concerns only what a peer can notice
    basis                documented (a sentence of the source), measured (a named peer breaks without it), derived
                         (the protocol is useless without it; the source then says why)
    vantage              from where it is seen: peer, relay, monitor, state, or none when it is not observable
    observed             how a tester sees it; or `unobservable`, the reason why not
    revision             of the rule set, since which this is demanded as it is; 1, the first, if nothing is said

Only data and its loader live here; what checks a requirement is a rule or a case.
"""

import re
import tomllib
from collections.abc import Mapping
from difflib import get_close_matches
from functools import cache
from importlib import resources
from importlib.resources.abc import Traversable
from types import MappingProxyType
from typing import Any, Final, Literal, get_args

import msgspec

Level = Literal["MUST", "SHOULD", "MAY"]
Basis = Literal["documented", "measured", "derived"]
Vantage = Literal["peer", "relay", "monitor", "state", "none"]
Dialect = Literal["ipython-0.1x", "documented", "ipyparallel-9"]
Role = Literal[
    "client",
    "engine",
    "hub",
    "heart",
    "heart-monitor",
    "mux-relay",
    "control-relay",
    "iopub-relay",
    "task-scheduler",
    "broadcast-scheduler",
    "warden",
    "kernel",
    "frontend",
    "controller",
]
Family = Literal[
    "wire",
    "connection",
    "registration",
    "heartbeat",
    "heart-device",
    "notification",
    "query",
    "storage",
    "mux",
    "task",
    "dependency",
    "control",
    "apply",
    "iopub",
    "broadcast",
    "client",
    "kernel",
    "stdin",
]

#: The families in the order of reports.
FAMILIES: Final[tuple[Family, ...]] = get_args(Family)

_SLUG: Final = re.compile(r"[a-z]+(-[a-z]+)*\.[a-z0-9]+(-[a-z0-9]+)*")


class RequirementError(ValueError):
    """The registry itself is wrong: a mistake of the kit, not of a target."""


class Requirement(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One demand of the protocol; the fields are those of the module docstring."""

    slug: str
    level: Level
    basis: Basis
    text: str
    source: tuple[str, ...]
    roles: tuple[Role, ...]
    dialects: tuple[Dialect, ...]
    messages: tuple[str, ...] = ()
    channels: tuple[str, ...] = ()
    vantage: Vantage
    observed: str | None = None
    unobservable: str | None = None
    revision: int = 1

    @property
    def family(self) -> str:
        """The part of the slug before the dot."""
        return self.slug.partition(".")[0]


def _fault(requirement: Requirement, family: str) -> str | None:
    """The first thing wrong with a requirement that its types cannot say, or None."""
    if not _SLUG.fullmatch(requirement.slug):
        return "the slug is not <family>.<kebab-case>"
    if requirement.family != family:
        return f"the slug does not begin with {family!r}, the family of its file"
    if not requirement.text.strip():
        return "the text is empty"
    for name in ("source", "roles", "dialects"):
        values = getattr(requirement, name)
        if not values:
            return f"{name} is empty"
        if len(set(values)) != len(values):
            return f"{name} names something twice"
    if (requirement.observed is None) == (requirement.unobservable is None):
        return "exactly one of observed and unobservable is needed"
    if (requirement.unobservable is None) == (requirement.vantage == "none"):
        return "vantage is 'none' exactly when the requirement is unobservable"
    is_beyond = requirement.dialects == ("ipython-0.1x",) or requirement.roles == ("frontend",)
    if requirement.level == "MUST" and requirement.unobservable is not None and not is_beyond:
        return "a MUST has to be observable, unless nobody speaks its dialect any more, or it binds frontends only"
    if requirement.revision < 1:
        return "revisions count from 1"
    return None


def parse(text: str, family: str) -> list[Requirement]:
    """The requirements in the text of one family's file. Raises RequirementError, naming family and slug."""
    if family not in FAMILIES:
        raise RequirementError(f"unknown family {family!r}; the families are {', '.join(FAMILIES)}")
    try:
        document: dict[str, Any] = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise RequirementError(f"{family}: not TOML: {error}") from None
    if unknown := document.keys() - {"requirement"}:
        raise RequirementError(f"{family}: unknown key {min(unknown)!r} beside [[requirement]]")
    tables = document.get("requirement", [])
    if not isinstance(tables, list):
        raise RequirementError(f"{family}: [[requirement]] is an array of tables")
    found: dict[str, Requirement] = {}
    for number, table in enumerate(tables, 1):
        name = table.get("slug", f"requirement {number}") if isinstance(table, dict) else f"requirement {number}"
        try:
            requirement = msgspec.convert(table, Requirement)
        except msgspec.ValidationError as error:
            raise RequirementError(f"{family}: {name}: {error}") from None
        if fault := _fault(requirement, family):
            raise RequirementError(f"{family}: {name}: {fault}")
        if requirement.slug in found:
            raise RequirementError(f"{family}: {name}: the slug is used twice")
        found[requirement.slug] = requirement
    return list(found.values())


def load_from(folder: Traversable) -> dict[str, Requirement]:
    """The requirements of every `<family>.toml` in a folder, by slug, in the order of FAMILIES.

    Raises RequirementError, also for a TOML file that is no family's.
    """
    files = {entry.name: entry for entry in folder.iterdir() if entry.name.endswith(".toml")}
    registry: dict[str, Requirement] = {}
    for family in FAMILIES:
        entry = files.pop(f"{family.replace('-', '_')}.toml", None)
        if entry is not None:
            registry |= {requirement.slug: requirement for requirement in parse(entry.read_text("utf-8"), family)}
    if files:
        raise RequirementError(f"{min(files)} is no family's file; the families are {', '.join(FAMILIES)}")
    return registry


@cache
def load() -> Mapping[str, Requirement]:
    """Every requirement of the protocol by slug, in the order of the families and of their files."""
    return MappingProxyType(load_from(resources.files(__name__)))


def revision() -> int:
    """The present revision of the rule set: the latest with which a demand came or became stricter."""
    return max(each.revision for each in load().values())


def get(slug: str) -> Requirement:
    """The requirement with this slug. Raises KeyError, whose text names the slugs that come close."""
    registry = load()
    if slug in registry:
        return registry[slug]
    close = get_close_matches(slug, registry, n=3)
    hint = f"; did you mean {' or '.join(close)}?" if close else ""
    raise KeyError(f"no requirement {slug!r}{hint}")


__all__ = ["FAMILIES", "Requirement", "RequirementError", "get", "load", "load_from", "parse", "revision"]
