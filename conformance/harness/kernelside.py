"""The other side of a plain kernel: a world in which the kit is the frontends, and connects to what the kernel binds.

A kernel binds the ports of a file that its launcher wrote, so the kit chooses them. They lie below those that systems
hand out by themselves: nobody who binds any port can take one between its choice and the kernel's start.
"""

import itertools
import random
import secrets
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, closing
from socket import socket as tcp_socket
from typing import Any, Final

import zmq

from conformance.harness.controllerside import USUAL
from conformance.harness.pump import Pump, RealSocket
from protocol.channels import channel as row_of
from protocol.connection import KernelFile
from protocol.patterns import DEFAULT_DIALECT, Dialect

HOST: Final = "127.0.0.1"
#: Where ports are looked for.
PORTS: Final = range(10_000, 30_000)


class KernelSide(Pump):
    """On real sockets; `file` is what the kernel is started with.

    `said` gives keys of the connection file other values, or adds keys that nobody knows.
    """

    def __init__(self, said: Mapping[str, object] = USUAL, *, dialect: Dialect = DEFAULT_DIALECT) -> None:
        self._folder: tempfile.TemporaryDirectory[str] | None = None
        ports = dict(zip(KernelFile.ports, free_ports(len(KernelFile.ports)), strict=True))
        words: dict[str, Any] = {
            **ports, "ip": HOST, "transport": "tcp", "key": secrets.token_hex(16), "signature_scheme": "hmac-sha256",
            "kernel_name": "",
        }  # fmt: skip
        if said.get("transport") == "ipc":
            # Short, since such addresses are limited.
            self._folder = tempfile.TemporaryDirectory(prefix="ippkit-")
            words |= {"ip": f"{self._folder.name}/k"} | dict(zip(KernelFile.ports, itertools.count(1), strict=False))
        known = {key: value for key, value in said.items() if key in KernelFile.keys}
        unknown = {key: value for key, value in said.items() if key not in KernelFile.keys}
        self.file = KernelFile(**(words | known), extra=unknown)
        super().__init__(self.file.codec(), dialect=dialect)

    def close(self) -> None:
        """Close every socket, and remove what they were bound to. May be called twice."""
        super().close()
        if self._folder is not None:
            self._folder.cleanup()

    def open(self, channel: str, *, party: str, identity: bytes = b"", kind: str = "") -> RealSocket:
        """A frontend's socket on a channel of the kernel, of the usual type or of this one; subscribers hear all."""
        plan = row_of(channel).end("frontend", self.dialect)
        return self.connect(
            kind or plan.socket, [self.file.address(plan.address.key)], channel=channel, party=party, identity=identity,
            options=plan.options,
        )  # fmt: skip

    def open_surely(self, channel: str, *, party: str, identity: bytes, deadline: int) -> RealSocket:
        """As `open`, and wait until both ends have said who they are, or until the deadline."""
        plan = row_of(channel).end("frontend", self.dialect)
        socket = self.make(plan.socket, self.name(party, channel), channel, identity, plan.options)
        monitor = socket.zsocket.get_monitor_socket(zmq.EVENT_HANDSHAKE_SUCCEEDED)
        socket.connect(self.file.address(plan.address.key))
        self.adopt(socket)
        self.run_until(lambda: bool(monitor.poll(0)), deadline)
        socket.zsocket.disable_monitor()
        monitor.close(linger=0)
        return socket


def free_ports(count: int) -> list[int]:
    """So many different ports of `HOST` at which nobody listens."""
    with ExitStack() as held:
        # All are held until the last is found, so that none is found twice.
        return [port for port, _ in zip(_free(held), range(count), strict=False)]


def _free(held: ExitStack) -> Iterator[int]:
    choose = random.SystemRandom()
    while True:
        port, one = choose.choice(PORTS), held.enter_context(closing(tcp_socket()))
        try:
            one.bind((HOST, port))
        except OSError:
            continue
        yield port
