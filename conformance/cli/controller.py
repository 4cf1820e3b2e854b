"""`ippkit controller`: the controller of the reference."""

from pathlib import Path

import click
from click.core import ParameterSource

from conformance.cli.group import ExitStatus
from conformance.cli.options import SOME_SECONDS, Seconds

SCHEMES = ("leastload", "lru", "plainrandom", "twobin", "weighted", "pure")


def _store(_context: click.Context, _parameter: click.Parameter, value: str) -> str:
    from conformance.reference.storage.addresses import check
    from protocol.roles.records import StoreError

    try:
        check(value)
    except StoreError as error:
        raise click.BadParameter(str(error)) from None
    return value


def _interface(_context: click.Context, parameter: click.Parameter, value: str) -> str:
    from conformance.reference.controller import ControllerError, interface

    try:
        # Without one for engines, that for clients is theirs, too.
        if value or parameter.name != "engine_ip":
            interface(value)
    except ControllerError as error:
        raise click.BadParameter(str(error)) from None
    return value


@click.command()
@click.option(
    "--dir", "directory", required=True, type=click.Path(path_type=Path, file_okay=False), metavar="DIR",
    help="Where connection files and state are; made if it is not there.",
)  # fmt: skip
@click.option(
    "--db", default="memory", show_default=True, metavar="STORE", callback=_store,
    help="Where requests and results are recorded: memory, memory:RECORDS, sqlite:PATH or mongodb://...",
)  # fmt: skip
@click.option(
    "--scheme", type=click.Choice(SCHEMES), default="leastload", show_default=True,
    help="How the task scheduler chooses an engine.",
)  # fmt: skip
@click.option(
    "--hwm", type=click.IntRange(min=0), default=1, show_default=True, metavar="N",
    help="How many tasks an engine has at a time; 0 for any number.",
)  # fmt: skip
@click.option(
    "--ping", "period_ms", type=click.IntRange(min=1), default=3000, show_default=True, metavar="MS",
    help="Milliseconds between two pings.",
)  # fmt: skip
@click.option(
    "--misses", type=click.IntRange(min=0), default=10, show_default=True, metavar="N",
    help="How many pings in a row an engine may leave unanswered.",
)  # fmt: skip
@click.option(
    "--registration-timeout", "registration_timeout_s", type=SOME_SECONDS, default=30.0,
    show_default=True, metavar="S", help="Seconds in which the heart of a new engine must be heard.",
)  # fmt: skip
@click.option(
    "--scheduler-grace", "scheduler_grace_s", type=Seconds(min=0), default=5.0, show_default=True,
    metavar="S", help="Seconds in which replies of an engine that died still count.",
)  # fmt: skip
@click.option(
    "--broadcast-depth", type=click.IntRange(min=0, max=3), default=1, show_default=True, metavar="N",
    help="Depth of the broadcast tree, which has 2^N leaves.",
)  # fmt: skip
@click.option(
    "--remembered", type=click.IntRange(min=1), default=1 << 16, show_default=True, metavar="N",
    help="Of how many finished tasks the outcome is kept, for tasks that depend on them.",
)  # fmt: skip
@click.option(
    "--ip", "client_ip", default="127.0.0.1", show_default=True, metavar="ADDRESS", callback=_interface,
    help="Where to listen for clients: an IPv4 address or name of this machine, or * for all of them.",
)  # fmt: skip
@click.option(
    "--engine-ip", default="", metavar="ADDRESS", callback=_interface,
    help="Where to listen for engines.  [default: the same]",
)  # fmt: skip
@click.option(
    "--transport", type=click.Choice(("tcp", "ipc")), default="tcp", show_default=True,
    help="ipc puts the sockets into DIR, for peers on this machine; it takes no --ip.",
)  # fmt: skip
@click.option("--curve", "has_curve", is_flag=True, help="Encrypt everything; who lacks the key gets nothing.")
@click.option(
    "--restore", "is_restored", is_flag=True,
    help="Go on where a controller in this directory ended; keep the files at the end.",
)  # fmt: skip
def controller(directory: Path, db: str, **options: object) -> int:
    """Run a controller until it is told to end, by a signal or by a client.

    Exit status: 0 when it was told to end, 3 when it cannot run, or one of its processes ended unasked.
    """
    given = click.get_current_context().get_parameter_source
    if options["transport"] == "ipc" and ParameterSource.COMMANDLINE in (given("client_ip"), given("engine_ip")):
        raise click.UsageError("--ip and --engine-ip are for --transport tcp")
    from conformance.reference.controller import ControllerError, run
    from conformance.reference.parts import Options

    try:
        return run(
            Options(directory=directory, database=db, **options),  # type: ignore[arg-type]
            ready=lambda: click.echo(f"the controller is ready; its connection files are in {directory}"),
        )
    except ControllerError as error:
        click.echo(f"ippkit: {error}", err=True)
        return ExitStatus.UNUSABLE
