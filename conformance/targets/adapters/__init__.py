"""Controllers of others in virtual time: their own code, unmodified, on the simulator's sockets and clock.

* `edition`     the modules of ipyparallel, loaded once more: time, chance and files are virtual in these
* `loop`        the event loop that their code runs in
* `streams`     the sockets that their code holds
* `parts`       the processes of their controller, part by part
* `controller`  all of them, as the controller of a cluster
* `causes`      why it has not answered a request or come to rest, where a finding says so

Nothing here imports ipyparallel before a controller of it is made.
"""

from collections.abc import Callable
from typing import Final

from conformance.targets.descriptor import Target
from conformance.targets.descriptor import load as load_descriptor
from simulator.cluster import VirtualCluster
from simulator.run import Outcome
from simulator.standing import Maker


def _ipyparallel() -> Maker:
    # An optional extra: what is not used need not be there.
    from conformance.targets.adapters.edition import load

    load()
    from conformance.targets.adapters.controller import IpyparallelController

    return IpyparallelController


#: Whose controllers there are, by the name of the descriptor that knows their deviations.
CONTROLLERS: Final[dict[str, Callable[[], Maker]]] = {"ipyparallel": _ipyparallel}


#: Requirements of which `explained` alone says why they are broken.
EXPLAINED: Final = (
    "task.converges",
    "heartbeat.silent-engine-removed",
    "registration.can-return",
    "wire.reply-parent",
    "query.hub-error-names-request",
    "storage.persistent-survives",
)


def maker(name: str) -> Maker:
    """What makes a controller of this name. Raises KeyError, and TargetUnusable if its package is not installed."""
    if name not in CONTROLLERS:
        raise KeyError(f"there is no controller {name!r} here but {', '.join(CONTROLLERS)}")
    return CONTROLLERS[name]()


def descriptor(name: str) -> Target:
    """The descriptor of such a controller."""
    return load_descriptor(name)


def explained(cluster: VirtualCluster, outcome: Outcome) -> dict[str, str]:
    """The pages of the findings from which violations of such a controller follow, by the texts of those."""
    from conformance.targets.adapters import causes

    return causes.explained(cluster, outcome)


__all__ = ["CONTROLLERS", "EXPLAINED", "descriptor", "explained", "maker"]
