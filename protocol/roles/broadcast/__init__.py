"""The broadcast schedulers: the shape of their tree and what they keep (`tables`), and what they do (`role`)."""

from protocol.roles.broadcast.role import BroadcastScheduler
from protocol.roles.broadcast.tables import (
    TARGET,
    BroadcastConfig,
    Gathering,
    Part,
    children,
    leaf_index,
    name_of,
    nodes,
)

__all__ = [
    "TARGET",
    "BroadcastConfig",
    "BroadcastScheduler",
    "Gathering",
    "Part",
    "children",
    "leaf_index",
    "name_of",
    "nodes",
]
