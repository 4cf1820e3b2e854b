"""The task scheduler: `TaskScheduler` and what it is made of.

`demands` reads what a task wants, `engines` has the schemes, `queues` is where tasks wait, `roster` knows who is there,
`tasks` lists the states of a task, and `scheduler` puts them together. Nothing here looks into content or buffers.
"""

from protocol.roles.base import Env, Role
from protocol.roles.relay import TaskRelay
from protocol.roles.task.config import TaskConfig
from protocol.roles.task.engines import SCHEMES
from protocol.roles.task.scheduler import TaskScheduler
from protocol.roles.task.tasks import TASK


def scheduler(config: TaskConfig, env: Env) -> Role:
    """The machine of a scheme: a device for `pure`, whose `out` is a DEALER; else a TaskScheduler."""
    return TaskRelay(env) if config.scheme == "pure" else TaskScheduler(config, env)


__all__ = ["SCHEMES", "TASK", "TaskConfig", "TaskScheduler", "scheduler"]
