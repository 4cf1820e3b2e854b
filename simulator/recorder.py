"""What the rules are told of a run: observations of those who stand outside, facts of those within, and faults.

    cluster = VirtualCluster(seed, engines=4, is_judged=True)
    cluster.world.recorder.violations            # so far

Clients, engines and hearts are the observers: what they send and take becomes an `Observation`, as it does when the kit
plays them itself. What the roles of the controller note of themselves becomes a `Fact`, as do the beginnings, stops and
ends of processes. All of it goes to the rules at once, so that they look at every transition that could break them.

Two judges share the stream. One speaks for the conversation with the Hub and the heart monitor; it begins anew when one
of these starts again. The other one speaks for the work that passes the queues and for the inner state of the roles.

Nothing is kept but what rules remember, unless `keeps_items` is set: then `items` holds the whole stream, with what
happened within the controller, and `causes` which event each of them belongs to.
"""

import copy
from collections.abc import Callable, Collection, Iterable, Sequence
from math import inf
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from protocol.roles.base import Arrived, Effect, Event, Forward, Malformed, Note, Raw, Send, SendRaw, made
from protocol.roles.engine import Engine
from protocol.roles.speech import metadata_of, parent_id
from protocol.roles.warden import Warden
from protocol.rules import INVARIANTS, RULES, Judge, Rule, Setting, Vantage, Violation
from protocol.wire import Codec, Frame, Message
from protocol.world import SECOND, Direction, Fact, Observation
from simulator.kernel import Kernel
from simulator.losses import Death, Loss
from simulator.shell import in_bytes, message_in
from simulator.standing import EVERYTHING, Resident

if TYPE_CHECKING:
    from simulator.hosts import Process

#: Roles that stand outside of the controller.
OUTSIDE: Final = frozenset({"client", "engine", "heart"})
#: The host, and the name, of the whole controller.
CONTROLLER: Final = "controller"
#: Who is at the other end of a channel.
PEERS: Final = {
    "query": "hub", "notification": "hub", "mux": "mux", "task": "tasks", "control": "control", "iopub": "iopub",
    "broadcast": "broadcast", "heartbeat-ping": "hearts", "heartbeat-pong": "hearts", "monitor": "controller",
}  # fmt: skip
#: Parts of the controller that begin a new conversation when they start again.
HUB: Final = ("hub", "hearts")
#: Channels on which requests and their replies travel.
QUEUES: Final = frozenset({"mux", "task", "control", "broadcast", "query"})
#: The ends of the names of sockets that get a copy of what is for many.
PUBLISHED: Final = ("/notification", "/iopub")
#: Nanoseconds after healing from which on times count again: stalls are over, and hearts that had stopped given up.
CALM: Final = 4 * SECOND
#: Rules whose demand only holds while the controller and the network are well.
TIMED: Final = frozenset(
    {
        "heartbeat.lifetime-increases",
        "heartbeat.ping-distinct",
        "heartbeat.ping-periodic",
        "heartbeat.ping-matches-hb-period",
        "heartbeat.lifetime-tracks-period",
        "heartbeat.ping-reaches-all",
        "heartbeat.removal-in-time",
        "heartbeat.removal-not-early",
        "notification.all-subscribers",
        "notification.shutdown-published",
        "registration.heard-is-registered",
        "registration.pending-expires",
        # A Hub without its disk may be told of a heart whose engine's next life registers just then.
        "registration.pending-until-heard",
        "registration.unregistration-honoured",
        "storage.done-agrees",
    }
)
#: Rules that take a heart which answers for an engine that nobody can have given up: only deaths leave that true.
ALIVE: Final = frozenset({"task.one-live-assignment", "wire.reply-true.death"})
#: What the healed phase decides, with what was excused.
LEFT_TO_THE_END: Final = frozenset({"wire.every-request-answered"})


class Frames(Sequence[Frame]):
    """The frames of a message that was never bytes: it becomes some when a rule touches them."""

    __slots__ = ("_codec", "_frames", "_identities", "_message")

    def __init__(self, identities: tuple[bytes, ...], message: Message, codec: Codec) -> None:
        self._identities = identities
        self._message = message
        self._codec = codec
        self._frames: tuple[bytes, ...] = ()

    def _made(self) -> tuple[bytes, ...]:
        if not self._frames:
            self._frames = in_bytes((*self._identities, self._message), self._codec)
        return self._frames

    def __getitem__(self, place: Any) -> Any:
        return self._made()[place]

    def __len__(self) -> int:
        return len(self._made())


class Fault(NamedTuple):
    """Something that went wrong on purpose: when it began, whom it concerns (nobody named: anybody), its class."""

    number: int
    name: str
    began: int
    who: tuple[str, ...]
    is_inside: bool


class Hop(NamedTuple):
    """Where a request was seen: who sent or took it, or its reply, and for whom it was.

    `part` is the part of the controller that serves the channel, `towards` the first identity that it was given;
    `known_as` is how others would have addressed it to this process: see `Death`.
    """

    seq: int
    now: int
    process: str
    what: str
    part: str
    towards: str
    is_outside: bool
    is_reply: bool
    known_as: str


class Recorder:
    """See the module."""

    def __init__(
        self,
        kernel: Kernel,
        codec: Codec,
        setting: Setting,
        rules: Iterable[type[Rule]] = RULES,
        *,
        keeps_items: bool = False,
        vantages: Collection[Vantage] = EVERYTHING,
    ) -> None:
        self.kernel = kernel
        self.codec = codec
        #: For messages that are looked at and not accepted.
        self._reader = copy.copy(codec)
        self._reader.replay = None
        chosen = tuple(rule for rule in rules if rule.slug not in LEFT_TO_THE_END)
        self._talk = Judge([rule for rule in chosen if rule not in INVARIANTS], setting, vantages)
        self._work = Judge([rule for rule in chosen if rule in INVARIANTS], setting, vantages)
        self.violations: list[Violation] = []
        self.keeps_items = keeps_items
        self.items: list[Observation | Fact] = []
        #: Item -> the item that was being handled when it happened, by sequence number.
        self.causes: dict[int, int] = {}
        self.faults: list[Fault] = []
        #: When each fault ended, by number; those that have not are missing.
        self.ends: dict[int, int] = {}
        #: Request -> what became of the last message about it that a fault dropped or damaged.
        self.losses: dict[str, Loss] = {}
        #: The ends of processes, in order; and the faults that made the Hub forget which engines there were.
        self.deaths: list[Death] = []
        self.forgot: list[Fault] = []
        #: Engine -> when the Hub took it up or let it go.
        self.listed: dict[str, list[int]] = {}
        #: Open request -> where it was seen, in order.
        self.hops: dict[str, list[Hop]] = {}
        #: Open broadcast -> its copies for engines, which have hops of their own, and whether one reply is for all.
        self.copies: dict[str, dict[str, bool]] = {}
        #: Reply without a parent -> the request that it answers, told by whoever sends such a thing.
        self.answers: dict[str, str] = {}
        #: Process -> how messages are addressed to it.
        self._known_as: dict[str, str] = {}
        self._altered: set[str] = set()
        #: What was altered on its way to one of several: that socket, and the message.
        self._altered_copies: set[tuple[str, str]] = set()
        #: Request -> what its client made wrong on purpose.
        self._mistakes: dict[str, str] = {}
        self._seq = 0
        self._handled: dict[str, int] = {}
        self._queues: dict[str, str] = {}
        self._held: dict[str, int] = {}
        #: Questions to the Hub that wait for an answer: whoever starts again may find them in its socket.
        self._asked: dict[str, Observation] = {}
        #: The sessions of Hubs that are gone: what they said may still wait in somebody's socket.
        self._former: set[str] = set()
        self._is_unwell = False
        self._is_blurred = False
        #: What is behind this number was seen when all had been well for a while.
        self._calm: float = inf
        self.note("kit", "recorded-from-the-start", {})

    # -- what roles do -----------------------------------------------------------------------------------------------

    def watch(self, shell: Resident) -> None:
        """Be told of everything that a role is given, sends and notes."""
        name, role, process = shell.process.name, shell.role, shell.process
        channels = {socket: spec.channel for socket, spec in role.SOCKETS.items()}
        is_outside = role.NAME in OUTSIDE
        is_seen = is_outside or self.keeps_items
        has_shell, is_warden = role.NAME == "engine", role.NAME == "warden"
        away = process.host != CONTROLLER
        if isinstance(role, Engine | Warden):
            self._known_as[name] = role.config.uuid
        else:
            # A heart in Python is a guest in the process of its engine.
            self._known_as.setdefault(name, name if away else _part(name))
        # One socket of an engine is for several channels: which one depends on the request.
        fixed = {socket: channel for socket, channel in channels.items() if not (has_shell and socket == "shell")}

        def queue_of(message: Message, about: str) -> str:
            queue = self._queues.get(about)
            if queue is None:
                # Copies of a broadcast have ids of their own; what the Hub submits again is a task.
                is_copy = (metadata_of(message) or {}).get("is_broadcast") is True
                queue = self._queues[about] = "broadcast" if is_copy else "task"
            return queue

        def event(event: Event) -> None:
            kind = type(event)
            if kind is Arrived:
                message = event.message  # type: ignore[union-attr]
                channel = fixed.get(event.socket) or queue_of(message, message.msg_id)  # type: ignore[union-attr]
                if channel in QUEUES:
                    self._hop(name, "took", channel, message, away)
                if is_seen:
                    self._see(name, channel, "received", message, is_outside=is_outside, is_event=True)
            elif kind is Raw:
                if is_outside and channels[event.socket] == "heartbeat-ping":  # type: ignore[union-attr]
                    self._see_raw(name, "heartbeat-ping", "received", event.frames)  # type: ignore[union-attr]
            elif kind is Malformed and is_outside:
                self._see_refused(name, channels[event.socket], event)  # type: ignore[arg-type, union-attr]
            elif self.keeps_items:
                self._handled[name] = self._keep_event(name, event)

        def sends(effect: Send | Forward) -> None:
            message = effect.message
            channel = fixed.get(effect.socket) or queue_of(message, parent_id(message))
            if role.NAME == "client" and channel in QUEUES:
                self._queues[message.msg_id] = channel
            identities = message.identities if type(effect) is Send else effect.identities  # type: ignore[union-attr]
            if channel in QUEUES:
                self._hop(name, "sent", channel, message, away, identities)
            # What a warden says itself, and does not only pass on, it says for its engine.
            speaks = is_outside or (is_warden and type(effect) is Send)
            if is_seen or speaks:
                self._see(name, channel, "sent", message, is_outside=speaks, identities=identities)

        def sends_raw(effect: SendRaw) -> None:
            if is_outside and channels[effect.socket] == "heartbeat-pong":
                self._see_raw(name, "heartbeat-pong", "sent", effect.frames)

        def notes(effect: Note) -> None:
            if effect.name == "client-request-done":
                self.hops.pop(effect.data["msg_id"], None)
                for copy in self.copies.pop(effect.data["msg_id"], ()):
                    self.hops.pop(copy, None)
            elif effect.name == "hub-engine":
                self.listed.setdefault(effect.data["uuid"], []).append(self.kernel.now)
            self._note(name, effect.name, dict(effect.data))

        def over() -> None:
            self._handled.pop(name, None)

        # Of those who only pass on what is for many, and of hearts' monitors, nothing but facts is written down.
        is_heard = is_seen or is_warden or not QUEUES.isdisjoint(channels.values())
        talk: dict[type[Effect], Callable[[Any], None]] = {Send: sends, Forward: sends, SendRaw: sends_raw}
        shell.listen_in(
            event if is_heard else None, (talk if is_heard else {}) | {Note: notes}, over if self.keeps_items else None
        )

    def _next(self, observer: str) -> int:
        self._seq = seq = self._seq + 1
        if self.keeps_items and observer in self._handled:
            self.causes[seq] = self._handled[observer]
        return seq

    def _see(
        self, observer: str, channel: str, direction: Direction, message: Message, *, is_outside: bool,
        is_event: bool = False, identities: tuple[bytes, ...] | None = None,
    ) -> None:  # fmt: skip
        seq = self._next(observer)
        if self.keeps_items:
            if is_event:
                self.causes.pop(seq, None)
                self._handled[observer] = seq
        elif is_event and channel == "iopub" and self._talk.is_deaf_to(message) and self._work.is_deaf_to(message):
            return
        names = message.identities if identities is None else identities
        frames: Any = Frames(names, message, self.codec)
        if names is not message.identities:
            message = _under(message, names)
        seen = Observation(
            seq=seq, now=self.kernel.now, observer=observer, socket=f"{observer}/{channel}", channel=channel,
            direction=direction, peer=PEERS.get(channel, ""), frames=frames, message=message,
            why=self._mistakes.get(message.msg_id) if direction == "sent" else None,
        )  # fmt: skip
        self._give(seen, is_judged=is_outside and (direction == "sent" or not self._is_exempt(message, seen.socket)))

    def _is_exempt(self, message: Message, socket: str) -> bool:
        """Whether a message, or the broadcast that it is a copy of, was altered, or is of a Hub that is gone."""
        if self._former:
            session = message.header.get("session")
            if isinstance(session, str) and session in self._former:
                return True
        if self._altered_copies and (socket, message.msg_id) in self._altered_copies:
            return True
        if not self._altered:
            return False
        original = (metadata_of(message) or {}).get("original_msg_id", "")
        # That the id of a broadcast is no text is the mistake of whoever asked for it.
        return not isinstance(original, str) or original in self._altered or message.msg_id in self._altered

    def _see_raw(self, observer: str, channel: str, direction: Direction, frames: tuple[Frame, ...]) -> None:
        seen = Observation(
            seq=self._next(observer), now=self.kernel.now, observer=observer, socket=f"{observer}/{channel}",
            channel=channel, direction=direction, peer=PEERS[channel], frames=frames,
        )  # fmt: skip
        self._give(seen, is_judged=True)

    def _see_refused(self, observer: str, channel: str, event: Malformed) -> None:
        seen = Observation(
            seq=self._next(observer), now=self.kernel.now, observer=observer, socket=f"{observer}/{channel}",
            channel=channel, direction="received", peer="the network", frames=in_bytes(event.frames, self.codec),
            error=event.error,
        )  # fmt: skip
        # What the network damaged, nobody sent; its receiver had to refuse it, and has.
        self._give(seen, is_judged=False)

    def _keep_event(self, observer: str, event: Event) -> int:
        self._seq = seq = self._seq + 1
        self.items.append(
            Fact(seq=seq, now=self.kernel.now, observer=observer, name="did", data={"event": type(event).__name__})
        )
        return seq

    def note(self, observer: str, name: str, data: "dict[str, Any] | Any") -> None:
        """Write down a fact, and tell the rules."""
        if name == "healed":
            self.kernel.after(CALM, self._calms_down)
        self._note(observer, name, dict(data))

    def _note(self, observer: str, name: str, data: dict[str, Any]) -> None:
        seq = self._next(observer)
        if self.keeps_items or self._talk.cares_for(name) or self._work.cares_for(name):
            fact = Fact(seq=seq, now=self.kernel.now, observer=observer, name=name, data=data)
            self._give(fact, is_judged=True)

    def _give(self, item: Observation | Fact, *, is_judged: bool) -> None:
        if self.keeps_items:
            self.items.append(item)
        if not is_judged:
            return
        if type(item) is Observation and item.channel == "query" and item.message is not None:
            if item.direction == "sent":
                self._asked[item.message.msg_id] = item
            else:
                self._asked.pop(parent_id(item.message) or self.answers.get(item.message.msg_id, ""), None)
        if found := self._talk.observe(item):
            self._take(found)
        if found := self._work.observe(item):
            self._take(found)

    def _take(self, found: Iterable[Violation]) -> None:
        for one in found:
            is_blurred = (self._is_unwell and one.rule in TIMED) or (self._is_blurred and one.rule in ALIVE)
            if not is_blurred or min(one.evidence, default=0) > self._calm:
                self.violations.append(one)

    def _calms_down(self, _: object, __: object) -> None:
        self._calm = self._seq

    def _hop(
        self, name: str, what: str, channel: str, message: Message, away: bool, identities: tuple[bytes, ...] = ()
    ) -> None:
        # What was never bytes has its parent header at hand.
        parent = message._parent
        about = parent.get("msg_id") if type(parent) is dict else parent_id(message)
        is_reply = True
        if type(about) is not str or not about:
            about, is_reply = message.msg_id, False
        towards = identities[0].decode("ascii", "replace") if identities else ""
        known_as = self._known_as[name]
        hop = made(Hop, (self._seq + 1, self.kernel.now, name, what, PEERS[channel], towards, away, is_reply, known_as))
        known = self.hops.get(about)
        if known is None:
            self.hops[about] = [hop]
            if channel == "broadcast" and not is_reply:
                metadata = metadata_of(message) or {}
                original = metadata.get("original_msg_id")
                if type(original) is str and original in self.hops and original != about:
                    self.copies.setdefault(original, {})[about] = metadata.get("is_coalescing") is True
        else:
            known.append(hop)

    def stands_for(self, process: str, uuid: str) -> None:
        """A process is all that there is of this engine, which no role plays."""
        self._known_as[process] = uuid

    def mistaken(self, msg_id: str, why: str) -> None:
        """A client is about to send a request that is wrong on purpose; who passes it on is not to blame."""
        self._mistakes[msg_id] = why
        self._altered.add(msg_id)

    def spoke(self, process: str, channel: str, message: Message) -> None:
        """Somebody without a role sent this."""
        self._see(process, channel, "sent", message, is_outside=True)

    # -- what happens to processes -----------------------------------------------------------------------------------

    def happened(self, process: "Process", what: str, about: tuple[Any, ...]) -> None:
        """A process began, ended, was stalled or paused, or goes on."""
        name, part = process.name, _part(process.name)
        is_part = process.host == CONTROLLER
        self.note(name, f"process-{what}", {"process": name})
        if what == "began":
            if part in HUB and name != part:
                self._begin_again(part)
        elif what == "ended":
            if part == "hub":
                self._former.add(name)
            self._shut(process)
            number = self._strike(f"{name} ended with status {about[0]}", (name, process.host), is_over=not is_part)
            known_as = self._known_as.get(name, part if is_part else name)
            self.deaths.append(Death(name, part if is_part else "", self.faults[number], known_as))
        elif what == "paused":
            self._held[name] = self._strike(f"{name} was paused", (name, process.host), is_over=False)
            self._is_blurred = True
        elif what == "resumed":
            number = self._held.pop(name)
            self.ended(number)
            self._looked_away(self.kernel.now - self.faults[number].began)
        elif what == "stalled":
            number = self._strike(f"{name} was stalled", (name, process.host), is_over=False)
            self.ends[number] = self.kernel.now + about[0]

    def _begin_again(self, part: str) -> None:
        fact = Fact(seq=self._next(part), now=self.kernel.now, observer="kit", name="controller-started")
        if self.keeps_items:
            self.items.append(fact)
        self._talk.observe(fact)
        self.note("kit", "hearts-beat-before", {})
        for question in self._asked.values():
            self._talk.observe(question)

    def _shut(self, process: "Process") -> None:
        for shell in process.shells:
            role = shell.role
            if role.NAME == "heart":
                self.note(process.name, "heart-stopped", {"party": process.name})
            if role.NAME in OUTSIDE:
                for spec in role.SOCKETS.values():
                    self.note(process.name, "socket-closed", {"socket": f"{process.name}/{spec.channel}"})

    def _looked_away(self, nanoseconds: int) -> None:
        self.note("kit", "stalled", {"ns": nanoseconds})

    # -- faults ------------------------------------------------------------------------------------------------------

    def _strike(self, name: str, who: tuple[str, ...], *, is_over: bool) -> int:
        number = self.began(name, is_inside=True, who=who)
        if is_over:
            self.ended(number)
        return number

    def began(self, name: str, *, is_inside: bool, who: Sequence[str] = (), blurs_time: bool = False) -> int:
        """A fault begins; its number. `who` are the hosts, processes or parts that it concerns, none: anybody.

        `blurs_time`: between what one side sends and the other takes, anything may happen from now on.
        """
        number = len(self.faults)
        self.faults.append(Fault(number, name, self.kernel.now, tuple(who), is_inside))
        if blurs_time or not who or any(each == CONTROLLER or _part(each) in PEERS.values() for each in who):
            self._is_unwell = self._is_blurred = True
        if not is_inside:
            self._is_blurred = True
        return number

    def ended(self, number: int) -> None:
        """A fault is over."""
        self.ends[number] = self.kernel.now

    def missed(self, socket: str) -> None:
        """Something that was published for this socket may never reach it."""
        if socket.endswith("/notification"):
            self.note("network", "missed", {"socket": socket})

    def touched(
        self, number: int, load: Sequence[Any], towards: str = "", *, is_altered: bool = False, takes: bool = True
    ) -> None:
        """A fault dropped, delayed, doubled or damaged this load, as a tap has it, on its way to that socket.

        Unless it `takes` it, it arrives as it was. What was altered and is still accepted is nobody's: identities and
        buffers are not signed.
        """
        last = message_in(load, self._reader)
        self.missed(towards)
        if last is not None:
            if is_altered and towards.endswith(PUBLISHED):
                self._altered_copies.add((towards, last.msg_id))
            elif is_altered:
                self._altered.add(last.msg_id)
            answered = self.answers.get(last.msg_id)
            for about in [*_about(last), *([] if answered is None else [answered])]:
                if takes:
                    self.losses[about] = Loss(self.faults[number], self.kernel.now, is_altered)
                self.note("network", "touched", {"msg_id": about, "is_altered": is_altered})

    def dropped(self, process: str, load: Sequence[Any]) -> None:
        """A process had no connection to whom this is for: it may have ended with an earlier process in its place."""
        part = _part(process)
        self._lay(load, [one for one in self.deaths if one.part == part and one.process != process])

    def buried(self, processes: Sequence[str], load: Sequence[Any]) -> None:
        """What was on the way between two processes is lost with their connection: one of them may be gone."""
        self._lay(load, [one for one in self.deaths if one.process in processes])

    def _lay(self, load: Sequence[Any], deaths: Sequence[Death]) -> None:
        """Lay the loss of a message at the last of these ends, if there is one."""
        last = message_in(load, self._reader) if deaths else None
        if last is not None:
            for about in _about(last):
                self.losses[about] = Loss(deaths[-1].fault, self.kernel.now, is_altered=False)

    # -- the end -----------------------------------------------------------------------------------------------------

    def finish(self) -> None:
        """No more will come: judge what is missing."""
        for judge in (self._talk, self._work):
            self._take(judge.finish(self.kernel.now))

    @property
    def judged(self) -> frozenset[str]:
        """The requirements that are judged."""
        return self._talk.judged | self._work.judged

    @property
    def exercised(self) -> frozenset[str]:
        """The requirements for which something was seen."""
        return self._talk.exercised | self._work.exercised


def _under(message: Message, identities: tuple[bytes, ...]) -> Message:
    """The same message as it is read behind other identities."""
    twin = Message.__new__(Message)
    twin.header = message.header
    twin._parent, twin._metadata, twin._content = message._parent, message._metadata, message._content
    twin.buffers, twin.identities = message.buffers, identities
    twin.signature, twin.parts, twin._packer = message.signature, message.parts, message._packer
    return twin


def _about(message: Message) -> list[str]:
    """The requests that a message is about: a copy of a broadcast has an id of its own."""
    original = (metadata_of(message) or {}).get("original_msg_id")
    return [about for about in (parent_id(message) or message.msg_id, original) if isinstance(about, str)]


def _part(name: str) -> str:
    """The part of the controller that a process is, whatever number it has got."""
    head, _, tail = name.rpartition("-")
    return head if head and tail.isdecimal() else name


__all__ = ["CALM", "Fault", "Frames", "Hop", "Recorder"]
