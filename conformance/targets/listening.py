"""Which process listens at a TCP port or is connected to one, which are whose children, and which stand still.

All as Linux tells it in /proc; elsewhere nothing is found.
"""

import sys
from collections.abc import Collection, Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Final

#: The states LISTEN and ESTABLISHED in the tables of /proc/net, and the column with the address that counts in each.
_LISTEN: Final = ("0A", 1)
_CONNECTED: Final = ("01", 2)


def listener(port: int, processes: Iterable[int]) -> int | None:
    """The one of these processes that listens at a port; None if there is none, or the system does not tell.

    A socket that was inherited by several, as by a fork, belongs to the first of them that is named.
    """
    return next(_holders(port, processes, _LISTEN), None)


def taken(ports: Collection[int], processes: Iterable[int]) -> list[int]:
    """Those of these ports at which somebody listens, and none of these processes; they must hold some of the others.

    Where they hold none, they are known by other numbers, as in a container, or the system does not tell.
    """
    held: dict[int, set[str]] = {}
    for port, inode in _entries(_LISTEN):
        if port in ports:
            held.setdefault(port, set()).add(f"socket:[{inode}]")
    own = set().union(*map(_links, processes)) if held else set()
    found = [port for port, links in sorted(held.items()) if not links & own]
    return found if len(found) < len(held) else []


def connected(port: int, processes: Iterable[int]) -> list[int]:
    """Those of these processes that are connected to a port, in their order."""
    return list(dict.fromkeys(_holders(port, processes, _CONNECTED)))


def _holders(port: int, processes: Iterable[int], kind: tuple[str, int]) -> Iterator[int]:
    links = {f"socket:[{inode}]" for number, inode in _entries(kind) if number == port}
    for pid in processes if links else ():
        if links & _links(pid):
            yield pid


def _links(pid: int) -> set[str]:
    """What the open files of a process are."""
    found = set()
    with suppress(OSError):
        for entry in Path(f"/proc/{pid}/fd").iterdir():
            with suppress(OSError):
                found.add(str(entry.readlink()))
    return found


def descendants(pid: int) -> list[int]:
    """The living children of a process, their children and so on, the nearest first."""
    children: dict[int, list[int]] = {}
    for entry in Path("/proc").glob("[0-9]*/stat") if sys.platform == "linux" else ():
        with suppress(OSError):
            # The name in parentheses may hold anything, so the fields are counted from its end.
            state, parent = entry.read_text().rpartition(")")[2].split()[:2]
            if state != "Z":
                children.setdefault(int(parent), []).append(int(entry.parent.name))
    found: list[int] = []
    generation = [pid]
    while generation:
        generation = [child for each in generation for child in children.get(each, ())]
        found += generation
    return found


def is_stopped(pid: int) -> bool:
    """Whether a process stands still (SIGSTOP)."""
    with suppress(OSError):
        # The name in parentheses may hold anything, so the state is found from its end.
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "T"
    return False


def _entries(kind: tuple[str, int]) -> Iterator[tuple[int, str]]:
    """Port and inode of all sockets of a kind."""
    state, column = kind
    for table in ("tcp", "tcp6") if sys.platform == "linux" else ():
        with suppress(OSError):
            for line in Path(f"/proc/net/{table}").read_text().splitlines()[1:]:
                fields = line.split()
                if fields[3] == state:
                    yield int(fields[column].rpartition(":")[2], 16), fields[9]
