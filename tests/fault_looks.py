"""Looks at what faults do: the table that each is entered in, and what they share.

@shows(HeartKilled)
def a_heart_that_ends_takes_its_engine_off_the_list() -> None: ...
"""

from collections.abc import Callable
from typing import Any

from protocol.roles.hub import Hub
from protocol.world import MILLISECOND, SECOND
from simulator.cluster import VirtualCluster
from simulator.faults import Fault

Look = Callable[[], None]
#: Kind -> what it shows, one look for each thing that it can do.
LOOKS: dict[type[Fault], list[Look]] = {}
#: Nanoseconds after which a heart that is silent was given up, and in which none is.
DEATH = 2 * SECOND
MOMENT = 20 * MILLISECOND


def shows(kind: type[Fault]) -> Callable[[Look], Look]:
    """Take up a look at this kind of fault."""

    def take_up(look: Look) -> Look:
        LOOKS.setdefault(kind, []).append(look)
        return look

    return take_up


def cluster_of(engines: int = 1, **more: Any) -> VirtualCluster:
    """A cluster whose messages are never late."""
    return VirtualCluster(3, engines=engines, jitter=0, **more)


def refusals(cluster: VirtualCluster) -> set[str]:
    """The rules for which somebody has refused a message."""
    trace = cluster.world.trace
    assert trace is not None
    rules = [str(entry[5]) for entry in trace.entries if entry[2] == "took" and entry[4] == "!"]
    return {rule for text in rules for rule in text.replace(",", " ").split()}


def hub_of(cluster: VirtualCluster) -> Hub:
    """Its Hub."""
    hub = cluster.controller.role("hub")
    assert isinstance(hub, Hub)
    return hub
