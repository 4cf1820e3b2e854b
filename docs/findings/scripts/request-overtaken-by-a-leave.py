import time

from raw import Cluster, Engine, client, conclude

MANY = 200
TRIES = 10

with Cluster("--IPController.registration_timeout=1") as cluster:
    busy = Engine(cluster)
    found = {}
    for _ in range(TRIES):
        engine, mux, hub = Engine(cluster), client(cluster, "mux"), client(cluster, "query")
        mux.is_quiet = True
        # So many copies wait for the Hub that it hears of the leave before it has read the last one.
        for _ in range(MANY):
            mux.send("apply_request", {}, to=[busy.name], buffers=[b"f", b"args"])
        mux.is_quiet = False
        msg_id = mux.send("apply_request", {}, to=[engine.name], buffers=[b"f", b"args"])["msg_id"]
        engine.take()
        engine.leave()
        # Until the Hub has read them all, and given up what an engine that has gone may still have had.
        time.sleep(3)
        found = hub.ask("result_request", {"msg_ids": [msg_id], "status_only": True}).content
        if found["status"] == "error":
            print(f"  the Hub says: {found['ename']}: {found['evalue']}")
            break
    conclude(
        found["status"] == "error", "an engine took a request and left, and the Hub says that there was no such request"
    )
