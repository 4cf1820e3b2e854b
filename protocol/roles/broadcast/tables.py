"""The shape of the tree, and what its nodes keep of a request until the last reply.

The tree is binary. A node is named by its path from the root, `0`, then one digit per level; its identity is
`sub_scheduler_` and the path. An engine belongs to the leaf whose number is its id modulo the number of leaves, so the
digits of that number, the highest first, lead from the root to it.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

import msgspec

from protocol.roles.engineview import may_be_identity
from protocol.roles.freezing import freeze_value, thaw_value
from protocol.roles.tables import StateTable
from protocol.wire import Frame, Json, Message

#: The life of one target of a request, at the leaf of its engine.
TARGET: Final = StateTable(
    "one target of a request, at its leaf",
    {
        "sent": {
            "reply": "answered: passed up",
            "engine not there": "in doubt: grace begins",
            "engine unregistered": "in doubt: grace begins",
        },
        "in doubt": {
            "reply": "answered: passed up",
            "engine unregistered": "in doubt: grace begins",
            "grace is over": "answered: EngineError",
            "grace is over, engine there": "in doubt",
        },
        "answered": {},
    },
    illegal="It is dropped: a second reply, a late one, and one of an engine that was not asked.",
    meanings={
        "sent": "its engine is there and has to answer",
        "in doubt": "its engine is not there, but a reply may still come",
        "answered": "by the engine, or for it",
    },
)

#: uuid and id of an engine, as requests name it.
Target = tuple[str, int]
#: Where replies go: the identities of the request, which lead back to the client.
Path = tuple[bytes, ...]


class BroadcastConfig(msgspec.Struct, frozen=True, kw_only=True):
    """`path` is the node's place in a tree of this `depth`, 0 to 3; a tree of depth 0 is one node.

    Times are nanoseconds: after `grace` a dead engine is answered for; `settle` after the start, and then every
    `refresh` (0: never), a leaf asks again which engines there are.
    """

    path: str = "0"
    depth: int = 1
    session: str = "broadcast-scheduler"
    grace: int = 5_000_000_000
    settle: int = 1_000_000_000
    refresh: int = 0


def nodes(depth: int) -> tuple[str, ...]:
    """The paths of all nodes of a tree, the root first, the leaves last and in order."""
    paths = ["0"]
    for path in paths:
        if len(path) <= depth:
            paths += children(path)
    return tuple(paths)


def children(path: str) -> tuple[str, str]:
    """The paths of the two nodes below one."""
    return f"{path}0", f"{path}1"


def name_of(path: str) -> str:
    """The identity of a node as text."""
    return f"sub_scheduler_{path}"


def leaf_index(engine_id: int, depth: int) -> int:
    """The number of the leaf that an engine belongs to."""
    return engine_id % (1 << depth)


class Copy(NamedTuple):
    """What one engine has to answer: its client's msg_id, the engine, and how that stands in `TARGET`."""

    original: str
    target: Target
    state: str = TARGET.states[0]


class Part(NamedTuple):
    """What one target, or one subtree, contributed to a coalesced reply."""

    content: Json
    metadata: Json
    buffers: tuple[Frame, ...]
    targets: tuple[Target, ...]
    failed: tuple[Target, ...]


@dataclass(slots=True)
class Gathering:
    """One request at one node: whom it still waits for, and what came, if the replies shall be one.

    `waiting` has the uuids of engines at a leaf, the names of children above; so have `order` and `parts`.
    """

    header: Json
    label: object
    coalescing: bool
    order: tuple[str, ...]
    waiting: dict[str, None]
    parts: dict[str, Part] = field(default_factory=dict)

    def freeze(self) -> tuple[Any, ...]:
        """The state as plain tuples."""
        parts = tuple((name, tuple(map(freeze_value, part))) for name, part in self.parts.items())
        header, label = freeze_value(self.header), freeze_value(self.label)
        return header, label, self.coalescing, self.order, tuple(self.waiting), parts


def thaw_gathering(frozen: tuple[Any, ...]) -> Gathering:
    """What `Gathering.freeze` gave."""
    header, label, coalescing, order, waiting, parts = frozen
    return Gathering(
        thaw_value(header),
        thaw_value(label),
        coalescing,
        order,
        dict.fromkeys(waiting),
        {name: Part(*map(thaw_value, part)) for name, part in parts},
    )


def targets_of(metadata: Mapping[str, Any]) -> list[Target] | None:
    """The targets of a request, each engine once; None if they are not pairs of a uuid and an id."""
    named = metadata.get("targets")
    if not isinstance(named, list):
        return None
    found: dict[str, int] = {}
    for each in named:
        match each:
            case [str() as uuid, int() as number] if type(number) is int and number >= 0 and may_be_identity(uuid):
                found.setdefault(uuid, number)
            case _:
                return None
    return list(found.items())


def pairs(value: object) -> tuple[Target, ...]:
    """Targets as a reply of another node names them."""
    return tuple(targets_of({"targets": value}) or ())


def copy_of(
    message: Message, content: Json, metadata: Json, *, to: str, targets: list[Target], original: str
) -> Message:
    """The copy of a request for a child or an engine: its own id, targets and envelope, everything else as sent."""
    return Message(
        message.header | {"msg_id": f"{original}_{to}"},
        metadata=metadata | {"targets": [list(each) for each in targets], "original_msg_id": original},
        content=content,
        buffers=message.buffers,
        identities=(to.encode(), *message.identities),
    )


__all__ = [
    "TARGET",
    "BroadcastConfig",
    "Copy",
    "Gathering",
    "Part",
    "Path",
    "Target",
    "children",
    "copy_of",
    "leaf_index",
    "name_of",
    "nodes",
    "pairs",
    "targets_of",
    "thaw_gathering",
]
