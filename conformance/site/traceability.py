"""The traceability matrix: each requirement with its cases, rules, mutants, and the last verdict about each target."""

from collections.abc import Sequence
from typing import Final

from conformance.catalogue import cases
from conformance.judges import rules_of
from conformance.mutants import Mutant, Variant, load
from conformance.mutants.unproved import REASONS, reason
from conformance.report.verdicts import Last, kept
from conformance.site import markdown as md
from protocol.requirements import FAMILIES, Requirement
from protocol.requirements import load as requirements

#: How a verdict is shown in a cell.
SIGNS: Final = {
    "passed": "✓", "observed": "o", "known": "k", "new": "n", "warned": "w", "failed": "✗", "blocked": "b",
    "undecided": "u", "not applicable": "/", "kit error": "e",
}  # fmt: skip


def mutants_of(slug: str) -> list[type[Mutant]]:
    """The mutants that break a requirement."""
    return [each for each in load().values() if slug in each.breaks and not issubclass(each, Variant)]


def page() -> str:
    """The page of the matrix."""
    targets = kept()
    judged = [f"{_name(each)} on {each.date}" for each in targets]
    legend = ", ".join(f"{sign} {verdict}" for verdict, sign in SIGNS.items())
    parts = [
        md.heading(1, "Traceability", "traceability"),
        "What stands behind each requirement: how many cases name it, how many rules watch all traffic for it, how "
        "many mutants break it on purpose and are found under its name, and the last verdict about each target of this "
        "repository. The section to which a requirement links names them.",
        f"Verdicts: {legend}; nothing where a requirement was not judged or does not concern the target. They are of "
        f"{'; '.join(judged)}. `ippkit test --report` shows those of today.",
    ]
    for family in FAMILIES:
        inside = [each for each in requirements().values() if each.family == family]
        shown = [each for each in targets if any(one.slug in each.verdicts for one in inside)]
        if inside:
            head = ("requirement", "level", "cases", "rules", "mutants", *(each.name for each in shown))
            parts += [md.heading(2, family), md.table(head, (_row(each, shown) for each in inside))]
    return md.page(*parts)


def _row(each: Requirement, targets: Sequence[Last]) -> tuple[str, ...]:
    counts = (len(cases().get(each.slug, ())), len(rules_of(each.slug)), len(mutants_of(each.slug)))
    return (
        md.link(md.code(each.slug), each.slug), each.level, *(str(count or "") for count in counts),
        *(SIGNS.get(target.verdicts.get(each.slug, ""), "") for target in targets),
    )  # fmt: skip


def behind(slug: str) -> list[tuple[str, str]]:
    """The mutants and the last verdicts of one requirement, for its own section."""
    broken = [f"{md.code(each.name())}: {md.prose(each.sentence())}" for each in mutants_of(slug)]
    spared = [f"of the {role} none: {md.prose(why)}" for role in REASONS if (why := reason(role, slug))]
    verdicts = [f"{_name(each)}: {each.verdicts[slug]}" for each in kept() if slug in each.verdicts]
    return [
        ("Mutants", md.lines([*broken, *spared])),
        ("Last verdicts", ", ".join(verdicts)),
    ]


def _name(each: Last) -> str:
    return " ".join(filter(None, (each.name, each.version)))


__all__ = ["SIGNS", "behind", "mutants_of", "page"]
