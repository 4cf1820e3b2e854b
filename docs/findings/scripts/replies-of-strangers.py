from raw import Cluster, Engine, client, conclude

with Cluster() as cluster:
    a, b = Engine(cluster, "engine-a"), Engine(cluster, "engine-b")
    tasks = client(cluster, "task")
    tasks.send("apply_request", {}, metadata={"targets": ["engine-a"]}, buffers=[b"f", b"args"])
    request = a.take()
    b.answer(request)
    first = tasks.receive()
    a.answer(request)
    second = tasks.receive(2)
    for _ in range(2):
        tasks.send("apply_request", {}, metadata={"targets": ["engine-b"]}, buffers=[b"f", b"args"])
    both = [b.take(2), b.take(2)]
    conclude(
        first is not None and second is None and None not in both,
        "the answer of an engine that was never asked is passed on, and that engine then has two tasks at once",
    )
