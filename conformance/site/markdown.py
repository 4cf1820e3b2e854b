"""Writing MyST Markdown from data whose text was not made for it."""

import re
import textwrap
from collections.abc import Iterable, Sequence
from typing import Final

_SPECIAL: Final = re.compile(r"([\\*_<>\[\]{}#|~$])")


def prose(text: str) -> str:
    """A sentence whose code spans (between backticks) stay, and whose other characters mean themselves."""
    pieces = text.split("`")
    if len(pieces) % 2 == 0:
        return _SPECIAL.sub(r"\\\1", text.replace("`", "'"))
    return "".join(code(piece) if number % 2 else _SPECIAL.sub(r"\\\1", piece) for number, piece in enumerate(pieces))


def code(text: str) -> str:
    """A code span."""
    if not text:
        return ""
    fence = "``" if "`" in text else "`"
    pad = " " if text.startswith("`") or text.endswith("`") else ""
    return f"{fence}{pad}{text}{pad}{fence}"


def codes(names: Iterable[str]) -> str:
    """Code spans in a row."""
    return ", ".join(code(name) for name in names)


def link(text: str, target: str) -> str:
    """A link to a label anywhere on the site; Sphinx complains about one that does not exist."""
    return f"[{text}](#{target})"


def heading(depth: int, text: str, label: str = "") -> str:
    """A heading, with a label to which pages can link."""
    return (f"({label})=\n" if label else "") + f"{'#' * depth} {text}\n"


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table; nothing at all if it has no row."""
    lines = [_row(cells) for cells in rows]
    if not lines:
        return ""
    return "\n".join((_row(head), _row("---" for _ in head), *lines)) + "\n"


def _row(cells: Iterable[str]) -> str:
    # A bar ends a cell even inside a code span, unless it is escaped.
    return "| " + " | ".join(re.sub(r"(?<!\\)\|", r"\\|", " ".join(cell.split("\n"))) for cell in cells) + " |"


def fence(language: str, text: str) -> str:
    """A block of code."""
    return f"```{language}\n{text}\n```\n"


def raw(html: str) -> str:
    """HTML as it is."""
    return f"```{{raw}} html\n{html}\n```\n"


def lines(texts: Iterable[str]) -> str:
    """Several lines in one cell or definition; empty ones are left out."""
    return "<br>".join(filter(None, texts))


def definitions(rows: Iterable[tuple[str, str]]) -> str:
    """A definition list; rows without a text are left out."""
    return "\n".join(f"{name}\n: {text}\n" for name, text in rows if text)


def level(name: str) -> str:
    """The badge of a level."""
    return f'<span class="level {name.lower()}">{name}</span>'


def page(*parts: str) -> str:
    """A whole page from its parts, which are separated by blank lines."""
    return "\n".join(part.rstrip("\n") + "\n" for part in parts if part.strip())


def toctree(names: Iterable[str], *options: str) -> str:
    """The pages below this one."""
    return "\n".join(("```{toctree}", *options, "", *names, "```\n"))


def docstring(text: str, language: str = "text") -> str:
    """A docstring of the kit as Markdown: paragraphs, and indented blocks as code in `language`."""
    parts = []
    for block in re.split(r"\n\n(?=\S)", textwrap.dedent(text.strip("\n"))):
        lead, _, indented = block.partition("\n\n    ")
        if lead.startswith("    "):
            lead, indented = "", lead.removeprefix("    ")
        items = re.split(r"^\* ", lead, flags=re.M)
        if items[0]:
            parts.append(prose(" ".join(items[0].split())))
        if items[1:]:
            parts.append("\n".join(f"* {prose(' '.join(item.split()))}" for item in items[1:]))
        if indented:
            parts.append(fence(language, textwrap.dedent(f"    {indented}").rstrip()))
    return page(*parts)
