import time

from raw import Cluster, Engine, client, conclude

with Cluster("--sqlitedb") as cluster:
    engine, mux, hub = Engine(cluster), client(cluster, "mux"), client(cluster, "query")
    mux.send("apply_request", {}, to=[engine.name], buffers=[b"f", b"args"])
    engine.answer(engine.take())
    mux.receive()
    time.sleep(0.5)
    reply = hub.ask("db_request", {"query": {}, "keys": ["msg_id"]})
    conclude(reply.content["status"] == "error", "an empty query, which means everything, fails")
