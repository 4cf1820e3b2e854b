"""Options that several commands share."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, Literal, TypeVar

import click

F = TypeVar("F", bound=Callable[..., Any])

#: How the files of a controller are named in its directory.
NAMES: Final = {"client": "ipcontroller-client.json", "engine": "ipcontroller-engine.json"}


def connection_file(which: Literal["client", "engine"]) -> Callable[[F], F]:
    """`--dir` and `--file`, of which one must be given; the command gets `file`, the path."""

    def choose(context: click.Context, _: click.Parameter, value: Path | None) -> Path:
        directory: Path | None = context.params.pop("directory", None)
        if (directory is None) == (value is None):
            raise click.UsageError("give either --dir or --file, to say where the controller is", context)
        return value if directory is None else directory / NAMES[which]  # type: ignore[return-value]

    def add(command: F) -> F:
        with_file = click.option(
            "--file", callback=choose, type=click.Path(path_type=Path, dir_okay=False), metavar="FILE",
            help=f"The controller's connection file for {which}s.",
        )(command)  # fmt: skip
        return click.option(
            "--dir", "directory", is_eager=True, type=click.Path(path_type=Path, file_okay=False), metavar="DIR",
            help="The controller's directory.",
        )(with_file)  # fmt: skip

    return add
