"""What lies between a controller and its peers and sees who sends what to whom.

    tap = Tap(running.client, running.engine)
    tap.join("client", directory, "client")              # a connection file with ports of the tap's own
    tap.join("engine-1 (ippkit)", directory, "engine")
    seen = tap.take()                                    # the messages since the last call, in order

Every party gets a connection file of its own, with addresses that nobody else has: whatever crosses them is that
party's, and no message has to be believed for it. Bytes are copied as they are, so that peers meet each other and not
the tap. A message is written down before its last byte is passed on, so that an answer always comes after what it
answers. Hearts are not tapped: they bear no messages, and their time should not depend on this process.
"""

import contextlib
import selectors
import socket
import threading
import time
from pathlib import Path
from typing import Final, Literal

import msgspec

from conformance.interop.zmtp import Splitter
from protocol.connection import ClientFile, ClusterFile, EngineFile, render

HOST: Final = "127.0.0.1"
#: The keys of the files whose addresses are tapped, and the channels behind them.
TAPPED: Final = {
    "registration": "query", "notification": "notification", "mux": "mux", "task": "task", "control": "control",
    "iopub": "iopub", "broadcast": "broadcast",
}  # fmt: skip
#: The channel on which every party has one connection for as long as it lives.
LIFELINE: Final = "mux"
#: Bytes that are read at once, and how many may wait for a receiver that does not read.
CHUNK: Final = 1 << 16
WAITING: Final = 1 << 22
CONTROLLER: Final = "the controller"

Kind = Literal["client", "engine"]


class Hop(msgspec.Struct, frozen=True, kw_only=True):
    """One message on its way between a party and the controller; `is_up` if it goes to the controller.

    `link` numbers the connection; `now` is in nanoseconds of the monotonic clock.
    """

    seq: int
    now: int
    party: str
    kind: Kind
    channel: str
    link: int
    is_up: bool
    frames: tuple[bytes, ...]

    @property
    def sender(self) -> str:
        """Who sent it."""
        return self.party if self.is_up else CONTROLLER


class _Port(msgspec.Struct, frozen=True):
    """Where the tap listens for one party on one channel, and what is behind it."""

    party: str
    kind: Kind
    channel: str
    address: tuple[str, int]


class _Half:
    """One end of a connection: what is to be written to it, and what is read from it."""

    def __init__(self, stream: socket.socket, port: _Port, link: int, *, is_up: bool) -> None:
        self.stream = stream
        self.port = port
        self.link = link
        self.is_up = is_up
        self.other: _Half
        self.splitter = Splitter()
        self.waiting = bytearray()


class Tap:
    """The tap of one cluster, with a thread that copies; `close` ends it."""

    def __init__(self, client: ClientFile, engine: EngineFile) -> None:
        self._files: dict[Kind, ClusterFile] = {"client": client, "engine": engine}
        self._selector = selectors.DefaultSelector()
        self._lock = threading.Lock()
        self._hops: list[Hop] = []
        self._joining: list[tuple[socket.socket, _Port]] = []
        self._halves: set[_Half] = set()
        self._gone: set[str] = set()
        self._closed: set[int] = set()
        self._links = 0
        self._count = 0
        self._is_closing = False
        self._bell, self._ear = socket.socketpair()
        self._ear.setblocking(False)
        self._selector.register(self._ear, selectors.EVENT_READ, None)
        self._thread = threading.Thread(target=self._serve, name="tap", daemon=True)
        self._thread.start()

    def join(self, party: str, directory: Path, kind: Kind) -> Path:
        """A connection file for one party: the controller's, with the tap's addresses. Where it is."""
        file = self._files[kind]
        changed: dict[str, object] = {"interface": f"tcp://{HOST}"}
        for key, channel in TAPPED.items():
            if key not in file.keys:
                continue
            ports = [self._listen(party, kind, channel, address) for address in file.addresses(key)]
            changed[key] = ports if isinstance(getattr(file, key), list) else ports[0]
        path = directory / f"ipcontroller-{kind}.json"
        path.touch(mode=0o600)
        path.write_bytes(render(msgspec.structs.replace(file, **changed)))
        return path

    def take(self) -> list[Hop]:
        """The messages since the last call."""
        with self._lock:
            hops, self._hops = self._hops, []
        return hops

    @property
    def gone(self) -> frozenset[str]:
        """The parties that have hung up on the controller: an engine that did has ended, or been killed."""
        with self._lock:
            return frozenset(self._gone)

    @property
    def closed(self) -> frozenset[int]:
        """The connections that their party has closed: nobody can be reached there any more."""
        with self._lock:
            return frozenset(self._closed)

    def close(self) -> None:
        """Close all connections and end the thread. May be called twice."""
        self._is_closing = True
        with contextlib.suppress(OSError):
            self._bell.send(b".")
        self._thread.join()
        self._bell.close()

    def __enter__(self) -> "Tap":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _listen(self, party: str, kind: Kind, channel: str, address: str) -> int:
        host, _, number = address.removeprefix("tcp://").rpartition(":")
        listener = socket.create_server((HOST, 0), backlog=64)
        listener.setblocking(False)
        with self._lock:
            self._joining.append((listener, _Port(party, kind, channel, (host, int(number)))))
        self._bell.send(b".")
        return int(listener.getsockname()[1])

    # -- the thread --------------------------------------------------------------------------------------------------

    def _serve(self) -> None:
        while not self._is_closing:
            for key, events in self._selector.select():
                if key.data is None:
                    self._take_in()
                elif isinstance(key.data, _Port):
                    assert isinstance(key.fileobj, socket.socket)
                    self._accept(key.fileobj, key.data)
                elif key.data in self._halves:
                    if events & selectors.EVENT_WRITE:
                        self._write(key.data)
                    if events & selectors.EVENT_READ and key.data in self._halves:
                        self._read(key.data)
        for key in list(self._selector.get_map().values()):
            assert isinstance(key.fileobj, socket.socket)
            key.fileobj.close()
        self._selector.close()

    def _take_in(self) -> None:
        with contextlib.suppress(BlockingIOError):
            self._ear.recv(4096)
        with self._lock:
            joining, self._joining = self._joining, []
        for listener, port in joining:
            self._selector.register(listener, selectors.EVENT_READ, port)

    def _accept(self, listener: socket.socket, port: _Port) -> None:
        try:
            near, _ = listener.accept()
        except OSError:
            return
        try:
            far = socket.create_connection(port.address, timeout=1.0)
        except OSError:
            # Nobody is there, which the party learns in the same way.
            near.close()
            return
        self._links += 1
        up = _Half(near, port, self._links, is_up=True)
        down = _Half(far, port, self._links, is_up=False)
        up.other, down.other = down, up
        for half in (up, down):
            half.stream.setblocking(False)
            half.stream.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._halves.add(half)
            self._selector.register(half.stream, selectors.EVENT_READ, half)

    def _read(self, half: _Half) -> None:
        try:
            data = half.stream.recv(CHUNK)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self._drop(half)
            return
        for frames in half.splitter.feed(data):
            self._note(half, frames)
        half.other.waiting += data
        self._write(half.other)

    def _note(self, half: _Half, frames: tuple[bytes, ...]) -> None:
        port = half.port
        with self._lock:
            self._count += 1
            self._hops.append(
                Hop(
                    seq=self._count, now=time.monotonic_ns(), party=port.party, kind=port.kind, channel=port.channel,
                    link=half.link, is_up=half.is_up, frames=frames,
                )
            )  # fmt: skip

    def _write(self, half: _Half) -> None:
        try:
            if half.waiting:
                del half.waiting[: half.stream.send(half.waiting)]
        except BlockingIOError:
            pass
        except OSError:
            self._drop(half)
            return
        for each in (half, half.other):
            # Whoever does not read is not written to, and in the end the other is not read.
            events = selectors.EVENT_READ if len(each.other.waiting) < WAITING else 0
            events |= selectors.EVENT_WRITE if each.waiting else 0
            self._watch(each, events)

    def _watch(self, half: _Half, events: int) -> None:
        is_known = half.stream in self._selector.get_map()
        if not events:
            if is_known:
                self._selector.unregister(half.stream)
        elif is_known:
            self._selector.modify(half.stream, events, half)
        else:
            self._selector.register(half.stream, events, half)

    def _drop(self, half: _Half) -> None:
        """Close both ends, having passed on what was still to be written."""
        if half.is_up:
            with self._lock:
                self._closed.add(half.link)
                if half.port.channel == LIFELINE:
                    self._gone.add(half.port.party)
        for each in (half, half.other):
            with contextlib.suppress(OSError):
                if each is not half and each.waiting:
                    each.stream.setblocking(True)
                    each.stream.settimeout(1.0)
                    each.stream.sendall(each.waiting)
            self._watch(each, 0)
            self._halves.discard(each)
            each.stream.close()
