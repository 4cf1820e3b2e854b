"""An engine under test as a case sees it: the kit is its controller, and its clients.

The scripted controller does what a case says. By itself it does two things: it pings at the target's period, and it
writes down what arrives, in order, so that a case can also say what must not have come.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final

import msgspec

from conformance.harness.actors import Reply
from conformance.harness.controllerside import ControllerSide, VirtualControllerSide
from conformance.harness.observing import RawSocket, Unreachable
from conformance.harness.party import Author
from conformance.harness.subject import Subject
from conformance.harness.verdict import Blocked, Finding, NotApplicable, Undecided, Violated
from conformance.targets.descriptor import Samples, Target
from conformance.targets.process import RunningEngine
from conformance.targets.virtual import VirtualRunningEngine
from protocol.messages import lookup
from protocol.wire import DELIMITER, Frame, Json, Message
from protocol.world import MILLISECOND, SECOND, Observation

#: The number that the engine is given: neither the first nor that of its leaf.
NUMBER: Final = 3
#: How often somebody who is not connected yet is tried again, in nanoseconds.
STEP: Final = 10 * MILLISECOND
_SAMPLES: Final = {field.encode_name: field.name for field in msgspec.structs.fields(Samples)}


class EngineUnderTest(Subject):
    """A running engine, the controller that it belongs to, and the clients behind that."""

    world: ControllerSide | VirtualControllerSide
    instance: RunningEngine | VirtualRunningEngine

    def __init__(
        self,
        world: ControllerSide | VirtualControllerSide,
        target: Target,
        *,
        token: str,
        date: Callable[[], str],
        instance: RunningEngine | VirtualRunningEngine,
    ) -> None:
        super().__init__(
            world, target.timing, role="engine", dialect=target.dialect, token=token, date=date, instance=instance,
            name=target.name, features=frozenset(target.features),
        )  # fmt: skip
        self.samples = target.samples
        #: As it registered; empty before.
        self.uuid = ""
        #: Whether a case left something running, so that the next one needs another engine.
        self.is_spent = False
        #: What arrived since the case began: on the query socket, as answers, as output, as echoes of pings.
        self.told: list[Observation] = []
        self.replies: list[Observation] = []
        self.published: list[Observation] = []
        self.pongs: list[Observation] = []
        self.hub = Author(self, "hub")
        self._asked: list[Message] = []
        self._started = world.now
        self._listen()
        self._stop_beating: Callable[[], None] | None = None
        self.beat()

    def _listen(self) -> None:
        for channel, kept in (("query", self.told), ("iopub", self.published), ("heartbeat-pong", self.pongs)):
            self.world.listen(self.world.sockets[channel], kept.append)
        for socket in (*(self.world.sockets[name] for name in ("mux", "task", "control")), *self.world.leaves):
            self.world.listen(socket, self.replies.append)

    def restart_controller(self) -> None:
        """Let the controller die and come back at the same addresses, with a memory of this engine."""
        self.world.restart()
        self._listen()
        self.pongs.clear()

    # -- the course of a case ----------------------------------------------------------------------------------------

    def begin_case(self) -> None:
        """Start a case: new names, and nothing heard yet but the registration."""
        super().begin_case()
        for kept in (self.replies, self.published, self.pongs):
            kept.clear()
        self._asked.clear()

    def distrust(self) -> None:
        """One mistake is one message: the next case begins with an engine that has not made it."""
        self.is_spent = True

    def kill(self) -> None:
        """Kill every process of the engine, and wait until that has happened."""
        self.instance.kill()
        self.expect_end()

    def end_case(self) -> None:
        """Wait for what still runs; an engine that goes on with it is no use to the next case."""
        deadline = self.world.now + self.timing.reply_deadline
        if (
            self.is_running
            and not self.is_spent
            and not self.world.run_until(lambda: all(map(self.answers, self._asked)), deadline)
        ):
            self.is_spent = True

    def sample(self, which: str, /, **values: object) -> str:
        """Code from the descriptor, with these values in it; without that sample the case says nothing."""
        code: str = getattr(self.samples, _SAMPLES[which])
        if not code:
            raise NotApplicable(f"the target's descriptor has no sample {which!r}")
        for slot, value in values.items():
            code = code.replace(f"{{{slot}}}", str(value))
        return code

    # -- registration ------------------------------------------------------------------------------------------------

    def registration(self) -> Observation:
        """Its registration_request, for which it is waited as long as a target may take to be ready.

        Raises TargetUnusable.
        """
        deadline = self._started + self.timing.start_deadline
        while not (found := [seen for seen in self._told("registration_request") if self._names_itself(seen)]):
            self.instance.expect_alive()
            if self.world.now > deadline:
                heard = f", but {len(self.told)} other messages" if self.told else ""
                raise self.instance.late(f"no registration_request with a uuid came{heard}")
            self.world.run_until(lambda: bool(self._told("registration_request")), self.world.now + SECOND // 10)
        return found[-1]

    def first_words(self) -> Observation | None:
        """The first thing that comes on the registration socket, whatever it is; None if the engine ends before.

        Raises TargetUnusable, as `registration` does, if it says nothing and lives.
        """
        deadline = self._started + self.timing.start_deadline
        self.world.run_until(lambda: bool(self.told) or not self.is_running, deadline)
        if self.told or not self.is_running:
            return self.told[0] if self.told else None
        return self.registration()

    def _names_itself(self, seen: Observation) -> bool:
        assert seen.message is not None
        uuid = seen.message.content.get("uuid")
        if isinstance(uuid, str):
            self.uuid = uuid
        return isinstance(uuid, str)

    def _told(self, msg_type: str) -> list[Observation]:
        return [seen for seen in self.told if seen.message is not None and seen.message.msg_type == msg_type]

    def unregistrations(self) -> list[Observation]:
        """The unregistration_requests that came, from the engine or from whoever watches it."""
        return self._told("unregistration_request")

    def accept(self, request: Observation, **content: object) -> Message:
        """Grant a registration; `content` adds keys to the reply or replaces them."""
        file = self.world.file
        addresses = {name: getattr(file, name) for name in ("interface", *file.ports)}
        granted = {
            "status": "ok", "id": NUMBER, "hb_period": self.timing.heartbeat_period_ms, "connection_info": addresses,
        }  # fmt: skip
        return self._answer_registration(request, granted | content)

    def refuse(self, request: Observation) -> Message:
        """Refuse a registration, as if its uuid were in use."""
        content = {"status": "error", "ename": "KeyError", "evalue": "the uuid is in use", "traceback": []}
        return self._answer_registration(request, content)

    def _answer_registration(self, request: Observation, content: Json) -> Message:
        assert request.message is not None
        reply = self.hub.make("registration_reply", content, identities=request.message.identities[:1])
        self.world.sockets["query"].send(reply)
        return reply

    def registered(self) -> EngineUnderTest:
        """Let it register, as a controller does that has nothing against it."""
        self.accept(self.registration())
        return self

    def settle(self) -> None:
        """Let it register, and come to where cases begin: heard on IOPub, and reached on control.

        That something of it never happens is for the cases to judge.
        """
        self.registered()
        self._prove_output()
        if "abort" in self.features:
            # Whoever stands in front of the engine, as a nanny does, may need longer than the engine itself.
            pilot = self.client().send("abort_request", {"msg_ids": ["never-sent"]}, channel="control")
            deadline = self.world.now + self.timing.reply_deadline
            self.world.run_until(lambda: bool(self.answers(pilot)), deadline)

    def _prove_output(self) -> None:
        """Run pilots until something is published for one: what is published before we listen is lost."""
        if "output" not in self.features or not self.samples.print:
            return
        client, deadline = self.client(), self.world.now + self.timing.reply_deadline
        while self.world.now < deadline:
            pilot = client.execute(self.sample("print", text="pilot"))
            until = min(deadline, self.world.now + SECOND // 2)
            if self.world.run_until(lambda: "idle" in self.states(pilot), until):  # noqa: B023 - called at once
                return

    # -- the heart monitor -------------------------------------------------------------------------------------------

    def beat(self) -> None:
        """Ping at the target's period while the world is pumped."""
        if self._stop_beating is None:
            self._stop_beating = self.world.every(self.timing.heartbeat_period, self._beat)

    def stop_beating(self) -> None:
        """Ping no more."""
        if self._stop_beating is not None:
            self._stop_beating()
            self._stop_beating = None

    def _beat(self) -> None:
        self.ping(str(self.world.now / SECOND).encode())

    def ping(self, *frames: bytes) -> None:
        """One ping of these frames."""
        self.world.sockets["heartbeat-ping"].send_raw(frames, "raw by design: a ping")

    def echoes(self, *frames: bytes) -> list[Observation]:
        """The echoes of a ping that have come, whatever stands before it."""
        return [seen for seen in self.pongs if tuple(map(bytes, seen.frames[-len(frames) :])) == frames]

    def expect_echo(self, *frames: bytes, within: int = 0, requirement: str | None = None) -> Observation:
        """Wait for the echo of a ping that was sent."""
        started, limit = self.world.now, within or self.timing.reply_deadline
        if not self.world.run_until(lambda: bool(self.echoes(*frames)), started + limit):
            self.expect_steady(started, limit)
            shown = [f"{len(frame)} bytes" if len(frame) > 40 else repr(frame) for frame in frames[:4]]
            found = f"no echo of the ping {shown} within {limit / SECOND:.1f} s"
            raise Violated(Finding(found, ("the same bytes, behind the identity",)), requirement)
        return self.echoes(*frames)[0]

    def expect_heart(self, requirement: str | None = None) -> Observation:
        """Wait until it answers a ping of the monitor, that is not of an earlier case."""
        count, started, limit = len(self.pongs), self.world.now, self.timing.reply_deadline
        if not self.world.run_until(lambda: len(self.pongs) > count, started + limit):
            self.expect_steady(started, limit)
            found = f"no answer to any ping within {limit / SECOND:.1f} s"
            if requirement is None:
                raise Blocked("heart-device.echo-unchanged", found)
            raise Violated(Finding(found, ("an echo",)), requirement)
        return self.pongs[count]

    # -- requests ----------------------------------------------------------------------------------------------------

    def client(self) -> Caller:
        """A client, as the engine sees one: an identity behind the relays."""
        return Caller(self, self._name("client"))

    def deliver(self, channel: str, send: Callable[[RawSocket], None]) -> None:
        """Send to the engine as soon as it is connected to a channel; all of that belongs to its start."""
        socket = self.world.leaves[NUMBER % len(self.world.leaves)] if channel == "broadcast" else (
            self.world.sockets[channel]
        )  # fmt: skip
        started, limit = self.world.now, self.timing.start_deadline
        while True:
            try:
                return send(socket)
            except Unreachable:
                if self.world.now > started + limit or not self.is_running:
                    self.expect_steady(started, limit)
                    why = f"no socket whose identity is the registered uuid is connected to {channel}"
                    raise Blocked("registration.identity-is-uuid", why) from None
            self.let_pass(STEP)

    def is_connected(self, channel: str) -> bool:
        """Whether somebody with the registered uuid is connected to a channel now; asked by what is no message."""
        try:
            # Of a lone identity libzmq does not look whether it is there.
            self.world.sockets[channel].send_raw([self.uuid.encode(), b""], "asks whether somebody is there")
        except Unreachable:
            return False
        return True

    def expect_connected(self, channel: str, requirement: str = "registration.identity-is-uuid") -> None:
        """Wait until somebody with the registered uuid is connected to a channel."""
        started, limit = self.world.now, self.timing.start_deadline
        if not self.world.run_until(lambda: self.is_connected(channel), started + limit):
            self.expect_steady(started, limit)
            finding = Finding(f"nobody is connected to {channel} as {self.uuid!r}", ("a socket with that identity",))
            raise Violated(finding, requirement)

    def owes(self, request: Message) -> None:
        """Note that an answer is due before the case is over."""
        self._asked.append(request)

    def answers(self, request: Message) -> list[Observation]:
        """The answers to a request that have come, on whatever queue."""
        return [seen for seen in self.replies if _parent(seen) == request.msg_id]

    # -- output ------------------------------------------------------------------------------------------------------

    def outputs(self, request: Message, *types: str) -> list[Observation]:
        """What was published for a request up to now; of these types, or all."""
        return [
            seen
            for seen in self.published
            if seen.message and _parent(seen) == request.msg_id and (not types or seen.message.msg_type in types)
        ]

    def states(self, request: Message) -> list[str]:
        """The states of execution that were published for a request."""
        return [str(seen.message.content.get("execution_state")) for seen in self.outputs(request, "status")
                if seen.message]  # fmt: skip

    def text(self, request: Message, stream: str = "stdout") -> str:
        """What was published of a stream for a request, up to now."""
        said = [seen.message.content for seen in self.outputs(request, "stream") if seen.message]
        return "".join(str(each.get("text", "")) for each in said if each.get("name") == stream)

    def until_running(self, request: Message) -> None:
        """Wait until the code of a request surely runs: a little while after the engine has said that it is busy."""
        if "output" in self.features:
            self.world.run_until(
                lambda: "busy" in self.states(request) or bool(self.answers(request)),
                self.world.now + self.timing.reply_deadline,
            )
        self.let_pass(SECOND // 4)
        if self.answers(request):
            raise Undecided("the code that was to run for a while had ended before anything could be tried")

    def until_idle(self, request: Message) -> list[Observation]:
        """Wait until the engine says that it is done with a request; what it published for it."""
        started, limit = self.world.now, self.timing.reply_deadline
        if not self.world.run_until(lambda: "idle" in self.states(request), started + limit):
            self.expect_steady(started, limit)
            raise Blocked("iopub.status-brackets", f"no idle was published for {request.msg_type}")
        return self.outputs(request)

    def until_published(self, request: Message, *types: str, requirement: str | None = None) -> Observation:
        """Wait until something of these types is published for a request."""
        started, limit = self.world.now, self.timing.reply_deadline
        if not self.world.run_until(lambda: bool(self.outputs(request, *types)), started + limit):
            self.expect_steady(started, limit)
            finding = Finding(f"no {' or '.join(types)} was published within {limit / SECOND:.1f} s", types)
            raise Violated(finding, requirement)
        return self.outputs(request, *types)[0]


class Caller(Author):
    """A client that the engine meets only through relays: its identity stands behind the engine's."""

    def __init__(self, engine: EngineUnderTest, name: str) -> None:
        super().__init__(engine, name)
        self.engine = engine
        self.world = engine.world
        self.identity = f"{engine.token}-{name}".encode()

    def send(
        self, msg_type: str, content: object = None, *, channel: str = "mux", why: str | None = None, **fields: Any
    ) -> Message:
        """Send a request through a queue; with `why`, which says the mistake, whether or not it fits its type."""
        message = self.message(msg_type, content, channel=channel, **fields)
        if why is None:
            self.engine.deliver(channel, lambda socket: socket.send(message))
            self.engine.owes(message)
        else:
            self.send_raw(self.engine.codec.encode(message), why, channel=channel)
        return message

    def message(self, msg_type: str, content: object = None, *, channel: str = "mux", **fields: Any) -> Message:
        """A request for this engine, addressed and not sent."""
        path: tuple[bytes, ...] = ()
        if channel == "broadcast":
            path = (b"sub_scheduler_0",)
            metadata = {"targets": [[self.engine.uuid, NUMBER]], "is_broadcast": True, "is_coalescing": False}
            fields["metadata"] = metadata | (fields.get("metadata") or {})
        to = (self.engine.uuid.encode(), *path, self.identity)
        content = {} if content is None else content
        return self.make(msg_type, content, identities=to, **fields)

    def send_raw(self, frames: Sequence[Frame], why: str, *, channel: str = "mux") -> None:
        """Send frames as they are."""
        self.engine.deliver(channel, lambda socket: socket.send_raw(frames, why))

    def send_signed(
        self, why: str, *, head: bytes, parent: bytes = b"{}", metadata: bytes = b"{}", content: bytes = b"{}",
        channel: str = "mux",
    ) -> None:  # fmt: skip
        """Send dictionaries given as bytes, whatever they hold, under a valid signature."""
        parts = [head, parent, metadata, content]
        to = [self.engine.uuid.encode(), self.identity]
        self.send_raw([*to, DELIMITER, self.engine.codec.sign(b"".join(parts)), *parts], why, channel=channel)

    def execute(self, code: str, *, channel: str = "mux", content: Json | None = None, **fields: Any) -> Message:
        """Ask for code to be run; `content` adds keys to the usual ones, or replaces them.

        By default an error aborts nothing: an engine may go on aborting for a moment after its reply has come.
        """
        said = {"code": code, "silent": False, "user_expressions": {}, "stop_on_error": False} | (content or {})
        return self.send("execute_request", said, channel=channel, **fields)

    def ask(self, msg_type: str, content: object = None, *, channel: str = "mux", **fields: Any) -> Reply:
        """Send a request and wait for its reply; silence is a violation."""
        return self.reply(self.send(msg_type, content, channel=channel, **fields))

    def run(self, code: str, **fields: Any) -> Reply:
        """Run code and wait for the reply."""
        return self.reply(self.execute(code, **fields))

    def reply(self, request: Message, *, within: int = 0, requirement: str | None = None) -> Reply:
        """Wait for the reply to a request, which must come back the way it came."""
        engine, started = self.engine, self.world.now
        limit = within or engine.timing.reply_deadline
        self.world.run_until(lambda: bool(engine.answers(request)) or not engine.is_running, started + limit)
        # Its last words may still be on their way when it has ended.
        if not self.world.run_until(
            lambda: bool(engine.answers(request)), min(started + limit, self.world.now + SECOND)
        ):
            engine.expect_steady(started, limit)
            row = lookup(request.msg_type, "mux", engine.dialect) or lookup(request.msg_type, "control", engine.dialect)
            found = f"no answer to {request.msg_type} within {limit / SECOND:.1f} s"
            if not engine.is_running:
                found += "; the target's process has ended"
            raise Violated(Finding(found, row.replies if row else ("an answer",)), requirement)
        seen = engine.answers(request)[0]
        assert seen.message is not None
        if seen.message.identities != request.identities:
            finding = Finding(
                f"the identities {list(seen.message.identities)!r:.300} before the delimiter",
                (f"{list(request.identities)!r:.300}",), evidence=(seen.seq,),
            )  # fmt: skip
            raise Violated(finding, "wire.reply-identities-echoed")
        return Reply(seen, request)


def _parent(seen: Observation) -> object:
    return seen.message.parent_header.get("msg_id") if seen.message is not None else None
