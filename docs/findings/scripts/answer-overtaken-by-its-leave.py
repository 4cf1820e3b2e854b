import time

from raw import Cluster, Engine, client, conclude

TRIES = 20

with Cluster("--IPController.registration_timeout=1") as cluster:
    lost = False
    for _ in range(TRIES):
        engine, mux, hub = Engine(cluster), client(cluster, "mux"), client(cluster, "query")
        msg_id = mux.send("apply_request", {}, to=[engine.name], buffers=[b"f", b"args"])["msg_id"]
        engine.answer(engine.take())
        engine.leave()
        mux.receive()
        hub.is_quiet = True
        asked, deadline = {"msg_ids": [msg_id], "status_only": True}, time.monotonic() + 10
        while hub.ask("result_request", asked).content.get("completed") != [msg_id] and time.monotonic() < deadline:
            time.sleep(0.25)
        hub.is_quiet = False
        found = hub.ask("result_request", {"msg_ids": [msg_id]}).content.get(msg_id)
        result = found["result_content"] if found else {"status": "error", "evalue": "it is still pending"}
        print(f"  the Hub has as its result: {result['status']} {result.get('evalue', '')}")
        lost = result["status"] == "error"
        if lost:
            break
    conclude(lost, "a request was answered, and the Hub says that its engine, which then left, died with it")
