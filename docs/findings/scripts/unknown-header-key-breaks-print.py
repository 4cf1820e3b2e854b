from raw import Cluster, client, conclude

with Cluster(engines=1) as cluster:
    (engine,) = cluster.wait_for_engines(1).values()
    mux = client(cluster, "mux")
    code = {"code": "print(1)", "silent": False, "store_history": True, "user_expressions": {}, "allow_stdin": False}
    plain = mux.ask("execute_request", code, to=[engine.encode()], seconds=10)
    odd = mux.ask("execute_request", code, to=[engine.encode()], seconds=10, header={"of_tomorrow": [1]})
    conclude(
        plain.content["status"] == "ok" and odd.content["status"] == "error",
        "code that prints fails where the header of its request holds a list",
    )
