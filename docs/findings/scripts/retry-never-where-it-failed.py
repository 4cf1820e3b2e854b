from raw import Cluster, Engine, client, conclude

with Cluster() as cluster:
    engine, tasks = Engine(cluster), client(cluster, "task")
    tasks.send("apply_request", {}, metadata={"retries": 1}, buffers=[b"f", b"args"])
    engine.answer(engine.take(), {"status": "error", "ename": "E", "evalue": "", "traceback": []})
    again, reply = engine.take(3), tasks.receive(3)
    conclude(again is None and reply is None, "a task that failed on the only engine is neither run again nor answered")
