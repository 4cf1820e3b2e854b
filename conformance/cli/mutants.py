"""`ippkit mutants`: the kill matrix of the kit's own mutants."""

from textwrap import fill
from typing import TYPE_CHECKING

import click

from conformance.cli.group import ExitStatus
from conformance.cli.tables import print_json, print_table

if TYPE_CHECKING:
    from conformance.mutants.matrix import Fate


@click.command()
@click.argument("globs", nargs=-1, metavar="[GLOB]...")
@click.option("-j", "--jobs", type=click.IntRange(min=1), default=1, show_default=True, help="How many processes.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of a table.")
def mutants(globs: tuple[str, ...], jobs: int, as_json: bool) -> int:
    """Judge broken controllers and engines, each with one mistake, and show which requirement finds which.

    GLOB selects by the name of a mutant or by a requirement that it breaks, such as 'task.*'. Variants are legal and
    must be accused of nothing. What is judged and kills no mutant is listed as not proved, with the reason.

    Exit status: 0 if all is as it should be, 1 if a mutant survived, a variant was accused, or something is not proved
    without a reason, 5 if none is selected.
    """
    from conformance.mutants.matrix import chosen, judge, killers, unproved

    selected = chosen(globs)
    if not selected:
        click.echo(f"ippkit: no mutant matches {' or '.join(map(repr, globs))}", err=True)
        return ExitStatus.NOTHING_SELECTED
    fates = judge(selected, jobs=jobs)
    proved = killers(fates)
    wrong = [fate for fate in fates if not fate.is_as_it_should_be]
    # Of a selection nothing can be said about the rest.
    gaps = {} if globs else unproved(fates)
    is_explained = all(all(slugs.values()) for slugs in gaps.values())
    status = ExitStatus.VIOLATIONS if wrong or not is_explained else ExitStatus.CONFORMS
    if as_json:
        print_json(
            {
                "mutants": [
                    {
                        "name": fate.mutant.name(),
                        "sentence": fate.mutant.sentence(),
                        "judged_as": fate.mutant.judged_as,
                        "part": fate.mutant.part or "every role",
                        "is_variant": fate.is_variant,
                        "breaks": list(fate.mutant.breaks),
                        "survived": list(fate.survived),
                        "accused": fate.accused,
                        "errors": fate.errors,
                        "judged": fate.judged,
                        "is_as_it_should_be": fate.is_as_it_should_be,
                    }
                    for fate in fates
                ],
                "not_proved": gaps,
            }
        )
        return status
    rows = [(slug, role, ", ".join(names)) for (slug, role), names in sorted(proved.items())]
    if rows:
        print_table("requirements, and the mutants that each of them found", ("requirement", "of", "killed"), rows)
    for fate in fates:
        if fate.is_variant and fate.is_as_it_should_be:
            click.echo(f"{fate.mutant.name()}: legal, accused of nothing in {fate.judged} verdicts")
    for fate in wrong:
        _tell(fate)
    for role, slugs in gaps.items():
        click.echo(
            f"\nnot proved of {'an' if role == 'engine' else 'a'} {role} ({len(slugs)}): no mutant breaks them, since"
        )
        for why in dict.fromkeys(slugs.values()):
            click.echo(fill(why or "nobody has said why", 100, initial_indent="  ", subsequent_indent="  "))
            for slug in (slug for slug, known in slugs.items() if known == why):
                click.echo(f"    {slug}")
    count = sum(map(len, gaps.values()))
    click.echo(
        f"\n{len(fates)} mutants and variants, {len(fates) - len(wrong)} as they should be; "
        f"{len(proved)} requirements proved" + (f", {count} not" if not globs else "")
    )
    return status


def _tell(fate: "Fate") -> None:
    click.echo(f"\n{fate.mutant.name()}: {fate.mutant.sentence()}")
    if fate.survived:
        click.echo(f"  not found by {', '.join(fate.survived)}")
    if fate.is_variant:
        for line in fate.said:
            click.echo(f"  wrongly accused of {line}")
    else:
        click.echo(f"  was accused of {', '.join(fate.accused) or 'nothing'}")
    if not fate.judged:
        click.echo("  was not judged")
    for line in fate.errors:
        click.echo(f"  the kit stumbled: {line}")
    click.echo(f"  again: {fate.again}")
