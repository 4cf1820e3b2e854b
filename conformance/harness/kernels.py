"""Kernels that run: the one that the cases of a worker share, and fresh ones for cases that end or change them."""

from collections.abc import Mapping

from conformance.harness.deployment import Deployment, Up, date_of_now, new_token
from conformance.harness.kernel import KernelUnderTest
from conformance.harness.kernelside import KernelSide
from conformance.targets.process import start_kernel
from conformance.targets.vocabulary import AS_IT_IS


class KernelDeployment(Deployment[KernelUnderTest]):
    """Kernels of a target, each with its own connection file: what can be set for a kernel is that file."""

    def _start(self, settings: Mapping[str, object] = AS_IT_IS) -> Up[KernelUnderTest]:
        world = KernelSide(settings, dialect=self.target.dialect)
        try:
            running = start_kernel(self.target, world.file)
        except BaseException:
            world.close()
            raise
        subject = KernelUnderTest(world, self.target, token=new_token(), date=date_of_now, instance=running)
        return Up(running, world, subject)

    def _settle(self, subject: KernelUnderTest) -> None:
        subject.settle()

    def _is_usable(self, subject: KernelUnderTest) -> bool:
        return subject.recovers()
