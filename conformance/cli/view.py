"""`ippkit view`: what happened, as a sequence diagram."""

from pathlib import Path
from typing import Any, Final

import click

from conformance.console import plain_or_rich
from conformance.files import private
from conformance.report.page import as_html
from conformance.report.reading import UnreadableStory, of_file
from conformance.report.sequence import as_svg, as_text
from conformance.report.story import Story, select

#: How a story is told, by what the file's name ends with.
FORMS: Final = {".svg": as_svg, ".html": as_html, ".txt": as_text}


class DiagramPath(click.Path):
    """A file for a diagram: what its name ends with says which kind."""

    def __init__(self) -> None:
        super().__init__(dir_okay=False, path_type=Path)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """The path."""
        path = Path(str(super().convert(value, param, ctx)))
        if path.suffix not in FORMS:
            self.fail(f"{str(path)!r} ends with none of {', '.join(FORMS)}", param, ctx)
        return path


def write(story: Story, path: Path, *, source: Path | None = None) -> None:
    """Write a story in the form that the name of the file asks for; as private as the file that it was read from."""
    is_private = source is not None and not source.stat().st_mode & 0o077
    with open(path, "w", encoding="utf-8", opener=private if is_private else None) as file:
        file.write(FORMS[path.suffix](story) + "\n")


def is_whole(path: Path | None) -> bool:
    """Whether everything is written there, what is quiet too: in a page the reader chooses."""
    return path is not None and path.suffix == ".html"


@click.command("view")
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--out", type=DiagramPath(), help=f"Where to: a file that ends with {', '.join(FORMS)}.")
@click.option("--role", "roles", multiple=True, metavar="NAME", help="Only what concerns this lane; repeatable.")
@click.option("--channel", "channels", multiple=True, metavar="NAME", help="Only this channel; repeatable.")
@click.option("--task", "about", default="", metavar="MSG_ID", help="Only this request and what belongs to it.")
@click.option("--all", "is_all", is_flag=True, help="Also heartbeats, and what relays copy to the Hub.")
def view(
    file: Path, out: Path | None, roles: tuple[str, ...], channels: tuple[str, ...], about: str, is_all: bool
) -> None:
    """Draw what happened, as a sequence diagram.

    FILE is a trace (`ippkit simulate --trace`) or a recording. Without --out the diagram is printed as text; .html is a
    page in which one steps through all of it and looks into the messages.
    """
    try:
        whole = of_file(file)
    except UnreadableStory as error:
        raise click.UsageError(str(error)) from None
    for given, known, kind in ((roles, whole.lanes, "lane"), (channels, whole.channels, "channel")):
        for name in given:
            if name not in known:
                raise click.UsageError(f"there is no {kind} {name!r}; there are: {', '.join(known)}")
    story = select(whole, roles=roles, channels=channels, about=about, is_all=is_all or is_whole(out))
    if about and not any(line.kind == "message" for line in story.lines):
        raise click.UsageError(f"no message is about {about!r}")
    console = plain_or_rich()
    if out is None:
        console.print(as_text(story), markup=False, soft_wrap=True)
    else:
        write(story, out, source=file)
        console.print(f"{out}: {len(story.lines)} of {len(whole.lines)} lines", markup=False, soft_wrap=True)
