"""The terminal as the subcommands use it: coloured for people; in pipes plain text, long lines, narrow tables."""

import os
from typing import Any, Final

from rich.console import Console
from rich.measure import Measurement
from rich.table import Table

#: Wide enough that a sentence or a command in a pipe is one line, which can be searched and copied.
_PIPE: Final = 1000
#: What pagers and the logs of builds show of a table without breaking its lines.
_PAGE: Final = 100
#: A longer word of a table may be broken; most slugs are shorter.
_WORD: Final = 48

_STYLES: Final = {"MUST": "bold red", "SHOULD": "yellow", "MAY": "green"}


class _Pipe(Console):
    """What nobody looks at: no colours, no line breaks but those of tables, which fit a page as on a terminal."""

    def __init__(self) -> None:
        super().__init__(highlight=False, width=_PIPE, color_system=None)

    def print(self, *objects: Any, **options: Any) -> None:
        """Print as any console; a table is as wide as COLUMNS says, or a page, but no word of it is broken for that."""
        tables = [each for each in objects if isinstance(each, Table)]
        if tables and "width" not in options:
            for table in tables:
                self._keep_words(table)
            needs = max(Measurement.get(self, self.options, table).minimum for table in tables)
            options["width"] = max(needs, _page())
        super().print(*objects, **options)

    def _keep_words(self, table: Table) -> None:
        for column in table.columns:
            words = [Measurement.get(self, self.options, cell).minimum for cell in column.cells]
            column.min_width = max(column.min_width or 0, min(max(words, default=0), _WORD))


def plain_or_rich() -> Console:
    """A console on standard output, without colours, markup of its own or line breaks when nobody looks at it."""
    console = Console(highlight=False)
    return console if console.is_terminal else _Pipe()


def style_of(level: str) -> str:
    """The colour in which a level is shown."""
    return _STYLES[level]


def _page() -> int:
    columns = os.environ.get("COLUMNS", "")
    return int(columns) if columns.isdecimal() and int(columns) else _PAGE
