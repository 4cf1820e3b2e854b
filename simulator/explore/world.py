"""The world of a search: which states there are, and what may happen in each.

A state is a tuple of small integers: the scheduler, the client and the ledger; what may still go wrong; what is under
way on the connections between them; and for each engine, its machine, what is under way to it and from it, and what
the Hub says of it. Connections keep their order and nothing else: how long anything takes is not known, so whatever
is under way may arrive next, whatever timer is pending may run out next, and code may end whenever it likes.

The Hub is no machine here but what others hear of it: engines register, are taken for dead, and come back, and each
time the scheduler and the client are told, each on a connection of its own.

Engines are alike: states that differ only in which is which are one. Each engine is kept without its name; the state
whose engines stand in the order of their numbers is the one that is looked at.
"""

from collections.abc import Iterable, Sequence
from itertools import permutations, product
from typing import Any, Final, NamedTuple

from protocol.roles.freezing import thaw_message
from protocol.roles.speech import Voice, metadata_of
from simulator.explore.ledger import Ledger, Violation
from simulator.explore.ledger import State as Book
from simulator.explore.machines import (
    CLIENT,
    FAILS,
    OK,
    UNMET,
    ClientMachine,
    EngineMachine,
    Facts,
    Infect,
    PlainEnv,
    SchedulerMachine,
)
from simulator.explore.names import LIVES, Rename, appearing, exchange, number, uuid
from simulator.explore.records import RecordsMachine
from simulator.explore.scope import FAULTS, Scope
from simulator.explore.tables import Messages, Pipes, Renamed, Table

#: Places in a state. From `FIRST` on stand the engines.
SCHEDULER, CLIENT_AT, BOOK, LEFT, TO_SCHEDULER, TO_CLIENT, TOLD_SCHEDULER, TOLD_CLIENT, ANSWERS = range(9)
#: The Hub's records, and what is under way from the scheduler to them, from the client, and back to it.
RECORDS, COPIES, ASKED, TOLD_BACK, FIRST = range(9, 14)
State = tuple[int, ...]
#: What happens: a name, and whom or what it is about.
Action = tuple[Any, ...]
#: How often all may ask the Hub once more, at the end, if it may be that they were not told something.
HEALINGS: Final = 2
#: What the client takes: the action, and its socket.
_CLIENTS: Final = {
    TOLD_CLIENT: ("told-client", "notification"),
    TO_CLIENT: ("to-client", "task"),
    TOLD_BACK: ("told-back", "query"),
}
_CRASH, _DROP = (list(FAULTS).index(name) for name in ("crash", "drop"))


class Slot(NamedTuple):
    """One engine: its machine, what is under way to it and from it, whether it lives, and its life at the Hub.

    `life` is 0 while it is not registered, `lives` how often it was.
    """

    machine: int
    inward: int
    outward: int
    is_live: bool = True
    life: int = 0
    lives: int = 0


class Left(NamedTuple):
    """What may still go wrong, in the order of `FAULTS`; how often all may still ask, and the client purge."""

    faults: tuple[int, ...]
    healings: int = HEALINGS
    purges: int = 0
    is_untold: bool = False


class Happened(NamedTuple):
    """One thing that may happen in a state, and what comes of it."""

    action: Action
    state: State
    violation: Violation | None


class World:
    """All that may happen in a scope. `infect` is given each role before its first event, see `machines`."""

    def __init__(self, scope: Scope, infect: Infect | None = None) -> None:
        self.scope: Final = scope
        self.marks: dict[str, int] = {}
        self.messages: Final = Messages(thaw_message)
        self.facts: Final[Facts] = Table()
        self.pipes: Final = Pipes()
        self.slots: Final[Table[Slot]] = Table()
        self.left: Final[Table[Left]] = Table()
        self.books: Final[Table[Book]] = Table()
        self.ledger: Final = Ledger(scope)
        self.scheduler: Final = SchedulerMachine(scope, self.messages, self.facts, self.marks, infect)
        self.client: Final = ClientMachine(scope, self.messages, self.facts, self.marks, infect)
        self.engine: Final = EngineMachine(self.messages, self.facts, self.marks, infect)
        self.records: Final = RecordsMachine(scope, self.messages, self.facts, self.marks, infect)
        self._hub: Final = Voice(PlainEnv("hub", {}), "hub")
        self._engines: Final = range(scope.engines)
        self._uuids: Final = [uuid(engine).encode() for engine in self._engines]
        self._appearing: Final = [appearing(engine) for engine in self._engines]
        self._exchanges: Final[dict[tuple[int, ...], Rename]] = {}
        self._orders: Final[dict[Rename, tuple[int, ...]]] = {}
        self._message_renamed: Final = Renamed(
            lambda message, names: self.messages.number(names(self.messages.values[message]))
        )
        self._pipe_renamed: Final = Renamed(
            lambda pipe, names: self.pipes.number(
                tuple(self._message_renamed(message, names) for message in self.pipes.values[pipe])
            )
        )
        self._book_renamed: Final = Renamed(
            lambda book, names: self.books.number(self.ledger.renamed(self.books.values[book], self._orders[names]))
        )
        self._looked: Final[dict[tuple[int, int], tuple[int, Violation | None]]] = {}
        self._choices: Final[dict[int, tuple[Action, ...]]] = {}
        self._slot_steps: Final[dict[Any, tuple[int, int, int]]] = {}
        self._spent: Final[dict[tuple[int, str], int]] = {}
        self._first: Final = self._begun()

    # -- the beginning -------------------------------------------------------------------------------------------------

    def begin(self, scope: Scope | None = None) -> State:
        """Scheduler and client have asked which engines there are, and heard that there are none.

        `scope` may differ from the world's own in its faults: whatever is known of the machines serves for both.
        """
        faults = (self.scope if scope is None else scope).faults
        left = self.left.number(Left(tuple(faults.get(name, 0) for name in FAULTS), purges=self.scope.purges))
        scheduler, client, engine, records = self._first
        book = self.books.number(self.ledger.begin())
        slot = self.slots.number(Slot(engine, 0, 0))
        return self.sorted(
            (scheduler, client, book, left, 0, 0, 0, 0, 0, records, 0, 0, 0, *[slot] * self.scope.engines)
        )

    def _begun(self) -> tuple[int, int, int, int]:
        """The machines when everybody has begun."""
        nobody = self._listing(())
        scheduler, *_ = self.scheduler.begin()
        scheduler, *_ = self.scheduler.takes(scheduler, "query", self._parented(nobody, "scheduler"), ())
        client, *_ = self.client.begin()
        client, *_ = self.client.takes(client, "query", self._parented(nobody, "client"))
        return scheduler, client, self.engine.begin(), self.records.begin()

    # -- one state for all that differ in names only -------------------------------------------------------------------

    def sorted(self, state: State) -> State:
        """The state in which the engines stand in the order of their numbers."""
        slots = state[FIRST:]
        if len(slots) == 2:
            one, other = slots
            if one < other:
                return state
            if one > other:
                return self._exchanged(state, (1, 0))
            return min(state, self._exchanged(state, (1, 0)))
        order = sorted(self._engines, key=slots.__getitem__)
        groups: list[list[int]] = []
        for engine in order:
            if groups and slots[groups[-1][0]] == slots[engine]:
                groups[-1].append(engine)
            else:
                groups.append([engine])
        return min(
            self._exchanged(state, tuple(engine for group in groups for engine in group))
            for groups in product(*map(permutations, groups))
        )

    def _exchanged(self, state: State, order: tuple[int, ...]) -> State:
        names = self._exchanges.get(order)
        if names is None:
            names = self._exchanges[order] = exchange(order)
            self._orders[names] = order
        scheduler, client, book, left, to_scheduler, to_client, told_scheduler, told_client, answers, *rest = state
        records, copies, asked, told_back, *slots = rest
        pipe = self._pipe_renamed
        return (
            self.scheduler.renamed(scheduler, names),
            self.client.renamed(client, names),
            self._book_renamed(book, names),
            left,
            to_scheduler,
            pipe(to_client, names),
            pipe(told_scheduler, names),
            pipe(told_client, names),
            pipe(answers, names),
            self.records.renamed(records, names),
            pipe(copies, names),
            asked,
            told_back,
            *[slots[engine] for engine in order],
        )

    # -- what may happen -----------------------------------------------------------------------------------------------

    def certain(self, state: State) -> Happened | None:
        """One thing that happens in any case, and whose moment makes no difference to anybody; None if there is none.

        What the client hears changes the client alone, and what an engine is given that engine: whatever else happens
        meanwhile happens as well afterwards, and leads to the same state. Unless it may be lost, one way or another.
        """
        faults = self.left.values[state[LEFT]].faults
        if faults[_DROP]:
            return None
        for at in _CLIENTS:
            if state[at]:
                return self._to_client(state, at)
        if not faults[_CRASH]:
            if state[COPIES] and not state[ASKED] and not self.left.values[state[LEFT]].purges:
                return self._to_records(state, COPIES)
            for engine in self._engines:
                if ("to-engine",) in self._choices_of(state[FIRST + engine]):
                    return self._engine(("to-engine",), engine, state)
        return None

    def _to_client(self, state: State, at: int) -> Happened:
        action, socket = _CLIENTS[at]
        pipe = state[at]
        after = (*state[:at], self.pipes.rest[pipe], *state[at + 1 :])
        return self._client((action,), after, self.client.takes(state[CLIENT_AT], socket, self.pipes.head[pipe]))

    def happens(self, state: State) -> list[Happened]:
        """Everything that may happen in a state if nothing goes wrong. Where nothing may, a story ends."""
        found: list[Happened] = []
        add = found.append
        scheduler, client, _, left, to_scheduler, to_client, told_scheduler, told_client, answers = state[:RECORDS]
        rest = self.pipes.rest
        head = self.pipes.head
        if self.client.submitted(client) < self.scope.tasks:
            add(self._client(("submit",), state, self.client.submits(client)))
        if to_scheduler:
            after = (*state[:TO_SCHEDULER], rest[to_scheduler], *state[TO_CLIENT:])
            step = self.scheduler.takes(scheduler, "in", head[to_scheduler], (CLIENT,))
            add(self._scheduler(("to-scheduler",), after, step))
        if to_client:
            add(self._to_client(state, TO_CLIENT))
        if told_scheduler:
            after = (*state[:TOLD_SCHEDULER], rest[told_scheduler], *state[TOLD_CLIENT:])
            step = self.scheduler.takes(scheduler, "notification", head[told_scheduler], ())
            add(self._scheduler(("told-scheduler",), after, step))
        if told_client:
            add(self._to_client(state, TOLD_CLIENT))
        if answers:
            after = (*state[:ANSWERS], rest[answers], *state[RECORDS:])
            add(self._scheduler(("answer",), after, self.scheduler.takes(scheduler, "query", head[answers], ())))
        if self.scope.purges:
            found += self._of_records(state)
        for timer in self.scheduler.timers(scheduler):
            add(self._scheduler(("timer", timer), state, self.scheduler.fires(scheduler, timer)))
        for engine in self._engines:
            for choice in self._choices_of(state[FIRST + engine]):
                add(self._engine(choice, engine, state))
        if not found:
            left_now = self.left.values[left]
            if left_now.is_untold and left_now.healings:
                add(self._healed(state))
        return found

    def end(self, state: State) -> Violation | None:
        """What is open in a state in which nothing more happens, if nothing goes wrong."""
        lives = tuple(self.slots.values[slot].life for slot in state[FIRST:])
        return self.ledger.end(self.books.values[state[BOOK]], lives)

    # -- steps of the machines -----------------------------------------------------------------------------------------

    def _look(self, book: int, facts: int) -> tuple[int, Violation | None]:
        found = self._looked.get((book, facts))
        if found is None:
            after, violation = self.ledger.look(self.books.values[book], self.facts.values[facts])
            found = self._looked[book, facts] = (self.books.number(after), violation)
        return found

    def _client(self, action: Action, state: State, step: tuple[Any, ...]) -> Happened:
        client, said, facts = step
        book, violation = self._look(state[BOOK], facts)
        at = ASKED if action[0] == "purge" else TO_SCHEDULER
        pipe = state[at]
        for message in said:
            pipe = self.pipes.longer(pipe, message)
        after = (*state[:at], pipe, *state[at + 1 :])
        return Happened(action, (after[SCHEDULER], client, book, *after[LEFT:]), violation)

    def _scheduler(self, action: Action, state: State, step: tuple[Any, ...], before: int = -1) -> Happened:
        scheduler, to_client, to_engines, asks, copied, facts = step
        book = state[BOOK]
        violation = None
        if before >= 0:
            book, violation = self._look(book, before)
        if violation is None:
            book, violation = self._look(book, facts)
        pipe = state[TO_CLIENT]
        for message in to_client:
            pipe = self.pipes.longer(pipe, message)
        answers = state[ANSWERS]
        slots = state[FIRST:]
        if to_engines:
            changed = list(slots)
            for engine, message in to_engines:
                slot = self._reached(changed[engine], message)
                if slot >= 0:
                    changed[engine] = slot
                    continue
                lost = self.facts.number((("unsent", self.messages.task[message], engine),))
                book, violation = self._look(book, lost) if violation is None else (book, violation)
                scheduler, *_ = self.scheduler.unreached(scheduler, self._uuids[engine], message)
            slots = tuple(changed)
        for _ in range(asks):
            answers = self.pipes.longer(answers, self._parented(self._listing(slots), "scheduler"))
        copies = state[COPIES]
        for message in copied:
            copies = self.pipes.longer(copies, message)
        after = (
            scheduler, state[CLIENT_AT], book, state[LEFT], state[TO_SCHEDULER], pipe, state[TOLD_SCHEDULER],
            state[TOLD_CLIENT], answers, state[RECORDS], copies, state[ASKED], state[TOLD_BACK], *slots,
        )  # fmt: skip
        return Happened(action, after, violation)

    def _reached(self, slot: int, message: int) -> int:
        """The slot of an engine to which a message is on its way; -1 if it is not connected."""
        key = (slot, message)
        step = self._slot_steps.get(key)
        if step is None:
            now = self.slots.values[slot]
            after = now._replace(inward=self.pipes.longer(now.inward, message))
            step = self._slot_steps[key] = (self.slots.number(after) if now.is_live else -1, -1, -1)
        return step[0]

    # -- the Hub's records ---------------------------------------------------------------------------------------------

    def _of_records(self, state: State) -> list[Happened]:
        """What may happen between the client and the Hub's records."""
        found = [self._to_records(state, at) for at in (COPIES, ASKED) if state[at]]
        if state[TOLD_BACK]:
            found.append(self._to_client(state, TOLD_BACK))
        left = self.left.values[state[LEFT]]
        if left.purges:
            number = self.left.number(left._replace(purges=left.purges - 1))
            spent = (*state[:LEFT], number, *state[TO_SCHEDULER:])
            client = state[CLIENT_AT]
            tasks = range(self.client.submitted(client))
            found += [self._client(("purge", task), spent, self.client.purges(client, task)) for task in tasks]
        return found

    def _to_records(self, state: State, at: int) -> Happened:
        """A copy, or a request of the client, reaches the Hub."""
        pipe = state[at]
        socket = "monitor" if at == COPIES else "query"
        records, replies, facts = self.records.takes(state[RECORDS], socket, self.pipes.head[pipe])
        book, violation = self._look(state[BOOK], facts)
        back = state[TOLD_BACK]
        for message in replies:
            back = self.pipes.longer(back, message)
        after = list(state)
        after[at] = self.pipes.rest[pipe]
        after[BOOK], after[RECORDS], after[TOLD_BACK] = book, records, back
        return Happened(("to-records", at), tuple(after), violation)

    # -- engines -------------------------------------------------------------------------------------------------------

    def _choices_of(self, slot: int) -> tuple[Action, ...]:
        """What may happen to an engine in whatever state the others are, if nothing goes wrong."""
        found = self._choices.get(slot)
        if found is None:
            now = self.slots.values[slot]
            choices: list[Action] = []
            if now.is_live:
                if now.inward:
                    choices.append(("to-engine",))
                choices += [("ends", job, OK) for job, _ in self.engine.jobs(now.machine)]
                if not now.life and now.lives < LIVES - 1:
                    choices.append(("registers",))
            elif now.life:
                choices.append(("taken-for-dead",))
            if now.outward:
                choices.append(("from-engine",))
            found = self._choices[slot] = tuple(choices)
        return found

    def _engine(self, choice: Action, engine: int, state: State) -> Happened:
        """One of these, or a fault that concerns one engine."""
        kind = choice[0]
        action = (choice, engine)
        if kind == "from-engine":
            slot, message, _ = self._slot_step(state[FIRST + engine], choice)
            named = self._message_renamed(message, self._appearing[engine])
            after = self._with(state, engine, slot)
            metadata = metadata_of(self.messages.whole[message]) or {}
            is_unmet = metadata.get("dependencies_met") is False
            heard = self.facts.number((("hears", self.messages.task[message], engine, is_unmet),))
            return self._scheduler(
                action, after, self.scheduler.takes(state[SCHEDULER], "out", named, (self._uuids[engine],)), heard
            )
        slot, _, facts = self._slot_step(state[FIRST + engine], choice)
        after = self._with(state, engine, slot)
        if kind in ("registers", "taken-for-dead"):
            before = self.slots.values[state[FIRST + engine]]
            told = self._told(engine, before, self.slots.values[slot])
            longer = self.pipes.longer
            after = (
                *after[:TOLD_SCHEDULER], longer(after[TOLD_SCHEDULER], told), longer(after[TOLD_CLIENT], told),
                *after[ANSWERS:],
            )  # fmt: skip
        violation = None
        if facts >= 0:
            named = self.facts.number(
                tuple((*fact, engine) if fact[0] == "ran" else fact for fact in self.facts.values[facts])
            )
            book, violation = self._look(state[BOOK], named)
            after = (*after[:BOOK], book, *after[LEFT:])
        return Happened(action, after, violation)

    @staticmethod
    def _with(state: State, engine: int, slot: int) -> State:
        at = FIRST + engine
        return (*state[:at], slot, *state[at + 1 :])

    def _slot_step(self, slot: int, choice: Action) -> tuple[int, int, int]:
        """What becomes of an engine: its slot, the message that leaves it or -1, the facts or -1."""
        key = (slot, choice)
        step = self._slot_steps.get(key)
        if step is None:
            step = self._slot_steps[key] = self._slot_steps_anew(self.slots.values[slot], choice)
        return step

    def _slot_steps_anew(self, now: Slot, choice: Action) -> tuple[int, int, int]:
        pipes = self.pipes
        message, facts = -1, -1
        match choice:
            case ("to-engine",):
                machine, said, facts = self.engine.takes(now.machine, pipes.head[now.inward])
                after = self._after_work(now._replace(inward=pipes.rest[now.inward]), machine, said)
            case ("ends", job, outcome):
                machine, said, facts = self.engine.finishes(now.machine, job, outcome)
                after = self._after_work(now, machine, said)
            case ("from-engine",):
                message = pipes.head[now.outward]
                after = now._replace(outward=pipes.rest[now.outward])
            case ("registers",):
                after = now._replace(life=now.lives + 1, lives=now.lives + 1)
            case ("taken-for-dead",):
                after = now._replace(life=0)
            case ("dies", kept):
                # What it has sent may have left it or not.
                outward = pipes.number(pipes.values[now.outward][:kept])
                after = now._replace(machine=-1, inward=0, outward=outward, is_live=False)
            case _:
                raise AssertionError(f"nothing of that kind happens to an engine: {choice}")
        return self.slots.number(after), message, facts

    def _after_work(self, now: Slot, machine: int, said: Iterable[int]) -> Slot:
        outward = now.outward
        for message in said:
            outward = self.pipes.longer(outward, message)
        return now._replace(machine=machine, outward=outward)

    # -- what the Hub says ---------------------------------------------------------------------------------------------

    def _told(self, engine: int, before: Slot, now: Slot) -> int:
        """The notification that an engine has come, or that it is gone."""
        kind = "registration_notification" if now.life else "unregistration_notification"
        content = {"id": number(engine, now.life or before.life), "uuid": uuid(engine)}
        return self.messages.of(self._hub.say(0, kind, content))

    def _listing(self, slots: Sequence[int]) -> dict[str, str]:
        lives = [self.slots.values[slot].life for slot in slots]
        return {str(number(engine, life)): uuid(engine) for engine, life in enumerate(lives) if life}

    def _parented(self, engines: dict[str, str], whose: str) -> int:
        """The answer to the question of somebody, with these engines."""
        content = {"status": "ok", "engines": engines}
        return self.messages.of(self._hub.say(0, "connection_reply", content, parent={"msg_id": whose}))

    def _healed(self, state: State) -> Happened:
        """Scheduler and client ask the Hub once more which engines there are, and are answered at once."""
        left = self.left.values[state[LEFT]]
        number = self.left.number(left._replace(healings=left.healings - 1))
        after = (*state[:LEFT], number, *state[TO_SCHEDULER:])
        engines = self._listing(state[FIRST:])
        asked = self._scheduler(("asks",), after, self.scheduler.asks(state[SCHEDULER]))
        rest = asked.state[ANSWERS]
        assert self.pipes.rest[rest] == 0
        heard = self.scheduler.takes(asked.state[SCHEDULER], "query", self.pipes.head[rest], ())
        told = self._scheduler(("heals",), (*asked.state[:ANSWERS], 0, *asked.state[RECORDS:]), heard)
        if told.violation is not None:
            return told
        client, *_ = self.client.asks(told.state[CLIENT_AT])
        return self._client(
            ("heals",), told.state, self.client.takes(client, "query", self._parented(engines, "client"))
        )

    # -- what may go wrong ---------------------------------------------------------------------------------------------

    def faults(self, state: State) -> list[Happened]:
        """Everything that may go wrong in a state."""
        found: list[Happened] = []
        faults = self.left.values[state[LEFT]].faults
        if not any(faults):
            return found
        crash, heart, drop, error, unmet, ask = faults
        for engine in self._engines:
            slot = self.slots.values[state[FIRST + engine]]
            if not slot.is_live:
                continue
            if crash:
                spent = self._spend(state, "crash")
                kept = range(len(self.pipes.values[slot.outward]) + 1)
                found += [self._engine(("dies", each), engine, spent) for each in kept]
            if heart and slot.life:
                found.append(self._engine(("taken-for-dead",), engine, self._spend(state, "heart")))
            for outcome, budget, name in ((FAILS, error, "error"), (UNMET, unmet, "unmet")):
                if budget:
                    for job, _ in self.engine.jobs(slot.machine):
                        found.append(self._engine(("ends", job, outcome), engine, self._spend(state, name)))
        if ask and not state[ANSWERS]:
            spent = self._spend(state, "ask")
            found.append(self._scheduler(("asks",), spent, self.scheduler.asks(state[SCHEDULER])))
        if drop:
            self._drops(self._spend(state, "drop"), found)
        return found

    def _spend(self, state: State, name: str) -> State:
        key = (state[LEFT], name)
        number = self._spent.get(key)
        if number is None:
            left = self.left.values[state[LEFT]]
            faults = tuple(many - (each == name) for each, many in zip(FAULTS, left.faults, strict=True))
            number = self._spent[key] = self.left.number(left._replace(faults=faults))
        return (*state[:LEFT], number, *state[TO_SCHEDULER:])

    def _drops(self, state: State, found: list[Happened]) -> None:
        for at in (TO_SCHEDULER, TO_CLIENT, TOLD_SCHEDULER, TOLD_CLIENT, ANSWERS):
            if state[at]:
                after = (*state[:at], self.pipes.rest[state[at]], *state[at + 1 :])
                found.append(self._dropped(("drops", at), after, self.pipes.head[state[at]]))
        for engine in self._engines:
            slot = self.slots.values[state[FIRST + engine]]
            rest = self.pipes.rest
            for way, pipe, left in (
                ("inward", slot.inward, slot._replace(inward=rest[slot.inward])),
                ("outward", slot.outward, slot._replace(outward=rest[slot.outward])),
            ):
                if pipe and slot.is_live:
                    after = self._with(state, engine, self.slots.number(left))
                    found.append(self._dropped(("drops", way, engine), after, self.pipes.head[pipe]))

    def _dropped(self, action: Action, state: State, message: int) -> Happened:
        task = self.messages.task[message]
        if task >= 0:
            book, violation = self._look(state[BOOK], self.facts.number((("drops", task),)))
            return Happened(action, (*state[:BOOK], book, *state[LEFT:]), violation)
        left = self.left.number(self.left.values[state[LEFT]]._replace(is_untold=True))
        return Happened(action, (*state[:LEFT], left, *state[TO_SCHEDULER:]), None)


__all__ = ["Action", "Happened", "State", "World"]
