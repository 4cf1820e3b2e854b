"""Every kind of damage at every socket of a controller, among the honest traffic of others, who must not notice.

The kinds are those of the decoder's own fuzzer, and what only a running target can be dealt: lone and empty frames,
envelopes of others, replays, messages from other channels. `ippkit fuzz target` sends as many as wanted.
"""

import pytest

from conformance.harness.case import needs, requirement
from conformance.harness.controller import Controller
from conformance.livefuzz.cases import SEED, expect_unharmed
from conformance.livefuzz.controllers import ControllerArena


@requirement("wire.malformed-harms-nobody", "wire.sender-recovers", "wire.at-most-one-reply")
@pytest.mark.parametrize(
    "channel",
    [
        "query",
        pytest.param("broadcast", marks=needs("broadcast")),
        pytest.param("iopub", marks=needs("iopub")),
        "notification",
        "heartbeat-ping",
        "heartbeat-pong",
    ],
)
def test_damage_harms_nobody_else(controller: Controller, channel: str) -> None:
    expect_unharmed(ControllerArena(controller, SEED), channel)


@requirement("wire.malformed-harms-nobody", "wire.sender-recovers", "wire.at-most-one-reply")
@pytest.mark.parametrize(
    "channel",
    [
        pytest.param("mux", marks=needs("mux")),
        pytest.param("task", marks=needs("tasks")),
        pytest.param("control", marks=needs("control")),
    ],
)
def test_damage_at_a_queue_harms_nobody_else(fresh_controller: Controller, channel: str) -> None:
    expect_unharmed(ControllerArena(fresh_controller, SEED), channel)
