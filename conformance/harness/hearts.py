"""Scripted hearts: good, bad, late and mute ones, and one that beats in C."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from conformance.harness.party import Party
from conformance.harness.pilots import PINGS
from conformance.harness.verdict import Finding, Violated
from protocol.rules.pings import Arrivals
from protocol.wire import Frame
from protocol.world import SECOND, Observation

if TYPE_CHECKING:
    from conformance.harness.controller import Controller

Answer = Callable[[Sequence[Frame]], Sequence[Frame] | None]


def echo(frames: Sequence[Frame]) -> Sequence[Frame]:
    """The answer of a good heart: the ping as it came."""
    return frames


def no_answer(_frames: Sequence[Frame]) -> None:
    """The answer of a heart that stands still."""


class Heart(Party):
    """A scripted heart: echoes each ping behind its identity, or does whatever `answer` makes of it.

    `delay` holds every answer back by so many nanoseconds. An `answer` that returns None misses the beat. Both may be
    changed at any time. `pings` is what came, `answered` when an answer was sent.
    """

    def __init__(self, controller: Controller, name: str, uuid: str, *, answer: Answer = echo, delay: int = 0) -> None:
        super().__init__(controller, name)
        controller.hearts.add("in the kit")
        self.answer: Answer = answer
        self.delay = delay
        self.pings: list[Observation] = []
        self.answered: list[int] = []
        self._arrivals = Arrivals()
        self._travel: int | None = None
        self.pong = self.open("heartbeat-pong", identity=uuid.encode(), end="heart")
        self.ping = self.open("heartbeat-ping", end="heart")
        self.world.listen(self.ping, self._beat)
        self.world.note(name, "heart-started", party=name, uuid=uuid)

    def _beat(self, observation: Observation) -> None:
        self.pings.append(observation)
        self._arrivals.add(observation)
        frames = self.answer(observation.frames)
        if frames is None:
            return
        if not self.delay:
            self._send(frames)
            return

        def later() -> None:
            stop()
            self._send(frames)

        stop = self.world.every(self.delay, later)

    def _send(self, frames: Sequence[Frame]) -> None:
        if self._sockets:
            self.answered.append(self.world.now)
            self.pong.send_raw(frames, "raw by design: a heart's answer")

    def fall_silent(self) -> int:
        """Answer no more, with the connections open; when the last answer was sent."""
        self.answer = no_answer
        self._travel = self._arrivals.latest
        return self.answered[-1]

    @property
    def late(self) -> int:
        """How much longer than others the ping before the silence was on its way, in nanoseconds."""
        return self._arrivals.late(self._travel)

    def beat_again(self) -> None:
        """Answer every ping as it comes."""
        self.answer = echo

    def send(self, frames: Sequence[Frame], why: str) -> None:
        """Send something that answers no ping, or is no answer at all."""
        self.pong.send_raw(frames, why)

    def close(self) -> None:
        """Fall silent."""
        if self._sockets:
            self.world.note(self.name, "heart-stopped", party=self.name)
        super().close()

    def expect_ping(self, requirement: str | None = None) -> Observation:
        """Wait for one more ping; none within the deadline is a violation."""
        self.controller.stand_on(PINGS)
        seen = len(self.pings)
        started = self.world.now
        within = max(self.controller.timing.reply_deadline, 5 * self.controller.timing.heartbeat_period)
        if not self.world.run_until(lambda: len(self.pings) > seen, started + within):
            self.controller.expect_waited(started, within)
            raise Violated(Finding(f"no ping within {within / SECOND:.1f} s", ("a ping every period",)), requirement)
        return self.pings[seen]

    def expect_pings(self, count: int, requirement: str | None = None) -> list[Observation]:
        """The next so many pings, and none between them left out."""
        first = len(self.pings)
        while len(self.pings) < first + count:
            self.expect_ping(requirement)
        return self.pings[first : first + count]


class DeviceHeart(Party):
    """A heart that beats in C, whatever the kit is doing. Nobody records its answers, and the rules are told so."""

    def __init__(self, controller: Controller, name: str, uuid: str) -> None:
        super().__init__(controller, name)
        controller.hearts.add("in C")
        self._device = self.world.start_device_heart(uuid.encode())
        self.world.note(name, "heart-started", party=name, uuid=uuid, unseen=True)
        self._is_beating = True

    def close(self) -> None:
        """Fall silent."""
        if self._is_beating:
            self._is_beating = False
            self._device.stop()
            self.world.note(self.name, "heart-stopped", party=self.name)
        super().close()
