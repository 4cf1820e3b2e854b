"""Standard input and output of a driver: lines come in one by one, and nothing but lines goes out."""

import os
import sys
import threading

from conformance.drivers.lines import Answer, AnyCommand, Hello, LineError, read_command, write


class Lines:
    """The two ends. Whatever else this process writes to standard output goes to standard error from now on."""

    def __init__(self, what: str) -> None:
        self._out = os.dup(1)
        os.dup2(2, 1)
        self._lock = threading.Lock()
        self._unread = b""
        self.is_over = False
        self.say(Hello(hello=what))

    def say(self, line: Answer | Hello) -> None:
        """Write a line; threads may do so at once."""
        data = write(line) + b"\n"
        with self._lock:
            while data:
                data = data[os.write(self._out, data) :]

    def read(self) -> list[AnyCommand]:
        """Wait for input, and give the commands in it; what is no command is complained of. See `is_over`."""
        data = os.read(0, 65536)
        self.is_over = not data
        *whole, self._unread = (self._unread + data).split(b"\n")
        return [command for line in whole if (command := _command(line)) is not None]


def _command(line: bytes) -> AnyCommand | None:
    try:
        return read_command(line)
    except LineError as error:
        sys.stderr.write(f"not a command: {error}\n")
        return None


__all__ = ["Lines"]
