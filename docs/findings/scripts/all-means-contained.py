import time

from raw import Cluster, Engine, client, conclude

with Cluster() as cluster:
    engine, mux, hub = Engine(cluster), client(cluster, "mux"), client(cluster, "query")
    msg_id = mux.send("apply_request", {}, to=[engine.name], buffers=[b"f", b"args"])["msg_id"]
    engine.answer(engine.take())
    mux.receive()
    time.sleep(0.5)
    reply = hub.ask("db_request", {"query": {"msg_id": {"$all": [msg_id + " and more"]}}, "keys": ["msg_id"]})
    conclude(bool(reply.content.get("records")), "$all finds a value that is only contained in the one asked for")
