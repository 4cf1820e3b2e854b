"""Exhaustive search through small worlds: every order of events, with the real machines of the roles.

    found = explore(Scope(tasks=2, engines=2, faults={"crash": 1, "heart": 1}))

`scope` says how much; `machines` run the roles, each step once; `world` says what may happen next; `ledger` says what
must hold; `search` visits everything; `story` tells what led to a violation. Nothing here draws from a seed.
"""

from simulator.explore.ledger import Violation
from simulator.explore.machines import Infect
from simulator.explore.scope import CERTAIN, FAULTS, Scope
from simulator.explore.search import MOST, Found, explore
from simulator.explore.story import Step, tell, text
from simulator.explore.world import World

__all__ = [
    "CERTAIN",
    "FAULTS",
    "MOST",
    "Found",
    "Infect",
    "Scope",
    "Step",
    "Violation",
    "World",
    "explore",
    "tell",
    "text",
]
