"""The search itself: breadth first, so that the first violation found has the shortest story.

What happens in any case, and whose moment makes no difference, is let happen at once (`World.certain`): of many orders
that lead to one state, one is enough. A violation is then looked for once more, through all orders, since its shortest
story may be one of those that were passed over.
"""

from collections.abc import Callable
from typing import Final

import msgspec

from simulator.explore.ledger import Violation
from simulator.explore.machines import Infect
from simulator.explore.scope import Scope
from simulator.explore.world import State, World

#: So many states at most, unless more are wanted: each takes some three hundred bytes.
MOST: Final = 5_000_000
#: Called after each level of the search with its depth and the number of states so far.
Watcher = Callable[[int, int], object]


class Found(msgspec.Struct, kw_only=True):
    """What came of a search.

    `states` were visited, through `transitions`; `ends` of them are ends of stories, `depth` is the length of the
    longest. `violation` is the first one, and `path` the states that lead to it. `is_whole`: nothing was left to visit.
    """

    scope: Scope
    states: int = 0
    transitions: int = 0
    ends: int = 0
    depth: int = 0
    violation: Violation | None = None
    path: list[State] = []
    is_whole: bool = True
    marks: dict[str, int] = {}


def explore(
    scope: Scope,
    infect: Infect | None = None,
    *,
    world: World | None = None,
    most: int = MOST,
    is_reduced: bool = True,
    watcher: Watcher | None = None,
) -> Found:
    """Visit every state of a scope, or all up to the first in which something is violated.

    `world` is the world of that scope, for who wants to tell the story afterwards; without it one is made with
    `infect`. Not more than `most` states are visited, and a level of the search is not left half done for that.
    """
    world = World(scope, infect) if world is None else world
    found = _visit(scope, world, most, watcher, is_reduced=is_reduced)
    if found.violation is not None and is_reduced:
        found = _visit(scope, world, most, watcher, is_reduced=False)
    found.marks = dict(world.marks)
    return found


def _visit(scope: Scope, world: World, most: int, watcher: Watcher | None, *, is_reduced: bool) -> Found:
    found = Found(scope=scope)
    happens, faults, certain, ordered = world.happens, world.faults, world.certain, world.sorted
    first = world.begin(scope)
    parents: dict[State, State | None] = {first: None}
    level = [first]
    while level:
        following = []
        for state in level:
            one = certain(state) if is_reduced else None
            usual = [one] if one is not None else happens(state)
            for happened in usual if one is not None else (*usual, *faults(state)):
                found.transitions += 1
                after = ordered(happened.state)
                if happened.violation is not None:
                    return _broken(found, happened.violation, [*_path(parents, state), after], parents)
                if after not in parents:
                    parents[after] = state
                    following.append(after)
            if not usual:
                found.ends += 1
                violation = world.end(state)
                if violation is not None:
                    return _broken(found, violation, _path(parents, state), parents)
        level = following
        found.depth += bool(level)
        if watcher is not None:
            watcher(found.depth, len(parents))
        if level and len(parents) > most:
            found.is_whole = False
            break
    found.states = len(parents)
    return found


def _broken(found: Found, violation: Violation, path: list[State], parents: dict[State, State | None]) -> Found:
    found.violation = violation
    found.path = path
    found.depth = len(path) - 1
    found.states = len(parents)
    return found


def _path(parents: dict[State, State | None], state: State) -> list[State]:
    path: list[State] = []
    at: State | None = state
    while at is not None:
        path.append(at)
        at = parents[at]
    return path[::-1]


__all__ = ["MOST", "Found", "explore"]
