from raw import Cluster, Engine, client, conclude

with Cluster("--IPController.broadcast_scheduler_depth=0") as cluster:
    engines = [Engine(cluster, name) for name in ("e1", "e2")]
    sender = client(cluster, "broadcast")
    metadata = {"targets": [["e1", 0], ["e2", 1]], "is_broadcast": True, "is_coalescing": True}
    sender.send("apply_request", {}, metadata=metadata, buffers=[b"f", b"args"])
    for engine in engines:
        engine.answer(engine.take())
    reply = sender.receive()
    print(f"  broadcast_targets: {reply.metadata['broadcast_targets']}")
    conclude(
        reply.metadata["broadcast_targets"] == ["e1", "e2"], "the targets of a coalesced reply are names, not pairs"
    )
