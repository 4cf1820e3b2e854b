"""Simulated runs as a campaign has them (`conformance.campaigns`): one run, what is kept of it, and of many.

What comes back of a run is a `Report`, which is small; a run that failed is done again with everything written down by
whoever wants to see it.
"""

import gc
import importlib.metadata
import re
import traceback
from dataclasses import dataclass, field
from typing import Final

from conformance.mutants import find
from conformance.targets.adapters import EXPLAINED, descriptor, explained, maker
from protocol.roles.marks import MARKS
from simulator.cluster import VirtualCluster
from simulator.rarity import PLACES
from simulator.run import SWARM, Hooks, Known, Outcome, Setup, run
from simulator.stage import SEEN

IN_ORDER: Final = "query.answered-in-order"
#: How that names the request: by its session, and a number.
ASKED: Final = re.compile(r"the answer to (\S+_)\d+ after")
#: What a campaign should have taken once: the rare branches of the roles, and what is right and seldom done or seen.
RARE: Final = {**MARKS, **PLACES, **SEEN}


@dataclass(frozen=True, slots=True)
class Report:
    """What is kept of one run: `error` is a traceback, where the kit itself failed.

    `known` are the requirements that its controller is known to break, and broke; `lacking` is what it would need.
    """

    setup: Setup
    violations: tuple[str, ...] = ()
    excused: int = 0
    known: tuple[str, ...] = ()
    lacking: str = ""
    marks: dict[str, int] = field(default_factory=dict)
    digest: str = ""
    error: str = ""

    @property
    def is_clean(self) -> bool:
        """Whether nothing was violated and nothing failed."""
        return not self.violations and not self.error


@dataclass(slots=True)
class Summary:
    """What came of a campaign so far."""

    done: int = 0
    excused: int = 0
    #: How many runs broke a requirement that is known to be broken, and how many needed what is not there, by what.
    known: dict[str, int] = field(default_factory=dict)
    lacking: dict[str, int] = field(default_factory=dict)
    failed: list[Report] = field(default_factory=list)
    marks: dict[str, int] = field(default_factory=dict)

    def add(self, report: Report) -> None:
        """One more run has ended."""
        failed = [] if report.is_clean else [report]
        self.merge(
            Summary(
                done=1, excused=report.excused, failed=failed, marks=report.marks,
                known=dict.fromkeys(report.known, 1), lacking={report.lacking: 1} if report.lacking else {},
            )
        )  # fmt: skip

    def merge(self, other: "Summary") -> None:
        """Others have ended."""
        self.done += other.done
        self.excused += other.excused
        for mine, theirs in ((self.marks, other.marks), (self.known, other.known), (self.lacking, other.lacking)):
            for slug, count in theirs.items():
                mine[slug] = mine.get(slug, 0) + count
        self.failed += other.failed

    @property
    def unreached(self) -> list[str]:
        """The rare branches of roles, and the less usual ways, that no run has taken."""
        return [slug for slug in RARE if slug not in self.marks]


def prepare() -> None:
    """Make a worker ready: what is loaded now is never garbage."""
    gc.freeze()


def carry_out(setup: Setup) -> Outcome:
    """Carry out one run, with the mistake that its controller is to make. Raises KeyError for one that is not known.

    With a controller that is not the kit's, what that is known to break is told apart. Raises TargetUnusable.
    """
    hooks = hooks_of(setup)
    if not setup.controller:
        return run(setup, hooks=hooks)
    clusters: list[VirtualCluster] = []
    outcome = run(setup, hooks=hooks._replace(on_cluster=clusters.append))
    tell_known(setup, outcome, clusters[0])
    return outcome


def tell_known(setup: Setup, outcome: Outcome, cluster: VirtualCluster) -> None:
    """Take what is known of a controller out of the violations, and keep it beside them."""
    target = descriptor(setup.controller)
    pages = explained(cluster, outcome)
    version = importlib.metadata.version(setup.controller)
    found = list(zip(outcome.violations, outcome.blames, strict=True))
    outcome.violations, outcome.blames = [], []
    for text, blame in found:
        if blame.requirement == IN_ORDER and _has_lost_an_answer(cluster, text):
            outcome.excused.append(f"{text}: excused, as an answer was lost that names no request")
            continue
        if text in pages:
            reason = f"docs/findings/{pages[text]}.md"
        else:
            is_told = blame.requirement in EXPLAINED
            reason = "" if is_told else target.reason_in(blame.requirement, setup.name, version)
        if reason:
            outcome.known.append(Known(blame.requirement, text, reason))
        else:
            outcome.accuse(*blame, text)


def _has_lost_an_answer(cluster: VirtualCluster, text: str) -> bool:
    """Whether a fault took an answer that names no request, or the request, of whoever has asked what this is about.

    Which one the next such answer is for, nobody can tell.
    """
    recorder, about = cluster.world.recorder, ASKED.search(text)
    if recorder is None or about is None:
        return False
    for trouble in cluster.stage.troubles:
        for *_, msg_type, own, _parent in trouble.taken:
            asked = own if msg_type == "registration_request" else recorder.answers.get(own, "")
            if asked.startswith(about[1]):
                return True
    return False


def hooks_of(setup: Setup) -> Hooks:
    """What puts the mutant of a setup, if it names one, into its controller or its engines; or another controller."""
    if setup.controller:
        return Hooks(maker=maker(setup.controller))
    if not setup.mutant:
        return Hooks()
    mutant = find(setup.mutant)
    hooks = Hooks(kinds=mutant.kinds, scheme=mutant.scheme)
    if mutant.judged_as == "controller":
        return hooks._replace(on_shell=mutant.infect)
    return hooks._replace(on_engine=mutant.infect)


def report(setup: Setup) -> Report:
    """Carry out one run."""
    gc.disable()
    try:
        outcome = carry_out(setup)
    except Exception:
        return Report(setup, error=traceback.format_exc())
    finally:
        gc.enable()
        gc.collect()
    return Report(
        setup, tuple(outcome.violations), len(outcome.excused), tuple(dict.fromkeys(one[0] for one in outcome.known)),
        outcome.lacking, dict(outcome.marks), outcome.digest,
    )  # fmt: skip


def command(setup: Setup) -> str:
    """The command that replays a run."""
    default = Setup()
    words = ["ippkit simulate", setup.name, f"--seed {setup.seed}"]
    words += [f"--engines {setup.engines}"] if setup.engines is not None else []
    if setup.name == SWARM:
        for option in ("clients", "tasks", "faults"):
            if getattr(setup, option) != getattr(default, option):
                words.append(f"--{option} {getattr(setup, option)}")
    words += [f"--schedule {setup.schedule}"] if setup.schedule else []
    words += [f"--mutant {setup.mutant}"] if setup.mutant else []
    words += [f"--controller {setup.controller}"] if setup.controller else []
    return " ".join(words)


__all__ = [
    "Report",
    "Summary",
    "carry_out",
    "command",
    "hooks_of",
    "prepare",
    "report",
    "tell_known",
]
