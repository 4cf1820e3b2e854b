"""The warden: it stands between the control queue and the process of an engine, and watches that process.

One role, two configurations. The nanny of ipyparallel 9 (`NANNY`) is the engine's end of the control channel: it
passes everything on, both ways and with the envelope it got, delivers signals itself, since they are needed when the
engine is busy, and reports its child's death to the Hub at once. The kernel starter of 2011 (`STARTER`) has a DEALER
on either side; it passes everything on but shutdowns: those it also carries out, with patience for the kernel's own
end, then without, and it starts the kernel again if that was asked for.

The process that is watched is job `CHILD`; it runs when the warden starts, and `Finished(CHILD, exit status)` says that
it ended. Other jobs (`Run`), whose `message` is the request:

* `signal`: deliver the signal that the content names. None, or a text that says why it failed.
* `kill`: end the child, whatever it does. The result is not looked at: the child's own end is what counts.
* `start`: start the child again, as before. None, or a text that says why it failed.

Source: IPython commit 7bde2f380 (2011, XREQ/XREP to DEALER/ROUTER), kernelstarter.py; ipython-dev mail, MinRK,
12 July 2010, "Heartbeat Device"; measured on ipyparallel 9.2.0.
"""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Final, Literal

import msgspec

from protocol.devices import Device, device
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
    Forward,
    Note,
    Role,
    Run,
    Send,
    SetTimer,
    SocketSpec,
    Stopping,
)
from protocol.roles.freezing import freeze_message, thaw_message
from protocol.roles.speech import Voice, content_of, error, parent_id
from protocol.roles.tables import StateTable
from protocol.wire import Json, Message

#: The job that is the watched process.
CHILD: Final = 0

NANNY: Final = device("warden")
STARTER: Final = device("kernel-starter")

#: A request that the nanny cannot act on in its last moments has had its reply with the child's end.
_ENDED: Final = "It is ignored. A message that is not named here is passed on as it came, and changes no state."

#: The life of a nanny.
NANNY_TABLE: Final = StateTable(
    "a nanny",
    {
        "serving": {
            "signal_request": "serving: job signal, then signal_reply",
            "told to stop": "ending: job signal (SIGTERM)",
            "child ended": "ended: unregistration_request",
        },
        "ending": {
            "signal_request": "ending: job signal, then signal_reply",
            "told to stop": "ending: job signal (SIGTERM)",
            "patience is over": "ending: job kill",
            "child ended": "ended: unregistration_request",
        },
        "ended": {},
    },
    illegal=_ENDED,
    meanings={
        "serving": "the child runs",
        "ending": "the child was told to end, and is waited for",
        "ended": "there is no child any more, and the warden has ended",
    },
)

#: The life of a kernel starter.
STARTER_TABLE: Final = StateTable(
    "a kernel starter",
    {
        "serving": {
            "shutdown_request": "ending: passed down",
            "told to stop": "ending: job kill",
            "child ended": "ended: exit 1",
            "start failed": "ended: exit 1",
        },
        "ending": {
            "shutdown_request": "ending: passed down",
            "shutdown_reply": "ending: passed up, unless the starter has answered",
            "told to stop": "ending: job kill",
            "patience is over": "ending: job kill",
            "child ended": "ended: shutdown_reply, unless it came",
            "child ended, restart": "serving: shutdown_reply, unless it came; job start",
            "start failed": "ended: exit 1",
        },
        "ended": {},
    },
    illegal=_ENDED,
    meanings={
        "serving": "the child runs",
        "ending": "the child was told to end, and is waited for",
        "ended": "there is no child any more, and the warden has ended",
    },
)


class WardenConfig(msgspec.Struct, frozen=True, kw_only=True):
    """`kind` is the configuration; `patience` (nanoseconds) is how long a child that shall end is left to itself.

    `uuid` and `engine_id` are those of the engine; a starter has neither.
    """

    kind: Literal["nanny", "starter"] = "nanny"
    uuid: str = "warden"
    engine_id: int | None = None
    patience: int = 1_000_000_000
    notes: bool = False


class Warden(Role):
    """Between `up`, towards the control queue, and `down`, towards the engine; `query` is for the last word.

    `SOCKETS` are those of a nanny; `sockets` are those of this warden.
    """

    NAME = "warden"
    SOCKETS: ClassVar[Mapping[str, SocketSpec]] = {
        "up": SocketSpec(NANNY.front.channel),
        "down": SocketSpec(NANNY.back.channel),
        "query": SocketSpec("query"),
    }
    TABLES = (NANNY_TABLE, STARTER_TABLE)
    MARKS = marks.of("warden")
    #: The sockets of a kernel starter.
    STARTER_SOCKETS: ClassVar[Mapping[str, SocketSpec]] = {
        "up": SocketSpec(STARTER.front.channel),
        "down": SocketSpec(STARTER.back.channel),
    }

    def __init__(self, config: WardenConfig, env: Env) -> None:
        self.config: Final = config
        self.env: Final = env
        self.voice: Final = Voice(env, config.uuid)
        self.nanny: Final = config.kind == "nanny"
        self.device: Final[Device] = NANNY if self.nanny else STARTER
        self.table: Final = NANNY_TABLE if self.nanny else STARTER_TABLE
        self.state = "serving"
        self.last_job = CHILD
        self.signals: dict[int, Message] = {}
        #: What asked the starter to end its kernel and has no reply yet, and whether to start it again.
        self.asked: dict[str, Message] = {}
        self.restart = False
        self.starting = CHILD
        self.epoch = 0

    @property
    def sockets(self) -> Mapping[str, SocketSpec]:
        """The sockets of this configuration."""
        return self.SOCKETS if self.nanny else self.STARTER_SOCKETS

    def handle(self, now: int, event: Event) -> Sequence[Effect]:
        """Pass a message on, act on it, or see to the child."""
        if self.state == "ended":
            return NOTHING
        effects: list[Effect] = []
        if type(event) is Arrived:
            if event.socket == "up":
                self._down(now, event.message, effects)
            elif event.socket == "down":
                self._up(event.message, effects)
        elif type(event) is Finished:
            self._finished(now, event, effects)
        elif type(event) is Fired:
            if event.timer == "patience" and event.epoch == self.epoch and self._step("patience is over"):
                self.env.mark("warden.kill")
                self._kill(now, effects)
        elif type(event) is Stopping:
            self._stop(now, effects)
        return effects

    # -- messages ------------------------------------------------------------------------------------------------------

    def _down(self, now: int, message: Message, effects: list[Effect]) -> None:
        msg_type = message.msg_type
        if msg_type in self.device.handles and self._step(msg_type):
            if self.nanny:
                self._signal(now, message, effects)
                return
            self._shutdown(now, message, effects)
        effects.append(Forward("down", message.identities, message))

    def _up(self, message: Message, effects: list[Effect]) -> None:
        if not self.nanny and message.msg_type == "shutdown_reply" and self.asked.pop(parent_id(message), None) is None:
            # The starter has answered already, or nobody asked: one request has one reply.
            self.env.mark("warden.second-reply")
            return
        effects.append(Forward("up", message.identities, message))

    def _signal(self, now: int, message: Message, effects: list[Effect]) -> None:
        content = content_of(message)
        sig = None if content is None else content.get("sig")
        if type(sig) not in (int, str):
            self.env.mark("warden.bad-signal")
            self._signalled(now, message, "a signal is a number or a name", effects)
            return
        self.last_job += 1
        self.signals[self.last_job] = message
        effects.append(Run(self.last_job, "signal", message))

    def _signalled(self, now: int, message: Message, problem: object, effects: list[Effect]) -> None:
        content: Json = {"status": "ok"} if problem is None else error("ValueError", str(problem))
        effects.append(Send("up", self.voice.answer(now, message, content)))

    def _shutdown(self, now: int, message: Message, effects: list[Effect]) -> None:
        self.asked[message.msg_id] = message
        self.restart = (content_of(message) or {}).get("restart") is True
        self._be_patient(now, effects)

    # -- the child -----------------------------------------------------------------------------------------------------

    def _stop(self, now: int, effects: list[Effect]) -> None:
        """The warden shall end: its child first, since nobody could reach it any more."""
        if not self._step("told to stop"):
            return
        self.restart = False
        if self.nanny:
            self._run(now, "signal", effects)
        else:
            self._kill(now, effects)
        self._be_patient(now, effects)

    def _step(self, event: str) -> bool:
        """Go on to the state that follows; False if the event is illegal in this one."""
        move = self.table.move(self.state, event)
        if move is not None:
            self.state = move.state
        return move is not None

    def _be_patient(self, now: int, effects: list[Effect]) -> None:
        self.epoch += 1
        effects.append(SetTimer("patience", now + self.config.patience, self.epoch))

    def _kill(self, now: int, effects: list[Effect]) -> None:
        self._run(now, "kill", effects)

    def _run(self, now: int, kind: str, effects: list[Effect]) -> None:
        sig = "SIGKILL" if kind == "kill" else "SIGTERM"
        self.last_job += 1
        effects.append(Run(self.last_job, kind, self.voice.say(now, "signal_request", {"sig": sig})))

    def _finished(self, now: int, event: Finished, effects: list[Effect]) -> None:
        if event.job == CHILD:
            self._child_ended(now, event.result, effects)
            return
        if event.job == self.starting and event.result is not None and self._step("start failed"):
            self.env.mark("warden.start-failed")
            effects.append(Exit(1))
            return
        message = self.signals.pop(event.job, None) if isinstance(event.job, int) else None
        if message is not None:
            self._signalled(now, message, event.result, effects)

    def _child_ended(self, now: int, status: object, effects: list[Effect]) -> None:
        wanted = self.state == "ending"
        if not self._step("child ended, restart" if wanted and self.restart else "child ended"):
            return
        if not wanted:
            self.env.mark("warden.child-died")
        for message in self.signals.values():
            self._signalled(now, message, "the engine's process has ended", effects)
        self.signals = {}
        for message in self.asked.values():
            self.env.mark("warden.answers-for-child")
            content = {"status": "ok", "restart": self.restart}
            effects.append(Send("up", self.voice.answer(now, message, content)))
        self.asked = {}
        if self.config.notes:
            effects.append(Note("child-ended", {"uuid": self.config.uuid, "wanted": wanted, "status": status}))
        if self.nanny:
            content = {"id": self.config.engine_id}
            effects.append(Send("query", self.voice.say(now, "unregistration_request", content)))
        if self.state == "serving":
            self.restart = False
            self._run(now, "start", effects)
            self.starting = self.last_job
            return
        effects.append(Exit(0 if wanted or self.nanny else 1))

    # -- state ---------------------------------------------------------------------------------------------------------

    def freeze(self) -> tuple[Any, ...]:
        """The state as plain tuples."""
        return (
            self.state,
            self.last_job,
            tuple((number, freeze_message(message)) for number, message in self.signals.items()),
            tuple(freeze_message(message) for message in self.asked.values()),
            self.restart,
            self.starting,
            self.epoch,
        )

    def thaw(self, frozen: tuple[Any, ...]) -> None:
        """Take up a state that `freeze` gave."""
        self.state, self.last_job, signals, asked, self.restart, self.starting, self.epoch = frozen
        self.signals = {number: thaw_message(message) for number, message in signals}
        self.asked = {message.msg_id: message for message in map(thaw_message, asked)}


__all__ = ["CHILD", "NANNY", "NANNY_TABLE", "STARTER", "STARTER_TABLE", "Warden", "WardenConfig"]
