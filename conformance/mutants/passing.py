"""Mistakes of what passes messages on that show in time, in names, or at some of the peers only."""

from collections.abc import Sequence
from typing import Any, ClassVar

from conformance.harness.output import PILOT
from conformance.mutants.changes import wrap
from conformance.mutants.mutant import Mutant
from conformance.mutants.relays import BROADCAST, CONTROL, IOPUB, MUX, Passing
from conformance.mutants.wire import Frames
from protocol.roles.base import Arrived, Effect, Event, Exit, Forward, Send, SendRaw, Stopping
from protocol.wire import DELIMITER, Frame, Message
from protocol.world import SECOND


class Skipping(Mutant):
    """A publisher whose every third message misses the listener that came last; `socket` is where it publishes."""

    socket: ClassVar[str] = "out"

    def do(self, now: int, effect: Effect) -> Sequence[Effect]:
        """The effect as it is; before the first one, the socket is made to skip."""
        if isinstance(effect, Send | SendRaw | Forward) and effect.socket == self.socket and not self.memory:
            self.memory["count"] = 0
            wrap(self.shell.sockets[self.socket], "_find", self.find)
        return (effect,)

    def find(self, old: Any, topic: bytes) -> None:
        """Who wants a message, but one of them."""
        old(topic)
        self.memory["count"] += 1
        out = self.shell.sockets[self.socket]._out  # type: ignore[union-attr]
        if self.memory["count"] % 3 == 0 and out.matching > 1:
            out.matching -= 1


class PublishesToAFew(Skipping):
    """Most of it for most of them is enough."""

    breaks = ("iopub.reaches-all-clients",)
    part = IOPUB


class PingsAFew(Skipping):
    """A heart that misses a ping will hear the next one."""

    breaks = ("heartbeat.ping-reaches-all",)
    part = "heart-monitor"
    socket = "ping"


class NotifiesAFew(Skipping):
    """Clients talk to each other."""

    breaks = ("notification.all-subscribers",)
    part = "hub"
    socket = "notification"


class Slow(Mutant):
    """A relay that takes two seconds for what it passes on."""

    def do(self, now: int, effect: Effect) -> Sequence[Effect]:
        """It leaves later, in order; the Hub's copy at once."""
        if isinstance(effect, Forward) and effect.socket != "monitor":
            self.shell.process.at(now + 2 * SECOND, lambda *_: self.shell.carry_forward(effect), None, None)
            return ()
        return (effect,)


class WaitsForTheHub(Slow):
    """First the copy has to be in the books."""

    breaks = ("mux.monitoring-does-not-interfere",)
    part = MUX


class ControlsInTime(Slow):
    """Control stands behind what was there before."""

    breaks = ("control.own-channel",)
    part = CONTROL


class NamesClientsAnew(Passing):
    """A name may be used once."""

    breaks = ("mux.identity-swap",)

    def passed(self, effect: Forward) -> Sequence[Effect]:
        """Another name for the client with each request, and the right one on the way back."""
        first, second, *rest = effect.identities
        if effect.socket == "out":
            name = b"request %d" % len(self.memory)
            self.memory[name.decode()] = second
            return (effect._replace(identities=(first, name, *rest)),)
        return (effect._replace(identities=(self.memory[first.decode()], second, *rest)),)


class SaysWhichQueue(Passing):
    """An engine should know how it was asked."""

    breaks = ("mux.same-types-as-task",)

    def passed(self, effect: Forward) -> Sequence[Effect]:
        """Requests whose metadata name the queue."""
        if effect.socket == "out":
            message = effect.message.replace(identities=effect.identities)
            return (Send("out", message.replace(metadata=message.metadata | {"queue": "mux"})),)
        return (effect,)


class ShortensTopics(Passing):
    """A topic is for machines, and machines like it short."""

    breaks = ("iopub.relayed-unchanged",)
    part = IOPUB

    def passed(self, effect: Forward) -> Sequence[Effect]:
        """A topic without its last letter."""
        topic, *rest = effect.identities
        return (effect._replace(identities=(topic[:-1] if topic != PILOT.encode() else topic, *rest)),)


class PrintsTheLatestFirst(Passing):
    """The latest is the most interesting."""

    breaks = ("iopub.fifo-per-engine",)
    part = IOPUB

    def passed(self, effect: Forward) -> Sequence[Effect]:
        """Of two messages under one topic the second goes first."""
        return self.overtaken(effect, effect.identities[0].hex(), effect.message.msg_type == "stream")


class LeavesBuffersBehind(Passing):
    """Buffers are large."""

    breaks = ("wire.buffer-count",)
    shows_in = ("test_mux.py::test_a_request_reaches_the_engine*",)

    def passed(self, effect: Forward) -> Sequence[Effect]:
        """Nothing behind the content."""
        return (Send(effect.socket, effect.message.replace(identities=effect.identities, buffers=())),)


class TakesEnginesAlong(Mutant):
    """Without a Hub there is nothing left to do."""

    breaks = ("query.shutdown-spares-engines",)
    part = CONTROL

    def handle(self, now: int, event: Event) -> Sequence[Effect]:
        """Everybody who was ever sent a request is told to end."""
        if isinstance(event, Arrived) and event.socket == "in":
            self.memory[event.message.identities[1].hex()] = event.message
        if isinstance(event, Stopping):
            asked: Any = self.memory.values()
            return (*(Send("out", self._shutdown(now, message)) for message in asked), Exit())
        return super().handle(now, event)

    def _shutdown(self, now: int, message: Message) -> Message:
        env, (client, engine, *_) = self.role.env, message.identities
        header = message.header | {"msg_id": env.fresh_id(), "msg_type": "shutdown_request", "date": env.date(now)}
        return Message(header, content={"restart": False}, identities=(engine, client))


# -- broadcasts --------------------------------------------------------------------------------------------------------


class SignsWhatItWas(Frames):
    """The signature of a message is the client's."""

    breaks = ("broadcast.re-signed",)
    part = BROADCAST
    shows_in = ()

    def frames(self, frames: list[Frame]) -> list[Frame]:
        """Copies under a signature of something else."""
        at = frames.index(DELIMITER)
        if (
            not self.role.is_leaf
            or b"_request" not in bytes(frames[at + 2])
            or b"original" not in bytes(frames[at + 4])
        ):
            return frames
        return [*frames[: at + 1], self.shell.codec.sign(b"".join(frames[at + 3 : at + 6])), *frames[at + 2 :]]


class GivesUpWithTheDead(Mutant):
    """A broadcast that lost a target has failed."""

    breaks = ("broadcast.dead-target",)
    part = BROADCAST

    def hear(self, event: Event) -> Sequence[Event]:
        """No replies any more to what was open when an engine died."""
        if isinstance(event, Arrived) and event.message.msg_type == "unregistration_notification":
            self.memory.update({copy.original: True for copy in self.role.copies.values()})
        if isinstance(event, Arrived) and event.socket == "engine":
            return () if event.message.metadata.get("original_msg_id") in self.memory else (event,)
        return (event,)


class WantsToKnowAll(Mutant):
    """Who names somebody unknown has made a mistake."""

    breaks = ("broadcast.unknown-engine",)
    part = BROADCAST

    def hear(self, event: Event) -> Sequence[Event]:
        """No requests with a target that is not there."""
        if isinstance(event, Arrived) and event.socket == self.role.above and self.role.is_leaf:
            targets = event.message.metadata["targets"]
            return (event,) if all(self.role._reachable(uuid) for uuid, _ in targets) else ()
        return (event,)
