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
        while hub.ask("result_request", {"msg_ids": [msg_id], "status_only": True}).content.get("completed") != [
            msg_id
        ]:
            time.sleep(0.25)
        hub.is_quiet = False
        result = hub.ask("result_request", {"msg_ids": [msg_id]}).content[msg_id]["result_content"]
        print(f"  the Hub has as its result: {result['status']} {result.get('evalue', '')}")
        lost += result["status"] == "error"
    conclude(
        lost,
        f"of {TRIES} requests whose engine answered and then left, the Hub says for {lost} that the engine died with them",
    )
