"""State tables: what a state is, what may happen in it, and what follows.

A table maps state -> event -> move. Its first state is where a life begins; a state with an empty row is where one
ends. **What is not in a table does not happen**: an event without an entry changes nothing, and `illegal` says in words
what becomes of it. A role asks its table for every step, and the site draws its diagrams from the same rows.

A move is written as one line, `state: what is done`. Where data decide which state follows, all that may follow are
named, `queued | running | done: what is done`; the role chooses, and the table bounds the choice.
"""

from collections.abc import Iterator, Mapping
from typing import Final, NamedTuple


class Move(NamedTuple):
    """Where an event leads: the states that may follow (one, unless data decide), and in words what is done."""

    states: tuple[str, ...]
    does: str

    @property
    def state(self) -> str:
        """The state that follows. Raises ValueError if it is not the only one."""
        (state,) = self.states
        return state


class StateTable:
    """The life of one thing. `of` names the thing, `illegal` is the sentence on events that have no entry, and
    `meanings` says of every state what it is.
    """

    def __init__(
        self, of: str, rows: Mapping[str, Mapping[str, str]], *, illegal: str, meanings: Mapping[str, str]
    ) -> None:
        self.of: Final = of
        self.illegal: Final = illegal
        self.meanings: Final = meanings
        self.rows: Final[Mapping[str, Mapping[str, Move]]] = {
            state: {event: _read(line) for event, line in events.items()} for state, events in rows.items()
        }
        self._moves: Final = {(state, event): move for state, event, move in self}

    def __iter__(self) -> Iterator[tuple[str, str, Move]]:
        """Every entry: state, event, move."""
        return ((state, event, move) for state, events in self.rows.items() for event, move in events.items())

    @property
    def states(self) -> tuple[str, ...]:
        """All states, the first one first."""
        return tuple(self.rows)

    @property
    def events(self) -> tuple[str, ...]:
        """All events, in the order in which they are first named."""
        return tuple(dict.fromkeys(event for _, event, _ in self))

    def move(self, state: str, event: str) -> Move | None:
        """The entry; None if the event is illegal in this state."""
        return self._moves.get((state, event))

    def problems(self) -> list[str]:
        """What is wrong: moves to states that there are not, states that nothing leads to or that are not explained."""
        unknown = [
            f"{state}, {event}: there is no state {target!r}"
            for state, event, move in self
            for target in move.states
            if target not in self.rows
        ]
        reached, to_do = set(self.states[:1]), list(self.states[:1])
        while to_do:
            for move in self.rows[to_do.pop()].values():
                for target in move.states:
                    if target in self.rows and target not in reached:
                        reached.add(target)
                        to_do.append(target)
        unreached = [f"nothing leads to {state}" for state in self.states if state not in reached]
        return unknown + unreached + [f"{state} is not explained" for state in self.rows if state not in self.meanings]


def _read(line: str) -> Move:
    states, _, does = line.partition(": ")
    return Move(tuple(states.split(" | ")), does)


__all__ = ["Move", "StateTable"]
