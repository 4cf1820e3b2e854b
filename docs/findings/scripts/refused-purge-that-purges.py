import time

from raw import Cluster, Engine, client, conclude

with Cluster() as cluster:
    engine, mux, hub = Engine(cluster), client(cluster, "mux"), client(cluster, "query")
    msg_id = mux.send("apply_request", {}, to=[engine.name], buffers=[b"f", b"args"])["msg_id"]
    engine.answer(engine.take())
    mux.receive()
    while hub.ask("result_request", {"msg_ids": [msg_id], "status_only": True}).content.get("completed") != [msg_id]:
        time.sleep(0.05)
    purge = hub.ask("purge_request", {"msg_ids": [msg_id], "engine_ids": [99]})
    result = hub.ask("result_request", {"msg_ids": [msg_id]})
    conclude(
        purge.content["status"] == "error" and result.content["status"] == "error",
        "a purge that was refused has purged",
    )
