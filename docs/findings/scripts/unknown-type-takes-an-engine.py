from raw import Cluster, client, conclude

with Cluster(engines=1) as cluster:
    cluster.wait_for_engines(1)
    first, second = client(cluster, "task"), client(cluster, "task")
    task = {"code": "1 + 1", "silent": False, "user_expressions": {}}
    before = first.ask("execute_request", task, seconds=20)
    second.send("dance_request", {})
    after = first.ask("execute_request", task, seconds=20)
    conclude(
        before is not None and after is None,
        "after one request of an unknown type from somebody else, the only engine is given no task any more",
    )
