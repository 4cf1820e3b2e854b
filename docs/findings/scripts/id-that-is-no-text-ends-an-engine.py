import time

from raw import Cluster, client, conclude

CODE = {"code": "1", "silent": False, "store_history": True, "user_expressions": {}, "allow_stdin": False}

with Cluster(engines=1) as cluster:
    (engine,) = cluster.wait_for_engines(1).values()
    to, bad, good = [engine.encode()], client(cluster, "mux"), client(cluster, "mux")
    good.ask("execute_request", CODE, to=to, seconds=20)
    process = cluster.processes[1]
    for _ in range(20):
        bad.send("execute_request", CODE, to=to, header={"msg_id": ["a list"]})
        good.ask("execute_request", CODE, to=to, seconds=3)
        time.sleep(0.5)
        if process.poll() is not None:
            break
    print(f"  the engine's process: exit status {process.poll()}")
    conclude(process.poll() is not None, "a request whose id is a list has ended an engine")
