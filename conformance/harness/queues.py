"""A queue that relays: who is given what, next, with which frames.

A relay is judged by what comes out of it. Every wait here is for the very next thing that a socket yields, so that
whatever was lost, doubled, mixed up or overtaken shows at once; and a marker that follows on the same way proves that
nothing came in between.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final, Literal

from conformance.harness.actors import Client, Engine
from conformance.harness.verdict import Finding, Violated
from protocol.wire import DELIMITER, Frame, Message
from protocol.world import SECOND, Observation

if TYPE_CHECKING:
    from conformance.harness.controller import Controller

Name = Literal["mux", "control"]

#: What a case sends where the type of a request does not matter.
_REQUEST: Final[dict[Name, dict[str, Any]]] = {"mux": {}, "control": {"msg_type": "clear_request", "buffers": ()}}
_ANSWER: Final[dict[Name, dict[str, Any]]] = {"mux": {}, "control": {"buffers": ()}}


class Queue:
    """MUX or control, with scripted engines at one side and clients at the other.

    What is awaited and does not come violates what the case is about, or the `requirement` that is named.
    """

    def __init__(self, controller: Controller, name: Name = "mux") -> None:
        self.controller = controller
        self.name = name

    def engine(self) -> Engine:
        """An engine that is connected to this queue, registered and announced."""
        return self.controller.engine().with_shell(self.name).registered()

    def send(self, client: Client, engine: Engine, **fields: Any) -> Message:
        """A client asks an engine; see `Client.submit`."""
        return client.submit(engine, channel=self.name, **(_REQUEST[self.name] | fields))

    def answer(self, engine: Engine, request: Observation, **fields: Any) -> Message:
        """An engine answers what it was given; see `Engine.answer`."""
        return engine.answer(request, channel=self.name, **(_ANSWER[self.name] | fields))

    def delivered(
        self, engine: Engine, request: Message, *, is_patient: bool = False, requirement: str | None = None
    ) -> Observation:
        """The next thing that the engine is given, which must be this request; a patient engine skips all else."""
        return self._next(engine, request.msg_id, "header", is_patient, f"the {request.msg_type}", requirement)

    def replied(
        self,
        client: Client,
        request: Message,
        *,
        is_patient: bool = False,
        requirement: str | None = None,
    ) -> Observation:
        """The next thing that the client receives, which must be the reply to this request."""
        called = f"the reply to the {request.msg_type}"
        return self._next(client, request.msg_id, "parent", is_patient, called, requirement)

    def exchange(
        self, client: Client, engine: Engine, *, is_patient: bool = False, requirement: str | None = None
    ) -> tuple[Observation, Observation]:
        """One request and its reply, as they arrived at the engine and at the client."""
        request = self.send(client, engine)
        given = self.delivered(engine, request, is_patient=is_patient, requirement=requirement)
        self.answer(engine, given)
        return given, self.replied(client, request, is_patient=is_patient, requirement=requirement)

    def disturb(self, party: Client, frames: Sequence[Frame], why: str) -> None:
        """Send frames as they are to this queue, from either side of it."""
        party.queue(self.name).send_raw(frames, why)

    def _next(
        self, party: Client, msg_id: str, where: str, is_patient: bool, called: str, requirement: str | None
    ) -> Observation:
        started = self.controller.world.now
        limit = self.controller.timing.reply_deadline
        socket = party.queue(self.name)
        while (seen := socket.recv(started + limit)) is not None:
            if _id(seen, where) == msg_id:
                return seen
            if not is_patient:
                finding = Finding(f"{party.name} was given {_shown(seen)}", (called,), evidence=(seen.seq,))
                raise Violated(finding, requirement)
        self.controller.expect_waited(started, limit)
        found = f"{called} did not reach {party.name} within {limit / SECOND:.1f} s"
        if not self.controller.is_running:
            found += "; the target's process has ended"
        raise Violated(Finding(found, ("it is delivered",)), requirement)


def envelope(frames: Sequence[Frame]) -> list[bytes]:
    """What stands before the delimiter."""
    return [bytes(frame) for frame in frames[: _at(frames)]]


def body(frames: Sequence[Frame]) -> list[bytes]:
    """The message itself: what comes after the delimiter."""
    return [bytes(frame) for frame in frames[_at(frames) + 1 :]]


def expect_same(found: Sequence[Frame], sent: Sequence[Frame], *, requirement: str | None = None) -> None:
    """What arrived must be, after the delimiter, byte for byte what was sent."""
    got, wanted = body(found), body(sent)
    if got == wanted:
        return
    if len(got) != len(wanted):
        raise Violated(Finding(f"{len(got)} frames after the delimiter", (f"{len(wanted)} frames",)), requirement)
    at = next(index for index, (one, other) in enumerate(zip(got, wanted, strict=True)) if one != other)
    finding = Finding(f"frame {at} after the delimiter is {got[at]!r:.200}", (f"{wanted[at]!r:.200}",))
    raise Violated(finding, requirement)


def _at(frames: Sequence[Frame]) -> int:
    return list(frames).index(DELIMITER) if DELIMITER in frames else len(frames)


def _id(seen: Observation, where: str) -> object:
    if seen.message is None:
        return None
    return seen.message.msg_id if where == "header" else seen.message.parent_header.get("msg_id")


def _shown(seen: Observation) -> str:
    if seen.message is None:
        return f"{len(seen.frames)} frames that are no message"
    return f"{seen.message.msg_type} {seen.message.msg_id}"
