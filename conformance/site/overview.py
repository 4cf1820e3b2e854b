"""The two pictures that show all channels at once: a cluster, and a plain kernel with its frontend.

Where a role stands is written here; which channels join it to which other, and by what sockets, comes from the table.
"""

from collections.abc import Callable, Sequence
from typing import Final, NamedTuple

from conformance.exchanges import PREFERRED
from conformance.site.diagrams import WIDTH, Drawing
from protocol.channels import CHANNELS, End
from protocol.patterns import CONTROLLER

#: From the name of a channel to the address of its page.
Link = Callable[[str], str]

#: The controller's roles from top to bottom, so ordered that its inner links need not cross others.
STACK: Final = (
    "control-relay", "hub", "task-scheduler", "broadcast-scheduler", "mux-relay", "iopub-relay", "heart-monitor",
)  # fmt: skip
_PITCH: Final = 40.0
_GAP: Final = 40.0
#: Left and right edge of each column.
_CLIENT: Final = (0.0, 84.0)
_CONTROLLER: Final = (244.0, 410.0)
_WARDEN: Final = (528.0, 598.0)
_ENGINE: Final = (680.0, 760.0)


class Wire(NamedTuple):
    """One channel between two ends, of which the first one binds."""

    channel: str
    here: End
    there: End

    @property
    def is_out(self) -> bool:
        """Whether the first end sends to the second."""
        return bool(self.here.sends and self.there.receives)

    @property
    def is_back(self) -> bool:
        """Whether the second end sends to the first."""
        return bool(self.there.sends and self.here.receives)


def wires(dialect: str = PREFERRED[0]) -> list[Wire]:
    """Every pair of ends that a channel joins in a dialect.

    The engine's own end of the control channel is left out where a warden stands in its place.
    """
    found = []
    for channel in CHANNELS:
        ends = [end for end in channel.ends if dialect in end.dialects and not end.variant]
        has_warden = any(end.role == "warden" and end.side == "" and end.socket == "ROUTER" for end in ends)
        for here in (end for end in ends if end.attach == "bind"):
            for there in (end for end in ends if end.attach == "connect"):
                is_client = there.role in ("client", "hub")
                if here.side in ("client", "engine") and (here.side == "client") != is_client:
                    continue
                if not (has_warden and there.role == "engine"):
                    found.append(Wire(channel.name, here, there))
    return found


def kernel_overview(link: Link) -> str:
    """A frontend and a plain kernel."""
    drawing = Drawing("The channels of a kernel")
    lines = [wire for wire in wires() if {wire.here.role, wire.there.role} == {"kernel", "frontend"}]
    height = len(lines) * _PITCH + 12
    for x, name in ((0.0, "frontend"), (WIDTH - 150.0, "kernel")):
        drawing.box(x, 0, 150, height)
        drawing.text(x + 75, height / 2 + 4, name, "role", "middle")
    for number, wire in enumerate(lines):
        _level(drawing, wire, number * _PITCH + 26, 150, WIDTH - 150, link)
    return str(drawing)


def cluster_overview(link: Link) -> str:
    """Client, controller, engine, the engine's heart and its warden."""
    drawing = Drawing("The channels of a cluster")
    every = wires()
    rows = _rows(every)
    bottom = rows["heart-monitor"].bottom
    drawing.box(_CONTROLLER[0] - 8, 0, _CONTROLLER[1] - _CONTROLLER[0] + 16, bottom + 10, "group")
    _centred(drawing, _CONTROLLER, 17, "controller", "small")
    _inner(drawing, every, rows, link)
    for role, row in rows.items():
        _box(drawing, _CONTROLLER, row, role)
        if role == "broadcast-scheduler":
            _centred(drawing, _CONTROLLER, row.middle + 18, "broadcast-tree", "small link", link("broadcast-tree"))
    outside = _Row(rows["control-relay"].top, rows["iopub-relay"].bottom)
    _box(drawing, _CLIENT, outside, "client")
    _box(drawing, _ENGINE, outside, "engine")
    _box(drawing, _ENGINE, rows["heart-monitor"], "heart")
    _box(drawing, _WARDEN, rows["control-relay"], "warden")
    for role, row in rows.items():
        clients = [wire for wire in every if wire.here.role == role and wire.there.role == "client"]
        for number, wire in enumerate(clients):
            _level(drawing, wire, row.at(number, len(clients)), _CLIENT[1], _CONTROLLER[0], link)
        others = [wire for wire in every if wire.here.role == role and wire.there.role in ("warden", "engine", "heart")]
        others.sort(key=lambda wire: wire.there.role != "warden")
        for number, wire in enumerate(others):
            _right(drawing, wire, row.at(number, len(others)), rows["control-relay"], link)
    for wire in every:
        if (wire.here.role, wire.there.role) == ("warden", "engine"):
            _level(drawing, wire, rows["control-relay"].middle, _ENGINE[0], _WARDEN[1], link, is_short=True)
        elif (wire.here.role, wire.there.role) == ("engine", "heart"):
            x = (_ENGINE[0] + _ENGINE[1]) / 2
            drawing.line([(x, rows["heart-monitor"].top), (x, outside.bottom)], end=True)
            drawing.text(x - 6, outside.bottom + 25, wire.channel, "link", "end", link(wire.channel))
    return str(drawing)


class _Row(NamedTuple):
    top: float
    bottom: float

    @property
    def middle(self) -> float:
        return (self.top + self.bottom) / 2

    def at(self, number: int, count: int) -> float:
        """The height of one of so many lines that leave a box at one side."""
        return self.middle + (number - (count - 1) / 2) * _PITCH + 4


def _rows(every: Sequence[Wire]) -> dict[str, _Row]:
    rows: dict[str, _Row] = {}
    y = 26.0
    for role in STACK:
        here = [wire.there.role for wire in every if wire.here.role == role]
        lines = max(here.count("client"), sum(name in ("warden", "engine", "heart") for name in here), 1)
        rows[role] = _Row(y, y + lines * _PITCH + 12)
        y = rows[role].bottom + _GAP
    return rows


def _box(drawing: Drawing, column: tuple[float, float], row: _Row, role: str) -> None:
    kind = "box relay" if role in CONTROLLER else "box"
    drawing.box(column[0], row.top, column[1] - column[0], row.bottom - row.top, kind)
    _centred(drawing, column, row.middle + 4, role, "role")


def _centred(drawing: Drawing, column: tuple[float, float], y: float, text: str, kind: str, link: str = "") -> None:
    drawing.text((column[0] + column[1]) / 2, y, text, kind, "middle", link)


def _level(
    drawing: Drawing, wire: Wire, y: float, left: float, right: float, link: Link, *, is_short: bool = False
) -> None:
    """A horizontal line: the connecting end at `left`, the binding one at `right`, whichever is further left."""
    inner = 11 if left < right else -11
    drawing.line([(left, y), (right, y)], start=wire.is_out, end=wire.is_back)
    drawing.text((left + right) / 2, y - 5, wire.channel, "link", "middle", link(wire.channel))
    if not is_short:
        near, far = ("start", "end") if left < right else ("end", "start")
        drawing.text(left + inner, y + 13, wire.there.socket, "small", near)
        drawing.text(right - inner, y + 13, wire.here.socket, "small", far)


def _right(drawing: Drawing, wire: Wire, y: float, warden: _Row, link: Link) -> None:
    """A line from the controller to what stands at its right; the warden hangs above the Hub's row by a corner."""
    if wire.there.role != "warden":
        _level(drawing, wire, y, _ENGINE[0], _CONTROLLER[1], link)
    elif wire.here.role != "hub":
        _level(drawing, wire, warden.middle, _WARDEN[0], _CONTROLLER[1], link)
    else:
        x = (_WARDEN[0] + _WARDEN[1]) / 2
        drawing.line([(x, warden.bottom), (x, y), (_CONTROLLER[1], y)], end=True)
        drawing.text((_CONTROLLER[1] + x) / 2, y - 5, wire.channel, "link", "middle", link(wire.channel))


def _inner(drawing: Drawing, every: Sequence[Wire], rows: dict[str, _Row], link: Link) -> None:
    """What the controller's own roles say to each other: one line behind all boxes, seen in the gaps between them."""
    centre = (_CONTROLLER[0] + _CONTROLLER[1]) / 2
    hub = rows["hub"]
    emitters = [rows[wire.there.role] for wire in every if wire.channel == "monitor" and wire.there.role in rows]
    x = centre - 50
    above, below = min(row.bottom for row in emitters), max(row.top for row in emitters)
    drawing.line([(x, above), (x, hub.top)], "inner", end=True)
    drawing.line([(x, below), (x, hub.bottom)], "inner", end=True)
    drawing.text(x + 8, hub.top - _GAP / 2 + 4, "monitor", "link", "start", link("monitor"))
    for role, x, labels in (("task-scheduler", centre - 28, "start"), ("broadcast-scheduler", centre + 66, "end")):
        channels = [wire.channel for wire in every if {wire.here.role, wire.there.role} == {"hub", role}]
        names = [name for name in dict.fromkeys(channels) if name != "monitor"]
        drawing.line([(x, hub.bottom), (x, rows[role].top)], "inner", start=True, end=True)
        for number, name in enumerate(names):
            y = rows[role].top - _GAP / 2 + 4 + (number - (len(names) - 1) / 2) * 12.5
            drawing.text(x + (8 if labels == "start" else -8), y, name, "link", labels, link(name))
