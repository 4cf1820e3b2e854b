import time

from raw import Cluster, Engine, client, conclude

with Cluster("--TaskScheduler.hwm=1") as cluster:
    engine = Engine(cluster)
    one, other = client(cluster, "task"), client(cluster, "task")
    one.send("apply_request", {}, buffers=[b"f", b"args"])
    first = engine.take()
    print("  while the engine works, a task waits, whose id comes again; around it three of somebody else")
    theirs = [other.send("apply_request", {}, buffers=[b"f", b"args"])["msg_id"]]
    waiting = one.send("apply_request", {}, buffers=[b"f", b"args"])["msg_id"]
    theirs.append(other.send("apply_request", {}, buffers=[b"f", b"args"])["msg_id"])
    one.send("apply_request", {}, header={"msg_id": waiting}, metadata={"label": "again"}, buffers=[b"f", b"args"])
    time.sleep(1)
    theirs.append(other.send("apply_request", {}, buffers=[b"f", b"args"])["msg_id"])
    time.sleep(1)
    engine.answer(first)
    given = []
    while (request := engine.take(5)) is not None:
        given.append(request.header["msg_id"])
        engine.answer(request)
    print("\n".join(line for line in cluster.log().splitlines() if line.startswith("KeyError")))
    held_up = set(theirs) - set(given)
    print("  the engine is idle; now something else ends")
    one.send("apply_request", {}, buffers=[b"f", b"args"])
    later = engine.take()
    engine.answer(later)
    is_next_theirs = (request := engine.take()) is not None and request.header["msg_id"] in held_up
    conclude(
        given.count(waiting) == 2 and held_up and is_next_theirs,
        f"{len(held_up)} of the other client's tasks waited for that, with an engine idle",
    )
