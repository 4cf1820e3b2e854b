"""The Hub: where engines register, where clients ask, and where everything that passes the queues is remembered.

It takes no part in execution: the queues do their work whether it listens or not. What it knows comes from three
sides: requests on `query`, copies of all queue traffic on `monitor`, the heart monitor's verdicts among them. What it
says goes out as replies, as notifications to all, and as resubmitted requests.

Requests of one client are answered in the order in which they came. One that has to look into the records waits for
the store, and later ones of the same client wait behind it; other clients are served meanwhile.

Source: IPython commit a2c57acba, parallel_messages.txt, "The Hub", "Registration", "Notification" and "Client Queries";
measured on ipyparallel 9.2.0.
"""

from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar, Final

import msgspec

from protocol.messages.heartbeat import Hearts
from protocol.messages.registration import RegistrationRequest
from protocol.roles import marks
from protocol.roles.base import (
    NOTHING,
    Arrived,
    Effect,
    Env,
    Event,
    Exit,
    Fired,
    Found,
    Note,
    Persist,
    Query,
    Role,
    Send,
    SetTimer,
    SocketSpec,
    Started,
    Stopping,
)
from protocol.roles.freezing import freeze_message, freeze_value, thaw_message, thaw_value
from protocol.roles.hub.engines import ENGINE, GREATEST, Engine, Engines, Step, is_name, is_number
from protocol.roles.hub.inquiries import INQUIRIES, Answer, Inquiries, Look, Refused, Unreadable, read
from protocol.roles.hub.traffic import LOST, Traffic
from protocol.roles.records import Record
from protocol.roles.speech import Voice, content_of, error
from protocol.wire import Json, Message
from protocol.world import SECOND

Effects = Sequence[Effect]


class HubConfig(msgspec.Struct, frozen=True, kw_only=True):
    """What a Hub is told when it starts; times are nanoseconds, but for the period, which engines are told.

    `connection_info` is what an engine is told of the other sockets: `interface` and the ports of the engine file.
    `registration_timeout` bounds the wait for a first heartbeat, and the grace time of messages on engines that are
    gone. `has_new_scheduler` says that the task scheduler started with this Hub, and so knows no task of before.
    `session` stands in the headers of all that the Hub says; `notes` adds facts of its inner state.
    """

    session: str = "hub"
    hb_period_ms: int = 3000
    connection_info: dict[str, Any] = {}
    registration_timeout: int = 30 * SECOND
    shutdown_delay: int = SECOND
    has_new_scheduler: bool = True
    notes: bool = False


class _Waiting:
    """The request of one client that waits for the store, and those that wait behind it."""

    __slots__ = ("behind", "found", "kept", "message", "missing")

    def __init__(self, message: Message, kept: tuple[Any, ...], count: int) -> None:
        self.message = message
        self.kept = kept
        self.found: list[Sequence[Record]] = [()] * count
        self.missing = count
        self.behind: deque[Message] = deque()


class Hub(Role):
    """Requests on `query`, copies of the queues on `monitor`; speaks on `query`, `notification` and `resubmit`."""

    NAME = "hub"
    SOCKETS: ClassVar[Mapping[str, SocketSpec]] = {
        "query": SocketSpec("query"),
        "notification": SocketSpec("notification"),
        "monitor": SocketSpec("monitor"),
        "resubmit": SocketSpec("resubmission"),
    }
    TABLES = (ENGINE,)
    MARKS = marks.of("hub")

    def __init__(self, config: HubConfig, env: Env) -> None:
        self.config: Final = config
        self.env: Final = env
        self.voice: Final = Voice(env, config.session)
        self.engines: Final = Engines()
        self.traffic: Final = Traffic(self.engines, self.voice, notes=config.notes)
        self.inquiries: Final = Inquiries(self.engines, self.traffic, self.voice)
        #: The session of the heart monitor whose verdicts count, once one was heard.
        self.monitor_session: str | None = None
        self.is_ending = False
        self._waiting: dict[bytes, _Waiting] = {}
        #: Open looks into the records: token -> client and place among its queries. An empty place: those of the start.
        self._looks: dict[int, tuple[bytes, int] | None] = {}
        self._token = 0

    def handle(self, now: int, event: Event) -> Effects:
        """Serve a request, remember what passed a queue, act on a timer or on what the store found."""
        kind = type(event)
        if kind is Arrived:
            assert isinstance(event, Arrived)
            if event.socket == "monitor":
                return self._overheard(now, event.message)
            if event.socket == "query":
                return self._asked(now, event.message)
        elif kind is Found:
            assert isinstance(event, Found)
            return self._looked_up(now, event)
        elif kind is Fired:
            assert isinstance(event, Fired)
            return self._fired(now, event)
        elif kind is Started:
            assert isinstance(event, Started)
            return self._started(now, event.state)
        elif kind is Stopping:
            return self._stopping(now)
        return NOTHING

    # -- beginning and end ---------------------------------------------------------------------------------------------

    def _started(self, now: int, state: Any) -> Effects:
        effects: list[Effect] = []
        for step in self.engines.restore(state):
            self.env.mark("hub.engine-restored")
            effects.append(self._deadline(now, step.engine))
            effects += self._tell(step)
        token = self._look(None)
        effects.append(Query(token, "find", ({"completed": None}, ("msg_id", "queue", "engine_uuid"))))
        return effects

    def _shutdown(self, now: int, request: Message) -> Effects:
        effects: list[Effect] = [self._reply(now, request, {"status": "ok"})]
        if not self.is_ending:
            self.is_ending = True
            effects.append(self._publish(now, "shutdown_notification", {"status": "ok"}, request.header))
            effects.append(SetTimer("shutdown", now + self.config.shutdown_delay))
        return effects

    def _stopping(self, now: int) -> Effects:
        if self.is_ending:
            return (Exit(),)
        self.is_ending = True
        return (self._publish(now, "shutdown_notification", {"status": "ok"}), Exit())

    def _fired(self, now: int, event: Fired) -> Effects:
        what, _, rest = event.timer.partition(":")
        if what == "shutdown":
            return (Exit(),) if self.is_ending else NOTHING
        number = int(rest) if rest.removeprefix("-").isdecimal() and rest.isascii() else None
        if number is None:
            return NOTHING
        if what == "registration":
            engine = self.engines.by_id.get(number)
            if engine is not None and engine.epoch == event.epoch:
                self.env.mark("hub.registration-timed-out")
                return self._happens(now, engine, "timed out")
        elif what == "stranded":
            return self.traffic.give_up(now, number)
        return NOTHING

    # -- engines -------------------------------------------------------------------------------------------------------

    def _register(self, now: int, request: Message) -> Effects:
        asked = read(content_of(request), RegistrationRequest)
        requested = None if isinstance(asked.id, msgspec.UnsetType) else asked.id
        if requested is not None and not 0 <= requested <= GREATEST:
            raise Unreadable(f"{requested} is no number of an engine")
        if not is_name(asked.uuid):
            raise Unreadable("the uuid is no identity that an engine's sockets could have")
        if not self.engines.is_free(asked.uuid):
            self.env.mark("hub.uuid-in-use")
            raise Refused("KeyError", f"uuid {asked.uuid!r} in use")
        step = self.engines.add(asked.uuid, requested)
        reply = {
            "status": "ok",
            "id": step.engine.id,
            "hb_period": self.config.hb_period_ms,
            "connection_info": self.config.connection_info,
        }
        if step.notification:
            self.env.mark("hub.beating-before-registration")
        return [self._reply(now, request, reply), *self._stepped(now, step)]

    def _unregister(self, now: int, request: Message) -> Effects:
        number = (content_of(request) or {}).get("id")
        engine = self.engines.by_id.get(number) if is_number(number) else None  # type: ignore[arg-type]
        return NOTHING if engine is None else self._happens(now, engine, "leaves")

    def _happens(self, now: int, engine: Engine, event: str) -> Effects:
        step = self.engines.happens(engine, event)
        return NOTHING if step is None else self._stepped(now, step)

    def _stepped(self, now: int, step: Step) -> list[Effect]:
        """What follows from a new state of an engine."""
        engine = step.engine
        effects: list[Effect] = []
        if step.state in ("pending", "unconfirmed"):
            effects.append(self._deadline(now, engine))
        elif step.state == "gone" and step.notification:
            self.traffic.strand(engine)
            effects.append(SetTimer(f"stranded:{engine.id}", now + self.config.registration_timeout))
        effects.append(Persist(self.engines.kept()))
        if step.notification:
            effects.append(self._publish(now, step.notification, {"id": engine.id, "uuid": engine.uuid}))
        return [*effects, *self._tell(step)]

    def _tell(self, step: Step) -> Effects:
        """Note the new state of an engine, for rules that look inside."""
        engine = step.engine
        data = {"id": engine.id, "uuid": engine.uuid, "state": step.state}
        return (Note("hub-engine", data),) if self.config.notes else NOTHING

    def _deadline(self, now: int, engine: Engine) -> Effect:
        return SetTimer(f"registration:{engine.id}", now + self.config.registration_timeout, engine.epoch)

    def _hearts(self, now: int, message: Message) -> Effects:
        """What the heart monitor says: which hearts it heard for the first time, and which it gave up."""
        is_new = message.msg_type == "new_heart"
        if not is_new and message.msg_type != "stopped_heart":
            return NOTHING
        try:
            told = read(content_of(message), Hearts)
        except Unreadable:
            self.env.mark("hub.hearts-unreadable")
            return NOTHING
        effects = self._heard_monitor(now, message.header.get("session"))
        for heart in told.hearts:
            engine = self.engines.by_uuid.get(heart)
            if is_new:
                self.engines.beating[heart] = None
            else:
                self.engines.beating.pop(heart, None)
            if engine is not None:
                effects += self._happens(now, engine, "heard" if is_new else "heart stopped")
        if is_new and not isinstance(told.beating, msgspec.UnsetType):
            effects += self._called(now, dict.fromkeys(told.beating))
        return effects

    def _called(self, now: int, beating: dict[str, None]) -> list[Effect]:
        """All hearts that beat: what was said of one before may have been lost."""
        effects: list[Effect] = []
        self.engines.beating = beating
        for engine in list(self.engines.by_id.values()):
            is_beating, is_registered = engine.uuid in beating, engine.state == "registered"
            if is_beating and not is_registered:
                self.env.mark("hub.heart-not-announced")
                effects += self._happens(now, engine, "heard")
            elif is_registered and not is_beating:
                self.env.mark("hub.death-not-reported")
                effects += self._happens(now, engine, "heart stopped")
        return effects

    def _heard_monitor(self, now: int, session: object) -> list[Effect]:
        """A heart monitor that is new knows no heart of before, and so will not say when one of them stops."""
        effects: list[Effect] = []
        if not isinstance(session, str) or session == self.monitor_session:
            return effects
        if self.monitor_session is not None:
            self.env.mark("hub.monitor-restarted")
            self.engines.beating.clear()
            for engine in list(self.engines.by_id.values()):
                effects += self._happens(now, engine, "monitor restarted")
        self.monitor_session = session
        return effects

    # -- what passes the queues ----------------------------------------------------------------------------------------

    def _overheard(self, now: int, message: Message) -> Effects:
        prefix = message.identities[0] if message.identities else b""
        if prefix == b"heartmonitor":
            return self._hearts(now, message)
        if prefix == b"iopub" and message.msg_type == "shutdown_reply":
            # The last thing an engine says; its session is its name.
            session = message.header.get("session")
            engine = self.engines.by_uuid.get(session) if isinstance(session, str) else None
            return NOTHING if engine is None else self._happens(now, engine, "shut down")
        return self.traffic.take(now, prefix, message)

    # -- requests ------------------------------------------------------------------------------------------------------

    def _asked(self, now: int, message: Message) -> Effects:
        client = message.identities[0] if message.identities else b""
        waiting = self._waiting.get(client)
        if waiting is not None:
            self.env.mark("hub.waits-behind")
            waiting.behind.append(message)
            return NOTHING
        return self._serve(now, client, message)

    def _serve(self, now: int, client: bytes, message: Message) -> Effects:
        """Answer a request at once, or begin to look for its records."""
        try:
            if message.msg_type in INQUIRIES:
                prepared = self.inquiries.prepare(message, content_of(message))
                if isinstance(prepared, Look):
                    return self._wait(client, message, prepared)
                return self._answer(now, message, prepared)
            method = _REQUESTS.get(message.msg_type)
            if method is None:
                raise Unreadable(f"Bad Message Type: {message.msg_type!r:.200}")
            return method(self, now, message)
        except Unreadable as problem:
            return (self._reply(now, message, error("BadRequest", str(problem)), "hub_error"),)
        except Refused as refusal:
            return (self._reply(now, message, error(refusal.ename, str(refusal))),)

    def _wait(self, client: bytes, message: Message, look: Look) -> Effects:
        self._waiting[client] = _Waiting(message, look.kept, len(look.queries))
        return [
            Query(self._look((client, place)), "find", (query, keys))
            for place, (query, keys) in enumerate(look.queries)
        ]

    def _look(self, whose: tuple[bytes, int] | None) -> int:
        self._token += 1
        self._looks[self._token] = whose
        return self._token

    def _looked_up(self, now: int, event: Found) -> Effects:
        if event.token not in self._looks:
            return NOTHING
        whose = self._looks.pop(event.token)
        if whose is None:
            is_lost = self.traffic.reopen(event.records, has_new_scheduler=self.config.has_new_scheduler)
            return (SetTimer(f"stranded:{LOST}", now + self.config.registration_timeout),) if is_lost else NOTHING
        client, place = whose
        waiting = self._waiting[client]
        if event.error is None:
            waiting.found[place] = event.records
            waiting.missing -= 1
            if waiting.missing:
                return NOTHING
            effects = list(self._concluded(now, waiting))
        else:
            self.env.mark("hub.store-refused")
            self._looks = {token: each for token, each in self._looks.items() if each is None or each[0] != client}
            effects = [self._reply(now, waiting.message, error("StoreError", f"{event.error:.400}"))]
        del self._waiting[client]
        behind = waiting.behind
        while behind and client not in self._waiting:
            effects += self._serve(now, client, behind.popleft())
        if behind:
            self._waiting[client].behind = behind
        return effects

    def _concluded(self, now: int, waiting: _Waiting) -> Effects:
        try:
            answer = self.inquiries.conclude(now, waiting.message, waiting.kept, waiting.found)
        except Refused as refusal:
            return (self._reply(now, waiting.message, error(refusal.ename, str(refusal))),)
        return self._answer(now, waiting.message, answer)

    def _answer(self, now: int, request: Message, answer: Answer) -> Effects:
        reply = self.voice.answer(now, request, answer.content, buffers=answer.buffers)
        return (*answer.effects, Send("query", reply))

    def _connect(self, now: int, request: Message) -> Effects:
        engines = {str(engine.id): engine.uuid for engine in self.engines.live()}
        return (self._reply(now, request, {"status": "ok", "engines": engines}),)

    def _become_dask(self, now: int, request: Message) -> Effects:
        refusal = error("NotImplementedError", "this Hub has no dask scheduler; its own serves tasks")
        return (self._reply(now, request, refusal),)

    def _stop_distributed(self, now: int, request: Message) -> Effects:
        return (self._reply(now, request, {"status": "ok"}),)

    # -- speaking ------------------------------------------------------------------------------------------------------

    def _reply(self, now: int, request: Message, content: Json, msg_type: str = "") -> Effect:
        return Send("query", self.voice.answer(now, request, content, msg_type=msg_type))

    def _publish(self, now: int, msg_type: str, content: Json, parent: Json | None = None) -> Effect:
        return Send("notification", self.voice.say(now, msg_type, content, parent=parent))

    # -- the whole state -----------------------------------------------------------------------------------------------

    def freeze(self) -> tuple[Any, ...]:
        """The state as plain tuples."""
        waiting = tuple(
            (
                client,
                freeze_message(each.message),
                freeze_value(each.kept),
                tuple(freeze_value([dict(record) for record in records]) for records in each.found),
                each.missing,
                tuple(map(freeze_message, each.behind)),
            )
            for client, each in self._waiting.items()
        )
        return (
            self.engines.freeze(),
            self.traffic.freeze(),
            self.monitor_session,
            self.is_ending,
            waiting,
            tuple(self._looks.items()),
            self._token,
        )

    def thaw(self, frozen: tuple[Any, ...]) -> None:
        """Take up a state that `freeze` gave."""
        engines, traffic, self.monitor_session, self.is_ending, waiting, looks, self._token = frozen
        self.engines.thaw(engines)
        self.traffic.thaw(traffic)
        self._looks = dict(looks)
        self._waiting = {}
        for client, message, kept, found, missing, behind in waiting:
            each = self._waiting[client] = _Waiting(thaw_message(message), thaw_value(kept), len(found))
            each.found = [thaw_value(records) for records in found]
            each.missing = missing
            each.behind = deque(map(thaw_message, behind))


_REQUESTS: Final[Mapping[str, Callable[[Hub, int, Message], Effects]]] = {
    "connection_request": Hub._connect,
    "registration_request": Hub._register,
    "unregistration_request": Hub._unregister,
    "shutdown_request": Hub._shutdown,
    "become_dask_request": Hub._become_dask,
    "stop_distributed_request": Hub._stop_distributed,
}

#: Every request that is answered; all other types are answered with `hub_error`.
REQUESTS: Final = (*_REQUESTS, *INQUIRIES)

__all__ = ["REQUESTS", "Hub", "HubConfig"]
