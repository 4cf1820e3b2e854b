"""What a stream has shown so far: requests with their replies, and engines with their hearts.

The rules share one ledger, which the judge updates before they look. It keeps facts and obligations and judges nothing:
who asked what, what answered it, which engine was announced on which socket. It holds a request to be *accepted* when
its signature is valid and was not seen before on that channel; nobody has to answer any other.
"""

import sys
from collections import defaultdict
from collections.abc import Set
from typing import Literal

from msgspec import UNSET

from protocol.errors import Problem
from protocol.messages.base import MessageType
from protocol.messages.build import reply_name
from protocol.messages.registry import lookup
from protocol.rules.echoes import Echoes
from protocol.rules.engines import TOLD, Engines
from protocol.rules.jobs import QUEUES, Jobs
from protocol.rules.memory import KEPT, forget
from protocol.rules.parts import (
    claimed_id,
    claimed_metadata,
    is_reply,
    parent_of,
    part_problems,
    signature_of,
    type_problems,
    whole,
)
from protocol.rules.setting import Setting
from protocol.wire import Message
from protocol.world import Fact, Observation

#: Why a message that cannot be read was dropped, by the requirement that it breaks; the first that fits.
KINDS = {
    "wire.delimiter-present": "undelimited",
    "wire.all-parts-present": "short",
    "wire.signature-verified": "forged",
}


#: The facts that change what the ledger or its engines know: whoever looks for another one there adds it here.
FACTS = frozenset(
    {
        "subscribed",
        "heart-started",
        "heart-stopped",
        "socket-closed",
        "hearts-beat-before",
        "missed",
        "stalled",
        "hindered",
        "touched",
    }
)
#: What an item is to what is known: the answer to a request, a job that comes to an engine, what its client is told.
About = Literal["", "answer", "delivery", "outcome"]


class Exchange:
    """One accepted request and everything that answered it, on the asker's socket."""

    __slots__ = ("is_closed", "replays", "replies", "request", "row")

    def __init__(self, request: Observation, row: MessageType | None) -> None:
        self.request = request
        self.row = row
        self.replies: list[Observation] = []
        self.replays: list[Observation] = []
        self.is_closed = False

    @property
    def message(self) -> Message:
        """The request itself."""
        assert self.request.message is not None
        return self.request.message

    @property
    def is_one_way(self) -> bool:
        """Whether its type has no reply: silence is the right answer, and an error is allowed."""
        return self.row is not None and not self.row.replies

    @property
    def is_owed(self) -> bool:
        """Whether a reply is due: not for a one-way type, nor for content that cannot be read as an object."""
        return not self.is_one_way and not part_problems(self.request)

    @property
    def is_damaged(self) -> bool:
        """Whether the kit made it wrong on purpose; the sender's mistake decides what may answer it."""
        return self.request.why is not None


class Dropped:
    """Something that the kit sent and that nobody had to accept: `kind` is why.

    replayed: sent before under the same signature; forged: a wrong signature; undelimited, short: frames are missing;
    damaged: well signed, but a header, parent header or metadata that no receiver needs to make sense of.
    """

    __slots__ = ("kind", "seen")

    def __init__(self, seen: Observation) -> None:
        self.seen = seen
        if seen.message is not None:
            self.kind = "replayed"
            return
        rules = seen.error.rules if seen.error is not None else ()
        kinds = (kind for rule, kind in KINDS.items() if rule in rules)
        self.kind = next(kinds, "damaged")

    @property
    def is_registration(self) -> bool:
        """Whether it claims to be a registration_request."""
        return any(b"registration_request" in bytes(frame) for frame in self.seen.frames)


class Orphan:
    """A reply to nothing that was accepted on its socket.

    `kind` is that of the dropped message which it answers (`unclear` if it may be one of several kinds), `elsewhere`
    for a request of another socket, `moved` for one of a socket that was closed (who takes over its identity gets its
    answers too), or `unasked`; `cause` is the message that it seems to answer.
    """

    __slots__ = ("cause", "kind", "reply")

    def __init__(self, reply: Observation, kind: str, cause: Observation | None) -> None:
        self.reply = reply
        self.kind = kind
        self.cause = cause


class Ledger:
    """See the module."""

    def __init__(self, setting: Setting) -> None:
        self.setting = setting
        self._asked = setting.asked
        self.engines = Engines(setting)
        self.echoes = Echoes()
        self.jobs = Jobs(self.engines)
        self.exchanges: list[Exchange] = []
        self.orphan: Orphan | None = None
        self.dropped: defaultdict[str, list[Dropped]] = defaultdict(list)
        self._by_id: defaultdict[tuple[str, str], list[Exchange]] = defaultdict(list)
        self._asked_elsewhere: dict[str, Exchange] = {}
        self._open: defaultdict[str, list[Exchange]] = defaultdict(list)
        self._suspects: defaultdict[str, list[Dropped]] = defaultdict(list)
        self._damaged: set[str] = set()
        #: Whether something was sent into the tree on purpose whose id is no text.
        self._has_nameless_casts = False
        self._signatures: dict[tuple[str, bytes], Exchange] = {}
        #: The last request of each socket that was answered.
        self._done: dict[str, int] = {}
        #: What the item just taken in answers.
        self.exchange: Exchange | None = None
        #: What it is to what is known.
        self.about: About = ""
        #: When somebody could do nothing: until when, and for how long.
        self._kept: dict[str, list[tuple[int, int]]] = {"stalled": [], "hindered": []}
        #: Requests of which the network kept, doubled or delayed a message, and those of which it altered one.
        self.touched: set[str] = set()
        self.altered: set[str] = set()
        self._checked: tuple[Observation, tuple[Problem, ...] | None] | None = None

    def update(self, item: Observation | Fact) -> None:
        """Take in the next item of the stream."""
        jobs = self.jobs
        self.exchange = self.orphan = jobs.given = jobs.answered = None
        self.about = ""
        if isinstance(item, Fact):
            if item.name not in FACTS:
                return
            if item.name == "socket-closed":
                self._close(str(item.data.get("socket", "")))
            elif item.name in self._kept:
                self._kept[item.name].append((item.now, whole(item.data.get("ns")) or 0))
            elif item.name == "touched":
                self._touch(item)
            self.engines.note(item)
            return
        if item.direction == "sent" and item.why is not None:
            self.echoes.update(item)
            claimed = item.message.msg_id if item.message is not None else claimed_id(item.frames)
            if claimed is not None:
                self._damaged.add(claimed)
            elif item.channel == "broadcast":
                self._has_nameless_casts = True
        channel = item.channel
        if channel in self._asked:
            if item.direction == "sent":
                self._ask(item)
            elif item.message is not None and is_reply(item.message):
                self._answer(item)
        if channel in TOLD and (channel != "iopub" or item.direction == "sent"):
            self.engines.update(item, self.exchange)
        if self.exchange is not None:
            self.about = "answer"
        elif channel in QUEUES and self.setting.role in (UNSET, "controller"):
            jobs.update(item)
            if jobs.given is not None:
                self.about = "delivery"
            elif jobs.answered is not None:
                self.about = "outcome"

    def is_open(self, msg_id: str) -> bool:
        """Whether something may still become of a message: a reply is due, or it changes what is true later."""
        exchange, job = self._asked_elsewhere.get(msg_id), self.jobs.by_id.get(msg_id)
        if exchange is not None and (
            exchange.message.msg_type in KEPT or (exchange.is_owed and not exchange.replies and not exchange.is_closed)
        ):
            return True
        return job is not None and not job.answers

    def forget(self, gone: Set[str], limit: int) -> None:
        """Keep nothing of these messages, and of what had to be dropped no more than `limit` on each socket."""
        self.exchanges[:] = [each for each in self.exchanges if each.message.msg_id not in gone]
        for waiting in self._open.values():
            waiting[:] = [each for each in waiting if each.message.msg_id not in gone]
        for key in [key for key, each in self._signatures.items() if each.message.msg_id in gone]:
            del self._signatures[key]
        forget((self._by_id, self._asked_elsewhere, self._damaged, self.touched, self.altered, self.jobs.by_id), gone,
               sys.maxsize)  # fmt: skip
        forget((*self.dropped.values(), *self._suspects.values()), gone, limit)

    def _touch(self, fact: Fact) -> None:
        msg_id = str(fact.data.get("msg_id", ""))
        self.jobs.muddle(msg_id)
        self.touched.add(msg_id)
        if fact.data.get("is_altered") is True:
            self.altered.add(msg_id)

    def waited(self, since: int, until: int) -> int:
        """How long the recorder really waited between two times, in nanoseconds: without what kept somebody.

        The fact `stalled` with `ns` says that nobody looked at the sockets for so long before it was noted, `hindered`
        that those who were to answer could not go on.
        """
        return until - since - max(self._lost(name, since, until) for name in self._kept)

    def looked(self, since: int, until: int) -> int:
        """How long the recorder itself was awake between two times, in nanoseconds."""
        return until - since - self._lost("stalled", since, until)

    def _lost(self, name: str, since: int, until: int) -> int:
        return sum(duration for at, duration in self._kept[name] if since < at <= until)

    def was_asked(self, msg_id: str) -> bool:
        """Whether a request of this id was accepted, on any socket."""
        return msg_id in self._asked_elsewhere

    def is_about_damage(self, seen: Observation) -> bool:
        """Whether a message belongs to a request that the recorder made wrong on purpose."""
        if not self._damaged and not self._has_nameless_casts:
            return False
        if seen.channel == "broadcast" and (seen.message is None or not is_reply(seen.message)):
            # The tree sends a request on under ids of its own; that an id is no text is the request's mistake.
            metadata = claimed_metadata(seen.frames) if seen.message is None else seen.message.metadata
            original = metadata.get("original_msg_id", "")
            return not isinstance(original, str) or original in self._damaged
        if seen.message is None:
            return False
        # Each engine answers a copy of its own, and says of which request that is one.
        names = [parent_of(seen.message).get("msg_id")]
        names += [claimed_metadata(seen.frames).get("original_msg_id")] if seen.channel == "broadcast" else []
        return any(isinstance(name, str) and name in self._damaged for name in names)

    def is_sent_on_damage(self, seen: Observation) -> bool:
        """Whether a tree has sent a wrong request on: to it the parts are opaque, and it signs them again."""
        return seen.channel == "broadcast" and self.is_about_damage(seen)

    def is_namesake_of_damage(self, seen: Observation) -> bool:
        """Whether a message is named as the answer to a wrong request, whose type does not exist on its channel."""
        if not self.is_about_damage(seen) or seen.message is None:
            return False
        asked = parent_of(seen.message).get("msg_type")
        return (
            isinstance(asked, str)
            and seen.message.msg_type == reply_name(asked)
            and lookup(asked, seen.channel, self.setting.dialect) is None
        )

    def type_problems(self, seen: Observation) -> tuple[Problem, ...] | None:
        """As `parts.type_problems`, worked out once for the rules that ask."""
        if self._checked is None or self._checked[0] is not seen:
            self._checked = (seen, type_problems(seen, self.setting.dialect))
        return self._checked[1]

    def answered(self, seen: Observation) -> Exchange | None:
        """The exchange that the item just taken in answers, or None."""
        exchange = self.exchange
        return exchange if exchange is not None and exchange.replies[-1] is seen else None

    def _ask(self, seen: Observation) -> None:
        message = seen.message
        if message is None:
            self._drop(seen)
            return
        signature = signature_of(seen.frames)
        key = (seen.channel, signature)
        if signature and key in self._signatures:
            self._signatures[key].replays.append(seen)
            self._drop(seen)
            return
        exchange = Exchange(seen, lookup(message.msg_type, seen.channel, self.setting.dialect))
        self._signatures[key] = exchange
        self.exchanges.append(exchange)
        self._by_id[seen.socket, message.msg_id].append(exchange)
        self._asked_elsewhere[message.msg_id] = exchange
        self._open[seen.socket].append(exchange)
        self.engines.ask(exchange)

    def _drop(self, seen: Observation) -> None:
        dropped = Dropped(seen)
        self.dropped[seen.socket].append(dropped)
        self._suspects[seen.socket].append(dropped)

    def _answer(self, seen: Observation) -> None:
        message = seen.message
        assert message is not None
        parent = parent_of(message)
        msg_id = parent.get("msg_id")
        waiting, suspects = self._open[seen.socket], self._suspects[seen.socket]
        if isinstance(msg_id, str):
            known = self._by_id.get((seen.socket, msg_id), [])
            exchange = next((each for each in known if not each.replies), known[-1] if known else None)
        else:
            exchange = self._unnamed(seen, message, waiting)
            # Who was registered is answered like that, whatever else was dropped before.
            is_usual = not parent and message.msg_type == "registration_reply" and exchange in waiting
            is_later = exchange is not None and suspects and suspects[0].seen.seq < exchange.request.seq
            if not is_usual and (parent or is_later):
                exchange = exchange if not suspects else None
        if exchange is None:
            self.orphan = self._orphan(seen, msg_id, suspects)
            return
        if exchange in waiting:
            waiting.remove(exchange)
            # Whoever answers a later request has done with what came before it.
            suspects[:] = [each for each in suspects if each.seen.seq > exchange.request.seq]
            self._done[seen.socket] = max(exchange.request.seq, self._done.get(seen.socket, -1))
        exchange.replies.append(seen)
        self.exchange = exchange

    def _unnamed(self, seen: Observation, message: Message, waiting: list[Exchange]) -> Exchange | None:
        # A registration_reply names no request: it answers the oldest registration of its socket.
        if message.msg_type == "registration_reply":
            for exchange in waiting:
                if exchange.message.msg_type == "registration_request":
                    return exchange
            if any(dropped.is_registration for dropped in self._suspects[seen.socket]):
                # Who takes what cannot be read as empty may have accepted that one.
                return None
            same = [each for each in self.exchanges if each.request.socket == seen.socket]
            return next((each for each in reversed(same) if each.message.msg_type == "registration_request"), None)
        # Nor does an answer without a name come late for what was passed over.
        done = self._done.get(seen.socket, -1)
        return next((each for each in waiting if each.request.seq > done), None)

    def _orphan(self, seen: Observation, msg_id: object, suspects: list[Dropped]) -> Orphan:
        if isinstance(msg_id, str):
            for dropped in reversed(self.dropped[seen.socket]):
                if claimed_id(dropped.seen.frames) == msg_id:
                    return Orphan(seen, dropped.kind, dropped.seen)
            if (asked := self._asked_elsewhere.get(msg_id)) is not None:
                return Orphan(seen, "moved" if asked.is_closed else "elsewhere", asked.request)
        if suspects:
            # It names nothing, so among dropped messages of different kinds nobody knows which one it answers.
            is_clear = len({dropped.kind for dropped in suspects}) == 1
            dropped = suspects.pop(0)
            return Orphan(seen, dropped.kind if is_clear else "unclear", dropped.seen)
        return Orphan(seen, "unasked", None)

    def _close(self, socket: str) -> None:
        for exchange in self._open.pop(socket, []):
            exchange.is_closed = True
