"""`ippkit doctor`: whether a target starts, and answers at all."""

import click

from conformance.cli import ExitStatus
from conformance.doctor import examine
from conformance.targets import load


@click.command(epilog="Example: ippkit doctor ./mine.toml")
@click.argument("target", metavar="NAME|FILE")
def doctor(target: str) -> int:
    """Start TARGET, try what everything else needs, end it, and tell step by step what was seen.

    Nothing is judged here. Exit status: 0 all is well, 1 it runs but does not do what it must, 3 it is not usable, 4
    the descriptor is wrong.
    """
    descriptor = load(target)
    for seen in examine(descriptor):
        click.echo(f"{'ok ' if seen.is_well else 'BAD'}  {seen.title:<22} {seen.text}")
        if seen.details:
            click.echo(seen.details)
        if not seen.is_well:
            return ExitStatus.UNUSABLE if seen.is_unusable else ExitStatus.VIOLATIONS
    click.echo(f"All is well. Go on with: ippkit next {target}")
    return ExitStatus.CONFORMS
