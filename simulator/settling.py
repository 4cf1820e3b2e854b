"""The healed phase: what must have come to rest when nothing is wrong any more, and on whom it still waits."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from simulator.cluster import VirtualCluster
    from simulator.engines import VirtualEngine


class Matter(NamedTuple):
    """Something that is still open: whose it is, what, and who has to do something about it; the request, if one is."""

    whose: str
    what: str
    waits_on: str
    msg_id: str = ""

    def __str__(self) -> str:
        return f"{self.whose}: {self.what}, which waits on {self.waits_on}"


def is_expected(engine: "VirtualEngine") -> bool:
    """Whether the Hub has to name this engine once everything is healed: it lives, and so does its heart."""
    return engine.is_alive and engine.role.state == "serving" and engine.heart is not None and engine.heart.is_alive


def is_at_rest(cluster: "VirtualCluster") -> bool:
    """Whether nothing is open: mostly an answer is the last to come, and whether one is missing is quickly seen."""
    if any(client.role.open and client.process.is_alive for client in cluster.clients):
        return False
    return next(open_matters(cluster), None) is None


def open_matters(cluster: "VirtualCluster") -> Iterator[Matter]:
    """What is not at rest, the reasons before what follows from them; who looks for one need not wait for the rest."""
    for name, member in cluster.controller.members.items():
        if not member.process.is_alive:
            yield Matter("controller", f"{name} is down", name)
    registered = set(cluster.registered.values())
    expected = {engine.uuid for engine in cluster.engines if is_expected(engine)}
    if expected != registered:
        for uuid in sorted(expected - registered):
            yield Matter("hub", f"{uuid} lives and is not registered", "hub")
        for uuid in sorted(registered - expected):
            yield Matter("hub", f"{uuid} is registered and dead", "hearts")
    scheduled = cluster.controller.scheduled()
    if scheduled is not None:
        yield from _views("tasks", scheduled, registered)
        for uuid in cluster.controller.buried():
            yield Matter("tasks", f"{uuid} is gone and still has tasks", "tasks")
    for client in cluster.clients:
        if not client.process.is_alive:
            continue
        yield from _views(client.name, set(client.role.engines.uuids.values()), registered)
        for msg_id, request in client.role.open.items():
            yield Matter(client.name, f"{request.msg_type} {msg_id} is open", client.role.silent(msg_id), msg_id)


def _views(whose: str, seen: set[str], registered: set[str]) -> Iterator[Matter]:
    """How what somebody knows of the engines differs from what the Hub does."""
    if seen != registered:
        for uuid in sorted(registered - seen):
            yield Matter(whose, f"{uuid} is not known", "hub")
        for uuid in sorted(seen - registered):
            yield Matter(whose, f"{uuid} is known and gone", "hub")


__all__ = ["Matter", "is_at_rest", "is_expected", "open_matters"]
