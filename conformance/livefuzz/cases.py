"""A small bounded barrage for cases of the suite: every kind of damage, at some sockets, with a fixed seed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from conformance.harness.verdict import Blocked, Finding, NotApplicable, Violated
from conformance.livefuzz.arena import Arena, Blow
from conformance.livefuzz.blows import Spot, kinds_at

#: Which blows are struck.
SEED: Final = 1
#: How many of each kind.
EACH: Final = 2


def expect_unharmed(arena: Arena[Any], *channels: str) -> None:
    """Damage on these channels must be noticed by nobody else. The rules judge for themselves, as in every case."""
    arena.is_judging = False
    arena.patience = 1
    spots = [spot for spot in arena.spots.values() if spot.channel in channels]
    if not spots:
        raise NotApplicable(f"the target has no socket for {' or '.join(channels)}")
    try:
        _strike(arena, spots)
    finally:
        arena.leave()


def _strike(arena: Arena[Any], spots: Sequence[Spot]) -> None:
    for trouble in arena.warm_up():
        raise Blocked("wire.every-request-answered", f"{trouble.where}: {trouble.found}, before any damage was done")
    struck = [(spot.name, kind) for spot in spots for kind in kinds_at(spot)]
    blows = [
        Blow(number * EACH + count, spot, kind) for number, (spot, kind) in enumerate(struck) for count in range(EACH)
    ]
    for trouble in arena.fight(blows):
        command = f"ippkit fuzz target -t {arena.subject.name} --socket {spots[0].channel}"
        raise Violated(
            Finding(
                f"{trouble.where}: {trouble.found}; which of {len(blows)} damaged messages did it, tells: {command}",
                trouble.allowed, trouble.guilty, trouble.evidence,
            ),
            trouble.requirement,
        )  # fmt: skip


__all__ = ["EACH", "SEED", "expect_unharmed"]
