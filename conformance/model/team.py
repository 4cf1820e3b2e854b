"""Several controllers of one target, each with a conversation of its own, all at once.

With a real controller nearly all of the time is spent waiting: for beats, for silence to be noticed, for a grace to
pass. So several conversations are had beside each other, each in a thread that mostly sleeps. In virtual time nothing
is waited for, and one stage, which needs no thread, is the fastest.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait

from conformance.model.stage import Outcome, Stage
from conformance.model.steps import Conversation


class Team:
    """See the module. `put` while `has_room`, `take` what has ended, and `close` it."""

    def __init__(self, stages: Sequence[Stage]) -> None:
        self._idle = list(stages)
        self._pool = ThreadPoolExecutor(len(stages), "conversation") if len(stages) > 1 else None
        self._next: Conversation | None = None
        self._busy: dict[Future[Outcome], Stage] = {}

    @property
    def has_room(self) -> bool:
        """Whether somebody has nothing to play."""
        return bool(self._idle) and self._next is None

    @property
    def is_busy(self) -> bool:
        """Whether a conversation was put and has not been taken."""
        return self._next is not None or bool(self._busy)

    def put(self, conversation: Conversation) -> None:
        """Begin to play a conversation."""
        if self._pool is None:
            self._next = conversation
            return
        stage = self._idle.pop()
        self._busy[self._pool.submit(stage.play, conversation)] = stage

    def take(self) -> Outcome:
        """What came of the conversation that ends first. Raises TargetUnusable and KitFailed."""
        if self._next is not None:
            conversation, self._next = self._next, None
            return self._idle[0].play(conversation)
        done, _ = wait(self._busy, return_when=FIRST_COMPLETED)
        future = done.pop()
        self._idle.append(self._busy.pop(future))
        return future.result()

    def play(self, conversation: Conversation, *, after: Sequence[Conversation] | None = None) -> Outcome:
        """Play one on whatever stage was the last to come free, as `Stage.play` does."""
        return self._idle[-1].play(conversation, after=after)

    def rest(self) -> Iterator[Outcome]:
        """What comes of those that are still played."""
        while self._busy:
            yield self.take()

    def close(self) -> None:
        """Wait for those that are still played, and end what was started."""
        if self._pool is not None:
            self._pool.shutdown(wait=True)
        for stage in [*self._idle, *self._busy.values()]:
            stage.close()


__all__ = ["Team"]
