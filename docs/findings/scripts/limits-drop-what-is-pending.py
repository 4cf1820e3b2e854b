import time

from raw import Cluster, Engine, Peer, client, conclude

with Cluster("--DictDB.record_limit=20") as cluster:
    a, b = Engine(cluster), Engine(cluster)
    mux, hub = Peer(cluster, "mux"), client(cluster, "query")
    msg_id = mux.send("apply_request", {}, to=[b.name], buffers=[b"f", b"args"])["msg_id"]
    request = b.take()
    a.shell.is_quiet = True
    for _ in range(40):
        mux.send("apply_request", {}, to=[a.name], buffers=[b"f", b"args"])
        a.answer(a.take())
        mux.receive()
    b.answer(request)
    mux.receive()
    time.sleep(0.5)
    status = hub.ask("result_request", {"msg_ids": [msg_id], "status_only": True})
    result = hub.ask("result_request", {"msg_ids": [msg_id]})
    conclude(
        status.content.get("completed") == [msg_id] and result.content["status"] == "error",
        "the record of a message that was still pending was dropped, and its result is nowhere",
    )
