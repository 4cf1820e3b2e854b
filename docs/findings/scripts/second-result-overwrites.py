import time

from raw import Cluster, Engine, client, conclude

with Cluster() as cluster:
    engine, mux, hub = Engine(cluster), client(cluster, "mux"), client(cluster, "query")
    msg_id = mux.send("apply_request", {}, to=[engine.name], buffers=[b"f", b"args"])["msg_id"]
    request = engine.take()
    engine.answer(request)
    mux.receive()
    time.sleep(0.5)
    first = hub.ask("result_request", {"msg_ids": [msg_id]}).content[msg_id]["result_content"]
    engine.answer(request, {"status": "error", "ename": "Second", "evalue": "", "traceback": []})
    time.sleep(0.5)
    second = hub.ask("result_request", {"msg_ids": [msg_id]}).content[msg_id]["result_content"]
    conclude(
        first["status"] == "ok" and second["status"] == "error", "the same result, asked for again, is another one"
    )
