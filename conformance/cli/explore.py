"""`ippkit explore`: every order of events in a small world, and the shortest story that should not be."""

import time
from pathlib import Path
from typing import Any

import click
from rich.console import Console

from conformance.cli.group import ExitStatus
from conformance.cli.paramtype import ParamType
from conformance.cli.view import DiagramPath, write
from conformance.console import plain_or_rich
from conformance.exploring import UnsuitableMutantError, infecting, story_of
from conformance.mutants import find
from protocol.roles.marks import MARKS
from simulator.explore import CERTAIN, FAULTS, MOST, Infect, Scope, World, explore, tell, text


class Faults(ParamType[dict[str, int]]):
    """`NAME=N,NAME=N`: what may go wrong, and how often at most."""

    name = "NAME=N,…"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> dict[str, int]:
        """Name -> number."""
        if isinstance(value, dict):
            return value
        faults: dict[str, int] = {}
        for each in filter(None, str(value).split(",")):
            name, equals, number = each.partition("=")
            if name not in FAULTS:
                self.fail(f"there is no fault {name!r}; there are {', '.join(FAULTS)}", param, ctx)
            if equals and not number.isdecimal():
                self.fail(f"{each!r} does not say how often: {name}=1", param, ctx)
            faults[name] = int(number) if equals else 1
        return faults


def _infect(context: click.Context, _: click.Parameter, value: str) -> Infect | None:
    if not value:
        return None
    try:
        mutant = find(value)
        if mutant.part == "hub" and not context.params["purges"]:
            raise UnsuitableMutantError("it is a mistake of the Hub, of whose records nobody asks without --purges")
        return infecting(mutant)
    except KeyError as error:
        raise click.BadParameter(str(error.args[0])) from None
    except UnsuitableMutantError as error:
        raise click.BadParameter(f"{value} cannot be explored: {error}") from None


@click.command("explore")
@click.option("--tasks", type=click.IntRange(1, 9), default=2, show_default=True, metavar="N", help="How many tasks.")
@click.option(
    "--engines", type=click.IntRange(1, 4), default=2, show_default=True, metavar="N", help="How many engines."
)
@click.option(
    "--faults", type=Faults(), default="", metavar="NAME=N,…",
    help=f"What may go wrong, and how often at most: {', '.join(FAULTS)}.",
)  # fmt: skip
@click.option(
    "--dependencies", type=click.IntRange(min=0), default=0, metavar="N", help="So many tasks wait for the one before."
)
@click.option("--retries", type=click.IntRange(0, 9), default=0, metavar="N", help="Of each task.")
@click.option(
    "--purges", type=click.IntRange(0, 9), default=0, metavar="N", is_eager=True,
    help="So often the client asks the Hub to forget a task.",
)  # fmt: skip
@click.option("--hwm", type=click.IntRange(min=0), default=1, show_default=True, help="Tasks that an engine may have.")
@click.option(
    "--scheme", type=click.Choice(CERTAIN), default=CERTAIN[0], show_default=True, help="How engines are chosen."
)
@click.option("--mutant", "infect", default="", metavar="NAME", callback=_infect, help="Let a role make a mistake.")
@click.option("--states", type=click.IntRange(min=1), default=MOST, show_default=True, help="How many at most.")
@click.option("--all-orders", is_flag=True, help="Also those that certainly lead to the same state as others.")
@click.option("--diagram", type=DiagramPath(), help="Draw the story: a file that ends with .svg, .html or .txt.")
def explore_(
    tasks: int, engines: int, faults: dict[str, int], dependencies: int, retries: int, purges: int, hwm: int,
    scheme: str, infect: Infect | None, states: int, all_orders: bool, diagram: Path | None,
) -> int:  # fmt: skip
    """Visit every order in which things may happen in a small world, and show the shortest story that breaks a rule.

    The machines are those of the simulator and of the reference: a client, the task scheduler, engines. The Hub is what
    others hear of it; with --purges its records are those of its real machine. Whatever is under way may arrive next,
    whatever timer is pending may run out, and what --faults names may go wrong at any moment. Engines are alike: states
    that differ only in which is which are one.

    Exit status: 0 if all was visited and nothing is violated, 1 if something is, 6 if there were more than --states.
    """
    try:
        scope = Scope(
            tasks=tasks, engines=engines, faults=faults, dependencies=dependencies, retries=retries,
            purges=purges, hwm=hwm, scheme=scheme,
        )  # fmt: skip
    except ValueError as error:
        raise click.UsageError(str(error)) from None
    started = time.perf_counter()
    try:
        world = World(scope, infect)
        with Console(stderr=True).status("…") as status:
            found = explore(
                scope, world=world, most=states, is_reduced=not all_orders,
                watcher=lambda depth, number: status.update(f"{depth} steps, {number:,} states"),
            )  # fmt: skip
    except UnsuitableMutantError as error:
        raise click.UsageError(f"this mutant cannot be explored: {error}") from None
    seconds = time.perf_counter() - started
    console = plain_or_rich()
    console.print(
        f"{found.states:,} states, {found.transitions:,} transitions, {found.ends:,} ends of stories, at most "
        f"{found.depth} steps; {seconds:.1f} s, {found.transitions / seconds:,.0f} transitions per second.",
        markup=False,
    )
    if found.marks:
        console.print(f"Rare branches that were taken, {len(found.marks)} in number:")
        for slug in sorted(found.marks):
            console.print(f"  {slug}: {MARKS[slug]}", markup=False)
    if found.violation is None:
        console.print("Nothing is violated." if found.is_whole else "Nothing is violated in these; there are more.")
        return ExitStatus.CONFORMS if found.is_whole else ExitStatus.OPEN
    steps = tell(world, found.path)
    console.print(f"{found.violation.requirement}: {found.violation.found}", markup=False)
    console.print(f"The shortest story, {len(steps)} steps:")
    for line in text(steps):
        console.print(line, markup=False)
    if diagram is not None:
        write(story_of(found, steps), diagram)
        console.print(f"Diagram: {diagram}", markup=False)
    return ExitStatus.VIOLATIONS


__all__ = ["explore_"]
