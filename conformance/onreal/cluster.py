"""A cluster of real processes: the `protocol.world.Cluster` that scenarios are written against.

    with RealCluster(controller, engine, pace=2.0, engines=3) as cluster:
        task = cluster.client().submit(Work(takes=SECOND))
        cluster.run_until(lambda: task.is_done, cluster.now + 5 * SECOND)

The controller and each engine are processes of a target; clients are the kit's own, or processes of a target, too.
Everybody has a way of its own through one relay, so that each can be cut off from the controller by itself, and every
message can be touched.

Times are those of a scenario: `pace` times as long by a clock on the wall, where hearts beat as much slower. Whatever
the Hub names is asked of it by an observer, which no fault meets.
"""

import random
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from functools import partial
from types import TracebackType
from typing import BinaryIO, ClassVar, Final, NamedTuple, Self

from conformance.harness.verdict import Undecided
from conformance.onreal.clients import RealClient
from conformance.onreal.driven import DrivenClient
from conformance.onreal.driven import Ways as ClientWays
from conformance.onreal.engines import RealEngine, Ways
from conformance.onreal.faults import RealTrouble
from conformance.onreal.parts import Parts
from conformance.onreal.strangers import RealGround
from conformance.onreal.watching import COMES, Watcher
from conformance.relay.capture import Capture
from conformance.relay.hops import Link
from conformance.relay.relay import Relay
from conformance.targets.descriptor import Target
from conformance.targets.process import start
from protocol.connection import ClientFile, EngineFile
from protocol.roles.client import ClientConfig
from protocol.rules.setting import Setting
from protocol.wire import Codec
from protocol.world import MILLISECOND, SECOND, HeartKind, Part, Place
from simulator.asking import Asked
from simulator.cluster import CONFIG, REFRESH
from simulator.faults import Cut, Fault
from simulator.lacking import Lacking
from simulator.scenarios.scenario import SOON
from simulator.settling import Matter

#: Milliseconds that one look at all sockets may wait.
SLICE: Final = 4
#: Nanoseconds that what the Hub named stays good, and how long its answer is waited for.
FRESH: Final = 30 * MILLISECOND
PROMPT: Final = 300 * MILLISECOND
#: Gaps between two looks at the sockets that mean that the machine held us up, in nanoseconds.
STALL: Final = 200 * MILLISECOND
#: Deadlines up to this, in a scenario's time, are about what is quicker than a heart that is given up.
LONG: Final = 2 * SECOND
_BEATS: Final = ("heartbeat-ping", "heartbeat-pong")


class Stall(NamedTuple):
    """We did not look at our sockets for so long, until then; nanoseconds of the monotonic clock."""

    until: int
    lasted: int


class RealCluster:
    """See the module; what is not said here stands in `protocol.world.Cluster`.

    `settings` are options of the controller, as its descriptor has them. What crosses the relay is written to `stream`.
    Raises TargetUnusable if something cannot be started. `close` ends every process.
    """

    OBSERVER: ClassVar[str] = "observer"

    def __init__(
        self,
        controller: Target,
        engine: Target,
        stream: BinaryIO,
        *,
        pace: float,
        seed: int = 0,
        engines: int = 0,
        settings: Mapping[str, object],
        client: Target | None = None,
    ) -> None:
        self.pace = pace
        self._engine_target = engine
        self._client_target = client
        self._settings = dict(settings)
        self._random = f"{seed}"
        self._begun: dict[str, int] = {}
        self._posted: deque[Callable[[], object]] = deque()
        self._partitions: list[tuple[str, Callable[[], None]]] = []
        #: Clients that stand still: nothing reaches their sockets, either.
        self._still: dict[str, Callable[[], None]] = {}
        self._grounds: list[RealGround] = []
        self._is_down = False
        self.engines: list[RealEngine] = []
        self.clients: list[RealClient | DrivenClient] = []
        self.troubles: list[RealTrouble] = []
        self.stalls: list[Stall] = []
        #: When the controller was killed, by the monotonic clock, with what it had in memory.
        self.deaths: list[int] = []
        #: Engines that never asked to be registered again, and were started again for it.
        self.started_again: list[str] = []
        self.last_registered: Mapping[int, str] = {}
        #: All that were ever registered.
        self._ever: dict[int, str] = {}
        self._answered = 0
        self._question: Asked | None = None
        self._stack = ExitStack()
        try:
            self.running = start(controller, self._settings)
            self._stack.callback(self.running.stop)
            self.parts = Parts(self.running)
            self._epoch = self._looked = time.monotonic_ns()
            self.capture = Capture(
                stream, _Codecs(self.running.client.codec()), setting=Setting(dialect=controller.dialect),
                about=f"a scenario on {controller.name}", keeps_names=True,
            )  # fmt: skip
            self._stack.callback(self.capture.close)
            codec = self.running.client.codec()
            self.watcher = Watcher(codec, self.capture, hears_clients=client is not None)
            self.relay = Relay([], sink=self.watcher)
            self._stack.callback(self.relay.close)
            self._stack.callback(self._end_parties)
            self._observer = self._make_client(self.OBSERVER)
            self._stack.callback(self._observer.leave)
            self._wait(lambda: self._observer.is_connected, "the controller told nobody which engines there are")
            for _ in range(engines):
                self._start_engine("", heart="device", has_warden=False)
            self._wait(self._are_registered, f"{engines} engines were never registered")
        except BaseException:
            self.close()
            raise

    def _are_registered(self) -> bool:
        for engine in self.engines:
            engine.uuid = engine.uuid or self.watcher.uuid(engine.name)
        return {engine.uuid for engine in self.engines} <= set(self.registered.values())

    # -- time --------------------------------------------------------------------------------------------------------

    @property
    def now(self) -> int:
        """Nanoseconds of a scenario's time since the controller was there."""
        return round((time.monotonic_ns() - self._epoch) / self.pace)

    def lasting(self, nanoseconds: int) -> int:
        """How long something takes here of which a scenario says that it takes so long."""
        return round(nanoseconds * self.pace)

    def run_for(self, nanoseconds: int) -> None:
        """Let time pass."""
        self._run(lambda: False, self.now + nanoseconds)

    def run_until(self, predicate: Callable[[], bool], deadline: int) -> bool:
        """Let time pass until the predicate holds (True) or the deadline has passed (its last value).

        On a machine that has other things to do, everything may take a little longer. Where half of a long time has
        passed in vain, engines are started again that the Hub has given up, and that do not ask to be taken up again.
        """
        within, last = deadline - self.now, deadline + self._more(deadline - self.now)
        if within > LONG and not self._run(predicate, deadline - within // 2):
            self._start_the_forgotten()
        return self._run(predicate, last)

    def _start_the_forgotten(self) -> None:
        """Do what whoever runs an engine would: nobody demands that it notices by itself that it was given up."""
        # What was cut is whole again by then.
        lasting = [trouble for trouble in self.troubles if not (trouble.is_over or isinstance(trouble.fault, Cut))]
        is_broken = self._partitions or self._is_down or lasting
        for engine in () if is_broken else self.engines:
            if engine.is_able and self.is_forgotten(engine) and self.watcher.asked(engine.name, COMES) == 1:
                self.started_again.append(engine.name)
                engine.end()
                # The heart of the old one must be missed, or the new one is given up for it.
                timing = self.running.target.timing
                self._run(lambda: False, self.now + round((timing.heart_failure[1] + timing.margin) / self.pace))
                engine.start()
                # Clients hear of it a moment after the Hub has it, and what they ask before that is for the old one.
                self._run(partial(self._is_known, engine), self.now + SOON // 4)

    def _is_known(self, engine: RealEngine) -> bool:
        """Whether the Hub names an engine, and all clients do."""
        alive = [client for client in self.clients if client.is_alive]
        return all(engine.uuid in names.values() for names in (self.registered, *(one.engines for one in alive)))

    def is_forgotten(self, engine: RealEngine) -> bool:
        """Whether the Hub once named an engine that lives, and does so no more."""
        is_gone = engine.uuid in self.ever_registered and engine.uuid not in self.registered.values()
        return is_gone and engine.is_alive and engine.has_heart

    def _more(self, within: int) -> int:
        """By how much a deadline is extended: what has to come before a heart is given up still has to."""
        timing = self.running.target.timing
        margin = round(timing.margin / self.pace)
        if within <= LONG:
            given_up = round(timing.heart_failure[0] / self.pace)
            return max(0, min(margin, given_up * 4 // 5 - within))
        # The scenarios know the grace of the simulator's scheduler.
        slower = max(0, timing.scheduler_grace - self.lasting(round(CONFIG.scheduler_grace_s * SECOND)))
        return margin + round(slower / self.pace)

    def _run(self, predicate: Callable[[], bool], deadline: int) -> bool:
        while not predicate():
            if self.now >= deadline:
                return predicate()
            self._turn()
        return True

    def _turn(self) -> None:
        """One look at everything."""
        now = time.monotonic_ns()
        if now - self._looked > STALL:
            self.stalls.append(Stall(now, now - self._looked))
        while self._posted:
            self._posted.popleft()()
        for client in self.clients:
            client.turn(0)
        for ground in self._grounds:
            if ground.is_alive:
                ground.turn()
        self._observer.turn(SLICE)
        self._looked = time.monotonic_ns()

    def post(self, task: Callable[[], object]) -> None:
        """Have something done where the sockets are used; may be called in any thread."""
        self._posted.append(task)

    def _wait(self, predicate: Callable[[], bool], otherwise: str) -> None:
        """Wait for what must come if nothing is wrong. Raises TargetUnusable, and Undecided if it was robbed."""
        deadline = time.monotonic_ns() + self.running.target.timing.start_deadline
        while not predicate():
            if time.monotonic_ns() > deadline:
                if robbed := self.running.robbed():
                    raise Undecided(f"{otherwise}, as {robbed}")
                printed = "".join(text for engine in self.engines for text in engine.output())
                raise self.running.unusable(f"{otherwise}; its engines printed: {printed[-800:] or 'nothing'}")
            self._turn()

    # -- who takes part ----------------------------------------------------------------------------------------------

    def copies(self, party: str) -> tuple[ClientFile, EngineFile]:
        """Copies of the connection files for one party, with the relay's addresses."""
        return self.relay.copy(party, self.running.client), self.relay.copy(party, self.running.engine)

    def ground(self) -> RealGround:
        """A place for a stranger."""
        ground = RealGround(self, f"stranger-{len(self._grounds) + 1}")
        self._grounds.append(ground)
        return ground

    def engine(
        self, *, uuid: str = "", heart: HeartKind = "device", has_warden: bool = False, is_awaited: bool = True
    ) -> RealEngine:
        """Start an engine; it has asked to be registered when this returns. Raises Lacking for what it cannot be."""
        engine = self._start_engine(uuid, heart=heart, has_warden=has_warden)
        self._wait(lambda: self.watcher.asked(engine.name, COMES) > 0, f"{engine.name} did not ask to be registered")
        engine.uuid = self.watcher.uuid(engine.name)
        if is_awaited:
            self._wait(lambda: engine.uuid in self.registered.values(), f"{engine.name} was never registered")
        return engine

    def _start_engine(self, uuid: str, *, heart: HeartKind, has_warden: bool) -> RealEngine:
        name = f"engine-{len(self.engines) + 1}"
        assert self._engine_target.engine is not None
        is_free = "uuid" in self._engine_target.engine.options
        ways = Ways(
            silence=self._silence,
            number=lambda uuid: next((number for number, one in self.registered.items() if one == uuid), None),
            wait=lambda predicate: self._run(predicate, self.now + round(SECOND * 10 / self.pace)),
        )
        engine = RealEngine(
            self._engine_target, self.relay.copy(name, self.running.engine), ways, name=name,
            uuid=uuid or (name if is_free else ""), heart=heart, has_warden=has_warden,
        )  # fmt: skip
        self.engines.append(engine)
        return engine

    def client(self, *, is_awaited: bool = True) -> RealClient | DrivenClient:
        """A client that is connected and knows the engines, unless `is_awaited` is false: then it will be soon."""
        name, target = f"client-{len(self.clients) + 1}", self._client_target
        client = self._make_client(name) if target is None else self._drive(target, name)
        self.clients.append(client)
        if is_awaited:
            self._wait(lambda: client.is_connected, f"{client.name} was never told the engines")
        return client

    def _make_client(self, name: str) -> RealClient:
        usual = ClientConfig()
        config = ClientConfig(
            session=name, grace=self.lasting(usual.grace), settle=self.lasting(usual.settle),
            refresh=self.lasting(REFRESH),
        )  # fmt: skip
        file = self.relay.copy(name, self.running.client)
        target = self._engine_target
        samples = None if "apply" in target.features else target.samples
        return RealClient(file, name=name, config=config, pace=self.pace, homes=self._home, samples=samples)

    def _drive(self, target: Target, name: str) -> DrivenClient:
        ways = ClientWays(
            wait=lambda predicate, end: self._run(predicate, round((end - self._epoch) / self.pace)),
            home=self._home, uuids=lambda: self._ever, answered=self.watcher.answered, written=self.watcher.written,
        )  # fmt: skip
        return DrivenClient(target, self.relay.copy(name, self.running.client), ways, name=name, pace=self.pace)

    def sent(self, msg_id: str) -> int:
        """When a request was made, by the monotonic clock; 0 for one that nobody here made."""
        return next((client.sent[msg_id] for client in self.clients if msg_id in client.sent), 0)

    def _home(self, uuid: str) -> str:
        return next((engine.home for engine in self.engines if engine.uuid == uuid), uuid)

    @property
    def registered(self) -> Mapping[int, str]:
        """The engines that the Hub names: id -> uuid. It is asked, unless it has just answered or does not answer."""
        if time.monotonic_ns() - self._answered > FRESH:
            is_new = self._question is None
            if self._question is None:
                self._question = self._observer.query("connection_request")
            deadline = time.monotonic_ns() + (PROMPT if is_new else 0)
            while not self._question.is_done and time.monotonic_ns() < deadline:
                self._turn()
            self._take_answer()
        return self.last_registered

    @property
    def ever_registered(self) -> frozenset[str]:
        """The uuids of all engines that the Hub has ever named."""
        return frozenset(self._ever.values())

    def _take_answer(self) -> None:
        question = self._question
        if question is not None and question.is_done:
            self._question, self._answered = None, time.monotonic_ns()
            engines = question.content.get("engines")
            if isinstance(engines, dict):
                self.last_registered = {int(number): str(uuid) for number, uuid in engines.items()}
                self._ever.update(self.last_registered)
            self._observer.role.forget(question.msg_id)
            self._observer.tasks.clear()

    # -- what can happen ---------------------------------------------------------------------------------------------

    def kill(self, part: Part) -> None:
        """End the controller at once, once what it has recorded is on its disk. Raises Lacking for a part of it."""
        if part == "controller":
            self._run(lambda: False, self.now + round(self.running.target.timing.durable / self.pace))
        self.parts.kill(part)
        self._is_down = True
        self.deaths.append(time.monotonic_ns())
        self._run(lambda: not self.running.processes(), self.now + round(10 * SECOND / self.pace))

    def restart(self, part: Part, *, keeps_disk: bool = True) -> None:
        """Start it again at its old addresses. Raises Lacking for a part of it, or if it cannot do that."""
        options = self.running.target.controller.options if self.running.target.controller else {}
        if part != "controller":
            raise Lacking("parts of the controller that can be started again by themselves")
        if "restore" not in options:
            raise Lacking("a controller that can be started again at its old addresses")
        self.deaths.append(time.monotonic_ns())
        self.running.restart(self._settings | ({"restore": True} if keeps_disk else {}))
        self._is_down = False

    def pause(self, who: Part | RealEngine | RealClient | DrivenClient) -> None:
        """Let somebody stand still until `resume`."""
        if isinstance(who, RealClient):
            who.is_paused = True
            self._still[who.name] = self.relay.part(_of_party(who.name))
        elif isinstance(who, RealEngine | DrivenClient):
            who.pause()
        else:
            self.parts.pause(who)
            self._run(lambda: self.parts.are_paused, self.now + SECOND)

    def resume(self, who: Part | RealEngine | RealClient | DrivenClient) -> None:
        """Let it go on."""
        if isinstance(who, RealClient):
            who.is_paused = False
            self._still.pop(who.name, _nothing)()
        elif isinstance(who, RealEngine | DrivenClient):
            who.resume()
        else:
            self.parts.resume(who)

    def stall(self, part: Part, nanoseconds: int) -> None:
        """Cannot be done. Raises Lacking."""
        raise Lacking(f"an interpreter of the {part} that can be held up from outside for {nanoseconds / SECOND:g} s")

    def partition(self, these: Iterable[Place], those: Iterable[Place] | None = None, *, one_way: bool = False) -> None:
        """Let nothing pass between these and those (everybody else, if not given); `one_way`: from these to those."""
        others = None if those is None else list(map(_name, those))
        self._partitions += self.cut_off(list(map(_name, these)), others, one_way=one_way)

    def cut_off(
        self, these: Sequence[str], those: Sequence[str] | None, *, one_way: bool
    ) -> list[tuple[str, Callable[[], None]]]:
        """The same with names, the controller's parts among them; what heals it, party by party."""
        left, right = (_places(each) for each in (these, those or ()))
        if those is None:
            everybody = ["controller", *(one.name for one in self.engines), *(one.name for one in self.clients)]
            right = [name for name in everybody if name not in left]
        heals: list[tuple[str, Callable[[], None]]] = []
        for near, far, is_up in ((left, right, True), (right, left, False)):
            if "controller" in far:
                for name in near:
                    heal = self.relay.part(_of_party(name), up=is_up or not one_way, down=not is_up or not one_way)
                    heals.append((name, heal))
        return heals

    def heal(self, these: Iterable[Place] = (), those: Iterable[Place] = ()) -> None:
        """End every partition, or what parts these from those."""
        names = set(map(_name, (*these, *those)))
        for name, heal in list(self._partitions):
            if not names or name in names:
                self._partitions.remove((name, heal))
                heal()

    def _silence(self, party: str) -> None:
        """Let nothing pass any more that a heart sends or hears."""
        self.relay.part(lambda link: link.party == party and link.channel in _BEATS)

    def begin(self, fault: Fault) -> RealTrouble:
        """Let a fault begin. Raises Lacking for one that cannot happen here."""
        text = repr(fault)
        count = self._begun[text] = self._begun.get(text, 0) + 1
        trouble = RealTrouble(self, fault, random.Random(f"{self._random}/{text}/{count}"))  # noqa: S311 - no secret
        self.troubles.append(trouble)
        trouble.begin()
        return trouble

    # -- the healed phase --------------------------------------------------------------------------------------------

    def mend(self) -> None:
        """End what is wrong: faults, partitions, pauses; a controller that is down starts again."""
        for trouble in self.troubles:
            trouble.end()
        self.relay.rules = ()
        self.heal()
        self.parts.resume_all()
        for engine in self.engines:
            engine.resume()
        for client in self.clients:
            self.resume(client)
        if self._is_down:
            self.restart("controller")

    def open_matters(self) -> Iterator[Matter]:
        """What has not come to rest, and on whom it waits."""
        registered = set(self.registered.values())
        expected = {engine.uuid for engine in self.engines if engine.is_alive and engine.has_heart}
        for uuid in sorted(expected - registered):
            yield Matter("hub", f"{uuid} lives and is not registered", "hub")
        for uuid in sorted(registered - expected):
            yield Matter("hub", f"{uuid} is registered and dead", "hearts")
        for client in self.clients:
            if client.is_alive:
                seen = set(client.engines.values())
                for uuid in sorted(seen ^ registered):
                    what = "not known" if uuid in registered else "known and gone"
                    yield Matter(client.name, f"{uuid} is {what}", "hub")
                for msg_id, request in client.open.items():
                    yield Matter(client.name, f"{request.msg_type} {msg_id} is open", client.silent(msg_id), msg_id)

    # -- the end -----------------------------------------------------------------------------------------------------

    def close(self) -> None:
        """End every process and close every socket, whatever fails meanwhile. May be called twice."""
        self._stack.close()

    def _end_parties(self) -> None:
        with ExitStack() as stack:
            for end in (*(one.end for one in self.engines), *(one.leave for one in self.clients)):
                stack.callback(end)
            for ground in self._grounds:
                stack.callback(ground.end)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()


class _Codecs(dict[str, Codec]):
    """One codec for every party: they all have the same key."""

    def __init__(self, codec: Codec) -> None:
        super().__init__({"": codec})

    def __missing__(self, party: str) -> Codec:
        return self[""]


def _name(place: Place) -> str:
    return place if isinstance(place, str) else place.name


def _nothing() -> None:
    """Nobody stands still."""


def _places(names: Iterable[str]) -> list[str]:
    """Names without those of parts, which are all in one place."""
    parties = ("engine-", "client-")
    return list(dict.fromkeys(name if name.startswith(parties) else "controller" for name in names))


def _of_party(name: str) -> Callable[[Link], bool]:
    return lambda link: link.party == name


__all__ = ["RealCluster", "Stall"]
