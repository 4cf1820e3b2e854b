"""`ippkit check`: a recording, judged by the rules."""

from pathlib import Path

import click

from conformance.cli.group import ExitStatus


@click.command(epilog="Example: ippkit check capture.jsonl --target ipyparallel")
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--target", "name", metavar="NAME",
              help="What was recorded: a target or the path of a descriptor, whose known deviations are told apart.",
)  # fmt: skip
@click.option("--requirement", "globs", multiple=True, metavar="GLOB", help="Only these requirements; repeatable.")
@click.option("--ping", "period_ms", type=click.IntRange(min=1), metavar="MS",
              help="The controller's milliseconds between two pings.")  # fmt: skip
@click.option("--misses", type=click.IntRange(min=0), metavar="N", help="The pings that an engine may miss.")
@click.option("--registration-timeout", "timeout_s", type=click.IntRange(min=1), metavar="S",
              help="The seconds in which the heart of a new engine must be heard.")  # fmt: skip
@click.option("--whole", "is_whole", is_flag=True,
              help="Everybody who used this controller is in it, from its start.")  # fmt: skip
@click.option("--strict", "is_strict", is_flag=True, help="Count known deviations as violations.")
def check(
    file: Path, name: str | None, globs: tuple[str, ...], period_ms: int | None, misses: int | None,
    timeout_s: int | None, is_whole: bool, is_strict: bool,
) -> int:  # fmt: skip
    """Judge what was recorded in FILE by `ippkit record`.

    Only what rules can see is judged: no case is run, and silence proves nothing. What depends on the controller's
    timers is judged if all three are given; what can be told only of a recording in which
    nobody is missing, with --whole. The exit statuses are those of `ippkit test`.
    """
    from conformance.relay.report import OtherRole, Unreadable, Wanted, report
    from conformance.targets.descriptor import load
    from conformance.targets.tables import Timing

    timing = None
    if period_ms is not None and misses is not None and timeout_s is not None:
        timing = Timing(heartbeat_period_ms=period_ms, allowed_misses=misses, registration_timeout_s=timeout_s)
    elif (period_ms, misses, timeout_s) != (None, None, None):
        raise click.UsageError("give all of --ping, --misses and --registration-timeout, or none of them")
    target = None if name is None else load(name)
    wanted = Wanted(globs=globs, target=target, timing=timing, is_whole=is_whole, is_strict=is_strict)
    try:
        status, lines = report(file, wanted)
    except OtherRole as error:
        raise click.UsageError(str(error)) from None
    except Unreadable as error:
        raise click.UsageError(str(error)) from None
    for line in lines:
        click.echo(line)
    return ExitStatus(status)
