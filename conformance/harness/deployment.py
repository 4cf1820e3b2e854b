"""Controllers of one target: the one that the cases of a worker share, and fresh ones for cases that disturb."""

import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime

from conformance.harness.controller import Controller
from conformance.harness.realworld import RealWorld
from conformance.targets.descriptor import Target
from conformance.targets.process import Running, start


class Deployment:
    """Starts what it is asked for, and stops all of it in `close`."""

    def __init__(self, target: Target) -> None:
        self.target = target
        self._shared: tuple[Running, RealWorld, Controller] | None = None

    def shared(self) -> Controller:
        """The shared controller, started at the first call, and anew when it has died. Raises TargetUnusable."""
        if self._shared is not None and not self._shared[0].is_running:
            self.close()
        if self._shared is None:
            self._shared = self._start()
        return self._shared[2]

    @property
    def current(self) -> Controller | None:
        """The shared controller, if it was started."""
        return self._shared[2] if self._shared else None

    @contextmanager
    def fresh(self) -> Iterator[Controller]:
        """A controller for one case. Raises TargetUnusable."""
        running, world, controller = self._start()
        try:
            yield controller
        finally:
            world.close()
            running.stop()

    def close(self) -> None:
        """Stop the shared controller."""
        if self._shared is not None:
            running, world, _ = self._shared
            self._shared = None
            world.close()
            running.stop()

    def _start(self) -> tuple[Running, RealWorld, Controller]:
        running = start(self.target)
        world = RealWorld(running.client, running.engine)
        try:
            controller = Controller(
                world,
                self.target.timing,
                dialect=self.target.dialect,
                features=frozenset(self.target.features),
                # Nothing of an earlier run on the same controller may look like ours.
                token=f"kit-{secrets.token_hex(4)}",
                date=lambda: datetime.now(UTC).isoformat().replace("+00:00", "Z"),
                instance=running,
                name=self.target.name,
            )
            controller.prove_subscription()
        except BaseException:
            world.close()
            running.stop()
            raise
        return running, world, controller
