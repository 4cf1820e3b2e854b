"""Parts of the controller that stop and start again under load."""

from protocol.world import MILLISECOND, SECOND, Cluster, Part, Work
from simulator.scenarios.scenario import DEATH, MISS, becomes, ends, is_registered, must, returns, scenario


@scenario("parts")
def hub_restarts_under_load(cluster: Cluster) -> None:
    """The Hub is killed among tasks and starts again with its disk. It takes no part in execution: all tasks end."""
    client = cluster.client()
    tasks = [client.submit(Work(takes=50 * MILLISECOND), retries=1) for _ in range(60)]
    calls = [client.apply(Work(takes=50 * MILLISECOND), engine) for engine in cluster.engines]
    cluster.run_for(200 * MILLISECOND)
    cluster.kill("hub")
    during = [client.submit(Work()) for _ in range(5)]
    cluster.run_for(2 * SECOND)
    must(
        all(task.is_done for task in (*tasks, *calls, *during)), "storage.passive",
        "without the Hub, requests wait that engines could run",
    )  # fmt: skip
    cluster.restart("hub")
    for engine in cluster.engines:
        returns(cluster, engine)
    ends(cluster, [*tasks, *calls, *during], status="ok")
    ends(cluster, [client.query("queue_request", {"targets": None}), client.submit(Work())], status="ok")


@scenario("parts")
def hub_stands_still(cluster: Cluster) -> None:
    """The Hub stands still for long, as on a machine that swaps. Work goes on; nobody is given up for it."""
    client = cluster.client()
    cluster.pause("hub")
    tasks = [client.submit(Work(takes=10 * MILLISECOND)) for _ in range(20)]
    cluster.run_for(2 * DEATH)
    must(all(task.is_done for task in tasks), "storage.passive", "tasks wait for a Hub that stands still")
    cluster.resume("hub")
    cluster.run_for(DEATH)
    for engine in cluster.engines:
        must(is_registered(cluster, engine), "heartbeat.removal-not-early", f"{engine.uuid} was given up")
    asked = client.query("result_request", {"msg_ids": [task.msg_id for task in tasks]})
    ends(cluster, [asked], status="ok")


@scenario("parts")
def scheduler_restarts(cluster: Cluster) -> None:
    """The task scheduler is killed when it has nothing and starts again. It learns the engines by asking; what was sent
    meanwhile they get once they are connected again.
    """
    client = cluster.client()
    ends(cluster, [client.submit(Work()) for _ in range(5)], status="ok")
    cluster.kill("tasks")
    cluster.run_for(SECOND)
    waiting = [client.submit(Work()) for _ in range(5)]
    cluster.restart("tasks")
    ends(cluster, waiting, status="ok")
    ends(cluster, [client.submit(Work()) for _ in range(5)], status="ok")


@scenario("parts")
def scheduler_dies_with_work(cluster: Cluster) -> None:
    """The task scheduler is killed with tasks that only it knew. Other queues go on, and so do later tasks."""
    client = cluster.client()
    for _ in range(5):
        client.submit(Work(takes=2 * SECOND))
    cluster.run_for(500 * MILLISECOND)
    cluster.kill("tasks")
    calls = [client.apply(Work(), engine) for engine in cluster.engines]
    cluster.run_for(SECOND)
    cluster.restart("tasks")
    ends(cluster, calls, status="ok")
    ends(cluster, [client.submit(Work()) for _ in range(5)], status="ok")


@scenario("parts")
def scheduler_stands_still(cluster: Cluster) -> None:
    """The task scheduler stands still while engines answer and one of them dies. It catches up with everything."""
    client = cluster.client()
    tasks = [client.submit(Work(takes=100 * MILLISECOND), retries=2) for _ in range(10)]
    cluster.run_for(50 * MILLISECOND)
    cluster.pause("tasks")
    cluster.engines[0].kill()
    cluster.run_for(2 * DEATH)
    cluster.resume("tasks")
    ends(cluster, tasks, status="ok")


@scenario("parts")
def heart_monitor_restarts(cluster: Cluster) -> None:
    """The heart monitor is killed and starts again. No engine is given up for it, and a death is still noticed."""
    cluster.kill("hearts")
    cluster.run_for(SECOND)
    cluster.restart("hearts")
    cluster.run_for(2 * DEATH)
    for engine in cluster.engines:
        returns(cluster, engine)
    victim = cluster.engines[0]
    victim.kill()
    becomes(
        cluster, lambda: not is_registered(cluster, victim), "heartbeat.silent-engine-removed",
        "the new heart monitor must notice a death",
    )  # fmt: skip


@scenario("parts")
def relays_restart(cluster: Cluster) -> None:
    """The relays of calls, control and output are killed one after another and start again. Each serves as before."""
    client = cluster.client()
    parts: tuple[Part, ...] = ("mux", "control", "iopub", "broadcast")
    for part in parts:
        cluster.kill(part)
        cluster.run_for(300 * MILLISECOND)
        cluster.restart(part)
        cluster.run_for(SECOND)
    engine = cluster.engines[0]
    printed = client.execute(Work(prints=2), engine)
    asked = [client.control("clear_request", {}, engine), client.apply(Work(), engine), client.broadcast(Work())]
    ends(cluster, [printed, *asked], status="ok")
    becomes(
        cluster, lambda: printed.output.count("\n") == 2, "iopub.reaches-all-clients",
        "output must reach the client through the new relay", within=SECOND,
    )  # fmt: skip


@scenario("parts")
def whole_controller_restarts(cluster: Cluster) -> None:
    """The whole controller is killed, as by a power cut, and starts again with its disk at its old addresses."""
    client = cluster.client()
    before = client.submit(Work())
    ends(cluster, [before], status="ok")
    # What is recorded may be durable some seconds later only.
    cluster.run_for(3 * SECOND)
    cluster.kill("controller")
    cluster.run_for(SECOND)
    cluster.restart("controller")
    for engine in cluster.engines:
        returns(cluster, engine)
    cluster.run_for(DEATH)
    asked = client.query("result_request", {"msg_ids": [before.msg_id]})
    ends(cluster, [client.apply(Work(), engine) for engine in cluster.engines], status="ok")
    ends(cluster, [asked])
    must(asked.status == "ok", "storage.persistent-survives", f"a result of before is not there: {asked.ename}")


@scenario("parts", is_inside=False)
def hub_loses_its_disk(cluster: Cluster) -> None:
    """The Hub is killed, and its disk is lost. It takes up the engines that beat; what it does not know it says."""
    client = cluster.client()
    before = client.submit(Work())
    ends(cluster, [before], status="ok")
    cluster.kill("hub")
    cluster.run_for(MISS)
    cluster.restart("hub", keeps_disk=False)
    for engine in cluster.engines:
        returns(cluster, engine)
    cluster.run_for(DEATH)
    asked = client.query("result_request", {"msg_ids": [before.msg_id]})
    ends(cluster, [asked], status="error")
    ends(cluster, [client.submit(Work()), *(client.apply(Work(), engine) for engine in cluster.engines)], status="ok")
