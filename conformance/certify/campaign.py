"""Many sequences, in worker processes, with what came of them.

libzmq ends its process where an assertion of its own fails, so sequences run in processes of their own, which are
replaced when they die. A sequence in which one died is tried once more by itself: what happens twice is counted against
us, since the virtual sockets should have said `LibraryAborts`; what does not is listed as an accident of the library.
"""

import multiprocessing
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from typing import Any, Final

from conformance.certify.compare import Divergence, compare
from conformance.certify.operations import Draw, Operation
from conformance.certify.replay import replay
from conformance.certify.script import script
from conformance.certify.shrink import shrink

#: Sequences that one process does before it is replaced.
CHUNK: Final = 500
#: Seconds without a word from a process after which it counts as hung.
PATIENCE: Final = 120
#: How often something that was found is tried with fewer operations.
_ATTEMPTS: Final = {"inproc": 1000, "tcp": 80}
#: Divergences that are shrunk; of further ones, only the number is kept.
SHRUNK: Final = 3


@dataclass(frozen=True, slots=True)
class Found:
    """One sequence that did not agree: its number, and a script that shows it (none for those that crashed)."""

    number: int
    text: str
    program: str = ""


@dataclass(slots=True)
class Summary:
    """What came of a campaign."""

    done: int = 0
    divergences: list[Found] = field(default_factory=list)
    crashes: list[Found] = field(default_factory=list)
    accidents: list[int] = field(default_factory=list)

    @property
    def is_certified(self) -> bool:
        """Whether everything agreed."""
        return not self.divergences and not self.crashes


def sequence(seed: int, number: int, transport: str) -> list[Operation]:
    """The operations of one sequence of a campaign."""
    return Draw(f"{seed}/{transport}/{number}", transport=transport).sequence()


def judge(transport: str) -> Callable[..., Divergence | None]:
    """What carries out a sequence over this transport."""
    return compare if transport == "inproc" else replay


def examine(
    seed: int, number: int, transport: str, *, is_shrinking: bool = True, tick: Callable[[], object] = int
) -> Found | None:
    """Carry out one sequence of a campaign; what was found, as short as possible. `tick` is called meanwhile."""
    operations = sequence(seed, number, transport)
    found = judge(transport)(operations)
    if found is None:
        return None
    title = f"Sequence {number} of seed {seed} over {transport}"
    if is_shrinking:
        quick = compare if transport == "inproc" else partial(replay, is_patient=False)

        def tried(some: Sequence[Operation]) -> Divergence | None:
            tick()
            return quick(some)

        fewer = shrink(operations[: found.index + 1], tried, attempts=_ATTEMPTS[transport])
        again = judge(transport)(fewer)
        # What does not show a second time is still something that was seen.
        if again is not None:
            operations, found = fewer, again
    named = {str(one.value[0]) for one in operations if one.name in ("bind", "connect", "unbind", "disconnect")}
    addresses = {
        name: f"inproc://{name}" if transport == "inproc" else f"tcp://127.0.0.1:{24_000 + index}"
        for index, name in enumerate(sorted(named))
    }
    text = f"step {found.index}, {found.what}: libzmq {found.real!r}, virtual {found.virtual!r}"
    return Found(number, text, script(operations, found, title=title, addresses=addresses))


def _work(pipe: "Connection[Any, Any]", seed: int, numbers: range, transport: str, shrinking: int) -> None:
    for number in numbers:
        pipe.send(("begin", number))
        found = examine(seed, number, transport, is_shrinking=shrinking > 0, tick=lambda: pipe.send(("tick", None)))
        if found is not None:
            shrinking -= 1
        pipe.send(("end", found))
    pipe.send(("done", None))


class Campaign:
    """Sequences 0 to `count` of one seed over one transport, in `jobs` processes.

    The first `shrunk` that differ are shortened.
    """

    def __init__(self, *, count: int, seed: int, transport: str, jobs: int, shrunk: int = SHRUNK) -> None:
        self.summary = Summary()
        self._shrunk = shrunk
        self._seed = seed
        self._transport = transport
        self._jobs = max(1, jobs)
        self._chunks = [range(start, min(start + CHUNK, count)) for start in range(0, count, CHUNK)]
        self._chunks.reverse()
        self._context = multiprocessing.get_context("spawn")
        #: By pipe: the process, what it was given, and the sequence at which it is.
        self._workers: dict[Connection[Any, Any], tuple[BaseProcess, range, int]] = {}
        #: Sequences that killed a process once.
        self._suspects: set[int] = set()

    def run(self) -> Iterator[Summary]:
        """Work; the summary after each sequence."""
        try:
            while self._chunks or self._workers:
                while self._chunks and len(self._workers) < self._jobs:
                    self._start(self._chunks.pop())
                ready = wait(list(self._workers), timeout=PATIENCE)
                if not ready:
                    for pipe in list(self._workers):
                        self._died(pipe, "hung")
                for pipe in [one for one in self._workers if one in ready]:
                    if self._hear(pipe):
                        yield self.summary
        finally:
            for pipe in list(self._workers):
                self._stop(pipe)

    def _start(self, numbers: range) -> None:
        ours, theirs = self._context.Pipe()
        shrinking = self._shrunk - len(self.summary.divergences)
        process = self._context.Process(
            target=_work, args=(theirs, self._seed, numbers, self._transport, shrinking), daemon=True
        )
        process.start()
        theirs.close()
        self._workers[ours] = process, numbers, numbers.start

    def _hear(self, pipe: "Connection[Any, Any]") -> bool:
        process, numbers, number = self._workers[pipe]
        try:
            word, value = pipe.recv()
        except (EOFError, ConnectionError):
            self._died(pipe, "killed its process")
            return True
        if word == "tick":
            return False
        if word == "begin":
            self._workers[pipe] = process, numbers, value
            return False
        if word == "done":
            self._stop(pipe)
            return False
        self.summary.done += 1
        if number in self._suspects:
            self._suspects.discard(number)
            self.summary.accidents.append(number)
        if value is not None:
            self.summary.divergences.append(value)
        return True

    def _died(self, pipe: "Connection[Any, Any]", how: str) -> None:
        _, numbers, number = self._workers[pipe]
        self._stop(pipe)
        if number in self._suspects:
            self._suspects.discard(number)
            self.summary.done += 1
            self.summary.crashes.append(Found(number, f"{how} twice"))
            number += 1
        else:
            self._suspects.add(number)
        if number < numbers.stop:
            self._chunks.append(range(number, numbers.stop))

    def _stop(self, pipe: "Connection[Any, Any]") -> None:
        process, _, _ = self._workers.pop(pipe)
        pipe.close()
        process.kill()
        process.join()
