"""How all of the kit's own tests run."""

import os

import pytest
from hypothesis import HealthCheck, settings
from simulating import PIGS_FLY

from simulator.scenarios import SCENARIOS

# How wide a table is in a pipe is not for whoever started the tests, a worker or a terminal, to say.
os.environ.pop("COLUMNS", None)

# A look at a fault tells as much as a test does when it fails.
pytest.register_assert_rewrite("fault_party_looks", "fault_way_looks", "fault_stranger_looks")

# How quickly examples are made says something about the machine, and nothing about what is tested.
settings.register_profile("kit", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("kit")


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers() -> int:
    """With `-n auto` twice as many workers as there are cores: half of its time a test waits for processes."""
    return 2 * len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 2 * (os.cpu_count() or 1)


@pytest.fixture(params=["json", "msgpack"])
def packer(request: pytest.FixtureRequest) -> str:
    """How dictionaries are written, each way in turn."""
    name: str = request.param
    return name


@pytest.fixture
def broken(monkeypatch: pytest.MonkeyPatch) -> str:
    """The name of a scenario that fails."""
    monkeypatch.setitem(SCENARIOS, PIGS_FLY.name, PIGS_FLY)
    return PIGS_FLY.name
