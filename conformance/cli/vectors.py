"""`ippkit vectors`: the language-neutral test vectors, written from their sources or checked against them."""

from pathlib import Path

import click

from conformance.cli.group import ExitStatus
from conformance.files import data
from conformance.vectors import FOLDER

_TO = click.option(
    "--folder", type=click.Path(file_okay=False, path_type=Path), help="Another folder than the kit's own."
)


@click.group(no_args_is_help=False)
def vectors() -> None:
    """Frames with the verdict that every implementation must reach, as JSON files."""


@vectors.command()
@_TO
def check(folder: Path | None) -> int:
    """Regenerate the vectors in memory, compare them with the files, and judge every vector of the files.

    Exit status: 0 if all agree, 1 if not, 3 if there is no such folder.
    """
    from conformance.vector_sources import files
    from conformance.vectors import differences, failures

    place = folder or data(FOLDER)
    if not place.is_dir():
        raise click.ClickException(f"{place} is no folder; `ippkit vectors write` makes it")
    wrong = [*differences(place, files()), *failures(place)]
    for sentence in wrong:
        click.echo(sentence)
    if not wrong:
        click.echo(f"{_count(place):,} vectors agree with their sources and with the codec.")
    return ExitStatus.VIOLATIONS if wrong else ExitStatus.CONFORMS


@vectors.command("write")
@_TO
def write_(folder: Path | None) -> int:
    """Write the vectors, and say which files changed. Files that belong to no source are removed."""
    from conformance.vector_sources import files
    from conformance.vectors import write

    place = folder or data(FOLDER)
    for sentence in write(place, files()):
        click.echo(f"changed: {sentence}")
    click.echo(f"{_count(place):,} vectors in {place}")
    return ExitStatus.CONFORMS


def _count(place: Path) -> int:
    import json

    from conformance.vectors import MANIFEST

    count: int = json.loads((place / MANIFEST).read_bytes())["count"]
    return count
