"""The listener for what the Hub publishes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from conformance.harness.expect import Pattern
from conformance.harness.party import Party
from conformance.harness.pilots import REGISTERED
from conformance.harness.verdict import Finding, Violated
from protocol.world import SECOND, Observation

if TYPE_CHECKING:
    from conformance.harness.controller import Controller


class Notifications(Party):
    """A subscriber to the Hub's notifications; one of them is long-lived and shared by all cases of a controller.

    That one exists before the cases do. A pilot registration shows of each that it hears: a subscriber that joins late
    misses what was published before.
    """

    def __init__(self, controller: Controller, name: str = "subscriber") -> None:
        super().__init__(controller, name)
        self.heard: list[Observation] = []
        self._start = 0
        self._socket = self.open("notification", end="client")
        self.world.listen(self._socket, self.heard.append)

    def prove(self) -> None:
        """Tell the rules that from now on nothing is missed."""
        self.world.note(self.name, "subscribed", socket=self._socket.name)

    def begin(self) -> None:
        """Forget what earlier cases caused."""
        self._start = len(self.heard)

    def of(self, msg_type: str, **content: object) -> list[Observation]:
        """The notifications of this case, in order, that fit."""
        pattern = Pattern(msg_type, content)
        return [seen for seen in self.heard[self._start :] if seen.message and not pattern.differences(seen)]

    def wait(self, msg_type: str, *, within: int | None = None, **content: object) -> Observation | None:
        """Wait for a notification of this case, or None."""
        limit = within or self.controller.timing.announcement
        self.world.run_until(lambda: bool(self.of(msg_type, **content)), self.world.now + limit)
        found = self.of(msg_type, **content)
        return found[0] if found else None

    def expect(
        self, msg_type: str, *, within: int | None = None, requirement: str | None = None, **content: object
    ) -> Observation:
        """Wait for a notification; a missing one is a violation."""
        if msg_type == "registration_notification":
            self.controller.stand_on(*REGISTERED[1:])
        started = self.world.now
        found = self.wait(msg_type, within=within, **content)
        if found is not None:
            return found
        limit = within or self.controller.timing.announcement
        self.controller.expect_waited(started, limit)
        heard = [seen.message.msg_type for seen in self.heard[self._start :] if seen.message]
        raise Violated(
            Finding(f"no {msg_type} within {limit / SECOND:.2f} s (heard: {heard or 'nothing'})",
                    (str(Pattern(msg_type, content)),)), requirement
        )  # fmt: skip

    def barrier(self) -> None:
        """Return when everything published before now has been heard: a pilot's announcement travels behind it."""
        self.controller.engine(kind="pilot").registered()
