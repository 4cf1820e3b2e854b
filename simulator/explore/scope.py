"""How much is explored: how many tasks and engines there are, what may go wrong, and how often."""

from typing import Final

import msgspec

from protocol.roles.task import SCHEMES

#: What may go wrong, so often at most in one story: each a choice that is there at every moment.
FAULTS: Final = {
    "crash": "an engine dies, and with it what it has not sent yet or did not read",
    "heart": "the Hub takes an engine for dead that lives, and hears of it again later",
    "drop": "a message is lost within a connection",
    "error": "the code of a task raises an error",
    "unmet": "an engine finds that it cannot run a task, and another may",
    "ask": "the scheduler asks the Hub which engines there are, in the middle of everything",
}
#: Schemes under which a choice of engines is no chance.
CERTAIN: Final = tuple(scheme for scheme in SCHEMES if scheme in ("leastload", "lru"))


class Scope(msgspec.Struct, frozen=True, kw_only=True):
    """The bounds of a search.

    `faults`: name of `FAULTS` -> how often. `dependencies`: so many tasks, the last ones, each wait for the one before
    them. `retries` of every task. `purges`: so often the client asks the Hub to forget a task, whichever. `hwm` and
    `scheme` are the scheduler's. Raises ValueError for what makes no sense.
    """

    tasks: int = 2
    engines: int = 2
    faults: dict[str, int] = {}
    dependencies: int = 0
    retries: int = 0
    purges: int = 0
    hwm: int = 1
    scheme: str = "leastload"

    def __post_init__(self) -> None:
        if not 0 <= self.dependencies < max(self.tasks, 1):
            raise ValueError("a dependency needs a task before it: there are fewer dependencies than tasks")
        if not 1 <= self.engines <= 4 or self.tasks < 1:
            raise ValueError("there is at least one task, and between one engine and four")
        if self.scheme not in CERTAIN:
            raise ValueError(f"an engine is drawn under {self.scheme!r}; explored are {' and '.join(CERTAIN)}")
        for name in self.faults:
            if name not in FAULTS:
                raise ValueError(f"there is no fault {name!r}; there are {', '.join(FAULTS)}")

    def waits_for(self, task: int) -> int | None:
        """The task after which this one comes, if it waits for one."""
        return task - 1 if task >= self.tasks - self.dependencies else None


__all__ = ["CERTAIN", "FAULTS", "Scope"]
