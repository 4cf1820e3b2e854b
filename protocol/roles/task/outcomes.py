"""How finished tasks ended: of the last so many, so that dependencies on them can be decided at once."""

from collections import deque
from typing import Final, NamedTuple


class Outcome(NamedTuple):
    """One finished task: whether it ended well, the engine whose reply or death ended it, and who had asked for it."""

    msg_id: str
    ok: bool
    engine: bytes | None
    client: bytes


class Outcomes:
    """The last outcomes, at most `bound` of them."""

    def __init__(self, bound: int) -> None:
        self._bound: Final = bound
        self._outcomes: Final[dict[str, Outcome]] = {}
        # A dictionary finds its oldest key slowly once many have been taken from its front.
        self._order: Final[deque[str]] = deque()

    def __contains__(self, msg_id: str) -> bool:
        return msg_id in self._outcomes

    def __len__(self) -> int:
        return len(self._outcomes)

    def get(self, msg_id: str) -> Outcome | None:
        """The outcome of a task, or None if there is none or it was forgotten."""
        return self._outcomes.get(msg_id)

    def add(self, outcome: Outcome) -> None:
        """Remember the outcome of a task that has none yet, and forget the oldest if there are too many."""
        order = self._order
        order.append(outcome.msg_id)
        self._outcomes[outcome.msg_id] = outcome
        if len(order) > self._bound:
            del self._outcomes[order.popleft()]

    def freeze(self) -> tuple[tuple[object, ...], ...]:
        """All of them, the oldest first."""
        return tuple(tuple(self._outcomes[msg_id]) for msg_id in self._order)
