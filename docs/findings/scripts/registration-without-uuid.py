from raw import Cluster, client, conclude

with Cluster() as cluster:
    hub = client(cluster, "query")
    reply = hub.ask("registration_request", {})
    other = hub.ask("connection_request", {})
    conclude(
        reply is None and other is not None,
        "a registration without uuid is never answered, while the Hub serves others",
    )
