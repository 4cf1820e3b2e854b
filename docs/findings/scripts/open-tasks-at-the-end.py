from raw import Cluster, Engine, client, conclude

with Cluster() as cluster:
    engine, tasks = Engine(cluster), client(cluster, "task")
    for _ in range(2):
        tasks.send("apply_request", {}, buffers=[b"f", b"args"])
    engine.take()
    cluster.controller.terminate()
    status = cluster.controller.wait(20)
    conclude(
        tasks.receive(3) is None and status == 0, "the controller ends in good order, and says nothing of open tasks"
    )
