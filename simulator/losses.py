"""Which fault took a request, or its reply: exactly that message, in that hand or on that way.

Three things lose a message. A fault within a connection drops or damages it; a connection breaks while it is under way;
a part of the controller ends that had it in hand, in its sockets, or on the way to it. What only makes somebody wait (a
stall, a pause, a partition, a slow link, a message that is late or comes twice) takes nothing, since all of it is over
before anything is judged. Nor does the end of an engine: whoever gave it the request is told, and owes an answer all
the same; unless the Hub lost its disk at that time, and does not know that there was another engine of this name.
"""

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Final, NamedTuple

from protocol.world import SECOND

if TYPE_CHECKING:
    from simulator.recorder import Fault, Hop, Recorder

#: Parts of the controller that hand on what they take, and owe nothing afterwards.
RELAYS: Final = frozenset({"mux", "control", "iopub"})
#: Nanoseconds in which the end of an engine is noticed at the latest.
NOTICED: Final = 3 * SECOND


class Death(NamedTuple):
    """The end of a process: its name, the part of the controller that it was or empty, the fault that it counts as.

    `known_as` is how messages are addressed to it: by the name of a part, or the identity of an engine.
    """

    process: str
    part: str
    fault: "Fault"
    known_as: str


class Loss(NamedTuple):
    """A message about a request that was touched: by which fault, when, and whether it may be accepted all the same."""

    fault: "Fault"
    now: int
    is_altered: bool


def taker(recorder: "Recorder", msg_id: str) -> "Fault | None":
    """The fault that took a request or its reply, or None if nobody can be blamed but those who are there."""
    hops = recorder.hops.get(msg_id, [])
    loss = recorder.losses.get(msg_id)
    if loss is not None and (loss.is_altered or not _is_given_again(hops, loss.now)):
        return loss.fault
    return _ended_with(recorder, hops) or _took_copies(recorder, msg_id)


def _ended_with(recorder: "Recorder", hops: Sequence["Hop"]) -> "Fault | None":
    """The fault by which somebody ended who had this in hand, of whose end nobody can know."""
    for death in reversed(recorder.deaths):
        if _had(death, hops):
            if death.part:
                return death.fault
            if (forgot := _forgotten(recorder, death)) is not None:
                return forgot
    return None


def _took_copies(recorder: "Recorder", msg_id: str) -> "Fault | None":
    """The fault that took a copy of a broadcast, if nobody but those who lost copies owes a reply.

    One reply for all waits for each of them. Otherwise each has its own, and one that is owed without a fault is owed.
    """
    found = None
    for copy, is_coalescing in recorder.copies.get(msg_id, {}).items():
        hops = recorder.hops[copy]
        if any(hop.is_reply and not hop.is_outside and (is_coalescing or hop.what == "sent") for hop in hops):
            continue
        fault = _ended_with(recorder, hops)
        if fault is None and not is_coalescing:
            return None
        found = found or fault
    return found


def _forgotten(recorder: "Recorder", death: Death) -> "Fault | None":
    """The loss of the Hub's disk that let it forget an engine whose end it had not noticed, or has not seen at all."""
    ended = death.fault.began
    told = recorder.listed.get(death.known_as, [])
    for fault in recorder.forgot:
        if fault.began <= ended + NOTICED and not any(fault.began < now <= ended for now in told):
            return fault
    return None


def _is_given_again(hops: Iterable["Hop"], since: int) -> bool:
    """Whether the request was given to an engine afterwards: then somebody knew, and tried again."""
    return any(hop.now > since and hop.what == "sent" and not hop.is_outside and not hop.is_reply for hop in hops)


def _had(death: Death, hops: Iterable["Hop"]) -> bool:
    """Whether a process had a request, or its reply, in hand when it ended; or it was on the way to it or from it."""
    has = is_leaving = False
    coming = ""
    for hop in hops:
        if hop.process == death.process:
            if hop.what == "took":
                has, coming = True, ""
            else:
                # Who schedules owes the reply until it has left; who relays owes nothing.
                has = has and not hop.is_reply and death.part not in RELAYS
                is_leaving = True
        elif hop.what == "took":
            is_leaving = False
            if hop.known_as == coming:
                coming = ""
        elif hop.now <= death.fault.began or not death.part:
            # What is sent to an engine that has ended waits for it as long as nobody knows.
            receiver = hop.part if hop.is_outside else hop.towards
            if receiver == death.known_as:
                coming = receiver
    return has or is_leaving or bool(coming)


__all__ = ["RELAYS", "Death", "Loss", "taker"]
