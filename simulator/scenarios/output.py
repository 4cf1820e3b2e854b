"""What code prints: many lines, and a reader that does not read."""

from protocol.world import MILLISECOND, SECOND, Cluster, Work
from simulator.cluster import VirtualCluster
from simulator.faults import Paused
from simulator.scenarios.scenario import becomes, ends, must, scenario


@scenario()
def much_output(cluster: Cluster) -> None:
    """Code prints two thousand lines. A client that reads sees all of them, in order."""
    client = cluster.client()
    task = client.execute(Work(takes=SECOND, prints=2000), cluster.engines[0])
    ends(cluster, [task], status="ok")
    becomes(
        cluster, lambda: task.output.count("\n") == 2000, "iopub.reaches-all-clients", "all lines must arrive",
        within=5 * SECOND,
    )  # fmt: skip
    lines = task.output.splitlines()
    must(lines == [f"line {number}" for number in range(2000)], "iopub.stream-order", "the lines are not in order")


@scenario("faults")
def client_that_never_reads_output(cluster: VirtualCluster) -> None:
    """A client stands still while code prints more than any queue holds. Others get everything, and nothing waits."""
    deaf, client = cluster.client(), cluster.client()
    cluster.begin(Paused(who=deaf.name))
    tasks = [client.execute(Work(takes=SECOND, prints=3000), engine) for engine in cluster.engines]
    ends(cluster, tasks, status="ok", within=5 * SECOND)
    becomes(
        cluster, lambda: all(task.output.count("\n") == 3000 for task in tasks), "iopub.reaches-all-clients",
        "whoever reads must get all lines", within=5 * SECOND,
    )  # fmt: skip
    cluster.run_for(100 * MILLISECOND)
    ends(cluster, [client.submit(Work())], status="ok")
