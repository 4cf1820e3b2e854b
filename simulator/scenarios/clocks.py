"""Clocks that jump and drift."""

from protocol.world import MILLISECOND, SECOND, Work
from simulator.cluster import VirtualCluster
from simulator.faults import ClockDrifting, ClockJumped
from simulator.scenarios.scenario import DEATH, ends, scenario, stays


@scenario("faults", is_inside=False)
def clock_of_the_hub_jumps(cluster: VirtualCluster) -> None:
    """The Hub's wall clock is set an hour back. Nobody is given up for it, and nothing waits for the hour to pass."""
    client = cluster.client()
    cluster.begin(ClockJumped(who="hub", nanoseconds=-3600 * SECOND))
    tasks = [client.submit(Work(takes=5 * MILLISECOND), timeout=10 * SECOND) for _ in range(20)]
    ends(cluster, tasks, status="ok")
    for engine in cluster.engines:
        stays(cluster, engine, DEATH)


@scenario("faults", is_inside=False)
def clock_of_the_heart_monitor_drifts(cluster: VirtualCluster) -> None:
    """The heart monitor's clock goes a tenth too fast. Its pings come sooner, and no engine is given up."""
    cluster.begin(ClockDrifting(who="hearts", per_mille=100))
    for engine in cluster.engines:
        stays(cluster, engine, 2 * DEATH)


@scenario("faults", is_inside=False)
def clock_of_an_engine_jumps(cluster: VirtualCluster) -> None:
    """An engine's wall clock is a day ahead. Its results count as any others."""
    client = cluster.client()
    engine = cluster.engines[0]
    cluster.begin(ClockJumped(who=engine.name, nanoseconds=86_400 * SECOND))
    ends(cluster, [client.apply(Work(), engine), client.submit(Work(), targets=[engine])], status="ok")
