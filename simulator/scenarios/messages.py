"""Messages that are lost, doubled, late or damaged within a connection that lives."""

from protocol.world import MILLISECOND, SECOND, Work
from simulator.cluster import VirtualCluster
from simulator.faults import Damaged, Delayed, Doubled, Dropped, Fault, Replays
from simulator.scenarios.scenario import DEATH, becomes, ends, must, returns, scenario, spreads


@scenario("faults", is_inside=False)
def registration_requests_are_lost(cluster: VirtualCluster) -> None:
    """The request of an engine to be registered is lost. It gives up, is started again, and is registered."""
    trouble = cluster.begin(Dropped(source="engine-", target="hub/", msg_type="registration_request"))
    engine = cluster.engine(uuid="unheard", is_awaited=False)
    becomes(
        cluster, lambda: not engine.is_alive, "registration.engine-gives-up", "an engine that nobody answers must end",
    )  # fmt: skip
    trouble.end()
    engine.restart()
    returns(cluster, engine)


@scenario("faults", is_inside=False)
def registration_replies_are_lost(cluster: VirtualCluster) -> None:
    """The answer to a registration is lost. The engine gives up; its uuid is free again, and it can come back."""
    trouble = cluster.begin(Dropped(source="hub/", target="engine-", msg_type="registration_reply"))
    engine = cluster.engine(uuid="unlucky", is_awaited=False)
    becomes(
        cluster, lambda: not engine.is_alive, "registration.engine-gives-up", "an engine that nobody answers must end",
    )  # fmt: skip
    trouble.end()
    cluster.run_for(5 * SECOND)
    engine.restart()
    returns(cluster, engine)


@scenario("faults", is_inside=False)
def notifications_are_lost(cluster: VirtualCluster) -> None:
    """Nobody is told of an engine that came and one that died. Clients and schedulers ask, and agree in the end; what
    was spread to all engines meanwhile is answered by those that live.
    """
    client = cluster.client()
    trouble = cluster.begin(Dropped(source="hub/notification"))
    late = cluster.engine(uuid="late")
    dead = cluster.engines[0]
    dead.kill()
    everywhere = client.broadcast(Work())
    cluster.run_for(2 * DEATH)
    trouble.end()
    becomes(
        cluster, lambda: set(client.engines.values()) == set(cluster.registered.values()),
        "notification.views-converge", "a client must learn what it was not told",
    )  # fmt: skip
    # The scheduler asks every half minute.
    cluster.run_for(65 * SECOND)
    spreads(cluster, everywhere, len(cluster.engines) - 2)
    ends(cluster, [client.submit(Work(), targets=[late])], status="ok")


@scenario("faults", is_inside=False)
def task_destinations_are_lost(cluster: VirtualCluster) -> None:
    """The Hub is not told which engine has a task. The results come all the same, and are kept."""
    client = cluster.client()
    cluster.begin(Dropped(source="tasks/", target="hub/", msg_type="task_destination"))
    tasks = [client.submit(Work(takes=10 * MILLISECOND)) for _ in range(20)]
    ends(cluster, tasks, status="ok")
    # The Hub may look a moment later than others at what happened.
    cluster.run_for(SECOND)
    asked = client.query("result_request", {"msg_ids": [task.msg_id for task in tasks]})
    ends(cluster, [asked], status="ok")
    done = asked.content.get("completed")
    must(
        isinstance(done, list) and len(done) == len(tasks), "query.result-completed",
        "a result that arrived must be named as completed",
    )  # fmt: skip


@scenario("faults", is_inside=False)
def results_are_lost(cluster: VirtualCluster) -> None:
    """One result in five is lost on its way to the scheduler. The others arrive, and the engines stay usable."""
    client = cluster.client()
    trouble = cluster.begin(Dropped(source="engine-", target="tasks/", msg_type="apply_reply", share=0.2, at_most=2))
    tasks = [client.submit(Work(takes=MILLISECOND)) for _ in range(20)]
    cluster.run_for(3 * SECOND)
    lost = {parent for *_, parent in trouble.taken}
    ends(cluster, [task for task in tasks if task.msg_id not in lost], status="ok")
    trouble.end()
    engine = cluster.engines[0]
    ends(cluster, [client.apply(Work(), engine)], status="ok")


@scenario("faults", is_inside=False)
def replies_are_doubled(cluster: VirtualCluster) -> None:
    """Every reply arrives twice everywhere. A message that was accepted once is refused; clients see one answer."""
    _one_answer(cluster, Doubled(delay=50 * MILLISECOND))


@scenario("faults", is_inside=False)
def messages_are_reordered(cluster: VirtualCluster) -> None:
    """Messages between the queues, engines and clients overtake each other. Every request gets its own answer."""
    for source in ("mux/", "tasks/", "client-", "engine-"):
        cluster.begin(Delayed(source=source, delay=20 * MILLISECOND, share=0.3))
    client = cluster.client()
    tasks = [client.submit(Work(takes=MILLISECOND)) for _ in range(30)]
    calls = [client.apply(Work(takes=MILLISECOND), engine) for engine in cluster.engines for _ in range(5)]
    ends(cluster, [*tasks, *calls], status="ok")


@scenario("faults")
def requests_are_replayed(cluster: VirtualCluster) -> None:
    """Somebody sends again what clients have sent. A replay is refused: each request is run once."""
    _one_answer(cluster, Replays(share=1.0))


def _one_answer(cluster: VirtualCluster, fault: Fault) -> None:
    client = cluster.client()
    cluster.begin(fault)
    tasks = [client.submit(Work(takes=MILLISECOND)) for _ in range(20)]
    calls = [client.apply(Work(takes=MILLISECOND), engine) for engine in cluster.engines]
    asked = [client.query("queue_request", {"targets": None}) for _ in range(3)]
    ends(cluster, [*tasks, *calls, *asked], status="ok")
    cluster.run_for(SECOND)
    twice = [task.msg_id for task in (*tasks, *calls, *asked) if task.count != 1]
    must(not twice, "wire.at-most-one-reply", f"more than one answer to {', '.join(twice)}")


@scenario("faults", is_inside=False)
def bits_are_flipped(cluster: VirtualCluster) -> None:
    """Bits flip in some messages of one client. The signature shows it: they are refused, and others do not notice."""
    sick, client = cluster.client(), cluster.client()
    trouble = cluster.begin(Damaged(source=f"{sick.name}/", kind="flip-bit", share=0.5))
    for _ in range(20):
        sick.submit(Work())
    tasks = [client.submit(Work(takes=MILLISECOND)) for _ in range(20)]
    ends(cluster, tasks, status="ok")
    trouble.end()
    ends(cluster, [sick.submit(Work())], status="ok")


@scenario("faults", is_inside=False)
def frames_are_lost(cluster: VirtualCluster) -> None:
    """Frames are missing, cut or doubled in some messages. What cannot be read is refused; queues and peers live on."""
    sick, client = cluster.client(), cluster.client()
    troubles = [
        cluster.begin(Damaged(source=f"{sick.name}/", kind=kind, share=0.2))
        for kind in ("drop", "truncate", "duplicate", "swap", "cut-frame", "two-delimiters", "no-delimiter")
    ]
    for engine in cluster.engines:
        for _ in range(5):
            sick.submit(Work())
            sick.apply(Work(), engine)
            sick.query("queue_request", {"targets": None})
    tasks = [client.submit(Work(takes=MILLISECOND)) for _ in range(20)]
    calls = [client.apply(Work(takes=MILLISECOND), engine) for engine in cluster.engines]
    ends(cluster, [*tasks, *calls], status="ok")
    for trouble in troubles:
        trouble.end()
    ends(cluster, [sick.submit(Work()), sick.query("queue_request", {"targets": None})], status="ok")
