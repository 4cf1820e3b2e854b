import time

from raw import Cluster, Engine, client, conclude

with Cluster("--TaskScheduler.hwm=1") as cluster:
    engine = Engine(cluster)
    one, other, hub = client(cluster, "task"), client(cluster, "task"), client(cluster, "query")
    one.send("apply_request", {}, buffers=[b"f", b"args"])
    first = engine.take()
    print("  while the engine works, a task waits, whose id comes again; around it three of somebody else")
    theirs = [other.send("apply_request", {}, buffers=[b"f", b"args"])["msg_id"]]
    waiting = one.send("apply_request", {}, buffers=[b"f", b"args"])["msg_id"]
    theirs.append(other.send("apply_request", {}, buffers=[b"f", b"args"])["msg_id"])
    one.send("apply_request", {}, header={"msg_id": waiting}, metadata={"label": "again"}, buffers=[b"f", b"args"])
    theirs.append(other.send("apply_request", {}, buffers=[b"f", b"args"])["msg_id"])
    hub.is_quiet = True
    while len(hub.ask("result_request", {"msg_ids": theirs, "status_only": True}).content.get("pending", ())) < 3:
        time.sleep(0.25)
    engine.answer(first)
    given = []
    while (request := engine.take(5)) is not None:
        given.append(request.header["msg_id"])
        engine.answer(request)
    print("\n".join(line for line in cluster.log().splitlines() if line.startswith("KeyError")))
    one.send("apply_request", {}, buffers=[b"f", b"args"])
    is_at_work = engine.take() is not None
    lost = set(theirs) - set(given)
    conclude(
        given.count(waiting) == 2 and lost and is_at_work,
        f"of the other client's tasks {len(lost)} are given to nobody, though the engine is idle and gets later ones",
    )
