import zmq
from raw import Cluster, Heart, Peer, conclude


def listen(cluster):
    # Before the schedulers do, so that it may be told first.
    cluster.news = Peer(cluster, "notification", kind=zmq.SUB)


missed = attempts = 0
for _ in range(15):
    with Cluster(heart_ms=100, early=listen) as cluster:
        tasks = Peer(cluster, "task")
        for number in range(6):
            uuid = f"engine-{number}"
            Peer(cluster, "query", identity=uuid.encode()).ask("registration_request", {"uuid": uuid})
            Heart(cluster, uuid.encode())
            told = cluster.news.receive(10)
            tasks.send("apply_request", {}, metadata={"targets": [told.content["uuid"]]}, buffers=[b"f", b"args"])
            reply = tasks.receive(0.3)
            attempts += 1
            missed += reply is not None and reply.content.get("ename") == "ImpossibleDependency"
conclude(
    missed, f"of {attempts} tasks for an engine that had just been announced {missed} were refused as if it were dead"
)
