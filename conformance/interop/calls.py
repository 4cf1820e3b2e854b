"""Functions that abilities run on engines: plain ones, found by their name, so that every client can send them."""

import contextlib
import os
import signal
import sys
import time
from pathlib import Path


def add(left: int, right: int = 0) -> int:
    """The sum."""
    return left + right


def square(number: int) -> int:
    """The square."""
    return number * number


def divide(left: int, right: int) -> float:
    """The quotient; an error for 0."""
    return left / right


def pid() -> int:
    """Which process this is."""
    return os.getpid()


def sleep(seconds: float) -> float:
    """Sleep, and return how long."""
    time.sleep(seconds)
    return seconds


def announce_and_sleep(path: str, seconds: float) -> float:
    """Make a file, so that others know that this runs, and sleep."""
    Path(path).touch()
    # In pieces: an interrupt may be handled between two instructions only.
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        time.sleep(0.01)
    return seconds


def await_file(path: str, seconds: float) -> str:
    """Wait for a file with something in it, at most so long; its text."""
    deadline = time.monotonic() + seconds
    while True:
        # A file is there before it is written.
        with contextlib.suppress(FileNotFoundError):
            if text := Path(path).read_text(encoding="utf-8"):
                return text
        if time.monotonic() > deadline:
            raise TimeoutError(f"no {path} after {seconds:g} s")
        time.sleep(0.005)


def announce_and_await(begun: str, path: str, seconds: float) -> str:
    """Make a file, so that others know that this runs, and wait for another one."""
    Path(begun).touch()
    return await_file(path, seconds)


def fail_until(path: str, count: int) -> int:
    """Fail until this is the call with this number; calls are counted in a file."""
    with Path(path).open("a", encoding="utf-8") as file:
        file.write(".")
    number = Path(path).stat().st_size
    if number < count:
        raise ValueError(f"call {number} of {count}")
    return number


def speak(text: str) -> None:
    """Write to both streams."""
    print(text)  # noqa: T201 - what is printed is what is tested
    print(f"{text}?", file=sys.stderr)  # noqa: T201 - as above


def kill(process: int) -> None:
    """Kill a process, on this machine."""
    os.kill(process, signal.SIGKILL)


def is_alive(process: int) -> bool:
    """Whether a process is there, and no zombie where that can be told."""
    try:
        os.kill(process, 0)
        stat = Path(f"/proc/{process}/stat").read_text(encoding="utf-8")
    except ProcessLookupError:
        return False
    except FileNotFoundError:
        # It has ended since, unless this system tells nothing of anybody.
        return not Path("/proc/self/stat").exists()
    return stat.rpartition(")")[2].split()[0] != "Z"
