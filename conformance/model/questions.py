"""What may be asked of the Hub, in every form, and what may be answered.

A question is made from what the ledger knows when it is asked, and its answer is judged by what the ledger knows when
that arrives: what changed in between has no certain place, and nothing is said of it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Literal

from conformance.model.answers import (
    Check,
    Complaint,
    buffers_of,
    contents,
    engines_here,
    entries,
    history,
    ids_of,
    nothing,
    queue_of,
    records,
    statuses,
)
from conformance.model.ledger import Job, Ledger, Peer
from protocol.rules.parts import content_of
from protocol.wire import Json, Message

NEVER: Final = "never-sent"
NOBODY: Final = 1_000_000


@dataclass
class Question:
    """What is asked, and whether it must be granted (`ok`), refused (`error`), or answered at all (`any`, `none`)."""

    msg_type: str
    content: Any = field(default_factory=dict)
    form: Literal["ok", "error", "any"] = "any"
    slug: str = "wire.every-request-answered"
    why: str | None = None
    check: Check = nothing
    buffers: tuple[bytes, ...] = ()
    header: dict[str, Any] = field(default_factory=dict)
    identities: tuple[bytes, ...] = ()
    #: Fields of the header that are left out.
    without: tuple[str, ...] = ()
    #: Whether it is refused as a `hub_error` only.
    is_hub_error: bool = False
    #: Engines of which nothing can be said if they leave before the answer comes: they may have left before that.
    whom: Sequence[Peer] = ()


Asked = Callable[[Ledger, int, Peer | None], Question]


def _known(book: Ledger, about: int, number: int, place: Literal["pending", "completed"] | None = None) -> list[Job]:
    jobs = [job for job in book.jobs if job.client is not None and not job.is_muddled]
    if place is not None:
        jobs = [job for job in jobs if book.place(job) == place]
    if not jobs:
        return []
    first = len(jobs) - 1 - about % len(jobs)
    return [jobs[first - step] for step in range(min(number, first + 1))]


# -- engines -----------------------------------------------------------------------------------------------------------


def _connection(**more: object) -> Asked:
    return lambda book, *_: Question(
        "connection_request", dict(more), "ok", "connection.request-answered", check=engines_here(book)
    )


def _variant(slug: str, **how: Any) -> Asked:
    return lambda book, *_: Question("connection_request", {}, "ok", slug, check=engines_here(book), **how)


# -- queues ------------------------------------------------------------------------------------------------------------


def _queue(which: str, *, verbose: bool | None = None) -> Asked:
    def asked(book: Ledger, _: int, peer: Peer | None) -> Question:
        here = book.here
        one = peer if peer is not None and peer.state == "here" else (here[0] if here else None)
        some: list[Peer] = [] if one is None else [one]
        targets: object = {
            "all": None, "one": one.engine.id if one else None, "list": [each.engine.id for each in here],
            "uuid": one.uuid if one else None, "uuids": [each.uuid for each in here],
        }[which]  # fmt: skip
        content: Json = {"targets": targets} | ({} if verbose is None else {"verbose": verbose})
        slug = {
            "all": "query.queue-request-all-engines", "one": "query.queue-target-int",
            "list": "query.queue-targets-list", "uuid": "query.queue-target-uuid", "uuids": "query.queue-target-uuid",
        }[which]  # fmt: skip
        about = here if which in ("all", "list", "uuids") or one is None else some
        form: Literal["ok", "any"] = "any" if targets == [] or (which in ("one", "uuid") and one is None) else "ok"
        check = entries(book, about, verbose=verbose is True, is_exact=book.is_alone)
        return Question("queue_request", content, form, slug, check=check, whom=[] if which == "all" else list(about))

    return asked


def _load(which: str) -> Asked:
    def asked(book: Ledger, _: int, __: Peer | None) -> Question:
        here = list(book.here)
        targets = None if which == "all" else [each.engine.id for each in here]

        def check(reply: Message) -> Iterable[Complaint]:
            for each in here if book.is_alone else ():
                lists = queue_of(book, each)
                if each.state != "here" or lists is None or each.is_littered:
                    continue
                number = len(lists["queue"]) + len(lists["tasks"])
                found = content_of(reply).get(str(each.engine.id))
                if found != number:
                    yield Complaint("query.load-is-sum", f"load {found!r} of engine {each.engine.id}", f"{number}")

        # What nobody asks about may be refused.
        form: Literal["ok", "any"] = "ok" if here else "any"
        return Question("load_request", {"targets": targets}, form, "query.load-answered", check=check, whom=here)

    return asked


def _fixed(msg_type: str, content: object, form: Literal["ok", "error", "any"], slug: str, why: str | None = None,
           **more: Any) -> Asked:  # fmt: skip
    return lambda *_: Question(msg_type, content, form, slug, why, **more)


# -- results -----------------------------------------------------------------------------------------------------------


def _result(
    number: int, place: Literal["pending", "completed"] | None = None, *, flag: str = "", value: object = True
) -> Asked:
    def asked(book: Ledger, about: int, _: Peer | None) -> Question:
        jobs = _known(book, about, number, place)
        content: Json = {"msg_ids": ids_of(jobs)} | ({flag: value} if flag else {})
        is_short = bool(flag) and value is True
        certain = all(book.place(job) in ("pending", "completed") for job in jobs)

        def check(reply: Message) -> Iterable[Complaint]:
            yield from statuses(book, jobs)(reply)
            if is_short:
                if extra := set(content_of(reply)) & set(ids_of(jobs)):
                    yield Complaint(
                        "query.result-status-only", f"entries for {sorted(extra)[:2]}", "only where they are"
                    )
            else:
                yield from contents(book, jobs)(reply)

        slug = "query.status-only-accepted" if is_short else "query.result-by-msg-id"
        return Question("result_request", content, "ok" if certain else "any", slug, check=check)

    return asked


def _old_status(book: Ledger, about: int, _: Peer | None) -> Question:
    jobs = _known(book, about, 3)
    content = {"msg_ids": ids_of(jobs), "statusonly": True}
    # Whoever knows the old name of the flag leaves the results out, and whoever does not ignores it.
    why = "the old name of the flag"
    return Question("result_request", content, "any", "query.statusonly-accepted", why, check=statuses(book, jobs))


def _purged_result(book: Ledger, about: int, _: Peer | None) -> Question:
    ids = [job.msg_id for job in book.jobs if job.is_purged]
    name = ids[-1 - about % len(ids)] if ids else NEVER
    slug = "query.purge-forgets" if ids else "query.result-unknown-id"
    return Question("result_request", {"msg_ids": [name]}, "error", slug)


def _partly(book: Ledger, about: int, _: Peer | None) -> Question:
    ids = [*ids_of(_known(book, about, 1)), NEVER]
    return Question("result_request", {"msg_ids": ids}, "error", "query.result-partly-unknown")


def _with_targets(book: Ledger, about: int, _: Peer | None) -> Question:
    jobs = _known(book, about, 2, "completed")
    content = {"msg_ids": ids_of(jobs), "targets": [NOBODY]}
    return Question("result_request", content, "ok", "query.result-targets-tolerated", check=statuses(book, jobs))


# -- history and records -----------------------------------------------------------------------------------------------


def _history(book: Ledger, _: int, __: Peer | None) -> Question:
    return Question("history_request", {}, "ok", "query.history-answered", check=history(book))


def _db(number: int, *, keys: Sequence[str] | None = None) -> Asked:
    def asked(book: Ledger, about: int, _: Peer | None) -> Question:
        jobs = _known(book, about, number)
        content: Json = {"query": {"msg_id": {"$in": ids_of(jobs)}}} | ({} if keys is None else {"keys": list(keys)})

        def check(reply: Message) -> Iterable[Complaint]:
            if keys is None:
                yield from records(book, jobs)(reply)
                if reply.buffers:
                    yield Complaint("query.db-buffers", f"{len(reply.buffers)} buffers", "none, as none were asked for")
                return
            found = content_of(reply).get("records")
            if not isinstance(found, list):
                return
            wanted = {"msg_id", *keys} - {"buffers", "result_buffers"}
            for record in found:
                if isinstance(record, dict) and set(record) - {"buffers", "result_buffers"} != wanted:
                    yield Complaint("query.db-keys", f"the fields {sorted(record)}", f"{sorted(wanted)}")
            yield from buffers_of(book, jobs, keys, reply, found)

        return Question("db_request", content, "ok", "query.db-answered", check=check)

    return asked


def _selected(make: Callable[[list[Job]], tuple[Json, list[Job]]], slug: str) -> Asked:
    """A question of which the answer is known: some records of those whose place is certain."""

    def asked(book: Ledger, about: int, _: Peer | None) -> Question:
        known = [job for job in _known(book, about, 9) if book.place(job) in ("pending", "completed")]
        jobs = sorted(known, key=lambda job: job.msg_id)
        query, wanted = make(jobs)
        # A database need not know patterns; then it must say so.
        form: Literal["ok", "any"] = "any" if slug == "query.db-glob" else "ok"
        ids = {job.msg_id for job in jobs}

        def check(reply: Message) -> Iterable[Complaint]:
            found = content_of(reply).get("records")
            if not isinstance(found, list) or any(book.place(job) in (None, "unknown") for job in jobs):
                return
            got = sorted(str(each.get("msg_id")) for each in found if isinstance(each, dict))
            mine = [msg_id for msg_id in got if msg_id in ids]
            if mine != sorted(ids_of(wanted)):
                yield Complaint(
                    slug, f"{len(mine)} records for {query!r:.200}", f"{len(wanted)}: {ids_of(wanted)!r:.200}"
                )

        return Question("db_request", {"query": query, "keys": ["msg_id"]}, form, slug, check=check)

    return asked


def _middle(jobs: list[Job]) -> str:
    return jobs[len(jobs) // 2].msg_id if jobs else NEVER


SELECTIONS: Final[dict[str, tuple[Callable[[list[Job]], tuple[Json, list[Job]]], str]]] = {
    "db-all": (lambda jobs: ({}, jobs), "query.db-all"),
    "db-one": (lambda jobs: ({"msg_id": _middle(jobs)}, [j for j in jobs if j.msg_id == _middle(jobs)]),
               "query.db-equality"),
    "db-less": (lambda jobs: ({"msg_id": {"$in": ids_of(jobs), "$lt": _middle(jobs)}},
                              [j for j in jobs if j.msg_id < _middle(jobs)]), "query.db-operators"),
    "db-least": (lambda jobs: ({"msg_id": {"$in": ids_of(jobs), "$lte": _middle(jobs)}},
                               [j for j in jobs if j.msg_id <= _middle(jobs)]), "query.db-operators"),
    "db-not": (lambda jobs: ({"msg_id": {"$in": ids_of(jobs), "$ne": _middle(jobs)}},
                             [j for j in jobs if j.msg_id != _middle(jobs)]), "query.db-operators"),
    "db-none-of": (lambda jobs: ({"msg_id": {"$nin": [_middle(jobs)]}},
                                 [j for j in jobs if j.msg_id != _middle(jobs)]), "query.db-operators"),
    "db-mux": (lambda jobs: ({"queue": "mux", "msg_id": {"$in": ids_of(jobs)}},
                             [j for j in jobs if j.channel == "mux" and j.original is None]), "query.db-equality"),
    "db-tasks": (lambda jobs: ({"msg_id": {"$in": ids_of(jobs)}, "queue": {"$in": ["task"]}},
                               [j for j in jobs if j.channel == "task"]), "query.db-operators"),
    "db-two": (lambda jobs: ({"msg_id": _middle(jobs), "queue": "no such queue"}, []), "query.db-equality"),
    "db-glob": (lambda jobs: ({"msg_id": {"$glob": f"*{_middle(jobs)[-6:]}"}},
                              [j for j in jobs if j.msg_id.endswith(_middle(jobs)[-6:])]), "query.db-glob"),
}  # fmt: skip

# -- all of them -------------------------------------------------------------------------------------------------------

_NO_TYPE = "no type of a request"
QUESTIONS: Final[dict[str, Asked]] = {
    "connection": _connection(),
    "connection-more": _connection(more=[1, None]),
    "connection-buffers": _variant("wire.unexpected-buffers-ignored", buffers=(b"x", b""), why="buffers of no use"),
    "connection-delimiter": _variant(
        "wire.first-delimiter-counts", buffers=(b"<IDS|MSG>", b"x"), why="a delimiter for the second time"
    ),
    "connection-many-buffers": _variant(
        "wire.buffers-any-number", buffers=tuple(b"%d" % n for n in range(15)), why="buffers of no use"
    ),
    "connection-identities": _variant("wire.reply-identities-echoed", identities=(b"one", b"", b"three")),
    "connection-short-header": _variant(
        "wire.header-optional-fields", without=("session", "username", "date", "version"), why="a short header"
    ),
    "connection-old-header": _variant("wire.header-any-version", header={"version": "4.1"}, why="another version"),
    "connection-new-header": _variant("wire.header-any-version", without=("version",), why="no version"),
    "connection-long-header": _variant("wire.header-extra-keys", header={"more": {"deep": [1]}}),
    "queue-all": _queue("all"),
    "queue-all-listed": _queue("all", verbose=True),
    "queue-one": _queue("one"),
    "queue-one-listed": _queue("one", verbose=True),
    "queue-list": _queue("list", verbose=False),
    "queue-list-listed": _queue("list", verbose=True),
    "queue-uuid": _queue("uuid", verbose=True),
    "queue-uuids": _queue("uuids"),
    "queue-nobody": _fixed("queue_request", {"targets": [NOBODY]}, "error", "query.queue-unknown-engine"),
    "queue-number-nobody": _fixed("queue_request", {"targets": NOBODY}, "error", "query.queue-unknown-engine"),
    "queue-no-targets": _fixed("queue_request", {}, "error", "query.queue-targets-missing", "no targets"),
    "queue-empty": _fixed("queue_request", {"targets": []}, "error", "query.queue-empty-targets"),
    "load-all": _load("all"),
    "load-list": _load("list"),
    "load-nobody": _fixed("load_request", {"targets": [NOBODY]}, "error", "query.load-targets-checked"),
    "load-no-targets": _fixed("load_request", {}, "error", "query.load-targets-checked", "no targets"),
    "result-one": _result(1),
    "result-two": _result(2),
    "result-done": _result(1, "completed"),
    "results-done": _result(4, "completed"),
    "results-open": _result(4, "pending"),
    "results": _result(6),
    "status": _result(4, flag="status_only"),
    "status-old": _old_status,
    "status-not-only": _result(2, flag="status_only", value=False),
    "result-unknown": _fixed("result_request", {"msg_ids": [NEVER]}, "error", "query.result-unknown-id"),
    "result-status-unknown": _fixed(
        "result_request", {"msg_ids": [NEVER], "status_only": True}, "error", "query.result-unknown-id"
    ),
    "result-purged": _purged_result,
    "result-partly": _partly,
    "result-no-ids": _fixed("result_request", {}, "error", "query.result-msg-ids-missing", "no msg_ids"),
    "result-targets": _with_targets,
    "history": _history,
    "db": _db(4),
    "db-buffers": _db(3, keys=("buffers", "result_buffers")),
    "db-results": _db(2, keys=("result_buffers", "queue")),
    "db-fields": _db(3, keys=("queue", "engine_uuid")),
    **{name: _selected(make, slug) for name, (make, slug) in SELECTIONS.items()},
    "db-bad": _fixed("db_request", {"query": {"msg_id": {"$no_such": 1}}}, "error", "query.db-bad-query"),
    "db-nothing": _fixed("db_request", {}, "any", "query.missing-key-answered"),
    "dask": _fixed("stop_distributed_request", {}, "any", "query.stop-distributed-answered"),
    "become-dask": _fixed("become_dask_request", {}, "any", "query.become-dask-answered"),
    "no-such-type": _fixed("no_such_request", {}, "error", "query.unknown-type-hub-error", _NO_TYPE, is_hub_error=True),
    "no-type": _fixed("", {}, "error", "query.unknown-type-hub-error", _NO_TYPE, is_hub_error=True),
    "reply-type": _fixed("queue_reply", {}, "error", "query.unknown-type-hub-error", _NO_TYPE, is_hub_error=True),
    "apply-here": _fixed("apply_request", {"some": 1}, "error", "query.unknown-type-hub-error", _NO_TYPE,
                         is_hub_error=True),
    "disguised": _fixed("no_such_request", {"msg_type": "connection_request", "targets": None}, "error",
                        "wire.dispatch-by-type", _NO_TYPE),
    "wrong-targets": _fixed("queue_request", {"targets": 1.5}, "any", "query.wrong-type-answered", "a number"),
    "wrong-verbose": _fixed("queue_request", {"targets": [[]]}, "any", "query.wrong-type-answered", "a list of lists"),
    "wrong-ids": _fixed("result_request", {"msg_ids": 7}, "any", "query.wrong-type-answered", "a number"),
    "wrong-query": _fixed("db_request", {"query": "text"}, "any", "query.wrong-type-answered", "a text"),
    "wrong-keys": _fixed("db_request", {"query": {}, "keys": 7}, "any", "query.wrong-type-answered", "a number"),
    "wrong-purge": _fixed("purge_request", {"engine_ids": "text"}, "any", "query.wrong-type-answered", "a text"),
    "wrong-resubmission": _fixed("resubmit_request", {"msg_ids": 1.5}, "any", "query.wrong-type-answered", "a number"),
    "list-queue": _fixed("queue_request", [], "error", "query.content-not-object", "the content is no object"),
    "list-result": _fixed("result_request", "text", "error", "query.content-not-object", "the content is no object"),
}  # fmt: skip
