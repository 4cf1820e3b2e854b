from raw import Cluster, client, conclude

with Cluster(engines=1) as cluster:
    (engine,) = cluster.wait_for_engines(1).values()
    to, control, mux = [engine.encode()], client(cluster, "control"), client(cluster, "mux")
    before = control.ask("abort_request", {"msg_ids": ["x"]}, to=to)
    control.send("abort_request", {"msg_ids": ["x"]}, to=to, header={"msg_type": 17})
    after = control.ask("abort_request", {"msg_ids": ["x"]}, to=to)
    code = {"code": "1", "silent": False, "store_history": True, "user_expressions": {}, "allow_stdin": False}
    works = mux.ask("execute_request", code, to=to, seconds=10)
    conclude(
        before is not None and after is None and works is not None, "the engine works on, and hears nothing on control"
    )
