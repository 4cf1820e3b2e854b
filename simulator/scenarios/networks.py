"""Partitions, cuts and slow links between hosts."""

from protocol.world import MILLISECOND, SECOND, Cluster, Work
from simulator.cluster import VirtualCluster
from simulator.faults import Cut, LinkSlow
from simulator.scenarios.scenario import DEATH, becomes, dies, ends, is_registered, must, returns, scenario, stays


@scenario("hosts", engines=6)
def half_of_the_engines_cut_off(cluster: Cluster) -> None:
    """Half of the engines are cut off with tasks. They are given up, the tasks run on the others, all come back."""
    client = cluster.client()
    away, here = cluster.engines[::2], cluster.engines[1::2]
    tasks = [client.submit(Work(takes=500 * MILLISECOND), retries=2) for _ in range(12)]
    cluster.run_for(200 * MILLISECOND)
    cluster.partition(away)
    for engine in away:
        dies(cluster, engine)
    ends(cluster, tasks, status="ok")
    must(all(is_registered(cluster, engine) for engine in here), "heartbeat.removal-not-early", "another one died")
    cluster.heal()
    for engine in away:
        returns(cluster, engine)
    cluster.run_for(DEATH)
    ends(cluster, [client.apply(Work(), engine) for engine in cluster.engines], status="ok")


@scenario("hosts")
def partition_shorter_than_the_misses(cluster: Cluster) -> None:
    """An engine is cut off for less than the allowed misses. TCP sends again what was lost, and nobody notices."""
    client = cluster.client()
    engine = cluster.engines[0]
    cluster.partition([engine])
    call = client.apply(Work(), engine)
    cluster.run_for(500 * MILLISECOND)
    cluster.heal()
    stays(cluster, engine, DEATH)
    ends(cluster, [call], status="ok")


@scenario("hosts")
def one_way_from_an_engine(cluster: Cluster) -> None:
    """Nothing that an engine sends arrives, while it hears everything. It is given up, and comes back when it can."""
    client = cluster.client()
    engine = cluster.engines[0]
    cluster.partition([engine], one_way=True)
    call = client.apply(Work(), engine)
    dies(cluster, engine)
    ends(cluster, [call])
    cluster.heal()
    returns(cluster, engine)
    cluster.run_for(DEATH)
    ends(cluster, [client.apply(Work(), engine)], status="ok")


@scenario("hosts")
def one_way_to_an_engine(cluster: Cluster) -> None:
    """Nothing reaches an engine, while what it sends arrives. Without pings there are no beats: it is given up."""
    engine = cluster.engines[0]
    others = [one for one in cluster.engines if one is not engine]
    cluster.partition(["controller"], [engine], one_way=True)
    dies(cluster, engine)
    must(all(is_registered(cluster, one) for one in others), "heartbeat.removal-not-early", "another one died")
    cluster.heal()
    returns(cluster, engine)


@scenario("hosts")
def client_cut_off(cluster: Cluster) -> None:
    """A client is cut off while its tasks run. Their results wait for it, and another client does not notice."""
    away, here = cluster.client(), cluster.client()
    tasks = [away.submit(Work(takes=300 * MILLISECOND)) for _ in range(6)]
    cluster.run_for(100 * MILLISECOND)
    cluster.partition([away])
    ends(cluster, [here.submit(Work()) for _ in range(5)], status="ok")
    cluster.run_for(3 * SECOND)
    must(not any(task.is_done for task in tasks), "wire.reply-true", "something came through the partition")
    cluster.heal()
    ends(cluster, tasks, status="ok")


@scenario("faults")
def slow_joiner(cluster: VirtualCluster) -> None:
    """A client far away joins while engines come and go. It has subscribed before it asked, and misses none."""
    cluster.begin(LinkSlow(place="client-1", latency=300 * MILLISECOND, jitter=100 * MILLISECOND))
    client = cluster.client(is_awaited=False)
    cluster.engines[0].kill()
    cluster.engine(is_awaited=False)
    cluster.engine(is_awaited=False)
    cluster.run_for(3 * SECOND)
    becomes(
        cluster, lambda: set(client.engines.values()) == set(cluster.registered.values()),
        "notification.views-converge", "the client must know the engines that there are",
    )  # fmt: skip


@scenario("faults")
def slow_and_lossy_links(cluster: VirtualCluster) -> None:
    """The way to every engine is slow, uneven and lossy. TCP makes that late, not lost: everything ends."""
    client = cluster.client()
    for engine in cluster.engines:
        cluster.begin(
            LinkSlow(place=engine.name, latency=5 * MILLISECOND, jitter=5 * MILLISECOND, loss=0.02, bandwidth=10**6)
        )
    ends(cluster, [client.submit(Work(takes=MILLISECOND), retries=2) for _ in range(40)], within=60 * SECOND)


@scenario("faults")
def connections_cut_between_messages(cluster: VirtualCluster) -> None:
    """All connections of an idle engine break and are made again. It stays registered and can be reached."""
    client = cluster.client()
    engine = cluster.engines[0]
    cluster.begin(Cut(who=engine.name))
    stays(cluster, engine, DEATH)
    ends(cluster, [client.apply(Work(), engine), client.submit(Work(), targets=[engine])], status="ok")


@scenario("faults")
def connections_cut_within_messages(cluster: VirtualCluster) -> None:
    """The connections of a client break while its messages are under way. Half a message is none: nobody reads one."""
    sick, client = cluster.client(), cluster.client()
    for _ in range(5):
        for _ in range(5):
            sick.submit(Work())
        cluster.run_for(20_000)
        cluster.begin(Cut(who=sick.name, where="within"))
        cluster.run_for(SECOND)
    ends(cluster, [sick.submit(Work()), client.submit(Work())], status="ok")


@scenario("faults")
def connections_cut_while_greeting(cluster: VirtualCluster) -> None:
    """The connections of an engine break, and break again while they greet. It is reachable in the end."""
    client = cluster.client()
    engine = cluster.engines[0]
    cluster.begin(Cut(who=engine.name, where="greeting"))
    cluster.run_for(DEATH)
    returns(cluster, engine)
    ends(cluster, [client.apply(Work(), engine)], status="ok")


@scenario("hosts")
def links_clogged_and_freed_in_another_order(cluster: Cluster) -> None:
    """The links to the engines are cut one by one, and freed in another order. Tasks end on whoever is there."""
    client = cluster.client()
    tasks = [client.submit(Work(takes=50 * MILLISECOND), retries=3) for _ in range(20)]
    for engine in cluster.engines:
        cluster.partition([engine], ["controller"])
        cluster.run_for(400 * MILLISECOND)
    for engine in reversed(cluster.engines):
        cluster.heal([engine], ["controller"])
        cluster.run_for(400 * MILLISECOND)
    ends(cluster, tasks, within=60 * SECOND)
    for engine in cluster.engines:
        returns(cluster, engine)
