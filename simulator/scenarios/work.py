"""Work that is hard to place: graphs with failures, refusals, aborts, interrupts, clients that go."""

from protocol.world import MILLISECOND, SECOND, Cluster, Work
from simulator.cluster import VirtualCluster
from simulator.faults import EngineInterrupted
from simulator.scenarios.scenario import DEATH, becomes, ends, is_registered, must, scenario


@scenario()
def graph_with_a_failing_branch(cluster: Cluster) -> None:
    """One branch of a graph of tasks fails. All that needs it is refused at once; the other branch ends well."""
    client = cluster.client()
    root = client.submit(Work(takes=50 * MILLISECOND))
    good = client.submit(Work(takes=50 * MILLISECOND), after=[root])
    bad = client.submit(Work(takes=50 * MILLISECOND, fails=True), after=[root])
    left = [client.submit(Work(), after=[good]) for _ in range(3)]
    right = [client.submit(Work(), after=[bad]) for _ in range(3)]
    joined = client.submit(Work(), after=[*left, *right])
    ends(cluster, [root, good, *left], status="ok")
    ends(cluster, [bad, *right, joined], status="error")
    for task in (*right, joined):
        must(task.ename == "ImpossibleDependency", "dependency.unreachable-propagates", f"answered {task.ename}")


@scenario()
def every_engine_refuses(cluster: Cluster) -> None:
    """A task cannot run on any engine that it may go to. Each refuses it once, and the client is told."""
    client = cluster.client()
    task = client.submit(Work(refuses=("*",)), targets=cluster.engines)
    some = client.submit(Work(refuses=tuple(engine.uuid for engine in cluster.engines[1:])))
    ends(cluster, [task], status="error")
    ends(cluster, [some], status="ok")
    must(some.engine == cluster.engines[0].uuid, "task.refusing-engine-avoided", f"it ran on {some.engine}")


@scenario()
def failing_task_is_retried(cluster: Cluster) -> None:
    """A task fails wherever it runs. After its retries the failure is the answer; its queue is not held up."""
    client = cluster.client()
    task = client.submit(Work(takes=MILLISECOND, fails=True), retries=5)
    others = [client.submit(Work(takes=MILLISECOND)) for _ in range(10)]
    ends(cluster, [task], status="error")
    ends(cluster, others, status="ok")
    must(task.count == 1, "task.retry-on-failure", f"the client saw {task.count} answers")


@scenario()
def tasks_time_out(cluster: Cluster) -> None:
    """Tasks wait behind long ones for less time than that takes. They are refused and not run; the long ones end."""
    client = cluster.client()
    long = [client.submit(Work(takes=3 * SECOND), targets=[engine]) for engine in cluster.engines]
    waiting = [client.submit(Work(), targets=[engine], timeout=500 * MILLISECOND) for engine in cluster.engines]
    ends(cluster, waiting, status="error")
    must(all(task.ename == "TaskTimeout" for task in waiting), "task.timeout-while-queued", "another error came")
    ends(cluster, long, status="ok")


@scenario()
def aborted_in_the_queue(cluster: Cluster) -> None:
    """Calls wait at an engine and are aborted. What runs goes on; each of the others is answered as aborted."""
    client = cluster.client()
    engine = cluster.engines[0]
    running = client.apply(Work(takes=SECOND), engine)
    waiting = [client.apply(Work(), engine) for _ in range(5)]
    cluster.run_for(100 * MILLISECOND)
    abort = client.abort(waiting[:3], engine)
    ends(cluster, [abort, running, *waiting[3:]], status="ok")
    ends(cluster, waiting[:3], status="aborted")


@scenario()
def client_leaves_with_open_requests(cluster: Cluster) -> None:
    """A client is gone before its answers come. They reach nobody, and harm nobody; its results can be looked up."""
    gone, client = cluster.client(), cluster.client()
    tasks = [gone.submit(Work(takes=200 * MILLISECOND)) for _ in range(10)]
    cluster.run_for(100 * MILLISECOND)
    gone.leave()
    ends(cluster, [client.submit(Work()) for _ in range(10)], status="ok")
    cluster.run_for(SECOND)
    asked = client.query("result_request", {"msg_ids": [task.msg_id for task in tasks]})
    ends(cluster, [asked], status="ok")
    must(len(asked.content.get("completed", ())) == 10, "query.result-completed", "some results are not there")


@scenario("faults")
def engine_is_interrupted_while_it_works(cluster: VirtualCluster) -> None:
    """An engine is interrupted, as SIGINT does, while a call runs there and others wait. What runs ends with an error,
    what waits is run, and nobody else notices.
    """
    client = cluster.client()
    engine = cluster.engines[0]
    running = client.apply(Work(takes=10 * SECOND, prints=50), engine)
    waiting = [client.apply(Work(), engine) for _ in range(3)]
    others = [client.apply(Work(takes=SECOND), one) for one in cluster.engines[1:]]
    becomes(cluster, lambda: bool(running.output), "iopub.reaches-all-clients", "what runs writes, and is not heard")
    cluster.begin(EngineInterrupted(engine=engine.name))
    ends(cluster, [running], status="error", within=5 * SECOND)
    ends(cluster, [*waiting, *others], status="ok")
    must(is_registered(cluster, engine), "control.signal-delivered", "the interrupt has ended the engine")


@scenario("faults")
def engine_is_interrupted_while_it_waits(cluster: VirtualCluster) -> None:
    """An engine is interrupted, as SIGINT does, when nothing runs there. It goes on, or takes leave as one that was
    told to end: it is not left over as one that is listed and answers nobody.
    """
    client = cluster.client()
    engine = cluster.engines[0]
    ends(cluster, [client.apply(Work(), engine)], status="ok")
    cluster.begin(EngineInterrupted(engine=engine.name))
    cluster.run_for(DEATH)
    must(
        engine.is_alive == is_registered(cluster, engine), "heartbeat.silent-engine-removed",
        f"{engine.uuid} {'lives, and was given up' if engine.is_alive else 'has ended, and is listed'}",
    )  # fmt: skip
    ends(cluster, [client.submit(Work()) for _ in range(5)], status="ok")
