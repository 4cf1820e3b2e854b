"""TCP: who listens, who connects, and what the I/O thread does for one connection.

A `Session` stands between the pipe of a socket and the two wires of a connection. It acts by itself: the I/O thread
of libzmq runs whatever the application does, unless the whole process stands still. The side that connects keeps its
session, and with it the pipe and what is queued in it, over all its connections; the side that listens gets a new
session and a new pipe for each, and loses them with the connection.

A connection takes two round trips: SYN and its answer, then greetings. The side that listens may send after one and a
half, the side that connects after two. Measured on libzmq 4.3.5 (session_base.cpp, zmtp_engine.cpp, req.cpp).
"""

from typing import TYPE_CHECKING, Any, Final, Protocol

from simulator.kernel import Entry
from simulator.network import RETRANSMIT, Wire
from simulator.sockets.options import MILLISECOND, Options
from simulator.sockets.pipe import ACTIVE, WAITING, Command, Message, Pipe, pair

if TYPE_CHECKING:
    from simulator.sockets.base import Socket
    from simulator.sockets.context import Context

#: Which types may talk to which.
_PARTNERS: Final[dict[str, tuple[str, ...]]] = {
    "PAIR": ("PAIR",),
    "PUB": ("SUB", "XSUB"),
    "XPUB": ("SUB", "XSUB"),
    "SUB": ("PUB", "XPUB"),
    "XSUB": ("PUB", "XPUB"),
    "REQ": ("REP", "ROUTER"),
    "REP": ("REQ", "DEALER"),
    "DEALER": ("REP", "DEALER", "ROUTER"),
    "ROUTER": ("REQ", "DEALER", "ROUTER"),
    "PUSH": ("PULL",),
    "PULL": ("PUSH",),
}


class Hello:
    """What each side says first: its type and its identity."""

    __slots__ = ("identity", "kind")

    def __init__(self, kind: str, identity: bytes) -> None:
        self.kind = kind
        self.identity = identity


class Signal:
    """What a connection says besides messages."""

    __slots__ = ("name",)

    def __init__(self, name: str) -> None:
        self.name = name


_FIN: Final = Signal("fin")
_PING: Final = Signal("ping")
_PONG: Final = Signal("pong")


class Endpoint(Protocol):
    """What serves an address for a socket."""

    def end(self, linger: int) -> None:
        """Stop; what is queued gets `linger` milliseconds."""


class Session:
    """One connection of a socket, as the I/O thread sees it; on its own, one that was accepted."""

    is_connecting = False

    def __init__(self, socket: "Socket", options: Options, address: str, listener: "Listener | None" = None) -> None:
        self.socket = socket
        #: Where it was accepted.
        self.listener = listener
        self.context: Context = socket.context
        self.kernel = socket.kernel
        self.options = options
        self.address = address
        self.pipe: Pipe | None = None
        self.out: Wire | None = None
        self.into: Wire | None = None
        #: The names of the sockets at both ends of the last connection, ours first.
        self.ends = ("", "")
        self.is_ready = False
        self.is_ending = False
        #: Pipes of earlier connections, which the socket has not let go of.
        self.leaving: list[Pipe] = []
        self.pongs = 0
        #: Grows with each connection: what belongs to an earlier one is stale.
        self.epoch = 0
        self.context.sessions.append(self)

    # -- the pipe: owner and sink of its far end -----------------------------------------------------------------------

    def post(self, command: Command) -> None:
        """Do a command as soon as whoever gives it has ended."""
        self.kernel.at(self.kernel.now, self._command, command)

    def _command(self, command: Command, _: object) -> None:
        command[0](command[1])

    def dropped(self, pipe: Pipe) -> None:
        """The socket wants no connection with the peer: close it."""
        if pipe is self.pipe:
            self.cut()

    def make_pipe(self) -> Pipe:
        """Make the pipe; the end of the socket, which is still to be attached."""
        options = self.options
        conflate = options.is_conflated
        marks = (0, 0) if conflate else (options.rcvhwm, options.sndhwm)
        far, near = pair((self, self.socket), marks, conflate=conflate)
        far.sink = self
        far.on_wake = self.pull
        far.on_credit = self._credited
        far.express = self._express
        self.pipe = far
        return near

    def pipe_readable(self, pipe: Pipe) -> None:
        """There is something to send."""
        self.pull()

    def pipe_writable(self, pipe: Pipe) -> None:
        """The socket has room."""
        if self.into is not None:
            self.into.flow()

    def pipe_hiccuped(self, pipe: Pipe) -> None:
        """Sockets have no connections that could be replaced."""

    def pipe_terminated(self, pipe: Pipe) -> None:
        """The socket has let go of the pipe, or was told to."""
        if pipe is self.pipe:
            self.pipe = None
        elif pipe in self.leaving:
            self.leaving.remove(pipe)
        if self.is_ending and self.is_piped_out:
            self.hang_up()
            self._gone()

    @property
    def is_piped_out(self) -> bool:
        """Whether there is no pipe, and none that still has to be read to its end."""
        return self.pipe is None and not self.leaving

    def _credited(self, taken: int) -> None:
        pipe = self.pipe
        if pipe is not None:
            pipe.credited = taken
            if not pipe.out_active and pipe.state == ACTIVE:
                pipe.out_active = True
                if self.into is not None:
                    self.into.flow()

    def _express(self, message: Message) -> bool:
        """Send a message that is the only one in the pipe, if `pull` would."""
        pipe, wire = self.pipe, self.out
        if (
            wire is None
            or pipe is None
            or not self.is_ready
            or not pipe.is_flowing
            or pipe.state > WAITING
            or self.context.is_paused
            or wire.in_flight >= wire.capacity
        ):
            return False
        wire.send(message)
        pipe.taken += 1
        if pipe.lwm and not pipe.taken % pipe.lwm:
            pipe.peer.credit(pipe.taken)
        return True

    def pull(self) -> None:
        """Send what lies in the pipe, as far as the wire takes it."""
        pipe, wire = self.pipe, self.out
        if pipe is None or pipe.state > WAITING:
            return
        if wire is None:
            # Without a connection nothing is read but the end, and that only if nothing lies before it.
            pipe.in_active = True
            pipe.check_read()
            return
        if not self.is_ready or not pipe.is_flowing or self.context.is_paused:
            return
        queue = pipe.queue
        while queue and queue[0].__class__ is tuple:
            if wire.in_flight >= wire.capacity:
                wire.is_starved = True
                return
            wire.send(queue.popleft())
            pipe.taken += 1
            if pipe.lwm and not pipe.taken % pipe.lwm:
                pipe.peer.credit(pipe.taken)
        if queue:
            # A delimiter, or the identity of a peer that no connection needs.
            pipe.in_active = True
            if pipe.check_read():
                pipe.read()
                self.pull()
        else:
            pipe.is_asleep = True

    # -- the wires -----------------------------------------------------------------------------------------------------

    def take(self, item: Any) -> bool:
        """Something arrived; whether it was taken off the wire."""
        if item.__class__ is tuple:
            pipe = self.pipe
            if pipe is None:
                return False
            socket, near = self.socket, pipe.peer
            listener = socket.listener
            if (
                listener is not None
                and near.is_asleep
                # What `check_write` asks; a call costs as much as all of this.
                and pipe.out_active
                and not pipe.state
                and not 0 < pipe.hwm <= pipe.sent - pipe.credited
            ):
                # The reader has seen everything before this, and would read it now.
                pipe.sent += 1
                taken = near.taken = near.taken + 1
                if near.lwm and not taken % near.lwm:
                    self._credited(taken)
                message = item if socket.takes_all else socket.received(near, item)
                if message is not None:
                    listener(message)
                return True
            if self.options.kind == "REQ" and not _is_reply(item):
                self._unreadable()
                return True
            return pipe.write(item)
        if isinstance(item, Hello):
            self._greeted(item)
        elif item is _FIN:
            self.lost()
        elif item is _PING:
            if self.out is not None:
                self.out.send(_PONG)
        elif item is _PONG:
            self.pongs += 1
        return True

    def _unreadable(self) -> None:
        if self.context.quirks.malformed_reply_is_final:
            self.tell("DISCONNECTED")
            self.refused_by_protocol()
        else:
            self.cut()

    def _greeted(self, hello: Hello) -> None:
        options = self.options
        if hello.kind not in _PARTNERS[options.kind]:
            self.tell("HANDSHAKE_FAILED_PROTOCOL")
            self.refused_by_protocol()
            return
        if not self.is_connecting:
            self.say_hello()
        self.tell("HANDSHAKE_SUCCEEDED")
        self.is_ready = True
        near = None
        if self.pipe is None:
            near = self.make_pipe()
        pipe = self.pipe
        assert pipe is not None
        if options.wants_identity and pipe.check_write():
            pipe.write_identity(hello.identity)
        if near is not None:
            self.socket.post((self.socket.attach, near))
        if options.heartbeat_ivl:
            self._beat(self.epoch, None)
        self.pull()

    def say_hello(self) -> None:
        """Send type and identity."""
        if self.out is not None:
            self.out.send(Hello(self.options.kind, self.options.routing_id))

    def _beat(self, epoch: int, _: object) -> None:
        if epoch != self.epoch or self.out is None:
            return
        ivl = self.options.heartbeat_ivl * MILLISECOND
        patience = self.options.heartbeat_timeout
        if not self.context.is_paused:
            self.out.send(_PING)
            self.kernel.after(ivl if patience < 0 else patience * MILLISECOND, self._listen, epoch, self._heard())
        self.kernel.after(ivl, self._beat, epoch)

    def _heard(self) -> tuple[int, int]:
        return self.pongs, self.pipe.sent if self.pipe is not None else 0

    def _listen(self, epoch: int, heard: tuple[int, int]) -> None:
        if epoch == self.epoch and self.out is not None and not self.context.is_paused and heard == self._heard():
            self.cut()

    def plug(self, out: Wire, into: Wire) -> None:
        """Take the two wires of a connection."""
        self.out, self.into = out, into
        self.ends = out.name
        out.on_room = self.pull
        self.epoch += 1

    def _unplug(self) -> None:
        network = self.context.network
        if self.into is not None:
            network.unplug(self.into)
        if self.out is not None:
            # What was sent before is still on its way.
            self.out.on_room = None
        self.out = self.into = None
        self.is_ready = False
        self.epoch += 1

    def hang_up(self) -> None:
        """Close the connection from our side, behind what was sent."""
        if self.out is not None:
            self.out.send(_FIN)
        self._unplug()

    @property
    def far(self) -> "Session | None":
        """The session at the other end of the connection, or None without one."""
        return None if self.out is None else self.out.take.__self__  # type: ignore[attr-defined]

    def cut(self) -> None:
        """The connection breaks: both sides notice, unless a partition keeps them from it."""
        self.hang_up()
        self.lost()

    def reset(self) -> list[tuple[Wire, Message]]:
        """The connection breaks, and with it all that is under way, which is returned; both sides notice at once.

        In a partition nobody can be told: there it breaks as with `cut`.
        """
        out, into, far = self.out, self.into, self.far
        if out is None or into is None or far is None:
            return []
        if out.link.is_cut or into.link.is_cut:
            self.cut()
            return []
        wires: dict[Any, Wire] = {wire.arrive: wire for wire in (out, into)}
        lost = [(wires[fn], item) for _, _, fn, item, _ in sorted(self.kernel.heap, key=_moment) if fn in wires]
        lost = [(wire, item) for wire in (out, into) for item in wire.held] + lost
        for wire in (out, into):
            wire.held.clear()
        self.context.network.unplug(out)
        if far.into is out:
            far.lost()
        self.lost()
        return [(wire, item) for wire, item in lost if item.__class__ is tuple]

    def lost(self) -> None:
        """The other side has closed, or the connection broke; what still waited for room on it is lost with it."""
        self.tell("DISCONNECTED")
        self._unplug()
        pipe = self.pipe
        if pipe is None:
            self._gone()
            return
        on_lost = self.context.network.on_lost
        if on_lost is not None:
            for item in pipe.queue:
                if item.__class__ is tuple:
                    on_lost(self.ends, item)
        self.is_ending = True
        pipe.terminate(self.options.linger != 0)
        pipe.check_read()

    def refused_by_protocol(self) -> None:
        """The peer is none that we can talk to: there will be no other attempt."""
        self.hang_up()
        self._over()

    def _over(self) -> None:
        self.is_ending = True
        if self.pipe is None:
            self._gone()
        else:
            self.pipe.terminate(False)

    # -- the end -------------------------------------------------------------------------------------------------------

    def end(self, linger: int) -> None:
        """Send what is queued, for `linger` milliseconds (-1: as long as it takes), then close."""
        self.post((self._end, linger))

    def _end(self, linger: int) -> None:
        if self.is_ending and self.is_piped_out:
            return
        self.is_ending = True
        pipe = self.pipe
        if pipe is None:
            if self.is_piped_out:
                self.hang_up()
                self._gone()
            return
        if linger > 0:
            self.kernel.after(linger * MILLISECOND, self._expire)
        pipe.terminate(linger != 0)
        if self.out is None:
            pipe.check_read()
        else:
            self.pull()

    def _expire(self, _a: object, _b: object) -> None:
        if self.pipe is not None:
            self.pipe.terminate(False)

    def _gone(self) -> None:
        if self in self.context.sessions:
            self.context.sessions.remove(self)
        self.socket.forget_session(self)

    def tell(self, name: str, value: int = 0) -> None:
        """Tell the monitor of the socket."""
        if self.socket.events_monitor is not None:
            self.socket.events_monitor.tell(name, self.address, value)

    def vanish(self) -> None:
        """The process is dead: its kernel closes the connection."""
        self.hang_up()
        self.pipe = None


class Dialer(Session):
    """The session of the side that connects: it tries until it is told to end."""

    is_connecting = True

    def __init__(self, socket: "Socket", options: Options, address: str, target: tuple[str, int]) -> None:
        super().__init__(socket, options, address)
        self.target = target
        self._wait = options.reconnect_ivl
        if not options.immediate:
            socket.attach(self.make_pipe(), is_local=True)
        self._dial()

    def end(self, linger: int) -> None:
        """Send what is queued, for `linger` milliseconds (-1: as long as it takes), then close."""
        # An IMMEDIATE endpoint does not know its pipe, which ends when what lies in it was read.
        if self.pipe is not None and not self.options.immediate:
            self.pipe.peer.terminate(False)
        super().end(linger)

    def _dial(self) -> None:
        self.epoch += 1
        self.tell("CONNECT_DELAYED")
        self._syn(self.epoch, RETRANSMIT * 5)

    def _syn(self, epoch: int, patience: int) -> None:
        link = self.context.network.between(self.context.host, self.target[0])
        if epoch != self.epoch:
            return
        if link.is_cut:
            self.kernel.after(patience, self._syn, epoch, patience * 2)
            return
        self.kernel.at(link.arrival(self.kernel, 0), self._arrived, epoch)

    def _arrived(self, epoch: int, _: object) -> None:
        if epoch != self.epoch or (self.is_ending and self.is_piped_out):
            return
        network, host = self.context.network, self.target[0]
        listener = network.listeners.get(self.target)
        back = network.between(host, self.context.host)
        t = back.arrival(self.kernel, 0)
        if listener is None:
            self.kernel.at(t, self._refused, epoch)
            return
        far = listener.accept()
        out = network.wire(self.context.host, host, (self.socket.name, far.socket.name), far.take)
        take = self.take if self.options.kind == "REQ" else super().take
        into = network.wire(host, self.context.host, (far.socket.name, self.socket.name), take)
        out.is_stopped = far.context.is_paused
        into.is_stopped = self.context.is_paused
        far.plug(into, out)
        # The answer may not overtake what comes after it, and what comes after it waits for the answer.
        into.last = t
        self.kernel.at(t, self._connected, epoch, (out, into))

    def _refused(self, epoch: int, _: object) -> None:
        if epoch == self.epoch:
            self.tell("CLOSED")
            self._again()

    def _again(self) -> None:
        ivl = self._wait
        if ivl < 0:
            return
        self.tell("CONNECT_RETRIED", ivl)
        delay = ivl * MILLISECOND
        limit = self.options.reconnect_ivl_max
        if limit > self.options.reconnect_ivl:
            self._wait = min(ivl * 2, limit)
        else:
            # Without a growing interval, libzmq adds up to one more interval by chance.
            delay += int(self.kernel.network.random() * delay)
        self.kernel.after(delay, self._retry, self.epoch)

    def _retry(self, epoch: int, _: object) -> None:
        if epoch != self.epoch:
            return
        if self.context.is_paused:
            self.context.when_resumed.append(lambda: self._retry(epoch, None))
        else:
            self._dial()

    def _connected(self, epoch: int, wires: tuple[Wire, Wire]) -> None:
        out, into = wires
        if epoch != self.epoch:
            # Nobody waits for it any more.
            out.send(_FIN)
            self.context.network.unplug(into)
            return
        self.tell("CONNECTED")
        self._wait = self.options.reconnect_ivl
        self.plug(out, into)
        self.say_hello()

    def lost(self) -> None:
        """The connection is gone: make another, with the same pipe."""
        self.tell("DISCONNECTED")
        self._unplug()
        pipe = self.pipe
        if self.is_ending and self.is_piped_out:
            self._gone()
            return
        if pipe is not None and self.options.immediate:
            # What the application did not read yet is lost as well, unless the endpoint ends: then this pipe is read to
            # its end, and until then the next connection gets one of its own.
            self.pipe = None
            self.leaving.append(pipe)
            pipe.hiccup()
            pipe.terminate(False)
        elif pipe is not None and not self.is_ending:
            keeps = self.context.quirks.publisher_keeps_subscriptions
            if self.options.kind in ("SUB", "XSUB") or (self.options.kind in ("PUB", "XPUB") and not keeps):
                pipe.hiccup()
        self._again()


def _moment(entry: Entry) -> tuple[int, int]:
    return entry[:2]


def _is_reply(message: Message) -> bool:
    """Whether a REQ can read it: perhaps four bytes that number the request, then an empty frame, then more."""
    start = 1 if len(message[0]) == 4 else 0
    return len(message) > start + 1 and not message[start]


class Listener:
    """An address at which a socket takes connections."""

    def __init__(self, socket: "Socket", options: Options, address: str, place: tuple[str, int]) -> None:
        self.socket = socket
        self.context = socket.context
        self.options = options
        self.address = address
        self.place = place
        self.context.network.listeners[place] = self
        self._tell("LISTENING")

    def accept(self) -> Session:
        """The session of a new connection."""
        session = Session(self.socket, self.options, self.address, self)
        self.socket.add_session(session)
        session.tell("ACCEPTED")
        return session

    def end(self, linger: int) -> None:
        """Listen no longer, and end the connections that were made here."""
        sessions = [one for one in self.socket.sessions if one.listener is self]
        if len(sessions) > 1:
            # In libzmq the order is that of pointers.
            chance = self.context.kernel.schedule
            sessions.sort(key=lambda _: chance.random())
        for session in sessions:
            session.end(linger)
        if self.context.network.listeners.get(self.place) is self:
            del self.context.network.listeners[self.place]
            self._tell("CLOSED")

    def _tell(self, name: str) -> None:
        if self.socket.events_monitor is not None:
            self.socket.events_monitor.tell(name, self.address, 0)
