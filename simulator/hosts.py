"""Processes on hosts, and the four ways in which one stops.

    stall    the interpreter is held up: Python does nothing, a heart that is a device beats on
    pause    SIGSTOP, swap, a halted virtual machine: everything stands still, and goes on later
    crash    SIGKILL: connections are closed by the system, everything in memory is gone
    end      in order: last words still leave

A partition is no stop; it is between hosts, and nobody notices it but by silence. What arrives at a process that is
held up waits in its sockets; timers that run out wait, too. When it goes on it looks at its sockets first, as a loop
does that polls: what arrived in time counts.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from protocol.world import MILLISECOND
from simulator.env import Calendar
from simulator.kernel import Kernel
from simulator.sockets import Context
from simulator.trace import Trace

if TYPE_CHECKING:
    from simulator.recorder import Recorder
    from simulator.standing import Resident

#: Milliseconds that last words get to leave a process that ends in order.
LINGER: Final = 500
#: The exit status of a process that SIGKILL ended.
KILLED: Final = -9


class Process:
    """One process: a ZeroMQ context, roles that share an interpreter, devices that do not need it.

    `status` is None while it lives. `said` is what it would have printed. `on_end` is called once, when it is gone.
    """

    def __init__(
        self,
        kernel: Kernel,
        context: Context,
        name: str,
        host: str,
        trace: Trace | None = None,
        recorder: "Recorder | None" = None,
    ) -> None:
        self.name = name
        self.host = host
        self.context = context
        self.trace = trace
        self.recorder = recorder
        self.calendar = Calendar()
        #: Nanoseconds by which the clock of its timers is ahead of the world's.
        self.skew = 0
        self._pace = 0
        self._paced = 0
        self.status: int | None = None
        self.said: list[str] = []
        self.on_end: Callable[[Process], None] | None = None
        self.on_gone: Callable[[], None] | None = None
        #: Whether the interpreter stands still.
        self.is_held = False
        #: What shares the fate of this process, but not its interpreter: a heart that is a device.
        self.companions: list[Process] = []
        self._kernel: Final = kernel
        self._stalls = 0
        self._is_paused = False
        self.shells: list[Resident] = []
        self._hosts: list[Resident] = []
        self._overdue: list[tuple[Callable[..., None], Any, Any]] = []
        self._is_ending = self._is_closed = False
        self._tell("began", host)

    @property
    def is_alive(self) -> bool:
        """Whether it has neither ended nor crashed; a paused one is alive."""
        return self.status is None

    def now(self) -> int:
        """The world's time."""
        return self._kernel.now

    def clock(self) -> int:
        """The time by which its timers run."""
        now = self._kernel.now
        if self._pace:
            return now + self.skew + (now - self._paced) * self._pace // 1000
        return now + self.skew

    def drift(self, per_mille: int) -> None:
        """Let the clock of its timers go too fast from now on, by so many parts of a thousand; 0: as it should."""
        self.skew = self.clock() - self._kernel.now
        self._paced = self._kernel.now
        self._pace = per_mille

    def at(self, due: int, act: Callable[..., None], first: Any, second: Any) -> None:
        """Call `act(first, second)` at a time of this process's clock, or as soon afterwards as it is not held up."""
        if self._pace:
            left = max(due - self.clock(), 0) * 1000 // (1000 + self._pace) + 1
            self._kernel.after(left, self._act_later, due, (act, first, second))
            return
        self._kernel.at(max(due - self.skew, self._kernel.now), self._act, act, (first, second))

    def _act_later(self, due: int, what: tuple[Callable[..., None], Any, Any]) -> None:
        """The clock may have been put right meanwhile: nothing happens before it is due."""
        act, first, second = what
        if self.clock() < due:
            self.at(due, act, first, second)
        else:
            self._act(act, (first, second))

    def _act(self, act: Callable[..., None], arguments: tuple[Any, Any]) -> None:
        if self.status is not None:
            return
        if self.is_held:
            self._overdue.append((act, *arguments))
        else:
            act(*arguments)

    def adopt(self, shell: "Resident", *, is_guest: bool = False) -> None:
        """Run a role in this process, which ends when all of them have ended; guests are not waited for."""
        self.shells.append(shell)
        if not is_guest:
            self._hosts.append(shell)

    def look_at_status(self) -> None:
        """End the process if all its roles have."""
        if not self._is_ending and all(shell.status is not None for shell in self._hosts):
            self._is_ending = True
            # What the last event sends still goes out before the sockets close.
            self._kernel.at(self._kernel.now, self._end_now)

    def _end_now(self, _: None, __: None) -> None:
        self.end(max((shell.status or 0 for shell in self._hosts), default=0))

    def _tell(self, what: str, *about: Any) -> None:
        if self.trace is not None:
            self.trace.add((self._kernel.now, self.name, what, *about))
        if self.recorder is not None:
            self.recorder.happened(self, what, about)

    # -- the stops ---------------------------------------------------------------------------------------------------

    def stall(self, nanoseconds: int) -> None:
        """Hold the interpreter up for so long."""
        if self.status is not None:
            return
        self._tell("stalled", nanoseconds)
        self._stalls += 1
        self._hold()
        self._kernel.after(nanoseconds, self._stall_is_over)

    def _stall_is_over(self, _: None, __: None) -> None:
        self._stalls -= 1
        self._go_on()

    def pause(self) -> None:
        """Let everything in the process stand still until `resume`."""
        if self.status is None and not self._is_paused:
            self._tell("paused")
            self._is_paused = True
            self._hold()
            self.context.pause()
            for companion in self.companions:
                companion.pause()

    def resume(self) -> None:
        """Let a paused process go on."""
        if self.status is None and self._is_paused:
            self._tell("resumed")
            self._is_paused = False
            self.context.resume()
            for companion in self.companions:
                companion.resume()
            self._go_on()

    def _hold(self) -> None:
        self.is_held = True
        for shell in self.shells:
            shell.hold()

    def _go_on(self) -> None:
        if self._stalls or self._is_paused or self._is_closed or self.status is not None:
            return
        self.is_held = False
        for shell in self.shells:
            shell.go_on()
        overdue, self._overdue = self._overdue, []
        for act, first, second in overdue:
            self._act(act, (first, second))

    def crash(self, status: int = KILLED) -> None:
        """Be gone at once; peers see their connections closed."""
        if self.status is None:
            self.context.crash()
            self._gone(status)

    def end(self, status: int = 0) -> None:
        """Do no more, and be gone as soon as what is under way has left, or its time is over.

        Nobody learns of the end before the last words are where they were sent.
        """
        if self.status is not None or self._is_closed:
            return
        self._is_closed = True
        self._hold()
        for companion in self.companions:
            companion.crash(status)
        self.context.close(LINGER)
        self._await_silence(status, self._kernel.now + LINGER * MILLISECOND)

    def _await_silence(self, status: int, deadline: int) -> None:
        context = self.context
        if self._kernel.now < deadline and (context.sockets or context.sessions):
            self._kernel.after(MILLISECOND, self._await_silence, status, deadline)
        else:
            self._kernel.after(MILLISECOND, self._buried, status)

    def _buried(self, status: int, _: None) -> None:
        if self.status is None:
            self._gone(status)

    def _gone(self, status: int) -> None:
        self.status = status
        self._tell("ended", status)
        self._hold()
        self._overdue.clear()
        for companion in self.companions:
            companion.crash(status)
        if self.on_gone is not None:
            self.on_gone()
        if self.on_end is not None:
            self.on_end(self)

    def __repr__(self) -> str:
        return f"<Process {self.name} on {self.host}>"


__all__ = ["KILLED", "LINGER", "Process"]
