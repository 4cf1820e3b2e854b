"""Hearts that stop, are late, lie, or are held up while their engine goes on."""

from protocol.world import MILLISECOND, SECOND, Cluster, Work
from simulator.cluster import VirtualCluster
from simulator.faults import Dropped, HeartHalted, HeartLate, HeartLying
from simulator.scenarios.scenario import DEATH, MISS, dies, ends, is_registered, must, returns, scenario, stays


@scenario()
def heart_killed_while_the_engine_works(cluster: Cluster) -> None:
    """The heart of an engine ends while it runs a task. The engine is given up, and the task runs elsewhere, once."""
    client = cluster.client()
    engine = cluster.engines[0]
    task = client.submit(Work(takes=10 * SECOND), targets=[engine])
    free = client.submit(Work(takes=10 * SECOND), retries=1)
    cluster.run_for(SECOND)
    engine.stop_heart()
    dies(cluster, engine)
    ends(cluster, [task], status="error")
    must(task.ename == "EngineError", "task.engine-death-error", f"the answer is {task.ename}")
    ends(cluster, [free], status="ok", within=40 * SECOND)


@scenario()
def stall_shorter_than_the_misses(cluster: Cluster) -> None:
    """An interpreter with a heart in Python is held up for less than the allowed misses. Nobody gives it up."""
    engine = cluster.engine(heart="python")
    client = cluster.client()
    engine.stall(3 * MISS)
    task = client.apply(Work(), engine)
    stays(cluster, engine, DEATH)
    ends(cluster, [task], status="ok")


@scenario()
def stall_longer_than_the_misses(cluster: Cluster) -> None:
    """An interpreter with a heart in Python is held up too long. It is given up, notices, and is taken up again."""
    engine = cluster.engine(heart="python")
    client = cluster.client()
    task = client.apply(Work(), engine)
    ends(cluster, [task], status="ok")
    engine.stall(2 * DEATH)
    lost = client.apply(Work(), engine)
    dies(cluster, engine, 2 * DEATH - MILLISECOND)
    ends(cluster, [lost], status="error")
    returns(cluster, engine)
    cluster.run_for(DEATH)
    ends(cluster, [client.apply(Work(), engine)], status="ok")


@scenario()
def code_that_holds_the_interpreter(cluster: Cluster) -> None:
    """Code holds the interpreter for long. A heart that is a device beats on, and the engine stays."""
    client = cluster.client()
    engine = cluster.engines[0]
    task = client.apply(Work(takes=5 * SECOND, holds=True), engine)
    stays(cluster, engine, 4 * SECOND)
    ends(cluster, [task], status="ok")


@scenario()
def pause_then_a_late_result(cluster: Cluster) -> None:
    """An engine stands still with a task, is given up, and then answers. The client has its one answer already."""
    client = cluster.client()
    engine = cluster.engines[0]
    task = client.submit(Work(takes=SECOND), targets=[engine])
    cluster.run_for(MISS)
    engine.pause()
    dies(cluster, engine)
    ends(cluster, [task], status="error")
    engine.resume()
    returns(cluster, engine)
    cluster.run_for(2 * SECOND)
    must(task.count == 1, "task.late-reply-dropped", f"{task.count} answers to one task")
    ends(cluster, [client.submit(Work(), targets=[engine])], status="ok")


@scenario("faults", is_inside=False)
def pings_are_lost(cluster: VirtualCluster) -> None:
    """Half of the pings to one engine are lost. A good answer makes up for the one before, so it may live or die; the
    others stay.
    """
    sick, *others = cluster.engines
    client = cluster.client()
    trouble = cluster.begin(Dropped(source="hearts/", target=f"{sick.name}.heart", share=0.5))
    cluster.run_for(3 * DEATH)
    must(all(is_registered(cluster, engine) for engine in others), "heartbeat.removal-not-early", "another engine died")
    trouble.end()
    # What it missed until now may still be its end.
    cluster.run_for(DEATH)
    returns(cluster, sick)
    # The client hears of it a moment after the Hub has it.
    cluster.run_for(SECOND)
    ends(cluster, [client.apply(Work(), engine) for engine in cluster.engines], status="ok")


@scenario("faults", is_inside=False)
def all_pings_are_lost(cluster: VirtualCluster) -> None:
    """No ping reaches an engine for a while. It is given up, hears pings again, and asks to be taken up."""
    engine = cluster.engines[0]
    trouble = cluster.begin(Dropped(source="hearts/", target=f"{engine.name}.heart"))
    dies(cluster, engine)
    trouble.end()
    returns(cluster, engine)


@scenario("faults", is_inside=False)
def pongs_are_lost(cluster: VirtualCluster) -> None:
    """No answer of an engine's heart arrives, while all its pings do: it sees nothing wrong, and comes back yet."""
    engine = cluster.engines[0]
    client = cluster.client()
    trouble = cluster.begin(Dropped(source=f"{engine.name}.heart", target="hearts/"))
    dies(cluster, engine)
    trouble.end()
    returns(cluster, engine)
    cluster.run_for(DEATH)
    ends(cluster, [client.apply(Work(), engine)], status="ok")


@scenario("faults")
def heart_halted_for_a_moment(cluster: VirtualCluster) -> None:
    """A heart stands still for less than the allowed misses, then answers in a heap. The engine stays."""
    engine = cluster.engines[0]
    trouble = cluster.begin(HeartHalted(engine=engine.name))
    cluster.run_for(3 * MISS)
    trouble.end()
    stays(cluster, engine, DEATH)


@scenario("faults")
def heart_answers_late(cluster: VirtualCluster) -> None:
    """The answers of a heart are late by more than half a period, each after the next ping. They count."""
    engine = cluster.engines[0]
    cluster.begin(HeartLate(engine=engine.name, delay=120 * MILLISECOND))
    stays(cluster, engine, 3 * DEATH)


@scenario("faults")
def heart_lies(cluster: VirtualCluster) -> None:
    """A heart answers with another text than the ping's. That is no beat: the engine is given up, the others stay."""
    engine, *others = cluster.engines
    trouble = cluster.begin(HeartLying(engine=engine.name))
    dies(cluster, engine)
    must(all(is_registered(cluster, one) for one in others), "heartbeat.removal-not-early", "another engine died")
    trouble.end()
    returns(cluster, engine)
