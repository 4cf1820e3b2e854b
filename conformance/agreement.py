"""A target and its simulation are asked the same, and must be judged alike: any difference is a defect of the kit."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from conformance.harness.verdict import Result
from conformance.targets.descriptor import Target


@dataclass(frozen=True)
class Disagreement:
    """Different verdicts on one requirement in one case: one of the two worlds, or the case, is wrong.

    `verdicts` has the name of each target, and its verdicts in the order of the alphabet.
    """

    requirement: str
    case: str
    verdicts: Mapping[str, tuple[str, ...]]

    def __str__(self) -> str:
        told = "; ".join(f"{name}: {', '.join(found) or 'nothing'}" for name, found in self.verdicts.items())
        return f"{self.requirement} in {self.case}: {told}"


def disagreements(results: Sequence[Result], targets: Iterable[Target]) -> list[Disagreement]:
    """Where a simulation and the target that it simulates came to different verdicts in a case that both ran.

    What needs a real system is left out, and so is what a busy machine left undecided. What rules saw besides counts
    where they accused: how much else they see depends on the moment.
    """
    return [
        each for target in targets if target.is_simulated for each in _between(target.simulates, target.name, results)
    ]


def _between(real: str, simulated: str, results: Sequence[Result]) -> Iterable[Disagreement]:
    found: dict[str, dict[tuple[str, str], set[str]]] = {real: {}, simulated: {}}
    left_out = set()
    for each in results:
        key = (each.requirement, each.case)
        if each.only_real or each.verdict == "undecided":
            left_out.add(key)
        elif each.target in found and not (each.by_rule and each.verdict == "passed"):
            found[each.target].setdefault(key, set()).add(each.verdict)
    cases = [{case for _, case in own} for own in found.values()]
    for key in sorted(({*found[real]} | {*found[simulated]}) - left_out):
        ran = all(key[1] in own for own in cases)
        if ran and found[real].get(key) != found[simulated].get(key):
            yield Disagreement(*key, {name: tuple(sorted(own.get(key, ()))) for name, own in found.items()})


__all__ = ["Disagreement", "disagreements"]
