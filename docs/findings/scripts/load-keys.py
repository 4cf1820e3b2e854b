from raw import Cluster, Engine, client, conclude

with Cluster() as cluster:
    engines = [Engine(cluster), Engine(cluster)]
    reply = client(cluster, "query").ask("load_request", {"targets": [0, 1]})
    conclude(
        "0" not in reply.content and "b''" in reply.content, "the loads are keyed by as many zero bytes as the id says"
    )
