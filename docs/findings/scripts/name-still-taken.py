import socket
import threading
import time

from raw import Cluster, Engine, Heart, Peer, conclude


class Relay:
    """Passes on bytes to a port, as a router between two networks does that may forget a connection."""

    def __init__(self, port):
        self.target = port
        self.server = socket.create_server(("127.0.0.1", 0))
        self.port = self.server.getsockname()[1]
        self.near, self.far, self.passed = [], [], 0
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            near, _ = self.server.accept()
            far = socket.create_connection(("127.0.0.1", self.target))
            self.near.append(near)
            self.far.append(far)
            for ends in ((near, far), (far, near)):
                threading.Thread(target=self.pass_on, args=ends, daemon=True).start()

    def pass_on(self, source, target):
        try:
            while data := source.recv(65536):
                target.sendall(data)
                self.passed += source in self.near
        except OSError:
            pass

    def forget(self):
        """Whoever has connected is told that the connection is broken; the other side is not."""
        self.near[-1].shutdown(socket.SHUT_RDWR)


def listed():
    return sorted(hub.ask("connection_request").content["engines"].values())


def is_listed(name, seconds=10):
    deadline = time.monotonic() + seconds
    while name not in listed() and time.monotonic() < deadline:
        time.sleep(0.05)
    return name in listed()


with Cluster() as cluster:
    hub = Peer(cluster, "query")
    relay = Relay(cluster.engine_file["hb_pong"])
    cluster.engine_file["hb_pong"] = relay.port
    engine = Engine(cluster, "engine-a")
    print(f"  the Hub lists {listed()}")
    relay.forget()
    deadline = time.monotonic() + 20
    while "engine-a" in listed() or len(relay.near) < 2:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    before = relay.passed
    print(
        "  the heart has lost its connection, and the heart monitor has not; the heart has connected again, and beats"
    )
    print(f"  the Hub lists {listed()}; the engine asks again")
    engine.query.is_quiet = False
    engine.query.ask("registration_request", {"uuid": "engine-a"})
    is_back = is_listed("engine-a")
    print(f"  10 s later: pongs sent meanwhile {relay.passed - before}; the Hub lists {listed()}")
    relay.far[0].close()
    time.sleep(3)
    engine.query.ask("registration_request", {"uuid": "engine-a"})
    is_back = is_back or is_listed("engine-a")
    print(f"  the old connection is gone; 10 s later the Hub lists {listed()}")
    other = Peer(cluster, "query", identity=b"engine-b", session="engine-b")
    other.ask("registration_request", {"uuid": "engine-b"})
    Heart(cluster, b"engine-b")
    is_there = is_listed("engine-b")
    print(f"  another engine, on the same way: the Hub lists {listed()}")
    conclude(
        not is_back and is_there and relay.passed > before,
        "a heart that connects again while its old connection seems to be there is never heard again",
    )
