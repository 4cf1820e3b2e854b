"""The verdict on a run: what rules saw, what was left open and on whom it waits, what a fault excuses.

    cluster = VirtualCluster(seed, engines=4, is_judged=True)
    ...                                          # work, faults
    cluster.settle()                             # the healed phase
    judgement = judge(cluster)
    print(judgement.text())                      # nothing if the run was clean

Safety was judged while the run went (`simulator.recorder`). Liveness is judged here: a request of a client that still
waits after the healed phase is an open obligation. It is excused if a fault took the message that it hangs on, and
otherwise whoever had the message last has broken `wire.every-request-answered`.
"""

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Final, NamedTuple

from protocol.roles.hub import Hub
from protocol.roles.hub.traffic import EARLY_MESSAGES
from protocol.roles.task import TaskScheduler
from protocol.rules import Violation
from protocol.world import Fact, Observation
from simulator.losses import taker
from simulator.recorder import Fault, Hop, Recorder
from simulator.settling import Matter, open_matters
from simulator.shell import VirtualShell

if TYPE_CHECKING:
    from simulator.cluster import VirtualCluster

ANSWERED: Final = "wire.every-request-answered"


class Excused(NamedTuple):
    """An obligation that nobody has to keep, and the fault that took its message."""

    msg_id: str
    what: str
    fault: Fault

    def __str__(self) -> str:
        return f"{self.what}: excused, as {self.fault.name} at {self.fault.began / 1e9:.3f} s"


class Judgement:
    """See the module. `open` are the matters that nothing excuses, each of them also among the violations."""

    def __init__(self, recorder: Recorder, unsettled: Iterable[Matter], now: int) -> None:
        self.recorder = recorder
        self.violations: list[Violation] = list(recorder.violations)
        self.open: list[Matter] = []
        self.excused: list[Excused] = []
        #: What is not as one would wish, though no requirement is broken.
        self.remarks: list[Matter] = []
        for matter in unsettled:
            self._weigh(matter, now)

    def _weigh(self, matter: Matter, now: int) -> None:
        if not matter.msg_id:
            self.remarks.append(matter)
            return
        hops = self.recorder.hops.get(matter.msg_id, [])
        fault = taker(self.recorder, matter.msg_id)
        if fault is not None:
            self.excused.append(Excused(matter.msg_id, f"{matter.whose}: {matter.what}", fault))
            return
        hop = hops[-1] if hops else None
        self.open.append(matter)
        where = "" if hop is None else f"; last seen when {hop.process} {hop.what} it at {hop.now / 1e9:.3f} s"
        self.violations.append(
            Violation(
                requirement=ANSWERED,
                rule=ANSWERED,
                guilty=matter.waits_on if hop is None else _holder(hop),
                evidence=() if hop is None else (hop.seq,),
                found=f"{matter.what} after everything was healed{where}",
                allowed=("one reply or error",),
                now=now,
            )
        )

    @property
    def is_clean(self) -> bool:
        """Whether nothing was broken, and nothing is open that no fault excuses."""
        return not self.violations

    @property
    def exercised(self) -> frozenset[str]:
        """The requirements for which something was seen."""
        return self.recorder.exercised

    @property
    def silent(self) -> frozenset[str]:
        """The requirements of which nothing was seen: neither kept nor broken."""
        return self.recorder.judged - self.recorder.exercised

    def chain(self, violation: Violation) -> list[Observation | Fact]:
        """The shortest chain of events that led to a violation, in their order; empty unless the items were kept.

        For each piece of evidence: what was being handled when it happened, who had sent that, and so on back to
        something that nobody caused.
        """
        return chain(self.recorder, violation.evidence)

    def text(self) -> str:
        """What is wrong, for a terminal; empty if nothing is."""
        lines: list[str] = []
        for violation in self.violations:
            lines += [str(violation), *(f"    {_line(item)}" for item in self.chain(violation))]
        if self.violations and self.excused:
            lines += ["excused:", *(f"    {each}" for each in self.excused)]
        return "\n".join(lines)


def judge(cluster: "VirtualCluster") -> Judgement:
    """Judge a run that has ended; call it once."""
    recorder = cluster.world.recorder
    assert recorder is not None, "the cluster was made without is_judged"
    _count(cluster, recorder)
    recorder.finish()
    return Judgement(recorder, open_matters(cluster), cluster.now)


def _count(cluster: "VirtualCluster", recorder: Recorder) -> None:
    """Note how much the Hub and the scheduler keep, and how much they may."""
    scheduler, hub = cluster.controller.role("tasks"), cluster.controller.role("hub")
    if isinstance(scheduler, TaskScheduler):
        active = len(scheduler.tasks)
        counts = {
            "tasks that others wait for": [len(scheduler.dependents), active],
            "outcomes": [len(scheduler.outcomes), scheduler.config.remember],
            **_signatures(cluster, "tasks"),
        }
        recorder.note(cluster.controller.members["tasks"].process.name, "kept", {"counts": counts})
    if isinstance(hub, Hub):
        counts = {
            "requests with early output": [len(hub.traffic.early), EARLY_MESSAGES],
            **_signatures(cluster, "hub"),
        }
        recorder.note(cluster.controller.members["hub"].process.name, "kept", {"counts": counts})


def _signatures(cluster: "VirtualCluster", part: str) -> dict[str, list[int]]:
    """How many signatures the roles of a part remember at most, and how many they may."""
    shells = cluster.controller.members[part].process.shells
    memories = [shell.codec.replay for shell in shells if isinstance(shell, VirtualShell)]
    counts = [[len(memory), memory.capacity] for memory in memories if memory is not None]
    return {"signatures": max(counts)} if counts else {}


def chain(recorder: Recorder, evidence: Sequence[int]) -> list[Observation | Fact]:
    """What led to the items with these numbers; see `Judgement.chain`."""
    items = {item.seq: item for item in recorder.items}
    found: dict[int, Observation | Fact] = {}
    open_ones = [seq for seq in evidence if seq in items]
    while open_ones:
        seq = open_ones.pop()
        if seq in found:
            continue
        item = found[seq] = items[seq]
        cause = recorder.causes.get(seq)
        if cause is None and isinstance(item, Observation) and item.direction == "received":
            cause = _sending(recorder, item)
        if cause is not None:
            open_ones.append(cause)
    return [found[seq] for seq in sorted(found)]


def _sending(recorder: Recorder, taken: Observation) -> int | None:
    """The latest sending of the message that was taken, by somebody else."""
    message = taken.message
    if message is None:
        return None
    for item in reversed(recorder.items):
        if (
            isinstance(item, Observation)
            and item.seq < taken.seq
            and item.direction == "sent"
            and item.observer != taken.observer
            and item.message is not None
            and item.message.msg_id == message.msg_id
        ):
            return item.seq
    return None


def _holder(hop: Hop) -> str:
    """Who has a message that was seen here: whoever took it, or for whom it was sent."""
    if hop.what == "took":
        return hop.process
    return hop.part if hop.is_outside else hop.towards or hop.process


def _line(item: Observation | Fact) -> str:
    at = f"#{item.seq} {item.now / 1e9:9.6f} s  {item.observer}"
    if isinstance(item, Fact):
        return f"{at} noted {item.name} {item.data}"
    what = "frames" if item.message is None else f"{item.message.msg_type} {item.message.msg_id}"
    return f"{at} {'sent' if item.direction == 'sent' else 'took'} {what} on {item.channel}"


__all__ = ["Excused", "Judgement", "chain", "judge"]
