"""The Hub's records, by its real machine: what the scheduler copies to it, and what clients have it forget.

Whether engines are there is said elsewhere in a search (`world`); of a task the Hub knows only what it overhears.
Beside the state of the machine stand its records. A step: state, replies to the client, facts.
"""

from collections import deque
from collections.abc import Sequence
from typing import Any, Final

from protocol.roles.base import Arrived, Effect, Event, Found, Query, Send, Started, Store
from protocol.roles.freezing import freeze_value, thaw_value
from protocol.roles.hub import Hub, HubConfig
from protocol.roles.records import FIELDS, MemoryRecords
from protocol.roles.speech import content_of, parent_id
from simulator.explore.machines import CLIENT, Fact, Facts, Infect, Machine, PlainEnv, purge_of
from simulator.explore.names import task_of
from simulator.explore.scope import Scope
from simulator.explore.tables import Messages

#: What the Hub has of a task.
UNKNOWN, PENDING, COMPLETED = range(3)


class RecordsMachine(Machine):
    """The Hub, as far as its records go."""

    def __init__(
        self, scope: Scope, messages: Messages, facts: Facts, marks: dict[str, int], infect: Infect | None
    ) -> None:
        super().__init__(Hub(HubConfig(), PlainEnv("hub", marks)), messages, facts, infect)
        self._scope: Final = scope
        self._store = MemoryRecords()

    def begin(self) -> int:
        """The state of a Hub that has begun, and has no records."""
        self._carry(Started())
        return self._left()

    def takes(self, state: int, socket: str, message: int) -> tuple[Any, ...]:
        """A copy comes on `monitor`, or a request of the client on `query`."""
        key = (state, socket, message)
        step = self.steps.get(key)
        if step is None:
            whole = self.messages.whole[message]
            if socket == "query":
                whole = whole.replace(identities=(CLIENT, *whole.identities))
            self.enter(state)
            self._store = MemoryRecords()
            for record in self.states.values[state][2]:
                self._store.add_record(thaw_value(record))
            replies: list[int] = []
            facts: list[Fact] = []
            for effect in self._carry(Arrived(socket, whole)):
                if isinstance(effect, Send) and effect.socket == "query":
                    replies.append(self.messages.of(effect.message.replace(identities=effect.message.identities[1:])))
                    status = str((content_of(effect.message) or {}).get("status"))
                    facts.append(("purged", purge_of(parent_id(effect.message)), status))
            facts.append(("keeps", *self._kept()))
            step = self.steps[key] = (self._left(), tuple(replies), self.facts.number(tuple(facts)))
        return step

    def _carry(self, event: Event) -> list[Effect]:
        """Let the Hub handle an event, and answer it from the store; all its effects."""
        done: list[Effect] = []
        waiting: deque[Event] = deque([event])
        while waiting:
            for effect in self.role.handle(0, waiting.popleft()):
                done.append(effect)
                if isinstance(effect, Store):
                    getattr(self._store, effect.operation)(*effect.arguments)
                elif isinstance(effect, Query):
                    found: Sequence[Any] = getattr(self._store, effect.operation)(*effect.arguments)
                    waiting.append(Found(effect.token, found))
        return done

    def _kept(self) -> tuple[int, ...]:
        kept = [UNKNOWN] * self._scope.tasks
        for record in self._store.find({}, ("msg_id", "completed")):
            task = task_of(record["msg_id"])
            if 0 <= task < len(kept):
                kept[task] = PENDING if record["completed"] is None else COMPLETED
        return tuple(kept)

    def _left(self) -> int:
        records = tuple(freeze_value(dict(record)) for record in self._store.find({}, tuple(FIELDS)))
        return self.leave(self.role.freeze(), records)


__all__ = ["COMPLETED", "PENDING", "UNKNOWN", "RecordsMachine"]
