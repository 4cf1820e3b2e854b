"""What the answers of the Hub must hold, as far as the ledger knows.

A check yields what is wrong with an answer. It looks at the ledger when the answer is there: whatever changed since
all was quiet has no certain place, and nothing is said of it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final, NamedTuple

from conformance.model.ledger import Job, Ledger, Peer
from protocol.rules.parts import content_of
from protocol.wire import Json, Message


class Complaint(NamedTuple):
    """What is wrong with an answer."""

    slug: str
    found: str
    allowed: str


Check = Callable[[Message], Iterable[Complaint]]


def nothing(_: Message) -> Iterable[Complaint]:
    """Whatever was answered."""
    return ()


def in_words(content: object, longest: int = 200) -> str:
    """A content as it is told; of an error its name and its words, for a traceback names the files of one machine."""
    if isinstance(content, dict) and content.get("status") == "error":
        return f"the error {content.get('ename')}: {content.get('evalue')!s:.{longest}}"
    return f"{content!r:.{longest}}"


def ids_of(jobs: Sequence[Job]) -> list[str]:
    """The ids of requests."""
    return [job.msg_id for job in jobs]


def engines_here(book: Ledger) -> Check:
    """A connection reply must name the engines that were registered when it was asked for, and are."""
    wanted = list(book.here)

    def check(reply: Message) -> Iterable[Complaint]:
        engines = content_of(reply).get("engines")
        if not isinstance(engines, dict):
            yield Complaint("connection.engines-listed", f"engines {engines!r:.100}", "an object")
            return
        for peer in wanted:
            if peer.state == "here" and engines.get(str(peer.engine.id)) != peer.uuid:
                yield Complaint("connection.engines-listed", f"{peer.engine.name} is not among {engines!r:.200}",
                                f"{peer.engine.id}: {peer.uuid}")  # fmt: skip

    return check


def queue_of(book: Ledger, peer: Peer) -> dict[str, set[str]] | None:
    """What must be in the lists of an engine; None if that cannot be told."""
    jobs = [job for job in book.jobs if job.runs and job.runs[-1].peer is peer]
    mine = [job for job in book.jobs if job.channel != "control" and peer in _engines_of(job)]
    if any(book.place(job) is None for job in mine):
        return None
    if any(book.place(job) == "pending" and job.runs[-1].end is not None for job in mine if job.runs):
        # A task that is to run again may still be listed where it ran, or nowhere.
        return None
    pending = [job for job in jobs if book.place(job) == "pending" and job.runs[-1].end is None]
    return {
        "queue": {job.msg_id for job in pending if job.channel == "mux"},
        "tasks": {job.msg_id for job in pending if job.channel == "task"},
        "completed": {
            job.msg_id
            for job in jobs
            if not job.is_purged and job.runs[-1].end in ("ok", "failed") and book.place(job) == "completed"
        },
    }


def _engines_of(job: Job) -> list[Peer]:
    return [*(run.peer for run in job.runs), *([job.peer] if job.peer is not None else [])]


def _ended_so(book: Ledger, msg_id: str) -> bool:
    """Whether a request certainly ended by being aborted."""
    job = book.by_id.get(msg_id)
    last = job.last if job is not None else None
    return job is not None and last is not None and last.end == "aborted" and book.place(job) == "completed"


_BY_LIST: Final = {
    "queue": "query.queue-mux-outstanding",
    "tasks": "query.queue-tasks-outstanding",
    "completed": "query.queue-completed-any-queue",
}


def entries(book: Ledger, peers: Iterable[Peer], *, verbose: bool, is_exact: bool = True) -> Check:
    """The answer to a question about queues must have an entry for each of these engines, as the ledger has it.

    Numbers count what others have left, too: they are exact when all is quiet, or nobody was there before.
    """
    wanted = list(peers)

    def check(reply: Message) -> Iterable[Complaint]:
        # The Hub may know where a task has gone before the engine has read it.
        unread = {job.msg_id for job in book.jobs if job.channel == "task" and not job.runs}
        for peer in wanted:
            if peer.state != "here":
                continue
            entry = content_of(reply).get(str(peer.engine.id))
            if not isinstance(entry, dict):
                yield Complaint("query.queue-targets-list", f"{entry!r:.100} for engine {peer.engine.id}", "an entry")
                continue
            lists = queue_of(book, peer)
            if lists is None:
                continue
            for key, ids in lists.items():
                found = entry.get(key)
                if verbose and key == "completed" and isinstance(found, list):
                    aborted = [run for run in peer.runs if run.end == "aborted" and run.seen.channel == "task"]
                    names = [run.seen.message.msg_id for run in aborted if run.seen.message is not None]
                    if again := [name for name in names if name in found and _ended_so(book, name)]:
                        yield Complaint("storage.aborted-not-completed-by-engine", f"{again[0]} is completed by engine "
                                        f"{peer.engine.id}", "it was aborted")  # fmt: skip
                if verbose:
                    if not isinstance(found, list):
                        yield Complaint("query.queue-verbose-lists", f"{key} {found!r:.100}", "a list")
                    elif (
                        not ids <= set(found)
                        if key == "completed"
                        else (set(found) & book.by_id.keys()) - (unread if key == "tasks" else set()) != ids
                    ):
                        what = f"{key} {found!r:.300} of engine {peer.engine.id}"
                        yield Complaint(_BY_LIST[key], what, f"{sorted(ids)}")
                elif peer.is_littered or not is_exact:
                    continue
                elif not isinstance(found, int):
                    yield Complaint("query.queue-counts", f"{key} {found!r:.100}", "a number")
                elif found < len(ids) or (found > len(ids) + len(unread) and key == "tasks" and not book.wild):
                    yield Complaint("query.queue-counts", f"{key} {found} of engine {peer.engine.id}", f"{len(ids)}")

    return check


def statuses(book: Ledger, jobs: Sequence[Job]) -> Check:
    """A reply must have these requests, and no others, where the ledger has them."""

    def check(reply: Message) -> Iterable[Complaint]:
        pending, completed = (content_of(reply).get(name) for name in ("pending", "completed"))
        if not isinstance(pending, list) or not isinstance(completed, list):
            return
        for job in jobs:
            place = book.place(job)
            found = [name for name, ids in (("pending", pending), ("completed", completed)) if job.msg_id in ids]
            if place is not None and found != [place]:
                slug = f"query.result-{place}" if place != "unknown" else "query.purge-forgets"
                yield Complaint(slug, f"{job.message.msg_type} {job.msg_id} is in {found or 'no place'}", place)
        others = ({*pending, *completed} | set(content_of(reply))) & (set(book.by_id) - {job.msg_id for job in jobs})
        if others:
            yield Complaint("query.result-by-msg-id", f"{sorted(others)[:3]}, too", "what was asked for")

    return check


def contents(book: Ledger, jobs: Sequence[Job]) -> Check:
    """A reply must have the results of these requests as their engines gave them, with their buffers in order."""

    def check(reply: Message) -> Iterable[Complaint]:
        buffers: list[bytes] | None = []
        # Buffers come in the order of the sorted ids.
        for job in sorted(jobs, key=lambda job: job.msg_id):
            place = book.place(job)
            entry = content_of(reply).get(job.msg_id)
            if place == "completed" and not isinstance(entry, dict):
                yield Complaint("query.result-completed", f"{entry!r:.100} for {job.msg_id}", "an entry")
            if place == "pending" and entry is not None:
                yield Complaint("query.result-pending", f"{entry!r:.100} for {job.msg_id}", "no entry")
            result = result_of(job)
            if place is None or (place == "completed" and result is None):
                buffers = None
            if place != "completed" or result is None or not isinstance(entry, dict):
                continue
            if entry.get("result_content") != result.content:
                what = f"result_content {in_words(entry.get('result_content'))} of {job.msg_id}"
                yield Complaint("query.result-content", what, f"{result.content!r:.200}")
                # Another result has another header and other buffers.
                buffers = None
                continue
            missing = [key for key in RECORD_KEYS if key not in entry]
            if missing:
                yield Complaint("query.result-record-keys", f"an entry without {missing}", "all keys")
            for name, message, slug in (("header", job.message, "query.result-header"),
                                        ("result_header", result, "query.result-header")):  # fmt: skip
                head = entry.get(name)
                if not isinstance(head, dict) or head.get("msg_id") != message.msg_id:
                    yield Complaint(slug, f"{name} {head!r:.200} of {job.msg_id}", f"{message.header!r:.200}")
            if buffers is not None:
                buffers += [bytes(each) for each in result.buffers]
        found = [bytes(each) for each in reply.buffers]
        if buffers is not None and found != buffers:
            yield Complaint(
                "query.result-buffers-order" if sorted(found) == sorted(buffers) else "query.result-buffers",
                f"{len(found)} buffers, {found!r:.150}",
                f"{buffers!r:.150}",
            )

    return check


#: What an entry of a result has (`ipyparallel-9`).
RECORD_KEYS: Final = ("header", "result_header", "metadata", "result_metadata", "result_content", "io", "received")


def result_of(job: Job) -> Message | None:
    """What came of a request: what its engine answered, or what the scheduler told the client instead."""
    if job.replies:
        return job.replies[0].message
    last = job.last
    return last.reply if last is not None else None


def history(book: Ledger) -> Check:
    """A history must hold what is certainly on record, once, and nothing that was purged."""
    wanted = [job for job in book.jobs if book.place(job) in ("pending", "completed")]

    def check(reply: Message) -> Iterable[Complaint]:
        found = content_of(reply).get("history")
        if not isinstance(found, list):
            yield Complaint("query.history-answered", f"history {found!r:.100}", "a list")
            return
        certain = [job for job in wanted if book.place(job) in ("pending", "completed")]
        missing = [job.msg_id for job in certain if job.msg_id not in found]
        if missing:
            yield Complaint("query.history-answered", f"no {missing[0]} in {len(found)} entries", "all on record")
        purged = [job.msg_id for job in book.jobs if job.is_purged and job.msg_id in found]
        if purged:
            yield Complaint("query.purge-forgets", f"{purged[0]} in the history", "a history without it")
        if len(set(map(str, found))) != len(found):
            yield Complaint("query.history-once", f"{len(found)} entries, some twice", "each once")
        for channel in ("mux", "task", "control"):
            for client in {id(job.client) for job in certain}:
                mine = [job.msg_id for job in certain if id(job.client) == client and job.channel == channel]
                told = [msg_id for msg_id in found if msg_id in mine]
                if sorted(told, key=mine.index) != told:
                    yield Complaint("query.history-order", f"{told!r:.200}", f"{mine!r:.200}, as submitted")

    return check


FIELDS: Final = frozenset(
    {
        "msg_id", "header", "content", "metadata", "submitted", "client_uuid", "engine_uuid", "started", "completed",
        "resubmitted", "received", "result_header", "result_metadata", "result_content", "queue", "execute_input",
        "execute_result", "error", "stdout", "stderr", "label",
    }
)  # fmt: skip


def records(book: Ledger, jobs: Sequence[Job]) -> Check:
    """Records must agree with what was sent and answered."""

    def check(reply: Message) -> Iterable[Complaint]:
        found = content_of(reply).get("records")
        if not isinstance(found, list):
            yield Complaint("query.db-answered", f"records {found!r:.100}", "a list")
            return
        by_id = {each.get("msg_id"): each for each in found if isinstance(each, dict)}
        for job in jobs:
            place, record = book.place(job), by_id.get(job.msg_id)
            if place == "unknown" and record is not None:
                yield Complaint("query.purge-forgets", f"a record of {job.msg_id}", "none")
            if place not in ("pending", "completed"):
                continue
            if record is None:
                yield Complaint("storage.requests-recorded", f"no record of {job.msg_id}", "one")
                continue
            yield from _record(job, record, is_done=place == "completed")

    return check


def _record(job: Job, record: Json, *, is_done: bool) -> Iterable[Complaint]:
    name = f"of {job.msg_id}"
    if missing := sorted(FIELDS - record.keys()):
        yield Complaint("storage.record-fields", f"a record {name} without {missing}", "all fields")
    original = job.original if job.original is not None else job
    if job.original is None and record.get("queue") != job.channel:
        yield Complaint("storage.queue-named", f"queue {record.get('queue')!r} {name}", job.channel)
    if job.original is None and record.get("client_uuid") != job.message.header.get("session"):
        yield Complaint("storage.client-and-engine-named", f"client_uuid {record.get('client_uuid')!r} {name}",
                        f"{job.message.header.get('session')!r}")  # fmt: skip
    for key, value in (("content", original.message.content or {}), ("metadata", original.message.metadata or {})):
        if record.get(key) != value:
            is_lost = job.original is not None and key == "metadata"
            slug = "query.resubmit-keeps-metadata" if is_lost else "storage.requests-recorded"
            yield Complaint(slug, f"{key} {record.get(key)!r:.200} {name}", f"{value!r:.200}")
    result, last = result_of(job), job.last
    if is_done and result is not None and record.get("result_content") != result.content:
        what = f"result_content {in_words(record.get('result_content'))} {name}"
        yield Complaint("query.db-agrees-with-result", what, f"{result.content!r:.200}")
    if is_done and last is not None and last.end in ("ok", "failed") and record.get("engine_uuid") != last.peer.uuid:
        yield Complaint("storage.client-and-engine-named", f"engine_uuid {record.get('engine_uuid')!r} {name}",
                        last.peer.uuid)  # fmt: skip
    if not is_done and record.get("result_content") not in (None, {}):
        yield Complaint("storage.pending-completed-disjoint", f"a result {name}, which is pending", "none")
    if job.again and len(job.again) == 1 and record.get("resubmitted") != job.again[0]:
        yield Complaint("query.resubmit-recorded", f"resubmitted {record.get('resubmitted')!r} {name}", job.again[0])


def buffers_of(
    book: Ledger, jobs: Sequence[Job], keys: Sequence[str], reply: Message, found: list[Any]
) -> Iterable[Complaint]:
    """The buffers of records must be those that were sent, in the order of the records, and be counted."""
    known = {job.msg_id: job for job in jobs}
    wanted: list[bytes] = []
    lengths: dict[str, list[int]] = {"buffers": [], "result_buffers": []}
    for record in found:
        job = known.get(str(record.get("msg_id"))) if isinstance(record, dict) else None
        result = result_of(job) if job is not None and book.place(job) == "completed" else None
        if job is None or (book.place(job) != "pending" and result is None):
            return
        got = [] if result is None else [bytes(each) for each in result.buffers]
        sent = [bytes(each) for each in job.message.buffers]
        lengths["buffers"].append(len(sent))
        lengths["result_buffers"].append(len(got))
        wanted += (sent if "buffers" in keys else []) + (got if "result_buffers" in keys else [])
    if [bytes(each) for each in reply.buffers] != wanted:
        yield Complaint("query.db-buffers", f"{len(reply.buffers)} buffers", f"{len(wanted)}, of the records in order")
    for key, name in (("buffers", "buffer_lens"), ("result_buffers", "result_buffer_lens")):
        if key in keys and content_of(reply).get(name) != lengths[key]:
            yield Complaint("query.db-buffer-lens", f"{name} {content_of(reply).get(name)!r:.100}", f"{lengths[key]}")
