"""Each kind of fault, and what it does to a world: one look per kind, which fails if the fault does nothing.

Every look is taken twice: as it is, and with a fault of that kind which does nothing. The second time it must fail.
"""

import fault_party_looks
import fault_stranger_looks
import fault_way_looks
import pytest
from fault_looks import LOOKS, Look
from fault_party_looks import found_again

from simulator.faults import Fault, PartKilled, vocabulary

#: The modules with looks; each adds its own to the table when it is imported.
TABLES = (fault_party_looks, fault_way_looks, fault_stranger_looks)
EVERY = [pytest.param(kind, look, id=f"{kind.__name__}-{look.__name__}") for kind, looks in LOOKS.items()
         for look in looks]  # fmt: skip


@pytest.mark.parametrize(("_", "look"), EVERY)
def test_what_a_fault_does(_: type[Fault], look: Look) -> None:
    look()


@pytest.mark.parametrize(("kind", "look"), EVERY)
def test_without_it_that_does_not_happen(kind: type[Fault], look: Look, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kind, "begin", lambda *_: None)
    with pytest.raises((AssertionError, KeyError, ValueError)):
        look()


def test_every_kind_is_looked_at() -> None:
    assert set(LOOKS) == set(vocabulary())


def test_a_hub_with_its_disk_finds_results_again() -> None:
    assert found_again(PartKilled(part="hub")) == "ok"
