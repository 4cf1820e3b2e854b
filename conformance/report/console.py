"""The end of a run on the terminal: a table by family; then, behind the violations, what is known or open, in short.

The last lines say how much was judged, and how much was not.
"""

import io
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from typing import Final

from rich.console import Console
from rich.table import Table
from rich.text import Text

from conformance.agreement import disagreements
from conformance.catalogue import concerned
from conformance.harness.verdict import NOT_YET_TESTED, Result
from conformance.results import COLUMNS, by_family, stale
from conformance.targets.descriptor import Target
from conformance.targets.vocabulary import Role
from protocol.requirements import load

#: How a column is headed where its name would not do.
HEADS = {"not applicable": "n/a", NOT_YET_TESTED: "not yet tested", "kit error": "kit errors"}

#: So many cases are named one by one.
FEW: Final = 6

#: What is told result by result before the table; violations were told by pytest.
_SECTIONS = {
    "warned": "warnings",
    "known": "known deviations",
    "new": "new demands, which do not count yet",
    "observed": "observed",
    "not applicable": "not applicable",
    "blocked": "blocked",
    "undecided": "undecided",
}


def families(results: Sequence[Result], targets: Sequence[Target], *, width: int = 100) -> list[str]:
    """The lines before violations are told: a table with one line per family."""
    console = _page(width)
    for target in targets:
        # Of two targets each has its own table: a sum would hide which of them fails.
        own = [result for result in results if result.target == target.name]
        if not any(result.is_unusable for result in own):
            console.rule(f"verdicts{_of(target, targets)}", characters="-")
            console.print(_table(own, target.roles))
    return console.file.getvalue().splitlines()  # type: ignore[attr-defined, no-any-return]


def summary(
    results: Sequence[Result],
    targets: Sequence[Target],
    version_of: Callable[[Target], str | None],
    *,
    width: int = 100,
) -> list[str]:
    """The lines that close a run; the last says how much was not judged."""
    console = _page(width)
    headlines = []
    for target in targets:
        of = _of(target, targets)
        own = [result for result in results if result.target == target.name]
        if any(result.is_unusable for result in own):
            headlines.append(f"Nothing is said about {target.name}, because it was not usable.")
            continue
        for verdict, title in _SECTIONS.items():
            chosen = [result for result in own if result.verdict == verdict]
            if chosen:
                console.rule(title + of, characters="-")
                for group in _GROUPED.get(verdict, _grouped)(chosen):
                    console.print(group)
        for deviation in stale(own, target, version_of(target)):
            console.print(
                f"{target.name}: the known deviation {deviation.slug} ({deviation.case}) no longer fails; remove it",
                markup=False, soft_wrap=True,
            )  # fmt: skip
        name = f"{target.name}: " if of else ""
        headlines.append(name + _headline(own, target.roles))
    differing = disagreements(results, targets)
    if differing:
        console.rule("a simulation and what it simulates disagree: a defect of the kit", characters="-")
        for each in differing:
            console.print(str(each), markup=False, soft_wrap=True)
    console.rule("summary", characters="-")
    for line in headlines:
        console.print(line, markup=False, soft_wrap=True)
    return console.file.getvalue().splitlines()  # type: ignore[attr-defined, no-any-return]


def _page(width: int) -> Console:
    return Console(file=io.StringIO(), width=max(width, 100), color_system=None, highlight=False)


def _of(target: Target, targets: Sequence[Target]) -> str:
    return f" of {target.name}" if len(targets) > 1 else ""


def _grouped(results: Sequence[Result]) -> Iterator[Table]:
    """One paragraph for what has one reason: the requirement, what was found first, why, and where."""
    groups: dict[tuple[str, str], list[Result]] = {}
    for result in results:
        # Without a reason each finding stands for itself.
        groups.setdefault((result.requirement, result.reason or result.summary), []).append(result)
    for (requirement, _), members in groups.items():
        first = members[0]
        times = f" ({len(members)} times)" if len(members) > 1 else ""
        title = Text(f"{requirement}{times}")
        lines = Table.grid(padding=(0, 1))
        lines.add_row("  found", Text(_short(first.summary)))
        if first.reason:
            lines.add_row("  why", Text(" ".join(first.reason.split())))
        for place in _places(member.case for member in members):
            lines.add_row("  in", Text(place))
        group = Table.grid()
        group.add_row(title)
        group.add_row(lines)
        yield group


def _left_out(results: Sequence[Result]) -> Iterator[Table]:
    """One paragraph for what was left out for one reason: that first, for it may concern most of the suite."""
    reasons: dict[str, list[str]] = {}
    for result in results:
        reasons.setdefault(result.summary, []).append(result.case)
    for reason, cases in reasons.items():
        names = dict.fromkeys(cases)
        group = Table.grid(padding=(0, 1))
        group.add_row(Text(f"{_short(reason)}: {len(names)} case{'s' if len(names) > 1 else ''}"))
        for place in _places(names):
            group.add_row(Text(f"  {place}"))
        yield group


def _blocked(results: Sequence[Result]) -> Iterator[Table]:
    """One paragraph for what one thing keeps from being judged: it may be most of the suite."""
    causes: dict[tuple[str, str], list[Result]] = {}
    for result in results:
        causes.setdefault((result.blocked_by, result.reason), []).append(result)
    for (cause, reason), members in causes.items():
        cases = dict.fromkeys(member.case for member in members)
        requirements = {member.requirement for member in members}
        many = f"{_count(requirements, 'requirement')} in {_count(cases, 'case')}"
        lines = Table.grid(padding=(0, 1))
        # What the case that accuses it has found says more than that it was accused.
        told = max((member.summary for member in members), key=len)
        lines.add_row("  found", Text(_short(told)))
        if reason:
            lines.add_row("  why", Text(" ".join(reason.split())))
        for place in _places(cases):
            lines.add_row("  in", Text(place))
        group = Table.grid()
        group.add_row(Text(f"{cause} keeps from being judged: {many}"))
        group.add_row(lines)
        yield group


_GROUPED: Final[Mapping[str, Callable[[Sequence[Result]], Iterator[Table]]]] = {
    "not applicable": _left_out, "blocked": _blocked,
}  # fmt: skip


def _places(cases: Iterable[str]) -> list[str]:
    """Cases, each once and one a line; where they are many, one line that counts them by file."""
    names = dict.fromkeys(cases)
    if len(names) <= FEW:
        return list(names)
    files = Counter(case.partition("::")[0] for case in names)
    return [", ".join(f"{file} ({count})" for file, count in files.items())]


def _count(things: Collection[str], what: str) -> str:
    return f"{len(things)} {what}{'' if len(things) == 1 else 's'}"


def _short(text: str, limit: int = 150) -> str:
    return text if len(text) <= limit else f"{text[:limit]}…"


def _table(results: Sequence[Result], roles: Sequence[Role]) -> Table:
    counts = by_family(results, roles)
    rare = {column for column in ("new", "kit error") if not any(counted[column] for counted in counts.values())}
    shown = [column for column in COLUMNS if column not in rare]
    table = Table(box=None, pad_edge=False, show_footer=True)
    total: Counter[str] = sum(counts.values(), Counter())
    table.add_column("family", "total", no_wrap=True)
    for column in shown:
        table.add_column(HEADS.get(column, column), str(total[column]), justify="right")
    for family, counted in counts.items():
        if counted:
            table.add_row(family, *(str(counted[column] or "·") for column in shown))
    return table


def _headline(results: Sequence[Result], roles: Sequence[Role]) -> str:
    requirements = load()
    judged = {
        result.requirement
        for result in results
        if result.verdict in ("passed", "failed", "warned", "known", "new", "observed")
    }
    broken = [result for result in results if result.verdict == "failed"]
    bases = Counter(requirements[slug].basis for slug in judged)
    counted = ", ".join(f"{bases[basis]} {basis}" for basis in ("documented", "measured", "derived"))
    # A case may judge besides what nobody demands of this role.
    meant = judged | {each.slug for each in concerned(roles)}
    violated = len({result.requirement for result in broken})
    return (
        f"{len(judged)} of {len(meant)} requirements judged ({counted}), {violated} violated; "
        f"{len(meant) - len(judged)} were not judged."
    )
