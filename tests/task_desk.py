"""A task scheduler under a test's hands: shorthands for events, a clock with timers, and a record of what came out."""

import heapq
from typing import Any, NamedTuple

from role_world import message, wired

from protocol.messages import build, validate
from protocol.roles.base import Arrived, Effect, Event, Exit, Fired, Forward, Note, Send, SetTimer, Started, Stopping
from protocol.roles.speech import parent_id
from protocol.roles.task import TaskConfig, TaskScheduler
from protocol.wire import Message

SECOND = 1_000_000_000


class Answer(NamedTuple):
    """One reply to a client. `ename` is empty for a real reply; `engine` is what stands before the delimiter."""

    task: str
    ename: str
    engine: str
    client: bytes
    message: Message


class Env:
    """Chance from a small generator whose state can be copied."""

    def __init__(self, seed: int = 1) -> None:
        self.seed = seed
        self.count = 0
        self.marks: list[str] = []

    def random(self, n: int) -> int:
        self.seed = (self.seed * 6364136223846793005 + 1442695040888963407) % 2**64
        return (self.seed >> 33) % n

    def fresh_id(self) -> str:
        self.count += 1
        return f"s-{self.count}"

    def date(self, now: int) -> str:
        return f"2026-01-05T12:00:00.{now // 1000 % 1_000_000:06d}Z"

    def rarely(self, place: str) -> bool:  # noqa: ARG002 - nothing unusual happens here
        return False

    def mark(self, slug: str) -> None:
        self.marks.append(slug)


class Desk:
    """A scheduler that was started, and everything it did."""

    def __init__(self, engines: str = "", *, seed: int = 1, start: bool = True, **config: Any) -> None:
        config.setdefault("resync", 0)
        self.config = TaskConfig(**config)
        self.env = Env(seed)
        self.role = TaskScheduler(self.config, self.env)
        #: One that was thawed from the other's state, and has to do the same from then on.
        self.twin: TaskScheduler | None = None
        self.now = 0
        self.timers: list[tuple[int, int, str, int]] = []
        self.deliveries: list[tuple[str, str]] = []
        self.answers: list[Answer] = []
        self.monitor: list[tuple[str, str]] = []
        self.notes: list[Note] = []
        self.effects: list[Effect] = []
        self.asked: list[Message] = []
        self.is_over = False
        self._order = 0
        self._numbers = 0
        self._sent: dict[str, Message] = {}
        if start:
            self.handle(Started())
        for name in engines:
            self.came(name)

    # -- events ------------------------------------------------------------------------------------------------------

    def handle(self, event: Event) -> list[Effect]:
        """Hand over an event and record its effects."""
        effects = list(self.role.handle(self.now, event))
        if self.twin is not None:
            assert list(self.twin.handle(self.now, event)) == effects
        for effect in effects:
            self._record(effect)
        self.effects += effects
        return effects

    def came(self, name: str, number: int | None = None) -> None:
        self._numbers += 1
        number = self._numbers if number is None else number
        self.handle(Arrived("notification", message("registration_notification", {"id": number, "uuid": name})))

    def went(self, name: str, number: int = 1 << 40) -> None:
        self.handle(Arrived("notification", message("unregistration_notification", {"id": number, "uuid": name})))

    def submit(self, msg_id: str, *, client: bytes = b"client", **metadata: Any) -> list[Effect]:
        made = build("apply_request", msg_id=msg_id, session="c", metadata=metadata, identities=[client])
        self._sent[msg_id] = made
        return self.handle(Arrived("in", wired(made)))

    def reply(self, engine: str, msg_id: str, status: str = "ok", **metadata: Any) -> list[Effect]:
        made = build(
            "apply_reply", {"status": status}, msg_id=f"r-{engine}-{msg_id}-{len(self.effects)}", session=engine,
            parent=self._sent.get(msg_id) or {"msg_id": msg_id}, metadata={"status": status} | metadata,
            identities=[engine.encode(), b"client"],
        )  # fmt: skip
        return self.handle(Arrived("out", wired(made)))

    def refuse(self, engine: str, msg_id: str) -> list[Effect]:
        return self.reply(engine, msg_id, "error", dependencies_met=False)

    def stop(self) -> None:
        self.handle(Stopping())

    def sleep(self, seconds: float) -> None:
        """Let time pass, and timers run out in it."""
        until = self.now + int(seconds * SECOND)
        while self.timers and self.timers[0][0] <= until:
            at, _, name, epoch = heapq.heappop(self.timers)
            self.now = max(self.now, at)
            self.handle(Fired(name, epoch))
        self.now = until

    def split(self) -> None:
        """Go on with a scheduler that was thawed from this one's state, and with this one beside it."""
        frozen = self.role.freeze()
        hash(frozen)
        env = Env(self.env.seed)
        thawed = TaskScheduler(self.config, env)
        thawed.thaw(frozen)
        env.seed, env.count = self.env.seed, self.env.count
        assert thawed.freeze() == frozen
        self.twin, self.role, self.env = self.role, thawed, env

    # -- what came out -----------------------------------------------------------------------------------------------

    def _record(self, effect: Effect) -> None:
        assert not self.is_over, "something behind the exit"
        if isinstance(effect, SetTimer):
            assert effect.at >= self.now
            self._order += 1
            heapq.heappush(self.timers, (effect.at, self._order, effect.timer, effect.epoch))
        elif isinstance(effect, Note):
            if effect.name == "task":
                self.notes.append(effect)
        elif isinstance(effect, Exit):
            self.is_over = True
        elif isinstance(effect, Send) and effect.socket == "query":
            self.asked.append(effect.message)
        elif isinstance(effect, Send | Forward):
            identities = effect.identities if isinstance(effect, Forward) else effect.message.identities
            self._record_message(effect.socket, identities, effect.message)
        else:
            raise AssertionError(effect)

    def _record_message(self, socket: str, identities: tuple[bytes, ...], one: Message) -> None:
        if socket == "out":
            self.deliveries.append((identities[0].decode(), one.msg_id))
        elif socket == "in":
            engine = identities[1].decode() if len(identities) > 1 else ""
            client = identities[0]
            ename = one.content.get("ename", "")
            self.answers.append(Answer(one.parent_header["msg_id"], ename, engine, client, one))
        else:
            assert socket == "monitor"
            prefix = identities[0].decode()
            task = one.msg_id if prefix == "intask" else parent_id(one)
            if prefix == "tracktask":
                task = one.content["msg_id"]
            self.monitor.append((prefix, task))

    def ends(self) -> dict[str, str]:
        """Task to what its client got: `ok`, the ename of an error, or the status of a real reply."""
        assert len({answer.task for answer in self.answers}) == len(self.answers), "two replies"
        return {answer.task: answer.ename or answer.message.content["status"] for answer in self.answers}

    def places(self) -> list[str]:
        """The engines of all deliveries, in order."""
        return [engine for engine, _ in self.deliveries]

    def own(self, task: str = "t") -> Message:
        """The reply that the scheduler made to a task: it has to be right, and its copy for the Hub the same."""
        (answer,) = (answer for answer in self.answers if answer.task == task)
        msg_id = answer.message.msg_id
        (copy,) = (
            effect.message
            for effect in self.effects
            if isinstance(effect, Send) and effect.socket == "monitor" and effect.message.msg_id == msg_id
        )
        assert copy.identities == (b"outtask", *answer.message.identities)
        assert copy.replace(identities=answer.message.identities) == answer.message
        reading = validate(answer.message, "task", local=True)
        assert reading.row.name == "apply_reply"
        assert answer.message.content["status"] == "error"
        return answer.message
