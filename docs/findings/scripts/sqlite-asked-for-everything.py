import time

from raw import Cluster, Engine, client, conclude

with Cluster("--sqlitedb") as cluster:
    engine, mux, hub = Engine(cluster), client(cluster, "mux"), client(cluster, "query")
    mux.send("apply_request", {}, to=[engine.name], buffers=[b"f", b"args"])
    engine.answer(engine.take())
    mux.receive()
    time.sleep(0.5)
    replies = [
        hub.ask("db_request", {"query": {}, "keys": ["msg_id"]}),
        hub.ask("result_request", {"msg_ids": []}),
        hub.ask("resubmit_request", {"msg_ids": []}),
        hub.ask("purge_request", {}),
    ]
    conclude(
        all(reply.content["status"] == "error" for reply in replies),
        "an empty query, which means everything, fails, and so do empty lists",
    )
