"""Mistakes of a heart monitor."""

from collections.abc import Callable, Sequence

from conformance.mutants.changes import wrap
from conformance.mutants.mutant import Mutant
from protocol.roles.base import Arrived, Effect, Event, Fired, Raw, Send, SendRaw, SetTimer
from protocol.wire import DELIMITER
from protocol.world import MILLISECOND

MONITOR = "heart-monitor"


class Ping(Mutant):
    """A monitor that sends other pings, and expects what it should have sent or what it sent."""

    part = MONITOR

    def frames(self, ping: bytes) -> tuple[bytes, ...]:
        """The frames that are sent in the place of a ping."""
        raise AssertionError(f"{self.name()} changes nothing")

    def do(self, now: int, effect: Effect) -> Sequence[Effect]:
        """The other frames; the last of them is what hearts should send back."""
        if isinstance(effect, SendRaw) and effect.socket == "ping":
            frames = self.frames(bytes(effect.frames[0]))
            self.role.ping = frames[-1]
            return (SendRaw("ping", frames),)
        return (effect,)


class PingsWithMessages(Ping):
    """What is sent should be signed."""

    breaks = ("heartbeat.raw-not-message", "heartbeat.ping-single-frame")

    def frames(self, ping: bytes) -> tuple[bytes, ...]:
        """A delimiter and four dictionaries in front."""
        return (DELIMITER, b"", b"{}", b"{}", b"{}", ping)


class PingsInTwoFrames(Ping):
    """The name of the monitor goes first."""

    breaks = ("heartbeat.ping-single-frame",)

    def frames(self, ping: bytes) -> tuple[bytes, ...]:
        """A name in front."""
        return (b"monitor", ping)


class PingsInWords(Ping):
    """A ping is a ping."""

    breaks = ("heartbeat.ping-is-lifetime",)

    def frames(self, ping: bytes) -> tuple[bytes, ...]:
        """Something that is no number."""
        return (b"ping " + ping,)


class PingsTheSame(Ping):
    """Whoever hears it answers it, whatever it is."""

    breaks = ("heartbeat.ping-distinct", "heartbeat.lifetime-increases")

    def frames(self, ping: bytes) -> tuple[bytes, ...]:
        """Always the same number."""
        return (b"1.000000000",)


class CountsDown(Ping):
    """What is left is more interesting than what has passed."""

    breaks = ("heartbeat.lifetime-increases", "heartbeat.lifetime-tracks-period")

    def frames(self, ping: bytes) -> tuple[bytes, ...]:
        """A number that gets smaller."""
        return (b"%.9f" % (1_000_000 - float(ping)),)


class CountsInMinutes(Ping):
    """Minutes are what people can imagine."""

    breaks = ("heartbeat.lifetime-tracks-period",)

    def frames(self, ping: bytes) -> tuple[bytes, ...]:
        """A sixtieth of the seconds."""
        return (b"%.12f" % (float(ping) / 60),)


class PingsAtHalfThePace(Mutant):
    """A little slower will do."""

    breaks = ("heartbeat.ping-matches-hb-period",)
    part = MONITOR

    def do(self, now: int, effect: Effect) -> Sequence[Effect]:
        """Twice the time between pings."""
        if isinstance(effect, SetTimer) and effect.timer == "beat":
            return (SetTimer("beat", now + 2 * self.role.config.period, effect.epoch),)
        return (effect,)


class HearsAFew(Mutant):
    """Two hearts are enough for anybody."""

    breaks = ("heartbeat.one-socket-for-all-hearts",)
    part = MONITOR

    def hear(self, event: Event) -> Sequence[Event]:
        """No third heart."""
        if isinstance(event, Raw) and event.socket == "pong" and len(event.frames) == 2:
            known = self.memory.setdefault("known", {})
            known.setdefault(bytes(event.frames[0]), len(known))
            if known[bytes(event.frames[0])] > 1:
                return ()
        return (event,)


class MournsTogether(Mutant):
    """When one heart stops, something is wrong with all."""

    breaks = ("heartbeat.tracks-each-engine",)
    part = MONITOR

    def do(self, now: int, effect: Effect) -> Sequence[Effect]:
        """All hearts stop with the first that does."""
        if isinstance(effect, Send) and effect.message.msg_type == "stopped_heart":
            all_hearts = [*effect.message.content["hearts"], *(heart.decode() for heart in self.role.hearts)]
            self.role.hearts.clear()
            return (Send("monitor", effect.message.replace(content={"hearts": all_hearts})),)
        return (effect,)


class HearsOnlyTheLastPing(Mutant):
    """Late is too late."""

    breaks = ("heartbeat.late-echo-accepted",)
    part = MONITOR

    def handle(self, now: int, event: Event) -> Sequence[Effect]:
        """No ping but the last one counts."""
        self.role.last_ping = b""
        return super().handle(now, event)


class HearsEveryPing(Mutant):
    """Who answers is alive."""

    breaks = ("heartbeat.stale-echo-ignored", "heartbeat.altered-echo-ignored")
    part = MONITOR

    def hear(self, event: Event) -> Sequence[Event]:
        """Every answer is one to the last ping."""
        if isinstance(event, Raw) and event.socket == "pong" and len(event.frames) == 2:
            return (Raw("pong", (event.frames[0], self.role.ping)),)
        return (event,)


class DiesOfNonsense(Mutant):
    """An answer has two frames."""

    breaks = ("heartbeat.malformed-pong-harmless",)
    part = MONITOR

    def handle(self, now: int, event: Event) -> Sequence[Effect]:
        """No more pings after an answer of another kind."""
        if isinstance(event, Raw) and event.socket == "pong" and len(event.frames) != 2:
            self.role.beating = False
        return super().handle(now, event)


class NeverGivesUp(Mutant):
    """Hope dies last."""

    breaks = ("heartbeat.silent-engine-removed",)
    part = MONITOR

    def do(self, now: int, effect: Effect) -> Sequence[Effect]:
        """No heart ever stops, nor is missed when all are named."""
        is_end = isinstance(effect, Send) and (
            effect.message.msg_type == "stopped_heart" or "beating" in effect.message.content
        )
        return () if is_end else (effect,)


class Patience(Mutant):
    """A monitor that allows another number of misses."""

    part = MONITOR
    more = 0

    def prepare(self) -> None:
        """Other settings."""
        config = self.role.config
        changed = type(config)(period=config.period, misses=config.misses + self.more, session=config.session)
        object.__setattr__(self.role, "config", changed)


class GivesUpEarly(Patience):
    """Two are enough."""

    breaks = ("heartbeat.removal-not-early",)
    more = -6


class GivesUpLate(Patience):
    """A few more do no harm."""

    breaks = ("heartbeat.removal-in-time",)
    more = 60


class AddsUpMisses(Mutant):
    """Who misses that often in all is not reliable."""

    breaks = ("heartbeat.good-beat-resets",)
    part = MONITOR

    def prepare(self) -> None:
        """Misses are never forgotten."""

        def beat(old: object, now: int) -> object:
            misses = self.memory.setdefault("misses", {})
            for heart in self.role.hearts:
                if heart not in self.role.responses:
                    misses[heart] = misses.get(heart, 0) + 1
                    self.role.probation[heart] = misses[heart]
            return old(now)  # type: ignore[operator]

        wrap(self.role, "_beat", beat)


class RevivesTheDead(Mutant):
    """Who beats lives."""

    breaks = ("heartbeat.no-revival-without-registration",)
    part = "hub"

    def prepare(self) -> None:
        """An engine that is gone comes back with its heart."""
        wrap(self.role, "_hearts", self.hearts)

    def hearts(self, old: object, now: int, message: object) -> object:
        """Register again who is gone."""
        done = list(old(now, message))  # type: ignore[operator]
        engines = self.role.engines
        if message.msg_type == "new_heart":  # type: ignore[attr-defined]
            for heart in message.content["hearts"]:  # type: ignore[attr-defined]
                if heart in engines.gone.values() and engines.is_free(heart):
                    done += self.role._stepped(now, engines.add(heart, None))
        return done


class RegistersEveryHeart(Mutant):
    """A heart has an engine."""

    breaks = ("heartbeat.unknown-heart-ignored",)
    part = "hub"

    def prepare(self) -> None:
        """An engine for each heart."""
        wrap(self.role, "_hearts", self.hearts)

    def hearts(self, old: object, now: int, message: object) -> object:
        """Register whoever beats."""
        done = list(old(now, message))  # type: ignore[operator]
        if message.msg_type == "new_heart":  # type: ignore[attr-defined]
            for heart in message.content["hearts"]:  # type: ignore[attr-defined]
                if self.role.engines.is_free(heart):
                    done += self.role._stepped(now, self.role.engines.add(heart, None))
        return done


class MissesHeartsWhenBusy(Mutant):
    """First the work, then the hearts."""

    breaks = ("heartbeat.pings-survive-hub-load",)
    part = "hub"

    def handle(self, now: int, event: Event) -> Sequence[Effect]:
        """After a hundred and fifty events every engine is taken for dead."""
        self.memory["count"] = count = self.memory.get("count", 0) + 1
        if count == 150:
            for engine in list(self.role.engines.by_id.values()):
                if engine.is_live:
                    return self.role._happens(now, engine, "heart stopped")  # type: ignore[no-any-return]
        return super().handle(now, event)


class PingsOnlyTheLiving(Mutant):
    """Who has nobody left to listen need not speak."""

    breaks = ("heartbeat.ping-periodic",)
    part = MONITOR

    def do(self, now: int, effect: Effect) -> Sequence[Effect]:
        """No pings once the last heart has stopped."""
        self.memory["ever"] = self.memory.get("ever") or bool(self.role.hearts)
        is_ping = isinstance(effect, SendRaw) and effect.socket == "ping"
        return () if is_ping and self.memory["ever"] and not self.role.hearts else (effect,)


class TiresOfHearts(Mutant):
    """After three beats everybody knows that it lives."""

    breaks = ("heartbeat.echo-keeps-alive",)
    part = MONITOR

    def hear(self, event: Event) -> Sequence[Event]:
        """No fourth answer of a heart, nor a later one."""
        if isinstance(event, Raw) and event.socket == "pong" and len(event.frames) == 2:
            heart = bytes(event.frames[0]).hex()
            self.memory[heart] = count = self.memory.get(heart, 0) + 1
            return () if count > 3 else (event,)
        return (event,)


class HearsTheNamed(Mutant):
    """A heart may speak for another one."""

    breaks = ("heartbeat.identity-names-heart",)
    part = MONITOR

    def hear(self, event: Event) -> Sequence[Event]:
        """A beat of the heart that is named in a frame of its own."""
        if isinstance(event, Raw) and event.socket == "pong" and len(event.frames) == 3:
            return (Raw("pong", event.frames[1:]),)
        return (event,)


class WantsManyBeats(Mutant):
    """One beat may be an accident."""

    breaks = ("heartbeat.first-beat-completes-registration",)
    part = MONITOR

    def hear(self, event: Event) -> Sequence[Event]:
        """Nothing of a heart before its eightieth answer."""
        if isinstance(event, Raw) and event.socket == "pong" and len(event.frames) == 2:
            heart = bytes(event.frames[0]).hex()
            self.memory[heart] = count = self.memory.get(heart, 0) + 1
            return () if count < 80 else (event,)
        return (event,)


class KeepsBeatsInStock(Mutant):
    """Who beats more than is needed has some to spare."""

    breaks = ("heartbeat.repeated-echo-harmless",)
    part = MONITOR

    def prepare(self) -> None:
        """Each answer beyond the first of a period counts for a later period."""

        def pong(old: Callable[..., object], frames: Sequence[bytes]) -> None:
            heart = bytes(frames[0])
            if heart in self.role.responses:
                self.memory[heart.hex()] = self.memory.get(heart.hex(), 0) + 1
            old(frames)

        def beat(old: Callable[..., object], now: int) -> object:
            for heart in self.role.hearts:
                if heart not in self.role.responses and self.memory.get(heart.hex(), 0):
                    self.memory[heart.hex()] -= 1
                    self.role.responses[heart] = None
            return old(now)

        wrap(self.role, "_pong", pong)
        wrap(self.role, "_beat", beat)


class BuriesTheBusy(Mutant):
    """Who answers nothing is dead, whatever its heart does."""

    breaks = ("heartbeat.beat-outlives-silence",)

    def handle(self, now: int, event: Event) -> Sequence[Effect]:
        """An engine that has had a request for a few periods is gone."""
        if isinstance(event, Fired) and event.timer.startswith("busy:"):
            _, uuid, msg_id = event.timer.split(":", 2)
            engine = self.role.engines.by_uuid.get(uuid)
            if engine is not None and msg_id in self.role.traffic.open:
                return self.role._happens(now, engine, "heart stopped")  # type: ignore[no-any-return]
            return ()
        done = super().handle(now, event)
        if isinstance(event, Arrived) and event.socket == "monitor" and event.message.identities[0] == b"in":
            uuid = event.message.identities[1].decode()
            due = now + 3 * self.role.config.hb_period_ms * MILLISECOND
            return (*done, SetTimer(f"busy:{uuid}:{event.message.msg_id}", due))
        return done
