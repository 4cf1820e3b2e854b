import time

from raw import Cluster, Engine, Peer, client, conclude


def submit(tasks, **metadata):
    return tasks.send("apply_request", {}, metadata=metadata, buffers=[b"f", b"args"])["msg_id"]


with Cluster("--TaskScheduler.hwm=2") as cluster:
    engine = Engine(cluster)
    tasks, hub = client(cluster, "task"), Peer(cluster, "query", is_quiet=False)
    first = submit(tasks)
    request = engine.take()
    later = submit(tasks, after=[first])
    # Both travel on their own ways: it must wait before the first one ends.
    while later not in hub.ask("queue_request", {"targets": None, "verbose": True}).content["unassigned"]:
        time.sleep(0.1)
    engine.answer(request)
    tasks.receive()
    engine.answer(engine.take())
    tasks.receive()
    # Everything is done. Now two tasks of which one ends: then the engine has as many as it may have, but for one.
    others = [submit(tasks), submit(tasks)]
    requests = [engine.take(), engine.take()]
    engine.answer(requests[0])
    tasks.receive()
    again = engine.take(2)
    status = hub.ask("result_request", {"msg_ids": others[:1], "status_only": True}).content
    is_again = again is not None and again.header["msg_id"] == later
    conclude(
        is_again and status["pending"],
        "a task that was done runs again when another one ends, of which the Hub is never told",
    )
