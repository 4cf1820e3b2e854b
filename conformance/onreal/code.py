"""What engines run for a scenario: a plain function, found by its name, that does what a `Work` says."""

import ctypes
import os
import signal
import sys
import time
from collections.abc import Sequence


def work(takes: float, prints: int = 0, ends: str = "", refusers: Sequence[str] = (), *, holds: bool = False) -> None:
    """Take so many seconds and write so many lines meanwhile, then return, or do as `ends` says: `fails` or `crashes`.

    With `holds` no other code of the interpreter runs meanwhile. An engine whose home is among `refusers`, or any for
    `*`, says that its dependencies are not met.
    """
    if "*" in refusers or os.environ.get("HOME") in refusers:
        raise _unmet()("the dependencies are not met here")
    began = time.monotonic()
    if holds:
        # PyDLL keeps the interpreter's lock while it calls C.
        ctypes.PyDLL(None).usleep(round(takes * 1_000_000))
    for number in range(prints):
        _wait(began + takes * number / prints)
        print(f"line {number}", flush=True)  # noqa: T201 - that is what it is for
    _wait(began + takes)
    if ends == "crashes":
        # As native code does that reads where nothing is.
        os.kill(os.getpid(), signal.SIGSEGV)
    if ends == "fails":
        raise ValueError("the code failed")


def _wait(until: float) -> None:
    left = until - time.monotonic()
    if left > 0:
        time.sleep(left)


class UnmetDependency(Exception):
    """Refuses a task, where engines look for the name."""


def _unmet() -> type[Exception]:
    """The exception that refuses a task: that of ipyparallel on its own engines."""
    kind = getattr(sys.modules.get("ipyparallel.error"), "UnmetDependency", UnmetDependency)
    assert issubclass(kind, Exception)
    return kind


__all__ = ["work"]
