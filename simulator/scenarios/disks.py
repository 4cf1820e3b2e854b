"""Disks that are slow, full or gone."""

from protocol.world import MILLISECOND, SECOND, Work
from simulator.cluster import VirtualCluster
from simulator.faults import DiskFailing, DiskSlow
from simulator.scenarios.scenario import ends, must, scenario


@scenario("faults")
def database_is_slow(cluster: VirtualCluster) -> None:
    """Whenever the Hub writes, that takes it a third of a second. Work does not wait for it; queries are only late."""
    client = cluster.client()
    cluster.begin(DiskSlow(nanoseconds=300 * MILLISECOND))
    tasks = [client.submit(Work(takes=5 * MILLISECOND)) for _ in range(50)]
    ends(cluster, tasks, status="ok", within=SECOND)
    # The Hub may look a moment later than others at what happened.
    cluster.run_for(60 * SECOND)
    asked = client.query("result_request", {"msg_ids": [task.msg_id for task in tasks]})
    ends(cluster, [asked], status="ok")


@scenario("faults", is_inside=False)
def disk_is_full(cluster: VirtualCluster) -> None:
    """The Hub can write nothing for a while. Work goes on, questions are answered with an error, then well again."""
    client = cluster.client()
    trouble = cluster.begin(DiskFailing())
    tasks = [client.submit(Work(takes=5 * MILLISECOND)) for _ in range(20)]
    asked = client.query("result_request", {"msg_ids": [tasks[0].msg_id]})
    ends(cluster, [*tasks, asked])
    must(all(task.status == "ok" for task in tasks), "storage.passive", "a task failed since the Hub's disk is full")
    trouble.end()
    after = client.submit(Work())
    ends(cluster, [after], status="ok")
    cluster.run_for(SECOND)
    ends(cluster, [client.query("result_request", {"msg_ids": [after.msg_id]})], status="ok")
