"""Raw engines for benchmarks: sockets and frames, several engines in one process, nothing executed.

    python benchmarks/echo.py ENGINE_FILE COUNT

Each engine has the sockets of a real one that carry traffic here: registration, MUX, task, and the two of its heart. It
answers every `apply_request` with an `apply_reply` that carries the buffers of the request, signed, with the metadata
that schedulers read. The process writes a line when all of them are registered, and ends when its standard input is
closed.
"""

import sys
import uuid
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import zmq

from conformance.files import read_connection_file
from protocol.connection import EngineFile
from protocol.messages import build
from protocol.wire import DELIMITER

Context = zmq.Context["zmq.Socket[bytes]"]
Socket = zmq.Socket[bytes]

#: Messages taken from one socket before the others get their turn.
BATCH = 100


class Process:
    """Some engines of one controller, in one loop."""

    def __init__(self, file: EngineFile, count: int) -> None:
        self.file = file
        self.codec = file.codec()
        self.context: Context = zmq.Context()
        self.context.set(zmq.MAX_SOCKETS, 5 * count + 1)
        self.poller = zmq.Poller()
        self.actions: dict[Socket, Callable[[], None]] = {}
        self.waiting = count
        self.answered = 0
        for _ in range(count):
            self.engine(str(uuid.uuid4()))

    def open(self, kind: int, key: str, identity: bytes = b"") -> Socket:
        """A socket that is connected to an address of the file."""
        socket = self.context.socket(kind)
        socket.linger = 0
        socket.set_hwm(0)
        if identity:
            socket.routing_id = identity
        socket.connect(self.file.address(key))
        return socket

    def act(self, socket: Socket, action: Callable[[], None]) -> None:
        """Call back when there is something to read."""
        self.poller.register(socket, zmq.POLLIN)
        self.actions[socket] = action

    def engine(self, name: str) -> None:
        """Open the sockets of one engine, and register it."""
        identity = name.encode()
        for key in ("mux", "task"):
            self.answers(self.open(zmq.DEALER, key, identity), name)
        ping, pong = self.open(zmq.SUB, "hb_ping"), self.open(zmq.DEALER, "hb_pong", identity)
        ping.subscribe(b"")
        self.act(ping, lambda: pong.send_multipart(ping.recv_multipart()))
        registration = self.open(zmq.DEALER, "registration", identity)
        self.act(registration, lambda: self.registered(registration))
        request = build("registration_request", {"uuid": name}, msg_id=f"{name}_0", session=name, date=now())
        registration.send_multipart(self.codec.encode(request))

    def registered(self, socket: Socket) -> None:
        """One reply to a registration."""
        reply = self.codec.open(socket.recv_multipart())
        if reply.content["status"] != "ok":
            raise SystemExit(f"a registration was refused: {reply.content}")
        self.waiting -= 1
        if not self.waiting:
            print("registered", flush=True)

    def answers(self, socket: Socket, name: str) -> None:
        """Answer the requests on a socket as this engine."""
        sign = self.codec.sign
        head = f'{{"msg_id":"{name}_%d","msg_type":"apply_reply","username":"engine","session":"{name}","date":"%s"'
        about = f'{{"status":"ok","engine":"{name}","dependencies_met":true,"started":"%s"}}'

        def answer() -> None:
            date = now()
            metadata = (about % date).encode()
            for _ in range(BATCH):
                try:
                    frames = socket.recv_multipart(zmq.NOBLOCK)
                except zmq.Again:
                    return
                at = frames.index(DELIMITER)
                self.answered += 1
                header = (head % (self.answered, date) + ',"version":"5.4"}').encode()
                parts = [header, frames[at + 2], metadata, b'{"status":"ok"}']
                signature = sign(b"".join(parts))
                socket.send_multipart([*frames[:at], DELIMITER, signature, *parts, *frames[at + 6 :]])

        self.act(socket, answer)

    def run(self) -> None:
        """Serve until standard input is closed."""
        self.poller.register(sys.stdin.fileno(), zmq.POLLIN)
        while True:
            for found, _ in self.poller.poll():
                if isinstance(found, int):
                    return
                self.actions[found]()


def now() -> str:
    """The date of a message."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def main() -> None:
    """The command line."""
    path, count = sys.argv[1:]
    process = Process(read_connection_file(Path(path), EngineFile), int(count))
    process.run()
    process.context.destroy(linger=0)


if __name__ == "__main__":
    main()
