"""One sequence, carried out in both worlds side by side, and the first thing in which they differ."""

from collections.abc import Sequence
from dataclasses import dataclass

from conformance.certify.operations import Operation
from conformance.certify.worlds import RealWorld, VirtualWorld, agree
from simulator.sockets import LibraryAborts, Socket


@dataclass(frozen=True, slots=True)
class Divergence:
    """Where the two worlds differ: after which operation, in what, and what each says."""

    index: int
    what: str
    real: object
    virtual: object


def is_safe(operations: Sequence[Operation]) -> bool:
    """Whether libzmq gets through a sequence without ending its process, as far as the virtual sockets know."""
    virtual = VirtualWorld()
    try:
        for operation in operations:
            if not virtual.forbids(operation):
                virtual.perform(operation)
                virtual.settle(is_reaping=True)
    except LibraryAborts:
        return False
    return True


def compare(operations: Sequence[Operation], kinds: "dict[str, type[Socket]] | None" = None) -> Divergence | None:
    """Carry out a sequence over inproc; the first difference, or None. `kinds` replaces the virtual socket types."""
    real, virtual = RealWorld(), VirtualWorld(kinds)
    known: dict[bytes, bytes] = {}
    try:
        for index, operation in enumerate(operations):
            if virtual.forbids(operation):
                continue
            was_reaping = virtual.is_reaping
            try:
                outcome = virtual.perform(operation)
                is_reaping = was_reaping or virtual.is_reaping
                events, rounds = virtual.settle(is_reaping=is_reaping)
            except LibraryAborts:
                # It is not tried on libzmq.
                return None
            found = real.perform(operation)
            if not agree(found, outcome, known):
                return Divergence(index, "outcome", found, outcome)
            real_events = real.settle(rounds, is_reaping=is_reaping)
            if real_events != events:
                return Divergence(index, "events", real_events, events)
    finally:
        real.close()
    return None
