"""`ippkit fuzz target`: damaged messages at every socket of a running target, among the honest traffic of others."""

import time
from collections import Counter
from collections.abc import Sequence
from typing import get_args

import click
from rich.console import Console
from rich.table import Table

from conformance.cli.group import ExitStatus
from conformance.cli.progress import progress_bar
from conformance.console import plain_or_rich
from conformance.harness.verdict import Undecided
from conformance.livefuzz.arena import Blow, Trouble
from conformance.livefuzz.campaign import Campaign, Harm, Unfit
from conformance.targets import load
from conformance.targets.descriptor import Target
from conformance.targets.process import detect_version
from conformance.targets.vocabulary import Role
from protocol.requirements import get
from protocol.wire import Frame

#: Bytes of a frame, frames of a message, and messages of a sequence that are shown: they are read by a person.
_SHOWN = 96
_FRAMES = 16
_BLOWS = 5


def _numbers(_: click.Context, __: click.Parameter, value: str | None) -> list[int]:
    """Numbers between commas."""
    try:
        return [int(each) for each in value.split(",")] if value else []
    except ValueError:
        raise click.BadParameter(f"{value!r} is no list of numbers such as 12,13") from None


@click.command(epilog="Example: ippkit fuzz target -t reference --messages 20000 --socket query")
@click.option("-t", "--target", "name", required=True, metavar="NAME|FILE", help="What to strike.")
@click.option("--role", type=click.Choice(get_args(Role)), help="In which of its roles, if it has several.")
@click.option(
    "-n", "--messages", type=click.IntRange(min=1), default=20_000, show_default=True, help="How many damaged messages."
)
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Which messages.")
@click.option(
    "--socket", "sockets", multiple=True, metavar="SOCKET",
    help="Only at this socket, or at all of this channel; may be given several times.",
)  # fmt: skip
@click.option("--only", callback=_numbers, metavar="NUMBERS", help="Only these messages of the seed, and all is shown.")
@click.option("--strict", is_flag=True, help="Known deviations count as harm, too.")
def target(
    name: str, role: Role | None, messages: int, seed: int, sockets: tuple[str, ...], only: list[int], strict: bool
) -> int:
    """Send damaged messages to every socket of a target while others go about their work, and see whether these notice.

    Their replies must all come, in time, once, unchanged and to nobody else; the target must live, and hold no more
    memory than after its warm-up. Harm is narrowed down to the message that does it, and told once; the target is then
    started again for the rest. The same seed gives the same messages.

    Exit status: 0 nobody noticed anything that is not known, 1 somebody did, 3 the target is not usable, 6 undecided.
    """
    descriptor = load(name)
    console = plain_or_rich()
    campaign = Campaign(descriptor, _role(descriptor, role), seed, sockets, _version(descriptor), is_strict=strict)
    try:
        _check(campaign, sockets)
        if only:
            return _strike(console, campaign, name, only)
        return _run(console, campaign, name, messages)
    except Unfit as error:
        raise click.ClickException(f"without any damage, {name} does not serve everybody: {error}") from None
    except Undecided as error:
        console.print(f"Undecided: {error}", markup=False)
        return ExitStatus.OPEN
    finally:
        campaign.close()


def _role(target: Target, role: Role | None) -> Role:
    if target.attached:
        raise click.UsageError(f"{target.name} runs already, and is somebody's: only what the kit starts is struck")
    if role is not None and role not in target.roles:
        raise click.UsageError(f"{target.name} has not the role {role}; it has: {', '.join(target.roles)}")
    if role is None and len(target.roles) > 1:
        raise click.UsageError(f"{target.name} has several roles; choose one with --role: {', '.join(target.roles)}")
    return role or target.roles[0]


def _version(target: Target) -> str | None:
    return None if target.is_simulated else detect_version(target)


def _check(campaign: Campaign, sockets: Sequence[str]) -> None:
    if sockets:
        spots = campaign.spots()
        unknown = [each for each in sockets if not any(each in spot for spot in spots)]
        if unknown:
            raise click.UsageError(
                f"there is no socket {unknown[0]!r}; there are: {', '.join(spot for spot, _ in spots)}"
            )


def _run(console: Console, campaign: Campaign, name: str, messages: int) -> int:
    started = time.perf_counter()
    outcome = campaign.outcome
    with progress_bar() as progress:
        task = progress.add_task("messages", total=messages)
        for outcome in campaign.run(messages):
            progress.update(task, completed=outcome.sent)
            if outcome.harms:
                progress.update(task, description=f"messages ({len(outcome.harms)} harms)")
    seconds = time.perf_counter() - started
    console.print(_summary(campaign, "socket", 0))
    console.print()
    console.print(_summary(campaign, "damage", 1))
    for harm in outcome.harms:
        console.print()
        _show_harm(console, campaign, name, harm)
    memory = ""
    if len(outcome.memory) == 2:
        memory = f" Memory: {outcome.memory[0] >> 20} MiB after the warm-up, {outcome.memory[1] >> 20} MiB at the end."
    spots = len({spot for spot, _, _ in outcome.tally})
    console.print(
        f"\n{outcome.sent:,} messages of seed {campaign.seed} at {spots} sockets in"
        f" {outcome.batches:,} batches; {seconds:.1f} s, {outcome.sent / seconds:,.0f} per second.{memory}"
    )
    if outcome.undecided:
        console.print(f"{outcome.undecided} more batches tell nothing: the machine was too busy to look.")
    if outcome.new:
        console.print(f"{len(outcome.new)} ways to do harm.", style="bold red")
        return ExitStatus.VIOLATIONS
    known = f" but for what is known ({len(outcome.harms)})" if outcome.harms else ""
    console.print(f"Nobody noticed anything{known}.", style="bold green")
    return ExitStatus.CONFORMS


def _summary(campaign: Campaign, head: str, place: int) -> Table:
    """What became of the messages, by spot (the first part of the keys) or by kind of damage (the second)."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column(head, no_wrap=True, min_width=22)
    for column in ("sent", "dropped", "answered", "with an error", "harm"):
        table.add_column(column, justify="right")
    tally = Counter[tuple[str, str]]()
    for key, count in campaign.outcome.tally.items():
        tally[key[place], key[2]] += count
    for name in sorted({name for name, _ in tally}):
        sent, answered, errors, harm = (tally[name, what] for what in ("sent", "answered", "error", "harm"))
        counts = (sent, max(sent - answered - errors, 0), answered, errors, harm)
        table.add_row(name, *(f"{each:,}" if each else "·" for each in counts))
    return table


def _show_harm(console: Console, campaign: Campaign, name: str, harm: Harm) -> None:
    if harm.known is not None:
        blow = harm.blows[-1]
        console.print(
            f"known: {harm.known.slug} at {blow.spot} by {_list([blow.kind, *harm.also])}: "
            f"{' '.join(harm.known.reason.split())}",
            markup=False, soft_wrap=True,
        )  # fmt: skip
        return
    _show_troubles(console, harm.troubles)
    if harm.is_again:
        many = "this message" if len(harm.blows) == 1 else f"these {len(harm.blows)} messages, in this order,"
        console.print(f"{many} alone did it:")
    else:
        console.print(f"it was not seen again; before it, {len(harm.blows)} messages were sent")
    _show_blows(console, harm.blows, harm.frames)
    if harm.also:
        console.print(f"  the same by: {_list(harm.also)}", markup=False)
    numbers = ",".join(str(blow.number) for blow in harm.blows[:200])
    console.print(
        f"  again: ippkit fuzz target -t {name} --role {campaign.role} --seed {campaign.seed} --only {numbers}",
        markup=False, soft_wrap=True,
    )  # fmt: skip


def _show_troubles(console: Console, troubles: Sequence[Trouble]) -> None:
    for slug in dict.fromkeys(each.requirement for each in troubles):
        requirement = get(slug)
        console.print(f"{requirement.level} {slug}", style="bold red", markup=False)
        console.print(f"  {requirement.text}", markup=False, soft_wrap=True)
    for each in troubles[:_BLOWS]:
        console.print(f"at fault: {each.guilty}; {each.where}: {each.found}", markup=False, soft_wrap=True)
        console.print(f"allowed:  {' or '.join(each.allowed)}", markup=False, soft_wrap=True)
        for seen in each.shown:
            console.print(f"  seen: {seen}", markup=False, highlight=False, soft_wrap=True)


def _show_blows(console: Console, blows: Sequence[Blow], frames: Sequence[Sequence[Frame]]) -> None:
    for index, blow in enumerate(blows[:_BLOWS]):
        console.print(f"  to {blow.spot}: {blow.kind} (message {blow.number})", markup=False)
        some = frames[index] if index < len(frames) else []
        for place, frame in enumerate(some[:_FRAMES]):
            console.print(f"    [{place}] {_frame(bytes(frame))}", markup=False, highlight=False, soft_wrap=True)
        if len(some) > _FRAMES:
            console.print(f"    … {len(some)} frames in all", markup=False)
    if len(blows) > _BLOWS:
        console.print(f"  … {len(blows)} messages in all", markup=False)


def _strike(console: Console, campaign: Campaign, name: str, numbers: Sequence[int]) -> int:
    try:
        troubles, blows, frames = campaign.only(numbers)
    except ValueError as error:
        raise click.UsageError(str(error)) from None
    _show_blows(console, blows, frames)
    if not troubles:
        console.print(f"Nobody at {name} noticed anything.", style="bold green", markup=False)
        return ExitStatus.CONFORMS
    _show_troubles(console, troubles)
    return ExitStatus.VIOLATIONS


def _frame(frame: bytes) -> str:
    shown = repr(frame[:_SHOWN])
    return shown if len(frame) <= _SHOWN else f"{shown} ... ({len(frame)} bytes)"


def _list(kinds: Sequence[str] | dict[str, None]) -> str:
    return ", ".join(kinds)
