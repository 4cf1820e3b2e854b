"""Mistakes in what is published to the Hub, where the suite listens to simulated controllers."""

from collections.abc import Sequence

from conformance.mutants.changes import told, twice
from conformance.mutants.hearts import MONITOR
from conformance.mutants.mutant import Mutant
from conformance.mutants.relays import BROADCAST, CONTROL, Passing
from conformance.mutants.tasks import Scheduler
from protocol.roles.base import Effect, Event, Forward, Send


class Unwatched(Passing):
    """A relay that tells the Hub nothing."""

    def do(self, now: int, effect: Effect) -> Sequence[Effect]:
        """No copies."""
        return () if isinstance(effect, Forward | Send) and effect.socket == "monitor" else (effect,)


class HidesRequests(Unwatched):
    """What passes here is nobody's business."""

    breaks = ("mux.monitored",)
    shows_in = ("test_mux.py::*",)


class HidesControl(Unwatched):
    """What passes here is nobody's business."""

    breaks = ("control.monitored",)
    part = CONTROL
    shows_in = ("test_control.py::*",)


class HidesBroadcasts(Unwatched):
    """What passes here is nobody's business."""

    breaks = ("broadcast.recorded",)
    part = BROADCAST
    shows_in = ("test_broadcast.py::*",)


class NamesTheClientFirst(Passing):
    """Who asks comes first."""

    breaks = ("mux.monitor-prefixes",)
    shows_in = ("test_mux.py::test_a_request_reaches*",)

    def do(self, now: int, effect: Effect) -> Sequence[Effect]:
        """Copies of requests with client and engine exchanged."""
        if isinstance(effect, Forward) and effect.socket == "monitor" and effect.identities[0] == b"in":
            prefix, engine, client, *rest = effect.identities
            return (effect._replace(identities=(prefix, client, engine, *rest)),)
        return (effect,)


class TellsWhereBeforeWhat(Scheduler):
    """Where it went is what people want to know."""

    breaks = ("task.intask-before-destination",)
    shows_in = ("test_tasks.py::test_a_task_reaches*",)

    def handle(self, now: int, event: Event) -> Sequence[Effect]:
        """Destinations before everything else."""
        return sorted(super().handle(now, event), key=lambda effect: not self.is_destination(effect))

    def is_destination(self, effect: Effect) -> bool:
        """Whether the Hub is told where a task is."""
        return isinstance(effect, Send) and effect.message.msg_type == "task_destination"


class ReportsDeathsTwice(Mutant):
    """What is important is said twice."""

    breaks = ("heartbeat.death-reported-once",)
    part = MONITOR
    says = (twice("stopped_heart"),)
    shows_in = ("test_heartbeat.py::*given_up*",)


class LosesStrangers(Mutant):
    """A heart that is not there has stopped."""

    breaks = ("heartbeat.hearts-reported",)
    part = MONITOR
    says = (told("stopped_heart", lambda c: {"hearts": [*c["hearts"], "nobody"]}, status=""),)
    shows_in = ("test_heartbeat.py::*given_up*",)
