"""What must be true for a client of ipyparallel. Its package is imported when the first client is made."""

import os
import sys
import types
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from conformance.interop import calls
from conformance.interop.ability import Broken, Deployment, Table, Wanted

THEIRS = Table()


class Theirs(Deployment):
    """A cluster with an `ipyparallel.Client`."""

    def __init__(
        self, directory: Path, count: int, patience: float, file: Path, ask_bench: Callable[[str], bool]
    ) -> None:
        super().__init__(directory, count, patience, ask_bench)
        import ipyparallel

        self.ipp: Any = ipyparallel
        self._file = file
        self.client = self.connect()

    def connect(self) -> Any:
        """One more client."""
        return self.ipp.Client(str(self._file), timeout=self.patience)

    @property
    def ids(self) -> list[int]:
        """The numbers of the engines."""
        return list(self.client.ids)

    @property
    def all(self) -> Any:
        """A view of all engines, which waits for nothing."""
        return self.client[:]

    @property
    def balanced(self) -> Any:
        """A view of whatever engine is free."""
        return self.client.load_balanced_view()

    def settle(self, count: int) -> None:
        """Wait for a second until there are exactly so many engines. Raises Broken."""
        self.until(f"{count} engines", lambda: len(self.client.ids) == count, seconds=1.0)

    def get(self, result: Any) -> Any:
        """What a request returned."""
        try:
            return result.get(self.patience)
        except TimeoutError as error:
            raise self.silent(str(error), *result.msg_ids) from None

    def fails(self, result: Any, ename: str) -> Any:
        """Demand that a request fails with this error. Raises Broken."""
        expected = {"status": "error", "ename": ename}
        wanted = Wanted(kind="content", msg_ids=tuple(result.msg_ids), expected=expected)
        try:
            value = self.get(result)
        except self.ipp.error.CompositeError as error:
            self.equal("the errors", {name for name, *_ in error.elist}, {ename}, wanted)
            return error
        except self.ipp.error.RemoteError as error:
            self.equal("the error", error.ename, ename, wanted)
            return error
        except self.ipp.error.KernelError as error:
            # Errors that the client makes itself, of what it was told, are no RemoteError in every release.
            self.equal("the error", type(error).__name__, ename, wanted)
            return error
        raise Broken(f"no {ename}, but {value!r:.100}", wanted)

    def status(self, *msg_ids: str) -> dict[str, list[str]]:
        """Which of these requests are pending, and which completed, as far as the Hub has heard of them."""
        try:
            found: dict[str, list[str]] = self.client.result_status(list(msg_ids))
        except self.ipp.error.RemoteError:
            # The Hub is told by the queues, and may be asked before that.
            return {"pending": [], "completed": []}
        return found

    def recorded(self, *msg_ids: str) -> None:
        """Wait until the Hub has the results of these requests."""
        # A client that has a result does not ask for it.
        other = self.connect()

        def look() -> bool:
            try:
                return set(msg_ids) <= set(other.result_status(list(msg_ids))["completed"])
            except self.ipp.error.RemoteError:
                return False

        try:
            self.until("the Hub has the results", look)
        finally:
            other.close()

    def busy(self, engine: int, seconds: float = 60.0) -> Any:
        """A call that keeps an engine busy, and has begun."""
        path = self.file()
        result = self.client[engine].apply_async(calls.announce_and_sleep, str(path), seconds)
        self.until("the call has begun", path.exists)
        return result

    def equal_output(self, results: Sequence[str], expected: str, name: str, result: Any) -> None:
        """Demand what each engine wrote to a stream. Raises Broken."""
        for found, msg_id in zip(results, result.msg_ids, strict=True):
            self.text(found, expected, name, msg_id)


# -- DirectView --------------------------------------------------------------------------------------------------------


@THEIRS("direct.apply", "apply.returns-value")
def apply(d: Theirs) -> None:
    """A closure is called on every engine, and what it returns comes back."""
    base = 30
    result = d.all.apply_async(lambda number, more=0: base + number + more, 10, more=2)
    expected = [42] * len(d.ids)
    d.equal("the sums", d.get(result), expected, _of(result, expected))


@THEIRS("direct.execute", "apply.execute-too")
def execute(d: Theirs) -> None:
    """Code runs in a namespace that later code and calls on the same engine see."""
    d.get(d.all.execute("kit = 6 * 7"))
    d.get(d.all.execute("kit += 1"))
    d.equal("the names", d.get(d.all.pull("kit", block=False)), [43] * len(d.ids))


@THEIRS("direct.push", "apply.namespace-persists")
def push(d: Theirs) -> None:
    """Names are set on all engines, and code finds them."""
    d.get(d.all.push({"kit_push": [1, {"two": 2}]}))
    result = d.all.apply_async(_closure("lambda: kit_push[1]['two'] + 1"))
    d.equal("what code finds", d.get(result), [3] * len(d.ids), _of(result, [3] * len(d.ids)))


@THEIRS("direct.pull", "apply.returns-value")
def pull(d: Theirs) -> None:
    """Names come back, several at once, also large ones; one that is not there is an error."""
    large = os.urandom(200_000)
    d.get(d.all.push({"kit_a": large, "kit_b": "b"}))
    d.equal("the names", d.get(d.all.pull(["kit_a", "kit_b"], block=False)), [[large, "b"]] * len(d.ids))
    d.fails(d.all.pull("kit_missing", block=False), "NameError")


@THEIRS("direct.scatter", "mux.routes-by-identity")
def scatter(d: Theirs) -> None:
    """A sequence is spread over the engines, in order."""
    d.get(d.all.scatter("kit_part", list(range(16)), block=False))
    parts = d.get(d.all.pull("kit_part", block=False))
    d.equal("the parts, joined", [item for part in parts for item in part], list(range(16)))
    d.true("every engine has some", all(parts))


@THEIRS("direct.gather", "mux.reply-names-engine")
def gather(d: Theirs) -> None:
    """The parts of a sequence come back as one, in order."""
    d.get(d.all.scatter("kit_gather", list(range(16)), block=False))
    d.get(d.all.execute("kit_gather = [-n for n in kit_gather]"))
    d.equal("the whole", list(d.get(d.all.gather("kit_gather", block=False))), [-n for n in range(16)])


@THEIRS("direct.map", "mux.routes-by-identity")
def direct_map(d: Theirs) -> None:
    """A function is called on every item, spread over all engines, and the results are in order."""
    d.equal("the squares", list(d.get(d.all.map_async(lambda n: n * n, range(33)))), [n * n for n in range(33)])


@THEIRS("direct.run", "apply.execute-too")
def run(d: Theirs) -> None:
    """A file of code is run on all engines."""
    path = d.file().with_suffix(".py")
    path.write_text("def kit_run(x):\n    return x * 3\n\nkit_ran = kit_run(5)\n", encoding="utf-8")
    d.get(d.all.run(str(path), block=False))
    d.equal("what it set", d.get(d.all.pull("kit_ran", block=False)), [15] * len(d.ids))


@THEIRS("direct.errors", "apply.error-reply")
def direct_errors(d: Theirs) -> None:
    """An error on an engine comes back as an error with its traceback, and the engine goes on."""
    view = d.client[d.ids[0]]
    error = d.fails(view.apply_async(lambda: 1 / 0), "ZeroDivisionError")
    d.true("there is a traceback", "ZeroDivisionError" in "\n".join(error.render_traceback()))
    d.fails(view.execute("nonsense("), "SyntaxError")
    d.equal("the next call", d.get(view.apply_async(calls.square, 3)), 9)


# -- LoadBalancedView --------------------------------------------------------------------------------------------------


@THEIRS("balanced.apply", "task.some-engine-runs")
def balanced_apply(d: Theirs) -> None:
    """A task runs on some engine, and its result comes back."""
    result = d.balanced.apply_async(lambda: 6 * 7)
    d.values("the product", d.get(result), 42, result.msg_ids)


@THEIRS("balanced.map", "task.exactly-one-engine")
def balanced_map(d: Theirs) -> None:
    """A function is called once on every item, wherever there is room, and the results are in order."""
    expected = [n * n for n in range(40)]
    d.equal("the squares", list(d.get(d.balanced.map_async(lambda n: n * n, range(40)))), expected)
    chunks = d.balanced.map_async(lambda n: n * n, range(40), chunksize=7)
    d.equal("the squares in chunks", list(d.get(chunks)), expected)
    unordered = d.balanced.map_async(lambda n: n * n, range(40), ordered=False)
    d.equal("the squares in any order", sorted(d.get(unordered)), expected)


@THEIRS("balanced.after", "dependency.after-waits")
def after(d: Theirs) -> None:
    """A task with `after` begins when the other has ended."""
    first = d.balanced.apply_async(calls.sleep, 0.1)
    view = d.balanced
    with view.temp_flags(after=[first]):
        second = view.apply_async(calls.pid)
    d.get(second)
    d.get(first)
    d.true("it began after the end of the first", second.metadata["started"] >= first.metadata["completed"])


@THEIRS("balanced.any", "dependency.any-needs-one")
def after_any(d: Theirs) -> None:
    """A task that needs one of several begins when one has ended, and does not wait for the others."""
    view = d.balanced
    path = d.file()
    slow = view.apply_async(calls.await_file, str(path), d.patience)
    quick = view.apply_async(calls.pid)
    with view.temp_flags(after=d.ipp.Dependency([slow, quick], all=False)):
        third = view.apply_async(calls.square, 6)
    d.values("the task", d.get(third), 36, third.msg_ids)
    d.true("the slow one runs", not slow.ready())
    path.write_text("go", encoding="utf-8")
    d.equal("the slow one", d.get(slow), "go")


@THEIRS("balanced.follow", "dependency.follow-same-engine")
def follow(d: Theirs) -> None:
    """A task with `follow` runs where the other ran."""
    view = d.balanced
    for _ in range(4):
        first = view.apply_async(calls.pid)
        with view.temp_flags(follow=[first]):
            second = view.apply_async(calls.pid)
        d.equal("the process", d.get(second), d.get(first))
        d.equal("the engine", second.engine_id, first.engine_id)


@THEIRS("balanced.impossible", "dependency.unreachable-all")
def impossible(d: Theirs) -> None:
    """A task whose dependency failed is answered with an error; one that waits for failures runs."""
    view = d.balanced
    failed = view.apply_async(calls.divide, 1, 0)
    with view.temp_flags(after=[failed]):
        never = view.apply_async(calls.pid)
    d.fails(never, "ImpossibleDependency")
    with view.temp_flags(after=d.ipp.Dependency([failed], success=False, failure=True)):
        then = view.apply_async(calls.square, 2)
    d.values("the task after a failure", d.get(then), 4, then.msg_ids)


@THEIRS("balanced.unmet", "task.unmet-is-rerouted")
def unmet(d: Theirs) -> None:
    """A task that an engine refuses, because what it depends on is not there, runs on another."""
    engine = d.ids[-1]
    here = d.get(d.client[engine].apply_async(calls.pid))
    depending = d.ipp.depend(_closure("lambda here: __import__('os').getpid() == here"), here)(
        _closure("lambda: __import__('os').getpid()")
    )
    results = [d.balanced.apply_async(depending) for _ in range(4)]
    d.equal("the processes", [d.get(result) for result in results], [here] * 4)


@THEIRS("balanced.retries", "task.retry-on-failure")
def retries(d: Theirs) -> None:
    """A task that fails is tried again as often as was allowed, and no oftener."""
    view = d.balanced
    with view.temp_flags(retries=5):
        result = view.apply_async(calls.fail_until, str(d.file()), 2)
    d.values("the attempt that succeeded", d.get(result), 2, result.msg_ids)
    path = d.file()
    with view.temp_flags(retries=1):
        d.fails(view.apply_async(calls.fail_until, str(path), 99), "ValueError")
    d.equal("the attempts", path.stat().st_size, 2)


@THEIRS("balanced.targets", "task.targets-respected")
def targets(d: Theirs) -> None:
    """A task with targets runs on one of them."""
    for engine in d.ids:
        results = [d.client.load_balanced_view(targets=[engine]).apply_async(calls.pid) for _ in range(4)]
        for result in results:
            d.get(result)
        d.equal("the engines", [result.engine_id for result in results], [engine] * 4)


@THEIRS("balanced.timeout", "task.timeout-while-queued")
def task_timeout(d: Theirs) -> None:
    """A task that may not wait any longer for its dependency is answered with an error."""
    path = d.file()
    view = d.balanced
    first = view.apply_async(calls.await_file, str(path), d.patience)
    with view.temp_flags(after=[first], timeout=0.2):
        late = view.apply_async(calls.pid)
    d.fails(late, "TaskTimeout")
    path.write_text("go", encoding="utf-8")
    d.equal("the first", d.get(first), "go")


# -- BroadcastView -----------------------------------------------------------------------------------------------------


@THEIRS("broadcast.apply", "broadcast.reply-per-target")
def broadcast(d: Theirs) -> None:
    """A call reaches every engine, and every engine answers."""
    expected = d.get(d.all.apply_async(calls.pid))
    d.equal("the processes", d.get(d.client.broadcast_view().apply_async(calls.pid)), expected)


@THEIRS("broadcast.targets", "broadcast.reaches-each-target")
def broadcast_targets(d: Theirs) -> None:
    """A call for some engines reaches those and no other."""
    for engine in d.ids:
        here = d.get(d.client[engine].apply_async(calls.pid))
        d.equal("the engine", d.get(d.client.broadcast_view(targets=[engine]).apply_async(calls.pid)), [here])


@THEIRS("broadcast.coalescing", "broadcast.coalesced-single-reply")
def coalescing(d: Theirs) -> None:
    """The replies of all engines come as one."""
    expected = d.get(d.all.apply_async(calls.pid))
    d.equal("the processes", d.get(d.client.broadcast_view(is_coalescing=True).apply_async(calls.pid)), expected)


@THEIRS("broadcast.execute", "broadcast.reaches-each-target")
def broadcast_execute(d: Theirs) -> None:
    """Code runs on every engine; what one broadcast sets the next one finds."""
    view = d.client.broadcast_view()
    d.get(view.execute("kit_broadcast = 3", block=False))
    d.get(view.push({"kit_pushed": 4}, block=False))
    result = d.all.apply_async(_closure("lambda: kit_broadcast * kit_pushed"))
    d.equal("the products", d.get(result), [12] * len(d.ids), _of(result, [12] * len(d.ids)))


@THEIRS("broadcast.map", "broadcast.buffers-unchanged")
def broadcast_map(d: Theirs) -> None:
    """A function is called on every item, spread over all engines by one message."""
    found = d.get(d.client.broadcast_view().map_async(lambda n: n * n, range(17)))
    d.equal("the squares", list(found), [n * n for n in range(17)])


@THEIRS("broadcast.errors", "apply.error-reply")
def broadcast_errors(d: Theirs) -> None:
    """Every engine's error comes back."""
    error = d.fails(d.client.broadcast_view().apply_async(calls.divide, 1, 0), "ZeroDivisionError")
    d.equal("how many errors", len(error.elist), len(d.ids))


# -- AsyncResult -------------------------------------------------------------------------------------------------------


@THEIRS("results.wait", "apply.answered")
def wait(d: Theirs) -> None:
    """A request is not ready before its reply, and ready with it; progress is counted."""
    path = d.file()
    first, *rest = d.ids
    result = d.client[first].apply_async(calls.await_file, str(path), d.patience)
    d.true("it is not ready yet", not result.ready() and result.progress == 0)
    path.write_text("go", encoding="utf-8")
    d.values("the text", d.get(result), "go", result.msg_ids)
    d.true("it is ready, and was successful", result.ready() and result.successful() and result.progress == 1)
    d.equal("by engine", d.client[rest].apply_async(calls.square, 2).get_dict(d.patience), dict.fromkeys(rest, 4))


@THEIRS("results.timings", "apply.metadata-started")
def timings(d: Theirs) -> None:
    """A result knows when it was submitted, when it began and ended, and when it was received, in this order."""
    result = d.all.apply_async(calls.sleep, 0.05)
    d.get(result)
    for about in result.metadata:
        times = [about[key] for key in ("submitted", "started", "completed", "received")]
        d.true(f"all times are there: {times}", all(times))
        d.equal("the times", times, sorted(times))
    d.true("the work took as long as it slept", result.serial_time >= 0.05 * len(d.ids))
    d.true("no longer than it took to wait for it", 0.05 <= result.wall_time <= d.patience)
    d.true("elapsed is a time", 0 < result.elapsed <= d.patience)


@THEIRS("results.patience", "apply.client-gets-own-result")
def patience(d: Theirs) -> None:
    """Whoever stops waiting for a result can get it later."""
    path = d.file()
    result = d.client[d.ids[0]].apply_async(calls.await_file, str(path), d.patience)
    try:
        result.get(0.05)
    except TimeoutError:
        pass
    else:
        raise Broken("no timeout before the reply")
    path.write_text("later", encoding="utf-8")
    d.values("the text", d.get(result), "later", result.msg_ids)


# -- output ------------------------------------------------------------------------------------------------------------


@THEIRS("output.stdout", "kernel.stream-complete")
def stdout(d: Theirs) -> None:
    """What calls and code print arrives, in order and complete."""
    result = d.all.apply_async(calls.speak, "one")
    d.get(result)
    result.wait_for_output(d.patience)
    d.equal_output(result.stdout, "one\n", "stdout", result)
    code = d.all.execute("for n in range(100):\n    print(n)", silent=False)
    d.get(code)
    code.wait_for_output(d.patience)
    d.equal_output(code.stdout, "".join(f"{n}\n" for n in range(100)), "stdout", code)


@THEIRS("output.stderr", "iopub.stream-text")
def stderr(d: Theirs) -> None:
    """What goes to stderr arrives apart from what goes to stdout."""
    result = d.all.apply_async(calls.speak, "two")
    d.get(result)
    result.wait_for_output(d.patience)
    d.equal_output(result.stderr, "two?\n", "stderr", result)
    d.equal_output(result.stdout, "two\n", "stdout", result)


@THEIRS("output.display", "kernel.display-data")
def display(d: Theirs) -> None:
    """What calls and code display arrives in its forms."""
    show = "from IPython.display import display, HTML\ndisplay(HTML('<b>kit</b>'))"
    for result in (d.all.execute(show, silent=False), d.all.apply_async(_display, "<b>kit</b>")):
        d.get(result)
        result.wait_for_output(d.patience)
        forms = [[one["data"].get("text/html") for one in outputs] for outputs in result.outputs]
        d.equal("what is displayed", forms, [["<b>kit</b>"]] * len(d.ids))


@THEIRS("output.result", "iopub.execute-result-published")
def execute_result(d: Theirs) -> None:
    """The value of the last expression is published."""
    result = d.all.execute("6 * 7", silent=False)
    values = d.get(result)
    result.wait_for_output(d.patience)
    d.equal("the values", [value.execute_result["data"]["text/plain"] for value in values], ["42"] * len(d.ids))


@THEIRS("output.error", "iopub.error-published")
def published_error(d: Theirs) -> None:
    """What was printed before an error arrives, and so does the error."""
    result = d.client[d.ids[0]].execute("print('before')\n1 / 0", silent=False)
    d.fails(result, "ZeroDivisionError")
    result.wait_for_output(d.patience)
    d.text(result.stdout, "before\n", "stdout", result.msg_ids[0])
    d.until("the error is published", lambda: result.metadata["error"] is not None)


# -- the Hub -----------------------------------------------------------------------------------------------------------


@THEIRS("hub.queue_status", "query.queue-three-keys")
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


@THEIRS("hub.result_status", "query.result-status-only")
def result_status(d: Theirs) -> None:
    """The Hub says which requests are pending and which completed."""
    path = d.file()
    result = d.balanced.apply_async(calls.await_file, str(path), d.patience)
    d.until("it is pending", lambda: d.status(*result.msg_ids)["pending"] == result.msg_ids)
    path.write_text("go", encoding="utf-8")
    d.get(result)
    d.recorded(*result.msg_ids)
    d.equal("what is pending", d.status(*result.msg_ids)["pending"], [])


@THEIRS("hub.get_result", "query.result-any-client")
def get_result(d: Theirs) -> None:
    """Another client gets results from the Hub: done ones, pending ones, and errors."""
    result = d.all.apply_async(calls.square, 12)
    d.get(result)
    failed = d.client[d.ids[0]].apply_async(calls.divide, 1, 0)
    d.fails(failed, "ZeroDivisionError")
    path = d.file()
    pending = d.client[d.ids[0]].apply_async(calls.await_file, str(path), d.patience)
    d.recorded(*result.msg_ids, *failed.msg_ids)
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


@THEIRS("hub.resubmit", "query.resubmit-runs")
def resubmit(d: Theirs) -> None:
    """A request that was done can be done again under another id."""
    path = d.file()
    result = d.balanced.apply_async(calls.fail_until, str(path), 1)
    d.equal("the first time", d.get(result), 1)
    d.recorded(*result.msg_ids)
    again = d.client.resubmit(result.msg_ids)
    d.true("the id is another", again.msg_ids != result.msg_ids)
    d.equal("the second time", _only(d.get(again)), 2)


@THEIRS("hub.db_query", "query.db-equality")
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


@THEIRS("hub.hub_history", "query.history-order")
def hub_history(d: Theirs) -> None:
    """The Hub lists all requests, the oldest first."""
    first = d.client[d.ids[0]].apply_async(calls.pid)
    d.get(first)
    d.recorded(*first.msg_ids)
    second = d.balanced.apply_async(calls.pid)
    d.get(second)
    d.recorded(*second.msg_ids)
    d.equal("the last two", d.client.hub_history()[-2:], [*first.msg_ids, *second.msg_ids])


@THEIRS("hub.purge", "query.purge-forgets")
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


@THEIRS("hub.become_dask", "query.become-dask-answered")
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


@THEIRS("control.abort", "control.abort-by-id")
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


@THEIRS("control.abort_all", "control.abort-by-id")
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


@THEIRS("control.clear", "control.clear-empties-namespace")
def clear(d: Theirs) -> None:
    """A namespace is emptied, on that engine only."""
    d.get(d.all.push({"kit_clear": 1}))
    d.client.clear(targets=d.ids[0], block=True)
    d.fails(d.client[d.ids[0]].pull("kit_clear", block=False), "NameError")
    d.equal("on another", d.get(d.client[d.ids[-1]].pull("kit_clear", block=False)), 1)


@THEIRS("control.signal", "control.signal-delivered")
def send_signal(d: Theirs) -> None:
    """A signal interrupts what runs, and the engine goes on."""
    running = d.busy(d.ids[0])
    d.client.send_signal("SIGINT", targets=d.ids[0], block=True)
    d.fails(running, "KeyboardInterrupt")
    d.equal("the next call", d.get(d.client[d.ids[0]].apply_async(calls.square, 3)), 9)


# -- life and death ----------------------------------------------------------------------------------------------------


@THEIRS("life.registered", "registration.request-answered")
def registered(d: Theirs) -> None:
    """Every engine is listed, and each number leads to a process of its own."""
    d.true("there are enough", len(d.ids) >= d.count)
    found = d.all.apply_async(calls.pid).get_dict(d.patience)
    d.equal("the engines", sorted(found), d.ids)
    d.equal("the processes", len(set(found.values())), len(d.ids))


@THEIRS("life.joins", "notification.registration-published")
def joins(d: Theirs) -> None:
    """A client hears of an engine that comes, and can use it."""
    before = set(d.ids)
    d.start_engine()
    d.until("the new engine is announced", lambda: set(d.ids) - before, Wanted(
        kind="notice", name="registration_notification",
    ))  # fmt: skip
    (fresh,) = set(d.ids) - before
    d.equal("a call", d.get(d.client[fresh].apply_async(calls.square, 4)), 16)


@THEIRS("life.killed", "notification.unregistration-published")
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
    d.until("the task has ended", task.ready, seconds=d.patience + 5.0)
    d.true("not well", not task.successful())
    d.equal("another engine", d.get(d.balanced.apply_async(calls.square, 7)), 49)


@THEIRS("life.engine_shutdown", "control.shutdown-exits")
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


@THEIRS("life.hub_shutdown", "query.shutdown-ends", is_last=True)
def hub_shutdown(d: Theirs) -> None:
    """The engines end, and then the controller: it answers, says goodbye to all, and ends."""
    processes = d.get(d.all.apply_async(calls.pid))
    d.client.shutdown(hub=True, block=True)
    d.until("the engines have ended", lambda: not any(map(calls.is_alive, processes)))
    d.until("the controller has ended", lambda: not d.is_controller_running())


# -- helpers -----------------------------------------------------------------------------------------------------------


def _of(result: Any, expected: list[Any]) -> Wanted:
    """What each of several replies must bring."""
    return Wanted(kind="value", msg_ids=tuple(result.msg_ids), expected=expected)


def _only(value: Any) -> Any:
    """A result that some releases put into a list of one."""
    return value[0] if isinstance(value, list) and len(value) == 1 else value


def _closure(text: str) -> Callable[..., Any]:
    """A function whose global names are those of the engine, as one that is typed into a session has."""
    made: dict[str, Any] = {"__name__": "__main__"}
    function: Callable[..., Any] = eval(text, made)  # noqa: S307 - a text of this file
    return function


def _display(html: str) -> None:
    from IPython.display import HTML, display

    display(HTML(html))  # type: ignore[no-untyped-call]
