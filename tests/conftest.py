"""How all of the kit's own tests run."""

import pytest
from hypothesis import HealthCheck, settings
from simulating import PIGS_FLY

from simulator.scenarios import SCENARIOS

# How quickly examples are made says something about the machine, and nothing about what is tested.
settings.register_profile("kit", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("kit")


@pytest.fixture
def broken(monkeypatch: pytest.MonkeyPatch) -> str:
    """The name of a scenario that fails."""
    monkeypatch.setitem(SCENARIOS, PIGS_FLY.name, PIGS_FLY)
    return PIGS_FLY.name
