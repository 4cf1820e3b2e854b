"""Connecting to where a ZeroMQ socket is bound, without ZeroMQ: the bytes of its transport."""

import socket


def connect(address: str, seconds: float) -> socket.socket:
    """A stream to `tcp://host:port` or `ipc://path`, whose operations then take so many seconds at most.

    Raises OSError, TimeoutError among them.
    """
    transport, _, where = address.partition("://")
    if transport == "ipc":
        stream = socket.socket(socket.AF_UNIX)
        try:
            stream.settimeout(seconds)
            stream.connect(where)
        except BaseException:
            stream.close()
            raise
        return stream
    host, _, port = where.rpartition(":")
    return socket.create_connection((host.strip("[]"), int(port)), seconds)
