from raw import Cluster, Engine, client, conclude

with Cluster() as cluster:
    engines = [Engine(cluster, name) for name in ("e1", "e2", "e3")]
    sender = client(cluster, "broadcast")
    targets = [["e1", 0], ["e2", 1], ["e3", 2]]
    metadata = {"targets": targets, "is_broadcast": True, "is_coalescing": True}
    sender.send("apply_request", {}, metadata=metadata, buffers=[b"f", b"args"])
    requests = [engine.take() for engine in engines]
    engines[1].leave()
    for engine, request in ((engines[0], requests[0]), (engines[2], requests[2])):
        engine.answer(request)
    conclude(sender.receive(12) is None, "one engine has died, and the replies of the others never arrive")
