"""What most cases stand on: if a target lacks it, the cases about it accuse, and all others name it and are blocked."""

import os
import re
import socket
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from unittest.mock import MagicMock

import pytest

from conformance.harness.case import requirement
from conformance.harness.controller import Controller, ControllerProcess
from conformance.harness.deployment import PEERS, STUMBLES, Up, VirtualDeployment
from conformance.harness.engine import HEART
from conformance.harness.kernel import KernelUnderTest
from conformance.harness.kernels import KernelDeployment
from conformance.harness.pilots import DELIVERY, OUTPUT, REGISTERED
from conformance.harness.verdict import Blocked, NotApplicable, Violated
from conformance.judging import by_rules, setbacks
from conformance.ladder import LADDERS
from conformance.report.data import Judgement, read
from conformance.results import CONFORMS, UNDECIDED, exit_status
from conformance.targets import Target, TargetUnusable, load
from conformance.targets.listening import taken
from conformance.targets.vocabulary import AS_IT_IS
from conformance.worlds import _run_case
from protocol.rules import Violation

pytestmark = pytest.mark.timeout(300)

#: Target -> what it lacks, and what stands on that.
LACKING = {
    "simulated+lacks-registration": (
        "registration.request-answered",
        {"registration.duplicate-uuid-refused", "registration.id-unique", "mux.fifo-per-engine"},
    ),
    "simulated+lacks-pings": (
        "heartbeat.ping-periodic",
        {"heartbeat.ping-single-frame", "heartbeat.unknown-heart-ignored", "registration.heard-is-registered",
         "mux.fifo-per-engine"},
    ),
    "simulated+lacks-hearts": (
        "registration.heard-is-registered",
        {"mux.fifo-per-engine", "task.exactly-one-engine", "notification.registration-published"},
    ),
    "simulated+lacks-announcements": (
        "notification.registration-published", {"mux.fifo-per-engine", "task.exactly-one-engine"},
    ),
    "simulated+lacks-mux": ("mux.routes-by-identity", {"mux.fifo-per-engine"}),
    "simulated+lacks-tasks": ("task.some-engine-runs", {"task.reply-to-requester"}),
    "simulated+lacks-output": ("iopub.reaches-all-clients", {"iopub.output-stored", "iopub.fifo-per-engine"}),
    "simulated-engine+lacks-execution": ("kernel.execute-answered", {"iopub.stream-text", "kernel.later-requests-run"}),
    "simulated-engine+lacks-status": ("iopub.status-brackets", {"iopub.stream-text"}),
}  # fmt: skip
#: What is tried of each: that, and what none of them lacks.
UNTOUCHED = {"query.unknown-type-hub-error", "registration.engine-gives-up"}
TRIED = UNTOUCHED.union({missing for missing, _ in LACKING.values()}, *(above for _, above in LACKING.values()))


@pytest.fixture(scope="module")
def judgements(tmp_path_factory: pytest.TempPathFactory) -> tuple[Judgement, ...]:
    directory = tmp_path_factory.mktemp("lacking")
    words = [sys.executable, "-m", "pytest", "--pyargs", "conformance", "-p", "no:cacheprovider", "-p", "missing_parts"]
    words += ["-q", "--report", "out"]
    words += [word for target in LACKING for word in ("--target", target)]
    words += [word for slug in sorted(TRIED) for word in ("--requirement", slug)]
    done = subprocess.run(
        words, cwd=directory, capture_output=True, text=True, timeout=280, check=False,
        env=os.environ | {"PYTHONPATH": str(Path(__file__).parent)},
    )  # fmt: skip
    assert done.returncode == 1, done.stdout + done.stderr
    return read(directory / "out" / "report.json").judgements


@pytest.mark.parametrize("target", LACKING)
def test_what_is_missing_is_accused_and_blocks_what_stands_on_it(
    judgements: tuple[Judgement, ...], target: str
) -> None:
    missing, above = LACKING[target]
    own = [each for each in judgements if each.target == target]
    # The rule that every request is answered sees the same silence, and need not have watched for long enough.
    accused = {each.requirement for each in own if each.verdict == "failed"}
    assert accused - {"wire.every-request-answered"} == {missing}
    assert above <= {each.requirement for each in own if each.verdict == "blocked" and each.blocked_by == missing}
    assert {each.verdict for each in own} <= {"passed", "failed", "blocked", "not applicable"}
    assert UNTOUCHED & {each.requirement for each in own if each.verdict == "passed"}


def test_what_blocks_others_is_a_step_of_the_ladder() -> None:
    steps = {role: {slug for rung in rungs for slug in rung.slugs} for role, rungs in LADDERS.items()}
    queues = {slug for both in DELIVERY.values() for slug in both}
    assert steps["controller"] >= queues | {*REGISTERED, OUTPUT}
    assert steps["engine"] >= {HEART, "kernel.execute-answered", "iopub.status-brackets"}
    assert steps["kernel"] >= {"kernel.execute-answered", "kernel.status-brackets"}
    assert "client.addresses-engine" in steps["client"]


@pytest.fixture
def target() -> Target:
    return load("simulated")


@pytest.mark.needs("dask")
@requirement("query.become-dask-answered")
def test_what_the_kit_asks_between_cases_is_blocked_by_nothing(request: pytest.FixtureRequest, target: Target) -> None:
    subject = VirtualDeployment(target).shared()
    subject.features = frozenset()
    with pytest.raises(NotApplicable):
        next(_run_case(subject, request))
    subject.missing["registration.request-answered"] = "no answer"
    subject.stand_on("registration.request-answered")


class NeverReady(VirtualDeployment):
    """Its controllers never come to where cases begin."""

    starts = 0

    def _begin(self, subject: Controller) -> bool:  # noqa: ARG002 - whatever it is
        self.starts += 1
        raise Blocked("wire.reply-parent", "replies name nobody")


def test_what_never_comes_to_where_cases_begin_is_told_once_and_not_started_for_ever() -> None:
    deployment = NeverReady(load("simulated"))
    with pytest.raises(Violated) as accused:
        deployment.shared()
    assert accused.value.requirement == "wire.reply-parent"
    for _ in range(5):
        with pytest.raises(Blocked, match=r"wire\.reply-parent: replies name nobody"):
            deployment.shared()
    assert deployment.starts == STUMBLES


#: What one of them lacked, be it for want of a port.
SILENT = {"registration.heard-is-registered": "an engine whose heart beats was never announced"}


class Unlucky(VirtualDeployment):
    """Those of its controllers with these numbers announce nobody."""

    silent: tuple[int, ...] = ()

    def _start(self, settings: Mapping[str, object] = AS_IT_IS) -> Up[Controller]:
        up = super()._start(settings)
        if self._started in self.silent:
            up.subject.prove_subscription = lambda: SILENT  # type: ignore[method-assign]
        return up


def test_what_one_controller_lacks_that_others_had_is_told_and_blocks_nobody() -> None:
    deployment = Unlucky(load("simulated"))
    deployment.silent = (2,)
    assert deployment.shared().missing == {}
    with deployment.fresh() as replaced:
        assert (deployment._started, replaced.missing) == (3, {})
        (told,) = setbacks(replaced, "test_a.py::test_a")
        assert (told.requirement, told.verdict, bool(told.reason)) == (*SILENT, "undecided", True)
        assert exit_status([told], 0) == CONFORMS
        assert setbacks(replaced, "test_a.py::test_a") == []
    deployment.silent = (4, 5)
    with deployment.fresh() as lacking:
        assert (lacking.missing, lacking.setbacks) == (SILENT, {})
    with deployment.fresh() as another:
        assert (deployment._started, another.missing) == (6, {})
    deployment.close()


class Robbed(VirtualDeployment):
    """Those of its controllers with these numbers have lost a port."""

    robbed: tuple[int, ...] = ()

    def _start(self, settings: Mapping[str, object] = AS_IT_IS) -> Up[Controller]:
        up = super()._start(settings)
        subject, is_meant = up.subject, self._started in self.robbed
        why = "somebody else holds the port 4321" if is_meant else ""
        subject.robbed = lambda: why if subject.may_be_robbed else ""  # type: ignore[method-assign]
        return up


def test_a_controller_that_lost_a_port_to_somebody_else_is_replaced_and_that_is_told() -> None:
    deployment = Robbed(load("simulated"))
    deployment.robbed = (1, 2)
    shared = deployment.shared()
    assert (deployment._started, shared.missing) == (3, {})
    (told,) = setbacks(shared, "test_a.py::test_a")
    assert (told.requirement, told.verdict, "4321" in told.summary) == (PEERS, "undecided", True)
    assert exit_status([told], 0) == CONFORMS
    # If it happens again and again, that is no accident.
    deployment.robbed = tuple(range(4, 20))
    for started in (4 + STUMBLES, 5 + STUMBLES):
        with deployment.fresh() as another:
            assert (deployment._started, another.missing, another.setbacks) == (started, {}, {})
    deployment.close()


def test_what_a_controller_that_lost_a_port_is_accused_of_is_undecided_and_another_one_is_started() -> None:
    deployment = VirtualDeployment(load("simulated"))
    shared = deployment.shared()
    found = Violation(requirement=PEERS, rule=PEERS, guilty="the target", evidence=(), found="a SUB", allowed=(), now=0)
    assert [each.verdict for each in by_rules("a case", shared, [found], command="")] == ["failed"]
    shared.instance = MagicMock(spec=ControllerProcess)
    shared.instance.robbed.return_value = "it could not have one of its addresses: Address already in use"
    (told,) = by_rules("a case", shared, [found], command="")
    assert (told.verdict, told.summary.startswith("a SUB; but it could not")) == ("undecided", True)
    assert exit_status([told], 0) == UNDECIDED
    shared.instance.is_running = True
    assert not deployment._is_usable(shared)
    deployment.close()


@pytest.mark.skipif(sys.platform != "linux", reason="looks at /proc")
def test_ports_that_others_hold_are_told_from_our_own() -> None:
    code = (
        "import socket, sys; s = socket.create_server(('127.0.0.1', 0)); print(s.getsockname()[1], flush=True); input()"
    )
    with (
        socket.create_server(("127.0.0.1", 0)) as server,
        subprocess.Popen(
            [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        ) as other,
    ):
        assert other.stdout is not None
        mine, foreign, free = server.getsockname()[1], int(other.stdout.readline()), 1
        assert taken([mine, foreign, free], [os.getpid()]) == [foreign]
        assert taken([mine, free], [os.getpid()]) == []
        # Where nothing is our own, the target may be in a container.
        assert taken([foreign], [os.getpid()]) == []
        assert taken([mine, foreign], [os.getpid(), other.pid]) == []
        other.communicate("\n")


def test_what_the_first_controller_lacks_all_others_lack() -> None:
    deployment = Unlucky(load("simulated"))
    deployment.silent = (1,)
    assert deployment.shared().missing == SILENT
    with deployment.fresh() as another:
        assert another.missing == SILENT
    deployment.close()


class Particular(KernelDeployment):
    """Its kernels never come up with a file that is unusual, or with none."""

    is_usable = True

    def _start(self, settings: Mapping[str, object] = AS_IT_IS) -> Up[KernelUnderTest]:  # noqa: ARG002 - whatever it is
        raise TargetUnusable("was not ready")

    def shared(self) -> KernelUnderTest:
        if self.is_usable:
            return None  # type: ignore[return-value]
        return super().shared()


def test_a_kernel_that_cannot_go_by_an_unusual_file_is_accused_and_not_unusable() -> None:
    deployment = Particular(load("ipykernel"))
    told = re.escape("with {'transport': 'ipc'} in its file: was not ready")
    with pytest.raises(Violated, match=told), deployment.fresh({"transport": "ipc"}):
        pass
    deployment.is_usable = False
    with pytest.raises(TargetUnusable), deployment.fresh({"transport": "ipc"}):
        pass
