"""The fixtures of the suite: the targets that run, and what a case talks to.

A shared one lasts as long as the worker; what would disturb other cases takes one of its own.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Final

import pytest

from conformance.plugin import (
    ACCUSED,
    AT_THE_END,
    BY_RULE,
    NEXT,
    SUBJECT,
    command_of,
    fixtures_of,
    name_case,
    pages_of,
    settings_of,
    slugs_of,
    targets_of,
    word_of,
)

if TYPE_CHECKING:
    from conformance.harness.client import ClientUnderTest
    from conformance.harness.clients import ClientDeployment
    from conformance.harness.controller import Controller
    from conformance.harness.deployment import ControllerDeployment, Deployment, EngineDeployment
    from conformance.harness.engine import EngineUnderTest
    from conformance.harness.kernel import KernelUnderTest
    from conformance.harness.kernels import KernelDeployment
    from conformance.targets.descriptor import Target


#: What is demanded only of messages that are signed: who has no key, as behind CURVE, believes everybody.
SIGNED: Final = frozenset({
    "wire.signature-sent", "wire.signature-verified", "wire.signature-lowercase-hex",
    "wire.signature-uppercase-refused", "wire.signature-covers-dictionaries", "wire.unauthenticated-unanswered",
    "wire.replay-refused", "wire.replay-memory-bounded", "wire.forged-copy-does-not-block",
    "wire.refused-changes-nothing",
})  # fmt: skip


@pytest.fixture(scope="session")
def target(request: pytest.FixtureRequest) -> Target:
    """The descriptor of the implementation under test."""
    return targets_of(request.config)[request.param]


def _running(deployment: Deployment[Any], request: pytest.FixtureRequest) -> Iterator[Any]:
    """A deployment for the length of a session, at whose end the rules say their last about the shared target."""
    from conformance.judging import by_rules

    yield deployment
    if deployment.current is not None:
        found = deployment.current.judge_rest()
        command = command_of(request.config, deployment.target)
        results = by_rules(
            "the end of the run", deployment.current, found, command=command, pages=pages_of(request.config)
        )
        request.session.stash.setdefault(AT_THE_END, []).extend(results)
    try:
        deployment.prove_again(is_blamed=bool(request.session.testsfailed))
    finally:
        deployment.close()


@pytest.fixture(scope="session")
def deployment(target: Target, request: pytest.FixtureRequest) -> Iterator[ControllerDeployment]:
    """What starts controllers of the target, and stops them all at the end."""
    from conformance.harness.attaching import controllers

    yield from _running(controllers(target, may_disturb=request.config.getoption("destructive")), request)


@pytest.fixture(scope="session")
def engines(target: Target, request: pytest.FixtureRequest) -> Iterator[EngineDeployment]:
    """What starts engines of the target, and stops them all at the end."""
    from conformance.harness.deployment import engines

    yield from _running(engines(target), request)


@pytest.fixture(scope="session")
def clients(target: Target, request: pytest.FixtureRequest) -> Iterator[ClientDeployment]:
    """What starts clients of the target, and stops them all at the end."""
    from conformance.harness.clients import clients

    yield from _running(clients(target), request)


def _begin_next(deployment: ControllerDeployment, request: pytest.FixtureRequest) -> None:
    """Begin to start the controller that the next case will have for itself, while this one runs: it mostly waits."""
    from conformance.harness.verdict import NotApplicable

    upcoming = request.node.stash.get(NEXT, None)
    if upcoming is None or word_of(upcoming) != word_of(request.node):
        return
    if "restore" in settings_of(request.node):
        # It lets its controller die and come back to its ports, which the next one could take in between.
        return
    names = {"controller", "fresh_controller", "started_controller"} & set(fixtures_of(upcoming))
    try:
        settings = deployment.to_set(settings_of(upcoming)) if names else {}
    except NotApplicable:
        return
    if settings or names - {"controller"}:
        name_case(upcoming)
        deployment.begin(settings)
        name_case(request.node)


def _run_case(subject: Any, request: pytest.FixtureRequest, *, is_last: bool = False) -> Iterator[Any]:
    from conformance.harness.verdict import NotApplicable, OnlyReal
    from conformance.judging import by_rules, case_name, passed_by_rule, setbacks

    node = request.node
    command = command_of(request.config, request.getfixturevalue("target"))
    subject.begin_case()
    about = frozenset(slugs_of(node))
    node.stash[SUBJECT] = subject
    marker = node.get_closest_marker("needs")
    for feature in marker.args if marker else ():
        subject.need(feature)
    if not subject.codec.key and about & SIGNED:
        raise NotApplicable("its connection file has no key, and without one nothing is signed")
    marker = node.get_closest_marker("needs_system")
    if marker and request.getfixturevalue("target").is_simulated:
        raise OnlyReal(*marker.args)
    # Only while the case runs: what the kit asks before and after it is not about anything, and nothing blocks it.
    subject.about = about
    yield subject
    subject.about = None
    subject.end_case()
    # What nobody else has may be this case's own, and still be that of all others.
    is_last = is_last and not request.getfixturevalue("target").attached
    found = subject.judge_rest() if is_last else subject.judge_new()
    pages = pages_of(request.config)
    # What the case itself accuses is not reported a second time.
    own = node.stash.get(ACCUSED, frozenset())
    others = [each for each in found if each.requirement not in own]
    node.stash[BY_RULE] = by_rules(case_name(node.nodeid), subject, others, command=command, pages=pages)
    node.stash[BY_RULE] += passed_by_rule(subject) + setbacks(subject, case_name(node.nodeid))


@pytest.fixture
def controller(deployment: ControllerDeployment, request: pytest.FixtureRequest) -> Iterator[Controller]:
    """The controller that all cases of this worker share; one of its own for a case that asks for other settings."""
    if settings := deployment.to_set(settings_of(request.node)):
        with deployment.fresh(settings) as own:
            _begin_next(deployment, request)
            yield from _run_case(own, request, is_last=True)
    else:
        shared = deployment.shared()
        _begin_next(deployment, request)
        yield from _run_case(shared, request, is_last=deployment.is_spent)
        if deployment.is_spent:
            deployment.close()


@pytest.fixture
def fresh_controller(deployment: ControllerDeployment, request: pytest.FixtureRequest) -> Iterator[Controller]:
    """A controller of this case's own, for what would disturb others: shutdown, purge of everything, history."""
    with deployment.fresh(deployment.to_set(settings_of(request.node))) as own:
        _begin_next(deployment, request)
        yield from _run_case(own, request, is_last=True)


@pytest.fixture
def started_controller(deployment: ControllerDeployment, request: pytest.FixtureRequest) -> Iterator[Controller]:
    """A controller of this case's own that has just been started: whether it talks to us is not known."""
    with deployment.fresh(deployment.to_set(settings_of(request.node)), is_settled=False) as own:
        _begin_next(deployment, request)
        yield from _run_case(own, request, is_last=True)


@pytest.fixture
def engine(engines: EngineDeployment, request: pytest.FixtureRequest) -> Iterator[EngineUnderTest]:
    """The engine that all cases of this worker share; it is registered."""
    yield from _run_case(engines.shared(), request)


@pytest.fixture
def fresh_engine(engines: EngineDeployment, request: pytest.FixtureRequest) -> Iterator[EngineUnderTest]:
    """An engine of this case's own, registered, for what ends it or leaves traces."""
    with engines.fresh() as own:
        yield from _run_case(own, request, is_last=True)


@pytest.fixture
def visible_engine(engines: EngineDeployment, request: pytest.FixtureRequest) -> Iterator[EngineUnderTest]:
    """An engine of this case's own, registered, whose sockets can be seen: their types, identities and connections."""
    with engines.seen_through() as own:
        yield from _run_case(own, request, is_last=True)


@pytest.fixture
def new_engine(engines: EngineDeployment, request: pytest.FixtureRequest) -> Iterator[EngineUnderTest]:
    """An engine of this case's own that was just started: nobody has answered its registration.

    The marker `connection_file` says what is unusual in the file that it was started with.
    """
    with engines.fresh(_file_of(request), is_settled=False) as own:
        yield from _run_case(own, request, is_last=True)


@pytest.fixture
def tested_client(clients: ClientDeployment, request: pytest.FixtureRequest) -> Iterator[ClientUnderTest]:
    """A client of this case's own, which is connected and knows the engines."""
    with clients.fresh(_file_of(request)) as own:
        yield from _run_case(own, request, is_last=True)


@pytest.fixture
def new_client(clients: ClientDeployment, request: pytest.FixtureRequest) -> Iterator[ClientUnderTest]:
    """A driver, which was told nothing yet, and a controller that knows of no client."""
    with clients.fresh(_file_of(request), is_settled=False) as own:
        own.wait_for_driver()
        yield from _run_case(own, request, is_last=True)


@pytest.fixture(scope="session")
def kernels(target: Target, request: pytest.FixtureRequest) -> Iterator[KernelDeployment]:
    """What starts kernels of the target, and stops them all at the end."""
    from conformance.harness.attaching import kernels

    yield from _running(kernels(target), request)


@pytest.fixture
def kernel(kernels: KernelDeployment, request: pytest.FixtureRequest) -> Iterator[KernelUnderTest]:
    """The kernel that all cases of this worker share."""
    yield from _run_case(kernels.shared(), request)


@pytest.fixture
def fresh_kernel(kernels: KernelDeployment, request: pytest.FixtureRequest) -> Iterator[KernelUnderTest]:
    """A kernel of this case's own, for what ends it or leaves traces.

    The marker `connection_file` says what is unusual in the file that it was started with.
    """
    with kernels.fresh(_file_of(request)) as own:
        yield from _run_case(own, request, is_last=True)


@pytest.fixture
def new_kernel(kernels: KernelDeployment, request: pytest.FixtureRequest) -> Iterator[KernelUnderTest]:
    """A kernel of this case's own that was just started: it was asked nothing."""
    with kernels.fresh(is_settled=False) as own:
        yield from _run_case(own, request, is_last=True)


def _file_of(request: pytest.FixtureRequest) -> dict[str, object]:
    """What the marker `connection_file` says is unusual in the file that a target of this case is given."""
    marker = request.node.get_closest_marker("connection_file")
    return dict(marker.kwargs) if marker else {}
