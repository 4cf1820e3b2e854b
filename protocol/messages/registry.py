"""The registry: every row of every family, and the ways to find one.

A row is found by name, channel and dialect, and by nothing less: `shutdown_request` means the Hub on one channel and an
engine on another, and `pyin` is what one dialect calls `execute_input`. A type that no dialect speaks any more
(`lived` says when it did) stays in the registry and is not found by `lookup`: to a receiver of today it is unknown.
"""

from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

from protocol.messages import (
    apply,
    broadcast,
    control,
    heartbeat,
    iopub,
    kernel_control,
    kernel_old,
    kernel_shell,
    notification,
    query,
    registration,
    stdin,
    task,
)
from protocol.messages.base import ALL, MessageType

if TYPE_CHECKING:
    from protocol.requirements import Requirement

DIALECTS: Final = ALL
DEFAULT_DIALECT: Final = "ipyparallel-9"

#: Every row, in the order of the families.
REGISTRY: Final[tuple[MessageType, ...]] = (
    *registration.ROWS,
    *heartbeat.ROWS,
    *notification.ROWS,
    *query.ROWS,
    *task.ROWS,
    *apply.ROWS,
    *control.ROWS,
    *iopub.ROWS,
    *broadcast.ROWS,
    *kernel_shell.ROWS,
    *kernel_control.ROWS,
    *kernel_old.ROWS,
    *stdin.ROWS,
)

#: (name, channel, dialect) -> row.
INDEX: Final[Mapping[tuple[str, str, str], MessageType]] = MappingProxyType(
    {
        (row.name_in(dialect), channel, dialect): row
        for row in REGISTRY
        for dialect in row.dialects
        for channel in row.channels
    }
)
CHANNELS: Final = frozenset(channel for row in REGISTRY for channel in row.channels)


def lookup(msg_type: str, channel: str, dialect: str = DEFAULT_DIALECT) -> MessageType | None:
    """The row of a message type on a channel in a dialect, under the name it has there; None if there is none."""
    return INDEX.get((msg_type, channel, dialect))


def names(channel: str, dialect: str = DEFAULT_DIALECT) -> tuple[str, ...]:
    """The names of all message types that may travel on a channel, sorted; heartbeats, which have no type, are none."""
    return tuple(sorted(key[0] for key, row in INDEX.items() if key[1:] == (channel, dialect) and not row.is_raw))


def rows(name: str, channel: str | None = None, dialect: str | None = None) -> tuple[MessageType, ...]:
    """Every row that has this name in one of its dialects, narrowed to a channel and a dialect if given."""
    return tuple(
        row
        for row in REGISTRY
        if (name == row.name_in(dialect) if dialect else name in row.all_names)
        and (channel is None or channel in row.channels)
        and (dialect is None or dialect in row.dialects)
    )


def check_place(channel: str, dialect: str) -> None:
    """Raise ValueError for a channel or dialect that no row knows: the caller's slip, never a peer's."""
    for what, value, known in (("channel", channel, CHANNELS), ("dialect", dialect, DIALECTS)):
        if value not in known:
            near = get_close_matches(value, known, n=3)
            raise ValueError(f"no {what} {value!r}" + (f"; did you mean {' or '.join(near)}?" if near else ""))


def requirements_of(row: MessageType) -> tuple["Requirement", ...]:
    """The requirements that name this message type in one of its dialects.

    Where several rows share the name, the channels tell which is meant; a requirement that tells of several channels
    may name messages that travel on another one. A raw row has no name on the wire: its channels speak for it.
    """
    from protocol import requirements

    return tuple(
        requirement
        for requirement in requirements.load().values()
        if (not row.dialects or not set(row.dialects).isdisjoint(requirement.dialects))
        and (
            not set(row.channels).isdisjoint(requirement.channels)
            if row.is_raw
            else _names(requirement.messages, requirement.channels, row)
        )
    )


def _names(messages: Sequence[str], places: Sequence[str], row: MessageType) -> bool:
    for name in set(row.all_names).intersection(messages):
        meant = [other for other in rows(name) if not set(other.channels).isdisjoint(places)]
        if not meant or row in meant:
            return True
    return False
