"""The processes of a controller that runs, part by part: found by where they listen, and sent signals."""

import signal
from collections.abc import Sequence
from typing import Final

from conformance.targets.listening import listener
from conformance.targets.process import Running
from protocol.world import Part
from simulator.lacking import Lacking

#: Where each part listens that is one by itself: the kind of connection file, and the key.
_PLACES: Final[dict[Part, tuple[str, str]]] = {
    "hub": ("client", "registration"), "tasks": ("client", "task"), "mux": ("client", "mux"),
    "control": ("client", "control"), "iopub": ("client", "iopub"), "broadcast": ("client", "broadcast"),
    "hearts": ("engine", "hb_ping"),
}  # fmt: skip
PARTS: Final[tuple[Part, ...]] = ("controller", *_PLACES)


class Parts:
    """See the module."""

    def __init__(self, running: Running) -> None:
        self._running = running
        self._paused: list[int] = []

    def pause(self, part: Part) -> None:
        """Let a part stand still (SIGSTOP), with whatever shares its process. Raises Lacking."""
        for pid in self._pids(part):
            self._running.pause(pid)
            self._paused.append(pid)

    @property
    def are_paused(self) -> bool:
        """Whether all stand still that were told to."""
        return all(map(self._running.is_paused, self._paused))

    def resume(self, part: Part) -> None:
        """Let it go on."""
        for pid in self._pids(part):
            self._running.resume(pid)

    def resume_all(self) -> None:
        """Let all go on that were ever paused."""
        for pid in self._paused:
            self._running.resume(pid)
        self._paused.clear()

    def kill(self, part: Part) -> None:
        """End the whole controller (SIGKILL). Raises Lacking for a part of it, which nobody could start again."""
        if part != "controller":
            raise Lacking("parts of the controller that can be started again by themselves")
        self._running.process.send_signal(signal.SIGKILL)
        self._paused.clear()

    def _pids(self, part: Part) -> Sequence[int]:
        processes = sorted(self._running.processes())
        if part == "controller":
            return processes
        kind, key = _PLACES[part]
        file = self._running.client if kind == "client" else self._running.engine
        address = file.addresses(key)[0]
        # Processes are asked in the order in which they were started: a child may have inherited what is its parent's.
        pid = listener(int(address.rpartition(":")[2]), processes)
        if pid is None:
            raise Lacking(f"to know which process is the {part} of the controller")
        return [pid]


__all__ = ["PARTS", "Parts"]
