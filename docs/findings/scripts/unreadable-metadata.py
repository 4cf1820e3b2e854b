from raw import Cluster, Engine, client, conclude

with Cluster() as cluster:
    engine, tasks = Engine(cluster), client(cluster, "task")
    silent = []
    for metadata in ({"after": 17}, {"follow": [["a"]]}, {"targets": 17}, {"timeout": "soon"}):
        tasks.send("apply_request", {}, metadata=metadata, buffers=[b"f", b"args"])
        silent.append(tasks.receive(1.5) is None)
    tasks.send("apply_request", {}, buffers=[b"f", b"args"])
    engine.answer(engine.take())
    conclude(
        all(silent) and tasks.receive() is not None,
        "tasks whose metadata cannot be read get no answer, while others are served",
    )
