import time

from raw import Cluster, Engine, client, conclude

with Cluster("--sqlitedb", "--SQLiteDB.table=records", "--restore") as cluster:
    engine, mux = Engine(cluster), client(cluster, "mux")
    msg_id = mux.send("apply_request", {}, to=[engine.name], buffers=[b"f", b"args"])["msg_id"]
    engine.answer(engine.take())
    mux.receive()
    hub = client(cluster, "query")
    time.sleep(0.5)
    before = hub.ask("result_request", {"msg_ids": [msg_id]})
    time.sleep(3)
    cluster.crash()
    cluster.start_controller()
    after = client(cluster, "query").ask("result_request", {"msg_ids": [msg_id]}, seconds=30)
    print("\n".join(f"  {line}" for line in cluster.log().splitlines() if "match" in line))
    conclude(
        before.content["status"] == "ok" and after.content["status"] == "error",
        "after a restart no result of before is known",
    )
