"""How the end of a task decides those that depend on it.

Ends are collected and carried on from one task to the next, not by calls within calls: chains may be long.
"""

from protocol.roles.task.demands import Demands
from protocol.roles.task.engines import Engine
from protocol.roles.task.outcomes import Outcome
from protocol.roles.task.placing import IMPOSSIBLE, Placing
from protocol.roles.task.tasks import WAITING, Task


class Depending(Placing):
    """What happens between tasks."""

    def reset(self) -> None:
        """Forget everything but the session and the epoch."""
        super().reset()
        #: Tasks whose dependencies are met since a moment ago.
        self._ready: dict[str, Task] = {}

    def _consider(self, now: int, task: Task, demands: Demands) -> None:
        """Look at the dependencies of a task that is in no queue, and let it wait, go on, or fail."""
        for need in demands.needs:
            for each in tuple(need.left):
                if each in self.tasks:
                    self.dependents.setdefault(each, {})[task.id] = task
                    continue
                outcome = self.outcomes.get(each)
                if outcome is None:
                    # It ended and was forgotten while this one was running.
                    self.env.mark("task.forgotten-dependency")
                    need.tell(each, False, None)
                else:
                    need.tell(each, outcome.ok, outcome.engine)
        if demands.is_lost:
            self._fail(now, task, IMPOSSIBLE, "a task ended in a way that leaves the dependency unmet for ever")
        elif demands.is_met:
            self._place(now, task)
        else:
            self._hold(now, task, WAITING)

    def _settle(self, now: int, engine: Engine | None = None) -> None:
        """Carry the ends of tasks on to those that depend on them, until nothing more follows.

        An engine with room that was not offered yet takes older tasks first and then has a part in the choice.
        """
        while self._ended or self._ready:
            while self._ended:
                outcome = self._ended.popleft()
                dependents = self.dependents.pop(outcome.msg_id, None) or {}
                for task in sorted(dependents.values(), key=_seq):
                    self._cause = "dependency ended"
                    self._decide(now, task, outcome)
            ready, self._ready = self._ready, {}
            for task in sorted(ready.values(), key=_seq):
                if engine is not None and engine.is_live:
                    self._fill(now, engine, before=task.seq)
                    if len(engine.pending) < self.limit:
                        self.pool.offer(engine)
                self._cause = "dependency ended"
                if task.queue is not None:
                    task.queue.remove(task)
                self._place(now, task)

    def _decide(self, now: int, task: Task, outcome: Outcome) -> None:
        """One of the tasks that another waits for has ended."""
        demands = task.demands
        assert demands is not None
        places = 0 if demands.follow is None else len(demands.follow.engines)
        for need in demands.needs:
            need.tell(*outcome[:3])
        if demands.is_lost:
            self._ready.pop(task.id, None)
            self._fail(now, task, IMPOSSIBLE, "a task ended in a way that leaves the dependency unmet for ever")
        elif demands.is_met and (
            task.queue is None
            # There is another engine to follow to, or one hope less for a task that stands for nobody alive.
            or (demands.follow is not None and len(demands.follow.engines) > places)
            or (task.queue is self.named and not demands.alive)
        ):
            self._ready[task.id] = task


def _seq(task: Task) -> int:
    return task.seq
