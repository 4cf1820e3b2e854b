"""Engines of a scenario: processes of a target, each behind its own copy of the connection file."""

import os
import signal
from collections.abc import Callable
from contextlib import suppress
from typing import Final, NamedTuple

from conformance.targets.descriptor import Target
from conformance.targets.listening import connected, descendants, is_stopped
from conformance.targets.process import RunningEngine, start_engine
from protocol.connection import EngineFile
from protocol.world import HeartKind
from simulator.lacking import Lacking

#: Looks at its pings after which an engine asks to be registered again: nothing tells it that it was given up.
REFRESH: Final = 4


class Ways(NamedTuple):
    """What a cluster does for its engines: `silence` a heart, tell a `number`, `wait` until something holds."""

    silence: Callable[[str], object]
    number: Callable[[str], int | None]
    wait: Callable[[Callable[[], bool]], bool]


class RealEngine:
    """One engine; see `protocol.world.ClusterEngine`. `file` is its own copy, `uuid` is empty for one of its choice."""

    def __init__(
        self, target: Target, file: EngineFile, ways: Ways, *, name: str, uuid: str, heart: HeartKind, has_warden: bool
    ) -> None:
        if heart == "python":
            raise Lacking("an engine whose heart beats in its interpreter")
        self.name = name
        #: Nobody who could be asked in its place, as in a simulation.
        self.warden: None = None
        self.has_heart = heart != "none"
        #: Whether it stands still: it lives, and can do nothing.
        self.is_paused = False
        self._target = target
        self._file = file
        self._ways = ways
        self._has_warden = has_warden
        table = target.engine
        assert table is not None
        self._options = table.options
        if has_warden and "signal" not in target.features:
            raise Lacking("engines with a warden")
        if uuid and "uuid" not in self._options:
            raise Lacking("engines whose uuid can be chosen")
        #: What it calls itself, as soon as that is known.
        self.uuid = uuid
        self._running: RunningEngine
        self.start()
        if not self.has_heart:
            ways.silence(name)

    def start(self) -> None:
        """Start its process."""
        settings: dict[str, object] = {"uuid": self.uuid} if self.uuid else {}
        settings |= {"no_warden": True} if not self._has_warden else {}
        settings |= {"refresh": REFRESH}
        known = {name: value for name, value in settings.items() if name in self._options}
        self._running = start_engine(self._target, self._file, known)

    @property
    def home(self) -> str:
        """The home of its process, which is its own."""
        return str(self._running.directory)

    @property
    def number(self) -> int | None:
        """Its id, or None before it was given one."""
        return self._ways.number(self.uuid) if self.uuid else None

    @property
    def is_alive(self) -> bool:
        """Whether its process is there, be it stopped."""
        return self._running.is_running

    @property
    def is_able(self) -> bool:
        """Whether it goes on, and can be started again under its name."""
        return not self.is_paused and "uuid" in self._options

    def output(self) -> tuple[str, str]:
        """The end of what it printed."""
        return self._running.output()

    # -- what can happen to it ---------------------------------------------------------------------------------------

    def kill(self) -> None:
        """End its process at once; one that was not given a warden loses any that it has, too."""
        own = self._own()
        watchers = [pid for pid in self._pids() if pid not in own]
        for pid in (*(() if self._has_warden else watchers), *own):
            _send(pid, signal.SIGKILL)
        self._ways.wait(lambda: not any(map(_is_there, own)))

    def stop(self) -> None:
        """Ask its process to end, as SIGTERM does."""
        _send(self._running.process.pid, signal.SIGTERM)

    def interrupt(self) -> None:
        """Interrupt the process that runs code, and none that watches it."""
        for pid in self._own():
            _send(pid, signal.SIGINT)

    def pause(self) -> None:
        """Let its process stand still until `resume`."""
        self.is_paused = True
        pids = self._pids()
        for pid in pids:
            _send(pid, signal.SIGSTOP)
        self._ways.wait(lambda: all(is_stopped(pid) or not _is_there(pid) for pid in pids))

    def resume(self) -> None:
        """Let it go on."""
        self.is_paused = False
        for pid in self._pids():
            _send(pid, signal.SIGCONT)

    def stall(self, _: int) -> None:
        """Cannot be done. Raises Lacking."""
        raise Lacking("an interpreter that can be held up from outside")

    def stop_heart(self) -> None:
        """End its heart, and nothing else: nothing passes any more on the connections that it has."""
        self.has_heart = False
        self._ways.silence(self.name)

    def restart(self) -> None:
        """Start it again after its end, under the same uuid. Raises Lacking if its uuid cannot be chosen."""
        if "uuid" not in self._options:
            raise Lacking("engines whose uuid can be chosen")
        self.end()
        self.start()

    def end(self) -> None:
        """End all that is left of it, and remove its directory. May be called twice."""
        if self._running.process.is_owned:
            left = self._pids()
            self._running.stop()
            for pid in left:
                # What left its session, as some wardens do.
                _send(pid, signal.SIGKILL)

    def _pids(self) -> list[int]:
        """Its processes that live: those of its session, and what descends from them."""
        main = self._running.process.pid
        if not self._running.process.is_running:
            return self._running.processes()
        return list(dict.fromkeys([main, *self._running.processes(), *descendants(main)]))

    def _own(self) -> list[int]:
        """The process that runs code: whoever is connected where requests come from; all before that."""
        pids = self._pids()
        return connected(self._file.mux, pids)[:1] or pids


def _send(pid: int, number: int) -> None:
    with suppress(ProcessLookupError):
        os.kill(pid, number)


def _is_there(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


__all__ = ["RealEngine", "Ways"]
