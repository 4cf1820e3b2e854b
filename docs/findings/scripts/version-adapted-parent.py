from raw import Cluster, client, conclude

with Cluster() as cluster:
    hub = client(cluster, "query")
    reply = hub.ask("connection_request", {}, header={"version": "4.1"})
    conclude(reply.parent["version"] != "4.1", "the parent header of the reply is not the header of the request")
