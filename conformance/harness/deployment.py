"""Targets that run: the one that the cases of a worker share, and fresh ones for cases that disturb."""

import secrets
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final, Generic, Protocol, TypeVar

import msgspec

from conformance.harness.controller import Controller, ControllerInstance, ControllerWorld
from conformance.harness.controllerside import ControllerSide, VirtualControllerSide
from conformance.harness.engine import EngineUnderTest
from conformance.harness.observing import Observer
from conformance.harness.realworld import RealWorld
from conformance.harness.subject import Subject
from conformance.harness.verdict import (
    Blocked,
    CaseEnd,
    Finding,
    NotApplicable,
    OnlyReal,
    Undecided,
    Violated,
    finding_of,
)
from conformance.harness.virtualworld import VirtualWorld
from conformance.targets.descriptor import Target
from conformance.targets.errors import TargetUnusable
from conformance.targets.process import Running, await_ready, begin, start, start_engine
from conformance.targets.tables import Settings
from conformance.targets.virtual import VirtualRunning, VirtualRunningEngine
from conformance.targets.vocabulary import AS_IT_IS
from protocol.roles.assembly import ControllerConfig
from simulator.world import World

S = TypeVar("S", bound=Subject)

#: After how many starts in a row that did not come to where cases begin no further one is tried.
STUMBLES: Final = 3

#: That peers can connect at all.
PEERS: Final = "connection.peers-connect"

#: How many cases share a virtual controller.
CASES_IN_A_WORLD: Final = 25


class Stoppable(Protocol):
    """What runs until it is stopped."""

    def stop(self) -> None:
        """End it. May be called twice."""


@dataclass
class Up(Generic[S]):
    """A target that was started, and the kit's side of it."""

    running: Stoppable
    world: Observer[Any]
    subject: S

    def stop(self) -> None:
        """End both."""
        self.world.close()
        self.running.stop()


class Deployment(ABC, Generic[S]):
    """Starts what it is asked for, and stops all of it in `close`."""

    def __init__(self, target: Target) -> None:
        self.target = target
        self._shared: Up[S] | None = None
        #: Whether somebody was there once; of what is our own and runs in virtual time, nobody doubts it.
        self._is_proved = target.is_simulated
        #: What was seen to be missing when the first one was explored, see `Subject.explore`; all others lack it, too.
        self._missing: dict[str, str] = {}
        self._is_explored = False
        self._stumbled: Blocked | None = None
        self._stumbles = 0

    def shared(self) -> S:
        """The shared one, started at the first call, and anew when it is of no more use. Raises TargetUnusable."""
        if self._shared is not None and not self._is_usable(self._shared.subject):
            self.close()
        if self._shared is None:
            self._shared = self._settled()
            self._explore(self._shared.subject)
        return self._shared.subject

    @property
    def current(self) -> S | None:
        """The shared one, if it was started."""
        return self._shared.subject if self._shared else None

    @contextmanager
    def fresh(self, settings: Mapping[str, object] = AS_IT_IS, *, is_settled: bool = True) -> Iterator[S]:
        """One for a single case, with these settings; one that is not settled has just been started.

        Raises TargetUnusable.
        """
        up = self._settled(settings) if is_settled else self._start(settings)
        if not is_settled:
            up.subject.missing = self._missing
        try:
            yield up.subject
        finally:
            self._end(up)

    def _end(self, up: Up[S]) -> None:
        """Stop one that was for a single case."""
        up.stop()

    def close(self) -> None:
        """Stop the shared one."""
        if self._shared is not None:
            up, self._shared = self._shared, None
            up.stop()

    def _settled(self, settings: Mapping[str, object] = AS_IT_IS) -> Up[S]:
        """One more, at the place where cases begin."""
        if self._stumbled is not None and self._stumbles >= STUMBLES:
            raise Blocked(self._stumbled.prerequisite, self._stumbled.why)
        up = self._start(settings)
        up.subject.missing = self._missing
        try:
            is_fit = self._begin(up.subject)
        except BaseException as error:
            known = up.subject.look_ahead() if _is_about_answers(error) else ()
            up.stop()
            # Where nothing but the missing answer was noticed, a rule may know what was wrong with the one that came.
            for violation in known:
                raise self._stumble(finding_of(violation), violation.requirement) from None
            if isinstance(error, Blocked):
                raise self._stumble(Finding(error.why), error.prerequisite) from None
            if isinstance(error, Violated) and error.requirement is not None:
                raise self._stumble(error.finding, error.requirement) from None
            raise
        self._stumbles = 0
        if is_fit:
            return up
        up.stop()
        return self._settled(settings)

    def _stumble(self, finding: Finding, requirement: str) -> CaseEnd:
        """What ends a case whose target did not come to where cases begin: told once, it blocks all others."""
        self._stumbles += 1
        if self._stumbled is not None and self._stumbled.prerequisite == requirement:
            return Blocked(requirement, self._stumbled.why)
        self._stumbled = Blocked(requirement, finding.found)
        return Violated(finding, requirement)

    def _explore(self, subject: S) -> None:
        """Explore the first one, which leaves its traces there."""
        if not self._is_explored:
            self._is_explored = True
            subject.begin_case()
            with suppress(Undecided):
                subject.explore()
            subject.end_case()

    def _begin(self, subject: S) -> bool:
        """Settle one that was just started, and prove it if none was proved before; whether it is fit for cases."""
        self._settle(subject)
        return self._is_fit(subject)

    def _is_fit(self, subject: S) -> bool:
        """Before anything is judged: see `Subject.smoke`."""
        is_fit = self._is_proved or subject.smoke()
        self._is_proved = True
        return is_fit

    def prove_again(self, *, is_blamed: bool) -> None:
        """After the last case: the target is still there, or comes again if it is started once more.

        If something was found (`is_blamed`), the end of the shared one may be its consequence. Raises TargetUnusable.
        """
        if self.target.is_simulated or self._shared is None:
            return
        subject = self._shared.subject
        if not subject.is_running:
            if not is_blamed:
                raise subject.instance.unusable("it ended after the last case, and nobody had told it to")
            return
        if self._is_usable(subject) and not self._is_there(subject):
            self.close()
            self._is_proved = False
            self.shared()

    @staticmethod
    def _is_there(subject: Subject) -> bool:
        try:
            return subject.smoke()
        except TargetUnusable:
            return False

    def _is_usable(self, subject: S) -> bool:
        return subject.is_running

    @property
    def is_spent(self) -> bool:
        """Whether the shared one has had its last case, and is to be closed after it."""
        return False

    @abstractmethod
    def _start(self, settings: Mapping[str, object] = AS_IT_IS) -> Up[S]:
        """Start one more."""

    @abstractmethod
    def _settle(self, subject: S) -> None:
        """Bring one that was just started to where cases begin."""


class ControllerDeployment(Deployment[Controller]):
    """Controllers of a target."""

    def __init__(self, target: Target) -> None:
        super().__init__(target)
        #: One that starts already, and its settings.
        self._begun: tuple[Mapping[str, object], Running] | None = None
        #: The last one that was for a single case, which may still be ending.
        self._ending: Running | None = None
        #: Whether one of them has announced an engine; and what the one lacked in whose place another one is started.
        self._has_announced = False
        self._setbacks: dict[str, str] = {}
        #: How many in a row were robbed of a port.
        self._robbed = 0

    def to_set(self, wanted: Mapping[str, Sequence[object]]) -> dict[str, object]:
        """What has to be set for a case that needs one of these values for each name; {} if the target runs so anyway.

        Raises NotApplicable if its descriptor has no option for that.
        """
        assert self.target.controller is not None
        found = _unusual(wanted, self.target.controller.settings)
        for name, value in found.items():
            if name not in self.target.controller.options:
                raise NotApplicable(f"the descriptor has no option {name!r}, by which {value!r} could be set")
        return found

    @contextmanager
    def beside(self, subject: Controller) -> Iterator[Controller]:
        """A new side of the kit for a controller that runs, which knows nothing of what the other one has seen."""
        running = subject.instance
        with RealWorld(running.client, running.engine) as world:
            another = self._controller(world, running, new_token(), date_of_now, AS_IT_IS)
            self._settle(another)
            yield another

    def begin(self, settings: Mapping[str, object]) -> None:
        """Begin to start the one that is asked for next, with these settings, while somebody is busy with another one.

        What is wrong with it shows when it is asked for.
        """
        if self.target.is_simulated or "controller" in self.target.attached:
            return
        self._drop_begun()
        with suppress(TargetUnusable):
            self._begun = (settings, begin(self.target, settings))

    def close(self) -> None:
        """Stop the shared one, whatever was begun, and what is still ending."""
        super().close()
        self._drop_begun()
        self._await_end()

    def _end(self, up: Up[Controller]) -> None:
        if not isinstance(up.running, Running):
            up.stop()
            return
        # Nobody needs it any more: it may take its time while the next case runs.
        up.world.close()
        up.running.tell_to_stop()
        self._await_end()
        self._ending = up.running

    def _await_end(self) -> None:
        if self._ending is not None:
            self._ending.stop()
            self._ending = None

    def _drop_begun(self) -> None:
        if self._begun is not None:
            (_, running), self._begun = self._begun, None
            running.stop()

    def _start(self, settings: Mapping[str, object] = AS_IT_IS) -> Up[Controller]:
        if self._begun is not None and self._begun[0] == settings:
            (_, running), self._begun = self._begun, None
            await_ready(running)
        else:
            running = start(self.target, settings)
        world = RealWorld(running.client, running.engine)
        return Up(running, world, self._controller(world, running, new_token(), date_of_now, settings))

    def _controller(
        self,
        world: ControllerWorld,
        instance: ControllerInstance,
        token: str,
        date: Callable[[], str],
        settings: Mapping[str, object],
    ) -> Controller:
        usual = self.target.controller.settings.scheme if self.target.controller is not None else ""
        return Controller(
            world,
            self.target.timing,
            dialect=self.target.dialect,
            features=frozenset(self.target.features),
            token=token,
            date=date,
            instance=instance,
            name=self.target.name,
            settings=settings,
            is_pure=settings.get("scheme", usual) == "pure",
        )

    def _begin(self, subject: Controller) -> bool:
        # What is silent would else be accused of not registering anybody.
        if self._is_robbed(subject) or not self._is_fit(subject):
            return False
        missing = subject.prove_subscription()
        # By now all of it has bound, or failed to.
        if self._is_robbed(subject):
            return False
        if self._robbed < STUMBLES:
            self._robbed = 0
        before, self._setbacks = self._setbacks, {}
        if missing and self._has_announced and not before.keys() - {PEERS}:
            # Others of it could do that: what ails this one may be no fault of the target.
            self._setbacks = before | missing
            return False
        subject.setbacks = {slug: found for slug, found in before.items() if slug not in missing}
        if not missing:
            self._has_announced = True
        elif self._has_announced:
            subject.missing = subject.missing | missing
        else:
            self._missing |= missing
        return True

    def _is_robbed(self, subject: Controller) -> bool:
        """Whether another one is to be started, as somebody else was quicker to bind a port that this one had chosen.

        What talks there says nothing about the target. Nor is it passed over in silence, see `Subject.setbacks`.
        """
        if self._robbed == STUMBLES:
            # So many in a row are no accident: what ails them is the target's own.
            subject.may_be_robbed = False
            self._setbacks.pop(PEERS, None)
        if why := subject.robbed():
            self._robbed += 1
            self._setbacks[PEERS] = why
        return bool(why)

    def _is_usable(self, subject: Controller) -> bool:
        return super()._is_usable(subject) and not subject.is_robbed

    def _settle(self, subject: Controller) -> None:
        subject.missing |= subject.prove_subscription()


class VirtualDeployment(ControllerDeployment):
    """Controllers in virtual time, each in a world of its own: their numbers make them differ, in every run alike.

    A new one costs less than the memories of an old one: how much a case takes depends on the few before it only.
    """

    def __init__(self, target: Target) -> None:
        super().__init__(target)
        self._started = 0
        self._cases = 0

    def shared(self) -> Controller:
        """The shared one, for one more case."""
        self._cases += 1
        return super().shared()

    @property
    def is_spent(self) -> bool:
        """Whether the next case shall get a new one."""
        return self._cases % CASES_IN_A_WORLD == 0

    def to_set(self, wanted: Mapping[str, Sequence[object]]) -> dict[str, object]:
        """What has to be set for a case that needs one of these values for each name.

        Raises OnlyReal for what no controller in virtual time can be told.
        """
        found = _unusual(wanted, Settings())
        for name in found.keys() - set(ControllerConfig.__struct_fields__):
            raise OnlyReal(f"the option {name!r}")
        return found

    def _start(self, settings: Mapping[str, object] = AS_IT_IS) -> Up[Controller]:
        self._started += 1
        running = VirtualRunning(self.target, self._started, settings)
        world = VirtualWorld(running.world, running.client, running.engine)
        world.expect_copies()
        running.eavesdroppers.append(world.overhear)
        return Up(running, world, self._controller(world, running, f"kit-{self._started:08x}", running.date, settings))


class EngineDeployment(Deployment[EngineUnderTest]):
    """Engines of a target, each with a controller of its own."""

    @contextmanager
    def seen_through(self) -> Iterator[EngineUnderTest]:
        """One for a single case, which is registered and whose sockets can be seen. Raises TargetUnusable."""
        up = self._start_seen()
        up.subject.missing = self._missing
        try:
            self._settle(up.subject)
            yield up.subject
        finally:
            up.stop()

    def _start(self, settings: Mapping[str, object] = AS_IT_IS) -> Up[EngineUnderTest]:
        # What can be set for an engine is the file that tells it of its controller.
        return self._start_beside(ControllerSide(settings, dialect=self.target.dialect))

    def _start_seen(self) -> Up[EngineUnderTest]:
        """Start one behind a relay."""
        return self._start_beside(ControllerSide(dialect=self.target.dialect, is_relayed=True))

    def _start_beside(self, world: ControllerSide) -> Up[EngineUnderTest]:
        if self._shared is not None:
            # The shared engine must hear pings while another one is judged.
            assert isinstance(self._shared.world, ControllerSide)
            world.beside.append(self._shared.world)
        try:
            running = start_engine(self.target, world.told)
        except BaseException:
            world.close()
            raise
        subject = EngineUnderTest(world, self.target, token=new_token(), date=date_of_now, instance=running)
        return Up(running, world, subject)

    def _settle(self, subject: EngineUnderTest) -> None:
        subject.settle()

    def _is_usable(self, subject: EngineUnderTest) -> bool:
        return subject.is_running and not subject.is_spent


class VirtualEngineDeployment(EngineDeployment):
    """Engines in virtual time, each in a world of its own."""

    def __init__(self, target: Target) -> None:
        super().__init__(target)
        self._started = 0

    def _start(self, settings: Mapping[str, object] = AS_IT_IS) -> Up[EngineUnderTest]:
        self._started += 1
        world = VirtualControllerSide(World(self._started), settings, dialect=self.target.dialect)
        running = VirtualRunningEngine(self.target, world.world, world.file)
        token = f"kit-{self._started:08x}"
        return Up(running, world, EngineUnderTest(world, self.target, token=token, date=running.date, instance=running))

    def _start_seen(self) -> Up[EngineUnderTest]:
        # Virtual sockets can be seen anyway.
        return self._start()


def engines(target: Target) -> EngineDeployment:
    """What starts engines of a target."""
    return VirtualEngineDeployment(target) if target.is_simulated else EngineDeployment(target)


def _is_about_answers(error: BaseException) -> bool:
    """Whether the target did answer, with something that was not expected."""
    return isinstance(error, Violated) or not isinstance(error, CaseEnd | TargetUnusable)


def _unusual(wanted: Mapping[str, Sequence[object]], settings: Settings) -> dict[str, object]:
    usual = msgspec.structs.asdict(settings)
    return {name: values[0] for name, values in wanted.items() if usual.get(name) not in values}


def new_token() -> str:
    """What no other run on the same target has in its names."""
    # Nothing of an earlier run on the same target may look like ours.
    return f"kit-{secrets.token_hex(4)}"


def date_of_now() -> str:
    """The present moment, as in headers."""
    return datetime.now(UTC).isoformat().replace("+00:00", "Z")
