import time

import ipyparallel
from raw import Cluster, Heart, Peer, client, conclude

with Cluster() as cluster:
    engine = Peer(cluster, "query", identity=b"etrue", is_quiet=False)
    engine.ask("registration_request", {"uuid": "etrue", "id": True})
    Heart(cluster, b"etrue")
    time.sleep(2)
    engines = client(cluster, "query").ask("connection_request", {}).content["engines"]
    try:
        ipyparallel.Client(str(cluster.security / "ipcontroller-client.json"), timeout=5).close()
        failure = ""
    except Exception as problem:
        failure = repr(problem)
    print(f"  engines: {engines}; ipyparallel.Client: {failure or 'connects'}")
    conclude(
        "True" in engines and failure, "an engine is listed under the id `True`, and no client can connect any more"
    )
