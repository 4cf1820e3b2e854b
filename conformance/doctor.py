"""Looks at a target step by step, before anything is judged: whether it starts, is heard, answers, and ends.

Each step says what was seen. The first that fails is the last: nothing behind it could be trusted.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from conformance.harness.attaching import controllers, kernels
from conformance.harness.client import ClientUnderTest
from conformance.harness.clients import clients
from conformance.harness.coding import Coding
from conformance.harness.controller import Controller
from conformance.harness.deployment import Deployment, engines
from conformance.harness.engine import EngineUnderTest
from conformance.harness.hearts import no_answer
from conformance.harness.kernel import KernelUnderTest
from conformance.harness.subject import NONSENSE, Subject
from conformance.harness.verdict import CaseEnd, Finding, NotApplicable, Violated
from conformance.targets import Target, TargetUnusable
from conformance.targets.process import Started, detect_version
from conformance.targets.vocabulary import Role
from protocol.world import SECOND


@dataclass(frozen=True)
class Seen:
    """One step: its title, whether it went well, what was seen, and what else there is to read."""

    title: str
    is_well: bool
    text: str
    details: str = ""
    is_unusable: bool = False


Step = tuple[str, Callable[[Any], str]]


def _hub(controller: Controller) -> str:
    known = controller.client().engines()
    return f"connection_request is answered; {len(known)} {'engine is' if len(known) == 1 else 'engines are'} known"


def _pings(controller: Controller) -> str:
    controller.heart(answer=no_answer).expect_ping()
    return "a ping is heard"


def _registration(controller: Controller) -> str:
    engine = controller.engine().registered()
    return f"an engine registers, its heart is heard, and it is given the number {engine.id}"


def _uuid(engine: EngineUnderTest) -> str:
    engine.registered()
    return f"registration_request came from {engine.uuid!r} after {engine.world.now / SECOND:.2f} s"


def _connected(engine: EngineUnderTest) -> str:
    engine.expect_connected("mux")
    return "a socket with that identity is connected to the MUX queue"


def _heart(engine: EngineUnderTest) -> str:
    engine.expect_heart()
    return f"a ping came back; the period is {engine.timing.heartbeat_period_ms} ms"


def _code(subject: Coding) -> str:
    # To do nothing, where the kit knows no word of the language.
    reply = subject.asker().run(subject.samples.print.replace("{text}", "hello"))
    return f"execute_request is answered: {reply.content.get('status')}"


def _driver(client: ClientUnderTest) -> str:
    client.wait_for_driver()
    return "its driver has greeted"


def _connects(client: ClientUnderTest) -> str:
    client.settle()
    return "it connects, and knows the engines"


def _nonsense(subject: Subject) -> str:
    return "refused or ignored" if subject.smoke() else "not granted, but nothing is answered after it"


def _answers(kernel: KernelUnderTest) -> str:
    kernel.until_answered(kernel.frontend().send("kernel_info_request"))
    return f"kernel_info_request is answered after {kernel.world.now / SECOND:.2f} s"


def _published(kernel: KernelUnderTest) -> str:
    kernel.settle()
    if not kernel.first_words:
        raise Violated(Finding("nothing is published about a kernel_info_request, neither busy nor idle"))
    return "what it publishes is heard"


def _echo(kernel: KernelUnderTest) -> str:
    kernel.frontend().ping(b"ping")
    return "a heartbeat comes back"


_REFUSES: Final[Step] = (f"a {NONSENSE}", _nonsense)
#: What is tried of a target that has just been started, in this order.
STEPS: Final[Mapping[Role, tuple[Step, ...]]] = {
    "controller": (("the Hub", _hub), ("its heart monitor", _pings), ("an engine", _registration), _REFUSES),
    "engine": (("registers", _uuid), ("connects", _connected), ("its heart", _heart), ("code", _code), _REFUSES),
    "client": (("its driver", _driver), ("connects", _connects)),
    "kernel": (("answers", _answers), ("publishes", _published), ("its heart", _echo), ("code", _code), _REFUSES),
}
#: What starts targets of each role.
_DEPLOYMENTS: Final[Mapping[Role, Callable[[Target], Deployment[Any]]]] = {
    "controller": controllers, "engine": engines, "client": clients, "kernel": kernels,
}  # fmt: skip


def examine(target: Target) -> Iterator[Seen]:
    """What is seen of a target, step by step."""
    count = len(target.features)
    claims = ", ".join((*target.profile, *([f"{count} feature{'s' if count > 1 else ''}"] if count else [])))
    yield Seen("descriptor", True, f"{', '.join(target.roles)} in {target.dialect}; claims {claims or 'the core only'}")
    if target.version is not None:
        try:
            yield Seen("version", True, str(detect_version(target)))
        except TargetUnusable as error:
            yield _failed("version", error)
            return
    for role in target.roles:
        for seen in _of_role(target, role):
            yield seen
            if not seen.is_well:
                return


def _of_role(target: Target, role: Role) -> Iterator[Seen]:
    deployment = _DEPLOYMENTS[role](target)
    title = f"{'runs' if role in target.attached else 'starts'} as {role}"
    try:
        with deployment.fresh(is_settled=False) as subject:
            subject.begin_case()
            if isinstance(subject.instance, Started) and subject.instance.process.failure:
                subject.instance.expect_alive()
            yield Seen(title, True, _how_started(subject) if role not in target.attached else "already")
            for name, step in STEPS[role]:
                title = name
                yield Seen(name, True, tried(step, subject))
            title = "ends"
        if role not in target.attached:
            yield Seen(title, True, _how_ended(subject))
    except (CaseEnd, TargetUnusable) as error:
        yield _failed(title, error)
    finally:
        deployment.close()


def tried(step: Callable[[Any], str], subject: Subject) -> str:
    """What a step saw; one that would disturb a cluster that works for somebody is left out, and nothing is wrong."""
    try:
        return step(subject)
    except NotApplicable as error:
        return f"left out: {error}"


def _how_started(subject: Subject) -> str:
    instance = subject.instance
    if not isinstance(instance, Started):
        return "in virtual time"
    ready = f", ready after {instance.start_seconds:.2f} s" if instance.start_seconds else ""
    return f"process {instance.process.pid}{ready}"


def _how_ended(subject: Subject) -> str:
    instance = subject.instance
    if not isinstance(instance, Started):
        return "nothing had to be ended"
    killed = instance.process.killed
    return f"{killed} of its processes had to be killed" if killed else "when it is told, and leaves nothing behind"


def _failed(title: str, error: CaseEnd | TargetUnusable) -> Seen:
    if isinstance(error, TargetUnusable):
        sentence, _, output = error.details().partition("\n")
        return Seen(title, False, sentence, output, is_unusable=True)
    return Seen(title, False, str(error))
