import socket
import threading
import time
from pathlib import Path

from raw import Cluster, Engine, Peer, client, conclude

# The scheduler and the heart monitor are told where relays listen, and the relays where the Hub does: otherwise this is
# ipcontroller.
CONTROLLER = """
from pathlib import Path
from ipyparallel.controller import app

class Controller(app.IPController):
    def get_python_scheduler_args(self, name, *args, **options):
        found = super().get_python_scheduler_args(name, *args, **options)
        if name == "task":
            Path("notifications").write_text(found["not_addr"])
            found["not_addr"] = "tcp://127.0.0.1:{notifications}"
        return found

usual = app.start_heartmonitor
def start_heartmonitor(*args, monitor_url, **options):
    Path("monitor").write_text(monitor_url)
    usual(*args, monitor_url="tcp://127.0.0.1:{monitor}", **options)
app.start_heartmonitor = start_heartmonitor

Controller.launch_instance()
"""


class Relay:
    """Passes on the bytes of connections, until it is cut; then it breaks them, and takes no new ones.

    While it swallows, what whoever has connected says goes nowhere.
    """

    def __init__(self):
        self.server = socket.create_server(("127.0.0.1", 0))
        self.port = self.server.getsockname()[1]
        self.open, self.is_cut, self.target = [], False, None
        self.swallows, self.swallowed = False, 0
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            near, _ = self.server.accept()
            if self.is_cut:
                near.close()
                continue
            host, port = self.target().removeprefix("tcp://").split(":")
            far = socket.create_connection((host, int(port)))
            self.open += [near, far]
            for ends in ((near, far), (far, near)):
                threading.Thread(target=self.pass_on, args=ends, daemon=True).start()

    def pass_on(self, source, target):
        try:
            while data := source.recv(65536):
                if self.swallows and source in self.open[::2]:
                    self.swallowed += len(data)
                else:
                    target.sendall(data)
        except OSError:
            pass

    def cut(self):
        self.is_cut = True
        for each in self.open:
            each.shutdown(socket.SHUT_RDWR)
            each.close()
        self.open.clear()

    def mend(self):
        self.is_cut = False


class Relayed(Cluster):
    def start(self, *command):
        if command[:2] == ("-m", "ipyparallel.controller"):
            code = CONTROLLER
            for name, relay in (("notifications", notifications), ("monitor", monitor)):
                relay.target = (Path(self.folder.name) / name).read_text
                code = code.replace(f"{{{name}}}", str(relay.port))
            command = ("-c", code, *command[2:])
        return super().start(*command)


def listed():
    return sorted(hub.ask("connection_request").content["engines"].values())


def is_known(engine):
    """Whether a task for this engine is given to it; whoever is not known is refused."""
    tasks.send("apply_request", {}, buffers=[b"f", b"args"], metadata={"targets": [engine.uuid]})
    request = engine.take(1)
    if request is not None:
        engine.answer(request)
    answer = tasks.receive()
    return answer is not None and answer.content["status"] == "ok"


def leave(engine):
    """Die."""
    engine.heart.stop()
    for peer in (engine.query, engine.shell):
        peer.socket.close()


def wait_until(is_so, seconds=30):
    deadline = time.monotonic() + seconds
    while not is_so():
        assert time.monotonic() < deadline
        time.sleep(0.05)


notifications, monitor = Relay(), Relay()
with Relayed() as cluster:
    tasks, hub = client(cluster, "task"), Peer(cluster, "query")
    first = Engine(cluster, "engine-first")
    assert is_known(first)
    print("  the connection of the scheduler to the Hub's notifications breaks")
    notifications.cut()
    new = Engine(cluster, "engine-new")
    leave(first)
    wait_until(lambda: "engine-first" not in listed())
    print("  meanwhile engine-new has come, and engine-first has died; the connection is made again")
    notifications.mend()
    wait_until(lambda: notifications.open)
    later, count = None, 0
    while later is None:
        count += 1
        later = Engine(cluster, f"engine-later-{count}")
        if not is_known(later):
            later.leave()
            later = None
    print(f"  the scheduler hears of {later.uuid}; the Hub lists {listed()}; nothing is done for a minute")
    time.sleep(60)
    is_missed = not is_known(new)
    tasks.send("apply_request", {}, buffers=[b"f", b"args"])
    tasks.send("apply_request", {}, buffers=[b"f", b"args"])
    later.answer(later.take())
    answers = [tasks.receive(), tasks.receive(15)]
    print("  engine-new dies; what the heart monitor says of that is lost on its way to the Hub")
    monitor.swallows = True
    leave(new)
    wait_until(lambda: monitor.swallowed)
    monitor.swallows = False
    last = Engine(cluster, "engine-last")
    time.sleep(15)
    print(f"  engine-last has come, 15 s pass, and the Hub lists {listed()}")
    conclude(
        is_missed and answers[1] is None and "engine-new" in listed(),
        "what the scheduler, or the Hub, has not heard once it never learns",
    )
