"""`ippkit simulate`: let things go wrong in virtual time, or in a real one, and judge what comes of it."""

import difflib
import json
import multiprocessing
import os
import time
from collections.abc import Iterable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any, Final, get_args

import click
import msgspec
from click.core import ParameterSource
from rich.console import Console

from conformance.cli.campaign import SHOWN, ExecutorName, Jobs, many
from conformance.cli.group import ExitStatus
from conformance.cli.paramtype import ParamType
from conformance.cli.tables import print_table
from conformance.cli.view import DiagramPath, is_whole, write
from conformance.console import plain_or_rich
from conformance.mutants import find
from conformance.report.reading import of_outcome
from conformance.report.story import select
from conformance.simulating import carry_out
from conformance.targets.adapters import CONTROLLERS, maker
from protocol.world import SECOND
from simulator.plans import Hardness
from simulator.run import SWARM, Outcome, Setup
from simulator.scenarios import SCENARIOS
from simulator.schedules import parse
from simulator.trace import Entry, first_difference

ALL: Final = "all"


class Seeds(ParamType[range]):
    """`A..B`: the seeds from A to B, both included."""

    name = "A..B"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> range:
        """The range."""
        if isinstance(value, range):
            return value
        first, dots, last = str(value).partition("..")
        if not (dots and first.isdecimal() and last.isdecimal() and int(first) <= int(last)):
            self.fail(f"{value!r} is no range of seeds such as 0..99", param, ctx)
        return range(int(first), int(last) + 1)


def _of_kernels() -> dict[str, str]:
    """The scenarios of plain kernels, and what happens. They are real processes only, and virtual time needs none."""
    from conformance.onreal.kernels import KERNELS

    return {name: each.text for name, each in KERNELS.items()}


def _scenario(_: click.Context, __: click.Parameter, value: str) -> str:
    if value not in (SWARM, ALL, *SCENARIOS, *_of_kernels()):
        near = difflib.get_close_matches(value, (SWARM, ALL, *SCENARIOS, *_of_kernels()))
        hint = f"; did you mean {' or '.join(near)}?" if near else "; --list shows them"
        raise click.BadParameter(f"there is no scenario {value!r}{hint}")
    return value


def _mutant(_: click.Context, __: click.Parameter, value: str) -> str:
    try:
        return find(value).name() if value else ""
    except KeyError as error:
        raise click.BadParameter(str(error.args[0])) from None


def _schedule(_: click.Context, __: click.Parameter, value: str) -> str:
    if value:
        try:
            parse(value)
        except ValueError as error:
            raise click.BadParameter(str(error)) from None
    return value


@click.command("simulate")
@click.argument("scenario", default=SWARM, callback=_scenario)
@click.option("--list", "is_list", is_flag=True, help="List the scenarios, and run nothing.")
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Which run.")
@click.option("--seeds", type=Seeds(), help="A campaign: the seeds from A to B.")
@click.option("--engines", type=click.IntRange(min=0), metavar="N", help="How many engines [default: 4; a scenario's].")
@click.option("--clients", type=click.IntRange(min=1), metavar="N", default=2, show_default=True, help="Of a swarm.")
@click.option("--tasks", type=click.IntRange(min=0), metavar="N", default=40, show_default=True, help="Of a swarm.")
@click.option(
    "--faults", type=click.Choice(get_args(Hardness)), default="hard", show_default=True,
    help="Of a swarm: none, those within ZeroMQ's contract, or all.",
)  # fmt: skip
@click.option(
    "--mutant",
    default="",
    metavar="NAME",
    callback=_mutant,
    help="Let the controller, or the engines, make a mistake: see ippkit mutants.",
)
@click.option(
    "--controller", type=click.Choice(list(CONTROLLERS)),
    help="In the place of the kit's own controller: the code of another one, in virtual time.",
)  # fmt: skip
@click.option(
    "--schedule", default="", metavar="KIND", callback=_schedule,
    help="Who is next of what is due at about the same time: uniform, or pct[:DEPTH]  [default: who is due first].",
)  # fmt: skip
@click.option("--trace", type=click.Path(dir_okay=False, path_type=Path), help="Write what happens, as JSON lines.")
@click.option("--diagram", type=DiagramPath(), help="Draw what happens: a file that ends with .svg, .html or .txt.")
@click.option("--check-determinism", is_flag=True, help="Run twice and compare, the second time in another Python.")
@click.option("--on", metavar="TARGET", help="Not in virtual time, but on real processes of this target.")
@click.option("--engines-of", default="", metavar="TARGET", help="With --on: whose engines  [default: the kit's].")
@click.option(
    "--pace", type=click.FloatRange(min=0.5, max=60), default=2.0, show_default=True, metavar="N",
    help="With --on: how much slower than in virtual time hearts beat and everything else goes.",
)  # fmt: skip
@click.option(
    "--keep", type=click.Path(dir_okay=False, path_type=Path), metavar="FILE",
    help="Put the verdicts into this table of worlds, as JSON.",
)  # fmt: skip
@click.option(
    "-j", "--jobs", type=Jobs(), metavar="N|auto", show_default="auto: one per core; with --on 1",
    help="How many processes a campaign has.",
)  # fmt: skip
@click.option(
    "--executor", type=ExecutorName(), metavar="WHO", help="Of a campaign: dask:ADDRESS, or ipyparallel:PROFILE."
)
@click.option(
    "--resume", type=click.Path(dir_okay=False, path_type=Path), metavar="FILE",
    help="Of a campaign: keep what is done in this journal, and go on where it ends.",
)  # fmt: skip
def simulate(
    scenario: str, is_list: bool, seed: int, seeds: range | None, engines: int | None, clients: int, tasks: int,
    faults: Hardness, mutant: str, schedule: str, trace: Path | None, diagram: Path | None, check_determinism: bool,
    jobs: int | None, executor: tuple[str, str] | None, resume: Path | None, on: str | None, engines_of: str,
    pace: float, keep: Path | None, controller: str | None,
) -> int:  # fmt: skip
    """Run a cluster in virtual time in which something goes wrong, and judge what comes of it.

    SCENARIO is a name, `all`, or `swarm` (the default), in which everything is drawn from the seed: what clients ask,
    and which faults there are. All rules watch; then everything is healed, and whatever is still open must be excused
    by a fault that took its message. The same seed gives the same run. Exit status: 0 if nothing was violated, 1 if
    something was.

    With --on the same happens to real processes: signals, and a relay between all of them that touches messages. What
    cannot be done to those is not applicable. The exit status is 5 if nothing else was asked for, 3 if the target
    cannot be used, and 6 if it could not be told whether a demand was met.

    With --controller everything is as usual, but for the controller: that is the code of another one, on virtual
    sockets and in virtual time. What its descriptor knows it to break is told apart; what it cannot do, such as to
    start one process again, is not applicable.
    """
    if is_list:
        print_table("Scenarios", ("name", "what happens, and what must hold"), _rows())
        print_table("Scenarios of plain kernels, with --on", ("name", "what happens"), _of_kernels().items())
        return ExitStatus.CONFORMS
    if seeds is not None and click.get_current_context().get_parameter_source("seed") == ParameterSource.COMMANDLINE:
        raise click.UsageError("--seed is for one run, and --seeds for several: give one of them")
    if keep is not None and (seeds is not None or (scenario != ALL and on is None)):
        raise click.UsageError("--keep is for all scenarios with one seed, or with --on for a single one")
    for file in (trace, diagram):
        if file is not None and not file.parent.is_dir():
            raise click.UsageError(f"{file} cannot be written: there is no folder {file.parent}")
    if on is not None:
        _refuse_with_on(click.get_current_context())
        # Virtual time needs no sockets.
        from conformance.cli import onreal

        if scenario == ALL:
            if trace is not None or diagram is not None:
                raise click.UsageError("--trace and --diagram are for one scenario")
            return onreal.many(onreal.setups([], on, engines_of, seed, engines, pace), jobs or 1, keep)
        (setup,) = onreal.setups([scenario], on, engines_of, seed, engines, pace)
        return onreal.one(setup, trace, diagram, keep)
    if engines_of:
        raise click.UsageError("--engines-of goes with --on")
    if scenario not in (SWARM, ALL, *SCENARIOS):
        raise click.UsageError(f"{scenario} is for a plain kernel: name one with --on")
    if controller is not None:
        if keep is not None:
            raise click.UsageError("--keep is for the kit's own controller, or with --on")
        if mutant:
            raise click.UsageError("--mutant is for the kit's own controller, and --controller is another one")
        # Whether it is there is better said now than once for each run.
        maker(controller)
    like = Setup(
        engines=engines, clients=clients, tasks=tasks, faults=faults, mutant=mutant, schedule=schedule,
        controller=controller or "",
    )  # fmt: skip
    names = list(SCENARIOS) if scenario == ALL else [scenario]
    seeds = range(seed, seed + 1) if seeds is None else seeds
    is_campaign = len(names) * len(seeds) > 1
    if not is_campaign and (executor is not None or resume is not None):
        raise click.UsageError("--executor and --resume are for campaigns: give --seeds A..B")
    if is_campaign and (trace is not None or diagram is not None or check_determinism):
        options = "--trace, --diagram and --check-determinism"
        raise click.UsageError(f"{options} are for one run: give one scenario and one --seed")
    console = plain_or_rich()
    if is_campaign:
        return many(console, scenario, names, seeds, like, jobs=jobs, executor=executor, resume=resume, keeps=keep)
    single = msgspec.structs.replace(like, name=scenario, seed=seeds[0])
    return _compare(console, single) if check_determinism else _one(console, single, trace, diagram)


def _refuse_with_on(context: click.Context) -> None:
    """Refuse what there is only in virtual time. Raises click.UsageError."""
    virtual = {
        "seeds": "--seeds", "clients": "--clients", "tasks": "--tasks", "faults": "--faults", "mutant": "--mutant",
        "check_determinism": "--check-determinism", "schedule": "--schedule", "executor": "--executor",
        "resume": "--resume", "controller": "--controller",
    }  # fmt: skip
    if context.params["scenario"] == SWARM:
        raise click.UsageError("--on runs a scenario, or all of them; swarms are drawn in virtual time only")
    for name, option in virtual.items():
        if context.get_parameter_source(name) == ParameterSource.COMMANDLINE:
            raise click.UsageError(f"{option} is for virtual time, and --on is not")


def _rows() -> Iterable[tuple[str, str]]:
    for scenario in SCENARIOS.values():
        yield scenario.name, scenario.text if scenario.is_inside else f"{scenario.text} (outside ZeroMQ's contract)"


# -- one run -----------------------------------------------------------------------------------------------------------


def _one(console: Console, setup: Setup, trace: Path | None, diagram: Path | None) -> int:
    started = time.perf_counter()
    outcome = carry_out(msgspec.structs.replace(setup, has_trace=trace is not None, keeps_items=diagram is not None))
    seconds = time.perf_counter() - started
    if setup.name != SWARM:
        console.print(f"{setup.name}: {SCENARIOS[setup.name].text}", markup=False)
    else:
        console.print(f"swarm, seed {setup.seed}: {len(outcome.plan)} faults", markup=False)
        for event in outcome.plan:
            until = "" if event.lasts is None else f" for {event.lasts / SECOND:.3f} s"
            console.print(f"  {event.at / SECOND:6.3f} s{until}: {event.fault!r}", markup=False)
    if trace is not None:
        _write(trace, outcome)
        console.print(f"Trace: {trace}, {outcome.digest}", markup=False)
    if diagram is not None:
        write(select(of_outcome(outcome), is_all=is_whole(diagram)), diagram)
        console.print(f"Diagram: {diagram}", markup=False)
    if outcome.excused:
        console.print(f"Excused, {len(outcome.excused)} in number:")
        for excuse in outcome.excused[:SHOWN]:
            console.print(f"  {excuse}", markup=False)
    if outcome.lacking:
        console.print(f"Not applicable: needs {outcome.lacking}.", markup=False)
        return ExitStatus.NOTHING_SELECTED
    for known in outcome.known:
        console.print(f"{known.text}\n    known: {known.reason}", markup=False)
    if not outcome.is_clean:
        for text in _explained(setup, outcome):
            console.print(text, markup=False)
    count = len(outcome.violations)
    verdict = f"{count} violation{'s' if count > 1 else ''}" if count else "nothing was violated"
    verdict += f", {len(outcome.known)} known" if outcome.known else ""
    console.print(f"{outcome.lasted / SECOND:.1f} virtual s in {seconds:.1f} s: {verdict}.")
    if not outcome.is_clean:
        named = trace if trace is not None else "FILE, after --trace FILE"
        console.print(f"The smallest run that fails like this: ippkit minimise {named}", markup=False, soft_wrap=True)
    return ExitStatus.CONFORMS if outcome.is_clean else ExitStatus.VIOLATIONS


def _explained(setup: Setup, outcome: Outcome) -> list[str]:
    """The violations, each with what led to it: the run is done once more, with everything written down."""
    again = carry_out(msgspec.structs.replace(setup, keeps_items=True))
    judged = again.judgement.text().splitlines() if again.judgement is not None else []
    shown = set(judged)
    if again.known:
        # What is known was told already, and is among what the rules found.
        return outcome.violations
    return [*(violation for violation in outcome.violations if violation not in shown), *judged]


def _write(path: Path, outcome: Outcome) -> None:
    assert outcome.trace is not None
    setup = msgspec.structs.replace(outcome.setup, plan=outcome.plan if outcome.setup.name == SWARM else None)
    head = {"setup": msgspec.to_builtins(setup), "violations": outcome.violations, "digest": outcome.digest}
    with path.open("w", encoding="utf-8") as file:
        file.write(json.dumps(head, ensure_ascii=False) + "\n")
        file.writelines(f"{line}\n" for line in outcome.trace.lines())


def _entries(setup: Setup) -> tuple[str, list[Entry]]:
    outcome = carry_out(msgspec.structs.replace(setup, has_trace=True))
    assert outcome.trace is not None
    return outcome.digest, outcome.trace.entries


def _compare(console: Console, setup: Setup) -> int:
    digest, entries = _entries(setup)
    # Another hash seed moves everything that depends on the order of sets and on hash().
    before = os.environ.get("PYTHONHASHSEED")
    os.environ["PYTHONHASHSEED"] = "1" if before != "1" else "2"
    try:
        with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as executor:
            other, others = executor.submit(_entries, setup).result()
    finally:
        if before is None:
            del os.environ["PYTHONHASHSEED"]
        else:
            os.environ["PYTHONHASHSEED"] = before
    if digest == other:
        console.print(f"The same run twice: {len(entries):,} entries, {digest}.", markup=False)
        return ExitStatus.CONFORMS
    place = first_difference(entries, others)
    assert place is not None
    console.print(f"Two runs differ from entry {place:,} on:", markup=False)
    for run_of in (entries, others):
        console.print(f"  {run_of[place] if place < len(run_of) else 'the end'}", markup=False)
    return ExitStatus.VIOLATIONS
