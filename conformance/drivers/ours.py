"""Drives the reference client: `python -m conformance.drivers.ours`."""

import time
from collections import deque
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from conformance.drivers.desk import Connection, Desk, Failure
from conformance.drivers.lines import AnyCommand, Problem
from conformance.drivers.standard import Lines
from conformance.reference import objects
from conformance.reference.client import Client, Silence
from protocol.roles.base import Effect
from protocol.wire import Frame
from protocol.world import SECOND

#: The longest that nobody looks, in seconds: nothing depends on it.
LONGEST: Final = 3600.0


class _Reference(Connection):
    """A reference client."""

    def __init__(self, file: str, timeout: float) -> None:
        try:
            self.client = Client.from_file(Path(file), timeout=timeout)
        except Silence as error:
            raise Failure(Problem(kind="timeout", message=str(error))) from None
        self.role = self.client.machine

    def now(self) -> int:
        """Nanoseconds of the monotonic clock."""
        return time.monotonic_ns()

    def carry_out(self, effects: Sequence[Effect]) -> None:
        """Send, and set timers."""
        self.client.carry_out(effects)

    def load(self, buffers: Sequence[Frame]) -> list[Any]:
        """The values, which are loaded."""
        return objects.unpack_values(buffers)

    def close(self) -> None:
        """Close its sockets."""
        self.client.close()


class Driver:
    """The desk between standard input and one reference client."""

    def __init__(self) -> None:
        self._lines = Lines("the reference client of ippkit")
        self._desk = Desk(self._lines.say, _Reference)
        self._told: deque[AnyCommand] = deque()

    def run(self) -> None:
        """Do what is told until standard input ends."""
        while not self._lines.is_over:
            connection = self._desk.connection
            if isinstance(connection, _Reference):
                due = self._desk.due
                seconds = LONGEST if due is None else max(0.0, (due - connection.now()) / SECOND)
                connection.client.watch(0, self._hear)
                connection.client.run(self._has_changed, seconds)
                self._desk.look()
            else:
                self._hear()
                self._do()

    def _has_changed(self) -> bool:
        """Do what was told, between two looks at the sockets; whether there is now something else to wait for."""
        before = self._desk.connection, self._desk.due
        self._desk.look()
        self._do()
        return self._lines.is_over or before != (self._desk.connection, self._desk.due)

    def _hear(self) -> None:
        self._told += self._lines.read()

    def _do(self) -> None:
        while self._told:
            self._desk.take(self._told.popleft())


if __name__ == "__main__":
    Driver().run()
