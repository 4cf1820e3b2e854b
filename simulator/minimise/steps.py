"""A run as steps: what is asked of a cluster, one after the other, and how much time passes between.

    Case(steps=(
        Step(does="client", makes=Ref(kind="client", number=1)),
        Step(after=SECOND, does="submit", who=Ref(kind="client", number=1), makes=Ref(kind="task", number=1)),
    ), engines=2)

A step is a call of a method of the cluster, a client, an engine or a fault that has begun, or a demand of
`simulator.scenarios`. What an earlier step made is named by a `Ref`. Engines and clients have the numbers of their
names, from 1 in the order in which they start; the numbers of tasks and faults mean nothing.
"""

from collections.abc import Mapping
from typing import Any, Final, Literal

import msgspec

from simulator.cluster import VirtualCluster
from simulator.faults import Fault
from simulator.scenarios.scenario import DEMANDS, Need, Scenario

#: What a step can make; an `id` is the msg_id of the task of that number.
Kind = Literal["client", "engine", "task", "trouble", "id"]

#: Steps that ask for work.
REQUESTS: Final = frozenset({"submit", "apply", "execute", "broadcast", "control", "ask", "abort", "query", "wait"})
#: Steps that bring somebody into the cluster.
NODES: Final = frozenset({"client", "engine"})
#: What a step needs a cluster to be able to do, where not every cluster can.
_PARTS: Final = frozenset({"kill", "restart", "pause", "resume", "stall"})
#: What is no fault, and can be left out with the faults.
_MENDING: Final = frozenset({"end", "heal", "restart", "resume", "leave"})
_HOSTS: Final = frozenset({"partition", "heal"})


class Ref(msgspec.Struct, frozen=True, kw_only=True):
    """What an earlier step has made."""

    kind: Kind
    number: int


class Step(msgspec.Struct, frozen=True, kw_only=True):
    """One call: `who` does it, the cluster if that is None, `after` nanoseconds since the step before was done.

    Arguments hold values, `Ref`s, and tuples and dicts of them.
    """

    does: str
    after: int = 0
    who: Ref | None = None
    args: tuple[Any, ...] = ()
    named: dict[str, Any] = {}
    makes: Ref | None = None

    @property
    def is_request(self) -> bool:
        """Whether it asks for work, or for something to be known."""
        return self.does in REQUESTS

    @property
    def is_node(self) -> bool:
        """Whether somebody joins."""
        return self.does in NODES and self.who is None

    @property
    def is_demand(self) -> bool:
        """Whether it says what must hold."""
        return self.does in DEMANDS and self.who is None

    @property
    def is_trouble(self) -> bool:
        """Whether something goes wrong, or is mended."""
        return not (self.is_request or self.is_node or self.is_demand)


class Case(msgspec.Struct, frozen=True, kw_only=True):
    """A run: its steps, and `rest` nanoseconds until everything is healed.

    `engines` are there from the beginning; `config` is what the controller has besides the usual, and `jitter` by how
    many nanoseconds messages may be late (None: as usual).
    """

    steps: tuple[Step, ...]
    engines: int = 0
    rest: int = 0
    seed: int = 0
    config: dict[str, Any] = {}
    jitter: int | None = None

    @property
    def needs(self) -> list[Need]:
        """What its cluster must be able to do."""
        found: list[Need] = []
        if any(step.does in _PARTS and step.who is None for step in self.steps):
            found.append("parts")
        if any(step.does in _HOSTS for step in self.steps):
            found.append("hosts")
        if any(step.does in ("begin", "end") for step in self.steps):
            found.append("faults")
        return found

    @property
    def is_inside(self) -> bool:
        """Whether what goes wrong is within ZeroMQ's contract."""
        faults = [value for step in self.steps for value in step.args if isinstance(value, Fault)]
        return all(fault.IS_INSIDE for fault in faults) and not any(
            step.named.get("keeps_disk") is False for step in self.steps
        )

    @property
    def size(self) -> str:
        """What there is of everything, in words."""
        requests = sum(step.is_request for step in self.steps)
        faults = sum(step.is_trouble and step.does not in _MENDING for step in self.steps)
        joined = [sum(step.does == node for step in self.steps if step.is_node) for node in ("engine", "client")]
        lasts = sum(step.after for step in self.steps) + self.rest
        engines = self.engines + joined[0]
        words = ((engines, "engine"), (joined[1], "client"), (requests, "request"), (faults, "fault"))
        counted = ", ".join(f"{number} {word}{'' if number == 1 else 's'}" for number, word in words)
        return f"{counted}, {lasts / 1e9:g} s"


def play(cluster: VirtualCluster, case: Case) -> None:
    """Carry out the steps in a cluster that has its engines. Raises Unmet where a demand is not met."""
    known: dict[Ref, Any] = {}
    for step in case.steps:
        if step.after:
            cluster.run_for(step.after)
        args = [_resolved(value, cluster, known) for value in step.args]
        named = {name: _resolved(value, cluster, known) for name, value in step.named.items()}
        if step.is_demand:
            DEMANDS[step.does](cluster, *args, **named)
            continue
        subject = cluster if step.who is None else _resolved(step.who, cluster, known)
        made = getattr(subject, step.does)(*args, **named)
        if step.makes is not None:
            known[step.makes] = made
    if case.rest:
        cluster.run_for(case.rest)


def _resolved(value: Any, cluster: VirtualCluster, known: Mapping[Ref, Any]) -> Any:
    if isinstance(value, Ref):
        if value.kind == "engine":
            return cluster.engines[value.number - 1]
        if value.kind == "id":
            return known[Ref(kind="task", number=value.number)].msg_id
        return known[value]
    if isinstance(value, tuple):
        return [_resolved(each, cluster, known) for each in value]
    if isinstance(value, dict):
        return {key: _resolved(each, cluster, known) for key, each in value.items()}
    return value


def scenario_of(case: Case, name: str) -> Scenario:
    """The case as a scenario that can be run."""
    return Scenario(
        name=name, run=lambda cluster: play(cluster, case), engines=case.engines, needs=frozenset(case.needs),
        is_inside=case.is_inside, text=name, config=case.config, jitter=case.jitter,
    )  # fmt: skip


__all__ = ["Case", "Kind", "Ref", "Step", "play", "scenario_of"]
