"""Every kind of damage at every socket of a kernel, among the requests of other frontends, who must not notice."""

import pytest

from conformance.harness.case import requirement
from conformance.harness.kernel import KernelUnderTest
from conformance.livefuzz.cases import SEED, expect_unharmed
from conformance.livefuzz.kernels import KernelArena


@requirement("wire.malformed-harms-nobody", "wire.sender-recovers", "wire.at-most-one-reply")
@pytest.mark.parametrize(
    "channel", ["kernel-stdin", "kernel-heartbeat", "kernel-shell", "kernel-control", "kernel-iopub"]
)
def test_damage_harms_nobody_else(kernel: KernelUnderTest, channel: str) -> None:
    expect_unharmed(KernelArena(kernel, SEED), channel)
