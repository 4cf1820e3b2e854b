"""Peers that are not what they say: floods, garbage, engines that lack something."""

from protocol.world import MILLISECOND, SECOND, Work
from simulator.cluster import VirtualCluster
from simulator.faults import Flood, Garbage, Nonsense, OddEngine
from simulator.scenarios.scenario import DEATH, becomes, ends, is_registered, must, scenario, spreads


@scenario("faults")
def flood_of_registrations(cluster: VirtualCluster) -> None:
    """A thousand engines register that have no heart. None is ever listed, the real ones work, and all expire."""
    client = cluster.client()
    cluster.begin(Flood(count=1000))
    tasks = [client.submit(Work(takes=MILLISECOND)) for _ in range(20)]
    ends(cluster, tasks, status="ok")
    must(len(cluster.registered) == len(cluster.engines), "registration.pending-until-heard", "a stranger is listed")
    late = cluster.engine()
    ends(cluster, [client.submit(Work(), targets=[late])], status="ok")


@scenario("faults")
def garbage_on_every_channel(cluster: VirtualCluster) -> None:
    """Somebody without the key sends what is no message, or is not signed with it. Nothing changes for anybody."""
    client = cluster.client()
    cluster.begin(Garbage(count=200))
    tasks = [client.submit(Work(takes=MILLISECOND)) for _ in range(20)]
    calls = [client.apply(Work(), engine) for engine in cluster.engines]
    asked = client.query("queue_request", {"targets": None})
    ends(cluster, [*tasks, *calls, asked], status="ok")
    must(len(cluster.registered) == len(cluster.engines), "wire.refused-changes-nothing", "the engines have changed")


@scenario("faults")
def engine_without_a_heart(cluster: VirtualCluster) -> None:
    """An engine registers and never beats. It is never listed, and nobody gives it work."""
    client = cluster.client()
    cluster.begin(OddEngine(lacks="heart"))
    cluster.run_for(5 * SECOND)
    must(len(cluster.registered) == len(cluster.engines), "registration.pending-until-heard", "it is listed")
    ends(cluster, [client.submit(Work()) for _ in range(10)], status="ok")


@scenario("faults")
def engine_without_a_shell(cluster: VirtualCluster) -> None:
    """An engine beats and has no socket for requests. Calls for others are not held up, and neither are their answers
    to what is spread to all.
    """
    _odd(cluster, OddEngine(lacks="shell"))


@scenario("faults")
def engine_that_never_reads(cluster: VirtualCluster) -> None:
    """An engine beats, is connected everywhere, and reads no request. Nobody else is held up by what waits for it."""
    _odd(cluster, OddEngine(lacks="reading"))


@scenario("faults")
def engine_that_makes_no_sense(cluster: VirtualCluster) -> None:
    """An engine beats, is connected everywhere, and its answers answer nothing. Only what it was given suffers."""
    client = cluster.client()
    trouble = cluster.begin(OddEngine(lacks="sense"))
    becomes(
        cluster, lambda: len(client.engines) > len(cluster.engines), "registration.heard-is-registered",
        "an engine that beats must be listed",
    )  # fmt: skip
    calls = [client.apply(Work(), engine) for engine in cluster.engines for _ in range(5)]
    tasks = [client.submit(Work(), targets=[engine]) for engine in cluster.engines]
    ends(cluster, [*calls, *tasks], status="ok")
    everywhere = client.broadcast(Work())
    cluster.run_for(SECOND)
    trouble.end()
    spreads(cluster, everywhere, len(cluster.engines))


@scenario("faults")
def nonsense_under_the_key(cluster: VirtualCluster) -> None:
    """Somebody with the key sends requests that cannot be read, are of no known type, are for nobody, or come twice.
    Whoever makes sense is served as ever, and no engine is kept from its work.
    """
    client = cluster.client()
    cluster.begin(Nonsense(count=200))
    tasks = [client.submit(Work(takes=MILLISECOND)) for _ in range(20)]
    calls = [client.apply(Work(), engine) for engine in cluster.engines]
    asked = [client.query("queue_request", {"targets": None}), client.broadcast(Work())]
    ends(cluster, [*tasks, *calls, *asked], status="ok")
    must(len(cluster.registered) == len(cluster.engines), "wire.malformed-harms-nobody", "the engines have changed")


def _odd(cluster: VirtualCluster, fault: OddEngine) -> None:
    client = cluster.client()
    trouble = cluster.begin(fault)
    becomes(
        cluster, lambda: len(client.engines) > len(cluster.engines), "registration.heard-is-registered",
        "an engine that beats must be listed",
    )  # fmt: skip
    calls = [client.apply(Work(), engine) for engine in cluster.engines]
    ends(cluster, calls, status="ok")
    everywhere = client.broadcast(Work())
    cluster.run_for(SECOND)
    must(not everywhere.is_done, "wire.reply-true", "an engine is said to have answered that cannot")
    trouble.end()
    spreads(cluster, everywhere, len(cluster.engines))
    cluster.run_for(DEATH)
    for engine in cluster.engines:
        must(is_registered(cluster, engine), "wire.malformed-harms-nobody", f"{engine.uuid} was given up")
