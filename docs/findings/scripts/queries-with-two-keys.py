from raw import Cluster, Engine, client, conclude

with Cluster() as cluster:
    engine, mux, hub = Engine(cluster), client(cluster, "mux"), client(cluster, "query")
    msg_id = mux.send("apply_request", {}, to=[engine.name], buffers=[b"f", b"args"])["msg_id"]
    engine.answer(engine.take())
    mux.receive()
    by_one = hub.ask("db_request", {"query": {"engine_uuid": engine.uuid}, "keys": ["queue"]})
    by_two = hub.ask("db_request", {"query": {"engine_uuid": engine.uuid, "queue": "mux"}, "keys": ["msg_id"]})
    hub.ask("purge_request", {"engine_ids": [engine.id]})
    after = hub.ask("result_request", {"msg_ids": [msg_id]})
    conclude(
        by_one.content["records"][0]["queue"] == "mux"
        and not by_two.content["records"]
        and after.content["status"] == "ok",
        "the record is found by either key and not by both, and a purge by engine, which asks for two things, purges nothing",
    )
