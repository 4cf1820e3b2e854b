"""What engines that know nothing of Python run for a scenario: code put together of the samples in their descriptor."""

from conformance.targets.tables import Samples
from protocol.world import SECOND, Work
from simulator.lacking import Lacking


def spoken(samples: Samples, work: Work, pace: float) -> str:
    """Code of the engine's own language that does some work, `pace` times as slowly, statement by statement.

    Raises Lacking for what its samples do not do.
    """
    if work.refuses:
        raise Lacking("functions, which can refuse the engine that runs them")
    if work.crashes:
        raise Lacking("code that takes its engine with it")
    pause = samples.hold_interpreter if work.holds else samples.sleep
    takes = work.takes * pace / SECOND
    parts = []
    for number in range(work.prints):
        parts += [_filled("print", samples.print, text=f"line {number}"), _slot(pause, takes / work.prints)]
    if not work.prints:
        parts.append(_slot(pause, takes))
    if work.fails:
        parts.append(_filled("raise", samples.raise_, text="failed"))
    return "\n".join(part for part in parts if part)


def _slot(pause: str, seconds: float) -> str:
    return _filled("sleep", pause, seconds=f"{seconds:.6f}") if seconds else ""


def _filled(name: str, sample: str, **values: str) -> str:
    if not sample:
        raise Lacking(f"the sample {name!r} in the descriptor of the engines")
    for slot, value in values.items():
        sample = sample.replace(f"{{{slot}}}", value)
    return sample


__all__ = ["spoken"]
