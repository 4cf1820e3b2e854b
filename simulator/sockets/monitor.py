"""What a socket tells of its connections."""

from typing import NamedTuple

from simulator.kernel import Kernel


class Happening(NamedTuple):
    """One event: when, its name as zmq has it without EVENT_, the address of the endpoint, and a value."""

    t: int
    name: str
    address: str
    value: int


class Monitor:
    """The events of one socket so far, in order."""

    def __init__(self, kernel: Kernel) -> None:
        self._kernel = kernel
        self.events: list[Happening] = []

    def tell(self, name: str, address: str, value: int) -> None:
        """Write an event down; sockets use this."""
        self.events.append(Happening(self._kernel.now, name, address, value))

    @property
    def names(self) -> list[str]:
        """The names of the events so far."""
        return [event.name for event in self.events]
