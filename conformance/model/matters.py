"""What is still owed to anybody, and by when: the open matters of a conversation.

A matter is not yet a violation: it becomes one when its time has passed. What the scheduler must do with a task is
worked out here from what the kit saw, and not asked of the scheduler's own role: the two formulations check each other.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, NamedTuple

from conformance.model.ledger import Cast, Dependency, Job, Ledger, Peer, metadata_of
from conformance.targets.tables import Timing
from protocol.world import SECOND, Observation


class Matter(NamedTuple):
    """Something that must still happen before `due`, and the requirement that says so."""

    slug: str
    found: str
    allowed: str
    due: int
    whose: object
    evidence: tuple[Observation, ...] = ()


@dataclass(frozen=True)
class Fate:
    """What the scheduler must do with a task: nobody can tell, let it wait, refuse it, or give it to an engine."""

    kind: Literal["unknown", "waits", "refused", "runs"]
    slug: str = ""
    due: int = 0


_UNKNOWN, _WAITS = Fate("unknown"), Fate("waits")


def fate_of(book: Ledger, job: Job, timing: Timing, now: int) -> Fate:
    """What must become of a task that no engine has and nobody has answered."""
    intent = job.intent
    if job.is_muddled or intent.is_odd:
        return _UNKNOWN
    if intent.must_fail:
        return Fate("refused", intent.must_fail)
    last = job.last
    if last is not None and last.is_lost and job.tries > intent.retries:
        return Fate("refused", "task.engine-death-error")
    if last is not None and last.is_lost and now < job.lost_at + timing.scheduler_grace + timing.margin:
        return Fate("unknown", due=job.lost_at + timing.scheduler_grace + timing.margin)
    kind = _by_dependencies(book, job)
    if kind.kind != "runs":
        return _in_time(job, kind, timing, now)
    if not book.is_steady:
        return _UNKNOWN
    return _in_time(job, _by_engines(book, job), timing, now)


def _in_time(job: Job, fate: Fate, timing: Timing, now: int) -> Fate:
    """A task that waits has its timeout; until that has certainly passed, nobody can say which comes first."""
    if not job.intent.timeout or job.runs or fate.kind == "unknown":
        return fate
    end = job.at + round(job.intent.timeout * SECOND)
    if fate.kind == "waits":
        return Fate("refused", "task.timeout-while-queued", due=end) if end - now < 2 * SECOND else _WAITS
    return fate if fate.kind == "refused" or now < end - timing.margin else _UNKNOWN


def _by_dependencies(book: Ledger, job: Job) -> Fate:
    for name, dependency in (("after", job.intent.after), ("follow", job.intent.follow)):
        if dependency is None:
            continue
        found = is_met(book, dependency)
        if found is None:
            return _UNKNOWN
        if found == "spoilt":
            slug = "dependency.unreachable-all" if dependency.all else "dependency.unreachable-any"
            return Fate("refused", slug)
        if found == "open":
            # What comes after may have been spoilt already, and is looked at first or last.
            other = job.intent.follow if name == "after" else None
            return (
                Fate("refused", "dependency.unreachable-all") if other and is_met(book, other) == "spoilt" else _WAITS
            )
    return Fate("runs")


def is_met(book: Ledger, dependency: Dependency) -> Literal["met", "spoilt", "open"] | None:
    """What has become of a dependency; None if nobody can tell."""
    jobs = [book.by_id.get(msg_id) for msg_id in dependency.ids]
    if any(job is None or job.is_muddled or job.intent.is_odd for job in jobs):
        return None
    ends = [job.was_good for job in jobs if job is not None]
    fits = [None if end is None else (dependency.success if end else dependency.failure) for end in ends]
    if not fits:
        return "met"
    if dependency.all:
        return "spoilt" if False in fits else "open" if None in fits else "met"
    return "met" if True in fits else "open" if None in fits else "spoilt"


def _by_engines(book: Ledger, job: Job) -> Fate:
    intent = job.intent
    allowed = list(book.here)
    if intent.follow is not None and intent.follow.ids:
        where = _where(book, intent.follow)
        if where is None:
            return _UNKNOWN
        if not where:
            return Fate("refused", "dependency.follow-all-two-engines")
        allowed = [peer for peer in allowed if peer in where]
        if not allowed:
            return _UNKNOWN
    if intent.targets:
        live = [peer for peer in book.here if peer.uuid in intent.targets]
        if not live:
            return Fate("refused", "task.no-live-target-error")
        both = [peer for peer in allowed if peer in live]
        if allowed and not both:
            return Fate("refused", "dependency.follow-and-targets")
        allowed = both
    refused = [run.peer for run in job.refusals]
    left = [peer for peer in allowed if peer not in refused]
    if not left:
        if (
            intent.targets
            and refused
            and not intent.follow
            and set(intent.targets) <= {each.uuid for each in book.here}
        ):
            return Fate("refused", "task.all-refused-error")
        return _UNKNOWN if refused or intent.follow else _WAITS
    # Where it failed it is run again if no other engine may have it; for those that may it can wait.
    failed = [run.peer for run in job.runs if run.end in ("failed", "aborted")]
    elsewhere = [peer for peer in left if peer not in failed]
    if any(peer.is_doubtful for peer in left):
        return _UNKNOWN
    if not elsewhere and not all(book.hwm and book.load(peer) >= book.hwm for peer in left):
        return Fate("runs", "task.retry-where-it-failed")
    left = elsewhere or left
    if all(book.hwm and book.load(peer) >= book.hwm for peer in left):
        return _WAITS
    return Fate("runs", "task.no-starvation")


def _where(book: Ledger, follow: Dependency) -> list[Peer] | None:
    """The engines to which a task may follow others; None if nobody can tell."""
    places: list[list[Peer]] = []
    for msg_id in follow.ids:
        job = book.by_id[msg_id]
        good = job.was_good
        last = job.last
        if last is None or last.end == "refused":
            # It ran nowhere.
            return None
        if follow.all or (good is not None and (follow.success if good else follow.failure)):
            places.append([last.peer])
    if not follow.all:
        return [peer for place in places for peer in place]
    first = places[0]
    return first if all(place == first for place in places) else []


def open_matters(book: Ledger, timing: Timing, since: int) -> Iterator[Matter]:
    """Everything that is still under way; what has no time of its own is due so long after `since`."""
    due = since + timing.reply_deadline
    for peer in book.peers:
        yield from _of_engine(peer, timing, due)
    for job in book.jobs:
        if not job.is_muddled:
            yield from _of_task(book, job, timing, due) if job.channel == "task" else _of_queue(job, due)
    for cast in book.casts:
        if cast.is_muddled:
            continue
        name = cast.message.msg_id
        for peer in cast.targets:
            if peer.state == "here" and peer.uuid not in cast.given:
                yield Matter("broadcast.reaches-each-target", f"{name} never came to {peer.engine.name}",
                             "it comes to each target", due, cast)  # fmt: skip
        wanted = _replies_wanted(cast)
        if len(cast.replies) < wanted:
            slug = "broadcast.coalesced-single-reply" if cast.coalesces else "broadcast.reply-per-target"
            yield Matter(slug, f"{len(cast.replies)} replies to {name}", f"{wanted}", due, cast)


def _replies_wanted(cast: Cast) -> int:
    if not cast.coalesces:
        return len(cast.answers)
    is_done = cast.targets and not cast.missing and len(cast.answers) == len(cast.targets)
    return 1 if is_done else 0


def _of_engine(peer: Peer, timing: Timing, due: int) -> Iterator[Matter]:
    name = peer.engine.name
    if peer.state == "asked":
        yield Matter("registration.request-answered", f"{name} was never answered", "a reply", due, peer)
    elif peer.state == "pending" and peer.beats:
        heard = peer.since + timing.announcement
        yield Matter("registration.heard-is-registered", f"{name}, whose heart beats, was never announced",
                     "it is registered and announced", max(due, heard), peer)  # fmt: skip
    elif peer.state == "leaving":
        if peer.beats:
            yield Matter("registration.unregistration-honoured", f"{name} unregistered, and that was never announced",
                         "it is announced", due, peer)  # fmt: skip
        else:
            last = peer.since + timing.heart_failure[1] + timing.margin + timing.heartbeat_period
            yield Matter("heartbeat.silent-engine-removed", f"{name}, whose heart has stopped, was never given up",
                         "it is unregistered", max(due, last), peer)  # fmt: skip


def _of_queue(job: Job, due: int) -> Iterator[Matter]:
    peer = job.peer
    if peer is None or peer.is_doubtful:
        return
    last = job.last
    if last is None:
        if peer.state == "here":
            slug = f"{job.channel}.routes-by-identity"
            yield Matter(slug, f"{job.message.msg_type} {job.msg_id} never came to {peer.engine.name}",
                         "it is delivered", due, job)  # fmt: skip
    elif last.end is not None and not job.replies:
        slug = f"{job.channel}.reply-to-requester"
        yield Matter(slug, f"the reply to {job.message.msg_type} {job.msg_id} never came back", "one reply", due, job,
                     (last.seen,))  # fmt: skip


def _of_task(book: Ledger, job: Job, timing: Timing, due: int) -> Iterator[Matter]:
    if job.replies:
        return
    last = job.last
    if last is not None and last.end is None and not last.is_lost:
        return
    if last is not None and job.is_over:
        if job.client is not None:
            yield Matter("task.reply-to-requester", f"no reply to {told(job)}", "one reply", due, job, (last.seen,))
        return
    if job.client is None and (job.refusals or job.intent.can_fail or not book.is_alone):
        # The Hub alone is told if nobody takes it in time, or if it was given to somebody of before who has gone.
        return
    fate = fate_of(book, job, timing, book.now)
    lost_at = _lost_at(book, job)
    at = max(due, lost_at + timing.scheduler_grace + timing.margin + timing.reply_deadline) if lost_at else due
    if fate.kind == "refused" and job.client is not None:
        at = max(at, fate.due + timing.reply_deadline)
        yield Matter(fate.slug, f"no reply to {told(job)}", "an error reply", at, job)
    elif fate.kind == "runs":
        is_there = fate.slug == "task.retry-where-it-failed"
        slug = fate.slug if last is None or is_there else _slug_of_retry(job)
        yield Matter(slug, f"{told(job)} came to no engine, though one is free", "it runs", at, job)
    elif fate.due:
        yield Matter("task.engine-death-retry", f"nothing became of {told(job)}", "it is run again",
                     fate.due + timing.reply_deadline, job)  # fmt: skip


def _lost_at(book: Ledger, job: Job) -> int:
    """When the last engine was given up that had a task, or may have been given it unseen, as it had vanished; or 0."""
    last = job.last
    since = job.at if last is None else last.at
    gone = [peer.gone_at for peer in book.peers if not peer.engine.is_open]
    unseen = [at for at in (*gone, book.stranger_gone_at) if at >= since]
    return max([*unseen, job.lost_at] if last is not None and last.is_lost else unseen, default=0)


def _slug_of_retry(job: Job) -> str:
    last = job.last
    assert last is not None
    if last.end == "refused":
        return "task.unmet-is-rerouted"
    return "task.engine-death-retry" if last.is_lost else "task.retry-on-failure"


def told(job: Job) -> str:
    """A task in the words of a report."""
    asked = {key: value for key, value in metadata_of(job.message).items() if value}
    return f"the {job.message.msg_type} {job.msg_id}" + (f" with {asked!r:.200}" if asked else "")


__all__ = ["Fate", "Matter", "fate_of", "is_met", "open_matters", "told"]
