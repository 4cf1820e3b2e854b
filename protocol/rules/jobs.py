"""The work of a stream as its parties saw it: each request of a client, to which engines it came, and what they said.

A recorder that plays clients and engines sees all of it: a request leaves a client, arrives at an engine, is answered
there, and the answer arrives at the client. Each step causes the next one, and so they happened in this order.

A job that anybody muddled is not `is_clear`, and no rule judges it: its msg_id was used twice, it was sent wrong on
purpose, an engine answered what it was not given or answered twice, or the recorder does not know which engine it was.
"""

from collections.abc import Iterable
from typing import Any, Final

from protocol.errors import ProtocolError
from protocol.rules.engines import Engines
from protocol.rules.parts import claimed_id, is_reply, parent_of
from protocol.wire import DELIMITER, Message
from protocol.world import Observation

#: The queues whose requests go to one engine at a time.
QUEUES: Final = frozenset({"mux", "task", "control"})


class Delivery:
    """A request as it arrived at an engine, whose uuid is `engine`, and what that answered."""

    __slots__ = ("answer", "engine", "seen")

    def __init__(self, seen: Observation, engine: str) -> None:
        self.seen = seen
        self.engine = engine
        self.answer: Observation | None = None

    @property
    def is_ok(self) -> bool:
        """Whether the engine answered that all went well."""
        return self.answer is not None and status_of(self.answer) == "ok"

    @property
    def is_refusal(self) -> bool:
        """Whether the engine found a dependency unmet."""
        return self.answer is not None and metadata_of(self.answer).get("dependencies_met") is False


class Job:
    """One request of a client on a queue, and everything that became of it."""

    __slots__ = ("answers", "deliveries", "is_clear", "request")

    def __init__(self, request: Observation) -> None:
        self.request = request
        self.deliveries: list[Delivery] = []
        #: What the client was told.
        self.answers: list[Observation] = []
        self.is_clear = request.why is None

    @property
    def message(self) -> Message:
        """The request itself."""
        assert self.request.message is not None
        return self.request.message

    @property
    def given_to(self) -> str:
        """The engine at which it arrived last."""
        return self.deliveries[-1].engine

    @property
    def channel(self) -> str:
        """The queue that the client chose."""
        return self.request.channel

    def delivered(self, answer: Observation) -> Delivery | None:
        """Where an answer that reached the client comes from; None if no engine sent it."""
        said = None if answer.message is None else answer.message.msg_id
        for each in self.deliveries:
            if each.answer is not None and each.answer.message is not None and each.answer.message.msg_id == said:
                return each
        return None


class Jobs:
    """See the module. The item just taken in gave `given` to an engine, or `answered` a job; None if it did not."""

    def __init__(self, engines: Engines) -> None:
        self._engines = engines
        self.by_id: dict[str, Job] = {}
        self.given: Job | None = None
        self.answered: Job | None = None

    def update(self, seen: Observation) -> None:
        """Take in an observation of a queue."""
        message = seen.message
        if message is None:
            self.muddle(claimed_id(seen.frames) if seen.direction == "sent" else None)
        elif is_reply(message):
            about = parent_of(message).get("msg_id")
            job = self.by_id.get(about) if isinstance(about, str) else None
            if job is None:
                return
            if seen.direction == "sent":
                self._answers(job, seen)
            elif seen.observer == job.request.observer:
                job.answers.append(seen)
                self.answered = job
        elif seen.direction == "sent":
            if message.msg_id in self.by_id:
                self.muddle(message.msg_id)
            else:
                self.by_id[message.msg_id] = Job(seen)
        else:
            self._delivers(seen, message)

    def _delivers(self, seen: Observation, message: Message) -> None:
        job, engine = self.by_id.get(message.msg_id), self._engines.registered_by(seen.observer)
        if job is None:
            return
        if engine is None:
            job.is_clear = False
            return
        job.deliveries.append(Delivery(seen, engine))
        self.given = job

    def _answers(self, job: Job, seen: Observation) -> None:
        mine = [each for each in job.deliveries if each.seen.observer == seen.observer]
        if not mine or mine[-1].answer is not None or seen.why is not None:
            job.is_clear = False
        else:
            mine[-1].answer = seen

    def muddle(self, msg_id: str | None) -> None:
        """A message about this request is not what its sender sent: nothing more is concluded from it."""
        if msg_id is not None and msg_id in self.by_id:
            self.by_id[msg_id].is_clear = False

    def named(self, ids: Iterable[str]) -> list[Job] | None:
        """The jobs with these ids, or None if one of them is not known or not clear."""
        jobs = [self.by_id.get(msg_id) for msg_id in ids]
        return [job for job in jobs if job is not None] if all(job and job.is_clear for job in jobs) else None


def metadata_of(seen: Observation) -> dict[str, Any]:
    """The metadata, or {} if it cannot be read."""
    try:
        return {} if seen.message is None else seen.message.metadata
    except ProtocolError:
        return {}


def status_of(seen: Observation) -> object:
    """The status that metadata or content has; None if neither can be read."""
    status = metadata_of(seen).get("status")
    try:
        return status if status is not None or seen.message is None else seen.message.content.get("status")
    except ProtocolError:
        return status


def body_of(seen: Observation) -> tuple[object, ...]:
    """What a relay must not change, for comparison: the frames behind the signature as bytes.

    Of a message that was never bytes: its dictionaries and buffers.
    """
    if type(seen.frames) is tuple:
        at = seen.frames.index(DELIMITER) + 2 if DELIMITER in seen.frames else 0
        return tuple(map(bytes, seen.frames[at:]))
    message = seen.message
    assert message is not None
    return (message.header, *meaning_of(message))


def is_as_sent(seen: Observation, sent: Observation) -> bool:
    """Whether what a relay must not change is the same in both."""
    one, other = seen.message, sent.message
    if one is not None and other is not None and one.signature is None and one.shares(other):
        return True
    return body_of(seen) == body_of(sent)


def meaning_of(message: Message) -> tuple[object, ...]:
    """Parent header, metadata, content and buffers; what cannot be read stands as bytes."""
    parts = message.parts
    try:
        read: tuple[object, ...] = (message.parent_header, message.metadata, message.content)
    except ProtocolError:
        read = tuple(map(bytes, parts[1:])) if parts is not None else ()
    return (*read, tuple(map(bytes, message.buffers)))
