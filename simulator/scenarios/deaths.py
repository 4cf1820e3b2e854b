"""Engines that end: with work waiting, while others depend on it, again and again, all at once."""

from protocol.world import MILLISECOND, SECOND, Cluster, Work
from simulator.scenarios.scenario import DEATH, MISS, becomes, dies, ends, is_registered, must, returns, scenario


@scenario()
def engine_dies_with_queued_tasks(cluster: Cluster) -> None:
    """An engine is killed while a task runs there and others wait for their turn. Each gets one true answer."""
    client = cluster.client()
    engine = cluster.engines[0]
    ours = [client.submit(Work(takes=SECOND), targets=[engine]) for _ in range(5)]
    others = [client.submit(Work(takes=MILLISECOND)) for _ in range(10)]
    cluster.run_for(500 * MILLISECOND)
    engine.kill()
    ends(cluster, ours, status="error")
    ends(cluster, others, status="ok")
    must(not is_registered(cluster, engine), "heartbeat.silent-engine-removed", "the dead engine is still listed")
    must(all(task.count == 1 for task in (*ours, *others)), "wire.at-most-one-reply", "a task has two answers")


@scenario()
def engine_dies_with_requests_of_its_own(cluster: Cluster) -> None:
    """An engine is killed while calls for it wait in MUX. Nobody else may run them: each is answered with an error."""
    client = cluster.client()
    engine = cluster.engines[0]
    calls = [client.apply(Work(takes=SECOND), engine) for _ in range(4)]
    cluster.run_for(500 * MILLISECOND)
    engine.kill()
    ends(cluster, calls, status="error")


@scenario()
def engine_dies_with_follow_dependents(cluster: Cluster) -> None:
    """Tasks must follow another to an engine that dies. Where they had to go is nowhere: they are refused."""
    client = cluster.client()
    first = client.submit(Work(takes=100 * MILLISECOND))
    ends(cluster, [first], status="ok")
    engine = next(one for one in cluster.engines if one.uuid == first.engine)
    hold = client.submit(Work(takes=3 * SECOND), follow=[first])
    followers = [client.submit(Work(), follow=[first], after=[hold]) for _ in range(3)]
    cluster.run_for(MISS)
    engine.kill()
    ends(cluster, [hold, *followers], status="error")


@scenario()
def engine_dies_during_a_retry(cluster: Cluster) -> None:
    """A task fails on one engine, is tried again on another, and that one dies. The last retry succeeds."""
    client = cluster.client()
    task = client.submit(Work(takes=2 * SECOND), retries=2)
    victims = []
    for _ in range(2):
        cluster.run_for(SECOND)
        busy = next((one for one in cluster.engines if one.is_alive and _has_task(cluster, one)), None)
        if busy is not None:
            busy.kill()
            victims.append(busy)
            dies(cluster, busy)
            cluster.run_for(SECOND)
    ends(cluster, [task], status="ok", within=60 * SECOND)
    must(task.engine not in [one.uuid for one in victims], "wire.reply-true", "a dead engine is said to have answered")


def _has_task(cluster: Cluster, engine: object) -> bool:
    client = cluster.client()
    number = getattr(engine, "number", None)
    asked = client.query("queue_request", {"targets": [number], "verbose": False})
    cluster.run_until(lambda: asked.is_done, cluster.now + SECOND)
    client.leave()
    found = asked.content.get(str(number))
    return isinstance(found, dict) and bool(found.get("tasks"))


@scenario()
def engine_dies_during_registration(cluster: Cluster) -> None:
    """An engine is killed right after it asked to be registered. Its uuid is free again, and it can come back."""
    engine = cluster.engine(uuid="unlucky", is_awaited=False)
    cluster.run_for(MILLISECOND)
    engine.kill()
    cluster.run_for(2 * DEATH)
    becomes(
        cluster, lambda: not is_registered(cluster, engine), "registration.pending-expires",
        "a registration without a heart must be forgotten",
    )  # fmt: skip
    cluster.run_for(5 * SECOND)
    engine.restart()
    returns(cluster, engine)


@scenario()
def engine_dies_twice(cluster: Cluster) -> None:
    """An engine is killed, comes back under its uuid, and is killed again with work. Both times it is noticed."""
    client = cluster.client()
    engine = cluster.engines[0]
    for _ in range(2):
        call = client.apply(Work(takes=10 * SECOND), engine)
        cluster.run_for(MISS)
        engine.kill()
        dies(cluster, engine)
        ends(cluster, [call], status="error")
        engine.restart()
        returns(cluster, engine)
        cluster.run_for(DEATH)
    ends(cluster, [client.apply(Work(), engine)], status="ok")


@scenario("faults")
def engine_dies_in_front_of_its_warden(cluster: Cluster) -> None:
    """An engine with a warden is killed while it works. The warden tells at once, long before the heart is missed."""
    client = cluster.client()
    engine = cluster.engine(has_warden=True)
    call = client.apply(Work(takes=10 * SECOND), engine)
    cluster.run_for(MISS)
    engine.kill()
    dies(cluster, engine, within=4 * MISS)
    ends(cluster, [call], status="error")


@scenario()
def same_uuid_returns_at_once(cluster: Cluster) -> None:
    """An engine is killed and starts again before anybody noticed. It is refused as long as the first counts as alive,
    or takes its place; it is never listed twice, and no call to it hangs.
    """
    client = cluster.client()
    engine = cluster.engines[0]
    lost = client.apply(Work(takes=SECOND), engine)
    cluster.run_for(MISS)
    engine.kill()
    engine.restart()
    cluster.run_for(2 * DEATH)
    listed = list(cluster.registered.values()).count(engine.uuid)
    must(listed <= 1, "registration.identity-unique", f"{engine.uuid} is listed {listed} times")
    if not engine.is_alive:
        engine.restart()
    returns(cluster, engine)
    ends(cluster, [lost])


@scenario()
def task_that_kills_its_engine(cluster: Cluster) -> None:
    """A task takes its engine with it wherever it runs. It has few retries, and does not take them all."""
    client = cluster.client()
    poison = client.submit(Work(takes=MILLISECOND, crashes=True), retries=1)
    good = [client.submit(Work(takes=10 * MILLISECOND), retries=3) for _ in range(10)]
    ends(cluster, [poison], status="error", within=40 * SECOND)
    ends(cluster, good, status="ok")
    alive = sum(engine.is_alive for engine in cluster.engines)
    must(alive >= len(cluster.engines) - 2, "task.retries-bounded", f"only {alive} engines are left")


@scenario(engines=8)
def mass_death(cluster: Cluster) -> None:
    """All engines but one die at the same moment, with work everywhere. What may be tried again ends on the last."""
    client = cluster.client()
    tasks = [client.submit(Work(takes=200 * MILLISECOND), retries=3) for _ in range(40)]
    once = [client.submit(Work(takes=200 * MILLISECOND)) for _ in range(8)]
    cluster.run_for(300 * MILLISECOND)
    for engine in cluster.engines[1:]:
        engine.kill()
    ends(cluster, tasks, status="ok", within=60 * SECOND)
    ends(cluster, once)
    becomes(
        cluster, lambda: len(cluster.registered) == 1, "heartbeat.silent-engine-removed", "one engine lives",
    )  # fmt: skip


@scenario()
def no_engine_is_left(cluster: Cluster) -> None:
    """Every engine dies. Tasks wait until one registers, and then run."""
    client = cluster.client()
    for engine in cluster.engines:
        engine.kill()
    for engine in list(cluster.engines):
        dies(cluster, engine)
    # The scheduler may hear of the deaths a moment later than the clients.
    cluster.run_for(SECOND)
    tasks = [client.submit(Work()) for _ in range(5)]
    cluster.run_for(5 * SECOND)
    must(not any(task.is_done for task in tasks), "task.waits-for-engine", "a task was answered without any engine")
    cluster.engine()
    ends(cluster, tasks, status="ok")


@scenario()
def engines_end_in_order(cluster: Cluster) -> None:
    """Engines are asked to end while they work. What they had is answered, without waiting for hearts to be missed."""
    client = cluster.client()
    calls = [client.apply(Work(takes=2 * SECOND), engine) for engine in cluster.engines]
    cluster.run_for(MISS)
    for engine in cluster.engines:
        engine.stop()
    becomes(
        cluster, lambda: not cluster.registered, "registration.unregistration-honoured",
        "every engine has said goodbye", within=MISS,
    )  # fmt: skip
    ends(cluster, calls)
