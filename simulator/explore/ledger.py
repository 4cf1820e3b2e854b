"""The ledger of a search: what has been asked, given out, run and answered, and whether that may be so.

It knows nothing of how the roles decide. It is told facts (`Fact`: what the client asked and got, what the scheduler
sent and noted, how code ended, what a fault took), keeps what matters of them as a tuple, and says which requirement a
fact breaks. At the end of a story, when nothing more can happen, it says what is still open that should not be.

The facts, `t` a task and `e` an engine, each by its place:

    asks t                          the client has submitted a task
    has t                           it has its reply
    goes t was is e load exact      the scheduler notes a step of a task; e and load where it is given to an engine
    knows (e, life)...              it notes which engines it has
    sees (e, life)...               the client notes which engines it has
    sends t e                       the scheduler sends a task to an engine
    unsent t e                      ... to one that is not connected
    hears t e unmet                 a reply of an engine reaches the scheduler; unmet: the engine refused the task
    ran t outcome, by e             the code of a task has ended on an engine
    answers t status ename e mine   the scheduler answers; e if the reply is an engine's, mine: to who asked
    grace                           the time of grace of an engine is over
    wants t, settled t              the client asks the Hub to forget a task, and has its answer
    purged t status                 the Hub answers that
    keeps (known)...                what the Hub has of each task: 0 nothing, 1 a request, 2 its result
    drops t                         a message about a task is lost
"""

from typing import Any, Final, NamedTuple

from simulator.explore.machines import FAILS, OK, UNMET, Fact
from simulator.explore.names import task_id, uuid
from simulator.explore.scope import Scope

#: What an error of the scheduler's own may be called here, where nobody is malformed and nothing has a timeout.
_OWN: Final = frozenset({"ImpossibleDependency", "InvalidDependency"})
#: Of what the Hub has of a task.
_PENDING, _COMPLETED = 1, 2
_HELD: Final = ("running", "orphaned")


class Violation(NamedTuple):
    """A requirement that was broken, and how."""

    requirement: str
    found: str


class Entry(NamedTuple):
    """A task: where the scheduler says it is (and at whom), what was sent and what came of it.

    `holder` has it as far as anybody can see, -1: nobody; it got it in its life `life`, and if `is_unsent` it has yet
    to be sent. `ran` are (engine, outcome), sorted. `reply` is the status with which the scheduler answered,
    `kept` what the Hub has, `purge` how it answered who wanted it to forget that, if it did.
    """

    is_asked: bool = False
    place: str = "new"
    at: int = -1
    sent: int = 0
    holder: int = -1
    life: int = 0
    is_unsent: bool = False
    refused: tuple[int, ...] = ()
    ran: tuple[tuple[int, str], ...] = ()
    reply: str = ""
    has: bool = False
    is_lost: bool = False
    kept: int = 0
    purge: str = ""
    is_settled: bool = True


State = tuple[tuple[Entry, ...], tuple[int, ...], tuple[int, ...]]


class Ledger:
    """Looks at facts. A state: the entries of the tasks, the lives of the engines that scheduler and client know."""

    def __init__(self, scope: Scope) -> None:
        self._scope = scope
        self._limit = scope.hwm or scope.tasks

    def begin(self) -> State:
        """Nobody has asked for anything."""
        nobody = (0,) * self._scope.engines
        return (Entry(),) * self._scope.tasks, nobody, nobody

    def renamed(self, state: State, order: tuple[int, ...]) -> State:
        """The state in which engine `order[i]` is called `i`."""
        entries, knows, sees = state
        new = {old: place for place, old in enumerate(order)} | {-1: -1}
        return (
            tuple(
                entry._replace(
                    at=new[entry.at],
                    holder=new[entry.holder],
                    refused=tuple(sorted(new[each] for each in entry.refused)),
                    ran=tuple(sorted((new[each], outcome) for each, outcome in entry.ran)),
                )
                for entry in entries
            ),
            tuple(knows[old] for old in order),
            tuple(sees[old] for old in order),
        )

    def look(self, state: State, facts: tuple[Fact, ...]) -> tuple[State, Violation | None]:
        """What is known after these facts, and the first violation among them."""
        book = _Book(self._scope, self._limit, state)
        for kind, *data in facts:
            violation: Violation | None = getattr(book, kind)(*data)
            if violation is not None:
                return state, violation
        return (tuple(book.entries), book.known, book.seen), None

    def end(self, state: State, registered: tuple[int, ...]) -> Violation | None:
        """What should not be open when nothing more happens; `registered`: the lives of engines at the Hub, or 0."""
        entries, knows, sees = state
        for whose, view in (("the scheduler", knows), ("the client", sees)):
            if view != registered:
                return Violation(
                    "notification.views-converge",
                    f"{whose} knows {_named(view)}, and registered are {_named(registered)}",
                )
        free = [
            engine
            for engine, life in enumerate(registered)
            if life and sum((entry.holder, entry.life) == (engine, life) for entry in entries) < self._limit
        ]
        for task, entry in enumerate(entries):
            if not entry.is_settled:
                return Violation("wire.every-request-answered", f"a purge of {task_id(task)} never answered")
            if self._scope.purges and entry.reply and entry.kept != _COMPLETED and entry.purge != "ok":
                return Violation("storage.done-agrees", f"{task_id(task)} answered, and not completed at the Hub")
        excused: set[int] = set()
        for task, entry in enumerate(entries):
            before = self._scope.waits_for(task)
            if not entry.is_asked or entry.has:
                continue
            rooms = [engine for engine in free if engine not in entry.refused]
            if entry.is_lost or before in excused:
                # Its message was taken, or it waits for one whose was.
                excused.add(task)
            elif rooms or entry.place not in ("queued", "waiting"):
                where = f"{entry.place} at {uuid(entry.at)}" if entry.at >= 0 else entry.place
                idle = f", with room on {', '.join(map(uuid, rooms))}" if rooms else ""
                return Violation("wire.every-request-answered", f"{task_id(task)} never answered: {where}{idle}")
            else:
                # It waits for an engine, and there is none for it, or only such as have what was lost.
                excused.add(task)
        return None


def _named(lives: tuple[int, ...]) -> str:
    names = [f"{uuid(engine)} (life {life})" for engine, life in enumerate(lives) if life]
    return ", ".join(names) or "nobody"


class _Book:
    """One state while facts are written into it."""

    def __init__(self, scope: Scope, limit: int, state: State) -> None:
        self.scope = scope
        self.limit = limit
        entries, self.known, self.seen = state
        self.entries = list(entries)
        #: Whether these facts are what comes of the end of a time of grace.
        self.is_burial = False

    def _set(self, task: int, **changes: Any) -> None:
        self.entries[task] = self.entries[task]._replace(**changes)

    def asks(self, task: int) -> None:
        self._set(task, is_asked=True)

    def has(self, task: int) -> Violation | None:
        if not self.entries[task].reply:
            return Violation("wire.nothing-invented", f"the client has a reply to {task_id(task)} that nobody gave")
        self._set(task, has=True)
        return None

    def drops(self, task: int) -> None:
        self._set(task, is_lost=True)

    def replayed(self, task: int) -> None:
        """An engine that has had a message does not take it again; who waits for it is seen at the end."""

    def knows(self, *engines: tuple[int, int]) -> Violation | None:
        if len({engine for engine, _ in engines}) < len(engines):
            return Violation("task.engines-distinct", f"the scheduler lists {[uuid(engine) for engine, _ in engines]}")
        self.known = self._lives(engines)
        return None

    def sees(self, *engines: tuple[int, int]) -> None:
        self.seen = self._lives(engines)

    def _lives(self, engines: tuple[tuple[int, int], ...]) -> tuple[int, ...]:
        lives = dict(engines)
        return tuple(lives.get(engine, 0) for engine in range(self.scope.engines))

    # -- what the Hub keeps --------------------------------------------------------------------------------------------

    def wants(self, task: int) -> None:
        self._set(task, is_settled=False)

    def settled(self, task: int) -> None:
        self._set(task, is_settled=True)

    def purged(self, task: int, status: str) -> Violation | None:
        entry, name = self.entries[task], task_id(task)
        if status == "ok" and entry.kept != _COMPLETED:
            what = "query.purge-pending-refused" if entry.kept == _PENDING else "query.purge-nonexistent-refused"
            return Violation(what, f"a purge of {name} granted, of which the Hub has no result")
        if status != "ok" and entry.kept == _COMPLETED:
            return Violation("query.purge-by-id", f"a purge of {name} refused, which is completed")
        self._set(task, purge=status if entry.purge != "ok" else "ok")
        return None

    def keeps(self, *known: int) -> Violation | None:
        for task, (entry, now) in enumerate(zip(self.entries, known, strict=True)):
            if entry.purge == "ok" and now:
                return Violation("query.purge-forgets", f"the Hub has {task_id(task)} after its purge")
            if now < entry.kept and entry.purge != "ok":
                return Violation("query.purge-keeps-others", f"the Hub has lost {task_id(task)}, which nobody purged")
            self._set(task, kept=now)
        return None

    # -- what the scheduler notes --------------------------------------------------------------------------------------

    def goes(self, task: int, was: str, now: str, engine: int, load: int, is_exact: bool) -> Violation | None:
        entry, name = self.entries[task], task_id(task)
        if entry.place == "done":
            return Violation("task.done-is-stable", f"{name} {now} after it was done")
        if was != entry.place:
            return Violation("task.exactly-one-place", f"{name} {now}, out of {was}, when it was {entry.place}")
        if not is_exact:
            return Violation("dependency.graph-exact", f"{name}, {now}, entered under others than it waits for")
        at = engine if now in _HELD else -1
        self._set(task, place=now, at=at)
        if was == "orphaned" and self.is_burial:
            self._set(task, holder=-1, life=0, is_unsent=False)
        if now == "running":
            pending = sum(each.place == "running" and each.at == engine for each in self.entries)
            if not load == pending <= self.limit:
                return Violation(
                    "task.load-is-pending", f"a load of {load} on {uuid(engine)}, which has {pending} tasks"
                )
        return None

    # -- what it does --------------------------------------------------------------------------------------------------

    def sends(self, task: int, engine: int) -> Violation | None:
        entry, name, to, life = self.entries[task], task_id(task), uuid(engine), self.known[engine]
        if entry.reply:
            return Violation("task.done-is-stable", f"{name} sent to {to} after it was answered")
        if entry.is_unsent and entry.holder == engine:
            # It was to have it already, dead or alive, and was not connected.
            self._set(task, is_unsent=False)
            return None
        if not life:
            return Violation("task.dead-engine-avoided", f"{name} sent to {to}, of which the scheduler knows nothing")
        if engine in entry.refused:
            return Violation("task.refusing-engine-avoided", f"{name} sent to {to}, which refused it")
        before = self.scope.waits_for(task)
        if before is not None and self.entries[before].reply != "ok":
            how = self.entries[before].reply or "nothing yet"
            return Violation(
                "dependency.after-waits", f"{name} sent to {to}; {task_id(before)} was answered with {how}"
            )
        if entry.holder >= 0:
            return Violation("task.one-live-assignment", f"{name} sent to {to}, and {uuid(entry.holder)} has it")
        if entry.sent - len(entry.refused) > self.scope.retries:
            return Violation("task.dispatches-bounded", f"{name} sent {entry.sent + 1} times")
        if not entry.sent and before is None:
            for other in range(task):
                older = self.entries[other]
                waits = older.is_asked and older.place == "queued" and not older.sent
                if waits and self.scope.waits_for(other) is None:
                    return Violation("task.fifo-among-equals", f"{name} sent to {to} before {task_id(other)}")
        self._set(task, holder=engine, life=life, sent=entry.sent + 1)
        load = sum((each.holder, each.life) == (engine, life) for each in self.entries)
        if load > self.limit:
            return Violation("task.hwm-respected", f"{load} tasks on {to}, which may have {self.limit}")
        return None

    def unsent(self, task: int, engine: int) -> None:
        if self.entries[task].holder == engine:
            self._set(task, is_unsent=True)

    def hears(self, task: int, engine: int, is_unmet: bool) -> None:
        entry = self.entries[task]
        if entry.holder == engine:
            self._set(task, holder=-1, life=0, is_unsent=False)
            if is_unmet:
                self._set(task, refused=tuple(sorted({*entry.refused, engine})))

    def grace(self) -> None:
        self.is_burial = True

    def ran(self, task: int, outcome: str, engine: int) -> None:
        entry = self.entries[task]
        self._set(task, ran=tuple(sorted({*entry.ran, (engine, outcome)})))

    def answers(self, task: int, status: str, ename: str, engine: int, is_mine: bool) -> Violation | None:
        if task < 0:
            return Violation("wire.nothing-invented", "an answer to what nobody asked")
        entry, name = self.entries[task], task_id(task)
        if entry.reply:
            return Violation("wire.at-most-one-reply", f"{name} answered with {status}, after {entry.reply}")
        if not is_mine:
            return Violation("task.reply-to-requester", f"{name} answered to somebody else")
        self._set(task, reply=status, holder=-1, life=0, is_unsent=False)
        tries = entry.sent - len(entry.refused)
        if status == "ok":
            if (engine, OK) not in entry.ran:
                who = uuid(engine) if engine >= 0 else "nobody"
                return Violation("task.reply-names-engine", f"{name} answered as run by {who}, which did not run it")
        elif engine < 0:
            return self._refuses(task, ename)
        elif ename == "EngineError":
            if self.known[engine] and entry.at == engine and entry.place == "running":
                return Violation(
                    "task.engine-death-error", f"{name} answered with the death of {uuid(engine)}, which lives"
                )
            if tries <= self.scope.retries:
                return Violation(
                    "task.engine-death-retry", f"{name} given up after {tries} of {self.scope.retries + 1} tries"
                )
        elif (engine, FAILS) not in entry.ran:
            what = "task.unmet-is-rerouted" if (engine, UNMET) in entry.ran else "task.reply-names-engine"
            return Violation(what, f"{name} answered with {ename} of {uuid(engine)}, where it did not fail so")
        elif tries <= self.scope.retries:
            return Violation("task.retry-on-failure", f"{name} failed after {tries} of {self.scope.retries + 1} tries")
        return None

    def _refuses(self, task: int, ename: str) -> Violation | None:
        """An error of the scheduler's own."""
        entry, name = self.entries[task], task_id(task)
        before = self.scope.waits_for(task)
        everybody = all(not life or engine in entry.refused for engine, life in enumerate(self.known))
        if ename not in _OWN:
            return Violation("task.own-error-names", f"{name} answered with {ename}")
        if before is not None:
            # Not known: its message may have been lost; failed: whatever the reason.
            other = self.entries[before]
            if ename == "InvalidDependency" and other.place == "new":
                return None
            if ename == "ImpossibleDependency" and other.reply == "error":
                return None
        if ename == "ImpossibleDependency" and entry.refused and everybody:
            return None
        return Violation("task.own-error-names", f"{name} answered with {ename}, for which there is no reason")


__all__ = ["Entry", "Ledger", "State", "Violation"]
