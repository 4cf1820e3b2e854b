import time

from raw import Cluster, Engine, client, conclude

with Cluster() as cluster:
    engine, tasks = Engine(cluster, "engine-a"), client(cluster, "task")
    engine.leave()
    time.sleep(1)
    msg_id = tasks.send("apply_request", {}, metadata={"targets": ["engine-a"]}, buffers=[b"f", b"args"])["msg_id"]
    before = tasks.receive(6)
    Engine(cluster, "engine-b")
    after = tasks.receive(5)
    conclude(
        before is None and after is not None and after.content.get("ename") == "ImpossibleDependency",
        "that its engine is gone is told only when another engine registers",
    )
