"""`ippkit probe`: what kind of socket listens at an address."""

import click

from conformance.cli import ExitStatus
from conformance.cli.options import SOME_SECONDS
from conformance.harness.probe import COMPATIBLE, ProbeError, meet
from conformance.harness.probe import probe as ask


@click.command(epilog="Example: ippkit probe tcp://127.0.0.1:5555")
@click.argument("addresses", metavar="ADDRESS...", nargs=-1, required=True)
@click.option("--as", "socket_type", type=click.Choice(sorted(COMPATIBLE), case_sensitive=False),
              help="The type of socket that asks.  [default: one that must be accepted]")  # fmt: skip
@click.option("--deadline", type=SOME_SECONDS, default=2.0, show_default=True,
              metavar="SECONDS", help="How long one address may take.")  # fmt: skip
def probe(addresses: tuple[str, ...], socket_type: str | None, deadline: float) -> int:
    """Show socket type, identity, ZMTP version and mechanism of what listens at each ADDRESS.

    They are read from the greeting that every ZeroMQ socket sends; no message is sent. An ADDRESS is
    tcp://HOST:PORT or ipc://PATH. The exit status is 3 if any of them tells nothing.
    """
    status = ExitStatus.CONFORMS
    for address in addresses:
        try:
            if socket_type is None:
                click.echo(meet(address, deadline_seconds=deadline))
            else:
                click.echo(ask(address, socket_type=socket_type, deadline_seconds=deadline))
        except ValueError as error:
            raise click.UsageError(str(error)) from None
        except ProbeError as error:
            click.echo(f"ippkit: {error}", err=True)
            status = ExitStatus.UNUSABLE
    return status
