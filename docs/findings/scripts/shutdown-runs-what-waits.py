import time

from raw import Cluster, client, conclude

shown = False
for _ in range(4):
    with Cluster(engines=1) as cluster:
        (engine,) = cluster.wait_for_engines(1).values()
        to, control, mux = [engine.encode()], client(cluster, "control"), client(cluster, "mux")
        code = {"silent": False, "store_history": True, "user_expressions": {}, "allow_stdin": False}
        mux.ask("execute_request", code | {"code": "1"}, to=to, seconds=15)
        mux.send("execute_request", code | {"code": "import time; time.sleep(1.5)"}, to=to)
        queued = [mux.send("execute_request", code | {"code": "2"}, to=to)["msg_id"] for _ in range(2)]
        time.sleep(0.5)
        control.ask("shutdown_request", {"restart": False}, to=to)
        while (message := mux.receive(4)) is not None:
            shown = shown or (message.parent["msg_id"] in queued and message.content["status"] == "ok")
    if shown:
        break
conclude(shown, "after the shutdown was answered, a queued request was still run")
