"""Targets that run already: one subject for all cases, which is never started, never ended, and never disturbed.

A cluster that has engines of its own works for somebody. There no engine of the kit registers, unless the run may
disturb: a scheduler would give it tasks that are not for it. And no case is run in which the kit sends tasks, for they
would reach engines that are not the kit's, and what became of them would say nothing about the scheduler.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from msgspec import UNSET

from conformance.harness.controller import Controller
from conformance.harness.deployment import (
    ControllerDeployment,
    Deployment,
    S,
    Up,
    VirtualDeployment,
    date_of_now,
    new_token,
)
from conformance.harness.kernel import KernelUnderTest
from conformance.harness.kernels import KernelDeployment
from conformance.harness.kernelside import KernelSide
from conformance.harness.realworld import RealWorld
from conformance.targets.attached import AttachedController, AttachedKernel
from conformance.targets.descriptor import Target
from conformance.targets.vocabulary import AS_IT_IS


class _Attached(Deployment[S]):
    """What all attached targets have in common: there is one, and it is the shared one."""

    @contextmanager
    def fresh(self, settings: Mapping[str, object] = AS_IT_IS, *, is_settled: bool = True) -> Iterator[S]:  # noqa: ARG002 - there is no other
        """The one that runs: which cases may have it so is the plugin's concern. Raises TargetUnusable."""
        yield self.shared()

    def prove_again(self, *, is_blamed: bool) -> None:  # noqa: ARG002 - it cannot be started again
        """After the last case: it is still there. Raises TargetUnusable."""
        subject = self.current
        if subject is not None and subject.is_running:
            subject.smoke()

    def _is_usable(self, subject: S) -> bool:  # noqa: ARG002 - there is no other
        return True


class AttachedControllers(_Attached[Controller], ControllerDeployment):
    """A controller that runs already. If the run may not disturb, its own engines are left alone."""

    def __init__(self, target: Target, *, may_disturb: bool) -> None:
        super().__init__(target)
        self._may_disturb = may_disturb

    def _start(self, settings: Mapping[str, object] = AS_IT_IS) -> Up[Controller]:
        running = AttachedController(self.target)
        world = RealWorld(running.client, running.engine)
        return Up(running, world, self._controller(world, running, new_token(), date_of_now, settings))

    def _begin(self, subject: Controller) -> bool:
        is_fit = self._is_fit(subject)
        if not is_fit:
            raise subject.instance.unusable("it answers nothing after a request that does not exist")
        strangers = len(subject.client().engines())
        if strangers:
            subject.avoid_strangers(strangers, may_register=self._may_disturb)
        if not strangers or self._may_disturb:
            self._settle(subject)
        return True


class AttachedKernels(_Attached[KernelUnderTest], KernelDeployment):
    """A kernel that runs already."""

    def _start(self, settings: Mapping[str, object] = AS_IT_IS) -> Up[KernelUnderTest]:  # noqa: ARG002 - it has its file
        running = AttachedKernel(self.target)
        file = running.file
        said = {key: getattr(file, key) for key in file.keys if getattr(file, key) is not UNSET}
        world = KernelSide(said, dialect=self.target.dialect)
        subject = KernelUnderTest(world, self.target, token=new_token(), date=date_of_now, instance=running)
        return Up(running, world, subject)


def controllers(target: Target, *, may_disturb: bool = False) -> ControllerDeployment:
    """What starts controllers of a target, or is attached to the one that runs, which it `may_disturb`."""
    if "controller" in target.attached:
        return AttachedControllers(target, may_disturb=may_disturb)
    return VirtualDeployment(target) if target.is_simulated else ControllerDeployment(target)


def kernels(target: Target) -> KernelDeployment:
    """What starts kernels of a target, or is attached to the one that runs."""
    return AttachedKernels(target) if "kernel" in target.attached else KernelDeployment(target)
