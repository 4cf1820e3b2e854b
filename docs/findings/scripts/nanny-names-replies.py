from raw import Cluster, client, conclude

with Cluster(engines=1) as cluster:
    (engine,) = cluster.wait_for_engines(1).values()
    reply = client(cluster, "control").ask("signal_request", {"sig": "SIGCONT"}, to=[engine.encode()])
    conclude(reply.type == "_request", "the reply to signal_request has the type `_request`")
