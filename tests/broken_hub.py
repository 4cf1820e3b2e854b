"""A hub that can register engines and breaks the protocol in the way that its second argument names.

Run as `broken_hub.py DIRECTORY FAULT`. It exists to prove that the suite accuses who deserves it, and says nothing when
it cannot know: a hub without a fault passes the cases that the tests select, each fault fails the one that names it.
"""

import json
import secrets
import sys
from pathlib import Path

import zmq

from protocol.errors import RemoteProtocolError
from protocol.messages import header
from protocol.wire import Codec, Message, ReplayMemory

PERIOD_MS = 50


class Hub:
    """Registration, one heart monitor, notifications, connection_request and queue_request; nothing else."""

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
        self.next_id = 0
        self.pending: dict[str, int] = {}
        self.engines: dict[str, int] = {}

    def message(self, kind: str, content: object, parent: dict[str, object] | None = None) -> list[bytes]:
        self.sent += 1
        made = Message(header(f"hub_{self.sent}", kind, session="hub"), parent_header=parent, content=content)
        frames = [bytes(frame) for frame in self.codec.encode(made)]
        if self.fault == "signs-wrongly":
            frames[1] = b"0" * 64
        return frames

    def run(self) -> None:
        poller = zmq.Poller()
        poller.register(self.query, zmq.POLLIN)
        poller.register(self.pong, zmq.POLLIN)
        beats = 0
        while True:
            ready = dict(poller.poll(PERIOD_MS))
            if self.query in ready:
                self.answer(self.query.recv_multipart())
            if self.pong in ready:
                self.hear(self.pong.recv_multipart()[0].decode())
            elif not ready:
                beats += 1
                self.ping.send(str(beats * PERIOD_MS / 1000).encode())

    def hear(self, uuid: str) -> None:
        if uuid in self.pending:
            self.engines[uuid] = self.pending.pop(uuid)
            for _ in range(2 if self.fault == "announces-twice" else 1):
                self.announce("registration_notification", uuid, self.engines[uuid])

    def announce(self, kind: str, uuid: str, number: int) -> None:
        self.publish.send_multipart(self.message(kind, {"id": number, "uuid": uuid}))

    def answer(self, frames: list[bytes]) -> None:
        sender, *rest = frames
        try:
            request = self.codec.open(rest)
            content = request.content
        except RemoteProtocolError:
            if self.fault == "dies-of-garbage":
                sys.exit("could not read a message")
            return
        reply = getattr(self, request.msg_type, self.unknown)(content)
        if reply is not None:
            parent = {} if self.fault == "forgets-parents" else request.header
            self.query.send_multipart([sender, *self.message(*reply, parent)])

    def unknown(self, _: object) -> tuple[str, object] | None:
        return None if self.fault == "ignores-unknown-types" else self.error("hub_error", "KeyError", "unknown type")

    def error(self, kind: str, name: str, text: str) -> tuple[str, object]:
        return kind, {"status": "error", "ename": name, "evalue": text, "traceback": []}

    def connection_request(self, _: object) -> tuple[str, object]:
        return "connection_reply", {
            "status": "ok",
            "engines": {str(number): uuid for uuid, number in self.engines.items()},
        }

    def registration_request(self, content: dict[str, str]) -> tuple[str, object]:
        uuid = content["uuid"]
        if uuid in self.engines | self.pending and self.fault != "accepts-namesakes":
            return self.error("registration_reply", "KeyError", "uuid in use")
        self.pending[uuid] = self.next_id
        if self.fault != "repeats-ids":
            self.next_id += 1
        return "registration_reply", {
            "status": "ok", "id": self.pending[uuid], "hb_period": PERIOD_MS, "connection_info": self.engine_ports,
        }  # fmt: skip

    def unregistration_request(self, content: dict[str, int]) -> None:
        for uuid, number in list(self.engines.items()):
            if number == content["id"]:
                del self.engines[uuid]
                self.announce("unregistration_notification", uuid, number)


if __name__ == "__main__":
    Hub(Path(sys.argv[1]), sys.argv[2]).run()
