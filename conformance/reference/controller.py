r"""The reference controller: its options, its directory, its processes.

    DIR/ipcontroller-client.json     for clients  \  as ipyparallel writes them, mode 0600, written in one step,
    DIR/ipcontroller-engine.json     for engines  /   removed when the controller ends cleanly
    DIR/controller.lock              held while a controller runs here
    DIR/controller.json              what --restore needs of a controller that crashed: key and ports
    DIR/engines.json                 the same for the Hub: its engines

A controller that was started with --restore keeps all of them, so that it can be restored again.
"""

import contextlib
import fcntl
import gc
import os
import socket
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

import msgspec
import zmq

from conformance.files import read_connection_file
from conformance.reference.env import Log, new_id
from conformance.reference.parts import Options, parts
from conformance.reference.service import Setup, serve
from conformance.reference.sockets import Curve, Interfaces
from conformance.reference.supervisor import (
    Child,
    ChildFailed,
    Pair,
    Supervisor,
    describe,
    give_memory_back,
    raise_file_limit,
)
from protocol.connection import (
    WILDCARDS,
    ClientFile,
    ConnectionFileError,
    EngineFile,
    check_pair,
    render,
)
from protocol.roles.assembly import Node, connection_files, listeners, places_to_bind

CLIENT_FILE: Final = "ipcontroller-client.json"
ENGINE_FILE: Final = "ipcontroller-engine.json"
LOCK: Final = "controller.lock"
STATE: Final = "controller.json"
ENGINES: Final = "engines.json"

#: What a socket address of the system holds, less the longest name that we put behind the directory.
LONGEST_IPC: Final = 100


class ControllerError(Exception):
    """The controller cannot run; the text is one sentence for the user."""


class Saved(msgspec.Struct, frozen=True, kw_only=True):
    """What a controller leaves for its successor; `secret` is the secret key of CURVE."""

    key: str
    server_key: str
    secret: str
    client: str
    engine: str
    internal: str
    ports: dict[str, list[int]]

    def __repr__(self) -> str:
        return "Saved(<hidden>)"


class Directory:
    """The directory of a controller, locked while it runs."""

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            path.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._lock = self._take()
            os.ftruncate(self._lock, 0)
            os.write(self._lock, f"{os.getpid()}\n".encode())
        except OSError as error:
            raise ControllerError(f"the directory {path} cannot be used: {error.strerror}") from None

    def _take(self) -> int:
        """The descriptor of the lock. Raises OSError, and ControllerError if somebody else has it."""
        while True:
            lock = os.open(self.path / LOCK, os.O_RDWR | os.O_CREAT, 0o600)
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                holder = os.read(lock, 20).decode(errors="replace").strip()
                os.close(lock)
                by = f" (process {holder})" if holder.isdigit() else ""
                raise ControllerError(f"another controller{by} runs in the directory {self.path}") from None
            with contextlib.suppress(FileNotFoundError):
                if os.path.samestat(os.fstat(lock), (self.path / LOCK).stat()):
                    return lock
            # Its holder ended, and removed it, between the two calls.
            os.close(lock)

    def close(self) -> None:
        """Let go of the lock, and remove its file."""
        self.remove(LOCK)
        os.close(self._lock)

    def let_go(self) -> None:
        """In a child: the lock is its parent's."""
        os.close(self._lock)

    def read(self, name: str) -> bytes | None:
        """The content of a file, or None if there is none."""
        try:
            return (self.path / name).read_bytes()
        except FileNotFoundError:
            return None

    def write(self, name: str, content: bytes) -> None:
        """Write a file that nobody else may read, in one step: a reader sees all of it or what was there before."""
        write_private(self.path / name, content)

    def remove(self, *names: str) -> None:
        """Remove files, if they are there."""
        for name in names:
            with contextlib.suppress(OSError):
                (self.path / name).unlink()

    def remove_sockets(self) -> None:
        """Remove what sockets of ipc leave behind."""
        self.remove(*(left.name for left in self.path.glob("socket-*")))


def write_private(path: Path, content: bytes) -> None:
    """Write a file of mode 0600, in one step. Raises OSError."""
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as stream:
            stream.write(content)
        draft.replace(path)
    except BaseException:
        draft.unlink(missing_ok=True)
        raise


def run(options: Options, *, ready: Callable[[], None] | None = None) -> int:
    """Run a controller until it is told to end; its exit status. Raises ControllerError.

    `ready` is called when the connection files are there. Only for the main thread of a process of its own: it takes
    the signals, and forks.
    """
    directory = Directory(options.directory.absolute())
    try:
        return _run(options, directory, ready)
    finally:
        directory.remove_sockets()
        directory.close()


def _run(options: Options, directory: Directory, ready: Callable[[], None] | None) -> int:
    log = Log("controller")
    saved = _restored(directory, log) if options.is_restored else None
    if saved is None:
        directory.remove(CLIENT_FILE, ENGINE_FILE, STATE, ENGINES)
        saved = _fresh(options, directory)
    elif options.has_curve and not saved.server_key:
        raise ControllerError(
            f"what ran in {directory.path} had no CURVE and cannot be restored with it; leave out --curve or --restore"
        )
    raise_file_limit()
    give_memory_back()
    made = parts(options, saved.engine, _engines(directory), lambda state: _keep(directory, state))
    ports = saved.ports
    if options.transport == "ipc" and not ports:
        ports = _numbered(places_to_bind(made))
    setup = Setup(
        Interfaces(saved.client, saved.engine, saved.internal),
        saved.key.encode(),
        curve=Curve(saved.server_key.encode(), saved.secret.encode()) if saved.server_key else None,
        ports=ports,
        listeners=listeners(made),
    )
    supervisor = Supervisor(log)
    supervisor.take_signals()
    # What is there now is shared by all processes for as long as no collector writes to it.
    gc.collect()
    gc.freeze()
    for name, nodes in made.items():
        supervisor.fork(name, _main(name, nodes, setup, directory))
    hub = supervisor.children[0]
    try:
        places = supervisor.introduce()
        directory.write(STATE, msgspec.json.encode(msgspec.structs.replace(saved, ports=places)))
        client, engine = connection_files(
            places,
            key=saved.key,
            scheme=options.scheme,
            client=saved.client,
            engine=saved.engine,
            location=socket.gethostname(),
            server_key=saved.server_key,
        )
        directory.write(ENGINE_FILE, render(engine))
        directory.write(CLIENT_FILE, render(client))
        supervisor.tell_all(is_begun=True)
        if ready is not None:
            ready()
        status = _watch(supervisor, hub, log)
    except (ChildFailed, OSError) as error:
        supervisor.end()
        if not options.is_restored:
            directory.remove(CLIENT_FILE, ENGINE_FILE)
        text = f"{directory.path} cannot be written: {error.strerror}" if isinstance(error, OSError) else str(error)
        raise ControllerError(text) from None
    if not options.is_restored:
        directory.remove(CLIENT_FILE, ENGINE_FILE)
        if status == 0:
            directory.remove(STATE, ENGINES)
    return status


def _fresh(options: Options, directory: Directory) -> Saved:
    """Key, keys and interfaces of a new controller."""
    server_key, secret = (key.decode() for key in zmq.curve_keypair()) if options.has_curve else ("", "")
    if options.transport == "ipc":
        client = engine = internal = f"ipc://{directory.path}/socket"
        if len(client) > LONGEST_IPC:
            raise ControllerError(f"the directory {directory.path} is too long for ipc addresses; use a shorter one")
        directory.remove_sockets()
    else:
        client = interface(options.client_ip)
        engine = interface(options.engine_ip or options.client_ip)
        internal = "tcp://127.0.0.1"
    return Saved(
        key="" if options.has_curve else new_id(),
        server_key=server_key,
        secret=secret,
        client=client,
        engine=engine,
        internal=internal,
        ports={},
    )


def interface(name: str) -> str:
    """Where to listen. Raises ControllerError for what no peer could connect to."""
    if name not in WILDCARDS:
        try:
            socket.getaddrinfo(name, None, socket.AF_INET)
        except (OSError, UnicodeError):
            raise ControllerError(f"{name!r} is neither an IPv4 address, nor a name of one, nor *") from None
    return f"tcp://{name}"


def _numbered(places: Sequence[str]) -> dict[str, list[int]]:
    """Numbers in the place of ports, for files of ipc."""
    numbers: dict[str, list[int]] = {}
    for number, place in enumerate(places, 1):
        numbers.setdefault(place, []).append(number)
    return numbers


def _engines(directory: Directory) -> Any:
    """What the Hub kept for its successor, or None."""
    content = directory.read(ENGINES)
    with contextlib.suppress(msgspec.MsgspecError):
        return None if content is None else msgspec.json.decode(content)


def _keep(directory: Directory, state: Any) -> None:
    directory.write(ENGINES, msgspec.json.encode(state))


def _restored(directory: Directory, log: Log) -> Saved | None:
    """What an earlier controller left, unless it contradicts the files that its peers have read."""
    content = directory.read(STATE)
    if content is None:
        log.say(f"nothing to restore in {directory.path}; this is a new controller")
        return None
    try:
        saved = msgspec.json.decode(content, type=Saved)
        if all((directory.path / name).exists() for name in (CLIENT_FILE, ENGINE_FILE)):
            client = read_connection_file(directory.path / CLIENT_FILE, ClientFile)
            engine = read_connection_file(directory.path / ENGINE_FILE, EngineFile)
            check_pair(client, engine)
            if client.key != saved.key or client.registration != saved.ports["registration"][0]:
                log.say("the connection files are not those of the controller that ran here; fresh ones are written")
                return None
    except (msgspec.MsgspecError, KeyError, IndexError):
        log.say(f"{directory.path / STATE} cannot be read; this is a new controller")
        return None
    except ConnectionFileError as error:
        log.say(f"{error}; fresh connection files are written")
        return None
    return saved


def _main(name: str, nodes: Sequence[Node], setup: Setup, directory: Directory) -> Callable[[Pair], int]:
    def main(pair: Pair) -> int:
        directory.let_go()
        return serve(name, nodes, setup, pair)

    return main


def _watch(supervisor: Supervisor, hub: Child, log: Log) -> int:
    """Wait for the end, whoever begins it, and bring it about for all. The exit status of the controller."""
    while True:
        if supervisor.signalled:
            killed = supervisor.end(hub)
            if killed:
                log.say(f"{killed} processes did not end by themselves and were killed")
            return 0
        ended = next((child for child in supervisor.children if child.status is not None), None)
        if ended is not None:
            if ended is hub and ended.status == 0:
                supervisor.end(hub)
                return 0
            log.say(f"{ended.name} ended {describe(ended.status)}, so the controller ends")
            supervisor.end(hub)
            return 3
        supervisor.wait(None)
