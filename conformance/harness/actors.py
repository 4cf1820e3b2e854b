"""The scripted clients and engines of a case.

They do exactly what a case says, right or wrong. Nothing here decides what is legal: an expectation compares, and the
rules watch. All waiting pumps the world, in which scripted hearts beat.
"""

from __future__ import annotations

import operator
import pickle
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Self

from conformance.harness.expect import Pattern, expect_one_of, ok
from conformance.harness.hearts import Answer, DeviceHeart, Heart, echo
from conformance.harness.party import Party
from conformance.harness.pilots import DELIVERY, OUTPUT, REGISTERED
from conformance.harness.verdict import Finding, Violated
from protocol.messages import lookup
from protocol.wire import DELIMITER, Frame, Json, Message
from protocol.world import SECOND, Observation, Socket

if TYPE_CHECKING:
    from conformance.harness.controller import Controller


#: The buffers of `operator.add(1, 2)`, pickled by reference (function, info, two arguments), and of its result. Nobody
#: in the kit loads them: pickle is only ever read by an engine that must run it.
APPLY_BUFFERS: tuple[bytes, ...] = (
    pickle.dumps(operator.add, 2),
    pickle.dumps({"nargs": 2, "narg_bufs": 2, "kw_keys": []}, 2),
    pickle.dumps(1, 2),
    pickle.dumps(2, 2),
)
RESULT_BUFFERS: tuple[bytes, ...] = (pickle.dumps(3, 2),)

#: What a reply's metadata say of the run itself, and never copy from the request.
_OWN_KEYS = frozenset({"started", "dependencies_met", "engine", "status"})


class Reply:
    """One message that arrived, with the request that it answers."""

    def __init__(self, observation: Observation, request: Message | None = None) -> None:
        self.observation = observation
        self.request = request

    @property
    def message(self) -> Message:
        """The message; a reply that cannot be read violates the wire format."""
        if self.observation.message is None:
            problems = self.observation.error.problems if self.observation.error else ()
            rule = problems[0].rule if problems else None
            raise Violated(Finding("an unreadable message", evidence=(self.observation.seq,), problems=problems), rule)
        return self.observation.message

    @property
    def msg_type(self) -> str:
        """The type in its header."""
        return self.message.msg_type

    @property
    def content(self) -> Json:
        """Its content."""
        return self.message.content

    @property
    def is_error(self) -> bool:
        """Whether it reports an error, in either shape."""
        return self.content.get("status") == "error"

    def expect(self, *patterns: Pattern, requirement: str | None = None) -> Self:
        """Raise Violated unless it fits one of the patterns; `requirement` is accused instead of the case's own."""
        expect_one_of(self.observation, patterns, requirement)
        return self


class Client(Party):
    """A raw client on the query channel."""

    #: Which end of the channel this party is.
    end = "client"

    def __init__(self, controller: Controller, name: str, *, identity: bytes = b"") -> None:
        super().__init__(controller, name)
        self.query = self.open("query", identity=identity, end=self.end)
        self._queues: dict[str, Socket] = {}

    def send(self, msg_type: str, content: object = None, **fields: Any) -> Message:
        """Send a valid message; see `make`."""
        message = self.make(msg_type, content, **fields)
        self.query.send(message)
        return message

    def send_unchecked(self, why: str, msg_type: str, content: object = None, **fields: Any) -> Message:
        """Send a well-signed message whose content need not fit its type; `why` says which mistake it makes."""
        message = self.make(msg_type, content, **fields)
        self.query.send_raw(self.controller.codec.encode(message), why)
        return message

    def send_signed(
        self, why: str, *, head: bytes, parent: bytes = b"{}", metadata: bytes = b"{}", content: bytes = b"{}"
    ) -> None:
        """Send dictionaries given as bytes, whatever they hold, under a valid signature."""
        parts = [head, parent, metadata, content]
        self.query.send_raw([DELIMITER, self.controller.codec.sign(b"".join(parts)), *parts], why)

    def send_raw(self, why: str, frames: Sequence[Frame]) -> None:
        """Send frames exactly as given."""
        self.query.send_raw(frames, why)

    def receive(self, within: int | None = None) -> Reply | None:
        """The next message, or None when nothing came within this many nanoseconds."""
        observation = self.query.recv(self.world.now + (within or self.controller.timing.reply_deadline))
        return Reply(observation) if observation else None

    def ask(self, msg_type: str, content: object = None, **fields: Any) -> Reply:
        """Send a request and wait for its reply; silence is a violation."""
        return self.answer_to(self.send(msg_type, content, **fields))

    def ask_unchecked(self, why: str, msg_type: str, content: object = None, **fields: Any) -> Reply:
        """As `ask`, with content that need not fit."""
        return self.answer_to(self.send_unchecked(why, msg_type, content, **fields))

    def answer_to(self, request: Message, *, requirement: str | None = None) -> Reply:
        """Wait for the message whose parent is this request."""
        started = self.world.now
        deadline = started + self.controller.timing.reply_deadline
        strays: list[Observation] = []
        while (observation := self.query.recv(deadline)) is not None:
            message = observation.message
            if message is None or message.parent_header.get("msg_id") == request.msg_id:
                return Reply(observation, request)
            strays.append(observation)
        for stray in strays:
            # It came in time and has the right type; only its parent header keeps it from being recognised.
            if stray.message is not None and stray.message.msg_type in self.allowed_replies(request):
                parent = stray.message.parent_header
                found = f"{stray.message.msg_type} whose parent header {parent!r:.200} does not name {request.msg_id}"
                raise Violated(
                    Finding(found, ("the header of the request",), evidence=(stray.seq,)), "wire.reply-parent"
                )
        raise self.controller.silence(request, started, self.allowed_replies(request), requirement)

    def allowed_replies(self, request: Message) -> tuple[str, ...]:
        """The types that may answer this request, for error texts."""
        row = lookup(request.msg_type, "query", self.controller.dialect)
        if row is None:
            return ("hub_error",)
        return (*row.replies, *("hub_error" for shape in row.errors if shape == "hub_error"))

    def expect_silence(self, what: str, *, requirement: str | None = None) -> None:
        """Prove that the Hub sent nothing: the answer to a later request must be the next thing that arrives."""
        marker = self.send("connection_request", {})
        reply = self.answer_to_marker(marker)
        message = reply.observation.message
        if message is None or message.parent_header.get("msg_id") != marker.msg_id:
            shown = "an unreadable message" if message is None else f"{message.msg_type} {message.content!r:.200}"
            raise Violated(
                Finding(f"{shown} came for {what}", ("nothing",), evidence=(reply.observation.seq,)), requirement
            )

    def expect_recovery(self, what: str) -> None:
        """After a well-signed message with a mistake in it: the next good request must be answered normally.

        The mistaken message itself may be dropped, refused with an error, or answered by a receiver that can do without
        what is wrong.
        """
        marker = self.send("connection_request", {})
        started = self.world.now
        deadline = started + self.controller.timing.reply_deadline
        while (observation := self.query.recv(deadline)) is not None:
            message = observation.message
            if message is not None and message.parent_header.get("msg_id") == marker.msg_id:
                Reply(observation, marker).expect(ok("connection_reply"))
                return
        raise self.controller.silence(marker, started, (f"connection_reply, also after a message with {what}",), None)

    def answer_to_marker(self, marker: Message) -> Reply:
        """Whatever arrives first after a marker was sent."""
        started = self.world.now
        observation = self.query.recv(started + self.controller.timing.reply_deadline)
        if observation is None:
            raise self.controller.silence(marker, started, ("connection_reply",), None)
        return Reply(observation, marker)

    def submit(
        self,
        engine: Engine | None,
        *,
        channel: str = "mux",
        msg_type: str = "apply_request",
        content: object = None,
        metadata: object = None,
        buffers: Sequence[Frame] = APPLY_BUFFERS,
        why: str | None = None,
        **header_fields: Any,
    ) -> Message:
        """Send work: through `mux` or `control` to one engine, through `task` to whichever the scheduler picks.

        With `why`, which says the mistake, it is sent whether or not it fits its type.
        """
        self.controller.stand_on(DELIVERY[channel][0])
        to = (engine.uuid.encode(),) if engine is not None and channel != "task" else ()
        message = self.make(msg_type, content, metadata=metadata, buffers=buffers, identities=to, **header_fields)
        if why is None:
            self.queue(channel).send(message)
        else:
            self.queue(channel).send_raw(self.controller.codec.encode(message), why)
        return message

    def queue(self, channel: str) -> Socket:
        """The socket of this party on a queue, connected when it is first asked for."""
        if channel not in self._queues:
            self._queues[channel] = self.open(channel, end="client")
        return self._queues[channel]

    def result(self, request: Message, *, channel: str = "mux") -> Observation:
        """Wait for the reply to submitted work."""
        started = self.world.now
        deadline = started + self.controller.timing.reply_deadline
        self.controller.stand_on(DELIVERY[channel][1])
        while (observation := self._queues[channel].recv(deadline)) is not None:
            message = observation.message
            if message is not None and message.parent_header.get("msg_id") == request.msg_id:
                return observation
        self.controller.expect_waited(started, self.controller.timing.reply_deadline)
        raise self.controller.stopped(DELIVERY[channel][1], f"the reply to {request.msg_type} never reached its client")

    def run_on(self, engine: Engine, *, channel: str = "mux", **fields: Any) -> Message:
        """Submit work, let the scripted engine answer it, and wait until both client and Hub know the result."""
        return self.finish(self.submit(engine, channel=channel, **fields), engine, channel=channel)

    def finish(self, request: Message, engine: Engine, *, channel: str = "mux", **answer: Any) -> Message:
        """Let the scripted engine answer work that was submitted, and wait until both client and Hub know the result.

        `answer` goes into the reply; see `Engine.answer`.
        """
        engine.answer(engine.take(channel), channel=channel, **answer)
        self.result(request, channel=channel)
        self.await_completed(request)
        return request

    def await_completed(self, request: Message) -> None:
        """Poll the Hub until it lists a request as completed: its view follows the queues with a delay."""
        self._await_status(request, "completed")

    def await_pending(self, request: Message) -> None:
        """Poll the Hub until it lists a request as pending."""
        self._await_status(request, "pending")

    def _await_status(self, request: Message, place: str) -> None:
        started = self.world.now
        limit = self.controller.timing.reply_deadline
        while not self.controller.is_over(started, limit):
            reply = self.ask("result_request", {"msg_ids": [request.msg_id], "status_only": True})
            if request.msg_id in (reply.content.get(place) or ()):
                return
            self.controller.let_pass(SECOND // 100)
        self.controller.expect_waited(started, limit)
        finding = Finding(f"the Hub never listed the {request.msg_type} as {place}", (f"its id in {place}",))
        raise Violated(finding, f"query.result-{place}")

    def ask_until(self, fits: Callable[[Reply], bool], msg_type: str, content: object = None) -> Reply:
        """Ask again and again until a reply fits, for the Hub's view follows the queues; the last one if none does."""
        started = self.world.now
        limit = self.controller.timing.reply_deadline
        while not fits(reply := self.ask(msg_type, content)) and not self.controller.is_over(started, limit):
            self.controller.let_pass(SECOND // 100)
        if not fits(reply):
            self.controller.expect_waited(started, limit)
        return reply

    def engines(self) -> dict[str, str]:
        """The engines that the Hub names to a client: id as text to uuid."""
        reply = self.ask("connection_request", {}).expect(ok("connection_reply"))
        return dict(reply.content.get("engines", {}))


class Engine(Client):
    """A raw engine: its registration socket, and a heart that a case starts and stops."""

    end = "engine"

    def __init__(self, controller: Controller, name: str, uuid: str, *, is_namesake: bool = False) -> None:
        super().__init__(controller, name, identity=b"" if is_namesake else uuid.encode())
        self.uuid = uuid
        self.id: int | None = None
        self.heart: Heart | DeviceHeart | None = None
        self.is_announced = False
        self._seeks_leaf = False
        self._tells_subscriptions = True

    def send_registration(self, **content: object) -> Message:
        """Ask to be registered, under this engine's uuid; `content` adds keys or replaces them."""
        self.controller.stand_on("registration.request-answered")
        return self.send("registration_request", {"uuid": self.uuid} | content)

    def expect(self, *patterns: Pattern, requirement: str | None = None) -> Reply:
        """The next message on the registration socket, which must fit one of the patterns."""
        started = self.world.now
        observation = self.query.recv(started + self.controller.timing.reply_deadline)
        if observation is None:
            raise self.controller.silence(None, started, tuple(map(str, patterns)), requirement)
        return Reply(observation).expect(*patterns, requirement=requirement)

    def register(self, **content: object) -> Reply:
        """Register and keep the id that the Hub gives; the engine is pending until its heart is heard."""
        self.send_registration(**content)
        reply = self.expect(ok("registration_reply"))
        self.id = reply.content["id"]
        return reply

    def start_heart(self, *, answer: Answer = echo, delay: int = 0) -> Heart:
        """Begin to answer pings."""
        self.controller.stand_on(*REGISTERED[1:3])
        self.stop_heart()
        self.heart = heart = Heart(self.controller, f"{self.name}-heart", self.uuid, answer=answer, delay=delay)
        return heart

    def start_device_heart(self) -> DeviceHeart:
        """Begin to answer pings from a device, which beats even while the case is busy."""
        self.controller.stand_on(*REGISTERED[1:3])
        self.stop_heart()
        self.heart = heart = DeviceHeart(self.controller, f"{self.name}-heart", self.uuid)
        return heart

    @property
    def scripted_heart(self) -> Heart:
        """The heart that `registered` or `start_heart` started."""
        assert isinstance(self.heart, Heart)
        return self.heart

    def stop_heart(self) -> None:
        """Fall silent, with the heart's connections closed."""
        if self.heart is not None:
            self.heart.close()
            self.heart = None

    def registered(self, *, has_device_heart: bool = False, **content: object) -> Self:
        """Register with a beating heart and wait until the Hub announces it; the usual start of a case."""
        self.controller.stand_on(*REGISTERED)
        try:
            self.register(**content)
        except Violated as violated:
            raise self.controller.stopped("registration.request-answered", violated.finding.found) from violated
        self.connect_leaf()
        if has_device_heart:
            self.start_device_heart()
        else:
            self.start_heart()
        if self.controller.notifications.wait("registration_notification", uuid=self.uuid) is None:
            raise self.controller.stopped("notification.registration-published", f"{self.name} was never announced")
        self.expect_met()
        self.is_announced = True
        return self

    @property
    def is_met(self) -> bool:
        """Whether every queue that it is connected to knows it."""
        return all(queue.is_met for queue in self._queues.values())

    def expect_met(self) -> None:
        """Wait until every queue knows this engine: on a busy machine the Hub may be quicker."""
        started, limit = self.world.now, self.controller.timing.reply_deadline
        if not self.world.run_until(lambda: self.is_met, started + limit):
            self.controller.expect_waited(started, limit)
            unmet = [channel for channel, queue in self._queues.items() if not queue.is_met]
            found = f"nobody answers {self.name} on {' and '.join(unmet)}"
            raise self.controller.stopped("connection.addresses-from-file", found)

    def with_shell(self, *channels: str) -> Self:
        """Connect to these queues. Call it before `registered`: an engine that is not connected is not routable.

        The leaf of the broadcast tree follows from the id, so that `registered` connects to it.
        """
        for channel in channels or ("mux",):
            if channel == "broadcast":
                self._seeks_leaf = True
            else:
                self._queues[channel] = self.open(channel, identity=self.uuid.encode(), end="engine")
        return self

    def with_publisher(self, kind: str) -> Self:
        """Publish by a socket of this type: PUB, which does not tell who subscribed, or XPUB."""
        address = self.controller.engine_file.address("iopub")
        self._queues["iopub"] = self.connect(kind, address, channel="iopub", identity=self.uuid.encode())
        self._tells_subscriptions = kind == "XPUB"
        return self

    def connect_leaf(self) -> None:
        """Connect to the leaf that is this engine's by its id, if `with_shell` was asked for one."""
        if self._seeks_leaf and self.id is not None:
            self._seeks_leaf = False
            leaf = self.id % len(self.controller.engine_file.addresses("broadcast"))
            self._queues["broadcast"] = self.open("broadcast", identity=self.uuid.encode(), end="engine", index=leaf)

    def disconnect(self, *channels: str) -> None:
        """Close the sockets on these queues, as an engine does that vanishes."""
        for channel in channels or ("mux",):
            self._queues.pop(channel).close()

    def take(self, channel: str = "mux", *, requirement: str | None = None) -> Observation:
        """The next request that a queue delivers to this engine; if none does, that violates a `requirement`.

        What an earlier case has left is answered and passed over: it may have come while nobody else was there.
        """
        started = self.world.now
        limit = self.controller.timing.reply_deadline
        observation = self._queues[channel].recv(started + limit)
        while (
            observation is not None
            and observation.message is not None
            and self.controller.is_of_earlier_case(str(observation.message.header.get("session")))
        ):
            self.answer(observation, channel=channel)
            observation = self._queues[channel].recv(started + limit)
        if observation is None:
            self.controller.expect_waited(started, limit)
            found = f"{self.name} was never given the request"
            if requirement is not None:
                raise Violated(Finding(found, ("it is delivered",)), requirement)
            raise self.controller.stopped(DELIVERY[channel][0], found)
        return observation

    def pending(self, channel: str = "mux") -> Observation | None:
        """What a queue has delivered to this engine and nobody took yet, or None."""
        return self._queues[channel].recv(self.world.now)

    def answer(
        self,
        request: Observation,
        *,
        channel: str = "mux",
        content: object = None,
        metadata: dict[str, object] | None = None,
        buffers: Sequence[Frame] = RESULT_BUFFERS,
        **header_fields: object,
    ) -> Message:
        """Answer a request as an engine does, by default with success; metadata of `...` are left out."""
        asked = request.message
        assert asked is not None
        content = {"status": "ok"} if content is None else content
        status = content.get("status", "ok") if isinstance(content, dict) else "ok"
        own = {
            "started": self.controller.date(), "dependencies_met": True, "engine": self.uuid, "is_broadcast": False,
            "is_coalescing": False, "original_msg_id": "", "label": None, "status": status,
        }  # fmt: skip
        # What steers a broadcast is given back as it came.
        own |= {key: value for key, value in asked.metadata.items() if key in own and key not in _OWN_KEYS}
        reply = self.make(
            asked.msg_type.replace("_request", "_reply"),
            content,
            metadata={key: value for key, value in (own | (metadata or {})).items() if value is not ...},
            parent=asked.header,
            buffers=buffers if status == "ok" else (),
            identities=asked.identities,
            **header_fields,
        )
        self._queues[channel].send(reply)
        return reply

    def shut_down(self, request: Observation) -> None:
        """Answer a `shutdown_request` as an engine does: on `control`, and on `iopub` for everybody."""
        assert request.message is not None
        content = {"status": "ok", "restart": False}
        self.answer(request, channel="control", content=content, buffers=())
        self.publish("shutdown_reply", content, topic=f"engine.{self.id}.shutdown", parent=request.message)

    def publish(
        self,
        msg_type: str,
        content: object,
        *,
        topic: str | None = None,
        parent: Message | None = None,
        metadata: object = None,
        buffers: Sequence[Frame] = (),
        why: str | None = None,
    ) -> Message:
        """Publish on `iopub`, about a request if one is given; with `why`, whether or not it fits its type."""
        topic = f"engine.{self.id}.{msg_type}" if topic is None else topic
        # An engine's session is its uuid: that is how the Hub knows who it is.
        message = self.make(
            msg_type, content, metadata=metadata, parent=parent.header if parent else None, buffers=buffers,
            identities=(topic.encode(),), session=self.uuid,
        )  # fmt: skip
        if why is None:
            self.publisher.send(message)
        else:
            self.publisher.send_raw(self.controller.codec.encode(message), why)
        return message

    @property
    def publisher(self) -> Socket:
        """The socket on `iopub`, to which the target has subscribed: what is published before that is lost.

        A PUB does not tell; whoever has one proves by a pilot message that it is heard.
        """
        self.controller.stand_on(OUTPUT)
        iopub = self._queues["iopub"]
        if not self._tells_subscriptions:
            return iopub
        limit = self.controller.timing.reply_deadline
        started = self.world.now
        if not self.world.run_until(lambda: bool(iopub.subscriptions), started + limit):
            self.controller.expect_waited(started, limit)
            raise self.controller.stopped(OUTPUT, f"nobody subscribed to {self.name}")
        return iopub

    def unregister(self) -> Message:
        """Tell the Hub that this engine leaves. There is no reply."""
        assert self.id is not None
        return self.send("unregistration_request", {"id": self.id})

    def expect_alive(self) -> None:
        """The Hub must still name this engine to clients."""
        engines = self.controller.client().engines()
        if engines.get(str(self.id)) != self.uuid:
            raise Violated(Finding(f"engine {self.id} is not among {engines!r}", (f"{self.id}: {self.uuid}",)))

    def expect_kept(self, nanoseconds: int, *, requirement: str | None = None) -> None:
        """Let time pass in which the Hub must not give this engine up.

        Where the harness itself held the engine's heart up, nothing can be said.
        """
        started = self.world.now
        notifications = self.controller.notifications
        self.world.run_until(
            lambda: bool(notifications.of("unregistration_notification", uuid=self.uuid)), started + nanoseconds
        )
        gone = notifications.of("unregistration_notification", uuid=self.uuid)
        missing = self.controller.client().engines().get(str(self.id)) != self.uuid
        if gone or missing:
            self.controller.expect_steady(started, self.controller.timing.heart_failure[0])
            found = f"engine {self.id} was given up after {(self.world.now - started) / SECOND:.2f} s"
            raise Violated(Finding(found, ("it stays",), evidence=tuple(seen.seq for seen in gone)), requirement)

    def expect_given_up(self, since: int, *, requirement: str | None = None) -> Observation:
        """The Hub must announce the end of this engine in time; it was last certainly alive at `since`."""
        timing = self.controller.timing
        left = since + timing.heart_failure[1] + timing.margin - self.world.now
        return self.controller.notifications.expect(
            "unregistration_notification", within=max(left, 1), requirement=requirement, uuid=self.uuid, id=self.id
        )

    def leave(self) -> None:
        """Unregister if needed, and wait until the Hub has taken note; used when a case ends."""
        if self.id is not None and self._sockets:
            self.unregister()
            marker = self.send("connection_request", {})
            deadline = self.world.now + self.controller.timing.reply_deadline
            while (seen := self.query.recv(deadline)) is not None:
                if seen.message is not None and seen.message.parent_header.get("msg_id") == marker.msg_id:
                    break
        self.stop_heart()

    def close(self) -> None:
        """Close every socket, the heart's too."""
        self.stop_heart()
        super().close()
