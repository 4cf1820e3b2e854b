"""State diagrams as SVG, drawn from the state tables of the roles.

One column per state, one row per entry of the table: an arrow leads from the state in which the event comes to the one
that follows, or to each that may follow; one that comes back to where it began changes no state. Words stand at the
left of all arrows, so that none ever crosses another, however many entries a table has.
"""

from collections.abc import Mapping
from typing import Final

from conformance.site.diagrams import WIDTH, Drawing
from protocol.roles.tables import Move, StateTable

#: Height of the names of the states, of a row without and with a line on what is done, and between two states.
_HEAD: Final = 26.0
_ROW: Final = 24.0
_TALL: Final = 36.0
_GAP: Final = 10.0
#: Widths of one character, a little generous: of a name of a state, of an event, and of small text.
_NAME: Final = 7.6
_EVENT: Final = 6.9
_SMALL: Final = 5.7


def state_diagram(table: StateTable) -> str:
    """All states and moves of a table."""
    drawing = Drawing(f"The states of {table.of}")
    indent = max(map(len, table.states)) * _NAME + 10
    words = max(max(len(event) * _EVENT, len(move.does) * _SMALL) for _, event, move in table)
    left = indent + words + 30
    pitch = (WIDTH - left) / len(table.states)
    columns = {state: left + (number + 0.5) * pitch for number, state in enumerate(table.states)}
    rows = [events for events in table.rows.values() if events]
    bottom = _HEAD + sum(_GAP + sum(map(_height, events.values())) for events in rows)
    for state, x in columns.items():
        drawing.line([(x, _HEAD), (x, bottom)], "lifeline")
        drawing.box(x - pitch / 2 + 4, 1, pitch - 8, _HEAD - 1, "box" if table.rows[state] else "box final")
        drawing.text(x, _HEAD / 2 + 5, state, "role", "middle")
    drawing.dot(left - 16, _HEAD / 2 + 1)
    drawing.line([(left - 16, _HEAD / 2 + 1), (left + 3, _HEAD / 2 + 1)], end=True)
    y = _HEAD
    for state, events in table.rows.items():
        if not events:
            continue
        y += _GAP
        drawing.line([(0, y - _GAP / 2), (WIDTH, y - _GAP / 2)], "rule")
        drawing.text(0, y + 16, state, "role")
        for event, move in events.items():
            drawing.text(indent, y + 16, event, "event")
            if move.does:
                drawing.text(indent, y + 29, move.does, "small")
            _arrows(drawing, columns, y + 12, state, move)
            y += _height(move)
    return str(drawing)


def _height(move: Move) -> float:
    return _TALL if move.does else _ROW


def _arrows(drawing: Drawing, columns: Mapping[str, float], y: float, state: str, move: Move) -> None:
    """From one state to each that may follow."""
    start = columns[state]
    drawing.dot(start, y)
    for target in move.states:
        if target == state:
            drawing.line(
                [(start, y), (start, y - 6), (start + 16, y - 6), (start + 16, y + 6), (start + 3, y + 6)], end=True
            )
        else:
            drawing.line([(start, y), (columns[target], y)], end=True)
