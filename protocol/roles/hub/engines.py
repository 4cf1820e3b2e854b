"""Engines as the Hub knows them: their numbers, their identities, and the life of each.

A registration is accepted at once and stays pending until the engine's heart was heard, so that nobody is told of an
engine that cannot be reached. Hearts and registrations come on different sockets, hence in any order: what the heart
monitor last said of a heart is kept, whether somebody registered under that name or not. An engine whose heart beats
already when it registers, because it was quicker or because it returns under its old name, is registered at once.

Numbers are never given twice, also not on request and not after a restart. After a restart, or when a new heart monitor
takes over, the engines that were there stay, until it turns out within the registration timeout whether they beat.

Source: IPython commit a2c57acba, parallel_messages.txt, "Registration"; measured on ipyparallel 9.2.0.
"""

from bisect import bisect_right, insort
from collections.abc import Iterator
from typing import Any, Final, NamedTuple

from protocol.roles.tables import Move, StateTable

#: The life of one engine; what is done is the notification that is published.
ENGINE: Final = StateTable(
    "an engine, as the Hub knows it",
    {
        "unknown": {
            "registers": "pending",
            "registers, beating": "registered: registration_notification",
            "restored": "unconfirmed",
        },
        "pending": {
            "heard": "registered: registration_notification",
            "leaves": "gone",
            "shut down": "gone",
            "timed out": "gone",
        },
        "registered": {
            "leaves": "gone: unregistration_notification",
            "shut down": "gone: unregistration_notification",
            "heart stopped": "gone: unregistration_notification",
            "monitor restarted": "unconfirmed",
        },
        "unconfirmed": {
            "heard": "registered",
            "leaves": "gone: unregistration_notification",
            "shut down": "gone: unregistration_notification",
            "heart stopped": "gone: unregistration_notification",
            "timed out": "gone: unregistration_notification",
        },
        "gone": {},
    },
    illegal=(
        "It changes nothing: a heart that nobody registered is only remembered, and an engine that is gone stays gone. "
        "A registration under a name that is in use is refused with an error reply."
    ),
    meanings={
        "unknown": "it has not registered",
        "pending": "registered, but its heart was not heard yet: nobody is told of it",
        "registered": "its heart beats, and everybody may know of it",
        "unconfirmed": "it was registered before the Hub or the heart monitor restarted, and has to be heard again",
        "gone": "for good: a later registration under its name is another engine with another number",
    },
)

#: Engines that are gone and can still be asked about, the latest ones.
REMEMBERED: Final = 1024
#: Greater numbers are given to nobody on request: not every peer counts further than twice as far.
GREATEST: Final = 1 << 52
#: Bytes of the longest identity that ZeroMQ has.
LONGEST: Final = 255


class Engine:
    """One engine that is pending, registered or unconfirmed. `epoch` tells its present timer from earlier ones."""

    __slots__ = ("epoch", "id", "state", "uuid")

    def __init__(self, number: int, uuid: str, state: str = "unknown", epoch: int = 0) -> None:
        self.id: Final = number
        self.uuid: Final = uuid
        self.state = state
        self.epoch = epoch

    @property
    def is_live(self) -> bool:
        """Whether others are told of it."""
        return self.state != "pending"


class Step(NamedTuple):
    """What happened to an engine: its new state, and the notification to publish or an empty text."""

    engine: Engine
    state: str
    notification: str


class Engines:
    """All engines, hearts and numbers. Hearts and engines are told apart: each may be there without the other."""

    def __init__(self) -> None:
        self.by_id: dict[int, Engine] = {}
        self.by_uuid: dict[str, Engine] = {}
        #: Names of the hearts that beat, according to the heart monitor.
        self.beating: dict[str, None] = {}
        #: Id to uuid of announced engines that are gone, the latest last.
        self.gone: dict[int, str] = {}
        #: Numbers given so far, as ranges (first, behind the last), sorted and not touching.
        self.given: list[tuple[int, int]] = []

    def live(self) -> Iterator[Engine]:
        """The engines that others are told of, in the order of their numbers' being given."""
        return (engine for engine in self.by_id.values() if engine.is_live)

    def is_free(self, uuid: str) -> bool:
        """Whether nobody is registered or pending under this name."""
        return uuid not in self.by_uuid

    def add(self, uuid: str, requested: int | None) -> Step:
        """Take up a registration under a free name, with the number requested if nobody ever had it."""
        number = self._number(requested)
        engine = self.by_id[number] = self.by_uuid[uuid] = Engine(number, uuid)
        step = self.happens(engine, "registers, beating" if uuid in self.beating else "registers")
        assert step is not None
        return step

    def happens(self, engine: Engine, event: str) -> Step | None:
        """Let something happen to an engine; None if it means nothing in its state."""
        move = ENGINE.move(engine.state, event)
        return None if move is None else self._step(engine, move)

    def uuid_of(self, target: int | str) -> tuple[int, str] | None:
        """Number and name of an engine that is or was there, by either of them. Pending ones are not known yet."""
        if isinstance(target, int):
            engine = self.by_id.get(target)
            if engine is not None and engine.is_live:
                return target, engine.uuid
            return (target, self.gone[target]) if target in self.gone else None
        engine = self.by_uuid.get(target)
        if engine is not None and engine.is_live:
            return engine.id, target
        number = next((number for number, uuid in reversed(self.gone.items()) if uuid == target), None)
        return None if number is None else (number, target)

    def _step(self, engine: Engine, move: Move) -> Step:
        was_live = engine.state not in ("unknown", "pending")
        engine.state = move.state
        engine.epoch += 1
        if engine.state == "gone":
            del self.by_id[engine.id], self.by_uuid[engine.uuid]
            if was_live:
                self.gone[engine.id] = engine.uuid
                if len(self.gone) > REMEMBERED:
                    del self.gone[next(iter(self.gone))]
        return Step(engine, engine.state, move.does)

    # -- numbers -------------------------------------------------------------------------------------------------------

    def _number(self, requested: int | None) -> int:
        number = self.next_id
        if requested is not None and not self._was_given(requested):
            number = requested
        self._give(number)
        return number

    @property
    def next_id(self) -> int:
        """The number that is given to who requests none: behind the greatest that was ever given."""
        return self.given[-1][1] if self.given else 0

    def _was_given(self, number: int) -> bool:
        at = bisect_right(self.given, (number, 2 * GREATEST))
        return at > 0 and number < self.given[at - 1][1]

    def _give(self, number: int) -> None:
        first, end = number, number + 1
        at = bisect_right(self.given, (number, 0))
        if at < len(self.given) and self.given[at][0] == end:
            end = self.given.pop(at)[1]
        if at > 0 and self.given[at - 1][1] == first:
            first = self.given.pop(at - 1)[0]
        insort(self.given, (first, end))

    # -- across restarts -----------------------------------------------------------------------------------------------

    def kept(self) -> dict[str, Any]:
        """What must survive a restart, as JSON: the keys that ipyparallel writes, and the numbers given."""
        return {
            "engines": {str(engine.id): engine.uuid for engine in self.live()},
            "next_id": self.next_id,
            "given": [list(each) for each in self.given],
        }

    def restore(self, state: object) -> list[Step]:
        """Take up what `kept` gave before a restart; anything else is as if there had been nothing."""
        if not isinstance(state, dict):
            return []
        engines, next_id, given = state.get("engines"), state.get("next_id"), state.get("given")
        steps: list[Step] = []
        if is_number(next_id):
            # Where it is not known which of the smaller ones were given, all were.
            ranges = given if isinstance(given, list) and all(map(_is_range, given)) else [[0, next_id]]
            for first, end in sorted(ranges):
                if self.given and first <= self.given[-1][1]:
                    first, last = self.given.pop()
                    end = max(end, last)
                if first < end:
                    self.given.append((first, end))
        for key, uuid in engines.items() if isinstance(engines, dict) else ():
            number = int(key) if isinstance(key, str) and key.isascii() and key.isdigit() and len(key) < 17 else -1
            if is_number(number) and is_name(uuid) and number not in self.by_id and self.is_free(uuid):
                if not self._was_given(number):
                    self._give(number)
                engine = self.by_id[number] = self.by_uuid[uuid] = Engine(number, uuid)
                step = self.happens(engine, "restored")
                assert step is not None
                steps.append(step)
        return steps

    def freeze(self) -> tuple[Any, ...]:
        """The state as plain tuples."""
        engines = tuple((each.id, each.uuid, each.state, each.epoch) for each in self.by_id.values())
        return engines, tuple(sorted(self.beating)), tuple(self.gone.items()), tuple(self.given)

    def thaw(self, frozen: tuple[Any, ...]) -> None:
        """Take up a state that `freeze` gave."""
        engines, beating, gone, given = frozen
        self.by_id = {each[0]: Engine(*each) for each in engines}
        self.by_uuid = {engine.uuid: engine for engine in self.by_id.values()}
        self.beating = dict.fromkeys(beating)
        self.gone = dict(gone)
        self.given = list(given)


def is_number(value: object) -> bool:
    """Whether this can be the number of an engine."""
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2 * GREATEST


def is_name(uuid: object) -> bool:
    """Whether this can be the uuid of an engine: ASCII text that a socket takes as its identity."""
    return isinstance(uuid, str) and 0 < len(uuid) <= LONGEST and uuid.isascii() and uuid[0] != "\0"


def _is_range(value: object) -> bool:
    return isinstance(value, list) and len(value) == 2 and all(map(is_number, value))
