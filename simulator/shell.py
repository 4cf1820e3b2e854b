"""The shell around a role in virtual time: virtual sockets below it, no bytes on the way.

Messages between roles are not encoded. What travels is `(identity, ..., message)`: the last element stands for the
delimiter and everything behind it. A message becomes bytes when somebody touches them, see `seal` and `in_bytes`; the
signature is then part of it, and whoever gets it again refuses the replay. What comes as bytes, from a case or a fault,
is decoded as on real sockets. With `is_encoded` every message travels as bytes: whatever a run shows must be the same.

A Python exception while an event is handled is a mistake of ours and ends the run; only a store may fail.
"""

from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from protocol.channels import channel
from protocol.errors import Problem, ProtocolError, RemoteProtocolError
from protocol.roles.base import (
    Arrived,
    Effect,
    Event,
    Fired,
    Forward,
    Found,
    Malformed,
    Note,
    Raw,
    Role,
    Send,
    SendRaw,
    SetTimer,
    Started,
    Stopping,
    made,
)
from protocol.roles.carrier import Carrier, Runner
from protocol.roles.records import Records, StoreError
from protocol.wire import DELIMITER, Codec, Message
from simulator.rarity import Rarity
from simulator.sockets import Errno
from simulator.trace import Trace

if TYPE_CHECKING:
    from simulator.dealers import QueueSocket
    from simulator.hosts import Process
    from simulator.sockets import Socket

#: What a virtual socket carries: bytes, and as the last element perhaps a whole message.
Load = tuple[Any, ...]

#: Nanoseconds by which something is late that could have been done at once.
MOMENT: Final = 3_000_000

_REPLAYED: Final = Problem("signature", "wire.replay-refused", "a signature not seen before", "one accepted earlier")
_NOTHING: Final[Mapping[str, Sequence[bytes]]] = {}
_new: Final = object.__new__


def seal(message: Message, codec: Codec) -> None:
    """Give a message its signature and its bytes, if it has none yet. Whoever looks at bytes does this first."""
    if message.signature is None:
        _, message.signature, *parts = codec.encode(_without_envelope(message))
        count = len(codec.parts)
        message.parts = tuple(parts[:count])
        message._packer = codec.packer


def in_bytes(load: Sequence[Any], codec: Codec) -> tuple[bytes, ...]:
    """The frames of what a socket carried, as a real socket would yield them."""
    last = load[-1] if load else b""
    if type(last) is not Message:
        return tuple(load)
    seal(last, codec)
    return tuple(map(bytes, codec.forward(last, load[:-1])))


def message_in(load: Sequence[Any], codec: Codec) -> Message | None:
    """The message that a socket carried, be it in bytes, for somebody who only looks; None if there is none to be read.

    `codec` must have no memory of what was seen, or whoever it is for would refuse it as a replay.
    """
    last = load[-1] if load else b""
    if type(last) is Message:
        return last
    if DELIMITER not in load:
        return None
    try:
        return codec.open_header(load)
    except ProtocolError:
        return None


def _without_envelope(message: Message) -> Message:
    """The same message for nobody in particular: what is encoded begins with the delimiter."""
    return message.replace(identities=()) if message.identities else message


def _heard(listener: Callable[[Any], None], carry: Callable[[Any], None]) -> Callable[[Any], None]:
    def heard_carry(effect: Any) -> None:
        listener(effect)
        carry(effect)

    return heard_carry


class VirtualShell(Carrier):
    """One role in a process, on the sockets that it is given with `attach`."""

    def __init__(
        self,
        role: Role,
        process: "Process",
        codec: Codec,
        *,
        codecs: Mapping[str, Codec] | None = None,
        records: Records | None = None,
        runner: Runner | None = None,
        persist: Callable[[Any], None] | None = None,
        on_note: Callable[[Note], None] | None = None,
        is_encoded: bool = False,
        is_guest: bool = False,
        rarity: Rarity | None = None,
    ) -> None:
        super().__init__(role, process.clock, records=records, runner=runner, persist=persist, on_note=on_note)
        self.process = process
        self.codec = codec
        self.is_encoded = is_encoded
        self.sockets: dict[str, Socket | QueueSocket] = {}
        self._has_started = False
        self._rarity = rarity
        self._codecs = dict(codecs or {})
        self._sends: dict[str, Callable[[Load], object]] = {}
        self._drains: dict[str, Callable[[], None]] = {}
        self._takes: dict[str, Callable[[Load], None]] = {}
        #: What waits for room, per socket; only a DEALER without a peer ever has any.
        self._kept: dict[str, deque[Load]] = {}
        process.adopt(self, is_guest=is_guest)
        if process.trace is not None:
            self._trace(process.trace)
        if process.recorder is not None:
            process.recorder.watch(self)

    def _trace(self, trace: Trace) -> None:
        name, now = self.process.name, self.process.now

        def message(effect: Send | Forward) -> None:
            trace.message(now(), name, "sent", effect.socket, effect.message)

        def frames(effect: SendRaw) -> None:
            trace.frames(now(), name, "sent", effect.socket, effect.frames)

        self.listen_in(
            lambda event: trace.event(now(), name, event), {Send: message, Forward: message, SendRaw: frames}
        )

    def listen_in(
        self,
        hear: Callable[[Event], None] | None,
        effects: Mapping[type[Effect], Callable[[Any], None]],
        over: Callable[[], None] | None = None,
    ) -> None:
        """Be told of every event before it is handled, of some effects before they are carried out, and of its end.

        Whoever does not listen costs nothing.
        """
        if hear is not None:
            self.deliver = self._heard_deliver(hear, over)  # type: ignore[assignment, method-assign]
        for kind, listener in effects.items():
            self._carry[kind] = _heard(listener, self._carry[kind])

    def _heard_deliver(self, hear: Callable[[Event], None], over: Callable[[], None] | None) -> Callable[[Event], None]:
        deliver = self.deliver

        def heard_deliver(event: Event) -> None:
            if self.status is None:
                hear(event)
                deliver(event)
                if over is not None:
                    over()

        return heard_deliver

    def attach(self, name: str, socket: "Socket | QueueSocket") -> None:
        """Give the role a socket; it is heard from the role's start on."""
        self.sockets[name] = socket
        # Of the types that roles have, only a DEALER ever has no room.
        self._sends[name] = self._patient(name, socket) if socket.KIND == "DEALER" else socket.send
        self._drains[name] = self._drain(name, socket)
        if self._has_started:
            self._hear(name)

    def start(self, state: Any = None, told: Mapping[str, Sequence[bytes]] = _NOTHING) -> None:
        """Hand over the first event, then what publishers were `told` before, then whatever has arrived."""
        self.deliver(Started(state))
        for name, frames in told.items():
            for frame in frames:
                self.deliver(Raw(name, (frame,)))
        self._has_started = True
        for name in tuple(self._drains):
            self._hear(name)

    def _hear(self, name: str) -> None:
        socket, drain = self.sockets[name], self._drains[name]
        rarity = self._rarity
        if rarity is not None and rarity.is_active(f"shell.reads-late/{name}"):
            socket.watch(self._late(name, drain, rarity))
            drain()
            return
        socket.watch(drain)
        drain()
        if not self.process.is_held:
            socket.listen(self._takes[name])

    def _late(self, name: str, drain: Callable[[], None], rarity: Rarity) -> Callable[[], None]:
        """What looks at a socket at once, or a moment later; what came meanwhile on others is seen first then."""
        process, place = self.process, f"shell.reads-late/{name}"

        def look() -> None:
            if rarity(place):
                process.at(process.clock() + MOMENT, lambda *_: drain(), None, None)
            else:
                drain()

        return look

    def found(self, answer: Found) -> None:
        """The store has answered, at once or a moment later."""
        if self._rarity is not None and self._rarity("store.answers-late"):
            self.process.at(self.process.clock() + MOMENT, lambda *_: self.deliver(answer), None, None)
        else:
            super().found(answer)

    def stop(self) -> None:
        """Ask the role to end."""
        self.deliver(Stopping())
        if self.status is not None:
            self.process.look_at_status()

    def hold(self) -> None:
        """Take nothing any more: what arrives stays in the sockets."""
        for socket in self.sockets.values():
            socket.listen(None)

    def go_on(self) -> None:
        """Take what has arrived while the process was held up, and hear what comes."""
        for name in tuple(self._drains):
            self._hear(name)

    # -- arrivals ----------------------------------------------------------------------------------------------------

    def _drain(self, name: str, socket: "Socket | QueueSocket") -> Callable[[], None]:
        """What takes all that a socket has; it is called whenever there may be something."""
        is_raw = channel(self.role.SOCKETS[name].channel).framing == "raw" or socket.KIND in ("XPUB", "XSUB")
        take = self._raw(name) if is_raw else self._messages(name, self._codecs.get(name, self.codec))
        self._takes[name] = take
        process, recv, kept = self.process, socket.recv, self._kept

        def drain() -> None:
            if name in kept:
                self._flush_kept(name)
            while not process.is_held and self.status is None:
                load = recv()
                if type(load) is not tuple:
                    return
                take(load)

        return drain

    def _raw(self, name: str) -> Callable[[Load], None]:
        deliver, codec = self.deliver, self.codec

        def take(load: Load) -> None:
            deliver(made(Raw, (name, load if type(load[-1]) is bytes else in_bytes(load, codec))))
            if self.status is not None:
                self.process.look_at_status()

        return take

    def _messages(self, name: str, codec: Codec) -> Callable[[Load], None]:
        deliver = self.deliver

        def take(load: Load) -> None:
            carried = load[-1]
            if type(carried) is Message:
                signature = carried.signature
                if signature is not None and codec.replay is not None and not codec.replay.admit(bytes(signature)):
                    deliver(Malformed(name, load, RemoteProtocolError(_REPLAYED)))
                    return
                identities = load[:-1]
                if identities == carried.identities:
                    # Messages are values: the same one will do.
                    message = carried
                else:
                    message = _new(Message)
                    message.header = carried.header
                    message._parent = carried._parent
                    message._metadata = carried._metadata
                    message._content = carried._content
                    message.buffers = carried.buffers
                    message.identities = identities
                    message.signature = signature
                    message.parts = carried.parts
                    message._packer = carried._packer
            else:
                try:
                    message = codec.open_header(load)
                except ProtocolError as error:
                    deliver(Malformed(name, load, error))
                    return
            deliver(made(Arrived, (name, message)))
            if self.status is not None:
                self.process.look_at_status()

        return take

    # -- effects -----------------------------------------------------------------------------------------------------

    def carry_send(self, effect: Send) -> None:
        """Send a message, as it is or as bytes."""
        message = effect.message
        if self.is_encoded:
            sent = self._sends[effect.socket](tuple(self.codec.encode(message)))
        else:
            if message.signature is not None:
                # It came with a signature, and is signed anew.
                message = message.replace()
            sent = self._sends[effect.socket]((*message.identities, message))
        if sent is Errno.EHOSTUNREACH:
            self.unreached(effect)

    def carry_forward(self, effect: Forward) -> None:
        """Send a message as it came, under other identities."""
        if self.is_encoded:
            sent = self._sends[effect.socket](tuple(self.codec.forward(effect.message, effect.identities)))
        else:
            sent = self._sends[effect.socket]((*effect.identities, effect.message))
        if sent is Errno.EHOSTUNREACH:
            self.unreached(effect)

    def carry_send_raw(self, effect: SendRaw) -> None:
        """Send frames."""
        self._sends[effect.socket](effect.frames)

    def _patient(self, name: str, socket: "Socket | QueueSocket") -> Callable[[Load], object]:
        """How to send where there may be no room: what is not taken is kept, in order."""
        send, kept = socket.send, self._kept

        def patient(load: Load) -> None:
            if name in kept:
                kept[name].append(load)
            elif send(load) is Errno.EAGAIN:
                kept[name] = deque([load])

        return patient

    def _flush_kept(self, name: str) -> None:
        kept, send = self._kept[name], self.sockets[name].send
        while kept and send(kept[0]) is not Errno.EAGAIN:
            kept.popleft()
        if not kept:
            del self._kept[name]

    def carry_timer(self, effect: SetTimer) -> None:
        """Fire in virtual time."""
        self.process.at(effect.at, self._fire, effect.timer, effect.epoch)

    def _fire(self, timer: str, epoch: int) -> None:
        self.deliver(made(Fired, (timer, epoch)))
        if self.status is not None:
            self.process.look_at_status()

    def flush_at(self, due: int) -> None:
        """Flush in virtual time."""
        self.process.at(due, self._flush_due, None, None)

    def _flush_due(self, _: None, __: None) -> None:
        if self.flush_due is not None and self.flush_due <= self.clock():
            self.flush()

    def failed(self, where: str, error: Exception) -> None:
        """A store may fail and is noted; anything else is a mistake of ours."""
        if not isinstance(error, StoreError):
            error.add_note(f"while {self.process.name} ({self.role.NAME}) handled {where}")
            raise error
        self.process.said.append(f"{self.role.NAME}: {where}: {error}")


__all__ = ["Load", "VirtualShell", "in_bytes", "message_in", "seal"]
