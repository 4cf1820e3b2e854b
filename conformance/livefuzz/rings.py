"""Arenas of a target, one after the other: what is started for them, and how long each lasts.

Everything that the kit's side of a conversation sees is kept until it is thrown away, so an arena is given up after a
while and another one opened. A real controller goes on meanwhile, so that what it gathers can be seen; an engine, a
client or a kernel would be lost without the kit's side, and is started anew.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Final

from conformance.harness.clients import clients
from conformance.harness.deployment import ControllerDeployment, Deployment, VirtualDeployment, engines
from conformance.harness.kernels import KernelDeployment
from conformance.livefuzz.arena import Arena
from conformance.livefuzz.clients import ClientArena
from conformance.livefuzz.controllers import ControllerArena
from conformance.livefuzz.engines import EngineArena
from conformance.livefuzz.kernels import KernelArena
from conformance.targets.descriptor import Target
from conformance.targets.process import Started
from conformance.targets.vocabulary import Role

#: How many messages an arena sees before another one is opened.
LIFE: Final = 20_000
_PAGE: Final = 4096


def _controllers(target: Target) -> ControllerDeployment:
    return VirtualDeployment(target) if target.is_simulated else ControllerDeployment(target)


_ROLES: Final[Mapping[Role, tuple[Callable[[Target], Deployment[Any]], type[Arena[Any]]]]] = {
    "controller": (_controllers, ControllerArena),
    "engine": (engines, EngineArena),
    "client": (clients, ClientArena),
    "kernel": (KernelDeployment, KernelArena),
}


class Ring:
    """A target of one role, and the arena in which it stands."""

    def __init__(self, target: Target, role: Role, seed: int) -> None:
        start, self._kind = _ROLES[role]
        self._deployment = start(target)
        self._seed = seed
        self._stack = ExitStack()
        #: What is of the kit alone.
        self._side = ExitStack()
        self._arena: Arena[Any] | None = None

    def open(self) -> Arena[Any]:
        """The arena; a new one if there is none. Raises TargetUnusable."""
        if self._arena is None:
            subject = self._stack.enter_context(self._deployment.fresh())
            self._begin(subject)
        assert self._arena is not None
        return self._arena

    def renew(self) -> None:
        """Throw the arena away; what stands in it goes on if it can."""
        arena, self._arena = self._arena, None
        if arena is None:
            return
        arena.subject.end_case()
        if isinstance(self._deployment, ControllerDeployment) and not self._deployment.target.is_simulated:
            subject = self._side.enter_context(self._deployment.beside(arena.subject))
            arena.subject.world.close()
            self._begin(subject)
        else:
            self.restart()

    def _begin(self, subject: Any) -> None:
        subject.begin_case()
        self._arena = self._kind(subject, self._seed)

    def restart(self) -> None:
        """End the target; the next arena gets a new one."""
        if self._arena is not None:
            # The driver of a client would go on to the next arena, with the client that it has.
            self._arena.subject.distrust()
        self._arena = None
        self._side.close()
        self._stack.close()

    def close(self) -> None:
        """End everything."""
        self.restart()
        self._deployment.close()

    def memory(self) -> int | None:
        """Bytes that the processes of the target hold in memory; None where the kit did not start any."""
        if self._arena is None or not isinstance(self._arena.subject.instance, Started):
            return None
        found = [_resident(pid) for pid in self._arena.subject.instance.processes()]
        return sum(found) or None


def _resident(pid: int) -> int:
    try:
        return int(Path(f"/proc/{pid}/statm").read_text("ascii").split()[1]) * _PAGE
    except (OSError, IndexError, ValueError):
        return 0


__all__ = ["LIFE", "Ring"]
