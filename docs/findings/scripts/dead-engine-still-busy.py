import time

from raw import Cluster, Engine, client, conclude

with Cluster("--IPController.registration_timeout=1") as cluster:
    engine, mux, hub = Engine(cluster), client(cluster, "mux"), client(cluster, "query")
    msg_id = mux.send("apply_request", {}, to=[engine.name], buffers=[b"f", b"args"])["msg_id"]
    engine.take()
    engine.leave()
    asked = {"msg_ids": [msg_id], "status_only": True}
    while hub.ask("result_request", asked).content.get("completed") != [msg_id]:
        time.sleep(0.25)
    queues = hub.ask("queue_request", {"targets": None, "verbose": True}).content
    conclude(
        msg_id in queues[str(engine.id)]["queue"],
        "a request that ended with the death of its engine still waits in that engine's queue",
    )
