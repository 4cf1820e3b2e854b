"""Where engines are struck: the sockets by which relays, the Hub and the heart monitor reach them.

Strangers are clients behind the relays, whose frames arrive as they were sent; the honest are clients, too, and ask for
code to be run whose output has to be heard. What a stranger asks may fail, and an engine that was told so then gives up
what waits: an honest request that is aborted for that is sent again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Final

from conformance.harness.engine import Caller, EngineUnderTest
from conformance.livefuzz.arena import HARM
from conformance.livefuzz.blows import Spot
from conformance.livefuzz.coding import CodeArena
from protocol.damage import Chance
from protocol.rules.parts import content_seen
from protocol.wire import Frame, Json, Message
from protocol.world import Observation

#: Code that does nothing, and of which nobody hears.
NOTHING: Final = {
    "code": "", "silent": True, "store_history": False, "user_expressions": {}, "allow_stdin": False,
    "stop_on_error": False,
}  # fmt: skip
#: How often an honest request that was aborted is sent again.
AGAIN: Final = 50


class EngineArena(CodeArena[EngineUnderTest]):
    """An engine, two honest clients, and a stranger on every channel."""

    def __init__(self, engine: EngineUnderTest, seed: int) -> None:
        super().__init__(engine, seed)
        self._clients = [engine.client() for _ in range(2)]
        self._stranger = engine.client()
        features = engine.features
        self._queues = ["mux", *(["task"] if "tasks" in features else []),
                        *(["broadcast"] if "broadcast" in features else [])]  # fmt: skip
        self._prints = bool(engine.is_heard and engine.samples.print)
        self._asked: dict[str, tuple[Caller, str, int]] = {}
        self._count = 0
        # A ping that nobody hears yet is lost.
        engine.expect_heart()
        self._listen()
        for channel in (*self._queues, "control"):
            self._add(channel)
        self._add_hub()
        beat = engine.world.sockets["heartbeat-ping"]
        self.add(Spot("heartbeat-ping", "heartbeat-ping", lambda _: [b"1.25"], beat.send_raw, is_raw=True))

    def leave(self) -> None:
        """Let the engine keep what arrives."""
        self.subject.listen()

    # -- the honest ----------------------------------------------------------------------------------------------------

    def acts(self) -> Iterator[Callable[[], None]]:
        """Each client asks for code on each queue and for an answer on control, and the heart is asked to beat."""
        for client in self._clients:
            for channel in (*self._queues, "control"):
                yield lambda client=client, channel=channel: self._ask(client, channel)  # type: ignore[misc]
        yield self._ping

    def _ask(self, client: Caller, channel: str, left: int = AGAIN) -> None:
        engine = self.subject
        if channel == "control":
            request = client.message(*self._harmless(), channel=channel)
        else:
            self._count += 1
            text = f"line {self._count} of {client.name}"
            code = engine.sample("print", text=text) if engine.samples.print else ""
            request = client.message("execute_request", NOTHING | {"code": code, "silent": False}, channel=channel)
            if self._prints:
                self._texts[request.msg_id] = text
                self.due[f"output of {request.msg_id}"] = ("iopub", "output of code")
        self._asked[request.msg_id] = client, channel, left
        self.due[request.msg_id] = (channel, f"reply to {request.msg_type}")
        self.sent[request.msg_id] = [(channel, engine.codec.encode(request)[1:])]
        client.post(request, channel)

    def _harmless(self) -> tuple[str, Json]:
        """What may be asked on control at any time: type and content."""
        return (
            ("abort_request", {"msg_ids": ["never-sent"]})
            if "abort" in self.subject.features
            else ("clear_request", {})
        )

    def _ping(self) -> None:
        self._count += 1
        ping = b"honest %d" % self._count
        self.due[f"echo of {ping!r}"] = ("heartbeat-pong", "echo of a ping")
        self.subject.ping(ping)

    def _listen(self) -> None:
        engine = self.subject
        sockets = engine.world.sockets
        for socket in (*(sockets[name] for name in ("mux", "task", "control")), *engine.world.leaves):
            engine.world.listen(socket, self._reply)
        engine.world.listen(sockets["iopub"], self._output)
        engine.world.listen(sockets["heartbeat-pong"], self._pong)
        engine.world.listen(sockets["query"], self._told)

    def _reply(self, seen: Observation) -> None:
        message = seen.message
        key = message.parent_header.get("msg_id") if message is not None else None
        identity = message.identities[-1] if message is not None and message.identities else b""
        session = message.parent_header.get("session") if message is not None else None
        # The identities are no part of what is signed: whose answer it is, its parent tells.
        if message is None or session not in [client.session for client in self._clients]:
            self.answered(seen.channel, seen)
            return
        asked = self._asked.pop(key, None) if isinstance(key, str) else None
        if asked is not None and _is_aborted(seen) and asked[2]:
            client, channel, left = asked
            assert isinstance(key, str)
            for name in (key, f"output of {key}"):
                self.due.pop(name, None)
            self._ask(client, channel, left - 1)
            return
        is_same = asked is None or bytes(identity) == asked[0].identity
        if asked is not None and content_seen(seen).get("status") != "ok":
            self.notice(HARM, f"{seen.channel} of another peer", f"{message.msg_type} {message.content!r:.200}", seen)
        self.arrived(key, seen.channel, seen, is_same=is_same)

    def _output(self, seen: Observation) -> None:
        self._hear_output(seen, [client.session for client in self._clients])

    def _pong(self, seen: Observation) -> None:
        key = f"echo of {bytes(seen.frames[-1])!r}"
        if key in self.due:
            self.arrived(key, "heartbeat-pong", seen)

    def _told(self, seen: Observation) -> None:
        if seen.message is not None and seen.message.msg_type in ("unregistration_request", "registration_request"):
            self.notice(HARM, "the engine", f"it sent a {seen.message.msg_type} of its own accord", seen)
        else:
            self.answered("query", seen)

    # -- the stranger --------------------------------------------------------------------------------------------------

    def _add(self, channel: str) -> None:
        codec, stranger = self.subject.codec, self._stranger

        def make(chance: Chance | None) -> Message:
            if channel == "control":
                # An abort that lost its list of ids would be one of everything.
                is_known = chance is not None and "kernel-info" in self.subject.features
                question = ("kernel_info_request", {}) if is_known else self._harmless()
                return stranger.message(*question, channel=channel)
            return stranger.message("execute_request", dict(NOTHING), channel=channel)

        def mark() -> str:
            message = make(None)
            stranger.send_raw(codec.encode(message), "right, and the last of a row", channel=channel)
            return message.msg_id

        self.add(
            Spot(
                channel, channel, lambda chance: codec.encode(make(chance))[1:],
                lambda frames, why: stranger.send_raw(frames, why, channel=channel), mark,
                address=(self.subject.uuid.encode(),), foreign=[self._clients[0].identity, self.subject.uuid.encode()],
            )
        )  # fmt: skip

    def _add_hub(self) -> None:
        engine, uuid = self.subject, self.subject.uuid.encode()

        def good(_: Chance) -> list[Frame]:
            return engine.codec.encode(engine.hub.make("connection_reply", {"status": "ok", "engines": {}}))

        socket = engine.world.sockets["query"]
        self.add(Spot("query", "query", good, socket.send_raw, address=(uuid,)))


def _is_aborted(seen: Observation) -> bool:
    content: dict[str, Any] = content_seen(seen)
    return content.get("status") == "aborted" or content.get("ename") in ("AbortedError", "TaskAborted")


__all__ = ["NOTHING", "EngineArena"]
