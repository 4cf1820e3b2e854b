"""A lean hub, unlike any other, that breaks the protocol in the way that its second argument names.

Run as `broken_hub.py DIRECTORY FAULT`. It exists to prove that the suite accuses who deserves it, and nobody else: a
hub without a fault keeps the core of the protocol and passes every case, each fault fails the one that names it. Where
the protocol leaves a choice it chooses differently from ipyparallel: odd ids from 7 on, registration at the first beat,
a parent header in every reply, keys of its own everywhere, other words for errors, private files without spare keys.
"""

import json
import secrets
import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import zmq

from protocol.errors import RemoteProtocolError
from protocol.messages import header
from protocol.wire import DELIMITER, Codec, Message, ReplayMemory

PERIOD_MS = 50
ALLOWED_MISSES = 8
#: Seconds after which a registration without a heart is forgotten.
PATIENCE = 3.0
Answer = tuple[str, dict[str, Any]]


class Hub:
    """Registration, one heart monitor, notifications and connection_request; nothing else."""

    def __init__(self, directory: Path, fault: str) -> None:
        self.fault = fault
        self.key = secrets.token_hex(16)
        self.codec = Codec(self.key.encode(), replay=None if fault == "answers-replays" else ReplayMemory())
        self.context = zmq.Context()
        self.query, self.ping, self.pong, self.publish = (
            self.context.socket(kind) for kind in (zmq.ROUTER, zmq.PUB, zmq.ROUTER, zmq.PUB)
        )
        ports = {
            name: socket.bind_to_random_port("tcp://127.0.0.1")
            for name, socket in (
                ("registration", self.query),
                ("hb_ping", self.ping),
                ("hb_pong", self.pong),
                ("notification", self.publish),
            )
        }
        self.spare = [self.context.socket(zmq.ROUTER) for _ in range(7)]
        mux, task, control, iopub, root, *leaves = [each.bind_to_random_port("tcp://127.0.0.1") for each in self.spare]
        self.engine_ports = {"mux": mux, "task": task, "control": control, "iopub": iopub, "broadcast": leaves,
                             "registration": ports["registration"], "hb_ping": ports["hb_ping"],
                             "hb_pong": ports["hb_pong"], "interface": "tcp://127.0.0.1"}  # fmt: skip
        shared = {
            "ssh": "", "interface": "tcp://127.0.0.1", "registration": ports["registration"], "control": control,
            "mux": mux, "task": task, "iopub": iopub, "key": self.key, "curve_serverkey": None, "location": "localhost",
            "pack": "json", "unpack": "json", "signature_scheme": "hmac-sha256",
        }  # fmt: skip
        client = shared | {"broadcast": root, "task_scheme": "leastload", "notification": ports["notification"]}
        engine = shared | {"broadcast": leaves, "hb_ping": ports["hb_ping"], "hb_pong": ports["hb_pong"]}
        # What no reader needs is left out, and nobody may complain.
        for content, spared in ((client, ("location", "curve_serverkey")), (engine, ("ssh", "curve_serverkey"))):
            for key in spared:
                del content[key]
        if fault == "names-no-task-scheme":
            del client["task_scheme"]
        if fault == "names-no-signature-scheme":
            del engine["signature_scheme"]
        for name, content in (("client", client), ("engine", engine)):
            path = directory / f"{name}.json"
            path.touch(mode=0o600)
            path.write_text(json.dumps(content), encoding="utf-8")
            path.chmod(0o400)
        self.sent = 0
        self.next_id = 7
        self.pending: dict[str, tuple[int, float]] = {}
        self.engines: dict[str, int] = {}
        self.misses: dict[str, int] = {}
        self.beaten: set[str] = set()
        self.beats = [b"", b"0.00"]

    def message(self, kind: str, content: dict[str, Any], parent: dict[str, Any], identities: Any = ()) -> list[bytes]:
        self.sent += 1
        head = header(f"hub_{self.sent}", kind, session="hub", date=datetime.now(UTC).isoformat())
        made = Message(head, parent_header=parent, content=content | {"greeting": "hello"}, identities=identities)
        frames = [bytes(frame) for frame in self.codec.encode(made)]
        if self.fault == "signs-wrongly":
            frames[frames.index(DELIMITER) + 1] = b"0" * 64
        return frames

    def run(self) -> None:
        poller = zmq.Poller()
        poller.register(self.query, zmq.POLLIN)
        poller.register(self.pong, zmq.POLLIN)
        due = time.monotonic()
        while True:
            ready = dict(poller.poll(max(0.0, due - time.monotonic()) * 1000))
            if self.query in ready:
                self.answer(self.query.recv_multipart())
            if self.pong in ready:
                self.hear(self.pong.recv_multipart())
            if time.monotonic() >= due:
                due += PERIOD_MS / 1000
                self.beat()

    def beat(self) -> None:
        """Count who missed the last ping, give up who missed too many and who never beat, and send the next."""
        for uuid in list(self.engines):
            self.misses[uuid] = 0 if uuid in self.beaten else self.misses[uuid] + 1
            if self.misses[uuid] > ALLOWED_MISSES:
                self.remove(uuid)
        for uuid, (_, until) in list(self.pending.items()):
            if time.monotonic() > until:
                del self.pending[uuid]
        self.beaten.clear()
        self.beats = [self.beats[1], f"{float(self.beats[1]) + PERIOD_MS / 1000:.2f}".encode()]
        self.ping.send(self.beats[1])

    def hear(self, frames: list[bytes]) -> None:
        uuid = frames[0].decode(errors="replace")
        if frames[1:] not in ([self.beats[0]], [self.beats[1]]):
            return
        self.beaten.add(uuid)
        if uuid in self.pending:
            self.engines[uuid] = self.pending.pop(uuid)[0]
            self.misses[uuid] = 0
            for _ in range(2 if self.fault == "announces-twice" else 1):
                self.announce("registration_notification", uuid, self.engines[uuid])

    def remove(self, uuid: str) -> None:
        self.announce("unregistration_notification", uuid, self.engines.pop(uuid))

    def announce(self, kind: str, uuid: str, number: int) -> None:
        self.publish.send_multipart(self.message(kind, {"id": number, "uuid": uuid, "host": "here"}, {}))

    def answer(self, frames: list[bytes]) -> None:
        if self.fault == "answers-nobody":
            return
        sender, *rest = frames
        try:
            request = self.codec.open(rest)
        except RemoteProtocolError:
            if self.fault == "dies-of-garbage":
                sys.exit("could not read a message")
            return
        try:
            reply = getattr(self, request.msg_type, self.unknown)(request.content)
        except RemoteProtocolError:
            reply = self.error("hub_error", "Unreadable")
        if reply is not None:
            parent = {} if self.fault == "forgets-parents" else request.header
            self.query.send_multipart([sender, *self.message(*reply, parent, request.identities)])

    def unknown(self, _: object) -> Answer | None:
        if self.fault == "dies-of-the-unknown":
            sys.exit("what is that?")
        if self.fault == "grants-everything":
            return "nonsense_reply", {"status": "ok"}
        return None if self.fault == "ignores-unknown-types" else self.error("hub_error", "Unheard of")

    def error(self, kind: str, name: str) -> Answer:
        return kind, {"status": "error", "ename": name, "evalue": "", "traceback": []}

    def connection_request(self, _: object) -> Answer:
        return "connection_reply", {
            "status": "ok",
            "engines": {str(number): uuid for uuid, number in self.engines.items()},
        }

    def registration_request(self, content: dict[str, Any]) -> Answer:
        uuid, number = content.get("uuid"), content.get("id")
        if not isinstance(uuid, str) or not (number is None or (type(number) is int and number >= 0)):
            return self.error("hub_error", "Nonsense")
        if uuid in self.engines | self.pending and self.fault != "accepts-namesakes":
            return self.error("registration_reply", "Namesake")
        self.pending[uuid] = (self.next_id, time.monotonic() + PATIENCE)
        if self.fault != "repeats-ids":
            self.next_id += 2
        return "registration_reply", {
            "status": "ok", "id": self.pending[uuid][0], "hb_period": PERIOD_MS, "connection_info": self.engine_ports,
        }  # fmt: skip

    def unregistration_request(self, content: dict[str, Any]) -> None:
        number = content.get("id")
        for uuid in [uuid for uuid, known in self.engines.items() if known == number]:
            self.remove(uuid)
        for uuid in [uuid for uuid, (known, _) in self.pending.items() if known == number]:
            del self.pending[uuid]


if __name__ == "__main__":
    Hub(Path(sys.argv[1]), sys.argv[2]).run()
