"""The parties of a conversation: who is there, what they have open, and how they send."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from conformance.harness.actors import Client, Engine
from conformance.harness.virtualworld import VirtualWorld
from conformance.model import steps as alphabet
from conformance.model.ledger import Cast, Ledger, Peer
from conformance.model.questions import Question
from protocol.rules.parts import content_of
from protocol.wire import DELIMITER, Frame, Message
from protocol.world import Fact, Observation

if TYPE_CHECKING:
    from conformance.harness.controller import Controller
    from conformance.harness.output import Output


QUEUES: Final = ("mux", "task", "control")

#: How much of what was sent may be sent again.
KEPT: Final = 40


class Parties(ABC):
    """See the module."""

    def __init__(
        self, controller: Controller, *, hwm: int, avoid: frozenset[str], is_known: Callable[[str, str], bool]
    ) -> None:
        self.controller = controller
        self.world = controller.world
        self.timing = controller.timing
        self.avoid = avoid
        #: Whether records and engines are on a disk, from which the controller can come again.
        self.is_lasting = False
        #: Whether a violation of a requirement that was found in these words is known.
        self.is_known = is_known
        self.is_virtual = isinstance(controller.world, VirtualWorld)
        self.book = Ledger(hwm=hwm, is_alone=self.is_virtual)
        #: What the Hub was asked and has not answered, by id.
        self.asked: dict[str, tuple[Message, Question, Client]] = {}
        self.answers: dict[str, Observation] = {}
        self.sent: dict[str, deque[tuple[Client, tuple[Frame, ...], Message | None]]] = {}
        #: What came of requests that nobody here has sent, until somebody is known to have.
        self.unclaimed: list[tuple[Peer, Observation]] = []
        self.listener: Output | None = None
        self.published: dict[str, list[Message]] = {}
        self.proved: set[str] = set()
        #: What the engines know a client by, for each queue.
        self.names: dict[tuple[str, str], tuple[Frame, ...]] = {}
        #: Who submitted under which id of somebody else's task.
        self.foreign: set[tuple[str, str]] = set()
        #: What was played, and the number of the observations before each step.
        self.steps: list[alphabet.Step] = []
        self.marks: list[int] = []
        self._clients: dict[int, Client] = {}
        self._answered = 0
        #: The greatest id that was given or asked for before this conversation.
        self.most = max(map(_number_in, controller.world.observations), default=0)
        #: Who looks at everything when all is quiet.
        self.auditor = self._client()

    def client(self, number: int) -> Client:
        """The client of this number."""
        if number not in self._clients:
            self._clients[number] = self._client()
        return self._clients[number]

    def _client(self) -> Client:
        client = self.controller.client()
        self.world.listen(client.query, lambda seen: self._replied(client, seen))
        for channel in (*QUEUES, "broadcast"):
            self.world.listen(client.queue(channel), lambda seen: self._returned(client, seen))
        return client

    def _engine(self, uuid: str | None = None) -> Engine:
        engine = self.controller.engine(uuid=uuid).with_shell(*QUEUES, "broadcast", "iopub")
        self.world.listen(engine.query, lambda seen: self._told(engine, seen))
        for channel in QUEUES:
            self.world.listen(engine.queue(channel), lambda seen: self._given(engine, seen))
        return engine

    def _vanish(self, engine: Engine) -> None:
        """Let an engine vanish with its connections: whatever it was to be answered comes to nobody."""
        self.asked = {msg_id: each for msg_id, each in self.asked.items() if each[2] is not engine}
        if (peer := self._peer_of(engine)) is not None:
            peer.closed_at = self.world.now
        engine.close()

    def _peer_of(self, engine: Engine) -> Peer | None:
        return next((peer for peer in self.book.peers if peer.engine is engine), None)

    def _party(self, who: str, number: int) -> Client | None:
        if who == "client":
            return self.client(number % alphabet.CLIENTS)
        peer = self.book.peer(number)
        return peer.engine if peer is not None and peer.engine.is_open else None

    def _send(
        self, client: Client, channel: str, message: Message, why: str | None = None, octets: bytes = b""
    ) -> None:
        socket = client.query if channel == "query" else client.queue(channel)
        frames = tuple(self.controller.codec.encode(message)) if not octets else self._with_content(message, octets)
        if why is None:
            socket.send(message)
        else:
            socket.send_raw(frames, why)
        self.sent.setdefault(channel, deque(maxlen=KEPT)).append((client, frames, message))

    def _expect(self, party: Client, message: Message, question: Question) -> None:
        self.asked[message.msg_id] = (message, question, party)

    def _with_content(self, message: Message, octets: bytes) -> tuple[Frame, ...]:
        codec = self.controller.codec
        frames = list(codec.encode(message))
        at = frames.index(DELIMITER)
        frames[at + 5] = octets
        frames[at + 1] = codec.sign(b"".join(map(bytes, frames[at + 2 : at + 6])))
        return tuple(frames)

    @abstractmethod
    def flush(self) -> None:
        """Wait until all questions are answered."""

    @abstractmethod
    def _listen(self) -> None:
        """Take in what the Hub has announced."""

    @abstractmethod
    def _told(self, engine: Engine, seen: Observation) -> None:
        """The Hub says something to an engine on its own socket."""

    @abstractmethod
    def _replied(self, client: Client, seen: Observation) -> None:
        """The Hub answers."""

    @abstractmethod
    def _given(self, engine: Engine, seen: Observation) -> None:
        """A queue gives something to an engine."""

    @abstractmethod
    def _returned(self, client: Client, seen: Observation) -> None:
        """A queue gives something to a client."""

    @abstractmethod
    def settle(self) -> None:
        """Wait until every matter is closed."""

    @abstractmethod
    def is_steady(self, since: int, limit: int) -> bool:
        """Whether the harness itself looked often enough for silence to mean something."""

    def _cast_of(self, msg_id: object) -> Cast | None:
        return next((cast for cast in self.book.casts if cast.message.msg_id == msg_id), None)


def _number_in(seen: Observation | Fact) -> int:
    """The id that a registration asks for or is granted; 0 in all else."""
    message = seen.message if isinstance(seen, Observation) else None
    if message is None or message.msg_type not in ("registration_request", "registration_reply"):
        return 0
    number = content_of(message).get("id")
    return number if isinstance(number, int) else 0


def replace_header(message: Message, header: dict[str, Any]) -> Message:
    """The same message under another header."""
    return Message(
        header, parent_header=message.parent_header, metadata=message.metadata, content=message.content,
        buffers=message.buffers, identities=message.identities,
    )  # fmt: skip
