"""The tasks that wait in ipyparallel's scheduler, in a queue that counts what is done with it.

Their code takes one task after another out of it, from the left, and puts back on the left what could not run, once it
is done. Where an error comes between, or instead of that, what is in the queue is not looked at. Whether anybody has
looked since then is told by the counts.
"""

from collections import deque
from collections.abc import Iterable
from typing import Any


class CountedQueue(deque[Any]):
    """See the module. `steps` is how much has been done with it, `looked` what that was at the last look.

    `is_broken` says that this look has not come to its end.
    """

    def __init__(self) -> None:
        super().__init__()
        self.steps = self.looked = 0
        self.is_broken = False
        #: Id of a task -> the step at which it joined, and each of those that have ever joined under this id.
        self.joined: dict[str, int] = {}
        self.namesakes: dict[str, list[Any]] = {}

    def append(self, job: Any) -> None:
        """It has to wait."""
        super().append(job)
        self.steps += 1
        self.joined[job.msg_id] = self.steps
        known = self.namesakes.setdefault(job.msg_id, [])
        if not any(each is job for each in known):
            known.append(job)

    def popleft(self) -> Any:
        """Look at the next one."""
        self._look(is_broken=True)
        return super().popleft()

    def extendleft(self, jobs: Iterable[Any]) -> None:
        """The look is at its end: these could not run."""
        self._look(is_broken=False)
        super().extendleft(jobs)

    def _look(self, *, is_broken: bool) -> None:
        self.steps += 1
        self.looked, self.is_broken = self.steps, is_broken


__all__ = ["CountedQueue"]
