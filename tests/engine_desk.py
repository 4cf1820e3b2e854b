"""An engine role at a bench: the tests speak for everybody at the other ends of its sockets."""

from collections.abc import Sequence
from typing import Any

from role_world import FakeEnv, message, of, sent

from protocol.messages import lookup
from protocol.roles.base import (
    Arrived,
    Effect,
    Finished,
    Run,
    Started,
)
from protocol.roles.engine import (
    Engine,
    EngineConfig,
    Outcome,
)
from protocol.wire import Message

UUID = "engine-a"
SHELL = [b"mux_out", b"client"]
CONTROL = [b"nanny", b"control_out", b"client"]
OK = Outcome(buffers=(b"42",))
FAILURE = Outcome(status="error", content={"ename": "KeyError", "evalue": "x", "traceback": ["line"]})


class Bench:
    """An engine and the other side of all its sockets."""

    def __init__(self, *, serve: bool = True, **config: Any) -> None:
        self.env = FakeEnv()
        self.engine = Engine(EngineConfig(uuid=UUID, **config), self.env)
        self.now = 0
        self.seen: list[Effect] = []
        self.ids = 0
        if serve:
            self.do(Started())
            self.registered()
            self.do(Finished(self.run("connect").job, None))

    def do(self, event: Any) -> Sequence[Effect]:
        self.seen = list(self.engine.handle(self.now, event))
        return self.seen

    def registered(self, engine_id: int = 3, **content: Any) -> Sequence[Effect]:
        reply = {"status": "ok", "id": engine_id, "hb_period": 1000, "connection_info": {}} | content
        return self.do(Arrived("query", message("registration_reply", reply)))

    def run(self, kind: str) -> Run:
        (one,) = [effect for effect in of(self.seen, Run) if effect.kind == kind]
        assert isinstance(one, Run)
        return one

    def shell(self, msg_type: str = "apply_request", msg_id: str = "m1", **fields: Any) -> Sequence[Effect]:
        fields.setdefault("identities", SHELL)
        if msg_type == "apply_request":
            fields.setdefault("buffers", [b"f", b"info"])
        return self.do(Arrived("shell", message(msg_type, fields.pop("content", None), msg_id, **fields)))

    def control(self, msg_type: str, content: Any = None, msg_id: str = "c1") -> Sequence[Effect]:
        return self.do(Arrived("control", message(msg_type, content, msg_id, identities=CONTROL)))

    def reply(self, socket: str = "shell", msg_type: str = "") -> Message:
        (one,) = sent(self.seen, socket, msg_type)
        return one

    def published(self) -> list[str]:
        return [one.content.get("execution_state", one.msg_type) for one in sent(self.seen, "iopub")]


def channel_of(reply: Message, socket: str) -> str:
    name = reply.msg_type
    if socket != "shell":
        return socket
    return "mux" if lookup(name, "mux") else "control"


def queued(bench: Bench) -> Run:
    """A running request m1, and m2, m3 behind it."""
    bench.shell(msg_id="m1")
    run = bench.run("apply")
    bench.shell(msg_id="m2")
    bench.shell("execute_request", "m3", content={"code": "1"})
    return run
