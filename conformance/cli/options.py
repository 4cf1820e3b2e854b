"""Options that several commands share."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, Literal, TypeVar

import click

#: Seconds of the longest wait: a hundred years.
LONGEST: Final = 3_155_760_000

F = TypeVar("F", bound=Callable[..., Any])

#: How the files of a controller are named in its directory.
NAMES: Final = {"client": "ipcontroller-client.json", "engine": "ipcontroller-engine.json"}


class Seconds(click.FloatRange):
    """A time in seconds. What a FloatRange lets pass and no clock counts (`nan`, `inf`, 1e300) is refused."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """The number of seconds."""
        seconds = float(super().convert(value, param, ctx))
        if not seconds <= LONGEST:
            self.fail(f"{value} is no time; at most {LONGEST:,} seconds are", param, ctx)
        return seconds


#: A number of seconds that is more than 0.
SOME_SECONDS: Final = Seconds(min=0, min_open=True)


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
