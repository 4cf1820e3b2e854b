import time

from raw import Cluster, Engine, Peer, client, conclude

UNMET = {"status": "error", "ename": "UnmetDependency", "evalue": "", "traceback": []}

with Cluster() as cluster:
    engines = [Engine(cluster, "engine-a"), Engine(cluster, "engine-b")]
    tasks, hub = client(cluster, "task"), Peer(cluster, "query", is_quiet=False)
    msg_id = tasks.send("apply_request", {}, metadata={}, buffers=[b"f", b"args"])["msg_id"]
    first = next(each for each in engines if (request := each.take(1)) is not None)
    first.answer(request, UNMET, dependencies_met=False)
    second = next(each for each in engines if each is not first)
    second.answer(second.take())
    tasks.receive()
    while not hub.ask("result_request", {"msg_ids": [msg_id], "status_only": True}).content.get("completed"):
        time.sleep(0.1)
    queues = hub.ask("queue_request", {"targets": None, "verbose": True}).content
    ghosts = [number for number, lists in queues.items() if isinstance(lists, dict) and msg_id in lists["tasks"]]
    conclude(ghosts, f"a task that is completed is still among the tasks of engine {ghosts}, which had refused it")
