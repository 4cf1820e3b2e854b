"""The engine: it registers, runs what clients send, and ends when it is told to or when its controller is gone.

Order of a start: `registration_request` on `query`; with the reply, the job `connect`, in which the process opens the
other sockets (`shell` to mux, task and the broadcast leaf `id modulo number of leaves`; `control`; `iopub`) and starts
the heart; then the engine publishes `starting` and serves.

Jobs (`Run`) and the results that their `Finished` takes:

* `connect`: the content of `message` has the `id` that it now has. None, or a text that says why it failed.
* `execute`, `apply` and the hosted requests: an `Outcome`. What code publishes meanwhile comes as `Output`.
* `clear`: empty the namespace. None, or a text that says why it failed.

The copies that the heart shows of its pings come as raw frames on `heartbeat`. An engine that finds itself held up, or
without pings for a while and with them again, cannot know whether the Hub gave it up meanwhile: no message tells it.
It asks for registration again; a Hub that still has it refuses, and nothing changes. With `refresh` it asks now and
then in any case: its own beats may be lost while pings arrive, and a Hub may begin anew without its disk. If it is
refused after a question that was never answered, the Hub may have it under another number: it looks that up with a
`connection_request`.

Source: IPython commit a2c57acba (2012), parallel_messages.txt, sections Registration and Control Messages; measured on
ipyparallel 9.2.0.
"""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Final

from protocol.messages.control import AbortRequest, EngineShutdownRequest
from protocol.roles import marks
from protocol.roles.base import (
    NOTHING,
    Arrived,
    Effect,
    Env,
    Event,
    Exit,
    Finished,
    Fired,
    Note,
    Output,
    Raw,
    Role,
    Run,
    Send,
    SetTimer,
    SocketSpec,
    Started,
    Stopping,
)
from protocol.roles.engine.answers import read
from protocol.roles.engine.settings import EngineConfig
from protocol.roles.engine.work import REQUEST, Work
from protocol.roles.freezing import freeze_message, thaw_message
from protocol.roles.speech import Voice, content_of, error, parent_id
from protocol.roles.tables import StateTable
from protocol.wire import Json, Message

#: Exit status of an engine that could not register, or whose controller is gone.
FAILED: Final = 255

_LOST: Final = "ended: unregistration_request, exit 255"
#: The life of an engine. A request is a message on `shell` or `control` other than a shutdown; see `work`.
ENGINE: Final = StateTable(
    "an engine",
    {
        "new": {"started": "registering: registration_request", "told to stop": "ended: exit 0"},
        "registering": {
            "registered": "connecting: job connect",
            "refused": "ended: exit 255",
            "no reply in time": _LOST,
            "told to stop": "ended: unregistration_request, exit 0",
        },
        "connecting": {
            "connected": "serving: status starting",
            "not connected": _LOST,
            "request": "connecting: as serving",
            "shutdown_request": "ended: replies, exit 0",
            "no pings": _LOST,
            "told to stop": "ended: unregistration_request, exit 0",
        },
        "serving": {
            "request": "serving: taken up",
            "shutdown_request": "ended: replies, exit 0",
            "no pings": _LOST,
            "pings again": "serving: registration_request",
            "time to ask": "serving: registration_request",
            "registered": "serving: job connect",
            "refused": "serving: it was never lost; connection_request if an earlier answer never came",
            "listed": "serving: job connect if its number is another one",
            "connected": "serving",
            "not connected": _LOST,
            "told to stop": "ended: unregistration_request, exit 0",
        },
        "ended": {},
    },
    illegal=(
        "It is ignored: an engine that has not registered takes no requests, and one that has ended says nothing more. "
        "A request that cannot be read gets an error reply and changes no state."
    ),
    meanings={
        "new": "the process has just started",
        "registering": "it waits for the Hub's answer",
        "connecting": "it has its number and opens the other sockets; requests may come already",
        "serving": "it runs what clients send",
        "ended": "the process ends",
    },
)

_MILLISECOND: Final = 1_000_000
#: The longest that an engine waits before it asks to be registered, if it waits.
LATE: Final = 300 * _MILLISECOND


class Engine(Role):
    """One engine. Its `shell` socket belongs to task and broadcast too."""

    NAME = "engine"
    SOCKETS: ClassVar[Mapping[str, SocketSpec]] = {
        "query": SocketSpec("query"),
        "shell": SocketSpec("mux"),
        "control": SocketSpec("control"),
        "iopub": SocketSpec("iopub"),
        "heartbeat": SocketSpec("heartbeat-engine-monitor"),
    }
    TABLES = (ENGINE, REQUEST)
    MARKS = marks.of("engine")
    #: The further channels to which `shell` is connected.
    SHELL_CHANNELS: ClassVar[tuple[str, ...]] = ("task", "broadcast")

    def __init__(self, config: EngineConfig, env: Env) -> None:
        self.config: Final = config
        self.env: Final = env
        self.voice: Final = Voice(env, config.uuid)
        self.work: Final = Work(config, self.voice)
        self.state = "new"
        self.asked = ""
        self.connecting = 0
        self.clearing: dict[int, Message] = {}
        self.period = config.period
        self.pinged = False
        self.missed = 0
        self.due = 0
        self.checks = 0
        #: Whether a request for registration was never answered: it may have been granted, under another number.
        self.is_unsure = False
        #: The event that ended it, for whoever tells the user; no state, since nothing follows.
        self.ended_by = ""

    @property
    def id(self) -> int | None:
        """The engine's number, once it has one."""
        return None if self.work.engine_id < 0 else self.work.engine_id

    def handle(self, now: int, event: Event) -> Sequence[Effect]:
        """Answer any event; an engine that ended answers none."""
        effects: list[Effect] = []
        if self.state == "ended":
            return NOTHING
        # What comes often is asked for first.
        match event:
            case Arrived():
                if event.socket == "shell":
                    if self._is_legal("request"):
                        self.work.take(now, "shell", event.message, effects)
                elif event.socket == "control":
                    if self._is_legal("request"):
                        self._control(now, event.message, effects)
                elif event.socket == "query":
                    self._query(now, event.message, effects)
            case Raw():
                if event.socket == "heartbeat":
                    self.pinged = True
            case Finished():
                self._finished(now, event, effects)
            case Output():
                # What code says comes while requests may come.
                if self._is_legal("request"):
                    self.work.output(now, event, effects)
            case Fired(timer="watch"):
                self._watch(now, effects)
            case Fired(timer="late"):
                if self.state == "registering" and not self.asked:
                    self._register(now, effects)
            case Fired(timer="registration"):
                if self._is_legal("no reply in time"):
                    self.env.mark("engine.no-registration-reply")
                    self._unregister(now, "no reply in time", effects, FAILED)
            case Started():
                if self._is_legal("started"):
                    self._step("started", effects)
                    if self.env.rarely("engine.registers-late"):
                        effects.append(SetTimer("late", now + 1 + self.env.random(LATE)))
                    else:
                        self._register(now, effects)
                    effects.append(SetTimer("registration", now + self.config.timeout))
            case Stopping():
                if self.state == "new":
                    self._end("told to stop", 0, effects)
                else:
                    self._unregister(now, "told to stop", effects, 0)
        return effects

    # -- registration --------------------------------------------------------------------------------------------------

    def _register(self, now: int, effects: list[Effect]) -> None:
        self.checks = 0
        content: Json = {"uuid": self.config.uuid}
        if self.config.id is not None and self.state == "registering":
            content["id"] = self.config.id
        request = self.voice.say(now, "registration_request", content)
        self.is_unsure = self.is_unsure or bool(self.asked)
        self.asked = request.msg_id
        effects.append(Send("query", request))

    def _query(self, now: int, message: Message, effects: list[Effect]) -> None:
        if not self.asked:
            return
        if message.msg_type == "hub_error":
            if parent_id(message) == self.asked:
                self._refused(now, effects)
            return
        content = content_of(message)
        if message.msg_type == "connection_reply":
            if parent_id(message) == self.asked:
                self._listed(message, content or {}, effects)
            return
        if message.msg_type != "registration_reply" or content is None:
            return
        if parent_id(message) not in ("", self.asked):
            return
        number, period = content.get("id"), content.get("hb_period")
        if content.get("status") != "ok" or type(number) is not int or number < 0:
            self._refused(now, effects)
            return
        self.asked = ""
        self.is_unsure = False
        if type(period) is int and period > 0:
            self.period = period * _MILLISECOND
        first = self.work.engine_id < 0
        self.work.engine_id = number
        self._step("registered", effects)
        if first:
            if self.config.misses > 0:
                self._watch_on(now, effects)
        else:
            self.env.mark("engine.registered-again")
        self._connect(message, effects)

    def _connect(self, reply: Message, effects: list[Effect]) -> None:
        self.work.last_job += 1
        self.connecting = self.work.last_job
        effects.append(Run(self.connecting, "connect", reply))

    def _refused(self, now: int, effects: list[Effect]) -> None:
        self.asked = ""
        if self.state == "serving":
            self.env.mark("engine.never-lost")
            self._step("refused", effects)
            if self.is_unsure:
                # The Hub may have it under another number, of which the answer never came.
                request = self.voice.say(now, "connection_request", {})
                self.asked = request.msg_id
                effects.append(Send("query", request))
        else:
            self.env.mark("engine.refused")
            self._end("refused", FAILED, effects)

    def _listed(self, reply: Message, content: Json, effects: list[Effect]) -> None:
        """The Hub has said which engines it has: take the number that stands there."""
        self.asked = ""
        self.is_unsure = False
        engines = content.get("engines")
        listed = engines.items() if isinstance(engines, dict) else ()
        number = next((int(key) for key, uuid in listed if uuid == self.config.uuid and key.isdecimal()), None)
        if number is not None and number != self.work.engine_id and self._is_legal("listed"):
            self.env.mark("engine.registered-again")
            self.work.engine_id = number
            self._connect(reply.replace(content={"id": number}), effects)

    def _connected(self, now: int, problem: object, effects: list[Effect]) -> None:
        self.connecting = 0
        if problem is not None:
            self.env.mark("engine.not-connected")
            self._unregister(now, "not connected", effects, FAILED)
        elif self._step("connected", effects):
            self.work.status(now, "starting", {}, effects)

    # -- control -------------------------------------------------------------------------------------------------------

    def _control(self, now: int, message: Message, effects: list[Effect]) -> None:
        handler = {
            "clear_request": self._clear,
            "abort_request": self._abort,
            "shutdown_request": self._shutdown,
            "signal_request": self._signal,
        }.get(message.msg_type)
        if handler is None:
            self.work.take(now, "control", message, effects)
            return
        self.work.status(now, "busy", message.header, effects)
        handler(now, message, effects)
        # A shutdown has said its last; a clear is idle when it is done.
        if handler not in (self._shutdown, self._clear):
            self.work.status(now, "idle", message.header, effects)

    def _answer(self, now: int, request: Message, content: Json, effects: list[Effect]) -> None:
        metadata = {"engine": self.config.uuid}
        effects.append(Send("control", self.voice.answer(now, request, content, metadata=metadata)))

    def _refuse(self, now: int, request: Message, ename: str, why: str, effects: list[Effect]) -> None:
        self.env.mark("engine.bad-control")
        method = request.msg_type.removesuffix("_request")
        self._answer(now, request, error(ename, why, self.work.info() | {"method": method}), effects)

    def _clear(self, now: int, message: Message, effects: list[Effect]) -> None:  # noqa: ARG002 - one signature for all
        self.work.last_job += 1
        self.clearing[self.work.last_job] = message
        effects.append(Run(self.work.last_job, "clear", message))

    def _cleared(self, now: int, message: Message, problem: object, effects: list[Effect]) -> None:
        if problem is None:
            self._answer(now, message, {"status": "ok"}, effects)
        else:
            self._refuse(now, message, "RuntimeError", str(problem), effects)
        self.work.status(now, "idle", message.header, effects)

    def _abort(self, now: int, message: Message, effects: list[Effect]) -> None:
        try:
            msg_ids = read(message, AbortRequest).msg_ids
        except ValueError as problem:
            self._refuse(now, message, "ValueError", str(problem), effects)
            return
        named = [msg_ids] if isinstance(msg_ids, str) else msg_ids
        self.work.abort(now, effects, named or (), header=message.header)
        self._answer(now, message, {"status": "ok"}, effects)

    def _signal(self, now: int, message: Message, effects: list[Effect]) -> None:
        self._refuse(now, message, "NotImplementedError", "a warden sends signals, and this engine has none", effects)

    def _shutdown(self, now: int, message: Message, effects: list[Effect]) -> None:
        try:
            restart = read(message, EngineShutdownRequest).restart is True
        except ValueError as problem:
            self._refuse(now, message, "ValueError", str(problem), effects)
            self.work.status(now, "idle", message.header, effects)
            return
        self._close(now, effects)
        content = {"status": "ok", "restart": restart}
        self._answer(now, message, content, effects)
        self.work.publish(now, "shutdown_reply", content, message.header, effects)
        self.work.status(now, "idle", message.header, effects)
        self._end("shutdown_request", 0, effects)

    # -- jobs ----------------------------------------------------------------------------------------------------------

    def _finished(self, now: int, event: Finished, effects: list[Effect]) -> None:
        if event.job == self.connecting and self.connecting:
            self._connected(now, event.result, effects)
        elif isinstance(event.job, int) and event.job in self.clearing:
            self._cleared(now, self.clearing.pop(event.job), event.result, effects)
        else:
            self.work.finish(now, event, effects)

    # -- the controller's heartbeat, as the engine sees it -------------------------------------------------------------

    def _watch_on(self, now: int, effects: list[Effect]) -> None:
        self.due = now + self.period + self.config.slack
        effects.append(SetTimer("watch", self.due))

    def _wants_to_ask(self) -> bool:
        refresh = self.config.refresh
        return refresh > 0 and (self.checks >= refresh or self.env.rarely("engine.asks-early"))

    def _watch(self, now: int, effects: list[Effect]) -> None:
        if not self.due or now < self.due:
            return
        held_up = now - self.due > self.period
        returned = self.pinged and (self.missed > 1 or held_up)
        self.missed = 0 if self.pinged else self.missed + 1
        self.pinged = False
        if self.missed >= self.config.misses:
            self.env.mark("engine.no-pings")
            self._unregister(now, "no pings", effects, FAILED)
            return
        self.checks += 1
        if returned and self.config.returns and self._is_legal("pings again"):
            self.env.mark("engine.asks-again")
            self._register(now, effects)
        elif self._wants_to_ask() and self._is_legal("time to ask"):
            self._register(now, effects)
        self._watch_on(now, effects)

    # -- the end -------------------------------------------------------------------------------------------------------

    def _unregister(self, now: int, event: str, effects: list[Effect], status: int) -> None:
        self._close(now, effects)
        effects.append(Send("query", self.voice.say(now, "unregistration_request", {"id": self.id})))
        self._end(event, status, effects)

    def _close(self, now: int, effects: list[Effect]) -> None:
        """Answer everything that is still open."""
        self.work.close(now, effects)
        for message in self.clearing.values():
            self._cleared(now, message, "the engine ended", effects)
        self.clearing = {}

    def _end(self, event: str, status: int, effects: list[Effect]) -> None:
        self._step(event, effects)
        self.ended_by = event
        effects.append(Exit(status))

    def _is_legal(self, event: str) -> bool:
        return ENGINE.move(self.state, event) is not None

    def _step(self, event: str, effects: list[Effect]) -> bool:
        """Go on to the state that follows; whether it is another one."""
        move = ENGINE.move(self.state, event)
        if move is None or move.state == self.state:
            return False
        self.state = move.state
        if self.config.notes:
            effects.append(Note("engine-state", {"uuid": self.config.uuid, "id": self.id, "state": self.state}))
        return True

    # -- state ---------------------------------------------------------------------------------------------------------

    def freeze(self) -> tuple[Any, ...]:
        """The state as plain tuples."""
        return (
            self.state,
            self.asked,
            self.connecting,
            tuple((number, freeze_message(message)) for number, message in self.clearing.items()),
            self.period,
            self.pinged,
            self.missed,
            self.due,
            self.checks,
            self.is_unsure,
            self.work.freeze(),
        )

    def thaw(self, frozen: tuple[Any, ...]) -> None:
        """Take up a state that `freeze` gave."""
        (
            self.state,
            self.asked,
            self.connecting,
            clearing,
            self.period,
            self.pinged,
            self.missed,
            self.due,
            self.checks,
            self.is_unsure,
            work,
        ) = frozen
        self.clearing = {number: thaw_message(message) for number, message in clearing}
        self.work.thaw(work)


__all__ = ["ENGINE", "FAILED", "Engine"]
