"""The engines of a stream as its parties saw them: who was given which id, was announced, beat, and left.

Facts that a recorder may note, and that change what may be concluded:

* `heart-started` with `party` and `uuid`: this party beats for this uuid. `unseen: true` says that a device beats whose
  answers are not recorded. Without the fact, a party named `X-heart` beats for what party X registered.
* `heart-stopped` with `party`: it beats no more.
* `subscribed` with `socket`: this notification socket hears everything from now on. Without the fact, a socket counts
  as subscribed once it has received something.
"""

from collections import defaultdict, deque
from typing import TYPE_CHECKING

from protocol.rules.parts import content_seen, whole
from protocol.world import Fact, Observation

if TYPE_CHECKING:
    from protocol.rules.ledger import Exchange


class Engine:
    """One registration that was granted: an id for a uuid, and what became of it on each notification socket."""

    __slots__ = ("announced", "exchange", "gone", "id", "leaving", "reply", "uuid")

    def __init__(self, uuid: str, id: int, exchange: "Exchange", reply: Observation) -> None:  # noqa: A002 - its name
        self.uuid = uuid
        self.id = id
        self.exchange = exchange
        self.reply = reply
        self.announced: dict[str, Observation] = {}
        self.gone: dict[str, Observation] = {}
        self.leaving: Observation | None = None

    @property
    def asked_at(self) -> int:
        """When the registration was sent, in nanoseconds."""
        return self.exchange.request.now


class Heart:
    """The answers that one uuid gave to pings, as they were sent.

    `first` and `last` are answers to one of the three latest pings, which the monitor may accept; `fresh` is the last
    answer to the very latest ping, which it must accept. `is_unseen` means that answers exist that nobody recorded.
    """

    __slots__ = ("first", "fresh", "is_unseen", "last", "stopped", "times")

    def __init__(self) -> None:
        self.first: Observation | None = None
        self.last: Observation | None = None
        self.fresh: Observation | None = None
        self.times = 0
        self.is_unseen = False
        self.stopped: int | None = None


class Engines:
    """See the module."""

    def __init__(self) -> None:
        self.granted: list[Engine] = []
        self.of_uuid: defaultdict[str, list[Engine]] = defaultdict(list)
        self.of_id: defaultdict[int, list[Engine]] = defaultdict(list)
        self.asking: defaultdict[str, list[Exchange]] = defaultdict(list)
        self.hearts: dict[str, Heart] = {}
        self.watchers: dict[str, Observation | Fact] = {}
        self.closing: Observation | None = None
        self._uuids: defaultdict[str, set[str]] = defaultdict(set)
        self._hearts_of: dict[str, str] = {}
        self._pings: defaultdict[str, deque[bytes]] = defaultdict(lambda: deque(maxlen=3))

    def note(self, fact: Fact) -> None:
        """Take in a fact."""
        data = fact.data
        if fact.name == "subscribed":
            self.watchers.setdefault(str(data.get("socket")), fact)
        elif fact.name == "heart-started":
            uuid = str(data.get("uuid"))
            self._hearts_of[str(data.get("party"))] = uuid
            heart = self.hearts.setdefault(uuid, Heart())
            heart.stopped = None
            heart.is_unseen = heart.is_unseen or data.get("unseen") is True
        elif fact.name == "heart-stopped":
            uuid = self._hearts_of.get(str(data.get("party")), "")
            if uuid in self.hearts:
                self.hearts[uuid].stopped = fact.now
        elif fact.name == "socket-closed":
            self.watchers.pop(str(data.get("socket")), None)

    def update(self, seen: Observation, exchange: "Exchange | None") -> None:
        """Take in an observation; `exchange` is what it answers."""
        channel = seen.channel
        if channel == "heartbeat-ping":
            if seen.direction == "received" and seen.frames:
                self._pings[seen.observer].append(bytes(seen.frames[-1]))
        elif channel == "heartbeat-pong":
            if seen.direction == "sent":
                self._beat(seen)
        elif seen.message is None:
            return
        elif channel == "notification":
            if seen.direction == "received":
                self._announce(seen)
                self.watchers.setdefault(seen.socket, seen)
        elif channel == "query":
            if exchange is not None:
                self._grant(seen, exchange)
            elif seen.direction == "sent":
                self._request(seen)
        elif channel == "iopub" and seen.direction == "sent" and seen.message.msg_type == "shutdown_reply":
            for uuid in self._uuids[seen.observer]:
                self._leave(self.of_uuid[uuid], seen)

    def heart_of(self, uuid: str) -> Heart | None:
        """The recorded heart of a uuid; None if nobody here beats for it, or answers exist that were not recorded."""
        heart = self.hearts.get(uuid)
        return None if heart is None or heart.is_unseen else heart

    def uuid_of(self, observer: str) -> str | None:
        """The one uuid that a party beats for, if that is certain."""
        if observer in self._hearts_of:
            return self._hearts_of[observer]
        uuids = self._uuids.get(observer) or self._uuids.get(observer.removesuffix("-heart")) or set()
        return next(iter(uuids)) if len(uuids) == 1 else None

    def engine(self, uuid: object, id: object) -> Engine | None:  # noqa: A002 - its name in the protocol
        """The granted registration of this uuid under this id."""
        for engine in self.of_uuid.get(uuid, ()) if isinstance(uuid, str) else ():
            if engine.id == id:
                return engine
        return None

    def is_owned(self, uuid: object) -> bool:
        """Whether a party of this recording tried to register this uuid, so that all about it was seen."""
        return isinstance(uuid, str) and uuid in self.asking

    def _request(self, seen: Observation) -> None:
        assert seen.message is not None
        kind, content = seen.message.msg_type, content_seen(seen)
        if kind == "registration_request" and isinstance(content.get("uuid"), str):
            self._uuids[seen.observer].add(content["uuid"])
        elif kind == "unregistration_request":
            number = whole(content.get("id"))
            self._leave(self.granted if number is None else self.of_id.get(number, ()), seen)
        elif kind == "shutdown_request":
            self.closing = seen

    def ask(self, exchange: "Exchange") -> None:
        """Take in an accepted request."""
        uuid = content_seen(exchange.request).get("uuid")
        if exchange.message.msg_type == "registration_request" and isinstance(uuid, str):
            self.asking[uuid].append(exchange)

    def _grant(self, seen: Observation, exchange: "Exchange") -> None:
        assert seen.message is not None
        content, asked = content_seen(seen), content_seen(exchange.request)
        number, uuid = whole(content.get("id")), asked.get("uuid")
        if seen.message.msg_type != "registration_reply" or content.get("status") != "ok":
            return
        if number is None or not isinstance(uuid, str) or len(exchange.replies) > 1:
            return
        engine = Engine(uuid, number, exchange, seen)
        self.granted.append(engine)
        self.of_uuid[uuid].append(engine)
        self.of_id[number].append(engine)

    def _leave(self, engines: "list[Engine] | tuple[()]", seen: Observation) -> None:
        for engine in engines:
            engine.leaving = engine.leaving or seen

    def _announce(self, seen: Observation) -> None:
        assert seen.message is not None
        content = content_seen(seen)
        engine = self.engine(content.get("uuid"), content.get("id"))
        if engine is None:
            return
        if seen.message.msg_type == "registration_notification":
            engine.announced.setdefault(seen.socket, seen)
        elif seen.message.msg_type == "unregistration_notification":
            engine.gone.setdefault(seen.socket, seen)

    def _beat(self, seen: Observation) -> None:
        uuid = self.uuid_of(seen.observer)
        if uuid is None or not seen.frames:
            return
        pings, answer = self._pings[seen.observer], bytes(seen.frames[-1])
        if len(seen.frames) > 1 or (pings and answer not in pings):
            return
        heart = self.hearts.setdefault(uuid, Heart())
        heart.first = heart.first or seen
        heart.last = seen
        heart.times += 1
        if pings and answer == pings[-1]:
            heart.fresh = seen
