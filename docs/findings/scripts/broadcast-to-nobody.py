from raw import Cluster, client, conclude

with Cluster() as cluster:
    broadcast, answers = client(cluster, "broadcast"), []
    for is_coalescing in (True, False):
        about = {"targets": [], "is_broadcast": True, "is_coalescing": is_coalescing}
        broadcast.send("apply_request", {}, buffers=[b"f", b"args"], metadata=about)
        answers.append(broadcast.receive(8))
    conclude(answers == [None, None], "a broadcast to nobody is neither answered nor refused")
