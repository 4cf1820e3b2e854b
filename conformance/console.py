"""The terminal as the subcommands use it: coloured for people, plain text with long lines for pipes."""

from typing import Final

from rich.console import Console

#: Wide enough that a pipe gets one line per row of any table.
_PIPE: Final = 1000

_STYLES: Final = {"MUST": "bold red", "SHOULD": "yellow", "MAY": "green"}


def plain_or_rich() -> Console:
    """A console on standard output, without colours, markup of its own or line breaks when nobody looks at it."""
    console = Console(highlight=False)
    return console if console.is_terminal else Console(highlight=False, width=_PIPE, color_system=None)


def style_of(level: str) -> str:
    """The colour in which a level is shown."""
    return _STYLES[level]
