"""`ippkit submit`: one call on a cluster, from the command line."""

import json
from pathlib import Path
from typing import Any

import click

from conformance.cli.group import ExitStatus
from conformance.cli.options import SOME_SECONDS, connection_file


@click.command()
@connection_file("client")
@click.option("--engine", type=int, metavar="N", help="Run on this engine (default: any).")
@click.option("--all", "is_for_all", is_flag=True, help="Run on every engine, through the broadcast tree.")
@click.option("--code", metavar="TEXT", help="Run this text instead of calling a function.")
@click.option("--retries", type=click.IntRange(min=0), default=0, metavar="N", help="How often a failure is retried.")
@click.option(
    "--timeout", type=SOME_SECONDS, default=60.0, show_default=True, metavar="S",
    help="How long to wait for engines, and for the reply.",
)  # fmt: skip
@click.argument("function", required=False, metavar="[MODULE.FUNCTION")
@click.argument("arguments", nargs=-1, metavar="ARGUMENT...]")
def submit(
    file: Path,
    engine: int | None,
    code: str | None,
    retries: int,
    timeout: float,
    function: str | None,
    arguments: tuple[str, ...],
    *,
    is_for_all: bool,
) -> int:
    """Call a function that the engines can import, and print what it returns: `ippkit submit --dir DIR math.gcd 6 4`.

    Each ARGUMENT is JSON; what is none is taken as text. Put -- before the first one that begins with a dash.

    Exit status: 0 when it returned, 1 when it raised or its engine died, 3 when nobody answered.
    """
    from conformance.reference.client import Client, RemoteError, Silence

    if (code is None) == (function is None):
        raise click.UsageError("give either the name of a function or --code")
    if is_for_all and (code is not None or engine is not None):
        raise click.UsageError("--all is for functions, and without --engine")
    target = _find(function) if function else None
    try:
        with Client.from_file(file, timeout=timeout) as client:
            client.wait_for_engines(1, timeout)
            if code is not None:
                result = client.execute(code, engine=engine)
                result.content(timeout)
                click.echo(result.output("stdout", timeout), nl=False)
                click.echo(result.output("stderr", timeout), nl=False, err=True)
                for shown in result.displayed():
                    click.echo(shown.get("text/plain", ""))
                return ExitStatus.CONFORMS
            assert target is not None
            values = [_value(text) for text in arguments]
            if is_for_all:
                for value in client.broadcast(target, *values).values(timeout):
                    click.echo(repr(value))
            elif engine is not None:
                click.echo(repr(client.apply(target, *values, engine=engine).get(timeout)))
            else:
                click.echo(repr(client.submit(target, *values, retries=retries).get(timeout)))
    except RemoteError as error:
        click.echo("\n".join(error.traceback) or str(error), err=True)
        return ExitStatus.VIOLATIONS
    except Silence as error:
        click.echo(f"ippkit: {error}", err=True)
        return ExitStatus.UNUSABLE
    return ExitStatus.CONFORMS


def _find(name: str) -> Any:
    """The function of this dotted name. Raises UsageError."""
    import pkgutil

    found = None
    for dotted in (name, f"builtins.{name}"):
        try:
            found = pkgutil.resolve_name(dotted)
        except (ImportError, AttributeError, ValueError):
            continue
        break
    if found is None:
        raise click.UsageError(f"there is no function {name} here")
    if not callable(found):
        raise click.UsageError(f"{name} cannot be called")
    return found


def _value(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text
