from raw import Cluster, Engine, client, conclude

with Cluster() as cluster:
    a, b = Engine(cluster, "engine-a"), Engine(cluster, "engine-b")
    tasks = client(cluster, "task")
    ids = [tasks.send("apply_request", {}, metadata={"targets": ["engine-a"]}, buffers=[b"f", b"args"])["msg_id"]]
    request = a.take()
    for _ in range(3):
        ids.append(tasks.send("apply_request", {}, metadata={"after": ids[-1:]}, buffers=[b"f", b"args"])["msg_id"])
    # Whatever ends meanwhile turns the queue around.
    tasks.send("apply_request", {}, metadata={"targets": ["engine-b"]}, buffers=[b"f", b"args"])
    b.answer(b.take())
    tasks.receive()
    a.answer(request, {"status": "error", "ename": "E", "evalue": "", "traceback": []})
    told = set()
    while (reply := tasks.receive(3)) is not None:
        told.add(reply.parent["msg_id"])
    missing = [place for place, msg_id in enumerate(ids) if msg_id not in told]
    conclude(missing, f"of a chain of four tasks whose first failed, number {missing} are told nothing")
