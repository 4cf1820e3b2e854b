"""Which process listens at a TCP port, and which one stands still, as Linux tells it in /proc."""

import sys
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Final

#: The state LISTEN in the tables of /proc/net.
_LISTEN: Final = "0A"


def listener(port: int, processes: Iterable[int]) -> int | None:
    """The one of these processes that listens at a port; None if there is none, or the system does not tell.

    A socket that was inherited by several, as by a fork, belongs to the first of them that is named.
    """
    if sys.platform != "linux":
        return None
    links = {f"socket:[{inode}]" for inode in _inodes(port)}
    for pid in processes:
        with suppress(OSError):
            for entry in Path(f"/proc/{pid}/fd").iterdir():
                with suppress(OSError):
                    if str(entry.readlink()) in links:
                        return pid
    return None


def is_stopped(pid: int) -> bool:
    """Whether a process stands still (SIGSTOP)."""
    with suppress(OSError):
        # The name in parentheses may hold anything, so the state is found from its end.
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "T"
    return False


def _inodes(port: int) -> set[str]:
    found = set()
    for table in ("tcp", "tcp6"):
        with suppress(OSError):
            for line in Path(f"/proc/net/{table}").read_text().splitlines()[1:]:
                fields = line.split()
                if fields[3] == _LISTEN and int(fields[1].rpartition(":")[2], 16) == port:
                    found.add(fields[9])
    return found
