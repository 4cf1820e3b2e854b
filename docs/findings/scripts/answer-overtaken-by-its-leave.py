import time

from raw import Cluster, Engine, client, conclude

TRIES = 5

with Cluster("--IPController.registration_timeout=1") as cluster:
    lost = 0
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
        lost += result["status"] == "error"
    conclude(lost, f"of {TRIES} requests whose engine answered and then left, the Hub has not the answers to {lost}")
