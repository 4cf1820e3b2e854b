"""A target in virtual time: the kit's own roles on virtual sockets, with the likeness of processes and files.

It is ready at once, needs no machine, and the same number makes it do the same things. What only a system has (the mode
of a file, the exit of a real process) is made up here, so that cases which look at it say nothing about anybody: they
are marked `needs_system`.
"""

import json
from collections.abc import Callable, Mapping
from typing import Any, Final

from conformance.files import FileOnDisk
from conformance.mutants import Mutant, find
from conformance.targets.descriptor import Target
from conformance.targets.errors import TargetUnusable
from protocol.connection import ClientFile, EngineFile
from protocol.roles.assembly import ControllerConfig
from protocol.roles.base import Arrived, Event
from protocol.roles.engine import EngineConfig
from protocol.rules.framework import COPIES
from protocol.wire import Message
from protocol.world import SECOND
from simulator.controller import CLIENT_FILE, ENGINE_FILE, VirtualController
from simulator.engines import VirtualEngine
from simulator.env import Calendar
from simulator.hosts import Process
from simulator.shell import VirtualShell
from simulator.wardens import VirtualWarden
from simulator.world import World

HOST: Final = "controller"
#: The name and the host of an engine.
ENGINE: Final = "engine"
#: Nanoseconds of virtual time in which everybody must have met.
START: Final = 10 * SECOND


class VirtualRunning:
    """A controller that runs in a world of its own; the interface of `process.Running`."""

    def __init__(self, target: Target, seed: int, settings: Mapping[str, Any]) -> None:
        timing = target.timing
        config = ControllerConfig(
            interface=f"tcp://{HOST}",
            period_ms=timing.heartbeat_period_ms,
            misses=timing.allowed_misses,
            registration_timeout_s=timing.registration_timeout_s,
            scheduler_grace_s=timing.scheduler_grace_s,
            **settings,
        )
        self.target = target
        self.version = None
        self._mutant = find(target.mutant) if target.mutant else Mutant
        self.world = World(seed, scheme=self._mutant.scheme)
        #: Who is told of every message that the queues and schedulers publish to the Hub.
        self.eavesdroppers: list[Callable[[Message], None]] = []
        self.controller = VirtualController(
            self.world, config, host=HOST, on_shell=self._made, kinds=self._mutant.kinds
        )
        self.controller.start()
        if not self.world.kernel.run_until(lambda: self.controller.has_begun, START):
            raise TargetUnusable(f"target {target.name}: the virtual controller did not begin")
        self.client: ClientFile
        self.engine: EngineFile
        self.client, self.engine = self._mutant.tells(*self.controller.files())
        self._files = dict(self.controller.disk)
        self._calendar = Calendar()

    def _made(self, shell: VirtualShell) -> None:
        if self.target.mutant:
            self._mutant.infect(shell)
        if shell.role.NAME == "hub":
            shell.listen_in(self._overhear, {})

    def _overhear(self, event: Event) -> None:
        if isinstance(event, Arrived) and event.socket == COPIES:
            for told in self.eavesdroppers:
                told(event.message)

    def date(self) -> str:
        """The present moment of virtual time, as in headers."""
        return self._calendar.date(self.world.now)

    @property
    def is_running(self) -> bool:
        """Whether it has not ended."""
        return self.controller.is_running

    @property
    def status(self) -> int | None:
        """Its exit status, or None while it runs."""
        return self.controller.status

    def output(self) -> tuple[str, str]:
        """What its processes would have printed."""
        said = [line for member in self.controller.members.values() for line in member.process.said]
        return "", "".join(f"{line}\n" for line in said)

    def unusable(self, sentence: str) -> TargetUnusable:
        """The error that says so."""
        return TargetUnusable(f"target {self.target.name}: {sentence}")

    def processes(self) -> list[int]:
        """Numbers of its processes that are alive, in the place of ids."""
        return [number for number, one in enumerate(self.controller.members.values(), 1) if one.process.is_alive]

    def delays(self) -> dict[int, int]:
        """Nothing keeps it from going on."""
        return {}

    def on_disk(self) -> dict[str, FileOnDisk]:
        """Its connection files ("client", "engine") as they are now; missing ones are left out."""
        files = {"client": CLIENT_FILE, "engine": ENGINE_FILE}
        disk = self._files if self._mutant.leaves_files else self.controller.disk
        return {
            which: FileOnDisk(0o600, self._mutant.file(which, json.loads(disk[name])))
            for which, name in files.items()
            if name in disk
        }

    def stop(self) -> None:
        """End it; nothing of it needs to be removed."""


class VirtualRunningEngine:
    """An engine that runs in a world of its own, with its warden; the interface of `process.RunningEngine`."""

    def __init__(self, target: Target, world: World, file: EngineFile) -> None:
        self.target = target
        self.version = None
        self.world = world
        config = EngineConfig(
            uuid=f"{ENGINE}-{world.seed:08x}", timeout=target.timing.engine_timeout, misses=target.timing.engine_misses
        )
        mutant = find(target.mutant) if target.mutant else Mutant
        self.engine = VirtualEngine(
            world, file, config, name=ENGINE, host=ENGINE, on_shell=mutant.infect if target.mutant else None,
            kinds=mutant.kinds,
        )  # fmt: skip
        self.warden = VirtualWarden(world, file, self.engine) if mutant.has_warden else None
        self.engine.start()
        self._calendar = Calendar()

    def date(self) -> str:
        """The present moment of virtual time, as in headers."""
        return self._calendar.date(self.world.now)

    @property
    def _processes(self) -> tuple[Process, ...]:
        return (self.engine.process,) if self.warden is None else (self.warden.process, self.engine.process)

    @property
    def is_running(self) -> bool:
        """Whether its first process is there: the warden's, if it has one."""
        return self._processes[0].is_alive

    @property
    def status(self) -> int | None:
        """The exit status of its first process, or None while it runs."""
        return self._processes[0].status

    def output(self) -> tuple[str, str]:
        """What it would have printed."""
        return "", "".join(f"{line}\n" for process in self._processes for line in process.said)

    def processes(self) -> list[int]:
        """Numbers of its processes that are alive, in the place of ids."""
        return [number for number, process in enumerate(self._processes, 1) if process.is_alive]

    def delays(self) -> dict[int, int]:
        """Nothing keeps it from going on."""
        return {}

    def expect_alive(self) -> None:
        """Raise TargetUnusable if it has ended."""
        if not self.is_running:
            raise self.late(f"it ended with status {self.status} before")

    def late(self, what: str) -> TargetUnusable:
        """The error that says what did not happen."""
        return self.unusable(what)

    def unusable(self, sentence: str) -> TargetUnusable:
        """The error that says so."""
        return TargetUnusable(f"target {self.target.name}: {sentence}")

    def kill(self) -> None:
        """End its processes at once."""
        for process in self._processes:
            process.crash()

    def stop(self) -> None:
        """End it; nothing of it needs to be removed."""


__all__ = ["VirtualRunning", "VirtualRunningEngine"]
