"""The heart monitor: pings all hearts, hears who answers, and tells the Hub which hearts came and which stopped.

A ping is the monitor's lifetime. Between two pings it collects answers to the present ping, and to the one before it,
which is late but not lost; anything else is no beat. At each beat, in this order: whoever answered for the first time
is a new heart; whoever did not answer misses once more, and has stopped when that was more often in a row than
allowed; then the next ping goes out. So the time from the last answer to the verdict is more than misses + 1 periods
and less than misses + 2.

The monitor judges hearts and not engines: it does not know who registered. A heart that beats before its engine has
registered is announced once like every other, and the Hub remembers it; a heart that stopped and beats again is a new
one. It waits for the Hub's subscription before the first ping, so that no first heart is lost. To each subscription it
answers with all hearts it knows: a Hub that came back learns of them, and at the start the empty list says that a
monitor is there which knows of none. Every `roll` beats it also says which hearts beat, as a report may have been
lost: who stopped or came is told once. `monitor` is an XPUB: a frame of byte 1 says that somebody listens, byte 0 that
nobody does. The shell sets it to pass on every subscription: one that connects is not told that its peer went, only
that another one came.

The shell hands over what waits on `pong` before it fires the timer: an answer that came in time counts, even if the
monitor was held up.

Source: IPython commit 7bde2f380 (2011, XREQ/XREP to DEALER/ROUTER), parallel_connections.txt, section "Heartbeat";
measured on ipyparallel 9.2.0.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, ClassVar, Final

import msgspec

from protocol.roles import marks
from protocol.roles.base import (
    NOTHING,
    Effect,
    Env,
    Event,
    Exit,
    Fired,
    Note,
    Raw,
    Role,
    Send,
    SendRaw,
    SetTimer,
    SocketSpec,
    Started,
    Stopping,
)
from protocol.roles.speech import Voice
from protocol.roles.tables import StateTable

#: What stands before the delimiter of the monitor's own messages.
PREFIX: Final = (b"heartmonitor", b"")

#: What happened to a heart since the last ping, and what the Hub is told of it.
HEART: Final = StateTable(
    "a heart, from beat to beat",
    {
        "unknown": {"answered": "beating: new_heart"},
        "beating": {"answered": "beating", "silent": "probation", "silent too often": "unknown: stopped_heart"},
        "probation": {"answered": "beating", "silent": "probation", "silent too often": "unknown: stopped_heart"},
    },
    illegal=(
        "It changes nothing: of a heart that is not known nothing is expected, and an answer to neither of the last "
        "two pings is no beat."
    ),
    meanings={
        "unknown": "it never answered, or has stopped",
        "beating": "it answered the last ping, or the one before in time",
        "probation": "it has missed pings, but not too many in a row",
    },
)


class HeartMonitorConfig(msgspec.Struct, frozen=True, kw_only=True):
    """`period`: nanoseconds between pings. `misses`: how many pings in a row may stay unanswered.

    The oldest dialect allows one miss. `roll`: after how many beats the Hub is told of all hearts. `session` stands in
    the headers of what the monitor tells the Hub, which takes another one for another monitor; an empty one is replaced
    by a fresh one. `notes` adds facts about hearts.
    """

    period: int = 3_000_000_000
    misses: int = 10
    roll: int = 10
    session: str = ""
    notes: bool = False


class HeartMonitor(Role):
    """Pings on `ping`, answers on `pong`, verdicts on `monitor`."""

    NAME = "heart-monitor"
    SOCKETS: ClassVar[Mapping[str, SocketSpec]] = {
        "ping": SocketSpec("heartbeat-ping"),
        "pong": SocketSpec("heartbeat-pong"),
        "monitor": SocketSpec("monitor"),
    }
    TABLES = (HEART,)
    MARKS = marks.of("heartmonitor")

    def __init__(self, config: HeartMonitorConfig, env: Env) -> None:
        self.config: Final = config
        self.env: Final = env
        self.voice: Final = Voice(env, config.session or env.fresh_id())
        self.started = -1
        self.beating = False
        self.lifetime = 0
        self.beats = 0
        self.ping = b""
        self.last_ping = b""
        #: Identities in the order in which they were found; the tables below are ordered sets.
        self.hearts: dict[bytes, None] = {}
        self.responses: dict[bytes, None] = {}
        self.probation: dict[bytes, int] = {}

    def handle(self, now: int, event: Event) -> Sequence[Effect]:
        """Collect an answer, beat, or start to."""
        if type(event) is Raw:
            if event.socket == "pong":
                self._pong(event.frames)
            elif event.socket == "monitor":
                return self._listener(now, event.frames)
        elif type(event) is Fired:
            if event.timer == "beat" and self.beating:
                return self._beat(now)
        elif type(event) is Started:
            if self.started < 0:
                self.started = now
        elif type(event) is Stopping:
            return (Exit(),)
        return NOTHING

    def state_of(self, heart: bytes) -> str:
        """The state of one heart in `HEART`."""
        if heart in self.probation:
            return "probation"
        return "beating" if heart in self.hearts else "unknown"

    def _listener(self, now: int, frames: Sequence[Any]) -> Sequence[Effect]:
        command = bytes(frames[0][:1]) if frames else b""
        if command == b"\x00":
            self.env.mark("heartmonitor.listener-gone")
            return NOTHING
        if command != b"\x01":
            return NOTHING
        told = self._tell(now, "new_heart", self.hearts)
        if self.beating:
            self.env.mark("heartmonitor.listener-returned")
            return (told,)
        self.beating = True
        if self.started < 0:
            self.started = now
        return [told, *self._beat(now)]

    def _pong(self, frames: Sequence[Any]) -> None:
        if len(frames) != 2 or not self.ping:
            self.env.mark("heartmonitor.malformed-pong")
            return
        pong = frames[1]
        if pong != self.ping:
            if not self.last_ping or pong != self.last_ping:
                self.env.mark("heartmonitor.stale-pong")
                return
            self.env.mark("heartmonitor.late-pong")
        heart = bytes(frames[0])
        if not heart.isascii():
            # The uuid of an engine is ASCII text; this one could not even be named to the Hub.
            self.env.mark("heartmonitor.nameless-heart")
            return
        self.responses[heart] = None

    def _beat(self, now: int) -> list[Effect]:
        """One beat; its order is part of the protocol."""
        effects: list[Effect] = []
        responses, hearts, probation = self.responses, self.hearts, self.probation
        told: dict[str, list[bytes]] = {"new_heart": [], "stopped_heart": []}
        self.last_ping = self.ping
        # Two pings never have the same text, not even when the clock stood still.
        self.lifetime = max(now - self.started, self.lifetime + 1)
        events = {heart: "answered" for heart in responses if self.state_of(heart) != "beating"}
        for heart in hearts:
            if heart not in responses:
                is_too_often = probation.get(heart, 0) >= self.config.misses
                events[heart] = "silent too often" if is_too_often else "silent"
        still: dict[bytes, int] = {}
        for heart, event in events.items():
            move = HEART.move(self.state_of(heart), event)
            if move is None:
                continue
            if move.does:
                told[move.does].append(heart)
            if move.state == "probation":
                still[heart] = probation.get(heart, 0) + 1
            elif move.state == "beating":
                hearts[heart] = None
            else:
                del hearts[heart]
        for msg_type, note in (("new_heart", "hearts-found"), ("stopped_heart", "hearts-lost")):
            if told[msg_type]:
                effects.append(self._tell(now, msg_type, told[msg_type]))
                if self.config.notes:
                    effects.append(Note(note, {"hearts": [heart.decode() for heart in told[msg_type]]}))
        self.beats = (self.beats + 1) % self.config.roll
        if not self.beats or self.env.rarely("heartmonitor.names-all-early"):
            effects.append(self._tell(now, "new_heart", (), beating=hearts))
        if probation and any(heart in responses for heart in probation):
            self.env.mark("heartmonitor.recovered")
        self.responses, self.probation = {}, still
        self.ping = b"%d.%09d" % divmod(self.lifetime, 1_000_000_000)
        effects.append(SendRaw("ping", (self.ping,)))
        # A full period from now, not from the time that was due: a beat that came late must not shorten the next.
        effects.append(SetTimer("beat", now + self.config.period))
        return effects

    def _tell(
        self, now: int, msg_type: str, hearts: Iterable[bytes], *, beating: Iterable[bytes] | None = None
    ) -> Effect:
        content = {"hearts": [heart.decode() for heart in hearts]}
        if beating is not None:
            content["beating"] = [heart.decode() for heart in beating]
        return Send("monitor", self.voice.say(now, msg_type, content, identities=PREFIX))

    def freeze(self) -> tuple[Any, ...]:
        """The state as plain tuples."""
        return (
            self.started,
            self.beating,
            self.lifetime,
            self.beats,
            self.ping,
            self.last_ping,
            tuple(self.hearts),
            tuple(self.responses),
            tuple(self.probation.items()),
            self.voice.session,
        )

    def thaw(self, frozen: tuple[Any, ...]) -> None:
        """Take up a state that `freeze` gave."""
        self.started, self.beating, self.lifetime, self.beats, self.ping, self.last_ping, *tables = frozen
        hearts, responses, probation, self.voice.session = tables
        self.hearts = dict.fromkeys(hearts)
        self.responses = dict.fromkeys(responses)
        self.probation = dict(probation)


__all__ = ["HEART", "PREFIX", "HeartMonitor", "HeartMonitorConfig"]
