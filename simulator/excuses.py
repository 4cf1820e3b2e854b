"""What follows from a message that a fault took, for those who had no part in it.

A task whose dispatch or result was lost stays with its engine for ever, since nobody can know: what waits for that
engine's room, or for that task's outcome, waits as well. The death of a heart is reported once: if that is lost, the
Hub keeps an engine that is gone, and whoever was sent something there is not told.
"""

from typing import TYPE_CHECKING, Final

from protocol.roles.broadcast import BroadcastScheduler
from protocol.roles.task import TaskScheduler
from protocol.roles.task.tasks import QUEUED
from simulator.settling import Matter, is_expected

if TYPE_CHECKING:
    from simulator.cluster import VirtualCluster
    from simulator.faults import Fault

#: What the heart monitor tells the Hub of hearts that have stopped.
DEATHS: Final = "stopped_heart"


def excuse(cluster: "VirtualCluster", matter: Matter) -> "Fault | None":
    """The fault from which it follows that this is still open, or None."""
    if not matter.msg_id:
        return death(cluster) if matter.whose == "hub" and matter.what.endswith("is registered and dead") else None
    return _queued(cluster, matter.msg_id, set()) or _spread(cluster, matter.msg_id)


def death(cluster: "VirtualCluster") -> "Fault | None":
    """The fault that took the report of a death, or None."""
    for trouble in cluster.stage.troubles:
        if any(msg_type == DEATHS for _, _, msg_type, _, _ in trouble.taken):
            return trouble.fault
    return None


def _taken(cluster: "VirtualCluster", msg_id: str) -> "Fault | None":
    for trouble in cluster.stage.troubles:
        if any(msg_id in one[3:] for one in trouble.taken):
            return trouble.fault
    return None


def _queued(cluster: "VirtualCluster", msg_id: str, seen: set[str]) -> "Fault | None":
    """Of a task that waits: the fault that took what occupies every engine, or what it depends on."""
    scheduler = cluster.controller.role("tasks")
    task = scheduler.tasks.get(msg_id) if isinstance(scheduler, TaskScheduler) else None
    if task is None or not isinstance(scheduler, TaskScheduler) or msg_id in seen:
        return None
    seen.add(msg_id)
    found = _taken(cluster, msg_id)
    if found is not None or task.engine is not None:
        return found
    if task.state == QUEUED:
        engines = [list(engine.pending) for engine in scheduler.engines.values()]
        if not all(len(pending) >= scheduler.limit for pending in engines):
            return None
        holders = [_taken(cluster, one) for pending in engines for one in pending]
        return holders[0] if holders and None not in holders else None
    needs = () if task.demands is None else task.demands.needs
    reasons = (_queued(cluster, each, seen) for need in needs for each in need.left)
    return next((fault for fault in reasons if fault is not None), None)


def _spread(cluster: "VirtualCluster", msg_id: str) -> "Fault | None":
    """Of a broadcast: the fault that took the report of the death of an engine that it waits for."""
    living = {engine.uuid for engine in cluster.engines if is_expected(engine)}
    for shell in cluster.controller.members["broadcast"].shells:
        role = shell.role
        if isinstance(role, BroadcastScheduler):
            waits = [copy.target[0] for copy in role.copies.values() if copy.original == msg_id]
            if any(uuid not in living and uuid in cluster.registered.values() for uuid in waits):
                return death(cluster)
    return None


__all__ = ["DEATHS", "death", "excuse"]
