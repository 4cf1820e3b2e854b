"""Diagrams of channels and envelopes as SVG, drawn from the tables of the protocol.

Every diagram is text that stands inside a page: its colours are classes of the site's style sheet, so it follows the
reader's light or dark theme, and its names are links. Coordinates are user units of the view box, one unit being a
pixel at full width.
"""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from html import escape
from typing import Final, NamedTuple

from conformance.exchanges import PREFERRED
from protocol.channels import Channel, End, Envelope
from protocol.errors import FrameName
from protocol.wire import PARTS

WIDTH: Final = 760
#: Width of one character of small text, a little generous: fonts differ.
_CHARACTER: Final = 6.4
_CHIP: Final = 17
_STEP: Final = 52


class Drawing:
    """Shapes in the order in which they are painted."""

    def __init__(self, title: str) -> None:
        self.title = title
        self.width: float = WIDTH
        self.height: float = 0
        #: Style sheet of a drawing that stands by itself; inside of a page the page has one.
        self.style = ""
        self._shapes: list[str] = []
        self._top: float = 0

    def box(self, x: float, y: float, width: float, height: float, kind: str = "box") -> None:
        """A rounded rectangle."""
        self._grow(y + height)
        self._shapes.append(f'<rect class="{kind}" x="{x:g}" y="{y:g}" width="{width:g}" height="{height:g}" rx="6"/>')

    def text(self, x: float, y: float, text: str, kind: str = "", anchor: str = "start", link: str = "") -> None:
        """One line of text; `anchor` is start, middle or end."""
        self._grow(y + 4)
        shape = f'<text class="{kind}" x="{x:g}" y="{y:g}" text-anchor="{anchor}">{escape(text)}</text>'
        self._shapes.append(f'<a href="{escape(link)}">{shape}</a>' if link else shape)

    def dot(self, x: float, y: float) -> None:
        """A small filled circle."""
        self._grow(y + 3)
        self._shapes.append(f'<circle class="head" cx="{x:g}" cy="{y:g}" r="3"/>')

    def line(
        self, points: Sequence[tuple[float, float]], kind: str = "", *, start: bool = False, end: bool = False
    ) -> None:
        """A line through points, with arrow heads where wanted."""
        path = " ".join(f"{x:g},{y:g}" for x, y in points)
        self._shapes.append(f'<polyline class="wire {kind}" points="{path}"/>')
        if end:
            self._head(points[-2], points[-1])
        if start:
            self._head(points[1], points[0])

    def _head(self, before: tuple[float, float], at: tuple[float, float]) -> None:
        # Lines here are horizontal or vertical, so a head is a triangle on one axis.
        x, y = at
        if before[1] == y:
            back = -8 if before[0] < x else 8
            points = f"{x:g},{y:g} {x + back:g},{y - 4:g} {x + back:g},{y + 4:g}"
        else:
            back = -8 if before[1] < y else 8
            points = f"{x:g},{y:g} {x - 4:g},{y + back:g} {x + 4:g},{y + back:g}"
        self._shapes.append(f'<polygon class="head" points="{points}"/>')

    @contextmanager
    def group(self, kind: str, y: float, name: str = "") -> Iterator[None]:
        """What is drawn within has its own origin, `y` below that of the drawing; groups do not nest."""
        label = f' id="{escape(name)}"' if name else ""
        self._shapes.append(f'<g class="{kind}"{label} transform="translate(0,{y:g})">')
        self._top = y
        yield
        self._top = 0
        self._shapes.append("</g>")

    def tip(self, text: str) -> None:
        """What a pointer that rests on the group is told."""
        self._shapes.append(f"<title>{escape(text)}</title>")

    def _grow(self, height: float) -> None:
        self.height = max(self.height, self._top + height)

    def __str__(self) -> str:
        title = escape(self.title)
        # By itself it has its natural size; a page decides about the size of what stands in it.
        style = f"<style>{self.style}</style>\n" if self.style else ""
        size = f'width="{self.width + 4:g}" height="{self.height + 6:g}" ' if self.style else ""
        view = f"-2 -2 {self.width + 4:g} {self.height + 6:g}"
        return (
            f'<svg class="ippkit" role="img" aria-label="{title}" viewBox="{view}" {size}'
            f'xmlns="http://www.w3.org/2000/svg">\n<title>{title}</title>\n{style}'
            + "\n".join(self._shapes)
            + "\n</svg>"
        )


class Party(NamedTuple):
    """Roles whose ends of a channel are alike: they share one box."""

    roles: tuple[str, ...]
    end: End


def chips(drawing: Drawing, x: float, y: float, names: Iterable[str], *, from_right: bool = False) -> None:
    """Frames in a row, each in a small box; `x` is the left end of the row, or its right end."""
    boxes = [(name, len(name) * _CHARACTER + 8) for name in names]
    if from_right:
        x -= sum(width + 2 for _, width in boxes) - 2
    for name, width in boxes:
        drawing.box(x, y, width, _CHIP, "chip rest" if name == "…" else "chip")
        drawing.text(x + width / 2, y + 12.5, name, "small", "middle")
        x += width + 2


def _frames(envelope: Envelope, framing: str) -> tuple[str, ...]:
    return envelope if framing == "raw" else (*envelope, "…")


def newest(channel: Channel) -> str:
    """The dialect in which a channel is drawn: the most recent one that has it."""
    return next(name for name in PREFERRED if name in channel.dialects)


def parties(channel: Channel, dialect: str) -> tuple[list[Party], list[Party], list[Party]]:
    """Who stands at the left, in the middle and at the right of a channel's diagram."""
    ends = [end for end in channel.ends if dialect in end.dialects and not end.variant]
    sides = {(end.role, end.side) for end in ends}
    relays = {role for role, side in sides if side == "client" and (role, "engine") in sides}
    middle = [end for end in ends if end.role in relays]
    left = [end for end in ends if end not in middle and _is_left(end, has_relay=bool(relays))]
    right = [end for end in ends if end not in middle and end not in left]
    return _merge(left), _merge(middle, together=False), _merge(right)


def _is_left(end: End, *, has_relay: bool) -> bool:
    return (
        end.role == "client" if has_relay else end.side == "parent" or (end.side != "child" and end.attach == "connect")
    )


def _merge(ends: Iterable[End], *, together: bool = True) -> list[Party]:
    found: list[Party] = []
    for end in ends:
        like = next((party for party in found if together and _alike(party.end, end)), None)
        if like is None:
            found.append(Party((end.role,), end))
        elif end.role not in like.roles:
            found[found.index(like)] = Party((*like.roles, end.role), like.end)
    return found


def _alike(one: End, other: End) -> bool:
    same = ("socket", "attach", "identity", "sends", "receives", "side")
    return all(getattr(one, name) == getattr(other, name) for name in same)


def channel_diagram(channel: Channel) -> str:
    """Both ends of a channel, what each sends and what arrives at the other."""
    dialect = newest(channel)
    left, middle, right = parties(channel, dialect)
    drawing = Drawing(f"The channel {channel.name}")
    if middle:
        width, inner = 132.0, 158.0
        client = next((party for party in middle if party.end.side == "client"), middle[0])
        engine = next((party for party in middle if party.end.side == "engine"), middle[-1])
        gap = (WIDTH - 2 * width - inner) / 2
        height = max(_needed(left, client), _needed(right, engine))
        x = width + gap
        _relay_box(drawing, x, inner, height, client, engine)
        _column(drawing, 0, width, left, _spans(left, client, height))
        _column(drawing, WIDTH - width, width, right, _spans(right, engine, height))
        _bands(drawing, channel, width, gap, left, client, height)
        _bands(drawing, channel, x + inner, gap, right, engine, height, mirrored=True)
    else:
        width = 190.0
        single_left = len(left) == 1 and len(right) > 1
        one = left[0] if single_left else right[0]
        many = right if single_left else left
        height = _needed(many, one)
        spans = _spans(many, one, height)
        _column(drawing, WIDTH - width if single_left else 0, width, many, spans)
        _column(drawing, 0 if single_left else WIDTH - width, width, [one], [(0, height)])
        _bands(drawing, channel, width, WIDTH - 2 * width, many, one, height, mirrored=single_left)
    return str(drawing)


def _directions(many: Party, one: Party) -> int:
    return bool(many.end.sends and one.end.receives) + bool(one.end.sends and many.end.receives)


def _row_height(party: Party, one: Party) -> float:
    return max(64 + 16 * len(party.roles), _directions(party, one) * _STEP + 24)


def _needed(many: list[Party], one: Party) -> float:
    return max(sum(_row_height(party, one) + 10 for party in many) - 10, 100)


def _spans(many: list[Party], one: Party, height: float) -> list[tuple[float, float]]:
    """Top and height of each party's box; what is not needed is shared among them."""
    spare = (height - sum(_row_height(party, one) + 10 for party in many) + 10) / len(many)
    spans: list[tuple[float, float]] = []
    top = 0.0
    for party in many:
        spans.append((top, _row_height(party, one) + spare))
        top += spans[-1][1] + 10
    return spans


def _column(
    drawing: Drawing, x: float, width: float, column: list[Party], spans: Sequence[tuple[float, float]]
) -> None:
    for party, (top, height) in zip(column, spans, strict=True):
        drawing.box(x, top, width, height)
        _label(drawing, x + width / 2, top + height / 2, party.roles, party.end)


def _label(drawing: Drawing, x: float, middle: float, roles: Sequence[str], end: End) -> None:
    lines = [(role, "role") for role in roles]
    lines.append((f"{end.socket} {end.attach}s", "socket"))
    lines.append((_identity_text(end), "small"))
    y = middle - (len(lines) - 1) * 8 + 4
    for text, kind in lines:
        drawing.text(x, y, text, kind, "middle")
        y += 16


def _identity_text(end: End) -> str:
    if end.identity.rule == "none":
        return "no identity" if end.socket in ("ROUTER", "DEALER", "REQ") else ""
    name = {"engine-uuid": "the engine's uuid", "session": "the session id"}.get(end.identity.rule, end.identity.value)
    return name if end.identity.rule != "fixed" else f"“{name}”"


def _relay_box(drawing: Drawing, x: float, width: float, height: float, client: Party, engine: Party) -> None:
    drawing.box(x, 0, width, height, "box relay")
    centre = x + width / 2
    lines = [(role, "role") for role in dict.fromkeys((*client.roles, *engine.roles))]
    for party, side in ((client, "←"), (engine, "→")):
        lines.append((f"{side} {party.end.socket} {party.end.attach}s", "socket"))
        lines.append((_identity_text(party.end), "small"))
    y = height / 2 - (len(lines) - 1) * 8 + 4
    for text, kind in lines:
        drawing.text(centre, y, text, kind, "middle")
        y += 16


def _bands(
    drawing: Drawing,
    channel: Channel,
    x: float,
    gap: float,
    many: list[Party],
    one: Party,
    height: float,
    *,
    mirrored: bool = False,
) -> None:
    """The arrows between a column of parties and the one they all talk to, which is at the right unless mirrored."""
    for party, (box, share) in zip(many, _spans(many, one, height), strict=True):
        arrows = []
        if party.end.sends and one.end.receives:
            arrows.append((party.end.sends[0], one.end.receives[0], not mirrored))
        if one.end.sends and party.end.receives:
            arrows.append((one.end.sends[0], party.end.receives[0], mirrored))
        top = box + share / 2 - len(arrows) * _STEP / 2
        for index, (sent, received, to_right) in enumerate(arrows):
            y = top + index * _STEP + _STEP / 2
            start, stop = (x + 4, x + gap - 4) if to_right else (x + gap - 4, x + 4)
            drawing.line([(start, y), (stop, y)], end=True)
            chips(drawing, start, y - _CHIP - 3, _frames(sent, channel.framing), from_right=not to_right)
            chips(drawing, stop, y + 4, _frames(received, channel.framing), from_right=to_right)


def envelope_diagram(parts: Sequence[FrameName] = PARTS) -> str:
    """The frames of one message in order, with what is signed and what a relay may change."""
    drawing = Drawing("The frames of a message")
    names: list[tuple[str, str, str]] = [
        ("identity", "0 or more", "frame"),
        ("<IDS|MSG>", "delimiter", "frame fixed"),
        ("signature", "hex", "frame fixed"),
        *((str(name).replace("_header", ""), "JSON", "frame signed") for name in parts),
        ("buffer", "0 or more", "frame"),
    ]
    width = WIDTH / len(names)
    for number, (name, below, kind) in enumerate(names):
        x = number * width
        drawing.box(x, 26, width - 4, 46, kind)
        drawing.text(x + width / 2 - 2, 46, name, "socket", "middle")
        drawing.text(x + width / 2 - 2, 62, below, "small", "middle")
    first, last = 3 * width, (3 + len(parts)) * width - 4
    for x, stop, label, y in (
        (0.0, width - 4, "routing: changes on the way", 14.0),
        (first, last, "signed, and passed on byte for byte", 14.0),
        (last + 4, WIDTH - 4, "not signed", 14.0),
    ):
        drawing.line([(x, 20), (stop, 20)], "bracket")
        if x == 0.0:
            drawing.text(0, y - 2, label, "small")
        else:
            drawing.text((x + stop) / 2, y - 2, label, "small", "middle")
    return str(drawing)
