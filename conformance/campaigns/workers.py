"""Who carries out the runs of a campaign: processes of this machine, a Dask cluster, or a cluster of ipyparallel.

Each offers a `concurrent.futures.Executor`. `open` makes one, and again when it broke: a pool that has lost a process
is of no use any more. On a cluster the same ippkit has to be installed where the workers are.
"""

import multiprocessing
from collections.abc import Callable
from concurrent.futures import Executor, ProcessPoolExecutor
from dataclasses import dataclass
from typing import Any, Final

from conformance.simulating import prepare

#: The kinds of `--executor`, and what stands behind the colon.
KINDS: Final = {"dask": "ADDRESS", "ipyparallel": "PROFILE"}


class UnusableWorkersError(Exception):
    """Nobody is there to carry out runs; the text says why."""


@dataclass(frozen=True, slots=True)
class Workers:
    """`open` gives an executor that keeps `count` runs going at once; `close` ends the connection to a cluster.

    `patience`: seconds in which one of them must come back, or None where none is lost without a word.
    """

    count: int
    open: Callable[[], Executor]
    close: Callable[[], object] = bool
    patience: float | None = None


def processes(count: int) -> Workers:
    """So many processes of this machine."""
    context = multiprocessing.get_context("spawn")
    return Workers(count, lambda: ProcessPoolExecutor(count, mp_context=context, initializer=prepare))


def workers(kind: str, where: str) -> Workers:
    """The workers of a cluster: `dask` at an address, or `ipyparallel` of a profile or a client's connection file.

    Raises UnusableWorkersError.
    """
    try:
        return {"dask": _dask, "ipyparallel": _ipyparallel}[kind](where)
    except ImportError as error:
        raise UnusableWorkersError(f"{kind} is not installed ({error}): pip install 'ippkit[{kind}]'") from None


def _dask(address: str) -> Workers:
    from distributed import Client

    try:
        client = Client(address, timeout=_PATIENCE, set_as_default=False)
    except (OSError, ValueError, TimeoutError) as error:
        raise UnusableWorkersError(f"no Dask scheduler answers at {address}: {error}") from None
    count = sum(client.nthreads().values())
    if not count:
        client.close()
        raise UnusableWorkersError(f"the Dask scheduler at {address} has no workers")
    # The same seeds are the same work, but a run that is asked for again is to be done again.
    return Workers(count, lambda: client.get_executor(pure=False), client.close, LOST)


def _ipyparallel(where: str) -> Workers:
    import ipyparallel

    named: dict[str, Any] = {"connection_info": where} if where.endswith(".json") else {"profile": where}
    try:
        client = ipyparallel.Client(timeout=_PATIENCE, **named)
    except (OSError, TimeoutError, ipyparallel.error.TimeoutError) as error:
        raise UnusableWorkersError(f"no controller of ipyparallel answers as {where}: {error}") from None
    if not client.ids:
        client.close()
        raise UnusableWorkersError(f"the controller of ipyparallel {where} has no engines")
    return Workers(len(client.ids), client.executor, client.close, LOST)


#: Seconds that a cluster may take to answer at all.
_PATIENCE: Final = 20
#: Seconds without a result after which a cluster has lost what it was given. The longest block is a tenth of that, and
#: a campaign that waits for a reply that never comes would be silent for ever.
LOST: Final = 300.0

__all__ = ["KINDS", "UnusableWorkersError", "Workers", "processes", "workers"]
