"""Keep workers busy with blocks, and lose nothing when one dies but the time that it had spent.

A worker that dies may take others with it: a process pool is broken then as a whole, and nobody can tell whose run it
was. Whatever was being done becomes a *suspect*: a single seed that is run again while nothing else runs. One whose
worker dies twice, alone, is reported as failed, and the campaign goes on. A cluster may also lose a reply and say
nothing: when none has come for as long as `Workers.patience`, whatever was being done is suspect as well.
"""

from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, BrokenExecutor, CancelledError, Executor, Future, wait
from typing import Any, Final

import msgspec

from conformance.campaigns.blocks import Block, carry_out_block
from conformance.campaigns.workers import UnusableWorkersError, Workers
from conformance.simulating import Report, Summary
from simulator.run import Setup

#: Blocks that are handed out for each worker, so that none waits for the next.
AHEAD: Final = 2
#: So often may the worker of a seed die, or not answer, before the seed is held to be guilty.
TRIES: Final = 2


def drive(
    workers: Workers, like: Setup, blocks: Iterable[Block], tell: Callable[[str], object] = str
) -> Generator[tuple[Block, Summary], None, None]:
    """Carry out blocks; each with what came of it, as they end. A block may come back in parts.

    `tell` is handed a sentence when something is done again that nothing was heard of. Whoever does not take the last
    block ends the others, too. Raises UnusableWorkersError when nobody answers any more.
    """
    driver = _Driver(workers, like, iter(blocks), tell)
    try:
        yield from driver.run()
    finally:
        driver.close()


class _Driver:
    """One campaign under way."""

    def __init__(self, workers: Workers, like: Setup, blocks: Iterator[Block], tell: Callable[[str], object]) -> None:
        self.workers = workers
        self.like = like
        self.blocks = blocks
        self.tell = tell
        self.executor: Executor = workers.open()
        self.flying: dict[Future[Summary], Block] = {}
        self.suspects: deque[Block] = deque()

    def close(self) -> None:
        """Let nothing more begin."""
        for future in self.flying:
            future.cancel()
        self.executor.shutdown(wait=False)

    def run(self) -> Iterator[tuple[Block, Summary]]:
        """All blocks, then nothing."""
        while True:
            if not self.suspects:
                self._hand_out()
            elif not self.flying:
                yield from self._alone(self.suspects.popleft())
                continue
            if not self.flying:
                if self.suspects:
                    continue
                return
            ended, _ = wait(self.flying, self.workers.patience, FIRST_COMPLETED)
            if not ended:
                self._give_up()
                continue
            is_broken = any(
                isinstance(future.exception(), BrokenExecutor) for future in ended if not future.cancelled()
            )
            if is_broken:
                # Nothing more comes of the others either.
                ended, _ = wait(self.flying)
            for future in ended:
                block = self.flying.pop(future)
                try:
                    summary = future.result()
                except (Exception, CancelledError):
                    # A run that fails says so in its report: here it is the worker that is gone.
                    self.suspects.append(block)
                else:
                    yield block, summary
            if is_broken:
                self._restart()

    def _hand_out(self) -> None:
        while len(self.flying) < AHEAD * self.workers.count:
            block = next(self.blocks, None)
            if block is None:
                return
            try:
                self.flying[self.executor.submit(carry_out_block, self.like, block)] = block
            except BrokenExecutor:
                self.suspects.append(block)
                return

    def _give_up(self) -> None:
        """Nothing came back in time: what was under way is done again, and whatever still comes of it is not heard."""
        count = sum(len(block.seeds) for block in self.flying.values())
        self.tell(f"No worker has answered for {self.workers.patience:.0f} s: {count} runs are done again, one by one.")
        for future in self.flying:
            future.cancel()
        self.suspects.extend(self.flying.values())
        self.flying.clear()

    def _restart(self) -> None:
        self.executor.shutdown(wait=False)
        self.executor = self.workers.open()

    def _alone(self, block: Block) -> Iterator[tuple[Block, Summary]]:
        """Run the seeds of a suspect, one after the other."""
        for seed in block.seeds:
            single = Block(block.name, seed, seed)
            yield single, self._tried(single)

    def _tried(self, single: Block) -> Summary:
        why = ""
        for _ in range(TRIES):
            try:
                future = self.executor.submit(carry_out_block, self.like, single)
                if self._is_back(future):
                    return future.result()
                why = f"no answer within {self.workers.patience:.0f} s"
            except (Exception, CancelledError) as error:
                why = f"{type(error).__name__}: {error}"
                if isinstance(error, BrokenExecutor):
                    self._restart()
        if self.workers.patience is not None:
            self._expect_anybody(self.workers.patience)
        setup = msgspec.structs.replace(self.like, name=single.name, seed=single.first)
        summary = Summary()
        summary.add(Report(setup, error=f"none of {TRIES} tries came back, with nothing else running\n{why}"))
        return summary

    def _expect_anybody(self, patience: float) -> None:
        """The cluster must still do what takes no time, or no seed is to blame. Raises UnusableWorkersError."""
        try:
            future = self.executor.submit(bool)
            # A client that has given its cluster up cancels what it is handed, at once.
            is_there = self._is_back(future) and not future.cancelled() and future.exception() is None
        except Exception as error:
            raise UnusableWorkersError(f"nothing can be handed to the workers any more: {error}") from None
        if not is_there:
            raise UnusableWorkersError(f"no worker answers any more, within {patience:.0f} s")

    def _is_back(self, future: Future[Any]) -> bool:
        """Whether a single run has ended in time; nobody hears of it later."""
        ended, _ = wait([future], self.workers.patience)
        if not ended:
            future.cancel()
        return bool(ended)


__all__ = ["AHEAD", "TRIES", "drive"]
