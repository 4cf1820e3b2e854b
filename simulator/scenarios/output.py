"""What code prints: many lines, and a reader that does not read."""

from protocol.world import SECOND, Cluster, Work
from simulator.cluster import VirtualCluster
from simulator.faults import OutputUnread
from simulator.scenarios.scenario import becomes, ends, must, scenario
from simulator.stage import NO_ROOM


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
    """A client stands still while code prints more for it than any queue holds. What it gets when it reads again are
    the oldest lines, whole and in order; others get everything, nothing waits, and what is printed later arrives.
    """
    deaf, client = cluster.client(), cluster.client()
    talks, *others = cluster.engines
    missed = deaf.execute(Work(takes=SECOND, prints=500), talks)
    tasks = [client.execute(Work(takes=SECOND, prints=500), engine) for engine in others]
    trouble = cluster.begin(OutputUnread(client=deaf.name, room=50))
    ends(cluster, tasks, status="ok", within=5 * SECOND)
    becomes(
        cluster, lambda: all(task.output.count("\n") == 500 for task in tasks), "iopub.reaches-all-clients",
        "whoever reads must get all lines", within=5 * SECOND,
    )  # fmt: skip
    ends(cluster, [client.submit(Work())], status="ok")
    must(NO_ROOM in cluster.world.marks, "iopub.reaches-all-clients", "the queue has never overflowed")
    # Until all of it was printed, though an engine may have begun later than the others.
    cluster.run_for(SECOND)
    trouble.end()
    ends(cluster, [missed], status="ok", within=5 * SECOND)
    later = deaf.execute(Work(prints=1), talks)
    becomes(
        cluster, lambda: later.output == "line 0\n", "iopub.reaches-all-clients", "whoever reads again gets what comes",
        within=5 * SECOND,
    )  # fmt: skip
    lines = missed.output.splitlines()
    must(0 < len(lines) < 500, "iopub.stream-order", "as many lines as the queues hold must arrive")
    must(lines == [f"line {number}" for number in range(len(lines))], "iopub.stream-order", "the oldest are kept")
