import time

from raw import Cluster, Engine, client, conclude

with Cluster() as cluster:
    engines = [Engine(cluster), Engine(cluster)]
    tasks, hub = client(cluster, "task"), client(cluster, "query")
    metadata = {"targets": [engines[0].uuid], "label": "again", "retries": 2, "after": [], "follow": []}
    msg_id = tasks.send("apply_request", {}, metadata=metadata, buffers=[b"f", b"args"])["msg_id"]
    engines[0].answer(engines[0].take())
    tasks.receive()
    time.sleep(0.5)
    hub.ask("resubmit_request", {"msg_ids": [msg_id]})
    again = engines[1].take(1) or engines[0].take(1)
    print(f"  metadata of what was submitted again: {again.metadata}")
    conclude(
        not again.metadata.get("targets"), "a task that is submitted again has lost its targets, retries and label"
    )
