"""`ippkit new-target`: a descriptor to start from."""

import re
from pathlib import Path
from typing import get_args

import click

from conformance.targets.descriptor import known
from conformance.targets.template import descriptor
from conformance.targets.vocabulary import Role


@click.command(name="new-target", epilog="Example: ippkit new-target myengine --role engine")
@click.argument("name")
@click.option("--role", "roles", multiple=True, type=click.Choice(get_args(Role)), required=True,
              help="What the target plays (repeatable).")  # fmt: skip
@click.option("--out", type=click.Path(dir_okay=False, path_type=Path), metavar="FILE",
              help="Where to write it.  [default: NAME.toml]")  # fmt: skip
def new_target(name: str, roles: tuple[Role, ...], out: Path | None) -> None:
    """Write a commented descriptor for an implementation NAME, which a target is judged by.

    It may live anywhere, best in the implementation's own repository. A file that is there is never overwritten.
    """
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.-]*", name):
        raise click.UsageError(f"{name!r} is no name for a target: letters, digits, '-', '_' and '.' are")
    if name in known():
        raise click.UsageError(f"{name} is the name of a target that the kit brings along; choose another")
    path = out or Path(f"{name}.toml")
    try:
        with path.open("x", encoding="utf-8") as file:
            file.write(descriptor(name, tuple(dict.fromkeys(roles))))
    except FileExistsError:
        raise click.UsageError(f"{path} is there already; it is not overwritten") from None
    click.echo(f"{path} is written: fill in the command, and go on with: ippkit doctor {path}")
