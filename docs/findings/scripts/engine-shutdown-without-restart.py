from raw import Cluster, client, conclude

with Cluster(engines=1) as cluster:
    (engine,) = cluster.wait_for_engines(1).values()
    reply = client(cluster, "control").ask("shutdown_request", {}, to=[engine.encode()])
    still = client(cluster, "query").ask("connection_request", {}).content["engines"]
    conclude(reply is None and still, "a shutdown as documented, with empty content, is ignored")
