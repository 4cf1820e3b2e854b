"""One run: a cluster, work and faults; then everything is healed, and what came of it is judged.

    outcome = run(Setup(name="swarm", seed=17))
    outcome = run(Setup(name="mass-death", seed=17, has_trace=True))

A run has two phases. In the safety phase, a scenario or a plan of faults happens to clients at work. Then all faults
are healed, whatever is down starts again, and everything must converge: the healed phase. What is still open then is a
violation, unless a fault took the message on which it depends; what was excused is listed with that fault.

A `Setup` is a value from which the whole run follows: it can be written into a file, changed, and run again.
"""

from collections.abc import Callable, Mapping
from typing import Final, NamedTuple

import msgspec

from protocol.roles.assembly import ControllerConfig
from protocol.world import SECOND
from simulator.cluster import CONFIG, JITTER, REST, STEP, VirtualCluster
from simulator.engines import USUAL
from simulator.excuses import excuse
from simulator.faults import Fault
from simulator.judge import Judgement, judge
from simulator.lacking import Lacking
from simulator.plans import Draw, Hardness, Plan
from simulator.scenarios import SCENARIOS, Scenario, Unmet
from simulator.settling import Matter, is_expected, open_matters
from simulator.shell import VirtualShell
from simulator.standing import Maker
from simulator.trace import Trace
from simulator.workloads import Workload
from simulator.world import SCHEME

#: The name of runs whose work and faults are drawn.
SWARM: Final = "swarm"
#: Nanoseconds in which everything must have come to rest once it is healed.
HEALED: Final = 90 * SECOND
_SCHEMES: Final = ("leastload", "lru", "plainrandom", "twobin", "weighted")


class Setup(msgspec.Struct, frozen=True, kw_only=True):
    """Everything from which a run follows.

    `name` is that of a scenario, or `swarm`. A swarm has `engines`, `clients` and `tasks` requests in `lasts`
    nanoseconds; its faults are `plan`, or drawn with `faults` if that is None. A scenario has the engines that it
    needs, or more. Without `is_judged` no rule looks; `keeps_items` lets a violation show what led to it. `mutant`
    names the mistake that somebody makes on purpose: whoever runs this brings it along, see `Hooks`.
    `schedule` orders what is due at about the same time, see `simulator.schedules`. `controller` names one that is not
    the kit's own: whoever runs this brings it along, too.
    """

    name: str = SWARM
    seed: int = 0
    engines: int | None = None
    clients: int = 2
    tasks: int = 40
    lasts: int = 3 * SECOND
    faults: Hardness = "hard"
    plan: Plan | None = None
    is_encoded: bool = False
    has_trace: bool = False
    is_judged: bool = True
    keeps_items: bool = False
    mutant: str = ""
    schedule: str = ""
    controller: str = ""


class Blame(NamedTuple):
    """What was broken, and by whom: a process, or empty where a scenario's demand was not met and it names nobody."""

    requirement: str
    guilty: str


class Known(NamedTuple):
    """A violation that somebody has looked at before: the requirement, what was found, and the reason why it is so."""

    requirement: str
    text: str
    reason: str


class Outcome(msgspec.Struct, kw_only=True):
    """What came of a run. `violations` are texts that begin with the requirement; `digest` is empty without a trace.

    `blames` say of each in the same order what it is about; `unmet` is the demand of the scenario that was not met.
    `excused` is what stays open since a fault took its message, `lasted` are the virtual nanoseconds. `lacking` says
    what the controller would need for the scenario, of which nothing was judged then. `known` is filled by whoever
    knows what the controller breaks.
    """

    setup: Setup
    plan: Plan = ()
    violations: list[str] = []
    blames: list[Blame] = []
    unmet: Unmet | None = None
    excused: list[str] = []
    known: list[Known] = []
    marks: dict[str, int] = {}
    digest: str = ""
    lasted: int = 0
    lacking: str = ""
    judgement: Judgement | None = None
    trace: Trace | None = None

    @property
    def is_clean(self) -> bool:
        """Whether nothing was violated."""
        return not self.violations

    def accuse(self, requirement: str, guilty: str, text: str) -> None:
        """One more violation."""
        self.violations.append(text)
        self.blames.append(Blame(requirement, guilty))


class Hooks(NamedTuple):
    """What looks into a run: `on_shell` is given the shell of each role of the controller before its first event,
    `on_engine` those of engines, `on_cluster` the cluster before anybody does anything in it.

    `kinds` and `scheme` are what is unlike the usual in it: types of sockets, and how messages are signed; `maker`
    makes a controller that is not the kit's own.
    """

    on_shell: Callable[[VirtualShell], object] | None = None
    on_cluster: Callable[[VirtualCluster], object] | None = None
    on_engine: Callable[[VirtualShell], object] | None = None
    kinds: Mapping[tuple[str, str], str] = USUAL
    scheme: str = SCHEME
    maker: Maker | None = None


#: Nobody looks, and nothing is changed.
NOBODY: Final = Hooks()


def run(setup: Setup, scenario: Scenario | None = None, hooks: Hooks = NOBODY) -> Outcome:
    """Carry out one run; `scenario` stands for the one that the setup names.

    Raises KeyError for a scenario that does not exist.
    """
    outcome = Outcome(setup=setup)
    if scenario is None and setup.name != SWARM:
        scenario = SCENARIOS[setup.name]
    cluster = _swarm(setup, outcome, hooks) if scenario is None else _scenario(setup, scenario, outcome, hooks)
    if not outcome.lacking:
        _heal(cluster)
    if setup.is_judged and not outcome.lacking:
        judgement = outcome.judgement = judge(cluster)
        outcome.excused += map(str, judgement.excused)
        accused = list(judgement.violations)
        known = {one.msg_id: one.fault.name for one in judgement.excused}
        for matter in (*judgement.open, *judgement.remarks):
            fault = excuse(cluster, matter, known)
            if fault is not None:
                accused = [one for one in accused if not (matter.msg_id and one.found.startswith(f"{matter.what} "))]
                outcome.excused.append(f"{matter}: excused, as {fault}")
            elif not matter.msg_id:
                outcome.accuse(demanded(matter), matter.waits_on, f"{demanded(matter)}: {matter}")
        for violation in accused:
            outcome.accuse(violation.requirement, violation.guilty, str(violation))
    outcome.marks = cluster.world.marks
    outcome.lasted = cluster.now
    outcome.trace = cluster.world.trace
    if outcome.trace is not None:
        outcome.digest = outcome.trace.digest()
    return outcome


def _heal(cluster: VirtualCluster) -> None:
    """The healed phase: it is over when everything is at rest but that whose message a fault took."""
    cluster.mend()
    if not any(is_expected(engine) for engine in cluster.engines):
        # Tasks may wait for ever for an engine; that there is none is no fault of anybody.
        cluster.engine(is_awaited=False)
    troubles = [trouble for trouble in cluster.stage.troubles if trouble.fault.TAKES]
    taken = {one for trouble in troubles for *_, own, parent in trouble.taken for one in (own, parent)}
    # Heartbeats have no id, and what is no request waits for none.
    taken.discard("")
    deadline = cluster.now + HEALED
    # Rules about the end of a run say nothing before; and what seems to be at rest at first may only come to life.
    cluster.run_for(REST)
    while cluster.now < deadline and any(matter.msg_id not in taken for matter in open_matters(cluster)):
        cluster.run_for(STEP)


def demanded(matter: Matter) -> str:
    """The requirement that demands what is not at rest, where it is no request."""
    if matter.whose == "hub":
        return "heartbeat.silent-engine-removed" if matter.what.endswith("dead") else "registration.can-return"
    return "task.converges" if matter.whose == "tasks" else "notification.views-converge"


def _cluster(
    setup: Setup, engines: int, config: ControllerConfig, hooks: Hooks, scenario: Scenario | None = None
) -> VirtualCluster:
    jitter = JITTER if scenario is None or scenario.jitter is None else scenario.jitter
    # Others keep no records on a disk unless they are told to, as they are where a scenario may want them back.
    has_disk = hooks.maker is None or (scenario is not None and "parts" in scenario.needs)
    cluster = VirtualCluster(
        setup.seed, engines=engines, config=config, is_encoded=setup.is_encoded, has_trace=setup.has_trace,
        is_judged=setup.is_judged, keeps_items=setup.keeps_items, jitter=jitter, on_shell=hooks.on_shell,
        on_engine=hooks.on_engine, kinds=hooks.kinds, scheme=hooks.scheme, has_rarities=True, schedule=setup.schedule,
        maker=hooks.maker, has_disk=has_disk,
    )  # fmt: skip
    if hooks.on_cluster is not None:
        hooks.on_cluster(cluster)
    return cluster


def _scenario(setup: Setup, scenario: Scenario, outcome: Outcome, hooks: Hooks) -> VirtualCluster:
    engines = max(scenario.engines, setup.engines or 0)
    config = msgspec.structs.replace(CONFIG, **scenario.config)
    cluster = _cluster(setup, engines, config, hooks, scenario)
    try:
        scenario.run(cluster)
    except Lacking as lack:
        outcome.lacking = str(lack)
    except Unmet as unmet:
        outcome.unmet = unmet
        outcome.accuse(unmet.requirement, "", str(unmet))
    return cluster


def _swarm(setup: Setup, outcome: Outcome, hooks: Hooks) -> VirtualCluster:
    engines = 4 if setup.engines is None else setup.engines
    wardens = min(engines, setup.seed // 7 % 3)
    cluster = _cluster(setup, engines - wardens, _drawn_config(setup.seed), hooks)
    for _ in range(wardens):
        cluster.engine(has_warden=True)
    faults = cluster.world.kernel.faults
    drawn = Draw(faults, engines=engines, clients=setup.clients).plan(setup.lasts, setup.faults)
    plan = drawn if setup.plan is None else setup.plan
    outcome.plan = tuple(event for event in plan if not cluster.controller.lacks(event.fault))
    workload = Workload(cluster, clients=setup.clients, requests=setup.tasks, lasts=setup.lasts)
    begin, kernel = cluster.now, cluster.world.kernel
    for event in outcome.plan:
        kernel.at(begin + event.at, lambda event, _: _happens(cluster, event.fault, event.lasts), event)
    longest = max((event.at + (event.lasts or 0) for event in outcome.plan), default=0)
    cluster.run_for(max(setup.lasts, longest))
    # What was asked last gets a moment before everything is healed.
    cluster.run_until(lambda: workload.is_done, cluster.now + SECOND)
    return cluster


def _happens(cluster: VirtualCluster, fault: Fault, lasts: int | None) -> None:
    trouble = cluster.begin(fault)
    if lasts is not None:
        cluster.world.kernel.after(lasts, lambda *_: trouble.end())


def _drawn_config(seed: int) -> ControllerConfig:
    """Another controller for each seed: its scheme, how many tasks an engine may have, how deep its tree is."""
    return msgspec.structs.replace(
        CONFIG,
        scheme=_SCHEMES[seed % len(_SCHEMES)],
        hwm=(1, 0, 2, 1)[seed // len(_SCHEMES) % 4],
        broadcast_depth=seed // 3 % 3,
    )


__all__ = [
    "HEALED",
    "NOBODY",
    "SWARM",
    "Blame",
    "Hooks",
    "Known",
    "Outcome",
    "Setup",
    "demanded",
    "run",
]
