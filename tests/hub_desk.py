"""A Hub at a desk: its store, its timers, its peers' messages one by one, and all that it says."""

import heapq
from collections import deque
from collections.abc import Sequence
from typing import Any

from role_world import SECOND, FakeEnv, message

from protocol.messages import validate
from protocol.roles.base import (
    Arrived,
    Event,
    Exit,
    Fired,
    Found,
    Note,
    Persist,
    Query,
    Send,
    SetTimer,
    Started,
    Stopping,
    Store,
)
from protocol.roles.hub import Hub, HubConfig
from protocol.roles.matching import QueryError
from protocol.roles.records import MemoryRecords, Records
from protocol.wire import Json, Message

TIMEOUT = 30 * SECOND
CLIENT = b"\x00client"
OK = {"status": "ok"}


def date(second: float) -> str:
    return f"2026-01-05T12:00:{second:09.6f}Z"


class Desk:
    """`is_slow` keeps the answers of the store until `look_up` is called."""

    def __init__(
        self, *, state: Any = None, records: Records | None = None, is_slow: bool = False, env: FakeEnv | None = None,
        now: int = 0, **config: Any,
    ) -> None:  # fmt: skip
        self.env = env or FakeEnv()
        self.hub = Hub(HubConfig(registration_timeout=TIMEOUT, **config), self.env)
        self.records: Records = MemoryRecords() if records is None else records
        self.is_slow = is_slow
        self.now = now
        self.said: dict[str, list[Message]] = {"query": [], "notification": [], "resubmit": []}
        self.kept: list[Any] = []
        self.notes: list[Note] = []
        self.status: int | None = None
        self.looks: deque[Query] = deque()
        self._timers: list[tuple[int, int, str, int]] = []
        self._count = 0
        self.handle(Started(state))

    # -- the shell -----------------------------------------------------------------------------------------------------

    def handle(self, event: Event) -> None:
        if self.status is not None:
            return
        for effect in self.hub.handle(self.now, event):
            if isinstance(effect, Send):
                channel = {"resubmit": "resubmission"}.get(effect.socket, effect.socket)
                if channel != "resubmission":
                    validate(effect.message, channel, local=True)
                self.said[effect.socket].append(effect.message)
            elif isinstance(effect, SetTimer):
                self._count += 1
                heapq.heappush(self._timers, (effect.at, self._count, effect.timer, effect.epoch))
            elif isinstance(effect, Store):
                getattr(self.records, effect.operation)(*effect.arguments)
            elif isinstance(effect, Query):
                self.looks.append(effect)
                if not self.is_slow:
                    self.look_up()
            elif isinstance(effect, Persist):
                self.kept.append(effect.state)
            elif isinstance(effect, Note):
                self.notes.append(effect)
            elif isinstance(effect, Exit):
                self.status = effect.status

    def look_up(self, error: str | None = None) -> None:
        """Let the store answer its oldest question, or refuse to."""
        look = self.looks.popleft()
        try:
            found = getattr(self.records, look.operation)(*look.arguments)
        except QueryError as problem:
            error, found = str(problem), ()
        self.handle(Found(look.token, () if error else found, error))

    def let_pass(self, nanoseconds: int) -> None:
        end = self.now + nanoseconds
        while self._timers and self._timers[0][0] <= end:
            self.now, _, timer, epoch = heapq.heappop(self._timers)
            self.handle(Fired(timer, epoch))
        self.now = end

    def stop(self) -> None:
        self.handle(Stopping())

    # -- peers ---------------------------------------------------------------------------------------------------------

    def fresh(self) -> str:
        self._count += 1
        return f"r{self._count}"

    def send(self, msg_type: str, content: Any = None, client: bytes = CLIENT, **fields: Any) -> Message:
        made = message(msg_type, content, self.fresh(), identities=[client], **fields)
        self.handle(Arrived("query", made))
        return made

    def ask(self, msg_type: str, content: Any = None, client: bytes = CLIENT) -> Message:
        """Send a request to a quick store; its one reply."""
        before = len(self.said["query"])
        request = self.send(msg_type, content, client)
        (reply,) = self.said["query"][before:]
        assert reply.parent_header == request.header
        assert reply.identities == request.identities
        return reply

    def told(self, msg_type: str, content: Any = None) -> Json:
        """The content of a reply that is ok."""
        reply = self.ask(msg_type, content)
        assert reply.msg_type == msg_type.replace("_request", "_reply")
        assert reply.content["status"] == "ok", reply.content
        return reply.content

    def refused(self, msg_type: str, content: Any = None) -> str:
        """The type of a reply that is an error."""
        reply = self.ask(msg_type, content)
        assert reply.content["status"] == "error", reply.content
        assert all(isinstance(reply.content[key], str) for key in ("ename", "evalue"))
        return reply.msg_type

    def register(self, uuid: str, **more: Any) -> int:
        reply = self.ask("registration_request", {"uuid": uuid, **more}, uuid.encode())
        assert reply.content["status"] == "ok", reply.content
        number: int = reply.content["id"]
        return number

    def engine(self, uuid: str) -> int:
        number = self.register(uuid)
        self.heard(uuid)
        return number

    def monitor(self, prefix: bytes, *identities: bytes, **fields: Any) -> Message:
        fields.setdefault("msg_id", self.fresh())
        made = message(identities=[prefix, *identities], **fields)
        self.handle(Arrived("monitor", made))
        return made

    def heard(self, *uuids: str, session: str = "monitor") -> None:
        self._hearts("new_heart", uuids, session)

    def stopped(self, *uuids: str, session: str = "monitor") -> None:
        self._hearts("stopped_heart", uuids, session)

    def _hearts(self, msg_type: str, uuids: Sequence[str], session: str) -> None:
        self.monitor(b"heartmonitor", b"", msg_type=msg_type, content={"hearts": list(uuids)}, session=session)

    def mux(self, uuid: str, msg_id: str, **fields: Any) -> Message:
        fields = {"msg_type": "apply_request", "date": date(1), "buffers": [b"f", b"a"], **fields}
        return self.monitor(b"in", uuid.encode(), CLIENT, msg_id=msg_id, **fields)

    def mux_result(self, uuid: str, request: Message, content: Json = OK, **fields: Any) -> Message:
        fields = {"metadata": {"status": content["status"], "engine": uuid, "started": date(2)}, **fields}
        fields = {"msg_type": "apply_reply", "date": date(3), "session": uuid, **fields}
        return self.monitor(b"out", CLIENT, uuid.encode(), parent=request, content=content, **fields)

    def task(self, msg_id: str, **fields: Any) -> Message:
        fields = {"msg_type": "apply_request", "date": date(1), "buffers": [b"f", b"a"], **fields}
        return self.monitor(b"intask", CLIENT, msg_id=msg_id, **fields)

    def assigned(self, request: Message, uuid: str) -> None:
        content = {"msg_id": request.msg_id, "engine_id": uuid}
        self.monitor(b"tracktask", b"scheduler", msg_type="task_destination", content=content)

    def task_result(self, uuid: str, request: Message, content: Json = OK, **fields: Any) -> Message:
        fields = {"metadata": {"status": content["status"], "engine": uuid, "started": date(2)}, **fields}
        fields = {"msg_type": "apply_reply", "date": date(3), "session": uuid, **fields}
        idents = (CLIENT, uuid.encode()) if uuid else (CLIENT,)
        return self.monitor(b"outtask", *idents, parent=request, content=content, **fields)

    def printed(self, request: Message | Json, msg_type: str, content: Json, uuid: str = "e1") -> None:
        topic = f"engine.0.{msg_type}".encode()
        self.monitor(b"iopub", topic, msg_type=msg_type, content=content, parent=request, session=uuid)

    # -- looks ---------------------------------------------------------------------------------------------------------

    def published(self, msg_type: str = "") -> list[tuple[str, int, str]]:
        return [
            (each.msg_type, each.content["id"], each.content["uuid"])
            for each in self.said["notification"]
            if msg_type in ("", each.msg_type)
        ]

    def engines(self) -> dict[str, str]:
        engines: dict[str, str] = self.told("connection_request", {})["engines"]
        return engines

    def status_of(self, *msg_ids: str) -> tuple[list[str], list[str]]:
        content = self.told("result_request", {"msg_ids": list(msg_ids), "status_only": True})
        assert set(content) == {"status", "pending", "completed"}
        return content["pending"], content["completed"]

    def record(self, msg_id: str) -> Json:
        (record,) = self.told("db_request", {"query": {"msg_id": msg_id}})["records"]
        found: Json = record
        return found

    def queues(self, target: Any, verbose: bool = True) -> Json:
        return self.told("queue_request", {"targets": target, "verbose": verbose})

    def history(self) -> list[str]:
        found: list[str] = self.told("history_request", {})["history"]
        return found
