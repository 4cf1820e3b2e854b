"""Damage of the kit's own that a relay passed on: nobody else can be accused of it.

A relay need not read what it passes. Whatever the kit sent wrong on purpose to one side of a queue may come out at the
other, behind other identities.
"""

from typing import Final

from protocol.wire import Frame
from protocol.world import Observation

#: The channels on which what one peer sends may reach another as it is.
RELAYED: Final = frozenset({"mux", "task", "control", "iopub", "broadcast"})
#: How many identities stand in front of a message at most, on either side of these channels.
IDENTITIES: Final = 5


class Echoes:
    """The damaged multiparts that were sent on relayed channels, by whatever may follow their identities."""

    def __init__(self) -> None:
        self._sent: set[tuple[str, int]] = set()

    def update(self, seen: Observation) -> None:
        """Remember what was sent wrong on purpose."""
        if seen.direction == "sent" and seen.why is not None and seen.channel in RELAYED:
            self._sent |= {(seen.channel, tail) for tail in _tails(seen.frames)}

    def made(self, seen: Observation) -> bool:
        """Whether what was received may be such damage."""
        return (
            bool(self._sent)
            and seen.direction == "received"
            and seen.channel in RELAYED
            and any((seen.channel, tail) in self._sent for tail in _tails(seen.frames))
        )


def _tails(frames: tuple[Frame, ...]) -> list[int]:
    return [hash(tuple(map(bytes, frames[start:]))) for start in range(min(len(frames), IDENTITIES))]
