"""One scenario on real processes, from its start to its verdict.

    verdict = carry_out(Setup(name="mass-death", controller=load("reference"), engine=load("reference-engine")))

As in virtual time there is a safety phase, in which the scenario happens, and a healed phase, in which everything must
come to rest. The scenario's own demands count, what is open in the end, and what the rules find in what crossed the
relay. What the descriptors know of is told apart. What a fault took, altered or cut in two is an excuse for whatever
hangs on it; a demand that was not met while this process itself was held up says nothing about anybody.
"""

import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Final

import msgspec

from conformance.harness.verdict import Blocked, NotApplicable, Undecided, Violated
from conformance.onreal.cluster import RealCluster
from conformance.onreal.driven import UNTOLD
from conformance.onreal.judging import charges
from conformance.onreal.kernels import KERNELS, Stage
from conformance.onreal.watching import COMES, GOES, LATE, Touched
from conformance.targets.descriptor import Target
from conformance.targets.process import detect_version
from conformance.targets.tables import Timing
from conformance.targets.vocabulary import Role
from protocol.requirements import get
from protocol.world import SECOND
from simulator.cluster import CONFIG, STEP
from simulator.faults import Cut, Garbage, Nonsense, OddEngine, Replays
from simulator.lacking import Lacking
from simulator.run import demanded
from simulator.scenarios import SCENARIOS, Scenario, Unmet
from simulator.settling import Matter

#: Nanoseconds of a scenario's time in which everything must have come to rest once it is healed.
HEALED: Final = 30 * SECOND
#: Our own controller, whose engine is called after it.
KIT: Final = "reference"
ANSWERED: Final = "wire.every-request-answered"
TRUE: Final = "wire.reply-true"
#: Nanoseconds of a scenario's time between things that it does one after the other.
BRIEF: Final = SECOND // 2
#: Seconds that an engine waits for the answer to its registration, as in a simulation, and its patience with pings.
ENGINE_TIMEOUT: Final = 5.0
ENGINE_MISSES: Final = 50


class Setup(msgspec.Struct, frozen=True, kw_only=True):
    """What is run on what; without a `client` under test clients are the kit's. A plain kernel stands for all of them.

    `pace` is how much slower than in a simulation; `recording` is kept if it is named.
    """

    name: str
    controller: Target
    engine: Target
    client: Target | None = None
    seed: int = 0
    engines: int = 0
    pace: float = 2.0
    recording: Path | None = None

    @property
    def is_kernel(self) -> bool:
        """Whether there is only a plain kernel, with scenarios of its own."""
        return self.controller.roles == ("kernel",)

    @property
    def judged(self) -> Role:
        """Whom a demand blames that was not met: whoever is not the kit's own."""
        if self.is_kernel:
            return "kernel"
        if self.client is not None:
            return "client"
        return "engine" if self.controller.name == KIT and self.engine.name != f"{KIT}-engine" else "controller"


class Found(msgspec.Struct, frozen=True, kw_only=True):
    """Something that is not as it must be. `reason` is that of the known deviation which it is; empty for a new one."""

    requirement: str
    role: Role
    guilty: str
    text: str
    reason: str = ""

    def __str__(self) -> str:
        return self.text


class Verdict(msgspec.Struct, kw_only=True):
    """What came of a scenario. `lacking` says what this world lacks for it, and then nothing was judged.

    `undecided` says why what was not met says nothing; `seconds` by a clock on the wall.
    """

    name: str
    lacking: str = ""
    undecided: str = ""
    error: str = ""
    found: list[Found] = []
    excused: list[str] = []
    seconds: float = 0.0

    @property
    def new(self) -> list[Found]:
        """What no descriptor knows of."""
        return [one for one in self.found if not one.reason]

    @property
    def word(self) -> str:
        """In one word: `held`, `broken`, `known`, `not applicable`, `undecided` or `kit error`."""
        if self.error:
            return "kit error"
        if self.lacking:
            return "not applicable"
        if self.new:
            return "broken"
        if self.undecided:
            return "undecided"
        return "known" if self.found else "held"


def timed(setup: Setup) -> tuple[Target, Target, float]:
    """The targets with the timers that scenarios expect, and how much slower everything is then.

    Where a command says nothing of the heartbeat, the pace follows from the target's own.
    """
    controller, engine = setup.controller, setup.engine
    has = _placeholders(controller)
    if not {"heartbeat_period_ms", "allowed_misses"} <= has:
        low, _ = controller.timing.heart_failure
        return controller, engine, max(setup.pace, low / ((CONFIG.misses + 1) * CONFIG.period_ms * 1_000_000))
    pace = setup.pace
    timing = msgspec.structs.replace(
        controller.timing,
        heartbeat_period_ms=round(CONFIG.period_ms * pace),
        allowed_misses=CONFIG.misses,
        start_deadline_s=max(controller.timing.start_deadline_s, 60.0),
    )
    if "registration_timeout_s" in has:
        timing = msgspec.structs.replace(timing, registration_timeout_s=round(CONFIG.registration_timeout_s * pace))
    if "scheduler_grace_s" in has:
        timing = msgspec.structs.replace(timing, scheduler_grace_s=CONFIG.scheduler_grace_s * pace)
    theirs = msgspec.structs.replace(
        engine.timing, engine_timeout_s=ENGINE_TIMEOUT * pace, engine_misses=ENGINE_MISSES,
        heartbeat_period_ms=timing.heartbeat_period_ms,
    )  # fmt: skip
    return (
        msgspec.structs.replace(controller, timing=timing),
        msgspec.structs.replace(engine, timing=theirs),
        pace,
    )


def _placeholders(target: Target) -> set[str]:
    """The timers that a controller's command sets."""
    command = " ".join(target.controller.command) if target.controller is not None else ""
    return {field.name for field in msgspec.structs.fields(Timing) if f"{{{field.name}}}" in command}


def carry_out(setup: Setup) -> Verdict:
    """Carry out one scenario. Raises KeyError if there is none of this name, and TargetUnusable."""
    verdict = Verdict(name=setup.name)
    started = time.monotonic()
    if setup.is_kernel:
        _try_kernel(setup, verdict)
        _tell_known(setup, verdict)
        verdict.seconds = time.monotonic() - started
        return verdict
    try:
        _carry_out(setup, SCENARIOS[setup.name], verdict)
    except Undecided as end:
        verdict.undecided = str(end)
    _tell_known(setup, verdict)
    verdict.seconds = time.monotonic() - started
    return verdict


def _carry_out(setup: Setup, scenario: Scenario, verdict: Verdict) -> None:
    """Carry out a scenario with a controller. Raises Undecided if it never began."""
    controller, engine, pace = timed(setup)
    with tempfile.TemporaryDirectory(prefix="ippkit-") as directory:
        path = setup.recording or Path(directory) / "recording.jsonl"
        with path.open("wb") as stream:
            path.chmod(0o600)
            cluster = RealCluster(
                controller, engine, stream, pace=pace, seed=setup.seed,
                engines=max(scenario.engines, setup.engines), settings=_settings(scenario, controller),
                client=setup.client,
            )  # fmt: skip
            with cluster:
                _happen(cluster, scenario, verdict, setup.judged)
                robbed = cluster.running.robbed()
        if robbed:
            # Whoever talks there says nothing about the target.
            verdict.found.clear()
            verdict.undecided = robbed
        elif not verdict.lacking:
            _judge(path, cluster, setup, verdict)


def _try_kernel(setup: Setup, verdict: Verdict) -> None:
    """Carry out a scenario of a plain kernel."""
    scenario = KERNELS.get(setup.name)
    if scenario is None:
        verdict.lacking = "a controller and its engines, and a plain kernel has neither"
        return
    stage = Stage(setup.controller)
    try:
        scenario.run(stage)
        for violation in () if scenario.touches else stage.kernel.judge_new():
            if get(violation.requirement).level == "MUST":
                verdict.found.append(_found(violation.requirement, "kernel", violation.guilty, str(violation)))
    except (Lacking, NotApplicable) as lack:
        verdict.lacking = str(lack)
    except Violated as violated:
        slug = violated.requirement or "kernel.execute-answered"
        verdict.found.append(_found(slug, "kernel", "", f"{slug}: {violated.finding.found}"))
    except (Undecided, Blocked) as end:
        verdict.undecided = str(end)
    finally:
        stage.close()


def _settings(scenario: Scenario, target: Target) -> dict[str, object]:
    """What a controller runs with: records on a disk where it may be started again, and what the scenario wants."""
    options = target.controller.options if target.controller is not None else {}
    settings = {name: True for name in ("database",) if "parts" in scenario.needs and name in options}
    return settings | dict(scenario.config)


def _happen(cluster: RealCluster, scenario: Scenario, verdict: Verdict, judged: Role) -> None:
    """The safety phase and the healed one."""
    # Nothing that a scenario does was late before it began.
    cluster.stalls.clear()
    try:
        scenario.run(cluster)
    except Lacking as lack:
        verdict.lacking = str(lack)
        return
    except Unmet as unmet:
        _blame(cluster, unmet, verdict, judged)
    try:
        _heal(cluster)
    except Lacking as lack:
        verdict.lacking = str(lack)
        return
    for name in cluster.started_again:
        verdict.excused.append(f"{name} did not ask to be registered again, as nobody demands, and was started again")
    excused = _excuses(cluster, matters := list(cluster.open_matters()))
    for matter in matters:
        if silent := _never_asked(cluster, matter):
            verdict.excused.append(f"{matter}: excused, as {silent}, and nothing tells it that it was given up")
            continue
        fault = excused.get(matter.msg_id, "")
        if fault:
            verdict.excused.append(f"{matter}: excused, as {fault}")
            cut_short = [one for one in verdict.found if one.requirement == ANSWERED and matter.msg_id in one.text]
            verdict.found = [one for one in verdict.found if one not in cut_short]
            if cut_short:
                verdict.undecided = f"{cut_short[0]}; that is excused, as {fault}, and the rest did not happen"
        else:
            slug = ANSWERED if matter.msg_id else demanded(matter)
            verdict.found.append(_found(slug, judged, matter.waits_on, f"{slug}: {matter}"))


def _found(slug: str, role: Role, guilty: str, text: str) -> Found:
    return Found(requirement=slug, role=role, guilty=guilty, text=text)


def _blame(cluster: RealCluster, unmet: Unmet, verdict: Verdict, judged: Role) -> None:
    """Who is to blame for a demand that was not met, if anybody is."""
    began = unmet.demand.began if unmet.demand is not None else None
    lasted = cluster.lasting(cluster.now - began) if began is not None else 0
    since, most = time.monotonic_ns() - lasted, lasted // 5
    if unmet.requirement == TRUE:
        # It was answered in time, but not as expected: as it is when a scenario comes too late with what it does.
        since, most = 0, cluster.lasting(BRIEF) // 2
    longest = max((stall.lasted for stall in cluster.stalls if stall.until >= since), default=0)
    if most and longest > most:
        verdict.undecided = f"{unmet}; but this process was held up for {longest / SECOND:.1f} s meanwhile"
        return
    if silent := _silent_engine(cluster, unmet):
        verdict.undecided = f"{unmet}; but {silent}"
        return
    verdict.found.append(_found(unmet.requirement, judged, "", str(unmet)))


def _silent_engine(cluster: RealCluster, unmet: Unmet) -> str:
    """Which engine has not even asked the Hub for what it did not do, in words; empty if all have."""
    for engine in cluster.engines:
        # The first time was before it was lost.
        has_returned = cluster.watcher.asked(engine.name, COMES) > 1
        is_meant = engine.is_alive and engine.uuid in unmet.what
        if unmet.requirement == "registration.can-return" and is_meant and not has_returned:
            return f"{engine.name} did not ask to be registered again"
        is_there = engine.uuid in cluster.last_registered.values()
        has_left = cluster.watcher.asked(engine.name, GOES) > 0
        if unmet.requirement == "registration.unregistration-honoured" and is_there and not has_left:
            return f"{engine.name} did not take leave"
    return ""


def _never_asked(cluster: RealCluster, matter: Matter) -> str:
    """Which engine is not registered that was once and has not asked for it again, in words; empty if none is meant."""
    for engine in cluster.engines:
        is_meant = engine.is_alive and not matter.msg_id and matter.what.startswith(f"{engine.uuid} lives")
        if is_meant and engine.uuid in cluster.ever_registered and cluster.watcher.asked(engine.name, COMES) == 1:
            return f"{engine.name} did not ask to be registered again"
    return ""


def _heal(cluster: RealCluster) -> None:
    cluster.mend()
    if not any(engine.is_alive and engine.has_heart for engine in cluster.engines):
        # Tasks may wait for ever for an engine; that there is none is no fault of anybody.
        cluster.engine(is_awaited=False)
    deadline = cluster.now + HEALED
    cluster.run_for(SECOND)
    while cluster.now < deadline:
        matters = list(cluster.open_matters())
        excused = _excuses(cluster, matters)
        if all(matter.msg_id in excused or _never_asked(cluster, matter) for matter in matters):
            return
        cluster.run_for(STEP)


# -- excuses -----------------------------------------------------------------------------------------------------------


def _excuses(cluster: RealCluster, matters: Sequence[Matter]) -> dict[str, str]:
    """The requests that are open for a fault: by their ids, with the fault."""
    found = {}
    reasons = list(_reasons(cluster))
    for matter in matters:
        reason = next((reason for reason, is_meant in reasons if matter.msg_id and is_meant(matter)), "")
        if reason:
            found[matter.msg_id] = reason
    # A task whose dispatch or result was lost stays with its engine for ever: once each engine has one, tasks wait.
    tasks = [client.open for client in cluster.clients]
    waiting = {msg_id for one in tasks for msg_id, request in one.items() if request.socket == "task"}
    lost = [reason for msg_id, reason in found.items() if msg_id in waiting]
    if len(lost) >= max(1, sum(engine.is_alive for engine in cluster.engines)):
        found = dict.fromkeys(waiting, lost[0]) | found
    return found


def _reasons(cluster: RealCluster) -> Iterator[tuple[str, Callable[[Matter], bool]]]:
    """What excuses requests, each with which."""
    yield "nobody has to answer for engines that are gone", lambda matter: _is_for_the_gone(cluster, matter.msg_id)
    if cluster.deaths:
        yield "the controller was killed", lambda matter: cluster.sent(matter.msg_id) < cluster.deaths[-1]
    for trouble in cluster.troubles:
        text = repr(trouble.fault)
        yield text, _is_taken(trouble.taken)
        if isinstance(trouble.fault, Cut):
            yield text, _met(cluster, trouble.fault.who, trouble.until + LATE)


def _is_taken(taken: Sequence[Touched]) -> Callable[[Matter], bool]:
    """Whether a fault took something of a request, or a copy of it, which is called after it.

    A client under test does not tell the ids of all that it sends: of those, anything that was taken of it may be one.
    """
    ids = {each for one in taken for each in (one.msg_id, one.parent) if each}
    ends = {end for one in taken for end in one.ends}

    def is_meant(matter: Matter) -> bool:
        if matter.msg_id.startswith(UNTOLD):
            return any(end.startswith(f"{matter.whose}/") for end in ends)
        return any(each == matter.msg_id or each.startswith(f"{matter.msg_id}_") for each in ids)

    return is_meant


def _is_for_the_gone(cluster: RealCluster, msg_id: str) -> bool:
    """Whether all that is missing of a broadcast, each target with its own reply, are replies of engines that are gone.

    As with MUX, it is from notifications that clients learn of that.
    """
    requests = (client.open[msg_id] for client in cluster.clients if msg_id in client.open)
    alive = {engine.uuid for engine in cluster.engines if engine.is_alive}
    return any(one.targets and not one.coalescing and alive.isdisjoint(one.targets) for one in requests)


def _met(cluster: RealCluster, who: str, until: int) -> Callable[[Matter], bool]:
    """Whether a request may have been under way on a connection that was cut: of a client, or with an engine."""

    def is_meant(matter: Matter) -> bool:
        is_with_some_engine = who.startswith("engine") and not matter.waits_on.startswith("engine")
        is_met = who == matter.whose or who in matter.waits_on or is_with_some_engine
        return is_met and cluster.sent(matter.msg_id) < until

    return is_meant


# -- the recording -----------------------------------------------------------------------------------------------------


def _judge(path: Path, cluster: RealCluster, setup: Setup, verdict: Verdict) -> None:
    touched = {each for trouble in cluster.troubles for one in trouble.taken for each in (one.msg_id, one.parent)}
    touched |= {""} if any(trouble.taken for trouble in cluster.troubles) else set()
    odd = any(isinstance(each.fault, OddEngine | Garbage | Nonsense | Replays) for each in cluster.troubles)
    seen = {one.requirement for one in verdict.found}
    for charge in charges(path, setup.controller.dialect, touched=touched, has_strangers=odd):
        violation = charge.violation
        if violation.requirement not in seen:
            seen.add(violation.requirement)
            verdict.found.append(
                Found(requirement=violation.requirement, role=charge.role, guilty=charge.who, text=str(violation))
            )


def _tell_known(setup: Setup, verdict: Verdict) -> None:
    """Give what is known its reason: of this scenario, or of whatever case showed that the requirement is broken."""
    verdict.found = [msgspec.structs.replace(one, reason=reason(setup, one)) for one in verdict.found]


def reason(setup: Setup, found: Found) -> str:
    """The reason of the known deviation that a violation is; empty for a new one."""
    target = {"engine": setup.engine, "client": setup.client}.get(found.role) or setup.controller
    return target.reason_in(found.requirement, setup.name, detect_version(target))


__all__ = ["Found", "Setup", "Verdict", "carry_out", "reason", "timed"]
