"""One broadcast scheduler: the root, which meets clients, a leaf, which meets engines, a node between, or all in one.

A request goes down: each node makes a copy for each child that has targets, the leaf one for each engine, every copy
under an id of its own (`<client's id>_<name of the child, or uuid>`) and signed anew, with the client's id in
`original_msg_id`. Replies go up along the identities of the request. Not coalesced, each engine's reply passes as it
is; coalesced, each node waits for its whole subtree and sends one reply.

A leaf owes one reply for each of its targets and knows from the Hub which engines live. For an engine that dies, or is
not there, it answers itself once the grace is over; what the engine still says later is dropped. A coalesced reply
names all engines in `broadcast_targets`. If some failed, it has the error of the first and names them in
`failed_targets`; the results of the others are in it all the same, in order.

The root tells the Hub of every request that it accepted and of every reply. A request without readable targets, or
without any, is refused with an error.

Source: measured on ipyparallel 9.2.0, whose schedulers neither record broadcasts nor answer for dead engines.
"""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Final

from protocol.messages import reply_name
from protocol.roles import marks
from protocol.roles.base import (
    AGAIN,
    Arrived,
    Effect,
    Env,
    Event,
    Exit,
    Fired,
    Forward,
    Role,
    Send,
    SetTimer,
    SocketSpec,
    Started,
    Stopping,
    Unreachable,
)
from protocol.roles.broadcast.tables import (
    TARGET,
    BroadcastConfig,
    Copy,
    Gathering,
    Part,
    Path,
    Target,
    children,
    copy_of,
    leaf_index,
    name_of,
    pairs,
    targets_of,
    thaw_gathering,
)
from protocol.roles.engineview import EngineView, announced, listed
from protocol.roles.freezing import freeze_message, thaw_message
from protocol.roles.speech import Voice, content_of, error, metadata_of, parent_id
from protocol.wire import Json, Message

_ALL: Final[Mapping[str, SocketSpec]] = {
    "client": SocketSpec("broadcast", "client"),
    "parent": SocketSpec("broadcast-tree", "child"),
    "child0": SocketSpec("broadcast-tree", "parent"),
    "child1": SocketSpec("broadcast-tree", "parent"),
    "engine": SocketSpec("broadcast", "engine", is_mandatory=True),
    "query": SocketSpec("query"),
    "notification": SocketSpec("notification"),
    "monitor": SocketSpec("monitor"),
}


class BroadcastScheduler(Role):
    """One node. `SOCKETS` are all that there are; `sockets` are those of this node."""

    NAME = "broadcast-scheduler"
    SOCKETS: ClassVar[Mapping[str, SocketSpec]] = _ALL
    TABLES = (TARGET,)
    MARKS = marks.of("broadcast")

    def __init__(self, config: BroadcastConfig, env: Env) -> None:
        self.config: Final = config
        self.env: Final = env
        self.voice: Final = Voice(env, config.session)
        self.level: Final = len(config.path) - 1
        self.is_root: Final = self.level == 0
        self.is_leaf: Final = self.level >= config.depth
        self.name: Final = name_of(config.path)
        self.children: Final = tuple(name_of(each) for each in children(config.path))
        self.above: Final = "client" if self.is_root else "parent"
        self.view: Final = EngineView()
        self.asked = ""
        #: (way back, client's msg_id) -> the request; (way back, id of the copy) -> what its engine has to answer.
        self.open: dict[tuple[Path, str], Gathering] = {}
        self.copies: dict[tuple[Path, str], Copy] = {}
        self.at: dict[str, dict[tuple[Path, str], None]] = {}
        #: Copies whose engine was not connected, by the epoch of the timer after which they are sent again.
        self.unsent: dict[int, Message] = {}
        self.graces: dict[int, tuple[bool, tuple[tuple[Path, str], ...]]] = {}
        self.count = 0

    @property
    def sockets(self) -> Mapping[str, SocketSpec]:
        """The sockets of this node."""
        return self.sockets_of(self.config.path, self.config.depth)

    @staticmethod
    def sockets_of(path: str, depth: int) -> Mapping[str, SocketSpec]:
        """The sockets of the node at this path in a tree of this depth."""
        level = len(path) - 1
        wanted = {"client", "monitor"} if level == 0 else {"parent"}
        wanted |= {"engine", "query", "notification"} if level >= depth else {"child0", "child1"}
        return {name: spec for name, spec in _ALL.items() if name in wanted}

    def handle(self, now: int, event: Event) -> Sequence[Effect]:
        """Spread a request, take a reply, or answer for the dead."""
        effects: list[Effect] = []
        if type(event) is Arrived:
            socket, message = event.socket, event.message
            if socket == self.above:
                self._request(now, message, effects)
            elif socket == "engine" and self.is_leaf:
                self._engine_reply(now, message, effects)
            elif socket in ("child0", "child1") and not self.is_leaf:
                self._child_reply(now, message, effects)
            elif socket == "notification" and self.is_leaf:
                self._notified(now, message, effects)
            elif socket == "query" and self.is_leaf and self.asked and parent_id(message) == self.asked:
                self._snapshot(now, message, effects)
        elif type(event) is Fired:
            if event.timer == "grace":
                self._grace_is_over(now, event.epoch, effects)
            elif event.timer == "refresh" and self.is_leaf:
                self._ask(now, self.config.refresh, effects)
            elif event.timer == "again":
                self._send_again(event.epoch, effects)
        elif type(event) is Unreachable:
            self._unreached(now, event.message, effects)
        elif type(event) is Started:
            if self.is_leaf:
                self._ask(now, self.config.settle or self.config.refresh, effects)
        elif type(event) is Stopping:
            effects.append(Exit())
        return effects

    # -- down ----------------------------------------------------------------------------------------------------------

    def _request(self, now: int, message: Message, effects: list[Effect]) -> None:
        path = message.identities
        metadata, content = metadata_of(message), content_of(message)
        if not path or not message.msg_type.endswith("_request"):
            self.env.mark("broadcast.no-request")
            return
        targets = None if metadata is None else targets_of(metadata)
        if metadata is None or content is None or not targets:
            self._refuse(now, message, "ValueError", "a broadcast needs targets, and content that can be read", effects)
            return
        original = message.msg_id
        if not self.is_root:
            named = metadata.get("original_msg_id")
            original = named if isinstance(named, str) else original
        copies = ((path, f"{original}_{uuid}") for uuid, _ in targets)
        if (path, original) in self.open or any(key in self.copies for key in copies):
            # One id, one request: its replies could not be told apart.
            self.env.mark("broadcast.repeated")
            return
        if self.is_root:
            effects.append(Forward("monitor", (b"inbcast", *path), message))
        request = Gathering(message.header, metadata.get("label"), metadata.get("is_coalescing") is True, (), {})
        if self.is_leaf:
            self._to_engines(now, message, content, metadata, targets, original, request, effects)
        else:
            self._to_children(message, content, metadata, targets, original, request, effects)
        request.waiting = dict.fromkeys(request.order)
        if request.coalescing or self.is_leaf:
            self.open[path, original] = request

    def _to_children(
        self,
        message: Message,
        content: Json,
        metadata: Json,
        targets: list[Target],
        original: str,
        request: Gathering,
        effects: list[Effect],
    ) -> None:
        bit = self.config.depth - 1 - self.level
        for digit, child in enumerate(self.children):
            mine = [each for each in targets if leaf_index(each[1], self.config.depth) >> bit & 1 == digit]
            if mine:
                request.order += (child,)
                copy = copy_of(message, content, metadata, to=child, targets=mine, original=original)
                effects.append(Send(f"child{digit}", copy))

    def _to_engines(
        self,
        now: int,
        message: Message,
        content: Json,
        metadata: Json,
        targets: list[Target],
        original: str,
        request: Gathering,
        effects: list[Effect],
    ) -> None:
        path = message.identities
        missing: list[tuple[Path, str]] = []
        for target in targets:
            uuid = target[0]
            # Sent even if we do not know the engine: the client may have heard of it a moment before us.
            copy = copy_of(message, content, metadata, to=uuid, targets=[target], original=original)
            effects.append(Send("engine", copy))
            key = (path, copy.msg_id)
            self.copies[key] = Copy(original, target)
            self.at.setdefault(uuid, {})[key] = None
            if not self._reachable(uuid):
                missing.append(key)
        request.order = tuple(uuid for uuid, _ in targets)
        if missing:
            self.env.mark("broadcast.unknown-engine")
            self._grace(now, "engine not there", tuple(missing), effects)

    def _unreached(self, now: int, copy: Message, effects: list[Effect]) -> None:
        """An engine is not connected, or not yet; if it never is, the Hub gives it up, and it is answered for."""
        if (copy.identities[1:], copy.msg_id) in self.copies:
            self.env.mark("broadcast.not-connected")
            self.count += 1
            self.unsent[self.count] = copy
            effects.append(SetTimer("again", now + AGAIN, self.count))

    def _send_again(self, number: int, effects: list[Effect]) -> None:
        copy = self.unsent.pop(number, None)
        if copy is not None and (copy.identities[1:], copy.msg_id) in self.copies:
            effects.append(Send("engine", copy))

    def _reachable(self, uuid: str) -> bool:
        """Whether this engine lives and is connected to this leaf."""
        number = self.view.ids.get(uuid)
        mine = int(self.config.path[1:] or "0", 2)
        return number is not None and leaf_index(number, self.config.depth) == mine

    # -- up ------------------------------------------------------------------------------------------------------------

    def _engine_reply(self, now: int, message: Message, effects: list[Effect]) -> None:
        sender, path = message.identities[:1], message.identities[1:]
        key = (path, parent_id(message))
        copy = self.copies.get(key)
        is_reply = (
            copy is not None and sender == (copy.target[0].encode(),) and self._fits(message, path, copy.original)
        )
        if copy is None or not is_reply or self._step(key, "reply") != "answered":
            # Late, from another engine, or no reply at all.
            self.env.mark("broadcast.unexpected-reply")
            return
        original, target, _ = copy
        content, metadata = content_of(message), metadata_of(message)
        request = self._answered(key, original, target)
        if request.coalescing or content is None or metadata is None:
            if content is None or metadata is None:
                self.env.mark("broadcast.unreadable-reply")
                content = error("RemoteProtocolError", f"the reply of engine {target[0]} cannot be read")
            ok = content.get("status") == "ok"
            part = Part(content, metadata or {}, message.buffers if ok else (), (target,), () if ok else (target,))
            self._take_part(now, path, original, request, target, part, effects)
        elif metadata.get("original_msg_id") == original:
            self._up(path, message, effects)
        else:
            self._up(path, message.replace(metadata=metadata | {"original_msg_id": original}), effects)

    def _fits(self, message: Message, path: Path, original: str) -> bool:
        return message.msg_type == reply_name(self.open[path, original].header["msg_type"])

    def _answered(self, key: tuple[Path, str], original: str, target: Target) -> Gathering:
        """A target has its answer; the request it belongs to is over with the last one."""
        del self.copies[key]
        keys = self.at[target[0]]
        del keys[key]
        if not keys:
            del self.at[target[0]]
        request = self.open[key[0], original]
        del request.waiting[target[0]]
        if not request.waiting:
            del self.open[key[0], original]
        return request

    def _take_part(
        self,
        now: int,
        path: Path,
        original: str,
        request: Gathering,
        target: Target,
        part: Part,
        effects: list[Effect],
    ) -> None:
        if request.coalescing:
            request.parts[target[0]] = part
            if not request.waiting:
                self._one_for_all(now, path, original, request, effects)
            return
        about = {"engine": target[0], "status": part.content.get("status", "error")}
        header = request.header | {"msg_id": f"{original}_{target[0]}"}
        self._up(path, self._made(now, header, original, request, part.content, about), effects)

    def _child_reply(self, now: int, message: Message, effects: list[Effect]) -> None:
        sender, path = message.identities[:1], message.identities[1:]
        metadata, content = metadata_of(message) or {}, content_of(message)
        original = metadata.get("original_msg_id")
        if not path or not isinstance(original, str) or content is None:
            self.env.mark("broadcast.unexpected-reply")
            return
        if metadata.get("is_coalescing") is not True:
            self._up(path, message, effects)
            return
        request = self.open.get((path, original))
        child = sender[0].decode("utf-8", "replace")
        if request is None or child not in request.waiting:
            self.env.mark("broadcast.unexpected-reply")
            return
        del request.waiting[child]
        targets, failed = pairs(metadata.get("broadcast_targets")), pairs(metadata.get("failed_targets"))
        request.parts[child] = Part(content, metadata, message.buffers, targets, failed)
        if not request.waiting:
            del self.open[path, original]
            self._one_for_all(now, path, original, request, effects)

    def _one_for_all(self, now: int, path: Path, original: str, request: Gathering, effects: list[Effect]) -> None:
        parts = [request.parts[name] for name in request.order]
        failed = [part for part in parts if part.content.get("status") != "ok"]
        first = (failed or parts)[0]
        started = [each for part in parts if isinstance(each := part.metadata.get("started"), str)]
        about: Json = {
            "status": first.content.get("status", "error"),
            "broadcast_targets": [list(each) for part in parts for each in part.targets],
        }
        if started:
            about["started"] = min(started)
        for name in ("engine", "engine_info"):
            if name in first.metadata:
                about[name] = first.metadata[name]
        if failed:
            self.env.mark("broadcast.coalesced-error")
            about["failed_targets"] = [list(each) for part in parts for each in part.failed]
        buffers = tuple(buffer for part in parts for buffer in part.buffers)
        reply = self._made(now, request.header, original, request, first.content, about)
        self._up(path, reply.replace(buffers=buffers), effects)

    def _made(
        self, now: int, header: Json, original: str, request: Gathering, content: Json, about: Mapping[str, Any]
    ) -> Message:
        """A reply of this scheduler's own, in the shape of an engine's."""
        label = request.label
        metadata = {
            "dependencies_met": True,
            "is_broadcast": True,
            "is_coalescing": request.coalescing,
            "original_msg_id": original,
            "label": label if isinstance(label, str) else None,
            **about,
        }
        return self.voice.say(now, reply_name(header["msg_type"]), content, parent=header, metadata=metadata)

    def _up(self, path: Path, message: Message, effects: list[Effect]) -> None:
        if self.is_root:
            effects.append(self._to("monitor", (b"outbcast", *path), message))
        effects.append(self._to(self.above, path, message))

    def _to(self, socket: str, identities: Path, message: Message) -> Effect:
        if message.parts is not None:
            return Forward(socket, identities, message)
        return Send(socket, message.replace(identities=identities))

    def _refuse(self, now: int, message: Message, ename: str, why: str, effects: list[Effect]) -> None:
        self.env.mark("broadcast.refused")
        metadata = {
            "status": "error", "is_broadcast": True, "is_coalescing": False, "original_msg_id": message.msg_id,
        }  # fmt: skip
        reply = self.voice.answer(now, message, error(ename, why), metadata=metadata)
        effects.append(Send(self.above, reply))

    # -- the dead ------------------------------------------------------------------------------------------------------

    def _ask(self, now: int, again: int, effects: list[Effect]) -> None:
        request = self.voice.say(now, "connection_request")
        self.asked = request.msg_id
        self.view.ask()
        effects.append(Send("query", request))
        if again:
            effects.append(SetTimer("refresh", now + again))

    def _snapshot(self, now: int, message: Message, effects: list[Effect]) -> None:
        engines = listed(message)
        if engines is None:
            return
        self.asked = ""
        for _, uuid in self.view.snapshot(engines):
            self._lost(now, uuid, effects)

    def _notified(self, now: int, message: Message, effects: list[Effect]) -> None:
        about = announced(message)
        if about is None:
            return
        if self.env.rarely("broadcast.asks-early"):
            self._ask(now, 0, effects)
        if message.msg_type == "registration_notification":
            for _, uuid in self.view.add(*about):
                self._lost(now, uuid, effects)
        elif message.msg_type == "unregistration_notification":
            gone = self.view.remove(about[0])
            if gone is not None:
                self._lost(now, gone, effects)

    def _lost(self, now: int, uuid: str, effects: list[Effect]) -> None:
        keys = tuple(self.at.get(uuid, ()))
        if keys:
            self._grace(now, "engine unregistered", keys, effects)

    def _step(self, key: tuple[Path, str], event: str) -> str:
        """Let something happen to what an engine has to answer: the state that follows."""
        copy = self.copies[key]
        move = TARGET.move(copy.state, event)
        state = copy.state if move is None else move.state
        self.copies[key] = copy._replace(state=state)
        return state

    def _grace(self, now: int, why: str, keys: tuple[tuple[Path, str], ...], effects: list[Effect]) -> None:
        for key in keys:
            self._step(key, why)
        self.count += 1
        self.graces[self.count] = (why == "engine not there", keys)
        effects.append(SetTimer("grace", now + self.config.grace, self.count))

    def _grace_is_over(self, now: int, number: int, effects: list[Effect]) -> None:
        unless_known, keys = self.graces.pop(number, (False, ()))
        for key in keys:
            if key not in self.copies:
                continue
            original, target, _ = self.copies[key]
            is_there = unless_known and self._reachable(target[0])
            if self._step(key, "grace is over, engine there" if is_there else "grace is over") != "answered":
                continue
            self.env.mark("broadcast.dead-engine")
            request = self._answered(key, original, target)
            why = "is not there" if unless_known else "died"
            content = error("EngineError", f"Engine {target[0]!r} {why} while running task {original!r}")
            part = Part(content, {"date": self.env.date(now)}, (), (target,), (target,))
            self._take_part(now, key[0], original, request, target, part, effects)

    # -- state ---------------------------------------------------------------------------------------------------------

    def freeze(self) -> tuple[Any, ...]:
        """The state as plain tuples."""
        return (
            self.view.freeze(),
            self.asked,
            tuple((key, request.freeze()) for key, request in self.open.items()),
            tuple((key, tuple(copy)) for key, copy in self.copies.items()),
            tuple(self.graces.items()),
            self.count,
            tuple((number, freeze_message(copy)) for number, copy in self.unsent.items()),
        )

    def thaw(self, frozen: tuple[Any, ...]) -> None:
        """Take up a state that `freeze` gave."""
        view, self.asked, requests, copies, graces, self.count, unsent = frozen
        self.view.thaw(view)
        self.open = {key: thaw_gathering(request) for key, request in requests}
        self.copies = {key: Copy(*copy) for key, copy in copies}
        self.graces = dict(graces)
        self.unsent = {number: thaw_message(copy) for number, copy in unsent}
        self.at = {}
        for key, (_, (uuid, _), _) in copies:
            self.at.setdefault(uuid, {})[key] = None


__all__ = ["BroadcastScheduler"]
