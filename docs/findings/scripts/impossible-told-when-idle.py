import time

from raw import Cluster, Engine, Peer, client, conclude


def submit(tasks, **metadata):
    return tasks.send("apply_request", {}, metadata=metadata, buffers=[b"f", b"args"])["msg_id"]


with Cluster() as cluster:
    engine = Engine(cluster)
    tasks, hub = client(cluster, "task"), Peer(cluster, "query")
    first = submit(tasks)
    request = engine.take()
    if_failed = {"dependencies": [first], "all": True, "success": False, "failure": True}
    waiting = {submit(tasks), impossible := submit(tasks, after=if_failed)}
    while not waiting <= set(hub.ask("queue_request", {"targets": None, "verbose": True}).content["unassigned"]):
        time.sleep(0.1)
    engine.answer(request)
    tasks.receive()
    # From now on the last task can never run, and the one before it is given to the engine.
    request = engine.take()
    is_silent = tasks.receive(5) is None
    engine.answer(request)
    replies = [tasks.receive(), tasks.receive()]
    is_told = any(reply is not None and reply.parent["msg_id"] == impossible for reply in replies)
    conclude(is_silent and is_told, "that a task can never run is told only when an engine has nothing to do any more")
