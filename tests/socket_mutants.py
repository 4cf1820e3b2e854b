"""Virtual sockets that are wrong in one way each; the certificate must notice every one of them.

The docstring of a mutant is the mistake. `KINDS` are the types that it replaces; most mistakes are made where a pipe
comes in, since that is where a socket and its pipe meet.
"""

from collections import deque
from typing import Any, ClassVar

import msgspec

from simulator.sockets import KINDS, Errno, Socket, ZmqError
from simulator.sockets.arrays import Balance, Fair, Spread
from simulator.sockets.pipe import Message, Pipe
from simulator.sockets.pipeline import Dealer, Pair, Pull, Push
from simulator.sockets.pubsub import Pub, Sub, XPub, XSub
from simulator.sockets.reqrep import Rep, Req
from simulator.sockets.router import Router
from simulator.sockets.subscriptions import Audience, Wanted


class Mutant:
    """What all of them have: the types that they replace, and the family of sequences in which it shows."""

    REPLACES: ClassVar[tuple[type[Socket], ...]]
    FAMILY: ClassVar[str] = "route"


class CreditsAtOnce(Mutant):
    """A full pipe opens after one read, not after a batch."""

    REPLACES = (Dealer, Router)

    def attach(self, pipe: Pipe, is_local: bool = False) -> None:
        pipe.lwm = min(pipe.lwm, 1)
        super().attach(pipe, is_local)  # type: ignore[misc]


class KeepsOneLess(Mutant):
    """The high-water mark is one message lower."""

    REPLACES = (Push, Pull)
    FAMILY = "pipeline"

    def attach(self, pipe: Pipe, is_local: bool = False) -> None:
        pipe.hwm = max(pipe.hwm - 1, 1) if pipe.hwm else 0
        super().attach(pipe, is_local)  # type: ignore[misc]


class _FramePipe(Pipe):
    __slots__ = ()

    def write(self, message: Message) -> bool:
        if not super().write(message):
            return False
        self.sent += len(message) - 1
        return True


class CountsFrames(Mutant):
    """The high-water mark counts frames instead of messages."""

    REPLACES = (Dealer,)

    def attach(self, pipe: Pipe, is_local: bool = False) -> None:
        pipe.__class__ = _FramePipe
        super().attach(pipe, is_local)  # type: ignore[misc]


class _ForgetfulPipe(Pipe):
    __slots__ = ()

    def _recount(self) -> None:
        pass


class CreditsWholeMessages(Mutant):
    """The writer is not told again what was read while a message of several frames is read."""

    REPLACES = (Dealer, Router)

    def attach(self, pipe: Pipe, is_local: bool = False) -> None:
        pipe.__class__ = _ForgetfulPipe
        super().attach(pipe, is_local)  # type: ignore[misc]


class _Loyal(Fair):
    __slots__ = ()

    def recv(self) -> Any:
        before = self.current
        found = super().recv()
        if found is not None and before < self.active:
            self.current = before
        return found


class HearsOneFirst(Mutant):
    """A DEALER hears a peer until it has nothing more to say."""

    REPLACES = (Dealer,)

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self._in = _Loyal()


class _First(Balance):
    __slots__ = ()

    def send(self, message: Message) -> Pipe | None:
        self.current = 0
        return super().send(message)


class SendsToTheFirst(Mutant):
    """A DEALER sends to the first peer as long as that has room."""

    REPLACES = (Dealer,)

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self._out = _First()


class _Restless(Balance):
    __slots__ = ()

    def _deactivate(self) -> None:
        super()._deactivate()
        self.current = 0


class StartsAgainAtTheFirst(Mutant):
    """After a full peer, a PUSH goes on with the first one instead of the next."""

    REPLACES = (Push, Dealer)

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self._out = _Restless()


class _Once(Wanted):
    __slots__ = ()

    def remove(self, prefix: bytes) -> bool:
        while self._counts.get(prefix, 0) > 1:
            super().remove(prefix)
        return super().remove(prefix)


class ForgetsAtOnce(Mutant):
    """Unsubscribing once ends a subscription that was made twice."""

    REPLACES = (Sub, XSub)
    FAMILY = "publish"

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self._wanted = _Once()


class _Exact(Audience):
    __slots__ = ()

    def listeners(self, topic: bytes) -> Any:
        return iter(self._pipes.get(topic, ()))


class MatchesWholeTopics(Mutant):
    """A publisher compares whole topics, not their beginnings."""

    REPLACES = (Pub, XPub)
    FAMILY = "publish"

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self._audience = _Exact()


class SendsACopyPerSubscription(Mutant):
    """Who subscribed to two beginnings of a topic gets a message twice."""

    REPLACES = (Pub, XPub)
    FAMILY = "publish"

    def _send(self, frames: Message) -> Errno | None:
        for pipe in list(self._audience.listeners(frames[0])):  # type: ignore[attr-defined]
            pipe.write(frames)
        return None


class TellsEverySubscription(Mutant):
    """An XPUB is told of each subscription, though it did not ask for that."""

    REPLACES = (XPub,)
    FAMILY = "publish"

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.options = msgspec.structs.replace(self.options, xpub_verbose=1)


class MissesGoodbyes(Mutant):
    """An XPUB is not told when a subscriber goes away without a word."""

    REPLACES = (XPub,)
    FAMILY = "publish"

    def _detached(self, pipe: Pipe) -> None:
        for _ in self._audience.drop(pipe):  # type: ignore[attr-defined]
            pass
        self._out.terminated(pipe)  # type: ignore[attr-defined]


class NeverDrops(Mutant):
    """A publisher says EAGAIN instead of dropping."""

    REPLACES = (Pub, XPub)
    FAMILY = "publish"

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.options = msgspec.structs.replace(self.options, xpub_nodrop=1)


class _Blind(Spread):
    __slots__ = ()

    def activated(self, pipe: Pipe) -> None:
        pass


class NeverTriesAgain(Mutant):
    """A subscriber that was full once gets nothing any more."""

    REPLACES = (Pub, XPub)
    FAMILY = "publish"

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self._out = _Blind()


class KeepsQuiet(Mutant):
    """A SUB does not tell a new publisher what it wants."""

    REPLACES = (Sub, XSub)
    FAMILY = "publish"

    def _subscribe_all(self, pipe: Pipe) -> None:
        pass


class TrustsPublishers(Mutant):
    """A SUB takes whatever comes, and does not filter again."""

    REPLACES = (Sub,)
    FAMILY = "publish"
    IS_FILTERING: ClassVar[bool] = False


class IgnoresInversion(Mutant):
    """A SUB does not know INVERT_MATCHING."""

    REPLACES = (Sub,)
    FAMILY = "publish"

    def set(self, name: str, value: int | bytes) -> None:
        if name != "INVERT_MATCHING":
            super().set(name, value)  # type: ignore[misc]


class AlwaysComplains(Mutant):
    """A ROUTER says EHOSTUNREACH to an unknown identity without being told to."""

    REPLACES = (Router,)

    def _aim(self, identity: bytes) -> Errno | None:
        if identity not in self._peers:  # type: ignore[attr-defined]
            return Errno.EHOSTUNREACH
        found: Errno | None = super()._aim(identity)  # type: ignore[misc]
        return found


class MistakesFullForGone(Mutant):
    """A mandatory ROUTER says EHOSTUNREACH of a peer that is full."""

    REPLACES = (Router,)

    def _aim(self, identity: bytes) -> Errno | None:
        found: Errno | None = super()._aim(identity)  # type: ignore[misc]
        return Errno.EHOSTUNREACH if found is Errno.EAGAIN else found


class AlwaysHandsOver(Mutant):
    """A newcomer takes an identity over, though ROUTER_HANDOVER is not set."""

    REPLACES = (Router,)

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.options = msgspec.structs.replace(self.options, router_handover=1)


class SendsBareIdentities(Mutant):
    """A message of an identity only arrives as an empty one."""

    REPLACES = (Router,)

    def _send(self, frames: Message) -> Errno | None:
        found: Errno | None = super()._send(frames if len(frames) > 1 else (*frames, b""))  # type: ignore[misc]
        return found

    def _send_frame(self, frame: bytes, more: bool) -> Errno | None:
        if not self._is_inside and not more:  # type: ignore[attr-defined]
            super()._send_frame(frame, True)  # type: ignore[misc]
            frame = b""
        found: Errno | None = super()._send_frame(frame, more)  # type: ignore[misc]
        return found


class WaitsForPeers(Mutant):
    """A ROUTER without peers is not ready to send."""

    REPLACES = (Router,)

    def _has_out(self) -> bool:
        return bool(self._peers)  # type: ignore[attr-defined]


class DoesNotProbe(Mutant):
    """PROBE_ROUTER has no effect."""

    REPLACES = (Dealer, Router)

    def set(self, name: str, value: int | bytes) -> None:
        if name != "PROBE_ROUTER":
            super().set(name, value)  # type: ignore[misc]


class DropsWithoutPeers(Mutant):
    """A DEALER without peers drops what it is to send."""

    REPLACES = (Dealer,)

    def _send(self, frames: Message) -> Errno | None:
        super()._send(frames)  # type: ignore[misc]
        return None


class SendsFramesAtOnce(Mutant):
    """Each frame is a message of its own."""

    REPLACES = (Dealer,)

    def _send_frame(self, frame: bytes, _: bool) -> Errno | None:
        found: Errno | None = super()._send_frame(frame, False)  # type: ignore[misc]
        return found


class LosesLastWords(Mutant):
    """What a peer sent before it closed is lost."""

    REPLACES = (Pull,)
    FAMILY = "pipeline"

    def attach(self, pipe: Pipe, is_local: bool = False) -> None:
        pipe.is_delayed = False
        super().attach(pipe, is_local)  # type: ignore[misc]


class StaysConnected(Mutant):
    """Disconnecting does nothing."""

    REPLACES = (Push, Pull)
    FAMILY = "pipeline"

    def disconnect(self, address: str) -> None:
        if not any(where == address for where, _ in self._inprocs):  # type: ignore[attr-defined]
            raise ZmqError(Errno.ENOENT)


class KeepsEverything(Mutant):
    """CONFLATE has no effect."""

    REPLACES = (Pull, Push)
    FAMILY = "pipeline"

    def attach(self, pipe: Pipe, is_local: bool = False) -> None:
        pipe.queue = deque(pipe.queue)
        super().attach(pipe, is_local)  # type: ignore[misc]


class TakesTheSecond(Mutant):
    """A PAIR prefers the peer that came last."""

    REPLACES = (Pair,)
    FAMILY = "pair"

    def _attached(self, pipe: Pipe, _: bool) -> None:
        self._pipe = pipe


class AsksTwice(Mutant):
    """A REQ may send again before the reply."""

    REPLACES = (Req,)
    FAMILY = "request"

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.options = msgspec.structs.replace(self.options, req_relaxed=1)


class HearsEverybody(Mutant):
    """A REQ takes a reply from a peer that it did not ask."""

    REPLACES = (Req,)
    FAMILY = "request"

    def _recv(self) -> Any:
        self._asked = None
        return super()._recv()  # type: ignore[misc]


class TakesAnyNumber(Mutant):
    """A REQ with REQ_CORRELATE takes a reply to an earlier request."""

    REPLACES = (Req,)
    FAMILY = "request"

    def _body(self, message: Message) -> Message | None:
        if self.options.req_correlate and len(message) > 2:  # type: ignore[attr-defined]
            return message[2:] if not message[1] else None
        found: Message | None = super()._body(message)  # type: ignore[misc]
        return found


class TakesWithoutDelimiter(Mutant):
    """A REP takes a request that has no empty frame."""

    REPLACES = (Rep,)
    FAMILY = "request"

    def _recv(self) -> Any:
        if not self._is_replying and self._in.active:  # type: ignore[attr-defined]
            message = Router._recv(self)  # type: ignore[arg-type]
            if isinstance(message, tuple):
                self._is_replying = True
                return message[2:] if len(message) > 2 and not message[1] else message[1:]
        return super()._recv()  # type: ignore[misc]


MUTANTS = {mutant.__name__: mutant for mutant in Mutant.__subclasses__()}


def kinds_with(mutant: type[Mutant]) -> dict[str, type[Socket]]:
    """All types, those that the mutant replaces with its mistake."""
    changed = {kind.KIND: type(f"{mutant.__name__}{kind.__name__}", (mutant, kind), {}) for kind in mutant.REPLACES}
    return KINDS | changed
