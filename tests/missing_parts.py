"""Targets that lack one part on which most cases stand; a plugin for pytest, which makes them known as mutants."""

from collections.abc import Sequence
from typing import ClassVar

from conformance.mutants.changes import deaf, without
from conformance.mutants.engines import Working
from conformance.mutants.mutant import Mutant
from protocol.roles.base import Arrived, Effect, Event, SendRaw


class LacksRegistration(Mutant):
    """Nobody is told whether it was registered."""

    breaks = ("registration.request-answered",)
    shows_in = ("*",)
    says = (without("registration_reply"),)


class LacksPings(Mutant):
    """Hearts are never pinged."""

    breaks = ("heartbeat.ping-periodic",)
    shows_in = ("*",)
    part = "heart-monitor"

    def do(self, now: int, effect: Effect) -> Sequence[Effect]:  # noqa: ARG002 - whenever it is
        """Anything but a ping."""
        return () if isinstance(effect, SendRaw) and effect.socket == "ping" else (effect,)


class LacksHearts(Mutant):
    """Hearts are not heard."""

    breaks = ("registration.heard-is-registered",)
    shows_in = ("*",)
    hears = (deaf("new_heart"),)


class LacksAnnouncements(Mutant):
    """Nobody is told of engines that come and go."""

    breaks = ("notification.registration-published",)
    shows_in = ("*",)
    says = (without("registration_notification", "unregistration_notification"),)


class Deaf(Mutant):
    """A part that hears nothing."""

    def hear(self, event: Event) -> Sequence[Event]:
        """No message is there."""
        return () if isinstance(event, Arrived) else (event,)


class LacksMux(Deaf):
    """A queue from which nothing comes out."""

    breaks: ClassVar[tuple[str, ...]] = ("mux.routes-by-identity",)
    shows_in = ("*",)
    part = "mux-relay"


class LacksTasks(Deaf):
    """A scheduler that gives nothing out."""

    breaks: ClassVar[tuple[str, ...]] = ("task.some-engine-runs",)
    shows_in = ("*",)
    part = "task-scheduler"


class LacksOutput(Deaf):
    """A relay that hands on no output."""

    breaks: ClassVar[tuple[str, ...]] = ("iopub.reaches-all-clients",)
    shows_in = ("*",)
    part = "iopub-relay"


class LacksExecution(Working):
    """An engine that answers no code."""

    breaks = ("kernel.execute-answered",)
    shows_in = ("*",)
    hears = (deaf("execute_request"),)


class LacksStatus(Working):
    """An engine that never says whether it is busy."""

    breaks = ("iopub.status-brackets",)
    shows_in = ("*",)
    says = (without("status"),)
