"""The controller under test as a case sees it: its clock, its parties, its barriers.

One handle serves all cases that share a controller. `begin_case` and `end_case` keep the cases apart: names, uuids and
sessions are unique per case, and what a case left registered is unregistered.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

from conformance.files import FileOnDisk
from conformance.harness.actors import Client, Engine
from conformance.harness.hearts import Answer, Heart, echo
from conformance.harness.notifications import Notifications
from conformance.harness.output import Output
from conformance.harness.party import Party
from conformance.harness.probe import Greeting, ProbeError
from conformance.harness.verdict import Finding, NotApplicable, Undecided, Violated
from conformance.targets.descriptor import Timing
from protocol.connection import ClientFile, EngineFile
from protocol.rules import Judge, Setting, Violation, rules_for
from protocol.wire import Codec, Message
from protocol.world import SECOND, Observation, Socket, World


class Device(Protocol):
    """What runs beside the pump."""

    def stop(self) -> None:
        """End it. May be called twice."""


class HarnessWorld(World, Protocol):
    """A world that also knows how long the harness itself once failed to pump."""

    @property
    def codec(self) -> Codec:
        """The codec with the target's key."""

    def connect(
        self, kind: str, addresses: Sequence[str], *, channel: str, party: str, identity: bytes = b""
    ) -> Socket:
        """A socket of another type than the channel's own, connected to these addresses."""

    def longest_stall(self, since: int) -> int:
        """The longest gap, in nanoseconds, between two rounds of the pump since a moment."""

    def start_device_heart(self, identity: bytes) -> Device:
        """A heart of this identity that beats by itself, whether the world is pumped or not."""

    def greeting(self, channel: str, *, end: str) -> Greeting:
        """What the socket to which this end of a channel connects says of itself. Raises ProbeError."""


class Instance(Protocol):
    """What runs: a process, or its likeness in virtual time."""

    @property
    def is_running(self) -> bool:
        """Whether it is still there."""

    @property
    def status(self) -> int | None:
        """Its exit status (negative: the signal that ended it), or None while it runs."""

    def output(self) -> tuple[str, str]:
        """The end of what it printed, without keys."""

    def processes(self) -> list[int]:
        """The ids of its processes that still live, where the system can tell."""

    @property
    def client(self) -> ClientFile:
        """What its connection file for clients says."""

    @property
    def engine(self) -> EngineFile:
        """What its connection file for engines says."""

    def on_disk(self) -> Mapping[str, FileOnDisk]:
        """Its connection files ("client", "engine") as they now are on the disk; missing ones are left out."""


class Controller:
    """A running controller and the kit's side of the conversation with it."""

    def __init__(
        self,
        world: HarnessWorld,
        timing: Timing,
        *,
        dialect: str,
        token: str,
        date: Callable[[], str],
        instance: Instance,
        name: str = "target",
        features: frozenset[str] = frozenset(),
    ) -> None:
        self.world = world
        self.timing = timing
        self.dialect = dialect
        self.features = features
        self.case_start = 0
        self._token = token
        self._cases = 0
        self._counts: dict[str, int] = {}
        self._parties: list[Party] = []
        self.instance = instance
        self.name = name
        self.date = date
        self.judge = Judge(
            rules_for(dialect),
            Setting(
                dialect=dialect,
                period_ns=timing.heartbeat_period,
                allowed_misses=timing.allowed_misses,
                registration_timeout_ns=timing.registration_timeout,
                reply_deadline_ns=timing.reply_deadline,
                margin_ns=timing.margin,
            ),
        )
        #: Requirements that rules were already said to have judged.
        self.reported: frozenset[str] = frozenset()
        self._judged = 0
        self.notifications = Notifications(self)

    @property
    def codec(self) -> Codec:
        """The codec with the target's key."""
        return self.world.codec

    @property
    def engine_file(self) -> EngineFile:
        """What the target's connection file for engines says."""
        return self.instance.engine

    @property
    def client_file(self) -> ClientFile:
        """What the target's connection file for clients says."""
        return self.instance.client

    @property
    def token(self) -> str:
        """Unique per run, controller and case; part of every session and uuid."""
        return f"{self._token}-{self._cases}"

    def is_of_earlier_case(self, session: str) -> bool:
        """Whether a session is that of a party of a case that is over, on this controller."""
        return session.startswith(f"{self._token}-") and not session.startswith(f"{self.token}-")

    @property
    def is_running(self) -> bool:
        """Whether the target's process is still there."""
        return self.instance.is_running

    @property
    def observations(self) -> Sequence[Observation]:
        """What was seen since the case began."""
        return [seen for seen in self.world.observations[self.case_start :] if isinstance(seen, Observation)]

    # -- the parties -----------------------------------------------------------------------------------------------

    def client(self, *, identity: bytes = b"") -> Client:
        """A new client with a query socket of its own."""
        party = Client(self, self._name("client"), identity=identity)
        self._parties.append(party)
        return party

    def engine(self, uuid: str | None = None, *, kind: str = "engine") -> Engine:
        """A new engine, not registered yet. Two engines may be given the same uuid on purpose.

        The socket of the second one then has no IDENTITY of its own: a ROUTER is deaf to a connection whose identity
        another one holds, and nothing could be said about the Hub.
        """
        name = self._name(kind)
        is_namesake = any(isinstance(party, Engine) and party.uuid == uuid and party.is_open for party in self._parties)
        party = Engine(self, name, uuid or f"{self.token}-{name}", is_namesake=is_namesake)
        self._parties.append(party)
        return party

    def heart(self, uuid: str | None = None, *, answer: Answer = echo) -> Heart:
        """A heart without an engine: under a uuid that nobody registered, or to listen to pings with `no_answer`."""
        name = self._name("heart")
        party = Heart(self, name, uuid or f"{self.token}-{name}", answer=answer)
        self._parties.append(party)
        return party

    def subscriber(self) -> Notifications:
        """One more subscriber, which hears everything that is published from now on."""
        party = Notifications(self, self._name("subscriber"))
        self._parties.append(party)
        self._prove(party)
        party.begin()
        return party

    def listener(self, engine: Engine) -> Output:
        """A subscriber to the output of engines, which certainly hears what this one publishes from now on."""
        party = Output(self, self._name("listener"))
        self._parties.append(party)
        return party.proved(engine)

    def greeting(self, channel: str, *, end: str, requirement: str | None = None) -> Greeting:
        """What the target's socket for this end of a channel says of itself; nobody there is a violation."""
        try:
            return self.world.greeting(channel, end=end)
        except ProbeError as error:
            found = f"{end}s cannot reach {channel}: {error}"
            raise Violated(Finding(found, ("a ZeroMQ socket",)), requirement) from None

    def _name(self, kind: str) -> str:
        self._counts[kind] = self._counts.get(kind, 0) + 1
        return f"{kind}-{self._counts[kind]}"

    # -- the course of a case ----------------------------------------------------------------------------------------

    def prove_subscription(self) -> None:
        """Register pilots until one is announced to the shared subscriber; see `Notifications`."""
        self._prove(self.notifications)

    def _prove(self, subscriber: Notifications) -> None:
        for _ in range(3):
            pilot = self.engine(kind="pilot")
            pilot.register()
            pilot.start_heart()
            found = subscriber.wait("registration_notification", uuid=pilot.uuid)
            pilot.leave()
            pilot.close()
            if found is not None:
                subscriber.prove()
                return

    def begin_case(self) -> None:
        """Start a case: new names, and nothing heard yet."""
        self._cases += 1
        self._counts.clear()
        self.case_start = len(self.world.observations)
        self.notifications.begin()

    def end_case(self) -> None:
        """Unregister and close what the case left behind, and let its last notifications arrive."""
        engines = [party for party in self._parties if isinstance(party, Engine)]
        if self.is_running:
            for engine in engines:
                engine.leave()
            announced = {seen.message.content["uuid"] for seen in self.notifications.of("registration_notification")
                         if seen.message} & {engine.uuid for engine in engines if engine.id is not None}  # fmt: skip
            self.world.run_until(
                lambda: all(self.notifications.of("unregistration_notification", uuid=uuid) for uuid in announced),
                self.world.now + SECOND,
            )
        for party in self._parties:
            party.close()
        self._parties.clear()

    def judge_new(self) -> list[Violation]:
        """Let the rules look at what was seen since they last looked; the violations found."""
        seen = self.world.observations
        found: list[Violation] = []
        for item in seen[self._judged :]:
            found += self.judge.observe(item)
        self._judged = len(seen)
        return found

    def judge_rest(self) -> list[Violation]:
        """At the very end: the violations of what never happened, too."""
        return self.judge_new() + self.judge.finish(self.world.now)

    def need(self, feature: str) -> None:
        """End the case unless the target declares a feature."""
        if feature not in self.features:
            raise NotApplicable(f"the target does not declare the feature {feature!r}")

    def let_pass(self, nanoseconds: int) -> None:
        """Wait for something that shows in no message, such as the end of a timer of the target."""
        self.world.run_until(lambda: False, self.world.now + nanoseconds)

    # -- accusations ---------------------------------------------------------------------------------------------------

    def expect_steady(self, since: int, limit: int) -> None:
        """End the case undecided if the harness itself stalled for a fifth of a deadline."""
        stall = self.world.longest_stall(since)
        if stall * 5 > limit:
            raise Undecided(
                f"the harness itself stalled for {stall / SECOND:.2f} s of a deadline of {limit / SECOND:.2f} s"
            )

    def silence(
        self, request: Message | None, since: int, allowed: tuple[str, ...], requirement: str | None
    ) -> Violated:
        """The accusation that an answer did not come; raises Undecided if the harness itself was too slow to tell."""
        limit = self.timing.reply_deadline
        self.expect_steady(since, limit)
        what = f"no answer to {request.msg_type} within {limit / SECOND:.1f} s" if request else (
            f"nothing arrived within {limit / SECOND:.1f} s"
        )  # fmt: skip
        if not self.is_running:
            what += "; the target's process has ended"
        return Violated(Finding(what, allowed or ("an answer",)), requirement)

    def expect_end(self, requirement: str | None = None) -> None:
        """The target must end by itself, as after a request to shut down."""
        started = self.world.now
        limit = self.timing.reply_deadline + self.timing.stop_grace
        if not self.world.run_until(lambda: not self.is_running, started + limit):
            self.expect_steady(started, limit)
            raise Violated(Finding(f"it still runs after {limit / SECOND:.1f} s", ("it ends",)), requirement)

    def expect_no_process(self, requirement: str | None = None) -> None:
        """After its first process has ended, no other process of the target may live on."""
        started = self.world.now
        if not self.world.run_until(lambda: not self.instance.processes(), started + self.timing.stop_grace):
            self.expect_steady(started, self.timing.stop_grace)
            found = f"{len(self.instance.processes())} processes of it live on"
            raise Violated(Finding(found, ("none",)), requirement)

    def expect_running(self, requirement: str | None = None) -> None:
        """The target must still be alive and answer a fresh client."""
        self.client().engines()
        if not self.is_running:
            raise Violated(Finding("the target's process has ended", ("it lives on",)), requirement)
