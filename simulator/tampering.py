"""Faults that befall single messages within a connection that lives: lost, late, twice, damaged."""

from protocol.damage import Drawn, damage
from protocol.wire import DELIMITER, Codec, Message
from protocol.world import MILLISECOND
from simulator.fault import Fault, Loads
from simulator.network import Wire
from simulator.shell import Load, in_bytes, message_in, seal
from simulator.stage import Trouble


class OnMessages(Fault, frozen=True, kw_only=True):
    """Some messages: of sockets whose names begin with `source`, to those that begin with `target`, of one type.

    A name is `process/socket`. Empty means any; heartbeats have no type. Each is met with the probability `share`, no
    more than `at_most` of them.
    """

    IS_INSIDE = False
    BLURS_TIME = True
    source: str = ""
    target: str = ""
    msg_type: str = ""
    share: float = 1.0
    at_most: int = 1 << 62

    def begin(self, trouble: Trouble) -> None:
        chance = trouble.chance
        codec, reader = trouble.world.codec(), trouble.world.reader

        def alter(wire: Wire, load: Load) -> Loads:
            here, there = wire.name
            if not (here.startswith(self.source) and there.startswith(self.target)):
                return [(0, load)]
            if self.msg_type and _type_of(load, reader) != self.msg_type:
                return [(0, load)]
            if len(trouble.taken) >= self.at_most or chance() >= self.share:
                return [(0, load)]
            made = self.altered(load, trouble, codec)
            if made is None:
                return [(0, load)]
            trouble.touch(wire.name, load)
            return made

        trouble.tap(alter)

    def altered(self, load: Load, trouble: Trouble, codec: Codec) -> Loads | None:
        """What arrives instead of a message, or None if nothing can be done to this one."""
        raise AssertionError(f"{type(self).__name__} alters nothing")


def _type_of(load: Load, reader: Codec) -> str:
    message = message_in(load, reader)
    return "" if message is None else message.msg_type


class Dropped(OnMessages, frozen=True, kw_only=True):
    """Messages are lost within a connection that lives."""

    def altered(self, load: Load, trouble: Trouble, codec: Codec) -> Loads | None:
        return ()


class Delayed(OnMessages, frozen=True, kw_only=True):
    """Messages are late by up to so many nanoseconds, and overtaken by others."""

    TAKES = False
    delay: int

    def altered(self, load: Load, trouble: Trouble, codec: Codec) -> Loads | None:
        return [(1 + int(trouble.chance() * self.delay), load)]


class Doubled(OnMessages, frozen=True, kw_only=True):
    """Messages arrive twice, the second time up to so many nanoseconds later."""

    TAKES = False
    delay: int = MILLISECOND

    def altered(self, load: Load, trouble: Trouble, codec: Codec) -> Loads | None:
        if type(load[-1]) is Message:
            # Who gets it again knows it by its signature.
            seal(load[-1], codec)
        return [(0, load), (int(trouble.chance() * self.delay), load)]


class Damaged(OnMessages, frozen=True, kw_only=True):
    """The frames of messages are dropped, truncated, doubled, swapped or altered: `kind` of `protocol.damage`."""

    ALTERS = True
    kind: str = "flip-bit"

    def altered(self, load: Load, trouble: Trouble, codec: Codec) -> Loads | None:
        frames = in_bytes(load, codec)
        if DELIMITER not in frames:
            return None
        return [(0, damage(self.kind, codec, frames, Drawn(trouble.chance)).frames or (b"",))]


__all__ = ["Damaged", "Delayed", "Doubled", "Dropped", "OnMessages"]
