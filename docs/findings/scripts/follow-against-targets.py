from raw import Cluster, Engine, client, conclude

with Cluster() as cluster:
    a, b = Engine(cluster, "engine-a"), Engine(cluster, "engine-b")
    tasks = client(cluster, "task")
    msg_id = tasks.send("apply_request", {}, metadata={"targets": ["engine-a"]}, buffers=[b"f", b"args"])["msg_id"]
    a.answer(a.take())
    tasks.receive()
    tasks.send("apply_request", {}, metadata={"follow": [msg_id], "targets": ["engine-b"]}, buffers=[b"f", b"args"])
    conclude(tasks.receive(4) is None and b.take(0.5) is None, "a task that can run nowhere waits for ever")
