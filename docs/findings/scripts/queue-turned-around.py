from raw import Cluster, Engine, client, conclude

with Cluster() as cluster:
    a, b = Engine(cluster, "engine-a"), Engine(cluster, "engine-b")
    tasks = client(cluster, "task")
    ids = [
        tasks.send("apply_request", {}, metadata={"targets": ["engine-a"]}, buffers=[b"f", b"args"])["msg_id"]
        for _ in range(4)
    ]
    request = a.take()
    tasks.send("apply_request", {}, metadata={"targets": ["engine-b"]}, buffers=[b"f", b"args"])
    b.answer(b.take())
    order = [request.header["msg_id"]]
    for _ in range(3):
        a.answer(request)
        request = a.take()
        order.append(request.header["msg_id"])
    places = [ids.index(msg_id) for msg_id in order]
    conclude(places != [0, 1, 2, 3], f"equal tasks, submitted as 0, 1, 2, 3, were run as {places}")
