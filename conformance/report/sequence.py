"""A story as a sequence diagram: one lane per party, one row per message, as SVG or as text.

The same rows stand in the drawing that is kept as a file and in the viewer's page, which moves them when some are left
out. What a reader must not miss has a colour and a sign of its own: faults, messages that nobody took, and what
somebody is accused of.
"""

from collections.abc import Mapping
from importlib.resources import files
from typing import Final

from conformance.harness.explain import Row, draw
from conformance.report.story import Line, Story, content_of
from conformance.site.diagrams import Drawing

#: Width of the times, and of one lane; height of the names of the lanes, and of one row.
TIMES: Final = 78.0
PITCH: Final = 128.0
HEAD: Final = 30.0
ROW: Final = 22.0
#: After so many rows the names of the lanes are written again: further down nobody remembers them.
_AGAIN: Final = 40
#: Width of a character of a label, a little generous.
_CHARACTER: Final = 6.0
#: Longer words are cut; what is cut can be read when the pointer rests on the row.
_LONGEST: Final = 60


def as_svg(story: Story) -> str:
    """The whole story as a drawing that stands by itself, for light and dark grounds."""
    drawing, places = _empty(story), _places(story)
    drawing.style = style()
    y = 0.0
    for text in (story.title, *story.notes):
        drawing.text(0, y + 16, text, "role" if text == story.title else "small")
        y += 20
    for violation in story.violations:
        drawing.text(0, y + 16, f"✗ {violation}", "violation")
        y += 20
    for start in range(0, max(len(story.lines), 1), _AGAIN):
        part = story.lines[start : start + _AGAIN]
        _heads(drawing, places, y + 6)
        y += HEAD + 6
        _lifelines(drawing, places, y, y + len(part) * ROW + 8)
        for number, line in enumerate(part, start):
            _row(drawing, places, line, y, f"row-{number}")
            y += ROW
        y += 8
    longest = max((len(text) for text in (story.title, *story.notes, *story.violations)), default=0)
    drawing.width = max(drawing.width, longest * _CHARACTER * 1.05)
    return str(drawing)


def heads(story: Story) -> str:
    """The names of the lanes alone, for a page that keeps them in sight."""
    drawing, places = _empty(story), _places(story)
    _heads(drawing, places, 0)
    return str(drawing)


def body(story: Story) -> str:
    """The lanes and all rows, each a group `row-N`, without the names."""
    drawing, places = _empty(story), _places(story)
    _lifelines(drawing, places, 0, max(len(story.lines), 1) * ROW + 8)
    for number, line in enumerate(story.lines):
        _row(drawing, places, line, number * ROW, f"row-{number}")
    return str(drawing)


def style() -> str:
    """The colours of a sequence diagram."""
    return (files("conformance.report") / "sequence.css").read_text(encoding="utf-8")


def _empty(story: Story) -> Drawing:
    drawing = Drawing(story.title)
    # What is said at the right of the last lane needs room too.
    drawing.width = TIMES + PITCH * max(len(story.lanes), 1) + 2 * PITCH
    return drawing


def _places(story: Story) -> dict[str, float]:
    """Where each lane runs."""
    return {lane: TIMES + PITCH * (number + 0.5) for number, lane in enumerate(story.lanes)}


def _heads(drawing: Drawing, places: Mapping[str, float], y: float) -> None:
    drawing.text(TIMES - 8, y + 16, "seconds", "time", "end")
    for lane, x in places.items():
        drawing.box(x - PITCH / 2 + 8, y, PITCH - 16, HEAD - 6)
        drawing.text(x, y + 16, lane, "role", "middle")


def _lifelines(drawing: Drawing, places: Mapping[str, float], top: float, bottom: float) -> None:
    for x in places.values():
        drawing.line([(x, top), (x, bottom)], "lifeline")


def _row(drawing: Drawing, places: Mapping[str, float], line: Line, y: float, name: str) -> None:
    kinds = ["row", line.kind, *(["accused"] if line.is_accused else []), *(["lost"] if line.is_lost else [])]
    with drawing.group(" ".join(kinds), y, name):
        drawing.tip(_tip(line))
        drawing.box(0, 0, drawing.width, ROW, "strip")
        drawing.text(TIMES - 8, ROW - 7, f"{line.at / 1e9:.4f}", "time", "end")
        if line.kind == "message":
            _message(drawing, places, line)
        else:
            _mark(drawing, places, line)


def _message(drawing: Drawing, places: Mapping[str, float], line: Line) -> None:
    start, y = places[line.sender], ROW - 5
    stops = [places[lane] for lane in line.receivers if lane != line.sender]
    label = " ".join(filter(None, (line.what, line.msg_id, f"({line.remark})" if line.remark else "")))
    if not stops:
        # It goes back to where it came from, or nobody knows where it went.
        stops = [start + PITCH * 0.45]
    for stop in stops:
        if line.is_lost:
            drawing.line([(start, y), (stop - (14 if stop > start else -14), y)])
            drawing.text(stop - (10 if stop > start else -10), y + 4, "✕", "sign", "middle")
        elif line.receivers == (line.sender,):
            drawing.line([(start, y - 8), (stop, y - 8), (stop, y), (start + 3, y)], end=True)
        else:
            drawing.line([(start, y), (stop, y)], end=True)
    drawing.dot(start, y)
    left, right = min(start, *stops), max(start, *stops)
    words = label if len(label) <= _LONGEST else label[: _LONGEST - 1] + "…"
    room = len(words) * _CHARACTER
    # Words that are wider than the arrow begin at its left end, so that they do not leave the drawing there.
    middle = room <= right - left
    drawing.text((left + right) / 2 if middle else left + 6, y - 4, words, "event", "middle" if middle else "start")


def _mark(drawing: Drawing, places: Mapping[str, float], line: Line) -> None:
    lanes = line.lanes or tuple(places)
    for lane in lanes:
        drawing.box(places[lane] - 5, 3, 10, ROW - 6, "mark")
    x = max((places[lane] for lane in line.lanes), default=TIMES) + 10
    words = f"{line.what}, {line.remark}" if line.remark else line.what
    drawing.text(x, ROW - 7, words, "said")


def _tip(line: Line) -> str:
    if line.kind != "message":
        return line.what
    path = f"{line.sender} → {', '.join(line.receivers) or 'nobody'} on {line.channel}"
    return "\n".join(filter(None, (path, content_of(line), line.remark)))


# -- text --------------------------------------------------------------------------------------------------------------


def as_text(story: Story) -> str:
    """The whole story for a terminal."""
    lines = [story.title, *story.notes, *(f"! {violation}" for violation in story.violations), ""]
    if not story.lines:
        return "\n".join([*lines, "(nothing was said)"])
    rows = [_text_row(number, line) for number, line in enumerate(story.lines)]
    accused = [number for number, line in enumerate(story.lines) if line.is_accused]
    return "\n".join([*lines, *draw(rows, accused)])


def _text_row(number: int, line: Line) -> Row:
    if line.kind != "message":
        where = line.sender if len(line.lanes) == 1 else "(several)" if line.lanes else "(everywhere)"
        words = f"{line.what}, {line.remark}" if line.remark else line.what
        return Row(number, line.at, where, "***", words)
    arrow = "──✕" if line.is_lost else "──>"
    to = ", ".join(line.receivers)
    about = "" if line.about in ("", line.msg_id) else f" ↩ {line.about}"
    what = f"{line.what} {line.msg_id}{about}".rstrip() + (f"   ({line.remark})" if line.remark else "")
    return Row(number, line.at, line.sender, arrow, f"{to}: {what}" if to else what)


__all__ = ["HEAD", "PITCH", "ROW", "TIMES", "as_svg", "as_text", "body", "heads", "style"]
