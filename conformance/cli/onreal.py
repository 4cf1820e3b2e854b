"""`ippkit simulate --on`: the scenarios of the simulator on real processes."""

import multiprocessing
from collections import defaultdict
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import click
import msgspec
from rich.console import Console

from conformance.cli.group import ExitStatus
from conformance.cli.progress import progress_bar
from conformance.cli.tables import print_table
from conformance.cli.view import is_whole, write
from conformance.console import plain_or_rich
from conformance.onreal.kernels import KERNELS
from conformance.onreal.run import Found, Setup, Verdict
from conformance.onreal.tour import keep, name_of, tour, try_out, why
from conformance.report.reading import of_file
from conformance.report.story import select
from conformance.targets.descriptor import Target, load
from conformance.targets.process import detect_version
from conformance.targets.vocabulary import Role
from simulator.scenarios import SCENARIOS

#: What whoever is not judged is played by: the kit's own controller and engines.
CONTROLLER = "reference"
ENGINE = "reference-engine"
CLIENT: Role = "client"
#: Excused requests that are shown; of further ones only the number is.
SHOWN = 5


def world(on: str, engines_of: str) -> tuple[Target, Target, Target | None]:
    """The controller, the engines and the clients of a world; no clients: the kit's own. Raises click.UsageError, and
    TargetError if there is no such target.
    """
    named = load(on)
    if named.roles == ("kernel",):
        if engines_of:
            raise click.UsageError(f"{on} is no controller: --engines-of goes with one that is")
        return named, named, None
    is_engine = "controller" not in named.roles and "engine" in named.roles
    client = named if "client" in named.roles and not {"controller", "engine"} & set(named.roles) else None
    controller = load(CONTROLLER) if is_engine or client is not None else named
    engine = load(engines_of) if engines_of else named if is_engine else load(ENGINE)
    if engines_of and controller is not named:
        raise click.UsageError(f"{on} is no controller: --engines-of goes with one that is")
    parties: list[tuple[Target, Role]] = [(controller, "controller"), (engine, "engine")]
    for target, role in (*parties, *([] if client is None else [(client, CLIENT)])):
        if role not in target.roles:
            raise click.UsageError(f"{target.name} is no {role}: it is {' and '.join(target.roles)}")
        if target.is_simulated or role in target.attached:
            raise click.UsageError(f"{target.name} is not started as real processes, and so cannot be broken")
    return controller, engine, client


def text_of(name: str) -> str:
    """What happens in a scenario, be it one of clusters or of kernels."""
    return KERNELS[name].text if name in KERNELS else SCENARIOS[name].text


def setups(names: Sequence[str], on: str, engines_of: str, seed: int, engines: int | None, pace: float) -> list[Setup]:
    """What is to be run, scenario by scenario; no names: all that there are. Raises click.UsageError."""
    controller, engine, client = world(on, engines_of)
    if not names:
        names = list(KERNELS if controller.roles == ("kernel",) else SCENARIOS)
    strange = [name for name in names if name in KERNELS]
    if strange and controller.roles != ("kernel",):
        raise click.UsageError(f"{strange[0]} is for plain kernels, and {controller.name} is none")
    return [
        Setup(
            name=name, controller=controller, engine=engine, client=client, seed=seed, engines=engines or 0, pace=pace
        )
        for name in names
    ]  # fmt: skip


def one(setup: Setup, trace: Path | None, diagram: Path | None, keeps: Path | None) -> int:
    """Run one scenario, and tell what came of it; the exit status."""
    console = plain_or_rich()
    title = f"{setup.name} on {name_of(setup)}"
    console.print(f"{title}: {text_of(setup.name)}", markup=False)
    recording = trace or (diagram.with_suffix(".recording") if diagram is not None else None)
    verdict = try_out(msgspec.structs.replace(setup, recording=recording))
    if recording is not None and recording.is_file():
        if diagram is not None:
            write(select(of_file(recording), is_all=is_whole(diagram)), diagram, source=recording)
            console.print(f"Diagram: {diagram}", markup=False)
        if trace is None:
            recording.unlink()
        else:
            console.print(f"Recording: {trace}; ippkit view draws it", markup=False)
    _tell(console, verdict)
    if keeps is not None:
        _keep(console, keeps, setup, [verdict])
    return _status([verdict])


def many(setups: Sequence[Setup], jobs: int, keeps: Path | None) -> int:
    """Run several scenarios, and print a table; the exit status."""
    console = plain_or_rich()
    verdicts: list[Verdict] = []
    with progress_bar() as progress:
        bar = progress.add_task(f"scenarios on {setups[0].controller.name}", total=len(setups))

        def take(verdict: Verdict) -> None:
            verdicts.append(verdict)
            progress.update(bar, completed=len(verdicts))

        if jobs == 1:
            for verdict in tour(setups):
                take(verdict)
        else:
            context = multiprocessing.get_context("spawn")
            with ProcessPoolExecutor(min(jobs, len(setups)), mp_context=context) as executor:
                for verdict in tour(setups, executor):
                    take(verdict)
    order = {setup.name: number for number, setup in enumerate(setups)}
    verdicts.sort(key=lambda each: order[each.name])
    for verdict in verdicts:
        if verdict.word in ("broken", "kit error"):
            console.print(f"{verdict.name}: {text_of(verdict.name)}", markup=False)
            _tell(console, verdict)
            console.print()
    title = f"Scenarios on {name_of(setups[0])}"
    rows = [(each.name, each.word, f"{each.seconds:.0f}", why(each)) for each in verdicts]
    print_table(title, ("scenario", "verdict", "s", ""), rows)
    counts = {
        word: sum(each.word == word for each in verdicts) for word in dict.fromkeys(each.word for each in verdicts)
    }
    console.print(f"{len(verdicts)} scenarios: {', '.join(f'{count} {word}' for word, count in counts.items())}.")
    needs = defaultdict(list)
    for verdict in verdicts:
        if verdict.lacking:
            needs[verdict.lacking].append(verdict.name)
    for need, names in needs.items():
        console.print(f"Not applicable, {len(names)}, needs {need}: {', '.join(names)}", markup=False)
    if keeps is not None:
        _keep(console, keeps, setups[0], verdicts)
    return _status(verdicts)


def _keep(console: Console, path: Path, setup: Setup, verdicts: Sequence[Verdict]) -> None:
    name = name_of(setup)
    keep(path, name, verdicts, version=detect_version(setup.controller), pace=setup.pace)
    console.print(f"Kept: {path}", markup=False)


def _tell(console: Console, verdict: Verdict) -> None:
    if verdict.excused:
        console.print(f"Excused, {len(verdict.excused)} in number:")
        for text in verdict.excused[:SHOWN]:
            console.print(f"  {text}", markup=False)
    for found in verdict.found:
        for line in _lines(found):
            console.print(line, markup=False)
    if verdict.error:
        console.print(f"Could not be run: {verdict.error}", markup=False)
    elif verdict.lacking:
        console.print(f"Not applicable: needs {verdict.lacking}.", markup=False)
    else:
        if verdict.undecided:
            console.print(f"Undecided: {verdict.undecided}", markup=False)
        count = len(verdict.new)
        known = len(verdict.found) - count
        what = f"{count} violation{'s' if count > 1 else ''}" if count else "nothing was violated"
        more = f", {known} known" if known else ""
        console.print(f"{verdict.seconds:.1f} s: {what}{more}.")


def _lines(found: Found) -> list[str]:
    whose = f"{found.role}{f' {found.guilty}' if found.guilty and found.guilty != found.role else ''}"
    first = f"{found.text} ({whose})" if found.guilty not in found.text or not found.guilty else found.text
    return [first, f"    known: {found.reason}"] if found.reason else [first]


def _status(verdicts: Sequence[Verdict]) -> int:
    words = {each.word for each in verdicts}
    if "kit error" in words:
        return ExitStatus.UNUSABLE
    if "broken" in words:
        return ExitStatus.VIOLATIONS
    if "undecided" in words:
        return ExitStatus.OPEN
    return ExitStatus.NOTHING_SELECTED if words == {"not applicable"} else ExitStatus.CONFORMS
