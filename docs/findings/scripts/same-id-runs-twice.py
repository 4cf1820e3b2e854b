from raw import Cluster, Engine, client, conclude

with Cluster() as cluster:
    a, b = Engine(cluster), Engine(cluster)
    tasks = client(cluster, "task")
    msg_id = tasks.send("apply_request", {}, buffers=[b"f", b"args"])["msg_id"]
    tasks.send("apply_request", {}, header={"msg_id": msg_id}, metadata={"label": "again"}, buffers=[b"f", b"args"])
    first, second = a.take(), b.take()
    a.answer(first)
    b.answer(second)
    replies = [tasks.receive(3), tasks.receive(3)]
    conclude(
        first.header["msg_id"] == second.header["msg_id"] and replies[1] is None,
        "one task ran twice, and one reply is lost",
    )
