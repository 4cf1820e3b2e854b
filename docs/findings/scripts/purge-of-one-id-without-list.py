import time

from raw import Cluster, Engine, client, conclude

with Cluster() as cluster:
    engine, mux, hub = Engine(cluster), client(cluster, "mux"), client(cluster, "query")
    msg_id = mux.send("apply_request", {}, to=[engine.name], buffers=[b"f", b"args"])["msg_id"]
    request = engine.take()
    while hub.ask("result_request", {"msg_ids": [msg_id], "status_only": True}).content.get("pending") != [msg_id]:
        time.sleep(0.05)
    purge = hub.ask("purge_request", {"msg_ids": msg_id})
    engine.answer(request)
    mux.receive()
    time.sleep(1)
    result = hub.ask("result_request", {"msg_ids": [msg_id]})
    conclude(
        purge.content["status"] == "ok" and result.content["status"] == "error",
        "the record of a running message was purged",
    )
