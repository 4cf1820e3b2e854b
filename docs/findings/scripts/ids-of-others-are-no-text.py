from raw import Cluster, Engine, Peer, client, conclude

with Cluster() as cluster:
    tasks, hub = client(cluster, "task"), Peer(cluster, "query", is_quiet=False)
    engine = Engine(cluster)
    tasks.send("apply_request", {}, buffers=[b"f", b"args"], header={"msg_id": 0.5})
    engine.answer(engine.take())
    tasks.receive()
    answer = hub.ask("history_request")
    conclude(0.5 in answer.content["history"], "an id that is no text is in everybody's history")
