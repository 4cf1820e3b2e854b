"""What must be true for what a client of ipyparallel asks of the Hub and of engines, and for their coming and going."""

import sys
import types
from typing import Any

from conformance.interop import calls
from conformance.interop.ability import Broken, Table, Wanted
from conformance.interop.theirs import Theirs

CLUSTER = Table()

# -- the Hub -----------------------------------------------------------------------------------------------------------


@CLUSTER("hub.queue_status", "query.queue-three-keys")
def queue_status(d: Theirs) -> None:
    """The Hub counts what is queued at an engine, and names what it has completed."""
    engine = d.ids[0]
    running = d.busy(engine)
    waiting = d.client[engine].apply_async(calls.pid)
    d.until("two requests are queued", lambda: d.client.queue_status(engine)["queue"] == 2)
    d.client.send_signal("SIGINT", targets=engine, block=True)
    d.fails(running, "KeyboardInterrupt")
    d.get(waiting)
    d.until("none is queued any more", lambda: d.client.queue_status(engine)["queue"] == 0, Wanted(
        kind="content", name="queue_reply", expected={str(engine): {"queue": 0}},
    ))  # fmt: skip
    status = d.client.queue_status(verbose=True)
    d.equal("the last that were completed", status[engine]["completed"][-2:], [*running.msg_ids, *waiting.msg_ids])
    d.true("unassigned tasks are counted", "unassigned" in status)


@CLUSTER("hub.result_status", "query.result-status-only")
def result_status(d: Theirs) -> None:
    """The Hub says which requests are pending and which completed."""
    path = d.file()
    result = d.balanced.apply_async(calls.await_file, str(path), d.patience)
    d.until("it is pending", lambda: d.status(*result.msg_ids)["pending"] == result.msg_ids)
    path.write_text("go", encoding="utf-8")
    d.get(result)
    d.recorded(*result.msg_ids)
    d.equal("what is pending", d.status(*result.msg_ids)["pending"], [])


@CLUSTER("hub.get_result", "query.result-any-client")
def get_result(d: Theirs) -> None:
    """Another client gets results from the Hub: done ones, pending ones, and errors."""
    result = d.all.apply_async(calls.square, 12)
    d.get(result)
    failed = d.client[d.ids[0]].apply_async(calls.divide, 1, 0)
    d.fails(failed, "ZeroDivisionError")
    path = d.file()
    pending = d.client[d.ids[0]].apply_async(calls.await_file, str(path), d.patience)
    d.recorded(*result.msg_ids, *failed.msg_ids)
    # Whoever asks for a request before the Hub has heard of it is told that there is none.
    d.until("one is pending", lambda: d.status(*pending.msg_ids)["pending"] == pending.msg_ids)
    other = d.connect()
    try:
        d.equal("the values", d.get(other.get_result(result.msg_ids, owner=False)), [144] * len(d.ids))
        d.fails(other.get_result(failed.msg_ids, owner=False), "ZeroDivisionError")
        there = other.get_result(pending.msg_ids, owner=False)
        path.write_text("there", encoding="utf-8")
        d.equal("the pending one", _only(d.get(there)), "there")
    finally:
        other.close()
    d.get(pending)


@CLUSTER("hub.resubmit", "query.resubmit-runs")
def resubmit(d: Theirs) -> None:
    """A request that was done can be done again under another id."""
    path = d.file()
    result = d.balanced.apply_async(calls.fail_until, str(path), 1)
    d.equal("the first time", d.get(result), 1)
    d.recorded(*result.msg_ids)
    again = d.client.resubmit(result.msg_ids)
    d.true("the id is another", again.msg_ids != result.msg_ids)
    d.equal("the second time", _only(d.get(again)), 2)


@CLUSTER("hub.db_query", "query.db-equality")
def db_query(d: Theirs) -> None:
    """The Hub finds its records by what is in them, with dates as dates."""
    result = d.client[d.ids[0]].apply_async(calls.pid)
    d.get(result)
    (msg_id,) = result.msg_ids
    d.recorded(msg_id)
    (record,) = d.client.db_query({"msg_id": msg_id}, keys=["msg_id", "engine_uuid", "completed"])
    d.equal("the engine", record["engine_uuid"], result.metadata["engine_uuid"])
    d.true("the end is a date", hasattr(record["completed"], "isoformat"))
    found = d.client.db_query({"msg_id": {"$in": [msg_id, "nobody"]}}, keys=["msg_id"])
    d.equal("one of several", [one["msg_id"] for one in found], [msg_id])


@CLUSTER("hub.hub_history", "query.history-order")
def hub_history(d: Theirs) -> None:
    """The Hub lists all requests, the oldest first."""
    first = d.client[d.ids[0]].apply_async(calls.pid)
    d.get(first)
    d.recorded(*first.msg_ids)
    second = d.balanced.apply_async(calls.pid)
    d.get(second)
    d.recorded(*second.msg_ids)
    d.equal("the last two", d.client.hub_history()[-2:], [*first.msg_ids, *second.msg_ids])


@CLUSTER("hub.purge", "query.purge-forgets")
def purge(d: Theirs) -> None:
    """The Hub forgets what it is told to, and keeps the rest."""
    gone, kept = (d.client[d.ids[0]].apply_async(calls.pid) for _ in range(2))
    d.get(gone)
    d.get(kept)
    d.recorded(*gone.msg_ids, *kept.msg_ids)
    d.client.purge_hub_results(gone)
    history = d.client.hub_history()
    d.true("one is forgotten", not set(gone.msg_ids) & set(history))
    d.true("the other is kept", set(kept.msg_ids) <= set(history))
    d.client.purge_hub_results("all")
    d.equal("the history", d.client.hub_history(), [])


@CLUSTER("hub.become_dask", "query.become-dask-answered")
def become_dask(d: Theirs) -> None:
    """A Hub that cannot become a scheduler of Dask says so, and goes on."""
    has_dask = "distributed" in sys.modules
    # The client imports it before it asks; what must refuse is the Hub.
    sys.modules.setdefault("distributed", types.ModuleType("distributed"))
    try:
        d.client.become_dask()
    except d.ipp.error.RemoteError as error:
        d.true("the refusal is in words", error.ename and error.evalue)
    else:
        raise Broken("no refusal", Wanted(kind="content", name="become_dask_reply", expected={"status": "error"}))
    finally:
        if not has_dask:
            del sys.modules["distributed"]
    d.equal("the Hub goes on", d.client.queue_status(d.ids[0])["queue"], 0)


# -- control -----------------------------------------------------------------------------------------------------------


def _is_aborted(d: Theirs, result: Any) -> None:
    """Demand that a request was aborted. Raises Broken."""
    wanted = Wanted(kind="content", msg_ids=tuple(result.msg_ids), expected={"status": "aborted"})
    try:
        d.get(result)
    except d.ipp.error.TaskAborted:
        return
    except d.ipp.error.RemoteError as error:
        d.equal("the error", error.ename, "TaskAborted", wanted)
        return
    raise Broken("it ran", wanted)


@CLUSTER("control.abort", "control.abort-by-id")
def abort(d: Theirs) -> None:
    """A request that is queued can be aborted; the one that runs, and the others, are not touched."""
    view = d.client[d.ids[0]]
    path = d.file()
    running = view.apply_async(calls.await_file, str(path), d.patience)
    gone = view.apply_async(calls.pid)
    kept = view.apply_async(calls.square, 5)
    d.client.abort(gone, targets=d.ids[0], block=True)
    path.write_text("go", encoding="utf-8")
    d.equal("the one that ran", d.get(running), "go")
    d.equal("the one that was kept", d.get(kept), 25)
    _is_aborted(d, gone)


@CLUSTER("control.abort_all", "control.abort-by-id")
def abort_all(d: Theirs) -> None:
    """Everything that this client has queued can be aborted at once; what is sent later runs."""
    engine = d.ids[0]
    view = d.client[engine]
    path = d.file()
    begun = d.file()
    running = view.apply_async(calls.announce_and_await, str(begun), str(path), d.patience)
    d.until("it has begun", begun.exists)
    gone = [view.apply_async(calls.pid) for _ in range(3)]
    d.client.abort(targets=engine, block=True)
    path.write_text("go", encoding="utf-8")
    d.equal("the one that ran", d.get(running), "go")
    for one in gone:
        _is_aborted(d, one)
    d.equal("a later one", d.get(view.apply_async(calls.square, 5)), 25)


@CLUSTER("control.clear", "control.clear-empties-namespace")
def clear(d: Theirs) -> None:
    """A namespace is emptied, on that engine only."""
    d.get(d.all.push({"kit_clear": 1}))
    d.client.clear(targets=d.ids[0], block=True)
    d.fails(d.client[d.ids[0]].pull("kit_clear", block=False), "NameError")
    d.equal("on another", d.get(d.client[d.ids[-1]].pull("kit_clear", block=False)), 1)


@CLUSTER("control.signal", "control.signal-delivered")
def send_signal(d: Theirs) -> None:
    """A signal interrupts what runs, and the engine goes on."""
    running = d.busy(d.ids[0])
    d.client.send_signal("SIGINT", targets=d.ids[0], block=True)
    d.fails(running, "KeyboardInterrupt")
    d.equal("the next call", d.get(d.client[d.ids[0]].apply_async(calls.square, 3)), 9)


# -- life and death ----------------------------------------------------------------------------------------------------


@CLUSTER("life.registered", "registration.request-answered")
def registered(d: Theirs) -> None:
    """Every engine is listed, and each number leads to a process of its own."""
    d.true("there are enough", len(d.ids) >= d.count)
    found = d.all.apply_async(calls.pid).get_dict(d.patience)
    d.equal("the engines", sorted(found), d.ids)
    d.equal("the processes", len(set(found.values())), len(d.ids))


@CLUSTER("life.joins", "notification.registration-published")
def joins(d: Theirs) -> None:
    """A client hears of an engine that comes, and can use it."""
    before = set(d.ids)
    d.start_engine()
    d.until("the new engine is announced", lambda: set(d.ids) - before, Wanted(
        kind="notice", name="registration_notification",
    ))  # fmt: skip
    (fresh,) = set(d.ids) - before
    d.equal("a call", d.get(d.client[fresh].apply_async(calls.square, 4)), 16)


@CLUSTER("life.killed", "notification.unregistration-published")
def killed(d: Theirs) -> None:
    """An engine that dies while it works is reported, and its requests end with an error."""
    engine = d.ids[-1]
    process = d.get(d.client[engine].apply_async(calls.pid))
    running = d.busy(engine)
    task = d.client.load_balanced_view(targets=[engine]).apply_async(calls.sleep, 60.0)
    calls.kill(process)
    d.fails(running, "EngineError")
    d.until("the engine is gone", lambda: engine not in d.ids, Wanted(
        kind="notice", name="unregistration_notification", expected={"id": engine},
    ))  # fmt: skip
    d.until("the task has ended", task.ready, seconds=1.5 * d.patience)
    d.true("not well", not task.successful())
    d.equal("another engine", d.get(d.balanced.apply_async(calls.square, 7)), 49)


@CLUSTER("life.engine_shutdown", "control.shutdown-exits")
def engine_shutdown(d: Theirs) -> None:
    """An engine that is told to end answers, ends, and is reported."""
    engine = d.ids[-1]
    process = d.get(d.client[engine].apply_async(calls.pid))
    d.client.shutdown(targets=engine, block=True)
    d.until("the engine is gone", lambda: engine not in d.ids, Wanted(
        kind="notice", name="unregistration_notification", expected={"id": engine},
    ))  # fmt: skip
    d.until("its process has ended", lambda: not calls.is_alive(process))
    d.equal("another engine", d.get(d.balanced.apply_async(calls.square, 8)), 64)


@CLUSTER("life.hub_shutdown", "query.shutdown-ends", is_last=True)
def hub_shutdown(d: Theirs) -> None:
    """The engines end, and then the controller: it answers, says goodbye to all, and ends."""
    processes = d.get(d.all.apply_async(calls.pid))
    d.client.shutdown(hub=True, block=True)
    d.until("the engines have ended", lambda: not any(map(calls.is_alive, processes)))
    d.until("the controller has ended", lambda: not d.is_controller_running())


def _only(value: Any) -> Any:
    """A result that some releases put into a list of one."""
    return value[0] if isinstance(value, list) and len(value) == 1 else value
