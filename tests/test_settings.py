"""A case gets a controller that runs with what it asks for, or is not applicable, by the name of the option."""

import msgspec
import pytest

from conformance.harness.deployment import ControllerDeployment
from conformance.harness.verdict import NotApplicable
from conformance.targets import Target, load
from conformance.targets.tables import Settings


@pytest.fixture
def target() -> Target:
    return load("reference")


def with_settings(target: Target, **settings: object) -> Target:
    assert target.controller is not None
    controller = msgspec.structs.replace(target.controller, settings=Settings(**settings))  # type: ignore[arg-type]
    return msgspec.structs.replace(target, controller=controller)


def test_a_target_that_runs_so_anyway_is_judged_as_it_is(target: Target) -> None:
    assert ControllerDeployment(target).to_set({"scheme": ("lru", "leastload"), "hwm": (1,)}) == {}
    assert ControllerDeployment(with_settings(target, hwm=0)).to_set({"hwm": (0, 2)}) == {}


def test_of_several_values_the_first_is_set(target: Target) -> None:
    assert ControllerDeployment(with_settings(target, scheme="pure")).to_set(
        {"scheme": ("lru", "twobin"), "hwm": (1,)}
    ) == {"scheme": "lru"}


def test_without_the_option_a_case_is_not_applicable(target: Target) -> None:
    assert target.controller is not None
    controller = msgspec.structs.replace(target.controller, options={})
    with pytest.raises(NotApplicable, match="no option 'hwm', by which 2 could be set"):
        ControllerDeployment(msgspec.structs.replace(target, controller=controller)).to_set({"hwm": (2,)})


@pytest.mark.parametrize("name", ["reference", "ipyparallel"])
def test_the_shipped_targets_run_with_what_a_case_asks_for(name: str) -> None:
    with ControllerDeployment(load(name)).fresh({"scheme": "twobin", "hwm": 3}) as controller:
        # The one thing that a peer is told of its settings.
        assert controller.client_file.task_scheme == "twobin"
        assert controller.name == name
