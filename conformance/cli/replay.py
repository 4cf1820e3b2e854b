"""`ippkit replay`: play a conversation once more that failed, and explain what comes of it."""

from pathlib import Path

import click
import msgspec

from conformance.cli.group import ExitStatus
from conformance.cli.hunt import controller_target
from conformance.console import plain_or_rich
from conformance.model.stage import Stage, told
from conformance.model.vectors import VectorError, read


@click.command("replay")
@click.argument("vector", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("-t", "--target", "word", default="", metavar="NAME|FILE", help="On whom [default: who failed].")
@click.option("--strict", is_flag=True, help="Count known deviations as violations, and avoid nothing.")
def replay(vector: Path, word: str, strict: bool) -> int:
    """Play the conversation in VECTOR, a file of `ippkit hunt`, and explain what is violated in it, if anything is.

    Exit status: 0 if nothing was violated, 1 if something was, 6 if it was not the requirement of the vector and the
    machine was too busy to tell.
    """
    console = plain_or_rich()
    try:
        found = read(vector)
    except VectorError as error:
        raise click.UsageError(str(error)) from None
    target = controller_target(word or found.target)
    stage = Stage(target, is_strict=strict)
    try:
        outcome = stage.play(found.steps, after=found.before)
    finally:
        stage.close()
    after = f", after other conversations ({len(found.before)})" if found.before else ""
    lines = [f"{len(found.steps)} steps with {target.name}{after}:"]
    lines += [f"  {number}. {msgspec.json.encode(step).decode()}" for number, step in enumerate(found.steps, 1)]
    console.print("\n".join(lines), markup=False, highlight=False, soft_wrap=True)
    again = f"ippkit replay {vector} -t {target.name}"
    same = [each for each in outcome.violations if each.requirement == found.requirement]
    others = [each for each in outcome.violations if each.requirement != found.requirement]
    for violation in same[:1] or others[:1]:
        console.print(f"\n{told(outcome, violation, again)}", markup=False, highlight=False, soft_wrap=True)
    rest = [*same[1:], *others] if same else others[1:]
    for violation in rest:
        console.print(f"also: {violation}", markup=False, highlight=False, soft_wrap=True)
    if outcome.violations:
        return ExitStatus.VIOLATIONS
    for slug in dict.fromkeys(each.requirement for each in outcome.known):
        console.print(f"{slug}: a known deviation of {target.name}", markup=False)
    if outcome.is_undecided:
        console.print("Nothing can be said: the machine was too busy to look.")
        return ExitStatus.OPEN
    console.print(f"Nothing is violated; it was {found.requirement}, by {found.target}.", markup=False, soft_wrap=True)
    return ExitStatus.CONFORMS


__all__ = ["replay"]
