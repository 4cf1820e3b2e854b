"""Every kind of damage at every socket of an engine, among the requests of others, who must not notice."""

import pytest

from conformance.harness.case import needs, requirement
from conformance.harness.engine import EngineUnderTest
from conformance.livefuzz.cases import SEED, expect_unharmed
from conformance.livefuzz.engines import EngineArena


@requirement("wire.malformed-harms-nobody", "wire.sender-recovers", "wire.at-most-one-reply")
@pytest.mark.parametrize(
    "channel",
    [
        "mux",
        pytest.param("task", marks=needs("tasks")),
        pytest.param("broadcast", marks=needs("broadcast")),
        "control",
        "query",
        "heartbeat-ping",
    ],
)
def test_damage_harms_nobody_else(engine: EngineUnderTest, channel: str) -> None:
    expect_unharmed(EngineArena(engine, SEED), channel)
