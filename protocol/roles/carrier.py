"""What every shell around a role does alike, whatever its sockets are.

A `Carrier` hands events to a role and carries out the effects, in order; it answers from the store, and minds that what
was stored becomes durable. How a message travels, when a timer fires and what becomes of a failure is for the shell:
one on real sockets in the reference, one on virtual sockets in the simulator.

Effects of one event are carried out before the next event is handled; answers of the store come after all effects of
the event that asked. A store that refuses answers with an error, and never keeps an effect from being carried out.
"""

from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, Protocol

from protocol.roles.base import (
    Effect,
    Event,
    Exit,
    Forward,
    Found,
    Note,
    Persist,
    Query,
    Role,
    Run,
    Send,
    SendRaw,
    SetTimer,
    Store,
    Unreachable,
)
from protocol.roles.matching import QueryError
from protocol.roles.records import FLUSH_PERIOD, Records

#: Nanoseconds after which what was stored is made durable: half of what is promised, for a shell that is busy.
FLUSH_AFTER: Final = FLUSH_PERIOD // 2


class Runner(Protocol):
    """What runs user code. It calls `Carrier.deliver` with `Finished`, in the shell's thread, when a job has ended."""

    def run(self, effect: Run) -> None:
        """Begin with a job, or put it behind the one that runs."""


class Carrier(ABC):
    """One role and how its effects are carried out.

    `records` carries out the effects Store and Query, `runner` Run, `persist` Persist, `on_note` Note; a role that has
    no such effects needs none of them. `clock` gives nanoseconds, as the role counts them. `status` is the exit status
    once the role has ended.
    """

    def __init__(
        self,
        role: Role,
        clock: Callable[[], int],
        *,
        records: Records | None = None,
        runner: Runner | None = None,
        persist: Callable[[Any], None] | None = None,
        on_note: Callable[[Note], None] | None = None,
    ) -> None:
        self.role = role
        self.clock = clock
        self.records = records
        self.runner = runner
        self.persist = persist
        self.on_note = on_note
        self.status: int | None = None
        #: When what was stored must be durable, or None if it is.
        self.flush_due: int | None = None
        #: What the role is still to be told of its effects, when all of them are carried out.
        self._answers: deque[Found | Unreachable] = deque()
        self._carry: dict[type[Effect], Callable[[Any], None]] = {
            Send: self.carry_send,
            Forward: self.carry_forward,
            SendRaw: self.carry_send_raw,
            SetTimer: self.carry_timer,
            Store: self._carry_store,
            Query: self._carry_query,
            Run: self._carry_run,
            Persist: self._carry_persist,
            Note: self._carry_note,
            Exit: self._carry_exit,
        }

    def deliver(self, event: Event) -> None:
        """Let the role handle an event, and carry out what it decides."""
        if self.status is not None:
            return
        try:
            effects = self.role.handle(self.clock(), event)
        except Exception as error:
            self.failed(describe(event), error)
            return
        if effects:
            self.carry_out(effects)
        while self._answers:
            self.deliver(self._answers.popleft())

    def carry_out(self, effects: Sequence[Effect]) -> None:
        """Do what a role decided, in order."""
        carry = self._carry
        for effect in effects:
            try:
                carry[type(effect)](effect)
            except Exception as error:
                # The other effects of the same event concern other peers.
                self.failed(type(effect).__name__, error)

    def flush(self) -> None:
        """Make durable what was stored, if it is not; tried again later if that fails: a full disk may have room."""
        if self.flush_due is not None and self.records is not None:
            self.flush_due = None
            try:
                self.records.flush()
            except Exception as error:
                self.failed("flush", error)
                self._flush_later()

    # -- for the shell ---------------------------------------------------------------------------------------------

    @abstractmethod
    def carry_send(self, effect: Send) -> None:
        """Sign and send a message."""

    @abstractmethod
    def carry_forward(self, effect: Forward) -> None:
        """Pass a message on, its signed parts as they came."""

    @abstractmethod
    def carry_send_raw(self, effect: SendRaw) -> None:
        """Send frames."""

    @abstractmethod
    def carry_timer(self, effect: SetTimer) -> None:
        """Deliver `Fired` when it is time."""

    @abstractmethod
    def flush_at(self, due: int) -> None:
        """Call `flush` when it is time."""

    @abstractmethod
    def failed(self, where: str, error: Exception) -> None:
        """Report an exception; `where` says in words of ours what was being done."""

    def unreached(self, effect: Send | Forward) -> None:
        """Nobody is connected to whom this message could be handed on a mandatory socket."""
        identities = effect.message.identities if type(effect) is Send else effect.identities  # type: ignore[union-attr]
        self._answers.append(Unreachable(effect.socket, identities[0] if identities else b"", effect.message))

    def found(self, answer: Found) -> None:
        """The store has answered: the role is told when all effects of the event are carried out."""
        self._answers.append(answer)

    # -- effects ---------------------------------------------------------------------------------------------------

    def _carry_store(self, effect: Store) -> None:
        if self.flush_due is None:
            self._flush_later()
        getattr(self.records, effect.operation)(*effect.arguments)

    def _flush_later(self) -> None:
        self.flush_due = due = self.clock() + FLUSH_AFTER
        self.flush_at(due)

    def _carry_query(self, effect: Query) -> None:
        assert self.records is not None
        try:
            # What somebody was shown must still be there after a crash.
            self.flush()
            found: Sequence[Mapping[str, Any]] = getattr(self.records, effect.operation)(*effect.arguments)
        except QueryError as error:
            self.found(Found(effect.token, (), str(error)))
        except Exception as error:
            self.failed(effect.operation, error)
            self.found(Found(effect.token, (), f"{type(error).__name__}: the store cannot answer"))
        else:
            self.found(Found(effect.token, found))

    def _carry_run(self, effect: Run) -> None:
        assert self.runner is not None
        self.runner.run(effect)

    def _carry_persist(self, effect: Persist) -> None:
        if self.persist is not None:
            self.persist(effect.state)

    def _carry_note(self, effect: Note) -> None:
        if self.on_note is not None:
            self.on_note(effect)

    def _carry_exit(self, effect: Exit) -> None:
        self.status = effect.status


def describe(event: Event) -> str:
    """An event in words that quote nothing of a message."""
    kind = type(event).__name__
    where = getattr(event, "socket", None)
    if where is not None:
        return f"{kind} on {where}"
    timer = getattr(event, "timer", None)
    return kind if timer is None else f"{kind} {timer.partition(':')[0][:40]}"


__all__ = ["FLUSH_AFTER", "Carrier", "Runner", "describe"]
