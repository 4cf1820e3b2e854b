"""The engines of a stream as its parties saw them: who was given which id, was announced, beat, and left.

Facts that a recorder may note, and that change what may be concluded:

* `heart-started` with `party` and `uuid`: this party beats for this uuid. `unseen: true` says that a device beats whose
  answers are not recorded. Without the fact, a party named `X-heart` beats for what party X registered.
* `heart-stopped` with `party`: it beats no more.
* `socket-closed` with `socket`: if a party registered through it, another one may bear its name from now on.
* `subscribed` with `socket`: this notification socket hears everything from now on. Without the fact, a socket counts
  as subscribed once it has received something.
* `hearts-beat-before`: there are hearts that beat before this recording, or this epoch of it, began.
* `missed` with `socket`: a notification for this socket was lost, late or altered. It counts as one that was not there
  until it receives the next one.
"""

from collections import defaultdict, deque
from collections.abc import Iterable
from typing import TYPE_CHECKING

from protocol.rules.parts import content_seen, whole
from protocol.rules.pings import Arrivals
from protocol.rules.setting import Setting
from protocol.world import Fact, Observation

if TYPE_CHECKING:
    from protocol.rules.ledger import Exchange

#: Channels that tell something of engines.
TOLD = frozenset({"heartbeat-ping", "heartbeat-pong", "notification", "query", "control", "iopub"})


class Engine:
    """One engine: an id for a uuid, how it was granted, and what was published of it on each notification socket.

    `exchange` and `reply` are None for an engine that registered where nobody of this recording saw it. `leaving` is
    what took the engine off the list before its heart could stop: a request, or its own shutdown.
    """

    __slots__ = ("announced", "exchange", "gone", "id", "leaving", "reply", "uuid")

    def __init__(self, uuid: str, id: int) -> None:  # noqa: A002 - its name in the protocol
        self.uuid = uuid
        self.id = id
        self.exchange: Exchange | None = None
        self.reply: Observation | None = None
        self.announced: dict[str, Observation] = {}
        self.gone: dict[str, Observation] = {}
        self.leaving: Observation | None = None

    def announced_before(self, seen: Observation) -> Observation | None:
        """The announcement that somebody had received when `seen` was sent, or None."""
        return next((each for each in self.announced.values() if each.seq < seen.seq), None)

    def gone_before(self, seen: Observation) -> Observation | None:
        """The notification of its end that somebody had received when `seen` was sent, or None."""
        return next((each for each in self.gone.values() if each.seq < seen.seq), None)


class Heart:
    """The answers that one uuid gave to pings, as they were sent.

    `first` and `last` are answers to one of the three latest pings, which the monitor may accept; `fresh` is the last
    answer to the very latest ping, which it must accept, and `travel` tells how long that ping was on its way, see
    `Arrivals`. `is_unseen` means that answers exist that nobody recorded.
    """

    __slots__ = ("first", "fresh", "is_unseen", "last", "stopped", "times", "travel")

    def __init__(self) -> None:
        self.first: Observation | None = None
        self.last: Observation | None = None
        self.fresh: Observation | None = None
        self.travel: int | None = None
        self.times = 0
        self.is_unseen = False
        self.stopped: int | None = None


class Engines:
    """See the module."""

    def __init__(self, setting: Setting) -> None:
        self._setting = setting
        #: Whether answers to pings were sent that no uuid could be found for.
        self.has_strangers = False
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
        self._arrivals: defaultdict[str, Arrivals] = defaultdict(Arrivals)

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
            socket = str(data.get("socket"))
            self.watchers.pop(socket, None)
            party, _, name = socket.partition("/")
            if name.partition("#")[0] == "query":
                # Whoever is called so later is another party, which registers anew.
                self._uuids.pop(party, None)
        elif fact.name == "hearts-beat-before":
            self.has_strangers = True
        elif fact.name == "missed":
            self.watchers.pop(str(data.get("socket")), None)

    def update(self, seen: Observation, exchange: "Exchange | None") -> None:
        """Take in an observation; `exchange` is what it answers."""
        channel = seen.channel
        if channel == "heartbeat-ping":
            if seen.direction == "received" and seen.frames:
                self._pings[seen.observer].append(bytes(seen.frames[-1]))
                self._arrivals[seen.observer].add(seen)
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
        elif channel == "control" and seen.direction == "sent" and self._setting.role == "engine":
            if seen.message.msg_type == "shutdown_request":
                self.closing = seen
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

    def registered_by(self, observer: str) -> str | None:
        """The one uuid that a party asked to register, if there is just one."""
        uuids = self._uuids.get(observer)
        return next(iter(uuids)) if uuids is not None and len(uuids) == 1 else None

    @property
    def are_all_granted(self) -> bool:
        """Whether every engine that is known registered where this recording saw it."""
        return all(engine.exchange is not None for engine in self.all())

    def engine(self, uuid: object, id: object) -> Engine | None:  # noqa: A002 - its name in the protocol
        """The latest engine known by this uuid and this id."""
        for engine in reversed(self.of_uuid.get(uuid, ()) if isinstance(uuid, str) else ()):
            if engine.id == id:
                return engine
        return None

    def all(self) -> "list[Engine]":
        """Every engine that was granted or announced."""
        return [engine for engines in self.of_uuid.values() for engine in engines]

    def is_surely_alive(self, engine: Engine, at: int) -> bool:
        """Whether an announced engine must still be registered at a time (nanoseconds).

        It did not leave, and its heart answered so lately that nobody may have given it up.
        """
        if engine.leaving is not None or engine.gone or self.closing is not None:
            return False
        heart = self.hearts.get(engine.uuid)
        if heart is None:
            return False
        if heart.is_unseen:
            return heart.stopped is None
        return heart.fresh is not None and at - heart.fresh.now < self._setting.soonest_death_ns

    def late(self, heart: Heart) -> int:
        """How much longer than others the ping was on its way that a heart answered last, in nanoseconds."""
        return self._arrivals[heart.fresh.observer].late(heart.travel) if heart.fresh is not None else 0

    def is_surely_mute(self, uuid: str) -> bool:
        """Whether nobody ever answered a ping for a uuid that a party of this recording registered."""
        return uuid in self.asking and uuid not in self.hearts and not self.has_strangers

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
        # The announcement may have overtaken the reply, on another socket.
        engine = self.engine(uuid, number)
        if engine is None or engine.exchange is not None:
            engine = self._add(uuid, number)
        engine.exchange, engine.reply = exchange, seen
        self.granted.append(engine)

    def _add(self, uuid: str, number: int) -> Engine:
        engine = Engine(uuid, number)
        self.of_uuid[uuid].append(engine)
        self.of_id[number].append(engine)
        return engine

    def _leave(self, engines: Iterable[Engine], seen: Observation) -> None:
        for engine in engines:
            engine.leaving = engine.leaving or seen

    def _announce(self, seen: Observation) -> None:
        assert seen.message is not None
        content = content_seen(seen)
        uuid, number = content.get("uuid"), whole(content.get("id"))
        if not isinstance(uuid, str) or number is None:
            return
        engine = self.engine(uuid, number) or self._add(uuid, number)
        if seen.message.msg_type == "registration_notification":
            engine.announced.setdefault(seen.socket, seen)
        elif seen.message.msg_type == "unregistration_notification":
            engine.gone.setdefault(seen.socket, seen)

    def _beat(self, seen: Observation) -> None:
        uuid = self.uuid_of(seen.observer)
        if uuid is None:
            self.has_strangers = True
            return
        if not seen.frames:
            return
        pings, answer = self._pings[seen.observer], bytes(seen.frames[-1])
        if len(seen.frames) > 1 or (pings and answer not in pings):
            return
        heart = self.hearts.setdefault(uuid, Heart())
        heart.first = heart.first or seen
        heart.last = seen
        heart.times += 1
        if pings and answer == pings[-1]:
            heart.fresh, heart.travel = seen, self._arrivals[seen.observer].latest
