"""Virtual sockets on two hosts, and the table of measured rows that they are tested against."""

from collections.abc import Callable
from typing import Any

from simulator.kernel import Kernel
from simulator.network import Network
from simulator.sockets import Context, Errno, Quirks, Socket, ZmqError

MS = 1_000_000
SECOND = 1_000_000_000
#: Where sockets meet within a process, and where on host a.
IN = "inproc://x"
TCP = "tcp://a:5555"


class Sockets:
    """A kernel, a network and one context per host; time passes only in `settle`."""

    def __init__(self, *, seed: int = 1, quirks: Quirks | None = None, wire_capacity: int = 256) -> None:
        self.kernel = Kernel(seed)
        self.network = Network(self.kernel, latency=50_000, wire_capacity=wire_capacity)
        self.quirks = quirks
        self.contexts: dict[str, Context] = {}

    def context(self, host: str = "a") -> Context:
        """The process on a host."""
        if host not in self.contexts:
            self.contexts[host] = Context(self.kernel, self.network, host=host, quirks=self.quirks)
        return self.contexts[host]

    def new(self, kind: str, host: str = "a", *, bind: str = "", connect: str = "", **options: int | bytes) -> Socket:
        """A socket with options, bound or connected."""
        socket = self.context(host).socket(kind)
        for name, value in options.items():
            socket.set(name, value)
        if bind:
            socket.bind(bind)
        if connect:
            socket.connect(connect)
        return socket

    def restart(self, host: str) -> None:
        """The process on a host dies; the next socket there belongs to another one."""
        self.contexts.pop(host).crash()

    def settle(self, nanoseconds: int = SECOND) -> None:
        """Let time pass."""
        self.kernel.run(self.kernel.now + nanoseconds)


def meet(s: Sockets, *sockets: Socket) -> None:
    """Let connections be made, and each thread come by."""
    for _ in range(3):
        s.settle()
        for socket in sockets:
            socket.events()


def linked(s: Sockets, *, mandatory: int = 1, router: str = "ROUTER", **options: int | bytes) -> tuple[Socket, Socket]:
    """A ROUTER on host a, and a DEALER named A on host b that is connected to it."""
    server = s.new(router, bind=TCP, ROUTER_MANDATORY=mandatory, **options)
    client = s.new("DEALER", "b", connect=TCP, ROUTING_ID=b"A")
    meet(s, server, client)
    return server, client


def drain(socket: Socket) -> list[Any]:
    """All messages that are there."""
    found = []
    while isinstance(message := socket.recv(), tuple):
        found.append(list(message))
    return found


def one(socket: Socket) -> Any:
    """The next message, or None."""
    message = socket.recv()
    return None if message is Errno.EAGAIN else list(message) if isinstance(message, tuple) else message.name


def sent(outcome: Errno | None) -> str:
    """What the table says of sending."""
    return "sent" if outcome is None else outcome.name


def refusal(action: Callable[[], object]) -> str | None:
    """The name of the errno with which something is refused."""
    try:
        action()
    except ZmqError as error:
        return error.errno.name
    return None


def fill(socket: Socket, *, frames: int = 1, prefix: tuple[bytes, ...] = (), limit: int = 1000) -> tuple[int, str]:
    """Send numbered messages until one is not taken: how many were, and why not the next."""
    for number in range(limit):
        error = socket.send((*prefix, *[b"%d" % number] * frames))
        if error is not None:
            return number, error.name
    return limit, ""


def is_ready(socket: Socket, event: int) -> bool:
    return bool(socket.events() & event)


def numbers(messages: list[Any]) -> list[int]:
    return [int(message[-1]) for message in messages]


#: Row number -> what it is about, what was measured on libzmq 4.3.5, and how the virtual sockets are asked.
Row = tuple[str, object, Callable[[Sockets], object]]


class Table(dict[int, Row]):
    """Rows by number, each written as a function that yields what is observed."""

    def row(self, number: int, about: str, measured: object) -> Callable[[Callable[[Sockets], object]], None]:
        """Enter a row."""

        def enter(observe: Callable[[Sockets], object]) -> None:
            assert number not in self
            self[number] = about, measured, observe

        return enter
