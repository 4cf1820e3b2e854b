"""How long the threads of a process and of its descendants have waited for a processor, as Linux counts it in /proc.

A thread that could go on and is not let is late through no fault of its own. What waits for a lock, a message or a disk
does not count. Elsewhere, and of what is gone, nothing is known.
"""

import os
import sys
from contextlib import suppress
from pathlib import Path


def delays(first: int) -> dict[int, int]:
    """For each thread, by its id, the nanoseconds for which it has ever waited for a processor."""
    found: dict[int, int] = {}
    left = [first] if sys.platform == "linux" and first else []
    while left:
        tasks = f"/proc/{left.pop()}/task"
        # Any of them may end while it is looked at.
        with suppress(OSError):
            for thread in os.listdir(tasks):  # noqa: PTH208 - several times a second: paths would cost more than the files
                with suppress(OSError, ValueError, IndexError):
                    # Time on a processor, time waiting for one, and how often it ran.
                    found[int(thread)] = int(_read(f"{tasks}/{thread}/schedstat").split()[1])
                    left += map(int, _read(f"{tasks}/{thread}/children").split())
    return found


def _read(path: str) -> bytes:
    return Path(path).read_bytes()
