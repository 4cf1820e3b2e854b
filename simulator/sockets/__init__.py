"""Virtual ZeroMQ sockets in virtual time, measured on libzmq 4.3.5 and certified against it.

What is here does not know what its users send, and opens no real socket. `docs/virtual-sockets.md` tells the rules.
"""

from simulator.sockets.base import POLLIN, POLLOUT, Socket
from simulator.sockets.context import KINDS, Context
from simulator.sockets.errors import Errno, LibraryAborts, ZmqError
from simulator.sockets.monitor import Happening, Monitor
from simulator.sockets.quirks import Quirks

__all__ = [
    "KINDS",
    "POLLIN",
    "POLLOUT",
    "Context",
    "Errno",
    "Happening",
    "LibraryAborts",
    "Monitor",
    "Quirks",
    "Socket",
    "ZmqError",
]
