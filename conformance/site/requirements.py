"""Pages of requirements: one page per family, one section per requirement with its slug as the anchor."""

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Final

from conformance.catalogue import cases
from conformance.judges import is_judged, logs_of, rules_of, sentence, vectors_of
from conformance.site import markdown as md
from conformance.site.messages import label
from conformance.site.traceability import behind
from protocol.channels import CHANNELS
from protocol.messages import REGISTRY
from protocol.requirements import FAMILIES, Level, Requirement, load

LEVELS: Final[tuple[Level, ...]] = ("MUST", "SHOULD", "MAY")


def pages() -> Iterator[tuple[str, str]]:
    """Name and text of every page, the index first."""
    families = [family for family in FAMILIES if any(each.family == family for each in load().values())]
    yield "requirements", _index(families)
    for family in families:
        yield f"requirements/{family}", _family(family)


def _index(families: Sequence[str]) -> str:
    rows = []
    for family in families:
        inside = [each for each in load().values() if each.family == family]
        levels = Counter(each.level for each in inside)
        judged = sum(is_judged(each.slug) for each in inside)
        rows.append(
            (
                md.link(family, f"requirements.{family}"),
                *(str(levels[level] or "") for level in LEVELS),
                str(judged or ""),
                str(sum(each.unobservable is not None for each in inside) or ""),
            )
        )
    every = load().values()
    bases = Counter(each.basis for each in every)
    return md.page(
        md.heading(1, "Requirements", "requirements"),
        f"The rule book has {len(every)} requirements. Each has a *slug* that never changes. Reports, cases and rules "
        "name it, and it is the anchor of its section here. The levels mean what they mean in RFC 2119.",
        f"{bases['documented']} are documented, {bases['measured']} measured and {bases['derived']} derived; "
        "[Concepts](../concepts.md) says what that means.",
        md.table(("family", *LEVELS, "judged by a case or rule", "not observable"), rows),
        "`ippkit requirements` prints the same as a table, and `ippkit explain SLUG` shows one requirement.",
        md.toctree((f"{family} <requirements/{family}>" for family in families), ":hidden:"),
    )


def _family(family: str) -> str:
    inside = [each for each in load().values() if each.family == family]
    return md.page(
        md.heading(1, f"Requirements: {family}", f"requirements.{family}"),
        *(part for each in inside for part in _requirement(each)),
    )


def _requirement(each: Requirement) -> Iterator[str]:
    yield md.heading(2, md.code(each.slug), each.slug)
    yield f'{md.level(each.level)} <span class="basis">{each.basis}</span>'
    yield md.prose(each.text)
    yield md.definitions(
        [
            ("Kept by", ", ".join(each.roles)),
            ("Dialects", md.codes(each.dialects)),
            ("Messages", ", ".join(_message(name, each) for name in each.messages)),
            ("Channels", ", ".join(_channel(name) for name in each.channels)),
            ("Observed", f"{md.prose(each.observed)} (vantage: {each.vantage})" if each.observed else ""),
            ("Not observable", md.prose(each.unobservable or "")),
            ("Source", "; ".join(map(md.prose, each.source))),
            *_judges(each),
        ]
    )


def _message(name: str, each: Requirement) -> str:
    found = [row for row in REGISTRY if name in row.all_names]
    near = [row for row in found if not each.channels or set(row.channels) & set(each.channels)]
    return md.link(md.code(name), label((near or found)[0])) if found else md.code(name)


def _channel(name: str) -> str:
    return md.link(md.code(name), f"channel.{name}") if any(row.name == name for row in CHANNELS) else md.code(name)


def _judges(each: Requirement) -> list[tuple[str, str]]:
    rules = rules_of(each.slug)
    found = [
        ("Cases", md.lines(md.code(f"conformance/{case}") for case in cases().get(each.slug, ()))),
        ("Rules", md.lines(f"{md.code(rule.name())}: {md.prose(sentence(rule))}" for rule in rules)),
        ("Logs", md.lines(md.code(log) for rule in rules for log in logs_of(rule))),
        ("Vectors", md.lines(f"{count} in {md.code(file)}" for file, count in vectors_of(each.slug).items())),
        *behind(each.slug),
    ]
    if each.unobservable is None and not is_judged(each.slug):
        found.append(("On targets", "nothing judges this yet"))
    return found
