"""The warden of an engine: the parent of its process, in front of its control socket.

The parent is forked before any ZeroMQ context exists; it learns the engine's number when that has registered, and from
then on passes control messages on, delivers signals, and tells the Hub at once when its child is gone. The child ends
when the parent does.
"""

import contextlib
import os
import select
import signal
import socket
import sys
from typing import Any, Final

import zmq

from conformance.reference.engine import EngineProcess
from conformance.reference.env import Log, RealEnv
from conformance.reference.shell import Loop, Shell
from conformance.reference.sockets import Curve, bind, here, make
from conformance.reference.supervisor import Gone, Pair, name_process
from protocol.channels import socket_for
from protocol.connection import EngineFile
from protocol.roles.base import Finished, Run
from protocol.roles.engine import EngineConfig
from protocol.roles.warden import CHILD, Warden, WardenConfig
from protocol.wire import ReplayMemory
from protocol.world import SECOND

#: Milliseconds that last words get; the one about an engine that died spares the Hub ten missed heartbeats.
LINGER: Final = 3000
#: The same for an engine that ended in order, and so has said it itself.
SHORT_LINGER: Final = 300
#: Nanoseconds in which the engine must end when its warden is told to.
PATIENCE: Final = 3 * SECOND
LOCAL: Final = "tcp://127.0.0.1"


class WardenProcess:
    """A warden in this process, and its engine in a child; `run_until_end` is for the main thread."""

    def __init__(self, file: EngineFile, config: EngineConfig) -> None:
        self.file = file
        self.config = config
        self._log = Log(f"warden {config.uuid[:8]}")
        self._child = 0
        self._status: int | None = None
        self._curve = Curve(file.curve_serverkey.encode()) if file.curve_serverkey else None
        self._wakeup, self._wakeup_write = os.pipe()
        for end in (self._wakeup, self._wakeup_write):
            os.set_blocking(end, False)

    def run_until_end(self) -> int:
        """Run both until the engine has ended; its exit status."""
        ours, theirs = socket.socketpair()
        sys.stdout.flush()
        sys.stderr.flush()
        self._child = os.fork()
        if self._child == 0:
            self._be_engine(ours, Pair(theirs))
        theirs.close()
        name_process("warden")
        self._pair = Pair(ours)
        signal.set_wakeup_fd(self._wakeup_write, warn_on_full_buffer=False)
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGCHLD):
            # Any handler will do: it is the wakeup that counts.
            signal.signal(number, lambda *_: None)
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        try:
            self._watch()
        finally:
            self._context.destroy(linger=SHORT_LINGER)
            if self._status is None:
                os.kill(self._child, signal.SIGKILL)
                self._reap(is_patient=True)
        assert self._status is not None
        # As shells tell it: a signal is no status of its own.
        return self._status if self._status >= 0 else 128 - self._status

    def _be_engine(self, other: socket.socket, pair: Pair) -> None:
        status = 1
        try:
            other.close()
            os.close(self._wakeup)
            os.close(self._wakeup_write)
            name_process("engine")
            status = EngineProcess(self.file, self.config, parent=pair).run_until_end()
            sys.stdout.flush()
            sys.stderr.flush()
        except BaseException as error:
            self._log.failure("the engine", error)
        finally:
            # What the parent has to clean up is not the child's.
            os._exit(status)

    # -- the parent --------------------------------------------------------------------------------------------------

    def _watch(self) -> None:
        down = make(self._context, socket_for("warden-link", "warden"))
        link = None
        if self._curve is not None:
            # The key of messages is empty behind CURVE, so the way between the two needs it, too.
            public, secret = zmq.curve_keypair()
            link = Curve(public, secret)
            link.bind(down)
        port = bind(down, [LOCAL])
        with contextlib.suppress(Gone):
            self._pair.tell(control=f"{LOCAL}:{port}", server_key=link.server_key.decode() if link else "")
        number = self._await_number()
        if number is None:
            return
        up = make(self._context, socket_for("control", "warden"), identity=self._identity, curve=self._curve)
        up.connect(self.file.address("control", here=here()))
        self._shell = Shell(
            self._role(number), {"up": up, "down": down}, self.file.codec(ReplayMemory()), log=self._log, runner=self
        )
        self._loop = Loop()
        self._loop.add(self._shell)
        self._loop.watch(self._wakeup, self._read_signals)
        self._loop.watch(self._pair.fileno(), self._read_pair)
        self._shell.start()
        # The child may have ended while nobody looked.
        self._notice_end()
        self._loop.run()
        self._loop.close(LINGER if self._status else SHORT_LINGER)

    @property
    def _identity(self) -> bytes:
        return self.config.uuid.encode()

    def _role(self, number: int) -> Warden:
        config = WardenConfig(uuid=self.config.uuid, engine_id=number, patience=PATIENCE)
        return Warden(config, RealEnv(f"{self.config.uuid}-warden"))

    def _await_number(self) -> int | None:
        """The number that the engine was given, or None if it has ended before."""
        while not self._reap():
            found, _, _ = select.select([self._wakeup, self._pair.fileno()], [], [])
            if self._wakeup in found and self._signals() & {signal.SIGTERM, signal.SIGINT}:
                os.kill(self._child, signal.SIGTERM)
            if self._pair.fileno() in found:
                try:
                    for line in self._pair.lines():
                        if "id" in line:
                            return int(line["id"])
                except Gone:
                    self._reap(is_patient=True)
        return None

    def _signals(self) -> set[int]:
        with contextlib.suppress(BlockingIOError):
            return set(os.read(self._wakeup, 4096))
        return set()

    def _reap(self, *, is_patient: bool = False) -> bool:
        if self._status is None:
            pid, status = os.waitpid(self._child, 0 if is_patient else os.WNOHANG)
            if pid:
                self._status = os.waitstatus_to_exitcode(status)
        return self._status is not None

    def _read_signals(self) -> None:
        if self._signals() & {signal.SIGTERM, signal.SIGINT}:
            self._shell.stop()
        self._notice_end()

    def _notice_end(self) -> None:
        if self._reap():
            # Opened for one last message.
            query = make(self._context, socket_for("query", "warden"), curve=self._curve)
            query.connect(self.file.address("registration", here=here()))
            self._loop.attach(self._shell, "query", query)
            self._shell.deliver(Finished(CHILD, self._status))

    def _read_pair(self) -> None:
        try:
            for line in self._pair.lines():
                if "id" in line:
                    # Registered again: under this number it has to be reported.
                    role = self._role(int(line["id"]))
                    role.thaw(self._shell.role.freeze())
                    self._shell.role = role
        except Gone:
            self._loop.forget(self._pair.fileno())

    # -- jobs --------------------------------------------------------------------------------------------------------

    def run(self, effect: Run) -> None:
        """Deliver a signal to the child."""
        self._shell.deliver(Finished(effect.job, self._signal(effect.message.content.get("sig"))))

    def _signal(self, wanted: Any) -> str | None:
        """Send a signal that is named or numbered; what is wrong with it, or None."""
        try:
            number = signal.Signals[wanted] if isinstance(wanted, str) else signal.Signals(wanted)
        except (KeyError, ValueError):
            return f"there is no signal {wanted!r:.40}"
        if self._status is not None:
            return "the engine's process has ended"
        os.kill(self._child, number)
        return None
