"""An engine under test as a case sees it: the kit is its controller, and its clients.

The scripted controller does what a case says. By itself it does two things: it pings at the target's period, and it
writes down what arrives, in order, so that a case can also say what must not have come.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final

from conformance.harness.coding import Asker, Coding
from conformance.harness.controllerside import Contact, ControllerSide, VirtualControllerSide
from conformance.harness.observing import RawSocket, Unreachable
from conformance.harness.party import Author
from conformance.harness.verdict import Finding, Undecided, Violated
from conformance.targets.descriptor import Target
from conformance.targets.process import RunningEngine
from conformance.targets.virtual import VirtualRunningEngine
from protocol.wire import Frame, Json, Message
from protocol.world import MILLISECOND, SECOND, Observation

#: The number that the engine is given: neither the first nor that of its leaf.
NUMBER: Final = 3
#: What is broken if pings do not come back.
HEART: Final = "heart-device.echo-unchanged"
#: How often somebody who is not connected yet is tried again, in nanoseconds.
STEP: Final = 10 * MILLISECOND


class EngineUnderTest(Coding):
    """A running engine, the controller that it belongs to, and the clients behind that."""

    brackets = "iopub.status-brackets"
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
        super().__init__(world, target, role="engine", token=token, date=date, instance=instance)
        #: As it registered; empty before.
        self.uuid = ""
        #: What arrived on the query socket, and the echoes of pings since the case began.
        self.told: list[Observation] = []
        self.pongs: list[Observation] = []
        self.hub = Author(self, "hub")
        self._started = world.now
        self.listen()
        self._stop_beating: Callable[[], None] | None = None
        self.beat()

    def listen(self) -> None:
        """Keep what arrives, as at the start; whoever listened in its place listens no more."""
        for channel, kept in (("query", self.told), ("iopub", self.published), ("heartbeat-pong", self.pongs)):
            self.world.listen(self.world.sockets[channel], kept.append)
        for socket in (*(self.world.sockets[name] for name in ("mux", "task", "control")), *self.world.leaves):
            self.world.listen(socket, self.replies.append)

    def restart_controller(self) -> None:
        """Let the controller die and come back at the same addresses, with a memory of this engine."""
        self.world.restart()
        self.listen()
        self.pongs.clear()

    # -- the course of a case ----------------------------------------------------------------------------------------

    @property
    def doze(self) -> int:
        """Until the engine, which hears no pings, gives its controller up."""
        return self.timing.engine_misses * self.timing.heartbeat_period

    def begin_case(self) -> None:
        """Start a case: new names, and nothing heard yet but the registration."""
        super().begin_case()
        self.pongs.clear()

    def kill(self) -> None:
        """Kill every process of the engine, and wait until that has happened."""
        self.instance.kill()
        self.expect_end()

    # -- registration ------------------------------------------------------------------------------------------------

    def registration(self) -> Observation:
        """Its registration_request, for which it is waited as long as a target may take to be ready.

        Raises TargetUnusable.
        """
        while not (found := [seen for seen in self._told("registration_request") if self._names_itself(seen)]):
            self.instance.expect_alive()
            if self.is_over(self._started, self.timing.start_deadline):
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
        try:
            self.world.sockets["query"].send(reply)
        except Unreachable:
            raise Undecided("the engine was gone when its registration was to be answered") from None
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
        client, started = self.client(), self.world.now
        while not self.is_over(started, self.timing.reply_deadline):
            pilot = client.execute(self.sample("print", text="pilot"))
            until = self.world.now + SECOND // 2
            if self.world.run_until(lambda: "idle" in self.states(pilot), until):  # noqa: B023 - called at once
                return

    def explore(self) -> None:
        """See whether its heart beats, too."""
        super().explore()
        started, limit = self.world.now, self.timing.reply_deadline
        if not self.world.run_until(lambda: bool(self.pongs), started + limit):
            self.expect_waited(started, limit)
            self.missing[HEART] = f"no answer to any ping within {limit / SECOND:.1f} s"

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
        # While a controller that went waits for its ports to come back, there is nothing to ping with.
        if not self.world.sockets["heartbeat-ping"].is_closed:
            self.ping(str(self.world.now / SECOND).encode())

    def ping(self, *frames: bytes) -> None:
        """One ping of these frames."""
        self.world.sockets["heartbeat-ping"].send_raw(frames, "raw by design: a ping")

    def echoes(self, *frames: bytes) -> list[Observation]:
        """The echoes of a ping that have come, whatever stands before it."""
        return [seen for seen in self.pongs if tuple(map(bytes, seen.frames[-len(frames) :])) == frames]

    def expect_echo(self, *frames: bytes, within: int = 0, requirement: str | None = None) -> Observation:
        """Wait for the echo of a ping that was sent."""
        self.stand_on(HEART)
        started, limit = self.world.now, within or self.timing.reply_deadline
        if not self.world.run_until(lambda: bool(self.echoes(*frames)), started + limit):
            self.expect_waited(started, limit)
            shown = [f"{len(frame)} bytes" if len(frame) > 40 else repr(frame) for frame in frames[:4]]
            found = f"no echo of the ping {shown} within {limit / SECOND:.1f} s"
            raise Violated(Finding(found, ("the same bytes, behind the identity",)), requirement)
        return self.echoes(*frames)[0]

    def expect_heart(self, requirement: str | None = None) -> Observation:
        """Wait until it answers a ping of the monitor, that is not of an earlier case."""
        self.stand_on(HEART)
        count, started, limit = len(self.pongs), self.world.now, self.timing.reply_deadline
        if not self.world.run_until(lambda: len(self.pongs) > count, started + limit):
            self.expect_waited(started, limit)
            found = f"no answer to any ping within {limit / SECOND:.1f} s"
            if requirement is None:
                raise self.stopped(HEART, found)
            raise Violated(Finding(found, ("an echo",)), requirement)
        return self.pongs[count]

    # -- requests ----------------------------------------------------------------------------------------------------

    def asker(self) -> Caller:
        """Any client."""
        return self.client()

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
                if self.is_over(started, limit) or not self.is_running:
                    self.expect_waited(started, limit)
                    why = f"no socket whose identity is the registered uuid is connected to {channel}"
                    raise self.stopped("registration.identity-is-uuid", why) from None
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
            self.expect_waited(started, limit)
            finding = Finding(f"nobody is connected to {channel} as {self.uuid!r}", ("a socket with that identity",))
            raise Violated(finding, requirement)

    def contacts(self, *channels: str) -> list[Contact]:
        """The sockets of a visible engine that are connected to ours, once there is one on each of these channels."""
        started, limit = self.world.now, self.timing.start_deadline

        def missing() -> set[str]:
            return set(channels) - {contact.channel for contact in self.world.contacts()}

        if not self.world.run_until(lambda: not missing(), started + limit):
            self.expect_waited(started, limit)
            finding = Finding(
                f"no connection on {', '.join(sorted(missing()))}", ("one to each address that it needs",)
            )
            raise Violated(finding, "connection.engine-connects")
        return self.world.contacts()


class Caller(Asker):
    """A client that the engine meets only through relays: its identity stands behind the engine's."""

    usual = "mux"

    def __init__(self, engine: EngineUnderTest, name: str) -> None:
        super().__init__(engine, name)
        self.engine = engine

    def message(self, msg_type: str, content: object = None, *, channel: str = "", **fields: Any) -> Message:
        """A request for this engine, addressed and not sent."""
        path: tuple[bytes, ...] = ()
        if channel == "broadcast":
            path = (b"sub_scheduler_0",)
            metadata = {"targets": [[self.engine.uuid, NUMBER]], "is_broadcast": True, "is_coalescing": False}
            fields["metadata"] = metadata | (fields.get("metadata") or {})
        to = (self.engine.uuid.encode(), *path, self.identity)
        content = {} if content is None else content
        return self.make(msg_type, content, identities=to, **fields)

    def post(self, message: Message, channel: str = "") -> None:
        """Send a valid message as soon as the engine is there."""
        self.engine.deliver(channel or self.usual, lambda socket: socket.send(message))

    def send_raw(self, frames: Sequence[Frame], why: str, *, channel: str = "") -> None:
        """Send frames as they are."""
        self.engine.deliver(channel or self.usual, lambda socket: socket.send_raw(frames, why))

    def answers(self, request: Message) -> list[Observation]:
        """The answers to a request that have come, on whatever queue."""
        return self.engine.answers(request)
