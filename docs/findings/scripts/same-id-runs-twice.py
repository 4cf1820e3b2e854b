import time

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
    print("  a broadcast with one reply for all; when one engine has answered, the same message comes again")
    broadcast = client(cluster, "broadcast")
    about = {"targets": [[a.uuid, a.id], [b.uuid, b.id]], "is_broadcast": True, "is_coalescing": True}
    frames = broadcast.frames(broadcast.header("apply_request"), {}, metadata=about, buffers=[b"f", b"args"])
    broadcast.socket.send_multipart(frames)
    a.answer(a.take())
    waiting = b.take()
    # The answer is on its way through the tree.
    time.sleep(1)
    broadcast.socket.send_multipart(frames)
    again = [a.take(), b.take()]
    print("  engines drop a message whose signature they have seen; the other one has only to answer the first")
    b.answer(waiting)
    gathered = broadcast.receive(8)
    conclude(
        first.header["msg_id"] == second.header["msg_id"] and replies[1] is None and all(again) and gathered is None,
        "one task ran twice, and one reply is lost; a repeated broadcast has none",
    )
