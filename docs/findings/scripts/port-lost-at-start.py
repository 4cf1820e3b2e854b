import socket

from raw import Cluster, Engine, client, conclude

# Ports that are drawn at random are asked for, let go, and bound later by other processes. Here somebody has one of them.
with socket.create_server(("127.0.0.1", 0)) as somebody, socket.socket() as free:
    free.bind(("127.0.0.1", 0))
    ports = [free.getsockname()[1], somebody.getsockname()[1]]
    free.close()
    with Cluster("--ip=127.0.0.1", *(f"--IPController.engine_ports={port}" for port in ports)) as cluster:
        lost = [name for name, port in cluster.engine_file.items() if port == ports[1]]
        print(f"the port of {lost[0]} for engines is held by somebody else")
        engine = Engine(cluster)
        engine.shell.socket.connect(cluster.address(lost[0], for_engines=True))
        requests = client(cluster, lost[0])
        requests.send("apply_request", {}, to=[engine.uuid.encode()], buffers=[b"f", b"args"])
        is_silent = engine.take(5) is None and requests.receive(1) is None
        print("\n".join(line for line in cluster.log().splitlines() if "in use" in line))
        conclude(
            is_silent and cluster.controller.poll() is None,
            "the controller goes on without this queue, and tells nobody",
        )
