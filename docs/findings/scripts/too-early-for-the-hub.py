import time

from raw import Cluster, Engine, Peer, client, conclude


def submit_at_once(cluster):
    # Ask again for the port every millisecond, so that the task is there as soon as the scheduler is.
    cluster.task = Peer(cluster, "task", is_quiet=False)
    cluster.task.socket.disconnect(cluster.address("task"))
    cluster.task.socket.reconnect_ivl = 1
    cluster.task.socket.connect(cluster.address("task"))
    cluster.msg_id = cluster.task.send("apply_request", {}, buffers=[b"f", b"args"])["msg_id"]


for attempt in range(1, 11):
    with Cluster(early=submit_at_once) as cluster:
        engine = Engine(cluster)
        request = engine.take(10)
        # The scheduler has told the Hub of it before it gave it to the engine. Time enough:
        time.sleep(2)
        hub = client(cluster, "query")
        question = {"msg_ids": [cluster.msg_id], "status_only": True}
        if hub.ask("result_request", question).content["status"] == "ok":
            print(f"attempt {attempt}: the Hub has heard of it in time")
            continue
        engine.answer(request)
        has_result = cluster.task.receive().content["status"] == "ok"
        time.sleep(2)
        is_unknown = hub.ask("result_request", question).content["status"] == "error"
        counted = hub.ask("queue_request", {"targets": None}).content[str(engine.id)]["tasks"]
        conclude(
            has_result and is_unknown and counted == 1,
            "its client has the result, the Hub has never heard of it, and counts it as the engine's as long as that lives",
        )
conclude(False, "the Hub was quicker each time")
