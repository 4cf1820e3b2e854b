import time

from raw import Cluster, Engine, Heart, Peer, client, conclude

with Cluster("--HeartMonitor.max_heartmonitor_misses=3", "--IPController.registration_timeout=3") as cluster:
    asks = Peer(cluster, "query")

    def is_listed(seconds):
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            if "engine-a" in asks.ask("connection_request", {}).content["engines"].values():
                return True
            time.sleep(0.05)
        return False

    def return_after(pause, what):
        """Let the heart stop until the Hub gives the engine up; then whether it is listed again when it asks."""
        engine.heart.stop()
        while is_listed(0.01):
            time.sleep(0.05)
        print(f"  the heart of engine-a has stopped, and the Hub has given it up; {what}")
        if pause:
            engine.heart = Heart(cluster, engine.name)
            time.sleep(pause)
        hub.ask("registration_request", {"uuid": "engine-a"})
        if not pause:
            engine.heart = Heart(cluster, engine.name)
        found = is_listed(8)
        print(f"  engine-a is {'listed again' if found else 'not listed within 8 s, though it beats'}")
        return found

    engine = Engine(cluster, "engine-a")
    hub = client(cluster, "query")
    first = return_after(0, "it asks, then its heart beats")
    second = return_after(2, "its heart beats for two seconds, then it asks")
    conclude(
        first and not second,
        "that an engine whose heart beats already is never registered, though its request is accepted",
    )
