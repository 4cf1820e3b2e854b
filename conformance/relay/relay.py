"""What lies between two parties, copies their bytes, and sees who sends what to whom.

    with Relay() as relay:
        relay.join("client", running.client, directory / "ipcontroller-client.json")
        relay.join("engine-1", running.engine, directory / "engine-1" / "ipcontroller-engine.json")
        seen = relay.take()                              # the messages since the last call, in order
        relay.links                                      # the connections, and what is at their ends

A relay has addresses of its own for every party: whatever crosses them is that party's, and no message has to be
believed for it. A party is one process if it gets a copy of its own, or all that use one copy. Whoever has bound (a
controller, a kernel) is looked for at each connection, so that it need not be there yet. Bytes are copied as they
are, so that peers meet each other and not the relay: it is no ZeroMQ socket. A message is written down before its last
byte is passed on, so that an answer always comes after what it answers.

With rules (see `rewriting`), even none, the messages of NULL connections pass one by one instead, still as their own
bytes unless a rule touches them. What cannot be read (CURVE, garbage) passes in any case.
"""

import contextlib
import heapq
import itertools
import selectors
import shutil
import socket
import tempfile
import threading
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, TypeVar

import msgspec
from msgspec import UNSET

from conformance.relay.hops import CHANNELS_OF, KINDS, Hop, Kind, Link
from conformance.relay.rewriting import Passing, Rule, apply
from conformance.relay.streams import connect
from conformance.relay.zmtp import Decoder, Event, Greeting, Multipart, Ready, Subscription, Unreadable
from protocol.connection import ClientFile, ConnectionFile, EngineFile, KernelFile, render
from protocol.wire import Codec
from protocol.world import SECOND

HOST: Final = "127.0.0.1"
#: Bytes that are read at once, and how many may wait for a receiver that does not read.
CHUNK: Final = 1 << 16
WAITING: Final = 1 << 22
#: Seconds in which somebody must take a connection, or the rest of what was sent to them.
PROMPT: Final = 1.0
#: Seconds after which whoever waits for the relay's thread looks whether it lives.
SLICE: Final = 0.1

F = TypeVar("F", bound=ClientFile | EngineFile | KernelFile)
Item = Hop | Link


class _Port(msgspec.Struct, frozen=True):
    """Where the relay listens for one party on one channel, and what is behind it."""

    party: str
    kind: Kind
    channel: str
    index: int
    address: str
    codec: Codec


class _Half:
    """One end of a connection: what is to be written to it, and what is read from it."""

    def __init__(self, stream: socket.socket, port: _Port, link: int, *, is_up: bool, keeps_raw: bool) -> None:
        self.stream = stream
        self.port = port
        self.link = link
        self.is_up = is_up
        self.other: _Half
        self.decoder = Decoder(keeps_raw=keeps_raw)
        self.waiting = bytearray()


class Relay:
    """See the module. `close` ends it.

    `rules` touch messages; where some were given, be it an empty list, others can be set at any time. `skips` are
    channels that are not relayed: their addresses stay those of the file. Without `sink` messages are kept until they
    are taken. With it they are handed over instead, in the relay's thread and before they pass on, and so is every
    connection whenever more is known of it.
    """

    def __init__(
        self,
        rules: Sequence[Rule] | None = None,
        *,
        skips: Collection[str] = (),
        sink: Callable[[Item], None] | None = None,
    ) -> None:
        self._is_rewriting = rules is not None
        self._rules: tuple[Rule, ...] = tuple(rules or ())
        self._skips = frozenset(skips)
        self._hops: list[Hop] = []
        self._sink = sink
        self._selector = selectors.DefaultSelector()
        self._lock = threading.Lock()
        self._joining: list[tuple[socket.socket, _Port]] = []
        self._tasks: list[Callable[[], None]] = []
        self._halves: set[_Half] = set()
        self._up: dict[int, _Half] = {}
        self._links: dict[int, Link] = {}
        self._parted: dict[int, tuple[Callable[[Link], bool], bool, bool]] = {}
        #: Connections that end with the next message, of which half passes; and those that end while they greet.
        self._halved: set[int] = set()
        self._unwelcome: dict[int, Callable[[Link], bool]] = {}
        self._due: list[tuple[int, int, Callable[[], None]]] = []
        self._order = itertools.count()
        self._opened = 0
        self._count = 0
        self._is_closing = False
        self._has_ended = False
        self._paths: str | None = None
        self._listeners = 0
        self._bell, self._ear = socket.socketpair()
        self._ear.setblocking(False)
        self._selector.register(self._ear, selectors.EVENT_READ, None)
        self._thread = threading.Thread(target=self._serve, name="relay", daemon=True)
        self._thread.start()

    # -- for whoever looks ---------------------------------------------------------------------------------------------

    def join(self, party: str, file: F, path: Path) -> Path:
        """Write a copy of a connection file for one party, with the relay's addresses, to this path."""
        path.touch(mode=0o600)
        path.write_bytes(render(self.copy(party, file)))
        return path

    def copy(self, party: str, file: F) -> F:
        """The copy of a connection file for one party: the same, with the relay's addresses."""
        kind = KINDS[type(file)]
        is_local = _interface(file).startswith("ipc://")
        changed: dict[str, Any] = {}
        for key, channel in CHANNELS_OF[kind].items():
            if key not in file.ports or channel in self._skips:
                continue
            ports = [
                self._listen(_Port(party, kind, channel, index, address, file.codec()), is_local=is_local)
                for index, address in enumerate(_addresses(file, key))
            ]
            if ports:
                changed[key] = ports if isinstance(getattr(file, key), list) else ports[0]
        where = f"{self._folder()}/r" if is_local else HOST
        changed |= {"ip": where} if isinstance(file, KernelFile) else {"interface": _join(is_local, where)}
        if not is_local and not isinstance(file, KernelFile):
            # Peers wonder about a controller that listens on loopback, and is not here.
            changed["location"] = HOST
        return msgspec.structs.replace(file, **changed)

    def take(self) -> list[Hop]:
        """The messages since the last call."""
        with self._lock:
            hops, self._hops = self._hops, []
        return hops

    @property
    def links(self) -> Mapping[int, Link]:
        """The connections so far, by number; without `sink` also those that are closed."""
        with self._lock:
            return dict(self._links)

    @property
    def rules(self) -> Sequence[Rule]:
        """The rules that messages meet from now on."""
        return self._rules

    @rules.setter
    def rules(self, rules: Sequence[Rule]) -> None:
        if not self._is_rewriting:
            raise ValueError("a relay that was made without rules copies bytes, and knows of no messages in time")
        self._rules = tuple(rules)

    def release(self, passing: Passing) -> None:
        """Let a message pass that a rule holds, or one that nobody sent. Nothing happens if its connection is gone."""
        self._do(lambda: self._pass_on(passing))

    def at(self, due: int, task: Callable[[], None]) -> None:
        """Have something done in the relay's thread at this moment of the monotonic clock. Rules may call this, too."""
        self._do(lambda: heapq.heappush(self._due, (due, next(self._order), task)))

    def cut(self, is_meant: Callable[[Link], bool]) -> None:
        """Close connections at both ends, as a network may."""

        def cut() -> None:
            for number, up in list(self._up.items()):
                if is_meant(self._links[number]):
                    self._drop(up, by="relay")

        self._do(cut)

    def cut_within(self, is_meant: Callable[[Link], bool]) -> None:
        """Close each of these connections within the next message that crosses it: half of that passes.

        For a relay with rules, be there none of them.
        """

        def cut() -> None:
            self._halved |= {number for number in self._up if is_meant(self._links[number])}

        self._do(cut)

    def turn_away(self, is_meant: Callable[[Link], bool]) -> Callable[[], None]:
        """Close each new connection of this kind while it greets, until what is returned is called."""
        number = next(self._order)
        self._do(lambda: self._unwelcome.update({number: is_meant}))
        return lambda: self._do(lambda: self._unwelcome.pop(number, None) and None)

    def part(self, is_meant: Callable[[Link], bool], *, up: bool = True, down: bool = True) -> Callable[[], None]:
        """Let nothing pass on these connections, be it in one direction only, until `heal`, or until what is returned
        is called. Nothing is lost.
        """
        number = next(self._order)

        def part() -> None:
            self._parted[number] = (is_meant, up, down)
            self._look_again()

        def heal() -> None:
            self._parted.pop(number, None)
            self._look_again()

        self._do(part)
        return lambda: self._do(heal)

    def heal(self) -> None:
        """Let everything pass again."""

        def heal() -> None:
            self._parted.clear()
            self._look_again()

        self._do(heal)

    def close(self) -> None:
        """Close all connections and end the thread. May be called twice."""
        self._is_closing = True
        with contextlib.suppress(OSError):
            self._bell.send(b".")
        self._thread.join()
        self._bell.close()
        if self._paths is not None:
            shutil.rmtree(self._paths, ignore_errors=True)

    def __enter__(self) -> "Relay":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # -- listening -----------------------------------------------------------------------------------------------------

    def _folder(self) -> str:
        """Where sockets have their paths: short, because the length of a path is limited."""
        if self._paths is None:
            self._paths = tempfile.mkdtemp(prefix="ippkit-")
        return self._paths

    def _listen(self, port: _Port, *, is_local: bool) -> int:
        if is_local:
            self._listeners += 1
            number = self._listeners
            listener = socket.socket(socket.AF_UNIX)
            listener.bind(f"{self._folder()}/r-{number}")
            listener.listen(64)
        else:
            listener = socket.create_server((HOST, 0), backlog=64)
            number = int(listener.getsockname()[1])
        listener.setblocking(False)
        with self._lock:
            if self._has_ended:
                # Whoever connects finds nobody, as at every address of a relay that has ended.
                listener.close()
                return number
            self._joining.append((listener, port))
        with contextlib.suppress(OSError):
            self._bell.send(b".")
        return number

    def _do(self, task: Callable[[], None]) -> None:
        """Have something done in the relay's thread, and wait for it."""
        if threading.current_thread() is self._thread:
            task()
            return
        is_done = threading.Event()

        def do() -> None:
            task()
            is_done.set()

        with self._lock:
            self._tasks.append(do)
        with contextlib.suppress(OSError):
            self._bell.send(b".")
        # A relay that has ended does nothing any more.
        while self._thread.is_alive() and not is_done.wait(SLICE):
            continue

    # -- the thread ----------------------------------------------------------------------------------------------------

    def _serve(self) -> None:
        try:
            while not self._is_closing:
                self._serve_once()
        finally:
            # A rule or a sink that fails must not leave anybody waiting for what will never pass.
            for half in self._halves:
                half.stream.close()
            for key in list(self._selector.get_map().values()):
                assert isinstance(key.fileobj, socket.socket)
                key.fileobj.close()
            self._selector.close()
            # Some listeners may not have been taken in yet.
            with self._lock:
                self._has_ended = True
                for listener, _ in self._joining:
                    listener.close()

    def _serve_once(self) -> None:
        wait = None if not self._due else max(0.0, (self._due[0][0] - time.monotonic_ns()) / SECOND)
        for key, events in self._selector.select(wait):
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
        while self._due and self._due[0][0] <= time.monotonic_ns():
            heapq.heappop(self._due)[2]()

    def _take_in(self) -> None:
        with contextlib.suppress(BlockingIOError):
            self._ear.recv(4096)
        with self._lock:
            joining, self._joining = self._joining, []
            tasks, self._tasks = self._tasks, []
        for listener, port in joining:
            self._selector.register(listener, selectors.EVENT_READ, port)
        for task in tasks:
            task()

    def _accept(self, listener: socket.socket, port: _Port) -> None:
        try:
            near, _ = listener.accept()
        except OSError:
            return
        try:
            far = connect(port.address, PROMPT)
        except OSError:
            # Nobody is there, which the party learns in the same way.
            near.close()
            return
        self._opened += 1
        number = self._opened
        keeps_raw = self._is_rewriting
        up = _Half(near, port, number, is_up=True, keeps_raw=keeps_raw)
        down = _Half(far, port, number, is_up=False, keeps_raw=keeps_raw)
        up.other, down.other = down, up
        self._up[number] = up
        for half in (up, down):
            half.stream.setblocking(False)
            if half.stream.family != socket.AF_UNIX:
                half.stream.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._halves.add(half)
        self._tell(Link(number=number, party=port.party, kind=port.kind, channel=port.channel, index=port.index))
        for half in (up, down):
            self._look(half)

    def _read(self, half: _Half) -> None:
        try:
            data = half.stream.recv(CHUNK)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self._drop(half, by="near" if half.is_up else "far")
            return
        is_whole = not self._is_rewriting or not half.decoder.is_readable
        for event in half.decoder.feed(data):
            self._see(half, event)
            if half not in self._halves:
                return
        if is_whole:
            self._send(half.other, data)

    def _see(self, half: _Half, event: Event) -> None:
        """Write down what a peer did; with rules, also pass it on."""
        if isinstance(event, Multipart):
            hop = self._hop(half, event)
            if half.link in self._halved:
                self._halved.discard(half.link)
                self._send(half.other, event.raw[: len(event.raw) // 2])
                self._drop(half, by="relay")
                return
            if self._is_rewriting:
                for passing in apply(self._rules, Passing(hop, half.port.codec, event.raw)):
                    self._pass_on(passing)
            return
        self._learn(half, event)
        if event.raw:
            self._send(half.other, event.raw)
        if half.decoder.ready is None and half in self._halves and self._is_unwelcome(half):
            self._drop(half, by="relay")

    def _hop(self, half: _Half, event: Multipart) -> Hop:
        port = half.port
        self._count += 1
        hop = Hop(
            seq=self._count, now=time.monotonic_ns(), party=port.party, kind=port.kind, channel=port.channel,
            link=half.link, is_up=half.is_up, frames=event.frames,
        )  # fmt: skip
        if self._sink is not None:
            self._sink(hop)
        else:
            with self._lock:
                self._hops.append(hop)
        return hop

    def _learn(self, half: _Half, event: Event) -> None:
        """What a peer has told of itself."""
        link = self._links[half.link]
        peer = link.near if half.is_up else link.far
        if isinstance(event, Greeting):
            peer = msgspec.structs.replace(peer, version=event.version, mechanism=event.mechanism)
        elif isinstance(event, Ready):
            peer = msgspec.structs.replace(peer, socket_type=event.socket_type, identity=event.identity)
        elif isinstance(event, Subscription):
            kept = tuple(topic for topic in peer.subscriptions if topic != event.topic)
            topics = (*kept, event.topic) if event.is_wanted else kept
            peer = msgspec.structs.replace(peer, subscriptions=topics)
        elif isinstance(event, Unreadable):
            peer = msgspec.structs.replace(peer, unreadable=str(event))
        else:
            return
        changed = {"near": peer} if half.is_up else {"far": peer}
        self._tell(msgspec.structs.replace(link, **changed))

    def _tell(self, link: Link) -> None:
        with self._lock:
            if link.closed_by and self._sink is not None:
                # It was handed over, and is nothing to keep for a day.
                self._links.pop(link.number, None)
            else:
                self._links[link.number] = link
        if self._sink is not None:
            self._sink(link)

    # -- writing -------------------------------------------------------------------------------------------------------

    def _pass_on(self, passing: Passing) -> None:
        up = self._up.get(passing.hop.link)
        if up is not None:
            self._send(up.other if passing.hop.is_up else up, passing.raw)

    def _send(self, half: _Half, data: bytes) -> None:
        if half in self._halves:
            half.waiting += data
            self._write(half)

    def _write(self, half: _Half) -> None:
        try:
            if half.waiting:
                del half.waiting[: half.stream.send(half.waiting)]
        except BlockingIOError:
            pass
        except OSError:
            self._drop(half, by="near" if half.is_up else "far")
            return
        for each in (half, half.other):
            self._look(each)

    def _look(self, half: _Half) -> None:
        """Wait for what can happen next at one end."""
        # Whoever does not read is not written to, and in the end the other is not read.
        is_read = len(half.other.waiting) < WAITING and not self._is_parted(half)
        self._watch(half, (selectors.EVENT_READ if is_read else 0) | (selectors.EVENT_WRITE if half.waiting else 0))

    def _is_parted(self, half: _Half) -> bool:
        """Whether nothing passes that comes from this end."""
        return any(
            (up if half.is_up else down) and is_meant(self._links[half.link])
            for is_meant, up, down in self._parted.values()
        )

    def _is_unwelcome(self, half: _Half) -> bool:
        return any(is_meant(self._links[half.link]) for is_meant in self._unwelcome.values())

    def _look_again(self) -> None:
        for half in self._halves:
            self._look(half)

    def _watch(self, half: _Half, events: int) -> None:
        is_known = half.stream in self._selector.get_map()
        if not events:
            if is_known:
                self._selector.unregister(half.stream)
        elif is_known:
            self._selector.modify(half.stream, events, half)
        else:
            self._selector.register(half.stream, events, half)

    def _drop(self, half: _Half, *, by: str) -> None:
        """Close both ends, having passed on what was still to be written."""
        self._up.pop(half.link, None)
        self._halved.discard(half.link)
        self._tell(msgspec.structs.replace(self._links[half.link], closed_by=by))
        for each in (half, half.other):
            with contextlib.suppress(OSError):
                if each is not half and each.waiting:
                    each.stream.setblocking(True)
                    each.stream.settimeout(PROMPT)
                    each.stream.sendall(each.waiting)
            self._watch(each, 0)
            self._halves.discard(each)
            each.stream.close()


def _interface(file: ConnectionFile) -> str:
    if isinstance(file, ClientFile | EngineFile):
        return file.interface
    assert isinstance(file, KernelFile)
    return f"{'tcp' if file.transport is UNSET else file.transport}://{file.ip}"


def _join(is_local: bool, where: str) -> str:
    return f"{'ipc' if is_local else 'tcp'}://{where}"


def _addresses(file: ConnectionFile, key: str) -> tuple[str, ...]:
    """The addresses behind a key; none if the file has no such port."""
    if isinstance(file, ClientFile | EngineFile):
        return file.addresses(key)
    assert isinstance(file, KernelFile)
    try:
        return (file.address(key),)
    except KeyError:
        return ()
