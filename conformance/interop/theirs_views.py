"""What must be true for code that a client of ipyparallel runs: its views, their results, and output."""

import os
from collections.abc import Callable
from typing import Any

from conformance.interop import calls
from conformance.interop.ability import Broken, Table, Wanted
from conformance.interop.theirs import Theirs

VIEWS = Table()

# -- DirectView --------------------------------------------------------------------------------------------------------


@VIEWS("direct.apply", "apply.returns-value")
def apply(d: Theirs) -> None:
    """A closure is called on every engine, and what it returns comes back."""
    base = 30
    result = d.all.apply_async(lambda number, more=0: base + number + more, 10, more=2)
    expected = [42] * len(d.ids)
    d.equal("the sums", d.get(result), expected, _of(result, expected))


@VIEWS("direct.execute", "apply.execute-too")
def execute(d: Theirs) -> None:
    """Code runs in a namespace that later code and calls on the same engine see."""
    d.get(d.all.execute("kit = 6 * 7"))
    d.get(d.all.execute("kit += 1"))
    d.equal("the names", d.get(d.all.pull("kit", block=False)), [43] * len(d.ids))


@VIEWS("direct.push", "apply.namespace-persists")
def push(d: Theirs) -> None:
    """Names are set on all engines, and code finds them."""
    d.get(d.all.push({"kit_push": [1, {"two": 2}]}))
    result = d.all.apply_async(_closure("lambda: kit_push[1]['two'] + 1"))
    d.equal("what code finds", d.get(result), [3] * len(d.ids), _of(result, [3] * len(d.ids)))


@VIEWS("direct.pull", "apply.returns-value")
def pull(d: Theirs) -> None:
    """Names come back, several at once, also large ones; one that is not there is an error."""
    large = os.urandom(200_000)
    d.get(d.all.push({"kit_a": large, "kit_b": "b"}))
    d.equal("the names", d.get(d.all.pull(["kit_a", "kit_b"], block=False)), [[large, "b"]] * len(d.ids))
    d.fails(d.all.pull("kit_missing", block=False), "NameError")


@VIEWS("direct.scatter", "mux.routes-by-identity")
def scatter(d: Theirs) -> None:
    """A sequence is spread over the engines, in order."""
    d.get(d.all.scatter("kit_part", list(range(16)), block=False))
    parts = d.get(d.all.pull("kit_part", block=False))
    d.equal("the parts, joined", [item for part in parts for item in part], list(range(16)))
    d.true("every engine has some", all(parts))


@VIEWS("direct.gather", "mux.reply-names-engine")
def gather(d: Theirs) -> None:
    """The parts of a sequence come back as one, in order."""
    d.get(d.all.scatter("kit_gather", list(range(16)), block=False))
    d.get(d.all.execute("kit_gather = [-n for n in kit_gather]"))
    d.equal("the whole", list(d.get(d.all.gather("kit_gather", block=False))), [-n for n in range(16)])


@VIEWS("direct.map", "mux.routes-by-identity")
def direct_map(d: Theirs) -> None:
    """A function is called on every item, spread over all engines, and the results are in order."""
    d.equal("the squares", list(d.get(d.all.map_async(lambda n: n * n, range(33)))), [n * n for n in range(33)])


@VIEWS("direct.run", "apply.execute-too")
def run(d: Theirs) -> None:
    """A file of code is run on all engines."""
    path = d.file().with_suffix(".py")
    path.write_text("def kit_run(x):\n    return x * 3\n\nkit_ran = kit_run(5)\n", encoding="utf-8")
    d.get(d.all.run(str(path), block=False))
    d.equal("what it set", d.get(d.all.pull("kit_ran", block=False)), [15] * len(d.ids))


@VIEWS("direct.errors", "apply.error-reply")
def direct_errors(d: Theirs) -> None:
    """An error on an engine comes back as an error with its traceback, and the engine goes on."""
    view = d.client[d.ids[0]]
    error = d.fails(view.apply_async(lambda: 1 / 0), "ZeroDivisionError")
    d.true("there is a traceback", "ZeroDivisionError" in "\n".join(error.render_traceback()))
    d.fails(view.execute("nonsense("), "SyntaxError")
    d.equal("the next call", d.get(view.apply_async(calls.square, 3)), 9)


# -- LoadBalancedView --------------------------------------------------------------------------------------------------


@VIEWS("balanced.apply", "task.some-engine-runs")
def balanced_apply(d: Theirs) -> None:
    """A task runs on some engine, and its result comes back."""
    result = d.balanced.apply_async(lambda: 6 * 7)
    d.values("the product", d.get(result), 42, result.msg_ids)


@VIEWS("balanced.map", "task.exactly-one-engine")
def balanced_map(d: Theirs) -> None:
    """A function is called once on every item, wherever there is room, and the results are in order."""
    expected = [n * n for n in range(40)]
    d.equal("the squares", list(d.get(d.balanced.map_async(lambda n: n * n, range(40)))), expected)
    chunks = d.balanced.map_async(lambda n: n * n, range(40), chunksize=7)
    d.equal("the squares in chunks", list(d.get(chunks)), expected)
    unordered = d.balanced.map_async(lambda n: n * n, range(40), ordered=False)
    d.equal("the squares in any order", sorted(d.get(unordered)), expected)


@VIEWS("balanced.after", "dependency.after-waits")
def after(d: Theirs) -> None:
    """A task with `after` begins when the other has ended."""
    first = d.balanced.apply_async(calls.sleep, 0.1)
    view = d.balanced
    with view.temp_flags(after=[first]):
        second = view.apply_async(calls.pid)
    d.get(second)
    d.get(first)
    d.true("it began after the end of the first", second.metadata["started"] >= first.metadata["completed"])


@VIEWS("balanced.any", "dependency.any-needs-one")
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


@VIEWS("balanced.follow", "dependency.follow-same-engine")
def follow(d: Theirs) -> None:
    """A task with `follow` runs where the other ran."""
    view = d.balanced
    for _ in range(4):
        first = view.apply_async(calls.pid)
        with view.temp_flags(follow=[first]):
            second = view.apply_async(calls.pid)
        d.equal("the process", d.get(second), d.get(first))
        d.equal("the engine", second.engine_id, first.engine_id)


@VIEWS("balanced.impossible", "dependency.unreachable-all")
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


@VIEWS("balanced.unmet", "task.unmet-is-rerouted")
def unmet(d: Theirs) -> None:
    """A task that an engine refuses, because what it depends on is not there, runs on another."""
    engine = d.ids[-1]
    here = d.get(d.client[engine].apply_async(calls.pid))
    depending = d.ipp.depend(_closure("lambda here: __import__('os').getpid() == here"), here)(
        _closure("lambda: __import__('os').getpid()")
    )
    results = [d.balanced.apply_async(depending) for _ in range(4)]
    d.equal("the processes", [d.get(result) for result in results], [here] * 4)


@VIEWS("balanced.retries", "task.retry-on-failure")
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


@VIEWS("balanced.targets", "task.targets-respected")
def targets(d: Theirs) -> None:
    """A task with targets runs on one of them."""
    for engine in d.ids:
        results = [d.client.load_balanced_view(targets=[engine]).apply_async(calls.pid) for _ in range(4)]
        for result in results:
            d.get(result)
        d.equal("the engines", [result.engine_id for result in results], [engine] * 4)


@VIEWS("balanced.timeout", "task.timeout-while-queued")
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


@VIEWS("broadcast.apply", "broadcast.reply-per-target")
def broadcast(d: Theirs) -> None:
    """A call reaches every engine, and every engine answers."""
    expected = d.get(d.all.apply_async(calls.pid))
    d.equal("the processes", d.get(d.client.broadcast_view().apply_async(calls.pid)), expected)


@VIEWS("broadcast.targets", "broadcast.reaches-each-target")
def broadcast_targets(d: Theirs) -> None:
    """A call for some engines reaches those and no other."""
    for engine in d.ids:
        here = d.get(d.client[engine].apply_async(calls.pid))
        d.equal("the engine", d.get(d.client.broadcast_view(targets=[engine]).apply_async(calls.pid)), [here])


@VIEWS("broadcast.coalescing", "broadcast.coalesced-single-reply")
def coalescing(d: Theirs) -> None:
    """The replies of all engines come as one."""
    expected = d.get(d.all.apply_async(calls.pid))
    d.equal("the processes", d.get(d.client.broadcast_view(is_coalescing=True).apply_async(calls.pid)), expected)


@VIEWS("broadcast.execute", "broadcast.reaches-each-target")
def broadcast_execute(d: Theirs) -> None:
    """Code runs on every engine; what one broadcast sets the next one finds."""
    view = d.client.broadcast_view()
    d.get(view.execute("kit_broadcast = 3", block=False))
    d.get(view.push({"kit_pushed": 4}, block=False))
    result = d.all.apply_async(_closure("lambda: kit_broadcast * kit_pushed"))
    d.equal("the products", d.get(result), [12] * len(d.ids), _of(result, [12] * len(d.ids)))


@VIEWS("broadcast.map", "broadcast.buffers-unchanged")
def broadcast_map(d: Theirs) -> None:
    """A function is called on every item, spread over all engines by one message."""
    found = d.get(d.client.broadcast_view().map_async(lambda n: n * n, range(17)))
    d.equal("the squares", list(found), [n * n for n in range(17)])


@VIEWS("broadcast.errors", "apply.error-reply")
def broadcast_errors(d: Theirs) -> None:
    """Every engine's error comes back."""
    error = d.fails(d.client.broadcast_view().apply_async(calls.divide, 1, 0), "ZeroDivisionError")
    d.equal("how many errors", len(error.elist), len(d.ids))


# -- AsyncResult -------------------------------------------------------------------------------------------------------


@VIEWS("results.wait", "apply.answered")
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


@VIEWS("results.timings", "apply.metadata-started")
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


@VIEWS("results.patience", "apply.client-gets-own-result")
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


@VIEWS("output.stdout", "kernel.stream-complete")
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


@VIEWS("output.stderr", "iopub.stream-text")
def stderr(d: Theirs) -> None:
    """What goes to stderr arrives apart from what goes to stdout."""
    result = d.all.apply_async(calls.speak, "two")
    d.get(result)
    result.wait_for_output(d.patience)
    d.equal_output(result.stderr, "two?\n", "stderr", result)
    d.equal_output(result.stdout, "two\n", "stdout", result)


@VIEWS("output.display", "kernel.display-data")
def display(d: Theirs) -> None:
    """What calls and code display arrives in its forms."""
    show = "from IPython.display import display, HTML\ndisplay(HTML('<b>kit</b>'))"
    for result in (d.all.execute(show, silent=False), d.all.apply_async(_display, "<b>kit</b>")):
        d.get(result)
        result.wait_for_output(d.patience)
        forms = [[one["data"].get("text/html") for one in outputs] for outputs in result.outputs]
        d.equal("what is displayed", forms, [["<b>kit</b>"]] * len(d.ids))


@VIEWS("output.result", "iopub.execute-result-published")
def execute_result(d: Theirs) -> None:
    """The value of the last expression is published."""
    result = d.all.execute("6 * 7", silent=False)
    values = d.get(result)
    result.wait_for_output(d.patience)
    d.equal("the values", [value.execute_result["data"]["text/plain"] for value in values], ["42"] * len(d.ids))


@VIEWS("output.error", "iopub.error-published")
def published_error(d: Theirs) -> None:
    """What was printed before an error arrives, and so does the error."""
    result = d.client[d.ids[0]].execute("print('before')\n1 / 0", silent=False)
    d.fails(result, "ZeroDivisionError")
    result.wait_for_output(d.patience)
    d.text(result.stdout, "before\n", "stdout", result.msg_ids[0])
    d.until("the error is published", lambda: result.metadata["error"] is not None)


# -- helpers -----------------------------------------------------------------------------------------------------------


def _of(result: Any, expected: list[Any]) -> Wanted:
    """What each of several replies must bring."""
    return Wanted(kind="value", msg_ids=tuple(result.msg_ids), expected=expected)


def _closure(text: str) -> Callable[..., Any]:
    """A function whose global names are those of the engine, as one that is typed into a session has."""
    made: dict[str, Any] = {"__name__": "__main__"}
    function: Callable[..., Any] = eval(text, made)  # noqa: S307 - a text of this file
    return function


def _display(html: str) -> None:
    from IPython.display import HTML, display

    display(HTML(html))  # type: ignore[no-untyped-call]
