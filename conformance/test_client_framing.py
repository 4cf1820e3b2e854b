"""Every kind of damage at every socket of a client, among the answers that it waits for, which must all come to it."""

import pytest

from conformance.harness.case import needs, requirement
from conformance.harness.client import ClientUnderTest
from conformance.livefuzz.cases import SEED, expect_unharmed
from conformance.livefuzz.clients import ClientArena


@requirement("wire.malformed-harms-nobody")
@pytest.mark.parametrize(
    "channel",
    [
        pytest.param("mux", marks=needs("execute")),
        pytest.param("task", marks=needs("execute", "tasks")),
        pytest.param("broadcast", marks=needs("apply", "broadcast")),
        "query",
        "notification",
        pytest.param("iopub", marks=needs("execute", "output")),
    ],
)
def test_damage_harms_nobody_else(tested_client: ClientUnderTest, channel: str) -> None:
    expect_unharmed(ClientArena(tested_client, SEED), channel)
