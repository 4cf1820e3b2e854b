"""The controller under test as a case sees it: its clock, its parties, its barriers.

One handle serves all cases that share a controller. `begin_case` and `end_case` keep the cases apart: names, uuids and
sessions are unique per case, and what a case left registered is unregistered.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import Protocol, runtime_checkable

from conformance.files import FileOnDisk
from conformance.harness.actors import Client, Engine
from conformance.harness.hearts import Answer, Heart, echo
from conformance.harness.notifications import Notifications
from conformance.harness.output import Output
from conformance.harness.party import Party
from conformance.harness.pilots import REGISTERED, missing_queues, missing_registration
from conformance.harness.probe import Greeting, ProbeError
from conformance.harness.subject import NONSENSE, HarnessWorld, Instance, Subject
from conformance.harness.verdict import Finding, NotApplicable, OnlyReal, Undecided, Violated
from conformance.targets.tables import Timing
from conformance.targets.vocabulary import AS_IT_IS
from protocol.connection import ClientFile, EngineFile
from protocol.wire import Frame
from protocol.world import SECOND, Socket, World


class Device(Protocol):
    """What runs beside the pump."""

    def stop(self) -> None:
        """End it. May be called twice."""


class ControllerWorld(HarnessWorld, World, Protocol):
    """A world whose parties meet a running controller."""

    def connect(
        self, kind: str, addresses: Sequence[str], *, channel: str, party: str, identity: bytes = b""
    ) -> Socket:
        """A socket of another type than the channel's own, connected to these addresses."""

    def start_device_heart(self, identity: bytes) -> Device:
        """A heart of this identity that beats by itself, whether the world is pumped or not."""

    def greeting(self, channel: str, *, end: str) -> Greeting:
        """What the socket to which this end of a channel connects says of itself. Raises ProbeError."""

    def send_half(self, channel: str, frames: Sequence[Frame]) -> None:
        """Connect as a client does, send the first half of a message's bytes, and hang up. Raises ProbeError."""


class ControllerInstance(Instance, Protocol):
    """A controller that runs, with its connection files."""

    @property
    def client(self) -> ClientFile:
        """What its connection file for clients says."""

    @property
    def engine(self) -> EngineFile:
        """What its connection file for engines says."""

    def on_disk(self) -> Mapping[str, FileOnDisk]:
        """Its connection files ("client", "engine") as they now are on the disk; missing ones are left out."""


@runtime_checkable
class ControllerProcess(ControllerInstance, Protocol):
    """A controller that consists of processes, with which one can do what a system can do."""

    def restart(self, settings: Mapping[str, object], engine_file: Mapping[str, object]) -> None:
        """Kill it, and start it again in the same directory, with these settings and changes to its engine file."""

    def terminate(self) -> None:
        """Tell it to end, as the system does."""

    def hub(self) -> int | None:
        """What stands for the Hub alone, and none of the queues; None if there is nothing of that kind."""

    def robbed(self) -> str:
        """In words, what shows that somebody else was quicker to take one of its ports; empty if nothing does."""

    def pause(self, pid: int) -> None:
        """Tell a process to stand still; it takes a moment until it does."""

    def is_paused(self, pid: int) -> bool:
        """Whether a process stands still."""

    def resume(self, pid: int) -> None:
        """Let it go on."""


class Controller(Subject):
    """A running controller and the kit's side of the conversation with it."""

    world: ControllerWorld
    instance: ControllerInstance

    def __init__(
        self,
        world: ControllerWorld,
        timing: Timing,
        *,
        dialect: str,
        token: str,
        date: Callable[[], str],
        instance: ControllerInstance,
        name: str = "target",
        features: frozenset[str] = frozenset(),
        settings: Mapping[str, object] = AS_IT_IS,
        is_pure: bool = False,
    ) -> None:
        super().__init__(
            world, timing, role="controller", dialect=dialect, token=token, date=date, instance=instance, name=name,
            features=features, is_pure=is_pure,
        )  # fmt: skip
        self._settings = settings
        self._parties: list[Party] = []
        #: Where the hearts of this case beat: `in C`, or `in the kit`, where they stand still with it.
        self.hearts: set[str] = set()
        self.notifications = Notifications(self)
        #: How many engines belong to somebody else, and whether one of the kit's may stand beside them.
        self._strangers, self._may_register = 0, True
        #: Whether somebody was seen to have taken one of its ports, and whether that may have been an accident at all.
        self.is_robbed, self.may_be_robbed = False, True

    @property
    def engine_file(self) -> EngineFile:
        """What the target's connection file for engines says."""
        return self.instance.engine

    @property
    def client_file(self) -> ClientFile:
        """What the target's connection file for clients says."""
        return self.instance.client

    # -- the parties -----------------------------------------------------------------------------------------------

    def client(self, *, identity: bytes = b"") -> Client:
        """A new client with a query socket of its own."""
        party = Client(self, self._name("client"), identity=identity)
        self._parties.append(party)
        return party

    def engine(self, uuid: str | None = None, *, kind: str = "engine", is_namesake: bool = False) -> Engine:
        """A new engine, not registered yet. Two engines may be given the same uuid on purpose.

        The socket of the second one then has no IDENTITY of its own: a ROUTER is deaf to a connection whose identity
        another one holds, and nothing could be said about the Hub. `is_namesake`: the first one was closed, and the
        target need not have noticed that yet.
        """
        if not self._may_register:
            raise NotApplicable(
                f"the cluster has engines of its own ({self._strangers}), and one of the kit's could be given their "
                "work; --destructive allows it"
            )
        name = self._name(kind)
        namesakes = [party for party in self._parties if isinstance(party, Engine) and party.uuid == uuid]
        is_namesake = is_namesake or any(party.is_open for party in namesakes)
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

    def send_half(self, channel: str, frames: Sequence[Frame]) -> None:
        """Connect as a client does, send the first half of a message's bytes, and hang up."""
        try:
            self.world.send_half(channel, frames)
        except ProbeError as error:
            raise self.stopped("connection.addresses-from-file", str(error)) from None

    def avoid_strangers(self, count: int, *, may_register: bool) -> None:
        """Take note that so many engines belong to somebody else; unless it may be, no engine of the kit registers."""
        self._strangers, self._may_register = count, may_register

    def need(self, feature: str) -> None:
        """End the case unless the target declares a feature; nor may tasks of the kit reach engines that are not."""
        super().need(feature)
        if feature == "tasks" and self._strangers:
            raise NotApplicable(
                f"the cluster has engines of its own ({self._strangers}), which would be given the tasks"
            )

    # -- the course of a case ----------------------------------------------------------------------------------------

    @property
    def doze(self) -> int:
        """Until the hearts of the kit's engines are given up; those that beat in C do not wait for the kit."""
        return self.timing.reply_deadline if self.hearts == {"in C"} else self.timing.heart_failure[0]

    def robbed(self) -> str:
        """In words, what shows that somebody else was quicker to take one of its addresses; empty if nothing does."""
        why = self.instance.robbed() if self.may_be_robbed and isinstance(self.instance, ControllerProcess) else ""
        self.is_robbed = self.is_robbed or bool(why)
        return why

    def smoke(self) -> bool:
        """The Hub answers a client, and not with ok to what does not exist. Raises TargetUnusable.

        False: it answers no more after that.
        """
        client = self.client()
        if not self._answers(client):
            patience = self.timing.reply_deadline_s
            raise self.instance.unusable(f"nothing answers a connection_request within {patience:g} s")
        client.send_unchecked("a request that does not exist", NONSENSE, {})
        is_fit = self._answers(client)
        client.close()
        self._parties.remove(client)
        return is_fit

    def _answers(self, client: Client) -> bool:
        """Whether the Hub answers one more request of a client. Raises TargetUnusable if it grants nonsense."""
        client.send("connection_request", {})
        deadline = self.world.now + self.timing.reply_deadline
        while (seen := client.query.recv(deadline)) is not None:
            if seen.message is None or seen.message.parent_header.get("msg_type") != NONSENSE:
                return True
            if seen.message.content.get("status") == "ok":
                raise self.instance.unusable(f"it answers a {NONSENSE} with ok: then no other ok means anything")
        return False

    def prove_subscription(self) -> dict[str, str]:
        """Register pilots until one is announced to the shared subscriber; see `Notifications`.

        What keeps them all from being announced keeps most cases from being judged: given is what is missing that was
        not known to be, and what was seen instead.
        """
        started = self.world.now
        if self.missing.keys() & set(REGISTERED) or self._prove(self.notifications):
            return {}
        with suppress(Undecided):
            self.expect_waited(started, self.timing.announcement)
            return missing_registration(self)
        return {}

    def explore(self) -> None:
        """See what becomes of output, and of one request on each queue; not if engines of somebody else are there."""
        if not self._strangers and not self.missing:
            self.missing |= missing_queues(self)

    def _prove(self, subscriber: Notifications) -> bool:
        """Whether one of a few pilots is announced to a subscriber."""
        for _ in range(3):
            pilot = self.engine(kind="pilot")
            try:
                pilot.register()
                pilot.start_heart()
                found = subscriber.wait("registration_notification", uuid=pilot.uuid)
                pilot.leave()
            except Violated:
                found = None
            pilot.close()
            if found is not None:
                subscriber.prove()
                return True
        return False

    def begin_case(self) -> None:
        """Start a case: new names, and nothing heard yet."""
        super().begin_case()
        self.hearts.clear()
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

    def restart(self, engine_file: Mapping[str, object] = AS_IT_IS) -> None:
        """Kill the target and start it again with the option `restore`; the sockets of all parties stay as they are.

        `engine_file` has keys of the connection file for engines that are changed in between.

        The rules know one life of a controller only: they judge what happened before, and nothing after.
        """
        process = self._process
        self.stop_watching()
        process.restart(self._settings, engine_file)
        # Nobody could hear the kit meanwhile.
        self.awake_since = self.world.now

    @property
    def _process(self) -> ControllerProcess:
        if not isinstance(self.instance, ControllerProcess):
            raise OnlyReal("processes that can be stopped and killed")
        return self.instance

    def terminate(self) -> None:
        """Tell the target to end, as the system does."""
        self._process.terminate()

    def hub_process(self) -> int:
        """The process that is the Hub alone, for `hub_stopped`; not applicable where that would be queues, too.

        Finding it takes a while in which no heart beats: ask before engines are there.
        """
        hub = self._process.hub()
        if hub is None:
            raise NotApplicable("no process was found that is the Hub and nothing else")
        return hub

    @contextmanager
    def hub_stopped(self, hub: int) -> Iterator[None]:
        """The Hub stands still meanwhile, and goes on in any case."""
        process = self._process
        try:
            process.pause(hub)
            if not self.world.run_until(lambda: process.is_paused(hub), self.world.now + self.timing.reply_deadline):
                raise Undecided("the system did not stop the Hub")
            yield
        finally:
            process.resume(hub)

    def expect_running(self, requirement: str | None = None) -> None:
        """The target must still be alive and answer a fresh client."""
        self.client().engines()
        if not self.is_running:
            raise Violated(Finding("the target's process has ended", ("it lives on",)), requirement)
