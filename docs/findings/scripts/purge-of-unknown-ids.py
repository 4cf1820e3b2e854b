from raw import Cluster, client, conclude

with Cluster() as cluster:
    asker = client(cluster, "query")
    reply = asker.ask("purge_request", {"msg_ids": ["never-sent"]})
    conclude(reply.content["status"] == "ok", "a purge of what never was is reported as done")
