"""Why ipyparallel has not answered a request, or keeps what is over, where that is known: which of the findings it is.

It is read from what its parts wrote into their logs while they dealt with that request, and from where their scheduler
has it. What no row here knows of is new.
"""

from collections.abc import Iterator
from typing import Final, NamedTuple

from conformance.targets.adapters.controller import IpyparallelController
from conformance.targets.adapters.parts import QUEUES, CodePart, TaskPart
from simulator.cluster import VirtualCluster
from simulator.faults import Damaged, Garbage, Nonsense


class Row(NamedTuple):
    """One defect of their task scheduler: the page of the findings, and what all stands in its complaint.

    `is_own`: whether it complains of the request itself; else of any, after which requests that wait are lost.
    """

    page: str
    words: tuple[str, ...]
    is_own: bool = True


ROWS: Final = (
    Row("follows-what-never-ran", ("in dispatch_submission", "in maybe_run", "self.destinations[m]")),
    Row("refused-beside-waiting", ("in dispatch_submission", "in fail_unreachable", "self.graph[mid].remove")),
    Row("unreadable-metadata", ("in dispatch_submission", "in __init__", "dependency.py")),
    Row("unreadable-metadata", ("in dispatch_submission", "float(timeout)")),
    Row("unreadable-metadata", ("in dispatch_submission", "for t in targets")),
    Row("returns-while-its-tasks-are-open", ("in dispatch_submission", "in can_run", "self.completed[target]")),
    Row("returns-while-its-tasks-are-open", ("in can_run", "self.completed[target]"), is_own=False),
    Row("dependents-run-twice", ("in update_graph", "self.queue_map.pop(msg_id)"), is_own=False),
)
#: What their scheduler complains of when a task is answered that has been answered before: it stays entered.
TWICE: Final = ("in dispatch_result", "self.retries[msg_id]")
#: The requirement that nothing is left of engines that are gone.
CONVERGES: Final = "task.converges"
#: What an answer breaks that the Hub gives to a message of which only the delimiter is left, and its complaint of that.
ANSWERS: Final = ("wire.reply-parent", "query.hub-error-names-request")
BAD: Final = "Bad Query Message: []"


def cause(cluster: VirtualCluster, requirement: str, msg_id: str) -> str:
    """The page of the finding for which a request stays open, or a requirement is broken; empty if none is known."""
    controller = cluster.controller
    assert isinstance(controller, IpyparallelController)
    if requirement in ANSWERS:
        is_answered = any(text.startswith(BAD) for _, text in _complaints(controller, "hub"))
        return "strangers-are-answered" if is_answered else ""
    complaints = list(_complaints(controller, "tasks"))
    if requirement == CONVERGES:
        is_twice = any(all(word in text for word in TWICE) for _, text in complaints)
        return "same-id-runs-twice" if is_twice else ""
    waits = controller.scheduler is not None and msg_id in controller.scheduler.queue_map
    for row in ROWS:
        for about, text in complaints:
            if (about == msg_id if row.is_own else waits) and all(word in text for word in row.words):
                return row.page
    if _is_refused_everywhere(controller, msg_id):
        return "retry-never-where-it-failed"
    if _is_forgotten(controller, msg_id):
        return "returns-while-its-tasks-are-open"
    if _is_swallowed(cluster, msg_id):
        return "one-frame-stops-a-queue"
    return "broadcast-waits-for-the-dead" if _is_for_the_dead(cluster, msg_id) else ""


def _complaints(controller: IpyparallelController, name: str) -> Iterator[tuple[str, str]]:
    for part in controller.members[name].parts:
        if isinstance(part, CodePart):
            yield from part.complaints


def _is_refused_everywhere(controller: IpyparallelController, msg_id: str) -> bool:
    """Whether it has failed on every engine that there is, and may be tried once more."""
    scheduler = controller.scheduler
    job = None if scheduler is None else scheduler.queue_map.get(msg_id)
    return job is not None and bool(job.metadata.get("retries")) and job.blacklist.issuperset(scheduler.targets)


def _is_forgotten(controller: IpyparallelController, msg_id: str) -> bool:
    """Whether it was taken and is nowhere any more, where some engine has come back under its name."""
    scheduler = controller.scheduler
    if scheduler is None or msg_id not in scheduler.all_ids or msg_id in scheduler.all_done:
        return False
    (part,) = controller.members["tasks"].parts
    is_there = msg_id in scheduler.queue_map or any(msg_id in jobs for jobs in scheduler.pending.values())
    return not is_there and isinstance(part, TaskPart) and any(count > 1 for count in part.lives.values())


def _is_swallowed(cluster: VirtualCluster, msg_id: str) -> bool:
    """Whether a monitored queue took it and gave it to no engine, in a run in which something too short was sent."""
    recorder = cluster.world.recorder
    hops = recorder.hops.get(msg_id, []) if recorder is not None else []
    is_short = any(isinstance(one.fault, Damaged | Garbage | Nonsense) for one in cluster.stage.troubles)
    if not hops or not is_short or hops[-1].process not in QUEUES:
        return False
    return hops[-1].what == "took" or all(engine.uuid != hops[-1].towards for engine in cluster.engines)


def _is_for_the_dead(cluster: VirtualCluster, msg_id: str) -> bool:
    """Whether it is a broadcast with a target that is no engine any more, or one in a later life."""
    lasting = {engine.uuid for engine in cluster.engines if engine.is_alive and engine.process.name == engine.name}
    requests = [client.role.open[msg_id] for client in cluster.clients if msg_id in client.role.open]
    return any(one.socket == "broadcast" and not lasting.issuperset(one.targets or ()) for one in requests)


__all__ = ["ANSWERS", "CONVERGES", "ROWS", "cause"]
