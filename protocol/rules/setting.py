"""The circumstances in which a stream was recorded: what the rules must know to judge times and names."""

from typing import Final, Literal

import msgspec
from msgspec import UNSET, UnsetType

from protocol.world import SECOND

Role = Literal["controller", "engine", "client", "kernel"]

#: The channels on which each accepted message has one terminal reply that the judged side owes.
ASKED: Final[dict[Role, frozenset[str]]] = {
    "controller": frozenset({"query"}),
    "engine": frozenset({"mux", "task", "control", "broadcast"}),
    # A client is asked nothing: it is told.
    "client": frozenset(),
    "kernel": frozenset({"kernel-shell", "kernel-control"}),
}


class Setting(msgspec.Struct, frozen=True, kw_only=True):
    """Parameters of the judged implementation, all times in nanoseconds.

    `role` is what it plays, a controller if nothing is said; the recorder plays the other side.
    `is_pure` says that its task scheduler is the one which reads nothing of a task.
    `period_ns` and `allowed_misses` are the heart monitor's; `registration_timeout_ns` is how long a registration may
    stay pending. `reply_deadline_ns` is how long an accepted request may stay unanswered before that is a violation,
    `rest_ns` how long what was said before everything was healed may be under way, if it is not the same,
    and `margin_ns` what the clocks, the network and a busy machine may add to any other time.
    """

    role: Role | UnsetType = UNSET
    is_pure: bool | UnsetType = UNSET
    dialect: str = "ipyparallel-9"
    period_ns: int = 3 * SECOND
    allowed_misses: int = 10
    registration_timeout_ns: int = 30 * SECOND
    reply_deadline_ns: int = 10 * SECOND
    rest_ns: int | UnsetType = UNSET
    margin_ns: int = 2 * SECOND

    @property
    def asked(self) -> frozenset[str]:
        """The channels on which the recorder asks and the judged side answers."""
        return ASKED["controller" if self.role is UNSET else self.role]

    @property
    def soonest_death_ns(self) -> int:
        """A heart may be declared dead this long after its last answer, not sooner."""
        return (self.allowed_misses + 1) * self.period_ns

    @property
    def latest_death_ns(self) -> int:
        """A heart must be declared dead this long after its last answer, not later."""
        return (self.allowed_misses + 2) * self.period_ns
