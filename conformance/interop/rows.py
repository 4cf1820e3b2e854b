"""The rows of the matrix: which client, which controller and which engines make a cluster, and how they are started."""

import sys
from collections.abc import Mapping
from typing import Final

import msgspec

from conformance.interop.ability import Ability
from conformance.interop.ours import OURS, Ours
from conformance.interop.theirs import Theirs
from conformance.interop.theirs_cluster import CLUSTER
from conformance.interop.theirs_views import VIEWS

#: The two implementations, as they are called in names of rows, in cells and on command lines.
KIT: Final = "ours"
REAL: Final = "ipyparallel"

TABLES: Final[Mapping[str, Mapping[str, Ability]]] = {KIT: OURS, REAL: VIEWS | CLUSTER}
DEPLOYMENTS: Final[Mapping[str, type[Ours] | type[Theirs]]] = {KIT: Ours, REAL: Theirs}
#: The descriptor of each controller.
CONTROLLERS: Final = {KIT: "reference", REAL: "ipyparallel"}
#: How an engine is started; `{file}` is its connection file.
ENGINES: Final[Mapping[str, tuple[str, ...]]] = {
    KIT: (sys.executable, "-c", "from conformance.cli import main; main()", "engine", "--file={file}"),
    REAL: (sys.executable, "-m", "ipyparallel.engine", "--file={file}"),
}


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """One combination. `engines` are started at the beginning, in this order; later ones are of the last kind.

    A control group has nothing of ours: what fails there is no fault of ours.
    """

    name: str
    client: str
    controller: str
    engines: tuple[str, ...]

    @property
    def needs_ipyparallel(self) -> bool:
        """Whether a party of it is ipyparallel's."""
        return REAL in (self.client, self.controller, *self.engines)

    @property
    def is_control_group(self) -> bool:
        """Whether nothing in it is ours."""
        return KIT not in (self.client, self.controller, *self.engines)

    @property
    def abilities(self) -> Mapping[str, Ability]:
        """What its client can do."""
        return TABLES[self.client]

    @property
    def sentence(self) -> str:
        """The parties in words."""
        engines = " and ".join(dict.fromkeys(self.engines))
        return f"client {self.client}, controller {self.controller}, engines {engines}"


ROWS: Final = (
    Row(name="ipp-ours-ipp", client=REAL, controller=KIT, engines=(REAL, REAL)),
    Row(name="ipp-ours-ours", client=REAL, controller=KIT, engines=(KIT, KIT)),
    Row(name="ours-ipp-mixed", client=KIT, controller=REAL, engines=(KIT, REAL)),
    Row(name="ours-ours-ours", client=KIT, controller=KIT, engines=(KIT, KIT)),
    Row(name="ipp-ipp-ipp", client=REAL, controller=REAL, engines=(REAL, REAL)),
)
