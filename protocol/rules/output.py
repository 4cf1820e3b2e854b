"""What engines print, on its way to the clients."""

from collections.abc import Iterable

from protocol.rules.framework import Kind, Observe, Rule, Violation
from protocol.rules.parts import parent_of
from protocol.world import Fact, Observation


class StreamOrder(Rule):
    """What an engine prints arrives at each client in the order in which it was printed, and nothing of it twice.

    A client that subscribes late, or whose queue is full, misses some of it; that is no fault of the relay.
    """

    slug = "iopub.stream-order"
    channels = frozenset({"iopub"})

    def begin(self) -> None:
        self._sent: dict[str, tuple[str, int]] = {}
        self._last: dict[tuple[str, str], tuple[int, Observation]] = {}
        #: Requests of which the network altered a message.
        self._touched: set[object] = set()

    def listener(self, kind: Kind) -> Observe | None:
        return super().listener(kind) if kind.msg_type == "stream" else None

    @classmethod
    def heeds(cls, name: str) -> bool:
        return name == "touched"

    def note(self, fact: Fact) -> Iterable[Violation]:
        if fact.name == "touched":
            self._touched.add(fact.data.get("msg_id"))
        return ()

    def observe(self, seen: Observation) -> Iterable[Violation]:
        message = seen.message
        if message is None or message.msg_type != "stream":
            return ()
        if seen.direction == "sent":
            self._sent.setdefault(message.msg_id, (seen.observer, seen.seq))
            return ()
        engine, place = self._sent.get(message.msg_id, ("", 0))
        if not place or parent_of(message).get("msg_id") in self._touched:
            return ()
        before, last = self._last.get((seen.socket, engine), (0, seen))
        self._last[seen.socket, engine] = place, seen
        found = f"output of {engine!r} again" if before == place else f"output of {engine!r} behind what came later"
        return self.judge(place > before, seen, found, "once, in the order printed", evidence=[last])


RULES: tuple[type[Rule], ...] = (StreamOrder,)
