"""What happens in the recorded logs: queries and results. See make_logs."""

from typing import Any

from log_work_scenarios import Work
from make_logs import DATE, ERROR, OK, Story, log

from protocol.world import Observation

Seen = Observation | None
NONE = {"queue": 0, "completed": 0, "tasks": 0}
EMPTY: dict[str, Any] = {"queue": [], "completed": [], "tasks": []}
RECORD = {
    "header": {"msg_id": "m1"}, "metadata": {}, "result_metadata": {}, "result_header": {}, "result_content": {},
    "received": None, "io": {},
}  # fmt: skip


def queue(story: Story, asked: object, entries: dict[str, Any], **fields: Any) -> Observation:
    return story.asked("client-1", "queue", asked, {"status": "ok", "unassigned": 0} | entries, **fields)


def lists(story: Story, entries: dict[str, Any], **more: Any) -> Observation:
    return queue(story, {"targets": [0], "verbose": True}, {"unassigned": []} | entries | more)


def result(story: Story, asked: list[str], pending: list[str], done: list[str], entries: dict[str, Any] | None = None,
           only: bool | None = None, **fields: Any) -> Observation:  # fmt: skip
    request: dict[str, Any] = {"msg_ids": asked} | ({} if only is None else {"status_only": only})
    found = {msg_id: RECORD | {"header": {"msg_id": msg_id}} for msg_id in done} if not only else {}
    reply = {"status": "ok", "pending": pending, "completed": done} | (found if entries is None else entries)
    return story.asked("client-1", "result", request, reply, **fields)


@log("query.unknown-type-hub-error")
def _(story: Story, broken: bool) -> Seen:
    request = story.ask("client-1", "colour_request", {})
    return story.answer(request, "connection_reply" if broken else "hub_error", ERROR)


@log("query.hub-error-shape", "wire.content-matches-type")
def _(story: Story, broken: bool) -> Seen:
    request = story.ask("client-1", "colour_request", {})
    return story.answer(request, "hub_error", ERROR | ({"status": "ok"} if broken else {}))


@log("query.hub-error-names-request", "wire.reply-parent")
def _(story: Story, broken: bool) -> Seen:
    request = story.ask("client-1", "colour_request", {})
    return story.answer(request, "hub_error", ERROR, **({"parent": {}} if broken else {}))


@log("query.answered-in-order")
def _(story: Story, broken: bool) -> Seen:
    requests = [story.ask("client-1", "history_request", {}) for _ in range(2)]
    for request in reversed(requests) if broken else requests:
        story.answer(request, "history_reply", {"status": "ok", "history": []})
    return None


@log("query.queue-targets-list")
def _(story: Story, broken: bool) -> Seen:
    return queue(story, {"targets": [0, 1]}, {"0": NONE, "2" if broken else "1": NONE})


@log("query.queue-request-all-engines")
def _(story: Story, broken: bool) -> Seen:
    story.live("a")
    return queue(story, {"targets": None}, {} if broken else {"0": NONE})


@log("query.queue-keys-are-strings")
def _(story: Story, broken: bool) -> Seen:
    return queue(story, {"targets": None}, {"engine 0" if broken else "0": NONE})


@log("query.queue-three-keys", "wire.content-matches-type", "query.queue-verbose-default")
def _(story: Story, broken: bool) -> Seen:
    return queue(story, {"targets": [0]}, {"0": {"queue": 0, "completed": 0} if broken else NONE})


@log("query.queue-unassigned")
def _(story: Story, broken: bool) -> Seen:
    return queue(story, {"targets": [0]}, {"0": NONE, "unassigned": [] if broken else 0})


@log("query.queue-counts")
def _(story: Story, broken: bool) -> Seen:
    return queue(story, {"targets": [0], "verbose": False}, {"0": NONE | {"queue": [] if broken else 0}})


@log("query.queue-verbose-default")
def _(story: Story, broken: bool) -> Seen:
    return queue(story, {"targets": [0]}, {"0": NONE | {"queue": [] if broken else 0}})


@log("query.queue-verbose-lists")
def _(story: Story, broken: bool) -> Seen:
    return lists(story, {"0": EMPTY | {"queue": 0 if broken else []}})


@log("query.queue-counts-match-lists")
def _(story: Story, broken: bool) -> Seen:
    counts = {"0": {"queue": 1, "completed": 2, "tasks": 0}}
    queue(story, {"targets": [0]}, counts)
    listed = lists(story, {"0": EMPTY | {"queue": ["m3"], "completed": ["m1"] if broken else ["m1", "m2"]}})
    queue(story, {"targets": [0]}, counts)
    return listed


@log("query.queue-agrees-with-results")
def _(story: Story, broken: bool) -> Seen:
    return lists(story, {"0": EMPTY | {"queue": ["m1"] if broken else ["m2"], "completed": ["m1"]}})


@log("query.load-answered")
def _(story: Story, broken: bool) -> Seen:
    return story.asked("client-1", "load", {"targets": [0, 1]}, {"status": "ok", "0": 2} | ({} if broken else {"1": 0}))


@log("query.result-by-msg-id")
def _(story: Story, broken: bool) -> Seen:
    return result(story, ["m1", "m2"], [] if broken else ["m2"], ["m1"])


@log("query.result-one-place")
def _(story: Story, broken: bool) -> Seen:
    return result(story, ["m1"], ["m1"] if broken else [], ["m1"], only=True)


@log("query.result-completed")
def _(story: Story, broken: bool) -> Seen:
    return result(story, ["m1"], [], ["m1"], {} if broken else None)


@log("query.result-pending")
def _(story: Story, broken: bool) -> Seen:
    return result(story, ["m1"], ["m1"], [], {"m1": RECORD} if broken else {})


@log("query.result-status-only")
def _(story: Story, broken: bool) -> Seen:
    return result(story, ["m1"], [], ["m1"], {"m1": RECORD} if broken else {}, only=True)


@log("query.result-no-buffers")
def _(story: Story, broken: bool) -> Seen:
    return result(story, ["m1"], ["m1"], [], buffers=[b"\x80\x04K\x2a."] if broken else [])


@log("query.result-header")
def _(story: Story, broken: bool) -> Seen:
    return result(story, ["m1"], [], ["m1"], {"m1": RECORD | {"header": {"msg_id": "m2" if broken else "m1"}}})


@log("query.result-repeatable")
def _(story: Story, broken: bool) -> Seen:
    result(story, ["m1"], [], ["m1"])
    return result(story, ["m1"], ["m1"], []) if broken else result(story, ["m1"], [], ["m1"])


@log("query.history-once")
def _(story: Story, broken: bool) -> Seen:
    history = ["m1", "m2", "m1"] if broken else ["m1", "m2"]
    return story.asked("client-1", "history", {}, {"status": "ok", "history": history})


def records(story: Story, asked: object, found: list[dict[str, Any]], lens: list[int] | None = None,
            **fields: Any) -> Observation:  # fmt: skip
    reply = {"status": "ok", "records": found, "buffer_lens": None, "result_buffer_lens": lens}
    return story.asked("client-1", "db", asked, reply, **fields)


@log("query.db-keys")
def _(story: Story, broken: bool) -> Seen:
    record = {"msg_id": "m1", "queue": "mux"} | ({"content": {}} if broken else {})
    return records(story, {"query": {}, "keys": ["queue"]}, [record])


@log("query.db-buffer-lens")
def _(story: Story, broken: bool) -> Seen:
    asked = {"query": {}, "keys": ["result_buffers"]}
    return records(story, asked, [{"msg_id": "m1"}], [2 if broken else 1], buffers=[b"\x80\x04K\x2a."])


@log("query.db-equality")
def _(story: Story, broken: bool) -> Seen:
    asked = {"query": {"queue": "mux"}, "keys": ["queue"]}
    return records(story, asked, [{"msg_id": "m1", "queue": "task" if broken else "mux"}])


@log("query.purge-nothing")
def _(story: Story, broken: bool) -> Seen:
    return story.asked("client-1", "purge", {}, ERROR if broken else OK)


@log("query.purge-forgets")
def _(story: Story, broken: bool) -> Seen:
    story.asked("client-1", "purge", {"msg_ids": ["m1"]}, OK)
    return story.asked("client-1", "history", {}, {"status": "ok", "history": ["m1", "m2"] if broken else ["m2"]})


@log("query.resubmit-answered")
def _(story: Story, broken: bool) -> Seen:
    told = {"m1": "n1"} | ({} if broken else {"m2": "n2"})
    return story.asked("client-1", "resubmit", {"msg_ids": ["m1", "m2"]}, {"status": "ok", "resubmitted": told})


@log("query.resubmit-fresh-id")
def _(story: Story, broken: bool) -> Seen:
    told = {"m1": "m1" if broken else "n1"}
    return story.asked("client-1", "resubmit", {"msg_ids": ["m1"]}, {"status": "ok", "resubmitted": told})


# -- what the Hub keeps ----------------------------------------------------------------------------------------------


@log("storage.sets-within-pending")
def _(story: Story, broken: bool) -> Seen:
    result(story, ["m1"], [], ["m1"], only=True)
    return lists(story, {"0": EMPTY | {"tasks": ["m1" if broken else "m2"]}})


@log("storage.pending-completed-disjoint")
def _(story: Story, broken: bool) -> Seen:
    lists(story, {"0": EMPTY | {"completed": ["m1"]}})
    return result(story, ["m1"], ["m1"] if broken else [], [] if broken else ["m1"], only=True)


def dated(story: Story, dates: dict[str, object]) -> Observation:
    """A task that runs once; the record of it with these dates."""
    work = Work(story)
    request = work.submit()
    work.run(request)
    assert request.message is not None
    asked = {"query": {}, "keys": [*dates]}
    return records(story, asked, [{"msg_id": request.message.msg_id} | dates])


@log("storage.times-ordered")
def _(story: Story, broken: bool) -> Seen:
    return dated(story, {"submitted": DATE, "completed": "2026-01-05T11:00:00Z" if broken else DATE})


@log("storage.times-ordered.once")
def _(story: Story, broken: bool) -> Seen:
    first = dated(story, {"submitted": DATE, "completed": None, "received": DATE})
    assert first.message is not None
    record = first.message.content["records"][0] | {"completed": DATE}
    late = "2026-01-05T13:00:00Z" if broken else DATE.replace("Z", "+00:00")
    return records(story, {"query": {}, "keys": ["submitted", "completed", "received"]}, [record | {"received": late}])


@log("query.purge-keeps-others")
def _(story: Story, broken: bool) -> Seen:
    result(story, ["m1", "m2"], [], ["m1", "m2"])
    story.asked("client-1", "purge", {"msg_ids": ["m1"]}, OK)
    if broken:
        return story.asked("client-1", "result", {"msg_ids": ["m2"]}, ERROR)
    return result(story, ["m2"], [], ["m2"])


@log("query.purge-keeps-pending")
def _(story: Story, broken: bool) -> Seen:
    work = Work(story)
    request = work.submit()
    work.give(request)
    assert request.message is not None
    mine = [request.message.msg_id]
    result(story, mine, mine, [], only=True)
    story.asked("client-1", "purge", {"msg_ids": "all"}, OK)
    if broken:
        return story.asked("client-1", "result", {"msg_ids": mine}, ERROR)
    return result(story, mine, mine, [], only=True)


def again(story: Story, request: Observation, new: str, **changes: Any) -> Observation:
    """The engine gets a task that nobody sent, which is like another one."""
    assert request.message is not None
    message = request.message.replace(header=request.message.header | {"msg_id": new}, **changes)
    return story.see("a", "task", "received", story.frames(message))


def resubmitted(story: Story, content: dict[str, Any], *more: str) -> Observation:
    """A task that has run, of which the Hub is asked for another; the task."""
    work = Work(story)
    request = work.submit(targets=["a"])
    work.run(request)
    assert request.message is not None
    old = request.message.msg_id
    content = {key: {old: value} if key == "resubmitted" else value for key, value in content.items()}
    story.asked("client-1", "resubmit", {"msg_ids": [old, *more]}, content)
    return request


@log("query.resubmit-same-request", guilty="task-scheduler")
def _(story: Story, broken: bool) -> Seen:
    request = resubmitted(story, OK | {"resubmitted": "n1"})
    return again(story, request, "n1", buffers=(b"call", b"other" if broken else b"arguments"))


@log("query.resubmit-all-or-nothing", guilty="task-scheduler")
def _(story: Story, broken: bool) -> Seen:
    request = resubmitted(story, ERROR, "unknown")
    return again(story, request, "n1") if broken else None
