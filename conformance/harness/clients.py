"""Clients that run, each in a world of its own: one driver serves all cases of a worker, one client after the other."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from conformance.harness.client import ClientUnderTest
from conformance.harness.clientside import ClientsSide, VirtualClientsSide
from conformance.harness.deployment import Deployment, Up, date_of_now, new_token
from conformance.harness.driver import RealDriver, VirtualDriver
from conformance.targets.descriptor import Target
from conformance.targets.process import start_client
from conformance.targets.vocabulary import AS_IT_IS
from simulator.world import World


class _Kept:
    """What is not stopped with a world: the driver goes on to the next one."""

    def __init__(self, driver: RealDriver) -> None:
        self._driver = driver

    def stop(self) -> None:
        """Hear nothing more of it in this world."""
        self._driver.detach()


class ClientDeployment(Deployment[ClientUnderTest]):
    """Clients of a target. What can be set for one is the file that tells it of its controller."""

    def __init__(self, target: Target) -> None:
        super().__init__(target)
        self._driver: RealDriver | None = None

    def _start(self, settings: Mapping[str, object] = AS_IT_IS) -> Up[ClientUnderTest]:
        world = ClientsSide(settings, dialect=self.target.dialect)
        try:
            driver = self._driver_for(world)
        except BaseException:
            world.close()
            raise
        subject = ClientUnderTest(
            world, self.target, driver, token=new_token(), date=date_of_now, instance=driver.running
        )
        return Up(_Kept(driver), world, subject)

    @contextmanager
    def fresh(self, settings: Mapping[str, object] = AS_IT_IS, *, is_settled: bool = True) -> Iterator[ClientUnderTest]:
        """A client for a single case; before the first one, another is explored. Raises TargetUnusable."""
        if is_settled and not self._is_explored:
            up = self._settled()
            try:
                self._explore(up.subject)
            finally:
                up.stop()
        with super().fresh(settings, is_settled=is_settled) as subject:
            yield subject

    def _driver_for(self, world: ClientsSide) -> RealDriver:
        """The driver, or a new one if it has had its time."""
        driver = self._driver
        if driver is not None and (driver.is_spent or not driver.running.is_running):
            self._stop_driver()
            driver = None
        if driver is None:
            driver = self._driver = RealDriver(start_client(self.target, world.file))
        driver.attach(world)
        return driver

    def _stop_driver(self) -> None:
        if self._driver is not None:
            self._driver.detach()
            self._driver.running.stop()
            self._driver = None

    def close(self) -> None:
        """Stop the driver."""
        super().close()
        self._stop_driver()

    def _settle(self, subject: ClientUnderTest) -> None:
        subject.settle()


class VirtualClientDeployment(ClientDeployment):
    """Clients in virtual time, each with a driver of its own."""

    def __init__(self, target: Target) -> None:
        super().__init__(target)
        self._started = 0

    def _start(self, settings: Mapping[str, object] = AS_IT_IS) -> Up[ClientUnderTest]:
        self._started += 1
        # What the client sends has to be bytes: how it is signed is a matter of its file.
        world = VirtualClientsSide(World(self._started, is_encoded=True), settings, dialect=self.target.dialect)
        driver = VirtualDriver(self.target, world)
        running = driver.running
        token = f"kit-{self._started:08x}"
        subject = ClientUnderTest(world, self.target, driver, token=token, date=running.date, instance=running)
        return Up(running, world, subject)


def clients(target: Target) -> ClientDeployment:
    """What starts clients of a target."""
    return VirtualClientDeployment(target) if target.is_simulated else ClientDeployment(target)


__all__ = ["ClientDeployment", "clients"]
