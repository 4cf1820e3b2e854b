"""The reference engine: the role on real sockets in one thread, user code in the main thread, a heart in C.

The process may stand alone; then its control socket connects to the controller. With a warden as its parent (see
`warden`) it connects there instead, and ends when that is gone.
"""

import contextlib
import os
import signal
import threading
import time
from pathlib import Path
from typing import Final

import zmq

from conformance.files import look_at, read_connection_file
from conformance.reference.code import Mailbox, Worker
from conformance.reference.env import Log, RealEnv
from conformance.reference.heart import DeviceHeart
from conformance.reference.shell import Loop, Shell
from conformance.reference.sockets import Curve, here, make
from conformance.reference.supervisor import Gone, Pair
from protocol.channels import socket_for
from protocol.connection import ConnectionFileError, EngineFile
from protocol.roles.base import Finished, Run
from protocol.roles.engine import FAILED, Engine, EngineConfig
from protocol.wire import ReplayMemory

#: Seconds to wait for a connection file that is not there yet, or only half written.
FILE_PATIENCE: Final = 10.0
#: Seconds to wait for one that is there and cannot be used: its writer may only just be making it so.
SHORT_PATIENCE: Final = 1.0
#: Milliseconds that last replies get to leave the process; less than the patience of a warden.
LINGER: Final = 500
#: Seconds that interrupted code gets to end by itself when the engine ends.
CODE_PATIENCE: Final = 0.5
#: Seconds between two looks at something that cannot be waited for.
STEP: Final = 0.02


#: Why an engine failed: an event of its table, in words.
WHY: Final = {
    "refused": "the controller refused to register it (is its uuid in use, or its number too great?)",
    "no reply in time": "the controller did not answer its registration",
    "not connected": "it could not connect to the controller",
    "no pings": "it hears nothing of its controller",
}


class EngineError(Exception):
    """The engine cannot run; the text is one sentence for the user."""


def await_file(path: Path, patience: float = FILE_PATIENCE) -> EngineFile:
    """The engine file of a controller, which may only just be starting. Raises EngineError."""
    began = time.monotonic()
    is_told = False
    while True:
        try:
            return read_connection_file(path, EngineFile)
        except ConnectionFileError as error:
            found = look_at(path) if path.is_file() else None
            is_coming = found is None or not found.values
            waited = time.monotonic() - began
            if waited >= (patience if is_coming else min(SHORT_PATIENCE, patience)):
                raise EngineError(str(error)) from None
            if waited >= SHORT_PATIENCE and not is_told:
                Log("engine").say(f"waiting for {path}")
                is_told = True
        time.sleep(STEP)


class EngineProcess:
    """One engine in this process; `run_until_end` is for the main thread.

    `parent` leads to its warden, if it has one.
    """

    def __init__(self, file: EngineFile, config: EngineConfig, *, parent: Pair | None = None) -> None:
        self.file = file
        self.config = config
        self.status = 0
        self._parent = parent
        self._identity = config.uuid.encode()
        self._log = Log(f"engine {config.uuid[:8]}")
        self._curve = Curve(file.curve_serverkey.encode()) if file.curve_serverkey else None
        self._mailbox = Mailbox()
        self._worker = Worker(self._mailbox)
        self._wakeup, self._wakeup_write = os.pipe()
        for end in (self._wakeup, self._wakeup_write):
            os.set_blocking(end, False)
        self._heart: DeviceHeart | None = None
        self._leaf = ""
        #: The warden's address instead of the controller's, and the keys for the way there.
        self._control = ""
        self._link_curve: Curve | None = None

    def run_until_end(self) -> int:
        """Be an engine until it ends; its exit status."""
        # What counts is the byte in the pipe: the loop sees it even while the main thread waits in C.
        signal.set_wakeup_fd(self._wakeup_write, warn_on_full_buffer=False)
        signal.signal(signal.SIGTERM, lambda *_: None)
        if self._parent is not None:
            link = self._parent.line()
            self._control = link["control"]
            self._link_curve = Curve(link["server_key"].encode()) if link["server_key"] else None
        thread = threading.Thread(target=self._serve, name="engine-sockets")
        thread.start()
        self._worker.serve()
        thread.join()
        signal.set_wakeup_fd(-1)
        return self.status

    # -- the thread of the sockets -----------------------------------------------------------------------------------

    def _serve(self) -> None:
        try:
            self._be_engine()
        except Exception as error:
            self._log.failure("the sockets", error)
            self.status = 1
        self._worker.end()
        if self._worker.is_busy:
            signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)
            deadline = time.monotonic() + CODE_PATIENCE
            while self._worker.is_busy and time.monotonic() < deadline:
                time.sleep(STEP)
            if self._worker.is_busy:
                # Code that heeds no interrupt must not keep alive an engine that nobody reaches any more.
                os._exit(self.status)

    def _be_engine(self) -> None:
        context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self._context = context
        query = self._open("query", self.file.address("registration", here=here()))
        self._shell = Shell(
            Engine(self.config, RealEnv(self.config.uuid)),
            {"query": query},
            self.file.codec(ReplayMemory()),
            log=self._log,
            runner=self,
        )
        self._loop = Loop()
        self._loop.add(self._shell)
        self._loop.watch(self._mailbox.descriptor, self._read_mail)
        self._loop.watch(self._wakeup, self._read_signals)
        if self._parent is not None:
            self._loop.watch(self._parent.fileno(), self._read_parent)
        self._shell.start()
        self.status = self._loop.run()
        if self._heart is not None:
            self._heart.stop()
        self._loop.close(LINGER)
        context.term()
        if self.status == FAILED:
            engine = self._shell.role
            assert isinstance(engine, Engine)
            self._log.say(f"the engine ends, because {WHY[engine.ended_by]}")

    def _read_mail(self) -> None:
        for event in self._mailbox.fetch():
            self._shell.deliver(event)

    def _read_signals(self) -> None:
        with contextlib.suppress(BlockingIOError):
            if signal.SIGTERM in os.read(self._wakeup, 4096):
                self._shell.stop()

    def _read_parent(self) -> None:
        assert self._parent is not None
        try:
            self._parent.lines()
        except Gone:
            self._loop.forget(self._parent.fileno())
            self._shell.stop()

    # -- jobs --------------------------------------------------------------------------------------------------------

    def run(self, effect: Run) -> None:
        """Do what the role asks for: user code in the main thread, the rest here and now."""
        if effect.kind == "connect":
            self._mailbox.post(Finished(effect.job, self._connect(effect)))
        elif effect.kind == "clear":
            self._worker.clear()
            self._mailbox.post(Finished(effect.job, None))
        else:
            self._worker.put(effect)

    def _connect(self, effect: Run) -> str | None:
        """Open the sockets of a registered engine and start its heart; what went wrong, or None."""
        number = effect.message.content["id"]
        leaves = self.file.addresses("broadcast", here=here())
        leaf = leaves[number % len(leaves)]
        if self._parent is not None:
            with contextlib.suppress(Gone):
                self._parent.tell(id=number)
        if "shell" in self._shell.links:
            # Registered again, perhaps under another number, which has another leaf.
            if leaf != self._leaf:
                self._shell.links["shell"].zsocket.disconnect(self._leaf)
                self._shell.links["shell"].zsocket.connect(leaf)
                self._leaf = leaf
            return None
        self._leaf = leaf
        watch = self._open("heartbeat")
        port = watch.bind_to_random_port("tcp://127.0.0.1")
        opened = {
            "shell": self._open(
                "shell", self.file.address("mux", here=here()), self.file.address("task", here=here()), leaf
            ),
            "control": self._open("control", self._control or self.file.address("control", here=here())),
            "iopub": self._open("iopub", self.file.address("iopub", here=here())),
            "heartbeat": watch,
        }
        for name, zsocket in opened.items():
            self._loop.attach(self._shell, name, zsocket)
        self._heart = DeviceHeart(
            self.file.address("hb_ping", here=here()),
            self.file.address("hb_pong", here=here()),
            f"tcp://127.0.0.1:{port}",
            self._identity,
            self._curve,
        )
        return None

    def _open(self, name: str, *addresses: str) -> "zmq.Socket[bytes]":
        spec = Engine.SOCKETS[name]
        end = socket_for(spec.channel, "engine", side=spec.side)
        curve = self._link_curve if name == "control" and self._control else self._curve
        if end.attach == "bind":
            curve = None
        zsocket = make(self._context, end, identity=self._identity if end.identity.rule != "none" else b"", curve=curve)
        for address in addresses:
            zsocket.connect(address)
        return zsocket
