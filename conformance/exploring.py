"""Exhaustive search with a mistake in one of the machines: the kit's own mutants, as the search wants them."""

from collections.abc import Callable
from typing import Any, Final

from conformance.mutants.mutant import Mutant
from conformance.report.story import Line, Story
from protocol.roles.base import Role
from simulator.explore import Found, Infect, Step

#: The roles that are explored, the Hub as far as its records go; what others do wrong is not seen.
PARTS: Final = ("task-scheduler", "engine", "client", "hub")
#: Between two steps of a story, which have an order and no time.
_STEP: Final = 1_000_000_000


class UnsuitableMutantError(ValueError):
    """A mutant whose mistake the search cannot see; the text says why."""


class _Bare:
    """What a mutant is given for the shell that it stands before: a role, and nothing else."""

    def __init__(self, role: Role) -> None:
        self.role = role

    def __getattr__(self, name: str) -> Any:
        raise UnsuitableMutantError(f"it changes the {name} of a shell, and here roles are without one")


def infecting(mutant: type[Mutant]) -> Infect:
    """What has a role make the mistake of a mutant. Raises UnsuitableMutantError."""
    if mutant.part not in PARTS:
        part = mutant.part or "every role"
        raise UnsuitableMutantError(f"it is a mistake of {part}; explored are {', '.join(PARTS)}")
    # Looked for now and not in the middle of a search.
    make: Callable[[Any], Mutant] = mutant

    def infect(role: Role) -> dict[str, Any] | None:
        return make(_Bare(role)).memory if mutant.part == role.NAME else None

    return infect


def story_of(found: Found, steps: list[Step]) -> Story:
    """The story that led to a violation, for a diagram: a second for each step, since there is no clock."""
    lines = tuple(
        Line(
            kind="fault" if step.kind == "fault" else "message" if step.to else "event",
            at=number * _STEP,
            sender=step.who,
            receivers=(step.to,) if step.to else (),
            what=step.what,
            remark=step.so,
            is_lost=step.is_lost,
            accused=(0,) if number == len(steps) else (),
        )
        for number, step in enumerate(steps, 1)
    )
    violations = () if found.violation is None else (": ".join(found.violation),)
    return Story(
        title="the shortest way to it",
        lines=lines,
        violations=violations,
        notes=("one second for each step: steps have an order and no time",),
    )


__all__ = ["PARTS", "UnsuitableMutantError", "infecting", "story_of"]
