import time

from raw import Cluster, client, conclude

with Cluster(engines=1) as cluster:
    (engine,) = cluster.wait_for_engines(1).values()
    to, control, mux = [engine.encode()], client(cluster, "control"), client(cluster, "mux")
    code = {
        "silent": False,
        "store_history": True,
        "user_expressions": {},
        "allow_stdin": False,
        "stop_on_error": False,
    }
    mux.ask("execute_request", code | {"code": "1"}, to=to, seconds=15)
    running = mux.send("execute_request", code | {"code": "import time; time.sleep(1.5)"}, to=to)["msg_id"]
    queued = [mux.send("execute_request", code | {"code": "2"}, to=to)["msg_id"] for _ in range(2)]
    time.sleep(0.5)
    reply = control.ask("abort_request", {"msg_ids": []}, to=to)
    told = set()
    while (message := mux.receive(4)) is not None:
        told.add(message.parent["msg_id"])
    lost = [msg_id for msg_id in queued if msg_id not in told]
    conclude(running in told and lost, f"{len(lost)} of 2 requests that were aborted are never answered")
