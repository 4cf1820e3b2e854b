"""Kernels that run: the one that the cases of a worker share, and fresh ones for cases that end or change them."""

from collections.abc import Mapping

from conformance.harness.deployment import Deployment, Up, date_of_now, new_token
from conformance.harness.kernel import KernelUnderTest
from conformance.harness.kernelside import KernelSide
from conformance.harness.verdict import Finding, Violated
from conformance.targets import TargetUnusable
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

    def _settled(self, settings: Mapping[str, object] = AS_IT_IS) -> Up[KernelUnderTest]:
        """One more; that it cannot go by an unusual file, as it did by a usual one, is what a case is about."""
        try:
            return super()._settled(settings)
        except TargetUnusable as error:
            if not settings:
                raise
            self.shared()  # raises what is wrong with it whatever its file says
            raise Violated(Finding(f"with {dict(settings)} in its file: {error}", ("it goes by its file",))) from None

    def _settle(self, subject: KernelUnderTest) -> None:
        subject.settle()

    def _is_usable(self, subject: KernelUnderTest) -> bool:
        return subject.recovers()
