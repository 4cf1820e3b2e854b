"""What follows from a message that a fault took, for those who had no part in it.

A task whose dispatch or result was lost stays with its engine for ever, since nobody can know: what waits for that
engine's room, or for that task's outcome, waits as well.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Final

from simulator.settling import Matter
from simulator.standing import Backlog

if TYPE_CHECKING:
    from simulator.cluster import VirtualCluster

_NOTHING: Final[Mapping[str, str]] = {}


def excuse(cluster: "VirtualCluster", matter: Matter, known: Mapping[str, str] = _NOTHING) -> str | None:
    """The fault from which it follows that this is still open, or None; `known` says which excuse other requests."""
    backlog = cluster.controller.backlog() if matter.msg_id else None
    return None if backlog is None else _queued(cluster, backlog, matter.msg_id, known, set())


def _taken(cluster: "VirtualCluster", msg_id: str, known: Mapping[str, str]) -> str | None:
    for trouble in cluster.stage.troubles:
        if trouble.fault.TAKES and any(msg_id in one[3:] for one in trouble.taken):
            return repr(trouble.fault)
    return known.get(msg_id)


def _queued(
    cluster: "VirtualCluster", backlog: Backlog, msg_id: str, known: Mapping[str, str], seen: set[str]
) -> str | None:
    """Of a task that waits: the fault that took what occupies every engine, or what it depends on."""
    is_given = any(msg_id in pending for pending in backlog.pending.values())
    if msg_id in seen or not (is_given or msg_id in backlog.needs):
        return None
    seen.add(msg_id)
    found = _taken(cluster, msg_id, known)
    if found is not None or is_given:
        return found
    if not backlog.needs[msg_id]:
        engines = list(backlog.pending.values())
        if not all(len(pending) >= backlog.limit for pending in engines):
            return None
        holders = [_taken(cluster, one, known) for pending in engines for one in pending]
        return holders[0] if holders and None not in holders else None
    reasons = (_queued(cluster, backlog, each, known, seen) for each in backlog.needs[msg_id])
    return next((fault for fault in reasons if fault is not None), None)


__all__ = ["excuse"]
