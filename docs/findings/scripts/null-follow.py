from raw import Cluster, Engine, client, conclude

with Cluster() as cluster:
    engine, tasks = Engine(cluster), client(cluster, "task")
    tasks.send("apply_request", {}, metadata={"after": None}, buffers=[b"f", b"args"])
    engine.answer(engine.take())
    tasks.receive()
    tasks.send("apply_request", {}, metadata={"follow": None}, buffers=[b"f", b"args"])
    conclude(
        engine.take(2) is None and tasks.receive(2) is None,
        "`after: null` means nothing, `follow: null` loses the task",
    )
