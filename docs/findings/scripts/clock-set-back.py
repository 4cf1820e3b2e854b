import time
from pathlib import Path

import zmq
from raw import Cluster, Engine, Heart, Peer, conclude

# What a clock on the wall says in the processes of the controller, once it is set back by two minutes.
CONTROLLER = """
import os, time
usual = time.time
time.time = lambda: usual() - (120 if os.path.exists("set-back") else 0)
from ipyparallel.controller.app import main
main()
"""


class SetBack(Cluster):
    def start(self, *command):
        if command[:2] == ("-m", "ipyparallel.controller"):
            command = ("-c", CONTROLLER, *command[2:])
        return super().start(*command)


def pings(seconds):
    """How many pings come in so many seconds."""
    count, deadline = 0, time.monotonic() + seconds
    while (left := deadline - time.monotonic()) > 0:
        if ear.socket.poll(1000 * left):
            ear.socket.recv_multipart()
            count += 1
    return count


def listed():
    return sorted(hub.ask("connection_request").content["engines"].values())


with SetBack() as cluster:
    hub = Peer(cluster, "query")
    ear = Peer(cluster, "hb_ping", kind=zmq.SUB, address=cluster.address("hb_ping", for_engines=True))
    engine = Engine(cluster, "engine-a")
    print(f"  pings in 4 s, one being due each 0.2 s: {pings(4)}; listed: {listed()}")
    (Path(cluster.folder.name) / "set-back").touch()
    pings(1)
    print("  the clock is set back by two minutes")
    engine.heart.stop()
    newcomer = Peer(cluster, "query", identity=b"engine-b", session="engine-b")
    newcomer.is_quiet = False
    newcomer.ask("registration_request", {"uuid": "engine-b"})
    Heart(cluster, b"engine-b")
    count = pings(30)
    print(f"  pings in 30 s: {count}; engine-a is dead, engine-b is there and beats; listed: {listed()}")
    conclude(
        count == 0 and listed() == ["engine-a"],
        "nobody is pinged, who has died stays listed, and who comes is not registered",
    )
