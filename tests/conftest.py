"""How all of the kit's own tests run."""

import os

import pytest
from hypothesis import HealthCheck, settings
from simulating import PIGS_FLY

from simulator.scenarios import SCENARIOS

# How wide a table is in a pipe is not for whoever started the tests, a worker or a terminal, to say.
os.environ.pop("COLUMNS", None)

# How quickly examples are made says something about the machine, and nothing about what is tested.
settings.register_profile("kit", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("kit")


@pytest.fixture
def broken(monkeypatch: pytest.MonkeyPatch) -> str:
    """The name of a scenario that fails."""
    monkeypatch.setitem(SCENARIOS, PIGS_FLY.name, PIGS_FLY)
    return PIGS_FLY.name
