import time

from raw import Cluster, Engine, Peer, client, conclude


def submit(tasks, **metadata):
    return tasks.send("apply_request", {}, metadata=metadata, buffers=[b"f", b"args"])["msg_id"]


with Cluster() as cluster:
    engine = Engine(cluster)
    tasks, hub = client(cluster, "task"), Peer(cluster, "query")
    alone = submit(tasks, after=["never-submitted"])
    reply = tasks.receive()
    is_told = reply is not None and reply.content["ename"] == "InvalidDependency"
    running = submit(tasks)
    engine.take()
    submit(tasks, after=[running])
    beside = submit(tasks, after=["never-submitted", running])
    while beside not in hub.ask("queue_request", {"targets": None, "verbose": True}).content["unassigned"]:
        time.sleep(0.1)
    conclude(
        is_told and tasks.receive(5) is None,
        "a task that depends on what never was is told nothing if another task waits for one that it depends on, too",
    )
