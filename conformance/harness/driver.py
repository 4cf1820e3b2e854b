"""What the kit says to the driver of a client, and what it hears: commands with numbers, and their answers."""

from __future__ import annotations

import itertools
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any

from conformance.drivers.lines import Answer, AnyCommand, Command, LineError, read_answer, read_hello, write
from conformance.harness.clientside import ClientsSide, VirtualClientsSide
from conformance.targets.descriptor import Target
from conformance.targets.errors import TargetUnusable
from conformance.targets.process import RunningClient
from conformance.targets.virtualclient import VirtualRunningClient


class Pending:
    """A command that was told; `answer` is None until it has come, `at` the time at which it came."""

    def __init__(self, command: AnyCommand, clock: Callable[[], int]) -> None:
        self.command = command
        self.told_at = clock()
        self.answer: Answer | None = None
        self.at = 0
        self._clock = clock

    @property
    def word(self) -> str:
        """What the command is called."""
        return str(type(self.command).__struct_config__.tag)

    @property
    def is_answered(self) -> bool:
        """Whether its answer has come."""
        return self.answer is not None

    def end(self, answer: Answer) -> None:
        """Take the answer."""
        self.answer, self.at = answer, self._clock()


class Driver(ABC):
    """One driver. Its client may be another one in each case, and so may the world in which that lives."""

    def __init__(self) -> None:
        self.is_there = False
        #: Whether it is of no more use.
        self.is_spent = False
        self._numbers = itertools.count(1)
        self._pending: dict[int, Pending] = {}

    def tell(self, kind: type[Command], clock: Callable[[], int], **fields: Any) -> Pending:
        """Give it a command of this kind."""
        command = kind(id=next(self._numbers), **fields)
        pending = self._pending[command.id] = Pending(command, clock)  # type: ignore[arg-type]
        self.send(write(command))  # type: ignore[arg-type]
        return pending

    def hear(self, line: bytes) -> None:
        """Take a line that it has said."""
        try:
            if not self.is_there:
                read_hello(line)
                self.is_there = True
                return
            answer = read_answer(line)
        except LineError as error:
            raise self.unusable(f"its driver said what is none of the drivers' language: {error}") from None
        pending = self._pending.pop(answer.id, None)
        if pending is None:
            raise self.unusable(f"its driver answered command {answer.id}, which it was not given, or a second time")
        pending.end(answer)

    @abstractmethod
    def unusable(self, sentence: str) -> TargetUnusable:
        """The error that says so: with such a driver nobody can tell anything about its client."""

    @abstractmethod
    def send(self, line: bytes) -> None:
        """Give it a line."""

    @abstractmethod
    def write_file(self, name: str, content: bytes) -> str:
        """A file that the client can read; its path."""


class RealDriver(Driver):
    """A driver that is a process."""

    def __init__(self, running: RunningClient) -> None:
        super().__init__()
        self.running = running
        self._stop: Callable[[], None] | None = None

    def attach(self, world: ClientsSide) -> None:
        """Hear it while somebody waits in this world, and no longer in the one before."""
        self.detach()
        self._stop = world.watch(self.running.mouth, self._read)

    def detach(self) -> None:
        """Hear it no more."""
        if self._stop is not None:
            self._stop()
            self._stop = None

    def _read(self) -> None:
        said = self.running.heard()
        if said is None:
            self.detach()
            return
        for line in said:
            self.hear(line)

    def unusable(self, sentence: str) -> TargetUnusable:
        """The error that says so, with what was said and printed; that its command is wrong comes first."""
        failure = self.running.process.failure
        return self.running.unusable(f"could not be started: {failure}" if failure else sentence)

    def send(self, line: bytes) -> None:
        """Give it a line; one that has ended in the middle of its work will never answer, which is for cases to see."""
        try:
            self.running.tell(line)
        except TargetUnusable:
            if not self.is_there or self.running.is_running:
                raise

    def write_file(self, name: str, content: bytes) -> str:
        """A file in its directory, for nobody else."""
        path = self.running.directory / name
        path.touch(mode=0o600)
        path.write_bytes(content)
        return str(path)


class VirtualDriver(Driver):
    """A driver in virtual time; each world has one of its own."""

    def __init__(self, target: Target, world: VirtualClientsSide) -> None:
        super().__init__()
        self._world = world
        self.running = VirtualRunningClient(target, world.world, self._heard)

    def _heard(self, line: bytes) -> None:
        self.hear(line)
        self._world.stir()

    def unusable(self, sentence: str) -> TargetUnusable:
        """The error that says so."""
        return TargetUnusable(f"target {self.running.target.name}: {sentence}")

    def send(self, line: bytes) -> None:
        """Give it a line."""
        self.running.tell(line)

    def write_file(self, name: str, content: bytes) -> str:
        """A file of virtual time."""
        return self.running.write_file(name, content)


__all__ = ["Driver", "Pending", "RealDriver", "VirtualDriver"]
