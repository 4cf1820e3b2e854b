import time

from raw import Cluster, Engine, Peer, client, conclude

with Cluster() as cluster:
    engine = Engine(cluster, "engine-a")
    tasks, hub = client(cluster, "task"), Peer(cluster, "query")
    tasks.send("apply_request", {}, buffers=[b"f", b"args"])
    taken = engine.take()
    engine.heart.stop()
    for peer in (engine.query, engine.shell):
        peer.socket.close()
    while hub.ask("connection_request").content["engines"]:
        time.sleep(0.05)
    print("  engine-a has died with the task, and is listed no more; it comes back under its name")
    again = Engine(cluster, "engine-a")
    answer = tasks.receive(15)
    print("  another engine is registered, and another task is submitted")
    other = Engine(cluster, "engine-b")
    tasks.send("apply_request", {}, buffers=[b"f", b"args"])
    is_given = again.take() is not None or other.take() is not None
    conclude(
        taken is not None and answer is None and not is_given,
        "a task whose engine came back without it is never answered, and no engine is given any task any more",
    )
