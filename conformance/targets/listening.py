"""Which process listens at a TCP port or is connected to one, which are whose children, and which stand still.

All as Linux tells it in /proc; elsewhere nothing is found.
"""

import sys
from collections.abc import Iterable, Iterator
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


def connected(port: int, processes: Iterable[int]) -> list[int]:
    """Those of these processes that are connected to a port, in their order."""
    return list(dict.fromkeys(_holders(port, processes, _CONNECTED)))


def _holders(port: int, processes: Iterable[int], kind: tuple[str, int]) -> Iterator[int]:
    if sys.platform != "linux":
        return
    links = {f"socket:[{inode}]" for inode in _inodes(port, kind)}
    for pid in processes:
        with suppress(OSError):
            for entry in Path(f"/proc/{pid}/fd").iterdir():
                with suppress(OSError):
                    if str(entry.readlink()) in links:
                        yield pid


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


def _inodes(port: int, kind: tuple[str, int]) -> set[str]:
    state, column = kind
    found = set()
    for table in ("tcp", "tcp6"):
        with suppress(OSError):
            for line in Path(f"/proc/net/{table}").read_text().splitlines()[1:]:
                fields = line.split()
                if fields[3] == state and int(fields[column].rpartition(":")[2], 16) == port:
                    found.add(fields[9])
    return found
