import time

from raw import Cluster, Engine, client, conclude

with Cluster() as cluster:
    engine, mux, hub = Engine(cluster), client(cluster, "mux"), client(cluster, "query")
    requests = [mux.send("apply_request", {}, to=[engine.name], buffers=[b"f", b"args"]) for _ in range(2)]
    engine.answer(engine.take())
    mux.receive()
    time.sleep(0.5)
    reply = hub.ask("db_request", {"query": {"completed": {"$gte": "2000-01-01T00:00:00.000000Z"}}, "keys": ["msg_id"]})
    conclude(reply.content["status"] == "error", "a question about times fails as long as anything is pending")
