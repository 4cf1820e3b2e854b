"""The client: it asks, keeps what is open, and knows which engines there are.

Whoever uses a client calls `request` and `wait`, carries out the effects that they return like those of `handle`, and
looks at `answers`, `outputs` and `outcome`. A request is over with its last reply, or with the death of its engine: the
MUX and control queues tell nobody that an engine is gone, so the client takes the `unregistration_notification` for it
and makes the EngineError itself. Replies that nobody waits for (a second one, a late one, one of another engine) are
ignored.

A wait always ends: when all its requests are done, or at its deadline, and then it names who is silent. The requests
stay open; a later wait may still see them end.

Source: IPython commit a2c57acba (2012), parallel_messages.txt, sections Notification and Client Queries; measured on
ipyparallel 9.2.0.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, ClassVar, Final

from protocol.messages import reply_name
from protocol.roles import marks
from protocol.roles.base import (
    NOTHING,
    Arrived,
    Effect,
    Env,
    Event,
    Exit,
    Fired,
    Note,
    Role,
    Send,
    SetTimer,
    SocketSpec,
    Started,
    Stopping,
    made,
)
from protocol.roles.client.tables import (
    REQUEST,
    Answer,
    ClientConfig,
    Ended,
    Published,
    Request,
    freeze_parts,
    freeze_request,
    thaw_parts,
    thaw_request,
)
from protocol.roles.engineview import EngineView, announced, listed
from protocol.roles.speech import Voice, content_of, error, metadata_of, parent_id
from protocol.wire import Frame, Message

#: Who answers on each socket, where it is not an engine.
_ANSWERERS: Final = {"query": "the hub", "task": "the task scheduler", "broadcast": "the broadcast scheduler"}


class Client(Role):
    """One client. Requests go to `query`, `mux`, `control`, `task` or `broadcast`."""

    NAME = "client"
    SOCKETS: ClassVar[Mapping[str, SocketSpec]] = {
        name: SocketSpec(name) for name in ("query", "notification", "mux", "task", "control", "iopub", "broadcast")
    }
    TABLES = (REQUEST,)
    MARKS = marks.of("client")

    def __init__(self, config: ClientConfig, env: Env) -> None:
        self.config: Final = config
        self.env: Final = env
        self.voice: Final = Voice(env, config.session)
        self.engines: Final = EngineView()
        self.connected = False
        self.gone = False
        self.asked = ""
        self.open: dict[str, Request] = {}
        self.replies: dict[str, list[Answer]] = {}
        self.published: dict[str, list[Published]] = {}
        #: The ids that a broadcast has at its engines -> its own, and back.
        self.copies: dict[str, str] = {}
        self.spread: dict[str, tuple[str, ...]] = {}
        #: Wait -> all that it is for, and what of that is open; open request -> the waits for it.
        self.waiting: dict[str, dict[int, None]] = {}
        self.waits: dict[int, tuple[tuple[str, ...], dict[str, None]]] = {}
        self.ended: dict[int, Ended] = {}
        self.graces: dict[int, tuple[str, tuple[str, ...]]] = {}
        self.count = 0

    # -- for whoever uses the client -----------------------------------------------------------------------------------

    def request(
        self,
        now: int,
        socket: str,
        msg_type: str,
        content: Mapping[str, Any] | None = None,
        *,
        engine: int | str | None = None,
        targets: Iterable[int | str] = (),
        coalescing: bool = False,
        metadata: Mapping[str, Any] | None = None,
        buffers: Sequence[Frame] = (),
    ) -> tuple[str, Sequence[Effect]]:
        """Ask: the msg_id, and the effects to carry out.

        `engine` (id or uuid) is needed on mux and control, `targets` on broadcast. An engine that is not there answers
        at once, with an EngineError of our own: that it went a moment ago is no mistake of the caller's.
        """
        about = dict(metadata or {})
        request = Request(socket, msg_type, coalescing=coalescing)
        missing: list[int | str] = []
        identities: tuple[bytes, ...] = ()
        if socket == "broadcast":
            found = [(target, self.engines.find(target)) for target in targets]
            missing = [target for target, place in found if place is None]
            request.targets = dict(place for _, place in found if place is not None)
            named = [[uuid, number] for uuid, number in request.targets.items()]
            about |= {"targets": named, "is_broadcast": True, "is_coalescing": coalescing}
        elif socket in ("mux", "control"):
            place = None if engine is None else self.engines.find(engine)
            if place is None:
                missing = ["" if engine is None else engine]
            else:
                request.engine = place[0]
                identities = (place[0].encode(),)
        message = self.voice.say(now, msg_type, content, metadata=about, buffers=buffers, identities=identities)
        msg_id = message.msg_id
        self.open[msg_id] = request
        self.replies[msg_id] = []
        if self.config.keep_output:
            self.published[msg_id] = []
        effects: list[Effect] = []
        nobody = bool(missing) and not request.targets
        for target in missing:
            self.env.mark("client.no-such-engine")
            self._add(msg_id, _local("EngineError", f"there is no engine {target!r}", str(target)))
        if self.gone:
            self._end_here(msg_id, "nobody there", "the controller has shut down", effects)
        elif nobody:
            self._happens(msg_id, "nobody there", effects)
        else:
            if request.targets:
                self.spread[msg_id] = tuple(f"{msg_id}_{uuid}" for uuid in request.targets)
                self.copies |= dict.fromkeys(self.spread[msg_id], msg_id)
            effects.append(Send(socket, message))
        return msg_id, effects

    def wait(self, now: int, msg_ids: Iterable[str], deadline: int) -> tuple[int, Sequence[Effect]]:
        """Wait for requests to be done, at most until `deadline`; `outcome` of the number tells how it ended."""
        wanted = tuple(dict.fromkeys(msg_ids))
        self.count += 1
        left = dict.fromkeys(msg_id for msg_id in wanted if msg_id in self.open)
        if not left:
            self.ended[self.count] = Ended(wanted, ())
            return self.count, NOTHING
        self.waits[self.count] = (wanted, left)
        for msg_id in left:
            self.waiting.setdefault(msg_id, {})[self.count] = None
        return self.count, (SetTimer("wait", max(now, deadline), self.count),)

    def outcome(self, number: int) -> Ended | None:
        """How a wait ended, once; None while it has not."""
        return self.ended.pop(number, None)

    def answers(self, msg_id: str) -> tuple[Answer, ...]:
        """The replies so far: one, or for a broadcast that is not coalesced one per target."""
        return tuple(self.replies.get(msg_id, ()))

    def outputs(self, msg_id: str) -> tuple[Published, ...]:
        """What came over iopub for a request so far, which may be after its reply."""
        return tuple(self.published.get(msg_id, ()))

    def forget(self, msg_id: str) -> None:
        """Keep nothing more of a request; its replies, if any still come, are ignored."""
        self.open.pop(msg_id, None)
        self.replies.pop(msg_id, None)
        self.published.pop(msg_id, None)
        for copy in self.spread.pop(msg_id, ()):
            del self.copies[copy]
        self._tick_off(msg_id)

    def silent(self, msg_id: str) -> str:
        """Who has not answered an open request, in words."""
        request = self.open[msg_id]
        if request.targets and not request.coalescing:
            return "engines " + ", ".join(f"{number} ({uuid})" for uuid, number in request.targets.items())
        if request.engine:
            place = self.engines.find(request.engine)
            return f"engine {'(gone)' if place is None else place[1]} ({request.engine})"
        return _ANSWERERS.get(request.socket, request.socket)

    # -- events --------------------------------------------------------------------------------------------------------

    def handle(self, now: int, event: Event) -> Sequence[Effect]:
        """Take a reply, a notification, output, or the end of a wait."""
        effects: list[Effect] = []
        if type(event) is Arrived:
            if event.socket == "notification":
                self._notified(now, event.message, effects)
            elif event.socket == "iopub":
                self._published(event.message)
            elif event.socket == "broadcast":
                self._broadcast_reply(event.message, effects)
            elif event.socket == "query" and self.asked and parent_id(event.message) == self.asked:
                self._snapshot(now, event.message, effects)
            elif event.socket in self.SOCKETS:
                self._reply(event.socket, event.message, effects)
        elif type(event) is Fired:
            if event.timer == "wait":
                self._time_is_up(event.epoch)
            elif event.timer == "grace":
                self._grace_is_over(event.epoch, effects)
            elif event.timer == "refresh":
                self._ask(now, effects)
                self._refresh_later(now, self.config.refresh, effects)
        elif type(event) is Started:
            self._ask(now, effects)
            self._refresh_later(now, self.config.settle or self.config.refresh, effects)
        elif type(event) is Stopping:
            effects.append(Exit())
        return effects

    # -- the engines ---------------------------------------------------------------------------------------------------

    def _ask(self, now: int, effects: list[Effect]) -> None:
        request = self.voice.say(now, "connection_request")
        self.asked = request.msg_id
        self.engines.ask()
        effects.append(Send("query", request))

    def _refresh_later(self, now: int, delay: int, effects: list[Effect]) -> None:
        if delay:
            effects.append(SetTimer("refresh", now + delay))

    def _snapshot(self, now: int, message: Message, effects: list[Effect]) -> None:
        engines = listed(message)
        if engines is None:
            self.env.mark("client.bad-snapshot")
            return
        self.asked = ""
        self.connected, self.gone = True, False
        for _, uuid in self.engines.snapshot(engines):
            self.env.mark("client.unnoticed-death")
            self._lost(now, uuid, effects)
        self._note(effects)

    def _notified(self, now: int, message: Message, effects: list[Effect]) -> None:
        if message.msg_type == "shutdown_notification":
            self.gone = True
            self._strand(now, "controller shuts down", "the controller has shut down", tuple(self.open), effects)
            return
        about = announced(message)
        if about is None:
            return
        number, uuid = about
        if self.env.rarely("client.asks-early"):
            self._ask(now, effects)
        if message.msg_type == "registration_notification":
            for _, old in self.engines.add(number, uuid):
                self._lost(now, old, effects)
        elif message.msg_type == "unregistration_notification":
            gone = self.engines.remove(number)
            if gone is not None:
                self._lost(now, gone, effects)
        else:
            return
        self._note(effects)

    def _lost(self, now: int, uuid: str, effects: list[Effect]) -> None:
        """An engine is gone, and with it what it had to answer."""
        mine = tuple(msg_id for msg_id, request in self.open.items() if request.engine == uuid)
        self._strand(now, "engine unregistered", f"engine {uuid!r} died", mine, effects)

    def _strand(self, now: int, event: str, why: str, msg_ids: tuple[str, ...], effects: list[Effect]) -> None:
        if not msg_ids:
            return
        self.env.mark("client.stranded")
        for msg_id in msg_ids:
            self._happens(msg_id, event, effects)
        self.count += 1
        self.graces[self.count] = (why, msg_ids)
        if self.config.grace:
            effects.append(SetTimer("grace", now + self.config.grace, self.count))
        else:
            self._grace_is_over(self.count, effects)

    def _grace_is_over(self, number: int, effects: list[Effect]) -> None:
        why, msg_ids = self.graces.pop(number, ("", ()))
        for msg_id in msg_ids:
            if msg_id in self.open:
                self._end_here(msg_id, "grace is over", f"{why} while running {msg_id}", effects)

    def _end_here(self, msg_id: str, event: str, why: str, effects: list[Effect]) -> None:
        self.env.mark("client.local-error")
        request = self.open[msg_id]
        for uuid in tuple(request.targets) or (request.engine,):
            self._add(msg_id, _local("EngineError", why, uuid))
        self._happens(msg_id, event, effects)

    def _note(self, effects: list[Effect]) -> None:
        if self.config.notes:
            view = sorted(self.engines.uuids.items())
            effects.append(Note("client-engines", {"session": self.config.session, "engines": view}))

    # -- replies -------------------------------------------------------------------------------------------------------

    def _reply(self, socket: str, message: Message, effects: list[Effect]) -> None:
        msg_id = parent_id(message)
        request = self.open.get(msg_id)
        if request is None or request.socket != socket or not _answers(request, message):
            self.env.mark("client.unexpected-reply")
            return
        sender = message.identities[0].decode("utf-8", "replace") if message.identities else ""
        if request.engine and sender and sender != request.engine:
            self.env.mark("client.foreign-reply")
            return
        self._add(msg_id, _answer(message, sender))
        self._happens(msg_id, "last reply", effects)

    def _broadcast_reply(self, message: Message, effects: list[Effect]) -> None:
        metadata, parent = metadata_of(message) or {}, parent_id(message)
        original = metadata.get("original_msg_id")
        msg_id = original if isinstance(original, str) and original else self.copies.get(parent, parent)
        request = self.open.get(msg_id)
        if request is None or request.socket != "broadcast" or not _answers(request, message):
            self.env.mark("client.unexpected-reply")
            return
        engine = metadata.get("engine")
        if not isinstance(engine, str) or engine not in request.targets:
            engine = parent.removeprefix(f"{msg_id}_")
        if request.coalescing or parent == msg_id:
            # One reply for all: coalesced, or a refusal of the whole request.
            self._add(msg_id, _answer(message, ""))
            self._happens(msg_id, "last reply", effects)
        elif engine in request.targets:
            del request.targets[engine]
            self._add(msg_id, _answer(message, engine))
            self._happens(msg_id, "a reply of several" if request.targets else "last reply", effects)
        else:
            self.env.mark("client.foreign-reply")

    def _add(self, msg_id: str, answer: Answer) -> None:
        self.replies[msg_id].append(answer)

    def _happens(self, msg_id: str, event: str, effects: list[Effect]) -> None:
        """Let something happen to an open request, and forget that it was open once it is done."""
        request = self.open[msg_id]
        move = REQUEST.move(request.state, event)
        if move is not None:
            request.state = move.state
        if request.state != REQUEST.states[-1]:
            return
        del self.open[msg_id]
        self._tick_off(msg_id)
        if self.config.notes:
            effects.append(Note("client-request-done", {"session": self.config.session, "msg_id": msg_id}))

    def _tick_off(self, msg_id: str) -> None:
        for number in self.waiting.pop(msg_id, {}):
            wanted, left = self.waits[number]
            del left[msg_id]
            if not left:
                del self.waits[number]
                self.ended[number] = Ended(wanted, ())

    def _time_is_up(self, number: int) -> None:
        if number not in self.waits:
            return
        self.env.mark("client.silence")
        wanted, left = self.waits.pop(number)
        for msg_id in left:
            del self.waiting[msg_id][number]
        done = tuple(msg_id for msg_id in wanted if msg_id not in left)
        self.ended[number] = Ended(done, tuple((msg_id, self.silent(msg_id)) for msg_id in left))

    def _published(self, message: Message) -> None:
        parent = parent_id(message)
        kept = self.published.get(self.copies.get(parent, parent))
        if kept is None:
            # Most of what is published is about what others have asked.
            return
        content = content_of(message)
        if content is None:
            return
        kept.append(made(Published, (message.msg_type, content, metadata_of(message) or {}, message.buffers)))

    # -- state ---------------------------------------------------------------------------------------------------------

    def freeze(self) -> tuple[Any, ...]:
        """The state as plain tuples."""
        return (
            self.engines.freeze(),
            self.connected,
            self.gone,
            self.asked,
            tuple((msg_id, freeze_request(request)) for msg_id, request in self.open.items()),
            tuple((msg_id, tuple(map(freeze_parts, each))) for msg_id, each in self.replies.items()),
            tuple((msg_id, tuple(map(freeze_parts, each))) for msg_id, each in self.published.items()),
            tuple(self.spread.items()),
            tuple((number, wanted, tuple(left)) for number, (wanted, left) in self.waits.items()),
            tuple((number, tuple(ended)) for number, ended in self.ended.items()),
            tuple(self.graces.items()),
            self.count,
        )

    def thaw(self, frozen: tuple[Any, ...]) -> None:
        """Take up a state that `freeze` gave."""
        engines, self.connected, self.gone, self.asked, requests, replies, published, *rest = frozen
        spread, waits, ended, graces, self.count = rest
        self.engines.thaw(engines)
        self.open = {msg_id: thaw_request(request) for msg_id, request in requests}
        self.replies = {msg_id: [Answer(*thaw_parts(one)) for one in each] for msg_id, each in replies}
        self.published = {msg_id: [Published(*thaw_parts(one)) for one in each] for msg_id, each in published}
        self.spread = dict(spread)
        self.copies = {copy: msg_id for msg_id, copies in spread for copy in copies}
        self.waits = {number: (wanted, dict.fromkeys(left)) for number, wanted, left in waits}
        self.waiting = {}
        for number, (_, open_ones) in self.waits.items():
            for msg_id in open_ones:
                self.waiting.setdefault(msg_id, {})[number] = None
        self.ended = {number: Ended(*each) for number, each in ended}
        self.graces = dict(graces)


def _answers(request: Request, message: Message) -> bool:
    """Whether a message is of a type that answers a request where it was asked."""
    if message.msg_type == reply_name(request.msg_type):
        return True
    # The Hub's dispatcher and the task scheduler have one type each for refusals.
    return message.msg_type == {"query": "hub_error", "task": "apply_reply"}.get(request.socket)


def _answer(message: Message, engine: str) -> Answer:
    """The answer in a reply; one that cannot be read is an error, since no better one will come."""
    content, metadata = content_of(message), metadata_of(message) or {}
    if content is None:
        content = error("RemoteProtocolError", "the content of the reply cannot be read")
    status = content.get("status", "ok")
    named = metadata.get("engine", "")
    who = engine or (named if isinstance(named, str) else "")
    return Answer(status if isinstance(status, str) else "error", content, metadata, message.buffers, who)


def _local(ename: str, why: str, engine: str) -> Answer:
    info = {"engine_uuid": engine} if engine else {}
    return Answer("error", error(ename, why, info), {"status": "error", "engine": engine}, (), engine, local=True)


__all__ = ["Client"]
