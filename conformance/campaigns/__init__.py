"""Campaigns: simulated runs by the million, on whatever carries them out, with a journal of what is done.

A run is independent of every other, so a campaign is a map over *blocks* of seeds, written against
`concurrent.futures.Executor`: `workers` offers those of a process pool, of Dask and of ipyparallel; `drive` keeps them
busy and loses nothing when a worker dies; `journal` lets a campaign go on where it was stopped.
"""

from conformance.campaigns.blocks import Block, blocks, carry_out_block
from conformance.campaigns.drive import drive
from conformance.campaigns.journal import Journal, UnsuitableJournalError
from conformance.campaigns.workers import UnusableWorkersError, Workers, processes, workers

__all__ = [
    "Block",
    "Journal",
    "UnsuitableJournalError",
    "UnusableWorkersError",
    "Workers",
    "blocks",
    "carry_out_block",
    "drive",
    "processes",
    "workers",
]
