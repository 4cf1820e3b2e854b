"""Mistakes of an engine's heart: what it does with a ping."""

from collections.abc import Sequence

from conformance.mutants.engines import Working
from protocol.roles.base import Effect, SendRaw
from protocol.wire import Frame


class Beating(Working):
    """A heart that answers a ping in another way."""

    part = "heart"

    def answers(self, ping: tuple[Frame, ...]) -> Sequence[tuple[Frame, ...]]:
        """What is sent in the place of an answer."""
        raise AssertionError(f"{self.name()} answers as it should")

    def do(self, now: int, effect: Effect) -> Sequence[Effect]:
        """The other answers; the engine sees the ping as it came."""
        if isinstance(effect, SendRaw) and effect.socket == "pong":
            return [SendRaw("pong", answer) for answer in self.answers(effect.frames)]
        return (effect,)


class KeepsSilent(Beating):
    """Who lives need not say so."""

    breaks = ("heart-device.connects-to-monitor",)

    def answers(self, ping: tuple[Frame, ...]) -> Sequence[tuple[Frame, ...]]:
        """None."""
        return ()


class Shouts(Beating):
    """Louder is better."""

    breaks = ("heart-device.echo-unchanged",)

    def answers(self, ping: tuple[Frame, ...]) -> Sequence[tuple[Frame, ...]]:
        """With an exclamation mark."""
        return ((*ping[:-1], bytes(ping[-1]) + b"!"),)


class AddsAFrame(Beating):
    """An empty frame hurts nobody."""

    breaks = ("heart-device.prefix-is-uuid",)

    def answers(self, ping: tuple[Frame, ...]) -> Sequence[tuple[Frame, ...]]:
        """With an empty frame in front."""
        return ((b"", *ping),)


class WantsNumbersToBeat(Beating):
    """A ping is a number."""

    breaks = ("heart-device.ignores-content",)

    def answers(self, ping: tuple[Frame, ...]) -> Sequence[tuple[Frame, ...]]:
        """To numbers only."""
        try:
            float(bytes(ping[-1]))
        except ValueError:
            return ()
        return (ping,)


class TakesTheLastFrame(Beating):
    """A ping has one frame."""

    breaks = ("heart-device.ignores-content",)

    def answers(self, ping: tuple[Frame, ...]) -> Sequence[tuple[Frame, ...]]:
        """The last one."""
        return (ping[-1:],)


class Stutters(Beating):
    """Something is always lost."""

    breaks = ("heart-device.echo-once",)

    def answers(self, ping: tuple[Frame, ...]) -> Sequence[tuple[Frame, ...]]:
        """Twice."""
        return (ping, ping)
