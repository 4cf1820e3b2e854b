"""What a scenario is, and the words in which one says what must hold.

    @scenario("faults")
    def results_are_lost(cluster: VirtualCluster) -> None:
        '''Every second result is lost on its way to the scheduler. The others arrive.'''

A scenario is a function of a cluster that has some engines. It lets things happen and says what must hold, each time
with the requirement that says so; whoever runs it demands afterwards, for all scenarios alike, that everything comes to
rest once it is healed, and that no rule was broken. Its name is the function's, in kebab-case.

`needs` names what not every cluster has: `parts` (that parts of the controller can be stopped by themselves), `hosts`
(that peers can be cut off from each other), `faults` (`begin`, with the vocabulary of `simulator.faults`). Real
processes can do some of each; what they cannot is refused when it is asked for.
"""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from functools import wraps
from typing import Any, Concatenate, Final, Literal, NamedTuple, ParamSpec

from protocol.world import SECOND, Cluster, ClusterEngine, Task

Need = Literal["parts", "hosts", "faults"]
P = ParamSpec("P")
#: Nanoseconds in which something must have happened that nothing keeps from happening.
SOON: Final = 20 * SECOND
#: Nanoseconds after which a heart that is silent must have been given up, and one that is late must not.
DEATH: Final = 2 * SECOND
MISS: Final = SECOND // 5


class Demand(NamedTuple):
    """A call of one of `DEMANDS` without the cluster, its first argument; `began` is when, in the cluster's time."""

    name: str
    args: tuple[Any, ...]
    named: dict[str, Any]
    began: int


class Unmet(Exception):
    """Something that must hold did not: `requirement` is the slug of what demands it.

    `demand` is the call that demanded it, where it was one of `DEMANDS`: nobody knows what else a scenario's code asks.
    """

    def __init__(self, requirement: str, what: str) -> None:
        super().__init__(f"{requirement}: {what}")
        self.requirement = requirement
        self.what = what
        self.demand: Demand | None = None


@dataclass(frozen=True)
class Scenario:
    """One scenario. `is_inside`: whether its faults are within ZeroMQ's contract; `text` says what happens.

    `config` is what its controller has besides the usual, `jitter` by how many nanoseconds messages may be late.
    """

    name: str
    run: Callable[[Any], None]
    engines: int
    needs: frozenset[Need]
    is_inside: bool
    text: str
    config: Mapping[str, Any] = field(default_factory=dict)
    jitter: int | None = None


#: Every scenario by its name.
SCENARIOS: Final[dict[str, Scenario]] = {}
#: The demands that can be told from their arguments alone, by name.
DEMANDS: Final[dict[str, Callable[..., None]]] = {}


def scenario(
    *needs: Need, engines: int = 3, is_inside: bool = True, jitter: int | None = None, **config: Any
) -> Callable[[Callable[[Any], None]], Callable[[Any], None]]:
    """Register a scenario that is run with at least so many engines, and a controller with this configuration."""

    def register(run: Callable[[Any], None]) -> Callable[[Any], None]:
        name = run.__name__.replace("_", "-")
        text = " ".join((run.__doc__ or "").split())
        assert name not in SCENARIOS, name
        assert text, name
        SCENARIOS[name] = Scenario(name, run, engines, frozenset(needs), is_inside, text, config, jitter)
        return run

    return register


# -- what must hold ------------------------------------------------------------------------------------------------


def must(holds: bool, requirement: str, what: str) -> None:
    """Demand something now. Raises Unmet."""
    if not holds:
        raise Unmet(requirement, what)


def becomes(cluster: Cluster, predicate: Callable[[], bool], requirement: str, what: str, within: int = SOON) -> None:
    """Let time pass until something holds, which must be within so many nanoseconds. Raises Unmet."""
    if not cluster.run_until(predicate, cluster.now + within):
        raise Unmet(requirement, f"{what}, in {within / SECOND:g} s")


def _kept(demand: Callable[Concatenate[Cluster, P], None]) -> Callable[Concatenate[Cluster, P], None]:
    """Make a demand say which it was, where it is not met."""

    @wraps(demand)
    def demanding(cluster: Cluster, /, *args: P.args, **named: P.kwargs) -> None:
        began = cluster.now
        try:
            demand(cluster, *args, **named)
        except Unmet as unmet:
            unmet.demand = Demand(demand.__name__, args, named, began)
            raise

    DEMANDS[demand.__name__] = demanding
    return demanding


@_kept
def ends(cluster: Cluster, tasks: Collection[Task], *, status: str = "", within: int = SOON) -> None:
    """Demand that all tasks are answered, with this status if one is given."""
    cluster.run_until(lambda: all(task.is_done for task in tasks), cluster.now + within)
    waiting = [task.msg_id for task in tasks if not task.is_done]
    must(not waiting, "wire.every-request-answered", f"no answer to {_few(waiting)} in {within / SECOND:g} s")
    if status:
        other = [f"{task.msg_id}: {task.status} {task.ename}".strip() for task in tasks if task.status != status]
        must(not other, "wire.reply-true", f"everything should have ended with {status!r}, but {_few(other)}")


def spreads(cluster: Cluster, task: Task, count: int, within: int = SOON) -> None:
    """Demand that a broadcast is answered by so many engines, whatever becomes of the others to which it went.

    It is from notifications that clients learn of engines that are gone: nobody has to answer for those.
    """
    becomes(
        cluster, lambda: task.count >= count, "broadcast.dead-target",
        f"{task.msg_id} must be answered by {count} engines that live, whoever else it went to", within,
    )  # fmt: skip


def is_registered(cluster: Cluster, engine: ClusterEngine) -> bool:
    """Whether the Hub names an engine."""
    return engine.uuid in cluster.registered.values()


@_kept
def dies(cluster: Cluster, engine: ClusterEngine, within: int = SOON) -> None:
    """Demand that the Hub gives an engine up."""
    becomes(
        cluster, lambda: not is_registered(cluster, engine), "heartbeat.silent-engine-removed",
        f"{engine.uuid} is gone, and must be given up", within,
    )  # fmt: skip


@_kept
def returns(cluster: Cluster, engine: ClusterEngine, within: int = SOON) -> None:
    """Demand that the Hub names an engine again."""
    becomes(
        cluster, lambda: is_registered(cluster, engine), "registration.can-return",
        f"{engine.uuid} lives, and must be registered", within,
    )  # fmt: skip


@_kept
def stays(cluster: Cluster, engine: ClusterEngine, nanoseconds: int) -> None:
    """Demand that an engine is registered for so long without a break."""
    is_lost = cluster.run_until(lambda: not is_registered(cluster, engine), cluster.now + nanoseconds)
    must(not is_lost, "heartbeat.removal-not-early", f"{engine.uuid} beats, and was given up")


def _few(items: list[str]) -> str:
    shown = ", ".join(items[:3])
    return f"{shown} and {len(items) - 3} more" if len(items) > 3 else shown


__all__ = [
    "DEATH",
    "DEMANDS",
    "MISS",
    "SCENARIOS",
    "SOON",
    "Demand",
    "Need",
    "Scenario",
    "Unmet",
    "becomes",
    "dies",
    "ends",
    "is_registered",
    "must",
    "returns",
    "scenario",
    "spreads",
    "stays",
]
