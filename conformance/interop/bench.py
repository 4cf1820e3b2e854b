"""The processes of one row: a controller behind a relay, engines, and the client's process; and how they end.

    with Bench(row) as bench:
        failure = bench.run("direct.apply")

Whatever happens, every process is gone at the end, and every wait has a deadline. A bench never repairs what an ability
broke: after a failure the runner takes a fresh one.
"""

import contextlib
import json
import math
import os
import select
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from threading import Event
from typing import Any, Final, Self

import msgspec

from conformance.interop.ability import PATIENCE, Failure
from conformance.interop.rows import CONTROLLERS, ENGINES, Row
from conformance.relay.relay import Relay
from conformance.targets.command import Process, environment
from conformance.targets.descriptor import load
from conformance.targets.errors import TargetUnusable
from conformance.targets.process import start
from conformance.targets.tables import Timing

#: An ability that did not come back is given up after so many times the patience. Its own deadlines come before.
LIMIT: Final = 6.0
#: Seconds in which engines have to be there.
START: Final = 90.0
#: Seconds for which a heart may pause.
PAUSE: Final = 2.5
#: Seconds in which an engine has to end when it is told to.
GRACE: Final = 2.0
#: Seconds after which a wait looks whether somebody wants no more of it.
SLICE: Final = 0.2
CLIENT: Final = "the client"
#: They bear no messages, and their time should not depend on this process.
HEARTS: Final = ("heartbeat-ping", "heartbeat-pong")


class Unusable(Exception):
    """A row cannot be run: a party does not start. The text says which."""


class Halted(Exception):
    """Somebody wants no more of this."""


class Parties(msgspec.Struct, frozen=True, kw_only=True):
    """How the parties are started, and how long they are waited for.

    `controllers` has a descriptor for each kind, `engines` a command; `client` runs the client's process. `patience` is
    in seconds.
    """

    controllers: Mapping[str, str] = msgspec.field(default_factory=lambda: CONTROLLERS)
    engines: Mapping[str, tuple[str, ...]] = msgspec.field(default_factory=lambda: ENGINES)
    client: tuple[str, ...] = (sys.executable, "-m", "conformance.interop.worker")
    patience: float = PATIENCE


def _patient(timing: Timing) -> Timing:
    """The timers of a controller whose engines are real.

    Those of a descriptor are for raw peers, whose hearts beat at once. On a busy machine the heart of a real engine
    begins seconds after its registration, and pauses when others run; whoever is given up for that is never told.
    """
    misses = math.ceil(PAUSE * 1000 / timing.heartbeat_period_ms)
    return msgspec.structs.replace(timing, registration_timeout_s=round(START), allowed_misses=misses)


class Bench:
    """See the module. Raises Unusable if the row cannot be run, and Halted, from any wait, once `halt` is set."""

    def __init__(self, row: Row, parties: Parties | None = None, halt: Event | None = None) -> None:
        self.row = row
        self._halt = halt or Event()
        self._parties = parties or Parties()
        self._directory = Path(tempfile.mkdtemp(prefix="ippkit-")).resolve()
        self._engines: list[Process] = []
        self._started = 0
        self._worker: subprocess.Popen[bytes] | None = None
        self._unread = b""
        self._exit = contextlib.ExitStack()
        self._exit.callback(shutil.rmtree, self._directory, ignore_errors=True)
        try:
            self._begin()
        except BaseException:
            self.close()
            raise

    def _begin(self) -> None:
        try:
            target = load(self._parties.controllers[self.row.controller])
            # A descriptor is about some releases, because its deviations are; here any release will do.
            self.controller = start(msgspec.structs.replace(target, version=None, timing=_patient(target.timing)))
        except TargetUnusable as error:
            raise Unusable(f"row {self.row.name}: {error}") from None
        self._exit.callback(self.controller.stop)
        self.relay = self._exit.enter_context(Relay(skips=HEARTS))
        self._exit.callback(self._end_engines)
        self._exit.callback(self._end_worker)
        file = self.relay.join(CLIENT, self.controller.client, self._directory / "ipcontroller-client.json")
        shared = self._directory / "shared"
        shared.mkdir()
        first, *others = self.row.engines
        self._start_engine(first)
        with (self._directory / "client-stderr").open("wb") as log:
            self._worker = subprocess.Popen(  # noqa: S603 - our own command
                [*self._parties.client, self.row.client, str(file), str(shared), str(len(self.row.engines)),
                 str(self._parties.patience)],
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, cwd=self._directory,
                env=environment(self._directory), start_new_session=True,
            )  # fmt: skip
        if set(others) - {first}:
            # Whichever starts faster would have the first number, and abilities that need one engine take that.
            self._await(1)
        for kind in others:
            self._start_engine(kind)
        self.settle()

    def _await(self, count: int) -> None:
        deadline = time.monotonic() + START
        while not self._is_seen(count, deadline):
            pass

    def _is_seen(self, count: int, deadline: float) -> bool:
        """Whether the client sees so many engines. Raises Unusable if it is of no use, or after the deadline."""
        failure = self._ask({"settle": count}, START)
        if failure is not None and (failure.kind != "late" or time.monotonic() > deadline):
            raise Unusable(f"row {self.row.name}: {failure.text}{self._last_words()}")
        return failure is None

    # -- for the runner ------------------------------------------------------------------------------------------------

    def settle(self) -> None:
        """See to it that there are as many engines as at the beginning, and that the client sees them."""
        deadline = time.monotonic() + START
        most = self._started + len(self.row.engines)
        while True:
            # An engine that was told to end may be about to.
            for process in [each for each in self._engines if not each.is_running]:
                process.stop()
                self._engines.remove(process)
            for kind in self.row.engines[len(self._engines) :]:
                self._start_engine(kind)
            # One that ends as soon as it is started would be started for ever.
            if self._is_seen(len(self._engines), deadline if self._started <= most else 0.0):
                return

    def run(self, name: str) -> Failure | None:
        """Run an ability; how it failed, or None."""
        return self._ask({"run": name}, LIMIT * self._parties.patience)

    def processes(self) -> list[int]:
        """The ids of everything that runs (Linux; elsewhere only the client's)."""
        engines = [pid for engine in self._engines for pid in engine.processes()]
        return [*self.controller.processes(), *engines, *([self._worker.pid] if self._worker else [])]

    def close(self) -> None:
        """End every process, and remove the directory. May be called twice."""
        self._exit.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # -- processes -----------------------------------------------------------------------------------------------------

    def _start_engine(self, kind: str) -> None:
        self._started += 1
        name = f"engine-{self._started} ({kind})"
        directory = self._directory / f"engine-{self._started}"
        directory.mkdir()
        file = self.relay.join(name, self.controller.engine, directory / "ipcontroller-engine.json")
        command = [part.format(file=file) for part in self._parties.engines[kind]]
        self._engines.append(Process(command, directory, environment(directory), GRACE))

    def _end_engines(self) -> None:
        for engine in self._engines:
            engine.stop()

    def _end_worker(self) -> None:
        worker = self._worker
        if worker is None:
            return
        assert worker.stdin is not None
        assert worker.stdout is not None
        with contextlib.suppress(BrokenPipeError):
            self._tell({"end": True})
        with contextlib.suppress(BrokenPipeError):
            worker.stdin.close()
        try:
            worker.wait(GRACE)
        except subprocess.TimeoutExpired:
            worker.kill()
            worker.wait()
        worker.stdout.close()

    def _last_words(self) -> str:
        """The last line that each engine has said, and whether it has ended with that."""
        lines = [(each.is_running, each.output("stderr").strip().splitlines()) for each in self._engines]
        return "".join(f"; an engine {'said last' if runs else 'ended'}: {said[-1]}" for runs, said in lines if said)

    # -- the client's process ------------------------------------------------------------------------------------------

    def _ask(self, request: Mapping[str, object], seconds: float) -> Failure | None:
        deadline = time.monotonic() + seconds
        try:
            self._tell(request)
            while True:
                line = self._line(deadline)
                if "failure" in line:
                    return None if line["failure"] is None else msgspec.convert(line["failure"], Failure)
                self._tell({"answer": self._answer(line["ask"])})
        except TimeoutError:
            return Failure(kind="hung", text=f"the client did not come back within {seconds:g} s")
        except (BrokenPipeError, EOFError):
            return Failure(kind="ended", text="the client's process ended")

    def _answer(self, question: str) -> bool:
        if question == "start_engine":
            self._start_engine(self.row.engines[-1])
            return True
        return self.controller.is_running

    def _tell(self, value: Mapping[str, object]) -> None:
        assert self._worker is not None
        assert self._worker.stdin is not None
        self._worker.stdin.write(json.dumps(value).encode() + b"\n")
        self._worker.stdin.flush()

    def _line(self, deadline: float) -> dict[str, Any]:
        """The next line of the worker. Raises TimeoutError, and EOFError at its end."""
        assert self._worker is not None
        assert self._worker.stdout is not None
        while b"\n" not in self._unread:
            if self._halt.is_set():
                raise Halted
            left = deadline - time.monotonic()
            if left <= 0:
                raise TimeoutError
            if not select.select([self._worker.stdout], [], [], min(left, SLICE))[0]:
                continue
            data = os.read(self._worker.stdout.fileno(), 65536)
            if not data:
                raise EOFError
            self._unread += data
        line, _, self._unread = self._unread.partition(b"\n")
        value: dict[str, Any] = json.loads(line)
        return value
