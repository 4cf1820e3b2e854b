"""What a stream has shown so far: requests with their replies, and engines with their hearts.

The rules share one ledger, which the judge updates before they look. It keeps facts and obligations and judges nothing:
who asked what, what answered it, which engine was announced on which socket. It holds a request to be *accepted* when
its signature is valid and was not seen before on that channel; nobody has to answer any other.
"""

from collections import defaultdict

from protocol.errors import ProtocolError
from protocol.messages.base import MessageType
from protocol.messages.registry import lookup
from protocol.rules.engines import Engines
from protocol.rules.parts import claimed_id, is_reply, parent_of, signature_of
from protocol.rules.setting import Setting
from protocol.wire import Message
from protocol.world import Fact, Observation

#: The channels on which each accepted message has one terminal reply that the other end owes.
ASKED = frozenset({"query"})

#: Frames that a receiver may use for nothing, for each of these problems.
UNTRUSTED = frozenset({"wire.delimiter-present", "wire.all-parts-present", "wire.signature-verified"})


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
    def is_damaged(self) -> bool:
        """Whether the kit made it wrong on purpose; the sender's mistake decides what may answer it."""
        return self.request.why is not None


class Orphan:
    """A reply to nothing that was accepted on its socket; `cause` is the message that it seems to answer."""

    __slots__ = ("cause", "kind", "reply")

    def __init__(self, reply: Observation, kind: str, cause: Observation | None) -> None:
        self.reply = reply
        self.kind = kind
        self.cause = cause


class Ledger:
    """See the module."""

    def __init__(self, setting: Setting) -> None:
        self.setting = setting
        self.engines = Engines(setting)
        self.exchanges: list[Exchange] = []
        self.orphan: Orphan | None = None
        self.refused: dict[tuple[str, str], Observation] = {}
        self._by_id: defaultdict[tuple[str, str], list[Exchange]] = defaultdict(list)
        self._asked_elsewhere: dict[str, Observation] = {}
        self._open: defaultdict[str, list[Exchange]] = defaultdict(list)
        self._signatures: dict[tuple[str, bytes], Exchange | None] = {}
        self._current: tuple[int, Exchange] | None = None

    def update(self, item: Observation | Fact) -> None:
        """Take in the next item of the stream."""
        self._current = self.orphan = None
        if isinstance(item, Fact):
            if item.name == "socket-closed":
                self._close(str(item.data.get("socket", "")))
            self.engines.note(item)
            return
        if item.channel in ASKED:
            if item.direction == "sent":
                self._ask(item)
            elif item.message is not None and is_reply(item.message):
                self._answer(item)
        self.engines.update(item, self.answered(item))

    def answered(self, seen: Observation) -> Exchange | None:
        """The exchange that the item just taken in answers, or None."""
        current = self._current
        return current[1] if current is not None and current[0] == seen.seq else None

    def _ask(self, seen: Observation) -> None:
        message = seen.message
        if message is None:
            self._refuse(seen)
            return
        signature = signature_of(seen.frames)
        key = (seen.channel, signature)
        if signature and key in self._signatures:
            first = self._signatures[key]
            if first is not None:
                first.replays.append(seen)
            self.refused[seen.socket, message.msg_id] = seen
            return
        exchange = Exchange(seen, lookup(message.msg_type, seen.channel, self.setting.dialect))
        self._signatures[key] = exchange
        self.exchanges.append(exchange)
        self._by_id[seen.socket, message.msg_id].append(exchange)
        self._asked_elsewhere[message.msg_id] = seen
        self._open[seen.socket].append(exchange)
        self.engines.ask(exchange)

    def _refuse(self, seen: Observation) -> None:
        problems = seen.error.rules if isinstance(seen.error, ProtocolError) else ()
        if UNTRUSTED.isdisjoint(problems):
            return
        msg_id = claimed_id(seen.frames)
        if msg_id is not None:
            self.refused[seen.socket, msg_id] = seen

    def _answer(self, seen: Observation) -> None:
        message = seen.message
        assert message is not None
        parent = parent_of(message)
        msg_id = parent.get("msg_id")
        waiting = self._open[seen.socket]
        if msg_id is None:
            exchange = self._unnamed(seen, message, waiting)
        else:
            known = self._by_id.get((seen.socket, msg_id), []) if isinstance(msg_id, str) else []
            exchange = next((each for each in known if not each.replies), known[-1] if known else None)
        if exchange is None:
            self.orphan = self._orphan(seen, msg_id)
            return
        if exchange in waiting:
            waiting.remove(exchange)
        exchange.replies.append(seen)
        self._current = (seen.seq, exchange)

    def _unnamed(self, seen: Observation, message: Message, waiting: list[Exchange]) -> Exchange | None:
        # A registration_reply names no request: it answers the oldest registration of its socket.
        if message.msg_type == "registration_reply":
            for exchange in waiting:
                if exchange.message.msg_type == "registration_request":
                    return exchange
            same = [each for each in self.exchanges if each.request.socket == seen.socket]
            return next((each for each in reversed(same) if each.message.msg_type == "registration_request"), None)
        return waiting[0] if waiting else None

    def _orphan(self, seen: Observation, msg_id: object) -> Orphan:
        if isinstance(msg_id, str):
            if (cause := self.refused.get((seen.socket, msg_id))) is not None:
                return Orphan(seen, "refused", cause)
            if (cause := self._asked_elsewhere.get(msg_id)) is not None:
                return Orphan(seen, "elsewhere", cause)
        else:
            own = [cause for (socket, _), cause in self.refused.items() if socket == seen.socket]
            if own:
                return Orphan(seen, "refused", own[-1])
        return Orphan(seen, "unasked", None)

    def _close(self, socket: str) -> None:
        for exchange in self._open.pop(socket, []):
            exchange.is_closed = True
