"""How a task scheduler is set."""

import msgspec

from protocol.roles.task.engines import SCHEMES
from protocol.world import MILLISECOND, SECOND


class TaskConfig(msgspec.Struct, frozen=True, kw_only=True):
    """Settings of a task scheduler; times are in nanoseconds.

    `scheme`: one of `protocol.roles.task.SCHEMES`, or `pure`, which has no use for the rest.
    `hwm`: how many tasks an engine may have at a time, 0 for any number.
    `grace`: how long after an engine's end its replies still count, before its tasks are run again or given up.
    `introduction`: how long a task waits whose targets are all unknown. The client may have heard of an engine before
    the scheduler did: the two notifications take different ways.
    `remember`: of how many finished tasks the outcome is kept, for dependencies on them; `dependency.recent-ids-known`
    asks for a thousand.
    `resync`: how often the Hub is asked which engines there are, as notifications may be lost; 0 for once only.
    `session`: of the messages that the scheduler makes; drawn if empty.
    `notes`: whether to tell facts of the inner state.

    Raises ValueError for settings that make no sense.
    """

    scheme: str = "leastload"
    hwm: int = 1
    grace: int = 5 * SECOND
    introduction: int = 500 * MILLISECOND
    remember: int = 1 << 16
    resync: int = 30 * SECOND
    session: str = ""
    notes: bool = False

    def __post_init__(self) -> None:
        if self.scheme not in ("pure", *SCHEMES):
            raise ValueError(f"unknown scheme {self.scheme!r}; there are: pure, {', '.join(SCHEMES)}")
        for name in ("hwm", "grace", "introduction", "resync"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name} is negative")
        if self.remember < 1:
            raise ValueError("at least one finished task has to be remembered")
