"""Blocks: some seeds of one scenario, or of the swarm, one after the other. What is handed to a worker at once."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Final, NamedTuple

import msgspec

from conformance.simulating import Summary, report
from simulator.run import Setup

#: A block is large enough to hide the handing over, and small enough for a smooth progress and little that is lost.
LARGEST: Final = 25
#: Each worker gets so many blocks in the course of a campaign, at least, as far as there are seeds.
_EACH: Final = 16


class Block(NamedTuple):
    """The seeds from `first` to `last`, both included, of a scenario or `swarm`."""

    name: str
    first: int
    last: int

    @property
    def seeds(self) -> range:
        """Its seeds."""
        return range(self.first, self.last + 1)


def blocks(
    names: Sequence[str], seeds: range, workers: int, done: Mapping[str, Collection[int]] | None = None
) -> Iterator[Block]:
    """The blocks of a campaign, in order, without the seeds that are done already."""
    size = max(1, min(LARGEST, len(names) * len(seeds) // (_EACH * workers)))
    for name in names:
        passed = (done or {}).get(name, ())
        first: int | None = None
        for seed in seeds:
            if seed in passed:
                if first is not None:
                    yield Block(name, first, seed - 1)
                first = None
                continue
            first = seed if first is None else first
            if seed - first + 1 == size:
                yield Block(name, first, seed)
                first = None
        if first is not None:
            yield Block(name, first, seeds[-1])


def carry_out_block(like: Setup, block: Block) -> Summary:
    """Carry out all runs of a block, here and now."""
    summary = Summary()
    for seed in block.seeds:
        summary.add(report(msgspec.structs.replace(like, name=block.name, seed=seed)))
    return summary


__all__ = ["LARGEST", "Block", "blocks", "carry_out_block"]
