"""The circumstances in which a stream was recorded: what the rules must know to judge times and names."""

import msgspec

from protocol.world import SECOND


class Setting(msgspec.Struct, frozen=True, kw_only=True):
    """Parameters of the judged implementation, all times in nanoseconds.

    `period_ns` and `allowed_misses` are the heart monitor's; `registration_timeout_ns` is how long a registration may
    stay pending. `reply_deadline_ns` is how long an accepted request may stay unanswered before that is a violation,
    and `margin_ns` what the clocks, the network and a busy machine may add to any other time.
    """

    dialect: str = "ipyparallel-9"
    period_ns: int = 3 * SECOND
    allowed_misses: int = 10
    registration_timeout_ns: int = 30 * SECOND
    reply_deadline_ns: int = 10 * SECOND
    margin_ns: int = 2 * SECOND

    @property
    def soonest_death_ns(self) -> int:
        """A heart may be declared dead this long after its last answer, not sooner."""
        return (self.allowed_misses + 1) * self.period_ns

    @property
    def latest_death_ns(self) -> int:
        """A heart must be declared dead this long after its last answer, not later."""
        return (self.allowed_misses + 2) * self.period_ns
