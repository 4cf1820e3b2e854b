"""The end of a run on the terminal: warnings and known deviations in short, then a table, then what was not judged."""

import io
from collections import Counter
from collections.abc import Callable, Sequence

from rich.console import Console
from rich.table import Table

from conformance.harness.verdict import NOT_YET_TESTED, Result
from conformance.results import COLUMNS, by_family, stale
from conformance.targets.descriptor import Target
from protocol.requirements import load

_HEADS = {"not applicable": "n/a", NOT_YET_TESTED: "not yet tested", "kit error": "kit errors"}


def summary(
    results: Sequence[Result],
    targets: Sequence[Target],
    version_of: Callable[[Target], str | None],
    *,
    width: int = 100,
) -> list[str]:
    """The lines that close a run."""
    console = Console(file=io.StringIO(), width=max(width, 100), color_system=None, highlight=False)
    for verdict, title in (("warned", "warnings"), ("known", "known deviations"), ("observed", "observed"),
                           ("blocked", "blocked"), ("undecided", "undecided")):  # fmt: skip
        chosen = [result for result in results if result.verdict == verdict]
        if chosen:
            console.rule(title, characters="-")
            for result in chosen:
                why = f" ({result.reason})" if result.reason else ""
                console.print(
                    f"{result.requirement}: {result.summary}{why} [{result.case}]", markup=False, soft_wrap=True
                )
    for target in targets:
        for deviation in stale(results, target, version_of(target)):
            console.print(
                f"{target.name}: the known deviation {deviation.slug} ({deviation.case}) no longer fails; remove it",
                markup=False, soft_wrap=True,
            )  # fmt: skip
    console.rule("verdicts", characters="-")
    console.print(_table(results))
    console.print(_headline(results), markup=False, soft_wrap=True)
    return console.file.getvalue().splitlines()  # type: ignore[attr-defined, no-any-return]


def _table(results: Sequence[Result]) -> Table:
    counts = by_family(results)
    shown = [column for column in COLUMNS if column != "kit error" or any(c["kit error"] for c in counts.values())]
    table = Table(box=None, pad_edge=False, show_footer=True)
    total: Counter[str] = sum(counts.values(), Counter())
    table.add_column("family", "total", no_wrap=True)
    for column in shown:
        table.add_column(_HEADS.get(column, column), str(total[column]), justify="right")
    for family, counted in counts.items():
        if counted:
            table.add_row(family, *(str(counted[column] or "·") for column in shown))
    return table


def _headline(results: Sequence[Result]) -> str:
    requirements = load()
    judged = {
        result.requirement
        for result in results
        if result.verdict in ("passed", "failed", "warned", "known", "observed")
    }
    broken = [result for result in results if result.verdict == "failed"]
    bases = Counter(requirements[slug].basis for slug in judged)
    counted = ", ".join(f"{bases[basis]} {basis}" for basis in ("documented", "measured", "derived"))
    violated = len({result.requirement for result in broken})
    return (
        f"{len(judged)} of {len(requirements)} requirements judged ({counted}), {violated} violated; "
        f"{len(requirements) - len(judged)} were not judged."
    )
