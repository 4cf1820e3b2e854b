"""Why ipyparallel has not answered a request, or has not come to rest: which finding that is, where it is known.

It is read from where their scheduler has that very request, from what their parts wrote into their logs when they
stumbled over it, from what they told each other of that engine, and from the state of that engine. Where a request
waits for others, or for room, each of those must be known, or excused, in turn. What no row here knows of is new.
"""

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any, Final, NamedTuple

from conformance.targets.adapters.controller import IpyparallelController
from conformance.targets.adapters.parts import (
    TABLE,
    CodePart,
    Complaint,
    HeartPart,
    HubPart,
    QueuePart,
    TaskPart,
    Word,
)
from protocol.roles.client.tables import Request
from protocol.rules import Violation
from protocol.world import MILLISECOND, SECOND
from simulator.cluster import VirtualCluster
from simulator.judge import ANSWERED
from simulator.losses import taker
from simulator.run import Outcome, demanded
from simulator.settling import Matter, is_expected


class Row(NamedTuple):
    """One defect of their task scheduler: the page of the findings, and what all stands in its complaint."""

    page: str
    words: tuple[str, ...]

    def fits(self, complaint: Complaint) -> bool:
        """Whether it is this that is complained of."""
        return all(word in complaint.text for word in self.words)


#: Complaints of a request itself.
ROWS: Final = (
    Row("follows-what-never-ran", ("in maybe_run", "self.destinations[m]")),
    Row("refused-beside-waiting", ("in dispatch_submission", "in fail_unreachable", "self.graph[mid].remove")),
    Row("unreadable-metadata", ("in dispatch_submission", "in __init__", "dependency.py")),
    Row("unreadable-metadata", ("in dispatch_submission", "float(timeout)")),
    Row("unreadable-metadata", ("in dispatch_submission", "for t in targets")),
    Row("unreadable-metadata", ("in dispatch_result", "retries > 0")),
    Row("returns-while-its-tasks-are-open", ("in can_run", "self.completed[target]")),
    Row("returns-while-its-tasks-are-open", ("in handle_result", "self.completed[engine].add")),
    Row("returns-while-its-tasks-are-open", ("in handle_result", "self.failed[engine].add")),
    Row("dependents-run-twice", ("in update_graph", "self.queue_map.pop(msg_id)")),
    Row("same-id-runs-twice", ("in dispatch_result", "self.retries[msg_id]")),
)
#: Complaints of any request, which end a look at the queue, or at those who waited for a task that has ended: what was
#: taken out of the queue meanwhile is in it no more, and who waited is not looked at again.
GIVEN_AGAIN: Final = Row("dependents-run-twice", ("in update_graph", "self.queue_map.pop(msg_id)"))
LOSING: Final = (
    GIVEN_AGAIN,
    Row("returns-while-its-tasks-are-open", ("in update_graph", "in can_run", "self.completed[target]")),
    Row("follows-what-never-ran", ("in update_graph", "in maybe_run", "self.destinations[m]")),
)
#: The complaint of a result that keeps a look at the queue from being begun, for the room that its engine has got.
UNBEGUN: Final = Row("same-id-runs-twice", ("in dispatch_result", "self.retries[msg_id]"))
#: The complaint of a result that was handed on and not entered, as its engine is not known to have the task.
UNENTERED: Final = Row("returns-while-its-tasks-are-open", ("in handle_result", "self.pending[engine].pop(msg_id)"))
#: What it is if two tasks have come under the id of which is complained.
REPEATED: Final = "repeated-id-holds-others-up"
ONCE: Final = "told-once"
#: What is demanded in the middle of a run, too.
RETURNS: Final = "registration.can-return"
#: What is demanded of a database.
SURVIVES: Final = "storage.persistent-survives"
#: What an answer breaks that the Hub gives to what it could not read.
ANSWERS: Final = ("wire.reply-parent", "query.hub-error-names-request")
#: What the content of an answer breaks, and how the ids in a history are told that should not be there.
CONTENT: Final = "wire.content-matches-type"
LISTED: Final = re.compile(r"\$\.history\[\d+\]: (.+?)(?=; \$|$)")
#: What engines answer, and the Hub keeps records of; they ignore other types.
WORK: Final = ("apply_request", "execute_request")
#: What keeps nobody from running a task, and gives none a reason to run it.
NOT_WANTED: Final = "-"
#: With this begin the ids of those who are no client.
STRANGER: Final = "stranger"
#: What waits for something that a fault took.
EXCUSED: Final = "excused"


def explained(cluster: VirtualCluster, outcome: Outcome) -> dict[str, str]:
    """The pages of the findings from which violations follow, by their texts; what is not there is new."""
    if outcome.judgement is None:
        return {}
    causes, found = _Causes(cluster), {}
    for matter in outcome.judgement.remarks:
        found[f"{demanded(matter)}: {matter}"] = causes.of_matter(matter)
    if outcome.unmet is not None and outcome.unmet.requirement == RETURNS:
        # It begins with the engine of which it speaks.
        found[str(outcome.unmet)] = causes.of_unheard(outcome.unmet.what.partition(" ")[0])
    if outcome.unmet is not None and outcome.unmet.requirement == SURVIVES:
        found[str(outcome.unmet)] = causes.of_records()
    open_ones = {f"{matter.what} ": matter.msg_id for matter in outcome.judgement.open}
    for one in outcome.judgement.violations:
        if one.requirement == ANSWERED:
            msg_id = next((msg_id for what, msg_id in open_ones.items() if one.found.startswith(what)), "")
            found[str(one)] = causes.of_request(msg_id) if msg_id else ""
        elif one.requirement in ANSWERS:
            found[str(one)] = causes.of_answer(one)
        elif one.requirement == CONTENT:
            found[str(one)] = causes.of_content(one)
    return {text: page for text, page in found.items() if page and page != EXCUSED}


class _Causes:
    """What is asked of one run that has ended."""

    def __init__(self, cluster: VirtualCluster) -> None:
        controller = cluster.controller
        assert isinstance(controller, IpyparallelController)
        assert cluster.world.recorder is not None
        self.cluster, self.controller, self.recorder = cluster, controller, cluster.world.recorder
        self.hub, self.scheduler = controller.hub, controller.scheduler
        #: Of whoever schedules now; an earlier one may have stumbled over a request itself, and no more.
        self.complaints = [each for part in self._parts("tasks", CodePart) for each in part.complaints]
        self.ever = [each for part in self._ever("tasks", CodePart) for each in part.complaints]
        self.requests: dict[str, Request] = {}
        for client in cluster.clients:
            self.requests |= client.role.open

    def _parts(self, name: str, kind: type[Any]) -> Iterator[Any]:
        for part in self.controller.members[name].parts:
            if isinstance(part, kind):
                yield part

    def _ever(self, name: str, kind: type[Any]) -> Iterator[Any]:
        """Such parts, with those that were there before the controller was started again."""
        yield from (part for part in self.controller.former.get(name, ()) if isinstance(part, kind))
        yield from self._parts(name, kind)

    # -- requests ----------------------------------------------------------------------------------------------------

    def of_request(self, msg_id: str, seen: frozenset[str] = frozenset()) -> str:
        """The page for which a request has no answer; `EXCUSED` if a fault took it, empty if nothing is known."""
        if msg_id in seen:
            return ""
        if page := self._of_itself(msg_id, seen):
            return page
        # What strangers say counts as altered, all of it; that explains nothing of what becomes of it afterwards.
        loss = self.recorder.losses.get(msg_id)
        is_mischief = loss is not None and loss.is_altered and msg_id.startswith(STRANGER)
        return EXCUSED if not is_mischief and taker(self.recorder, msg_id) is not None else ""

    def _of_itself(self, msg_id: str, seen: frozenset[str]) -> str:
        for row in ROWS:
            if any(each.msg_id == msg_id and row.fits(each) for each in self.ever):
                return row.page
        request = self.requests.get(msg_id)
        if request is not None and request.socket == "broadcast":
            return self._of_broadcast(msg_id, request)
        if any(msg_id in part.swallowed for name in ("mux", "control") for part in self._ever(name, QueuePart)):
            return "one-frame-stops-a-queue"
        if request is not None and request.socket in ("mux", "control"):
            return self._of_engine(str(request.engine))
        return self._of_task(msg_id, seen | {msg_id}) if self.scheduler is not None else ""

    def _of_task(self, msg_id: str, seen: frozenset[str]) -> str:
        scheduler = self.scheduler
        for uuid, jobs in scheduler.pending.items():
            if msg_id in jobs:
                return self._of_given(msg_id, uuid, jobs[msg_id])
        if msg_id in scheduler.queue_map:
            return self._of_waiting(scheduler.queue_map[msg_id], seen)
        if msg_id in scheduler.all_ids and msg_id not in scheduler.all_done:
            return self._of_forgotten(msg_id)
        return ""

    def _of_given(self, msg_id: str, uuid: bytes, job: Any) -> str:
        """Why nobody answers a task that an engine was given."""
        if job.header["msg_type"] not in WORK:
            return "unknown-type-takes-an-engine"
        if page := self._of_engine(uuid.decode()):
            return page
        if self._is_zombie("tasks", uuid):
            return "name-still-taken"
        # It came twice, and the engine has had it: it takes a message that it has accepted for a replay.
        hops = [hop for hop in self.recorder.hops.get(msg_id, []) if not hop.is_reply]
        came = sum(hop.what == "took" and not hop.is_outside for hop in hops)
        given = sum(hop.what == "sent" and hop.towards == uuid.decode() for hop in hops)
        has_run = self.scheduler.destinations.get(msg_id) == uuid
        return "same-id-runs-twice" if has_run or (came > 1 and given > 1) else ""

    def _of_engine(self, uuid: str) -> str:
        """Why work goes to an engine that is gone."""
        if uuid in self.controller.registered().values():
            return "" if self._is_there(uuid) else self._of_dead(uuid)
        is_known = self.scheduler is not None and uuid.encode() in self.scheduler.targets
        return self._of_missed(uuid) if is_known else ""

    def _of_waiting(self, job: Any, seen: frozenset[str]) -> str:
        scheduler = self.scheduler
        if undone := job.dependents - scheduler.all_done:
            return self._all(self.of_request(msg_id, seen) for msg_id in sorted(undone))
        began = next((hop.now for hop in self.recorder.hops.get(job.msg_id, []) if not hop.is_outside), None)
        later = [each for each in self.complaints if began is not None and each.now >= began]
        if any(each is job for each in scheduler.queue):
            later = [each for each in later if not job.dependents.isdisjoint(each.ended)]
        lost = next((row.page for row in LOSING for each in later if row.fits(each)), "")
        if lost or not any(each is job for each in scheduler.queue):
            return lost
        if not scheduler.targets:
            return self._of_nobody()
        reasons = [self._of_blocked(job, number, seen) for number in range(len(scheduler.targets))]
        if all(reason == NOT_WANTED for reason in reasons):
            return "last-target-gone" if job.targets else ""
        return self._all(reason for reason in reasons if reason != NOT_WANTED)

    def _of_blocked(self, job: Any, number: int, seen: frozenset[str]) -> str:
        """Why an engine is not given a task that waits for nothing else; empty if it could be."""
        scheduler = self.scheduler
        uuid = scheduler.targets[number]
        if uuid not in scheduler.completed:
            return "returns-while-its-tasks-are-open"
        if job.targets and uuid not in job.targets:
            return NOT_WANTED
        if uuid in job.blacklist:
            return "retry-never-where-it-failed"
        if not self._is_followed(job, uuid):
            here = any(self._is_followed(job, each) for each in scheduler.targets if each in scheduler.completed)
            return NOT_WANTED if here else "follows-where-nobody-is"
        if scheduler.hwm and scheduler.loads[number] >= scheduler.hwm:
            return self._all(self.of_request(msg_id, seen) for msg_id in scheduler.pending[uuid])
        return self._of_unseen(job)

    def _of_unseen(self, job: Any) -> str:
        """Why nobody has seen that a task could run: it waited for room alone when the last look at the queue broke off
        before it came to that, or did not begin as it should have; and nobody has looked since.
        """
        queue = self.scheduler.queue
        for each in self.complaints:
            if each.steps < max(queue.looked, queue.joined[job.msg_id]) or job.msg_id not in each.ready:
                continue
            if queue.is_broken and (page := next((row.page for row in LOSING if row.fits(each)), "")):
                return REPEATED if GIVEN_AGAIN.fits(each) and self._is_repeated(each.msg_id) else page
            if each.has_room and UNBEGUN.fits(each) and (page := self._of_unknown(each.msg_id)):
                return page
        return ""

    def _of_unknown(self, msg_id: str) -> str:
        """Why a task is answered that the scheduler has done with."""
        if self._is_repeated(msg_id):
            return REPEATED
        is_twice = any(each.msg_id == msg_id and GIVEN_AGAIN.fits(each) for each in self.complaints)
        return GIVEN_AGAIN.page if is_twice else ""

    def _is_repeated(self, msg_id: str) -> bool:
        """Whether two tasks have waited under one id."""
        return len(self.scheduler.queue.namesakes.get(msg_id, ())) > 1

    def _is_followed(self, job: Any, uuid: bytes) -> bool:
        return bool(job.follow.check(self.scheduler.completed[uuid], self.scheduler.failed[uuid]))

    def _of_forgotten(self, msg_id: str) -> str:
        """Of a task that is nowhere any more: whether it was dropped when its engine came back under its name.

        If its answer has come since, and was not entered, it is open no more and its hops are forgotten: the complaint
        tells whose answer that was.
        """
        (part,) = self._parts("tasks", TaskPart)
        hops = self.recorder.hops.get(msg_id, [])
        given = [hop for hop in hops if hop.what == "sent" and not hop.is_outside and not hop.is_reply]
        is_dropped = bool(given) and part.dropped.get((given[-1].towards, msg_id), 0) > given[-1].now
        late = [each for each in self.complaints if each.msg_id == msg_id and UNENTERED.fits(each)]
        is_late = any(0 < part.dropped.get((each.engine, msg_id), 0) <= each.now for each in late)
        return UNENTERED.page if is_dropped or is_late else ""

    def _of_nobody(self) -> str:
        """Why there is no engine at all."""
        if self.controller.registered():
            return ""
        if self._is_standing():
            return "clock-set-back"
        return self._all(self.of_unheard(engine.uuid) for engine in self.cluster.engines if is_expected(engine))

    def _of_broadcast(self, msg_id: str, request: Request) -> str:
        if not request.targets:
            return "broadcast-to-nobody"
        hops = self.recorder.hops.get(msg_id, [])
        came = sum(hop.what == "took" and not hop.is_outside and not hop.is_reply for hop in hops)
        if request.coalescing and came > 1:
            return "same-id-runs-twice"
        missing = [
            self._is_lasting(uuid, number)
            for uuid, number in request.targets.items()
            if not self._has_answered(f"{msg_id}_{uuid}")
        ]
        return "broadcast-waits-for-the-dead" if missing and not any(missing) else ""

    def _has_answered(self, copy: str) -> bool:
        """Whether a reply came that the scheduler could read."""
        if any(each.msg_id == copy for part in self._ever("broadcast", CodePart) for each in part.complaints):
            return False
        hops = self.recorder.hops.get(copy, [])
        return any(hop.is_reply and hop.what == "took" and not hop.is_outside for hop in hops)

    def _is_lasting(self, uuid: str, number: int) -> bool:
        """Whether an engine is still in the life in which it had this id."""
        return self.controller.registered().get(number) == uuid and any(
            engine.uuid == uuid and engine.is_alive and engine.process.name == engine.name
            for engine in self.cluster.engines
        )

    @staticmethod
    def _all(reasons: Iterator[str]) -> str:
        """The first reason of several, each of which must be known; a finding before what is excused."""
        found = list(reasons)
        if not found or not all(found):
            return ""
        return next((reason for reason in found if reason != EXCUSED), EXCUSED)

    # -- engines -----------------------------------------------------------------------------------------------------

    def of_matter(self, matter: Matter) -> str:
        """The page for which something else has not come to rest."""
        uuid, _, what = matter.what.partition(" is ")
        if matter.whose == "hub":
            if what.endswith("dead"):
                return self._of_dead(uuid)
            return self.of_unheard(uuid.removesuffix(" lives and"))
        if matter.whose != "tasks":
            return ""
        if what == "gone and still has tasks":
            return self._all(self.of_request(msg_id) for msg_id in self.scheduler.pending[uuid.encode()])
        return self._of_missed(uuid)

    def _is_there(self, uuid: str) -> bool:
        return any(engine.uuid == uuid and is_expected(engine) for engine in self.cluster.engines)

    def _of_missed(self, uuid: str) -> str:
        """Whether the scheduler knows an engine wrongly since it has missed the last that the Hub told of it."""
        (hub,), (tasks,) = self._parts("hub", HubPart), self._parts("tasks", TaskPart)
        last = self._last(hub, uuid)
        if last is None or last.msg_id in tasks.heard:
            return ""
        is_known = uuid.encode() in self.scheduler.targets
        return ONCE if is_known == (last.msg_type == "unregistration_notification") else ""

    def _of_dead(self, uuid: str) -> str:
        """Why an engine that is dead is registered."""
        (hub,), (hearts,) = self._parts("hub", HubPart), self._parts("hearts", HeartPart)
        last = self._last(hearts, uuid)
        if last is not None and last.msg_type == "stopped_heart" and last.msg_id not in hub.heard:
            return ONCE
        if last is None and uuid in hub.restored and uuid.encode() not in hearts.monitor.hearts:
            return "restored-engine-never-dies"
        return "clock-set-back" if self._is_standing() else ""

    def of_unheard(self, uuid: str) -> str:
        """Why an engine that lives is not registered."""
        if self._is_standing():
            return "clock-set-back"
        if self._is_zombie("hearts", uuid.encode()):
            return "name-still-taken"
        (hub,), (hearts,) = self._parts("hub", HubPart), self._parts("hearts", HeartPart)
        last = self._last(hearts, uuid)
        if last is None or last.msg_type != "new_heart" or uuid.encode() not in hearts.monitor.hearts:
            return ""
        return "beating-before-it-asks" if last.msg_id in hub.heard else ONCE

    def _is_zombie(self, name: str, uuid: bytes) -> bool:
        """Whether a part has a connection under this name that it never hears, as an older one had the name."""
        return any(uuid in router.zombies for part in self.controller.members[name].parts for router in part.routers)

    @staticmethod
    def _last(part: CodePart, name: str) -> Word | None:
        return next((word for word in reversed(part.words) if name in word.names), None)

    def _is_standing(self) -> bool:
        """Whether the heart monitor waits for much longer than a period until it beats again."""
        (hearts,) = self._parts("hearts", HeartPart)
        left = hearts.monitor.caller._timeout.when - hearts.loop.time()
        return bool(left * SECOND > 2 * hearts.monitor.period * MILLISECOND)

    # -- answers -----------------------------------------------------------------------------------------------------

    def of_answer(self, violation: Violation) -> str:
        """Whether an answer is one to what the Hub could not read."""
        made = [msg_id for hub in self._ever("hub", HubPart) for msg_id in hub.blind]
        blind = {hop.seq for msg_id in made for hop in self.recorder.hops.get(msg_id, [])}
        return "strangers-are-answered" if not blind.isdisjoint(violation.evidence) else ""

    def of_content(self, violation: Violation) -> str:
        """Whether all that is wrong with a history are ids that somebody's requests had and that are no text."""
        records: Mapping[object, object] = getattr(self.hub.db, "_records", {})
        odd = {show(msg_id) for msg_id in records if not isinstance(msg_id, str) for show in (repr, json.dumps)}
        _, told, wrong = violation.found.partition("history_reply ")
        listed = LISTED.findall(wrong)
        is_all = len(listed) == wrong.count("$")
        return "ids-of-others-are-no-text" if told and listed and is_all and odd.issuperset(listed) else ""

    # -- records -----------------------------------------------------------------------------------------------------

    def of_records(self) -> str:
        """Whether the Hub looks into another table than before, while all that has ended is in one of both."""
        kept, table = self.hub.db, getattr(self.hub.db, "table", TABLE)
        if table == TABLE:
            return ""
        both = f"SELECT msg_id FROM '{TABLE}' WHERE completed NOTNULL UNION SELECT msg_id FROM '{table}'"  # noqa: S608
        written = {msg_id for (msg_id,) in kept._db.execute(both)}
        tasks = [task for client in self.cluster.clients for task in client.tasks]
        ended = {task.msg_id for task in tasks if task.is_done and task.msg_type in WORK}
        return "sqlite-empty-after-restart" if written >= ended else ""


__all__ = ["ROWS", "explained"]
