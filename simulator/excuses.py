"""What follows from a message that a fault took, for those who had no part in it.

A task whose dispatch or result was lost stays with its engine for ever, since nobody can know: what waits for that
engine's room, or for that task's outcome, waits as well.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Final

from protocol.roles.task import TaskScheduler
from protocol.roles.task.tasks import QUEUED
from simulator.settling import Matter

if TYPE_CHECKING:
    from simulator.cluster import VirtualCluster

_NOTHING: Final[Mapping[str, str]] = {}


def excuse(cluster: "VirtualCluster", matter: Matter, known: Mapping[str, str] = _NOTHING) -> str | None:
    """The fault from which it follows that this is still open, or None; `known` says which excuse other requests."""
    return _queued(cluster, matter.msg_id, known, set()) if matter.msg_id else None


def _taken(cluster: "VirtualCluster", msg_id: str, known: Mapping[str, str]) -> str | None:
    for trouble in cluster.stage.troubles:
        if trouble.fault.TAKES and any(msg_id in one[3:] for one in trouble.taken):
            return repr(trouble.fault)
    return known.get(msg_id)


def _queued(cluster: "VirtualCluster", msg_id: str, known: Mapping[str, str], seen: set[str]) -> str | None:
    """Of a task that waits: the fault that took what occupies every engine, or what it depends on."""
    scheduler = cluster.controller.role("tasks")
    task = scheduler.tasks.get(msg_id) if isinstance(scheduler, TaskScheduler) else None
    if task is None or not isinstance(scheduler, TaskScheduler) or msg_id in seen:
        return None
    seen.add(msg_id)
    found = _taken(cluster, msg_id, known)
    if found is not None or task.engine is not None:
        return found
    if task.state == QUEUED:
        engines = [list(engine.pending) for engine in scheduler.engines.values()]
        if not all(len(pending) >= scheduler.limit for pending in engines):
            return None
        holders = [_taken(cluster, one, known) for pending in engines for one in pending]
        return holders[0] if holders and None not in holders else None
    needs = () if task.demands is None else task.demands.needs
    reasons = (_queued(cluster, each, known, seen) for need in needs for each in need.left)
    return next((fault for fault in reasons if fault is not None), None)


__all__ = ["excuse"]
