"""The whole matrix: every row with every ability, and what became of each.

Rows run beside each other, one thread each that mostly waits; within a row abilities run one after the other. A cluster
is used for as long as nothing fails on it.
"""

import fnmatch
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from importlib import metadata
from threading import Event
from typing import Final, Literal, NamedTuple

import msgspec

from conformance.interop.ability import COLUMNS, Ability, Failure
from conformance.interop.bench import CLIENT, Bench, Parties, Unusable
from conformance.interop.blame import Blame, blame
from conformance.interop.rows import ROWS, Row
from conformance.interop.traffic import Traffic, Window
from conformance.interop.witness import Charge, Witness

#: How many rows run at the same time: more would only wait for the processors of a usual machine.
AT_ONCE: Final = 2
#: After so many abilities in a row that waited in vain, a row is not run on: each costs patience and a new cluster.
GIVE_UP: Final = 4
#: The channel on which every party has one connection for as long as it lives.
LIFELINE: Final = "mux"
#: Every ability that there is, in the order in which the table shows them.
NAMES: Final = tuple(f"{group}.{name}" for group, (_, names) in COLUMNS.items() for name in names)

#: absent: something that the ability needs, and that belongs to no party, is not installed.
Verdict = Literal["works", "fails", "absent", "unusable"]


class Cell(msgspec.Struct, frozen=True, kw_only=True):
    """What became of one ability in one row. `text` is the failure, or why it could not be tried.

    `noticed` is what was broken on the wire meanwhile, whether or not it did any harm.
    """

    row: str
    ability: str
    verdict: Verdict
    text: str = ""
    blame: Blame | None = None
    noticed: tuple[Charge, ...] = ()


def chosen(*patterns: str) -> list[str]:
    """The abilities that one of these patterns names, with their group or without; all if there are none."""
    return [
        name
        for name in NAMES
        if not patterns
        or any(fnmatch.fnmatchcase(each, pattern) for each in (name, name.partition(".")[2]) for pattern in patterns)
    ]


def run(
    rows: Iterable[Row] = ROWS,
    names: Sequence[str] = NAMES,
    *,
    parties: Parties | None = None,
    tell: Callable[[Cell], None] = lambda _: None,
) -> list[Cell]:
    """Run rows; the cells, row by row, without those of abilities that a row's client does not have."""
    halt = Event()
    with ThreadPoolExecutor(AT_ONCE) as pool:
        try:
            found = pool.map(lambda row: run_row(row, names, parties=parties, tell=tell, halt=halt), rows)
            return [cell for cells in found for cell in cells]
        finally:
            # After an interrupt the threads must end what they have started, and begin nothing.
            halt.set()


def run_row(
    row: Row,
    names: Sequence[str] = NAMES,
    *,
    parties: Parties | None = None,
    tell: Callable[[Cell], None] = lambda _: None,
    halt: Event | None = None,
) -> list[Cell]:
    """Run one row, in the order of its client's abilities. Each is told when it has ended, before anybody is blamed.

    Raises Halted soon after `halt` was set.
    """
    trials: list[_Trial] = []
    cluster: _Cluster | None = None
    unusable = ""
    silent = 0
    try:
        for ability in row.abilities.values():
            if ability.name not in names:
                continue
            try:
                if not unusable:
                    cluster = cluster or _Cluster(row, parties, halt)
                    trials.append(cluster.run(ability))
            except Unusable as error:
                unusable = str(error)
            if unusable:
                trials.append(_Trial(ability, Failure(kind="ended", text=unusable), None, ()))
            tell(trials[-1].cell(row, frozenset()))
            if cluster is not None and (ability.is_last or not trials[-1].is_clean):
                cluster.close()
                cluster = None
            silent = silent + 1 if trials[-1].is_silent else 0
            if silent == GIVE_UP:
                unusable = f"row {row.name}: given up after {GIVE_UP} abilities in a row for which nothing came in time"
    finally:
        if cluster is not None:
            cluster.close()
    harmless = frozenset(charge.kind for trial in trials if trial.failure is None for charge in trial.charges)
    return [trial.cell(row, harmless) for trial in trials]


class _Trial(NamedTuple):
    """One ability, and what was seen meanwhile: nothing if its row cannot be run."""

    ability: Ability
    failure: Failure | None
    window: Window | None
    charges: Sequence[Charge]

    @property
    def is_clean(self) -> bool:
        """Whether the cluster can be used for the next one."""
        return self.failure is None or self.failure.kind == "absent"

    @property
    def is_silent(self) -> bool:
        """Whether it waited in vain."""
        return self.failure is not None and self.failure.kind in ("late", "hung")

    def cell(self, row: Row, harmless: frozenset[tuple[str, str, str]]) -> Cell:
        """What became of it. `harmless` are the mistakes with which other abilities succeeded."""
        cell = Cell(row=row.name, ability=self.ability.name, verdict="works", noticed=tuple(self.charges))
        if self.failure is None:
            return cell
        if self.window is None or self.failure.kind == "absent":
            verdict: Verdict = "unusable" if self.window is None else "absent"
            return msgspec.structs.replace(cell, verdict=verdict, text=self.failure.text)
        fresh = [charge for charge in self.charges if charge.kind not in harmless]
        found = blame(self.failure, self.ability.requirement, self.window, fresh, CLIENT)
        return msgspec.structs.replace(cell, verdict="fails", text=self.failure.text, blame=found)


class _Cluster:
    """A bench with everything that watches it."""

    def __init__(self, row: Row, parties: Parties | None, halt: Event | None = None) -> None:
        self.bench = Bench(row, parties, halt)
        self.close = self.bench.close
        self._traffic = Traffic(self.bench.controller.client.codec())
        self._witness = Witness()

    def run(self, ability: Ability) -> _Trial:
        """Run one ability. Raises Unusable."""
        self.bench.settle()
        self._look()
        failure = self.bench.run(ability.name)
        window, charges = self._look()
        return _Trial(ability, failure, window, charges)

    def _look(self) -> tuple[Window, list[Charge]]:
        seen = self._traffic.take(self.bench.relay.take())
        links = [link for link in self.bench.relay.links.values() if link.closed_by == "near"]
        gone = frozenset(link.party for link in links if link.channel == LIFELINE) - {CLIENT}
        closed = frozenset(link.number for link in links)
        return Window(self._traffic, seen, gone, closed), self._witness.look(seen)


def version_of_ipyparallel() -> str | None:
    """The version of the ipyparallel that is installed beside the kit, or None. It is not imported."""
    try:
        return metadata.version("ipyparallel")
    except metadata.PackageNotFoundError:
        return None
