"""Where controllers are struck: each socket of theirs, from the side of clients and from that of engines.

The honest are two clients and an engine. The clients ask the Hub and send work on every queue; the engine answers, is
heard by a subscriber, and its heart beats in a device. It also answers what strangers send it and what can be read, as
engines do. What an engine that nobody registered sends to a client by way of MUX or control arrives there: these relays
do not look. Such an engine therefore only writes to a client that is a stranger, too.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Final

from conformance.harness.actors import APPLY_BUFFERS, RESULT_BUFFERS, Client
from conformance.harness.controller import Controller
from conformance.harness.queues import body
from conformance.livefuzz.arena import HARM, Arena
from conformance.livefuzz.blows import Spot
from protocol.damage import Chance
from protocol.wire import Frame, Message
from protocol.world import SECOND, Observation, Socket

#: The feature behind each queue.
QUEUES: Final = {"mux": "mux", "task": "tasks", "control": "control", "broadcast": "broadcast"}
#: Questions that harm nobody, by the feature that they take.
QUESTIONS: Final[tuple[tuple[str, str, dict[str, object]], ...]] = (
    ("", "connection_request", {}),
    ("queue", "queue_request", {"targets": None, "verbose": False}),
    ("results", "result_request", {"msg_ids": ["never-sent"], "status_only": True}),
    ("purge", "purge_request", {"msg_ids": ["never-sent"], "engine_ids": []}),
    ("resubmit", "resubmit_request", {"msg_ids": []}),
    ("db", "db_request", {"query": {"msg_id": "never-sent"}, "keys": ["msg_id"]}),
)
#: Every field that steers a task, so that each can be damaged.
_STEERING: Final[dict[str, object]] = {"after": [], "follow": [], "timeout": None, "targets": [], "retries": 0}


class ControllerArena(Arena[Controller]):
    """A controller, two honest clients, an honest engine, and strangers at every socket."""

    def __init__(self, controller: Controller, seed: int) -> None:
        super().__init__(controller, seed)
        self._queues = [name for name, feature in QUEUES.items() if feature in controller.features]
        self._has_output = "iopub" in controller.features
        shell = [*self._queues, *(["iopub"] if self._has_output else [])]
        self._engine = controller.engine().with_shell(*shell).registered(has_device_heart=True)
        self._asked: dict[str, Message] = {}
        self._replies: dict[str, list[Frame]] = {}
        self._clients = [self._honest(number) for number in range(2)]
        for name in self._queues:
            controller.world.listen(self._engine.queue(name), self._work(name))
        self._stranger = controller.client()
        self._printed, self._is_heard = 0, False
        if self._has_output:
            self._listen()
        self._add_query()
        for name in self._queues:
            self._add_queue(name)
        self._add_published()
        self._add_hearts()

    # -- the honest ----------------------------------------------------------------------------------------------------

    def _honest(self, number: int) -> Client:
        client = self.subject.client(identity=f"{self.subject.token}-honest-{number}".encode())
        for channel in ("query", *self._queues):
            socket = client.query if channel == "query" else client.queue(channel)
            self.subject.world.listen(socket, self._receive(channel))
        return client

    def acts(self) -> Iterator[Callable[[], None]]:
        """Each client asks the Hub and sends one request on each queue; the engine prints a line."""
        for client in self._clients:
            yield lambda client=client: self._ask(client)  # type: ignore[misc]
            for name in self._queues:
                yield lambda client=client, name=name: self._submit(client, name)  # type: ignore[misc]
        if self._has_output:
            yield self._print

    def _ask(self, client: Client) -> None:
        request = client.send("connection_request", {})
        self.due[request.msg_id] = ("query", "connection_reply")
        self.sent[request.msg_id] = [("query", self.subject.codec.encode(request))]

    def _submit(self, client: Client, channel: str) -> None:
        request = client.submit(self._engine if channel in ("mux", "control") else None, channel=channel,
                                **self._request(channel))  # fmt: skip
        self._asked[request.msg_id] = request
        self.due[request.msg_id] = (channel, f"reply to {request.msg_type}")
        self.sent[request.msg_id] = [(channel, self.subject.codec.encode(request))]

    def _request(self, channel: str) -> dict[str, Any]:
        if channel == "control":
            return {"msg_type": "clear_request", "buffers": ()}
        if channel == "broadcast":
            targets = [[self._engine.uuid, self._engine.id]]
            return {"metadata": {"targets": targets, "is_broadcast": True, "is_coalescing": False}}
        return {}

    def _listen(self) -> None:
        """Have an honest subscriber, and wait until it certainly hears what the engine publishes."""
        self.subject.world.listen(self._clients[0].open("iopub", end="client"), self._hear)
        limit = self.world.now + self.subject.timing.reply_deadline
        while not self._is_heard and self.world.now < limit:
            self._engine.publish("status", {"execution_state": "starting"}, topic="pilot")
            self.world.run_until(lambda: self._is_heard, self.world.now + SECOND // 20)

    def _print(self) -> None:
        self._printed += 1
        said = self._engine.publish("stream", {"name": "stdout", "text": f"line {self._printed}"},
                                    topic=f"engine.{self._engine.id}.stdout", metadata={})  # fmt: skip
        self.due[said.msg_id] = ("iopub", "line of an engine's output")
        self._replies[said.msg_id] = self.subject.codec.encode(said)

    def _hear(self, seen: Observation) -> None:
        message = seen.message
        # What strangers publish passes: relays do not look.
        if message is not None and message.header.get("session") == self._engine.uuid:
            if message.identities == (b"pilot",):
                self._is_heard = True
            else:
                self._came_to("iopub", message.msg_id, seen)

    def _work(self, channel: str) -> Callable[[Observation], None]:
        """The honest engine at a queue: it answers each request once, and whatever strangers ask that can be read."""

        def take(seen: Observation) -> None:
            message = seen.message
            if message is None:
                return
            key = message.msg_id
            if channel == "broadcast":
                key = str(message.metadata.get("original_msg_id"))
            asked = self._asked.pop(key, None)
            if asked is None:
                if not self._is_honest(message):
                    self._answer_stranger(channel, seen)
                return
            if channel != "broadcast" and body(seen.frames) != body(self.subject.codec.encode(asked)):
                self.notice(HARM, f"{channel} of another peer", f"the {asked.msg_type} was altered on its way", seen)
            sent = self._engine.answer(seen, channel=channel, buffers=() if channel == "control" else RESULT_BUFFERS)
            self._replies[key] = self.subject.codec.encode(sent)
            if channel == "task":
                self.sent.setdefault(key, []).append(("task/engine", self._replies[key][1:]))

        return take

    def _is_honest(self, message: Message) -> bool:
        return message.header.get("session") in [client.session for client in self._clients]

    def _answer_stranger(self, channel: str, seen: Observation) -> None:
        asked, engine = seen.message, self._engine
        assert asked is not None
        metadata = {"status": "ok", "engine": engine.uuid, "dependencies_met": True, "started": self.subject.date()}
        if channel == "broadcast":
            if asked.msg_type not in ("apply_request", "execute_request"):
                # The tree signs answers itself, so that a type which nobody knows would be its own.
                return
            metadata = {key: value for key, value in asked.metadata.items() if key != "targets"} | metadata
        reply = engine.make(asked.msg_type.replace("_request", "_reply"), {"status": "ok"}, metadata=metadata,
                            parent=asked.header, identities=asked.identities)  # fmt: skip
        engine.queue(channel).send_raw(self.subject.codec.encode(reply), "an answer to a stranger")

    def _receive(self, channel: str) -> Callable[[Observation], None]:
        def receive(seen: Observation) -> None:
            message, key = seen.message, None
            if message is not None:
                key = message.parent_header.get("msg_id")
                if channel == "broadcast":
                    key = message.metadata.get("original_msg_id")
                if channel == "query" and key in self.due:
                    self._check_engines(seen)
            self._came_to(channel, key, seen)

        return receive

    def _came_to(self, channel: str, key: object, seen: Observation) -> None:
        sent = self._replies.pop(key, None) if isinstance(key, str) else None
        self.arrived(
            key, channel, seen, is_same=sent is None or channel == "broadcast" or body(seen.frames) == body(sent)
        )

    def _check_engines(self, seen: Observation) -> None:
        assert seen.message is not None
        content = seen.message.content
        engines = content.get("engines")
        if content.get("status") != "ok" or not isinstance(engines, dict):
            self.notice(HARM, "query of another peer", f"{seen.message.msg_type} {content!r:.200}", seen)
        elif engines.get(str(self._engine.id)) != self._engine.uuid:
            self.notice(HARM, "an engine", f"engine {self._engine.id} is not among {engines!r:.200}", seen)

    def look_closer(self) -> None:
        """Nobody was told that the engine is gone."""
        gone = self.subject.notifications.of("unregistration_notification", uuid=self._engine.uuid)
        if gone:
            self.notice(HARM, "an engine", "it was announced to be gone", gone[0])

    # -- the strangers -------------------------------------------------------------------------------------------------

    def _add_query(self) -> None:
        stranger = self._stranger
        known = [row for row in QUESTIONS if not row[0] or row[0] in self.subject.features]

        def good(chance: Chance) -> list[Frame]:
            if chance.below(12) == 0:
                message = stranger.make("registration_request", {"uuid": f"{stranger.session}-{chance.below(1 << 30)}"})
            else:
                _, msg_type, content = known[chance.below(len(known))]
                message = stranger.make(msg_type, dict(content))
            return self.subject.codec.encode(message)

        others = [f"{self.subject.token}-honest-{number}".encode() for number in range(2)]
        marker = self._marker(stranger.query, self._plain)
        self._add(Spot("query", "query", good, stranger.query.send_raw, marker, foreign=others), stranger.query)

    def _plain(self) -> Message:
        return self._stranger.make("connection_request", {})

    def _request_of_stranger(self, channel: str) -> Message:
        fields = self._request(channel)
        to = (self._engine.uuid.encode(),) if channel in ("mux", "control") else ()
        metadata = fields.get("metadata") or (dict(_STEERING) if channel == "task" else {})
        msg_type, buffers = fields.get("msg_type", "apply_request"), fields.get("buffers", APPLY_BUFFERS)
        return self._stranger.make(msg_type, {}, metadata=metadata, buffers=buffers, identities=to)

    def _add_queue(self, channel: str) -> None:
        codec, stranger, file = self.subject.codec, self._stranger, self.subject.engine_file
        client = stranger.open(channel, end="client")
        self._add(
            Spot(
                channel, channel, lambda _: codec.encode(self._request_of_stranger(channel)), client.send_raw,
                self._marker(client, lambda: self._request_of_stranger(channel)),
                foreign=[self._engine.uuid.encode(), self._clients[0].session.encode()],
            ),
            client,
        )  # fmt: skip
        address = file.addresses(channel)[-1]
        engine = self._connect("DEALER", address, channel, f"{stranger.session}-engine".encode())
        inbox, marker = f"{stranger.session}-inbox".encode(), None
        if channel in ("mux", "control"):
            receiver = stranger.open(channel, identity=inbox, end="client")
            self.subject.world.listen(receiver, lambda seen: self.answered(f"{channel}/engine", seen))
            # Who has been answered is connected, so that others can write to it.
            proof = self._request_of_stranger(channel)
            self.marks[proof.msg_id] = f"{channel}/engine"
            receiver.send(proof)
            self._settle()
            marker = self._marker(engine, lambda: self._reply_of_stranger(channel, inbox))
        self._add(
            Spot(
                f"{channel}/engine", channel, lambda _: codec.encode(self._reply_of_stranger(channel, inbox)),
                engine.send_raw, marker, foreign=[inbox, b"nobody"],
            ),
            engine,
        )  # fmt: skip

    def _reply_of_stranger(self, channel: str, to: bytes) -> Message:
        asked = self._request_of_stranger(channel)
        metadata = {"status": "ok", "engine": "a stranger", "dependencies_met": True, "started": self.subject.date()}
        return self._stranger.make(asked.msg_type.replace("_request", "_reply"), {"status": "ok"}, metadata=metadata,
                                   parent=asked.header, identities=(to,))  # fmt: skip

    def _add_published(self) -> None:
        codec, stranger = self.subject.codec, self._stranger
        self._add_subscription("notification", self.subject.client_file.address("notification"), "notification")
        if not self._has_output:
            return
        self._add_subscription("iopub", self.subject.client_file.address("iopub"), "iopub")
        engine = self._connect("PUB", self.subject.engine_file.address("iopub"), "iopub", b"stranger")

        def good(_: Chance) -> list[Frame]:
            message = stranger.make("stream", {"name": "stdout", "text": "strange"}, identities=(b"engine.77.stdout",))
            return codec.encode(message)

        self._add(Spot("iopub/engine", "iopub", good, engine.send_raw, foreign=[b"", b"engine.0.stdout"]), engine)

    def _add_subscription(self, name: str, address: str, channel: str) -> None:
        """Where subscribers say what they want to hear: whatever else they say is no message."""
        socket = self._connect("XSUB", address, channel, b"")
        self._add(Spot(name, channel, lambda _: [b"\0never"], socket.send_raw, is_raw=True), socket)

    def _add_hearts(self) -> None:
        file, uuid = self.subject.engine_file, self._engine.uuid.encode()
        pong = self._connect("DEALER", file.address("hb_pong"), "heartbeat-pong", b"stranger")
        self._add(
            Spot("heartbeat-pong", "heartbeat-pong", lambda _: [b"1.25"], pong.send_raw, is_raw=True, foreign=[uuid]),
            pong,
        )
        ping = self._connect("XSUB", file.address("hb_ping"), "heartbeat-ping", b"")
        self._add(Spot("heartbeat-ping", "heartbeat-ping", lambda _: [b"\0never"], ping.send_raw, is_raw=True), ping)

    def _connect(self, kind: str, address: str, channel: str, identity: bytes) -> Socket:
        return self._stranger.connect(kind, address, channel=channel, identity=identity)

    def _add(self, spot: Spot, socket: Socket) -> None:
        self.add(spot)
        self.subject.world.listen(socket, lambda seen: self.answered(spot.name, seen))

    def _marker(self, socket: Socket, make: Callable[[], Message]) -> Callable[[], str]:
        def mark() -> str:
            message = make()
            socket.send_raw(self.subject.codec.encode(message), "right, and the last of a row")
            return message.msg_id

        return mark


__all__ = ["ControllerArena"]
