import time

from raw import Cluster, Engine, Peer, client, conclude


def die(engine):
    engine.heart.stop()
    for peer in (engine.query, engine.shell):
        peer.socket.close()


def listed():
    return sorted(Peer(cluster, "query").ask("connection_request").content["engines"].values())


with Cluster("--restore") as cluster:
    first, second = Engine(cluster, "engine-first"), Engine(cluster, "engine-second")
    print(f"  the Hub lists {listed()}; the controller is killed, then engine-first dies")
    cluster.crash()
    die(first)
    cluster.start_controller()
    print(f"  the controller is started again, and lists {listed()}")
    time.sleep(5)
    tasks, mux = client(cluster, "task"), client(cluster, "mux")
    for _ in range(2):
        tasks.send("apply_request", {}, buffers=[b"f", b"args"])
    second.answer(second.take())
    answers = [tasks.receive(), tasks.receive(15)]
    mux.send("apply_request", {}, to=[b"engine-first"], buffers=[b"f", b"args"])
    mux.receive(15)
    print("  engine-second, which has beaten since, dies")
    die(second)
    time.sleep(15)
    print(f"  after 15 s the Hub lists {listed()}")
    conclude(
        answers[1] is None and listed() == ["engine-first"],
        "an engine that died while the controller was down is listed for ever, and given tasks",
    )
