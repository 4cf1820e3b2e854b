"""Mistakes of what passes messages on: the MUX and control queues, the output queue, the broadcast tree."""

from collections.abc import Sequence
from typing import ClassVar, Final

from conformance.mutants.changes import edited, is_so
from conformance.mutants.mutant import Mutant
from protocol.errors import RemoteProtocolError
from protocol.roles.base import Arrived, Effect, Event, Forward, Malformed, Send
from protocol.wire import Message

MUX, CONTROL, IOPUB, BROADCAST = "mux-relay", "control-relay", "iopub-relay", "broadcast-scheduler"


class Passing(Mutant):
    """A relay that passes something else on."""

    part = MUX

    def passed(self, effect: Forward) -> Sequence[Effect]:
        """What is carried out instead of passing a message on to a peer."""
        raise AssertionError(f"{self.name()} passes everything on")

    def do(self, now: int, effect: Effect) -> Sequence[Effect]:
        """Pass it on otherwise; the Hub's copy stays as it is."""
        return self.passed(effect) if isinstance(effect, Forward) and effect.socket != "monitor" else (effect,)


class SendsToTheFirst(Passing):
    """One engine is as good as another."""

    breaks: ClassVar[tuple[str, ...]] = ("mux.routes-by-identity", "notification.uuid-routes")

    def passed(self, effect: Forward) -> Sequence[Effect]:
        """Everything goes to the engine that was named first."""
        if effect.socket == "out":
            first = self.memory.setdefault("first", effect.identities[0])
            return (effect._replace(identities=(first, *effect.identities[1:])),)
        return (effect,)


class ControlsTheFirst(SendsToTheFirst):
    """One engine is as good as another."""

    breaks = ("control.routes-by-identity",)
    part = CONTROL


class HidesTheClient(Passing):
    """Who asks is nothing to an engine."""

    breaks = ("mux.engine-identity-swap",)

    def passed(self, effect: Forward) -> Sequence[Effect]:
        """Another identity in the place of the client's."""
        if effect.socket == "out":
            return (effect._replace(identities=(effect.identities[0], b"client", *effect.identities[2:])),)
        return (effect,)


class AnswersWhoAskedLast(Passing):
    """The last to ask is the one who waits."""

    breaks: ClassVar[tuple[str, ...]] = ("mux.reply-to-requester", "mux.raw-router-addressing")

    def passed(self, effect: Forward) -> Sequence[Effect]:
        """Replies go to the client that sent last."""
        if effect.socket == "out":
            self.memory["last"] = effect.identities[1]
            return (effect,)
        return (effect._replace(identities=(self.memory.get("last", effect.identities[0]), *effect.identities[1:])),)


class AnswersControlToWhoAskedLast(AnswersWhoAskedLast):
    """The last to ask is the one who waits."""

    breaks = ("control.reply-to-requester",)
    part = CONTROL


class HidesTheEngine(Passing):
    """Who answered does not matter."""

    breaks = ("mux.reply-names-engine",)

    def passed(self, effect: Forward) -> Sequence[Effect]:
        """Another identity in the place of the engine's."""
        if effect.socket == "in":
            return (effect._replace(identities=(effect.identities[0], b"engine", *effect.identities[2:])),)
        return (effect,)


#: So many messages may come singly, as one request and its reply do. It is even: nobody waits for the last of many.
FEW: Final = 4


class OvertakesItself(Passing):
    """The latest is the most urgent."""

    breaks = ("mux.fifo-per-engine",)

    def passed(self, effect: Forward) -> Sequence[Effect]:
        """Every second message goes before the one before it; but few of them make no hurry."""
        self.memory["passed"] = passed = self.memory.get("passed", 0) + 1
        if passed <= FEW:
            return (effect,)
        return self.overtaken(effect)


class OvertakesOutput(OvertakesItself):
    """The latest is the most urgent."""

    breaks = ("iopub.stream-order",)
    part = IOPUB


class PassesKnownTypes(Mutant):
    """Calls are what this queue is for."""

    breaks = ("mux.all-message-types",)
    part = MUX

    def hear(self, event: Event) -> Sequence[Event]:
        """Nothing but calls and code."""
        if isinstance(event, Arrived) and event.socket == "in":
            return (event,) if event.message.msg_type in ("apply_request", "execute_request") else ()
        return (event,)


class WaitsForEarlierEngines(Mutant):
    """Who comes late has to wait."""

    breaks = ("mux.late-joiner-works",)
    part = MUX

    def hear(self, event: Event) -> Sequence[Event]:
        """Engines that were not named in the first ten requests get none."""
        if isinstance(event, Arrived) and event.socket == "in" and len(event.message.identities) > 1:
            known = self.memory.setdefault("known", set())
            if len(known) >= 1 and event.message.identities[1] not in known:
                return ()
            known.add(event.message.identities[1])
        return (event,)


class StopsAtGarbage(Mutant):
    """After garbage nobody knows where a message begins."""

    breaks: ClassVar[tuple[str, ...]] = ("mux.garbage-harmless",)
    part = MUX

    def hear(self, event: Event) -> Sequence[Event]:
        """Nothing more after what is no message."""
        is_bad = isinstance(event, Malformed) or (
            isinstance(event, Arrived) and len(event.message.identities) < 2 and self.part != IOPUB
        )
        self.memory["deaf"] = self.memory.get("deaf") or is_bad
        return () if self.memory["deaf"] else (event,)


class ControlStopsAtGarbage(StopsAtGarbage):
    """After garbage nobody knows where a message begins."""

    breaks = ("control.garbage-harmless",)
    part = CONTROL


class OutputStopsAtGarbage(StopsAtGarbage):
    """After garbage nobody knows where a message begins."""

    breaks = ("iopub.garbage-harmless",)
    part = IOPUB


class StopsAtNobody(Mutant):
    """A message that reaches nobody is a mistake."""

    breaks: ClassVar[tuple[str, ...]] = ("mux.unknown-engine-harmless",)
    part = MUX

    def hear(self, event: Event) -> Sequence[Event]:
        """Nothing more after a request to somebody who never said anything and whose name is strange."""
        is_request = isinstance(event, Arrived) and event.socket == "in" and len(event.message.identities) > 1
        if is_request and not event.message.identities[1].startswith(b"kit-"):  # type: ignore[union-attr]
            self.memory["deaf"] = True
        return () if self.memory.get("deaf") and isinstance(event, Arrived) else (event,)


class ControlStopsAtNobody(StopsAtNobody):
    """A message that reaches nobody is a mistake."""

    breaks = ("control.unknown-engine-harmless",)
    part = CONTROL


# -- output ------------------------------------------------------------------------------------------------------------


class DoublesOutput(Passing):
    """Something is always lost."""

    breaks = ("iopub.stream-order",)
    part = IOPUB

    def passed(self, effect: Forward) -> Sequence[Effect]:
        """Everything twice."""
        return (effect, effect)


class KeepsOutputFromTheHub(Mutant):
    """Output is for clients."""

    breaks = ("iopub.output-stored", "storage.output-recorded")
    part = IOPUB

    def do(self, now: int, effect: Effect) -> Sequence[Effect]:
        """No copies."""
        return () if isinstance(effect, Forward) and effect.socket == "monitor" else (effect,)


# -- broadcasts --------------------------------------------------------------------------------------------------------


class Spreading(Mutant):
    """A tree that sends something else to engines, or up to clients."""

    part = BROADCAST
    way: ClassVar[str] = "engine"

    def sent(self, effect: Send) -> Sequence[Effect]:
        """What is sent instead."""
        raise AssertionError(f"{self.name()} sends what it should")

    def do(self, now: int, effect: Effect) -> Sequence[Effect]:
        """Send that instead on the way of this mutant."""
        return self.sent(effect) if isinstance(effect, Send) and effect.socket == self.way else (effect,)


class ReachesTheFirst(Spreading):
    """One is enough to begin with."""

    breaks = ("broadcast.reaches-each-target",)

    def sent(self, effect: Send) -> Sequence[Effect]:
        """Nothing to a second engine."""
        first = self.memory.setdefault("first", effect.message.identities[0])
        return (effect,) if effect.message.identities[0] == first else ()


class ReachesTwice(Spreading):
    """Something is always lost."""

    breaks = ("broadcast.reaches-each-target",)

    def sent(self, effect: Send) -> Sequence[Effect]:
        """Each copy twice."""
        again = effect.message.header | {"msg_id": effect.message.msg_id + "-again"}
        return (effect, Send("engine", effect.message.replace(header=again)))


class AnswersOnce(Mutant):
    """All say the same."""

    breaks = ("broadcast.reply-per-target",)
    part = BROADCAST

    def do(self, now: int, effect: Effect) -> Sequence[Effect]:
        """No second answer to a client about one request."""
        if isinstance(effect, Send | Forward) and effect.socket == "client":
            original = effect.message.metadata.get("original_msg_id")
            if original in self.memory:
                return ()
            self.memory[str(original)] = True
        return (effect,)


class ForgetsTheOriginal(Mutant):
    """The id of the copy is enough."""

    breaks = ("broadcast.original-id",)
    part = BROADCAST

    def do(self, now: int, effect: Effect) -> Sequence[Effect]:
        """Replies to clients that do not name their request."""
        if isinstance(effect, Send | Forward) and effect.socket == "client":
            message = effect.message
            path = effect.identities if isinstance(effect, Forward) else message.identities
            kept = {key: value for key, value in message.metadata.items() if key != "original_msg_id"}
            return (Send("client", message.replace(metadata=kept, identities=path)),)
        return (effect,)


class CopiesTheId(Spreading):
    """A copy is the same message."""

    breaks = ("broadcast.ids-distinct",)

    def sent(self, effect: Send) -> Sequence[Effect]:
        """Each copy under the id of the request."""
        original = effect.message.msg_id.rpartition("_")[0]
        return (Send("engine", effect.message.replace(header=effect.message.header | {"msg_id": original})),)


def _has_targets(message: Message) -> bool:
    targets = message.metadata.get("targets")
    return isinstance(targets, list) and bool(targets)


class StopsWithoutTargets(Mutant):
    """Who sends to nobody is not worth an answer, nor is anybody else."""

    breaks = ("broadcast.targets-required", "broadcast.empty-targets")
    part = BROADCAST

    def hear(self, event: Event) -> Sequence[Event]:
        """Nothing more after a request without targets."""
        is_request = isinstance(event, Arrived) and event.socket in ("client", "parent")
        if is_request and not is_so(_has_targets, event.message):  # type: ignore[union-attr]
            self.memory["deaf"] = True
        return () if self.memory.get("deaf") and isinstance(event, Arrived) else (event,)


class SpreadsNoBuffers(Spreading):
    """Buffers are large, and engines are many."""

    breaks = ("broadcast.buffers-unchanged",)

    def sent(self, effect: Send) -> Sequence[Effect]:
        """Copies without buffers."""
        return (Send("engine", effect.message.replace(buffers=())),)


class NeverCoalesces(Mutant):
    """Several answers say more than one."""

    breaks = ("broadcast.coalesced-single-reply",)
    part = BROADCAST

    def hear(self, event: Event) -> Sequence[Event]:
        """Nobody wants one answer for all."""
        if isinstance(event, Arrived) and event.socket in ("client", "parent"):
            try:
                about = event.message.metadata | {"is_coalescing": False}
                return (Arrived(event.socket, event.message.replace(metadata=about)),)
            except (RemoteProtocolError, TypeError):
                return (event,)
        return (event,)


class CoalescesTheOtherWayRound(Mutant):
    """The last one first."""

    breaks = ("broadcast.coalesced-buffers",)
    part = BROADCAST
    says = (edited(lambda m: m.replace(buffers=tuple(reversed(m.buffers)))
                   if m.metadata.get("is_coalescing") and m.msg_type.endswith("_reply") else m),)  # fmt: skip


class WaitsForTheDead(Mutant):
    """An answer may still come."""

    breaks = ("broadcast.coalesced-error",)
    part = BROADCAST

    def hear(self, event: Event) -> Sequence[Event]:
        """No time of grace ever ends."""
        return () if getattr(event, "timer", "") == "grace" else (event,)
