"""What the scripts beside this file share: ipyparallel started in a folder of its own, and signed messages on raw sockets.

Only pyzmq and ipyparallel are needed, nothing of ippkit. Each script says at its end whether it has seen what it is
about: `shown` (exit status 0) or `not shown` (exit status 1).
"""

import hmac
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import uuid
from datetime import datetime, timezone
from importlib.metadata import version
from pathlib import Path

import zmq

DELIMITER = b"<IDS|MSG>"


class Cluster:
    """A controller of ipyparallel, and perhaps engines, in a folder that goes when the script ends."""

    def __init__(self, *options, engines=0, heart_ms=200, early=None):
        self.folder = tempfile.TemporaryDirectory(prefix="finding-")
        self.processes = []
        self.context = zmq.Context()
        self.hearts = []
        #: Called with the cluster as soon as its files are there, before the Hub answers.
        self.early = early or (lambda cluster: None)
        self.options = [f"--HeartMonitor.period={heart_ms}", *options]
        self.start_controller()
        for _ in range(engines):
            self.start("-m", "ipyparallel.engine", f"--file={self.security / 'ipcontroller-engine.json'}")
        print(f"ipyparallel {version('ipyparallel')}, pyzmq {version('pyzmq')}, Python {sys.version.split()[0]}")

    @property
    def security(self):
        return Path(self.folder.name) / "profile_default" / "security"

    def start(self, *command):
        environment = os.environ | {"IPYTHONDIR": self.folder.name}
        log = open(Path(self.folder.name) / f"log-{len(self.processes)}.txt", "wb")
        process = subprocess.Popen(
            [sys.executable, *command],
            env=environment,
            stdout=log,
            stderr=log,
            cwd=self.folder.name,
            start_new_session=True,
        )
        self.processes.append(process)
        return process

    def start_controller(self):
        for file in self.security.glob("*.json") if "--restore" not in self.options else ():
            file.unlink()
        self.controller = self.start("-m", "ipyparallel.controller", *self.options)
        deadline = time.monotonic() + 30
        while True:
            try:
                self.client_file = json.loads((self.security / "ipcontroller-client.json").read_text())
                self.engine_file = json.loads((self.security / "ipcontroller-engine.json").read_text())
                break
            except (OSError, ValueError):
                if time.monotonic() > deadline or self.controller.poll() is not None:
                    raise SystemExit("the controller has not started:\n" + self.log()) from None
                time.sleep(0.05)
        self.key = self.client_file["key"].encode()
        self.early(self)
        # The Hub answers when its loop runs; the queues are there before that.
        if Peer(self, "query").ask("connection_request", {}, seconds=60) is None:
            raise SystemExit("the Hub does not answer:\n" + self.log())

    def crash(self):
        """Kill the controller and all its children, which would keep its ports."""
        os.killpg(self.controller.pid, signal.SIGKILL)
        self.controller.wait()

    def log(self):
        """What all processes have printed."""
        return "\n".join(path.read_text(errors="replace") for path in sorted(Path(self.folder.name).glob("log-*.txt")))

    def address(self, name, *, for_engines=False):
        file = self.engine_file if for_engines else self.client_file
        port = file[name]
        return f"{file['interface']}:{port[0] if isinstance(port, list) else port}"

    def wait_for_engines(self, count, seconds=30):
        """The engines as the Hub lists them, id -> uuid, once there are so many."""
        client, deadline = Peer(self, "query"), time.monotonic() + seconds
        while time.monotonic() < deadline:
            engines = client.ask("connection_request", {}).content["engines"]
            if len(engines) >= count:
                return engines
            time.sleep(0.1)
        raise SystemExit("the engines have not registered:\n" + self.log())

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for heart in self.hearts:
            heart.stop()
        for process in reversed(self.processes):
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)
        for process in self.processes:
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
        self.context.destroy(linger=0)
        self.folder.cleanup()


class Message:
    """A message that has come: `identities`, `header`, `parent`, `metadata`, `content`, `buffers`."""

    def __init__(self, frames):
        at = frames.index(DELIMITER)
        self.frames = frames
        self.identities = frames[:at]
        self.header, self.parent, self.metadata, self.content = map(json.loads, frames[at + 2 : at + 6])
        self.buffers = frames[at + 6 :]
        self.type = self.header["msg_type"]

    def __repr__(self):
        return f"{self.type} {json.dumps(self.content)[:300]}"


class Peer:
    """One socket with a session of its own, which says what it sends and receives."""

    def __init__(self, cluster, channel, *, identity=b"", kind=zmq.DEALER, address="", session=None, is_quiet=True):
        self.cluster = cluster
        self.channel = channel
        self.session = session or uuid.uuid4().hex
        self.sent = 0
        self.is_quiet = is_quiet
        self.socket = cluster.context.socket(kind)
        self.socket.linger = 0
        if identity:
            self.socket.routing_id = identity
        name = {"query": "registration"}.get(channel, channel)
        self.socket.connect(address or cluster.address(name))
        if kind == zmq.SUB:
            self.socket.subscribe(b"")

    def header(self, kind, **changes):
        self.sent += 1
        now = datetime.now(timezone.utc).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        header = {
            "msg_id": f"{self.session}_{self.sent}",
            "msg_type": kind,
            "username": "raw",
            "session": self.session,
            "date": now,
            "version": "5.4",
        }
        return {key: value for key, value in (header | changes).items() if value is not ...}

    def frames(self, header, content, *, parent=None, metadata=None, to=(), buffers=()):
        """The frames of a message under a valid signature; `content` may be bytes that are sent as they are."""
        parts = [
            part if isinstance(part, bytes) else json.dumps(part).encode()
            for part in (header, parent or {}, metadata or {}, content)
        ]
        signature = hmac.new(self.cluster.key, b"".join(parts), "sha256").hexdigest().encode()
        return [*to, DELIMITER, signature, *parts, *buffers]

    def send(self, msg_type, content=None, **fields):
        """Send a message; its header."""
        changes = fields.pop("header", {})
        header = self.header(msg_type, **changes)
        self.socket.send_multipart(self.frames(header, {} if content is None else content, **fields))
        self.say(
            f"sent: {msg_type} {content!r:.300}"
            + (f" metadata {fields['metadata']!r:.200}" if fields.get("metadata") else "")
        )
        return header

    def receive(self, seconds=3.0):
        """The next message, or None."""
        if not self.socket.poll(1000 * seconds):
            self.say(f"received: nothing within {seconds:g} s")
            return None
        message = Message(self.socket.recv_multipart())
        self.say(f"received: {message}")
        return message

    def ask(self, msg_type, content=None, seconds=5.0, **fields):
        """Send a request and give its answer, or None."""
        header = self.send(msg_type, content, **fields)
        deadline = time.monotonic() + seconds
        while (left := deadline - time.monotonic()) > 0:
            message = self.receive(left)
            if message is not None and message.parent.get("msg_id") in (header["msg_id"], None):
                return message
        return None

    def say(self, text):
        if not self.is_quiet:
            print(f"  {self.channel:9} {text}")


def client(cluster, channel, **options):
    """A client on a queue, which says what passes."""
    return Peer(cluster, channel, is_quiet=False, **options)


class Engine:
    """An engine made by hand: it registers, its heart beats in a thread, and the script says what it answers."""

    def __init__(self, cluster, name=""):
        self.cluster = cluster
        self.uuid = name or f"engine-{uuid.uuid4().hex[:8]}"
        self.name = self.uuid.encode()
        self.query = Peer(cluster, "query", identity=self.name, session=self.uuid)
        self.id = self.query.ask("registration_request", {"uuid": self.uuid}).content["id"]
        self.shell = Peer(
            cluster,
            "mux",
            identity=self.name,
            kind=zmq.ROUTER,
            session=self.uuid,
            is_quiet=False,
            address=cluster.address("mux", for_engines=True),
        )
        self.shell.channel = f"engine {self.id}"
        self.shell.socket.connect(cluster.address("task", for_engines=True))
        leaves = cluster.engine_file["broadcast"]
        self.shell.socket.connect(f"{cluster.engine_file['interface']}:{leaves[self.id % len(leaves)]}")
        self.heart = Heart(cluster, self.name)
        deadline = time.monotonic() + 20
        while self.uuid not in self.query.ask("connection_request", {}).content["engines"].values():
            assert time.monotonic() < deadline, "the engine was not registered"
            time.sleep(0.05)

    def take(self, seconds=3.0):
        """The next request, or None."""
        return self.shell.receive(seconds)

    def answer(self, request, content=None, **metadata):
        """Answer a request: by default with ok."""
        content = content or {"status": "ok"}
        about = {
            "started": request.header["date"],
            "engine": self.uuid,
            "status": content["status"],
            "dependencies_met": True,
        } | metadata
        if request.metadata.get("is_broadcast"):
            about |= {key: request.metadata.get(key) for key in ("is_broadcast", "is_coalescing", "original_msg_id")}
        self.shell.send(
            request.type.replace("_request", "_reply"),
            content,
            parent=request.header,
            metadata=about,
            to=request.identities,
            buffers=[b"\x80\x04K*."] if content["status"] == "ok" else [],
        )

    def leave(self):
        """Take leave of the Hub, and stop beating."""
        self.query.send("unregistration_request", {"id": self.id})
        self.heart.stop()


class Heart:
    """Sends back what it is sent, in a thread, until it is stopped."""

    def __init__(self, cluster, identity):
        self.ear, self.voice = cluster.context.socket(zmq.SUB), cluster.context.socket(zmq.DEALER)
        self.ear.subscribe(b"")
        self.voice.routing_id = identity
        self.voice.linger = 0
        self.ear.connect(cluster.address("hb_ping", for_engines=True))
        self.voice.connect(cluster.address("hb_pong", for_engines=True))
        self.is_over = False
        self.thread = threading.Thread(target=self.run, daemon=True)
        cluster.hearts.append(self)
        self.thread.start()

    def run(self):
        while not self.is_over:
            if self.ear.poll(50):
                self.voice.send_multipart(self.ear.recv_multipart())
        self.ear.close(0)
        self.voice.close(0)

    def stop(self):
        self.is_over = True
        self.thread.join()


class Kernel:
    """A plain ipykernel, with a frontend on its sockets."""

    def __init__(self):
        self.folder = tempfile.TemporaryDirectory(prefix="finding-")
        path = Path(self.folder.name) / "kernel.json"
        sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(5)]
        ports = [each.getsockname()[1] for each in sockets]
        for each in sockets:
            each.close()
        names = ("shell_port", "iopub_port", "stdin_port", "control_port", "hb_port")
        file = dict(zip(names, ports, strict=True)) | {
            "transport": "tcp",
            "ip": "127.0.0.1",
            "key": "the-key-of-a-finding",
            "signature_scheme": "hmac-sha256",
        }
        path.touch(0o600)
        path.write_text(json.dumps(file))
        self.key = file["key"].encode()
        self.context = zmq.Context()
        self.file = file
        self.process = subprocess.Popen(
            [sys.executable, "-m", "ipykernel_launcher", "-f", str(path)],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            stdin=subprocess.DEVNULL,
            cwd=self.folder.name,
        )
        print(f"ipykernel {version('ipykernel')}, pyzmq {version('pyzmq')}, Python {sys.version.split()[0]}")
        self.iopub = self.peer("iopub", kind=zmq.SUB, is_quiet=True)
        if self.peer("shell", is_quiet=True).ask("kernel_info_request", {}, seconds=60) is None:
            raise SystemExit("the kernel does not answer")
        self.published(1)
        self.iopub.is_quiet = False

    def peer(self, channel, *, identity=b"", kind=zmq.DEALER, is_quiet=False):
        """A frontend on a channel."""
        address = f"tcp://127.0.0.1:{self.file[f'{channel}_port']}"
        return Peer(self, channel, identity=identity, kind=kind, address=address, is_quiet=is_quiet)

    def published(self, seconds):
        """What comes on IOPub until it is silent for so long."""
        found = []
        while (message := self.iopub.receive(seconds)) is not None:
            found.append(message)
        return found

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.wait()
        self.context.destroy(linger=0)
        self.folder.cleanup()


class Controller:
    """As much of a controller as a client needs, with sockets that the script answers on; no engine is there."""

    NAMES = ("registration", "notification", "mux", "task", "control", "iopub", "broadcast")

    def __init__(self, engines=("engine-a",)):
        self.context = zmq.Context()
        self.key = b"the-key-of-a-finding"
        self.sockets = {}
        self.folder = tempfile.TemporaryDirectory(prefix="finding-")
        ports = {}
        for name in self.NAMES:
            self.sockets[name] = self.context.socket(zmq.XPUB if name in ("notification", "iopub") else zmq.ROUTER)
            self.sockets[name].linger = 0
            ports[name] = self.sockets[name].bind_to_random_port("tcp://127.0.0.1")
        file = ports | {
            "interface": "tcp://127.0.0.1",
            "key": self.key.decode(),
            "ssh": "",
            "location": "localhost",
            "pack": "json",
            "unpack": "json",
            "signature_scheme": "hmac-sha256",
            "task_scheme": "leastload",
            "curve_serverkey": None,
        }
        self.path = Path(self.folder.name) / "ipcontroller-client.json"
        self.path.touch(0o600)
        self.path.write_text(json.dumps(file))
        self.engines = {str(number): uuid for number, uuid in enumerate(engines)}
        self.voice = Voice(self)
        print(f"ipyparallel {version('ipyparallel')}, pyzmq {version('pyzmq')}, Python {sys.version.split()[0]}")

    def client(self, **options):
        """An ipyparallel.Client of this controller, which answers its questions while it connects."""
        import ipyparallel

        made = []
        thread = threading.Thread(
            target=lambda: made.append(ipyparallel.Client(str(self.path), timeout=20, **options)), daemon=True
        )
        thread.start()
        while thread.is_alive():
            if (request := self.hear("registration", 0.05)) is not None:
                self.answer("registration", request, {"status": "ok", "engines": self.engines})
        # So that nothing that is published is lost.
        for name in ("notification", "iopub"):
            self.sockets[name].recv()
        return made[0]

    def hear(self, name, seconds=3.0):
        """The next message that a client sends on a channel, or None."""
        if not self.sockets[name].poll(1000 * seconds):
            return None
        return Message(self.sockets[name].recv_multipart())

    def answer(self, name, request, content, *, msg_type="", parent=None, metadata=None, frames=None):
        """Answer a request; `frames` is given the frames before they are sent, and gives others."""
        msg_type = msg_type or request.type.replace("_request", "_reply")
        made = self.voice.frames(
            self.voice.header(msg_type), content, metadata=metadata, parent=request.header if parent is None else parent
        )
        # On the queues the client names the engine, and is told by whom it is answered.
        self.sockets[name].send_multipart([*request.identities, *(frames(made) if frames else made)])

    def publish(self, name, msg_type, content):
        self.sockets[name].send_multipart(self.voice.frames(self.voice.header(msg_type), content))
        print(f"  published: {msg_type} {content}")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.context.destroy(linger=0)
        self.folder.cleanup()


class Voice:
    """Makes messages without a socket."""

    def __init__(self, cluster):
        self.cluster = cluster
        self.session = uuid.uuid4().hex
        self.sent = 0

    header = Peer.header
    frames = Peer.frames


def conclude(is_shown, sentence):
    """End the script."""
    print(f"{'shown' if is_shown else 'not shown'}: {sentence}")
    raise SystemExit(0 if is_shown else 1)
