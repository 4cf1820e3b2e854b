import time

from raw import Cluster, Engine, client, conclude

with Cluster() as cluster:
    engine, mux, hub = Engine(cluster), client(cluster, "mux"), client(cluster, "query")
    ids = []
    for _ in range(3):
        ids.append(mux.send("apply_request", {}, to=[engine.name], buffers=[b"f", b"args"])["msg_id"])
        engine.answer(engine.take())
        mux.receive()
    time.sleep(0.5)
    found = hub.ask("db_request", {"query": {"msg_id": {"$gt": ids[1]}}, "keys": ["msg_id"]}).content["records"]
    conclude([record["msg_id"] for record in found] == [ids[0]], "$gt finds what is smaller")
