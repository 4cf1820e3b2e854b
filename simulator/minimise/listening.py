"""Taking down what a scenario, a workload or a plan of faults asks of a cluster, so that it can be asked again.

    listener = Listener()
    outcome = run(setup, hooks=Hooks(on_cluster=listener.listen))
    case = listener.case(outcome)

Only what comes from outside counts: what a fault, a client or the cluster does to others on its own account will be
done again when the same is asked. What is done with the parts behind a cluster's back (its network, its processes) is
not heard, and what fails for that cannot be told.
"""

from collections.abc import Callable, Iterable
from functools import wraps
from typing import Any, Final

from simulator.asking import Asked
from simulator.clients import VirtualClient
from simulator.cluster import CONFIG, VirtualCluster
from simulator.engines import VirtualEngine
from simulator.minimise.steps import REQUESTS, Case, Ref, Step
from simulator.run import Outcome
from simulator.scenarios.scenario import Demand
from simulator.stage import Trouble

#: What can be asked of whom.
_OF_CLUSTER: Final = ("client", "engine", "kill", "restart", "pause", "resume", "stall", "partition", "heal", "begin")
_OF_ENGINE: Final = ("kill", "stop", "pause", "resume", "stall", "stop_heart", "restart")
_OF_CLIENT: Final = (*sorted(REQUESTS), "leave")
#: What differs from run to run in the configuration of a controller.
_CONFIG: Final = ("scheme", "hwm", "broadcast_depth")


class Listener:
    """Hears one run."""

    def __init__(self) -> None:
        self._steps: list[Step] = []
        self._cluster: VirtualCluster
        self._engines = 0
        self._jitter: int | None = None
        self._depth = 0
        #: When the step before was done, and when everything was healed.
        self._done = 0
        self._end: int | None = None
        self._refs: dict[int, Ref] = {}
        self._ids: dict[str, int] = {}
        #: What has a number must not be forgotten, or another would get its id().
        self._kept: list[object] = []
        self._counts: dict[str, int] = {}

    def listen(self, cluster: VirtualCluster) -> None:
        """Hear what is asked of a cluster from now on."""
        self._cluster = cluster
        self._engines = len(cluster.engines)
        self._done = cluster.now
        for engine in cluster.engines:
            self._meet(engine)
        self._hear(cluster, _OF_CLUSTER)
        mend = cluster.mend

        def mending() -> None:
            # What happens afterwards happens in every run.
            self._end = cluster.now if self._end is None else self._end
            mend()

        cluster.mend = mending  # type: ignore[method-assign]

    def case(self, outcome: Outcome, *, has_demand: bool = True) -> Case:
        """What was heard, with the demand that was not met if that is wanted."""
        steps, end = list(self._steps), self._done if self._end is None else self._end
        rest = end - self._done
        demand = outcome.unmet.demand if outcome.unmet is not None else None
        if has_demand and demand is not None:
            steps.append(self._demanded(demand))
            rest = 0
        config = {name: getattr(self._cluster.config, name) for name in _CONFIG}
        return Case(
            steps=tuple(steps), engines=self._engines, rest=rest, seed=outcome.setup.seed,
            config={name: value for name, value in config.items() if value != getattr(CONFIG, name)},
        )  # fmt: skip

    def _demanded(self, demand: Demand) -> Step:
        args = tuple(self._told(value) for value in demand.args)
        named = {name: self._told(value) for name, value in demand.named.items()}
        return Step(does=demand.name, after=demand.began - self._done, args=args, named=named)

    # -- hearing -----------------------------------------------------------------------------------------------------

    def _hear(self, subject: object, methods: Iterable[str]) -> None:
        for name in methods:
            setattr(subject, name, self._heard(subject, name, getattr(subject, name)))

    def _heard(self, subject: object, name: str, method: Callable[..., Any]) -> Callable[..., Any]:
        who = self._refs.get(id(subject))

        @wraps(method)
        def heard(*args: Any, **named: Any) -> Any:
            if self._depth or self._end is not None:
                return method(*args, **named)
            given = [_kept(value) for value in args]
            kept = {key: _kept(value) for key, value in named.items()}
            told = tuple(self._told(value) for value in given)
            told_named = {key: self._told(value) for key, value in kept.items()}
            after = self._cluster.now - self._done
            self._depth += 1
            try:
                made = method(*given, **kept)
            finally:
                self._depth -= 1
            makes = self._meet(made)
            self._steps.append(Step(does=name, after=after, who=who, args=told, named=told_named, makes=makes))
            self._done = self._cluster.now
            return made

        return heard

    def _meet(self, made: object) -> Ref | None:
        """Give what was made a number, and hear what is asked of it."""
        if isinstance(made, Asked):
            ref = self._number("task", made)
            self._ids[made.msg_id] = ref.number
            return ref
        if isinstance(made, VirtualClient):
            ref = self._number("client", made)
            self._hear(made, _OF_CLIENT)
        elif isinstance(made, VirtualEngine):
            ref = self._number("engine", made)
            self._hear(made, _OF_ENGINE)
        elif isinstance(made, Trouble):
            ref = self._number("trouble", made)
            self._hear(made, ("end",))
        else:
            return None
        return ref

    def _number(self, kind: Any, made: object) -> Ref:
        count = self._counts[kind] = self._counts.get(kind, 0) + 1
        ref = self._refs[id(made)] = Ref(kind=kind, number=count)
        self._kept.append(made)
        return ref

    def _told(self, value: Any) -> Any:
        """A value as a step has it."""
        if id(value) in self._refs:
            return self._refs[id(value)]
        if isinstance(value, str) and value in self._ids:
            return Ref(kind="id", number=self._ids[value])
        if isinstance(value, list | tuple):
            return tuple(self._told(each) for each in value)
        if isinstance(value, dict):
            return {key: self._told(each) for key, each in value.items()}
        return value


def _kept(value: Any) -> Any:
    """A value that can be looked at more than once."""
    return list(value) if isinstance(value, Iterable) and not isinstance(value, str | bytes | dict) else value


__all__ = ["Listener"]
