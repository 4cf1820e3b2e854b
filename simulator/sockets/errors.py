"""What a socket may answer instead of doing what was asked: the names of errno, as data."""

from enum import Enum
from typing import Final


class Errno(Enum):
    """Why an operation was not carried out. The value is what zmq_strerror says."""

    EAGAIN = "Resource temporarily unavailable"
    EHOSTUNREACH = "Host unreachable"
    EFSM = "Operation cannot be accomplished in current state"
    ENOTSUP = "Operation not supported"
    EINVAL = "Invalid argument"
    EADDRINUSE = "Address already in use"
    EADDRNOTAVAIL = "Cannot assign requested address"
    EPROTONOSUPPORT = "Protocol not supported"
    ENOENT = "No such file or directory"
    ENOTSOCK = "Socket operation on non-socket"

    # Members are compared by identity; a string's hash would differ from run to run.
    __hash__ = object.__hash__


#: The ordinary ones by themselves: looking a member up in its class takes as long as sending a message.
EAGAIN: Final = Errno.EAGAIN
EFSM: Final = Errno.EFSM


class LibraryAborts(Exception):
    """Here libzmq fails an assertion of its own, and ends the process."""


class ZmqError(Exception):
    """A mistake in the use of a socket: bind, connect, options. `errno` says which."""

    def __init__(self, errno: Errno, text: str = "") -> None:
        super().__init__(f"{errno.name}: {errno.value}" + (f" ({text})" if text else ""))
        self.errno = errno
