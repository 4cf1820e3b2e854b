"""Rules that change messages on their way.

    rules = [Drop(of("execute_reply"), times=1), Alter(of("status", channel="kernel-iopub"), wrong_parent)]

A rule is a function: it is shown a message that passes and returns what goes on in its place (nothing, itself, itself
twice, others, what it had held back before), or None if it has nothing to do with it. What one rule returns is shown to
the next. A message that no rule touched passes as the bytes that it was. Every connection is a message's own way: what
is published to three subscribers passes three times.

A changed message is signed anew with the key of the file, as its sender would have; `with_frames` signs nothing.
"""

import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Protocol

import msgspec

from conformance.relay.hops import Hop
from conformance.relay.zmtp import encode
from protocol.errors import ProtocolError
from protocol.wire import Codec, Message


class Passing:
    """A message on its way, as rules see it. Never changed: `replace` and `with_frames` make another."""

    __slots__ = ("_message", "codec", "hop", "raw")

    def __init__(self, hop: Hop, codec: Codec, raw: bytes = b"") -> None:
        self.hop = hop
        self.codec = codec
        #: The bytes that go on.
        self.raw = raw or encode(hop.frames)
        self._message: Message | ProtocolError | None = None

    @property
    def message(self) -> Message | None:
        """The message, or None if these frames are none."""
        if self._message is None:
            try:
                self._message = self.codec.open(self.hop.frames)
            except ProtocolError as error:
                self._message = error
        return None if isinstance(self._message, ProtocolError) else self._message

    @property
    def msg_type(self) -> str:
        """The type, or "" if it cannot be read."""
        return "" if self.message is None else self.message.msg_type

    @property
    def way(self) -> tuple[int, bool]:
        """The connection and the direction: within one way order holds."""
        return self.hop.link, self.hop.is_up

    def replace(self, **parts: Any) -> "Passing":
        """With some of `header, parent_header, metadata, content, buffers, identities` exchanged, and signed anew.

        Raises ValueError for a message that cannot be read.
        """
        if self.message is None:
            raise ValueError("what cannot be read cannot be changed part by part")
        return self.with_frames(bytes(frame) for frame in self.codec.encode(self.message.replace(**parts)))

    def with_frames(self, frames: Iterable[bytes]) -> "Passing":
        """With other frames, whatever they are."""
        return Passing(msgspec.structs.replace(self.hop, frames=tuple(frames)), self.codec)


Rule = Callable[[Passing], Sequence[Passing] | None]
When = Callable[[Passing], bool]


def of(
    *msg_types: str, channel: str = "", is_up: bool | None = None, party: str = "", where: When | None = None
) -> When:
    """Which messages: of one of these types (none: any), on this channel, in this direction, of this party, ..."""

    def is_meant(passing: Passing) -> bool:
        hop = passing.hop
        return (
            (not channel or hop.channel == channel)
            and (is_up is None or hop.is_up == is_up)
            and (not party or hop.party == party)
            and (not msg_types or passing.msg_type in msg_types)
            and (where is None or where(passing))
        )

    return is_meant


class Touch(ABC):
    """Base of the rules here. What it strikes is counted: the messages that `when` means, the first `times` of them."""

    def __init__(self, when: When, *, times: int | None = None) -> None:
        self.when = when
        self.times = times
        self.struck = 0

    def __call__(self, passing: Passing) -> Sequence[Passing] | None:
        """What goes on in its place, or None."""
        if (self.times is not None and self.struck >= self.times) or not self.when(passing):
            return None
        self.struck += 1
        return self.strike(passing)

    @abstractmethod
    def strike(self, passing: Passing) -> Sequence[Passing]:
        """What goes on in the place of a message that is meant."""


class Drop(Touch):
    """It never arrives."""

    def strike(self, passing: Passing) -> Sequence[Passing]:  # noqa: ARG002 - a hook
        """Nothing."""
        return ()


class Duplicate(Touch):
    """It arrives twice."""

    def strike(self, passing: Passing) -> Sequence[Passing]:
        """The same, again."""
        return passing, passing


class Alter(Touch):
    """It arrives as something else: whatever `change` makes of it, such as `lambda p: p.replace(content={})`."""

    def __init__(self, when: When, change: Callable[[Passing], Passing], *, times: int | None = None) -> None:
        super().__init__(when, times=times)
        self.change = change

    def strike(self, passing: Passing) -> Sequence[Passing]:
        """What was made of it."""
        return (self.change(passing),)


class Corrupt(Touch):
    """One bit of one frame is turned; nothing is signed anew. `frame` counts as in lists, `bit` within the frame."""

    def __init__(self, when: When, *, frame: int = -1, bit: int = 0, times: int | None = None) -> None:
        super().__init__(when, times=times)
        self.frame = frame
        self.bit = bit

    def strike(self, passing: Passing) -> Sequence[Passing]:
        """With that bit turned; an empty frame has none, and stays."""
        frames = list(passing.hop.frames)
        body = bytearray(frames[self.frame])
        if body:
            body[self.bit // 8 % len(body)] ^= 1 << self.bit % 8
        frames[self.frame] = bytes(body)
        return (passing.with_frames(frames),)


class Truncate(Touch):
    """One frame loses its end, and keeps `size` bytes; nothing is signed anew."""

    def __init__(self, when: When, *, frame: int = -1, size: int = 0, times: int | None = None) -> None:
        super().__init__(when, times=times)
        self.frame = frame
        self.size = size

    def strike(self, passing: Passing) -> Sequence[Passing]:
        """With a shorter frame."""
        frames = list(passing.hop.frames)
        frames[self.frame] = frames[self.frame][: self.size]
        return (passing.with_frames(frames),)


class Hold(Touch):
    """It is held back until a message that `until` means has passed the same way, and comes after that one.

    So two messages change places, or one is late by a whole exchange. With `across` any way will do, for what is held
    on one connection and awaited on another.
    """

    def __init__(self, when: When, until: When, *, across: bool = False, times: int | None = None) -> None:
        super().__init__(when, times=times)
        self.until = until
        self.across = across
        self.held: list[Passing] = []

    def __call__(self, passing: Passing) -> Sequence[Passing] | None:
        """As every rule; and what was held, behind what it waited for."""
        due: list[Passing] = []
        if self.held and self.until(passing):
            due = [each for each in self.held if self.across or each.way == passing.way]
            self.held = [each for each in self.held if each not in due]
        own = super().__call__(passing)
        if not due:
            return own
        return (*((passing,) if own is None else own), *due)

    def strike(self, passing: Passing) -> Sequence[Passing]:
        """Nothing for now."""
        self.held.append(passing)
        return ()


class Delay(Touch):
    """It is late by `by(passing)` nanoseconds, and overtaken by others unless `keeps_order`: then they are late, too.

    `relay` is the one whose rule this is: it lets pass what was late.
    """

    def __init__(
        self, when: When, by: Callable[[Passing], int], relay: "Keeper", *, keeps_order: bool = False,
        times: int | None = None,
    ) -> None:  # fmt: skip
        super().__init__(when, times=times)
        self.by = by
        self.relay = relay
        self.keeps_order = keeps_order
        self._last: dict[tuple[int, bool], int] = {}

    def strike(self, passing: Passing) -> Sequence[Passing]:
        """Nothing for now."""
        due = time.monotonic_ns() + self.by(passing)
        if self.keeps_order:
            due = self._last[passing.way] = max(due, self._last.get(passing.way, 0))
        self.relay.at(due, lambda: self.relay.release(passing))
        return ()


class Keeper(Protocol):
    """What a relay does for a rule that lets messages pass later."""

    def at(self, due: int, task: Callable[[], None]) -> None:
        """Have something done at this moment of the monotonic clock."""

    def release(self, passing: Passing) -> None:
        """Let a message pass."""


def apply(rules: Iterable[Rule], passing: Passing) -> Sequence[Passing]:
    """What goes on in the place of a message; the message itself if no rule touches it."""
    going: Sequence[Passing] = (passing,)
    for rule in rules:
        after: list[Passing] = []
        for each in going:
            made = rule(each)
            after += (each,) if made is None else made
        going = after
    return going
