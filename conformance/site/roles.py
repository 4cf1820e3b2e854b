"""Pages of roles: an overview, and one page per role with its sockets, states, marks and requirements."""

import re
import sys
from collections.abc import Iterator
from typing import Final

from conformance.site import markdown as md
from conformance.site.states import state_diagram
from protocol.requirements import load
from protocol.roles.base import Role, SocketSpec
from protocol.roles.broadcast import BroadcastScheduler
from protocol.roles.client import Client
from protocol.roles.engine import Engine
from protocol.roles.heart import Heart
from protocol.roles.heartmonitor import HeartMonitor
from protocol.roles.hub import Hub
from protocol.roles.relay import ControlRelay, IopubRelay, MuxRelay, Relay, TaskRelay
from protocol.roles.tables import StateTable
from protocol.roles.task import TaskScheduler
from protocol.roles.warden import Warden

#: All roles, those of the controller first.
ROLES: Final[tuple[type[Role], ...]] = (
    Hub, HeartMonitor, MuxRelay, ControlRelay, IopubRelay, TaskScheduler, TaskRelay, BroadcastScheduler,
    Engine, Heart, Warden, Client,
)  # fmt: skip


def pages() -> Iterator[tuple[str, str]]:
    """Name and text of every page, the index first."""
    yield "roles", _index()
    for role in ROLES:
        yield f"roles/{name(role)}", md.page(*_parts(role))


def name(role: type[Role]) -> str:
    """What a role is called here: two machines can play one role, as the task scheduler and its scheme `pure`."""
    return role.DEVICE.name if issubclass(role, Relay) else role.NAME


def _index() -> str:
    return md.page(
        md.heading(1, "Roles", "roles"),
        "A role is one party of the protocol, written as a state machine without input and output. The reference "
        "implementation runs these machines on real sockets, and the simulator runs the same ones in virtual time.",
        "What a role keeps in states stands in a table: state, event, state that follows. The machine steps through "
        "the table, and the diagrams here are drawn from it. **An event that has no entry is illegal in that state.** "
        "It never raises an error and never changes a state; each table says what becomes of it.",
        md.table(
            ("role", "what it is", "states of"),
            [
                (md.link(md.code(name(role)), _label(role)), md.prose(_title(role)), md.lines(_lives(role)))
                for role in ROLES
            ],
        ),
        md.toctree((f"{name(role)} <roles/{name(role)}>" for role in ROLES), ":hidden:"),
    )


def _label(role: type[Role]) -> str:
    return f"role.{name(role)}"


def _purpose(role: type[Role]) -> str:
    """What a role is for: its module says it, and of a folder the module that has the role."""
    return sys.modules[role.__module__].__doc__ or ""


def _title(role: type[Role]) -> str:
    about = role.__doc__ if issubclass(role, Relay) else _purpose(role)
    return " ".join((about or "").partition("\n\n")[0].split())


def _lives(role: type[Role]) -> list[str]:
    return [md.prose(table.of) for table in role.TABLES] or ["nothing: it remembers nothing"]


def _parts(role: type[Role]) -> Iterator[str]:
    yield md.heading(1, f"Role {name(role)}", _label(role))
    if issubclass(role, Relay):
        yield md.prose(_title(role))
    yield md.docstring(_purpose(role))
    yield md.heading(2, "Sockets")
    yield _sockets(role)
    yield md.heading(2, "States")
    if not role.TABLES:
        yield "None. What comes in is passed on at once, and nothing is remembered."
    for table in role.TABLES:
        yield from _states(table, alone=len(role.TABLES) == 1)
    if role.MARKS:
        yield md.heading(2, "Rare branches")
        yield (
            "The machine marks each of these when it takes it, so that a test can tell that it was there. Illegal and "
            "unusual events are among them."
        )
        yield md.table(("mark", "when"), [(md.code(slug), md.prose(text)) for slug, text in role.MARKS.items()])
    yield md.heading(2, "Requirements")
    yield _requirements(role)


def _sockets(role: type[Role]) -> str:
    further = {"shell": Engine.SHELL_CHANNELS} if role is Engine else {}
    rows = [
        (md.code(name), [_channel(spec), *map(_channel, map(SocketSpec, further.get(name, ())))])
        for name, spec in role.SOCKETS.items()
    ]
    if role is Warden:
        rows += [
            (md.code(name) + " of a kernel starter", [_channel(spec)]) for name, spec in Warden.STARTER_SOCKETS.items()
        ]
    return md.table(("socket", "channel"), [(name, md.lines(channels)) for name, channels in rows])


def _channel(spec: SocketSpec) -> str:
    return md.link(md.code(spec.channel), f"channel.{spec.channel}") + (f", {spec.side} side" if spec.side else "")


def _states(table: StateTable, *, alone: bool) -> Iterator[str]:
    if not alone:
        yield md.heading(3, table.of[0].upper() + table.of[1:])
    yield md.raw(state_diagram(table))
    yield md.definitions((md.code(state), md.prose(meaning)) for state, meaning in table.meanings.items())
    width = 4 if any(move.does for _, _, move in table) else 3
    yield md.table(
        ("state", "event", "then", "what is done")[:width],
        [
            (md.code(state), _words(event), " or ".join(map(md.code, move.states)), _words(move.does))[:width]
            for state, event, move in table
        ],
    )
    ends = [state for state, events in table.rows.items() if not events]
    if ends:
        yield f"Nothing follows {' and '.join(map(md.code, ends))}."
    yield f"An event without an entry: {md.prose(table.illegal[0].lower() + table.illegal[1:])}"


def _words(text: str) -> str:
    """The words of a table, with names of messages as code."""
    return md.prose(re.sub(r"[a-z]+(?:_[a-z]+)+", r"`\g<0>`", text))


def _requirements(role: type[Role]) -> str:
    """The demands on a role, by family."""
    found: dict[str, list[str]] = {}
    for each in load().values():
        if role.NAME in each.roles:
            found.setdefault(each.family, []).append(md.link(md.code(each.slug), each.slug))
    if not found:
        return "No requirement names this role."
    return md.definitions(
        (md.link(family, f"requirements.{family}"), ", ".join(links)) for family, links in found.items()
    )
