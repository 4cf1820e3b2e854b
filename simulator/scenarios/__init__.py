"""Named scenarios: what goes wrong in a cluster, and what must hold all the same. One idea per file."""

from simulator.scenarios import (
    clocks,
    controllers,
    deaths,
    disks,
    hearts,
    messages,
    networks,
    output,
    strangers,
    work,
)
from simulator.scenarios.scenario import SCENARIOS, Scenario, Unmet

__all__ = [
    "SCENARIOS", "Scenario", "Unmet", "clocks", "controllers", "deaths", "disks", "hearts", "messages", "networks",
    "output", "strangers", "work",
]  # fmt: skip
