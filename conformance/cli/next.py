"""`ippkit next`: the first step that a half-built implementation does not reach yet."""

import sys

import click

from conformance.cli import ExitStatus
from conformance.climb import Step, climb, first_unmet
from conformance.judging import replay
from conformance.targets import load


@click.command(name="next", epilog="Example: ippkit next ./mine.toml")
@click.argument("target", metavar="NAME|FILE")
def next_step(target: str) -> int:
    """Climb from what everything else stands on, and stop at the first step that TARGET does not reach.

    One message for one missing thing: what builds on it is not tried. At the top of the ladder `ippkit test` goes on.
    Exit status: 0 the top is reached, 1 a step is missing, 3 the target is not usable, 4 wrong usage.
    """
    descriptor = load(target)
    out, told = sys.stdout, list[Step]()

    def tell(step: Step) -> None:
        said = f"left out: {step.left_out}" if step.left_out else "reached"
        if step.unmet is not None:
            said = f"waits for {step.unmet.blocked_by}"
        click.echo(f"{_name(step, len(descriptor.roles) > 1)}: {said}", file=out)
        told.append(step)

    steps, printed = climb(target, descriptor.roles, tell)
    tried = [step for step in steps if step.results]
    if not tried:
        raise click.ClickException(
            f"nothing was tried: {(printed.strip().splitlines() or ['pytest said nothing'])[-1]}"
        )
    if (missing := first_unmet(steps)) is not None:
        return _tell(target, missing, steps)
    for step in steps[len(told) :]:
        tell(step)
    click.echo(f"The top is reached. ippkit test -t {target} judges all the rest.")
    return ExitStatus.CONFORMS


def _name(step: Step, is_one_of_many: bool) -> str:
    return f"{f'{step.role} ' if is_one_of_many else ''}{step.number:2d}  {step.rung.title}"


def _tell(target: str, step: Step, steps: list[Step]) -> int:
    """Say what is missing, what was seen, and how much waits for it."""
    unmet = step.unmet
    assert unmet is not None
    if unmet.is_unusable:
        # Where nothing was found before, nobody can tell which step is missing.
        is_first = not any(each.results for each in steps if each is not step)
        at = "No step can be tried" if is_first else f"{step.number:2d}  {step.rung.title}"
        click.echo(f"{at}: the target is not usable\n\n{unmet.details}")
        return ExitStatus.UNUSABLE
    said = "something else is wrong" if unmet.by_rule else "NOT YET"
    click.echo(f"{step.number:2d}  {step.rung.title}: {said}\n")
    click.echo(unmet.details or f"{unmet.requirement}: {unmet.verdict}, {unmet.summary}\nin {unmet.case}")
    if not unmet.details:
        click.echo(f"replay: {replay(f'ippkit test -t {target}', unmet.case)}")
    above = [each for each in steps[steps.index(step) + 1 :] if each.cases]
    cases = sum(each.cases for each in above)
    cause = unmet.blocked_by or unmet.requirement
    if above:
        many = "s" if len(above) > 1 else ""
        first = above[0].rung.title
        click.echo(f"\nBlocked by {cause}: {len(above)} step{many} with {cases} cases; the next: {first}.")
    return ExitStatus.VIOLATIONS
