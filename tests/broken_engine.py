"""Our own engine with one mistake in it, as the argument after the connection file names it (`none`: without).

Run as `broken_engine.py FILE FAULT`. Mistakes in calls stand in `engine_faults`; those of hearts, signals, keys and
processes are made here.
"""

import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import engine_faults
import zmq
from engine_mischief import FAULTS, A, C, H, R, S, X, fault

from conformance.reference import code, engine, objects, warden
from conformance.reference.env import new_id
from protocol.connection import EngineFile
from protocol.roles.base import Effect, Event
from protocol.roles.engine import Engine, EngineConfig
from protocol.wire import Codec

Frames = Sequence[bytes]

# -- hearts ------------------------------------------------------------------------------------------------------------


class SlowHeart:
    """A heart in Python, which may do anything with a ping: `answer` gives the messages that come back."""

    answer: Callable[[list[bytes]], Iterable[Frames]]
    #: The type of the socket that is pinged.
    ears = zmq.SUB

    def __init__(self, ping: str, pong: str, monitor: str, identity: bytes, _: object = None) -> None:
        self.addresses = ping, pong, monitor
        self.identity = identity
        self.context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        threading.Thread(target=self.beat, daemon=True).start()

    def beat(self) -> None:
        sub, dealer, watch = (self.context.socket(kind) for kind in (self.ears, zmq.DEALER, zmq.PUB))
        if self.ears == zmq.SUB:
            sub.subscribe(b"")
        dealer.routing_id = self.identity
        for socket, address in zip((sub, dealer, watch), self.addresses, strict=True):
            socket.connect(address)
        if self.ears != zmq.SUB:
            sub.send(b"\x01")
        while True:
            frames = sub.recv_multipart()
            for message in type(self).answer(frames):
                dealer.send_multipart(message)
            watch.send_multipart([b"", *frames])

    def stop(self) -> None:
        """It has no end of its own."""


def heart(answer: Callable[[list[bytes]], Iterable[Frames]], ears: int = zmq.SUB) -> Callable[[], None]:
    """Let hearts answer like this, and hear with a socket of this type."""

    def patch() -> None:
        body = {"answer": staticmethod(answer), "ears": ears}
        engine.DeviceHeart = type("Heart", (SlowHeart,), body)  # type: ignore[misc]

    return patch


def _while_idle(frames: list[bytes]) -> list[Frames]:
    return [] if WORKERS and WORKERS[0].is_busy else [frames]


def _another_identity() -> None:
    real = engine.DeviceHeart

    def made(ping: str, pong: str, monitor: str, _: bytes, *more: Any) -> Any:
        return real(ping, pong, monitor, b"another", *more)

    engine.DeviceHeart = made  # type: ignore[assignment, misc]


ECHO = """
import sys, zmq
context = zmq.Context()
ping, pong = context.socket(zmq.SUB), context.socket(zmq.DEALER)
ping.subscribe(b"")
pong.routing_id = sys.argv[3].encode()
ping.connect(sys.argv[1])
pong.connect(sys.argv[2])
while True:
    pong.send_multipart(ping.recv_multipart())
"""


def _in_another_process() -> None:
    class Outliving:
        def __init__(self, ping: str, pong: str, _: str, identity: bytes, __: object = None) -> None:
            # Its end is nobody's business but that of the test's supervisor.
            command = [sys.executable, "-c", ECHO, ping, pong, identity.decode()]
            subprocess.Popen(command, start_new_session=True)

        def stop(self) -> None:
            """It goes on."""

    engine.DeviceHeart = Outliving  # type: ignore[assignment, misc]


#: The tables whose faults this engine can have; a module adds its own when it is imported.
TABLES = (engine_faults,)
WORKERS: list[code.Worker] = []

fault(
    "heart-of-another",
    {
        f"{R}test_the_identity_on_registration_heart_mux_and_control_is_the_uuid": "registration.identity-is-uuid",
        f"{S}test_every_socket_that_tells_an_identity_tells_the_uuid": "registration.identity-is-uuid",
    },
    patch=_another_identity,
)
fault(
    "heart-hears-otherwise",
    {f"{S}test_the_sockets_are_of_the_usual_types": "heart-device.device-layout"},
    patch=heart(lambda ping: [ping], zmq.XSUB),
)
fault(
    "heart-in-python",
    {f"{H}test_the_heart_beats_while_the_interpreter_is_held": "heart-device.beats-when-locked"},
    patch=heart(lambda ping: [ping]),
)
fault(
    "heart-rests-at-work",
    {f"{H}test_the_heart_beats_while_code_runs": "heart-device.beats-when-busy"},
    patch=heart(_while_idle),
)
fault(
    "heart-outlives-its-engine",
    {
        f"{H}test_a_killed_engine_beats_no_more": "heart-device.ends-with-process",
        f"{H}test_an_engine_that_was_shut_down_ends_and_beats_no_more": "heart-device.ends-with-process",
    },
    patch=_in_another_process,
)

# -- processes and sockets ---------------------------------------------------------------------------------------------


def _never_ends() -> None:
    real = engine.EngineProcess.run_until_end

    def run(self: Any) -> int:
        real(self)
        while True:
            signal.pause()

    engine.EngineProcess.run_until_end = run  # type: ignore[method-assign]


def _early(what: str) -> Callable[[], None]:
    def patch() -> None:
        real = engine.EngineProcess._be_engine

        def be(self: Any) -> None:
            context = zmq.Context()
            mux = context.socket(zmq.ROUTER)
            mux.routing_id = self._identity
            if what == "mux":
                mux.connect(self.file.address("mux"))
            else:
                engine.DeviceHeart(
                    self.file.address("hb_ping"), self.file.address("hb_pong"), "tcp://127.0.0.1:9", self._identity
                )
            real(self)

        engine.EngineProcess._be_engine = be  # type: ignore[method-assign]

    return patch


def _not_for_tasks() -> None:
    real = engine.EngineProcess._open

    def opened(self: Any, name: str, *addresses: str) -> Any:
        task = self.file.address("task")
        return real(self, name, *(address for address in addresses if address != task))

    engine.EngineProcess._open = opened  # type: ignore[method-assign]


def _impatient() -> None:
    real = Engine._watch

    def watch(self: Any, now: int, effects: list[Effect]) -> None:
        if not self.pinged:
            self.missed = self.config.misses
        real(self, now, effects)

    Engine._watch = watch  # type: ignore[method-assign]


def _clears_nothing() -> None:
    code.Worker.clear = lambda self: self.namespace.setdefault("__name__", "__main__")  # type: ignore[method-assign, assignment]


def _forgetful() -> None:
    real = code.Worker._run

    def run(self: Any, effect: Any) -> None:
        self.clear()
        real(self, effect)

    code.Worker._run = run  # type: ignore[method-assign]


def _reads_nothing() -> None:
    code.NoInput.readline = lambda *_: "\n"  # type: ignore[method-assign, assignment]


def _no_keywords() -> None:
    real = objects.unpack
    code.objects.unpack = lambda *a: (*real(*a)[:2], {})  # type: ignore[assignment]


INTERRUPTS = f"{C}test_an_interrupt_ends_what_runs_and_the_engine_goes_on"
WAITS = f"{R}test_an_engine_waits_for_its_reply_and_then_serves"

fault("beats-too-early", {WAITS: "heart-device.starts-after-reply"}, patch=_early("heart"))
fault("connects-too-early", {WAITS: "registration.engine-connects-after-reply"}, patch=_early("mux"))
fault(
    "not-for-tasks",
    {f"{R}test_the_identity_on_the_task_queue_is_the_uuid": "registration.identity-is-uuid"},
    patch=_not_for_tasks,
)
fault(
    "never-ends",
    {
        f"{H}test_an_engine_that_was_shut_down_ends_and_beats_no_more": "heart-device.stops-cleanly",
        f"{C}test_a_shutdown_is_answered_and_the_engine_ends[TARGET-False]": "control.shutdown-exits",
    },
    patch=_never_ends,
)
fault(
    "impatient",
    {f"{H}test_an_engine_outlives_a_pause_of_the_pings": "heartbeat.engine-watches-pings"},
    patch=_impatient,
)
fault(
    "clears-nothing",
    {f"{C}test_a_clear_empties_the_namespace": "control.clear-empties-namespace"},
    patch=_clears_nothing,
)
fault("forgetful", {f"{X}test_clients_share_one_namespace_that_lasts": "apply.namespace-persists"}, patch=_forgetful)
fault(
    "reads-nothing",
    {f"{X}test_code_that_asks_for_input_fails_and_the_engine_goes_on[TARGET-forbidden]": "stdin.not-allowed-error"},
    patch=_reads_nothing,
)
fault(
    "drops-keywords",
    {f"{A}test_arguments_by_position_and_by_name_reach_the_function": "apply.calls-function"},
    patch=_no_keywords,
)

# -- signals, which the nanny delivers ---------------------------------------------------------------------------------


def signals(deliver: Callable[[Callable[[Any], str | None], Any], str | None]) -> Callable[[], None]:
    """Let the nanny do this with the signal that is wanted; it is given what really delivers one."""

    def patch() -> None:
        real = warden.WardenProcess._signal
        warden.WardenProcess._signal = lambda self, wanted: deliver(lambda sig: real(self, sig), wanted)  # type: ignore[method-assign]

    return patch


def _slowly(real: Callable[[Any], str | None], wanted: Any) -> str | None:
    # The mistake is the time it takes: more than the case allows.
    time.sleep(1.5)
    return real(wanted)


fault("delivers-no-signals", {f"{INTERRUPTS}[TARGET-2]": "control.signal-delivered"}, patch=signals(lambda _, __: None))
fault(
    "knows-no-names",
    {f"{INTERRUPTS}[TARGET-'SIGINT']": "control.signal-by-number-or-name"},
    patch=signals(lambda real, sig: "a number is wanted" if isinstance(sig, str) else real(sig)),
)
fault(
    "accepts-every-signal",
    {f"{C}test_a_signal_that_does_not_exist_is_refused[TARGET-{{'sig': 'SIGNOTHING'}}]": "control.signal-bad-refused"},
    patch=signals(lambda real, sig: real(sig) and None),
)
fault(
    "signals-slowly",
    {f"{C}test_a_signal_is_answered_while_the_interpreter_is_held": "control.signal-before-engine"},
    patch=signals(_slowly),
)


# -- a controller that comes back --------------------------------------------------------------------------------------


def _connects_once() -> None:
    real = engine.make

    def made(*arguments: Any, **more: Any) -> Any:
        zsocket = real(*arguments, **more)
        zsocket.reconnect_ivl = -1
        return zsocket

    engine.make = made


class LoyalHeart(SlowHeart):
    """Beats for its first monitor, and for no other."""

    answer = staticmethod(lambda ping: [ping])

    def beat(self) -> None:
        self.context.setsockopt(zmq.RECONNECT_IVL, -1)
        super().beat()


def _loyal_heart() -> None:
    engine.DeviceHeart = LoyalHeart  # type: ignore[assignment, misc]


COMES_BACK = f"{H}test_an_engine_goes_on_with_a_controller_that_comes_back"
fault("connects-once", {COMES_BACK: "registration.engine-outlives-controller"}, patch=_connects_once)
fault("loyal-heart", {COMES_BACK: "heart-device.outlives-monitor"}, patch=_loyal_heart)

# -- the connection file -----------------------------------------------------------------------------------------------


def _strict_about_files() -> None:
    real = engine.await_file

    def read(path: Path, *more: Any) -> Any:
        file = real(path, *more)
        if file.extra:
            sys.exit("the file has keys that nobody knows")
        return file

    engine.await_file = read


def signed(change: Callable[[Any], Codec]) -> Callable[[], None]:
    """Let the engine and its nanny sign with another codec than the file's."""

    def patch() -> None:
        EngineFile.codec = lambda self, *_: change(self)  # type: ignore[method-assign, misc, assignment]

    return patch


K = "test_engine_connection.py::"
fault(
    "strict-about-files",
    {f"{K}test_unknown_keys_of_the_file_are_ignored": "connection.file-extra-keys"},
    patch=_strict_about_files,
)
fault(
    "signs-as-always",
    {f"{K}test_messages_are_signed_as_the_file_says[TARGET-hmac-sha512]": "wire.signature-scheme"},
    patch=signed(lambda file: Codec(file.key.encode())),
)
fault(
    "signs-without-a-key",
    {f"{K}test_without_a_key_nothing_is_signed_and_everything_believed": "wire.empty-key-unsigned"},
    patch=signed(lambda file: Codec(file.key.encode() or b"a key of its own")),
)


# -- the process -------------------------------------------------------------------------------------------------------


def interpose(name: str) -> None:
    """Let a fault see what the engine gives."""
    leaves, real = FAULTS[name].leaves, Engine.handle
    if leaves is None:
        return

    def handle(self: Any, now: int, event: Event) -> Sequence[Effect]:
        return [after for effect in real(self, now, event) for after in leaves(self, effect)]

    Engine.handle = handle  # type: ignore[method-assign]


def main(file: Path, name: str) -> int:
    """Be the engine."""
    if name != "none":
        mistake = FAULTS[name]
        if mistake.patch:
            mistake.patch()
        interpose(name)
        made = code.Worker.__init__

        def remembered(self: code.Worker, *arguments: Any) -> None:
            made(self, *arguments)
            WORKERS.append(self)

        code.Worker.__init__ = remembered  # type: ignore[method-assign]
    config = EngineConfig(uuid=new_id(), timeout=1_000_000_000, misses=4)
    return warden.WardenProcess(engine.await_file(file), config).run_until_end()


if __name__ == "__main__":
    # Whoever looks up the faults by importing finds this module; here it is the program.
    sys.modules["broken_engine"] = sys.modules["__main__"]
    sys.exit(main(Path(sys.argv[1]), sys.argv[2]))
