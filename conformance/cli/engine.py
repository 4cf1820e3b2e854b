"""`ippkit engine`: an engine of the reference, for any controller."""

from pathlib import Path

import click

from conformance.cli.group import ExitStatus
from conformance.cli.options import SOME_SECONDS, connection_file


@click.command()
@connection_file("engine")
@click.option("--id", "number", type=click.IntRange(min=0), metavar="N", help="The number to ask for.")
@click.option("--uuid", default="", metavar="TEXT", help="The identity of its sockets (default: a new one).")
@click.option(
    "--timeout", type=SOME_SECONDS, default=5.0, show_default=True, metavar="S",
    help="How long to wait for the answer to the registration.",
)  # fmt: skip
@click.option(
    "--max-misses", type=click.IntRange(min=0), default=50, show_default=True, metavar="N",
    help="Checks in a row without a ping that end the engine; 0 switches this off.",
)  # fmt: skip
@click.option(
    "--refresh", type=click.IntRange(min=0), default=0, show_default=True, metavar="N",
    help="Checks after which it asks to be registered again in any case, as it may have been given up; 0: never.",
)  # fmt: skip
@click.option(
    "--warden/--no-warden", default=True, show_default=True,
    help="Whether a second process watches it and delivers signals.",
)  # fmt: skip
def engine(
    file: Path, number: int | None, uuid: str, timeout: float, max_misses: int, refresh: int, *, warden: bool
) -> int:
    """Run an engine until it is told to end, or its controller is gone.

    It waits some seconds for a connection file that is not there yet.

    Exit status: 0 when it was told to end, 255 when it could not register or heard no pings any more, 3 when it has no
    connection file that it can use. Of one that was killed, the warden ends with 128 and the signal's number.
    """
    from protocol.roles.hub.engines import LONGEST, is_name

    if uuid and not is_name(uuid):
        raise click.UsageError(f"--uuid is ASCII text of at most {LONGEST} characters")
    from conformance.reference.engine import EngineError, EngineProcess, await_file
    from conformance.reference.env import new_id
    from conformance.reference.warden import WardenProcess
    from protocol.roles.engine import EngineConfig
    from protocol.world import SECOND

    config = EngineConfig(
        uuid=uuid or new_id(), id=number, timeout=round(timeout * SECOND), misses=max_misses, refresh=refresh
    )
    try:
        connection = await_file(file)
    except EngineError as error:
        click.echo(f"ippkit: {error}", err=True)
        return ExitStatus.UNUSABLE
    process = WardenProcess(connection, config) if warden else EngineProcess(connection, config)
    return process.run_until_end()
