"""Controllers of others in virtual time: their own code, unmodified, on the simulator's sockets and clock.

* `edition`     the modules of ipyparallel, loaded once more: time, chance and files are virtual in these
* `loop`        the event loop that their code runs in
* `streams`     the sockets that their code holds
* `parts`       the processes of their controller, part by part
* `controller`  all of them, as the controller of a cluster

Nothing here imports ipyparallel before a controller of it is made.
"""

from collections.abc import Callable
from typing import Final

from conformance.targets.descriptor import Target
from conformance.targets.descriptor import load as load_descriptor
from simulator.standing import Maker


def _ipyparallel() -> Maker:
    # An optional extra: what is not used need not be there.
    from conformance.targets.adapters.edition import load

    load()
    from conformance.targets.adapters.controller import IpyparallelController

    return IpyparallelController


#: Whose controllers there are, by the name of the descriptor that knows their deviations.
CONTROLLERS: Final[dict[str, Callable[[], Maker]]] = {"ipyparallel": _ipyparallel}


def maker(name: str) -> Maker:
    """What makes a controller of this name. Raises KeyError, and TargetUnusable if its package is not installed."""
    if name not in CONTROLLERS:
        raise KeyError(f"there is no controller {name!r} here but {', '.join(CONTROLLERS)}")
    return CONTROLLERS[name]()


def descriptor(name: str) -> Target:
    """The descriptor of such a controller."""
    return load_descriptor(name)


__all__ = ["CONTROLLERS", "descriptor", "maker"]
