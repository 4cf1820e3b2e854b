import time

from raw import Cluster, Engine, Peer, client, conclude

with Cluster() as cluster:
    tasks, hub = client(cluster, "task"), Peer(cluster, "query")
    engine = Engine(cluster, "engine-a")
    done = tasks.send("apply_request", {}, buffers=[b"f", b"args"])
    engine.answer(engine.take())
    tasks.receive()
    other = Engine(cluster, "engine-b")
    engine.leave()
    while "engine-a" in hub.ask("connection_request").content["engines"].values():
        time.sleep(0.05)
    print("  engine-a is gone, and engine-b is there")
    after = {"follow": [done["msg_id"]]}
    tasks.send("apply_request", {}, buffers=[b"f", b"args"], metadata=after)
    request, answer = other.take(1), tasks.receive(10)
    print("  another task, which may run anywhere")
    tasks.send("apply_request", {}, buffers=[b"f", b"args"])
    other.answer(other.take())
    lively = tasks.receive()
    conclude(
        request is None and answer is None and lively is not None,
        "a task that follows another to an engine that is gone is neither run nor refused",
    )
