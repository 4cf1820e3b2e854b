"""The listener for what engines publish."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Self

from conformance.harness.party import Party
from conformance.harness.pilots import OUTPUT
from conformance.harness.verdict import Finding, Violated
from protocol.wire import Message
from protocol.world import SECOND, Observation

if TYPE_CHECKING:
    from conformance.harness.actors import Engine
    from conformance.harness.controller import Controller

#: The topic of what only proves that somebody listens.
PILOT: Final = "pilot"


class Output(Party):
    """A client's subscriber on `iopub`, which hears everything that is published after `proved`.

    A subscriber that joins late misses what was published before: the pilot messages of an engine are repeated until
    one arrives. Pilots, and what engines of earlier cases said last, are not kept.
    """

    def __init__(self, controller: Controller, name: str = "listener") -> None:
        super().__init__(controller, name)
        self.heard: list[Observation] = []
        self._pilots: set[str] = set()
        self.world.listen(self.open("iopub", end="client"), self._hear)

    def proved(self, engine: Engine) -> Self:
        """Wait until what this engine publishes is heard."""
        started = self.world.now
        limit = self.controller.timing.reply_deadline
        pilots = set[str]()
        while not self.controller.is_over(started, limit):
            pilots.add(engine.publish("status", {"execution_state": "starting"}, topic=PILOT).msg_id)
            if self.world.run_until(lambda: bool(self._pilots & pilots), self.world.now + SECOND // 20):
                return self
        self.controller.expect_waited(started, limit)
        raise self.controller.stopped(OUTPUT, f"{self.name} never heard {engine.name}")

    def _hear(self, seen: Observation) -> None:
        message = seen.message
        if message is not None and message.identities == (PILOT.encode(),):
            self._pilots.add(message.msg_id)
        elif message is None or not self.controller.is_of_earlier_case(str(message.header.get("session"))):
            self.heard.append(seen)

    def _of(self, ids: set[str]) -> list[Observation]:
        return [seen for seen in self.heard if seen.message and seen.message.msg_id in ids]

    def expect(
        self, *published: Message, is_patient: bool = False, requirement: str | None = None
    ) -> list[Observation]:
        """What arrives next must be these messages, in this order; a patient one leaves out all else."""
        ids = [message.msg_id for message in published]
        started = self.world.now
        limit = self.controller.timing.reply_deadline
        self.world.run_until(lambda: len(self._of(set(ids))) >= len(ids), started + limit)
        seen = self._of(set(ids)) if is_patient else self.heard[: len(ids)]
        arrived = [each.message.msg_id if each.message else "" for each in seen]
        if arrived == ids:
            del self.heard[: self.heard.index(seen[-1]) + 1 if seen else 0]
            return seen
        if len(arrived) < len(ids):
            self.controller.expect_waited(started, limit)
        at = next((index for index, one in enumerate(arrived) if one != ids[index]), len(arrived))
        what = f"{seen[at].message}" if at < len(seen) and seen[at].message else "nothing readable"
        finding = Finding(
            f"{self.name} heard {len(arrived)} of {len(ids)} messages, and at place {at} {what:.200}",
            (f"{published[at].msg_type} {ids[at]}",) if at < len(ids) else (),
            evidence=tuple(each.seq for each in seen[at : at + 1]),
        )
        raise Violated(finding, requirement)
