"""Tables on the terminal, and the same rows as JSON."""

import json
from collections.abc import Iterable, Sequence

import click


def print_table(title: str, columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Print rows under a title, fitted to the terminal. None is shown as a dash; a cell may be a text of rich."""
    from rich.table import Table
    from rich.text import Text

    from conformance.console import plain_or_rich

    table = Table(title=title, title_justify="left", title_style="bold", header_style="bold")
    for index, column in enumerate(columns):
        # The first column names the row: a name broken in two is not found again.
        table.add_column(column, overflow="fold", no_wrap=index == 0)
    for row in rows:
        # Text, not str: square brackets in a cell are no markup.
        table.add_row(*(cell if isinstance(cell, Text) else Text("-" if cell is None else str(cell)) for cell in row))
    plain_or_rich().print(table)


def print_json(value: object) -> None:
    """Print a value as indented JSON, in UTF-8 and with keys in the order given."""
    click.echo(json.dumps(value, indent=2, ensure_ascii=False))
