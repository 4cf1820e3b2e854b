"""What must be true for a client of the reference (`conformance.reference.client`)."""

import importlib.util
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from conformance.interop import calls
from conformance.interop.ability import Absent, Broken, Deployment, Table, Wanted
from conformance.reference.client import Client, RemoteError, Result, Silence
from protocol.roles.client import Answer

OURS = Table()
#: What an engine puts between the words of a line to colour it (SGR of ECMA-48).
COLOUR = re.compile(r"\x1b\[[0-9;]*m")


class Ours(Deployment):
    """A cluster with a client of the reference."""

    def __init__(
        self, directory: Path, count: int, patience: float, file: Path, ask_bench: Callable[[str], bool]
    ) -> None:
        super().__init__(directory, count, patience, ask_bench)
        self._file = file
        self.client = self.connect()

    def connect(self) -> Client:
        """One more client."""
        return Client.from_file(self._file, timeout=self.patience)

    @property
    def ids(self) -> list[int]:
        """The numbers of the engines."""
        return list(self.client.engines)

    def settle(self, count: int) -> None:
        """Wait for a second until there are exactly so many engines. Raises Broken."""
        self.until(f"{count} engines", lambda: len(self.client.engines) == count, seconds=1.0)

    def fails(self, result: Result, ename: str) -> RemoteError:
        """Demand that a request fails with this error. Raises Broken."""
        wanted = Wanted(kind="content", msg_ids=(result.msg_id,), expected={"status": "error", "ename": ename})
        try:
            value = self.get(result)
        except RemoteError as error:
            self.equal("the error", error.ename, ename, wanted)
            return error
        raise Broken(f"no {ename}, but {value!r:.100}", wanted)

    def get(self, result: Result) -> Any:
        """What a call returned, or the content of another reply."""
        try:
            return result.get(self.patience)
        except Silence as error:
            raise self.silent(str(error), result.msg_id) from None

    def answers(self, result: Result, seconds: float = 0.0) -> Sequence[Answer]:
        """The replies, of whatever status."""
        try:
            return result.answers(seconds or self.patience)
        except Silence as error:
            raise self.silent(str(error), result.msg_id) from None

    def spread(self, result: Result) -> list[Any]:
        """What the calls of a broadcast returned, by engine."""
        self.answers(result)
        return result.values(self.patience)

    def output(self, result: Result, name: str) -> str:
        """What was written to a stream, until it was idle again."""
        self.answers(result)
        try:
            return result.output(name, self.patience)
        except Silence as error:
            raise Broken(str(error), is_late=True) from None

    def ask(self, msg_type: str, content: Mapping[str, object] | None = None) -> dict[str, Any]:
        """The Hub's answer."""
        answer: dict[str, Any] = self.get(self.client.ask(msg_type, content))
        return answer

    def status(self, *msg_ids: str) -> dict[str, list[str]]:
        """Which of these requests are pending, and which completed, as far as the Hub has heard of them."""
        try:
            content = self.client.ask("result_request", {"msg_ids": list(msg_ids), "status_only": True}).get(
                self.patience
            )
        except RemoteError:
            # The Hub is told by the queues, and may be asked before that.
            return {"pending": [], "completed": []}
        return {key: content[key] for key in ("pending", "completed")}

    def recorded(self, *msg_ids: str) -> None:
        """Wait until the Hub has the results of these requests."""
        self.until("the Hub has the results", lambda: set(msg_ids) <= set(self.status(*msg_ids)["completed"]))

    def queue(self, engine: int) -> dict[str, int]:
        """What the Hub counts for one engine."""
        found: dict[str, int] = self.ask("queue_request", {"targets": [engine]})[str(engine)]
        return found

    def busy(self, engine: int, seconds: float = 60.0) -> Result:
        """A call that keeps an engine busy, and has begun."""
        path = self.file()
        result = self.client.apply(calls.announce_and_sleep, str(path), seconds, engine=engine)
        self.until("the call has begun", path.exists)
        return result


@OURS("direct.apply", "apply.returns-value")
def apply(d: Ours) -> None:
    """A function is called on the engine that was named, and what it returns comes back."""
    for engine in d.ids:
        result = d.client.apply(calls.add, 30, engine=engine, right=12)
        d.values("the sum", d.get(result), 42, [result.msg_id])


@OURS("direct.execute", "apply.execute-too")
def execute(d: Ours) -> None:
    """Code runs in a namespace that later code on the same engine sees."""
    for engine in d.ids:
        d.get(d.client.execute(f"kit = {engine} + 7", engine=engine))
    for engine in d.ids:
        result = d.client.execute("print(kit)", engine=engine)
        d.text(d.output(result, "stdout"), f"{engine + 7}\n", "stdout", result.msg_id)


@OURS("direct.map", "mux.routes-by-identity")
def direct_map(d: Ours) -> None:
    """Many calls, spread over the engines by hand, each bring their own result."""
    results = [d.client.apply(calls.square, n, engine=d.ids[n % len(d.ids)]) for n in range(20)]
    found = [d.get(result) for result in results]
    d.values("the squares", found, [n * n for n in range(20)], [result.msg_id for result in results])


@OURS("direct.errors", "apply.error-reply")
def direct_errors(d: Ours) -> None:
    """An error on an engine comes back as an error with its traceback, and the engine goes on."""
    for engine in d.ids:
        error = d.fails(d.client.apply(calls.divide, 1, 0, engine=engine), "ZeroDivisionError")
        # An engine may colour its traceback, between any two words of a line.
        shown = COLOUR.sub("", "\n".join(error.traceback))
        d.true(f"the traceback shows the line: {shown!r}", "left / right" in shown)
        d.equal("the next call", d.get(d.client.apply(calls.square, 3, engine=engine)), 9)


@OURS("balanced.apply", "task.some-engine-runs")
def balanced_apply(d: Ours) -> None:
    """A task runs on some engine, and its result comes back."""
    result = d.client.submit(calls.add, 40, right=2)
    d.values("the sum", d.get(result), 42, [result.msg_id])


@OURS("balanced.execute", "task.execute-through-task")
def balanced_execute(d: Ours) -> None:
    """Code runs on some engine, and what it prints arrives."""
    result = d.client.execute("print('anywhere')")
    d.text(d.output(result, "stdout"), "anywhere\n", "stdout", result.msg_id)


@OURS("balanced.map", "task.exactly-one-engine")
def balanced_map(d: Ours) -> None:
    """Every task of many is done once."""
    results = [d.client.submit(calls.square, n) for n in range(40)]
    found = [d.get(result) for result in results]
    d.values("the squares", found, [n * n for n in range(40)], [result.msg_id for result in results])


@OURS("balanced.after", "dependency.after-waits")
def after(d: Ours) -> None:
    """A task with `after` begins when the other has ended."""
    path = d.file()
    first = d.client.submit(calls.announce_and_sleep, str(path), 0.1)
    second = d.client.submit(calls.pid, after=[first])
    d.get(second)
    d.true("the first has ended", first.is_done and path.exists())


@OURS("balanced.follow", "dependency.follow-same-engine")
def follow(d: Ours) -> None:
    """A task with `follow` runs where the other ran."""
    for _ in range(4):
        first = d.client.submit(calls.pid)
        second = d.client.submit(calls.pid, follow=[first])
        d.equal("the engine", d.get(second), d.get(first))


@OURS("balanced.impossible", "dependency.unreachable-all")
def impossible(d: Ours) -> None:
    """A task whose dependency failed is answered with an error."""
    first = d.client.submit(calls.divide, 1, 0)
    d.fails(d.client.submit(calls.pid, after=[first]), "ImpossibleDependency")


@OURS("balanced.retries", "task.retry-on-failure")
def retries(d: Ours) -> None:
    """A task that fails is tried again as often as was allowed, and no oftener."""
    result = d.client.submit(calls.fail_until, str(d.file()), 2, retries=5)
    d.values("the attempt that succeeded", d.get(result), 2, [result.msg_id])
    path = d.file()
    d.fails(d.client.submit(calls.fail_until, str(path), 99, retries=1), "ValueError")
    d.equal("the attempts", path.stat().st_size, 2)


@OURS("balanced.targets", "task.targets-respected")
def targets(d: Ours) -> None:
    """A task with targets runs on one of them."""
    for engine in d.ids:
        here = d.get(d.client.apply(calls.pid, engine=engine))
        results = [d.client.submit(calls.pid, targets=[engine]) for _ in range(4)]
        d.equal("the engines", [d.get(result) for result in results], [here] * 4)


@OURS("balanced.timeout", "task.timeout-while-queued")
def task_timeout(d: Ours) -> None:
    """A task that may not wait any longer for its dependency is answered with an error."""
    path = d.file()
    first = d.client.submit(calls.await_file, str(path), d.patience)
    d.fails(d.client.submit(calls.pid, after=[first], timeout=0.2), "TaskTimeout")
    path.write_text("go", encoding="utf-8")
    d.equal("the first", d.get(first), "go")


@OURS("broadcast.apply", "broadcast.reply-per-target")
def broadcast(d: Ours) -> None:
    """A call reaches every engine, and every engine answers."""
    expected = [d.get(d.client.apply(calls.pid, engine=engine)) for engine in d.ids]
    d.equal("the engines", d.spread(d.client.broadcast(calls.pid)), expected)


@OURS("broadcast.targets", "broadcast.reaches-each-target")
def broadcast_targets(d: Ours) -> None:
    """A call for some engines reaches those and no other."""
    for engine in d.ids:
        here = d.get(d.client.apply(calls.pid, engine=engine))
        d.equal("the engine", d.spread(d.client.broadcast(calls.pid, targets=[engine])), [here])


@OURS("broadcast.coalescing", "broadcast.coalesced-single-reply")
def coalescing(d: Ours) -> None:
    """The replies of all engines come as one."""
    result = d.client.broadcast(calls.add, 1, 2, is_coalescing=True)
    d.equal("the values", d.spread(result), [3] * len(d.ids))
    d.equal("the replies", len(d.answers(result)), 1)


@OURS("broadcast.errors", "apply.error-reply")
def broadcast_errors(d: Ours) -> None:
    """Every engine's error comes back."""
    answers = d.answers(d.client.broadcast(calls.divide, 1, 0))
    d.equal("the errors", [answer.content.get("ename") for answer in answers], ["ZeroDivisionError"] * len(d.ids))


@OURS("results.wait", "apply.answered")
def wait(d: Ours) -> None:
    """A request is not done before its reply, and done with it."""
    path = d.file()
    result = d.client.apply(calls.await_file, str(path), d.patience, engine=d.ids[0])
    d.true("it is not done yet", not result.is_done)
    path.write_text("go", encoding="utf-8")
    d.values("the text", d.get(result), "go", [result.msg_id])
    d.true("it is done", result.is_done)


@OURS("results.timings", "apply.metadata-started")
def timings(d: Ours) -> None:
    """The reply says which engine ran the call and when it began; the Hub says when it ended."""
    result = d.client.apply(calls.sleep, 0.05, engine=d.ids[0])
    (answer,) = d.answers(result)
    d.equal("the engine", answer.metadata.get("engine"), d.client.uuid(d.ids[0]))
    d.true("there is a time", isinstance(answer.metadata.get("started"), str))
    d.recorded(result.msg_id)
    query = {"query": {"msg_id": result.msg_id}, "keys": ["submitted", "started", "completed"]}
    (record,) = d.ask("db_request", query)["records"]
    times = [record[key] for key in ("submitted", "started", "completed")]
    d.true(f"all times are there: {times}", all(times))
    d.equal("the times", times, sorted(times))


@OURS("output.stdout", "kernel.stream-complete")
def stdout(d: Ours) -> None:
    """What a call prints arrives, in order and complete."""
    result = d.client.apply(calls.speak, "one", engine=d.ids[0])
    d.text(d.output(result, "stdout"), "one\n", "stdout", result.msg_id)
    code = d.client.execute("for n in range(100):\n    print(n)", engine=d.ids[-1])
    d.text(d.output(code, "stdout"), "".join(f"{n}\n" for n in range(100)), "stdout", code.msg_id)


@OURS("output.stderr", "iopub.stream-text")
def stderr(d: Ours) -> None:
    """What goes to stderr arrives apart from what goes to stdout."""
    result = d.client.apply(calls.speak, "two", engine=d.ids[0])
    d.text(d.output(result, "stderr"), "two?\n", "stderr", result.msg_id)
    d.text(d.output(result, "stdout"), "two\n", "stdout", result.msg_id)


@OURS("output.display", "kernel.display-data")
def display(d: Ours) -> None:
    """What code displays arrives in its forms."""
    if importlib.util.find_spec("IPython") is None:
        raise Absent("IPython, which displays, is not installed")
    code = "from IPython.display import display, HTML\ndisplay(HTML('<b>kit</b>'))"
    result = d.client.execute(code, engine=d.ids[0])
    d.output(result, "stdout")
    d.equal("what is displayed", [shown.get("text/html") for shown in result.displayed()], ["<b>kit</b>"])


@OURS("output.result", "iopub.execute-result-published")
def execute_result(d: Ours) -> None:
    """The value of the last expression is published."""
    result = d.client.execute("6 * 7", engine=d.ids[0])
    d.output(result, "stdout")
    d.equal("the value", [shown.get("text/plain") for shown in result.displayed()], ["42"])


@OURS("output.error", "iopub.error-published")
def published_error(d: Ours) -> None:
    """An error is published, too."""
    result = d.client.execute("1 / 0", engine=d.ids[0])
    d.fails(result, "ZeroDivisionError")
    d.output(result, "stdout")
    found = [one.content.get("ename") for one in d.client.machine.outputs(result.msg_id) if one.msg_type == "error"]
    d.equal("the error", found, ["ZeroDivisionError"])


@OURS("hub.queue_status", "query.queue-three-keys")
def queue_status(d: Ours) -> None:
    """The Hub counts what is queued at an engine, and names what it has completed."""
    engine = d.ids[0]
    begun, go = d.file(), d.file()
    running = d.client.apply(calls.announce_and_await, str(begun), str(go), d.patience, engine=engine)
    d.until("the call has begun", begun.exists)
    waiting = d.client.apply(calls.pid, engine=engine)
    d.until("two requests are queued", lambda: d.queue(engine)["queue"] == 2)
    go.write_text("go", encoding="utf-8")
    d.get(running)
    d.get(waiting)
    d.until("none is queued any more", lambda: d.queue(engine)["queue"] == 0, Wanted(
        kind="content", name="queue_reply", expected={str(engine): {"queue": 0}},
    ))  # fmt: skip
    lists = d.ask("queue_request", {"targets": [engine], "verbose": True})[str(engine)]
    d.equal("the last that were completed", lists["completed"][-2:], [running.msg_id, waiting.msg_id])


@OURS("hub.result_status", "query.result-status-only")
def result_status(d: Ours) -> None:
    """The Hub says which requests are pending and which completed."""
    path = d.file()
    result = d.client.submit(calls.await_file, str(path), d.patience)
    d.until("it is pending", lambda: d.status(result.msg_id)["pending"] == [result.msg_id])
    path.write_text("go", encoding="utf-8")
    d.get(result)
    d.recorded(result.msg_id)
    d.equal("what is pending", d.status(result.msg_id)["pending"], [])


@OURS("hub.get_result", "query.result-any-client")
def get_result(d: Ours) -> None:
    """Another client gets a result from the Hub."""
    result = d.client.apply(calls.square, 12, engine=d.ids[0])
    d.equal("the value", d.get(result), 144)
    d.recorded(result.msg_id)
    with d.connect() as other:
        answer = other.ask("result_request", {"msg_ids": [result.msg_id]})
        content = answer.content(d.patience)
        d.equal("the status", content[result.msg_id]["result_content"]["status"], "ok")
        (reply,) = d.answers(answer)
        from conformance.reference.objects import unpack_values

        d.equal("the value", unpack_values(reply.buffers), [144])


@OURS("hub.resubmit", "query.resubmit-runs")
def resubmit(d: Ours) -> None:
    """A request that was done can be done again under another id."""
    path = d.file()
    result = d.client.submit(calls.fail_until, str(path), 1)
    d.equal("the first time", d.get(result), 1)
    d.recorded(result.msg_id)
    resubmitted = d.ask("resubmit_request", {"msg_ids": [result.msg_id]})["resubmitted"]
    fresh = resubmitted[result.msg_id]
    d.true("the id is another", fresh != result.msg_id)
    d.recorded(fresh)
    d.equal("how often it ran", path.stat().st_size, 2)


@OURS("hub.db_query", "query.db-equality")
def db_query(d: Ours) -> None:
    """The Hub finds its records by what is in them."""
    result = d.client.apply(calls.pid, engine=d.ids[0])
    d.get(result)
    d.recorded(result.msg_id)
    query = {"msg_id": result.msg_id}
    found = d.ask("db_request", {"query": query, "keys": ["msg_id", "engine_uuid"]})["records"]
    expected = [{"msg_id": result.msg_id, "engine_uuid": d.client.uuid(d.ids[0])}]
    d.equal("the record", found, expected, Wanted(kind="content", name="db_reply", expected={"records": expected}))


@OURS("hub.hub_history", "query.history-order")
def hub_history(d: Ours) -> None:
    """The Hub lists all requests, the oldest first."""
    first = d.client.apply(calls.pid, engine=d.ids[0])
    d.get(first)
    d.recorded(first.msg_id)
    second = d.client.submit(calls.pid)
    d.get(second)
    d.recorded(second.msg_id)
    history = d.ask("history_request")["history"]
    d.equal("the last two", history[-2:], [first.msg_id, second.msg_id])


@OURS("hub.purge", "query.purge-forgets")
def purge(d: Ours) -> None:
    """The Hub forgets what it is told to, and keeps the rest."""
    gone, kept = (d.client.apply(calls.pid, engine=d.ids[0]) for _ in range(2))
    d.client.wait([gone, kept], d.patience)
    d.recorded(gone.msg_id, kept.msg_id)
    d.ask("purge_request", {"msg_ids": [gone.msg_id], "engine_ids": []})
    history = d.ask("history_request")["history"]
    d.true("one is forgotten", gone.msg_id not in history)
    d.true("the other is kept", kept.msg_id in history)


@OURS("hub.become_dask", "query.become-dask-answered")
def become_dask(d: Ours) -> None:
    """A Hub that cannot become a scheduler of Dask says so, and goes on."""
    (answer,) = d.answers(d.client.ask("become_dask_request", {"scheduler_args": {}}))
    d.equal("the status", answer.status, "error")
    d.true("the Hub goes on", d.ask("connection_request")["engines"])


@OURS("control.abort", "control.abort-by-id")
def abort(d: Ours) -> None:
    """A request that is queued can be aborted; the one that runs, and the others, are not touched."""
    engine = d.ids[0]
    path = d.file()
    running = d.client.apply(calls.await_file, str(path), d.patience, engine=engine)
    gone = d.client.apply(calls.pid, engine=engine)
    kept = d.client.apply(calls.square, 5, engine=engine)
    d.client.abort([gone], engine=engine)
    path.write_text("go", encoding="utf-8")
    d.equal("the one that ran", d.get(running), "go")
    d.equal("the one that was kept", d.get(kept), 25)
    (answer,) = d.answers(gone)
    d.equal("the status of the other", answer.status, "aborted")


@OURS("control.abort_all", "control.abort-empty-means-all")
def abort_all(d: Ours) -> None:
    """All requests that are queued can be aborted at once; what is sent later runs."""
    engine = d.ids[0]
    path = d.file()
    begun = d.file()
    running = d.client.apply(calls.announce_and_await, str(begun), str(path), d.patience, engine=engine)
    d.until("it has begun", begun.exists)
    gone = [d.client.apply(calls.pid, engine=engine) for _ in range(3)]

    def is_over() -> bool:
        # An abort that names nobody is about what has arrived, and may be faster than what was sent before it.
        d.client.abort([], engine=engine)
        return all(one.is_done for one in gone)

    d.until("all have ended", is_over)
    path.write_text("go", encoding="utf-8")
    d.equal("the one that ran", d.get(running), "go")
    d.equal("the others", [d.answers(one)[0].status for one in gone], ["aborted"] * 3)
    d.equal("a later one", d.get(d.client.apply(calls.square, 5, engine=engine)), 25)


@OURS("control.clear", "control.clear-empties-namespace")
def clear(d: Ours) -> None:
    """A namespace is emptied, on that engine only."""
    for engine in d.ids:
        d.get(d.client.execute("kit_clear = 1", engine=engine))
    d.get(d.client.control("clear_request", {}, engine=d.ids[0]))
    d.fails(d.client.execute("kit_clear", engine=d.ids[0]), "NameError")
    d.get(d.client.execute("kit_clear", engine=d.ids[-1]))


@OURS("control.signal", "control.signal-delivered")
def send_signal(d: Ours) -> None:
    """A signal interrupts what runs, and the engine goes on."""
    for engine in d.ids:
        running = d.busy(engine)
        # Whether that is answered is another question, for those who judge engines.
        d.client.control("signal_request", {"sig": "SIGINT"}, engine=engine)
        d.fails(running, "KeyboardInterrupt")
        d.equal("the next call", d.get(d.client.apply(calls.square, 3, engine=engine)), 9)


@OURS("life.registered", "registration.request-answered")
def registered(d: Ours) -> None:
    """Every engine is listed, and each number leads to a process of its own."""
    listed = d.ask("connection_request")["engines"]
    d.true("there are enough", len(listed) >= d.count)
    pids = {d.get(d.client.apply(calls.pid, engine=int(engine))) for engine in listed}
    d.equal("the processes", len(pids), len(listed))


@OURS("life.joins", "notification.registration-published")
def joins(d: Ours) -> None:
    """A client hears of an engine that comes, and can use it."""
    before = set(d.ids)
    d.start_engine()
    d.until("the new engine is announced", lambda: set(d.ids) - before, Wanted(
        kind="notice", name="registration_notification",
    ))  # fmt: skip
    (fresh,) = set(d.ids) - before
    d.equal("a call", d.get(d.client.apply(calls.square, 4, engine=fresh)), 16)


@OURS("life.killed", "notification.unregistration-published")
def killed(d: Ours) -> None:
    """An engine that dies while it works is reported, and its requests end with an error."""
    engine = d.ids[-1]
    uuid = d.client.uuid(engine)
    process = d.get(d.client.apply(calls.pid, engine=engine))
    running = d.busy(engine)
    task = d.client.submit(calls.sleep, 60.0, targets=[engine])
    calls.kill(process)
    d.fails(running, "EngineError")
    d.until("the engine is gone", lambda: engine not in d.ids, Wanted(
        kind="notice", name="unregistration_notification", expected={"uuid": uuid},
    ))  # fmt: skip
    (answer,) = d.answers(task, 1.5 * d.patience)
    d.equal("the task", answer.status, "error")
    d.equal("another engine", d.get(d.client.submit(calls.square, 7)), 49)


@OURS("life.engine_shutdown", "control.shutdown-exits")
def engine_shutdown(d: Ours) -> None:
    """An engine that is told to end answers, ends, and is reported."""
    engine = d.ids[-1]
    uuid = d.client.uuid(engine)
    process = d.get(d.client.apply(calls.pid, engine=engine))
    d.client.shutdown(engine)
    d.until("the engine is gone", lambda: engine not in d.ids, Wanted(
        kind="notice", name="unregistration_notification", expected={"uuid": uuid},
    ))  # fmt: skip
    d.until("its process has ended", lambda: not calls.is_alive(process))
    d.equal("another engine", d.get(d.client.submit(calls.square, 8)), 64)


@OURS("life.hub_shutdown", "query.shutdown-ends", is_last=True)
def hub_shutdown(d: Ours) -> None:
    """The controller answers, says goodbye to all, and ends."""
    answer = d.ask("shutdown_request", {})
    d.equal("the status", answer["status"], "ok")
    d.until("the controller has ended", lambda: not d.is_controller_running())
