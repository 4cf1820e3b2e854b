"""A cluster in virtual time: the `protocol.world.Cluster` that scenarios are written against.

    cluster = VirtualCluster(seed=17, engines=4)
    task = cluster.client().submit(Work(takes=SECOND))
    cluster.run_until(lambda: task.is_done, cluster.now + 5 * SECOND)

The controller has a host, each engine and each client one of its own, so that everything can be cut off from everything
else. Its processes have no supervisor here: each can be killed and started again by itself.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Final

from protocol.roles.assembly import ControllerConfig
from protocol.roles.client import ClientConfig
from protocol.roles.engine import EngineConfig
from protocol.rules import Setting
from protocol.world import MILLISECOND, SECOND, HeartKind, Part, Place
from simulator.clients import VirtualClient
from simulator.controller import VirtualController
from simulator.engines import USUAL, VirtualEngine
from simulator.faults import Fault, PartKilled
from simulator.hosts import Process
from simulator.lacking import Lacking
from simulator.recorder import Recorder
from simulator.settling import Matter, is_at_rest, open_matters
from simulator.shell import VirtualShell
from simulator.stage import Stage, Trouble
from simulator.standing import EVERYTHING, OUTSIDE, Controller, Maker
from simulator.wardens import VirtualWarden
from simulator.world import SCHEME, World

#: Nanoseconds between two looks whether all has come to rest.
STEP: Final = 50 * MILLISECOND
#: Nanoseconds in which whoever joins must have joined, if nothing is wrong.
PATIENCE: Final = 60 * SECOND
#: Nanoseconds after which a client asks again which engines there are: a notification may have been lost.
REFRESH: Final = 5 * SECOND
#: Checks after which an engine asks to be registered again: it may have been given up without a sign.
CHECKS: Final = 8
CONTROLLER_HOST: Final = "controller"
#: Nanoseconds that what was said before a run was healed may be under way.
REST: Final = SECOND
#: Nanoseconds by which messages between hosts may be late.
JITTER: Final = 50_000

#: A controller with the heartbeat of a test: a second of virtual time decides about life and death.
CONFIG: Final = ControllerConfig(
    interface=f"tcp://{CONTROLLER_HOST}",
    period_ms=100,
    misses=8,
    registration_timeout_s=3.0,
    scheduler_grace_s=1.0,
    notes=True,
)


def setting_of(config: ControllerConfig) -> Setting:
    """What the rules must know of a controller to judge times."""
    return Setting(
        period_ns=config.period_ms * MILLISECOND,
        allowed_misses=config.misses,
        registration_timeout_ns=round(config.registration_timeout_s * SECOND),
        rest_ns=REST,
        margin_ns=config.period_ms * MILLISECOND,
    )


class VirtualCluster:
    """One controller with its engines and clients; see `protocol.world.Cluster` for what is not said here.

    `engines` are started, and awaited. With `is_encoded` every message travels as bytes; a run must be the same.
    With `is_judged` all rules watch the run (see `simulator.judge`), and `keeps_items` lets them show what led to what.
    `has_disk` says that the Hub keeps its records on a disk, `jitter` how late messages between hosts may be, and
    `on_shell` is given the shell of each role of the controller before its first event, `on_engine` those of engines
    with their hearts and wardens. With `has_rarities` what is right is sometimes done in a less usual way
    (`simulator.rarity`). `kinds` are types of sockets that are unlike the usual ones, by role and name; `scheme` is how
    messages are signed, and `schedule` orders what is due at about the same time (`simulator.schedules`).

    `maker` makes a controller that is not the kit's own; what cannot be done to it raises Lacking.
    """

    def __init__(
        self,
        seed: int = 0,
        *,
        engines: int = 0,
        config: ControllerConfig = CONFIG,
        is_encoded: bool = False,
        has_trace: bool = False,
        is_judged: bool = False,
        keeps_items: bool = False,
        has_disk: bool = True,
        has_rarities: bool = False,
        jitter: int = JITTER,
        on_shell: Callable[[VirtualShell], object] | None = None,
        on_engine: Callable[[VirtualShell], object] | None = None,
        kinds: Mapping[tuple[str, str], str] = USUAL,
        scheme: str = SCHEME,
        schedule: str = "",
        maker: Maker | None = None,
    ) -> None:
        self.config = config
        self.world = World(
            seed, is_encoded=is_encoded, has_trace=has_trace, has_rarities=has_rarities, scheme=scheme,
            schedule=schedule,
        )  # fmt: skip
        if is_judged:
            self.world.recorder = Recorder(
                self.world.kernel, self.world.codec(), setting_of(config), keeps_items=keeps_items,
                vantages=EVERYTHING if maker is None else OUTSIDE,
            )  # fmt: skip
        self.controller: Controller = (
            VirtualController(
                self.world, config, host=CONTROLLER_HOST, is_supervised=False, has_disk=has_disk, on_shell=on_shell,
                kinds=kinds,
            )
            if maker is None
            else maker(self.world, config, has_disk=has_disk)
        )  # fmt: skip
        self._on_engine = on_engine
        self._kinds = kinds
        self.stage = Stage(self)
        self._jitter = jitter
        self.engines: list[VirtualEngine] = []
        self.clients: list[VirtualClient] = []
        self.controller.start()
        self._expect(lambda: self.controller.has_begun, "the controller never began")
        for _ in range(engines):
            self.engine(is_awaited=False)
        if engines:
            self._expect(lambda: self.controller.has_engines(engines), "the engines were never registered")

    @property
    def now(self) -> int:
        """Nanoseconds since the beginning."""
        return self.world.kernel.now

    @property
    def registered(self) -> Mapping[int, str]:
        """The engines that the Hub names: id -> uuid."""
        return self.controller.registered()

    # -- who takes part ----------------------------------------------------------------------------------------------

    def engine(
        self, *, uuid: str = "", heart: HeartKind = "device", has_warden: bool = False, is_awaited: bool = True
    ) -> VirtualEngine:
        """Start an engine, and wait until it is registered and its heart was heard, unless `is_awaited` is false."""
        name = f"engine-{len(self.engines) + 1}"
        config = EngineConfig(
            uuid=uuid or name,
            period=self.config.period_ms * MILLISECOND,
            refresh=CHECKS,
            notes=self.config.notes,
        )
        _, file = self.controller.files()
        engine = VirtualEngine(
            self.world, file, config, name=name, host=name, heart=heart, on_shell=self._on_engine, kinds=self._kinds
        )
        self._join(name)
        if has_warden:
            VirtualWarden(self.world, file, engine)
        self.engines.append(engine)
        engine.start()
        if is_awaited:
            self._expect(lambda: engine.uuid in self.registered.values(), f"{name} was never registered")
        return engine

    def client(self, *, config: ClientConfig | None = None, is_awaited: bool = True) -> VirtualClient:
        """A client that is connected and knows the engines, unless `is_awaited` is false: then it will be soon."""
        name = f"client-{len(self.clients) + 1}"
        config = config or ClientConfig(session=name, refresh=REFRESH, notes=self.config.notes)
        self._join(name)
        client = VirtualClient(self.world, self.controller.files()[0], name=name, host=name, config=config)
        self.clients.append(client)
        if is_awaited:
            self._expect(lambda: client.is_connected, f"{name} was never told the engines")
        return client

    def _join(self, host: str) -> None:
        self.world.network.join(CONTROLLER_HOST, host, jitter=self._jitter)

    # -- time --------------------------------------------------------------------------------------------------------

    def run_for(self, nanoseconds: int) -> None:
        """Let time pass."""
        self.world.run_for(nanoseconds)

    def run_until(self, predicate: Callable[[], bool], deadline: int) -> bool:
        """Let time pass until the predicate holds (True) or the deadline has passed (its last value)."""
        return self.world.kernel.run_until(predicate, deadline)

    def _expect(self, predicate: Callable[[], bool], otherwise: str) -> None:
        if not self.run_until(predicate, self.now + PATIENCE):
            raise AssertionError(otherwise)

    # -- what can happen ---------------------------------------------------------------------------------------------

    def kill(self, part: Part) -> None:
        """End a part of the controller at once. Raises Lacking if it could not be started again."""
        self._demand(PartKilled(part=part))
        for process in self._processes(part):
            process.crash()

    def restart(self, part: Part, *, keeps_disk: bool = True) -> None:
        """Start a part again at its old addresses; without its disk it remembers nothing. Raises Lacking."""
        self._demand(PartKilled(part=part))
        for process in self._processes(part):
            process.crash()
        self.controller.restart(self._names(part), keeps_disk=keeps_disk)

    def pause(self, part: Part) -> None:
        """Let a part stand still until `resume`."""
        for process in self._processes(part):
            process.pause()

    def resume(self, part: Part) -> None:
        """Let it go on."""
        for process in self._processes(part):
            process.resume()

    def stall(self, part: Part, nanoseconds: int) -> None:
        """Hold the interpreter of a part up."""
        for process in self._processes(part):
            process.stall(nanoseconds)

    def partition(self, these: Iterable[Place], those: Iterable[Place] | None = None, *, one_way: bool = False) -> None:
        """Let nothing pass between these and those (everybody else, if not given); `one_way`: from these to those."""
        left = list(dict.fromkeys(map(_host, these)))
        hosts = [*(engine.host for engine in self.engines), *(client.host for client in self.clients)]
        everybody = dict.fromkeys([CONTROLLER_HOST, *hosts])
        right = [host for host in everybody if host not in left] if those is None else list(map(_host, those))
        if self.world.recorder is not None:
            way = "to" if one_way else "and"
            self.world.recorder.began(
                f"a partition between {', '.join(left)} {way} {', '.join(right)}", is_inside=True,
                who=[host for host in (*left, *right) if host != CONTROLLER_HOST], blurs_time=True,
            )  # fmt: skip
        self.world.network.partition(left, right, one_way=one_way)

    def heal(self, these: Iterable[Place] = (), those: Iterable[Place] = ()) -> None:
        """End every partition, or what parts these from those."""
        self.world.network.heal(list(map(_host, these)), list(map(_host, those)))

    def begin(self, fault: Fault) -> Trouble:
        """Let a fault begin; it is healed by `end` of what is returned, or with everything else. Raises Lacking."""
        self._demand(fault)
        return self.stage.begin(fault)

    def _demand(self, fault: Fault) -> None:
        if lack := self.controller.lacks(fault):
            raise Lacking(lack)

    # -- the healed phase --------------------------------------------------------------------------------------------

    def mend(self) -> None:
        """End what is wrong: faults, partitions, pauses, processes of the controller that are down."""
        self.stage.end_all()
        self.heal()
        self.world.network.tap = None
        if self.world.recorder is not None:
            self.world.recorder.note("kit", "healed", {})
        for process in self.world.processes:
            process.resume()
        down = [name for name, member in self.controller.members.items() if not member.process.is_alive]
        if down:
            self.controller.restart(down)

    def open_matters(self) -> list[Matter]:
        """What has not come to rest, and on whom it waits."""
        return list(open_matters(self))

    def settle(self, within: int = PATIENCE) -> bool:
        """Mend everything, and let time pass until all has come to rest; whether it has, in so many nanoseconds."""
        self.mend()
        deadline = self.now + within
        while not (is_over := is_at_rest(self)) and self.now < deadline:
            self.run_for(min(STEP, deadline - self.now))
        return is_over

    def _names(self, part: Part) -> list[str]:
        return list(self.controller.members) if part == "controller" else [part]

    def _processes(self, part: Part) -> list[Process]:
        return [self.controller.members[name].process for name in self._names(part)]


def _host(place: Place) -> str:
    if isinstance(place, str):
        return CONTROLLER_HOST
    if isinstance(place, VirtualEngine):
        return place.host
    assert isinstance(place, VirtualClient)
    return place.host


__all__ = ["CONFIG", "VirtualCluster"]
